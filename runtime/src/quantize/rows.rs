//! Rows of a stored matrix as numbers, whatever it is stored in.

use lyn_shaders::encodings;

use crate::blocks::{self, StoredBytes};
use crate::checkpoint::{Checkpoint, Dtype, SLICE_BYTES, Tensor, names};
use crate::error::{Code, Error, Result};

/// Columns of a row.
pub(super) fn columns(tensor: &Tensor) -> u64 {
    tensor.shape.last().copied().unwrap_or(1)
}

/// Rows as they are stored.
pub(super) async fn stored(checkpoint: &Checkpoint, name: &str, first: u64, rows: u64) -> Result<Vec<u8>> {
    rows_of(checkpoint, checkpoint.tensor(name)?, first, rows).await
}

async fn rows_of(checkpoint: &Checkpoint, tensor: &Tensor, first: u64, rows: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (start, end) = (first * tensor.row_bytes(), (first + rows) * tensor.row_bytes());
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
        dtype if dtype.is_quantised_block() => {
            let (mut scales, mut minima) = (vec![], vec![]);
            if let Some(packed) = &tensor.packed {
                checkpoint.check_packed_shape(tensor).await?;
                scales = rows_of(checkpoint, &packed.scales, first, rows).await?;
                if let Some(tensor) = &packed.minima {
                    minima = rows_of(checkpoint, tensor, first, rows).await?;
                }
            }
            of_blocks(tensor, StoredBytes { rows: &bytes, scales: &scales, minima: &minima }, rows)
        }
        dtype => dtype.decode(&bytes).ok_or_else(|| {
            Error::new(Code::Internal, format!("tensor {}: {dtype} is not decoded on the host", tensor.name))
        }),
    }
}

/// Bytes of e4m3, each block of 128 rows and columns with a scale.
fn fp8(bytes: &[u8], scales: &[f32], first: u64, columns: u64) -> Vec<f32> {
    let side = u64::from(encodings::BLOCK.rows);
    let blocks = columns.div_ceil(side);
    let codes: Vec<u32> = bytes.iter().map(|&code| code.into()).collect();
    let mut values = vec![0.0; bytes.len()];
    (encodings::FP8.values.decode)(&codes, &mut values);
    let of = |place: usize, value: f64| {
        let (row, column) = (first + place as u64 / columns, place as u64 % columns);
        let scale = usize::try_from(row / side * blocks + column / side).ok().and_then(|place| scales.get(place));
        single(value * f64::from(scale.copied().unwrap_or(f32::NAN)))
    };
    values.into_iter().enumerate().map(|(place, value)| of(place, value)).collect()
}

fn of_blocks(tensor: &Tensor, stored: StoredBytes<'_>, rows: u64) -> Result<Vec<f32>> {
    let size = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    let (rows, columns) = (size(rows), size(columns(tensor)));
    let apart = blocks::take_apart(tensor, columns, stored)?;
    let values = blocks::encoding_of(tensor)?.decode_rows(&apart.codes, &apart.scales, rows, columns);
    Ok(values.into_iter().map(single).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "products of these are exact in f32")]
fn single(value: f64) -> f32 {
    value as f32
}
