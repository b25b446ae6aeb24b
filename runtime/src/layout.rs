//! Where everything lies in a device's memory, worked out before the first byte moves.
//!
//! In: the headers of a checkpoint, sizes. Out: slots with their sizes and encodings, and for each the stored tensors and the
//! repacking that fill it. Never: a byte of a weight, a device. What cannot be laid out is refused here: by a plan and by
//! `verify` as by loading.

use lyn_shaders::Slot;
use lyn_shaders::encodings::{Encoding, PANEL, Panels};
use lyn_shaders::experts::{ExpertPanels, ExpertShard};

use crate::blocks::encoding_of;
use crate::checkpoint::Checkpoint;
use crate::error::{Code, Error, Result};
use crate::record::ColumnRange;

/// Memory of a model, slot by slot.
pub(crate) struct Layout<'a> {
    /// The files that fill it.
    pub(crate) checkpoint: &'a Checkpoint,
    /// Bytes of a tensor at most, where it can be split.
    shard_bytes: u64,
    /// Every slot, in the order of their numbers.
    pub(crate) tensors: Vec<Laid>,
    /// What encodings without scales bind in their place.
    none: Slot,
}

pub(crate) struct Laid {
    /// What it is, for errors.
    pub(crate) name: String,
    pub(crate) words: u64,
    /// What fills it.
    pub(crate) contents: Contents,
}

/// What fills a slot.
pub(crate) enum Contents {
    /// Zeros, until a step writes it.
    Zeros,
    /// A short tensor, widened to f32.
    Vector(String),
    /// Rows of whole pieces, one after another; the scales of blocks go to a slot of their own, from a word on.
    Rows(StoredRows, Option<(Slot, u64)>),
    /// Rows repacked to panels, from a word on each; the scales of blocks, one matrix after another, to a slot of their own.
    Panels(Vec<(StoredRows, Panels, u64)>, Option<Slot>),
    /// The scales of a whole row-major tensor.
    Table(String),
    /// The scales of panels, one after another.
    PanelScales(Vec<(StoredRows, Panels)>),
    /// Scales that lie among the codes in the files: filled with them.
    BlockScales,
}

/// Rows of a stored matrix: row group g has rows `first_row + g · group_stride` and the `rows − 1` behind.
#[derive(Clone)]
pub(crate) struct StoredRows {
    /// Name of the matrix.
    pub(crate) tensor: String,
    pub(crate) groups: u32,
    /// Rows of a group.
    pub rows: u32,
    /// The first row of the first group.
    pub(crate) first_row: u32,
    /// Rows from one group to the next.
    pub(crate) group_stride: u32,
}

impl StoredRows {
    fn of(tensor: &str, first_row: u32, rows: u32) -> StoredRows {
        StoredRows { tensor: tensor.to_owned(), groups: 1, rows, first_row, group_stride: 0 }
    }
}

/// Some rows of a row-major table.
#[derive(Clone, Debug)]
pub struct TableShard {
    /// `[rows, columns]`, row-major
    pub weight: Slot,
    /// Scales of the whole table, for encodings that have them; else one word.
    pub(crate) scales: Slot,
    /// How its weights are packed.
    pub(crate) encoding: &'static Encoding,
    /// First row here.
    pub(crate) first_row: u32,
    /// Rows here.
    pub rows: u32,
}

/// One or several matrices over the same input, one below the other.
#[derive(Clone, Debug)]
pub struct LinearWeights {
    /// Panels, split by encoding and by the largest binding.
    pub(crate) shards: Vec<LinearShard>,
    /// Columns of the output. Where several matrices lie side by side, their owner has the [`ColumnRange`] of each.
    pub(crate) width: u32,
}

/// Some rows of a [`LinearWeights`].
#[derive(Clone, Debug)]
pub(crate) struct LinearShard {
    /// Panels.
    pub weight: Slot,
    /// Their scales; else one word.
    pub(crate) scales: Slot,
    pub(crate) panels: Panels,
    /// Column of the output where they begin.
    pub offset: u32,
}

/// Which of an expert's matrices a shard holds.
#[derive(Clone, Copy)]
pub(crate) enum ExpertMatrix {
    /// `gate_proj`, then `up_proj`.
    GateUp,
    /// `down_proj`.
    Down,
}

impl<'a> Layout<'a> {
    /// Memory without a tensor yet, in tensors of at most `shard_bytes` where they can be split.
    pub(crate) fn new(checkpoint: &'a Checkpoint, shard_bytes: u64) -> Layout<'a> {
        let mut layout = Layout { checkpoint, shard_bytes, tensors: vec![], none: Slot(0) };
        layout.none = layout.zeros("no scales", 4);
        layout
    }

    /// Bytes of some slots.
    pub(crate) fn bytes_of(&self, wanted: impl Fn(&Laid) -> bool) -> u64 {
        let words = self.tensors.iter().filter(|laid| wanted(laid)).map(|laid| laid.words);
        words.fold(0, u64::saturating_add).saturating_mul(4)
    }

    /// Asks something of each slot's name and words, in order; the first refusal.
    pub(crate) fn within(&self, mut ask: impl FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.tensors.iter().try_for_each(|laid| ask(&laid.name, laid.words))
    }

    /// How many pieces of so many words a tensor holds at most, and at least one.
    pub(crate) fn fit(&self, words: u64) -> u64 {
        (self.shard_bytes / 4 / words.max(1)).max(1)
    }

    /// Memory that a step writes.
    pub(crate) fn zeros(&mut self, name: &str, words: u64) -> Slot {
        self.add(name, words, Contents::Zeros)
    }

    /// A short tensor as f32.
    pub(crate) fn vector(&mut self, name: String) -> Result<Slot> {
        let words = self.checkpoint.tensor(&name)?.elements();
        Ok(self.add(&name.clone(), words, Contents::Vector(name)))
    }

    /// A row-major table, by shards of rows.
    pub(crate) fn table(&mut self, name: &str) -> Result<Vec<TableShard>> {
        let Stored { rows, columns, encoding } = self.stored(name)?;
        let scales = self.table_scales(name, encoding, rows, columns);
        let (row_bytes, group_rows) = (encoding.row_words(columns) * 4, u64::from(encoding.group.rows));
        // Scales are found by the row's place in the whole table, so that a shard starts with a group of rows.
        let fit = count((self.shard_bytes / row_bytes / group_rows).max(1) * group_rows).min(rows);
        let mut shards = Vec::new();
        for first_row in (0..rows).step_by(fit as usize) {
            let rows = fit.min(rows - first_row);
            let stored = StoredRows::of(name, first_row, rows);
            let words = u64::from(rows) * encoding.row_words(columns);
            let own = self.of_blocks(scales).map(|scales| (scales, encoding.table_scale_words(first_row, columns)));
            let weight = self.add(name, words, Contents::Rows(stored, own));
            shards.push(TableShard { weight, scales, encoding, first_row, rows });
        }
        Ok(shards)
    }

    /// Row groups of a matrix, row-major: what a kernel contracts over rows. The scales of blocks are those of the rows here, else
    /// those of the whole matrix.
    pub(crate) fn row_groups(&mut self, stored: StoredRows) -> Result<TableShard> {
        let name = stored.tensor.clone();
        let Stored { rows: all, columns, encoding } = self.stored(&name)?;
        let rows = stored.groups * stored.rows;
        let scales = self.table_scales(&name, encoding, if self.has_blocks(&name)? { rows } else { all }, columns);
        let own = self.of_blocks(scales).map(|scales| (scales, 0));
        let words = u64::from(rows) * encoding.row_words(columns);
        let weight = self.add(&name, words, Contents::Rows(stored, own));
        Ok(TableShard { weight, scales, encoding, first_row: 0, rows })
    }

    /// Row groups of a matrix, in panels: each is multiplied with its own columns of the input.
    pub(crate) fn panel_groups(&mut self, stored: StoredRows) -> Result<LinearWeights> {
        let name = stored.tensor.clone();
        let Stored { columns, encoding, .. } = self.stored(&name)?;
        let StoredRows { groups, rows, .. } = stored;
        let panels = Panels { encoding, groups, rows, columns, row_scales: true };
        let scales = self.panel_scales(&name, vec![(stored.clone(), panels)]);
        let weight =
            self.add(&name, panels.words(), Contents::Panels(vec![(stored, panels, 0)], self.of_blocks(scales)));
        let shard = LinearShard { weight, scales, panels, offset: 0 };
        Ok(LinearWeights { shards: vec![shard], width: groups * rows })
    }

    /// A matrix, as panels.
    pub(crate) fn matrix(&mut self, name: String) -> Result<LinearWeights> {
        self.matrices(&[name]).map(|(weights, _)| weights)
    }

    /// Matrices over the same input, one below the other, as panels; and the columns of each in the output.
    pub(crate) fn matrices(&mut self, names: &[String]) -> Result<(LinearWeights, Vec<ColumnRange>)> {
        let (mut runs, mut parts, mut width) = (Vec::<Run>::new(), Vec::new(), 0u32);
        for name in names {
            let Stored { rows, columns, encoding } = self.stored(name)?;
            width = width.next_multiple_of(PANEL);
            parts.push(ColumnRange { first: width, width: rows });
            width += rows;
            match runs.last_mut().filter(|run| run.encoding == encoding) {
                Some(run) => run.append(name, rows),
                None => runs.push(Run { encoding, columns, matrices: vec![(name.clone(), 0, rows)], rows }),
            }
        }
        let (mut shards, mut offset) = (Vec::new(), 0);
        for run in &runs {
            self.run(run, offset, &mut shards);
            offset = (offset + run.rows).next_multiple_of(PANEL);
        }
        // Later kernels read rows of several matrices in steps of four.
        let width = if names.len() > 1 { width.next_multiple_of(4) } else { width };
        Ok((LinearWeights { shards, width }, parts))
    }

    /// One run of matrices, split where it exceeds the largest binding.
    fn run(&mut self, run: &Run, offset: u32, shards: &mut Vec<LinearShard>) {
        let Run { encoding, columns, ref matrices, rows } = *run;
        let whole = Panels { encoding, groups: 1, rows, columns, row_scales: false };
        let fit = count(self.shard_bytes / 4 / whole.panel_words()).max(1);
        for first_panel in (0..whole.panels()).step_by(fit as usize) {
            let panels = Panels { rows: fit.saturating_mul(PANEL).min(rows - first_panel * PANEL), ..whole };
            let (first, end) = (first_panel * PANEL, first_panel * PANEL + panels.rows);
            let mut weights = Vec::new();
            for (name, start, rows) in matrices {
                // The part of this matrix that lies in this shard; it begins with a panel.
                let (from, to) = (first.max(*start), end.min(start + rows));
                if from < to {
                    let stored = StoredRows::of(name, from - start, to - from);
                    let word = u64::from((from - first) / PANEL) * whole.panel_words();
                    weights.push((stored, Panels { rows: to - from, ..whole }, word));
                }
            }
            let name = &matrices[0].0;
            let scaled = weights.iter().map(|(stored, panels, _)| (stored.clone(), *panels)).collect();
            let scales = self.panel_scales(name, scaled);
            let weight = self.add(name, panels.words(), Contents::Panels(weights, self.of_blocks(scales)));
            shards.push(LinearShard { weight, scales, panels, offset: offset + first });
        }
    }

    /// Whole experts, as many to a shard as a binding holds; the shared one follows the last routed one, or stands alone
    /// in a shard where there is no room beside them. `names`: of the matrices of expert e, where `total_experts` is the shared
    /// one.
    pub(crate) fn expert_shards(
        &mut self,
        experts: &ExpertPanels,
        matrix: ExpertMatrix,
        names: impl Fn(u32) -> Vec<String>,
    ) -> Vec<ExpertShard> {
        let (words, limit) = (matrix.words(experts, false), self.shard_bytes / 4);
        let shared_words = if experts.shared_width > 0 { matrix.words(experts, true) } else { 0 };
        let (fit, total) = (count(limit / words).max(1), experts.total_experts);
        let mut plan: Vec<(u32, u32, bool)> =
            (0..total).step_by(fit as usize).map(|first| (first, fit.min(total - first), false)).collect();
        match plan.last_mut() {
            Some(last) if shared_words == 0 || u64::from(last.1) * words + shared_words <= limit => {
                last.2 = shared_words > 0;
            }
            _ => plan.push((total, 0, true)),
        }
        let shards = plan.into_iter().map(|(first_expert, routed, has_shared)| {
            let mut weights = Vec::new();
            let shared = has_shared.then_some(total);
            for (place, expert) in (0..).zip((first_expert..first_expert + routed).chain(shared)) {
                let (panels, mut word) = (matrix.panels(experts, expert == total), place * words);
                for tensor in names(expert) {
                    let stored = StoredRows::of(&tensor, 0, panels.rows);
                    weights.push((stored, panels, word));
                    word += panels.words();
                }
            }
            let scaled = weights.iter().map(|(stored, panels, _)| (stored.clone(), *panels)).collect();
            let scales = self.panel_scales("expert scales", scaled);
            let words = u64::from(routed) * words + if has_shared { shared_words } else { 0 };
            let weight = self.add("experts", words, Contents::Panels(weights, self.of_blocks(scales)));
            ExpertShard { weight, scales, first_expert, experts: routed, has_shared }
        });
        shards.collect()
    }

    /// How a matrix is packed.
    pub(crate) fn encoding(&self, name: &str) -> Result<&'static Encoding> {
        self.stored(name).map(|stored| stored.encoding)
    }

    fn stored(&self, name: &str) -> Result<Stored> {
        let tensor = self.checkpoint.tensor(name)?;
        let sizes = tensor.shape.split_last().and_then(|(&columns, rows)| {
            let rows = rows.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
            Some((u32::try_from(rows).ok()?, u32::try_from(columns).ok()?))
        });
        let (rows, columns) =
            sizes.ok_or_else(|| Error::new(Code::Internal, format!("{}: its shape passed the check", tensor.name)))?;
        Ok(Stored { rows, columns, encoding: encoding_of(tensor)? })
    }

    /// Whether a matrix is stored as blocks with scales of their own.
    fn has_blocks(&self, name: &str) -> Result<bool> {
        self.checkpoint.tensor(name).map(|tensor| tensor.dtype.is_quantised_block())
    }

    /// The slot of scales, where they come with the codes.
    fn of_blocks(&self, scales: Slot) -> Option<Slot> {
        matches!(self.tensors[scales.0 as usize].contents, Contents::BlockScales).then_some(scales)
    }

    fn table_scales(&mut self, name: &str, encoding: &'static Encoding, rows: u32, columns: u32) -> Slot {
        let words = encoding.table_scale_words(rows, columns);
        if words == 0 {
            return self.none;
        }
        let blocks = self.has_blocks(name).unwrap_or(false);
        self.add(name, words, if blocks { Contents::BlockScales } else { Contents::Table(name.to_owned()) })
    }

    fn panel_scales(&mut self, name: &str, of: Vec<(StoredRows, Panels)>) -> Slot {
        let words = of.iter().map(|(_, panels)| panels.scale_words()).sum();
        if words == 0 {
            return self.none;
        }
        let blocks = of.first().is_some_and(|(stored, _)| self.has_blocks(&stored.tensor).unwrap_or(false));
        self.add(name, words, if blocks { Contents::BlockScales } else { Contents::PanelScales(of) })
    }

    fn add(&mut self, name: &str, words: u64, contents: Contents) -> Slot {
        let slot = Slot(u32::try_from(self.tensors.len()).expect("a model has far fewer than 2^32 tensors"));
        self.tensors.push(Laid { name: name.to_owned(), words, contents });
        slot
    }
}

/// What a matrix is in the files.
struct Stored {
    rows: u32,
    columns: u32,
    encoding: &'static Encoding,
}

/// Consecutive matrices of one encoding, one below the other.
struct Run {
    encoding: &'static Encoding,
    columns: u32,
    /// Name, first row, rows.
    matrices: Vec<(String, u32, u32)>,
    rows: u32,
}

impl Run {
    /// Adds a matrix, from the next panel on.
    fn append(&mut self, name: &str, rows: u32) {
        let first = self.rows.next_multiple_of(PANEL);
        self.matrices.push((name.to_owned(), first, rows));
        self.rows = first + rows;
    }
}

impl ExpertMatrix {
    fn panels(self, experts: &ExpertPanels, shared: bool) -> Panels {
        match self {
            ExpertMatrix::GateUp => experts.gate_up_panels(shared),
            ExpertMatrix::Down => experts.down_panels(shared),
        }
    }

    fn words(self, experts: &ExpertPanels, shared: bool) -> u64 {
        match self {
            ExpertMatrix::GateUp => experts.gate_up_words(shared),
            ExpertMatrix::Down => experts.down_words(shared),
        }
    }
}

fn count(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
