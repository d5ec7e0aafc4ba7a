//! Character sets of connections: UTF-8 in its MySQL names, latin1, ASCII, and none.

use super::value::Value;

/// How a client writes its texts. Inside, all texts are UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Charset {
    #[default]
    Utf8mb4,
    Utf8mb3,
    Latin1,
    Ascii,
    Binary,
}

/// What MySQL's latin1 has in place of the controls 0x80 to 0x9f: Windows-1252.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl Charset {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "utf8mb4" => Self::Utf8mb4,
            "utf8" | "utf8mb3" => Self::Utf8mb3,
            "latin1" => Self::Latin1,
            "ascii" => Self::Ascii,
            "binary" => Self::Binary,
            _ => return None,
        })
    }

    /// The character set of a collation: `utf8mb4_0900_ai_ci`, `binary`.
    pub(super) fn of_collation(name: &str) -> Option<Self> {
        Self::named(name.split('_').next().unwrap_or_default())
    }

    /// The character set of a collation's number, as clients send it at login. What is not known
    /// is taken for UTF-8, which all but a few clients write.
    pub(super) fn numbered(collation: u16) -> Self {
        match collation {
            5 | 8 | 15 | 31 | 47..=49 | 94 => Self::Latin1,
            11 | 65 => Self::Ascii,
            33 | 76 | 83 | 192..=215 | 223 => Self::Utf8mb3,
            63 => Self::Binary,
            _ => Self::Utf8mb4,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8mb4 => "utf8mb4",
            Self::Utf8mb3 => "utf8mb3",
            Self::Latin1 => "latin1",
            Self::Ascii => "ascii",
            Self::Binary => "binary",
        }
    }

    pub(super) fn default_collation(self) -> &'static str {
        match self {
            Self::Utf8mb4 => "utf8mb4_0900_ai_ci",
            Self::Utf8mb3 => "utf8mb3_general_ci",
            Self::Latin1 => "latin1_swedish_ci",
            Self::Ascii => "ascii_general_ci",
            Self::Binary => "binary",
        }
    }

    /// The number of its default collation, for columns.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Utf8mb4 => 255,
            Self::Utf8mb3 => 33,
            Self::Latin1 => 8,
            Self::Ascii => 11,
            Self::Binary => 63,
        }
    }

    /// How many bytes a character may have.
    pub(super) fn width(self) -> u32 {
        match self {
            Self::Utf8mb4 => 4,
            Self::Utf8mb3 => 3,
            Self::Latin1 | Self::Ascii | Self::Binary => 1,
        }
    }

    /// Bytes of this character set to a text, or to bytes if they are none.
    pub(super) fn decode(self, bytes: Vec<u8>) -> Value {
        match self {
            Self::Latin1 => Value::Text(bytes.into_iter().map(from_latin1).collect()),
            Self::Binary => Value::bytes(bytes),
            Self::Utf8mb4 | Self::Utf8mb3 | Self::Ascii => {
                String::from_utf8(bytes).map_or_else(|error| Value::bytes(error.into_bytes()), Value::Text)
            }
        }
    }

    /// A whole statement in this character set to one in UTF-8; other bytes are left as they are.
    pub(super) fn decode_statement(self, sql: &[u8]) -> std::borrow::Cow<'_, [u8]> {
        if self != Self::Latin1 || sql.is_ascii() {
            return sql.into();
        }
        sql.iter().map(|byte| from_latin1(*byte)).collect::<String>().into_bytes().into()
    }

    /// A text as the client wants it; `?` for what it cannot write.
    pub(super) fn encode(self, text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
        if text.is_ascii() || !matches!(self, Self::Latin1 | Self::Ascii) {
            return text.into();
        }
        let text = String::from_utf8_lossy(text);
        let encoded = text.chars().map(|c| if self == Self::Latin1 { to_latin1(c) } else { to_ascii(c) });
        encoded.collect::<Vec<u8>>().into()
    }
}

fn from_latin1(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn to_latin1(c: char) -> u8 {
    match (u8::try_from(c), (0x80..=0x9f).find(|byte| from_latin1(*byte) == c)) {
        (_, Some(byte)) => byte,
        (Ok(byte), None) if !(0x80..=0x9f).contains(&byte) => byte,
        _ => b'?',
    }
}

fn to_ascii(c: char) -> u8 {
    u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_windows_1252_both_ways() {
        for byte in 0..=u8::MAX {
            let Value::Text(text) = Charset::Latin1.decode(vec![byte]) else { panic!("{byte}") };
            assert_eq!(Charset::Latin1.encode(text.as_bytes()).as_ref(), [byte]);
        }
        assert_eq!(Charset::Latin1.encode("a語".as_bytes()).as_ref(), b"a?");
        assert_eq!(Charset::Latin1.decode_statement(b"'\xe9'").as_ref(), "'é'".as_bytes());
    }
}
