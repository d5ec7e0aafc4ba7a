//! Names of locks as MySQL takes them (8.4, `sql/item_func.cc`, observed).

use super::{error::SqlError, value::Value};
use crate::name::{MAX_NAME_CHARS, Name};

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
