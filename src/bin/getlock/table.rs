//! Tables that align.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use getlockd::client::{Row, written};
use unicode_width::UnicodeWidthStr;

use crate::screen::shortened;

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

/// Between two columns.
const GAP: usize = 2;
/// No text is made narrower.
const NARROWEST: usize = 8;
/// Where there is no place for all columns, these are left out, the first first.
const LEFT_OUT: [&str; 8] = ["note", "expires", "fencing_token", "mode", "user", "client", "session", "peer"];

/// The lines of a table, its head first.
pub(crate) fn lines(columns: &[Column], rows: &[Row]) -> Vec<String> {
    lines_within(usize::MAX, columns, rows)
}

/// The same, of at most this width where that can be: texts are shortened, and columns left out.
pub(crate) fn lines_within(place: usize, columns: &[Column], rows: &[Row]) -> Vec<String> {
    let is_rare = |kind| matches!(kind, Kind::Rare | Kind::RareAge);
    let used =
        |column: &&Column| !is_rare(column.kind) || rows.iter().any(|row| row.get(column.key).is_some());
    let mut table: Vec<_> = columns.iter().filter(used).map(|column| Shown::new(column, rows)).collect();
    fit(&mut table, place);
    let line = |cell: &dyn Fn(&Shown<'_>) -> (String, Style)| {
        let mut line = String::new();
        for column in &table {
            let (text, style) = cell(column);
            add(&mut line, column.of.kind, column.width, &shortened(&text, column.width), style);
        }
        line.truncate(line.trim_end().len());
        line
    };
    let head = line(&|column| (column.of.head.to_owned(), HEAD));
    let body = (0..rows.len())
        .map(|at| line(&|column| (column.cells[at].clone(), style(column.of, &column.cells[at]))));
    [head].into_iter().chain(body).collect()
}

/// A column as it is shown.
struct Shown<'a> {
    of: &'a Column,
    cells: Vec<String>,
    width: usize,
}

impl<'a> Shown<'a> {
    fn new(of: &'a Column, rows: &[Row]) -> Self {
        let cells: Vec<_> = rows.iter().map(|row| cell(of, row)).collect();
        let widths = cells.iter().map(|cell| cell.width());
        let width = widths.chain([of.head.width()]).max().unwrap_or(0);
        Self { of, cells, width }
    }

    /// What it can do without. A mode is a word, and no beginning of one.
    fn spare(&self) -> usize {
        let is_text = matches!(self.of.kind, Kind::Text | Kind::Rare) && self.of.key != "mode";
        if is_text { self.width.saturating_sub(NARROWEST) } else { 0 }
    }
}

/// Makes a table as wide as the place.
fn fit(table: &mut Vec<Shown<'_>>, place: usize) {
    let gaps = |table: &[Shown<'_>]| GAP * table.len().saturating_sub(1);
    let width = |table: &[Shown<'_>]| gaps(table) + table.iter().map(|column| column.width).sum::<usize>();
    let least = |table: &[Shown<'_>]| width(table) - table.iter().map(Shown::spare).sum::<usize>();
    for key in LEFT_OUT {
        if least(table) > place {
            table.retain(|column| column.of.key != key);
        }
    }
    while width(table) > place {
        let Some(widest) = table.iter_mut().max_by_key(|column| column.spare()) else { return };
        if widest.spare() == 0 {
            return;
        }
        widest.width -= 1;
    }
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
        "waits_for" | "waiters" => WAITS,
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
