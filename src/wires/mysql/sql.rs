//! The subset of SQL that a lock server has a use for: read, and evaluated without effects.
//!
//! [`parse`] makes a statement of text: a tree ([`ast`]) with the calls of functions looked up in [`builtin`]. What such a
//! statement does to the session is the executor's, outside of this directory; for its expressions it asks an [`Env`],
//! which says their values ([`eval`]) and the types of their columns ([`column_type`]).

mod ast;
mod builtin;
mod column_type;
mod dialect;
mod env;
mod eval;
mod parse;

pub(super) use ast::{
    Assignment, By, Expr, Item, Limit, List, Operator, Order, Rows, Select, Show, Source, Statement,
    TableName,
};
pub(super) use column_type::{ColumnType, TypeKind};
pub(super) use dialect::Dialect;
pub(super) use env::{Ask, Env, Halt, LockQuery, SessionInfo};
pub(super) use eval::{Pattern, RegexpError, Sum, uuid_text};
pub(super) use parse::{Parsed, near as syntax_error, parse};
