//! Replies of the line protocol, from their bytes (protocol.md, "Replies" and "Lists"). Pure: no socket.

use bytes::{Buf, BytesMut};

use super::Refused;
use crate::escape::{Written, read_quoted};

/// No reply comes near it: what is longer comes from no getlockd.
pub(super) const MAX_REPLY: usize = 64 * 1024;

/// A line that the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// `ERROR`.
    Refused(Refused),
    /// The end of a list, and how many rows there are in all.
    End(usize),
    /// Anything else: a word, or a row.
    Text(String),
}

/// Takes the next line, if all of it is there.
pub(super) fn next_line(input: &mut BytesMut) -> Option<Line> {
    let end = input.iter().position(|&c| c == b'\n')?;
    let line = input.split_to(end);
    input.advance(1);
    Some(Line::read(&String::from_utf8_lossy(&line)))
}

impl Line {
    fn read(line: &str) -> Self {
        let line = line.trim_end_matches('\r');
        if let Some(error) = line.strip_prefix("ERROR ") {
            let (symbol, text) = error.split_once(' ').unwrap_or((error, ""));
            return Self::Refused(Refused { symbol: symbol.to_owned(), text: text.to_owned() });
        }
        let total = line.strip_prefix("END ").and_then(|end| end.rsplit(' ').next()?.parse().ok());
        total.map_or_else(|| Self::Text(line.to_owned()), Self::End)
    }
}

/// A list, as `LOCKS` and others are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Its rows: of very many the first.
    pub rows: Vec<Row>,
    /// How many there are on the server.
    pub total: usize,
}

/// A row of a list: fields by their keys. protocol.md tells of each list which they are; later servers
/// may have more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    fields: Vec<(String, Option<String>)>,
}

impl Row {
    /// From `WORD key=value key='other value' key=NULL`. None for what is not of this shape.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut rest = line.split_once(' ')?.1.as_bytes();
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (key, behind) = rest.split_at(rest.iter().position(|&c| c == b'=')?);
            let (value, behind) = value(&behind[1..])?;
            fields.push((String::from_utf8_lossy(key).into_owned(), value));
            rest = behind.strip_prefix(b" ").unwrap_or(behind);
        }
        Some(Self { fields })
    }

    /// A field; none for one that is `NULL`, or not there.
    pub fn get(&self, key: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(name, _)| name == key);
        field.and_then(|(_, value)| value.as_deref())
    }

    /// A field that is a number, as an id, a token and a time in seconds are.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.parse().ok()
    }

    /// All fields, in the server's order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.fields.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }
}

/// A text as the line protocol writes it: it may be shown on any terminal, and sent back.
pub fn written(text: &str) -> String {
    Written(text).to_string()
}

/// A value and what follows it.
fn value(input: &[u8]) -> Option<(Option<String>, &[u8])> {
    if let Some(quoted) = input.strip_prefix(b"'") {
        let (text, rest) = read_quoted(quoted, b'\'')?;
        return Some((Some(String::from_utf8_lossy(&text).into_owned()), rest));
    }
    let (bare, rest) = input.split_at(input.iter().position(|&c| c == b' ').unwrap_or(input.len()));
    let text = String::from_utf8_lossy(bare).into_owned();
    Some(((text != "NULL").then_some(text), rest))
}

/// For the fuzzers: what any server may send. A row that is read can be written, and is read as the same.
#[cfg(fuzzing)]
pub(crate) fn read_all(data: &[u8]) {
    let mut input = BytesMut::from(data);
    while let Some(line) = next_line(&mut input) {
        let Line::Text(text) = line else { continue };
        let Some(row) = Row::read(&text) else { continue };
        let field =
            |(key, value): (&str, Option<&str>)| format!("{key}={}", value.map_or("NULL".into(), written));
        let again = row.fields().map(field).collect::<Vec<_>>().join(" ");
        assert_eq!(Row::read(&format!("ROW {again}")), Some(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Line> {
        let mut input = BytesMut::from(input);
        std::iter::from_fn(|| next_line(&mut input)).collect()
    }

    #[test]
    fn lines_are_words_errors_and_ends() {
        let refused = Refused { symbol: "DEADLOCK".to_owned(), text: "a cycle".to_owned() };
        let expected = [Line::Text("1".to_owned()), Line::Refused(refused), Line::End(2), Line::End(20_000)];
        assert_eq!(lines(b"1\r\nERROR DEADLOCK a cycle\nEND 2\nEND 10000 of 20000\nunfini"), expected);
    }

    #[test]
    fn rows_have_their_fields_whatever_is_in_them() {
        let row =
            Row::read(r"LOCK name='it\'s \u{1b} x=1' session=7 peer=NULL note='NULL' user=a=b").unwrap();
        assert_eq!(row.get("name"), Some("it's \u{1b} x=1"));
        assert_eq!(row.number("session"), Some(7));
        assert_eq!((row.get("peer"), row.get("note"), row.get("user")), (None, Some("NULL"), Some("a=b")));
        assert_eq!(row.fields().count(), 5);
        assert_eq!(Row::read("LOCK name='open"), None);
        assert_eq!(Row::read("LOCK nothing"), None);
    }

    #[test]
    fn any_text_comes_back_as_it_was_written() {
        for text in ["a", "", "NULL", "two words", "'", r"\", "a\nb", "\u{202e}x", "語=1", "a;"] {
            let row = Row::read(&format!("LOCK name={} session=1", Written(text))).unwrap();
            assert_eq!((row.get("name"), row.get("session")), (Some(text), Some("1")), "{text:?}");
        }
    }
}
