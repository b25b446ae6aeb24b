//! Stop strings: found across token borders, never shown.

use crate::error::{Code, Error, Result};
use crate::text::held::held_bytes;

/// Strings that end an output, at most.
pub(crate) const MAX_STOP_STRINGS: usize = 16;
const MAX_BYTES: usize = 256;

/// What a piece of text releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Text that may be shown now.
    pub text: String,
    /// The stop string that ends the output. Nothing comes after it.
    pub stop: Option<String>,
}

/// Watches released text for stop strings. The match that starts first wins, the longer one on a tie; it and all text
/// after it are dropped. Text that may begin a stop string waits, so what is shown does not depend on how it was split.
///
/// ```
/// # use lyn::generate::StopStrings;
/// let mut stop = StopStrings::new(vec!["END".to_owned()])?;
/// assert_eq!(stop.push("the E").text, "the ");
/// assert_eq!(stop.push("ND of it").stop.as_deref(), Some("END"));
/// # Ok::<(), lyn::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
    ended: bool,
}

impl StopStrings {
    /// Empty strings are dropped.
    ///
    /// # Errors
    /// `bad_request` for more than 16 strings, or one of more than 256 bytes.
    pub fn new(mut strings: Vec<String>) -> Result<Self> {
        strings.retain(|string| !string.is_empty());
        if strings.len() > MAX_STOP_STRINGS {
            let message = format!("Invalid stop value, at most {MAX_STOP_STRINGS} stop sequences");
            return Err(Error::new(Code::BadRequest, message).with_detail("param", "stop"));
        }
        if let Some(long) = strings.iter().find(|string| string.len() > MAX_BYTES) {
            let message = format!("Invalid stop value, at most {MAX_BYTES} bytes in a sequence, found {}", long.len());
            return Err(Error::new(Code::BadRequest, message).with_detail("param", "stop"));
        }
        Ok(StopStrings { strings, held: String::new(), ended: false })
    }

    /// Takes the next text; after a stop there is only silence.
    pub fn push(&mut self, text: &str) -> Released {
        if self.ended {
            return Released::default();
        }
        self.held.push_str(text);
        let found = self.first_match();
        let waiting_from = self.held.len() - held_bytes(&self.held, self.strings.iter().map(String::as_str));
        match found {
            // A longer string that starts earlier may still be completed: it would win.
            Some((start, _)) if waiting_from < start => self.release(waiting_from),
            Some((start, stop)) => {
                self.ended = true;
                Released { stop: Some(stop), ..self.release(start) }
            }
            None => self.release(waiting_from),
        }
    }

    /// What still waits, where no text follows or only text of another kind, and the stop string in it, if one is.
    pub(crate) fn flush(&mut self) -> Released {
        if self.ended {
            return Released::default();
        }
        match self.first_match() {
            Some((start, stop)) => {
                self.ended = true;
                Released { stop: Some(stop), ..self.release(start) }
            }
            None => self.release(self.held.len()),
        }
    }

    fn release(&mut self, bytes: usize) -> Released {
        let rest = self.held.split_off(bytes);
        Released { text: std::mem::replace(&mut self.held, rest), stop: None }
    }

    fn first_match(&self) -> Option<(usize, String)> {
        let matches = self.strings.iter().filter_map(|string| Some((self.held.find(string)?, string)));
        matches
            .min_by_key(|(start, string)| (*start, usize::MAX - string.len()))
            .map(|(start, string)| (start, string.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&string| string.to_owned()).collect()
    }

    fn run(stops: &[&str], parts: &[&str]) -> (String, bool) {
        let mut watch = StopStrings::new(strings(stops)).unwrap();
        let mut all: Vec<Released> = parts.iter().map(|part| watch.push(part)).collect();
        all.push(watch.flush());
        let stopped = all.iter().any(|released| released.stop.is_some());
        (all.into_iter().map(|released| released.text).collect(), stopped)
    }

    #[test]
    fn any_split_shows_the_same_text() {
        let cases: [(&[&str], &str, &str, bool); 8] = [
            (&["END"], "the END of", "the ", true),
            (&["END"], "EEND", "E", true),
            (&["aab"], "aaab", "a", true),
            (&["bc", "abcd"], "xabcd", "x", true),
            (&["bc", "abcd"], "xabce", "xa", true),
            (&["bc", "abcd"], "xabc", "xa", true),
            (&["\n\n", "ø!"], "a\nbø\n", "a\nbø\n", false),
            (&[], "all of it", "all of it", false),
        ];
        for (stops, text, shown, stopped) in cases {
            let ends: Vec<usize> = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).collect();
            for &first in &ends {
                for &second in ends.iter().filter(|end| **end >= first) {
                    let parts = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(run(stops, &parts), (shown.to_owned(), stopped), "{stops:?} {parts:?}");
                }
            }
        }
    }

    #[test]
    fn the_longer_string_is_named_on_a_tie() {
        let mut watch = StopStrings::new(strings(&["\n", "\n\n", ""])).unwrap();
        assert_eq!(watch.push("a\n\nb"), Released { text: "a".to_owned(), stop: Some("\n\n".to_owned()) });
        assert_eq!(watch.push("c"), Released::default());
        assert_eq!(watch.flush(), Released::default());
    }

    #[test]
    fn text_of_another_kind_breaks_a_match() {
        let mut watch = StopStrings::new(strings(&["END"])).unwrap();
        assert_eq!(watch.push("the E").text, "the ");
        assert_eq!(watch.flush(), Released { text: "E".to_owned(), stop: None });
        assert_eq!(watch.push("ND, END").text, "ND, ");
        assert_eq!(watch.push("END").text, "");
    }

    #[test]
    fn limits_hold() {
        assert!(StopStrings::new(vec!["x".repeat(256); 16]).is_ok());
        for too_much in [vec!["x".to_owned(); 17], vec!["x".repeat(257)]] {
            assert_eq!(StopStrings::new(too_much).unwrap_err().code(), Code::BadRequest);
        }
    }
}
