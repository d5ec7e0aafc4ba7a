//! Expressions (MySQL manual, chapter 14): operators by precedence (14.4.1), and their operands, which are literals,
//! variables, calls, CASE, CAST and parentheses.

use std::borrow::Cow;

use super::{
    Cursor, ParseResult, call, dates, is_reserved,
    lex::{Token, text_of},
    select, syntax_error,
    unsupported::{self, not_supported},
};
use crate::wires::mysql::{
    charset::{Charset, Collation},
    error::{SqlError, Warning},
    names::check_variable,
    sql::{
        ast::{Cast, ESCAPE, Expr, Operator},
        builtin::Function,
        env::MAX_WARNINGS,
    },
    value::{Decimal, Value},
    variables::Scope,
};

/// The precedence of operators, from the lowest on (MySQL manual 14.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    /// Below all operators.
    None,
    Or,
    Xor,
    And,
    /// NOT, comparisons and predicates, which have their own grammar.
    Comparison,
    BitOr,
    BitAnd,
    Shift,
    Sum,
    Product,
    BitXor,
    Concat,
}

/// The operator that follows, unless it is a comparison.
fn operator(cursor: &Cursor<'_>) -> Option<(Precedence, Operator)> {
    Some(match cursor.peek()? {
        Token::Symbol(symbol) => match *symbol {
            "||" if cursor.dialect.pipes_as_concat => (Precedence::Concat, Operator::Concat),
            "^" => (Precedence::BitXor, Operator::BitXor),
            "*" => (Precedence::Product, Operator::Times),
            "/" => (Precedence::Product, Operator::Divide),
            "%" => (Precedence::Product, Operator::Modulo),
            "+" => (Precedence::Sum, Operator::Plus),
            "-" => (Precedence::Sum, Operator::Minus),
            "<<" => (Precedence::Shift, Operator::ShiftLeft),
            ">>" => (Precedence::Shift, Operator::ShiftRight),
            "&" => (Precedence::BitAnd, Operator::BitAnd),
            "|" => (Precedence::BitOr, Operator::BitOr),
            "&&" => (Precedence::And, Operator::And),
            "||" => (Precedence::Or, Operator::Or),
            _ => return None,
        },
        Token::Word(word) => *WORD_OPERATORS
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, found)| found)?,
        _ => return None,
    })
}

/// The operators that are words.
const WORD_OPERATORS: [(&str, (Precedence, Operator)); 5] = [
    ("DIV", (Precedence::Product, Operator::IntegerDivide)),
    ("MOD", (Precedence::Product, Operator::Modulo)),
    ("AND", (Precedence::And, Operator::And)),
    ("XOR", (Precedence::Xor, Operator::Xor)),
    ("OR", (Precedence::Or, Operator::Or)),
];

pub(super) fn expr(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    cursor.deeper(|cursor| operation(cursor, Precedence::None))
}

/// Operands joined by operators that bind tighter than `outer`: precedence climbing. All operators are
/// left-associative.
///
/// The operands of AND, OR and XOR are comparisons; those of all others are single values. Neither loop takes the
/// operators of the other, so that `a IS NULL + 1` is a syntax error as in MySQL.
pub(super) fn operation(cursor: &mut Cursor<'_>, outer: Precedence) -> ParseResult<Expr> {
    let is_logical = outer < Precedence::Comparison;
    let mut left = if is_logical { comparison(cursor)? } else { unary(cursor)? };
    while !cursor.is_after_expression()
        && let Some((precedence, operator)) = operator(cursor)
        && precedence > outer
        && is_logical == (precedence < Precedence::Comparison)
    {
        cursor.advance(1);
        cursor.count_operator()?;
        left = if precedence == Precedence::Sum && dates::is_interval(cursor) {
            // What an interval is added to decides what the sum is.
            let interval = dates::interval(cursor)?;
            dates::shifted(cursor, operator, left, interval)?
        } else {
            Expr::binary(operator, left, operation(cursor, precedence)?)
        };
    }
    Ok(left)
}

/// A comparison or a predicate, or the negation of one.
fn comparison(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    if !cursor.dialect.high_not && cursor.word("NOT") {
        return cursor.deeper(|cursor| Ok(Expr::Not(Box::new(comparison(cursor)?))));
    }
    let mut left = operation(cursor, Precedence::Comparison)?;
    loop {
        if cursor.is_after_expression() {
            return Ok(left);
        }
        let operator = COMPARISONS.iter().find(|(symbol, _)| cursor.symbol(symbol));
        left = if let Some((_, operator)) = operator {
            unsupported::quantifier(cursor)?;
            Expr::binary(*operator, left, operation(cursor, Precedence::Comparison)?)
        } else if cursor.word("IS") {
            is(cursor, left)?
        } else {
            let negated = PREDICATES.iter().any(|word| cursor.is_word_at(1, word)) && cursor.word("NOT");
            match cursor.one_of(&PREDICATES) {
                Some("IN") => membership(cursor, left, negated)?,
                Some("LIKE") => like(cursor, left, negated)?,
                Some("BETWEEN") => between(cursor, left, negated)?,
                Some(_) => Expr::Regexp {
                    value: Box::new(left),
                    pattern: Box::new(operation(cursor, Precedence::Comparison)?),
                    negated,
                },
                None if !negated && cursor.words(&["SOUNDS", "LIKE"]) => {
                    let (left, right) = (soundex(cursor, left)?, operation(cursor, Precedence::Comparison)?);
                    Expr::binary(Operator::Equal, left, soundex(cursor, right)?)
                }
                None => {
                    unsupported::operator(cursor)?;
                    return Ok(left);
                }
            }
        };
        cursor.count_operator()?;
    }
}

/// The predicates that NOT may negate.
const PREDICATES: [&str; 5] = ["IN", "LIKE", "BETWEEN", "REGEXP", "RLIKE"];

fn soundex(cursor: &mut Cursor<'_>, of: Expr) -> ParseResult<Expr> {
    Ok(Expr::Call { at: cursor.count_call()?, function: Function::Soundex, args: vec![of] })
}

/// `LIKE pattern [ESCAPE 'c']`: an empty string means no escape character.
fn like(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> ParseResult<Expr> {
    let pattern = Box::new(operation(cursor, Precedence::Shift)?);
    let default = if cursor.dialect.no_backslash_escapes { None } else { ESCAPE };
    let escape = if cursor.word("ESCAPE") { escape(cursor)? } else { default };
    Ok(Expr::Like { value: Box::new(value), pattern, escape, negated })
}

fn escape(cursor: &mut Cursor<'_>) -> ParseResult<Option<char>> {
    let Some(Token::Text(text)) = cursor.next() else { return Err(cursor.unexpected()) };
    let text = text_of(text);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => Err(SqlError::WrongArguments("ESCAPE".to_owned())),
    }
}

const COMPARISONS: [(&str, Operator); 8] = [
    ("<=>", Operator::NullSafeEqual),
    ("=", Operator::Equal),
    ("<>", Operator::NotEqual),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    ("<", Operator::Less),
    (">=", Operator::GreaterOrEqual),
    (">", Operator::Greater),
];

fn is(cursor: &mut Cursor<'_>, value: Expr) -> ParseResult<Expr> {
    let negated = cursor.word("NOT");
    let value = Box::new(value);
    match cursor.one_of(&["NULL", "UNKNOWN", "TRUE", "FALSE"]) {
        Some("NULL" | "UNKNOWN") => Ok(Expr::IsNull(value, negated)),
        Some(truth) => Ok(Expr::IsBool { value, wanted: truth == "TRUE", negated }),
        None => Err(cursor.unexpected()),
    }
}

fn membership(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> ParseResult<Expr> {
    cursor.expect("(")?;
    if unsupported::is_query(cursor) && !cursor.is_symbol("(") {
        return Err(not_supported(unsupported::SUBQUERIES));
    }
    let list = cursor.list(expr)?;
    cursor.expect(")")?;
    Ok(Expr::In { value: Box::new(value), list, negated })
}

fn between(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> ParseResult<Expr> {
    let low = Box::new(operation(cursor, Precedence::Comparison)?);
    cursor.expect_word("AND")?;
    let high = Box::new(operation(cursor, Precedence::Comparison)?);
    Ok(Expr::Between { value: Box::new(value), low, high, negated })
}

fn unary(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    if cursor.symbol("-") {
        return cursor.deeper(|cursor| Ok(minus(unary(cursor)?)));
    }
    if cursor.symbol("+") {
        return cursor.deeper(unary);
    }
    if cursor.symbol("~") {
        return cursor.deeper(|cursor| Ok(Expr::Invert(Box::new(unary(cursor)?))));
    }
    if cursor.symbol("!") || cursor.dialect.high_not && cursor.word("NOT") {
        return cursor.deeper(|cursor| Ok(Expr::Not(Box::new(unary(cursor)?))));
    }
    if cursor.word("BINARY") {
        return cursor.deeper(|cursor| Ok(Expr::Cast(Box::new(unary(cursor)?), Cast::Binary(None))));
    }
    let mut value = primary(cursor)?;
    while cursor.word("COLLATE") {
        value = collated(value, &cursor.name()?)?;
    }
    Ok(value)
}

/// COLLATE affects comparisons. It does not affect lock names, which have their own collation.
fn collated(value: Expr, collation: &str) -> ParseResult<Expr> {
    let collation = Collation::named(collation)?.name;
    let exact = collation.ends_with("_bin") || collation.ends_with("_cs") || collation == "binary";
    Ok(Expr::Collate { value: Box::new(value), collation: collation.into(), exact })
}

/// The negation of a value. A number with its sign is a literal, and an exact one if it is not a BIGINT.
fn minus(value: Expr) -> Expr {
    let exact = |digits: i128| Expr::Literal(Value::Decimal(Decimal { digits, scale: 0 }));
    match value {
        Expr::Literal(Value::Int(number)) if number != i64::MIN => Expr::Literal(Value::Int(-number)),
        Expr::Literal(Value::Int(number)) => exact(-i128::from(number)),
        Expr::Literal(Value::UInt(number)) if number == 1 << 63 => Expr::Literal(Value::Int(i64::MIN)),
        Expr::Literal(Value::UInt(number)) => exact(-i128::from(number)),
        Expr::Literal(Value::Decimal(Decimal { digits, scale })) => {
            Expr::Literal(Value::Decimal(Decimal { digits: digits.saturating_neg(), scale }))
        }
        Expr::Literal(Value::Double(double)) => Expr::Literal(Value::Double(-double)),
        other => Expr::Minus(Box::new(other)),
    }
}

pub(super) fn primary(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let start = cursor.start();
    if cursor.is_symbol("?") {
        return Ok(Expr::Parameter(cursor.placeholder()));
    }
    match cursor.next() {
        Some(Token::Text(first)) => Ok(Expr::Literal(string(cursor, first))),
        Some(Token::Integer(digits)) => Ok(Expr::Literal(integer(digits))),
        Some(Token::Decimal(digits)) => Ok(Expr::Literal(exact(digits))),
        Some(Token::Float(digits)) => match digits.parse::<f64>() {
            Ok(double) if double.is_finite() => Ok(Expr::Literal(Value::Double(double))),
            _ => Err(SqlError::IllegalDouble(digits.to_owned())),
        },
        Some(Token::Bytes(bytes)) => Ok(Expr::Literal(Value::Bytes { bytes, number: true })),
        Some(Token::Variable(name)) => {
            check_variable(&name)?;
            user_variable(cursor, name.to_lowercase())
        }
        Some(Token::Name(name)) => column_or_call(cursor, name, true),
        Some(Token::Word(word)) => word_or_call(cursor, word),
        Some(Token::Symbol("@@")) => {
            let scope = scope(cursor)?;
            let name = cursor.name()?.to_ascii_lowercase();
            cursor.counts_warnings |= matches!(name.as_str(), "warning_count" | "error_count");
            Ok(Expr::System { scope, name })
        }
        Some(Token::Symbol("(")) => parenthesis(cursor),
        Some(Token::Symbol("{")) => dates::odbc(cursor),
        _ => Err(syntax_error(cursor.sql, start)),
    }
}

/// Adjacent string literals are one.
fn string<'a>(cursor: &mut Cursor<'a>, mut text: Cow<'a, [u8]>) -> Value {
    while let Some(Token::Text(more)) = cursor.peek() {
        text.to_mut().extend_from_slice(more);
        cursor.next();
    }
    String::from_utf8(text.into_owned()).map_or_else(|error| Value::bytes(error.into_bytes()), Value::Text)
}

fn integer(digits: &str) -> Value {
    let signed = digits.parse().map(Value::Int);
    signed.or_else(|_| digits.parse().map(Value::UInt)).unwrap_or_else(|_| exact(digits))
}

fn exact(digits: &str) -> Value {
    let double = || Value::Double(digits.parse().unwrap_or(f64::MAX));
    Decimal::parse(digits).map_or_else(double, Value::Decimal)
}

fn user_variable(cursor: &mut Cursor<'_>, name: String) -> ParseResult<Expr> {
    if !cursor.symbol(":=") {
        return Ok(Expr::User(name));
    }
    let at = cursor.count_call()?;
    cursor.acts = true;
    Ok(Expr::Assign { at, name, value: Box::new(expr(cursor)?) })
}

/// The scope before the name of a system variable, if there is one.
fn scope(cursor: &mut Cursor<'_>) -> ParseResult<Option<Scope>> {
    if !cursor.is_symbol_at(1, ".") {
        return Ok(None);
    }
    let scope = match cursor.one_of(&["GLOBAL", "SESSION", "LOCAL"]) {
        Some("GLOBAL") => Scope::Global,
        Some(_) => Scope::Session,
        None => return Err(cursor.unexpected()),
    };
    cursor.expect(".")?;
    Ok(Some(scope))
}

/// An expression, or a SELECT of one.
fn parenthesis(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let inner = if cursor.word("SELECT") {
        select::scalar(cursor)?
    } else if unsupported::is_query(cursor) && !cursor.is_symbol("(") {
        return Err(not_supported(unsupported::SUBQUERIES));
    } else {
        expr(cursor)?
    };
    let is_row = cursor.symbol(",");
    if is_row {
        cursor.list(expr)?;
    }
    cursor.expect(")")?;
    if is_row { Err(not_supported(unsupported::ROWS)) } else { Ok(inner) }
}

/// Words that begin something other than a column or a call.
const KEYWORDS: [&str; 8] = ["NULL", "TRUE", "FALSE", "CASE", "N", "CAST", "CONVERT", "INTERVAL"];

fn word_or_call<'a>(cursor: &mut Cursor<'a>, word: Cow<'a, str>) -> ParseResult<Expr> {
    let keyword = KEYWORDS.into_iter().find(|keyword| word.eq_ignore_ascii_case(keyword));
    match keyword.unwrap_or_default() {
        "NULL" => return Ok(Expr::Literal(Value::Null)),
        "TRUE" => return Ok(Expr::Literal(Value::Int(1))),
        "FALSE" => return Ok(Expr::Literal(Value::Int(0))),
        "CASE" => return case(cursor),
        "N" if cursor.is_adjacent() => {
            if matches!(cursor.peek(), Some(Token::Text(_))) {
                if cursor.warnings.len() < MAX_WARNINGS {
                    cursor.warnings.push(Warning::new(3720, NATIONAL));
                }
                return primary(cursor);
            }
        }
        "CAST" if (cursor.is_adjacent() || cursor.dialect.ignore_space) && cursor.symbol("(") => {
            return cast(cursor);
        }
        "CONVERT" if cursor.symbol("(") => return convert(cursor),
        "INTERVAL" if !cursor.has_several(0) => return interval(cursor),
        _ => {}
    }
    if let (Some(charset), Some(Token::Text(_) | Token::Bytes(_))) = (word.strip_prefix('_'), cursor.peek()) {
        return introduced(cursor, charset);
    }
    if let Some(Token::Text(_)) = cursor.peek()
        && let Some(literal) = dates::literal(cursor, &word)?
    {
        return Ok(literal);
    }
    column_or_call(cursor, word, false)
}

const NATIONAL: &str = "NATIONAL/NCHAR/NVARCHAR implies the character set UTF8MB3, which will be replaced by UTF8MB4 in a \
                        future release. Please consider using CHAR(x) CHARACTER SET UTF8MB4 in order to be unambiguous.";

/// A literal with a character set: `_latin1'...'`.
fn introduced(cursor: &mut Cursor<'_>, charset: &str) -> ParseResult<Expr> {
    let bytes = match cursor.next() {
        Some(Token::Text(text)) => cursor.dialect.charset.encode(&text).into_owned(),
        Some(Token::Bytes(bytes)) => bytes,
        _ => return Err(cursor.unexpected()),
    };
    Ok(Expr::Literal(Charset::named(&charset.to_ascii_lowercase())?.decode(bytes)?))
}

fn column_or_call<'a>(cursor: &mut Cursor<'a>, mut path: Cow<'a, str>, quoted: bool) -> ParseResult<Expr> {
    if cursor.is_symbol("(") {
        return call::call(cursor, &path, quoted);
    }
    let is_path = cursor.is_symbol(".");
    if !quoted
        && !is_path
        && let Some(call) = call::bare(cursor, &path)?
    {
        return Ok(call);
    }
    while cursor.symbol(".") {
        path = format!("{path}.{}", cursor.name()?).into();
    }
    if is_path && cursor.is_symbol("(") {
        return call::call(cursor, &path, quoted);
    }
    if !quoted && is_reserved(&path) {
        return Err(syntax_error(cursor.sql, cursor.last_start()));
    }
    if cursor.is_symbol("->") || cursor.is_symbol("->>") {
        return Err(not_supported(unsupported::DOCUMENTS));
    }
    // Tables have no columns of the same name: whose it is does not matter.
    let column = path.rsplit('.').next().unwrap_or_default();
    cursor.plain_column.get_or_insert_with(|| column.to_owned());
    Ok(Expr::Column(column.to_owned()))
}

fn case(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let operand = if cursor.is_word("WHEN") { None } else { Some(Box::new(expr(cursor)?)) };
    let mut branches = Vec::new();
    while cursor.word("WHEN") {
        let condition = expr(cursor)?;
        cursor.expect_word("THEN")?;
        branches.push((condition, expr(cursor)?));
    }
    if branches.is_empty() {
        return Err(cursor.unexpected());
    }
    let otherwise = if cursor.word("ELSE") { Some(Box::new(expr(cursor)?)) } else { None };
    cursor.expect_word("END")?;
    Ok(Expr::Case { operand, branches, otherwise })
}

fn cast(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let value = expr(cursor)?;
    cursor.expect_word("AS")?;
    let kind = cast_type(cursor)?;
    cursor.expect(")")?;
    Ok(Expr::Cast(Box::new(value), kind))
}

fn convert(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let value = expr(cursor)?;
    let kind = if cursor.word("USING") {
        Cast::Using(charset(cursor)?)
    } else {
        cursor.expect(",")?;
        cast_type(cursor)?
    };
    cursor.expect(")")?;
    Ok(Expr::Cast(Box::new(value), kind))
}

/// `(6)` after DATETIME and TIME.
fn fraction_digits(cursor: &mut Cursor<'_>) -> ParseResult<u8> {
    if !cursor.symbol("(") {
        return Ok(0);
    }
    let digits = dates::digits(cursor, "CAST")?;
    cursor.expect(")")?;
    Ok(digits)
}

/// `INTERVAL 1 DAY + x`, starting after its first word.
fn interval(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let interval = dates::amount(cursor)?;
    cursor.expect("+")?;
    cursor.count_operator()?;
    let value = cursor.deeper(|cursor| operation(cursor, Precedence::Sum))?;
    dates::shifted(cursor, Operator::Plus, value, interval)
}

/// The name of a character set.
pub(super) fn charset(cursor: &mut Cursor<'_>) -> ParseResult<Charset> {
    Charset::named(&cursor.name_or_text()?)
}

/// MySQL's types that CAST does not support here.
const NO_TYPES: [&str; 11] = [
    "JSON",
    "TIMESTAMP",
    "POINT",
    "LINESTRING",
    "POLYGON",
    "MULTIPOINT",
    "MULTILINESTRING",
    "MULTIPOLYGON",
    "GEOMETRYCOLLECTION",
    "GEOMCOLLECTION",
    "GEOMETRY",
];

fn cast_type(cursor: &mut Cursor<'_>) -> ParseResult<Cast> {
    if let Some(kind) = cursor.one_of(&NO_TYPES) {
        return Err(SqlError::NoSuchThing(format!("it does not support the type {kind}")));
    }
    let kind = cursor.one_of(&[
        "CHAR",
        "NCHAR",
        "CHARACTER",
        "BINARY",
        "SIGNED",
        "UNSIGNED",
        "DECIMAL",
        "DEC",
        "DOUBLE",
        "REAL",
        "FLOAT",
        "DATE",
        "DATETIME",
        "TIME",
        "YEAR",
    ]);
    match kind.ok_or_else(|| cursor.unexpected())? {
        sign @ ("SIGNED" | "UNSIGNED") => {
            cursor.one_of(&["INTEGER", "INT"]);
            Ok(if sign == "SIGNED" { Cast::Signed } else { Cast::Unsigned })
        }
        "BINARY" => Ok(Cast::Binary(size(cursor)?.first().map(|size| *size as usize))),
        "DECIMAL" | "DEC" => decimal(cursor),
        "DOUBLE" => {
            cursor.word("PRECISION");
            Ok(Cast::Double)
        }
        "DATE" => Ok(Cast::Date),
        "YEAR" => Ok(Cast::Year),
        "DATETIME" => fraction_digits(cursor).map(Cast::DateTime),
        "TIME" => fraction_digits(cursor).map(Cast::Time),
        "REAL" => Ok(Cast::Double),
        "FLOAT" => match size(cursor)?[..] {
            [25..=53] => Ok(Cast::Double),
            [] | [0..=24] => Ok(Cast::Float),
            _ => Err(SqlError::TooBigPrecision { precision: 54, of: "CAST", most: 53 }),
        },
        _ => {
            let length = size(cursor)?.first().map(|size| *size as usize);
            if cursor.words(&["CHARACTER", "SET"]) || cursor.word("CHARSET") {
                let charset = charset(cursor)?;
                if charset == Charset::BINARY {
                    return Ok(Cast::Binary(length));
                }
                return Ok(if length.is_none() { Cast::Using(charset) } else { Cast::Char(length) });
            }
            Ok(Cast::Char(length))
        }
    }
}

/// Numbers in parentheses, if there are any.
fn size(cursor: &mut Cursor<'_>) -> ParseResult<Vec<u32>> {
    if !cursor.symbol("(") {
        return Ok(Vec::new());
    }
    let sizes = cursor.list(|cursor| match cursor.next() {
        Some(Token::Integer(digits)) => Ok(digits.parse().unwrap_or(u32::MAX)),
        _ => Err(cursor.unexpected()),
    })?;
    cursor.expect(")")?;
    Ok(sizes)
}

/// The most digits of DECIMAL, and the most of those after the point.
const MAX_PRECISION: u32 = 65;
const MAX_SCALE: u32 = 30;

/// The most digits in an `i128`.
const KEPT: u32 = 38;

fn decimal(cursor: &mut Cursor<'_>) -> ParseResult<Cast> {
    let size = size(cursor)?;
    let (precision, scale) = (size.first().copied().unwrap_or(10), size.get(1).copied().unwrap_or(0));
    if scale > MAX_SCALE {
        return Err(SqlError::TooBigScale { scale, of: "CAST", most: MAX_SCALE });
    }
    if precision > MAX_PRECISION {
        return Err(SqlError::TooBigPrecision { precision, of: "CAST", most: MAX_PRECISION });
    }
    if precision < scale {
        return Err(SqlError::PrecisionBelowScale);
    }
    Ok(Cast::Decimal { precision: precision.min(KEPT), scale })
}
