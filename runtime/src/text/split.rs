//! Cutting text into the pieces that byte-pair merges never cross.
//!
//! The patterns come from an untrusted file, so they run on the linear-time `regex` engine, the same on every platform,
//! with a bounded size. Its one gap is look-around. The family's patterns use it in one place only, `\s+(?!\S)|\s+`
//! ("white space, but leave the last one to the word that follows"), which [`Split`] does by hand.

use regex::{Regex, RegexBuilder};

use super::refusal::Refusal;
use crate::error::{Class, quote};

const PATTERN_BYTES: usize = 1024;
const COMPILED_BYTES: usize = 1 << 20;
const LEAVE_LAST_SPACE: &str = r"\s+(?!\S)|\s+";

/// One pre-tokenisation step: each match of the pattern, and each text between matches, becomes a piece.
#[derive(Debug)]
pub(super) struct Split {
    pattern: Regex,
    /// Index of the group that stands for [`LEAVE_LAST_SPACE`].
    spaces: Option<usize>,
}

impl Split {
    pub(super) fn new(pattern: &str) -> Result<Self, Refusal> {
        if pattern.len() > PATTERN_BYTES {
            let found =
                format!("pre_tokenizer: expected a pattern of at most {PATTERN_BYTES} bytes, found {}", pattern.len());
            return Err(Refusal(Class::Regex, found));
        }
        let linear = pattern.replacen(LEAVE_LAST_SPACE, r"(?<leave_last_space>\s+)", 1);
        let compiled = RegexBuilder::new(&linear).size_limit(COMPILED_BYTES).build().map_err(|error| {
            // The engine's report draws the pattern over several lines; its last line says what is wrong.
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Refusal(Class::Regex, format!("pre_tokenizer: pattern {}: {cause}", quote(pattern)))
        })?;
        if compiled.is_match("") {
            let message = format!("pre_tokenizer: pattern {} matches nothing at all", quote(pattern));
            return Err(Refusal(Class::Regex, message));
        }
        let spaces = compiled.capture_names().position(|name| name == Some("leave_last_space"));
        Ok(Split { pattern: compiled, spaces })
    }

    /// The pieces of `text`, none of them empty, in order.
    pub(super) fn pieces<'t>(
        &self,
        text: &'t str,
        sink: &mut dyn FnMut(&'t str) -> crate::error::Result<()>,
    ) -> crate::error::Result<()> {
        let mut cut = 0; // end of what has been a piece already
        let mut from = 0;
        while let Some(found) = self.pattern.find_at(text, from) {
            let end = self.shortened(text, found.start(), found.end());
            if end == found.start() {
                // An empty match inside the text (an anchor) cuts nothing.
                let next = text.get(end..).and_then(|rest| rest.chars().next());
                let Some(next) = next else { break };
                from = end.saturating_add(next.len_utf8());
                continue;
            }
            text.get(cut..found.start()).filter(|between| !between.is_empty()).map_or(Ok(()), &mut *sink)?;
            text.get(found.start()..end).map_or(Ok(()), &mut *sink)?;
            (cut, from) = (end, end);
        }
        text.get(cut..).filter(|rest| !rest.is_empty()).map_or(Ok(()), sink)
    }

    /// The end of a match, one character earlier where `(?!\S)` would have made it so.
    fn shortened(&self, text: &str, start: usize, end: usize) -> usize {
        let Some(group) = self.spaces else { return end };
        let matched = text.get(start..end).unwrap_or_default();
        let last = matched.chars().next_back().map_or(0, char::len_utf8);
        let one = last == matched.len(); // then `\s+(?!\S)` fails and `\s+` takes it
        if one || end == text.len() || !matched.chars().all(char::is_whitespace) {
            return end;
        }
        let mut groups = self.pattern.capture_locations();
        let by_group = self.pattern.captures_read_at(&mut groups, text, start).is_some() && groups.get(group).is_some();
        if by_group { end.saturating_sub(last) } else { end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pattern: &str, text: &str) -> Vec<String> {
        let mut out = vec![];
        let mut sink = |piece: &str| {
            out.push(piece.to_owned());
            Ok(())
        };
        Split::new(pattern).unwrap().pieces(text, &mut sink).unwrap();
        out
    }

    #[test]
    fn matches_and_gaps_are_pieces() {
        assert_eq!(split(r"\p{N}{1,3}", "a1234b"), ["a", "123", "4", "b"]);
        assert_eq!(split("x", ""), [""; 0]);
        assert_eq!(split(r"\bq", "aq q"), ["aq ", "q"]);
    }

    #[test]
    fn the_last_space_goes_with_the_word() {
        let pattern = r" ?\p{L}+|\s*[\r\n]+|\s+(?!\S)|\s+";
        assert_eq!(split(pattern, "a   b"), ["a", "  ", " b"]);
        assert_eq!(split(pattern, "a   1"), ["a", "  ", " ", "1"]);
        assert_eq!(split(pattern, "a\n\nb   "), ["a", "\n\n", "b", "   "]);
    }

    #[test]
    fn hostile_patterns_are_refused_at_once() {
        for pattern in ["(", r"(?=(a+)+$)", "((a{1000}){1000}){1000}", "a*", r"(a)\1", &"a".repeat(1025)] {
            assert_eq!(Split::new(pattern).unwrap_err().0, Class::Regex, "{pattern}");
        }
    }
}
