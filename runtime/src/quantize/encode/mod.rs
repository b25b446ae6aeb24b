//! Numbers to the blocks of a GGUF file: the inverse of what a reader decodes, as near as the type allows.
//!
//! In: values of whole rows. Out: bytes. Never: a scale that is infinite or NaN; an order of sums that depends on threads.
//! Source of the layouts: `ggml-common.h` of llama.cpp. The searches for scales are least squares over the same candidates as its
//! reference quantisers have.

mod large;
mod search;
mod small;
mod table;
#[cfg(test)]
mod tests;

use half::f16;

/// Declares the table once: variant, its name, its number in a file, values and bytes of a block, what takes its place where blocks
/// do not divide a row.
macro_rules! block_types {
    ($($variant:ident = $name:literal, $number:literal, $values:literal, $bytes:literal, $fallback:ident;)*) => {
        /// How the values of a tensor lie in a GGUF file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(non_camel_case_types, missing_docs, reason = "the names of the file format")]
        pub enum BlockType { $($variant,)* }

        impl BlockType {
            /// All of them.
            pub const ALL: &'static [BlockType] = &[$(BlockType::$variant),*];

            /// The name in reports: `Q4_K`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(BlockType::$variant => $name,)* } }

            /// The number in a file.
            pub(crate) const fn number(self) -> u32 { match self { $(BlockType::$variant => $number,)* } }

            /// Values and bytes of a block.
            pub(crate) const fn block(self) -> (u64, u64) { match self { $(BlockType::$variant => ($values, $bytes),)* } }

            const fn fallback(self) -> BlockType { match self { $(BlockType::$variant => BlockType::$fallback,)* } }
        }
    };
}

block_types! {
    F32 = "F32", 0, 1, 4, F32;
    F16 = "F16", 1, 1, 2, F16;
    BF16 = "BF16", 30, 1, 2, BF16;
    Q8_0 = "Q8_0", 8, 32, 34, F16;
    Q5_1 = "Q5_1", 7, 32, 24, F16;
    Q5_0 = "Q5_0", 6, 32, 22, F16;
    Q4_1 = "Q4_1", 3, 32, 20, F16;
    Q4_0 = "Q4_0", 2, 32, 18, F16;
    IQ4_NL = "IQ4_NL", 20, 32, 18, F16;
    Q6_K = "Q6_K", 14, 256, 210, Q8_0;
    Q5_K = "Q5_K", 13, 256, 176, Q5_1;
    Q4_K = "Q4_K", 12, 256, 144, Q5_0;
    Q3_K = "Q3_K", 11, 256, 110, IQ4_NL;
    Q2_K = "Q2_K", 10, 256, 84, IQ4_NL;
    IQ4_XS = "IQ4_XS", 23, 256, 136, IQ4_NL;
    MXFP4 = "MXFP4", 39, 32, 17, F16;
}

impl BlockType {
    /// Bytes of a row; none where blocks do not divide it.
    pub(crate) fn row_bytes(self, columns: u64) -> Option<u64> {
        let (values, bytes) = self.block();
        columns.is_multiple_of(values).then(|| columns / values * bytes)
    }

    /// This type, or what takes its place in rows of so many columns.
    pub(crate) fn that_divides(self, columns: u64) -> BlockType {
        let mut kind = self;
        while kind.row_bytes(columns).is_none() {
            kind = kind.fallback();
        }
        kind
    }
}

/// A value that no block of the type can hold: NaN, infinite, or too large for its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unfit(pub(crate) f32);

/// Whole rows, one after another, as blocks.
///
/// # Errors
/// The first value that is no number, or for whose size the type has no scale.
pub(crate) fn encode(kind: BlockType, values: &[f32]) -> Result<Vec<u8>, Unfit> {
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Unfit(*value));
    }
    let (of_block, bytes) = kind.block();
    let blocks = values.len() / usize::try_from(of_block).unwrap_or(1);
    let mut out = Vec::with_capacity(blocks.saturating_mul(usize::try_from(bytes).unwrap_or(1)));
    let mut fits = true;
    match kind {
        BlockType::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        BlockType::BF16 => out.extend(values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes())),
        BlockType::F16 => {
            let halves = values.iter().map(|value| f16::from_f32(*value));
            out.extend(halves.inspect(|half| fits &= half.is_finite()).flat_map(f16::to_le_bytes));
        }
        BlockType::Q8_0 => fits = each(values, &mut out, small::q8_0),
        BlockType::Q5_1 => fits = each(values, &mut out, small::q5_1),
        BlockType::Q5_0 => fits = each(values, &mut out, small::q5_0),
        BlockType::Q4_1 => fits = each(values, &mut out, small::q4_1),
        BlockType::Q4_0 => fits = each(values, &mut out, small::q4_0),
        BlockType::IQ4_NL => fits = each(values, &mut out, table::iq4_nl),
        BlockType::Q6_K => fits = each(values, &mut out, large::q6_k),
        BlockType::Q5_K => fits = each(values, &mut out, large::q5_k),
        BlockType::Q4_K => fits = each(values, &mut out, large::q4_k),
        BlockType::Q3_K => fits = each(values, &mut out, large::q3_k),
        BlockType::Q2_K => fits = each(values, &mut out, large::q2_k),
        BlockType::IQ4_XS => fits = each(values, &mut out, table::iq4_xs),
        BlockType::MXFP4 => fits = each(values, &mut out, table::mxfp4),
    }
    if fits {
        return Ok(out);
    }
    // What does not fit is the largest of some block, so that the largest of all is one that does not.
    let largest = values.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
    Err(Unfit(largest.unwrap_or_default()))
}

/// Encodes block after block; false where a scale was too large.
fn each<const N: usize>(
    values: &[f32],
    out: &mut Vec<u8>,
    block: impl Fn(&[f32; N], &mut Vec<u8>) -> Option<()>,
) -> bool {
    values.as_chunks().0.iter().all(|values| block(values, out).is_some())
}

/// A scale as a file has it: the nearest half, and its value; none beyond its range.
fn half_of(scale: f32) -> Option<(f32, [u8; 2])> {
    let half = f16::from_f32(scale);
    half.is_finite().then(|| (half.to_f32(), half.to_le_bytes()))
}
