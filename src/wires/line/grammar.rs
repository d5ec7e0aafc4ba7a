//! The grammar of a line: a word and its arguments, in either of two shapes.
//!
//! ```text
//! line  = [ "SELECT" | "DO" ] word "(" [ arg *( "," arg ) ] ")"
//!       / word *( ( blank | "," ) arg )
//! ```

use std::borrow::Cow;

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

use super::error::Refusal;

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub word: &'a [u8],
    pub args: Args<'a>,
}

/// No command has more.
pub(super) type Args<'a> = SmallVec<[Arg<'a>; 2]>;

/// One argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arg<'a> {
    pub text: Cow<'a, [u8]>,
    pub quoted: bool,
}

type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// What is wrong, where a parser knows it.
#[derive(Debug)]
struct Fault(Option<Refusal>);

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self(None)
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Takes a line apart. It is not empty.
pub(super) fn parse(line: &[u8]) -> Result<Call<'_>, Refusal> {
    match call(trim_end(line)) {
        Ok(([], called)) => Ok(called.call),
        Ok((rest, Called { parentheses: true, .. })) => Err(Refusal::Extra(shown(rest))),
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
        return fail(Refusal::NoCall);
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

/// As nom's `separated_list0`, without an allocation.
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
        ([], None) => fail(Refusal::Unclosed),
        (rest, None) => fail(Refusal::NoComma(shown(rest))),
    }
}

fn arg(input: &[u8]) -> Parsed<'_, Arg<'_>> {
    alt((quoted, bare)).parse(input)
}

fn bare(input: &[u8]) -> Parsed<'_, Arg<'_>> {
    let (input, text) = take_while1(is_bare).parse(input)?;
    Ok((input, Arg { text: text.into(), quoted: false }))
}

fn quoted(input: &[u8]) -> Parsed<'_, Arg<'_>> {
    let (input, quote) = alt((char('\''), char('"'))).parse(input)?;
    match escape::read_quoted(input, quote as u8) {
        Some((text, rest)) => Ok((rest, Arg { text, quoted: true })),
        None => fail(Refusal::Unterminated(quote)),
    }
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

/// Without the blanks and semicolons behind a line.
fn trim_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|&c| !is_blank(c) && c != b';');
    &line[..end.map_or(0, |last| last + 1)]
}

fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t')
}

/// Bytes beyond ASCII are looked at as characters when the name is made.
fn is_bare(c: u8) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii() || escape::is_bare(std::primitive::char::from(c))
}

fn unexpected(rest: &[u8]) -> Refusal {
    Refusal::Unexpected(shown(rest))
}

/// The start of what was sent, fit to be shown.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let start = text.trim_start().chars().take(40);
    start.map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn fail<T>(refusal: Refusal) -> Parsed<'static, T> {
    Err(nom::Err::Failure(Fault(Some(refusal))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word and the arguments, quoted ones in single quotes.
    fn shape(line: &str) -> String {
        match parse(line.as_bytes()) {
            Err(refusal) => format!("{}: {refusal}", refusal.symbol().as_str()),
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
}
