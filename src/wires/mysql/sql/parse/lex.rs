//! Statements to tokens (MySQL manual, chapter 11 "Language Structure").

use std::borrow::Cow;

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, tag_no_case, take_till, take_until, take_while, take_while1},
    character::complete::{digit0, digit1, one_of},
    combinator::{opt, recognize},
    error::{Error, ErrorKind},
    sequence::{delimited, pair, preceded},
};

use crate::wires::mysql::sql::dialect::Dialect;

/// The highest version that a comment such as `/*!80400 ... */` may ask for.
const VERSION: u32 = 80_499;

/// A token: where possible, a slice of the statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A word that may be a keyword or a name.
    Word(Cow<'a, str>),
    /// A name in backquotes.
    Name(Cow<'a, str>),
    /// A string in quotes.
    Text(Cow<'a, [u8]>),
    /// `0x41`, `x'41'`, `b'01'`.
    Bytes(Vec<u8>),
    Integer(&'a str),
    Decimal(&'a str),
    Float(&'a str),
    /// `@name`
    Variable(Cow<'a, str>),
    /// The content of `/*+ ... */`.
    Hint(Cow<'a, str>),
    Symbol(&'static str),
}

/// A token and its position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spanned<'a> {
    pub token: Token<'a>,
    pub start: usize,
    pub end: usize,
}

/// The tokens of a statement, and where the next one starts.
type TokenList<'a> = (Vec<Spanned<'a>>, Option<usize>);

/// The most tokens of a statement: far more than in one whose lists and calls are as long as their limits allow.
const MAX_TOKENS: usize = 20_000;

/// Why a statement cannot be tokenised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LexError {
    /// There is no valid token at this position.
    Unexpected(usize),
    /// The statement has more tokens than any that could be run.
    TooLong,
}

/// Enough tokens for most statements, so that the vector is allocated once.
const TYPICAL_TOKENS: usize = 16;

type Lexed<'a, T> = IResult<&'a [u8], T>;

/// The most frequent first, and longer ones before their prefixes.
const SYMBOLS: [&str; 35] = [
    "(", ")", ",", "@@", ":=", "<=>", "<>", "!=", "<=", ">=", "||", "&&", ";", ".", "=", "<<", ">>", "<",
    ">", "+", "->>", "->", "-", "*", "/", "%", "!", "?", "{", "}", "&", "|", "^", "~", ":",
];

/// The tokens of the first statement of `sql` that has any, and where the next one starts; or the position of an error.
pub(super) fn tokens(sql: &[u8], dialect: Dialect) -> Result<TokenList<'_>, LexError> {
    let mut tokens = Vec::with_capacity(TYPICAL_TOKENS);
    // How many `/*!` are open: what stands in them is read, their ends are skipped.
    let mut open = 0;
    let mut left = sql;
    loop {
        left = skip(left, &mut open).map_err(|at| LexError::Unexpected(sql.len() - at))?;
        let start = sql.len() - left.len();
        if left.is_empty() {
            return Ok((tokens, None));
        }
        let (after, token) = token(left, dialect).map_err(|_| LexError::Unexpected(start))?;
        left = after;
        if token != Token::Symbol(";") {
            if tokens.len() == MAX_TOKENS {
                return Err(LexError::TooLong);
            }
            tokens.push(Spanned { token, start, end: sql.len() - left.len() });
        } else if !tokens.is_empty() {
            return Ok((tokens, next_statement(left, &mut open).map(|at| sql.len() - at)));
        }
    }
}

/// How much is left at the start of the next statement, if there is one. An invalid token counts as a statement: its
/// error is reported when that statement is parsed.
fn next_statement(mut left: &[u8], open: &mut usize) -> Option<usize> {
    loop {
        match skip(left, open) {
            Ok([]) => return None,
            Ok([b';', rest @ ..]) => left = rest,
            Ok(statement) => return Some(statement.len()),
            Err(at) => return Some(at),
        }
    }
}

/// Skips blanks and comments. Fails with how much is left at a comment that does not end.
fn skip<'a>(mut input: &'a [u8], open: &mut usize) -> Result<&'a [u8], usize> {
    loop {
        let unended = input.len();
        input = match input {
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, rest @ ..] => rest,
            // `--` begins a comment only in front of a blank.
            [b'#', ..] | [b'-', b'-'] | [b'-', b'-', 0..=b' ', ..] => {
                let end = input.iter().position(|c| *c == b'\n').unwrap_or(input.len());
                &input[end..]
            }
            // What stands in it is part of the statement if this version is not too old for it.
            [b'/', b'*', b'!', inside @ ..] => {
                let (after, version) = version(inside);
                if version <= VERSION {
                    *open += 1;
                    after
                } else {
                    comment(input).map_err(|_| unended)?.0
                }
            }
            [b'*', b'/', rest @ ..] if *open > 0 => {
                *open -= 1;
                rest
            }
            // A hint is a token.
            [b'/', b'*', b'+', ..] => return comment(input).map(|_| input).map_err(|_| unended),
            [b'/', b'*', ..] => comment(input).map_err(|_| unended)?.0,
            _ => return Ok(input),
        };
    }
}

fn comment(input: &[u8]) -> Lexed<'_, &[u8]> {
    delimited(tag("/*"), take_until("*/"), tag("*/")).parse(input)
}

/// The version after `/*!`, of five or six digits, and what follows it; 0 without a version.
fn version(input: &[u8]) -> (&[u8], u32) {
    let digits = input.iter().take(6).take_while(|c| c.is_ascii_digit()).count();
    let (version, after) = if digits < 5 { (&input[..0], input) } else { input.split_at(digits) };
    (after, version.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// The next token: its first byte tells which kinds are possible.
fn token(input: &[u8], dialect: Dialect) -> Lexed<'_, Token<'_>> {
    match input {
        [quote @ (b'\'' | b'"'), text @ ..] => {
            let (after, text) = quoted(text, *quote, !dialect.no_backslash_escapes)?;
            let is_name = *quote == b'"' && dialect.ansi_quotes;
            Ok((after, if is_name { Token::Name(text_of(text)) } else { Token::Text(text) }))
        }
        [b'\\', b'N', ..] => Ok((&input[2..], Token::Word("NULL".into()))),
        [b'`', ..] => backquoted.map(Token::Name).parse(input),
        [b'@', ..] => alt((variable, symbol)).parse(input),
        [b'0', b'x' | b'b', ..] => alt((bytes_literal, number, word)).parse(input),
        [b'0'..=b'9', ..] => alt((number, word)).parse(input),
        [b'.', ..] => alt((number, symbol)).parse(input),
        [b'x' | b'X' | b'b' | b'B', b'\'', ..] => alt((bytes_literal, word)).parse(input),
        [b'/', b'*', b'+', ..] => hint(input),
        [c, ..] if is_word(*c) => word(input),
        _ => symbol(input),
    }
}

fn word(input: &[u8]) -> Lexed<'_, Token<'_>> {
    take_while1(is_word).map(|word| Token::Word(lossy(word))).parse(input)
}

/// A string up to its closing quote, which may be doubled.
fn quoted(mut input: &[u8], quote: u8, escapes: bool) -> Lexed<'_, Cow<'_, [u8]>> {
    let mut text = Cow::Borrowed(&input[..0]);
    loop {
        let (after, plain) = take_till(|c| c == quote || escapes && c == b'\\').parse(input)?;
        if text.is_empty() {
            text = Cow::Borrowed(plain);
        } else {
            text.to_mut().extend_from_slice(plain);
        }
        match after {
            [b'\\', c, after @ ..] if escapes => {
                unescape(*c, text.to_mut());
                input = after;
            }
            [c, again, after @ ..] if c == again && *c == quote => {
                text.to_mut().push(quote);
                input = after;
            }
            [c, after @ ..] if *c == quote => return Ok((after, text)),
            _ => return no_match(after),
        }
    }
}

/// MySQL manual 11.1.1, table 11.1; `\%` and `\_` keep their backslash.
fn unescape(c: u8, text: &mut Vec<u8>) {
    if matches!(c, b'%' | b'_') {
        text.push(b'\\');
    }
    text.push(getlockd_proto::escape::unescape(c));
}

fn backquoted(input: &[u8]) -> Lexed<'_, Cow<'_, str>> {
    let (input, _) = tag("`").parse(input)?;
    quoted(input, b'`', false).map(|(after, name)| (after, text_of(name)))
}

fn bytes_literal(input: &[u8]) -> Lexed<'_, Token<'_>> {
    let hex_digits = || take_while(|c: u8| c.is_ascii_hexdigit());
    let bit_digits = || take_while(|c: u8| matches!(c, b'0' | b'1'));
    let hex = alt((delimited(tag_no_case("x'"), hex_digits(), tag("'")), preceded(tag("0x"), hex_digits())));
    let bits = alt((delimited(tag_no_case("b'"), bit_digits(), tag("'")), preceded(tag("0b"), bit_digits())));
    let mut literal = alt((
        hex.map(|digits: &[u8]| pack_digits(digits, 16)),
        bits.map(|digits: &[u8]| pack_digits(digits, 2)),
    ));
    let (after, bytes) = literal.parse(input)?;
    let whole = !after.first().is_some_and(|c| is_word(*c));
    match bytes {
        Some(bytes) if whole => Ok((after, Token::Bytes(bytes))),
        _ => no_match(input),
    }
}

/// Converts digits to bytes; `None` for an odd number of hexadecimal digits after `x'`, which is not a literal.
fn pack_digits(digits: &[u8], radix: u32) -> Option<Vec<u8>> {
    let per_byte = if radix == 16 { 2 } else { 8 };
    let lead = (per_byte - digits.len() % per_byte) % per_byte;
    let padded: Vec<u8> = std::iter::repeat_n(b'0', lead).chain(digits.iter().copied()).collect();
    let byte = |chunk: &[u8]| u8::from_str_radix(std::str::from_utf8(chunk).ok()?, radix).ok();
    padded.chunks(per_byte).map(byte).collect()
}

fn number(input: &[u8]) -> Lexed<'_, Token<'_>> {
    let fraction = alt((recognize((digit1, tag("."), digit0)), recognize((tag("."), digit1)), digit1));
    let exponent = recognize((one_of("eE"), opt(one_of("+-")), digit1));
    let (after, (mantissa, exponent)) = pair(fraction, opt(exponent)).parse(input)?;
    let text = std::str::from_utf8(&input[..input.len() - after.len()]).unwrap_or_default();
    let number = match (exponent, mantissa.contains(&b'.')) {
        (Some(_), _) => Token::Float(text),
        (None, true) => Token::Decimal(text),
        // `1abc` is a name.
        (None, false) if after.first().is_some_and(|c| is_word(*c)) => return no_match(input),
        (None, false) => Token::Integer(text),
    };
    Ok((after, number))
}

fn hint(input: &[u8]) -> Lexed<'_, Token<'_>> {
    delimited(tag("/*+"), take_until("*/"), tag("*/")).map(|text| Token::Hint(lossy(text))).parse(input)
}

fn variable(input: &[u8]) -> Lexed<'_, Token<'_>> {
    let name = take_while(|c| is_word(c) || c == b'.').map(lossy);
    let (after, _) = tag("@").parse(input)?;
    match after.first() {
        Some(b'@') => no_match(input),
        Some(quote @ (b'\'' | b'"')) => {
            quoted(&after[1..], *quote, true).map(|(after, name)| (after, Token::Variable(text_of(name))))
        }
        _ => alt((backquoted, name)).map(Token::Variable).parse(after),
    }
}

fn symbol(input: &[u8]) -> Lexed<'_, Token<'_>> {
    let found = SYMBOLS.iter().find(|symbol| input.starts_with(symbol.as_bytes()));
    found.map_or_else(|| no_match(input), |symbol| Ok((&input[symbol.len()..], Token::Symbol(symbol))))
}

fn no_match<T>(input: &[u8]) -> Lexed<'_, T> {
    Err(nom::Err::Error(Error::new(input, ErrorKind::Tag)))
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$') || !c.is_ascii()
}

fn lossy(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

pub(super) fn text_of(text: Cow<'_, [u8]>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => lossy(text),
        Cow::Owned(text) => lossy(&text).into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexed(sql: &str) -> Vec<Token<'_>> {
        tokens(sql.as_bytes(), Dialect::default()).unwrap().0.into_iter().map(|t| t.token).collect()
    }

    fn word(text: &str) -> Token<'_> {
        Token::Word(text.into())
    }

    fn int(text: &str) -> Token<'_> {
        Token::Integer(text)
    }

    #[test]
    fn conditional_comments_are_read() {
        let select_1 = [word("SELECT"), int("1")];
        for sql in [
            "SELECT/**/1",
            "/* a */ SELECT -- b\n 1 # c",
            "SELECT /*! 1 */",
            "SELECT /*!50000 1 */",
            "SELECT 1 /*!99999 + 1 */",
            "SELECT 1 --",
        ] {
            assert_eq!(lexed(sql), select_1, "{sql}");
        }
        assert_eq!(lexed("1--1").len(), 4);
        assert_eq!(lexed("SELECT /*+ X(1) */ 1")[1], Token::Hint(" X(1) ".into()));
    }

    #[test]
    fn literals_have_their_kind() {
        assert_eq!(lexed(r"'a\'b' 'it''s' '\%\n'")[0], Token::Text(b"a'b".into()));
        assert_eq!(lexed("x'41' 0x141 b'01000001'")[1], Token::Bytes(vec![1, 0x41]));
        assert_eq!(lexed("1 1.50 .5 1e3 1.e-3")[3], Token::Float("1e3"));
        assert_eq!(lexed("`a``b` @v @`v` @'v'")[0], Token::Name("a`b".into()));
        assert_eq!(lexed("@@session.x")[0], Token::Symbol("@@"));
        assert_eq!(lexed("@a:=1")[1], Token::Symbol(":="));
        assert_eq!(lexed("1abc x0 xé"), [word("1abc"), word("x0"), word("xé")]);
    }

    #[test]
    fn sql_mode_changes_quotes() {
        let ansi = Dialect { ansi_quotes: true, ..Dialect::default() };
        assert_eq!(tokens(b"\"a\"", ansi).unwrap().0[0].token, Token::Name("a".into()));
        let plain = Dialect { no_backslash_escapes: true, ..Dialect::default() };
        assert_eq!(tokens(br"'a\'", plain).unwrap().0[0].token, Token::Text(br"a\".into()));
    }

    #[test]
    fn syntax_error_points_at_its_place() {
        assert_eq!(tokens(b"SELECT 'a", Dialect::default()), Err(LexError::Unexpected(7)));
        assert_eq!(tokens(b"SELECT 1 \\", Dialect::default()), Err(LexError::Unexpected(9)));
        assert_eq!(tokens(b"SELECT /*", Dialect::default()), Err(LexError::Unexpected(7)));
        assert_eq!(tokens(b"SELECT /*+ x", Dialect::default()), Err(LexError::Unexpected(7)));
    }
}
