//! Server-sent events from bytes: the texts of their `data`, whatever servers do to the rest.

/// The most that one event may hold: a whole answer with its log probabilities is far below.
const EVENT_BYTES: usize = 16 << 20;

/// An event that grows without an end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Reads a stream piece by piece; the result never depends on how it was cut.
///
/// Lines end with LF, CR or both. `data:` may lack its space, events may have several lines of data, and comments and
/// other fields are skipped. A line that begins with `{` is data too: some proxies end a stream with a bare error.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    /// Lines of data of the event under way.
    data: Option<String>,
    /// The last byte was a CR: an LF now ends the same line.
    after_return: bool,
}

impl EventReader {
    /// Takes bytes; returns the data of the events that they complete. Errors: [`TooLong`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut events = vec![];
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_BYTES {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    /// What the end of the stream completes: servers forget the last blank line.
    pub(super) fn finish(&mut self) -> Option<String> {
        self.end_line().or_else(|| self.data.take())
    }

    fn end_line(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
        if line.is_empty() {
            return self.data.take();
        }
        let data = match line.split_once(':') {
            _ if line.starts_with('{') => line,
            Some(("data", value)) => value.strip_prefix(' ').unwrap_or(value),
            _ => return None,
        };
        match &mut self.data {
            Some(lines) => {
                lines.push('\n');
                lines.push_str(data);
            }
            None => self.data = Some(data.to_owned()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: the events, for every cut into two pieces and for single bytes.
    fn expect(stream: &str, events: &[&str]) {
        let read = |pieces: &[&[u8]]| {
            let mut reader = EventReader::default();
            let mut read: Vec<String> = pieces.iter().flat_map(|piece| reader.push(piece).unwrap()).collect();
            read.extend(reader.finish());
            read
        };
        let bytes = stream.as_bytes();
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(read(&[first, second]), events, "{stream:?} cut at {cut}");
        }
        assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), events, "{stream:?} by bytes");
    }

    #[test]
    fn events_in_every_spelling() {
        expect("data: {\"a\":1}\n\ndata: [DONE]\n\n", &["{\"a\":1}", "[DONE]"]);
        expect("data:{\"a\":1}\r\n\r\ndata:ø€😊\r\n\r\n", &["{\"a\":1}", "ø€😊"]);
        expect("data: a\r\rdata: b\r\r", &["a", "b"]);
        expect(": OPENROUTER PROCESSING\n\nevent: x\nid: 7\nretry: 5\ndata: a\n\n: keep-alive\n\n", &["a"]);
        expect("data: {\ndata: \"a\":1}\n\n", &["{\n\"a\":1}"]);
        expect("\u{feff}data: a\n\n", &["a"]);
        expect("data: a\n\ndata: b", &["a", "b"]);
        expect("data: a\n\ndata: b\n", &["a", "b"]);
        expect("data: a\n\n{\"error\":\"x\"}\n", &["a", "{\"error\":\"x\"}"]);
        expect("data\ndata:  a\n\n\n\n", &[" a"]);
        expect("", &[]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = EventReader::default();
        reader.push(b"data: ").unwrap();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..32).find(|_| reader.push(&piece).is_err());
        assert_eq!(refused, Some(15));
    }
}
