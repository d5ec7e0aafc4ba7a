//! The supported subset of SQL: parsing, and evaluation without effects.
//!
//! [`mod@parse`] turns text into a statement: a tree ([`ast`]) in which function calls have been looked up in
//! [`builtin`]. The effects of a statement on the session are the executor's, outside of this directory. For
//! expressions the executor asks an [`Env`] for their values ([`eval`]) and for the types of their columns
//! ([`column_type`]).

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
