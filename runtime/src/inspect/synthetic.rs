//! Models of random weights, for measurements that need real sizes and no meaning.
//!
//! In: the text of a config.json. Out: a [`Source`] like that of a folder, whose weights are made as they are read. Never: a
//! tokenizer, a file.

use std::fmt::Write;

use crate::checkpoint::{BoxFuture, CONFIG_FILE, MemorySource, ModelConfig, SINGLE_FILE, Source, names};
use crate::error::{Class, Error, Result};

/// The models that have a name: `0.5b` has V3.2's layers at hidden size 1024, 8 of them, and 32 experts.
const NAMED: &[(&str, &str)] = &[("0.5b", include_str!("synthetic/0.5b.json"))];

/// Names that [`Synthetic::named`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name)
}

/// A checkpoint in BF16 with weights of ±2⁻⁷ to ±2⁻³, the same in every process.
pub struct Synthetic {
    /// The config.
    config: MemorySource,
    /// The first bytes of the file of weights.
    header: Vec<u8>,
    /// Length of that file.
    file_bytes: u64,
}

impl Synthetic {
    /// One of [`names()`].
    #[must_use]
    pub fn named(name: &str) -> Option<Result<Synthetic>> {
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, config)| Synthetic::new(config))
    }

    /// A model of the sizes in this config.json; what it says of quantisation is not followed.
    ///
    /// # Errors
    /// Those of the config.
    pub fn new(config: &str) -> Result<Synthetic> {
        let parsed = ModelConfig::parse(config.as_bytes())?;
        let mut header = String::from("{");
        let mut end = 0u64;
        for names::Expected { name, shape, .. } in names::expected(&parsed) {
            let bytes = shape.iter().fold(2u64, |bytes, &size| bytes.saturating_mul(size));
            let separator = if end == 0 { "" } else { "," };
            let next = end.saturating_add(bytes);
            let prefix = parsed.tensor_prefix;
            let _ = write!(
                header,
                r#"{separator}"{prefix}{name}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{end},{next}]}}"#
            ); // a String takes all
            end = next;
        }
        header.push('}');
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let header = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes()].concat();
        let file_bytes = end.saturating_add(header.len() as u64);
        let config = MemorySource::new().with(CONFIG_FILE, config.as_bytes().to_vec());
        Ok(Synthetic { config, header, file_bytes })
    }
}

impl Source for Synthetic {
    fn gguf(&self) -> Option<&str> {
        None
    }

    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        match file {
            SINGLE_FILE => Box::pin(std::future::ready(Ok(Some(self.file_bytes)))),
            _ => self.config.size(file),
        }
    }

    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        if file != SINGLE_FILE {
            return self.config.read(file, offset, length);
        }
        let end = offset.saturating_add(length as u64);
        let read = if end <= self.file_bytes {
            let begun = usize::try_from(offset).unwrap_or(usize::MAX).min(self.header.len());
            let header = self.header.iter().skip(begun).copied();
            let place = offset.max(self.header.len() as u64);
            // The parity of a byte is its half of a weight; the header has an even length.
            let words = (place / 2..end.div_ceil(2)).flat_map(|word| weight(word).to_le_bytes());
            Ok(header.chain(words.skip(usize::from(!place.is_multiple_of(2)))).take(length).collect())
        } else {
            Err(Error::file(Class::Len, file, format_args!("a read up to byte {end} of {}", self.file_bytes)))
        };
        Box::pin(std::future::ready(read))
    }
}

/// A BF16 by its place: any sign, any mantissa, four exponents.
fn weight(place: u64) -> u16 {
    // The mixer of SplitMix64.
    let mut bits = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let random = u16::try_from(bits >> 48).unwrap_or(0);
    let exponent = 0x78 + (random >> 7 & 3);
    random & 0x807f | exponent << 7
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::platform::block_on;

    #[test]
    fn named_models_are_checkpoints_of_their_size() {
        for name in names() {
            let source = Synthetic::named(name).unwrap().unwrap();
            let checkpoint = block_on(Checkpoint::open(Arc::new(source))).unwrap();
            let parameters = checkpoint.totals(true).parameters;
            assert_eq!((name, parameters / 1_000_000), ("0.5b", 507), "{parameters}");
            let norm = block_on(checkpoint.read_f32(names::NORM)).unwrap();
            assert!(norm.iter().all(|weight| (0.007..0.126).contains(&weight.abs())));
            let different: std::collections::HashSet<u32> = norm.iter().map(|weight| weight.to_bits()).collect();
            assert!(different.len() > norm.len() / 2, "{} of {}", different.len(), norm.len());
        }
        assert!(Synthetic::named("9b").is_none());
    }

    /// A read in parts is the read as a whole.
    #[test]
    fn bytes_depend_on_their_place_alone() {
        let source = Synthetic::named("0.5b").unwrap().unwrap();
        let start = source.header.len() as u64 - 2;
        let read = |offset, length| block_on(source.read(SINGLE_FILE, offset, length)).unwrap();
        assert_eq!(read(start, 9), [read(start, 3), read(start + 3, 5), read(start + 8, 1)].concat());
        assert!(block_on(source.read(SINGLE_FILE, source.file_bytes - 1, 2)).is_err());
    }
}
