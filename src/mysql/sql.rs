//! The subset of SQL that a lock server has a use for: read, and evaluated without effects.

mod ast;
mod call;
mod cursor;
mod eval;
mod expr;
mod functions;
pub(super) mod lex;
mod numbers;
mod parse;
mod primary;
mod set;
mod show;
mod types;

pub(super) use ast::{Assignment, Expr, Item, List, Operator, Select, Show, Statement, TableName};
pub(super) use cursor::near as syntax_error;
pub(super) use eval::{Ask, Env, Facts, Halt};
pub(super) use parse::{Parsed, parse};
pub(super) use types::{Kind, Type};
