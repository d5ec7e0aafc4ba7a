//! DATE_FORMAT and TIME_FORMAT (MySQL manual 14.7, table "specifiers"), and STR_TO_DATE, which reads what they write.

use std::fmt::Write;

use super::{
    Components, DAYS, Date, DateTime, HOUR, MINUTE, MONTHS, SECOND, Temporal, Time, Weeks, date::short,
    read::with_century,
};

/// Formats a value; `None` if it lacks something that the format needs, such as the name of a month.
pub(in crate::wires::mysql) fn formatted(value: Temporal, format: &str) -> Option<String> {
    let fields = value.fields();
    let date = if matches!(value, Temporal::Time { .. }) {
        None
    } else {
        Date::new(fields.year, fields.month, fields.day)
    };
    let mut text = String::with_capacity(format.len());
    if fields.is_negative {
        text.push('-');
    }
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
        } else if let Some(specifier) = chars.next() {
            put(&mut text, specifier, fields, date)?;
        } else {
            text.push('%');
        }
    }
    Some(text)
}

/// The value of one specifier.
fn put(text: &mut String, specifier: char, fields: Components, date: Option<Date>) -> Option<()> {
    let Components { year, month, day, hour, minute, second, micros, .. } = fields;
    let hour_of_twelve = (hour % 24 + 11) % 12 + 1;
    let half = if hour % 24 < 12 { "AM" } else { "PM" };
    let week = |mode: i64| date.map(|date| Weeks::of_mode(mode).week(date));
    let written = match specifier {
        'M' => text.write_str(month_name(month)?),
        'b' => text.write_str(short(month_name(month)?)),
        'W' => text.write_str(day_name(date)?),
        'a' => text.write_str(short(day_name(date)?)),
        'w' => write!(text, "{}", (weekday(date)? + 1) % 7),
        'Y' => write!(text, "{year:04}"),
        'y' => write!(text, "{:02}", year % 100),
        'm' => write!(text, "{month:02}"),
        'c' => write!(text, "{month}"),
        'd' => write!(text, "{day:02}"),
        'e' => write!(text, "{day}"),
        'D' => date.and(Some(write!(text, "{day}{}", ordinal(day))))?,
        'j' => write!(text, "{:03}", date?.day_of_year()),
        'H' => write!(text, "{hour:02}"),
        'k' => write!(text, "{hour}"),
        'h' | 'I' => write!(text, "{hour_of_twelve:02}"),
        'l' => write!(text, "{hour_of_twelve}"),
        'i' => write!(text, "{minute:02}"),
        'S' | 's' => write!(text, "{second:02}"),
        'f' => write!(text, "{micros:06}"),
        'p' => text.write_str(half),
        'r' => write!(text, "{hour_of_twelve:02}:{minute:02}:{second:02} {half}"),
        'T' => write!(text, "{hour:02}:{minute:02}:{second:02}"),
        'U' => write!(text, "{:02}", week(0)?.1),
        'u' => write!(text, "{:02}", week(1)?.1),
        'V' => write!(text, "{:02}", week(2)?.1),
        'v' => write!(text, "{:02}", week(3)?.1),
        'X' => write!(text, "{:04}", week(2)?.0),
        'x' => write!(text, "{:04}", week(3)?.0),
        other => text.write_char(other),
    };
    // Writing to a string does not fail.
    written.ok()
}

fn month_name(month: i64) -> Option<&'static str> {
    MONTHS.get(usize::try_from(month).ok()?.checked_sub(1)?).copied()
}

fn day_name(date: Option<Date>) -> Option<&'static str> {
    DAYS.get(usize::try_from(weekday(date)?).ok()?).copied()
}

/// The day of the week; `None` for a date with neither a year nor a month.
fn weekday(date: Option<Date>) -> Option<i64> {
    date.filter(|date| date.year > 0 || date.month > 0).map(Date::weekday)
}

fn ordinal(day: i64) -> &'static str {
    match day {
        10..20 => "th",
        _ if day % 10 == 1 => "st",
        _ if day % 10 == 2 => "nd",
        _ if day % 10 == 3 => "rd",
        _ => "th",
    }
}

/// The most characters that a format can produce: the declared length of a column.
pub(in crate::wires::mysql) fn longest(format: &str) -> usize {
    let mut chars = format.chars();
    let mut length = 0_usize;
    while let Some(c) = chars.next() {
        length += match if c == '%' { chars.next() } else { None } {
            Some('M' | 'W') => 64,
            Some('a' | 'b') => 32,
            Some('D' | 'Y' | 'x' | 'X') => 4,
            Some('j') => 3,
            Some(
                'U' | 'u' | 'V' | 'v' | 'y' | 'm' | 'd' | 'h' | 'I' | 'i' | 'l' | 'p' | 'S' | 's' | 'c' | 'e',
            ) => 2,
            Some('k' | 'H') => 7,
            Some('r') => 11,
            Some('T') => 8,
            Some('f') => 6,
            _ => 1,
        };
    }
    length
}

/// The parts in a format, which decide the type of STR_TO_DATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct FormatParts {
    pub date: bool,
    pub time: bool,
    pub fraction: bool,
}

/// The specifiers for parts of a date.
const OF_DATE: &str = "MVUXYWabcjmvuxywdDe";

impl FormatParts {
    pub(in crate::wires::mysql) fn of(format: &str) -> Self {
        let mut parts = Self { date: false, time: false, fraction: false };
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            match if c == '%' { chars.next() } else { None } {
                Some('f') => (parts.time, parts.fraction) = (true, true),
                Some('H' | 'I' | 'S' | 'T' | 'h' | 'i' | 'k' | 'l' | 'r' | 's') => parts.time = true,
                Some(c) if OF_DATE.contains(c) => parts.date = true,
                _ => {}
            }
        }
        parts
    }

    pub(in crate::wires::mysql) fn digits(self) -> u8 {
        if self.fraction { 6 } else { 0 }
    }

    /// The kind of value that a format describes.
    fn value(self, moment: DateTime) -> Temporal {
        match (self.date, self.time) {
            (_, false) => Temporal::Date(moment.date),
            (false, true) => Temporal::Time { time: Time(moment.micros), digits: self.digits() },
            (true, true) => Temporal::DateTime { moment, digits: self.digits() },
        }
    }
}

/// A day by its week.
#[derive(Clone, Copy, Default)]
struct Week {
    number: Option<i64>,
    /// 1 for a Monday, 7 for a Sunday.
    weekday: Option<i64>,
    sunday_first: bool,
    /// Whether the year is a week year: `%X` and `%x`, for `%V` and `%v`.
    is_strict: bool,
    year: Option<i64>,
    year_of_sundays: bool,
}

/// The parts that were read so far.
#[derive(Default)]
struct FoundParts {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// On the twelve-hour clock, and what AM or PM adds.
    of_twelve: bool,
    half: i64,
    week: Week,
}

/// Parses a string by a format. Returns whether more follows in the string; `None` if the string does not match.
pub(in crate::wires::mysql) fn scanned(text: &str, format: &str) -> Option<(Temporal, bool)> {
    let mut found = FoundParts::default();
    let rest = scan(text, format, &mut found)?;
    if found.of_twelve {
        if !(1..=12).contains(&found.hour) {
            return None;
        }
        found.hour = found.hour % 12 + found.half;
    }
    if found.hour > 23 || found.minute > 59 || found.second > 59 {
        return None;
    }
    let date = found.date()?;
    let clock = found.hour * HOUR + found.minute * MINUTE + found.second * SECOND + found.micros;
    let value = FormatParts::of(format).value(DateTime { date, micros: clock });
    Some((value, !rest.trim_start().is_empty()))
}

impl FoundParts {
    fn date(&self) -> Option<Date> {
        if self.day_of_year > 0 {
            return existing(Date::new(self.year, 1, 1)?.day_number() + self.day_of_year - 1);
        }
        match self.week {
            Week { number: Some(number), weekday: Some(weekday), .. } => self.day_of_week(number, weekday),
            _ => Date::new(self.year, self.month, self.day),
        }
    }

    fn day_of_week(&self, number: i64, weekday: i64) -> Option<Date> {
        let Week { sunday_first, is_strict, year, year_of_sundays, .. } = self.week;
        let year = match (is_strict, year) {
            (true, Some(year)) if year_of_sundays == sunday_first => year,
            (false, None) => self.year,
            _ => return None,
        };
        let weeks = Weeks { monday_first: !sunday_first, of_a_year: false, whole: sunday_first };
        let in_week = if sunday_first { weekday % 7 } else { weekday - 1 };
        existing(weeks.first_day(year) + (number - 1) * 7 + in_week)
    }
}

fn existing(day: i64) -> Option<Date> {
    Date::of_day(day).filter(|date| !date.is_zero())
}

/// Parses as much as the format describes, and returns the rest.
fn scan<'a>(text: &'a str, format: &str, found: &mut FoundParts) -> Option<&'a str> {
    let (mut text, mut chars) = (text, format.chars());
    while let Some(c) = chars.next() {
        // Parts that are missing at the end are 0.
        text = text.trim_start_matches(is_space);
        if text.is_empty() {
            break;
        }
        let mut rest = chars.clone();
        if c == '%'
            && let Some(specifier) = rest.next()
        {
            chars = rest;
            text = part(text, specifier, found)?;
        } else if !is_space(c) {
            text = text.strip_prefix(c)?;
        }
    }
    Some(text)
}

fn part<'a>(text: &'a str, specifier: char, found: &mut FoundParts) -> Option<&'a str> {
    match specifier {
        'Y' => {
            let (number, digits, rest) = digits(text, 4)?;
            found.year = if digits <= 2 { with_century(number) } else { number };
            Some(rest)
        }
        'y' => {
            let (number, _, rest) = digits(text, 2)?;
            found.year = with_century(number);
            Some(rest)
        }
        'm' | 'c' => number(text, 2, &mut found.month),
        'd' | 'e' => number(text, 2, &mut found.day),
        'D' => {
            let rest = number(text, 2, &mut found.day)?;
            Some(rest.char_indices().nth(2).map_or("", |(at, _)| &rest[at..]))
        }
        'j' => number(text, 3, &mut found.day_of_year),
        'M' => name(text, &MONTHS, false, &mut found.month),
        'b' => name(text, &MONTHS, true, &mut found.month),
        'k' | 'H' => number(text, 2, &mut found.hour),
        'h' | 'I' | 'l' => {
            found.of_twelve = true;
            number(text, 2, &mut found.hour)
        }
        'i' => number(text, 2, &mut found.minute),
        's' | 'S' => number(text, 2, &mut found.second),
        'f' => {
            let (number, digits, rest) = digits(text, 6)?;
            found.micros = number * 10_i64.pow(6 - digits);
            Some(rest)
        }
        'p' => half(text, found),
        'r' => scan(text, "%I:%i:%S %p", found),
        'T' => scan(text, "%H:%i:%S", found),
        'W' | 'a' | 'w' | 'U' | 'u' | 'V' | 'v' | 'X' | 'x' => week(text, specifier, &mut found.week),
        '.' => Some(text.trim_start_matches(|c: char| c.is_ascii_punctuation())),
        '@' => Some(text.trim_start_matches(char::is_alphabetic)),
        '#' => Some(text.trim_start_matches(|c: char| c.is_ascii_digit())),
        _ => None,
    }
}

fn week<'a>(text: &'a str, specifier: char, week: &mut Week) -> Option<&'a str> {
    let mut number_of = 0;
    match specifier {
        'W' | 'a' => {
            let rest = name(text, &DAYS, specifier == 'a', &mut number_of)?;
            week.weekday = Some(number_of);
            Some(rest)
        }
        'w' => {
            let rest = number(text, 1, &mut number_of)?;
            week.weekday = Some(if number_of == 0 { 7 } else { number_of }).filter(|day| *day <= 7);
            if number_of < 7 { Some(rest) } else { None }
        }
        'X' | 'x' => {
            let rest = number(text, 4, &mut number_of)?;
            (week.year, week.year_of_sundays) = (Some(number_of), specifier == 'X');
            Some(rest)
        }
        _ => {
            let rest = number(text, 2, &mut number_of)?;
            week.is_strict = matches!(specifier, 'V' | 'v');
            week.sunday_first = matches!(specifier, 'U' | 'V');
            week.number = Some(number_of);
            (number_of <= 53 && (number_of > 0 || !week.is_strict)).then_some(rest)
        }
    }
}

fn half<'a>(text: &'a str, found: &mut FoundParts) -> Option<&'a str> {
    let (half, rest) = text.split_at_checked(2).filter(|_| found.of_twelve)?;
    found.half = match half {
        _ if half.eq_ignore_ascii_case("AM") => 0,
        _ if half.eq_ignore_ascii_case("PM") => 12,
        _ => return None,
    };
    Some(rest)
}

fn number<'a>(text: &'a str, most: usize, number: &mut i64) -> Option<&'a str> {
    let (read, _, rest) = digits(text, most)?;
    *number = read;
    Some(rest)
}

/// A number of at most this many digits, and how many it has.
fn digits(text: &str, most: usize) -> Option<(i64, u32, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(count);
    Some((number.parse().ok()?, count.try_into().ok()?, rest))
}

/// Which of several names comes next, in any case, counted from 1.
fn name<'a>(text: &'a str, names: &[&str], is_short: bool, number: &mut i64) -> Option<&'a str> {
    for (name, at) in names.iter().zip(1..) {
        let name = if is_short { short(name) } else { name };
        if let Some((start, rest)) = text.split_at_checked(name.len())
            && start.eq_ignore_ascii_case(name)
        {
            *number = at;
            return Some(rest);
        }
    }
    None
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}
