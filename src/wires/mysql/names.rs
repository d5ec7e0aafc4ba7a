//! Names of databases, users and variables, by MySQL's rules.

use super::error::SqlError;

/// The most characters in the name of a database, a user variable or a collation (MySQL manual 11.2.1).
pub(super) const MAX_IDENTIFIER_CHARS: usize = 64;

/// The most characters in the name of a user (MySQL manual 8.2.4).
pub(super) const MAX_USER_CHARS: usize = 32;

/// Whether a string has more characters than that. It reads no further.
pub(super) fn is_longer(text: &str, max: usize) -> bool {
    text.chars().nth(max).is_some()
}

/// Whether a database may have this name.
pub(super) fn check_database(name: &str) -> Result<(), SqlError> {
    if is_longer(name, MAX_IDENTIFIER_CHARS) { Err(SqlError::NameTooLong(name.to_owned())) } else { Ok(()) }
}

/// Whether a user variable may have this name.
pub(super) fn check_variable(name: &str) -> Result<(), SqlError> {
    if is_longer(name, MAX_IDENTIFIER_CHARS) { Err(SqlError::VariableName(name.to_owned())) } else { Ok(()) }
}
