//! What a connection remembers between its commands.

use std::{cell::RefCell, collections::HashMap};

use super::{
    error::{SqlError, Warning},
    login::Nonce,
    prepared::Prepared,
    result::{Status, flag},
    sql::Facts,
    value::Value,
    variables::Variables,
};
use crate::lock::SessionId;

/// The most prepared statements of a connection: `@@max_prepared_stmt_count`.
const MAX_PREPARED: usize = 1_024;

/// The most bytes of all of them.
const MAX_PREPARED_BYTES: usize = 4 * super::MAX_PACKET;

/// The most user variables of a connection, and the most bytes of one.
const MAX_USER_VARIABLES: usize = 256;
const MAX_USER_VARIABLE: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct State {
    pub capabilities: u32,
    /// Of the greeting.
    pub nonce: Nonce,
    pub user: String,
    pub host: String,
    pub database: Option<String>,
    pub variables: Variables,
    pub user_variables: HashMap<String, Value>,
    /// Of the last statement.
    pub warnings: RefCell<Vec<Warning>>,
    pub row_count: i64,
    pub found_rows: u64,
    pub in_transaction: bool,
    prepared: HashMap<u32, Prepared>,
    last_prepared: u32,
}

impl State {
    /// COM_RESET_CONNECTION: as after the login, but for the user and the database.
    pub(super) fn reset(&mut self) {
        let Self { capabilities, nonce, user, host, database, .. } = std::mem::take(self);
        *self = Self { capabilities, nonce, user, host, database, ..Self::default() };
    }

    pub(super) fn status(&self, more_results: bool) -> Status {
        let on = |set: bool, flag: u16| if set { flag } else { 0 };
        let settings = self.variables.settings();
        Status {
            capabilities: self.capabilities,
            charset: settings.result_charset,
            flags: on(settings.autocommit, flag::AUTOCOMMIT)
                | on(self.in_transaction, flag::IN_TRANSACTION)
                | on(more_results, flag::MORE_RESULTS)
                | on(settings.dialect.no_backslash_escapes, flag::NO_BACKSLASH_ESCAPES),
            warnings: u16::try_from(self.warnings.borrow().len()).unwrap_or(u16::MAX),
        }
    }

    /// What the expressions of a statement can ask for.
    pub(super) fn facts(&self, id: SessionId, now: i64) -> Facts<'_> {
        Facts {
            id: id.0,
            database: self.database.as_deref(),
            user: &self.user,
            host: &self.host,
            now,
            row_count: self.row_count,
            found_rows: self.found_rows,
        }
    }

    pub(super) fn prepare(&mut self, statement: Prepared) -> Result<u32, SqlError> {
        let kept: usize = self.prepared.values().map(|prepared| prepared.sql.len()).sum();
        if self.prepared.len() >= MAX_PREPARED || kept > MAX_PREPARED_BYTES {
            return Err(SqlError::TooManyStatements(self.prepared.len()));
        }
        self.last_prepared = self.last_prepared.wrapping_add(1).max(1);
        while self.prepared.contains_key(&self.last_prepared) {
            self.last_prepared = self.last_prepared.wrapping_add(1).max(1);
        }
        self.prepared.insert(self.last_prepared, statement);
        Ok(self.last_prepared)
    }

    pub(super) fn prepared(&mut self, id: u32, command: &'static str) -> Result<&mut Prepared, SqlError> {
        self.prepared.get_mut(&id).ok_or(SqlError::UnknownStatement { id, command })
    }

    /// `@name = value`
    pub(super) fn set_user(&mut self, name: String, value: Value) -> Result<(), SqlError> {
        let size = value.to_bytes().map_or(0, |bytes| bytes.len());
        let is_new = !self.user_variables.contains_key(&name);
        if size > MAX_USER_VARIABLE || is_new && self.user_variables.len() >= MAX_USER_VARIABLES {
            let (count, bytes) = (MAX_USER_VARIABLES, MAX_USER_VARIABLE);
            return Err(SqlError::NoSuchThing(format!(
                "it keeps {count} user variables of {bytes} bytes at most"
            )));
        }
        self.user_variables.insert(name, value);
        Ok(())
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.prepared.remove(&id);
    }
}
