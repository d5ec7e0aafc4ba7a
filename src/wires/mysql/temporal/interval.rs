//! Intervals, which are added to dates: `INTERVAL '1 10' DAY_HOUR` (MySQL manual 11.5.3, "Temporal Intervals").

use super::{Components, DAY, Date, DateTime, HOUR, MINUTE, SECOND, Time, Weeks, rounded};

/// The unit of an interval, and of EXTRACT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Microsecond,
    YearMonth,
    DayHour,
    DayMinute,
    DaySecond,
    HourMinute,
    HourSecond,
    MinuteSecond,
    DayMicrosecond,
    HourMicrosecond,
    MinuteMicrosecond,
    SecondMicrosecond,
}

/// All units by name, and the number of numbers in each.
const UNITS: [(&str, Unit, usize); 20] = [
    ("YEAR", Unit::Year, 1),
    ("QUARTER", Unit::Quarter, 1),
    ("MONTH", Unit::Month, 1),
    ("WEEK", Unit::Week, 1),
    ("DAY", Unit::Day, 1),
    ("HOUR", Unit::Hour, 1),
    ("MINUTE", Unit::Minute, 1),
    ("SECOND", Unit::Second, 1),
    ("MICROSECOND", Unit::Microsecond, 1),
    ("YEAR_MONTH", Unit::YearMonth, 2),
    ("DAY_HOUR", Unit::DayHour, 2),
    ("DAY_MINUTE", Unit::DayMinute, 3),
    ("DAY_SECOND", Unit::DaySecond, 4),
    ("HOUR_MINUTE", Unit::HourMinute, 2),
    ("HOUR_SECOND", Unit::HourSecond, 3),
    ("MINUTE_SECOND", Unit::MinuteSecond, 2),
    ("DAY_MICROSECOND", Unit::DayMicrosecond, 5),
    ("HOUR_MICROSECOND", Unit::HourMicrosecond, 4),
    ("MINUTE_MICROSECOND", Unit::MinuteMicrosecond, 3),
    ("SECOND_MICROSECOND", Unit::SecondMicrosecond, 2),
];

/// The kind of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Amount<'a> {
    Whole(i64),
    /// Seconds with a fraction, in microseconds.
    Micros(i64),
    /// A unit with several numbers.
    Text(&'a str),
}

/// An interval with its amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Interval {
    Months(i64),
    Days(i64),
    Micros(i64),
}

impl Unit {
    pub(in crate::wires::mysql) fn named(name: &str) -> Option<Self> {
        let found = UNITS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        found.map(|(_, unit, _)| *unit)
    }

    /// The number of its numbers.
    fn numbers(self) -> usize {
        UNITS.iter().find(|(_, unit, _)| *unit == self).map_or(1, |(.., numbers)| *numbers)
    }

    pub(in crate::wires::mysql) fn is_composite(self) -> bool {
        self.numbers() > 1
    }

    /// Whether it consists of days or more, so that a date remains a date.
    pub(in crate::wires::mysql) fn is_of_date(self) -> bool {
        use Unit::{Day, Month, Quarter, Week, Year, YearMonth};
        matches!(self, Year | Quarter | Month | Week | Day | YearMonth)
    }

    /// Whether it has no days or more, so that a time remains a time.
    pub(in crate::wires::mysql) fn is_of_time(self) -> bool {
        use Unit::{DayHour, DayMicrosecond, DayMinute, DaySecond};
        !self.is_of_date() && !matches!(self, DayHour | DayMinute | DaySecond | DayMicrosecond)
    }

    pub(in crate::wires::mysql) fn has_micros(self) -> bool {
        use Unit::{DayMicrosecond, HourMicrosecond, Microsecond, MinuteMicrosecond, SecondMicrosecond};
        matches!(self, Microsecond | DayMicrosecond | HourMicrosecond | MinuteMicrosecond | SecondMicrosecond)
    }

    /// The value of EXTRACT for the parts of a value.
    pub(in crate::wires::mysql) fn extract(self, of: Components, weeks: Weeks) -> i64 {
        let Components { is_negative, year, month, day, hour, minute, second, micros } = of;
        let clock = (hour * 100 + minute) * 100 + second;
        let number = match self {
            Self::Year => year,
            Self::Quarter => (month + 2) / 3,
            Self::Month => month,
            Self::Week => Date::new(year, month, day).map_or(0, |date| weeks.week(date).1),
            Self::Day => day,
            Self::Hour => hour,
            Self::Minute => minute,
            Self::Second => second,
            Self::Microsecond => micros,
            Self::YearMonth => year * 100 + month,
            Self::DayHour => day * 100 + hour,
            Self::DayMinute => (day * 100 + hour) * 100 + minute,
            Self::DaySecond => day * 1_000_000 + clock,
            Self::HourMinute => hour * 100 + minute,
            Self::HourSecond => clock,
            Self::MinuteSecond => minute * 100 + second,
            Self::DayMicrosecond => (day * 1_000_000 + clock) * SECOND + micros,
            Self::HourMicrosecond => clock * SECOND + micros,
            Self::MinuteMicrosecond => (minute * 100 + second) * SECOND + micros,
            Self::SecondMicrosecond => second * SECOND + micros,
        };
        if is_negative { -number } else { number }
    }

    /// The number of complete units between two moments.
    pub(in crate::wires::mysql) fn between(self, from: DateTime, to: DateTime) -> i64 {
        let micros = to.since_zero() - from.since_zero();
        match self {
            Self::Year => months(from, to) / 12,
            Self::Quarter => months(from, to) / 3,
            Self::Month => months(from, to),
            Self::Week => micros / (7 * DAY),
            Self::Day => micros / DAY,
            Self::Hour => micros / HOUR,
            Self::Minute => micros / MINUTE,
            Self::Second => micros / SECOND,
            _ => micros,
        }
    }
}

/// Whole months.
fn months(from: DateTime, to: DateTime) -> i64 {
    if to < from {
        return -months(to, from);
    }
    let number = |date: Date| i64::from(date.year) * 12 + i64::from(date.month);
    let is_part = (to.date.day, to.micros) < (from.date.day, from.micros);
    number(to.date) - number(from.date) - i64::from(is_part)
}

impl Interval {
    /// `None` if the interval is larger than the range of dates.
    pub(in crate::wires::mysql) fn new(amount: Amount<'_>, unit: Unit) -> Option<Self> {
        let amount = match amount {
            Amount::Text(text) => return Self::composite(text, unit),
            Amount::Micros(micros) => return Some(Self::Micros(rounded(micros, 6))),
            Amount::Whole(amount) => amount,
        };
        let micros = |unit: i64| amount.checked_mul(unit).map(Self::Micros);
        match unit {
            Unit::Year => amount.checked_mul(12).map(Self::Months),
            Unit::Quarter => amount.checked_mul(3).map(Self::Months),
            Unit::Month => Some(Self::Months(amount)),
            Unit::Week => amount.checked_mul(7).map(Self::Days),
            Unit::Day => Some(Self::Days(amount)),
            Unit::Hour => micros(HOUR),
            Unit::Minute => micros(MINUTE),
            Unit::Second => micros(SECOND),
            _ => Some(Self::Micros(amount)),
        }
    }

    /// `1 10:11`: numbers with anything between them. The first ones may be omitted.
    fn composite(text: &str, unit: Unit) -> Option<Self> {
        let text = text.trim_start();
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let mut parts: Vec<&str> = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .take(unit.numbers() + 1)
            .collect();
        if parts.len() > unit.numbers() {
            return None;
        }
        while parts.len() < unit.numbers() {
            parts.insert(0, "0");
        }
        let mut numbers = Vec::new();
        for part in &parts {
            numbers.push(part.parse::<i64>().ok()?);
        }
        if unit.has_micros()
            && let Some((number, digits)) = numbers.last_mut().zip(parts.last().map(|part| part.len()))
        {
            // A fraction: so many digits of it are given.
            *number = number.checked_mul(10_i64.pow(6_u32.saturating_sub(digits.try_into().ok()?)))?;
        }
        let signed = |number: i64| if is_negative { -number } else { number };
        if unit == Unit::YearMonth {
            let months = numbers[0].checked_mul(12)?.checked_add(numbers[1])?;
            return Some(Self::Months(signed(months)));
        }
        let scales = scales(unit);
        let mut micros = 0_i64;
        for (number, scale) in numbers.iter().zip(scales) {
            micros = micros.checked_add(number.checked_mul(*scale)?)?;
        }
        Some(Self::Micros(signed(micros)))
    }

    pub(in crate::wires::mysql) fn negated(self) -> Option<Self> {
        Some(match self {
            Self::Months(months) => Self::Months(months.checked_neg()?),
            Self::Days(days) => Self::Days(days.checked_neg()?),
            Self::Micros(micros) => Self::Micros(micros.checked_neg()?),
        })
    }

    /// `None` if there is no such day.
    pub(in crate::wires::mysql) fn after(self, moment: DateTime) -> Option<DateTime> {
        match self {
            Self::Months(months) => Some(DateTime { date: moment.date.plus_months(months)?, ..moment }),
            Self::Days(days) => moment.plus_micros(days.checked_mul(DAY)?),
            Self::Micros(micros) => moment.plus_micros(micros),
        }
    }

    /// `None` if it is out of the range of times.
    pub(in crate::wires::mysql) fn longer(self, time: Time) -> Option<Time> {
        let Self::Micros(micros) = self else { return None };
        let (time, is_clamped) = Time::clamped(time.0.checked_add(micros)?);
        (!is_clamped).then_some(time)
    }
}

/// The lengths of a unit's parts, in microseconds.
fn scales(unit: Unit) -> &'static [i64] {
    const ALL: [i64; 5] = [DAY, HOUR, MINUTE, SECOND, 1];
    let (from, to) = match unit {
        Unit::DayHour => (0, 2),
        Unit::DayMinute => (0, 3),
        Unit::DaySecond => (0, 4),
        Unit::HourMinute => (1, 3),
        Unit::HourSecond => (1, 4),
        Unit::MinuteSecond => (2, 4),
        Unit::DayMicrosecond => (0, 5),
        Unit::HourMicrosecond => (1, 5),
        Unit::MinuteMicrosecond => (2, 5),
        _ => (3, 5),
    };
    &ALL[from..to]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_parts_are_aligned_right() {
        let micros = |text, unit| Interval::new(Amount::Text(text), unit);
        assert_eq!(micros("1 10", Unit::DayHour), Some(Interval::Micros(DAY + 10 * HOUR)));
        assert_eq!(micros("-1:30", Unit::DaySecond), Some(Interval::Micros(-(MINUTE + 30 * SECOND))));
        assert_eq!(micros("1.5", Unit::SecondMicrosecond), Some(Interval::Micros(1_500_000)));
        assert_eq!(micros("1.000005", Unit::SecondMicrosecond), Some(Interval::Micros(1_000_005)));
        assert_eq!(micros("1-2", Unit::YearMonth), Some(Interval::Months(14)));
        assert_eq!(micros("", Unit::DayHour), Some(Interval::Micros(0)));
        assert_eq!(micros("1 2 3", Unit::DayHour), None);
        assert_eq!(micros("99999999999999999999", Unit::DayHour), None);
        assert_eq!(Interval::new(Amount::Whole(i64::MIN), Unit::Day).unwrap().negated(), None);
        assert_eq!(Interval::new(Amount::Whole(i64::MAX), Unit::Year), None);
    }
}
