//! The Parquet schema of a piece and how its columns are written.
//!
//! The Arrow schema decides all but UUID, which arrow-rs writes for an extension type only; and extension types, like the
//! whole `ARROW:schema` entry, break older readers. So the UUID annotation is set in the Parquet schema by hand.

use std::sync::Arc;

use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, LogicalType, Type as PhysicalType, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};

use super::auction::{Choice, MOST_DICTIONARIES};
use crate::codec::CodecError;
use crate::codec::shape::PieceShape;

/// Key of the file's metadata under which [`PieceShape::metadata`] stands.
pub const SCHEMA_KEY: &str = "barkeep.schema";

/// Key of the file's metadata under which the number of entries in the exceptions sidecar stands.
pub const EXCEPTIONS_KEY: &str = "barkeep.exceptions";

/// Named in the footer. Without a version of ours, so that the same rows give the same file, whichever version wrote them.
const CREATED_BY: &str = "barkeep";

pub(super) fn parquet_schema(shape: &PieceShape) -> Result<SchemaDescriptor, CodecError> {
    let converted = ArrowSchemaConverter::new().convert(&shape.arrow_schema())?;
    Ok(SchemaDescriptor::new(annotated(&converted.root_schema_ptr())?))
}

/// The same type with UUID on every 16-byte column that has no annotation: no mapping but `Uuid` makes such a column.
fn annotated(node: &TypePtr) -> Result<TypePtr, CodecError> {
    let basic = node.get_basic_info();
    match &**node {
        Type::PrimitiveType {
            physical_type: PhysicalType::FIXED_LEN_BYTE_ARRAY, type_length: 16, ..
        } if basic.logical_type_ref().is_none() => {
            let built = Type::primitive_type_builder(basic.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
                .with_length(16)
                .with_repetition(basic.repetition())
                .with_logical_type(Some(LogicalType::Uuid))
                .build()?;
            Ok(Arc::new(built))
        }
        Type::PrimitiveType { .. } => Ok(node.clone()),
        Type::GroupType { fields, .. } => {
            let fields = fields.iter().map(annotated).collect::<Result<Vec<_>, _>>()?;
            let mut group = Type::group_type_builder(basic.name())
                .with_fields(fields)
                .with_logical_type(basic.logical_type_ref().cloned())
                .with_converted_type(basic.converted_type());
            if basic.has_repetition() {
                group = group.with_repetition(basic.repetition());
            }
            Ok(Arc::new(group.build()?))
        }
    }
}

/// Whether there is: see [`MOST_DICTIONARIES`].
pub(super) fn has_room_for_dictionaries(schema: &SchemaDescriptor) -> bool {
    schema.num_columns() <= MOST_DICTIONARIES
}

pub(super) fn writer_properties(
    schema: &SchemaDescriptor,
    zstd_level: i32,
    plain: bool,
    metadata: Option<&str>,
    choices: &[(ColumnPath, Choice)],
) -> Result<WriterProperties, CodecError> {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level)?))
        .set_created_by(CREATED_BY.to_owned())
        // The piece writer alone closes row groups.
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(
            metadata.map(|json| vec![KeyValue::new(SCHEMA_KEY.to_owned(), json.to_owned())]),
        );
    if plain || !has_room_for_dictionaries(schema) {
        properties = properties.set_dictionary_enabled(false);
    }
    if plain {
        properties =
            properties.set_statistics_enabled(EnabledStatistics::None).set_offset_index_disabled(true);
    }
    for (path, choice) in choices {
        properties = properties
            .set_column_compression(path.clone(), choice.compression)
            .set_column_dictionary_enabled(path.clone(), choice.encoding.is_none());
        if let Some(encoding) = choice.encoding {
            properties = properties.set_column_encoding(path.clone(), encoding);
        }
    }
    for column in schema.columns() {
        if matches!(column.physical_type(), PhysicalType::FLOAT | PhysicalType::DOUBLE) {
            // One NaN among the values makes engines skip row groups that have matching rows.
            properties =
                properties.set_column_statistics_enabled(column.path().clone(), EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}
