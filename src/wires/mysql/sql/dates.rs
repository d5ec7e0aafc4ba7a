//! Functions, casts and literals of dates and times (MySQL manual 14.7).

mod add;
mod cast;
mod evaluate;
mod functions;
mod grammar;
mod kinds;
mod parts;
mod text;
mod values;
mod zones;

pub(super) use cast::cast;
pub(super) use evaluate::call;
pub(super) use functions::DateFunction;
pub(super) use grammar::{amount, arguments, digits, interval, is_interval, literal, odbc, shifted};
pub(super) use kinds::of_call;
