//! Who has which pages: sequences, their lengths, and blocks of known texts that others may begin with.
//!
//! In: what opens, grows, shrinks and closes. Out: changes of the page table, for the device. Never: a device, or a row's content.

use super::pages::{Key, Pages};
use crate::error::{Code, Error, Result};
use crate::model::cache::PAGE;

/// A sequence of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(pub(super) u32);

#[derive(Clone, Debug, Default)]
struct Sequence {
    open: bool,
    length: u32,
    pages: Vec<u32>,
}

/// All sequences of a runner, and the pages of its cache.
pub(crate) struct Sequences {
    sequences: Vec<Sequence>,
    pages: Pages,
    /// Positions that a sequence can have.
    context: u32,
    /// What the device's page table lacks yet: from a word on, pages.
    changes: Vec<(u64, Vec<u32>)>,
}

impl Sequences {
    /// Room for `count` sequences of `context` positions.
    pub(crate) fn new(count: u32, context: u32) -> Sequences {
        let pages = Pages::new(context.div_ceil(PAGE).saturating_mul(count));
        Sequences { sequences: vec![Sequence::default(); count as usize], pages, context, changes: vec![] }
    }

    /// Opens a sequence without tokens.
    ///
    /// # Errors
    /// `bad_request` where all sequences are in use.
    pub(crate) fn open(&mut self) -> Result<SequenceId> {
        let all = self.sequences.len();
        self.open_on(&[], 0).ok_or_else(|| Error::new(Code::BadRequest, format!("all {all} sequences are in use")))
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
        let id = SequenceId(u32::try_from(found).unwrap_or(u32::MAX));
        if !shared.is_empty() {
            self.changes.push((self.table_word(id, 0), shared.to_vec()));
        }
        let length = u32::try_from(shared.len()).unwrap_or(u32::MAX).saturating_mul(PAGE);
        self.sequences[found] = Sequence { open: true, length, pages: shared.to_vec() };
        Some(id)
    }

    /// Whether another sequence can be opened.
    pub(crate) fn has_free(&self) -> bool {
        self.sequences.iter().any(|sequence| !sequence.open)
    }

    /// Pages of a sequence, in the order of its positions.
    pub(crate) fn pages_of(&self, id: SequenceId) -> &[u32] {
        &self.sequences[id.0 as usize].pages
    }

    /// Tokens of a sequence.
    pub(crate) fn length(&self, id: SequenceId) -> u32 {
        self.sequences[id.0 as usize].length
    }

    /// Pages of the cache, and those that no sequence uses; some of these may hold blocks of earlier texts.
    pub(crate) fn pages(&self) -> (u32, u32) {
        (self.pages.count(), self.pages.available())
    }

    /// Lets other sequences begin with a full page of this one; true where they could not before. Its rows are not to
    /// change any more, but to equal ones.
    pub(crate) fn publish(&mut self, id: SequenceId, place: usize, key: Key) -> bool {
        let page = self.sequences[id.0 as usize].pages.get(place);
        page.is_some_and(|&page| self.pages.publish(page, key))
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
    pub(crate) fn close(&mut self, id: SequenceId) {
        self.truncate(id, 0);
        self.sequences[id.0 as usize].open = false;
    }

    /// Forgets the tokens of a sequence from `length` on; pages that only they used are free.
    pub(crate) fn truncate(&mut self, id: SequenceId, length: u32) {
        let sequence = &mut self.sequences[id.0 as usize];
        sequence.length = sequence.length.min(length);
        let kept = sequence.length.div_ceil(PAGE) as usize;
        sequence.pages.drain(kept..).rev().for_each(|page| self.pages.release(page));
    }

    /// The length of a sequence with `tokens` more.
    ///
    /// # Errors
    /// `context_overflow` where its context does not hold them.
    pub(crate) fn longer(&self, id: SequenceId, tokens: usize) -> Result<u32> {
        let length = self.length(id).saturating_add(u32::try_from(tokens).unwrap_or(u32::MAX));
        if length > self.context {
            let message = format!("{length} tokens exceed the context of {}", self.context);
            return Err(Error::new(Code::ContextOverflow, message));
        }
        Ok(length)
    }

    /// Makes a sequence longer by `tokens`.
    ///
    /// # Errors
    /// As [`Sequences::longer`]; `out_of_memory` where no page is free.
    pub(crate) fn extend(&mut self, id: SequenceId, tokens: usize) -> Result<()> {
        let length = self.longer(id, tokens)?;
        while (self.pages_of(id).len() as u64) < u64::from(length.div_ceil(PAGE)) {
            let Some(page) = self.pages.take() else {
                return Err(Error::new(Code::OutOfMemory, "no free page in the cache"));
            };
            self.changes.push((self.table_word(id, self.pages_of(id).len()), vec![page]));
            self.sequences[id.0 as usize].pages.push(page);
        }
        self.sequences[id.0 as usize].length = length;
        Ok(())
    }

    /// What changed in the page table `[sequences, pages_per_sequence]` since the last call: from a word on, pages.
    pub(crate) fn take_changes(&mut self) -> Vec<(u64, Vec<u32>)> {
        std::mem::take(&mut self.changes)
    }

    fn table_word(&self, id: SequenceId, place: usize) -> u64 {
        u64::from(id.0) * u64::from(self.context.div_ceil(PAGE)) + place as u64
    }
}
