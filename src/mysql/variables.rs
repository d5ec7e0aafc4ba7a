//! System variables (MySQL manual 7.1.8): all that MySQL 8.4 has, with its own checks.
//!
//! Few of them do something here; the others are remembered, so that a client which sets one finds
//! it set.

mod convert;
mod error;
mod facts;
mod modes;
mod show;
mod table;

use std::{collections::HashMap, time::Duration};

pub(super) use error::VariableError;
pub(super) use facts::World;
pub(super) use table::{Kind, Scope, Variable};

use super::{
    charset::Charset,
    error::{SqlError, Warning},
    sql::lex::Dialect,
    value::{Number, Value},
};
use table::Access;

/// The variables of a session. Those that have their value at the start are not stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    set: HashMap<&'static str, Value>,
    settings: Settings,
}

/// What variables come to for the server: worked out when one is set, not for each statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub dialect: Dialect,
    pub client_charset: Charset,
    pub result_charset: Charset,
    pub autocommit: bool,
    /// How long the connection may be idle.
    pub wait_timeout: Duration,
    /// Whether the client has said so.
    pub wait_timeout_is_set: bool,
    /// The largest packet, and text, in bytes.
    pub max_packet: usize,
    /// How long a SELECT may run.
    pub max_execution_time: Option<Duration>,
    /// The most rows of a SELECT that does not say how many it wants.
    pub select_limit: u64,
    /// How many digits a division adds.
    pub division_digits: u32,
    /// What is taken for the time, in microseconds since 1970.
    pub timestamp: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&HashMap::new(), super::MAX_PACKET)
    }
}

impl Settings {
    fn of(set: &HashMap<&'static str, Value>, max_packet: usize) -> Self {
        let number = |name, initial| match set.get(name) {
            Some(Value::UInt(number)) => *number,
            _ => initial,
        };
        let charset = |name| {
            let name = set.get(name).and_then(Value::to_text);
            name.and_then(|name| Charset::named(&name)).unwrap_or_default()
        };
        let max_execution_time = number("max_execution_time", 0);
        Self {
            dialect: set.get("sql_mode").map_or_else(Dialect::default, dialect),
            client_charset: charset("character_set_client"),
            result_charset: charset("character_set_results"),
            autocommit: number("autocommit", 1) == 1,
            wait_timeout_is_set: set.contains_key("wait_timeout"),
            wait_timeout: Duration::from_secs(number("wait_timeout", 28_800)),
            max_packet,
            max_execution_time: (max_execution_time > 0).then(|| Duration::from_millis(max_execution_time)),
            select_limit: number("sql_select_limit", u64::MAX),
            division_digits: u32::try_from(number("div_precision_increment", 4)).unwrap_or(4),
            timestamp: set.get("timestamp").and_then(micros),
        }
    }
}

fn dialect(mode: &Value) -> Dialect {
    let mode = mode.to_text().unwrap_or_default();
    let has = |wanted: &str| mode.split(',').any(|mode| mode == wanted);
    Dialect {
        ansi_quotes: has("ANSI_QUOTES"),
        no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
        pipes_as_concat: has("PIPES_AS_CONCAT"),
        high_not: has("HIGH_NOT_PRECEDENCE"),
    }
}

/// Seconds, as microseconds.
fn micros(seconds: &Value) -> Option<i64> {
    let seconds = seconds.to_number().map(Number::to_f64)?;
    i64::try_from(Number::Double(seconds * 1e6).round()).ok()
}

impl Variables {
    /// The value that the session has set, if it has.
    pub(super) fn own(&self, variable: &Variable) -> Option<&Value> {
        self.set.get(same(variable.name))
    }

    /// Fails for what no session, or no server, has to set.
    pub(super) fn check_settable(variable: &Variable, global: bool) -> Result<(), VariableError> {
        let name = variable.name;
        match (variable.access, variable.scope) {
            (Access::ReadOnly, _) => Err(VariableError::ReadOnly(name)),
            (_, Scope::Session) if global => Err(VariableError::OfSessions(name)),
            (_, Scope::Global) if !global => Err(VariableError::OfServer(name)),
            _ => Ok(()),
        }
    }

    /// What a variable would be if it were set to a value; none is DEFAULT, and its value at the start. `of_user`: the
    /// session is that of a user, who has no privileges of MySQL.
    pub(super) fn checked(
        &self,
        variable: &'static Variable,
        value: Option<&Value>,
        of_user: bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Value>, SqlError> {
        let kept = match value {
            Some(value) => convert::converted(variable, value, self, warnings)?,
            None if variable.access == Access::NoDefault => {
                return Err(VariableError::NoDefault(variable.name).into());
            }
            None => None,
        };
        if of_user
            && let Some(privilege) = variable.privilege
            && (privilege.for_default || value.is_some())
        {
            return Err(VariableError::Privilege(privilege.names).into());
        }
        if variable.access == Access::GlobalOnly {
            return Err(VariableError::GlobalOnly(variable.name).into());
        }
        Ok(kept)
    }

    /// Sets a variable to a value that was checked; none is its value at the start.
    pub(super) fn set(&mut self, variable: &'static Variable, value: Option<Value>) {
        let linked = value.as_ref().and_then(|value| linked(variable.name, value));
        let both = LINKS.iter().find_map(|(one, other)| match variable.name {
            name if name == *one => Some(*other),
            name if name == *other => Some(*one),
            _ => None,
        });
        if let Some(other) = both {
            self.keep(other, linked);
        }
        if variable.name == "max_join_size" {
            let is_limited = value.as_ref().is_some_and(|value| *value != variable.initial);
            self.keep("sql_big_selects", is_limited.then_some(Value::UInt(0)));
        }
        self.keep(variable.name, value);
        self.settings = Settings::of(&self.set, self.settings.max_packet);
    }

    /// What `--max-packet` says.
    pub(super) fn set_max_packet(&mut self, bytes: usize) {
        self.settings.max_packet = bytes;
    }

    /// `SET NAMES`
    pub(super) fn set_names(&mut self, charset: Charset, collation: Option<String>) {
        for name in ["character_set_client", "character_set_connection", "character_set_results"] {
            self.keep(name, Some(Value::text(charset.name())));
        }
        let collation = collation.unwrap_or_else(|| charset.default_collation().to_owned());
        self.keep("collation_connection", Some(Value::Text(collation)));
        self.settings = Settings::of(&self.set, self.settings.max_packet);
    }

    /// Whether `@@sql_mode` has a mode.
    fn has_mode(&self, wanted: &str) -> bool {
        let mode = self.set.get("sql_mode").and_then(Value::to_text).unwrap_or_default();
        mode.split(',').any(|mode| mode == wanted)
    }

    /// The bytes of their texts.
    pub(super) fn size(&self) -> usize {
        self.set.values().map(Value::size).sum()
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// Without looking what it comes to.
    fn keep(&mut self, name: &'static str, value: Option<Value>) {
        let name = same(name);
        let initial = Variable::named(name).map(|variable| &variable.initial);
        match value {
            Some(value) if initial != Some(&value) => drop(self.set.insert(name, value)),
            _ => drop(self.set.remove(name)),
        }
    }
}

/// Two names of one variable are one: the name that it is kept by.
fn same(name: &'static str) -> &'static str {
    match name {
        "identity" => "last_insert_id",
        "pseudo_slave_mode" => "pseudo_replica_mode",
        other => other,
    }
}

/// A character set and its collation: one is set with the other.
const LINKS: [(&str, &str); 3] = [
    ("character_set_connection", "collation_connection"),
    ("character_set_database", "collation_database"),
    ("character_set_server", "collation_server"),
];

/// What the other variable of a pair becomes.
fn linked(name: &str, value: &Value) -> Option<Value> {
    let text = value.to_text()?;
    if name.starts_with("collation_") {
        Charset::of_collation(&text).map(|charset| Value::text(charset.name()))
    } else {
        Charset::named(&text).map(|charset| Value::text(charset.default_collation()))
    }
}
