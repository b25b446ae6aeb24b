//! Values of a checkpoint: read, and known to be numbers.
//!
//! Loading reads vectors and scales here, and looks at the scales in blocks of GGUF. All other values are looked at by
//! [`Checkpoint::check_values`] alone, which reads the whole checkpoint.

use super::block_scales;
use super::dtype::Dtype;
use super::stored::Tensor;
use super::{Checkpoint, slices};
use crate::error::{Class, Code, Error, Result};

/// Values looked at together, in bytes: as many as a loop without a branch pays for.
const STRIDE: usize = 4096;

impl Checkpoint {
    /// A vector, or the scales of a weight, decoded; every value is finite.
    ///
    /// # Errors
    /// As [`Checkpoint::read`]; [`Class::Value`]: NaN, infinite, or an exponent byte of 0 or 255.
    pub async fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
        let undecoded = || Error::new(Code::Internal, format!("{} is not decoded on the host", tensor.dtype));
        let mut values = Vec::new();
        for (offset, length) in slices(tensor) {
            let bytes = self.read(tensor, offset, length).await?;
            check_numbers(tensor, offset, &bytes)?;
            values.extend(tensor.dtype.decode(&bytes).ok_or_else(undecoded)?);
        }
        Ok(values)
    }

    /// Reads every value, and refuses those that no model holds: NaN, infinities, scales that are no numbers. `progress` is
    /// told the bytes read and those there are, and may stop the scan.
    ///
    /// # Errors
    /// As [`Checkpoint::read_f32`], for the first such tensor in the order of files; what `progress` returns.
    pub async fn check_values(&self, progress: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let mut all: Vec<&Tensor> = self.tensors.values().map(|(tensor, _)| tensor).collect();
        for tensor in &all {
            self.check_packed_shape(tensor).await?;
        }
        let beside = all.iter().filter_map(|tensor| tensor.packed.as_deref());
        let beside: Vec<&Tensor> =
            beside.flat_map(|packed| [Some(&packed.scales), packed.minima.as_ref()]).flatten().collect();
        all.extend(beside);
        // Files are read from front to back.
        all.sort_unstable_by_key(|tensor| (&tensor.file, tensor.offset, tensor.bytes));
        let total = all.iter().fold(0u64, |total, tensor| total.saturating_add(tensor.bytes));
        let mut done = 0u64;
        for tensor in all {
            for (offset, length) in slices(tensor) {
                let bytes = self.read(tensor, offset, length).await?;
                check_numbers(tensor, offset, &bytes)?;
                done = done.saturating_add(bytes.len() as u64);
                progress(done, total)?;
            }
        }
        Ok(())
    }

    /// Compares the shape that is stored beside packed codes, where there is one.
    ///
    /// # Errors
    /// [`Class::Quant`]: it says something else. As [`Checkpoint::read`].
    pub(crate) async fn check_packed_shape(&self, tensor: &Tensor) -> Result<()> {
        let Some(shape) = tensor.packed.as_ref().and_then(|packed| packed.shape.as_ref()) else { return Ok(()) };
        let length = usize::try_from(shape.bytes).unwrap_or(0);
        let bytes = self.read(shape, 0, length).await?;
        let found: Vec<i64> = match shape.dtype {
            Dtype::I64 => {
                bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(i64::from_le_bytes).collect()
            }
            _ => {
                let words = bytes.chunks_exact(4).filter_map(|word| word.try_into().ok());
                words.map(i32::from_le_bytes).map(i64::from).collect()
            }
        };
        let expected = &tensor.shape;
        if found.iter().map(|&size| u64::try_from(size).ok()).eq(expected.iter().map(|&size| Some(size))) {
            return Ok(());
        }
        Err(shape.error(Class::Quant, format_args!("expected {expected:?} as of the codes, found {found:?}")))
    }
}

/// Refuses the bytes from `offset` of a tensor where one of their values is no number.
fn check_numbers(tensor: &Tensor, offset: u64, bytes: &[u8]) -> Result<()> {
    let found = match tensor.dtype {
        Dtype::F32 => first(bytes, |word| u32::from_le_bytes(word) & 0x7f80_0000 == 0x7f80_0000),
        Dtype::F16 => first(bytes, |half| u16::from_le_bytes(half) & 0x7c00 == 0x7c00),
        Dtype::BF16 => first(bytes, |half| u16::from_le_bytes(half) & 0x7f80 == 0x7f80),
        Dtype::F8_E4M3 => first(bytes, |[byte]| byte & 0x7f == 0x7f),
        // Exponents of scales: 0 would be subnormal, 255 is NaN.
        Dtype::U8 | Dtype::F8_E8M0 => first(bytes, |[byte]| byte == 0 || byte == 0xff),
        // Every code stands for a number.
        Dtype::INT2 | Dtype::INT3 | Dtype::INT4 | Dtype::INT5 | Dtype::INT6 | Dtype::INT8 => None,
        _ => return block_scales::check(tensor, bytes),
    };
    let Some(place) = found else { return Ok(()) };
    let size = tensor.dtype.block().1;
    let place = offset.checked_div(size).unwrap_or(0).saturating_add(place as u64);
    let found = "found NaN, infinity or an unusable exponent";
    Err(tensor.error(Class::Value, format_args!("value {place}: expected a finite number, {found}")))
}

/// The first value of `N` bytes that is `bad`.
fn first<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
    let (values, _) = bytes.as_chunks::<N>();
    let stride = STRIDE.checked_div(N).unwrap_or(1);
    // Without an early end, so that the compiler looks at many values at once.
    let piece = values.chunks(stride).position(|piece| piece.iter().fold(false, |any, &value| any | bad(value)))?;
    let before = piece.saturating_mul(stride);
    let within = values.get(before..)?.iter().position(|&value| bad(value))?;
    Some(before.saturating_add(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dtype: Dtype, bytes: &[u8]) -> Result<()> {
        let (name, file) = ("t".to_owned(), "f".into());
        let bytes_all = bytes.len() as u64;
        let tensor = Tensor { name, file, dtype, shape: vec![1], offset: 0, bytes: bytes_all, packed: None };
        check_numbers(&tensor, 0, bytes)
    }

    /// Oracle: Rust's own floats, and the tables of the formats.
    #[test]
    fn what_is_no_number_is_found_wherever_it_stands() {
        let halves = |bits: u16, place: usize| {
            let mut values = vec![0x3c00u16; 5000];
            values[place] = bits;
            values.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>()
        };
        for place in [0, 1, 2047, 2048, 4999] {
            for (dtype, bits, is_number) in [
                (Dtype::F16, 0x7c00, false),
                (Dtype::F16, 0xfe01, false),
                (Dtype::F16, 0x7bff, true),
                (Dtype::BF16, 0x7f80, false),
                (Dtype::BF16, 0xffc1, false),
                (Dtype::BF16, 0x7f7f, true),
                (Dtype::BF16, 0x7c00, true),
            ] {
                let found = check(dtype, &halves(bits, place));
                let expected = (!is_number).then(|| format!("value {place}:"));
                let said = found.err().map(|error| error.message().to_owned());
                assert_eq!(said.is_some(), expected.is_some(), "{dtype} {bits:x}: {said:?}");
                assert!(said.unwrap_or_default().contains(&expected.unwrap_or_default()), "{dtype} {bits:x}");
            }
        }
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, -0.0] {
            assert_eq!(check(Dtype::F32, &value.to_le_bytes()).is_ok(), value.is_finite(), "{value}");
        }
        for byte in 0..=255u8 {
            assert_eq!(check(Dtype::F8_E4M3, &[byte]).is_ok(), !matches!(byte, 0x7f | 0xff), "{byte}");
            assert_eq!(check(Dtype::F8_E8M0, &[byte]).is_ok(), !matches!(byte, 0 | 0xff), "{byte}");
            assert!(check(Dtype::INT4, &[byte; 16]).is_ok());
        }
        let infinite = [&[0x00, 0x7c][..], &[0; 32]].concat();
        assert!(check(Dtype::Q8_0, &[0; 34]).is_ok() && check(Dtype::Q8_0, &infinite).is_err());
    }
}
