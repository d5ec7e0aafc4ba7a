//! What the columns of these functions are declared as, as MySQL's source has it.

use super::{add, functions::DateFunction};
use crate::wires::mysql::{
    sql::{
        ast::Expr,
        eval::{Env, Evaluated},
        types::{Kind, Type, of_value},
    },
    temporal::{Parts, Unit, longest},
    value::Value,
    work::STEP,
};

impl Type {
    /// Wide enough for its digits.
    const fn with_digits(kind: Kind, width: u32, digits: u8) -> Self {
        Self::new(kind, width + if digits > 0 { 1 + digits as u32 } else { 0 }, false)
    }

    pub(in crate::wires::mysql::sql) const fn date() -> Self {
        Self::new(Kind::Date, 10, false)
    }

    pub(in crate::wires::mysql::sql) const fn time(digits: u8) -> Self {
        Self::with_digits(Kind::Time { digits }, 10, digits)
    }

    pub(in crate::wires::mysql::sql) const fn datetime(digits: u8) -> Self {
        Self::with_digits(Kind::DateTime { digits }, 19, digits)
    }

    /// As a variable keeps it, which has no dates.
    pub(in crate::wires::mysql::sql) fn as_kept(self) -> Self {
        match self.kind {
            Kind::Date | Kind::Time { .. } | Kind::DateTime { .. } => Self { kind: Kind::Text, ..self },
            _ => self,
        }
    }

    /// As a number: what arithmetic makes of a date.
    pub(in crate::wires::mysql::sql) fn as_number(self) -> Self {
        let kind = match self.kind {
            Kind::Year => Kind::Int { unsigned: true },
            Kind::Date | Kind::Time { digits: 0 } | Kind::DateTime { digits: 0 } => {
                Kind::Int { unsigned: false }
            }
            Kind::Time { digits } | Kind::DateTime { digits } => Kind::Decimal { digits },
            kind => kind,
        };
        Self { kind, ..self }
    }
}

pub(in crate::wires::mysql::sql) fn of_call(
    env: &Env<'_>,
    function: DateFunction,
    args: &[Expr],
    types: &[Type],
) -> Evaluated<Type> {
    let integer = |length: u32| Type::new(Kind::Int { unsigned: false }, length, false);
    let not_null = types.iter().all(|arg| arg.not_null);
    let digits = |at: usize, as_time: bool| env.digits_of(&args[at], types[at].kind, as_time);
    env.work.spend(STEP)?;
    Ok(match function {
        DateFunction::Now(digits) | DateFunction::Sysdate(digits) | DateFunction::UtcTimestamp(digits) => {
            Type { not_null: true, ..Type::datetime(digits) }
        }
        DateFunction::CurTime(digits) | DateFunction::UtcTime(digits) => {
            Type { not_null: true, ..Type::time(digits) }
        }
        DateFunction::CurDate | DateFunction::UtcDate => Type { not_null: true, ..Type::date() },
        DateFunction::Date | DateFunction::LastDay | DateFunction::FromDays | DateFunction::MakeDate => {
            Type::date()
        }
        DateFunction::Time => Type::time(digits(0, true)?),
        DateFunction::TimeDiff => Type::time(digits(0, true)?.max(digits(1, true)?)),
        DateFunction::MakeTime => Type::time(decimals(types[2].kind)),
        DateFunction::SecToTime => Type::time(decimals(types[0].kind)),
        DateFunction::Timestamp | DateFunction::AddTime | DateFunction::SubTime => {
            let more = if args.len() > 1 { digits(1, true)? } else { 0 };
            of_add_time(function, types[0].kind, digits(0, false)?.max(more))
        }
        DateFunction::ConvertTz => Type::datetime(digits(0, false)?),
        DateFunction::Add(unit) | DateFunction::Subtract(unit) => add::of_add(types[0], unit, types[1]),
        DateFunction::TimestampAdd(unit) => add::of_add(types[1], unit, types[0]),
        DateFunction::FromUnixtime if args.len() == 1 => Type::datetime(decimals(types[0].kind)),
        DateFunction::FromUnixtime | DateFunction::DateFormat | DateFunction::TimeFormat => {
            Type::text(length_of(env, &args[1], types[1])?)
        }
        DateFunction::StrToDate => of_str_to_date(env, &args[1])?,
        DateFunction::GetFormat(_) => Type::text(17),
        DateFunction::MonthName | DateFunction::DayName => Type::text(9),
        DateFunction::UnixTimestamp => match args.first() {
            None => Type::new(Kind::Int { unsigned: false }, 21, true),
            Some(_) => of_unix_timestamp(digits(0, false)?, not_null),
        },
        DateFunction::Part(Unit::Year) => Type::new(Kind::Year, 4, false),
        DateFunction::Part(unit) | DateFunction::Extract(unit) => integer(of_part(unit)),
        DateFunction::DayOfWeek | DateFunction::Weekday => integer(2),
        DateFunction::Week | DateFunction::WeekOfYear => integer(3),
        DateFunction::DayOfYear => integer(4),
        DateFunction::YearWeek => integer(7),
        DateFunction::ToDays => integer(8),
        DateFunction::DateDiff => integer(9),
        DateFunction::TimeToSec => integer(10),
        DateFunction::PeriodAdd | DateFunction::PeriodDiff => {
            Type::new(Kind::Int { unsigned: false }, 21, not_null)
        }
        DateFunction::ToSeconds | DateFunction::TimestampDiff(_) => integer(21),
        DateFunction::Literal(_) | DateFunction::Odbc(_) => {
            of_value(&super::call(env, function, args, &[env.eval(&args[0])?])?)
        }
    })
}

/// The digits behind the point of a number; a text may have as many as there are.
pub(super) fn decimals(kind: Kind) -> u8 {
    match kind {
        Kind::Time { digits }
        | Kind::DateTime { digits }
        | Kind::Decimal { digits }
        | Kind::Rounded { digits } => digits.min(6),
        Kind::Null | Kind::Int { .. } | Kind::Date | Kind::Year => 0,
        Kind::Text | Kind::Bytes | Kind::Double => 6,
    }
}

fn of_add_time(function: DateFunction, value: Kind, digits: u8) -> Type {
    match value {
        _ if function == DateFunction::Timestamp => Type::datetime(digits),
        Kind::Time { .. } => Type::time(digits),
        Kind::Date | Kind::DateTime { .. } => Type::datetime(digits),
        _ => Type::text(add::LONGEST),
    }
}

fn of_unix_timestamp(digits: u8, not_null: bool) -> Type {
    match digits {
        0 => Type::new(Kind::Int { unsigned: false }, 21, not_null),
        digits => Type::new(Kind::Decimal { digits }, 13 + u32::from(digits), not_null),
    }
}

fn length_of(env: &Env<'_>, format: &Expr, of_format: Type) -> Evaluated<u32> {
    let Expr::Literal(Value::Text(format)) = format else { return Ok(of_format.length.saturating_mul(10)) };
    env.work.spend(format.len())?;
    Ok(u32::try_from(longest(format)).unwrap_or(u32::MAX))
}

fn of_str_to_date(env: &Env<'_>, format: &Expr) -> Evaluated<Type> {
    let Expr::Literal(Value::Text(format)) = format else { return Ok(Type::datetime(6)) };
    env.work.spend(format.len())?;
    let parts = Parts::of(format);
    Ok(match (parts.date, parts.time) {
        (_, false) => Type::date(),
        (false, true) => Type::time(parts.digits()),
        (true, true) => Type::datetime(parts.digits()),
    })
}

/// How many characters a part of a date or a time has, with its sign.
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
