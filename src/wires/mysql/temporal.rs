//! Dates and times like MySQL's (manual 13.2): the values, and computations with them that need no session. Pure. The
//! SQL functions are in `sql/eval/dates`.
//!
//! A year has 12 months and a month its days, but a value may have zeros instead: in `2026-00-00` only the year is
//! known. Whether that is accepted is decided by [`Rules`].

mod date;
mod format;
mod interval;
mod read;
mod time;

use std::{cmp::Ordering, fmt};

pub(super) use date::{DAYS, Date, MAX_DAY, MONTHS, Weeks};
pub(super) use format::{FormatParts, formatted, longest, scanned};
pub(super) use interval::{Amount, Interval, Unit};
pub(super) use read::{
    Deprecated, Reading, datetime_of_number, datetime_of_text, time_of_number, time_of_text, with_century,
};
pub(super) use time::{DAY, DateTime, HOUR, MINUTE, Offset, SECOND, Time, rounded};

/// A value of one of three kinds. `digits` is the number of digits of its fraction that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temporal {
    Date(Date),
    Time { time: Time, digits: u8 },
    DateTime { moment: DateTime, digits: u8 },
}

/// Which dates are accepted, by `@@sql_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// `0000-00-00`
    pub zero: bool,
    /// `2026-00-00`
    pub zero_parts: bool,
    /// `2026-02-31`
    pub invalid: bool,
}

/// The parts of a value, as they are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Components {
    pub is_negative: bool,
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
}

impl Rules {
    /// The rules for a value of `@@sql_mode`.
    pub(super) fn of_mode(mode: &str) -> Self {
        let has = |wanted: &str| mode.split(',').any(|mode| mode.trim().eq_ignore_ascii_case(wanted));
        let traditional = has("TRADITIONAL");
        Self {
            zero: !traditional && !has("NO_ZERO_DATE"),
            zero_parts: !traditional && !has("NO_ZERO_IN_DATE"),
            invalid: has("ALLOW_INVALID_DATES"),
        }
    }

    /// The rules for functions that need a complete date.
    pub(super) fn strict(self) -> Self {
        Self { zero: false, zero_parts: false, ..self }
    }

    /// The rules for functions that read one part of a date.
    pub(super) fn lenient(self) -> Self {
        Self { zero_parts: true, ..self }
    }

    /// Whether a date is accepted. `is_zero`: the date and its time are all zeros.
    fn take(self, date: Date, is_zero: bool) -> bool {
        if is_zero {
            return self.zero;
        }
        (self.zero_parts || !date.has_zeros()) && (self.invalid || date.has_zeros() || date.exists())
    }
}

impl Temporal {
    pub(super) fn digits(self) -> u8 {
        match self {
            Self::Date(_) => 0,
            Self::Time { digits, .. } | Self::DateTime { digits, .. } => digits,
        }
    }

    pub(super) fn fields(self) -> Components {
        match self {
            Self::Date(date) => date.fields(),
            Self::Time { time, .. } => time.fields(),
            Self::DateTime { moment, .. } => moment.fields(),
        }
    }

    /// The value as a moment: a date is its midnight, a time is on today's date.
    pub(super) fn moment(self, today: Date) -> Option<DateTime> {
        match self {
            Self::Date(date) => Some(DateTime { date, micros: 0 }),
            Self::DateTime { moment, .. } => Some(moment),
            Self::Time { time, .. } => DateTime { date: today, micros: 0 }.plus_micros(time.0),
        }
    }

    /// Compares two values. A time is compared with a date as a time of today.
    pub(super) fn compare(self, other: Self, today: Date) -> Ordering {
        match (self, other) {
            (Self::Time { time: a, .. }, Self::Time { time: b, .. }) => a.cmp(&b),
            (a, b) => a.moment(today).cmp(&b.moment(today)),
        }
    }
}

impl fmt::Display for Temporal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Components { is_negative, year, month, day, hour, minute, second, micros } = self.fields();
        let date = format_args!("{year:04}-{month:02}-{day:02}");
        match self {
            Self::Date(_) => return f.write_fmt(date),
            Self::DateTime { .. } => write!(f, "{date} ")?,
            Self::Time { .. } if is_negative => f.write_str("-")?,
            Self::Time { .. } => {}
        }
        write!(f, "{hour:02}:{minute:02}:{second:02}")?;
        let digits = usize::from(self.digits().min(6));
        if digits == 0 {
            return Ok(());
        }
        let fraction = micros / 10_i64.pow(6 - u32::from(self.digits().min(6)));
        write!(f, ".{fraction:0digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporal_values_convert_to_numbers() {
        let date = Date { year: 2026, month: 11, day: 27 };
        let moment = DateTime { date, micros: 10 * HOUR + 11 * MINUTE + 12_500_000 };
        assert_eq!(Temporal::Date(date).number().to_string(), "20261127");
        assert_eq!(Temporal::DateTime { moment, digits: 0 }.number().to_string(), "20261127101112");
        assert_eq!(Temporal::DateTime { moment, digits: 2 }.number().to_string(), "20261127101112.50");
        let time = Time(-(HOUR + 1_500_000));
        assert_eq!(Temporal::Time { time, digits: 1 }.number().to_string(), "-10001.5");
    }

    #[test]
    fn values_are_written_with_their_digits() {
        let date = Date { year: 26, month: 1, day: 2 };
        assert_eq!(Temporal::Date(date).to_string(), "0026-01-02");
        let moment = DateTime { date, micros: HOUR + 2_030_000 };
        assert_eq!(Temporal::DateTime { moment, digits: 0 }.to_string(), "0026-01-02 01:00:02");
        assert_eq!(Temporal::DateTime { moment, digits: 3 }.to_string(), "0026-01-02 01:00:02.030");
        let time = Time(-100 * HOUR);
        assert_eq!(Temporal::Time { time, digits: 6 }.to_string(), "-100:00:00.000000");
    }
}
