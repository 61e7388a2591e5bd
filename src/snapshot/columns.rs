//! Columns of series as Arrow record batches.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, SchemaRef};

use crate::window::{MovesImage, SeriesColumns};

/// The log of stream time as the one batch of the first stream.
pub(super) fn moves_batch(
    schema: SchemaRef,
    moves: &MovesImage,
) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(moves.offsets.clone())),
        Arc::new(Int64Array::from(moves.before.clone())),
    ];
    RecordBatch::try_new(schema, columns)
}

/// A batch of the second stream. The columns are moved, not copied.
pub(super) fn series_batch(
    schema: SchemaRef,
    columns: SeriesColumns,
) -> Result<RecordBatch, ArrowError> {
    let SeriesColumns {
        names,
        name_ends,
        newest,
        last_change,
        held,
        held_cells,
        offsets,
        cells,
    } = columns;
    let per_held = held_cells.len() / held.iter().flatten().count().max(1);
    let held_lengths = held.iter().map(|held| held.map_or(0, |_| per_held));
    let held_ends = OffsetBuffer::from_lengths(held_lengths);
    let fixed = |index: usize, values: ArrayRef| -> Result<ArrayRef, ArrowError> {
        let DataType::FixedSizeList(item, length) = schema.field(index).data_type() else {
            return Err(no_list());
        };
        let list = FixedSizeListArray::try_new(Arc::clone(item), *length, values, None)?;
        Ok(Arc::new(list))
    };
    let DataType::List(item) = schema.field(HELD_CELLS).data_type() else {
        return Err(no_list());
    };
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::try_new(
            name_offsets(&name_ends)?,
            Buffer::from_vec(names.into_bytes()),
            None,
        )?),
        Arc::new(Int64Array::from(newest)),
        Arc::new(Int64Array::from(last_change)),
        Arc::new(
            held.iter()
                .map(|held| held.map(|(slot, _)| slot))
                .collect::<Int64Array>(),
        ),
        Arc::new(
            held.iter()
                .map(|held| held.map(|(_, offset)| offset))
                .collect::<Int64Array>(),
        ),
        Arc::new(ListArray::try_new(
            Arc::clone(item),
            held_ends,
            Arc::new(Float64Array::from(held_cells)),
            None,
        )?),
        fixed(OFFSETS, Arc::new(Int64Array::from(offsets)))?,
        fixed(CELLS, Arc::new(Float64Array::from(cells)))?,
    ];
    RecordBatch::try_new(schema, arrays)
}

/// Where the lists stand among the columns of `series_schema`.
const HELD_CELLS: usize = 5;
const OFFSETS: usize = 6;
const CELLS: usize = 7;

fn no_list() -> ArrowError {
    ArrowError::SchemaError("a column that is no list".to_owned())
}

fn name_offsets(ends: &[usize]) -> Result<OffsetBuffer<i32>, ArrowError> {
    let ends = std::iter::once(&0)
        .chain(ends)
        .map(|end| i32::try_from(*end));
    let ends: Vec<i32> = ends
        .collect::<Result<_, _>>()
        .map_err(|error| ArrowError::OffsetOverflowError(error.to_string().len()))?;
    Ok(OffsetBuffer::new(ScalarBuffer::from(ends)))
}
