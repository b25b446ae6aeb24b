//! Tables for people: plain columns in the terminal, or Markdown.

use comfy_table::{CellAlignment, Table, presets};

/// A table with a header; columns named in `right` are numbers.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], right: &[&str], markdown: bool) -> String {
    let mut table = Table::new();
    table.load_style(if markdown { presets::ASCII_MARKDOWN } else { presets::NOTHING });
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (index, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            if !markdown {
                column.set_padding((0, 2));
            }
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let text = table.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Names and facts, one a line: `model     stories`.
pub(crate) fn facts(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, fact)| format!("{name:width$}  {fact}\n")).collect()
}

/// A count as people read it: `131,072`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(count), ["0", "12", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn facts_are_aligned() {
        assert_eq!(facts(&[("a", "x".to_owned()), ("long", "y".to_owned())]), "a     x\nlong  y\n");
    }
}
