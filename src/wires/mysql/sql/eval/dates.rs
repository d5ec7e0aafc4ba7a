//! Functions of dates and times (MySQL manual 14.7). Dates themselves, without SQL, are in `temporal`.

mod add;
mod convert;
mod parts;
mod types;

pub(super) use convert::cast;
pub(super) use types::of_call;

use crate::wires::mysql::{
    clock,
    sql::{
        ast::Expr,
        builtin::DateFunction,
        env::{Env, EvalResult},
    },
    temporal::{DateTime, Offset, SECOND, Temporal, Time, rounded},
    value::{Decimal, Value},
};
use convert::split_number;
use parts::part;

pub(in crate::wires::mysql::sql) fn call(
    env: &Env<'_>,
    function: DateFunction,
    args: &[Expr],
    values: &[Value],
) -> EvalResult {
    let kind = || {
        let types = args.iter().map(|arg| env.type_of(arg)).collect::<EvalResult<Vec<_>>>()?;
        of_call(env, function, args, &types).map(|kind| kind.kind)
    };
    let type_of = |at: usize| env.type_of(&args[at]).map(|kind| kind.kind);
    let digits = |at: usize, as_time: bool| {
        EvalResult::Ok(env.digits_of_value(&args[at], &values[at], type_of(at)?, as_time))
    };
    Ok(match function {
        DateFunction::Now(digits) => moment(env.local(), digits),
        DateFunction::Sysdate(digits) => moment(env.zone().local(clock::now()), digits),
        DateFunction::UtcTimestamp(digits) => moment(utc(env), digits),
        DateFunction::CurDate => Value::Temporal(Temporal::Date(env.today())),
        DateFunction::UtcDate => Value::Temporal(Temporal::Date(utc(env).date)),
        DateFunction::CurTime(digits) => time(env.local(), digits),
        DateFunction::UtcTime(digits) => time(utc(env), digits),
        DateFunction::Date => convert::to_date(env, &values[0]).unwrap_or(Value::Null),
        DateFunction::Time => convert::to_time(env, &values[0], digits(0, true)?).unwrap_or(Value::Null),
        DateFunction::Timestamp if values.len() == 1 => {
            convert::to_datetime(env, &values[0], digits(0, false)?).unwrap_or(Value::Null)
        }
        DateFunction::Timestamp => add::add_time(env, kind()?, values, false, true),
        DateFunction::AddTime => add::add_time(env, kind()?, values, false, false),
        DateFunction::SubTime => add::add_time(env, kind()?, values, true, false),
        DateFunction::Add(unit) => add::add(env, kind()?, values, unit, false),
        DateFunction::Subtract(unit) => add::add(env, kind()?, values, unit, true),
        DateFunction::TimestampAdd(unit) => {
            add::add(env, kind()?, &[values[1].clone(), values[0].clone()], unit, false)
        }
        DateFunction::DateFormat => {
            let value = env.date_of(&values[0], env.rules().lenient());
            return parts::format(env, value, &values[1]);
        }
        DateFunction::TimeFormat => return parts::format(env, env.time_of(&values[0]), &values[1]),
        DateFunction::StrToDate => {
            return parts::str_to_date(env, values, matches!(args[1], Expr::Literal(_)));
        }
        DateFunction::GetFormat(of) => {
            let name = values[0].to_text().unwrap_or_default();
            parts::get_format(of, &name).map_or(Value::Null, Value::text)
        }
        DateFunction::TimeDiff => {
            let digits = digits(0, true)?.max(digits(1, true)?);
            add::time_diff(env, values, digits)
        }
        DateFunction::PeriodAdd => add::period(values, true)?.map_or(Value::Null, Value::Int),
        DateFunction::PeriodDiff => add::period(values, false)?.map_or(Value::Null, Value::Int),
        DateFunction::MakeTime => {
            let digits = type_of(2)?.fraction_digits();
            add::make_time(env, values, digits).unwrap_or(Value::Null)
        }
        DateFunction::SecToTime => {
            let digits = type_of(0)?.fraction_digits();
            add::sec_to_time(env, &values[0], digits).unwrap_or(Value::Null)
        }
        DateFunction::TimeToSec => add::time_to_sec(env, &values[0]).unwrap_or(Value::Null),
        DateFunction::UnixTimestamp if values.is_empty() => {
            Value::Int(env.session_info.now.div_euclid(SECOND))
        }
        DateFunction::UnixTimestamp => unix_timestamp(env, &values[0], digits(0, false)?),
        DateFunction::FromUnixtime => {
            let digits = type_of(0)?.fraction_digits();
            let value = from_unixtime(env, &values[0], digits);
            match values.get(1) {
                Some(format) => return parts::format(env, value, format),
                None => value.map_or(Value::Null, Value::Temporal),
            }
        }
        DateFunction::ConvertTz => convert_tz(env, values, digits(0, false)?).unwrap_or(Value::Null),
        DateFunction::Literal(of) => convert::literal(env, of, &values[0].to_text().unwrap_or_default())?
            .map_or(Value::Null, Value::Temporal),
        DateFunction::Odbc(of) => {
            let found = convert::literal(env, of, &values[0].to_text().unwrap_or_default());
            found.ok().flatten().map_or_else(|| values[0].clone(), Value::Temporal)
        }
        _ => part(env, function, values).unwrap_or(Value::Null),
    })
}

fn utc(env: &Env<'_>) -> DateTime {
    Offset::default().local(env.session_info.now)
}

/// The fraction is cut off and not rounded: a clock does not show a second that has not begun.
fn moment(moment: DateTime, digits: u8) -> Value {
    Value::Temporal(Temporal::DateTime {
        moment: DateTime { micros: cut(moment.micros, digits), ..moment },
        digits,
    })
}

fn time(moment: DateTime, digits: u8) -> Value {
    Value::Temporal(Temporal::Time { time: Time(cut(moment.micros, digits)), digits })
}

fn cut(micros: i64, digits: u8) -> i64 {
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    rounded(micros / unit * unit, digits)
}

/// The last second that MySQL supports: 3001-01-18 23:59:59 UTC.
const LAST: i64 = 32_536_771_199;

/// UNIX_TIMESTAMP of a date: 0 before 1970 and after the last second.
pub(super) fn unix_timestamp(env: &Env<'_>, value: &Value, digits: u8) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let moment = env.moment_of(value, env.rules().lenient()).filter(|moment| !moment.date.has_zeros());
    let micros = moment.map_or(0, |moment| env.zone().unix(moment));
    let micros = if (0..=LAST * SECOND + SECOND - 1).contains(&micros) { micros } else { 0 };
    seconds(micros, digits)
}

/// Seconds with this many digits of a fraction.
fn seconds(micros: i64, digits: u8) -> Value {
    if digits == 0 {
        return Value::Int(micros.div_euclid(SECOND));
    }
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    Value::Decimal(Decimal { digits: (micros / unit).into(), scale: digits.into() })
}

/// FROM_UNIXTIME
pub(super) fn from_unixtime(env: &Env<'_>, value: &Value, digits: u8) -> Option<Temporal> {
    let (whole, micros, _) = split_number(value.to_number()?);
    if !(0..=LAST).contains(&whole) || micros < 0 {
        return None;
    }
    let moment = env.zone().local(whole * SECOND + micros).rounded(digits)?;
    Some(Temporal::DateTime { moment, digits })
}

/// CONVERT_TZ. A moment outside of the seconds since 1970 is unchanged.
pub(super) fn convert_tz(env: &Env<'_>, values: &[Value], digits: u8) -> Option<Value> {
    let zone = |at: usize| Offset::named(&values[at].to_text()?);
    let (from, to) = (zone(1)?, zone(2)?);
    let moment = env.moment_of(&values[0], env.rules().strict())?;
    let unix = from.unix(moment);
    let moment: DateTime = if (1..=LAST * SECOND).contains(&unix) { to.local(unix) } else { moment };
    Some(Value::Temporal(Temporal::DateTime { moment, digits }))
}
