//! What an expression can see, and how its evaluation ends: with a value, an error, or an effect that must happen
//! first.

use std::{cell::RefCell, time::Duration};

use super::ast::{Expr, SelectItem};
use crate::{
    core::command::{LockRequest, LocksRequest},
    name::{Name, Namespace},
    wires::mysql::{
        catalog::Column,
        error::{RegexpError, SqlError, Warning},
        lookup::Lookup,
        value::Value,
        variables::{ServerView, UserVariables, Variables},
        work::Work,
    },
};

/// The most warnings of a statement.
pub(in crate::wires::mysql) const MAX_WARNINGS: usize = 64;

/// The cost of folding, comparing or parsing one byte, in units of work.
pub(super) const FOLD: usize = 4;

/// The environment of an expression. It is small and copied: ORDER BY evaluates the same expressions with other
/// aliases.
#[derive(Clone, Copy)]
pub(in crate::wires::mysql) struct Env<'a> {
    pub session_info: SessionInfo<'a>,
    pub parameters: &'a [Value],
    pub user: &'a UserVariables,
    /// The work of the statement so far, and its limits.
    pub work: &'a Work,
    pub system: &'a Variables,
    /// The results of calls with an effect, and of aggregates over the rows of a table, by the number of the call.
    pub outcomes: &'a [Option<Value>],
    /// The row of a table, as pairs of column and value.
    pub row: Option<&'a [(&'static Column, Value)]>,
    /// In ORDER BY: the items that a name may refer to if no column has that name.
    pub aliases: &'a [SelectItem],
    /// Answers lock functions that have no effect without a suspension. Set where there may be many rows.
    pub lookup: Option<Lookup<'a>>,
    pub warnings: &'a RefCell<Vec<Warning>>,
    /// The values that some system variables report; absent without a connection.
    pub server: Option<ServerView<'a>>,
}

/// The session as it was when the statement began. It stays the same, so that expressions can be evaluated again.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::wires::mysql) struct SessionInfo<'a> {
    pub id: u32,
    pub database: Option<&'a str>,
    pub user: &'a str,
    pub host: &'a str,
    /// In microseconds since 1970.
    pub now: i64,
    pub row_count: i64,
    pub found_rows: u64,
}

/// Why an evaluation stopped before it had a value.
#[derive(Debug)]
pub(in crate::wires::mysql) enum Suspend {
    Error(SqlError),
    /// The call of this number needs this effect first. The executor performs it, stores the result under that number,
    /// and evaluates the expression again.
    Effect(usize, Effect),
}

/// An effect that a call needs.
#[derive(Debug)]
pub(in crate::wires::mysql) enum Effect {
    Acquire(LockRequest),
    AcquireSeveral(LocksRequest),
    /// By MySQL's Locking Service.
    AcquireInNamespace(LocksRequest),
    Release(Name),
    ReleaseSeveral(Vec<Name>),
    ReleaseNamespace(Namespace),
    ReleaseAll,
    LeaseLock(Name, Duration),
    Query(LockQuery),
    Sleep(Duration),
    Assign(String, Value),
}

/// A question about a lock that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum LockQuery {
    IsFree(Name),
    UsedBy(Name),
    FencingToken(Name),
}

impl From<SqlError> for Suspend {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

impl From<RegexpError> for Suspend {
    fn from(error: RegexpError) -> Self {
        Self::Error(error.into())
    }
}

pub(in crate::wires::mysql) type EvalResult<T = Value> = Result<T, Suspend>;

impl Env<'_> {
    /// Adds a warning once: an expression may be evaluated several times.
    pub(in crate::wires::mysql) fn warn(&self, warning: Warning) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_WARNINGS && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// The column of this name, and its value.
    pub(super) fn column(&self, name: &str) -> EvalResult<&(&'static Column, Value)> {
        let row = self.row.unwrap_or_default();
        let unknown = || SqlError::UnknownColumn { column: name.to_owned(), clause: "field list" };
        Ok(row.iter().find(|(column, _)| column.is_named(name)).ok_or_else(unknown)?)
    }

    /// The item that a name refers to if no column has that name, and the environment of that item. That has no
    /// aliases, since otherwise two items could refer to each other forever.
    pub(super) fn alias(&self, name: &str) -> Option<(Self, &Expr)> {
        let item = self.aliases.iter().find(|item| item.name.eq_ignore_ascii_case(name))?;
        self.column(name).is_err().then_some((Self { aliases: &[], ..*self }, &item.expr))
    }
}
