//! Byte-pair merges: the bytes of a piece become tokens, the pair of the lowest rank first, the leftmost of equals first.
//!
//! Some 20 bytes for each byte of the longest piece, and nothing that outlives a text. A library's merges keep whole strings,
//! offsets and words beside the ids: 90 bytes and more, so that a text of 8 MB took 700 MB.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::alphabet::Alphabet;
use super::refusal::Refusal;
use crate::cancel;
use crate::error::{Class, Code, Error, Result, quote};

/// An id that is none, and a place that is none.
const NONE: u32 = u32::MAX;
/// Merges between two looks whether the ids are still wanted.
const BREATH: u32 = 1 << 16;
/// Pairs of a vocabulary without a list of merges. Kimi's has some five hundred thousand.
const MAX_PAIRS: usize = 1 << 22;

pub(super) struct Merges {
    /// The token of each byte; [`NONE`] where the vocabulary lacks it.
    bytes: [u32; 256],
    /// Rank of each pair of tokens. Several may have the same, and become the same token.
    ranks: HashMap<(u32, u32), u32>,
    /// The token that the pair of each rank becomes.
    merged: Vec<u32>,
    /// Where pieces that are tokens are not merged: all tokens, in the byte alphabet.
    whole: Option<HashMap<String, u32>>,
}

/// Room for one piece after the other.
#[derive(Default)]
pub(super) struct Scratch {
    next: Vec<u32>,
    before: Vec<u32>,
    pairs: Vec<Reverse<u64>>,
}

impl Merges {
    /// Merges of a file, whose tokens are in the byte alphabet.
    pub(super) fn new(
        vocab: Vec<(String, u32)>,
        merges: &[(String, String)],
        takes_whole: bool,
        alphabet: &Alphabet,
    ) -> Result<Merges, Refusal> {
        let vocab: HashMap<String, u32> = vocab.into_iter().collect();
        let id = |index: usize, token: &str| {
            let unknown = || {
                let message = format!("model.merges[{index}]: {} is not in the vocabulary", quote(token));
                Refusal(Class::Tok, message)
            };
            vocab.get(token).copied().ok_or_else(unknown)
        };
        let (mut ranks, mut merged) = (HashMap::with_capacity(merges.len()), Vec::with_capacity(merges.len()));
        for (rank, (index, (left, right))) in (0..).zip(merges.iter().enumerate()) {
            merged.push(id(index, &[left.as_str(), right].concat())?);
            ranks.insert((id(index, left)?, id(index, right)?), rank);
        }
        let bytes = Merges::bytes(&vocab, alphabet);
        Ok(Merges { bytes, ranks, merged, whole: takes_whole.then_some(vocab) })
    }

    /// Merges by the ids of what pairs become: any two tokens whose bytes together are a token.
    pub(super) fn by_rank(vocab: Vec<(String, u32)>, alphabet: &Alphabet) -> Result<Merges, Refusal> {
        let vocab: HashMap<String, u32> = vocab.into_iter().collect();
        let mut ranks = HashMap::new();
        for (token, &rank) in &vocab {
            let parts = token.char_indices().skip(1).filter_map(|(at, _)| token.split_at_checked(at));
            let parts = parts.filter_map(|(left, right)| Some((*vocab.get(left)?, *vocab.get(right)?)));
            ranks.extend(parts.map(|parts| (parts, rank)));
            if ranks.len() > MAX_PAIRS {
                let message =
                    format!("expected at most {MAX_PAIRS} pairs of tokens that are a token together, found more");
                return Err(Refusal(Class::Limit, message));
            }
        }
        let most = vocab.values().copied().max().unwrap_or(0);
        let bytes = Merges::bytes(&vocab, alphabet);
        Ok(Merges { bytes, ranks, merged: (0..=most).collect(), whole: Some(vocab) })
    }

    fn bytes(vocab: &HashMap<String, u32>, alphabet: &Alphabet) -> [u32; 256] {
        let mut bytes = [NONE; 256];
        for (byte, token) in (0..=255).zip(&mut bytes) {
            *token = vocab.get(alphabet.character(byte).encode_utf8(&mut [0; 4])).copied().unwrap_or(NONE);
        }
        bytes
    }

    /// Whether the vocabulary has a token for this byte.
    pub(super) fn has(&self, byte: u8) -> bool {
        self.bytes.get(usize::from(byte)).is_some_and(|&token| token != NONE)
    }

    /// Appends the tokens of a piece, whose bytes all have one.
    pub(super) fn append(
        &self,
        piece: &str,
        alphabet: &Alphabet,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if let Some(whole) = &self.whole {
            let mapped: String = piece.bytes().map(|byte| alphabet.character(byte)).collect();
            if let Some(&id) = whole.get(&mapped) {
                ids.push(id);
                return Ok(());
            }
        }
        let start = ids.len();
        ids.extend(piece.bytes().filter_map(|byte| self.bytes.get(usize::from(byte))).copied());
        let kept = match ids.get_mut(start..) {
            Some(symbols) if symbols.len() > 1 => self.merge(symbols, scratch)?,
            _ => return Ok(()),
        };
        ids.truncate(start.saturating_add(kept));
        Ok(())
    }

    /// Merges symbols in place; the result is how many are left, at the front.
    fn merge(&self, symbols: &mut [u32], scratch: &mut Scratch) -> Result<usize> {
        let count = u32::try_from(symbols.len()).ok().filter(|&count| count < NONE);
        let count = count.ok_or_else(|| Error::new(Code::BadRequest, "a word of 4 GiB and more"))?;
        let Scratch { next, before, pairs } = scratch;
        next.clear();
        next.extend(1..count);
        next.push(NONE);
        before.clear();
        before.push(NONE);
        before.extend(0..count.saturating_sub(1));
        pairs.clear();
        let rank = |left: u32, right: u32| self.ranks.get(&(left, right)).copied();
        let entry = |rank: u32, place: u32| Reverse(u64::from(rank) << 32 | u64::from(place));
        let all = symbols.iter().zip(symbols.iter().skip(1)).zip(0..);
        pairs.extend(all.filter_map(|((&left, &right), place)| Some(entry(rank(left, right)?, place))));
        let mut queue = BinaryHeap::from(std::mem::take(pairs));
        let mut until_breath = BREATH;
        while let Some(Reverse(top)) = queue.pop() {
            until_breath = until_breath.saturating_sub(1);
            if until_breath == 0 {
                cancel::check()?;
                until_breath = BREATH;
            }
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of 64 bits")]
            let (wanted, place) = ((top >> 32) as u32, (top & u64::from(u32::MAX)) as u32);
            let Some(&merged) = self.merged.get(wanted as usize) else { continue };
            let (left, after) = (get(symbols, place), get(next, place));
            if left == NONE || after == NONE {
                continue;
            }
            // The pair may have been merged otherwise since.
            let now = rank(left, get(symbols, after)).and_then(|rank| self.merged.get(rank as usize));
            if now != Some(&merged) {
                continue;
            }
            let behind = get(next, after);
            set(symbols, place, merged);
            set(symbols, after, NONE);
            set(next, place, behind);
            set(before, behind, place);
            let left = get(before, place);
            if left != NONE {
                queue.extend(rank(get(symbols, left), merged).map(|rank| entry(rank, left)));
            }
            if behind != NONE {
                queue.extend(rank(merged, get(symbols, behind)).map(|rank| entry(rank, place)));
            }
        }
        *pairs = queue.into_vec();
        let mut kept = 0_usize;
        for at in 0..symbols.len() {
            match symbols.get(at) {
                Some(&id) if id != NONE => {
                    symbols.swap(kept, at);
                    kept = kept.saturating_add(1);
                }
                _ => {}
            }
        }
        Ok(kept)
    }
}

fn get(values: &[u32], place: u32) -> u32 {
    values.get(place as usize).copied().unwrap_or(NONE)
}

fn set(values: &mut [u32], place: u32, value: u32) {
    if let Some(slot) = values.get_mut(place as usize) {
        *slot = value;
    }
}
