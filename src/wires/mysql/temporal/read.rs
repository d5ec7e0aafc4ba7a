//! Parsing dates and times as people type them, `2026-11-27 10:11:12.5`, `26/11/27`, `20261127T101112`, `1 10:11`, and
//! as numbers: `20261127101112.5`, `261127`, `101112`.

use super::{Date, DateTime, HOUR, MINUTE, Offset, Rules, SECOND, Temporal, Time};

/// A value that was parsed from a string, and reasons for warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Reading {
    pub value: Temporal,
    /// Whether the string continues after the value, or the value was clamped.
    pub is_cut: bool,
    pub deprecated: Option<Deprecated>,
    /// The time zone, if the string names one.
    pub zone: Option<Offset>,
}

/// A delimiter that is accepted but deprecated or superfluous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Deprecated {
    pub delimiter: char,
    pub position: usize,
    /// The delimiter to use instead; `None` if it is superfluous.
    pub standard: Option<char>,
}

/// The greatest value of a part.
const MAX_PART: i64 = 999_999;

/// The parts of a string that is a date: year, month, day, hour, minute, second, microseconds.
#[derive(Default)]
struct DateParts {
    numbers: [i64; 7],
    count: usize,
    /// The numbers of digits of the year and of the fraction.
    year_digits: usize,
    digits: u8,
    /// Whether the date and the time are separated by a space, and whether by anything.
    has_space: bool,
    has_delimiter: bool,
    deprecated: Option<Deprecated>,
}

/// A position in a string.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn is_digit(&self) -> bool {
        self.peek().is_some_and(|c| c.is_ascii_digit())
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// A number of at most `most` digits; `None` if it overflows.
    fn number(&mut self, most: usize) -> Option<i64> {
        let mut number = 0_i64;
        let end = self.at.saturating_add(most);
        while let Some(c) = self.peek().filter(|c| c.is_ascii_digit() && self.at < end) {
            number = number.checked_mul(10)?.checked_add((c - b'0').into())?;
            self.at += 1;
        }
        Some(number)
    }

    /// The digits after a point, as microseconds, and their number. A seventh digit rounds.
    fn fraction(&mut self) -> (i64, u8) {
        let start = self.at;
        let number = self.number(6).unwrap_or(0);
        let digits = self.at - start;
        let rounds = digits == 6 && self.peek().is_some_and(|c| (b'5'..=b'9').contains(&c));
        while self.is_digit() {
            self.at += 1;
        }
        let digits = u8::try_from(digits).unwrap_or(6);
        (number * 10_i64.pow(6 - u32::from(digits)) + i64::from(rounds), digits)
    }
}

/// Parses a date, or a date with a time. `None` if the string is neither, or if the rules do not accept it.
pub(in crate::wires::mysql) fn datetime_of_text(text: &str, rules: Rules) -> Option<Reading> {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    let parts = parts(&mut scanner)?;
    moment(&mut scanner, parts, rules)
}

fn parts(scanner: &mut Scanner<'_>) -> Option<DateParts> {
    let mut parts = DateParts::default();
    if let Some(space) = scanner.peek().filter(|c| is_space(*c)) {
        parts.deprecated = Some(Deprecated { delimiter: space.into(), position: 0, standard: None });
    }
    scanner.spaces();
    if !scanner.is_digit() {
        return None;
    }
    let rest = &scanner.text[scanner.at..];
    let run = rest.iter().take_while(|c| c.is_ascii_digit() || **c == b'T').count();
    let is_compact = matches!(rest.get(run), None | Some(b'.'));
    let has_century = !is_compact || matches!(run, 4 | 8 | 14..);
    while parts.count < 6 && scanner.is_digit() {
        let (start, at) = (scanner.at, parts.count);
        let width = if at == 0 && has_century { 4 } else { 2 };
        let number = scanner.number(if is_compact { width } else { usize::MAX })?;
        if number > MAX_PART {
            return None;
        }
        parts.numbers[at] = number;
        parts.count += 1;
        if at == 0 {
            parts.year_digits = if is_compact { width } else { scanner.at - start };
        }
        match scanner.peek() {
            None => break,
            Some(b'T') if at == 2 => scanner.at += 1,
            Some(b'.') if at == 5 => {
                scanner.at += 1;
                if scanner.is_digit() {
                    (parts.numbers[6], parts.digits) = scanner.fraction();
                    parts.count = 7;
                }
            }
            _ if at == 5 => {}
            _ => delimiters(scanner, &mut parts)?,
        }
    }
    Some(parts)
}

/// Skips what separates two parts: any punctuation, and after the day also spaces.
fn delimiters(scanner: &mut Scanner<'_>, parts: &mut DateParts) -> Option<()> {
    let is_after_day = parts.count == 3;
    let standard = if is_after_day {
        ' '
    } else if parts.count < 3 {
        '-'
    } else {
        ':'
    };
    let start = scanner.at;
    while let Some(c) = scanner.peek().filter(|c| is_space(*c) || c.is_ascii_punctuation()) {
        if is_space(c) && !is_after_day {
            return None;
        }
        parts.has_space |= is_space(c);
        parts.has_delimiter = true;
        let (delimiter, position) = (char::from(c), scanner.at);
        scanner.at += 1;
        let is_last = scanner.at == scanner.text.len();
        if position > start || is_last {
            // Spaces at the end are no delimiters.
            if !(is_last && is_space(c)) {
                parts.deprecated.get_or_insert(Deprecated { delimiter, position, standard: None });
            }
        } else if delimiter != standard {
            parts.deprecated.get_or_insert(Deprecated { delimiter, position, standard: Some(standard) });
        }
    }
    Some(())
}

fn moment(scanner: &mut Scanner<'_>, parts: DateParts, rules: Rules) -> Option<Reading> {
    let [mut year, month, day, hour, minute, second, micros] = parts.numbers;
    let is_zero = parts.numbers == [0; 7];
    if parts.year_digits == 2 && !is_zero {
        year = with_century(year);
    }
    let date = Date::new(year, month, day)?;
    if parts.count < 3 || hour > 23 || minute > 59 || second > 59 || !rules.take(date, is_zero) {
        return None;
    }
    let moment = DateTime { date, micros: hour * HOUR + minute * MINUTE + second * SECOND };
    let moment = moment.plus_micros(micros)?;
    let zone = if parts.count >= 6 { zone(scanner) } else { None };
    scanner.spaces();
    let value = if parts.count <= 3 {
        Temporal::Date(date)
    } else {
        Temporal::DateTime { moment, digits: parts.digits }
    };
    Some(Reading { value, is_cut: scanner.peek().is_some(), deprecated: parts.deprecated, zone })
}

/// `+02:00` at the end.
fn zone(scanner: &mut Scanner<'_>) -> Option<Offset> {
    let rest = std::str::from_utf8(&scanner.text[scanner.at..]).ok()?;
    let offset = Offset::named(rest).filter(|_| rest.len() == 6 && rest != "-00:00" && rest != "SYSTEM")?;
    scanner.at = scanner.text.len();
    Some(offset)
}

/// The year for two digits.
pub(in crate::wires::mysql) fn with_century(year: i64) -> i64 {
    match year {
        0..70 => 2000 + year,
        70..100 => 1900 + year,
        _ => year,
    }
}

/// The shortest string that may be a date with a time.
const SHORTEST_MOMENT: usize = 12;

/// Parses a time, or a moment that has one. `None` if the string is neither.
pub(in crate::wires::mysql) fn time_of_text(text: &str, rules: Rules) -> Option<Reading> {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    scanner.spaces();
    let is_negative = scanner.peek() == Some(b'-');
    scanner.at += usize::from(is_negative);
    let start = scanner.at;
    if text.len() - start >= SHORTEST_MOMENT {
        let mut whole = Scanner { text: scanner.text, at: start };
        if let Some(parts) = parts(&mut whole)
            && (parts.has_space || !parts.has_delimiter)
        {
            return moment(&mut whole, parts, rules.lenient());
        }
    }
    let clock = clock(&mut scanner)?;
    if scanner.at == start {
        return None;
    }
    let (digits, fraction) = clock.fraction;
    let whole =
        clock.hours.checked_mul(HOUR)?.checked_add(clock.minutes * MINUTE + clock.seconds * SECOND)?;
    let micros = whole.checked_add(fraction)?;
    let (time, is_clamped) = Time::clamped(if is_negative { -micros } else { micros });
    scanner.spaces();
    let is_cut = is_clamped || scanner.peek().is_some();
    Some(Reading { value: Temporal::Time { time, digits }, is_cut, deprecated: None, zone: None })
}

struct ClockParts {
    hours: i64,
    minutes: i64,
    seconds: i64,
    /// The number of digits, and the microseconds.
    fraction: (u8, i64),
}

/// `[D ]HH:MM:SS`, `D HH`, `HH:MM`, or `HHMMSS`.
fn clock(scanner: &mut Scanner<'_>) -> Option<ClockParts> {
    let first = scanner.number(usize::MAX).filter(|first| *first <= u32::MAX.into())?;
    let end = scanner.at;
    scanner.spaces();
    let is_more = scanner.text.len() > scanner.at + 1;
    let mut clock = if is_more && scanner.at > end && scanner.is_digit() {
        let [hours, minutes, seconds] = colons(scanner)?;
        ClockParts { hours: hours.checked_add(first * 24)?, minutes, seconds, fraction: (0, 0) }
    } else {
        scanner.at = end;
        if is_colon(scanner) {
            scanner.at += 1;
            let [minutes, seconds] = colons(scanner)?;
            ClockParts { hours: first, minutes, seconds, fraction: (0, 0) }
        } else {
            let (hours, minutes, seconds) = (first / 10_000, first / 100 % 100, first % 100);
            ClockParts { hours, minutes, seconds, fraction: (0, 0) }
        }
    };
    if scanner.peek() == Some(b'.') {
        let at = scanner.at;
        scanner.at += 1;
        if scanner.is_digit() {
            let (micros, digits) = scanner.fraction();
            clock.fraction = (digits, micros);
        } else if scanner.peek().is_some() {
            scanner.at = at;
        }
    }
    (clock.minutes < 60 && clock.seconds < 60 && clock.hours < i64::from(u32::MAX)).then_some(clock)
}

/// Up to this many numbers, separated by colons.
fn colons<const COUNT: usize>(scanner: &mut Scanner<'_>) -> Option<[i64; COUNT]> {
    let mut numbers = [0; COUNT];
    for (at, number) in numbers.iter_mut().enumerate() {
        if at > 0 {
            if !is_colon(scanner) {
                break;
            }
            scanner.at += 1;
        }
        *number = scanner.number(usize::MAX).filter(|number| *number <= u32::MAX.into())?;
    }
    Some(numbers)
}

fn is_colon(scanner: &Scanner<'_>) -> bool {
    scanner.peek() == Some(b':') && scanner.text.get(scanner.at + 1).is_some_and(u8::is_ascii_digit)
}

fn is_space(c: u8) -> bool {
    c.is_ascii_whitespace() || c == 0x0b
}

/// Digits of a clock: `000000` to `235959`.
const CLOCK: i64 = 1_000_000;

/// The greatest number that is a time, and the least that is a moment where a time is expected.
const MAX_TIME: i64 = 8_385_959;
const MIN_MOMENT: i64 = 10_000_000_000;

/// The date in a whole number and the microseconds after its point. `None` if it is not a date, or if the rules do not
/// accept it.
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
    use super::super::{Amount, FormatParts, Interval, Unit, formatted, scanned};
    use super::*;

    const RULES: Rules = Rules { zero: false, zero_parts: false, invalid: false };

    /// Made of what dates are made of, so that much of it nearly is one.
    fn texts() -> impl Iterator<Item = String> {
        const PIECES: [&str; 24] = [
            "0",
            "00",
            "1",
            "12",
            "31",
            "59",
            "2026",
            "9999",
            "838",
            "-",
            ":",
            ".",
            " ",
            "T",
            "/",
            "+02:00",
            "%Y",
            "%j",
            "%V",
            "%X",
            "%f",
            "%",
            "é",
            "99999999999999999999",
        ];
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % 1_000_003).unwrap()
        };
        (0..30_000).map(move |_| (0..next() % 12).map(|_| PIECES[next() % PIECES.len()]).collect())
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let (mut dates, mut times) = (0, 0);
        let mut last = String::new();
        for text in texts() {
            for rules in [RULES, RULES.lenient(), Rules { zero: true, zero_parts: true, invalid: true }] {
                let values = [datetime_of_text(&text, rules), time_of_text(&text, rules)];
                dates += usize::from(values[0].is_some());
                times += usize::from(values[1].is_some());
                for read in values.into_iter().flatten() {
                    let _ = (read.value.to_string(), read.value.number(), formatted(read.value, &last));
                }
            }
            if let Some((value, _)) = scanned(&text, &last) {
                let _ = value.to_string();
            }
            let _ = FormatParts::of(&text);
            for unit in [Unit::DayMicrosecond, Unit::YearMonth, Unit::HourMinute] {
                let interval = Interval::new(Amount::Text(&text), unit);
                let moment = DateTime { date: Date { year: 2026, month: 1, day: 31 }, micros: 1 };
                let _ = interval.and_then(Interval::negated).and_then(|interval| interval.after(moment));
            }
            last = text;
        }
        assert!(dates > 1_000 && times > 5_000, "too few were dates: {dates}, {times}");
    }

    #[test]
    fn nonstandard_delimiters_give_a_warning() {
        let told = |text| {
            let Deprecated { delimiter, position, standard } = datetime_of_text(text, RULES)?.deprecated?;
            Some((delimiter, position, standard))
        };
        assert_eq!(told("2026-11-27 10:11:12.5"), None);
        assert_eq!(told("2026-11-27T10:11:12"), None);
        assert_eq!(told("2012^12^31 11+30+45"), Some(('^', 4, Some('-'))));
        assert_eq!(told("2012-12-31   11-30-45"), Some((' ', 11, None)));
        assert_eq!(told("2012-12-31 11-30-45"), Some(('-', 13, Some(':'))));
        assert_eq!(told(" 2012-12-31"), Some((' ', 0, None)));
        assert_eq!(told("2012-12-31 "), None);
    }

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
