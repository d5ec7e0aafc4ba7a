//! Bytes to requests and responses to bytes. Pure: no socket, no clock.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{
    error::{Refusal, Untrusted},
    verbs::Request,
    write::{Lines, Response},
};
use crate::net::TLS_HELLO;

/// The most bytes that a line may have, its end not counted (protocol.md, "Lines"), unless
/// `--max-line` says otherwise.
pub const MAX_LINE: usize = 1024;

/// The line codec of one connection. A response ends as the last request did.
#[derive(Debug)]
pub struct Codec {
    crlf: bool,
    /// Small: every idle connection has one.
    max_line: u32,
}

impl Codec {
    /// For lines of at most so many bytes, their end not counted.
    pub fn new(max_line: usize) -> Self {
        Self { crlf: false, max_line: u32::try_from(max_line).unwrap_or(u32::MAX) }
    }

    /// The most bytes of a line.
    pub fn max_line(&self) -> usize {
        self.max_line as usize
    }

    /// Where the lines of a response go.
    pub(super) fn lines<'a>(&self, output: &'a mut BytesMut) -> Lines<'a> {
        Lines::new(output, self.crlf)
    }
}

impl Default for Codec {
    fn default() -> Self {
        Self::new(MAX_LINE)
    }
}

impl Decoder for Codec {
    type Item = Result<Request, Refusal>;
    type Error = Untrusted;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Self::Item>, Untrusted> {
        while let Some(length) = line_length(input, self.max_line as usize)? {
            let line = &input[..length];
            let (line, crlf) = line.strip_suffix(b"\r").map_or((line, false), |line| (line, true));
            let request = read(line);
            self.crlf = crlf;
            input.advance(length + 1);
            if let Some(request) = request.transpose()? {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }
}

impl Encoder<Response> for Codec {
    type Error = std::io::Error;

    fn encode(&mut self, response: Response, output: &mut BytesMut) -> std::io::Result<()> {
        response.write(&mut self.lines(output));
        Ok(())
    }
}

/// Where the line feed is, once it has come.
fn line_length(input: &[u8], max: usize) -> Result<Option<usize>, Untrusted> {
    // One byte more for a carriage return.
    let most = max + 1;
    match memchr::memchr(b'\n', &input[..input.len().min(most + 1)]) {
        Some(at) if at == most && input[at - 1] != b'\r' => Err(Untrusted::LineTooLong(max)),
        Some(at) => Ok(Some(at)),
        // No line begins with it.
        None if input.first() == Some(&TLS_HELLO) => Err(Untrusted::Tls),
        None if input.len() > most => Err(Untrusted::LineTooLong(max)),
        None => Ok(None),
    }
}

/// The lines behind a command that waits. They stay in the input until it is their turn, but for the questions
/// that are answered while it waits: `KEEPALIVE`.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Where the first line begins that has not been looked at.
    line: usize,
    /// Up to where there is no end of it.
    searched: usize,
}

impl Ahead {
    /// Takes out the next question; how its line ended.
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

/// How a line ends, and so the reply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEnd {
    crlf: bool,
}

impl LineEnd {
    /// Writes the answer to a question.
    pub fn write(self, left: Duration, output: &mut BytesMut) {
        Response::Keepalive(left).write(&mut Lines::new(output, self.crlf));
    }
}

/// Whether a line is the question, written as a bare word.
fn asks_keepalive(line: &[u8]) -> Option<LineEnd> {
    let crlf = line.ends_with(b"\r\n");
    let word = line.trim_ascii();
    let word = word.strip_suffix(b";").unwrap_or(word).trim_ascii_end();
    word.eq_ignore_ascii_case(b"KEEPALIVE").then_some(LineEnd { crlf })
}

/// None for a line that is empty.
fn read(line: &[u8]) -> Option<Result<Result<Request, Refusal>, Untrusted>> {
    if line.iter().all(|c| matches!(c, b' ' | b'\t' | b';')) {
        return None;
    }
    Some(match foreign(line) {
        Some(untrusted) => Err(untrusted),
        None => Ok(Request::parse(line)),
    })
}

/// Whether a line is the start of something else. A browser can be made to send a body of its
/// author's choice to any port: nothing behind such a line may be run.
fn foreign(line: &[u8]) -> Option<Untrusted> {
    const METHODS: [&[u8]; 10] =
        [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI"];
    if line[0] == TLS_HELLO {
        return Some(Untrusted::Tls);
    }
    if line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"Host:")) {
        return Some(Untrusted::Http);
    }
    // Most lines have no slash.
    memchr::memchr(b'/', line)?;
    let words: Vec<&[u8]> = line.split(|c| *c == b' ').filter(|word| !word.is_empty()).collect();
    let is_http = match words.as_slice() {
        [method, _, version] if version.starts_with(b"HTTP/") => method.iter().all(u8::is_ascii_uppercase),
        [method, target, ..] => METHODS.contains(method) && target.starts_with(b"/"),
        _ => false,
    };
    is_http.then_some(Untrusted::Http)
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
                    Ok(Some(Err(refusal))) => seen.push(refusal.symbol().as_str().to_owned()),
                    Ok(None) => break,
                    Err(untrusted) => {
                        seen.push(untrusted.to_string());
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
            assert!(decode(too_long.as_bytes(), 100)[0].contains("at most 1024 bytes"));
        }
        assert!(decode(&[b'a'; MAX_LINE + 2], 100)[0].contains("at most 1024 bytes"));
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
            assert_eq!(seen, [Untrusted::Http.to_string()], "{request}");
        }
        assert_eq!(decode(b"\x16\x03\x01\x02\x00\x01\x00\x01", 8), [Untrusted::Tls.to_string()]);
        assert_eq!(decode(b"\x16\x03\x01\n\x00\x01\x00\x01", 8), [Untrusted::Tls.to_string()]);
        assert_eq!(decode(b"GET x\nGET_LOCK '/ HTTP/1.1' 0\n", 100).len(), 2);
    }
}
