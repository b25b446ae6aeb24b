//! Steps over sequences: page tables, the step buffer, a recording for each shape.
//!
//! In: chunks of ids for sequences, prompt or answer, in any mixture. Out: logits rows and greedy choices, awaited.
//! Never: text, sampling, or anything made per token: recordings, bind groups and pipelines belong to shapes.

use std::collections::HashMap;

use lyn_shaders::{Extent, Slot};

use super::pages::{Key, Pages};
use crate::error::{Code, Error, Result};
use crate::executor::{Executor, Prepared, Read, Tapped};
use crate::model::cache::{CacheTensor, LayerCache, PAGE};
use crate::model::weights::Weights;
use crate::model::{self, Cache, Dims, Parts, Shape, StepSlots};
use crate::record::{Recording, Tap, Taps};

/// How a runner is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Positions that a sequence can have.
    pub context: u32,
    /// Sequences at once.
    pub sequences: u32,
    /// Tokens of a step at most: longer prompts are read in chunks.
    pub chunk: u32,
    /// Rows of logits of a step at most: a row is as long as the vocabulary.
    pub rows: u32,
    /// Positions that attention reads for each token; none: all visible ones.
    pub index_topk: Option<u32>,
}

/// A sequence of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(u32);

#[derive(Clone, Debug, Default)]
struct Sequence {
    open: bool,
    length: u32,
    pages: Vec<u32>,
}

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
    #[must_use]
    pub const fn rows(&self) -> usize {
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
    weights: Weights,
    cache: Cache,
    slots: StepSlots,
    settings: Settings,
    sequences: Vec<Sequence>,
    pages: Pages,
    recordings: HashMap<Shape, Prepared>,
    /// What the step buffer holds: the tokens of the last step, as the host knows them.
    batch: Vec<u32>,
    extent: Extent,
}

impl Runner {
    /// A runner over loaded weights; allocates caches and the tensors of a step.
    ///
    /// # Errors
    /// `out_of_memory`, `limit_too_small`, `device_lost`.
    pub async fn new(mut executor: Executor, dims: Dims, weights: Weights, settings: Settings) -> Result<Runner> {
        let pages_per_sequence = settings.context.div_ceil(PAGE);
        let pages = pages_per_sequence.saturating_mul(settings.sequences);
        let cache = Cache::allocate(&mut executor, &dims, pages, pages_per_sequence).await?;
        let tokens = settings.chunk.max(settings.sequences);
        let positions = pages_per_sequence * PAGE;
        let slots = StepSlots {
            step: executor.allocate("step", (1 + u64::from(tokens)) * 4).await?,
            pages: executor.allocate("pages", u64::from(pages)).await?,
            rope_table: executor.allocate("rope table", u64::from(positions) * u64::from(dims.rope_pairs) * 2).await?,
            logits: executor.allocate("logits", u64::from(settings.rows) * u64::from(weights.head.width)).await?,
            chosen: executor.allocate("chosen", u64::from(settings.rows) * 2).await?,
        };
        let piece = 8192;
        for first in (0..positions).step_by(piece) {
            let table = model::rope::table(&dims.rope, first, (positions - first).min(8192));
            let word = u64::from(first) * u64::from(dims.rope_pairs) * 2;
            executor.write(slots.rope_table, word, bytemuck::cast_slice(&table));
        }
        let sequences = vec![Sequence::default(); settings.sequences as usize];
        Ok(Runner {
            executor,
            dims,
            weights,
            cache,
            slots,
            settings,
            sequences,
            pages: Pages::new(pages),
            recordings: HashMap::new(),
            batch: Vec::new(),
            extent: Extent { tokens: 0, rows: 0, length: 0 },
        })
    }

    /// Sizes of the model.
    #[must_use]
    pub fn dims(&self) -> &Dims {
        &self.dims
    }

    /// How the runner was set up.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Tokens of a prefill step at most; fewer where the rows that taps keep of a whole step would exceed 32 MiB.
    #[must_use]
    pub fn chunk(&self, taps: Taps) -> u32 {
        if taps == Taps::None {
            return self.settings.chunk;
        }
        let words = u64::from(self.cache.pages_per_sequence * PAGE) * u64::from(taps.long_rows());
        // A recording has room for a power of two of tokens.
        1 << model::queries_at_once(self.settings.chunk, words).ilog2()
    }

    /// Positions that attention reads from now on; none: all visible ones. Tokens read before keep what they were given.
    pub fn set_index_topk(&mut self, index_topk: Option<u32>) {
        self.settings.index_topk = index_topk;
    }

    /// The executor, for counters.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The weights of multi-token prediction, where they were loaded.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Opens a sequence without tokens.
    ///
    /// # Errors
    /// `bad_request` where all sequences are in use.
    pub fn open(&mut self) -> Result<SequenceId> {
        self.open_on(&[], 0).ok_or_else(|| {
            Error::new(Code::BadRequest, format!("all {} sequences are in use", self.settings.sequences))
        })
    }

    /// Opens a sequence that begins with the rows of these full pages, if `needed` pages, these among them, can be had
    /// and a sequence is free.
    pub(crate) fn open_on(&mut self, shared: &[u32], needed: u32) -> Option<SequenceId> {
        let in_use = shared.iter().filter(|&&page| !self.pages.is_idle(page)).count();
        let found = self.sequences.iter().position(|sequence| !sequence.open)?;
        if u64::from(needed) > u64::from(self.pages.available()) + in_use as u64 {
            return None;
        }
        shared.iter().for_each(|&page| self.pages.share(page));
        let row = found as u64 * u64::from(self.cache.pages_per_sequence);
        if !shared.is_empty() {
            self.executor.write(self.slots.pages, row, shared);
        }
        let length = u32::try_from(shared.len()).unwrap_or(u32::MAX).saturating_mul(PAGE);
        self.sequences[found] = Sequence { open: true, length, pages: shared.to_vec() };
        Some(SequenceId(u32::try_from(found).unwrap_or(u32::MAX)))
    }

    /// Whether another sequence can be opened.
    pub(crate) fn has_free_sequence(&self) -> bool {
        self.sequences.iter().any(|sequence| !sequence.open)
    }

    /// Pages that a sequence has.
    pub(crate) fn pages_of(&self, id: SequenceId) -> u32 {
        u32::try_from(self.sequences[id.0 as usize].pages.len()).unwrap_or(u32::MAX)
    }

    /// Pages of the cache.
    pub(crate) fn pages(&self) -> u32 {
        self.pages.count()
    }

    /// Pages that no sequence uses; some may hold blocks of earlier texts.
    pub(crate) fn available_pages(&self) -> u32 {
        self.pages.available()
    }

    /// Lets other sequences begin with a full page of this one; true where they could not before. Its rows are not to
    /// change any more, but to equal ones.
    pub(crate) fn publish(&mut self, id: SequenceId, place: usize, key: Key) -> bool {
        let page = self.sequences[id.0 as usize].pages.get(place);
        page.is_some_and(|&page| self.pages.publish(page, key))
    }

    /// The rows of a page after the steps so far, on their way: a part for each tensor of the cache.
    ///
    /// # Errors
    /// `device_lost`.
    pub(crate) fn read_page(&mut self, id: SequenceId, place: usize) -> Result<Vec<Read>> {
        let page = self.sequences[id.0 as usize].pages[place];
        let read = |tensor: CacheTensor| {
            let (word, words) = tensor.page(page);
            self.executor.read(tensor.slot, word, words)
        };
        self.cache.tensors().map(read).collect()
    }

    /// Appends a block to a sequence of full pages and publishes it; false where its rows are not this model's.
    ///
    /// # Errors
    /// `context_overflow`, `out_of_memory`.
    pub(crate) fn restore(&mut self, id: SequenceId, key: Key, words: &[u32]) -> Result<bool> {
        let expected: u64 = self.cache.tensors().map(|tensor| tensor.page(0).1).sum();
        if words.len() as u64 != expected {
            return Ok(false);
        }
        let place = self.sequence(id).pages.len();
        self.extend(id, PAGE as usize)?;
        let page = self.sequences[id.0 as usize].pages[place];
        let mut rest = words;
        for tensor in self.cache.tensors() {
            let (word, words) = tensor.page(page);
            let (part, after) = rest.split_at(usize::try_from(words).unwrap_or(usize::MAX).min(rest.len()));
            self.executor.write(tensor.slot, word, part);
            rest = after;
        }
        self.publish(id, place, key);
        Ok(true)
    }

    /// The page that holds a published block.
    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.pages.find(key)
    }

    /// Forgets all published blocks: what is read from now on is computed.
    pub(crate) fn forget(&mut self) {
        self.pages.clear();
    }

    /// Closes a sequence; its pages are free for others.
    pub fn close(&mut self, id: SequenceId) {
        self.truncate(id, 0);
        self.sequence(id).open = false;
    }

    /// Tokens of a sequence.
    #[must_use]
    pub fn length(&self, id: SequenceId) -> u32 {
        self.sequences[id.0 as usize].length
    }

    /// Forgets the tokens of a sequence from `length` on; pages that only they used are free.
    pub fn truncate(&mut self, id: SequenceId, length: u32) {
        let sequence = &mut self.sequences[id.0 as usize];
        sequence.length = sequence.length.min(length);
        let kept = sequence.length.div_ceil(PAGE) as usize;
        sequence.pages.drain(kept..).rev().for_each(|page| self.pages.release(page));
    }

    fn sequence(&mut self, id: SequenceId) -> &mut Sequence {
        &mut self.sequences[id.0 as usize]
    }

    /// The length of a sequence with `tokens` more, if its context holds them.
    fn longer(&self, id: SequenceId, tokens: usize) -> Result<u32> {
        let length = self.length(id).saturating_add(u32::try_from(tokens).unwrap_or(u32::MAX));
        if length > self.settings.context {
            let message = format!("{length} tokens exceed the context of {}", self.settings.context);
            return Err(Error::new(Code::ContextOverflow, message));
        }
        Ok(length)
    }

    /// Appends ids to a sequence's pages; new pages go into the page table.
    fn extend(&mut self, id: SequenceId, tokens: usize) -> Result<()> {
        let length = self.longer(id, tokens)?;
        while (self.sequence(id).pages.len() as u64) < u64::from(length.div_ceil(PAGE)) {
            let Some(page) = self.pages.take() else {
                return Err(Error::new(Code::OutOfMemory, "no free page in the cache"));
            };
            let place = self.sequence(id).pages.len() as u64;
            self.sequence(id).pages.push(page);
            let row = u64::from(id.0) * u64::from(self.cache.pages_per_sequence);
            self.executor.write(self.slots.pages, row + place, &[page]);
        }
        self.sequence(id).length = length;
        Ok(())
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
        let words = self.assemble(chunks)?;
        self.executor.write(self.slots.step, 0, &words);
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
        batch.iter().try_for_each(|&sequence| self.longer(SequenceId(sequence), 1).map(drop))?;
        for sequence in batch {
            self.extend(SequenceId(sequence), 1)?;
        }
        self.extent.length += 1;
        self.run(true, taps).await
    }

    /// Words of the step buffer for these chunks; the sequences grow.
    fn assemble(&mut self, chunks: &[Chunk<'_>]) -> Result<Vec<u32>> {
        let tokens: usize = chunks.iter().map(|chunk| chunk.ids.len()).sum();
        let capacity = self.settings.chunk.max(self.settings.sequences) as usize;
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
            self.longer(chunk.sequence, chunk.ids.len())?;
            if let Some(id) = chunk.ids.iter().find(|&&id| id >= self.dims.vocab_size) {
                let message = format!("token id {id}; the model has {}", self.dims.vocab_size);
                return Err(Error::new(Code::BadRequest, message));
            }
        }
        self.batch.clear();
        let (mut records, mut rows, mut longest) = (Vec::new(), Vec::new(), 0);
        for chunk in chunks {
            let first = self.length(chunk.sequence);
            self.extend(chunk.sequence, chunk.ids.len())?;
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
        Ok(words)
    }

    fn shape(&self, greedy: bool, taps: Taps) -> Shape {
        let Extent { tokens, rows, length } = self.extent;
        let room = |count: u32, most: u32| count.max(1).checked_next_power_of_two().unwrap_or(most).min(most);
        let index_topk = self.settings.index_topk.filter(|_| self.dims.indexer.is_some());
        Shape {
            tokens: room(tokens, self.settings.chunk.max(self.settings.sequences)),
            rows: room(rows, self.settings.rows),
            length: self.cache.pages_per_sequence * PAGE,
            index_topk,
            // Scores are wanted even where every visible position is kept.
            select: index_topk.is_some_and(|k| length > k || taps != Taps::None),
            greedy,
            taps,
        }
    }

    async fn run(&mut self, greedy: bool, taps: Taps) -> Result<Tapped> {
        let shape = self.shape(greedy, taps);
        self.prepare(shape).await?;
        match self.recordings.get(&shape) {
            Some(prepared) => self.executor.run(prepared, &self.extent),
            None => Err(Error::new(Code::Internal, "a recording went missing")),
        }
    }

    fn record(&self, shape: Shape) -> Recording {
        model::step(Parts { dims: &self.dims, weights: &self.weights, cache: &self.cache, slots: self.slots, shape })
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
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub async fn step_timed(&mut self, chunks: &[Chunk<'_>]) -> Result<Option<f64>> {
        let words = self.assemble(chunks)?;
        self.executor.write(self.slots.step, 0, &words);
        let shape = self.shape(true, Taps::None);
        self.prepare(shape).await?;
        match self.recordings.get(&shape) {
            Some(prepared) => self.executor.run_timed(prepared, &self.extent).await,
            None => Err(Error::new(Code::Internal, "a recording went missing")),
        }
    }

    /// Makes the recordings that decoding one sequence will need, so that the first token does not wait for them. `report`
    /// hears of pipelines, done and in all, and returns false to stop.
    ///
    /// # Errors
    /// As [`Runner::new`]; `cancelled`.
    pub async fn warm(&mut self, report: &mut dyn FnMut(u32, u32) -> bool) -> Result<()> {
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

    /// The recording that the last step ran.
    #[must_use]
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
        let words = self.executor.read(self.slots.logits, u64::from(row) * width, width)?.await?;
        let mut logits: Vec<f32> = bytemuck::cast_vec(words);
        logits.truncate(self.dims.vocab_size as usize);
        Ok(logits)
    }

    /// Words of a row of logits: those of the vocabulary, then padding.
    #[must_use]
    pub(crate) fn row_words(&self) -> usize {
        self.weights.head.width as usize
    }

    /// The first rows of logits of the last step, on their way: `[rows, row_words]`.
    ///
    /// # Errors
    /// `device_lost`.
    pub(crate) fn rows(&mut self, rows: u32) -> Result<Read> {
        self.executor.read(self.slots.logits, 0, u64::from(rows) * self.row_words() as u64)
    }

    /// What the last greedy step chose, on its way: `[rows]` of (id, flags).
    ///
    /// # Errors
    /// `device_lost`.
    pub fn chosen(&mut self) -> Result<Read> {
        self.executor.read(self.slots.chosen, 0, u64::from(self.extent.rows.max(1)) * 2)
    }

    /// A word that is there once the steps submitted so far are done.
    ///
    /// # Errors
    /// `device_lost`.
    pub(crate) fn mark(&mut self) -> Result<Read> {
        self.executor.read(self.slots.step, 0, 1)
    }

    /// Waits until the steps submitted so far are done.
    ///
    /// # Errors
    /// `device_lost`.
    pub async fn settle(&mut self) -> Result<()> {
        self.mark()?.await.map(drop)
    }

    /// One step of multi-token prediction module 0 over `hidden` `[tokens, hidden_size]` and the tokens that follow, with
    /// every stage read.
    ///
    /// # Errors
    /// As [`Runner::step`]; `internal` where the module was not loaded.
    pub async fn predict_tapped(&mut self, chunk: Chunk<'_>, hidden: &[f32]) -> Result<Vec<(Tap, Vec<u32>)>> {
        let words = self.assemble(&[chunk])?;
        self.executor.write(self.slots.step, 0, &words);
        let shape = self.shape(false, Taps::All);
        let Some(module) = self.weights.prediction.first() else {
            return Err(Error::new(Code::Internal, "multi-token prediction was not loaded"));
        };
        let layer = self.dims.num_hidden_layers;
        let cache = LayerCache::allocate(&mut self.executor, &self.dims, self.cache.pages, layer).await?;
        let slot: Slot =
            self.executor.allocate("hidden", u64::from(shape.tokens) * u64::from(self.dims.hidden_size)).await?;
        self.executor.write(slot, 0, bytemuck::cast_slice(hidden));
        let parts = Parts { dims: &self.dims, weights: &self.weights, cache: &self.cache, slots: self.slots, shape };
        let prepared = self.executor.prepare(model::predict_step(parts, module, &cache, slot)).await?;
        self.executor.run(&prepared, &self.extent)?.read().await
    }

    /// Cached rows of a layer for the tokens of a sequence: latents with rope keys, and index keys where the layer owns them.
    ///
    /// # Errors
    /// `device_lost`.
    pub async fn cached(&mut self, layer: u32, id: SequenceId) -> Result<(Vec<f32>, Vec<f32>)> {
        let LayerCache { latents, index_keys } = self.cache.layers[layer as usize];
        let latents = self.rows_of(latents, id).await?;
        let keys = match index_keys {
            Some(tensor) => self.rows_of(tensor, id).await?,
            None => vec![],
        };
        Ok((latents, keys))
    }

    /// A sequence's rows of a tensor of the cache, `[length, width]`.
    async fn rows_of(&mut self, tensor: CacheTensor, id: SequenceId) -> Result<Vec<f32>> {
        let mut rows = Vec::new();
        let mut left = self.length(id);
        for page in self.sequences[id.0 as usize].pages.clone() {
            let (first, words) = tensor.page(page);
            let page = self.executor.read(tensor.slot, first, words)?.await?;
            for row in 0..left.min(PAGE) {
                let word = |element| tensor.row.word(row, element);
                rows.extend((0..tensor.row.width).map(|element| f32::from_bits(page[word(element)])));
            }
            left = left.saturating_sub(PAGE);
        }
        Ok(rows)
    }
}
