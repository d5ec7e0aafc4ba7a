//! Names as they are written on this wire: bare where they can be, else in quotes.

use std::fmt::{self, Write};

use crate::name::Name;

/// Whether a character may stand in a bare word.
pub(super) fn is_bare(c: char) -> bool {
    !matches!(c, '\'' | '"' | '`' | ',' | '(' | ')') && !needs_escape(c) && !c.is_whitespace()
}

/// Whether a character cannot be seen, or would garble a terminal: controls, what has no width, and
/// what reverses the direction.
fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
        || matches!(c, '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// A name such that the same text sent back means the same name.
pub(super) struct Written<'a>(pub &'a Name);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_str();
        if text.chars().all(is_bare) && text != "null" && !text.ends_with(';') {
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
