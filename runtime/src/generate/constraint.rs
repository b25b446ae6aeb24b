//! Which ids may come next, so that an answer has a given form.
//!
//! In: the form, as text phases and a grammar over text and ids; then the ids of the answer, one by one. Out: the ids
//! that may follow. Never: a chat format; whoever knows one writes the form.
//!
//! The grammars are llguidance's, in its variant of Lark. It works with fuel: neither a grammar from a request nor what a
//! model writes under it can take more than the limits below.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory, api::TopLevelGrammar};

use crate::error::{Code, Error, Result, escape_whole};
use crate::platform::Instant;
use crate::text::Tokenizer;

/// Bytes of a grammar at most.
pub(crate) const MAX_GRAMMAR_BYTES: usize = 1 << 20;
/// States of a grammar's lexer at most, over a whole answer; each takes 1 to 2 KiB.
const MAX_LEXER_STATES: usize = 40_000;
/// Work of compiling a grammar, of which llguidance does about 50,000 a millisecond.
const COMPILE_FUEL: u64 = 1_000_000;
/// Work of one mask, of which the lexer does about 14,000 a millisecond and the parser 20,000.
const MASK_FUEL: u64 = 200_000;
const MASK_ITEMS: usize = 50_000;

/// What an answer goes through: texts that are free, each up to its marker, then a grammar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// In order.
    pub free: Vec<Free>,
    /// What follows, up to the end of the answer, in llguidance's Lark; none where the last text has no end.
    pub grammar: Option<String>,
    /// What was asked and is not held.
    pub loosened: Vec<String>,
}

/// Any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Free {
    /// Up to and including this marker, which may be split over tokens in any way.
    Until {
        /// The marker.
        marker: String,
        /// Whether the answer may end before it.
        may_end: bool,
    },
    /// Up to the end of the answer, never holding this marker.
    Without(String),
}

/// A vocabulary made ready for grammars. Making it takes a second for 129,280 ids: once for a tokenizer.
pub struct Lexicon {
    factory: ParserFactory,
    /// Bytes of each id, control tokens by their text.
    tokens: Arc<[Vec<u8>]>,
    eos: Vec<u32>,
}

impl Lexicon {
    /// `sampleable`: `[vocab_size]`, ids that may ever be sampled; `eos`: ids that end an answer.
    ///
    /// # Errors
    /// `internal` where the vocabulary is not one that llguidance takes.
    pub fn new(tokenizer: &Tokenizer, sampleable: &[bool], eos: &[u32]) -> Result<Lexicon> {
        let size = tokenizer.vocab_size();
        let eos: Vec<u32> = eos.iter().copied().filter(|id| *id < size).collect();
        // A token such as `<think>` stands for itself: it is no way to write these seven characters. An added token
        // that is not of this kind (`｜DSML｜`) is text like any other.
        let mut controls = vec![false; size as usize];
        for (content, id) in tokenizer.added_tokens() {
            if let Some(control) = controls.get_mut(id as usize) {
                *control = content.starts_with('<') && content.ends_with('>');
            }
        }
        eos.iter().for_each(|id| controls[*id as usize] = true);
        let tokens: Arc<[Vec<u8>]> = (0..size).map(|id| tokenizer.piece_bytes(id).to_vec()).collect();
        let words: Vec<Vec<u8>> = tokens
            .iter()
            .enumerate()
            .map(|(id, bytes)| match controls[id] {
                _ if bytes.is_empty() || !sampleable.get(id).copied().unwrap_or(false) => vec![],
                true => [&[TokTrie::SPECIAL_TOKEN_MARKER], &bytes[..]].concat(),
                false => bytes.clone(),
            })
            .collect();
        let first = eos.first().copied().unwrap_or(llguidance::toktrie::INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(size, first), &words);
        if !eos.is_empty() {
            trie = trie.with_eos_tokens(&eos);
        }
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment)
            .map_err(|error| Error::new(Code::Internal, escape_whole(&format!("vocabulary: {error}"))))?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.initial_lexer_fuel = COMPILE_FUEL;
        limits.step_lexer_fuel = MASK_FUEL;
        limits.step_max_items = MASK_ITEMS;
        limits.max_lexer_states = MAX_LEXER_STATES;
        limits.verbose_errors = false;
        Ok(Lexicon { factory, tokens, eos })
    }

    /// Compiles a form.
    ///
    /// # Errors
    /// `invalid_schema` for a grammar that is none, or that no text fits; `grammar_too_complex` for one over a limit.
    pub fn constraint(&self, form: &Form) -> Result<Constraint> {
        let matcher = form.grammar.as_deref().map(|grammar| self.compile(grammar)).transpose()?;
        let mut stages: Vec<Text> = Vec::new();
        for (place, free) in form.free.iter().enumerate().rev() {
            let after = match (free, place + 1 == form.free.len()) {
                (Free::Without(_), _) => After::Nothing,
                (Free::Until { .. }, true) => matcher.as_ref().map_or(After::Anything, After::Grammar),
                (Free::Until { .. }, false) => After::Anything,
            };
            stages.push(self.text(free, after));
        }
        stages.reverse();
        let ended = form.grammar.is_none();
        Ok(Constraint {
            shared: Arc::new(Shared {
                stages,
                tokens: Arc::clone(&self.tokens),
                eos: self.eos.clone(),
                ended,
                loosened: form.loosened.clone(),
            }),
            stage: 0,
            matched: 0,
            matcher,
            mask: vec![],
        })
    }

    fn compile(&self, grammar: &str) -> Result<Matcher> {
        if grammar.len() > MAX_GRAMMAR_BYTES {
            let found = format!("the grammar has {} bytes, at most {MAX_GRAMMAR_BYTES} are allowed", grammar.len());
            return Err(Error::new(Code::GrammarTooComplex, found));
        }
        let parser = self.factory.create_parser(TopLevelGrammar::from_lark(grammar.to_owned()));
        let mut matcher = Matcher::new(parser);
        match matcher.get_error() {
            // One mask now: what cannot begin is refused before a model works for it.
            None => matcher.compute_mask_or_eos().map_err(|error| refused(&error.to_string())).map(|_| matcher),
            Some(error) => Err(refused(&error)),
        }
    }

    /// Prepares a free text: which ids are out while its end matches so much of its marker.
    fn text(&self, free: &Free, after: After<'_>) -> Text {
        let (marker, may_end) = match free {
            Free::Until { marker, may_end } => (marker.as_bytes(), *may_end),
            Free::Without(marker) => (marker.as_bytes(), true),
        };
        let marker = Marker::new(marker);
        let mut judge = Judge { after, trie: self.factory.tok_env().tok_trie(), known: HashMap::new() };
        // Only tokens with the marker's last byte can complete it: a few thousand.
        let last = marker.bytes.last().copied().unwrap_or_default();
        let enders: Vec<usize> = (0..self.tokens.len()).filter(|&id| self.tokens[id].contains(&last)).collect();
        let masks = (0..marker.bytes.len()).map(|matched| {
            let mut out: Vec<usize> =
                enders.iter().copied().filter(|&id| !judge.takes(&marker, matched, &self.tokens[id])).collect();
            if !may_end {
                out.extend(self.eos.iter().map(|id| *id as usize));
            }
            (!out.is_empty()).then(|| {
                let mut mask = vec![true; self.tokens.len()];
                out.iter().for_each(|&id| mask[id] = false);
                mask.into()
            })
        });
        let masks: Vec<Option<Arc<[bool]>>> = masks.collect();
        Text { marker, masks }
    }
}

impl fmt::Debug for Lexicon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lexicon").field("tokens", &self.tokens.len()).field("eos", &self.eos).finish_non_exhaustive()
    }
}

/// A grammar that llguidance refuses. What it says of limits speaks of parts that nobody sees.
fn refused(reason: &str) -> Error {
    let reason = reason.trim_end_matches("\n<non-verbose/>");
    let reason = escape_whole(reason.lines().next().unwrap_or_default());
    // Its errors have no kinds.
    let limit = [
        "too big",
        "toocomplex",
        "too large",
        "too many",
        "too deep",
        "exceed",
        "fuel",
        "limit",
        "unable to determine",
    ];
    let lower = reason.to_lowercase();
    if limit.iter().any(|word| lower.contains(word)) {
        tracing::debug!(reason, "a grammar reaches a limit");
        return Error::new(Code::GrammarTooComplex, "the grammar exceeds the work limit of one request");
    }
    Error::new(if reason.starts_with("panic") { Code::Internal } else { Code::InvalidSchema }, reason)
}

/// What a text is followed by, for judging a token that reaches over its marker.
enum After<'a> {
    Anything,
    Nothing,
    Grammar(&'a Matcher),
}

struct Judge<'a> {
    after: After<'a>,
    trie: &'a TokTrie,
    known: HashMap<Vec<u8>, bool>,
}

impl Judge<'_> {
    /// Whether a token may come after `matched` bytes of the marker.
    fn takes(&mut self, marker: &Marker, matched: usize, token: &[u8]) -> bool {
        let (Some(rest), _) = marker.run(matched, token) else { return true };
        let matcher = match &self.after {
            After::Anything => return true,
            After::Nothing => return false,
            After::Grammar(matcher) => *matcher,
        };
        let rest = &token[rest..];
        if let Some(known) = self.known.get(rest) {
            return *known;
        }
        let ids = self.trie.greedy_tokenize(rest);
        let taken = matcher.clone().try_consume_tokens(&ids).is_ok_and(|count| count == ids.len());
        self.known.insert(rest.to_vec(), taken);
        taken
    }
}

/// A text to look for, byte by byte (Knuth, Morris, Pratt).
struct Marker {
    bytes: Vec<u8>,
    /// `[bytes]`: how much of the marker still matches where the byte after so many does not.
    fallback: Vec<usize>,
}

impl Marker {
    fn new(bytes: &[u8]) -> Marker {
        let mut fallback = vec![0; bytes.len()];
        let mut matched = 0;
        for place in 1..bytes.len() {
            fallback[place] = matched;
            while matched > 0 && bytes[place] != bytes[matched] {
                matched = fallback[matched];
            }
            matched += usize::from(bytes[place] == bytes[matched]);
        }
        Marker { bytes: bytes.to_vec(), fallback }
    }

    /// Reads `text` after `matched` bytes of the marker: where in `text` the marker's end is, else how much matches now.
    fn run(&self, mut matched: usize, text: &[u8]) -> (Option<usize>, usize) {
        for (place, byte) in text.iter().enumerate() {
            while matched > 0 && self.bytes[matched] != *byte {
                matched = self.fallback[matched];
            }
            matched += usize::from(self.bytes[matched] == *byte);
            if matched == self.bytes.len() {
                return (Some(place + 1), 0);
            }
        }
        (None, matched)
    }
}

/// A free text, prepared.
struct Text {
    marker: Marker,
    /// `[bytes of the marker]`: ids that may come after so many of them; none: all.
    masks: Vec<Option<Arc<[bool]>>>,
}

struct Shared {
    stages: Vec<Text>,
    tokens: Arc<[Vec<u8>]>,
    eos: Vec<u32>,
    /// No grammar follows the texts.
    ended: bool,
    loosened: Vec<String>,
}

/// A form and how far an answer has come in it. Cheap to clone: one for each answer.
#[derive(Clone)]
pub struct Constraint {
    shared: Arc<Shared>,
    /// Which of the texts; past them, the grammar.
    stage: usize,
    /// Bytes of the text's marker that its end matches.
    matched: usize,
    matcher: Option<Matcher>,
    mask: Vec<bool>,
}

impl Constraint {
    /// Ids that may come next, `[vocab_size]`; none: all of them. Where a form is complete, ids that end the answer.
    ///
    /// # Errors
    /// `grammar_too_complex` where a limit is reached; the answer cannot go on.
    pub fn allowed(&mut self) -> Result<Option<&[bool]>> {
        if let Some(text) = self.shared.stages.get(self.stage) {
            return Ok(text.masks[self.matched].as_deref());
        }
        let Some(matcher) = &mut self.matcher else { return Ok(None) };
        let found = matcher.compute_mask_or_eos().map_err(|error| refused_later(&error.to_string()))?;
        self.mask.clear();
        self.mask.resize(self.shared.tokens.len(), false);
        let mask = &mut self.mask;
        found.iter_set_entries(|id| {
            if let Some(allowed) = mask.get_mut(id) {
                *allowed = true;
            }
        });
        Ok(Some(&self.mask))
    }

    /// Goes on from `id`, which is one of the allowed.
    ///
    /// # Errors
    /// `grammar_too_complex` where a limit is reached; `internal` for an id that is not allowed.
    pub fn advance(&mut self, id: u32) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        if let Some(text) = shared.stages.get(self.stage) {
            let token = shared.tokens.get(id as usize).map_or(&[][..], Vec::as_slice);
            return self.read(text, token);
        }
        let Some(matcher) = &mut self.matcher else { return Ok(()) };
        if matcher.is_stopped() && shared.eos.contains(&id) {
            return Ok(());
        }
        matcher.consume_token(id).map_err(|error| refused_later(&error.to_string()))
    }

    /// Reads bytes of a free text, and what follows its marker.
    fn read(&mut self, text: &Text, bytes: &[u8]) -> Result<()> {
        let (end, matched) = text.marker.run(self.matched, bytes);
        self.matched = matched;
        let Some(end) = end else { return Ok(()) };
        self.stage += 1;
        let rest = &bytes[end..];
        let shared = Arc::clone(&self.shared);
        match (shared.stages.get(self.stage), &mut self.matcher) {
            (_, _) if rest.is_empty() => Ok(()),
            (Some(next), _) => self.read(next, rest),
            (None, Some(matcher)) => {
                let environment = matcher.tok_env().map_err(|error| refused_later(&error.to_string()))?;
                let ids = environment.tok_trie().greedy_tokenize(rest);
                matcher.consume_tokens(&ids).map_err(|error| refused_later(&error.to_string()))
            }
            (None, None) => Ok(()),
        }
    }

    /// Follows the form's grammar for so many tokens at most, drawn evenly from its masks, and for as long as `time`: what a
    /// library makes of it only in the middle of an answer is found before. Gives how many were followed; a limit that is
    /// reached ends it, since an answer need not come there.
    pub fn rehearse(mut self, tokens: usize, time: Duration) -> usize {
        let (began, mut state) = (Instant::now(), 0_u64);
        self.stage = self.shared.stages.len();
        for followed in 0..tokens {
            let Ok(Some(mask)) = self.allowed() else { return followed };
            let ids: Vec<u32> = (0..).zip(mask).filter_map(|(id, &allowed)| allowed.then_some(id)).collect();
            // Knuth's linear congruential generator: the same requests are refused each time.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let drawn = usize::try_from(state >> 33).unwrap_or(0).checked_rem(ids.len());
            let Some(&id) = drawn.and_then(|place| ids.get(place)) else { return followed };
            if self.shared.eos.contains(&id) || self.advance(id).is_err() || began.elapsed() > time {
                return followed;
            }
        }
        tokens
    }

    /// What was asked of the form and is not held, by name.
    pub fn loosened(&self) -> &[String] {
        &self.shared.loosened
    }

    /// Whether a grammar judges the next id; in a free text it does not.
    pub fn is_active(&self) -> bool {
        self.stage >= self.shared.stages.len() && !self.shared.ended
    }
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint")
            .field("stage", &self.stage)
            .field("active", &self.is_active())
            .finish_non_exhaustive()
    }
}

/// A grammar that gave up in the middle of an answer.
fn refused_later(reason: &str) -> Error {
    let error = refused(reason);
    match error.code() {
        Code::InvalidSchema => Error::new(Code::Internal, format!("the grammar of the answer: {}", error.message())),
        _ => error,
    }
}
