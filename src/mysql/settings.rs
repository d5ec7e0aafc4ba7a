//! What the session variables that hold a text may be set to (MySQL manual 7.1.8). What is none of it is an error, as
//! with MySQL: so nobody has a megabyte remembered under the name of a time zone.

use super::{
    error::SqlError,
    names::{MAX_IDENTIFIER_CHARS, is_longer},
    temporal::Offset,
    value::Value,
};

/// The most bytes of a list of names.
const MAX_LIST: usize = 2048;

/// MySQL manual 7.1.11; those that are combinations come first.
const MODES: [&str; 20] = [
    "ANSI",
    "TRADITIONAL",
    "ALLOW_INVALID_DATES",
    "ANSI_QUOTES",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "HIGH_NOT_PRECEDENCE",
    "IGNORE_SPACE",
    "NO_AUTO_VALUE_ON_ZERO",
    "NO_BACKSLASH_ESCAPES",
    "NO_DIR_IN_CREATE",
    "NO_ENGINE_SUBSTITUTION",
    "NO_UNSIGNED_SUBTRACTION",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "ONLY_FULL_GROUP_BY",
    "PAD_CHAR_TO_FULL_LENGTH",
    "PIPES_AS_CONCAT",
    "REAL_AS_FLOAT",
    "STRICT_ALL_TABLES",
    "STRICT_TRANS_TABLES",
];

const ISOLATION: [&str; 4] = ["READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"];

/// The value as it is kept, if the variable may have it.
pub(super) fn checked(variable: &str, value: Value) -> Result<Value, SqlError> {
    let text = value.to_text();
    let shown = || text.clone().unwrap_or_else(|| "NULL".to_owned());
    let wrong = || SqlError::WrongValue { variable: variable.to_owned(), value: shown() };
    let is_right = match (variable, text.as_deref()) {
        (_, None) => false,
        ("sql_mode", Some(modes)) => return checked_modes(value, modes, wrong),
        ("time_zone", Some(zone)) => {
            let zone = Offset::named(zone).map(|offset| offset.name(zone));
            return zone.map(Value::Text).ok_or_else(|| SqlError::UnknownTimeZone(shown()));
        }
        ("lc_messages" | "lc_time_names", Some(locale)) => {
            return if is_locale(locale) { Ok(value) } else { Err(SqlError::UnknownLocale(shown())) };
        }
        ("transaction_isolation" | "default_transaction_isolation", Some(level)) => {
            is_one_of(level, &ISOLATION)
        }
        ("session_track_gtids", Some(what)) => is_one_of(what, &["OFF", "OWN_GTID", "ALL_GTIDS"]),
        ("session_track_transaction_info", Some(what)) => {
            is_one_of(what, &["OFF", "STATE", "CHARACTERISTICS"])
        }
        ("session_track_system_variables", Some(names)) => {
            names.len() <= MAX_LIST && names.bytes().all(|c| is_of_name(c) || matches!(c, b',' | b' ' | b'*'))
        }
        (_, Some(name)) => !is_longer(name, MAX_IDENTIFIER_CHARS) && name.bytes().all(is_of_name),
    };
    if is_right { Ok(value) } else { Err(wrong()) }
}

/// A list of modes, some of which may be empty, or the number that MySQL has for such a list.
fn checked_modes(value: Value, modes: &str, wrong: impl Fn() -> SqlError) -> Result<Value, SqlError> {
    if matches!(value, Value::Int(0..) | Value::UInt(_)) {
        return Ok(value);
    }
    let is_mode = |mode: &str| mode.trim().is_empty() || is_one_of(mode.trim(), &MODES);
    if modes.len() <= MAX_LIST && modes.split(',').all(is_mode) { Ok(value) } else { Err(wrong()) }
}

fn is_one_of(text: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(text))
}

fn is_of_name(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

/// `en_US`
fn is_locale(locale: &str) -> bool {
    let Some((language, country)) = locale.split_once('_') else { return false };
    let is_part = |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphabetic());
    is_part(language) && is_part(country)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_take_what_they_can_have_and_nothing_else() {
        let long = "x".repeat(1_000_000);
        for (variable, value, code) in [
            ("time_zone", "SYSTEM", 0),
            ("time_zone", "+00:00", 0),
            ("time_zone", "-13:59", 0),
            ("time_zone", "Europe/Berlin", 1298),
            ("time_zone", "+14:01", 1298),
            ("time_zone", "+1", 1298),
            ("time_zone", "", 1298),
            ("time_zone", &long, 1298),
            ("sql_mode", "", 0),
            ("sql_mode", "ANSI,,STRICT_TRANS_TABLES", 0),
            ("sql_mode", "NONSENSE", 1231),
            ("sql_mode", &",".repeat(5_000), 1231),
            ("lc_messages", "de_DE", 0),
            ("lc_messages", &long, 1649),
            ("transaction_isolation", "read-committed", 0),
            ("transaction_isolation", &long, 1231),
            ("session_track_system_variables", "*", 0),
            ("session_track_system_variables", "a,b", 0),
            ("session_track_system_variables", &long, 1231),
            ("default_storage_engine", "InnoDB", 0),
            ("default_storage_engine", &long, 1231),
        ] {
            let code_of = |result: Result<Value, SqlError>| result.map_or_else(|error| error.code().0, |_| 0);
            assert_eq!(code_of(checked(variable, Value::text(value))), code, "{variable}");
        }
        assert!(checked("sql_mode", Value::Null).is_err());
    }
}
