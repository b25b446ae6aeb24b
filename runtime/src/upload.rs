//! Moves bytes as a layout says: read in slices, repacked, written. Nobody holds a whole file.
//!
//! In: a layout and an executor. Out: an executor whose slots are those of the layout. Weights keep their stored width.

use lyn_shaders::Slot;
use lyn_shaders::encodings::{Encoding, PANEL, Panels};

use crate::blocks;
use crate::checkpoint::{Checkpoint, names};
use crate::error::{Code, Error, Result};
use crate::executor::Executor;
use crate::layout::{BLOCK_ROWS, Contents, Layout, StoredRows};

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
            Contents::Rows(stored, None) => self.rows(slot, stored, None, 0).await?,
            Contents::Rows(stored, Some(scales)) => self.table_of_blocks(slot, *scales, stored).await?,
            Contents::Panels(matrices, None) => {
                for (stored, panels, word) in matrices {
                    self.rows(slot, stored, Some(panels), *word).await?;
                }
            }
            Contents::Panels(matrices, Some(scales)) => {
                let mut first_scale = 0;
                for (stored, panels, word) in matrices {
                    self.panels_of_blocks((slot, *word), (*scales, first_scale), stored, panels).await?;
                    first_scale += panels.scales();
                }
            }
            Contents::Table(name, encoding) => {
                let scales = self.checkpoint.read_f32(&names::scale(name)).await?;
                self.scales(slot, encoding, &scales);
            }
            Contents::PanelScales(encoding, matrices) => {
                let mut laid = Vec::new();
                for (stored, panels) in matrices {
                    let table = self.checkpoint.read_f32(&names::scale(&stored.tensor)).await?;
                    laid.extend(panels.lay_scales(&table, |group| stored.first_row_of(group)));
                }
                self.scales(slot, encoding, &laid);
            }
        }
        Ok(())
    }

    /// Rows as they are stored, or repacked to panels, from a word on.
    async fn rows(&mut self, slot: Slot, stored: &StoredRows, panels: Option<&Panels>, mut word: u64) -> Result<()> {
        let most = self.slice_rows(stored, if panels.is_some() { PANEL } else { 1 })?;
        for group in 0..stored.groups {
            for (first, rows) in stored.slices(group, most) {
                let bytes = self.read(stored, first, rows).await?;
                let words = match panels {
                    Some(panels) => repack(&bytes, &Panels { groups: 1, rows, ..*panels }),
                    None => bytemuck::pod_collect_to_vec(&bytes),
                };
                self.executor.write(slot, word, &words);
                word += words.len() as u64;
            }
        }
        Ok(())
    }

    /// Rows of blocks: codes to one slot, scales to that of the whole table.
    async fn table_of_blocks(&mut self, slot: Slot, scales: Slot, stored: &StoredRows) -> Result<()> {
        let tensor = self.checkpoint.tensor(&stored.tensor)?;
        let mut word = 0;
        for (first, rows) in stored.slices(0, self.slice_rows(stored, u32::try_from(BLOCK_ROWS).unwrap_or(4))?) {
            let split = blocks::split(tensor, &self.read(stored, first, rows).await?)?;
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&split.codes);
            self.executor.write(slot, word, &words);
            word += words.len() as u64;
            let per_row = split.scales.len() as u64 / u64::from(rows);
            let scale_word = split.encoding.scale_words(u64::from(first) * per_row);
            self.executor.write(scales, scale_word, &(split.encoding.scales.encode)(&split.scales));
        }
        Ok(())
    }

    /// Rows of blocks repacked to panels, from a word and from a scale on.
    async fn panels_of_blocks(
        &mut self,
        (slot, mut word): (Slot, u64),
        (scales, mut first_scale): (Slot, u64),
        stored: &StoredRows,
        panels: &Panels,
    ) -> Result<()> {
        let tensor = self.checkpoint.tensor(&stored.tensor)?;
        for group in 0..stored.groups {
            for (first, rows) in stored.slices(group, self.slice_rows(stored, PANEL)?) {
                let split = blocks::split(tensor, &self.read(stored, first, rows).await?)?;
                let slice = Panels { groups: 1, rows, ..*panels };
                let words = repack(&split.codes, &slice);
                self.executor.write(slot, word, &words);
                word += words.len() as u64;
                let laid = slice.lay_scales(&split.scales, |_| 0);
                let scale_word = split.encoding.scale_words(first_scale);
                self.executor.write(scales, scale_word, &(split.encoding.scales.encode)(&laid));
                first_scale += laid.len() as u64;
            }
        }
        Ok(())
    }

    fn scales(&mut self, slot: Slot, encoding: &Encoding, scales: &[f32]) {
        self.executor.write(slot, 0, &(encoding.scales.encode)(scales));
    }

    /// Rows to read at a time: whole panels.
    fn slice_rows(&self, stored: &StoredRows, step: u32) -> Result<u32> {
        let fit = SLICE_BYTES / self.row_bytes(stored)? / u64::from(step) * u64::from(step);
        Ok(u32::try_from(fit).unwrap_or(u32::MAX).max(step))
    }

    fn row_bytes(&self, stored: &StoredRows) -> Result<u64> {
        let tensor = self.checkpoint.tensor(&stored.tensor)?;
        let rows = tensor.shape.split_last().map_or(1, |(_, rows)| rows.iter().product::<u64>());
        Ok(tensor.bytes / rows.max(1))
    }

    async fn read(&mut self, stored: &StoredRows, first_row: u32, rows: u32) -> Result<Vec<u8>> {
        let row_bytes = self.row_bytes(stored)?;
        let bytes = u64::from(rows) * row_bytes;
        let length = usize::try_from(bytes)
            .map_err(|_| Error::new(Code::OutOfMemory, format!("{bytes} bytes exceed this machine's memory")))?;
        let tensor = self.checkpoint.tensor(&stored.tensor)?;
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

/// Stored rows → panels: pieces of 32 rows side by side, edges padded with zeros.
fn repack(stored: &[u8], panels: &Panels) -> Vec<u32> {
    let row_bytes = stored.len() / panels.rows as usize;
    let mut packed = vec![[0u32; 4]; panels.panels() as usize * panels.pieces() as usize * PANEL as usize];
    for (i, piece) in packed.iter_mut().enumerate() {
        let (lane, rest) = (i % PANEL as usize, i / PANEL as usize);
        let (place, panel) = (rest % panels.pieces() as usize, rest / panels.pieces() as usize);
        let row = panel * PANEL as usize + lane;
        if row < panels.rows as usize {
            let bytes = &stored[row * row_bytes..][..row_bytes];
            let bytes = &bytes[place * 16..row_bytes.min(place * 16 + 16)];
            bytemuck::bytes_of_mut(piece)[..bytes.len()].copy_from_slice(bytes);
        }
    }
    bytemuck::cast_vec(packed)
}
