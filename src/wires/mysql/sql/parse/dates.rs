//! The grammar of date functions that are not plain calls: `INTERVAL 1 DAY`, `EXTRACT(YEAR FROM x)`,
//! `DATE'2026-11-27'`.

use super::{
    Cursor, ParseResult,
    expr::{expr, primary},
    lex::Token,
};
use crate::wires::mysql::{
    error::SqlError,
    sql::{
        ast::{Expr, Operator},
        builtin::{DateFunction, Function, Literal},
    },
    temporal::Unit,
};

/// The arguments of a function that takes no plain list, starting at the parenthesis; `None` if it takes one.
pub(in crate::wires::mysql::sql) fn arguments(
    cursor: &mut Cursor<'_>,
    name: &str,
    function: DateFunction,
) -> ParseResult<Option<Expr>> {
    let (function, args) = match function {
        DateFunction::Extract(_) => {
            cursor.expect("(")?;
            let unit = unit(cursor)?;
            cursor.expect_word("FROM")?;
            (DateFunction::Extract(unit), vec![expr(cursor)?])
        }
        DateFunction::TimestampAdd(_) | DateFunction::TimestampDiff(_) => {
            cursor.expect("(")?;
            let unit = unit_of_timestamp(cursor)?;
            cursor.expect(",")?;
            let first = expr(cursor)?;
            cursor.expect(",")?;
            let is_sum = function == DateFunction::TimestampAdd(Unit::Day);
            let with_unit = if is_sum { DateFunction::TimestampAdd } else { DateFunction::TimestampDiff };
            (with_unit(unit), vec![first, expr(cursor)?])
        }
        DateFunction::GetFormat(_) => {
            cursor.expect("(")?;
            let of = match cursor.one_of(&["DATE", "TIME", "DATETIME", "TIMESTAMP"]) {
                Some("DATE") => Literal::Date,
                Some("TIME") => Literal::Time,
                Some(_) => Literal::DateTime,
                None => return Err(cursor.unexpected()),
            };
            cursor.expect(",")?;
            (DateFunction::GetFormat(of), vec![expr(cursor)?])
        }
        DateFunction::Add(_) | DateFunction::Subtract(_) => shift(cursor, name, function)?,
        function if function.with_digits(0).is_some() => {
            cursor.expect("(")?;
            let digits = if cursor.is_symbol(")") { 0 } else { digits(cursor, function.name())? };
            (function.with_digits(digits).unwrap_or(function), Vec::new())
        }
        _ => return Ok(None),
    };
    cursor.expect(")")?;
    call(cursor, function, args).map(Some)
}

/// `(x, INTERVAL 1 DAY)`; ADDDATE and SUBDATE also take a number of days.
fn shift(
    cursor: &mut Cursor<'_>,
    name: &str,
    function: DateFunction,
) -> ParseResult<(DateFunction, Vec<Expr>)> {
    cursor.expect("(")?;
    let value = expr(cursor)?;
    cursor.expect(",")?;
    let takes_days = ["ADDDATE", "SUBDATE"].iter().any(|days| name.eq_ignore_ascii_case(days));
    let (amount, unit) = if is_interval(cursor) {
        interval(cursor)?
    } else if takes_days {
        (expr(cursor)?, Unit::Day)
    } else {
        return Err(cursor.unexpected());
    };
    let is_sum = matches!(function, DateFunction::Add(_));
    let with_unit = if is_sum { DateFunction::Add } else { DateFunction::Subtract };
    Ok((with_unit(unit), vec![value, amount]))
}

/// Whether an interval comes next, and not a call of the function INTERVAL.
pub(in crate::wires::mysql::sql) fn is_interval(cursor: &Cursor<'_>) -> bool {
    cursor.is_word("INTERVAL") && !cursor.has_several(1)
}

/// `INTERVAL amount unit`
pub(in crate::wires::mysql::sql) fn interval(cursor: &mut Cursor<'_>) -> ParseResult<(Expr, Unit)> {
    cursor.expect_word("INTERVAL")?;
    amount(cursor)
}

/// The same, starting after the first word.
pub(in crate::wires::mysql::sql) fn amount(cursor: &mut Cursor<'_>) -> ParseResult<(Expr, Unit)> {
    let amount = expr(cursor)?;
    Ok((amount, unit(cursor)?))
}

/// `value + INTERVAL amount unit`
pub(in crate::wires::mysql::sql) fn shifted(
    cursor: &mut Cursor<'_>,
    operator: Operator,
    value: Expr,
    (amount, unit): (Expr, Unit),
) -> ParseResult<Expr> {
    let function = if operator == Operator::Minus { DateFunction::Subtract } else { DateFunction::Add };
    call(cursor, function(unit), vec![value, amount])
}

/// `DATE'2026-11-27'`: a word before a string; `None` if it is another word.
pub(in crate::wires::mysql::sql) fn literal(
    cursor: &mut Cursor<'_>,
    word: &str,
) -> ParseResult<Option<Expr>> {
    let of = match word {
        _ if word.eq_ignore_ascii_case("DATE") => Literal::Date,
        _ if word.eq_ignore_ascii_case("TIME") => Literal::Time,
        _ if word.eq_ignore_ascii_case("TIMESTAMP") => Literal::DateTime,
        _ => return Ok(None),
    };
    let text = primary(cursor)?;
    call(cursor, DateFunction::Literal(of), vec![text]).map(Some)
}

/// ODBC's `{d '2026-11-27'}`, starting after the brace. With any other word the value is what follows that word.
pub(in crate::wires::mysql::sql) fn odbc(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let word = cursor.name()?.to_ascii_lowercase();
    let is_text = matches!(cursor.peek(), Some(Token::Text(_)));
    let value = expr(cursor)?;
    cursor.expect("}")?;
    let of = match word.as_str() {
        "d" if is_text => Literal::Date,
        "t" if is_text => Literal::Time,
        "ts" if is_text => Literal::DateTime,
        _ => return Ok(value),
    };
    call(cursor, DateFunction::Odbc(of), vec![value])
}

/// The number of digits of a fraction, for a function of this name.
pub(in crate::wires::mysql::sql) fn digits(cursor: &mut Cursor<'_>, of: &'static str) -> ParseResult<u8> {
    let Some(Token::Integer(digits)) = cursor.peek() else { return Err(cursor.unexpected()) };
    let digits = digits.parse().unwrap_or(u32::MAX);
    cursor.next();
    match u8::try_from(digits) {
        Ok(digits @ 0..=6) => Ok(digits),
        _ => Err(SqlError::TooBigPrecision { precision: digits, of, most: 6 }),
    }
}

fn unit(cursor: &mut Cursor<'_>) -> ParseResult<Unit> {
    let found = match cursor.peek() {
        Some(Token::Word(word)) => Unit::named(word),
        _ => None,
    };
    let unit = found.ok_or_else(|| cursor.unexpected())?;
    cursor.next();
    Ok(unit)
}

/// A unit with one number, with or without the prefix `SQL_TSI_`.
fn unit_of_timestamp(cursor: &mut Cursor<'_>) -> ParseResult<Unit> {
    let found = match cursor.peek() {
        Some(Token::Word(word)) => match word.split_at_checked(8) {
            Some((start, unit)) if start.eq_ignore_ascii_case("SQL_TSI_") => {
                Unit::named(unit).filter(|unit| *unit != Unit::Microsecond)
            }
            _ => Unit::named(word),
        },
        _ => None,
    };
    let unit = found.filter(|unit| !unit.is_composite()).ok_or_else(|| cursor.unexpected())?;
    cursor.next();
    Ok(unit)
}

fn call(cursor: &mut Cursor<'_>, function: DateFunction, args: Vec<Expr>) -> ParseResult<Expr> {
    Ok(Expr::Call { at: cursor.count_call()?, function: Function::Date(function), args })
}
