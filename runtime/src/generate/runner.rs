//! Steps over sequences: the step buffer, a recording for each shape.
//!
//! In: chunks of ids for sequences, prompt or answer, in any mixture. Out: logits rows and greedy choices, awaited.
//! Never: text, sampling, or anything made per token: recordings, bind groups and pipelines belong to shapes.

use std::collections::HashMap;

use lyn_shaders::Extent;
use lyn_shaders::cache_row::CacheRow;

use super::pages::Key;
use super::sequences::{SequenceId, Sequences};
use crate::error::{Code, Error, Result};
use crate::executor::{Executor, Prepared, Read, Tapped};
use crate::model::cache::{CacheTensor, PAGE};
use crate::model::{self, Dims, Parts, Settings, Shape, StepSlots, Tensors};
use crate::record::{Recording, Taps};

/// Which rows of logits a chunk wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None: a prompt that goes on.
    None,
    /// Of its last token.
    Last,
    /// Of all its tokens.
    All,
}

/// Ids to append to a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// At least one id.
    pub ids: &'a [u32],
    /// Logits wanted.
    pub wanted: Wanted,
}

impl Chunk<'_> {
    /// Rows of logits that it wants.
    pub(crate) const fn rows(&self) -> usize {
        match self.wanted {
            Wanted::None => 0,
            Wanted::Last => 1,
            Wanted::All => self.ids.len(),
        }
    }
}

/// Runs steps.
pub struct Runner {
    executor: Executor,
    dims: Dims,
    tensors: Tensors,
    settings: Settings,
    sequences: Sequences,
    recordings: HashMap<Shape, Prepared>,
    /// What the step buffer holds: the tokens of the last step, as the host knows them.
    batch: Vec<u32>,
    extent: Extent,
}

impl Runner {
    /// A runner over tensors whose memory is the executor's.
    pub fn new(mut executor: Executor, dims: Dims, tensors: Tensors, settings: Settings) -> Runner {
        let (slots, positions) = (tensors.slots, settings.pages_per_sequence() * PAGE);
        let piece = 8192;
        for first in (0..positions).step_by(piece) {
            let table = model::rope::table(&dims.rope, first, (positions - first).min(8192));
            let word = u64::from(first) * u64::from(dims.rope_pairs) * 2;
            executor.write(slots.rope_table, word, bytemuck::cast_slice(&table));
        }
        Runner {
            executor,
            dims,
            tensors,
            settings,
            sequences: Sequences::new(settings.sequences, settings.context),
            recordings: HashMap::new(),
            batch: Vec::new(),
            extent: Extent { tokens: 0, rows: 0, length: 0 },
        }
    }

    /// Sizes of the model.
    pub fn dims(&self) -> &Dims {
        &self.dims
    }

    /// How the runner was set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Tokens of a prefill step at most; fewer where the rows that taps keep of a whole step would exceed 32 MiB.
    pub fn chunk(&self, taps: Taps) -> u32 {
        if taps == Taps::None {
            return self.settings.chunk;
        }
        let words = u64::from(self.settings.pages_per_sequence() * PAGE) * u64::from(taps.long_rows());
        // A recording has room for a power of two of tokens.
        1 << model::queries_at_once(self.settings.chunk, words).ilog2()
    }

    /// Positions that attention reads from now on; none: all visible ones. Tokens read before keep what they were given.
    pub(crate) fn set_index_topk(&mut self, index_topk: Option<u32>) {
        self.settings.index_topk = index_topk;
    }

    /// The executor, for counters.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Who has which pages.
    pub(crate) fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// As [`Runner::sequences`], to open, close and share.
    pub(crate) fn sequences_mut(&mut self) -> &mut Sequences {
        &mut self.sequences
    }

    /// Opens a sequence without tokens.
    ///
    /// # Errors
    /// `bad_request` where all sequences are in use.
    pub fn open(&mut self) -> Result<SequenceId> {
        self.sequences.open()
    }

    /// Closes a sequence; its pages are free for others.
    pub fn close(&mut self, id: SequenceId) {
        self.sequences.close(id);
    }

    /// Tokens of a sequence.
    pub fn length(&self, id: SequenceId) -> u32 {
        self.sequences.length(id)
    }

    /// Forgets the tokens of a sequence from `length` on; pages that only they used are free.
    pub fn truncate(&mut self, id: SequenceId, length: u32) {
        self.sequences.truncate(id, length);
    }

    /// The rows of a page after the steps so far, on their way: a part for each tensor of the cache.
    pub(crate) fn read_page(&mut self, id: SequenceId, place: usize) -> Result<Vec<Read>> {
        let page = self.sequences.pages_of(id)[place];
        let read = |tensor: CacheTensor| {
            let (slot, word, words) = tensor.page(page);
            self.executor.read(slot, word, words)
        };
        self.tensors.cache().map(read).collect()
    }

    /// Appends a block to a sequence of full pages and publishes it; false where its rows are not this model's.
    ///
    /// # Errors
    /// `context_overflow`, `out_of_memory`.
    pub(crate) fn restore(&mut self, id: SequenceId, key: Key, words: &[u32]) -> Result<bool> {
        let expected: u64 = self.tensors.cache().map(|tensor| tensor.page_words()).sum();
        if words.len() as u64 != expected {
            return Ok(false);
        }
        let place = self.sequences.pages_of(id).len();
        self.sequences.extend(id, PAGE as usize)?;
        let page = self.sequences.pages_of(id)[place];
        let mut rest = words;
        for tensor in self.tensors.cache() {
            let (slot, word, words) = tensor.page(page);
            let (part, after) = rest.split_at(usize::try_from(words).unwrap_or(usize::MAX).min(rest.len()));
            self.executor.write(slot, word, part);
            rest = after;
        }
        self.sequences.publish(id, place, key);
        Ok(true)
    }

    /// Runs one step over chunks of distinct sequences. With `greedy` the rows' likeliest ids are chosen on the GPU, and
    /// if every chunk was one token, [`Runner::again`] can go on from them.
    ///
    /// # Errors
    /// `context_overflow`, `device_lost`; `internal` for more tokens than a step holds.
    pub async fn step(&mut self, chunks: &[Chunk<'_>], greedy: bool) -> Result<()> {
        self.step_tapped(chunks, greedy, Taps::None).await.map(drop)
    }

    /// [`Runner::step`] that also gives the tensors tapped. They do not change what is computed.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub async fn step_tapped(&mut self, chunks: &[Chunk<'_>], greedy: bool, taps: Taps) -> Result<Tapped> {
        self.assemble(chunks)?;
        self.run(greedy, taps).await
    }

    /// One more step of the same sequences, from the ids that the last one chose on the GPU. Nothing is read or written by
    /// the host, so that steps can be submitted ahead of their results.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub async fn again(&mut self) -> Result<()> {
        self.again_tapped(Taps::None).await.map(drop)
    }

    /// [`Runner::again`] that also gives the tensors tapped.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub async fn again_tapped(&mut self, taps: Taps) -> Result<Tapped> {
        let batch = self.batch.clone();
        batch.iter().try_for_each(|&sequence| self.sequences.longer(SequenceId(sequence), 1).map(drop))?;
        for sequence in batch {
            self.sequences.extend(SequenceId(sequence), 1)?;
        }
        self.extent.length += 1;
        self.run(true, taps).await
    }

    /// Writes the step buffer for these chunks; the sequences grow.
    fn assemble(&mut self, chunks: &[Chunk<'_>]) -> Result<()> {
        let tokens: usize = chunks.iter().map(|chunk| chunk.ids.len()).sum();
        let capacity = self.settings.tokens() as usize;
        if tokens == 0 || tokens > capacity {
            let message = format!("a step of {tokens} tokens; it holds 1 to {capacity}");
            return Err(Error::new(Code::Internal, message));
        }
        let wanted: usize = chunks.iter().map(Chunk::rows).sum();
        if wanted > self.settings.rows as usize {
            let message = format!("{wanted} rows of logits; a step has {} at most", self.settings.rows);
            return Err(Error::new(Code::Internal, message));
        }
        // Everything is checked before anything changes: a refused step leaves every sequence as it was.
        for chunk in chunks {
            self.sequences.longer(chunk.sequence, chunk.ids.len())?;
            if let Some(id) = chunk.ids.iter().find(|&&id| id >= self.dims.vocab_size) {
                let message = format!("token id {id}; the model has {}", self.dims.vocab_size);
                return Err(Error::new(Code::BadRequest, message));
            }
        }
        self.batch.clear();
        let (mut records, mut rows, mut longest) = (Vec::new(), Vec::new(), 0);
        for chunk in chunks {
            let first = self.length(chunk.sequence);
            self.sequences.extend(chunk.sequence, chunk.ids.len())?;
            longest = longest.max(self.length(chunk.sequence));
            self.batch.push(chunk.sequence.0);
            for (i, (position, &id)) in (first..).zip(chunk.ids).enumerate() {
                let last = i + 1 == chunk.ids.len();
                if chunk.wanted == Wanted::All || (chunk.wanted == Wanted::Last && last) {
                    rows.push(u32::try_from(records.len()).unwrap_or(u32::MAX));
                }
                records.push([id, position, chunk.sequence.0, 0]);
            }
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.extent = Extent { tokens: count(tokens), rows: count(rows.len()), length: longest };
        for (record, row) in records.iter_mut().zip(&rows) {
            record[3] = *row;
        }
        let mut words = vec![self.extent.tokens, self.extent.rows, self.extent.length, 0];
        words.extend(records.into_iter().flatten());
        self.executor.write(self.tensors.slots.step, 0, &words);
        Ok(())
    }

    fn shape(&self, greedy: bool, taps: Taps) -> Shape {
        self.settings.shape(&self.dims, &self.extent, greedy, taps)
    }

    async fn run(&mut self, greedy: bool, taps: Taps) -> Result<Tapped> {
        let (executor, prepared, extent) = self.ready(greedy, taps).await?;
        executor.run(prepared, &extent)
    }

    /// What runs the step, what is run, and how much of it.
    async fn ready(&mut self, greedy: bool, taps: Taps) -> Result<(&mut Executor, &Prepared, Extent)> {
        let shape = self.shape(greedy, taps);
        self.prepare(shape).await?;
        self.write_pages();
        let prepared = self.recordings.get(&shape);
        let prepared = prepared.ok_or_else(|| Error::new(Code::Internal, "a recording went missing"))?;
        Ok((&mut self.executor, prepared, self.extent))
    }

    /// Brings the device's page table up to date.
    fn write_pages(&mut self) {
        let StepSlots { step, pages: table, .. } = self.tensors.slots;
        for (word, pages) in self.sequences.take_changes() {
            self.executor.write(step, u64::from(table.word(0)) + word, &pages);
        }
    }

    fn record(&self, shape: Shape) -> Recording {
        model::step(Parts { dims: &self.dims, tensors: &self.tensors, shape })
    }

    async fn prepare(&mut self, shape: Shape) -> Result<()> {
        if !self.recordings.contains_key(&shape) {
            let prepared = self.executor.prepare(self.record(shape)).await?;
            // Of traces only the last one's recordings are kept: there are as many traces as sets of layers.
            self.recordings
                .retain(|kept, _| kept.taps == Taps::None || kept.taps == shape.taps || shape.taps == Taps::None);
            self.recordings.insert(shape, prepared);
        }
        Ok(())
    }

    /// One step, timed on the device: nanoseconds; none where it has no clock.
    pub(crate) async fn step_timed(&mut self, chunks: &[Chunk<'_>]) -> Result<Option<f64>> {
        self.assemble(chunks)?;
        let (executor, prepared, extent) = self.ready(true, Taps::None).await?;
        executor.run_timed(prepared, &extent).await
    }

    /// Makes the recordings that decoding one sequence will need, so that the first token does not wait for them. `report`
    /// hears of pipelines, done and in all, and returns false to stop.
    ///
    /// # Errors
    /// As [`Runner::new`]; `cancelled`.
    pub(crate) async fn warm(&mut self, report: &mut dyn FnMut(u32, u32) -> bool) -> Result<()> {
        self.extent = Extent { tokens: 1, rows: 1, length: 1 };
        let shapes = [false, true].map(|greedy| self.shape(greedy, Taps::None));
        let recordings = shapes.map(|shape| self.record(shape));
        self.executor.compile(&recordings, report).await?;
        for (shape, recording) in shapes.into_iter().zip(recordings) {
            let prepared = self.executor.prepare(recording).await?;
            self.recordings.insert(shape, prepared);
        }
        Ok(())
    }

    /// A step of another recording than the model's own: writes the step buffer, and gives what the recording is made from and
    /// what runs it.
    pub(crate) fn other_step(&mut self, chunk: Chunk<'_>, taps: Taps) -> Result<(&mut Executor, Parts<'_>, Extent)> {
        self.assemble(&[chunk])?;
        self.write_pages();
        let shape = self.shape(false, taps);
        let parts = Parts { dims: &self.dims, tensors: &self.tensors, shape };
        Ok((&mut self.executor, parts, self.extent))
    }

    /// What a layer keeps of a sequence's tokens, on its way: of each tensor a part for each of its pages.
    pub(crate) fn cached(&mut self, layer: u32, id: SequenceId) -> Result<Vec<(CacheRow, Vec<Read>)>> {
        let read = |tensor: CacheTensor| {
            let pages = self.sequences.pages_of(id).iter().map(|&page| {
                let (slot, word, words) = tensor.page(page);
                self.executor.read(slot, word, words)
            });
            Ok((tensor.row, pages.collect::<Result<_>>()?))
        };
        self.tensors.weights.layers[layer as usize].attention.cache().map(read).collect()
    }

    /// The recording that the last step ran.
    pub fn last_recording(&self) -> Option<(&crate::record::Recording, Extent)> {
        let found = [false, true].into_iter().find_map(|greedy| self.recordings.get(&self.shape(greedy, Taps::None)));
        found.map(|prepared| (prepared.recording(), self.extent))
    }

    /// Logits of the last step's row `row`: `[vocab_size]`.
    ///
    /// # Errors
    /// `device_lost`.
    pub async fn logits(&mut self, row: u32) -> Result<Vec<f32>> {
        let width = self.row_words() as u64;
        let words = self.executor.read(self.tensors.slots.logits, u64::from(row) * width, width)?.await?;
        let mut logits: Vec<f32> = bytemuck::cast_vec(words);
        logits.truncate(self.dims.vocab_size as usize);
        Ok(logits)
    }

    /// Words of a row of logits: those of the vocabulary, then padding.
    pub(crate) fn row_words(&self) -> usize {
        self.tensors.weights.head.width as usize
    }

    /// The first rows of logits of the last step, on their way: `[rows, row_words]`.
    pub(crate) fn rows(&mut self, rows: u32) -> Result<Read> {
        self.executor.read(self.tensors.slots.logits, 0, u64::from(rows) * self.row_words() as u64)
    }

    /// What the last greedy step chose, on its way: `[rows]` of (id, flags).
    ///
    /// # Errors
    /// `device_lost`.
    pub fn chosen(&mut self) -> Result<Read> {
        self.executor.read(self.tensors.slots.chosen, 0, u64::from(self.extent.rows.max(1)) * 2)
    }

    /// A word that is there once the steps submitted so far are done.
    pub(crate) fn mark(&mut self) -> Result<Read> {
        self.executor.read(self.tensors.slots.step, 0, 1)
    }

    /// Waits until the steps submitted so far are done.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        self.mark()?.await.map(drop)
    }
}
