//! Where requests begin and end in the bytes of a connection, read more strictly than the parser behind it reads them: a proxy
//! before this server and the parser must never see different requests in the same bytes.
//!
//! In: bytes as they come. Out: the same bytes; from the first that no request may have, zeros, which the parser refuses with
//! 400 wherever they stand. That is: a line that ends in LF alone, CR within a line, a length that is no number or is there
//! twice, a length beside chunks, another transfer coding than `chunked`, a chunk without a size, a size or a coding behind
//! which there is more than is read.

/// Bytes of a line that are kept to be read. Longer ones say nothing about lengths, or are refused.
const LINE: usize = 256;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request's first byte.
    Idle,
    /// The rest of its head.
    Head,
    /// The rest of its body.
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a request, where empty lines mean nothing.
    Start,
    /// In the headers.
    Headers,
    /// So many bytes of the body are to come, or of a chunk.
    Body(u64),
    Chunk(u64),
    /// In the line before a chunk.
    Size,
    /// In the line end behind a chunk.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
    /// Behind what no request may have.
    Broken,
}

/// The place in a connection's bytes.
pub(super) struct Framing {
    at: At,
    line: Vec<u8>,
    after_cr: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    pub(super) fn new() -> Framing {
        Framing { at: At::Start, line: vec![], after_cr: false, length: None, chunked: false }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.at {
            At::Start if self.line.is_empty() && !self.after_cr => Phase::Idle,
            At::Start | At::Headers => Phase::Head,
            _ => Phase::Body,
        }
    }

    /// Reads on, and makes zeros of what no request may have.
    pub(super) fn read(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match self.at {
                At::Body(left) | At::Chunk(left) => {
                    let here = left.min(bytes.len() as u64);
                    let (rest, chunk) = (left - here, matches!(self.at, At::Chunk(_)));
                    self.at = match (rest, chunk) {
                        (0, true) => At::ChunkEnd,
                        (0, false) => At::Start,
                        (rest, true) => At::Chunk(rest),
                        (rest, false) => At::Body(rest),
                    };
                    usize::try_from(here).unwrap_or(bytes.len())
                }
                At::Broken => {
                    bytes.fill(0);
                    return;
                }
                _ => {
                    let Some(byte) = bytes.first_mut() else { return };
                    if self.byte(*byte).is_none() {
                        self.at = At::Broken;
                        *byte = 0;
                    }
                    1
                }
            };
            bytes = bytes.get_mut(taken..).unwrap_or_default();
        }
    }

    /// A byte of a line; none where it may not be there.
    fn byte(&mut self, byte: u8) -> Option<()> {
        match (byte, std::mem::replace(&mut self.after_cr, byte == b'\r')) {
            (b'\n', true) => {
                let line = std::mem::take(&mut self.line);
                self.at = self.line(&line)?;
                Some(())
            }
            (b'\n', false) | (_, true) => None,
            (b'\r', false) => Some(()),
            (byte, false) => {
                if self.line.len() < LINE {
                    self.line.push(byte);
                }
                Some(())
            }
        }
    }

    /// What a whole line leads to.
    fn line(&mut self, line: &[u8]) -> Option<At> {
        Some(match self.at {
            At::Start if line.is_empty() => At::Start,
            At::Start => {
                (self.length, self.chunked) = (None, false);
                At::Headers
            }
            At::Headers if line.is_empty() => match (self.chunked, self.length) {
                (true, _) => At::Size,
                (false, Some(length)) if length > 0 => At::Body(length),
                _ => At::Start,
            },
            At::Headers => {
                self.header(line)?;
                At::Headers
            }
            At::Size => {
                let size = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
                // One that fills the kept part of its line may have more digits behind it.
                let size = std::str::from_utf8(size).ok().filter(|size| !size.starts_with('+') && size.len() < LINE)?;
                match u64::from_str_radix(size, 16).ok()? {
                    0 => At::Trailers,
                    size => At::Chunk(size),
                }
            }
            At::ChunkEnd => line.is_empty().then_some(At::Size)?,
            At::Trailers if line.is_empty() => At::Start,
            at => at,
        })
    }

    fn header(&mut self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if is("content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok()?.parse().ok().filter(|_| digits && line.len() < LINE)?;
            if self.chunked || self.length.replace(length).is_some() {
                return None;
            }
        } else if is("transfer-encoding") {
            let known = value.eq_ignore_ascii_case(b"chunked") && line.len() < LINE;
            if !known || self.length.is_some() || std::mem::replace(&mut self.chunked, true) {
                return None;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether all of it may be there, and what is waited for then; the same in every split.
    fn read(text: &str) -> Option<Phase> {
        let whole = |pieces: &[&str]| {
            let mut framing = Framing::new();
            let read: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| {
                    let mut bytes = piece.as_bytes().to_vec();
                    framing.read(&mut bytes);
                    bytes
                })
                .collect();
            (read == text.as_bytes()).then(|| framing.phase())
        };
        let found = whole(&[text]);
        for at in 0..=text.len() {
            assert_eq!(whole(&[&text[..at], &text[at..]]), found, "{text:?} at {at}");
        }
        found
    }

    #[test]
    fn requests_begin_and_end() {
        for (text, phase) in [
            ("", Phase::Idle),
            ("G", Phase::Head),
            ("GET / HTTP/1.1\r\n", Phase::Head),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Phase::Idle),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n", Phase::Idle),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n", Phase::Head),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", Phase::Body),
            ("POST / HTTP/1.1\r\ncontent-length:3 \r\n\r\na\nb", Phase::Idle),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Phase::Idle),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n\n\n\n\r\n", Phase::Body),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;x=1\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
                Phase::Idle,
            ),
        ] {
            assert_eq!(read(text), Some(phase), "{text:?}");
        }
    }

    #[test]
    fn what_two_parsers_may_read_differently_is_broken() {
        for text in [
            "GET / HTTP/1.1\n",
            "\nGET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nHost: x\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "GET / HTTP/1.1\rHost: x\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
            "GET / HTTP/1.1\r\nContent-Length: +3\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 3, 3\r\n",
            "GET / HTTP/1.1\r\nContent-Length:\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcx\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    /// What is behind the part of a line that is kept could say something else.
    #[test]
    fn a_line_that_is_not_read_to_its_end_decides_nothing() {
        let post = |header: String| format!("POST / HTTP/1.1\r\n{header}\r\n\r\n");
        let chunked = post("Transfer-Encoding: chunked".to_owned());
        let padded = |name: &str, value: &str, bytes: usize| {
            let header = format!("{name}:{value}");
            post(format!("{header}{}", " ".repeat(bytes - header.len())))
        };
        for (bytes, passes) in [(LINE - 1, true), (LINE, false), (LINE + 1, false)] {
            let wanted = |phase| passes.then_some(phase);
            assert_eq!(read(&padded("Content-Length", "3", bytes)), wanted(Phase::Body), "{bytes} bytes");
            assert_eq!(read(&padded("Transfer-Encoding", "chunked", bytes)), wanted(Phase::Body), "{bytes} bytes");
            let zeros = "0".repeat(bytes - 1);
            assert_eq!(read(&format!("{chunked}{zeros}3\r\nabc\r\n0\r\n\r\n")), wanted(Phase::Idle), "{bytes} bytes");
            // Other lines may be as long as they like.
            let long = "x".repeat(bytes);
            assert_eq!(read(&post(format!("X-Long: {long}"))), Some(Phase::Idle));
            assert_eq!(read(&post(format!("Content-Length-{long}: x"))), Some(Phase::Idle));
            assert_eq!(read(&format!("{chunked}3;{long}\r\nabc\r\n0\r\n{long}: y\r\n\r\n")), Some(Phase::Idle));
        }
        // The parser behind would take the last coding, and all digits.
        let coding = format!("Transfer-Encoding: chunked{}, chunked", " ".repeat(LINE));
        assert_eq!(read(&post(coding)), None);
        assert_eq!(read(&format!("{chunked}{}30\r\nabc\r\n", "0".repeat(LINE - 1))), None);
    }

    #[test]
    fn a_request_s_length_is_its_own() {
        for (text, phase) in [
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\naGET / HTTP/1.1\r\n\r\n", Phase::Idle),
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\naG", Phase::Idle),
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na", Phase::Body),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
                Phase::Body,
            ),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", Phase::Idle),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Phase::Body),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1", Phase::Body),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 \t\r\na\r\n0\r\nX: y\r\n", Phase::Body),
            ("GET / HTTP/1.1\r\nContent-Length-X: 3\r\nX: Content-Length: 3\r\nno colon\r\n\r\n", Phase::Idle),
            ("\r", Phase::Head),
            ("\r\n", Phase::Idle),
        ] {
            assert_eq!(read(text), Some(phase), "{text:?}");
        }
    }
}
