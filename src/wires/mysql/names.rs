//! Names as MySQL takes them: of locks (8.4, `sql/item_func.cc`, observed), databases, users and variables.

use getlockd_proto::name::MAX_NAME_CHARS;

use super::{error::SqlError, value::Value};
use crate::name::Name;

/// The most characters of the name of a database, of a user variable and of a collation (MySQL manual 11.2.1).
pub(super) const MAX_IDENTIFIER_CHARS: usize = 64;

/// The most characters of the name of a user (MySQL manual 8.2.4).
pub(super) const MAX_USER_CHARS: usize = 32;

/// Whether a text has more characters than that. It looks no further.
pub(super) fn is_longer(text: &str, max: usize) -> bool {
    text.chars().nth(max).is_some()
}

/// A database of this name may be remembered.
pub(super) fn check_database(name: &str) -> Result<(), SqlError> {
    if is_longer(name, MAX_IDENTIFIER_CHARS) { Err(SqlError::NameTooLong(name.to_owned())) } else { Ok(()) }
}

/// A user variable may have this name.
pub(super) fn check_variable(name: &str) -> Result<(), SqlError> {
    if is_longer(name, MAX_IDENTIFIER_CHARS) { Err(SqlError::VariableName(name.to_owned())) } else { Ok(()) }
}

/// The name that a value is, or MySQL's error.
pub(super) fn lock_name(value: &Value) -> Result<Name, SqlError> {
    let Some(bytes) = value.to_bytes() else { return Err(SqlError::LockName("NULL".to_owned())) };
    // A name ends at its first NUL.
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let incorrect = || SqlError::LockName(shown(bytes));
    let head_ends = |text: &str| text.char_indices().nth(MAX_NAME_CHARS).map(|(at, _)| at);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // What is wrong beyond the last character that counts is too long before it is wrong.
        Err(error) => {
            let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            return Err(match head_ends(valid) {
                Some(_) => SqlError::LockNameTooLong(shown(bytes)),
                None => incorrect(),
            });
        }
    };
    let end = head_ends(text);
    if text.is_empty() || text[..end.unwrap_or(text.len())].chars().any(|c| c > '\u{FFFF}') {
        return Err(incorrect());
    }
    if end.is_some() {
        return Err(SqlError::LockNameTooLong(shown(bytes)));
    }
    Name::new(text).map_err(|_| incorrect())
}

/// The most bytes of a name that an error shows.
const SHOWN: usize = 192;

/// As the error shows it: in MySQL's old UTF-8, which knows no character beyond the basic plane.
fn shown(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown.extend(chunk.valid().chars().map(|c| if c > '\u{FFFF}' { '?' } else { c }));
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    shown.truncate(shown.floor_char_boundary(SHOWN));
    shown
}
