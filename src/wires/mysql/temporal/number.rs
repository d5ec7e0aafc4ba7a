//! Dates and times as numbers: `20261127101112.5`, `261127`, `101112`.

use super::{Date, DateTime, HOUR, MINUTE, Rules, SECOND, Temporal, Time};

/// Digits of a clock: `000000` to `235959`.
const CLOCK: i64 = 1_000_000;

/// The greatest number that is a time, and the least that is a moment where a time is wanted.
const MAX_TIME: i64 = 8_385_959;
const MIN_MOMENT: i64 = 10_000_000_000;

/// Of a whole number and microseconds behind its point. None if it is no date, or none that is taken.
pub(in crate::wires::mysql) fn datetime_of_number(
    whole: i64,
    micros: i64,
    digits: u8,
    rules: Rules,
) -> Option<Temporal> {
    if whole < 0 || micros < 0 || whole > 99_999_999_999_999 {
        return None;
    }
    let is_date = whole != 0 && whole <= 99_991_231;
    let number = if is_date { whole * CLOCK } else { whole };
    let number = match number / CLOCK {
        _ if whole == 0 => 0,
        date @ 101..=691_231 => (date + 20_000_000) * CLOCK + number % CLOCK,
        date @ 700_101..=991_231 => (date + 19_000_000) * CLOCK + number % CLOCK,
        10_000_101.. => number,
        _ => return None,
    };
    let (date, clock) = (number / CLOCK, number % CLOCK);
    let date = Date::new(date / 10_000, date / 100 % 100, date % 100)?;
    let time = clock_of(clock).filter(|time| *time < 24 * HOUR)?;
    if !rules.take(date, whole == 0 && micros == 0) {
        return None;
    }
    if is_date {
        return Some(Temporal::Date(date));
    }
    let moment = DateTime { date, micros: time }.plus_micros(micros)?;
    Some(Temporal::DateTime { moment, digits })
}

/// A time, or a moment that has one.
pub(in crate::wires::mysql) fn time_of_number(
    whole: i64,
    micros: i64,
    digits: u8,
    rules: Rules,
) -> Option<Temporal> {
    if whole >= MIN_MOMENT {
        return datetime_of_number(whole, micros, digits, rules.lenient());
    }
    let time = clock_of(whole.checked_abs().filter(|time| *time <= MAX_TIME)?)?;
    let is_negative = whole < 0 || micros < 0;
    let (time, _) = Time::clamped(time + micros.abs());
    Some(Temporal::Time { time: if is_negative { Time(-time.0) } else { time }, digits })
}

/// `HHMMSS` in microseconds.
fn clock_of(number: i64) -> Option<i64> {
    let (hour, minute, second) = (number / 10_000, number / 100 % 100, number % 100);
    (minute < 60 && second < 60).then_some(hour * HOUR + minute * MINUTE + second * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dates_by_their_length() {
        let rules = Rules { zero: false, zero_parts: false, invalid: false };
        for (number, text) in [
            (20_261_127, "2026-11-27"),
            (261_127, "2026-11-27"),
            (991_231, "1999-12-31"),
            (101, "2000-01-01"),
            (261_127_101_112, "2026-11-27 10:11:12"),
            (20_261_127_101_112, "2026-11-27 10:11:12"),
            (101_000_000, "2000-01-01 00:00:00"),
        ] {
            let value = datetime_of_number(number, 0, 0, rules).map(|value| value.to_string());
            assert_eq!(value.as_deref(), Some(text), "{number}");
        }
        for number in [-1, 0, 1, 100, 20_261_301, 20_260_231, 20_261_127_250_000, i64::MAX, i64::MIN] {
            assert_eq!(datetime_of_number(number, 0, 0, rules), None, "{number}");
        }
        for (number, text) in [(101_112, "10:11:12"), (-8_385_959, "-838:59:59"), (5, "00:00:05")] {
            let value = time_of_number(number, 0, 0, rules).map(|value| value.to_string());
            assert_eq!(value.as_deref(), Some(text), "{number}");
        }
        for number in [60, 6_000, 8_390_000, i64::MAX, i64::MIN] {
            assert_eq!(time_of_number(number, 0, 0, rules), None, "{number}");
        }
    }
}
