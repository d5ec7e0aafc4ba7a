//! Tables that align.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use getlockd::client::{Row, written};
use unicode_width::UnicodeWidthStr;

/// A column: its head, and the field that it shows.
pub(crate) struct Column {
    pub head: &'static str,
    pub key: &'static str,
    pub kind: Kind,
}

/// What a column shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// Seconds.
    Age,
    /// A text; there is no such column where no row has one.
    Rare,
    /// The same, in seconds.
    RareAge,
}

const HEAD: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const WAITS: Style = AnsiColor::Yellow.on_default();

/// The lines of a table, its head first.
pub(crate) fn lines(columns: &[Column], rows: &[Row]) -> Vec<String> {
    let is_rare = |kind| matches!(kind, Kind::Rare | Kind::RareAge);
    let used =
        |column: &&Column| !is_rare(column.kind) || rows.iter().any(|row| row.get(column.key).is_some());
    let columns: Vec<_> = columns.iter().filter(used).collect();
    let cells: Vec<Vec<_>> =
        rows.iter().map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect();
    let width = |at: usize| {
        let cells = cells.iter().map(|row| row[at].width());
        cells.chain([columns[at].head.width()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = (&str, Style)>| {
        let mut line = String::new();
        for ((column, width), (text, style)) in columns.iter().zip(&widths).zip(cells) {
            add(&mut line, column.kind, *width, text, style);
        }
        line.truncate(line.trim_end().len());
        line
    };
    let head = line(&mut columns.iter().map(|column| (column.head, HEAD)));
    let body = cells.iter().map(|cells| {
        let styled = cells.iter().zip(&columns).map(|(text, column)| (text.as_str(), style(column, text)));
        line(&mut styled.into_iter())
    });
    [head].into_iter().chain(body).collect()
}

fn add(line: &mut String, kind: Kind, width: usize, text: &str, style: Style) {
    let blanks = " ".repeat(width - text.width());
    let (before, behind) = if kind == Kind::Number { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
    // A text that grows refuses nothing.
    let _ = write!(line, "{before}{style}{text}{style:#}{behind}  ");
}

fn style(column: &Column, text: &str) -> Style {
    match column.key {
        _ if text == "-" || text == "0" => QUIET,
        "waiting_for" | "waiters" => WAITS,
        _ => Style::new(),
    }
}

fn cell(column: &Column, row: &Row) -> String {
    let text = match (column.kind, row.get(column.key)) {
        (_, None) => None,
        (Kind::Age | Kind::RareAge, Some(_)) => row.number(column.key).map(age),
        (_, Some(text)) => Some(written(text)),
    };
    text.unwrap_or_else(|| "-".to_owned())
}

/// A time in seconds, as people say it: `4.2s`, `3m12s`, `5h03m`, `2d04h`.
pub(crate) fn age(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age is neither")]
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_as_people_say_them() {
        let ages = [0.04, 4.26, 192.0, 18_200.0, 190_000.0].map(age);
        assert_eq!(ages, ["0.0s", "4.3s", "3m12s", "5h03m", "2d04h"]);
    }
}
