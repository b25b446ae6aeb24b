//! Regular expressions of texts as JSON writes them, between quotes.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A regular expression of texts as one of what stands for them between the quotes of JSON, which writes each in one way.
pub(super) fn quoted(pattern: &str) -> Option<String> {
    let mut out = String::new();
    write_quoted(&regex_syntax::parse(pattern).ok()?, &mut out)?;
    Some(out)
}

/// Any character as JSON writes it.
pub(super) const ANY_CHARACTER: &str = r#"(?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00(?:0[0-7bef]|1[0-9a-f]))"#;

fn write_quoted(hir: &Hir, out: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            let json = serde_json::to_string(text).ok()?;
            out.push_str(&regex_syntax::escape(json.get(1..json.len().checked_sub(1)?)?));
        }
        HirKind::Class(class) => {
            let ranges: Vec<(char, char)> = match class {
                Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
                Class::Bytes(class) => {
                    class.ranges().iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect()
                }
            };
            write_class(&ranges, out)?;
        }
        HirKind::Look(_) => return None,
        HirKind::Repetition(repetition) => {
            out.push_str("(?:");
            write_quoted(&repetition.sub, out)?;
            out.push(')');
            match (repetition.min, repetition.max) {
                (0, None) => out.push('*'),
                (1, None) => out.push('+'),
                (0, Some(1)) => out.push('?'),
                (min, Some(max)) => out.push_str(&format!("{{{min},{max}}}")),
                (min, None) => out.push_str(&format!("{{{min},}}")),
            }
        }
        HirKind::Capture(group) => write_quoted(&group.sub, out)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write_quoted(part, out))?,
        HirKind::Alternation(options) => {
            for (before, option) in ["(?:"].into_iter().chain(std::iter::repeat("|")).zip(options) {
                out.push_str(before);
                write_quoted(option, out)?;
            }
            out.push(')');
        }
    }
    Some(())
}

fn write_class(ranges: &[(char, char)], out: &mut String) -> Option<()> {
    let mut plain: Vec<(u32, u32)> = vec![];
    let mut others: Vec<String> = vec![];
    for &(from, to) in ranges {
        let (mut from, to) = (u32::from(from), u32::from(to));
        // What JSON does not write as it is: all of them are ASCII.
        for special in (0..0x20_u32).chain([0x22, 0x5c]) {
            if from <= special && special <= to {
                let text = char::from_u32(special)?.to_string();
                let json = serde_json::to_string(&text).ok()?;
                others.push(regex_syntax::escape(json.get(1..json.len().checked_sub(1)?)?));
                if from < special {
                    plain.push((from, special.saturating_sub(1)));
                }
                from = special.saturating_add(1);
            }
        }
        if from <= to {
            plain.push((from, to));
        }
    }
    let plain: String = plain.iter().map(|(from, to)| format!("\\x{{{from:x}}}-\\x{{{to:x}}}")).collect();
    if !plain.is_empty() {
        others.insert(0, format!("[{plain}]"));
    }
    match others.as_slice() {
        // A class of nothing: no text at all.
        [] => out.push_str("[^\\x{0}-\\x{10ffff}]"),
        [one] if one.starts_with('[') => out.push_str(one),
        several => out.push_str(&format!("(?:{})", several.join("|"))),
    }
    Some(())
}
