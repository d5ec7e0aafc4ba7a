//! For the fuzzers.

use crate::{
    HistoryRow, LockRow, SessionRow, Stats, WaiterRow, WhyRow,
    events::Event,
    reply::{ReplyLine, ReplyReader, RowFields},
    rows::FromRow,
};

/// Reads what any server may send. A row that is read can be written, and is read as the same.
pub fn read_all(data: &[u8]) {
    let mut lines = ReplyReader::default();
    lines.input.extend_from_slice(data);
    while let Some(line) = lines.next() {
        let text = match line {
            ReplyLine::Text(text) => {
                assert!(!text.starts_with("* "), "an event is no reply");
                text
            }
            ReplyLine::Event(text) => {
                let _ = Event::read(&text);
                text
            }
            _ => continue,
        };
        let Some(row) = RowFields::read(&text) else { continue };
        let _ = (LockRow::read(&row), WhyRow::read(&row), WaiterRow::read(&row), HistoryRow::read(&row));
        let _ = (SessionRow::read(&row), Stats::read(&row));
        assert_eq!(RowFields::read(&row.written()), Some(row));
    }
}
