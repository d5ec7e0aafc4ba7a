//! CAST to a date or a time, and the literals, which are casts that fail.

use super::{
    functions::Literal,
    values::{parts, shown},
};
use crate::wires::mysql::{
    error::SqlError,
    sql::{
        ast::Cast,
        eval::{Env, Evaluated},
    },
    temporal::{Read, Temporal, Time, datetime_of_text, rounded, time_of_text, with_century},
    value::Value,
};

/// The years that YEAR may be.
const YEARS: std::ops::RangeInclusive<i64> = 1901..=2155;

/// What is no such value is NULL.
pub(in crate::wires::mysql::sql) fn cast(env: &Env<'_>, value: &Value, cast: Cast) -> Value {
    let cast = match cast {
        Cast::Time(digits) => to_time(env, value, digits),
        Cast::DateTime(digits) => to_datetime(env, value, digits),
        Cast::Year => to_year(env, value),
        _ => to_date(env, value),
    };
    cast.unwrap_or(Value::Null)
}

pub(super) fn to_date(env: &Env<'_>, value: &Value) -> Option<Value> {
    let moment = env.moment_of(value, env.rules())?;
    Some(Value::Temporal(Temporal::Date(moment.date)))
}

pub(super) fn to_time(env: &Env<'_>, value: &Value, digits: u8) -> Option<Value> {
    let (time, _) = Time::clamped(rounded(env.clock_of(value)?.0, digits));
    Some(Value::Temporal(Temporal::Time { time, digits }))
}

pub(super) fn to_datetime(env: &Env<'_>, value: &Value, digits: u8) -> Option<Value> {
    let Some(moment) = env.moment_of(value, env.rules())?.rounded(digits) else {
        return Some(env.overflow("datetime"));
    };
    Some(Value::Temporal(Temporal::DateTime { moment, digits }))
}

fn to_year(env: &Env<'_>, value: &Value) -> Option<Value> {
    let year = match value {
        Value::Null => return None,
        Value::Temporal(_) => env.moment_of(value, env.rules().lenient())?.fields().year,
        Value::Text(_) | Value::Bytes { .. } => {
            let text = value.to_text()?;
            let digits = text.trim_start().bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = text.trim_start()[..digits].parse().ok().or_else(|| {
                env.incorrect("YEAR", &text);
                None
            })?;
            if digits < text.trim_start().len() {
                env.truncated("YEAR", &text);
            }
            if number == 0 { 2000 } else { with_century(number) }
        }
        number => match parts(number.to_number()?).0 {
            0 => 0,
            year => with_century(year),
        },
    };
    if year != 0 && !YEARS.contains(&year) {
        env.truncated("YEAR", &year.to_string());
        return None;
    }
    Some(Value::Int(year))
}

/// `DATE'2026-11-27'`. What is no such value is an error, but for ODBC, for which it is a text.
pub(super) fn literal(env: &Env<'_>, literal: Literal, text: &str) -> Evaluated<Option<Temporal>> {
    let rules = env.rules();
    let (read, kind) = match literal {
        Literal::Date => (datetime_of_text(text, rules), "DATE"),
        Literal::Time => (time_of_text(text, rules), "TIME"),
        Literal::DateTime => (datetime_of_text(text, rules), "DATETIME"),
    };
    let is_right = |read: &Read| {
        let is_kind = matches!(
            (read.value, literal),
            (Temporal::Date(_), Literal::Date)
                | (Temporal::Time { .. }, Literal::Time)
                | (Temporal::DateTime { .. }, Literal::DateTime)
        );
        is_kind && !read.is_cut
    };
    match read.filter(is_right) {
        Some(_) if literal == Literal::Time => Ok(env.time_of(&Value::text(text))),
        Some(_) => Ok(env.date_of(&Value::text(text), rules)),
        None => Err(SqlError::IncorrectValue { kind, value: shown(text).to_owned() }.into()),
    }
}
