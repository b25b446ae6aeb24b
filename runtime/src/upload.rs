//! Moves bytes as a layout says: read in slices, repacked, written. Nobody holds a whole file.
//!
//! In: a layout and an executor. Out: an executor whose slots are those of the layout. Weights keep their stored width.

use std::sync::Arc;

use lyn_shaders::Slot;
use lyn_shaders::encodings::{PANEL, Panels};

use crate::blocks::{self, StoredBytes};
use crate::checkpoint::{Checkpoint, Tensor, names};
use crate::error::{Code, Error, Result};
use crate::executor::Executor;
use crate::layout::{Contents, Layout, StoredRows};
use crate::platform::{Ahead, Job};

/// Bytes read and written at a time.
const SLICE_BYTES: u64 = 4 << 20;
/// Bytes after which the device is waited for, so that uploads do not pile up in its staging memory.
const SETTLE_BYTES: u64 = 64 << 20;

/// Allocates and fills every slot of a layout, in their order. `progress` hears of bytes done; returning false stops.
///
/// # Errors
/// Those of the files; `out_of_memory`, `device_lost`; `cancelled`.
pub(crate) async fn upload(
    layout: &Layout<'_>,
    executor: &mut Executor,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<()> {
    for (number, laid) in (0..).zip(&layout.tensors) {
        let slot = executor.allocate(&laid.name, laid.words).await?;
        assert_eq!(slot, Slot(number), "the executor's slots are those of the layout");
    }
    let checkpoint = layout.checkpoint;
    let mut uploader = Uploader { checkpoint, executor, progress, done_bytes: 0, unsettled_bytes: 0 };
    let mut slices = Slices { checkpoint: Arc::new(checkpoint.clone()), list: vec![] };
    for (number, laid) in (0..).zip(&layout.tensors) {
        slices.add(Slot(number), &laid.contents)?;
    }
    uploader.slices(slices.list).await?;
    for (number, laid) in (0..).zip(&layout.tensors) {
        uploader.fill(Slot(number), &laid.contents).await?;
    }
    uploader.settle().await
}

/// Some rows of a matrix, and where they go.
struct Slice {
    checkpoint: Arc<Checkpoint>,
    /// Name of the matrix.
    tensor: Arc<str>,
    columns: u32,
    first_row: u32,
    /// Their panels; none where rows lie one after another.
    panels: Option<Panels>,
    rows: u32,
    codes: (Slot, u64),
    /// Where the scales of blocks go.
    scales: Option<(Slot, u64)>,
    /// Whether no slice of the matrix is before it.
    is_first: bool,
}

/// What is written of a slice.
struct Repacked {
    codes: ((Slot, u64), Vec<u32>),
    scales: Option<((Slot, u64), Vec<u32>)>,
    /// Bytes read for it.
    bytes: u64,
}

impl Job for Slice {
    type Done = Result<Repacked>;

    async fn run(self) -> Result<Repacked> {
        let tensor = self.checkpoint.tensor(&self.tensor)?;
        if self.is_first {
            self.checkpoint.check_packed_shape(tensor).await?;
        }
        let codes = self.read(tensor).await?;
        let (mut scales, mut minima) = (vec![], vec![]);
        if let Some(packed) = &tensor.packed {
            scales = self.read(&packed.scales).await?;
            if let Some(tensor) = &packed.minima {
                minima = self.read(tensor).await?;
            }
        }
        let bytes = (codes.len() + scales.len() + minima.len()) as u64;
        let stored = StoredBytes { rows: &codes, scales: &scales, minima: &minima };
        let mut apart = blocks::take_apart(tensor, self.columns, stored)?;
        if let Some(panels) = &self.panels {
            apart.codes = panels.lay_codes(&apart.codes);
            if self.scales.is_some() {
                apart.scales = panels.lay_scales(&apart.scales, |_| 0);
            }
        }
        Ok(Repacked { codes: (self.codes, apart.codes), scales: self.scales.map(|at| (at, apart.scales)), bytes })
    }
}

impl Slice {
    async fn read(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        let row_bytes = tensor.row_bytes();
        let bytes = u64::from(self.rows) * row_bytes;
        let length = usize::try_from(bytes)
            .map_err(|_| Error::new(Code::OutOfMemory, format!("{bytes} bytes exceed this machine's memory")))?;
        self.checkpoint.read(tensor, u64::from(self.first_row) * row_bytes, length).await
    }
}

/// All slices of a layout.
struct Slices {
    checkpoint: Arc<Checkpoint>,
    list: Vec<Slice>,
}

impl Slices {
    fn add(&mut self, slot: Slot, contents: &Contents) -> Result<()> {
        match contents {
            Contents::Rows(stored, scales) => self.matrix(stored, None, (slot, 0), *scales)?,
            Contents::Panels(matrices, scales) => {
                let mut scale_word = 0;
                for (stored, panels, word) in matrices {
                    let own = scales.map(|scales| (scales, scale_word));
                    self.matrix(stored, Some(panels), (slot, *word), own)?;
                    scale_word += panels.scale_words();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Rows of a matrix, one after another or repacked to panels, from a word on; and the scales of blocks, from a word on.
    fn matrix(
        &mut self,
        stored: &StoredRows,
        panels: Option<&Panels>,
        mut codes: (Slot, u64),
        mut scales: Option<(Slot, u64)>,
    ) -> Result<()> {
        let tensor = self.checkpoint.tensor(&stored.tensor)?;
        let columns = tensor.shape.last().and_then(|&columns| u32::try_from(columns).ok()).unwrap_or(0);
        let encoding = blocks::encoding_of(tensor)?;
        let most = slice_rows(tensor, if panels.is_some() { PANEL } else { 1 });
        let name: Arc<str> = stored.tensor.as_str().into();
        let slices = (0..stored.groups).flat_map(|group| stored.slices(group, most));
        for (number, (first_row, rows)) in slices.enumerate() {
            let panels = panels.map(|panels| Panels { groups: 1, rows, ..*panels });
            let row_words = (encoding.row_words(columns), encoding.scale_words(columns));
            let rows_words = (u64::from(rows) * row_words.0, u64::from(rows) * row_words.1);
            let words = panels.map_or(rows_words, |panels| (panels.words(), panels.scale_words()));
            let (checkpoint, tensor) = (Arc::clone(&self.checkpoint), Arc::clone(&name));
            let is_first = number == 0;
            self.list.push(Slice { checkpoint, tensor, columns, first_row, panels, rows, codes, scales, is_first });
            codes.1 += words.0;
            scales = scales.map(|(slot, word)| (slot, word + words.1));
        }
        Ok(())
    }
}

struct Uploader<'a> {
    checkpoint: &'a Checkpoint,
    executor: &'a mut Executor,
    progress: &'a mut dyn FnMut(u64) -> bool,
    done_bytes: u64,
    unsettled_bytes: u64,
}

impl Uploader<'_> {
    /// Reads, repacks and writes matrices. Of several faults the first in the order of slices is told, whichever is found first.
    async fn slices(&mut self, slices: Vec<Slice>) -> Result<()> {
        let mut ahead = Ahead::new(slices);
        let mut fault: Option<(usize, Error)> = None;
        while let Some((number, result)) = ahead.next().await? {
            match result {
                Ok(_) if fault.is_some() => {}
                Ok(Repacked { codes, scales, bytes }) => {
                    for ((slot, word), words) in [Some(codes), scales].into_iter().flatten() {
                        self.executor.write(slot, word, &words);
                    }
                    self.advance(bytes).await?;
                }
                Err(error) => {
                    if fault.as_ref().is_none_or(|(first, _)| number < *first) {
                        fault = Some((number, error));
                    }
                    ahead.stop();
                }
            }
        }
        fault.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What is no matrix.
    async fn fill(&mut self, slot: Slot, contents: &Contents) -> Result<()> {
        match contents {
            Contents::Vector(name) => {
                let values = self.checkpoint.read_f32(name).await?;
                self.executor.write(slot, 0, bytemuck::cast_slice(&values));
                self.advance(values.len() as u64 * 4).await?;
            }
            Contents::Zeros | Contents::BlockScales | Contents::Rows(..) | Contents::Panels(..) => {}
            Contents::Table(name) => {
                let scales = self.checkpoint.read_f32(&names::scale(name)).await?;
                self.executor.write(slot, 0, bytemuck::cast_slice(&scales));
            }
            Contents::PanelScales(matrices) => {
                let mut laid = Vec::new();
                for (stored, panels) in matrices {
                    let table = self.checkpoint.read_f32(&names::scale(&stored.tensor)).await?;
                    laid.extend(panels.lay_scales(bytemuck::cast_slice(&table), |group| stored.first_row_of(group)));
                }
                self.executor.write(slot, 0, &laid);
            }
        }
        Ok(())
    }

    async fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done_bytes += bytes;
        self.unsettled_bytes += bytes;
        if !(self.progress)(self.done_bytes) {
            return Err(Error::new(Code::Cancelled, "loading was stopped"));
        }
        if self.unsettled_bytes >= SETTLE_BYTES {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until everything written so far is on the device.
    async fn settle(&mut self) -> Result<()> {
        self.unsettled_bytes = 0;
        self.executor.read(Slot(0), 0, 1)?.await.map(drop)
    }
}

/// Rows to read at a time: a multiple of `step`.
fn slice_rows(tensor: &Tensor, step: u32) -> u32 {
    let fit = SLICE_BYTES / tensor.row_bytes().max(1) / u64::from(step) * u64::from(step);
    u32::try_from(fit).unwrap_or(u32::MAX).max(step)
}

impl StoredRows {
    fn first_row_of(&self, group: u32) -> u32 {
        self.first_row + group * self.group_stride
    }

    /// First row and number of rows of the slices of a group, of `most` rows each.
    fn slices(&self, group: u32, most: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (first, rows) = (self.first_row_of(group), self.rows);
        (0..rows).step_by(most as usize).map(move |row| (first + row, most.min(rows - row)))
    }
}
