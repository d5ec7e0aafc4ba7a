//! The attributes of a connection (MySQL manual 29.12.9): what the library of a client tells of the program that uses
//! it. Pure.

use super::{charset::Charset, packet::Fields};

/// The most bytes of a client's name, and of the other attributes. Both together are as long as MySQL keeps them by
/// default (`performance_schema_session_connect_attrs_size`).
const MAX_TEXT: usize = 256;

/// So many bytes of a list of attributes are looked at: no longer one is sent by MySQL's own library.
const MAX_LIST: usize = 64 * 1024;

/// What lists show of a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// `program_name`; empty for a client that does not say it.
    pub client: String,
    /// The others, as `_pid=4711, _os=Linux`.
    pub note: Option<String>,
}

impl Attributes {
    /// What is left of the packet of a login. A list that is cut off, or none, is no mistake: people read it, programs
    /// do not.
    pub(super) fn parse(fields: &mut Fields<'_>, charset: Charset) -> Self {
        let all = fields.text().unwrap_or_default();
        let mut list = Fields(&all[..all.len().min(MAX_LIST)]);
        let (mut client, mut note) = (String::new(), String::new());
        while let (Ok(name), Ok(value)) = (list.text(), list.text()) {
            if name == b"program_name" {
                client.clear();
                append(&mut client, &charset.text(value));
            } else if note.len() < MAX_TEXT {
                let separator = if note.is_empty() { "" } else { ", " };
                append(&mut note, &format!("{separator}{}={}", charset.text(name), charset.text(value)));
            }
        }
        Self { client, note: Some(note).filter(|note| !note.is_empty()) }
    }
}

/// Appends as much as there is room for.
fn append(to: &mut String, text: &str) {
    let room = MAX_TEXT - to.len();
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
    fn program_name_is_client_and_rest_is_note() {
        let all = parsed(
            Charset::default(),
            &[(b"_client_name", b"libmysql"), (b"program_name", b"nightly backup"), (b"_pid", b"4711")],
        );
        assert_eq!(all.client, "nightly backup");
        assert_eq!(all.note.unwrap(), "_client_name=libmysql, _pid=4711");
        assert_eq!(parsed(Charset::default(), &[]), Attributes::default());
        let gbk = parsed(Charset::named("gbk").unwrap(), &[(b"program_name", b"\xD6\xD0"), (b"x", b"\xFF")]);
        assert_eq!((gbk.client.as_str(), gbk.note.unwrap().as_str()), ("中", "x=\u{FFFD}"));
    }

    #[test]
    fn attributes_are_bounded_and_may_be_truncated() {
        let long = "é".repeat(10_000);
        let all = parsed(
            Charset::default(),
            &[(b"program_name", long.as_bytes()), (b"a", long.as_bytes()), (b"b", b"c")],
        );
        assert_eq!((all.client.len(), all.note.unwrap().len()), (256, 256));
        for cut in [&b""[..], b"\x05", b"\x05\x01a\x09b", b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"] {
            assert_eq!(Attributes::parse(&mut Fields(cut), Charset::default()), Attributes::default());
        }
    }
}
