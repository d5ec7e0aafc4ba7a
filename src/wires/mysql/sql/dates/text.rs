//! Dates and times by a format, and read by one.

use super::{functions::Literal, values::shown};
use crate::wires::mysql::{
    error::{SqlError, Warning},
    sql::eval::{Env, Evaluated},
    temporal::{self, Parts, Temporal},
    value::Value,
};

/// What a character of a format costs, in units of work: a name may stand for it.
const FORMAT: usize = 8;

/// DATE_FORMAT and TIME_FORMAT
pub(super) fn format(env: &Env<'_>, value: Option<Temporal>, format: &Value) -> Evaluated {
    let (Some(value), Some(format)) = (value, format.to_text()) else { return Ok(Value::Null) };
    env.work.spend(FORMAT * format.len())?;
    if format.is_empty() {
        return Ok(Value::Null);
    }
    // Nine bytes for two are the most: `%W` on a Wednesday.
    env.work.text(5 * format.len())?;
    let text = temporal::formatted(value, &format);
    env.work.release(5 * format.len());
    let max = env.system.settings().max_packet;
    if text.as_ref().is_some_and(|text| text.len() > max) {
        let error = SqlError::ResultTooLarge("date_format".to_owned(), max);
        env.warn(Warning::new(error.code().0, error.to_string()));
        return Ok(Value::Null);
    }
    Ok(text.map_or(Value::Null, Value::Text))
}

/// STR_TO_DATE, of the kind that the format is of where it is a literal.
pub(super) fn str_to_date(env: &Env<'_>, values: &[Value], is_literal: bool) -> Evaluated {
    let (Some(text), Some(format)) = (values[0].to_text(), values[1].to_text()) else {
        return Ok(Value::Null);
    };
    env.work.spend(FORMAT * format.len())?;
    let parts = Parts::of(&format);
    let kind = match parts {
        Parts { date: true, time: true, .. } => "datetime",
        _ if !is_literal => "datetime",
        Parts { time: true, .. } => "time",
        _ => "date",
    };
    let rules = env.rules();
    let is_taken = |value: &Temporal| match value {
        Temporal::Time { .. } => true,
        Temporal::Date(date) | Temporal::DateTime { moment: temporal::DateTime { date, .. }, .. } => {
            if date.is_zero() { rules.zero } else { rules.zero_parts || !date.has_zeros() && date.year > 0 }
        }
    };
    let Some((value, is_cut)) = temporal::scanned(&text, &format).filter(|(value, _)| is_taken(value)) else {
        let what = format!("Incorrect datetime value: '{}' for function str_to_date", shown(&text));
        env.warn(Warning::new(1411, what));
        return Ok(Value::Null);
    };
    if is_cut {
        env.truncated(kind, &text);
    }
    Ok(Value::Temporal(if is_literal { value } else { widened(env, value) }))
}

/// As a moment with all digits.
fn widened(env: &Env<'_>, value: Temporal) -> Temporal {
    let moment = value.moment(env.today()).unwrap_or_default();
    Temporal::DateTime { moment, digits: 6 }
}

/// GET_FORMAT
pub(super) fn get_format(of: Literal, name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    Some(match (of, name.as_str()) {
        (Literal::Date, "USA") => "%m.%d.%Y",
        (Literal::Date, "JIS" | "ISO") => "%Y-%m-%d",
        (Literal::Date, "EUR") => "%d.%m.%Y",
        (Literal::Date, "INTERNAL") => "%Y%m%d",
        (Literal::Time, "USA") => "%h:%i:%s %p",
        (Literal::Time, "JIS" | "ISO") => "%H:%i:%s",
        (Literal::Time, "EUR") => "%H.%i.%s",
        (Literal::Time, "INTERNAL") => "%H%i%s",
        (Literal::DateTime, "USA" | "EUR") => "%Y-%m-%d %H.%i.%s",
        (Literal::DateTime, "JIS" | "ISO") => "%Y-%m-%d %H:%i:%s",
        (Literal::DateTime, "INTERNAL") => "%Y%m%d%H%i%s",
        _ => return None,
    })
}
