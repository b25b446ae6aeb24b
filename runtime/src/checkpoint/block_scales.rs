//! Scales in blocks of GGUF: where they lie, and that they are numbers.

use super::dtype::Dtype;
use super::stored::Tensor;
use crate::error::{Class, Result};

/// Refuses blocks whose scales are no numbers.
///
/// # Errors
/// [`Class::Value`].
pub(crate) fn check(tensor: &Tensor, blocks: &[u8]) -> Result<()> {
    let halves: &[usize] = match tensor.dtype {
        Dtype::MXFP4 => &[],
        Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K => &[0, 2],
        Dtype::Q2_K => &[80, 82],
        Dtype::Q3_K => &[108],
        Dtype::Q6_K => &[208],
        _ => &[0],
    };
    let half = |block: &[u8], at: usize| block.get(at..).and_then(|rest| rest.first_chunk()).copied();
    let is_number = |block: &[u8]| match tensor.dtype {
        // 255 is NaN. 0 would be subnormal: ggml writes it where a whole block is zero.
        Dtype::MXFP4 => match block.split_first() {
            Some((0, codes)) => codes.iter().all(|pair| pair & 0x77 == 0),
            exponent => exponent.is_some_and(|(&exponent, _)| exponent < 255),
        },
        _ => halves.iter().all(|&at| half(block, at).is_some_and(|bytes| u16::from_le_bytes(bytes) & 0x7c00 != 0x7c00)),
    };
    let size = usize::try_from(tensor.dtype.block().1).unwrap_or(usize::MAX);
    if blocks.chunks_exact(size).all(is_number) {
        return Ok(());
    }
    Err(tensor.error(Class::Value, "a block has a scale that is NaN, infinite or unusable"))
}
