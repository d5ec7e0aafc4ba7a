//! Times of day and time differences; moments, which are dates with a time; and the supported time zones, which are
//! offsets from UTC.

use super::{Components, Date, MAX_DAY};

pub(in crate::wires::mysql) const SECOND: i64 = 1_000_000;
pub(in crate::wires::mysql) const MINUTE: i64 = 60 * SECOND;
pub(in crate::wires::mysql) const HOUR: i64 = 60 * MINUTE;
pub(in crate::wires::mysql) const DAY: i64 = 24 * HOUR;

/// The day number of 1970-01-01.
const UNIX_DAY: i64 = 719_528;

/// Microseconds, from `-838:59:59` to `838:59:59`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::wires::mysql) struct Time(pub i64);

/// A date, and the microseconds since its midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::wires::mysql) struct DateTime {
    pub date: Date,
    pub micros: i64,
}

impl Time {
    pub(in crate::wires::mysql) const MAX: i64 = 838 * HOUR + 59 * MINUTE + 59 * SECOND;

    /// The nearest time within the limits, and whether it differs.
    pub(in crate::wires::mysql) fn clamped(micros: i64) -> (Self, bool) {
        let near = micros.clamp(-Self::MAX, Self::MAX);
        (Self(near), near != micros)
    }

    pub(in crate::wires::mysql) fn fields(self) -> Components {
        Components { is_negative: self.0 < 0, ..clock(self.0.abs()) }
    }
}

impl DateTime {
    /// The moment this many microseconds after the start of 1970. Beyond the range of years it is 1970.
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

    /// `None` if there is no such year.
    pub(in crate::wires::mysql) fn plus_micros(self, micros: i64) -> Option<Self> {
        let sum = self.since_zero().checked_add(micros).filter(|sum| *sum >= 0)?;
        let day = sum.div_euclid(DAY);
        // A time alone may be added to the zero date.
        let date = if day == self.date.day_number() { self.date } else { Date::of_day(day)? };
        (day <= MAX_DAY).then_some(Self { date, micros: sum.rem_euclid(DAY) })
    }

    /// `None` if it would be in the year 10000.
    pub(in crate::wires::mysql) fn rounded(self, digits: u8) -> Option<Self> {
        self.plus_micros(rounded(self.micros, digits) - self.micros)
    }

    pub(in crate::wires::mysql) fn fields(self) -> Components {
        let Components { year, month, day, .. } = self.date.fields();
        Components { year, month, day, ..clock(self.micros) }
    }
}

/// Rounds microseconds to this many digits of a second, half away from zero.
pub(in crate::wires::mysql) fn rounded(micros: i64, digits: u8) -> i64 {
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    let half = unit / 2 * micros.signum();
    (micros + half) / unit * unit
}

/// The parts of microseconds that are not negative.
fn clock(micros: i64) -> Components {
    Components {
        hour: micros / HOUR,
        minute: micros / MINUTE % 60,
        second: micros / SECOND % 60,
        micros: micros % SECOND,
        ..Components::default()
    }
}

/// The offset from UTC, in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Offset(i16);

impl Offset {
    /// `SYSTEM`, which is UTC, or `+02:00`: from `-13:59` to `+14:00`. Only a server with time zone tables knows names.
    pub(in crate::wires::mysql) fn named(zone: &str) -> Option<Self> {
        if zone.eq_ignore_ascii_case("SYSTEM") {
            return Some(Self::default());
        }
        let (is_west, digits) = match zone.as_bytes().split_first()? {
            (b'+', _) => (false, &zone[1..]),
            (b'-', _) => (true, &zone[1..]),
            _ => return None,
        };
        let (hours, minutes) = digits.split_once(':')?;
        let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
        if !(1..=2).contains(&hours.len()) || minutes.len() != 2 || !is_number(hours) || !is_number(minutes) {
            return None;
        }
        let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let all = hours * 60 + minutes;
        let most = if is_west { 13 * 60 + 59 } else { 14 * 60 };
        (minutes < 60 && all <= most).then_some(Self(if is_west { -all } else { all }))
    }

    /// The name of a zone as MySQL shows it, however it was typed.
    pub(in crate::wires::mysql) fn name(self, typed: &str) -> String {
        if typed.eq_ignore_ascii_case("SYSTEM") {
            return "SYSTEM".to_owned();
        }
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    pub(in crate::wires::mysql) fn micros(self) -> i64 {
        i64::from(self.0) * MINUTE
    }

    /// The local time this many microseconds after the start of 1970 UTC.
    pub(in crate::wires::mysql) fn local(self, unix: i64) -> DateTime {
        DateTime::of_unix(unix.saturating_add(self.micros()))
    }

    /// The microseconds since 1970 UTC of a local time.
    pub(in crate::wires::mysql) fn unix(self, local: DateTime) -> i64 {
        local.to_unix() - self.micros()
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

    #[test]
    fn time_zones_are_offsets() {
        for (zone, minutes) in
            [("SYSTEM", 0), ("system", 0), ("+00:00", 0), ("+2:00", 120), ("-13:59", -839), ("+14:00", 840)]
        {
            assert_eq!(Offset::named(zone), Some(Offset(minutes)), "{zone}");
        }
        for zone in
            ["", "UTC", "Europe/Berlin", "+14:01", "-14:00", "+1", "+01:60", "+001:00", "+ä:00", "+01:0"]
        {
            assert_eq!(Offset::named(zone), None, "{zone}");
        }
    }
}
