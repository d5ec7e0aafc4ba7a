//! The grammar: a line, taken apart into a word and its arguments.
//!
//! ```text
//! line  = [ "SELECT" | "DO" ] word "(" [ arg *( "," arg ) ] ")"
//!       / word *( ( blank | "," ) arg )
//! ```

use std::{borrow::Cow, str};

use getlockd_proto::{
    escape::{self, Visible},
    timeout::Timeout,
};
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

use crate::wires::line::{error::LineError, select};

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub word: &'a [u8],
    pub args: ArgList<'a>,
}

/// Nearly all commands have at most two arguments, which need no allocation.
pub(super) type ArgList<'a> = SmallVec<[Arg<'a>; 2]>;

/// One argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arg<'a> {
    pub text: Cow<'a, [u8]>,
    pub quoted: bool,
}

impl Arg<'_> {
    /// A time in one word.
    pub(super) fn to_timeout(&self) -> Result<Timeout, LineError> {
        let text = str::from_utf8(&self.text).unwrap_or_default();
        text.parse().map_err(|bad| LineError::BadTimeout(shown(&self.text), bad))
    }

    /// How many may hold a lock together.
    pub(super) fn to_limit(&self) -> Result<u16, LineError> {
        let limit = str::from_utf8(&self.text).ok().and_then(|text| text.parse().ok());
        limit.filter(|&limit| limit > 0).ok_or_else(|| LineError::BadLimit(shown(&self.text)))
    }

    /// Whether it is this word, without quotes.
    pub(super) fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    /// Its text if that stands without quotes.
    pub(super) fn bare(&self) -> Option<&str> {
        if self.quoted { None } else { str::from_utf8(&self.text).ok() }
    }

    /// Whether each character is meant: what is pasted may have some that cannot be seen, or quotation marks of print.
    pub(super) fn check(&self) -> Result<(), LineError> {
        // The grammar has looked at ASCII.
        if self.text.is_ascii() {
            return Ok(());
        }
        let Some(bare) = self.bare() else { return Ok(()) };
        if let Some(unseen) = bare.chars().find(|&c| !escape::is_bare(c)) {
            return Err(LineError::Unseen(unseen));
        }
        let ends = bare.chars().next().into_iter().chain(bare.chars().next_back());
        ends.into_iter()
            .find(|&c| escape::is_quotation_mark(c))
            .map_or(Ok(()), |mark| Err(LineError::OtherQuotes(mark)))
    }
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

/// A line without what means nothing at its end: blanks, semicolons, and `\G` behind a `SELECT`.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let trimmed =
        |line: &[u8]| line.iter().rposition(|&c| !is_blank(c) && c != b';').map_or(0, |last| last + 1);
    let line = &line[..trimmed(line)];
    match line.strip_suffix(b"\\G") {
        Some(statement) if starts_with_select(line) => &statement[..trimmed(statement)],
        _ => line,
    }
}

/// Takes a line apart. It is not empty.
pub(super) fn parse(line: &[u8]) -> Result<Call<'_>, LineError> {
    match call(line) {
        Ok(([], called)) => Ok(called.call),
        Ok((rest, called)) if called.parentheses && starts_with_select(line) && select::is_tail(rest) => {
            Ok(called.call)
        }
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

fn starts_with_select(line: &[u8]) -> bool {
    line.trim_ascii_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"SELECT"))
}

/// What may stand in front of a call.
pub(super) fn is_sql(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"SELECT") || word.eq_ignore_ascii_case(b"DO")
}

/// Like nom's `separated_list0`, which would allocate a `Vec`.
fn args<'a>(
    separator: impl Parser<&'a [u8], Output = (), Error = Fault>,
    input: &'a [u8],
) -> Parsed<'a, ArgList<'a>> {
    let (mut rest, first) = opt(arg).parse(input)?;
    let mut args: ArgList<'_> = first.into_iter().collect();
    let mut next = opt(preceded(separator, arg));
    while !args.is_empty()
        && let (after, Some(arg)) = next.parse(rest)?
    {
        args.push(arg);
        rest = after;
    }
    Ok((rest, args))
}

fn in_parentheses(input: &[u8]) -> Parsed<'_, ArgList<'_>> {
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
pub(super) fn is_bare(c: u8) -> bool {
    matches!(c, b'!' | b'#'..=b'&' | b'*' | b'+' | b'-'..=b'_' | b'a'..=b'~' | 0x80..)
}

fn unexpected(rest: &[u8]) -> LineError {
    LineError::Unexpected(shown(rest))
}

/// How much of what was sent is shown.
pub(super) const MAX_SHOWN: usize = 40;

/// The start of what was sent, with each character to be seen.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let start: String = text.trim_start_matches(' ').chars().take(MAX_SHOWN).collect();
    let (blanks, seen) = (|c: char| c.is_whitespace() && c != ' ', Visible(&start).to_string());
    seen.chars().map(|c| if blanks(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

fn fail<T>(refusal: LineError) -> Parsed<'static, T> {
    Err(nom::Err::Failure(Fault(Some(refusal))))
}
