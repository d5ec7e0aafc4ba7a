//! What a connection remembers between its commands.

use std::{cell::RefCell, collections::BTreeMap};

use super::{
    ServerFlags,
    error::{SqlError, Warning},
    login::Nonce,
    packet::Opcode,
    prepared::{NamedStatements, Prepared},
    result::{Status, flag},
    sql::{self, ParsedStatement},
    value::Value,
    variables::{UserVariables, Variable, Variables},
};
use crate::core::budget::{Budget, Charge, Exceeded};

/// The most prepared statements of a connection, if its memory holds so many: `@@max_prepared_stmt_count`.
pub(super) const MAX_PREPARED: usize = 16_382;

/// The database whose sessions take no lock twice.
const NO_REENTRY: &str = "no_reentry";

#[derive(Debug, Default)]
pub(super) struct State {
    pub config: ServerFlags,
    pub capabilities: u32,
    /// Of the greeting.
    pub nonce: Nonce,
    pub user: String,
    pub host: String,
    pub database: Option<String>,
    pub variables: Variables,
    pub user_variables: UserVariables,
    /// What all of this may come to.
    pub budget: Budget,
    /// For the user and the database, here and in lists.
    names: Charge,
    /// For session variables.
    settings: Charge,
    /// For a command that is long, while it comes and while it is run.
    pub incoming: Charge,
    /// A command that there was no memory for, while it comes.
    pub unread: Option<Unread>,
    /// What was done, in units of work, since others had their turn.
    pub effort: usize,
    /// Of the last statement.
    pub warnings: RefCell<Vec<Warning>>,
    pub row_count: i64,
    pub found_rows: u64,
    pub in_transaction: bool,
    /// In a tree: a number is found there without being hashed, for each execution several times. Boxed: a tree has room
    /// for twice as many as there are.
    prepared: BTreeMap<u32, Box<Prepared>>,
    last_prepared: u32,
    pub named: NamedStatements,
}

/// A command that there was no memory for.
#[derive(Debug)]
pub(super) struct Unread {
    pub opcode: Opcode,
    /// Of the prepared statement that it is about, if it is about one.
    pub id: u32,
    pub why: Exceeded,
}

/// Whether it is the database that asks for that, in whichever case its name is written.
#[inline]
pub(super) fn takes_no_lock_twice(database: Option<&str>) -> bool {
    database.is_some_and(|database| database.eq_ignore_ascii_case(NO_REENTRY))
}

impl State {
    /// COM_RESET_CONNECTION: as after the login, but for the user and the database.
    pub(super) fn reset(&mut self) {
        let Self {
            config,
            capabilities,
            nonce,
            user,
            host,
            database,
            mut variables,
            budget,
            names,
            incoming,
            ..
        } = std::mem::take(self);
        variables.reset();
        let fresh = Self::default();
        *self = Self {
            config,
            capabilities,
            nonce,
            user,
            host,
            database,
            variables,
            budget,
            names,
            incoming,
            ..fresh
        };
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

    /// Whether a lock that is held may be taken again, as with MySQL. A client that shares a connection with others may have said
    /// that it may not.
    #[inline]
    pub(super) fn allows_reentry(&self) -> bool {
        self.variables.allows_reentry() && !takes_no_lock_twice(self.database.as_deref())
    }

    /// Keeps a prepared statement, if there is memory for it: its number.
    pub(super) fn prepare(&mut self, sql: Vec<u8>, parameters: usize) -> Result<u32, SqlError> {
        self.check_prepared()?;
        let statement = Prepared::new(sql, parameters, &self.budget)?;
        self.last_prepared = self.last_prepared.wrapping_add(1).max(1);
        while self.prepared.contains_key(&self.last_prepared) {
            self.last_prepared = self.last_prepared.wrapping_add(1).max(1);
        }
        self.prepared.insert(self.last_prepared, Box::new(statement));
        Ok(self.last_prepared)
    }

    /// Whether one more statement may be prepared.
    pub(super) fn check_prepared(&self) -> Result<(), SqlError> {
        let prepared = self.prepared.len() + self.named.len();
        if prepared < MAX_PREPARED { Ok(()) } else { Err(SqlError::TooManyStatements(prepared)) }
    }

    pub(super) fn prepared(&mut self, id: u32, command: &'static str) -> Result<&mut Prepared, SqlError> {
        let unknown = || SqlError::UnknownStatement { name: id.to_string(), command };
        self.prepared.get_mut(&id).map(|prepared| &mut **prepared).ok_or_else(unknown)
    }

    /// Reads the first of some statements.
    pub(super) fn parse(&self, sql: &[u8]) -> Result<ParsedStatement, SqlError> {
        let parsed = sql::parse(sql, self.variables.settings().dialect);
        parsed.map_err(|error| error.in_database(self.database.as_deref()))
    }

    /// COM_STMT_SEND_LONG_DATA, which is not answered.
    pub(super) fn append(&mut self, id: u32, parameter: u16, data: &[u8]) {
        if let Some(prepared) = self.prepared.get_mut(&id) {
            prepared.append(parameter, data, &self.budget);
        }
    }

    /// The same where there was no memory to read it.
    pub(super) fn refuse_long(&mut self, id: u32, why: SqlError) {
        if let Some(prepared) = self.prepared.get_mut(&id) {
            prepared.refuse_long(why);
        }
    }

    /// `@name = value`
    pub(super) fn set_user(&mut self, name: String, value: Value) -> Result<(), SqlError> {
        self.user_variables.set(name, value, &self.budget)
    }

    /// Sets a session variable to a value that was checked; none is its value at the start.
    pub(super) fn set_variable(
        &mut self,
        variable: &'static Variable,
        value: Option<Value>,
    ) -> Result<(), SqlError> {
        let bytes = self.variables.size() + value.as_ref().map_or(0, Value::size);
        self.budget.resize(&mut self.settings, bytes)?;
        self.variables.set(variable, value);
        Ok(())
    }

    /// The memory for the names of a user and a database, as they are to be.
    pub(super) fn charge_names(&mut self, user: &str, database: Option<&str>) -> Result<(), SqlError> {
        // Lists have a copy of each. That of the user is paid for with what the client tells of itself.
        let bytes = user.len() + 2 * database.map_or(0, str::len);
        Ok(self.budget.resize(&mut self.names, bytes)?)
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.prepared.remove(&id);
    }
}
