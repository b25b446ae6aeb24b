//! Rows of a stored matrix as numbers, whatever it is stored in.

use lyn_shaders::encodings;

use crate::blocks;
use crate::checkpoint::{Checkpoint, Dtype, SLICE_BYTES, Tensor, names};
use crate::error::{Code, Error, Result};

/// Bytes of a row; of a vector, of all of it.
pub(super) fn row_bytes(tensor: &Tensor) -> u64 {
    let rows = tensor.shape.split_last().map_or(1, |(_, rows)| rows.iter().product::<u64>());
    tensor.bytes / rows.max(1)
}

/// Columns of a row.
pub(super) fn columns(tensor: &Tensor) -> u64 {
    tensor.shape.last().copied().unwrap_or(1)
}

/// Rows as they are stored.
pub(super) async fn stored(checkpoint: &Checkpoint, name: &str, first: u64, rows: u64) -> Result<Vec<u8>> {
    let tensor = checkpoint.tensor(name)?;
    let mut bytes = Vec::new();
    let (start, end) = (first * row_bytes(tensor), (first + rows) * row_bytes(tensor));
    let mut at = start;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(SLICE_BYTES).min(SLICE_BYTES);
        bytes.extend(checkpoint.read(tensor, at, length).await?);
        at += length as u64;
    }
    Ok(bytes)
}

/// Rows as numbers.
pub(super) async fn read(checkpoint: &Checkpoint, name: &str, first: u64, rows: u64) -> Result<Vec<f32>> {
    let tensor = checkpoint.tensor(name)?;
    let bytes = stored(checkpoint, name, first, rows).await?;
    match tensor.dtype {
        Dtype::F8_E4M3 => {
            let scales = checkpoint.read_f32(&names::scale(name)).await?;
            Ok(fp8(&bytes, &scales, first, columns(tensor)))
        }
        dtype if dtype.is_quantised_block() => of_blocks(tensor, &bytes, rows),
        dtype => dtype.decode(&bytes).ok_or_else(|| {
            Error::new(Code::Internal, format!("tensor {}: {dtype} is not decoded on the host", tensor.name))
        }),
    }
}

/// Bytes of e4m3, each block of 128 rows and columns with a scale.
fn fp8(bytes: &[u8], scales: &[f32], first: u64, columns: u64) -> Vec<f32> {
    let side = u64::from(encodings::BLOCK.rows);
    let blocks = columns.div_ceil(side);
    let mut codes = bytes.to_vec();
    codes.resize(bytes.len().next_multiple_of(4), 0);
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(&codes);
    let mut values = vec![0.0; bytes.len()];
    (encodings::FP8.codes.decode)(&words, &mut values);
    let of = |place: usize, value: f64| {
        let (row, column) = (first + place as u64 / columns, place as u64 % columns);
        let scale = usize::try_from(row / side * blocks + column / side).ok().and_then(|place| scales.get(place));
        single(value * f64::from(scale.copied().unwrap_or(f32::NAN)))
    };
    values.into_iter().enumerate().map(|(place, value)| of(place, value)).collect()
}

fn of_blocks(tensor: &Tensor, bytes: &[u8], rows: u64) -> Result<Vec<f32>> {
    let split = blocks::split(tensor, bytes)?;
    let codes: Vec<u32> = bytemuck::pod_collect_to_vec(&split.codes);
    let scales = (split.encoding.scales.encode)(&split.scales);
    let mut row_values = vec![0.0; usize::try_from(columns(tensor)).unwrap_or(0)];
    let mut values = Vec::with_capacity(row_values.len());
    for row in 0..u32::try_from(rows).unwrap_or(u32::MAX) {
        split.encoding.decode_row(&codes, row, &scales, row, &mut row_values);
        values.extend(row_values.iter().copied().map(single));
    }
    Ok(values)
}

#[expect(clippy::cast_possible_truncation, reason = "products of these are exact in f32")]
fn single(value: f64) -> f32 {
    value as f32
}
