//! What must wait because it may be the beginning of a marker.

/// Bytes at the end of `text` that are a proper prefix of one of `markers`, the longest such: they may become a marker
/// with the text to come. Zero when the end begins no marker.
pub(crate) fn held_bytes<'m>(text: &str, markers: impl IntoIterator<Item = &'m str>) -> usize {
    let begins = |marker: &str| {
        let most = marker.len().saturating_sub(1).min(text.len());
        (1..=most).rev().find(|&bytes| text.as_bytes().ends_with(marker.as_bytes().get(..bytes).unwrap_or_default()))
    };
    markers.into_iter().filter_map(begins).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::held_bytes;

    #[test]
    fn the_longest_beginning_waits() {
        assert_eq!(held_bytes("abc<", ["</think>"]), 1);
        assert_eq!(held_bytes("abc</thi", ["</think>", "i"]), 5);
        assert_eq!(held_bytes("</think>", ["</think>"]), 0);
        assert_eq!(held_bytes("aab", ["aabaab"]), 3);
        assert_eq!(held_bytes("ø", ["ø!", "ø"]), 2);
    }
}
