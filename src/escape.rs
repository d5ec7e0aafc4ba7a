//! Names as people write them: bare where they can be, else in quotes with backslashes.

use std::fmt::{self, Write};

/// The byte that a backslash and this one stand for (MySQL manual 11.1.1, table 11.1).
pub(crate) fn unescape(c: u8) -> u8 {
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

/// Whether a character may stand in a bare word.
pub(crate) fn is_bare(c: char) -> bool {
    !matches!(c, '\'' | '"' | '`' | ',' | '(' | ')') && !needs_escape(c) && !c.is_whitespace()
}

/// Whether a character cannot be seen, or would garble a terminal: controls, what has no width, and
/// what reverses the direction.
fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
        || matches!(c, '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// A name such that the same text sent back means the same name; other texts likewise.
pub(crate) struct Written<'a>(pub &'a str);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        let is_word = !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.ends_with(';');
        if is_word && text.chars().all(is_bare) {
            return f.write_str(text);
        }
        f.write_char('\'')?;
        text.chars().try_for_each(|c| write_quoted(c, f))?;
        f.write_char('\'')
    }
}

fn write_quoted(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '\'' | '\\' => write!(f, "\\{c}"),
        c if needs_escape(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
        c => f.write_char(c),
    }
}
