//! Splits bytes into lines and parses them as requests. Pure: it uses no socket and no clock.

use std::mem;

use bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;

use super::{
    error::{FatalError, LineError},
    request::Request,
};
use crate::net::TLS_HELLO;

/// The most bytes that a line may have by default (protocol.md, "Lines"). Its end is not counted.
pub const MAX_LINE: usize = 1024;

/// The byte order mark, in UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// How a line ends, and so the reply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// A line feed.
    Lf,
    /// A carriage return and a line feed.
    CrLf,
}

/// The line codec of one connection. A response ends as the last request did.
#[derive(Debug)]
pub struct Codec {
    pub(super) end: LineEnd,
    /// Whether there was a line.
    started: bool,
    /// Whether a grant tells how long it was waited for.
    pub(super) details: bool,
    /// Not a `usize`, since every idle connection has one.
    max_line: u32,
}

impl Codec {
    /// Makes a codec for lines of at most `max_line` bytes, without their ends.
    pub fn new(max_line: usize) -> Self {
        Self {
            end: LineEnd::Lf,
            started: false,
            details: false,
            max_line: u32::try_from(max_line).unwrap_or(u32::MAX),
        }
    }

    /// A line without the byte order mark that some programs put in front of all they send.
    fn without_bom<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        if mem::replace(&mut self.started, true) { line } else { line.strip_prefix(BOM).unwrap_or(line) }
    }

    /// The longest line, in bytes.
    pub fn max_line(&self) -> usize {
        self.max_line as usize
    }
}

impl Default for Codec {
    fn default() -> Self {
        Self::new(MAX_LINE)
    }
}

impl Decoder for Codec {
    type Item = Result<Request, LineError>;
    type Error = FatalError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Self::Item>, FatalError> {
        let max = self.max_line as usize;
        // One byte more for a carriage return.
        let most = max + 1;
        loop {
            // No further than a line may reach: a client that sends no line feed does not have all of it searched again.
            let length = match memchr::memchr(b'\n', &input[..input.len().min(most + 1)]) {
                Some(at) if at == most && input[at - 1] != b'\r' => return Err(FatalError::LineTooLong(max)),
                Some(at) => at,
                // No line begins with it, and none may ever end.
                None if input.first() == Some(&TLS_HELLO) => return Err(FatalError::Tls),
                None if input.len() > most => return Err(FatalError::LineTooLong(max)),
                None => return Ok(None),
            };
            let (line, end) = match &input[..length] {
                [line @ .., b'\r'] => (line, LineEnd::CrLf),
                line => (line, LineEnd::Lf),
            };
            self.end = end;
            let line = self.without_bom(line);
            let is_empty = line.iter().all(|c| matches!(c, b' ' | b'\t' | b';'));
            // In front of the grammar: the first word of another protocol may be a command of this one.
            let request = if is_empty {
                None
            } else {
                Some(foreign(line).map_or_else(|| Ok(Request::parse(line)), Err))
            };
            input.advance(length + 1);
            if let Some(request) = request.transpose()? {
                return Ok(Some(request));
            }
        }
    }
}

/// The lines behind a command that waits. They stay in the input until it is their turn, except `KEEPALIVE`, which is
/// answered while the command waits.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The start of the first line that has not been examined.
    line: usize,
    /// Up to here no end of that line was found.
    searched: usize,
}

impl Ahead {
    /// Takes out the next KEEPALIVE and returns how its line ended. Each byte is examined once, however often more
    /// arrives.
    pub fn question(&mut self, input: &mut BytesMut) -> Option<LineEnd> {
        while let Some(at) = memchr::memchr(b'\n', &input[self.searched..]) {
            let end = self.searched + at + 1;
            let end_of_line = asks_keepalive(&input[self.line..end]);
            if end_of_line.is_some() {
                input.copy_within(end.., self.line);
                input.truncate(input.len() - (end - self.line));
                self.searched = self.line;
                return end_of_line;
            }
            (self.line, self.searched) = (end, end);
        }
        self.searched = input.len();
        None
    }
}

/// Whether a line is KEEPALIVE, written as a bare word.
fn asks_keepalive(line: &[u8]) -> Option<LineEnd> {
    let end = if line.ends_with(b"\r\n") { LineEnd::CrLf } else { LineEnd::Lf };
    let word = line.trim_ascii();
    let word = word.strip_suffix(b";").unwrap_or(word).trim_ascii_end();
    word.eq_ignore_ascii_case(b"KEEPALIVE").then_some(end)
}

/// Whether a line is the start of another protocol. A web page can make a browser send a body of the page's choice to
/// any port, so nothing after such a line may be run.
fn foreign(line: &[u8]) -> Option<FatalError> {
    const METHODS: [&[u8]; 10] =
        [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI"];
    if line[0] == TLS_HELLO {
        return Some(FatalError::Tls);
    }
    if line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"Host:")) {
        return Some(FatalError::Http);
    }
    // Most lines have no slash.
    memchr::memchr(b'/', line)?;
    let words: Vec<&[u8]> = line.split(|c| *c == b' ').filter(|word| !word.is_empty()).collect();
    let is_http = match words.as_slice() {
        [method, _, version] if version.starts_with(b"HTTP/") => method.iter().all(u8::is_ascii_uppercase),
        [method, target, ..] => METHODS.contains(method) && target.starts_with(b"/"),
        _ => false,
    };
    is_http.then_some(FatalError::Http)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    /// Decodes all of `input`, in pieces of `step` bytes.
    fn decode(input: &[u8], step: usize) -> Vec<String> {
        let mut codec = Codec::default();
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for piece in input.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                match codec.decode(&mut buffer) {
                    Ok(Some(Ok(request))) => seen.push(format!("{request:?}")),
                    Ok(Some(Err(error))) => seen.push(error.symbol().as_str().to_owned()),
                    Ok(None) => break,
                    Err(fatal) => {
                        seen.push(fatal.to_string());
                        return seen;
                    }
                }
            }
        }
        seen
    }

    #[test]
    fn requests_do_not_depend_on_read_boundaries() {
        let input = b"PING\r\n\n  \t\n ;\nRELEASE_LOCK a\nnonsense\nQUIT\r\nPING";
        let release = Request::Release(Name::new("a").unwrap());
        let expected = ["Ping", &format!("{release:?}"), "UNKNOWN_COMMAND", "Quit"];
        for step in 1..=input.len() {
            assert_eq!(decode(input, step), expected, "in pieces of {step}");
        }
    }

    #[test]
    fn line_has_at_most_1024_bytes() {
        for end in ["\n", "\r\n"] {
            let fits = format!("PING{}{end}", " ".repeat(MAX_LINE - 4));
            assert_eq!(decode(fits.as_bytes(), 100), ["Ping"]);
            let too_long = format!("PING{}{end}", " ".repeat(MAX_LINE - 3));
            assert!(decode(too_long.as_bytes(), 100)[0].contains("longer than 1024 bytes"));
        }
        assert!(decode(&[b'a'; MAX_LINE + 2], 100)[0].contains("longer than 1024 bytes"));
    }

    #[test]
    fn foreign_protocol_is_not_run() {
        for request in [
            "GET / HTTP/1.1",
            "POST /x",
            "Host: localhost",
            "host: a",
            "CONNECT a:1 HTTP/1.1",
            "PRI * HTTP/2.0",
            "PROPFIND /x HTTP/1.1",
            "Host:localhost",
        ] {
            let seen = decode(format!("{request}\r\nPING\r\n").as_bytes(), 1000);
            assert_eq!(seen, [FatalError::Http.to_string()], "{request}");
        }
        assert_eq!(decode(b"\x16\x03\x01\x02\x00\x01\x00\x01", 8), [FatalError::Tls.to_string()]);
        assert_eq!(decode(b"\x16\x03\x01\n\x00\x01\x00\x01", 8), [FatalError::Tls.to_string()]);
        assert_eq!(decode(b"GET x\nGET_LOCK '/ HTTP/1.1' 0\n", 100).len(), 2);
    }
}
