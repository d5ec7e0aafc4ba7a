//! What operators stand between: literals, variables, calls, CASE, CAST and parentheses.

use std::borrow::Cow;

use super::{
    ast::{Cast, Expr},
    cursor::{Cursor, near},
    eval::MAX_WARNINGS,
    expr::expr,
    functions::Function,
    lex::Token,
    parse::Parsing,
};
use crate::mysql::{
    charset::Charset,
    error::{SqlError, Warning},
    names::check_variable,
    value::{Decimal, Value},
};

pub(super) fn primary(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let start = cursor.start();
    match cursor.next() {
        Some(Token::Text(first)) => Ok(Expr::Literal(texts(cursor, first))),
        Some(Token::Integer(digits)) => Ok(Expr::Literal(integer(digits))),
        Some(Token::Decimal(digits)) => Ok(Expr::Literal(exact(digits))),
        Some(Token::Float(digits)) => Ok(Expr::Literal(Value::Double(digits.parse().unwrap_or(f64::MAX)))),
        Some(Token::Bytes(bytes)) => Ok(Expr::Literal(Value::Bytes { bytes, number: true })),
        Some(Token::Variable(name)) => {
            check_variable(&name)?;
            user(cursor, name.to_lowercase())
        }
        Some(Token::Name(name)) => column_or_call(cursor, name, true),
        Some(Token::Word(word)) => word_or_call(cursor, word),
        Some(Token::Symbol("@@")) => {
            let global = scope(cursor)?;
            Ok(Expr::System { global, name: cursor.name()?.to_ascii_lowercase() })
        }
        Some(Token::Symbol("?")) => {
            cursor.first_parameter.get_or_insert(start);
            cursor.parameters += 1;
            Ok(Expr::Parameter(cursor.parameters - 1))
        }
        Some(Token::Symbol("(")) => parenthesis(cursor),
        _ => Err(near(cursor.sql, start)),
    }
}

/// Literals side by side are one.
fn texts<'a>(cursor: &mut Cursor<'a>, mut text: Cow<'a, [u8]>) -> Value {
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

fn user(cursor: &mut Cursor<'_>, name: String) -> Parsing<Expr> {
    if !cursor.symbol(":=") {
        return Ok(Expr::User(name));
    }
    let at = cursor.count_call()?;
    Ok(Expr::Assign { at, name, value: Box::new(expr(cursor)?) })
}

/// The scope in front of a system variable's name: true for the global one.
pub(super) fn scope(cursor: &mut Cursor<'_>) -> Parsing<bool> {
    if !cursor.is_symbol_at(1, ".") {
        return Ok(false);
    }
    let scope = cursor.one_of(&["GLOBAL", "SESSION", "LOCAL"]);
    let scope = scope.ok_or_else(|| cursor.unexpected())?;
    cursor.expect(".")?;
    Ok(scope == "GLOBAL")
}

/// An expression, or a SELECT of one.
fn parenthesis(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let inner = if cursor.word("SELECT") {
        let inner = expr(cursor)?;
        if cursor.word("FROM") {
            cursor.expect_word("DUAL")?;
        }
        inner
    } else {
        expr(cursor)?
    };
    cursor.expect(")")?;
    Ok(inner)
}

/// Words that are no names here.
const KEYWORDS: [&str; 11] = [
    "NULL",
    "TRUE",
    "FALSE",
    "CASE",
    "N",
    "CAST",
    "CONVERT",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "CURRENT_USER",
];

fn word_or_call<'a>(cursor: &mut Cursor<'a>, word: Cow<'a, str>) -> Parsing<Expr> {
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
        "CAST" if cursor.symbol("(") => return cast(cursor),
        "CONVERT" if cursor.symbol("(") => return convert(cursor),
        "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" | "CURRENT_USER" if !cursor.is_symbol("(") => {
            return call(cursor, &word, false);
        }
        _ => {}
    }
    if let (Some(charset), Some(Token::Text(_) | Token::Bytes(_))) = (word.strip_prefix('_'), cursor.peek()) {
        return introduced(cursor, charset);
    }
    column_or_call(cursor, word, false)
}

const NATIONAL: &str = "NATIONAL/NCHAR/NVARCHAR implies the character set UTF8MB3, which will be replaced by UTF8MB4 in a \
                        future release. Please consider using CHAR(x) CHARACTER SET UTF8MB4 in order to be unambiguous.";

/// A literal of a character set: `_latin1'...'`.
fn introduced(cursor: &mut Cursor<'_>, charset: &str) -> Parsing<Expr> {
    let bytes = match cursor.next() {
        Some(Token::Text(text)) => cursor.dialect.charset.encode(&text).into_owned(),
        Some(Token::Bytes(bytes)) => bytes,
        _ => return Err(cursor.unexpected()),
    };
    Ok(Expr::Literal(Charset::named(&charset.to_ascii_lowercase())?.decode(bytes)?))
}

fn column_or_call<'a>(cursor: &mut Cursor<'a>, mut path: Cow<'a, str>, quoted: bool) -> Parsing<Expr> {
    while cursor.symbol(".") {
        path = format!("{path}.{}", cursor.name()?).into();
    }
    if cursor.is_symbol("(") {
        return call(cursor, &path, quoted);
    }
    // Tables have no columns of the same name: whose it is does not matter.
    Ok(Expr::Column(path.rsplit('.').next().unwrap_or_default().to_owned()))
}

/// `CURRENT_TIMESTAMP` and the like need no parentheses.
fn no_arguments(cursor: &mut Cursor<'_>, name: &str) -> Parsing<Expr> {
    let (function, _) = Function::named(name).ok_or_else(|| cursor.unexpected())?;
    Ok(Expr::Call { at: cursor.count_call()?, function, args: Vec::new() })
}

fn call(cursor: &mut Cursor<'_>, name: &str, quoted: bool) -> Parsing<Expr> {
    let args = if !cursor.symbol("(") {
        return no_arguments(cursor, name);
    } else if name.eq_ignore_ascii_case("COUNT") && cursor.symbol("*") {
        vec![Expr::Star]
    } else if cursor.is_symbol(")") {
        Vec::new()
    } else {
        cursor.list(expr)?
    };
    cursor.expect(")")?;
    // In backquotes it is no native function.
    let native = if quoted { None } else { Function::named(name) };
    let Some((function, arity)) = native else { return Err(SqlError::UnknownFunction(name.to_owned())) };
    if !arity.contains(&args.len()) {
        return Err(SqlError::ParameterCount(name.to_owned()));
    }
    cursor.has_count |= function == Function::Count;
    Ok(Expr::Call { at: cursor.count_call()?, function, args })
}

fn case(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
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

fn cast(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let value = expr(cursor)?;
    cursor.expect_word("AS")?;
    let kind = cast_type(cursor)?;
    cursor.expect(")")?;
    Ok(Expr::Cast(Box::new(value), kind))
}

fn convert(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let value = expr(cursor)?;
    let kind = if cursor.word("USING") {
        let charset = cursor.name()?;
        if charset.eq_ignore_ascii_case("binary") { Cast::Binary } else { Cast::Char(None) }
    } else {
        cursor.expect(",")?;
        cast_type(cursor)?
    };
    cursor.expect(")")?;
    Ok(Expr::Cast(Box::new(value), kind))
}

fn cast_type(cursor: &mut Cursor<'_>) -> Parsing<Cast> {
    let kind = cursor.one_of(&["CHAR", "NCHAR", "BINARY", "SIGNED", "UNSIGNED"]);
    let kind = kind.ok_or_else(|| cursor.unexpected())?;
    let mut length = None;
    if matches!(kind, "CHAR" | "NCHAR" | "BINARY") && cursor.symbol("(") {
        let Some(Token::Integer(digits)) = cursor.next() else { return Err(cursor.unexpected()) };
        length = Some(digits.parse().unwrap_or(usize::MAX));
        cursor.expect(")")?;
    }
    if cursor.words(&["CHARACTER", "SET"]) || cursor.word("CHARSET") {
        cursor.name()?;
    }
    cursor.one_of(&["INTEGER", "INT"]);
    Ok(match kind {
        "SIGNED" => Cast::Signed,
        "UNSIGNED" => Cast::Unsigned,
        "BINARY" => Cast::Binary,
        _ => Cast::Char(length),
    })
}
