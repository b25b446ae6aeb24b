//! Moves bytes as a layout says: read in slices, repacked, written. Nobody holds a whole file.
//!
//! In: a layout and an executor. Out: an executor whose slots are those of the layout. Weights keep their stored width.

use lyn_shaders::Slot;
use lyn_shaders::encodings::{PANEL, Panels};

use crate::blocks::{self, StoredBytes};
use crate::checkpoint::{Checkpoint, Tensor, names};
use crate::error::{Code, Error, Result};
use crate::executor::Executor;
use crate::layout::{Contents, Layout, StoredRows};

/// Bytes read and written at a time.
const SLICE_BYTES: u64 = 8 << 20;
/// Bytes after which the device is waited for, so that uploads do not pile up in its staging memory.
const SETTLE_BYTES: u64 = 256 << 20;

/// Allocates and fills every slot of a layout, in their order. `progress` hears of bytes done; returning false stops.
///
/// # Errors
/// Those of the files; `out_of_memory`, `device_lost`; `cancelled`.
pub(crate) async fn upload(
    layout: &Layout<'_>,
    executor: &mut Executor,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<()> {
    let checkpoint = layout.checkpoint;
    let mut uploader = Uploader { checkpoint, executor, progress, done_bytes: 0, unsettled_bytes: 0 };
    for (number, laid) in (0..).zip(&layout.tensors) {
        let slot = uploader.executor.allocate(&laid.name, laid.words).await?;
        assert_eq!(slot, Slot(number), "the executor's slots are those of the layout");
        uploader.fill(slot, &laid.contents).await?;
    }
    uploader.settle().await
}

struct Uploader<'a> {
    checkpoint: &'a Checkpoint,
    executor: &'a mut Executor,
    progress: &'a mut dyn FnMut(u64) -> bool,
    done_bytes: u64,
    unsettled_bytes: u64,
}

impl Uploader<'_> {
    async fn fill(&mut self, slot: Slot, contents: &Contents) -> Result<()> {
        match contents {
            Contents::Vector(name) => {
                let values = self.checkpoint.read_f32(name).await?;
                self.executor.write(slot, 0, bytemuck::cast_slice(&values));
                self.advance(values.len() as u64 * 4).await?;
            }
            Contents::Zeros | Contents::BlockScales => {}
            Contents::Rows(stored, scales) => self.matrix(stored, None, (slot, 0), *scales).await?,
            Contents::Panels(matrices, scales) => {
                let mut scale_word = 0;
                for (stored, panels, word) in matrices {
                    let own = scales.map(|scales| (scales, scale_word));
                    self.matrix(stored, Some(panels), (slot, *word), own).await?;
                    scale_word += panels.scale_words();
                }
            }
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

    /// Rows of a matrix, one after another or repacked to panels, from a word on; and the scales of blocks, from a word on.
    async fn matrix(
        &mut self,
        stored: &StoredRows,
        panels: Option<&Panels>,
        (slot, mut word): (Slot, u64),
        mut scales: Option<(Slot, u64)>,
    ) -> Result<()> {
        let tensor = self.checkpoint.tensor(&stored.tensor)?;
        let columns = tensor.shape.last().and_then(|&columns| u32::try_from(columns).ok()).unwrap_or(0);
        self.checkpoint.check_packed_shape(tensor).await?;
        let most = slice_rows(tensor, if panels.is_some() { PANEL } else { 1 });
        for group in 0..stored.groups {
            for (first, rows) in stored.slices(group, most) {
                let codes = self.read(tensor, first, rows).await?;
                let (mut scale_bytes, mut minima) = (vec![], vec![]);
                if let Some(packed) = &tensor.packed {
                    scale_bytes = self.read(&packed.scales, first, rows).await?;
                    if let Some(tensor) = &packed.minima {
                        minima = self.read(tensor, first, rows).await?;
                    }
                }
                let bytes = StoredBytes { rows: &codes, scales: &scale_bytes, minima: &minima };
                let mut apart = blocks::take_apart(tensor, columns, bytes)?;
                if let Some(panels) = panels {
                    let slice = Panels { groups: 1, rows, ..*panels };
                    apart.codes = slice.lay_codes(&apart.codes);
                    if scales.is_some() {
                        apart.scales = slice.lay_scales(&apart.scales, |_| 0);
                    }
                }
                self.executor.write(slot, word, &apart.codes);
                word += apart.codes.len() as u64;
                if let Some((slot, word)) = &mut scales {
                    self.executor.write(*slot, *word, &apart.scales);
                    *word += apart.scales.len() as u64;
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, tensor: &Tensor, first_row: u32, rows: u32) -> Result<Vec<u8>> {
        let row_bytes = tensor.row_bytes();
        let bytes = u64::from(rows) * row_bytes;
        let length = usize::try_from(bytes)
            .map_err(|_| Error::new(Code::OutOfMemory, format!("{bytes} bytes exceed this machine's memory")))?;
        let read = self.checkpoint.read(tensor, u64::from(first_row) * row_bytes, length).await?;
        self.advance(bytes).await?;
        Ok(read)
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
