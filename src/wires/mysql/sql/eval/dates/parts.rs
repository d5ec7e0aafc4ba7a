//! Parts of dates and times, and formatting and parsing by a format.

use super::convert::{clock, excerpt};
use crate::wires::mysql::{
    error::{SqlError, Warning},
    sql::{
        builtin::{DateFunction, Literal},
        env::{Env, EvalResult},
    },
    temporal::{
        self, Components, DAYS, Date, DateTime, FormatParts, MAX_DAY, MONTHS, SECOND, Temporal, Unit, Weeks,
        datetime_of_text, with_century,
    },
    value::Value,
};

/// `None` for NULL.
pub(super) fn part(env: &Env<'_>, function: DateFunction, values: &[Value]) -> Option<Value> {
    let strict = |at: usize| env.moment_of(&values[at], env.rules().strict());
    let number = |number: i64| Some(Value::Int(number));
    match function {
        DateFunction::Part(unit) if unit.is_of_date() => {
            let fields = env.moment_of(&values[0], env.rules().lenient())?.fields();
            number(unit.extract(fields, weeks(env)))
        }
        DateFunction::Part(unit) => {
            let fields = Components { is_negative: false, ..clock(env.time_of(&values[0])?).fields() };
            number(unit.extract(fields, weeks(env)))
        }
        DateFunction::Extract(unit) => extract(env, &values[0], unit),
        DateFunction::MonthName => {
            let month = env.moment_of(&values[0], env.rules().lenient())?.date.month;
            Some(Value::text(*MONTHS.get(usize::from(month).checked_sub(1)?)?))
        }
        DateFunction::DayName => {
            Some(Value::text(*DAYS.get(usize::try_from(strict(0)?.date.weekday()).ok()?)?))
        }
        DateFunction::Weekday => number(strict(0)?.date.weekday()),
        DateFunction::DayOfWeek => number((strict(0)?.date.weekday() + 1) % 7 + 1),
        DateFunction::DayOfYear => number(strict(0)?.date.day_of_year()),
        DateFunction::Week => {
            let weeks = match values.get(1) {
                Some(mode) => Weeks::of_mode(mode.to_i64()?),
                None => weeks(env),
            };
            number(weeks.week(strict(0)?.date).1)
        }
        DateFunction::YearWeek => {
            let mode = values.get(1).map_or(Some(0), Value::to_i64)?;
            let weeks = Weeks { of_a_year: true, ..Weeks::of_mode(mode) };
            let (year, week) = weeks.week(strict(0)?.date);
            number(year * 100 + week)
        }
        DateFunction::WeekOfYear => number(Weeks::of_mode(3).week(strict(0)?.date).1),
        DateFunction::LastDay => Some(date(strict(0)?.date.last_of_month())),
        DateFunction::ToDays => number(strict(0)?.date.day_number()),
        DateFunction::ToSeconds => number(strict(0)?.since_zero() / SECOND),
        DateFunction::DateDiff => {
            let (a, b) = (strict(0), strict(1));
            number(a?.date.day_number() - b?.date.day_number())
        }
        DateFunction::TimestampDiff(unit) => {
            let (from, to) = (strict(0), strict(1));
            number(unit.between(from?, to?))
        }
        DateFunction::FromDays => Some(date(Date::of_day(values[0].to_i64()?).unwrap_or_default())),
        _ => make_date(values[0].to_i64()?, values[1].to_i64()?),
    }
}

fn date(date: Date) -> Value {
    Value::Temporal(Temporal::Date(date))
}

/// The mode in `@@default_week_format`.
fn weeks(env: &Env<'_>) -> Weeks {
    Weeks::of_mode(env.system.settings().week_format.into())
}

/// MAKEDATE: the day with this number in a year.
fn make_date(year: i64, day: i64) -> Option<Value> {
    if !(0..=9999).contains(&year) || !(1..=MAX_DAY).contains(&day) {
        return None;
    }
    let year = with_century(year);
    Date::of_day(Date::new(year, 1, 1)?.day_number() + day - 1).map(date)
}

/// Of a string that is not a date, the parts are those of a time.
fn extract(env: &Env<'_>, value: &Value, unit: Unit) -> Option<Value> {
    let is_date = match value {
        Value::Temporal(temporal) => !matches!(temporal, Temporal::Time { .. }),
        other => other.to_text().is_some_and(|text| {
            let read = datetime_of_text(&text, env.rules().lenient());
            read.is_some_and(|read| !read.is_cut && read.deprecated.is_none())
        }),
    };
    let fields = if unit.is_of_date() || is_date {
        env.moment_of(value, env.rules().lenient())?.fields()
    } else {
        match env.time_of(value)? {
            Temporal::Time { time, .. } => time.fields(),
            other => other.moment(env.today()).unwrap_or(DateTime::default()).fields(),
        }
    };
    Some(Value::Int(unit.extract(fields, weeks(env))))
}

/// The cost of a character of a format, in units of work: it may stand for a name.
const FORMAT: usize = 8;

/// DATE_FORMAT and TIME_FORMAT
pub(super) fn format(env: &Env<'_>, value: Option<Temporal>, format: &Value) -> EvalResult {
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

/// STR_TO_DATE, whose type is that of the format if that is a literal.
pub(super) fn str_to_date(env: &Env<'_>, values: &[Value], is_literal: bool) -> EvalResult {
    let (Some(text), Some(format)) = (values[0].to_text(), values[1].to_text()) else {
        return Ok(Value::Null);
    };
    env.work.spend(FORMAT * format.len())?;
    let parts = FormatParts::of(&format);
    let kind = match parts {
        FormatParts { date: true, time: true, .. } => "datetime",
        _ if !is_literal => "datetime",
        FormatParts { time: true, .. } => "time",
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
        let what = format!("Incorrect datetime value: '{}' for function str_to_date", excerpt(&text));
        env.warn(Warning::new(1411, what));
        return Ok(Value::Null);
    };
    if is_cut {
        env.truncated(kind, &text);
    }
    Ok(Value::Temporal(if is_literal { value } else { widened(env, value) }))
}

/// Formats a moment with all digits.
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
