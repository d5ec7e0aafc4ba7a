//! Tables that align.

use std::{fmt::Write, time::Duration};

use anstyle::{AnsiColor, Style};
use getlockd_client::written;
use unicode_width::UnicodeWidthStr;

use crate::screen::shortened;

/// A column: its head, and what it shows of a row.
pub(crate) struct TableColumn<T> {
    pub head: &'static str,
    pub kind: CellKind,
    pub cell: fn(&T) -> Option<String>,
}

/// What a column shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellKind {
    Text,
    Number,
    /// A time.
    Age,
    /// A text that many rows lack. The column is left out if all do.
    Rare,
    /// A time that many rows lack, likewise.
    RareAge,
}

const HEAD: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const WAITS: Style = AnsiColor::Yellow.on_default();

/// Between two columns.
const GAP: usize = 2;
/// No text is made narrower.
const NARROWEST: usize = 8;
/// Where not all columns fit, these are left out before any text is shortened.
const LEFT_OUT_FIRST: [&str; 2] = ["FENCING TOKEN", "MEMORY"];
/// Where they do not fit even with shortened texts, these are left out, in this order.
const LEFT_OUT: [&str; 10] =
    ["EXPIRES", "VIA", "WIRE", "MODE", "IDLE", "NOTE", "PEER", "USER", "CLIENT", "SESSION"];

/// The lines of a table of at most this width, if that is possible, its head first: texts are shortened, and columns left
/// out.
pub(crate) fn lines_within<T>(place: usize, columns: &[TableColumn<T>], rows: &[T]) -> Vec<String> {
    let is_rare = |kind| matches!(kind, CellKind::Rare | CellKind::RareAge);
    let used = |column: &&TableColumn<T>| {
        !is_rare(column.kind) || rows.iter().any(|row| (column.cell)(row).is_some())
    };
    let mut table: Vec<_> = columns.iter().filter(used).map(|column| Shown::new(column, rows)).collect();
    fit(&mut table, place);
    let line = |cell: &dyn Fn(&Shown) -> (String, Style)| {
        let mut line = String::new();
        for column in &table {
            let (text, style) = cell(column);
            add(&mut line, column.kind, column.width, &shortened(&text, column.width), style);
        }
        line.truncate(line.trim_end().len());
        line
    };
    let head = line(&|column| (column.head.to_owned(), HEAD));
    let body = (0..rows.len())
        .map(|at| line(&|column| (column.cells[at].clone(), style(column.head, &column.cells[at]))));
    [head].into_iter().chain(body).collect()
}

/// A column as it is shown.
struct Shown {
    head: &'static str,
    kind: CellKind,
    cells: Vec<String>,
    width: usize,
}

impl Shown {
    fn new<T>(&TableColumn { head, kind, cell }: &TableColumn<T>, rows: &[T]) -> Self {
        let cells: Vec<_> = rows.iter().map(|row| cell(row).unwrap_or_else(|| "-".to_owned())).collect();
        let widths = cells.iter().map(|cell| cell.width());
        let width = widths.chain([head.width()]).max().unwrap_or(0);
        Self { head, kind, cells, width }
    }

    /// By how much it can be narrowed. A mode stays whole: its beginning says nothing.
    fn spare(&self) -> usize {
        let is_text = matches!(self.kind, CellKind::Text | CellKind::Rare) && self.head != "MODE";
        if is_text { self.width.saturating_sub(NARROWEST) } else { 0 }
    }
}

/// Makes a table as wide as the place.
fn fit(table: &mut Vec<Shown>, place: usize) {
    let gaps = |table: &[Shown]| GAP * table.len().saturating_sub(1);
    let width = |table: &[Shown]| gaps(table) + table.iter().map(|column| column.width).sum::<usize>();
    let least = |table: &[Shown]| width(table).saturating_sub(table.iter().map(Shown::spare).sum::<usize>());
    for head in LEFT_OUT_FIRST {
        if width(table) > place {
            table.retain(|column| column.head != head);
        }
    }
    for head in LEFT_OUT {
        if least(table) > place {
            table.retain(|column| column.head != head);
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

fn add(line: &mut String, kind: CellKind, width: usize, text: &str, style: Style) {
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    let (before, behind) =
        if kind == CellKind::Number { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
    // A string grows: the write cannot fail.
    let _ = write!(line, "{before}{style}{text}{style:#}{behind}  ");
}

fn style(head: &str, text: &str) -> Style {
    match head {
        _ if text == "-" || text == "0" => QUIET,
        "WAITS FOR" | "WAITERS" => WAITS,
        _ => Style::new(),
    }
}

/// A text of a row, with escapes for what changes a terminal.
pub(crate) fn text(text: Option<&String>) -> Option<String> {
    text.map(|text| written(text))
}

/// A time, as people say it: `4.2s`, `3m12s`, `5h03m`, `2d04h`.
pub(crate) fn age(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;
    use crate::screen::tests::strange_texts;

    #[test]
    fn tables_of_strange_texts_fit_the_terminal() {
        const COLUMNS: [TableColumn<String>; 3] = [
            TableColumn { head: "NAME", kind: CellKind::Text, cell: |row| text(Some(row)) },
            TableColumn { head: "SESSION", kind: CellKind::Number, cell: |_| Some("12".to_owned()) },
            TableColumn { head: "NOTE", kind: CellKind::Rare, cell: |row| text(Some(row)) },
        ];
        let rows: Vec<_> = strange_texts().collect();
        for line in lines_within(80, &COLUMNS, &rows) {
            let line = strip_str(&line).to_string();
            assert!(line.width() <= 80, "{line}");
        }
    }

    #[test]
    fn ages_are_rounded_for_people() {
        let ages =
            [40, 4_260, 192_000, 18_200_000, 190_000_000].map(|millis| age(Duration::from_millis(millis)));
        assert_eq!(ages, ["0.0s", "4.3s", "3m12s", "5h03m", "2d04h"]);
    }
}
