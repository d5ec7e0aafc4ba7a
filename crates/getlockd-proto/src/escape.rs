//! Names as people write them: bare if possible, otherwise in quotes with backslashes.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    str,
};

/// The byte that a backslash and this one stand for (MySQL manual 11.1.1, table 11.1).
#[inline]
pub fn unescape(c: u8) -> u8 {
    match c {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    }
}

/// Reads on behind an opening quote: the text up to the closing one, and what follows. None if nothing
/// closes it.
pub fn read_quoted(input: &[u8], mark: u8) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut text = Cow::Borrowed(&[][..]);
    let mut rest = input;
    loop {
        let (plain, after) = rest.split_at(rest.iter().position(|&c| c == mark || c == b'\\')?);
        append(&mut text, plain);
        rest = match after {
            [b'\\', first, others @ ..] => escaped(*first, others, text.to_mut()),
            [_, again, after @ ..] if *again == mark => {
                text.to_mut().push(mark);
                after
            }
            [end, after @ ..] if *end == mark => return Some((text, after)),
            _ => return None,
        };
    }
}

/// Borrows as long as there is nothing to change.
fn append<'a>(text: &mut Cow<'a, [u8]>, more: &'a [u8]) {
    if text.is_empty() {
        *text = Cow::Borrowed(more);
    } else {
        text.to_mut().extend_from_slice(more);
    }
}

/// What follows a backslash: `u{1b}` is a character by its number, the others are as in MySQL.
/// Returns the rest of the input.
fn escaped<'a>(first: u8, others: &'a [u8], text: &mut Vec<u8>) -> &'a [u8] {
    match numbered(others) {
        Some((c, rest)) if first == b'u' => {
            text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest
        }
        _ => {
            text.push(unescape(first));
            others
        }
    }
}

/// `{1b}` is the character with that hexadecimal number.
fn numbered(input: &[u8]) -> Option<(char, &[u8])> {
    let input = input.strip_prefix(b"{")?;
    let (digits, rest) = input.split_at(input.iter().take(7).position(|&c| c == b'}')?);
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let number = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((char::from_u32(number)?, &rest[1..]))
}

/// Whether a character may stand in a bare word.
#[inline]
pub fn is_bare(c: char) -> bool {
    !matches!(c, '\'' | '"' | '`' | ',' | '(' | ')') && !needs_escape(c) && !c.is_whitespace()
}

/// Whether a character is a quotation mark beyond ASCII, as word processors write them (Unicode's `Quotation_Mark`, and the
/// acute accent).
pub fn is_quotation_mark(c: char) -> bool {
    matches!(
        c,
        '\u{AB}' | '\u{B4}' | '\u{BB}' | '\u{2018}'..='\u{201F}' | '\u{2039}' | '\u{203A}' | '\u{2E42}'
    ) || matches!(c, '\u{300C}'..='\u{300F}' | '\u{301D}'..='\u{301F}' | '\u{FE41}'..='\u{FE44}')
        || matches!(c, '\u{FF02}' | '\u{FF07}' | '\u{FF62}' | '\u{FF63}')
}

/// Whether a character cannot be seen, or would garble a terminal: controls, line separators, what reverses the direction,
/// and what Unicode lets a program leave out (`Default_Ignorable_Code_Point`).
#[inline]
fn needs_escape(c: char) -> bool {
    // Most text is ASCII.
    if c.is_ascii() { c.is_ascii_control() } else { is_unseen(c) }
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}')
        || matches!(c, '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}')
        || matches!(c, '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}')
        || matches!(c, '\u{E0000}'..='\u{E0FFF}')
}

/// Whether a string may stand without quotes.
fn is_bare_string(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.ends_with(';')
        && !ends.into_iter().flatten().any(is_quotation_mark)
        && text.chars().all(is_bare)
}

/// A name or another string, written so that the server reads back the same string.
pub struct Written<'a>(pub &'a str);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        if is_bare_string(text) {
            return f.write_str(text);
        }
        f.write_char('\'')?;
        text.chars().try_for_each(|c| write_quoted(c, f))?;
        f.write_char('\'')
    }
}

/// A string from outside, safe for a terminal: unseen characters are escaped, all others stay.
pub struct Visible<'a>(pub &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if needs_escape(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
            c => f.write_char(c),
        })
    }
}

/// Lines of JSON, safe for a terminal: unseen characters are escaped as JSON does, but for line feeds between the lines.
pub struct VisibleJson<'a>(pub &'a str);

impl fmt::Display for VisibleJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if c != '\n' && needs_escape(c) => {
                c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}"))
            }
            c => f.write_char(c),
        })
    }
}

fn write_quoted(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '\'' | '\\' => write!(f, "\\{c}"),
        c if needs_escape(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
        c => f.write_char(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_quotation_marks_at_an_end_are_written_in_quotes() {
        for c in ('\u{80}'..=char::MAX).filter(|&c| is_quotation_mark(c)) {
            for text in [format!("{c}x"), format!("x{c}"), c.to_string()] {
                assert_eq!(Written(&text).to_string(), format!("'{text}'"));
            }
            assert_eq!(Written(&format!("o{c}clock")).to_string(), format!("o{c}clock"));
        }
    }

    #[test]
    fn unseen_characters_are_written_by_number() {
        for c in [
            '\u{1b}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{202e}',
            '\u{2028}',
            '\u{3164}',
            '\u{e0001}',
        ] {
            let text = format!("a{c}b");
            assert_eq!(Written(&text).to_string(), format!("'a\\u{{{:x}}}b'", u32::from(c)));
            assert_eq!(Visible(&text).to_string(), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
    }

    #[test]
    fn unseen_characters_in_json_are_escaped_as_utf_16() {
        let line = "{\"client\":\"a\u{9b}\u{7f}\u{202e}\u{2028}\u{e0001}é\"}\n";
        let visible = r#"{"client":"a\u009b\u007f\u202e\u2028\udb40\udc01é"}"#;
        assert_eq!(VisibleJson(line).to_string(), format!("{visible}\n"));
    }

    #[test]
    fn each_character_is_read_back_as_it_was_written() {
        for c in '\u{1}'..=char::MAX {
            let text = format!("{c}x{c}");
            let written = Written(&text).to_string();
            let read = match written.strip_prefix('\'') {
                Some(quoted) => read_quoted(quoted.as_bytes(), b'\'').unwrap().0.into_owned(),
                None => written.into_bytes(),
            };
            assert_eq!(read, text.as_bytes(), "U+{:04X}", u32::from(c));
        }
    }
}
