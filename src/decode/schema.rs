//! Writer schemas: read from files once, checked against the limits, never changed afterwards.
//!
//! A [`SchemaFolder`] knows its schemas by fingerprint. What a decoder wants from them is not
//! decided here: that is a projection (`plan.rs`), and depends on the configuration.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_avro_fast::{
    Schema,
    schema::{RegularType, SchemaKey, SchemaMut, SchemaNode},
};

use super::bounds::{self, LimitError, SCHEMA_BYTES_MAX};

/// Most schema files that a folder may hold.
pub const SCHEMA_FILES_MAX: usize = 1_024;

/// CRC-64-AVRO of a schema's Parsing Canonical Form, as in single-object encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The writer schemas of a folder, by fingerprint.
#[derive(Clone, Debug, Default)]
pub struct SchemaFolder {
    schemas: BTreeMap<Fingerprint, WriterSchema>,
}

impl From<WriterSchema> for SchemaFolder {
    /// As a folder with this one schema.
    fn from(schema: WriterSchema) -> Self {
        let schemas = BTreeMap::from([(schema.fingerprint(), schema)]);
        Self { schemas }
    }
}

impl SchemaFolder {
    /// Reads every `*.avsc` file of `folder`, in the order of their names.
    ///
    /// # Errors
    /// When the folder cannot be read or has no schema, a file is not a usable schema, or two files
    /// have the same fingerprint and yet say different things.
    pub fn load(folder: &Path) -> Result<Self, SchemaError> {
        let unreadable = |source| SchemaError::Folder {
            folder: folder.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "avsc")
            {
                files.push(file);
            }
        }
        if files.is_empty() || files.len() > SCHEMA_FILES_MAX {
            return Err(SchemaError::FileCount {
                folder: folder.to_owned(),
                files: files.len(),
            });
        }
        files.sort();
        let mut schemas = BTreeMap::new();
        for file in files {
            let schema = WriterSchema::load(&file)?;
            let other = schemas.insert(schema.fingerprint(), schema.clone());
            // The same schema in two files is harmless; the fingerprint does not see logical types.
            if let Some(other) = other.filter(|other| other.fields() != schema.fields()) {
                return Err(SchemaError::Ambiguous {
                    fingerprint: schema.fingerprint(),
                    first: other.file().to_owned(),
                    second: file,
                });
            }
        }
        Ok(Self { schemas })
    }

    /// The schemas in the order of their fingerprints.
    pub fn iter(&self) -> impl Iterator<Item = &WriterSchema> {
        self.schemas.values()
    }

    /// The schema with this fingerprint.
    pub fn get(&self, fingerprint: Fingerprint) -> Option<&WriterSchema> {
        self.schemas.get(&fingerprint)
    }
}

/// One writer schema; cheap to clone.
#[derive(Clone)]
pub struct WriterSchema(Arc<Inner>);

struct Inner {
    file: PathBuf,
    fingerprint: Fingerprint,
    fields: Vec<Field>,
    reader: Schema,
}

impl WriterSchema {
    /// Reads a schema file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a usable schema.
    pub fn load(file: &Path) -> Result<Self, SchemaError> {
        let mut text = String::new();
        fs::File::open(file)
            .and_then(|opened| {
                // A byte more than the limit is enough to see that it is broken.
                opened.take(SCHEMA_BYTES_MAX + 1).read_to_string(&mut text)
            })
            .map_err(|source| SchemaError::File {
                file: file.to_owned(),
                source,
            })?;
        Self::parse(&text, file)
    }

    /// Takes a schema from its text; `file` is what messages call it.
    ///
    /// # Errors
    /// When it breaks a limit or is not a record schema.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SchemaError> {
        match Inner::parse(text, file) {
            Ok(inner) => Ok(Self(Arc::new(inner))),
            Err(fault) => Err(SchemaError::Refused {
                file: file.to_owned(),
                fault,
            }),
        }
    }

    /// What single-object encoding calls this schema.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// Where it was read from.
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// The fields of the record, in the order in which they are written.
    pub fn fields(&self) -> &[Field] {
        &self.0.fields
    }

    /// For readers of whole values; logical types are left out.
    pub fn reader(&self) -> &Schema {
        &self.0.reader
    }
}

impl fmt::Debug for WriterSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterSchema")
            .field("file", &self.0.file)
            .field("fingerprint", &self.0.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn parse(text: &str, file: &Path) -> Result<Self, SchemaFault> {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if bytes > SCHEMA_BYTES_MAX {
            return Err(LimitError::Bytes.into());
        }
        bounds::check(&serde_json::from_str(text)?)?;
        let mut schema: SchemaMut = text.parse()?;
        let fingerprint = Fingerprint(u64::from_le_bytes(
            schema.canonical_form_rabin_fingerprint()?,
        ));
        let fields = record_fields(&schema)?;
        // Values are read as their underlying types: what a logical type means for a field that is
        // wanted is ours to say, and elsewhere an odd decimal is no reason to refuse a record.
        for node in schema.nodes_mut() {
            node.logical_type = None;
        }
        Ok(Self {
            file: file.to_owned(),
            fingerprint,
            fields,
            reader: schema.freeze()?,
        })
    }
}

/// A field of a writer schema's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Arc<str>,
    /// The branches of a union, else the one type.
    pub types: Vec<FieldType>,
}

/// A type as far as projections tell types apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldType {
    pub base: BaseType,
    pub logical: Option<Box<str>>,
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.logical {
            Some(logical) => write!(f, "{} ({logical})", self.base.name()),
            None => f.write_str(self.base.name()),
        }
    }
}

/// Avro's types, apart where a projection may want one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseType {
    Null,
    Int,
    Long,
    Float,
    Double,
    String,
    Enum,
    /// Any other, by its name.
    Other(&'static str),
}

impl BaseType {
    /// Avro's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Enum => "enum",
            Self::Other(name) => name,
        }
    }
}

fn record_fields(schema: &SchemaMut) -> Result<Vec<Field>, SchemaFault> {
    let RegularType::Record(record) = &schema.root().type_ else {
        return Err(SchemaFault::NotARecord);
    };
    let mut names = HashSet::new();
    let mut fields = Vec::with_capacity(record.fields.len());
    for field in &record.fields {
        if !names.insert(field.name.as_str()) {
            return Err(SchemaFault::FieldTwice {
                field: field.name.clone(),
            });
        }
        fields.push(Field {
            name: field.name.as_str().into(),
            types: field_types(schema, field.type_),
        });
    }
    Ok(fields)
}

fn field_types(schema: &SchemaMut, key: SchemaKey) -> Vec<FieldType> {
    let node = &schema[key];
    if let RegularType::Union(union) = &node.type_ {
        let branches = union.variants.iter();
        branches
            .map(|&branch| field_type(&schema[branch]))
            .collect()
    } else {
        vec![field_type(node)]
    }
}

fn field_type(node: &SchemaNode) -> FieldType {
    let base = match &node.type_ {
        RegularType::Null => BaseType::Null,
        RegularType::Int => BaseType::Int,
        RegularType::Long => BaseType::Long,
        RegularType::Float => BaseType::Float,
        RegularType::Double => BaseType::Double,
        RegularType::String => BaseType::String,
        RegularType::Enum(_) => BaseType::Enum,
        RegularType::Boolean => BaseType::Other("boolean"),
        RegularType::Bytes => BaseType::Other("bytes"),
        RegularType::Array(_) => BaseType::Other("array"),
        RegularType::Map(_) => BaseType::Other("map"),
        RegularType::Union(_) => BaseType::Other("union"),
        RegularType::Record(_) => BaseType::Other("record"),
        RegularType::Fixed(_) => BaseType::Other("fixed"),
    };
    let logical = node.logical_type.as_ref();
    FieldType {
        base,
        logical: logical.map(|logical| logical.as_str().into()),
    }
}

/// Why no schemas could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("cannot read the schema folder {}", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error(
        "the schema folder {} has {files} .avsc files; it must have 1 to {SCHEMA_FILES_MAX}",
        folder.display()
    )]
    FileCount { folder: PathBuf, files: usize },
    #[error("cannot read the schema {}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("the schema {} cannot be used: {fault}", file.display())]
    Refused { file: PathBuf, fault: SchemaFault },
    #[error(
        "the schemas {} and {} have the same fingerprint {fingerprint} but differ in a logical \
         type, so their values cannot be told apart; remove one",
        first.display(),
        second.display()
    )]
    Ambiguous {
        fingerprint: Fingerprint,
        first: PathBuf,
        second: PathBuf,
    },
}

/// What is wrong with one schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaFault {
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("it is not Avro: {0}")]
    Avro(#[from] serde_avro_fast::schema::SchemaError),
    #[error("its root is not a record")]
    NotARecord,
    #[error("it has two fields named {field}")]
    FieldTwice { field: String },
}
