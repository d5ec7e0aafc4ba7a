//! Bytes to requests: where a line ends, and the grammar of one. Pure: no socket, no clock.
//!
//! ```text
//! line  = [ "SELECT" | "DO" ] word "(" [ arg *( "," arg ) ] ")"
//!       / word *( ( blank | "," ) arg )
//! ```

use std::borrow::Cow;

use bytes::{Buf, BytesMut};
use getlockd_proto::escape;
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{take_till1, take_while, take_while1},
    character::complete::char,
    combinator::{cut, opt, verify},
    error::{ErrorKind, ParseError},
    sequence::{delimited, preceded, terminated},
};
use smallvec::SmallVec;
use tokio_util::codec::Decoder;

use super::{
    encode::LineEnd,
    error::{FatalError, LineError},
    verbs::Request,
};
use crate::net::TLS_HELLO;

/// The most bytes that a line may have by default (protocol.md, "Lines"). Its end is not counted.
pub const MAX_LINE: usize = 1024;

/// The line codec of one connection. A response ends as the last request did.
#[derive(Debug)]
pub struct Codec {
    pub(super) end: LineEnd,
    /// Not a `usize`: every idle connection has one.
    max_line: u32,
}

impl Codec {
    /// For lines of at most `max_line` bytes, their end not counted.
    pub fn new(max_line: usize) -> Self {
        Self { end: LineEnd::Lf, max_line: u32::try_from(max_line).unwrap_or(u32::MAX) }
    }

    /// The most bytes of a line.
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

/// The lines behind a command that waits. They stay in the input until it is their turn, except for the question that is
/// answered while the command waits: `KEEPALIVE`.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Where the first line begins that has not been looked at.
    line: usize,
    /// Up to where there is no end of it.
    searched: usize,
}

impl Ahead {
    /// Takes out the next question: how its line ended. Each byte is looked at once, however often more arrives.
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

/// Whether a line is the question, written as a bare word.
fn asks_keepalive(line: &[u8]) -> Option<LineEnd> {
    let end = if line.ends_with(b"\r\n") { LineEnd::CrLf } else { LineEnd::Lf };
    let word = line.trim_ascii();
    let word = word.strip_suffix(b";").unwrap_or(word).trim_ascii_end();
    word.eq_ignore_ascii_case(b"KEEPALIVE").then_some(end)
}

/// Whether a line is the start of another protocol. A web page can make a browser send a body of the page's choice to any
/// port: nothing behind such a line may be run.
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

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub word: &'a [u8],
    pub args: Args<'a>,
}

/// No command has more than two: they need no allocation.
pub(super) type Args<'a> = SmallVec<[Arg<'a>; 2]>;

/// One argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arg<'a> {
    pub text: Cow<'a, [u8]>,
    pub quoted: bool,
}

type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// What is wrong, where a parser knows it. nom makes many errors on the way to a result, so this one is cheap when empty.
#[derive(Debug)]
struct Fault(Option<LineError>);

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self(None)
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Takes a line apart. It is not empty.
pub(super) fn parse(line: &[u8]) -> Result<Call<'_>, LineError> {
    // Blanks and semicolons at the end mean nothing.
    let end = line.iter().rposition(|&c| !is_blank(c) && c != b';').map_or(0, |last| last + 1);
    match call(&line[..end]) {
        Ok(([], called)) => Ok(called.call),
        Ok((rest, Called { parentheses: true, .. })) => Err(LineError::Extra(shown(rest))),
        Ok((rest, _)) => Err(unexpected(rest)),
        Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
            Err(fault.0.unwrap_or_else(|| unexpected(line)))
        }
        Err(nom::Err::Incomplete(_)) => Err(unexpected(line)),
    }
}

/// A call, and in which shape it came.
struct Called<'a> {
    call: Call<'a>,
    parentheses: bool,
}

fn call(input: &[u8]) -> Parsed<'_, Called<'_>> {
    let (input, first) = preceded(blanks, word).parse(input)?;
    let (input, word, sql) = match blanks1(input) {
        Ok((input, ())) if is_sql(first) => word(input).map(|(input, word)| (input, word, true))?,
        _ => (input, first, false),
    };
    let (input, parentheses) =
        preceded(blanks, opt(char('('))).map(|opening| opening.is_some()).parse(input)?;
    let (input, args) = if parentheses {
        cut(terminated(in_parentheses, blanks)).parse(input)?
    } else if sql {
        return fail(LineError::NoCall);
    } else {
        args(alt((comma, blanks1)), input)?
    };
    Ok((input, Called { call: Call { word, args }, parentheses }))
}

fn word(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_till1(|c| is_blank(c) || matches!(c, b'(' | b',')).parse(input)
}

/// What may stand in front of a call.
pub(super) fn is_sql(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"SELECT") || word.eq_ignore_ascii_case(b"DO")
}

/// Like nom's `separated_list0`, which would allocate a `Vec`.
fn args<'a>(
    separator: impl Parser<&'a [u8], Output = (), Error = Fault>,
    input: &'a [u8],
) -> Parsed<'a, Args<'a>> {
    let (mut rest, first) = opt(arg).parse(input)?;
    let mut args: Args<'_> = first.into_iter().collect();
    let mut next = opt(preceded(separator, arg));
    while !args.is_empty()
        && let (after, Some(arg)) = next.parse(rest)?
    {
        args.push(arg);
        rest = after;
    }
    Ok((rest, args))
}

fn in_parentheses(input: &[u8]) -> Parsed<'_, Args<'_>> {
    let (input, args) = preceded(blanks, |input| args(comma, input)).parse(input)?;
    match preceded(blanks, opt(char(')'))).parse(input)? {
        (input, Some(_)) => Ok((input, args)),
        ([], None) => fail(LineError::Unclosed),
        (rest, None) => fail(LineError::NoComma(shown(rest))),
    }
}

fn arg(input: &[u8]) -> Parsed<'_, Arg<'_>> {
    if let [quote @ (b'\'' | b'"'), text @ ..] = input {
        return match escape::read_quoted(text, *quote) {
            Some((text, rest)) => Ok((rest, Arg { text, quoted: true })),
            None => fail(LineError::Unterminated((*quote).into())),
        };
    }
    let (input, text) = take_while1(is_bare).parse(input)?;
    Ok((input, Arg { text: text.into(), quoted: false }))
}

fn comma(input: &[u8]) -> Parsed<'_, ()> {
    delimited(blanks, char(','), blanks).map(|_| ()).parse(input)
}

fn blanks(input: &[u8]) -> Parsed<'_, ()> {
    take_while(is_blank).map(|_| ()).parse(input)
}

fn blanks1(input: &[u8]) -> Parsed<'_, ()> {
    verify(take_while(is_blank), |blanks: &[u8]| !blanks.is_empty()).map(|_| ()).parse(input)
}

fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t')
}

/// As [`escape::is_bare`]. Bytes beyond ASCII are checked as characters when the name is made.
fn is_bare(c: u8) -> bool {
    matches!(c, b'!' | b'#'..=b'&' | b'*' | b'+' | b'-'..=b'_' | b'a'..=b'~' | 0x80..)
}

fn unexpected(rest: &[u8]) -> LineError {
    LineError::Unexpected(shown(rest))
}

/// The start of what was sent, fit to be shown.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let start = text.trim_start().chars().take(40);
    start.map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn fail<T>(refusal: LineError) -> Parsed<'static, T> {
    Err(nom::Err::Failure(Fault(Some(refusal))))
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
            assert_eq!(seen, [FatalError::Http.to_string()], "{request}");
        }
        assert_eq!(decode(b"\x16\x03\x01\x02\x00\x01\x00\x01", 8), [FatalError::Tls.to_string()]);
        assert_eq!(decode(b"\x16\x03\x01\n\x00\x01\x00\x01", 8), [FatalError::Tls.to_string()]);
        assert_eq!(decode(b"GET x\nGET_LOCK '/ HTTP/1.1' 0\n", 100).len(), 2);
    }

    /// The word and the arguments, quoted ones in single quotes.
    fn shape(line: &str) -> String {
        match parse(line.as_bytes()) {
            Err(error) => format!("{}: {error}", error.symbol().as_str()),
            Ok(Call { word, args }) => {
                let mut parts = vec![String::from_utf8_lossy(word).into_owned()];
                parts.extend(args.iter().map(|arg| {
                    let text = String::from_utf8_lossy(&arg.text);
                    if arg.quoted { format!("'{text}'") } else { text.into_owned() }
                }));
                parts.join("|")
            }
        }
    }

    #[test]
    fn words_calls_and_sql_are_equivalent() {
        assert_eq!(shape("GET_LOCK nightly 10"), "GET_LOCK|nightly|10");
        assert_eq!(shape("  GET_LOCK\tnightly ,  10 ; "), "GET_LOCK|nightly|10");
        assert_eq!(shape("GET_LOCK 'two words' 0.5"), "GET_LOCK|'two words'|0.5");
        assert_eq!(shape("GET_LOCK(\"x\", -1)"), "GET_LOCK|'x'|-1");
        assert_eq!(shape("get_lock ( x , 1 )"), "get_lock|x|1");
        assert_eq!(shape("SELECT GET_LOCK('nightly', 10);"), "GET_LOCK|'nightly'|10");
        assert_eq!(shape("do release_lock('x')"), "release_lock|'x'");
        assert_eq!(shape("CONNECTION_ID()"), "CONNECTION_ID");
        assert_eq!(shape("select"), "select");
        assert_eq!(shape("IS_FREE_LOCK a;b"), "IS_FREE_LOCK|a;b");
        assert_eq!(shape("IS_FREE_LOCK schlüssel"), "IS_FREE_LOCK|schlüssel");
    }

    #[test]
    fn quotes_take_escapes_and_doubling() {
        assert_eq!(shape(r"X 'a\'b' "), "X|'a'b'");
        assert_eq!(shape(r#"X "a\"b""#), "X|'a\"b'");
        assert_eq!(shape(r"X 'a\\'"), r"X|'a\'");
        assert_eq!(shape("X 'it''s'"), "X|'it's'");
        assert_eq!(shape(r#"X "say ""hi""""#), "X|'say \"hi\"'");
        assert_eq!(shape(r"X '\ta\u{e9}\x\u{zz}'"), "X|'\taéxu{zz}'");
        assert_eq!(shape("X ''"), "X|''");
        assert_eq!(shape("X ''''"), "X|'''");
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert_eq!(shape("X 'a"), "SYNTAX: a ' opens a text and nothing closes it");
        assert_eq!(shape(r"X 'a\"), "SYNTAX: a ' opens a text and nothing closes it");
        assert_eq!(shape("X('a'"), "SYNTAX: a ( is not closed by a )");
        assert_eq!(shape("X('a' 1)"), "SYNTAX: a comma or a ) is missing in front of 1)");
        assert_eq!(shape("X('a') AS y"), "SYNTAX: nothing may follow the call, and there is AS y");
        assert!(shape("X 'a'b").starts_with("SYNTAX: b is not understood here"));
        assert!(shape("X a )").starts_with("SYNTAX: ) is not understood here"));
        assert!(shape("X `a` 1").starts_with("SYNTAX: `a` 1 is not understood here"));
        assert!(shape("SELECT X").starts_with("SYNTAX: one call with parentheses"));
    }

    #[test]
    fn ascii_needs_quotes_where_it_is_written_in_quotes() {
        for c in 0..128 {
            assert_eq!(is_bare(c), escape::is_bare(c.into()), "{c}");
        }
    }
}
