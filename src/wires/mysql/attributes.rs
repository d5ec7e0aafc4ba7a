//! The attributes of a connection (MySQL manual 29.12.9): what the library of a client tells of the program that uses
//! it. Pure.

use super::{charset::Charset, packet::Fields};
use crate::core::client_info::MAX_TEXT;

/// The most bytes of the attributes beside the name of the program. With that one they are as long as MySQL keeps them by
/// default (`performance_schema_session_connect_attrs_size`).
const MAX_LIST_TEXT: usize = 256;

/// So many bytes of a list of attributes are looked at: no longer one is sent by MySQL's own library.
const MAX_LIST: usize = 64 * 1024;

/// What lists show of a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// `program_name`; empty for a client that does not say it.
    pub client: String,
    /// The attribute `note`, or else the library and the process.
    pub note: Option<String>,
    /// All but the name of the program, as `_pid=4711, _os=Linux`.
    pub others: Option<String>,
}

/// The attributes that a note is made of.
#[derive(Default)]
struct NoteParts {
    note: Option<String>,
    library: Option<String>,
    version: Option<String>,
    pid: Option<String>,
}

impl Attributes {
    /// What is left of the packet of a login. A list that is cut off, or none, is no mistake: people read it, programs
    /// do not.
    pub(super) fn parse(fields: &mut Fields<'_>, charset: Charset) -> Self {
        let all = fields.text().unwrap_or_default();
        let mut list = Fields(&all[..all.len().min(MAX_LIST)]);
        let (mut client, mut others, mut parts) = (String::new(), String::new(), NoteParts::default());
        while let (Ok(name), Ok(value)) = (list.text(), list.text()) {
            let text = charset.text(value);
            if name == b"program_name" {
                client = start_of(&text);
                continue;
            }
            parts.read(name, &text);
            if others.len() < MAX_LIST_TEXT {
                let separator = if others.is_empty() { "" } else { ", " };
                append(&mut others, &format!("{separator}{}={text}", charset.text(name)));
            }
        }
        Self { client, note: parts.note(), others: Some(others).filter(|others| !others.is_empty()) }
    }
}

impl NoteParts {
    fn read(&mut self, name: &[u8], value: &str) {
        let part = match name {
            b"note" => &mut self.note,
            b"_client_name" => &mut self.library,
            b"_client_version" => &mut self.version,
            b"_pid" => &mut self.pid,
            _ => return,
        };
        *part = Some(start_of(value)).filter(|value| !value.is_empty());
    }

    /// As `libmysql 8.4.3, pid 4711` where the client says no note.
    fn note(self) -> Option<String> {
        let Self { note, library, version, pid } = self;
        let library = library.map(|library| match version {
            Some(version) => format!("{library} {version}"),
            None => library,
        });
        let parts: Vec<_> = library.into_iter().chain(pid.map(|pid| format!("pid {pid}"))).collect();
        note.or_else(|| Some(start_of(&parts.join(", "))).filter(|made| !made.is_empty()))
    }
}

/// As many characters of a text as lists show.
fn start_of(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// Appends as much as there is room for.
fn append(to: &mut String, text: &str) {
    let room = MAX_LIST_TEXT - to.len();
    to.push_str(&text[..text.floor_char_boundary(room)]);
}

#[cfg(test)]
mod tests {
    use super::{super::packet::PutLengthEncoded, *};

    fn parsed(charset: Charset, pairs: &[(&[u8], &[u8])]) -> Attributes {
        let (mut list, mut packet) = (bytes::BytesMut::new(), bytes::BytesMut::new());
        for (name, value) in pairs {
            list.put_text(name);
            list.put_text(value);
        }
        packet.put_text(&list);
        Attributes::parse(&mut Fields(&packet), charset)
    }

    #[test]
    fn program_name_is_client_and_rest_is_listed() {
        let all = parsed(
            Charset::default(),
            &[(b"_client_name", b"libmysql"), (b"program_name", b"nightly backup"), (b"_pid", b"4711")],
        );
        assert_eq!(all.client, "nightly backup");
        assert_eq!(all.others.unwrap(), "_client_name=libmysql, _pid=4711");
        assert_eq!(parsed(Charset::default(), &[]), Attributes::default());
        let gbk = parsed(Charset::named("gbk").unwrap(), &[(b"program_name", b"\xD6\xD0"), (b"x", b"\xFF")]);
        assert_eq!((gbk.client.as_str(), gbk.others.unwrap().as_str()), ("中", "x=\u{FFFD}"));
    }

    #[test]
    fn note_is_said_or_made_of_library_and_process() {
        let note = |pairs: &[(&[u8], &[u8])]| parsed(Charset::default(), pairs).note;
        let [name, version, pid] =
            [("_client_name", "libmysql"), ("_client_version", "8.4.3"), ("_pid", "4711")]
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(note(&[pid, version, name]).unwrap(), "libmysql 8.4.3, pid 4711");
        assert_eq!(note(&[name]).unwrap(), "libmysql");
        assert_eq!(note(&[version, pid]).unwrap(), "pid 4711");
        assert_eq!(note(&[name, (b"note", b"ask ops"), pid]).unwrap(), "ask ops");
        assert_eq!(note(&[(b"note", b""), (b"_os", b"Linux")]), None);
    }

    #[test]
    fn attributes_are_bounded_and_may_be_truncated() {
        let long = "é".repeat(10_000);
        let long = long.as_bytes();
        let all = parsed(
            Charset::default(),
            &[(b"program_name", long), (b"_client_name", long), (b"_pid", long), (b"b", b"c")],
        );
        let characters = |text: &str| text.chars().count();
        assert_eq!((characters(&all.client), characters(&all.note.unwrap())), (MAX_TEXT, MAX_TEXT));
        assert!(all.others.unwrap().len() <= MAX_LIST_TEXT);
        for cut in [&b""[..], b"\x05", b"\x05\x01a\x09b", b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"] {
            assert_eq!(Attributes::parse(&mut Fields(cut), Charset::default()), Attributes::default());
        }
    }
}
