//! The column types of these functions, as in MySQL's source.

use super::add;
use crate::wires::mysql::{
    sql::{
        ast::Expr,
        builtin::DateFunction,
        column_type::{ColumnType, TypeKind},
        env::{Env, EvalResult},
    },
    temporal::{FormatParts, Unit, longest},
    value::Value,
    work::STEP,
};

pub(in crate::wires::mysql::sql) fn of_call(
    env: &Env<'_>,
    function: DateFunction,
    args: &[Expr],
    types: &[ColumnType],
) -> EvalResult<ColumnType> {
    let integer = |length: u32| ColumnType::new(TypeKind::Int { unsigned: false }, length, false);
    let not_null = types.iter().all(|arg| arg.not_null);
    let digits = |at: usize, as_time: bool| env.digits_of(&args[at], types[at].kind, as_time);
    env.work.spend(STEP)?;
    Ok(match function {
        DateFunction::Now(digits) | DateFunction::Sysdate(digits) | DateFunction::UtcTimestamp(digits) => {
            ColumnType { not_null: true, ..ColumnType::datetime(digits) }
        }
        DateFunction::CurTime(digits) | DateFunction::UtcTime(digits) => {
            ColumnType { not_null: true, ..ColumnType::time(digits) }
        }
        DateFunction::CurDate | DateFunction::UtcDate => ColumnType { not_null: true, ..ColumnType::date() },
        DateFunction::Date | DateFunction::LastDay | DateFunction::FromDays | DateFunction::MakeDate => {
            ColumnType::date()
        }
        DateFunction::Time => ColumnType::time(digits(0, true)?),
        DateFunction::TimeDiff => ColumnType::time(digits(0, true)?.max(digits(1, true)?)),
        DateFunction::MakeTime => ColumnType::time(types[2].kind.fraction_digits()),
        DateFunction::SecToTime => ColumnType::time(types[0].kind.fraction_digits()),
        DateFunction::Timestamp | DateFunction::AddTime | DateFunction::SubTime => {
            let more = if args.len() > 1 { digits(1, true)? } else { 0 };
            of_add_time(function, types[0].kind, digits(0, false)?.max(more))
        }
        DateFunction::ConvertTz => ColumnType::datetime(digits(0, false)?),
        DateFunction::Add(unit) | DateFunction::Subtract(unit) => add::of_add(types[0], unit, types[1]),
        DateFunction::TimestampAdd(unit) => add::of_add(types[1], unit, types[0]),
        DateFunction::FromUnixtime if args.len() == 1 => {
            ColumnType::datetime(types[0].kind.fraction_digits())
        }
        DateFunction::FromUnixtime | DateFunction::DateFormat | DateFunction::TimeFormat => {
            ColumnType::text(length_of(env, &args[1], types[1])?)
        }
        DateFunction::StrToDate => of_str_to_date(env, &args[1])?,
        DateFunction::GetFormat(_) => ColumnType::text(17),
        DateFunction::MonthName | DateFunction::DayName => ColumnType::text(9),
        DateFunction::UnixTimestamp => match args.first() {
            None => ColumnType::new(TypeKind::Int { unsigned: false }, 21, true),
            Some(_) => of_unix_timestamp(digits(0, false)?, not_null),
        },
        DateFunction::Part(Unit::Year) => ColumnType::new(TypeKind::Year, 4, false),
        DateFunction::Part(unit) | DateFunction::Extract(unit) => integer(of_part(unit)),
        DateFunction::DayOfWeek | DateFunction::Weekday => integer(2),
        DateFunction::Week | DateFunction::WeekOfYear => integer(3),
        DateFunction::DayOfYear => integer(4),
        DateFunction::YearWeek => integer(7),
        DateFunction::ToDays => integer(8),
        DateFunction::DateDiff => integer(9),
        DateFunction::TimeToSec => integer(10),
        DateFunction::PeriodAdd | DateFunction::PeriodDiff => {
            ColumnType::new(TypeKind::Int { unsigned: false }, 21, not_null)
        }
        DateFunction::ToSeconds | DateFunction::TimestampDiff(_) => integer(21),
        DateFunction::Literal(_) | DateFunction::Odbc(_) => {
            ColumnType::of_value(&super::call(env, function, args, &[env.eval(&args[0])?])?)
        }
    })
}

fn of_add_time(function: DateFunction, value: TypeKind, digits: u8) -> ColumnType {
    match value {
        _ if function == DateFunction::Timestamp => ColumnType::datetime(digits),
        TypeKind::Time { .. } => ColumnType::time(digits),
        TypeKind::Date | TypeKind::DateTime { .. } => ColumnType::datetime(digits),
        _ => ColumnType::text(add::LONGEST),
    }
}

fn of_unix_timestamp(digits: u8, not_null: bool) -> ColumnType {
    match digits {
        0 => ColumnType::new(TypeKind::Int { unsigned: false }, 21, not_null),
        digits => ColumnType::new(TypeKind::Decimal { digits }, 13 + u32::from(digits), not_null),
    }
}

fn length_of(env: &Env<'_>, format: &Expr, of_format: ColumnType) -> EvalResult<u32> {
    let Expr::Literal(Value::Text(format)) = format else { return Ok(of_format.length.saturating_mul(10)) };
    env.work.spend(format.len())?;
    Ok(u32::try_from(longest(format)).unwrap_or(u32::MAX))
}

fn of_str_to_date(env: &Env<'_>, format: &Expr) -> EvalResult<ColumnType> {
    let Expr::Literal(Value::Text(format)) = format else { return Ok(ColumnType::datetime(6)) };
    env.work.spend(format.len())?;
    let parts = FormatParts::of(format);
    Ok(match (parts.date, parts.time) {
        (_, false) => ColumnType::date(),
        (false, true) => ColumnType::time(parts.digits()),
        (true, true) => ColumnType::datetime(parts.digits()),
    })
}

/// The number of characters of a part of a date or a time, with its sign.
fn of_part(unit: Unit) -> u32 {
    match unit {
        Unit::Quarter => 2,
        Unit::Month | Unit::Week | Unit::Day | Unit::Minute | Unit::Second => 3,
        Unit::Hour => 4,
        Unit::Year | Unit::MinuteSecond => 5,
        Unit::HourMinute => 6,
        Unit::YearMonth | Unit::Microsecond => 7,
        Unit::HourSecond => 8,
        Unit::DayHour | Unit::SecondMicrosecond => 9,
        Unit::DayMinute | Unit::MinuteMicrosecond => 11,
        Unit::DaySecond => 13,
        Unit::HourMicrosecond => 14,
        Unit::DayMicrosecond => 20,
    }
}
