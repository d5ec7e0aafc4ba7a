//! Times of a day and between two moments, and moments: a date with a time of its day.

use super::{Date, Fields, MAX_DAY};

pub(in crate::wires::mysql) const SECOND: i64 = 1_000_000;
pub(in crate::wires::mysql) const MINUTE: i64 = 60 * SECOND;
pub(in crate::wires::mysql) const HOUR: i64 = 60 * MINUTE;
pub(in crate::wires::mysql) const DAY: i64 = 24 * HOUR;

/// The number of the day 1970-01-01.
const UNIX_DAY: i64 = 719_528;

/// Microseconds, from `-838:59:59` to `838:59:59`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::wires::mysql) struct Time(pub i64);

/// A date, and microseconds of its day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::wires::mysql) struct DateTime {
    pub date: Date,
    pub micros: i64,
}

impl Time {
    pub(in crate::wires::mysql) const MAX: i64 = 838 * HOUR + 59 * MINUTE + 59 * SECOND;

    /// As near as may be; and whether it is another.
    pub(in crate::wires::mysql) fn clamped(micros: i64) -> (Self, bool) {
        let near = micros.clamp(-Self::MAX, Self::MAX);
        (Self(near), near != micros)
    }

    pub(in crate::wires::mysql) fn fields(self) -> Fields {
        Fields { is_negative: self.0 < 0, ..clock(self.0.abs()) }
    }
}

impl DateTime {
    /// Of microseconds since 1970. What is beyond all years is 1970.
    pub(in crate::wires::mysql) fn of_unix(micros: i64) -> Self {
        let day = UNIX_DAY + micros.div_euclid(DAY);
        let date = Date::of_day(day).filter(|date| !date.is_zero());
        let date = date.unwrap_or(Date { year: 1970, month: 1, day: 1 });
        Self { date, micros: micros.rem_euclid(DAY) }
    }

    /// Microseconds since 1970.
    pub(in crate::wires::mysql) fn to_unix(self) -> i64 {
        (self.date.day_number() - UNIX_DAY) * DAY + self.micros
    }

    /// Microseconds since the year 0.
    pub(in crate::wires::mysql) fn since_zero(self) -> i64 {
        self.date.day_number() * DAY + self.micros
    }

    /// None where there is no such year.
    pub(in crate::wires::mysql) fn plus_micros(self, micros: i64) -> Option<Self> {
        let sum = self.since_zero().checked_add(micros).filter(|sum| *sum >= 0)?;
        let day = sum.div_euclid(DAY);
        // A time alone may be added to the zero date.
        let date = if day == self.date.day_number() { self.date } else { Date::of_day(day)? };
        (day <= MAX_DAY).then_some(Self { date, micros: sum.rem_euclid(DAY) })
    }

    /// None where it would be in the year 10000.
    pub(in crate::wires::mysql) fn rounded(self, digits: u8) -> Option<Self> {
        self.plus_micros(rounded(self.micros, digits) - self.micros)
    }

    pub(in crate::wires::mysql) fn fields(self) -> Fields {
        let Fields { year, month, day, .. } = self.date.fields();
        Fields { year, month, day, ..clock(self.micros) }
    }
}

/// Microseconds with so many digits of a fraction, half away from zero.
pub(in crate::wires::mysql) fn rounded(micros: i64, digits: u8) -> i64 {
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    let half = unit / 2 * micros.signum();
    (micros + half) / unit * unit
}

/// The parts of microseconds that are not negative.
fn clock(micros: i64) -> Fields {
    Fields {
        hour: micros / HOUR,
        minute: micros / MINUTE % 60,
        second: micros / SECOND % 60,
        micros: micros % SECOND,
        ..Fields::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert_to_microseconds() {
        let moment = DateTime::of_unix(1_795_166_999_123_456);
        assert_eq!(moment.date, Date { year: 2026, month: 11, day: 20 });
        assert_eq!(moment.to_unix(), 1_795_166_999_123_456);
        assert_eq!(DateTime::of_unix(-1).date, Date { year: 1969, month: 12, day: 31 });
        assert_eq!(DateTime::of_unix(i64::MAX).date, Date { year: 1970, month: 1, day: 1 });
        let last = DateTime { date: Date { year: 9999, month: 12, day: 31 }, micros: DAY - 1 };
        assert_eq!(last.plus_micros(1), None);
        assert_eq!(last.rounded(0), None);
        assert_eq!(last.plus_micros(i64::MIN), None);
        assert_eq!(
            (rounded(1_500_000, 0), rounded(-1_500_000, 0), rounded(1_499_999, 0)),
            (2 * SECOND, -2 * SECOND, SECOND)
        );
    }
}
