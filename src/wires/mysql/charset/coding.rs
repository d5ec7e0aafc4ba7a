//! Decoding and encoding strings in a character set. Pure.
//!
//! The tables are those of `encoding_rs`, except where MySQL's differ. A code that the two read as different characters
//! is read as no character: a name that contains it is refused, and never mistaken for another name.

use std::{borrow::Cow, sync::OnceLock};

use encoding_rs::Encoding;

use super::{
    Charset,
    bytes::Bytes,
    codes::{CodeIndex, Codes, Lengths},
    exceptions::exceptions,
    sets::SETS,
};
use crate::wires::mysql::{error::SqlError, value::Value};

/// The kind of encoding of a character set.
#[derive(Debug)]
pub(super) enum Coding {
    Utf8,
    Ascii,
    Binary,
    /// A character is a byte.
    Bytes(&'static Encoding),
    /// A character is a code of one to four bytes.
    Codes(&'static Encoding, Lengths),
    /// Two bytes or more per character, ASCII included: statements cannot be written in it.
    Wide,
    /// `encoding_rs` does not support it.
    None,
}

/// Replaces characters that the client's character set lacks.
pub(super) const UNKNOWN: u8 = b'?';

/// The cost of converting one byte from or to another character set than UTF-8, in units of work.
const BYTE: usize = 2;

/// The cost of a character beyond U+FFFF in a set of codes, which is looked up each time.
const RARE: usize = 16;

impl Charset {
    fn coding(self) -> &'static Coding {
        &self.known_set().coding
    }

    /// Whether these bytes are the same in UTF-8, or cannot be distinguished from it.
    #[inline]
    pub(in crate::wires::mysql) fn is_read_as_is(self, bytes: &[u8]) -> bool {
        self.set == Self::UTF8MB4.set
            || !matches!(self.coding(), Coding::Bytes(_) | Coding::Codes(..))
            || bytes.is_ascii()
    }

    /// The most bytes that these bytes may become in UTF-8.
    pub(in crate::wires::mysql) fn room(self, bytes: &[u8]) -> usize {
        let beyond = bytes.iter().filter(|byte| !byte.is_ascii()).count();
        bytes.len()
            + match self.coding() {
                Coding::Codes(_, Lengths::Pairs | Lengths::Chinese | Lengths::EucJp) => beyond,
                _ => 2 * beyond,
            }
    }

    /// Decodes bytes of this character set. UTF-8 itself is not checked.
    pub(in crate::wires::mysql) fn read(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, SqlError> {
        if self.is_read_as_is(bytes) {
            return Ok(bytes.into());
        }
        let read = match self.coding() {
            Coding::Bytes(encoding) => self.bytes(encoding).read(bytes),
            Coding::Codes(encoding, lengths) => self.codes(encoding, *lengths).read(bytes, self.room(bytes)),
            _ => return Ok(bytes.into()),
        };
        read.map(|text| text.into_bytes().into()).map_err(|wrong| self.invalid(wrong))
    }

    /// Decodes bytes of this character set. In UTF-8 and ASCII, invalid ones remain bytes.
    pub(in crate::wires::mysql) fn decode(self, bytes: Vec<u8>) -> Result<Value, SqlError> {
        if matches!(self.coding(), Coding::Binary) {
            return Ok(Value::bytes(bytes));
        }
        let bytes = if self.is_read_as_is(&bytes) { bytes } else { self.read(&bytes)?.into_owned() };
        Ok(String::from_utf8(bytes).map_or_else(|error| Value::bytes(error.into_bytes()), Value::Text))
    }

    /// Decodes a name, with a replacement for invalid characters.
    pub(in crate::wires::mysql) fn text(self, bytes: &[u8]) -> String {
        let text = self.read(bytes).unwrap_or_else(|_| bytes.into());
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Encodes a string for the client; `?` for characters that the set lacks.
    #[inline]
    pub(in crate::wires::mysql) fn encode(self, text: &[u8]) -> Cow<'_, [u8]> {
        if self.set == Self::UTF8MB4.set || text.is_ascii() { text.into() } else { self.write(text) }
    }

    /// The cost of [`Self::encode`] for a string, in units of work: nothing if it is only copied.
    #[inline]
    pub(in crate::wires::mysql) fn effort(self, text: &[u8]) -> usize {
        if self.set == Self::UTF8MB4.set || text.is_ascii() { 0 } else { self.effort_of_writing(text) }
    }

    fn effort_of_writing(self, text: &[u8]) -> usize {
        match self.coding() {
            Coding::Codes(..) => {
                let rare = text.iter().filter(|byte| **byte >= 0xF0).count();
                BYTE * text.len() + RARE * rare
            }
            Coding::Utf8 | Coding::Ascii | Coding::Bytes(_) => BYTE * text.len(),
            Coding::Binary | Coding::Wide | Coding::None => 0,
        }
    }

    fn write(self, text: &[u8]) -> Cow<'_, [u8]> {
        let lossy = || String::from_utf8_lossy(text);
        match self.coding() {
            Coding::Bytes(encoding) => {
                let bytes = self.bytes(encoding);
                lossy().chars().map(|c| bytes.byte(c).unwrap_or(UNKNOWN)).collect::<Vec<_>>().into()
            }
            Coding::Codes(encoding, lengths) => self.codes(encoding, *lengths).write(&lossy()).into(),
            Coding::Ascii => {
                let byte = |c: char| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(UNKNOWN);
                lossy().chars().map(byte).collect::<Vec<_>>().into()
            }
            Coding::Utf8 if text.iter().any(|byte| *byte >= 0xF0) => {
                lossy().replace(|c| c > '\u{FFFF}', "?").into_bytes().into()
            }
            _ => text.into(),
        }
    }

    /// Encodes the text of an error, with the numbers of characters that the set lacks: `\8A9E`.
    pub(in crate::wires::mysql) fn encode_error(self, text: &str) -> Cow<'_, [u8]> {
        if text.is_ascii() || matches!(self.coding(), Coding::Utf8 | Coding::Binary) {
            return text.as_bytes().into();
        }
        let mut error = Vec::new();
        for c in text.chars() {
            match &*self.encode(c.encode_utf8(&mut [0; 4]).as_bytes()) {
                [UNKNOWN] if c != '?' && c > '\u{FFFF}' => {
                    error.extend(format!("\\+{:06X}", u32::from(c)).bytes());
                }
                [UNKNOWN] if c != '?' => error.extend(format!("\\{:04X}", u32::from(c)).bytes()),
                bytes => error.extend(bytes),
            }
        }
        error.into()
    }

    /// MySQL's error for invalid bytes, of which it shows three.
    pub(in crate::wires::mysql) fn invalid(self, bytes: &[u8]) -> SqlError {
        let shown = bytes.iter().take(3).map(|byte| format!("{byte:02X}")).collect();
        SqlError::InvalidText { charset: self.name(), bytes: shown }
    }

    /// The table of a single-byte character set, made when a client first uses it.
    fn bytes(self, encoding: &'static Encoding) -> &'static Bytes {
        static TABLES: [OnceLock<Bytes>; SETS.len()] = [const { OnceLock::new() }; SETS.len()];
        TABLES[usize::from(self.set)].get_or_init(|| Bytes::new(encoding, exceptions(self.name())))
    }

    fn codes(self, encoding: &'static Encoding, lengths: Lengths) -> Codes {
        static FOUND: [OnceLock<CodeIndex>; SETS.len()] = [const { OnceLock::new() }; SETS.len()];
        let found = &FOUND[usize::from(self.set)];
        Codes { encoding, lengths, exceptions: exceptions(self.name()), found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Charset {
        Charset::named(name).unwrap()
    }

    fn read(charset: &str, bytes: &[u8]) -> Result<String, String> {
        let text = named(charset).read(bytes).map(|text| String::from_utf8(text.into_owned()).unwrap());
        text.map_err(|error| error.to_string())
    }

    #[test]
    fn character_round_trips_or_is_unencodable() {
        let is_other = |charset: Charset| matches!(charset.coding(), Coding::Bytes(_) | Coding::Codes(..));
        for charset in Charset::all().filter(|charset| is_other(*charset)) {
            let singles = (0x80..=0xFF).map(|byte| vec![byte]);
            let pairs = (0x81..=0xFE).flat_map(|lead| (0x40..=0xFE).map(move |trail| vec![lead, trail]));
            let (mut same, mut lost) = (0, 0);
            for code in singles.chain(pairs) {
                let Ok(text) = charset.read(&code) else { continue };
                if String::from_utf8_lossy(&text).chars().count() > 1 {
                    continue;
                }
                match &*charset.encode(&text) {
                    b"?" => lost += 1,
                    written if written == code => same += 1,
                    written => assert_eq!(charset.read(written).as_ref(), Ok(&text), "{charset:?} {code:x?}"),
                }
            }
            let private = if charset.name() == "cp932" { 1_880 } else { 5 };
            assert!(same >= 87 && lost <= private, "{} {same} {lost}", charset.name());
        }
    }

    #[test]
    fn mapping_differences_follow_mysql() {
        assert_eq!(read("latin1", b"\x80\x81"), Ok("\u{20AC}\u{81}".to_owned()));
        assert_eq!(read("hebrew", b"\xAF"), Ok("\u{203E}".to_owned()));
        assert_eq!(read("koi8u", b"\xAE"), Ok("\u{255D}".to_owned()));
        assert_eq!(read("greek", b"a\xA4bc"), Err("Invalid greek character string: 'A46263'".to_owned()));
        for (charset, wrong) in [
            ("gbk", &b"\x80"[..]),
            ("gbk", b"\x81\x30\x81\x30"),
            ("gb18030", b"\xA6\xD9"),
            ("sjis", b"\x81\x5F"),
            ("big5", b"\xC8\xFE"),
            ("ujis", b"\xA1\xC0"),
            ("eucjpms", b"\xF9\xA1"),
        ] {
            assert!(read(charset, wrong).is_err(), "{charset} {wrong:x?}");
        }
        for (charset, code, character) in [
            ("big5", b"\xC6\xA1", "\u{30FE}"),
            ("gb2312", b"\xA1\xA4", "\u{30FB}"),
            ("gb2312", b"\xA1\xAA", "\u{2015}"),
            ("sjis", b"\x81\x60", "\u{301C}"),
            ("ujis", b"\xA1\xDD", "\u{2212}"),
        ] {
            let text = [&b"a"[..], code, b"\\", code].concat();
            let as_read = format!("a{character}\\{character}");
            assert_eq!(read(charset, &text).as_ref(), Ok(&as_read), "{charset}");
            assert_eq!(named(charset).encode(as_read.as_bytes()).as_ref(), text, "{charset}");
        }
        assert_eq!(read("gb18030", b"\x81\x30\x81\x30"), Ok("\u{80}".to_owned()));
        assert_eq!(read("cp932", b"\x81\x5F"), Ok("\u{FF3C}".to_owned()));
        assert_eq!(read("ujis", b"\x8F\xB0\xA9"), Ok("\u{4E28}".to_owned()));
        assert_eq!(read("sjis", b"a\xB1\x83\x5C"), Ok("a\u{FF71}\u{30BD}".to_owned()));
    }

    #[test]
    fn truncated_character_is_invalid() {
        assert_eq!(read("gbk", b"ok \xD6"), Err("Invalid gbk character string: 'D6'".to_owned()));
        assert_eq!(read("gbk", b"\xD6'"), Err("Invalid gbk character string: 'D627'".to_owned()));
        assert_eq!(
            read("euckr", b"\xB0\xA1\xFF\xFF"),
            Err("Invalid euckr character string: 'FFFF'".to_owned())
        );
    }

    #[test]
    fn unencodable_character_is_replaced() {
        let text = "a\u{8A9E}\u{E9}\u{1F512}?";
        assert_eq!(named("latin1").encode(text.as_bytes()).as_ref(), b"a?\xE9??");
        assert_eq!(named("ascii").encode(text.as_bytes()).as_ref(), b"a????");
        assert_eq!(named("sjis").encode(text.as_bytes()).as_ref(), b"a\x8C\xEA???");
        assert_eq!(named("utf8mb3").encode(text.as_bytes()).as_ref(), "a\u{8A9E}\u{E9}??".as_bytes());
        assert_eq!(named("gbk").encode("\u{20AC}\u{A5}".as_bytes()).as_ref(), b"??");
        assert_eq!(named("cp932").encode("\u{A5}\u{2212}\\".as_bytes()).as_ref(), b"??\\");
        assert_eq!(named("latin1").encode_error(text).as_ref(), b"a\\8A9E\xE9\\+01F512?");
        assert_eq!(named("binary").encode_error(text).as_ref(), text.as_bytes());
    }

    /// The first time a code is looked for, the second time it is found.
    #[test]
    fn encoding_is_deterministic() {
        for (charset, text, written) in [
            ("big5", "\u{E9}\u{4E2D}", &b"?\xA4\xA4"[..]),
            ("gb18030", "\u{80}\u{FFFF}\u{10000}", b"\x81\x30\x81\x30\x84\x31\xA4\x39\x90\x30\x81\x30"),
            ("gb2312", "\u{30FB}\u{20AC}", b"\xA1\xA4?"),
            ("sjis", "\u{FF71}\u{203E}\u{30BD}", b"\xB1?\x83\x5C"),
            ("ujis", "\u{FF71}\u{4E2D}", b"\x8E\xB1\xC3\xE6"),
        ] {
            for _ in 0..2 {
                assert_eq!(named(charset).encode(text.as_bytes()).as_ref(), written, "{charset}");
            }
        }
    }

    #[test]
    fn only_conversion_counts_as_work() {
        let effort = |charset, text: &str| named(charset).effort(text.as_bytes());
        assert_eq!(effort("utf8mb4", "\u{E9}\u{1F512}"), 0);
        assert_eq!(effort("big5", "ascii"), 0);
        assert_eq!(effort("latin1", "a\u{E9}"), 3 * BYTE);
        assert_eq!(effort("gbk", "\u{1F512}"), 4 * BYTE + RARE);
    }

    #[test]
    fn encoded_text_fits_the_reserved_room() {
        for charset in Charset::all().filter(|charset| charset.is_served()) {
            for pair in (0x80..=0xFF_u8).flat_map(|lead| (0x20..=0xFF_u8).map(move |trail| [lead, trail])) {
                let Ok(text) = charset.read(&pair) else { continue };
                assert!(text.len() <= charset.room(&pair), "{charset:?} {pair:x?}");
            }
        }
    }
}
