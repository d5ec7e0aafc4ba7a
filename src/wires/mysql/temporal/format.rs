//! DATE_FORMAT and TIME_FORMAT (MySQL manual 14.7, table "specifiers").

use std::fmt::Write;

use super::{DAYS, Date, Fields, MONTHS, Temporal, Weeks, names::short};

/// A value by a format; none where it lacks what the format asks for, such as the name of a month.
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

/// What one specifier stands for.
fn put(text: &mut String, specifier: char, fields: Fields, date: Option<Date>) -> Option<()> {
    let Fields { year, month, day, hour, minute, second, micros, .. } = fields;
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
    // To write into a text does not fail.
    written.ok()
}

fn month_name(month: i64) -> Option<&'static str> {
    MONTHS.get(usize::try_from(month).ok()?.checked_sub(1)?).copied()
}

fn day_name(date: Option<Date>) -> Option<&'static str> {
    DAYS.get(usize::try_from(weekday(date)?).ok()?).copied()
}

/// None for what has neither a year nor a month.
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

/// The most characters that a format comes to: what a column of it is declared as.
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
