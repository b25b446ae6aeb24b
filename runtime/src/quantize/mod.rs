//! Checkpoints become GGUF files in fewer bits.
//!
//! In: an open checkpoint, and which mix of types is wanted. Out: a [`Conversion`]: the bytes of the file's header, and pieces that
//! are read, encoded and written one by one, in any order and on any thread. Never: a whole tensor in memory, a file written. What a
//! GGUF file cannot say of a model is refused before anything is read.

mod container;
mod encode;
mod in_flight;
mod keys;
mod mix;
mod rows;
mod tensors;
#[cfg(test)]
mod tests;
mod unwritten;
mod vocabulary;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub use encode::BlockType;
pub use in_flight::InFlight;
pub use mix::Mix;

use self::container::{ALIGNMENT, Entry, Value, header};
use self::encode::Unfit;
use self::keys::Architecture;
use self::tensors::{Part, Target};
use self::unwritten::Unwritten;
use crate::checkpoint::{Checkpoint, Dtype};
use crate::error::{Class, Result};

/// The name of a file that is not on a disk.
const FILE: &str = "model.gguf";
/// Values of a piece, about: 4 MiB as they are decoded.
const PIECE_VALUES: u64 = 1 << 20;

/// A file in the making.
pub struct Conversion {
    checkpoint: Checkpoint,
    header: Vec<u8>,
    targets: Vec<Target>,
    notes: Vec<String>,
}

/// Rows of a tensor of the file.
#[derive(Clone, Debug)]
pub struct Piece {
    target: usize,
    /// Of the parts of the target.
    part: usize,
    /// From the first row of the part.
    first: u64,
    rows: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is there.
    pub bytes: u64,
}

impl Conversion {
    /// Works out the whole file from the checkpoint's headers. `name`: what the file says it is.
    ///
    /// # Errors
    /// `unsupported_model` for a model that GGUF has no words for; those of the checkpoint's tokenizer.
    pub async fn new(checkpoint: Checkpoint, mix: &Mix, name: &str) -> Result<Conversion> {
        let targets = tensors::targets(&checkpoint, mix)?;
        let mut notes = vec![];
        let prediction = tensors::prediction_layers(&checkpoint);
        if checkpoint.prediction_layers > prediction {
            let architecture = Architecture::of(&checkpoint.config).name;
            notes.push(format!("layers of multi-token prediction are left out: {architecture} files have none"));
        }
        let mut config = checkpoint.config.clone();
        // Either file may name tokens that end an answer.
        for id in &checkpoint.generation.eos_token_ids {
            if !config.eos_token_ids.contains(id) {
                config.eos_token_ids.push(*id);
            }
        }
        let mut keys = keys::keys(&config, prediction);
        let names: HashSet<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        keys::check(&keys, &config, &|name| names.contains(name)).await?;
        let general = [
            ("general.type", Value::Text("model".to_owned())),
            ("general.name", Value::Text(name.to_owned())),
            ("general.file_type", Value::U32(mix.file_type)),
            ("general.quantization_version", Value::U32(2)),
        ];
        keys.extend(keys::sampling(&checkpoint.generation));
        keys.splice(1..1, general.map(|(key, value)| (key.to_owned(), value)));
        keys.extend(vocabulary::keys(&checkpoint, &mut notes).await?);
        let entries: Vec<Entry<'_>> = targets
            .iter()
            .map(|target| Entry {
                name: &target.name,
                shape: &target.shape,
                number: target.kind.number(),
                offset: target.offset,
            })
            .collect();
        let header = header(&keys, &entries);
        Ok(Conversion { checkpoint, header, targets, notes })
    }

    /// What the user should know of the file.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The file's first bytes.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The file as a checkpoint, before it is written: enough for a plan.
    ///
    /// # Errors
    /// None that the reader of GGUF should have.
    pub async fn unwritten(&self) -> Result<Checkpoint> {
        Checkpoint::open(Arc::new(Unwritten { header: self.header.clone(), bytes: self.file_bytes() })).await
    }

    /// Length of the whole file.
    pub fn file_bytes(&self) -> u64 {
        let end = self.targets.iter().map(|target| target.offset + target.bytes()).max().unwrap_or(0);
        self.header.len() as u64 + end.next_multiple_of(ALIGNMENT)
    }

    /// Bytes of the file's tensors for each type.
    pub fn bytes_by_type(&self) -> BTreeMap<BlockType, u64> {
        let mut sums = BTreeMap::new();
        for target in &self.targets {
            *sums.entry(target.kind).or_default() += target.bytes();
        }
        sums
    }

    /// Values of the file's tensors.
    pub fn parameters(&self) -> u64 {
        self.targets.iter().map(|target| target.shape.iter().product::<u64>()).sum()
    }

    /// Types of the checkpoint's weights that have lost something before, the largest share first.
    pub fn source_types(&self) -> Vec<Dtype> {
        let mut types: Vec<(Dtype, u64)> = self.checkpoint.totals(false).bytes_by_dtype.into_iter().collect();
        types.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        types.into_iter().map(|(dtype, _)| dtype).filter(|dtype| dtype.is_quantised_block()).collect()
    }

    /// Everything behind the header, in the order of the file.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.targets.iter().enumerate().flat_map(|(target, of)| {
            let start = self.header.len() as u64 + of.offset;
            let most = (PIECE_VALUES / of.columns()).max(1);
            let mut offset = start;
            let mut pieces = vec![];
            for (number, part) in of.parts.iter().enumerate() {
                let rows = self.rows_of(of, part);
                // A head's keys are turned as a whole.
                let most = if part.is_transposed { rows } else { most };
                let mut first = 0;
                while first < rows {
                    let rows = most.min(rows - first);
                    let bytes = rows * of.row_bytes();
                    pieces.push(Piece { target, part: number, first, rows, offset, bytes });
                    (offset, first) = (offset + bytes, first + rows);
                }
            }
            pieces
        })
    }

    /// Rows that a part has in the file.
    fn rows_of(&self, target: &Target, part: &Part) -> u64 {
        if part.is_transposed { target.shape.iter().rev().nth(1).copied().unwrap_or(1) } else { part.rows }
    }

    /// Reads a piece and encodes it.
    ///
    /// # Errors
    /// Those of the files; [`Class::Value`] for a weight that is NaN, infinite, or too large for its type.
    pub async fn encode(&self, piece: &Piece) -> Result<Vec<u8>> {
        let target = &self.targets[piece.target];
        let part = &target.parts[piece.part];
        let tensor = self.checkpoint.tensor(&part.tensor)?;
        let (first, rows) =
            if part.is_transposed { (part.first, part.rows) } else { (part.first + piece.first, piece.rows) };
        let mut values = rows::read(&self.checkpoint, &part.tensor, first, rows).await?;
        // What is in this type already is not put through it again.
        if !part.is_transposed && tensor.dtype.name() == target.kind.name() && tensor.dtype.is_quantised_block() {
            return rows::stored(&self.checkpoint, &part.tensor, first, rows).await;
        }
        if part.is_transposed {
            values = transposed(&values, piece.rows);
        }
        encode::encode(target.kind, &values).map_err(|Unfit(value)| {
            let kind = target.kind.name();
            if value.is_finite() {
                let help = "use a wider type: --type bf16; or the weight is broken";
                return tensor.error(Class::Value, format!("found {value}, too large for {kind}")).with_help(help);
            }
            // No type is at fault, and a wider one would not help.
            let help = "the weight is broken: download the file again and compare its checksum";
            tensor.error(Class::Value, format!("expected a finite number, found {value}")).with_help(help)
        })
    }
}

/// A row-major matrix with so many columns, turned.
fn transposed(values: &[f32], columns: u64) -> Vec<f32> {
    let columns = usize::try_from(columns).unwrap_or(usize::MAX).max(1);
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}
