//! The subset of SQL that a lock server has a use for: read, and evaluated without effects.
//!
//! [`mod@parse`] makes a statement of text: a tree ([`ast`]) with the calls of functions looked up in [`builtin`]. What such a
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
    Assignment, By, Expr, Limit, Operator, Order, PrepareSource, Rows, Select, SelectItem, Show, ShowList,
    Statement, TableName,
};
pub(super) use column_type::{ColumnType, TypeKind};
pub(super) use dialect::Dialect;
pub(super) use env::{Effect, Env, LockQuery, SessionInfo, Suspend};
pub(super) use eval::{Pattern, Sum, uuid_text};
pub(super) use parse::{ParsedStatement, parse, syntax_error};
