//! What an expression can see, and how its evaluation ends: with a value, an error, or an effect that has to happen first.

use std::{cell::RefCell, time::Duration};

use super::ast::{Expr, Item};
use crate::{
    core::command::LockRequest,
    name::Name,
    wires::mysql::{
        catalog::Column,
        error::{SqlError, Warning},
        look::Look,
        user_variables::UserVariables,
        value::Value,
        variables::{Variables, World},
        work::Work,
    },
};

/// The most warnings of a statement.
pub(in crate::wires::mysql) const MAX_WARNINGS: usize = 64;

/// What it costs to fold a byte, to compare it or to make a number of it, in units of work.
pub(super) const FOLD: usize = 4;

/// What an expression can see.
#[derive(Clone, Copy)]
pub(in crate::wires::mysql) struct Env<'a> {
    pub session_info: SessionInfo<'a>,
    pub parameters: &'a [Value],
    pub user: &'a UserVariables,
    /// What the statement has done so far.
    pub work: &'a Work,
    pub system: &'a Variables,
    /// The outcomes of calls with an effect, and of sums over the rows of a table, by their number.
    pub outcomes: &'a [Option<Value>],
    /// The row of a table, as pairs of column and value.
    pub row: Option<&'a [(&'static Column, Value)]>,
    /// The items whose names stand for them where no column has that name: in ORDER BY.
    pub aliases: &'a [Item],
    /// Where there are rows, how to ask what takes nothing.
    pub look: Option<Look<'a>>,
    pub warnings: &'a RefCell<Vec<Warning>>,
    /// What variables tell of; none where there is no connection.
    pub world: Option<World<'a>>,
}

/// What is the same for all of a statement.
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

/// Why an evaluation did not come to its end.
#[derive(Debug)]
pub(in crate::wires::mysql) enum Halt {
    Error(SqlError),
    /// The call of this number wants this done.
    Ask(usize, Ask),
}

/// What has an effect.
#[derive(Debug)]
pub(in crate::wires::mysql) enum Ask {
    Acquire(LockRequest),
    Release(Name),
    ReleaseAll,
    Look(LockQuery),
    Sleep(Duration),
    Assign(String, Value),
}

/// What a function asks of a lock that takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum LockQuery {
    IsFree(Name),
    UsedBy(Name),
    FencingToken(Name),
}

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

pub(in crate::wires::mysql) type EvalResult<T = Value> = Result<T, Halt>;

impl Env<'_> {
    /// Each is warned of once, however often an expression is evaluated.
    pub(in crate::wires::mysql) fn warn(&self, warning: Warning) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_WARNINGS && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// A column of this name, and its value.
    pub(super) fn column(&self, name: &str) -> EvalResult<&(&'static Column, Value)> {
        let row = self.row.unwrap_or_default();
        let unknown = || SqlError::UnknownColumn { column: name.to_owned(), clause: "field list" };
        Ok(row.iter().find(|(column, _)| column.is_named(name)).ok_or_else(unknown)?)
    }

    /// What a name stands for that no column has, and what that can see.
    pub(super) fn alias(&self, name: &str) -> Option<(Self, &Expr)> {
        let item = self.aliases.iter().find(|item| item.name.eq_ignore_ascii_case(name))?;
        self.column(name).is_err().then_some((Self { aliases: &[], ..*self }, &item.expr))
    }
}
