//! The subset of SQL that a lock server has a use for: read, and evaluated without effects.

mod ast;
mod call;
mod calls;
mod cursor;
mod eval;
mod expr;
mod functions;
pub(super) mod lex;
mod natives;
mod numbers;
mod parse;
mod prepare;
mod primary;
mod reserved;
mod select;
mod set;
mod show;
mod types;
mod unserved;

pub(super) use ast::{Assignment, Expr, Item, Operator, Rows, Select, Show, Source, Statement, Table};
pub(super) use cursor::near as syntax_error;
pub(super) use eval::{Ask, Env, Facts, Halt};
pub(super) use parse::{Parsed, parse};
pub(super) use types::{Kind, Type, of_value};
