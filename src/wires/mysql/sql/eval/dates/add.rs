//! Sums and differences of dates and times.

use super::convert::{clock, split_number};
use crate::wires::mysql::{
    error::SqlError,
    sql::{
        column_type::{ColumnType, TypeKind},
        env::{Env, EvalResult},
        eval::arithmetic,
    },
    temporal::{Amount, DateTime, Interval, SECOND, Temporal, Time, Unit, rounded, with_century},
    value::Value,
};

/// `value + INTERVAL amount unit`, as a value of the declared type.
pub(super) fn add(env: &Env<'_>, kind: TypeKind, values: &[Value], unit: Unit, subtract: bool) -> Value {
    let [value, amount] = values else { return Value::Null };
    if value.is_null() || amount.is_null() {
        return Value::Null;
    }
    let interval = interval(env, amount, unit);
    let interval = if subtract { interval.and_then(Interval::negated) } else { interval };
    if let TypeKind::Time { digits } = kind {
        let Some(time) = env.clock_of(value) else { return Value::Null };
        let sum = interval.and_then(|interval| interval.longer(time));
        return sum
            .map_or_else(|| env.overflow("time"), |time| Value::Temporal(Temporal::Time { time, digits }));
    }
    let Some(value) = env.date_of(value, env.rules().strict()) else { return Value::Null };
    let moment = value.moment(env.today());
    let Some(moment) = interval.zip(moment).and_then(|(interval, moment)| interval.after(moment)) else {
        return env.overflow("datetime");
    };
    if moment.date.is_zero() {
        return env.overflow("datetime");
    }
    match kind {
        TypeKind::Date => Value::Temporal(Temporal::Date(moment.date)),
        TypeKind::DateTime { digits } => Value::Temporal(Temporal::DateTime { moment, digits }),
        _ if unit.is_of_date() && matches!(value, Temporal::Date(_)) => {
            Value::Text(Temporal::Date(moment.date).to_string())
        }
        _ => text(Temporal::DateTime { moment, digits: 0 }, moment.micros),
    }
}

/// Converts a value to a string, with a fraction if it has one.
fn text(value: Temporal, micros: i64) -> Value {
    let digits = if micros % SECOND == 0 { 0 } else { 6 };
    Value::Text(match value {
        Temporal::DateTime { moment, .. } => Temporal::DateTime { moment, digits }.to_string(),
        Temporal::Time { time, .. } => Temporal::Time { time, digits }.to_string(),
        date @ Temporal::Date(_) => date.to_string(),
    })
}

/// The type of such a sum. The type of the value decides, not that of the interval.
pub(super) fn of_add(value: ColumnType, unit: Unit, amount: ColumnType) -> ColumnType {
    let digits = match amount.kind {
        _ if unit.has_micros() => 6,
        TypeKind::Decimal { digits } if unit == Unit::Second => digits.min(6),
        TypeKind::Text | TypeKind::Bytes | TypeKind::Double if unit == Unit::Second => 6,
        _ => 0,
    };
    match value.kind {
        TypeKind::DateTime { digits: own } => ColumnType::datetime(own.max(digits)),
        TypeKind::Date if unit.is_of_date() => ColumnType::date(),
        TypeKind::Date => ColumnType::datetime(digits),
        TypeKind::Time { digits: own } if unit.is_of_time() => ColumnType::time(own.max(digits)),
        TypeKind::Time { digits: own } => ColumnType::datetime(own.max(digits)),
        _ => ColumnType::text(LONGEST),
    }
}

/// The greatest length of a date or a time as a string.
pub(super) const LONGEST: u32 = 29;

fn interval(env: &Env<'_>, amount: &Value, unit: Unit) -> Option<Interval> {
    if unit.is_composite() {
        return Interval::new(Amount::Text(&amount.to_text()?), unit);
    }
    if unit == Unit::Second && !matches!(amount, Value::Int(_) | Value::UInt(_)) {
        let (whole, micros, _) = split_number(amount.to_number()?);
        return Interval::new(Amount::Micros(whole.checked_mul(SECOND)?.checked_add(micros)?), unit);
    }
    // Of a string, the whole number at its start counts.
    if let Value::Text(text) = amount
        && !arithmetic::is_integer(text)
    {
        env.truncated("INTEGER", text);
    }
    let amount = match amount {
        Value::Text(_) => arithmetic::integer(amount, false).to_i64()?,
        other => other.to_i64()?,
    };
    Interval::new(Amount::Whole(amount), unit)
}

/// ADDTIME, SUBTIME, and TIMESTAMP of two.
pub(super) fn add_time(
    env: &Env<'_>,
    kind: TypeKind,
    values: &[Value],
    subtract: bool,
    is_moment: bool,
) -> Value {
    let [value, more] = values else { return Value::Null };
    let value = if is_moment { env.date_of(value, env.rules()) } else { env.time_of(value) };
    let (Some(value), Some(Temporal::Time { time: more, .. })) = (value, env.time_of(more)) else {
        return Value::Null;
    };
    let more = if subtract { -more.0 } else { more.0 };
    if let Temporal::Time { time, digits } = value {
        let sum = time.0 + more;
        let (time, is_clamped) = Time::clamped(sum);
        if is_clamped {
            env.truncated("time", &Temporal::Time { time: Time(sum), digits }.to_string());
        }
        return match kind {
            TypeKind::Time { digits } => Value::Temporal(Temporal::Time { time, digits }),
            TypeKind::DateTime { .. } => Value::Null,
            _ => text(Temporal::Time { time, digits: 0 }, time.0),
        };
    }
    let sum = value.moment(env.today()).and_then(|moment| moment.plus_micros(more));
    let Some(moment) = sum.filter(|moment| !moment.date.is_zero()) else { return env.overflow("datetime") };
    match kind {
        TypeKind::DateTime { digits } => Value::Temporal(Temporal::DateTime { moment, digits }),
        TypeKind::Time { .. } => Value::Null,
        _ => text(Temporal::DateTime { moment, digits: 0 }, moment.micros),
    }
}

/// TIMEDIFF: of two moments, or of two times.
pub(super) fn time_diff(env: &Env<'_>, values: &[Value], digits: u8) -> Value {
    let [a, b] = values else { return Value::Null };
    let is_date =
        |value: &Value| matches!(value, Value::Temporal(Temporal::Date(_) | Temporal::DateTime { .. }));
    let is_time = |value: &Value| matches!(value, Value::Temporal(Temporal::Time { .. }));
    if is_date(a) && is_time(b) || is_time(a) && is_date(b) {
        return Value::Null;
    }
    let read = |value: &Value| {
        if is_date(a) || is_date(b) { env.date_of(value, env.rules().lenient()) } else { env.time_of(value) }
    };
    let micros = match (read(a), read(b)) {
        (Some(Temporal::Time { time: a, .. }), Some(Temporal::Time { time: b, .. })) => a.0 - b.0,
        (Some(Temporal::DateTime { moment: a, .. }), Some(Temporal::DateTime { moment: b, .. })) => {
            a.since_zero() - b.since_zero()
        }
        (Some(Temporal::Date(a)), Some(Temporal::Date(b))) => {
            let midnight = |date| DateTime { date, micros: 0 }.since_zero();
            midnight(a) - midnight(b)
        }
        _ => return Value::Null,
    };
    time(env, micros, digits)
}

/// The nearest time within the limits, with a warning if it differs.
pub(super) fn time(env: &Env<'_>, micros: i64, digits: u8) -> Value {
    let (time, is_clamped) = Time::clamped(rounded(micros, digits));
    if is_clamped {
        env.truncated("time", &Temporal::Time { time: Time(micros), digits }.to_string());
    }
    Value::Temporal(Temporal::Time { time, digits })
}

/// PERIOD_ADD and PERIOD_DIFF: months as `202611`.
pub(super) fn period(values: &[Value], is_sum: bool) -> EvalResult<Option<i64>> {
    let [Some(a), Some(b)] = [values[0].to_i64(), values[1].to_i64()] else { return Ok(None) };
    let function = if is_sum { "period_add" } else { "period_diff" };
    let wrong = || SqlError::WrongArguments(function.to_owned());
    if !is_sum {
        return Ok(Some(months(a).ok_or_else(wrong)? - months(b).ok_or_else(wrong)?));
    }
    let sum = months(a).ok_or_else(wrong)?.checked_add(b).filter(|sum| *sum >= 0).unwrap_or(0);
    if sum == 0 {
        return Ok(Some(0));
    }
    let year = sum / 12;
    let year = if year < 100 { with_century(year) } else { year };
    Ok(Some(year.saturating_mul(100).saturating_add(sum % 12 + 1)))
}

/// `None` if the number is not a month.
fn months(period: i64) -> Option<i64> {
    let (year, month) = (period / 100, period % 100);
    let year = with_century(year);
    (period > 0 && (1..=12).contains(&month)).then_some(year * 12 + month - 1)
}

/// MAKETIME
pub(super) fn make_time(env: &Env<'_>, values: &[Value], digits: u8) -> Option<Value> {
    let (hour, minute) = (values[0].to_i64()?, values[1].to_i64()?);
    let (second, micros, _) = split_number(values[2].to_number()?);
    if !(0..60).contains(&minute) || !(0..60).contains(&second) || micros < 0 {
        return None;
    }
    let hour = hour.clamp(-1_000_000_000, 1_000_000_000);
    let rest = minute * 60 * SECOND + second * SECOND + micros;
    let whole = hour.abs() * 3600 * SECOND + rest;
    Some(time(env, if hour < 0 { -whole } else { whole }, digits))
}

/// SEC_TO_TIME
pub(super) fn sec_to_time(env: &Env<'_>, value: &Value, digits: u8) -> Option<Value> {
    let (whole, micros, _) = split_number(value.to_number()?);
    let seconds = whole.clamp(-10_000_000, 10_000_000);
    let (time, is_clamped) = Time::clamped(rounded(seconds * SECOND + micros, digits));
    if is_clamped {
        env.truncated("time", &value.to_text()?);
    }
    Some(Value::Temporal(Temporal::Time { time, digits }))
}

/// TIME_TO_SEC
pub(super) fn time_to_sec(env: &Env<'_>, value: &Value) -> Option<Value> {
    env.time_of(value).map(|value| Value::Int(clock(value).0 / SECOND))
}
