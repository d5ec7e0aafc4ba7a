//! What the functions of dates and times come to.

use super::{
    add, cast,
    functions::DateFunction,
    kinds::{decimals, of_call},
    parts::part,
    text, zones,
};
use crate::wires::mysql::{
    clock,
    sql::{
        ast::Expr,
        eval::{Env, Evaluated},
    },
    temporal::{DateTime, Offset, SECOND, Temporal, Time, rounded},
    value::Value,
};

pub(in crate::wires::mysql::sql) fn call(
    env: &Env<'_>,
    function: DateFunction,
    args: &[Expr],
    values: &[Value],
) -> Evaluated {
    let kind = || {
        let types = args.iter().map(|arg| env.type_of(arg)).collect::<Evaluated<Vec<_>>>()?;
        of_call(env, function, args, &types).map(|kind| kind.kind)
    };
    let type_of = |at: usize| env.type_of(&args[at]).map(|kind| kind.kind);
    let digits = |at: usize, as_time: bool| {
        Evaluated::Ok(env.digits_of_value(&args[at], &values[at], type_of(at)?, as_time))
    };
    Ok(match function {
        DateFunction::Now(digits) => moment(env.local(), digits),
        DateFunction::Sysdate(digits) => moment(env.zone().local(clock::now()), digits),
        DateFunction::UtcTimestamp(digits) => moment(utc(env), digits),
        DateFunction::CurDate => Value::Temporal(Temporal::Date(env.today())),
        DateFunction::UtcDate => Value::Temporal(Temporal::Date(utc(env).date)),
        DateFunction::CurTime(digits) => time(env.local(), digits),
        DateFunction::UtcTime(digits) => time(utc(env), digits),
        DateFunction::Date => cast::to_date(env, &values[0]).unwrap_or(Value::Null),
        DateFunction::Time => cast::to_time(env, &values[0], digits(0, true)?).unwrap_or(Value::Null),
        DateFunction::Timestamp if values.len() == 1 => {
            cast::to_datetime(env, &values[0], digits(0, false)?).unwrap_or(Value::Null)
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
            return text::format(env, value, &values[1]);
        }
        DateFunction::TimeFormat => return text::format(env, env.time_of(&values[0]), &values[1]),
        DateFunction::StrToDate => {
            return text::str_to_date(env, values, matches!(args[1], Expr::Literal(_)));
        }
        DateFunction::GetFormat(of) => {
            let name = values[0].to_text().unwrap_or_default();
            text::get_format(of, &name).map_or(Value::Null, Value::text)
        }
        DateFunction::TimeDiff => {
            let digits = digits(0, true)?.max(digits(1, true)?);
            add::time_diff(env, values, digits)
        }
        DateFunction::PeriodAdd => add::period(values, true)?.map_or(Value::Null, Value::Int),
        DateFunction::PeriodDiff => add::period(values, false)?.map_or(Value::Null, Value::Int),
        DateFunction::MakeTime => {
            let digits = decimals(type_of(2)?);
            add::make_time(env, values, digits).unwrap_or(Value::Null)
        }
        DateFunction::SecToTime => {
            let digits = decimals(type_of(0)?);
            add::sec_to_time(env, &values[0], digits).unwrap_or(Value::Null)
        }
        DateFunction::TimeToSec => add::time_to_sec(env, &values[0]).unwrap_or(Value::Null),
        DateFunction::UnixTimestamp if values.is_empty() => Value::Int(env.facts.now.div_euclid(SECOND)),
        DateFunction::UnixTimestamp => zones::unix_timestamp(env, &values[0], digits(0, false)?),
        DateFunction::FromUnixtime => {
            let digits = decimals(type_of(0)?);
            let value = zones::from_unixtime(env, &values[0], digits);
            match values.get(1) {
                Some(format) => return text::format(env, value, format),
                None => value.map_or(Value::Null, Value::Temporal),
            }
        }
        DateFunction::ConvertTz => zones::convert_tz(env, values, digits(0, false)?).unwrap_or(Value::Null),
        DateFunction::Literal(of) => cast::literal(env, of, &values[0].to_text().unwrap_or_default())?
            .map_or(Value::Null, Value::Temporal),
        DateFunction::Odbc(of) => {
            let found = cast::literal(env, of, &values[0].to_text().unwrap_or_default());
            found.ok().flatten().map_or_else(|| values[0].clone(), Value::Temporal)
        }
        _ => part(env, function, values).unwrap_or(Value::Null),
    })
}

fn utc(env: &Env<'_>) -> DateTime {
    Offset::default().local(env.facts.now)
}

/// The fraction is cut off: it is not later yet.
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
