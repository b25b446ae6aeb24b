//! `step` and its pages on the host: how references read them, and steps that make wrong rows visible in cases.

use crate::case::{POISON, Random};
use crate::kernel::Extent;

/// Positions of one page of the cache.
pub const PAGE: u32 = 64;

/// Where a step buffer lists the pages of its sequences, `[sequences, per_sequence]`: behind the records of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageTable {
    /// The record, of four words, at which the pages begin.
    pub from: u32,
    /// Pages that one sequence can have.
    pub per_sequence: u32,
}

impl PageTable {
    /// The table behind the records of so many tokens.
    #[must_use]
    pub const fn behind(tokens: u32, per_sequence: u32) -> PageTable {
        PageTable { from: 1 + tokens, per_sequence }
    }

    /// Word of the step buffer that names a sequence's first page.
    #[must_use]
    pub const fn word(&self, sequence: u32) -> u32 {
        4 * self.from + sequence * self.per_sequence
    }

    /// Cache row of a position; the twin of `cache_row` in `step.wgsl`.
    #[must_use]
    pub fn row(&self, step: &[u32], sequence: u32, position: u32) -> u32 {
        step[(self.word(sequence) + position / PAGE) as usize] * PAGE + position % PAGE
    }
}

/// Position of token `token` of a step.
#[must_use]
pub fn position(step: &[u32], token: u32) -> u32 {
    step[4 * (token as usize + 1) + 1]
}

/// Sequence of token `token` of a step.
#[must_use]
pub fn sequence(step: &[u32], token: u32) -> u32 {
    step[4 * (token as usize + 1) + 2]
}

/// A step over sequences whose pages lie scattered, for cases.
#[derive(Clone, Debug)]
pub struct Paging {
    /// Words of `step`, with one more token than the step has, which must not be looked at, and then the pages; those that no
    /// token sees are [`POISON`].
    pub step: Vec<u32>,
    /// Where the pages are: one more for each sequence than any uses.
    pub pages: PageTable,
    /// Rows of the cache, with pages that no sequence has.
    pub rows: u32,
    /// Sizes of the step.
    pub extent: Extent,
}

impl Paging {
    /// A step of tokens given as (sequence, position); pages come in random order, three of them unused.
    pub(crate) fn scattered(random: &mut Random, tokens: &[(u32, u32)]) -> Paging {
        let sequences = 1 + tokens.iter().map(|token| token.0).max().unwrap_or(0);
        let length = 1 + tokens.iter().map(|token| token.1).max().unwrap_or(0);
        let used: Vec<u32> = (0..sequences)
            .map(|s| tokens.iter().filter(|token| token.0 == s).map(|token| token.1 / PAGE + 1).max().unwrap_or(0))
            .collect();
        let pages_per_sequence = length.div_ceil(PAGE) + 1;
        let total = used.iter().sum::<u32>() + 3;
        let mut free = random.shuffle(total).into_iter();
        let mut pages = vec![POISON; (sequences * pages_per_sequence) as usize];
        for (row, &used) in pages.chunks_mut(pages_per_sequence as usize).zip(&used) {
            for page in &mut row[..used as usize] {
                *page = free.next().unwrap_or(0);
            }
        }
        let count = u32::try_from(tokens.len()).unwrap_or(0);
        let mut step = vec![count, count, length, 0];
        for (t, &(sequence, position)) in (0..).zip(tokens) {
            step.extend([random.below(100), position, sequence, t]);
        }
        step.extend([POISON; 4]);
        step.extend(pages);
        step.resize(step.len().next_multiple_of(4), POISON);
        let extent = Extent { tokens: count, rows: count, length };
        Paging { step, pages: PageTable::behind(count + 1, pages_per_sequence), rows: total * PAGE, extent }
    }

    /// Cache rows that tokens see: positions 0 up to the highest of each sequence.
    pub(crate) fn visible_rows(&self) -> Vec<u32> {
        let mut rows = Vec::new();
        let sequences = (0..self.extent.tokens).map(|t| sequence(&self.step, t) + 1).max().unwrap_or(0);
        for s in 0..sequences {
            let positions = (0..self.extent.tokens).filter(|&t| sequence(&self.step, t) == s);
            let length = positions.map(|t| position(&self.step, t) + 1).max().unwrap_or(0);
            rows.extend((0..length).map(|p| self.pages.row(&self.step, s, p)));
        }
        rows
    }
}
