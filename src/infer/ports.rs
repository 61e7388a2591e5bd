//! What an ONNX file says of itself: who made it, for which operators, and its inputs and outputs.
//!
//! For people who look at a package without a runtime, in the words that the runtime has for tensors,
//! so that `signature` judges both alike. The bytes have passed [`super::onnx::scan`].

use std::collections::HashSet;
use std::fmt::Write as _;

use super::onnx::{Field, Message, OnnxError, Slice};

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    /// Element type and dimensions as they are written in messages.
    pub kind: String,
    pub is_float32: bool,
    /// Per dimension its size, `None` where it is symbolic. Empty for a tensor of unknown rank.
    pub dimensions: Vec<Option<usize>>,
}

/// What an ONNX file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Version of the file format.
    pub ir_version: u64,
    /// The program that wrote the file, and its version; empty where it does not say.
    pub producer: String,
    pub producer_version: String,
    pub operator_sets: Vec<OperatorSet>,
    /// Without those that have a value of their own in the file.
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// A set of operators that a model is written for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSet {
    /// Empty for ONNX's own.
    pub domain: String,
    pub version: u64,
}

/// Most inputs, and outputs, that are looked at: as many as a contract can ask for, and more.
const PORTS_MAX: usize = 4_096;
/// Most operator sets; a model names one for each domain.
const OPERATOR_SETS_MAX: usize = 64;
/// Dimensions of a tensor that are told; one of more is none of ours.
const DIMENSIONS_MAX: usize = 16;
/// Bytes of a name that are told.
const NAME_SHOWN_MAX: usize = 256;

impl Graph {
    /// Reads a `ModelProto`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, OnnxError> {
        const IR_VERSION: u64 = 1;
        const PRODUCER_NAME: u64 = 2;
        const PRODUCER_VERSION: u64 = 3;
        const GRAPH: u64 = 7;
        const OPSET_IMPORT: u64 = 8;
        let mut found = Self::default();
        for field in Message::new(bytes) {
            match field? {
                Field::Number(IR_VERSION, version) => found.ir_version = version,
                Field::Bytes(PRODUCER_NAME, name) => found.producer = text(name),
                Field::Bytes(PRODUCER_VERSION, version) => found.producer_version = text(version),
                Field::Bytes(OPSET_IMPORT, set)
                    if found.operator_sets.len() < OPERATOR_SETS_MAX =>
                {
                    found.operator_sets.push(operator_set(set)?);
                }
                Field::Bytes(GRAPH, graph) => found.read_graph(graph)?,
                Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
            }
        }
        Ok(found)
    }

    /// `GraphProto`.
    fn read_graph(&mut self, bytes: Slice<'_>) -> Result<(), OnnxError> {
        const INITIALIZER: u64 = 5;
        const INPUT: u64 = 11;
        const OUTPUT: u64 = 12;
        const SPARSE_INITIALIZER: u64 = 15;
        let mut with_value = HashSet::new();
        for field in Message::within(bytes) {
            match field? {
                Field::Bytes(INITIALIZER, tensor) => with_value.extend(tensor_name(tensor)?),
                Field::Bytes(SPARSE_INITIALIZER, sparse) => {
                    const VALUES: u64 = 1;
                    for part in Message::within(sparse) {
                        if let Field::Bytes(VALUES, tensor) = part? {
                            with_value.extend(tensor_name(tensor)?);
                        }
                    }
                }
                Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
            }
        }
        for field in Message::within(bytes) {
            match field? {
                Field::Bytes(INPUT, input) if self.inputs.len() < PORTS_MAX => {
                    let (name, port) = port(input)?;
                    if !with_value.contains(name) {
                        self.inputs.push(port);
                    }
                }
                Field::Bytes(OUTPUT, output) if self.outputs.len() < PORTS_MAX => {
                    self.outputs.push(port(output)?.1);
                }
                Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
            }
        }
        Ok(())
    }
}

/// `OperatorSetIdProto`.
fn operator_set(bytes: Slice<'_>) -> Result<OperatorSet, OnnxError> {
    let mut set = OperatorSet {
        domain: String::new(),
        version: 0,
    };
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(1, domain) => set.domain = text(domain),
            Field::Number(2, version) => set.version = version,
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok(set)
}

/// The name of a `TensorProto`.
fn tensor_name(bytes: Slice<'_>) -> Result<Option<&[u8]>, OnnxError> {
    const NAME: u64 = 8;
    let mut name = None;
    for field in Message::within(bytes) {
        if let Field::Bytes(NAME, found) = field? {
            name = Some(found.bytes);
        }
    }
    Ok(name)
}

/// `ValueInfoProto`, whose type is a tensor's; and its name as it stands in the file.
fn port(bytes: Slice<'_>) -> Result<(&[u8], Port), OnnxError> {
    const NAME: u64 = 1;
    const TYPE: u64 = 2;
    const TENSOR_TYPE: u64 = 1;
    let mut name: &[u8] = &[];
    let mut tensor_type = (0, Vec::new());
    for field in Message::within(bytes) {
        match field? {
            Field::Bytes(NAME, found) => name = found.bytes,
            Field::Bytes(TYPE, kind) => {
                for part in Message::within(kind) {
                    if let Field::Bytes(TENSOR_TYPE, tensor) = part? {
                        tensor_type = read_tensor_type(tensor)?;
                    }
                }
            }
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    let (element, dimensions) = tensor_type;
    let (sizes, shown): (Vec<_>, Vec<_>) = dimensions.into_iter().unzip();
    let port = Port {
        name: shown_text(name),
        kind: format!("Tensor<{}>({})", element_name(element), shown.join(", ")),
        is_float32: element == FLOAT32,
        dimensions: sizes,
    };
    Ok((name, port))
}

/// A dimension's size where it has one, and as it is shown.
type Dimension = (Option<usize>, String);

/// `TypeProto.Tensor`: the number of its element type, and its dimensions.
fn read_tensor_type(bytes: Slice<'_>) -> Result<(u64, Vec<Dimension>), OnnxError> {
    const ELEMENT_TYPE: u64 = 1;
    const SHAPE: u64 = 2;
    const DIMENSION: u64 = 1;
    let (mut element, mut dimensions) = (0, Vec::new());
    for field in Message::within(bytes) {
        match field? {
            Field::Number(ELEMENT_TYPE, number) => element = number,
            Field::Bytes(SHAPE, shape) => {
                for part in Message::within(shape).take(DIMENSIONS_MAX) {
                    if let Field::Bytes(DIMENSION, size) = part? {
                        dimensions.push(dimension(size)?);
                    }
                }
            }
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok((element, dimensions))
}

/// `TensorShapeProto.Dimension`.
fn dimension(bytes: Slice<'_>) -> Result<Dimension, OnnxError> {
    const DIM_VALUE: u64 = 1;
    const DIM_PARAM: u64 = 2;
    let mut found = (None, String::from("dyn"));
    for field in Message::within(bytes) {
        match field? {
            Field::Number(DIM_VALUE, size) => {
                // A negative size, which stands for none, has the highest bit of a varint.
                let size = i64::try_from(size).ok();
                let size = size.and_then(|size| usize::try_from(size).ok());
                if let Some(known) = size {
                    found = (size, known.to_string());
                }
            }
            Field::Bytes(DIM_PARAM, symbol) if !symbol.bytes.is_empty() => {
                found = (None, text(symbol));
            }
            Field::Bytes(..) | Field::Number(..) | Field::Fixed => {}
        }
    }
    Ok(found)
}

/// `TensorProto.FLOAT`.
const FLOAT32: u64 = 1;

/// The name of a `TensorProto.DataType`, as the runtime's messages have it.
fn element_name(number: u64) -> &'static str {
    const NAMES: [&str; 27] = [
        "undefined",
        "f32",
        "u8",
        "i8",
        "u16",
        "i16",
        "i32",
        "i64",
        "String",
        "bool",
        "f16",
        "f64",
        "u32",
        "u64",
        "c64",
        "c128",
        "bf16",
        "f8_e4m3fn",
        "f8_e4m3fnuz",
        "f8_e5m2",
        "f8_e5m2fnuz",
        "u4",
        "i4",
        "f4_e2m1",
        "f8_e8m0",
        "u2",
        "i2",
    ];
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    NAMES.get(index).copied().unwrap_or("undefined")
}

fn text(slice: Slice<'_>) -> String {
    shown_text(slice.bytes)
}

fn shown_text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(NAME_SHOWN_MAX)];
    let mut text = String::from_utf8_lossy(shown).into_owned();
    if shown.len() < bytes.len() {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "... ({} bytes)", bytes.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph_of(name: &str) -> Graph {
        let path = format!("{}/tests/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        Graph::read(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_file_tells_its_maker_its_operators_and_its_tensors() {
        let graph = graph_of("gru_quantiles");
        assert!(graph.ir_version > 0 && !graph.producer.is_empty());
        assert!(graph.operator_sets[0].version > 10);
        assert_eq!(graph.inputs.len(), 1, "{:?}", graph.inputs);
        assert!(graph.inputs[0].is_float32);
        assert_eq!(graph.inputs[0].dimensions[1], Some(24));
        // The means and three quantiles.
        assert_eq!(graph.outputs.len(), 4);
    }

    #[test]
    fn tensors_that_have_a_value_in_the_file_are_no_inputs() {
        let tensor_named = |tag: u8, name: u8| vec![tag, 1, name];
        let wrap = |tag: u8, inner: Vec<u8>| {
            [vec![tag, u8::try_from(inner.len()).unwrap()], inner].concat()
        };
        // Field 5 with the name in field 8; field 11 with the name in field 1.
        let initializer = wrap(0x2a, tensor_named(0x42, b'w'));
        let inputs = [
            wrap(0x5a, tensor_named(0x0a, b'w')),
            wrap(0x5a, tensor_named(0x0a, b'x')),
        ];
        let graph = [inputs.concat(), initializer].concat();
        let read = Graph::read(&wrap(0x3a, graph)).unwrap();
        let names: Vec<_> = read.inputs.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["x"]);
    }

    #[test]
    fn sizes_are_numbers_symbols_or_unknown() {
        let shown = |bytes: &[u8]| {
            let outer = [
                vec![0x0a, u8::try_from(bytes.len()).unwrap()],
                bytes.to_vec(),
            ]
            .concat();
            let Some(Ok(Field::Bytes(1, slice))) = Message::new(&outer).next() else {
                unreachable!("field 1 was written");
            };
            dimension(slice).unwrap()
        };
        assert_eq!(shown(&[0x08, 24]), (Some(24), "24".to_owned()));
        assert_eq!(shown(b"\x12\x01n"), (None, "n".to_owned()));
        assert_eq!(shown(&[]), (None, "dyn".to_owned()));
        let minus_one = [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(shown(&minus_one), (None, "dyn".to_owned()));
    }
}
