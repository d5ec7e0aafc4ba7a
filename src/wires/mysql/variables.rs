//! System variables (MySQL manual 7.1.8): all those of MySQL 8.4, with its checks.
//!
//! A few of them have an effect here. The others are remembered, so that a client reads what it has set.

mod convert;
mod error;
mod facts;
mod modes;
mod table;
mod text;
mod user;

use std::{collections::HashMap, time::Duration};

pub(super) use error::VariableError;
pub(super) use facts::ServerView;
pub(super) use table::{Scope, Variable, VariableKind};
#[cfg(any(fuzzing, test))]
pub(super) use text::MAX_LIST;
pub(super) use user::UserVariables;

use super::{
    charset::{Charset, Charsets},
    error::{SqlError, Warning},
    sql::Dialect,
    temporal::{Offset, Rules},
    value::Value,
};
use table::Access;

/// Whether a session may take a lock again that it already holds.
const REENTRY: &str = "getlockd_reentry";

/// The variables of a session. Those with their initial value are not stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    set: HashMap<&'static str, Value>,
    charsets: Charsets,
    settings: Settings,
}

/// The settings that the server uses, computed when a variable is set and not for each statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub dialect: Dialect,
    pub client_charset: Charset,
    pub result_charset: Charset,
    pub autocommit: bool,
    /// Whether the session may take a lock again that it already holds.
    pub reentry: bool,
    /// How long the connection may be idle.
    pub wait_timeout: Duration,
    /// Whether the client has set that.
    pub wait_timeout_is_set: bool,
    /// The largest packet and string, in bytes.
    pub max_packet: usize,
    /// The time limit of a SELECT.
    pub max_execution_time: Option<Duration>,
    /// The most rows of a SELECT without a LIMIT.
    pub select_limit: u64,
    /// How many digits a division adds.
    pub division_digits: u32,
    pub zone: Offset,
    /// Which dates are accepted.
    pub dates: Rules,
    /// The value of NOW() instead of the time, in microseconds since 1970.
    pub timestamp: Option<i64>,
    /// The mode of WEEK().
    pub week_format: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&HashMap::new(), &Charsets::default(), super::MAX_PACKET)
    }
}

impl Settings {
    fn of(set: &HashMap<&'static str, Value>, charsets: &Charsets, max_packet: usize) -> Self {
        let number = |name, initial| match set.get(name) {
            Some(Value::UInt(number)) => *number,
            _ => initial,
        };
        let max_execution_time = number("max_execution_time", 0);
        let zone = set.get("time_zone").and_then(Value::to_text);
        Self {
            dialect: Dialect {
                charset: charsets.client(),
                ..set.get("sql_mode").map_or_else(Dialect::default, dialect)
            },
            client_charset: charsets.client(),
            result_charset: charsets.results(),
            autocommit: number("autocommit", 1) == 1,
            reentry: number(REENTRY, 1) == 1,
            wait_timeout_is_set: set.contains_key("wait_timeout"),
            wait_timeout: Duration::from_secs(number("wait_timeout", 28_800)),
            max_packet,
            zone: zone.and_then(|zone| Offset::named(&zone)).unwrap_or_default(),
            dates: set
                .get("sql_mode")
                .and_then(Value::to_text)
                .map_or_else(Rules::default, |mode| Rules::of_mode(&mode)),
            week_format: u8::try_from(number("default_week_format", 0)).unwrap_or(0),
            max_execution_time: (max_execution_time > 0).then(|| Duration::from_millis(max_execution_time)),
            select_limit: number("sql_select_limit", u64::MAX),
            division_digits: u32::try_from(number("div_precision_increment", 4)).unwrap_or(4),
            timestamp: set.get("timestamp").and_then(Value::to_micros),
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
        ignore_space: has("IGNORE_SPACE"),
        ..Dialect::default()
    }
}

impl Variables {
    /// The value that the session has set, if any.
    pub(super) fn own(&self, variable: &Variable) -> Option<Value> {
        self.charsets.get(variable.name).or_else(|| self.set.get(same(variable.name)).cloned())
    }

    /// Fails for variables that no session, or no server, can set.
    pub(super) fn check_settable(variable: &Variable, global: bool) -> Result<(), VariableError> {
        let name = variable.name;
        match (variable.access, variable.scope) {
            (Access::ReadOnly, _) => Err(VariableError::ReadOnly(name)),
            (_, Scope::Session) if global => Err(VariableError::OfSessions(name)),
            (_, Scope::Global) if !global => Err(VariableError::OfServer(name)),
            _ => Ok(()),
        }
    }

    /// The value that a variable would get if it were set; `None` is DEFAULT, and means its initial value. `of_user`:
    /// the session has a user, who has no MySQL privileges.
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

    /// Sets a variable to a checked value; `None` stands for its initial value.
    pub(super) fn set(&mut self, variable: &'static Variable, value: Option<Value>) {
        if let Ok(true) = self.charsets.set(variable.name, value.as_ref()) {
            self.work_out();
            return;
        }
        if variable.name == "max_join_size" {
            let is_limited = value.as_ref().is_some_and(|value| *value != variable.initial);
            self.keep("sql_big_selects", is_limited.then_some(Value::UInt(0)));
        }
        self.keep(variable.name, value);
        self.work_out();
    }

    /// The value of `--max-packet`.
    pub(super) fn set_max_packet(&mut self, bytes: usize) {
        self.settings.max_packet = bytes;
    }

    /// `SET NAMES`
    pub(super) fn set_names(&mut self, charset: Charset) {
        self.charsets.set_names(charset);
        self.work_out();
    }

    /// `SET CHARACTER SET`
    pub(super) fn set_character_set(&mut self, charset: Charset) {
        self.charsets.set_character_set(charset);
        self.work_out();
    }

    /// COM_RESET_CONNECTION: back to the start, except for what a pool has set to keep its borrowers apart.
    pub(super) fn reset(&mut self) {
        let reentry = self.set.remove(REENTRY);
        *self = Self::default();
        self.set.extend(reentry.map(|off| (REENTRY, off)));
        self.work_out();
    }

    /// COM_CHANGE_USER: the new user has not asked for that.
    pub(super) fn forget_reentry(&mut self) {
        self.set.remove(REENTRY);
        self.work_out();
    }

    /// The character set of literals.
    pub(super) fn connection_charset(&self) -> Charset {
        self.charsets.connection()
    }

    /// Whether `@@sql_mode` contains a mode.
    pub(super) fn has_mode(&self, wanted: &str) -> bool {
        let variable = Variable::named("sql_mode").map(|variable| &variable.initial);
        let mode = self.set.get("sql_mode").or(variable).and_then(Value::to_text).unwrap_or_default();
        mode.split(',').any(|mode| mode == wanted)
    }

    /// The bytes of the stored strings.
    pub(super) fn size(&self) -> usize {
        self.set.values().map(Value::size).sum()
    }

    #[inline]
    pub(super) fn allows_reentry(&self) -> bool {
        self.settings.reentry
    }

    #[inline]
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn work_out(&mut self) {
        self.settings = Settings::of(&self.set, &self.charsets, self.settings.max_packet);
    }

    /// Sets a variable without computing the settings.
    fn keep(&mut self, name: &'static str, value: Option<Value>) {
        let name = same(name);
        let initial = Variable::named(name).map(|variable| &variable.initial);
        match value {
            Some(value) if initial != Some(&value) => drop(self.set.insert(name, value)),
            _ => drop(self.set.remove(name)),
        }
    }
}

/// The canonical name of a variable with two names.
fn same(name: &'static str) -> &'static str {
    match name {
        "identity" => "last_insert_id",
        "pseudo_slave_mode" => "pseudo_replica_mode",
        other => other,
    }
}
