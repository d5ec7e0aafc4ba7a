//! The subset of SQL that a lock server has a use for: read, and evaluated without effects.

mod ast;
mod call;
mod calls;
mod cast;
mod dates;
mod eval;
mod expr;
mod function;
mod functions;
pub(super) mod lex;
mod like;
mod natives;
mod numbers;
mod parse;
mod prepare;
mod reserved;
mod select;
mod set;
mod show;
mod types;
mod unserved;

pub(super) use ast::{
    Assignment, By, Expr, Item, Limit, List, Operator, Order, Rows, Select, Show, Source, Statement,
    TableName,
};
pub(super) use eval::{Ask, Env, Facts, Halt, LockQuery};
pub(super) use function::{Pattern, RegexpError, Sum, uuid_text};
pub(super) use parse::{Parsed, near as syntax_error, parse};
pub(super) use types::{Kind, Type};
