//! Replies of the line protocol, from their bytes (protocol.md, "Replies" and "Lists"). Pure: no socket.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use getlockd_proto::escape::{Visible, Written, read_quoted};

use crate::Refused;

/// Of a longer line only this much is kept.
const MAX_REPLY: usize = 64 * 1024;
/// A longer line counts as endless: no getlockd sends one.
const MAX_SKIPPED: usize = 64 * 1024 * 1024;
/// Of the text of an error in a line that is too long this much is kept.
const MAX_TEXT: usize = 1000;

/// A line that the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReplyLine {
    /// `ERROR`.
    Refused(Refused),
    /// The end of a list, and how many rows there are in all.
    End(usize),
    /// The answer to `KEEPALIVE`, which may come before that of an earlier command.
    Keepalive(KeepaliveAnswer),
    /// What follows `* `: no reply, but an event, which may come between two replies.
    Event(String),
    /// Anything else: a word, or a row.
    Text(String),
    /// A line that is too long to be read. It was skipped.
    TooLong,
}

/// What the server promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepaliveAnswer {
    /// For how long it grants the locks to nobody else, from the question on.
    pub left: Duration,
    /// In a cluster, the term of the leader that promises it.
    pub term: Option<u64>,
}

impl KeepaliveAnswer {
    fn read(line: &str) -> Option<Self> {
        line.strip_prefix("KEEPALIVE ")?;
        let fields = RowFields::read(line)?;
        Some(Self { left: fields.time("left")?, term: fields.number("term") })
    }
}

/// The lines of a stream.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    pub input: BytesMut,
    long: Option<SkippedLine>,
}

/// A line that is being skipped.
#[derive(Debug)]
struct SkippedLine {
    beginning: BytesMut,
    skipped: usize,
}

impl ReplyReader {
    /// The next line, if all of it is there.
    pub(crate) fn next(&mut self) -> Option<ReplyLine> {
        let Some(end) = self.input.iter().position(|&c| c == b'\n') else {
            self.skip();
            return None;
        };
        let line = self.input.split_to(end);
        self.input.advance(1);
        Some(match self.long.take() {
            Some(long) => ReplyLine::of_beginning(&long.beginning),
            None if line.len() > MAX_REPLY => ReplyLine::of_beginning(&line[..MAX_REPLY]),
            None => ReplyLine::read(&String::from_utf8_lossy(&line)),
        })
    }

    /// Keeps no more of a long line than its beginning.
    fn skip(&mut self) {
        if let Some(long) = &mut self.long {
            long.skipped = long.skipped.saturating_add(self.input.len());
            self.input.clear();
        } else if self.input.len() > MAX_REPLY {
            let beginning = self.input.split_to(MAX_REPLY);
            self.long = Some(SkippedLine { beginning, skipped: self.input.len() });
            self.input.clear();
        }
    }

    /// Whether the end of the line is not worth waiting for.
    pub(crate) fn is_endless(&self) -> bool {
        self.long.as_ref().is_some_and(|long| long.skipped > MAX_SKIPPED)
    }
}

impl ReplyLine {
    fn read(line: &str) -> Self {
        let line = line.trim_end_matches('\r');
        if let Some(event) = line.strip_prefix("* ") {
            return Self::Event(event.to_owned());
        }
        if let Some(error) = line.strip_prefix("ERROR ") {
            let (word, text) = error.split_once(' ').unwrap_or((error, ""));
            return Self::Refused(Refused { word: word.to_owned(), text: text.to_owned() });
        }
        if let Some(answer) = KeepaliveAnswer::read(line) {
            return Self::Keepalive(answer);
        }
        let total = line.strip_prefix("END ").and_then(|end| end.rsplit(' ').next()?.parse().ok());
        total.map_or_else(|| Self::Text(line.to_owned()), Self::End)
    }

    /// Programs match on the symbol of an error, so it is kept even if the text behind it is too long.
    fn of_beginning(beginning: &[u8]) -> Self {
        match Self::read(&String::from_utf8_lossy(beginning)) {
            Self::Refused(Refused { word, text }) => {
                let text = text.chars().take(MAX_TEXT).collect::<String>() + " ...";
                Self::Refused(Refused { word, text })
            }
            // Of the kind that nobody knows: half an event tells nothing.
            Self::Event(_) => Self::Event(String::new()),
            _ => Self::TooLong,
        }
    }
}

/// The fields of a row by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowFields(Vec<(String, Option<String>)>);

impl RowFields {
    /// From `WORD key=value key='other value' key=NULL`. None for what is not of this shape.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut rest = line.split_once(' ')?.1.as_bytes();
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (key, behind) = rest.split_at(rest.iter().position(|&c| c == b'=')?);
            let (value, behind) = value(&behind[1..])?;
            fields.push((String::from_utf8_lossy(key).into_owned(), value));
            rest = behind.strip_prefix(b" ").unwrap_or(behind);
        }
        Some(Self(fields))
    }

    /// The row as the line protocol writes it.
    #[cfg(fuzzing)]
    pub(crate) fn written(&self) -> String {
        let field = |(key, value): &(String, Option<String>)| {
            format!("{key}={}", value.as_deref().map_or("NULL".into(), written))
        };
        format!("ROW {}", self.0.iter().map(field).collect::<Vec<_>>().join(" "))
    }

    /// A field; none for one that is `NULL`, or not there.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let field = self.0.iter().find(|(name, _)| name == key);
        field.and_then(|(_, value)| value.as_deref())
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(str::to_owned)
    }

    /// A field that is a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.parse().ok()
    }

    /// A field that is a time in seconds.
    pub(crate) fn time(&self, key: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.number(key)?).ok()
    }
}

/// A text as the line protocol writes it: safe to show on any terminal, and to send back.
pub fn written(text: &str) -> String {
    Written(text).to_string()
}

/// A text in which every character can be seen and none changes a terminal: others are written as `\u{1b}`.
pub fn visible(text: &str) -> String {
    Visible(text).to_string()
}

/// One value of a row, alone.
pub(crate) fn read_value(text: &str) -> Option<String> {
    value(text.as_bytes()).and_then(|(value, rest)| value.filter(|_| rest.is_empty()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<ReplyLine> {
        let mut lines = ReplyReader { input: BytesMut::from(input), ..ReplyReader::default() };
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn reply_lines_are_parsed() {
        let refused = Refused { word: "DEADLOCK".to_owned(), text: "a cycle".to_owned() };
        let expected = [
            ReplyLine::Text("1".to_owned()),
            ReplyLine::Refused(refused),
            ReplyLine::End(2),
            ReplyLine::End(20_000),
        ];
        assert_eq!(lines(b"1\r\nERROR DEADLOCK a cycle\nEND 2\nEND 10000 of 20000\nunfini"), expected);
        let promise = |millis, term| {
            ReplyLine::Keepalive(KeepaliveAnswer { left: Duration::from_millis(millis), term })
        };
        assert_eq!(
            lines(b"KEEPALIVE left=25.000\nKEEPALIVE left=0.000\r\nKEEPALIVE left=4.212 term=16226\n"),
            [promise(25_000, None), promise(0, None), promise(4212, Some(16_226))]
        );
        let event = ReplyLine::Event("MISSED count=12".to_owned());
        assert_eq!(lines(b"* MISSED count=12\r\n*\n"), [event, ReplyLine::Text("*".to_owned())]);
    }

    #[test]
    fn too_long_line_is_skipped() {
        for piece in [1000, usize::MAX] {
            let row = format!("LOCK name={}\n", "n".repeat(3 * MAX_REPLY));
            let event = format!("* TAKEN name={}\n", "n".repeat(3 * MAX_REPLY));
            let error = format!("ERROR DEADLOCK {}\n1\n", "c".repeat(3 * MAX_REPLY));
            let (mut lines, mut seen) = (ReplyReader::default(), Vec::new());
            for piece in (row + &event + &error).as_bytes().chunks(piece) {
                lines.input.extend_from_slice(piece);
                seen.extend(std::iter::from_fn(|| lines.next()));
                assert!(!lines.is_endless() && lines.input.len() <= 5 * MAX_REPLY);
            }
            let [
                ReplyLine::TooLong,
                ReplyLine::Event(event),
                ReplyLine::Refused(refused),
                ReplyLine::Text(one),
            ] = &seen[..]
            else {
                panic!("{seen:?}")
            };
            assert_eq!(event, "", "an event is no reply, however long");
            assert_eq!((refused.word.as_str(), refused.text.len(), one.as_str()), ("DEADLOCK", 1004, "1"));
        }
    }

    #[test]
    fn row_fields_may_hold_any_text() {
        let row = RowFields::read(r"LOCK name='it\'s \u{1b} x=1' session=7 peer=NULL note='NULL' user=a=b")
            .unwrap();
        assert_eq!(row.get("name"), Some("it's \u{1b} x=1"));
        assert_eq!(row.number("session"), Some(7));
        assert_eq!((row.get("peer"), row.get("note"), row.get("user")), (None, Some("NULL"), Some("a=b")));
        assert_eq!(row.0.len(), 5);
        assert_eq!(RowFields::read("LOCK name='open"), None);
        assert_eq!(RowFields::read("LOCK nothing"), None);
    }

    #[test]
    fn quoted_text_round_trips() {
        for text in ["a", "", "NULL", "two words", "'", r"\", "a\nb", "\u{202e}x", "語=1", "a;"] {
            let row = RowFields::read(&format!("LOCK name={} session=1", Written(text))).unwrap();
            assert_eq!((row.get("name"), row.get("session")), (Some(text), Some("1")), "{text:?}");
        }
    }
}
