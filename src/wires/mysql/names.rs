//! Names of databases, users and variables, as MySQL takes them.

use super::error::SqlError;

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
