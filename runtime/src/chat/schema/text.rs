//! Strings of schemas: patterns and formats as regular expressions of whole texts.

use llguidance::derivre::{RegexAst, RegexBuilder};
use llguidance::regex_to_lark;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::quoted::{ANY_CHARACTER, quoted};

/// Bytes of a pattern at most.
pub(crate) const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Bytes of a regular expression of a whole answer at most.
const MAX_REGEX_BYTES: usize = 8 << 10;
/// Bytes of what a pattern becomes at most: a class such as `\p{L}` has hundreds of ranges.
const MAX_WRITTEN_BYTES: usize = 64 << 10;
/// Groups inside groups of a pattern at most.
const MAX_GROUPS: u32 = 60;
/// Work of finding out whether any text fits.
const CHECK_FUEL: u64 = 20_000;
/// Characters that a text may have to have; longer ones never end.
pub(super) const MAX_LEAST: u64 = 1 << 16;

const HOST: &str = r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?(\.[A-Za-z]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?){0,4}";
const MAILBOX: &str = r"[A-Za-z0-9_%+-]{1,20}(\.[A-Za-z0-9_%+-]{1,20}){0,2}";
const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const GROUP: &str = "[0-9a-fA-F]{1,4}";
const DATE: &str = "[0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)";
const TIME: &str = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
const PATH: &str = r"(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~-]+)*/?(\?[A-Za-z0-9._~=&-]*)?";
/// The formats that DeepSeek knows.
const DEEPSEEKS: [&str; 5] = ["email", "hostname", "ipv4", "ipv6", "uuid"];

/// What is asked of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    /// Regular expressions of whole texts; those with `false` must not match.
    pub(crate) rules: Vec<(String, bool)>,
    pub(crate) least: u64,
    pub(crate) most: Option<u64>,
}

/// The pattern of a format's whole texts: those that every validator takes for one.
pub(super) fn format(name: &str, deepseeks: bool) -> Option<String> {
    let uri = || format!("[a-z][a-z0-9+.-]*://{HOST}{PATH}");
    Some(match name {
        _ if deepseeks && !DEEPSEEKS.contains(&name) => return None,
        "email" | "idn-email" => format!("{MAILBOX}@{HOST}"),
        "hostname" | "idn-hostname" => HOST.to_owned(),
        "ipv4" => format!(r"({BYTE}\.){{3}}{BYTE}"),
        "ipv6" => {
            format!("(({GROUP}:){{7}}{GROUP}|::({GROUP}:){{0,5}}{GROUP}|({GROUP}:){{1,6}}:{GROUP}|::)")
        }
        "uuid" => r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}".to_owned(),
        "date" => DATE.to_owned(),
        "time" => TIME.to_owned(),
        "date-time" => format!("{DATE}T{TIME}"),
        "duration" => "P([0-9]{1,9}[YMWD]|([0-9]{1,9}D)?T[0-9]{1,9}[HMS])".to_owned(),
        "uri" | "iri" | "url" => uri(),
        "uri-reference" => format!("({}|/[A-Za-z0-9._~-]*)", uri()),
        "json-pointer" => "(/([A-Za-z0-9._-]|~[01])*)*".to_owned(),
        "base64" => "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?".to_owned(),
        "base64url" => "([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2,3})?".to_owned(),
        _ => return None,
    })
}

/// The rules of a pattern, which may match anywhere.
pub(super) fn pattern(text: &str) -> Result<Vec<(String, bool)>, String> {
    rules(text, MAX_PATTERN_BYTES)
}

fn rules(text: &str, most_bytes: usize) -> Result<Vec<(String, bool)>, String> {
    if text.len() > most_bytes {
        return Err(format!("'pattern' has {} bytes, at most {most_bytes} are allowed", text.len()));
    }
    let mut rules = vec![];
    let mut rest = text;
    let mut anchored_at = "";
    // Look-ahead at the begin is one more rule for the same text.
    if let Some(after) = rest.strip_prefix('^') {
        let mut after = after;
        let mut found = vec![];
        while let Some((inside, wanted, behind)) = look_ahead(after) {
            found.push((inside, wanted));
            after = behind;
        }
        // `^(?=…)a|b` would be an alternative to the whole.
        if !found.is_empty() && !has_bar(after) {
            for (inside, wanted) in found {
                rules.push((whole(&parse(&format!("^(?:{inside})"))?)?, wanted));
            }
            rest = after;
            anchored_at = "^";
        }
    }
    let whole_pattern = format!("{anchored_at}{rest}");
    rules.push((whole(&parse(&whole_pattern)?)?, true));
    Ok(rules)
}

/// A look-ahead at the begin of a pattern: what is in it, whether it must match, and the rest.
fn look_ahead(pattern: &str) -> Option<(&str, bool, &str)> {
    let (inside, wanted) = match pattern.strip_prefix("(?=") {
        Some(inside) => (inside, true),
        None => (pattern.strip_prefix("(?!")?, false),
    };
    let end = closing(inside)?;
    Some((inside.get(..end)?, wanted, inside.get(end.checked_add(1)?..)?))
}

/// Where the parenthesis that opened before the text closes.
fn closing(text: &str) -> Option<usize> {
    outside(text).find(|(_, depth, byte)| *byte == b')' && *depth == 0).map(|(place, ..)| place)
}

fn has_bar(text: &str) -> bool {
    outside(text).any(|(_, depth, byte)| byte == b'|' && depth == 0)
}

/// Bytes that are neither escaped nor in a class, with their depth in groups; a closing parenthesis has the depth outside of it.
fn outside(text: &str) -> impl Iterator<Item = (usize, i32, u8)> {
    let (mut depth, mut escaped, mut in_class) = (0_i32, false, false);
    text.bytes().enumerate().filter_map(move |(place, byte)| {
        if escaped {
            escaped = false;
            return None;
        }
        match byte {
            b'\\' => escaped = true,
            b']' => in_class = false,
            b'[' => in_class = true,
            _ if in_class => {}
            b'(' => {
                depth = depth.saturating_add(1);
                return Some((place, depth.saturating_sub(1), byte));
            }
            b')' => {
                let found = depth;
                depth = depth.saturating_sub(1);
                return Some((place, found, byte));
            }
            _ => return Some((place, depth, byte)),
        }
        None
    })
}

fn parse(pattern: &str) -> Result<Hir, String> {
    // As in schemas, \d and \w are ASCII.
    let text = regex_to_lark(pattern, "dw");
    let parsed = regex_syntax::ParserBuilder::new().nest_limit(MAX_GROUPS).build().parse(&text);
    parsed.map_err(|error| {
        let reason = match &error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            _ => "not a regular expression".to_owned(),
        };
        format!("unsupported 'pattern': {}", crate::error::escape(&reason))
    })
}

/// A pattern that may match anywhere as one that has to match the whole text.
fn whole(hir: &Hir) -> Result<String, String> {
    let written = anchored(hir)
        .ok_or("unsupported 'pattern': only ^ at the start and $ at the end are supported, no other look-around")?;
    match written.len() {
        ..=MAX_WRITTEN_BYTES => Ok(written),
        _ => Err("unsupported 'pattern': its classes are too large".to_owned()),
    }
}

fn anchored(hir: &Hir) -> Option<String> {
    const ANY: &str = "(?s:.*)";
    let parts = match hir.kind() {
        HirKind::Alternation(options) => {
            let options: Option<Vec<String>> = options.iter().map(anchored).collect();
            return Some(format!("(?:{})", options?.join("|")));
        }
        HirKind::Capture(group) => return anchored(&group.sub),
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let is = |part: &Hir, look: Look| *part.kind() == HirKind::Look(look);
    let begin = parts.iter().take_while(|part| is(part, Look::Start)).count();
    let (starts, rest) = parts.split_at_checked(begin)?;
    let end = rest.iter().rev().take_while(|part| is(part, Look::End)).count();
    let (middle, ends) = rest.split_at_checked(rest.len().saturating_sub(end))?;
    // A group at an end may hold the anchor: `^(a|b$)`.
    let held = |part: &Hir| !part.properties().look_set().is_empty();
    if let ([one], true, true) = (middle, starts.is_empty() != ends.is_empty(), middle.iter().any(held)) {
        let sub = match one.kind() {
            HirKind::Capture(group) => &group.sub,
            _ => one,
        };
        let HirKind::Alternation(options) = sub.kind() else { return None };
        let whole = |option| anchored(&Hir::concat([starts, std::slice::from_ref(option), ends].concat()));
        let whole: Option<Vec<String>> = options.iter().map(whole).collect();
        return Some(format!("(?:{})", whole?.join("|")));
    }
    if middle.iter().any(held) {
        return None;
    }
    let before = if starts.is_empty() { ANY } else { "" };
    let after = if ends.is_empty() { ANY } else { "" };
    let middle: String = middle.iter().map(|part| format!("(?:{part})")).collect();
    Some(format!("{before}(?:{middle}){after}"))
}

impl Texts {
    /// Texts that a regular expression matches as a whole.
    pub(crate) fn matching(pattern: &str) -> Result<Texts, String> {
        // Anchors at its ends say what is so anyway; look-ahead at its begin is known.
        let inside = pattern.strip_prefix('^').unwrap_or(pattern);
        let heads = if look_ahead(inside).is_some() { format!("^{inside}") } else { format!("^(?:{pattern})$") };
        let mut rules = rules(&heads, MAX_REGEX_BYTES)?;
        if look_ahead(inside).is_some() && !inside.ends_with('$') {
            rules = self::rules(&format!("^{inside}$"), MAX_REGEX_BYTES)?;
        }
        let texts = Texts { rules, ..Texts::default() };
        texts.check().map_err(|(why, _)| why)?;
        Ok(texts)
    }

    /// Whether a text is one of these. Called for texts of the schema itself.
    pub(super) fn accepts(&self, text: &str) -> bool {
        let length = text.chars().count() as u64;
        let long = length >= self.least && self.most.is_none_or(|most| length <= most);
        long && self.rules.iter().all(|(pattern, wanted)| {
            let mut builder = RegexBuilder::new();
            let found = builder.mk_regex(pattern).and_then(|made| builder.to_regex_limited(made, CHECK_FUEL));
            found.is_ok_and(|mut regex| regex.is_match(text) == *wanted)
        })
    }

    /// Refuses texts that cannot be, and rules that take too much work.
    ///
    /// # Errors
    /// The reason; `true`: no text fits.
    pub(super) fn check(&self) -> Result<(), (String, bool)> {
        if self.most.is_some_and(|most| self.least > most) {
            let (least, most) = (self.least, self.most.unwrap_or(0));
            return Err((format!("no text has at least {least} and at most {most} characters"), true));
        }
        if self.least > MAX_LEAST {
            return Err((format!("'minLength' is {}, but at most {MAX_LEAST} is supported", self.least), true));
        }
        if self.rules.is_empty() {
            return Ok(());
        }
        let asts: Vec<RegexAst> = self
            .rules
            .iter()
            .map(|(pattern, wanted)| {
                let regex = RegexAst::Regex(pattern.clone());
                if *wanted { regex } else { RegexAst::Not(Box::new(regex)) }
            })
            .chain((self.least > 0 || self.most.is_some()).then(|| RegexAst::Regex(self.length())))
            .collect();
        let mut builder = RegexBuilder::new();
        let too_much = || ("'pattern' takes too much work to check; use a shorter one".to_owned(), false);
        let made = builder.mk(&RegexAst::And(asts)).map_err(|_| too_much())?;
        if builder.exprset().is_positive(made) {
            return Ok(());
        }
        let mut regex = builder.to_regex_limited(made, CHECK_FUEL).map_err(|_| too_much())?;
        if regex.always_empty() {
            Err(("no text fits its pattern, format and length".to_owned(), true))
        } else {
            Ok(())
        }
    }

    /// Texts of the length.
    fn length(&self) -> String {
        repeated("(?s:.)", self.least, self.most)
    }

    /// As a terminal of a grammar for texts as they are.
    pub(crate) fn raw(&self) -> String {
        let rules = self.rules.iter().map(|(pattern, wanted)| (terminal(pattern), *wanted));
        self.terminal(rules, || terminal(&self.length()))
    }

    /// As a terminal of a grammar for strings of JSON.
    pub(crate) fn json(&self) -> Option<String> {
        let written = |pattern: &str| terminal(&format!("\"{pattern}\""));
        let rules = self.rules.iter().map(|(pattern, wanted)| Some((written(&quoted(pattern)?), *wanted)));
        let rules = rules.collect::<Option<Vec<_>>>()?.into_iter();
        Some(self.terminal(rules, || written(&repeated(ANY_CHARACTER, self.least, self.most))))
    }

    /// All rules, and the length where it says something or nothing else does.
    fn terminal(&self, rules: impl Iterator<Item = (String, bool)>, length: impl FnOnce() -> String) -> String {
        let needed = self.rules.iter().all(|(_, wanted)| !wanted) || self.least > 0 || self.most.is_some();
        let rules = rules.map(|(rule, wanted)| if wanted { rule } else { format!("~{rule}") });
        rules.chain(needed.then(length)).collect::<Vec<_>>().join(" & ")
    }
}

fn repeated(one: &str, least: u64, most: Option<u64>) -> String {
    match (least, most) {
        (0, None) => format!("{one}*"),
        (least, None) => format!("{one}{{{least},}}"),
        // More than an answer has is no limit at all.
        (least, Some(most)) => format!("{one}{{{least},{}}}", most.min(1 << 20)),
    }
}

/// A regular expression between slashes.
pub(crate) fn terminal(pattern: &str) -> String {
    format!("/{}/", regex_to_lark(pattern, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern_text: &str, text: &str) -> bool {
        let rules = pattern(pattern_text).unwrap();
        Texts { rules, ..Texts::default() }.accepts(text)
    }

    #[test]
    fn patterns_are_made_to_match_whole_texts() {
        for (pattern, right, wrong) in [
            (r"^\d{6}$", "123456", "1234567"),
            ("b", "abc", "acc"),
            ("^a/b|c$", "a/bd", "cd"),
            ("^(x|y)$", "y", "xy"),
            (r"^a\/b$", "a/b", r"a\/b"),
            (r"^$|^(?:ab)$", "ab", "abab"),
            (r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", "+1.5", "+."),
            (r"^(?=.*[A-Z])(?=.*\d).{4,}$", "abC1", "abc1"),
            (r"^(?!\.)(?!.*\.\.)([a-z.]*)@x$", "a.b@x", "a..b@x"),
            ("^(a|b$)", "ac", "bc"),
        ] {
            assert!(fits(pattern, right) && !fits(pattern, wrong), "{pattern}: {:?}", super::pattern(pattern));
        }
        for text in ["(^a|b)c", r"a\b", "a^b", "a(?=b)", r"(a)\1", "(?<=a)b"] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_are_found_as_json_writes_them() {
        for (pattern, text) in [
            ("(?s:.*)", "a\"b\\c\n\u{1}\u{7f}é😀/"),
            ("[^a]+", "\t\"x\\"),
            ("a\"[\\\\\"]", "a\"\\"),
            (r"\p{L}{2}", "øÅ"),
            ("(?:x|\n){3}", "x\nx"),
        ] {
            let json = serde_json::to_string(text).unwrap();
            let regex = regex::Regex::new(&format!("^\"{}\"$", quoted(pattern).unwrap())).unwrap();
            assert!(regex.is_match(&json), "{pattern} {json} {regex}");
        }
        let any = regex::Regex::new(&format!("^{ANY_CHARACTER}$")).unwrap();
        for code in 0..0x3000 {
            let Some(character) = char::from_u32(code) else { continue };
            let json = serde_json::to_string(&character.to_string()).unwrap();
            assert!(any.is_match(json.trim_matches('"')) || character == '"', "{json}");
        }
    }

    #[test]
    fn texts_that_cannot_be_are_found() {
        let of = |patterns: &[&str], least, most| Texts {
            rules: patterns.iter().flat_map(|text| pattern(text).unwrap()).collect(),
            least,
            most,
        };
        assert!(of(&["^a", "b$"], 2, Some(2)).check().is_ok());
        assert!(of(&["^a", "^b"], 0, None).check().unwrap_err().1);
        assert!(of(&["^a{3}$"], 4, None).check().unwrap_err().1);
        assert!(of(&[], 4, Some(3)).check().unwrap_err().1);
    }
}
