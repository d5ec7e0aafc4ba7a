//! Functions that look at a part of a date or a time.

use super::{functions::DateFunction, values::clock};
use crate::wires::mysql::{
    sql::eval::Env,
    temporal::{
        DAYS, Date, DateTime, Fields, MAX_DAY, MONTHS, SECOND, Temporal, Unit, Weeks, datetime_of_text,
        with_century,
    },
    value::Value,
};

/// None for NULL.
pub(super) fn part(env: &Env<'_>, function: DateFunction, values: &[Value]) -> Option<Value> {
    let strict = |at: usize| env.moment_of(&values[at], env.rules().strict());
    let number = |number: i64| Some(Value::Int(number));
    match function {
        DateFunction::Part(unit) if unit.is_of_date() => {
            let fields = env.moment_of(&values[0], env.rules().lenient())?.fields();
            number(unit.extract(fields, weeks(env)))
        }
        DateFunction::Part(unit) => {
            let fields = Fields { is_negative: false, ..clock(env.time_of(&values[0])?).fields() };
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

/// As `@@default_week_format` says.
fn weeks(env: &Env<'_>) -> Weeks {
    Weeks::of_mode(env.system.settings().week_format.into())
}

/// MAKEDATE: the day of this number in a year.
fn make_date(year: i64, day: i64) -> Option<Value> {
    if !(0..=9999).contains(&year) || !(1..=MAX_DAY).contains(&day) {
        return None;
    }
    let year = with_century(year);
    Date::of_day(Date::new(year, 1, 1)?.day_number() + day - 1).map(date)
}

/// Of a text that is no date, the parts are those of a time.
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
