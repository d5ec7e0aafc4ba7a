//! The functions of dates and times, by their names.

use crate::wires::mysql::temporal::Unit;

/// A function of dates and times, with what is part of its grammar: a number of digits, a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum DateFunction {
    Now(u8),
    Sysdate(u8),
    UtcTimestamp(u8),
    CurDate,
    UtcDate,
    CurTime(u8),
    UtcTime(u8),
    Date,
    Time,
    Timestamp,
    DateFormat,
    TimeFormat,
    StrToDate,
    GetFormat(Literal),
    Add(Unit),
    Subtract(Unit),
    /// With whole months, days or seconds in front: TIMESTAMPADD.
    TimestampAdd(Unit),
    TimestampDiff(Unit),
    AddTime,
    SubTime,
    DateDiff,
    TimeDiff,
    Extract(Unit),
    /// YEAR, MONTH, HOUR and the like.
    Part(Unit),
    MonthName,
    DayName,
    DayOfWeek,
    DayOfYear,
    Weekday,
    Week,
    WeekOfYear,
    YearWeek,
    LastDay,
    MakeDate,
    MakeTime,
    PeriodAdd,
    PeriodDiff,
    SecToTime,
    TimeToSec,
    ToDays,
    ToSeconds,
    FromDays,
    UnixTimestamp,
    FromUnixtime,
    ConvertTz,
    /// `DATE'2026-11-27'`; the second is ODBC's: `{d '2026-11-27'}`.
    Literal(Literal),
    Odbc(Literal),
}

/// What a literal is of, and a format of GET_FORMAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Literal {
    Date,
    Time,
    DateTime,
}

const SERVED: [(&str, DateFunction); 60] = [
    ("ADDDATE", DateFunction::Add(Unit::Day)),
    ("ADDTIME", DateFunction::AddTime),
    ("CONVERT_TZ", DateFunction::ConvertTz),
    ("CURDATE", DateFunction::CurDate),
    ("CURRENT_DATE", DateFunction::CurDate),
    ("CURRENT_TIME", DateFunction::CurTime(0)),
    ("CURRENT_TIMESTAMP", DateFunction::Now(0)),
    ("CURTIME", DateFunction::CurTime(0)),
    ("DATE", DateFunction::Date),
    ("DATEDIFF", DateFunction::DateDiff),
    ("DATE_ADD", DateFunction::Add(Unit::Day)),
    ("DATE_FORMAT", DateFunction::DateFormat),
    ("DATE_SUB", DateFunction::Subtract(Unit::Day)),
    ("DAY", DateFunction::Part(Unit::Day)),
    ("DAYNAME", DateFunction::DayName),
    ("DAYOFMONTH", DateFunction::Part(Unit::Day)),
    ("DAYOFWEEK", DateFunction::DayOfWeek),
    ("DAYOFYEAR", DateFunction::DayOfYear),
    ("EXTRACT", DateFunction::Extract(Unit::Day)),
    ("FROM_DAYS", DateFunction::FromDays),
    ("FROM_UNIXTIME", DateFunction::FromUnixtime),
    ("GET_FORMAT", DateFunction::GetFormat(Literal::Date)),
    ("HOUR", DateFunction::Part(Unit::Hour)),
    ("LAST_DAY", DateFunction::LastDay),
    ("LOCALTIME", DateFunction::Now(0)),
    ("LOCALTIMESTAMP", DateFunction::Now(0)),
    ("MAKEDATE", DateFunction::MakeDate),
    ("MAKETIME", DateFunction::MakeTime),
    ("MICROSECOND", DateFunction::Part(Unit::Microsecond)),
    ("MINUTE", DateFunction::Part(Unit::Minute)),
    ("MONTH", DateFunction::Part(Unit::Month)),
    ("MONTHNAME", DateFunction::MonthName),
    ("NOW", DateFunction::Now(0)),
    ("PERIOD_ADD", DateFunction::PeriodAdd),
    ("PERIOD_DIFF", DateFunction::PeriodDiff),
    ("QUARTER", DateFunction::Part(Unit::Quarter)),
    ("SECOND", DateFunction::Part(Unit::Second)),
    ("SEC_TO_TIME", DateFunction::SecToTime),
    ("STR_TO_DATE", DateFunction::StrToDate),
    ("SUBDATE", DateFunction::Subtract(Unit::Day)),
    ("SUBTIME", DateFunction::SubTime),
    ("SYSDATE", DateFunction::Sysdate(0)),
    ("TIME", DateFunction::Time),
    ("TIMEDIFF", DateFunction::TimeDiff),
    ("TIMESTAMP", DateFunction::Timestamp),
    ("TIMESTAMPADD", DateFunction::TimestampAdd(Unit::Day)),
    ("TIMESTAMPDIFF", DateFunction::TimestampDiff(Unit::Day)),
    ("TIME_FORMAT", DateFunction::TimeFormat),
    ("TIME_TO_SEC", DateFunction::TimeToSec),
    ("TO_DAYS", DateFunction::ToDays),
    ("TO_SECONDS", DateFunction::ToSeconds),
    ("UNIX_TIMESTAMP", DateFunction::UnixTimestamp),
    ("UTC_DATE", DateFunction::UtcDate),
    ("UTC_TIME", DateFunction::UtcTime(0)),
    ("UTC_TIMESTAMP", DateFunction::UtcTimestamp(0)),
    ("WEEK", DateFunction::Week),
    ("WEEKDAY", DateFunction::Weekday),
    ("WEEKOFYEAR", DateFunction::WeekOfYear),
    ("YEAR", DateFunction::Part(Unit::Year)),
    ("YEARWEEK", DateFunction::YearWeek),
];

impl DateFunction {
    /// The function that serves the native one of this name, in upper case.
    pub(in crate::wires::mysql::sql) fn serving(name: &str) -> Option<Self> {
        SERVED.iter().find(|(served, _)| *served == name).map(|(_, function)| *function)
    }

    /// Its name in an error about those digits.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sysdate(_) => "sysdate",
            Self::UtcTimestamp(_) => "utc_timestamp",
            Self::CurTime(_) => "curtime",
            Self::UtcTime(_) => "utc_time",
            _ => "now",
        }
    }

    /// The same with so many digits of a fraction; none if it has no such number.
    pub(super) fn with_digits(self, digits: u8) -> Option<Self> {
        Some(match self {
            Self::Now(_) => Self::Now(digits),
            Self::Sysdate(_) => Self::Sysdate(digits),
            Self::UtcTimestamp(_) => Self::UtcTimestamp(digits),
            Self::CurTime(_) => Self::CurTime(digits),
            Self::UtcTime(_) => Self::UtcTime(digits),
            _ => return None,
        })
    }
}
