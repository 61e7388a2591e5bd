//! The few fields of an ONNX file that are read before ONNX Runtime sees it.
//!
//! `package` calls [`scan`] on bytes that nobody has vouched for. It finds the contract, and refuses
//! what the runtime must not be asked to load: files that are no protobuf, tensors whose data lie in
//! other files (the runtime would open any path that the model names), operators that are neither of
//! ONNX nor defined in the file, and inputs or outputs that are no tensors. It copies nothing and recurses at most [`DEPTH_MAX`] deep. Field numbers are those
//! of `onnx.proto`, which never change.

/// Metadata key of the contract.
pub(super) const CONTRACT_KEY: &[u8] = b"foretell.contract";

/// Field of a `ModelProto`: the functions that its graph may call.
const FUNCTIONS: u64 = 25;

/// Bytes of a domain in a message.
const DOMAIN_SHOWN_MAX: usize = 64;

/// Most graphs within graphs (the bodies of `If`, `Loop` and `Scan`).
const DEPTH_MAX: usize = 8;

/// Why bytes are not a model that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    #[error("it is not an ONNX file: the protobuf is broken or cut off at byte {at}")]
    Malformed { at: usize },
    #[error("it is not an ONNX file: it has no graph")]
    NoGraph,
    #[error("it has graphs nested more than {DEPTH_MAX} deep")]
    TooDeep,
    #[error(
        "a tensor keeps its data in another file: save the model in one file (onnx.save with save_as_external_data=False)"
    )]
    ExternalData,
    #[error(
        "it uses an operator of the domain {domain:?}: only the operators of ONNX itself are run; export the model without custom or fused operators"
    )]
    CustomOperator { domain: String },
    #[error(
        "the graph's {port} is not a dense tensor: a model has one float32 tensor as its input and float32 tensors as its outputs"
    )]
    NotATensor { port: &'static str },
}

/// What [`scan`] found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a> {
    /// The value of the metadata key [`CONTRACT_KEY`]; the last one, as ONNX Runtime has it.
    pub(super) contract: Option<&'a [u8]>,
}

/// Reads a `ModelProto`.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan<'_>, OnnxError> {
    const GRAPH: u64 = 7;
    const METADATA_PROPS: u64 = 14;
    let domains = Domains::read(bytes)?;
    let mut contract = None;
    let mut graphs = 0;
    for field in Message::new(bytes) {
        match field? {
            Field::Bytes(GRAPH, graph) => {
                graphs += 1;
                scan_graph(graph, 0, &domains)?;
            }
            Field::Bytes(METADATA_PROPS, entry) => {
                let (key, value) = string_pair(entry)?;
                if key == CONTRACT_KEY {
                    contract = Some(value);
                }
            }
            Field::Bytes(FUNCTIONS, function) => scan_function(function, &domains)?,
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    if graphs == 0 {
        return Err(OnnxError::NoGraph);
    }
    Ok(Scan { contract })
}

/// The domains of operators that a model may use: those of ONNX, and those of its own functions.
#[derive(Debug)]
struct Domains<'a> {
    of_functions: Vec<&'a [u8]>,
}

impl<'a> Domains<'a> {
    const OF_ONNX: [&'static [u8]; 3] = [b"", b"ai.onnx", b"ai.onnx.ml"];
    /// Exporters give all their functions one domain or two.
    const OF_FUNCTIONS_MAX: usize = 16;

    /// Functions may stand behind the graph that calls them, so this is a walk of its own.
    fn read(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        const DOMAIN: u64 = 10;
        let mut of_functions = Vec::new();
        for field in Message::new(bytes) {
            let Field::Bytes(FUNCTIONS, function) = field? else {
                continue;
            };
            for part in Message::within(function) {
                if let Field::Bytes(DOMAIN, domain) = part?
                    && !of_functions.contains(&domain.bytes)
                    && of_functions.len() < Self::OF_FUNCTIONS_MAX
                {
                    of_functions.push(domain.bytes);
                }
            }
        }
        Ok(Self { of_functions })
    }

    fn check(&self, domain: &[u8]) -> Result<(), OnnxError> {
        if Self::OF_ONNX.contains(&domain) || self.of_functions.contains(&domain) {
            return Ok(());
        }
        let shown = &domain[..domain.len().min(DOMAIN_SHOWN_MAX)];
        Err(OnnxError::CustomOperator {
            domain: String::from_utf8_lossy(shown).into_owned(),
        })
    }
}

/// `StringStringEntryProto`.
fn string_pair(bytes: Slice<'_>) -> Result<(&[u8], &[u8]), OnnxError> {
    let (mut key, mut value) = (&[][..], &[][..]);
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(1, text) => key = text.bytes,
            Field::Bytes(2, text) => value = text.bytes,
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok((key, value))
}

/// `GraphProto`.
fn scan_graph(bytes: Slice<'_>, depth: usize, domains: &Domains<'_>) -> Result<(), OnnxError> {
    const NODE: u64 = 1;
    const INITIALIZER: u64 = 5;
    const INPUT: u64 = 11;
    const OUTPUT: u64 = 12;
    const SPARSE_INITIALIZER: u64 = 15;
    if depth > DEPTH_MAX {
        return Err(OnnxError::TooDeep);
    }
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(NODE, node) => scan_node(node, depth, domains)?,
            Field::Bytes(INITIALIZER, tensor) => scan_tensor(tensor)?,
            Field::Bytes(SPARSE_INITIALIZER, tensor) => scan_sparse_tensor(tensor)?,
            // Bodies may pass sequences to each other; only the model's own ports must be tensors.
            Field::Bytes(INPUT, port) if depth == 0 => scan_port(port, "input")?,
            Field::Bytes(OUTPUT, port) if depth == 0 => scan_port(port, "output")?,
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok(())
}

/// `FunctionProto`: nodes, and the attributes that have a default.
fn scan_function(bytes: Slice<'_>, domains: &Domains<'_>) -> Result<(), OnnxError> {
    const NODE: u64 = 7;
    const ATTRIBUTE_PROTO: u64 = 11;
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(NODE, node) => scan_node(node, 0, domains)?,
            Field::Bytes(ATTRIBUTE_PROTO, attribute) => scan_attribute(attribute, 0, domains)?,
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok(())
}

/// `NodeProto`.
fn scan_node(bytes: Slice<'_>, depth: usize, domains: &Domains<'_>) -> Result<(), OnnxError> {
    const ATTRIBUTE: u64 = 5;
    const DOMAIN: u64 = 7;
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(ATTRIBUTE, attribute) => scan_attribute(attribute, depth, domains)?,
            Field::Bytes(DOMAIN, domain) => domains.check(domain.bytes)?,
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok(())
}

/// `AttributeProto`, which may hold tensors and graphs.
fn scan_attribute(bytes: Slice<'_>, depth: usize, domains: &Domains<'_>) -> Result<(), OnnxError> {
    const TENSOR: u64 = 5;
    const GRAPH: u64 = 6;
    const TENSORS: u64 = 10;
    const GRAPHS: u64 = 11;
    const SPARSE_TENSOR: u64 = 22;
    const SPARSE_TENSORS: u64 = 23;
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(TENSOR | TENSORS, tensor) => scan_tensor(tensor)?,
            Field::Bytes(SPARSE_TENSOR | SPARSE_TENSORS, tensor) => scan_sparse_tensor(tensor)?,
            Field::Bytes(GRAPH | GRAPHS, graph) => scan_graph(graph, depth + 1, domains)?,
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok(())
}

/// `TensorProto`.
fn scan_tensor(bytes: Slice<'_>) -> Result<(), OnnxError> {
    const EXTERNAL_DATA: u64 = 13;
    const DATA_LOCATION: u64 = 14;
    const LOCATION_DEFAULT: u64 = 0;
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(EXTERNAL_DATA, _) => return Err(OnnxError::ExternalData),
            Field::Number(DATA_LOCATION, location) if location != LOCATION_DEFAULT => {
                return Err(OnnxError::ExternalData);
            }
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok(())
}

/// `SparseTensorProto`: values and indices are tensors.
fn scan_sparse_tensor(bytes: Slice<'_>) -> Result<(), OnnxError> {
    for field in Message::within(bytes) {
        if let Field::Bytes(1 | 2, tensor) = field? {
            scan_tensor(tensor)?;
        }
    }
    Ok(())
}

/// `ValueInfoProto`, whose type must be a tensor's.
fn scan_port(bytes: Slice<'_>, port: &'static str) -> Result<(), OnnxError> {
    const TYPE: u64 = 2;
    const TENSOR_TYPE: u64 = 1;
    const DENOTATION: u64 = 6;
    let mut is_tensor = false;
    for field in Message::within(bytes) {
        let Field::Bytes(TYPE, kind) = field? else {
            continue;
        };
        for part in Message::within(kind) {
            match part? {
                Field::Bytes(TENSOR_TYPE, _) => is_tensor = true,
                Field::Bytes(DENOTATION, _) => {}
                Field::Bytes(..) | Field::Number(..) | Field::Fixed => {
                    return Err(OnnxError::NotATensor { port });
                }
            }
        }
    }
    if is_tensor {
        Ok(())
    } else {
        Err(OnnxError::NotATensor { port })
    }
}

/// Bytes of a message and where they start in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice<'a> {
    pub(super) bytes: &'a [u8],
    start: usize,
}

/// A field of a message: its number, and its bytes or its varint. Nothing here reads a number of
/// fixed width.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Fixed,
    Bytes(u64, Slice<'a>),
    Number(u64, u64),
}

/// Walks the fields of a protobuf message (<https://protobuf.dev/programming-guides/encoding/>). It
/// ends after the first error.
#[derive(Debug)]
pub(super) struct Message<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    pub(super) fn within(slice: Slice<'a>) -> Self {
        Self {
            rest: slice.bytes,
            at: slice.start,
        }
    }

    /// Splits `length` bytes off the front.
    fn take(&mut self, length: u64) -> Option<Slice<'a>> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        let start = self.at;
        self.at += bytes.len();
        self.rest = rest;
        Some(Slice { bytes, start })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)?.bytes else {
                return None;
            };
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The next field, `None` if there is no whole one.
    fn field(&mut self) -> Option<Field<'a>> {
        const VARINT: u64 = 0;
        const FIXED64: u64 = 1;
        const LENGTH_DELIMITED: u64 = 2;
        const FIXED32: u64 = 5;
        let tag = self.varint()?;
        let number = tag >> 3;
        match tag & 7 {
            _ if number == 0 => None,
            VARINT => Some(Field::Number(number, self.varint()?)),
            LENGTH_DELIMITED => {
                let length = self.varint()?;
                Some(Field::Bytes(number, self.take(length)?))
            }
            FIXED64 => self.take(8).map(|_| Field::Fixed),
            FIXED32 => self.take(4).map(|_| Field::Fixed),
            // Groups were never part of ONNX.
            _ => None,
        }
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Result<Field<'a>, OnnxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.at;
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(OnnxError::Malformed { at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A length-delimited field.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        assert!(number < 16 && bytes.len() < 128);
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
        [field(1, key), field(2, value)].concat()
    }

    #[test]
    fn the_contract_is_found_among_other_metadata() {
        let model = [
            vec![0x08, 0x0a],
            field(14, &pair(b"author", b"x")),
            field(7, &[]),
            field(14, &pair(CONTRACT_KEY, b"{}")),
        ]
        .concat();
        assert_eq!(scan(&model).unwrap().contract, Some(&b"{}"[..]));
        assert_eq!(scan(&field(7, &[])).unwrap().contract, None);
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        assert_eq!(scan(&[]).unwrap_err(), OnnxError::NoGraph);
        assert_eq!(scan(b"\x00").unwrap_err(), OnnxError::Malformed { at: 0 });
        assert_eq!(
            scan(&[0x3a, 5, 1]).unwrap_err(),
            OnnxError::Malformed { at: 0 }
        );
        assert_eq!(
            scan(&[0xff; 20]).unwrap_err(),
            OnnxError::Malformed { at: 0 }
        );
        let inside = field(7, &field(1, &[0x2a, 0x05]));
        assert_eq!(scan(&inside).unwrap_err(), OnnxError::Malformed { at: 4 });
    }

    #[test]
    fn data_in_other_files_is_refused_wherever_the_tensor_stands() {
        let tensor = vec![14 << 3, 1];
        let constant = field(1, &field(5, &field(5, &tensor)));
        let nested = field(1, &field(5, &field(6, &field(5, &tensor))));
        for graph in [field(5, &tensor), constant, nested] {
            assert_eq!(
                scan(&field(7, &graph)).unwrap_err(),
                OnnxError::ExternalData
            );
        }
        assert!(scan(&field(7, &field(5, &[14 << 3, 0]))).is_ok());

        let in_a_node = field(7, &field(5, &field(5, &tensor)));
        let in_a_default = field(11, &field(5, &tensor));
        for parts in [in_a_node, in_a_default] {
            let model = [field(7, &[]), function(&parts)].concat();
            assert_eq!(scan(&model).unwrap_err(), OnnxError::ExternalData);
        }
    }

    /// A function of a model, whose field has a number of two bytes.
    fn function(parts: &[u8]) -> Vec<u8> {
        let [first, length @ ..] = &field(1, parts)[..] else {
            unreachable!("a field has a tag");
        };
        assert_eq!(*first, 0x0a);
        [&[0xca, 0x01], length].concat()
    }

    #[test]
    fn operators_of_other_domains_are_refused_unless_the_model_defines_them() {
        let model = |domain: &[u8]| field(7, &field(1, &field(7, domain)));
        for domain in [&b""[..], b"ai.onnx", b"ai.onnx.ml"] {
            assert!(scan(&model(domain)).is_ok());
        }
        let custom = OnnxError::CustomOperator {
            domain: "com.acme".to_owned(),
        };
        let calls = model(b"com.acme");
        assert_eq!(scan(&calls).unwrap_err(), custom);
        let nested = field(1, &field(5, &field(6, &field(1, &field(7, b"com.acme")))));
        assert_eq!(scan(&field(7, &nested)).unwrap_err(), custom);

        let defines = function(&field(10, b"com.acme"));
        assert!(scan(&[calls.clone(), defines].concat()).is_ok());
        let other = function(&[field(10, b"other"), field(7, &field(7, b"com.acme"))].concat());
        assert_eq!(scan(&[calls, other.clone()].concat()).unwrap_err(), custom);
        assert_eq!(scan(&[field(7, &[]), other].concat()).unwrap_err(), custom);
    }

    #[test]
    fn ports_that_are_no_tensors_are_refused() {
        let port = |kind: &[u8]| field(7, &field(12, &field(2, kind)));
        assert!(scan(&port(&field(1, &[]))).is_ok());
        for kind in [field(4, &[]), field(5, &[]), field(9, &[]), Vec::new()] {
            let error = scan(&port(&kind)).unwrap_err();
            assert_eq!(error, OnnxError::NotATensor { port: "output" });
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let mut graph = Vec::new();
        for _ in 0..=DEPTH_MAX {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        assert_eq!(scan(&field(7, &graph)).unwrap_err(), OnnxError::TooDeep);
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            // The property is that this returns: no panic, no endless loop.
            prop_assert!(scan(&bytes).map_or(true, |found| found.contract.is_none()));
        }
    }
}
