//! Dates and times as people type them: `2026-11-27 10:11:12.5`, `26/11/27`, `20261127T101112`, `1 10:11`.

use super::{Date, DateTime, HOUR, MINUTE, Offset, Rules, SECOND, Temporal, Time};

/// What a text says, and what is to be said of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Read {
    pub value: Temporal,
    /// Whether it says something else behind that, or more than there is.
    pub is_cut: bool,
    pub deprecated: Option<Deprecated>,
    /// Of what it is, if it says so.
    pub zone: Option<Offset>,
}

/// A delimiter that is taken and should be another, or should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Deprecated {
    pub delimiter: char,
    pub position: usize,
    /// None for one too many.
    pub standard: Option<char>,
}

/// The most that a part may be.
const MAX_PART: i64 = 999_999;

/// The parts of a text that is a date: year, month, day, hour, minute, second, microseconds.
#[derive(Default)]
struct Parts {
    numbers: [i64; 7],
    count: usize,
    /// Digits of the year and of the fraction.
    year_digits: usize,
    digits: u8,
    /// Whether the date and the time are delimited by a space, and whether anything is.
    has_space: bool,
    has_delimiter: bool,
    deprecated: Option<Deprecated>,
}

/// A place in a text.
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

    /// A number of at most so many digits, none if it is greater than any that is of use.
    fn number(&mut self, most: usize) -> Option<i64> {
        let mut number = 0_i64;
        let end = self.at.saturating_add(most);
        while let Some(c) = self.peek().filter(|c| c.is_ascii_digit() && self.at < end) {
            number = number.checked_mul(10)?.checked_add((c - b'0').into())?;
            self.at += 1;
        }
        Some(number)
    }

    /// Digits behind a point, as microseconds; and how many there are. A seventh digit rounds.
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

/// A date, or a date with a time. None if it is neither, or none that is taken.
pub(in crate::wires::mysql) fn datetime_of_text(text: &str, rules: Rules) -> Option<Read> {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    let parts = parts(&mut scanner)?;
    moment(&mut scanner, parts, rules)
}

fn parts(scanner: &mut Scanner<'_>) -> Option<Parts> {
    let mut parts = Parts::default();
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

/// What stands between two parts: any punctuation, and behind the day spaces.
fn delimiters(scanner: &mut Scanner<'_>, parts: &mut Parts) -> Option<()> {
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

fn moment(scanner: &mut Scanner<'_>, parts: Parts, rules: Rules) -> Option<Read> {
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
    Some(Read { value, is_cut: scanner.peek().is_some(), deprecated: parts.deprecated, zone })
}

/// `+02:00` at the end.
fn zone(scanner: &mut Scanner<'_>) -> Option<Offset> {
    let rest = std::str::from_utf8(&scanner.text[scanner.at..]).ok()?;
    let offset = Offset::named(rest).filter(|_| rest.len() == 6 && rest != "-00:00" && rest != "SYSTEM")?;
    scanner.at = scanner.text.len();
    Some(offset)
}

/// The year that two digits are.
pub(in crate::wires::mysql) fn with_century(year: i64) -> i64 {
    match year {
        0..70 => 2000 + year,
        70..100 => 1900 + year,
        _ => year,
    }
}

/// The shortest text that may be a date with a time.
const SHORTEST_MOMENT: usize = 12;

/// A time, or a moment that has one. None if it is neither.
pub(in crate::wires::mysql) fn time_of_text(text: &str, rules: Rules) -> Option<Read> {
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
    Some(Read { value: Temporal::Time { time, digits }, is_cut, deprecated: None, zone: None })
}

struct Clock {
    hours: i64,
    minutes: i64,
    seconds: i64,
    /// How many digits, and how many microseconds.
    fraction: (u8, i64),
}

/// `[D ]HH:MM:SS`, `D HH`, `HH:MM`, or `HHMMSS`.
fn clock(scanner: &mut Scanner<'_>) -> Option<Clock> {
    let first = scanner.number(usize::MAX).filter(|first| *first <= u32::MAX.into())?;
    let end = scanner.at;
    scanner.spaces();
    let is_more = scanner.text.len() > scanner.at + 1;
    let mut clock = if is_more && scanner.at > end && scanner.is_digit() {
        let [hours, minutes, seconds] = colons(scanner)?;
        Clock { hours: hours.checked_add(first * 24)?, minutes, seconds, fraction: (0, 0) }
    } else {
        scanner.at = end;
        if is_colon(scanner) {
            scanner.at += 1;
            let [minutes, seconds] = colons(scanner)?;
            Clock { hours: first, minutes, seconds, fraction: (0, 0) }
        } else {
            let (hours, minutes, seconds) = (first / 10_000, first / 100 % 100, first % 100);
            Clock { hours, minutes, seconds, fraction: (0, 0) }
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

/// Up to so many numbers between colons.
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

#[cfg(test)]
mod tests;
