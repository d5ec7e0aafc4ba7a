//! System variables (MySQL manual 7.1.8): those that clients ask for and set.
//!
//! Few of them do something here; the others are remembered, so that a client which sets one finds
//! it set.

use std::{collections::HashMap, time::Duration};

use super::{
    VERSION, VERSION_COMMENT,
    charset::{Charset, Charsets},
    error::{SqlError, Warning},
    settings,
    sql::lex::Dialect,
    value::Value,
};

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Number,
    Text,
}

/// Name, kind, value at the start, and whether clients may set it.
type Known = (&'static str, Kind, &'static str, bool);

/// Whether a session may take a lock again that it holds.
const REENTRY: &str = "getlockd_reentry";

const MODE: &str = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

#[rustfmt::skip]
const KNOWN: [Known; 70] = [
    ("auto_increment_increment", Kind::Number, "1", true),
    ("auto_increment_offset", Kind::Number, "1", true),
    ("autocommit", Kind::Flag, "1", true),
    ("big_tables", Kind::Flag, "0", true),
    ("character_set_client", Kind::Text, "utf8mb4", true),
    ("character_set_connection", Kind::Text, "utf8mb4", true),
    ("character_set_database", Kind::Text, "utf8mb4", true),
    ("character_set_results", Kind::Text, "utf8mb4", true),
    ("character_set_server", Kind::Text, "utf8mb4", true),
    ("character_set_system", Kind::Text, "utf8mb3", false),
    ("collation_connection", Kind::Text, "utf8mb4_0900_ai_ci", true),
    ("collation_database", Kind::Text, "utf8mb4_0900_ai_ci", true),
    ("collation_server", Kind::Text, "utf8mb4_0900_ai_ci", true),
    ("default_storage_engine", Kind::Text, "InnoDB", true),
    ("default_transaction_isolation", Kind::Text, "REPEATABLE-READ", true),
    ("div_precision_increment", Kind::Number, "4", false),
    ("foreign_key_checks", Kind::Flag, "1", true),
    (REENTRY, Kind::Flag, "1", true),
    ("group_concat_max_len", Kind::Number, "1024", true),
    ("have_ssl", Kind::Text, "DISABLED", false),
    ("hostname", Kind::Text, "getlockd", false),
    ("init_connect", Kind::Text, "", false),
    ("innodb_lock_wait_timeout", Kind::Number, "50", true),
    ("innodb_read_only", Kind::Flag, "0", false),
    ("interactive_timeout", Kind::Number, "28800", true),
    ("last_insert_id", Kind::Number, "0", true),
    ("lc_messages", Kind::Text, "en_US", true),
    ("lc_time_names", Kind::Text, "en_US", true),
    ("license", Kind::Text, "MIT", false),
    ("lock_wait_timeout", Kind::Number, "31536000", true),
    ("lower_case_table_names", Kind::Number, "0", false),
    ("max_allowed_packet", Kind::Number, "1048576", false),
    ("max_connections", Kind::Number, "151", false),
    ("max_execution_time", Kind::Number, "0", true),
    ("max_prepared_stmt_count", Kind::Number, "16382", false),
    ("names", Kind::Text, "utf8mb4", false),
    ("net_buffer_length", Kind::Number, "16384", true),
    ("net_read_timeout", Kind::Number, "30", true),
    ("net_write_timeout", Kind::Number, "60", true),
    ("performance_schema", Kind::Flag, "1", false),
    ("protocol_version", Kind::Number, "10", false),
    ("read_only", Kind::Flag, "0", false),
    ("require_secure_transport", Kind::Flag, "0", false),
    ("server_id", Kind::Number, "1", false),
    ("session_track_gtids", Kind::Text, "OFF", true),
    ("session_track_schema", Kind::Flag, "1", true),
    ("session_track_state_change", Kind::Flag, "0", true),
    ("session_track_system_variables", Kind::Text, "time_zone,autocommit,character_set_client,character_set_results,character_set_connection", true),
    ("session_track_transaction_info", Kind::Text, "OFF", true),
    ("skip_networking", Kind::Flag, "0", false),
    ("socket", Kind::Text, "", false),
    ("sql_auto_is_null", Kind::Flag, "0", true),
    ("sql_mode", Kind::Text, MODE, true),
    ("sql_notes", Kind::Flag, "1", true),
    ("sql_quote_show_create", Kind::Flag, "1", true),
    ("sql_safe_updates", Kind::Flag, "0", true),
    ("sql_select_limit", Kind::Number, "18446744073709551615", true),
    ("sql_warnings", Kind::Flag, "0", true),
    ("super_read_only", Kind::Flag, "0", false),
    ("system_time_zone", Kind::Text, "UTC", false),
    ("time_zone", Kind::Text, "SYSTEM", true),
    ("tls_version", Kind::Text, "", false),
    ("transaction_isolation", Kind::Text, "REPEATABLE-READ", true),
    ("transaction_read_only", Kind::Flag, "0", true),
    ("unique_checks", Kind::Flag, "1", true),
    ("version", Kind::Text, VERSION, false),
    ("version_comment", Kind::Text, VERSION_COMMENT, false),
    ("version_compile_machine", Kind::Text, std::env::consts::ARCH, false),
    ("version_compile_os", Kind::Text, std::env::consts::OS, false),
    ("wait_timeout", Kind::Number, "28800", true),
];

/// The variables of a session. Those that have their value at the start are not stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    set: HashMap<&'static str, Value>,
    charsets: Charsets,
    settings: Settings,
}

/// What variables come to for the server: worked out when one is set, not for each statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub dialect: Dialect,
    pub client_charset: Charset,
    pub result_charset: Charset,
    pub autocommit: bool,
    /// Whether a lock that is held may be taken again.
    pub reentry: bool,
    /// How long the connection may be idle.
    pub wait_timeout: Duration,
    /// Whether the client has said so.
    pub wait_timeout_is_set: bool,
    /// The largest packet, and text, in bytes.
    pub max_packet: usize,
    /// How long a SELECT may run.
    pub max_execution_time: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&HashMap::new(), &Charsets::default())
    }
}

impl Settings {
    fn of(set: &HashMap<&'static str, Value>, charsets: &Charsets) -> Self {
        let number = |name, initial| {
            let number = set.get(name).and_then(Value::to_i64);
            number.and_then(|number| u64::try_from(number).ok()).unwrap_or(initial)
        };
        let flag = |name| set.get(name).is_none_or(|value: &Value| value.to_bool() == Some(true));
        let max_execution_time = number("max_execution_time", 0);
        Self {
            dialect: Dialect {
                charset: charsets.client(),
                ..set.get("sql_mode").map_or_else(Dialect::default, dialect)
            },
            client_charset: charsets.client(),
            result_charset: charsets.results(),
            autocommit: flag("autocommit"),
            reentry: flag(REENTRY),
            wait_timeout_is_set: set.contains_key("wait_timeout"),
            wait_timeout: Duration::from_secs(number("wait_timeout", 28_800)),
            max_packet: usize::try_from(number("max_allowed_packet", super::MAX_PACKET as u64))
                .unwrap_or(super::MAX_PACKET),
            max_execution_time: (max_execution_time > 0).then(|| Duration::from_millis(max_execution_time)),
        }
    }
}

fn dialect(mode: &Value) -> Dialect {
    let mode = mode.to_text().unwrap_or_default();
    let has = |wanted: &str| mode.split(',').any(|mode| mode.trim().eq_ignore_ascii_case(wanted));
    let ansi = has("ANSI");
    Dialect {
        ansi_quotes: ansi || has("ANSI_QUOTES"),
        no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
        pipes_as_concat: ansi || has("PIPES_AS_CONCAT"),
        ..Dialect::default()
    }
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Result<Value, SqlError> {
        if let Some(value) = self.charsets.get(name) {
            return Ok(value);
        }
        let initial = Self::initial(name)?;
        Ok(self.set.get(name).cloned().unwrap_or(initial))
    }

    /// The value at the start, which is that of the server too.
    pub(super) fn initial(name: &str) -> Result<Value, SqlError> {
        let (_, kind, initial, _) = known(name)?;
        Ok(match kind {
            Kind::Flag | Kind::Number => Value::UInt(initial.parse().unwrap_or(0)),
            Kind::Text => Value::text(*initial),
        })
    }

    /// Sets a variable; none is its value at the start.
    /// With a warning if it is not a value that it can have.
    pub(super) fn set(&mut self, name: &str, value: Option<Value>) -> Result<Option<Warning>, SqlError> {
        Self::check_settable(name)?;
        let (known, kind, ..) = known(name)?;
        if self.charsets.set(known, value.as_ref())? {
            self.settings = Settings::of(&self.set, &self.charsets);
            return Ok(None);
        }
        let Some(value) = value else {
            self.store(known, None);
            return Ok(None);
        };
        let (value, warning) = match kind {
            Kind::Flag => (flag(known, &value)?, None),
            Kind::Number => number(known, &value)?,
            Kind::Text => (settings::checked(known, value)?, None),
        };
        self.store(known, Some(value));
        Ok(warning)
    }

    /// Fails for a variable that does not exist or cannot be set.
    pub(super) fn check_settable(name: &str) -> Result<(), SqlError> {
        let (known, .., settable) = known(name)?;
        if *settable { Ok(()) } else { Err(SqlError::ReadOnlyVariable((*known).to_owned())) }
    }

    /// What `--max-packet` says.
    pub(super) fn set_max_packet(&mut self, bytes: usize) {
        self.store("max_allowed_packet", Some(Value::UInt(bytes as u64)));
    }

    /// What `--tls` says, where there is a certificate.
    pub(super) fn set_tls(&mut self, required: bool) {
        self.keep("have_ssl", Some(Value::text("YES")));
        self.keep("tls_version", Some(Value::text("TLSv1.2,TLSv1.3")));
        self.keep("require_secure_transport", Some(Value::UInt(required.into())));
    }

    /// `SET NAMES`
    pub(super) fn set_names(&mut self, charset: Charset) {
        self.charsets.set_names(charset);
        self.settings = Settings::of(&self.set, &self.charsets);
    }

    /// `SET CHARACTER SET`
    pub(super) fn set_character_set(&mut self, charset: Charset) {
        self.charsets.set_character_set(charset);
        self.settings = Settings::of(&self.set, &self.charsets);
    }

    /// COM_RESET_CONNECTION: as at the start, but for what its pool has set to keep its borrowers apart.
    pub(super) fn reset(&mut self) {
        let reentry = self.settings.reentry;
        *self = Self::default();
        if !reentry {
            self.store(REENTRY, Some(Value::UInt(0)));
        }
    }

    /// COM_CHANGE_USER: whoever it is now has not asked for that.
    pub(super) fn forget_reentry(&mut self) {
        self.store(REENTRY, None);
    }

    /// All names and values, for SHOW VARIABLES.
    pub(super) fn all(&self) -> Vec<(&'static str, String)> {
        let shown = |kind: Kind, value: Value| match kind {
            Kind::Flag => if value.to_bool() == Some(true) { "ON" } else { "OFF" }.to_owned(),
            Kind::Number | Kind::Text => value.to_text().unwrap_or_default(),
        };
        let row = |(name, kind, ..): &Known| self.get(name).ok().map(|value| (*name, shown(*kind, value)));
        KNOWN.iter().filter_map(row).collect()
    }

    pub(super) fn kind(name: &str) -> Result<Kind, SqlError> {
        known(name).map(|(_, kind, ..)| *kind)
    }

    /// The bytes of their texts.
    pub(super) fn size(&self) -> usize {
        self.set.values().map(Value::size).sum()
    }

    #[inline]
    pub(super) fn allows_reentry(&self) -> bool {
        self.settings.reentry
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    fn store(&mut self, known: &'static str, value: Option<Value>) {
        self.keep(known, value);
        self.settings = Settings::of(&self.set, &self.charsets);
    }

    /// Without looking what it comes to.
    fn keep(&mut self, known: &'static str, value: Option<Value>) {
        match value {
            Some(value) if Self::initial(known).as_ref() != Ok(&value) => drop(self.set.insert(known, value)),
            _ => drop(self.set.remove(known)),
        }
    }
}

fn known(name: &str) -> Result<&'static Known, SqlError> {
    let found = KNOWN.binary_search_by_key(&name, |(known, ..)| known);
    found.map(|at| &KNOWN[at]).map_err(|_| SqlError::UnknownVariable(name.to_owned()))
}

fn flag(name: &str, value: &Value) -> Result<Value, SqlError> {
    let wrong = || SqlError::WrongValue {
        variable: name.to_owned(),
        value: value.to_text().unwrap_or_else(|| "NULL".to_owned()),
    };
    let text = value.to_text().ok_or_else(wrong)?.to_ascii_uppercase();
    match text.as_str() {
        "1" | "ON" | "TRUE" => Ok(Value::UInt(1)),
        "0" | "OFF" | "FALSE" => Ok(Value::UInt(0)),
        _ => Err(wrong()),
    }
}

/// A number as near to the one wanted as may be, and a warning if it is another.
fn number(name: &str, value: &Value) -> Result<(Value, Option<Warning>), SqlError> {
    let wanted: i128 = match value {
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        _ => return Err(SqlError::WrongType(name.to_owned())),
    };
    let range = match name {
        "wait_timeout" | "interactive_timeout" => 1..=31_536_000,
        _ => 0..=u64::MAX.into(),
    };
    let number = wanted.clamp(*range.start(), *range.end());
    let warning = (number != wanted).then(|| Warning::truncated(name, &wanted.to_string()));
    Ok((Value::UInt(u64::try_from(number).unwrap_or(u64::MAX)), warning))
}

#[cfg(test)]
mod tests {
    use super::{super::MAX_PACKET, *};

    #[test]
    fn the_table_is_sorted_for_searching_and_says_what_the_constants_say() {
        assert!(KNOWN.is_sorted_by_key(|(name, ..)| name));
        assert_eq!(Variables::default().get("max_allowed_packet").unwrap(), Value::UInt(MAX_PACKET as u64));
    }
}
