//! Functions of evaluated arguments: a file for each group of them.

use std::borrow::Cow;

use super::arithmetic;
use crate::wires::mysql::{
    error::{SqlError, Warning},
    sql::{
        builtin::Function,
        env::{Env, EvalResult},
    },
    value::{Number, Value},
};

mod address;
mod aggregate;
mod base;
mod hash;
pub(super) mod list;
mod number;
mod pattern;
mod random;
mod text;

pub(in crate::wires::mysql) use aggregate::Sum;
pub(super) use aggregate::aggregate;
pub(super) use number::modulo;
pub(in crate::wires::mysql) use pattern::Pattern;
pub(super) use pattern::matches;
pub(in crate::wires::mysql) use random::uuid_text;
pub(super) use text::concat;

/// The arguments of a call.
#[derive(Clone, Copy)]
pub(super) struct CallArgs<'a> {
    env: &'a Env<'a>,
    function: Function,
    values: &'a [Value],
}

impl<'a> CallArgs<'a> {
    pub(super) fn new(env: &'a Env<'a>, function: Function, values: &'a [Value]) -> Self {
        Self { env, function, values }
    }

    /// Whether one of them has no character set: then all are bytes.
    fn is_binary(&self) -> bool {
        self.values.iter().any(|value| matches!(value, Value::Bytes { .. }))
    }

    /// An argument as a string. Of binary ones each byte is a character, from U+0000 to U+00FF: [`Self::made`] converts
    /// them back.
    fn text(&self, at: usize) -> String {
        let Some(value) = self.values.get(at) else { return String::new() };
        match value {
            _ if self.is_binary() => self.bytes(at).iter().map(|byte| char::from(*byte)).collect(),
            Value::Text(text) => text.clone(),
            value => value.to_text().unwrap_or_default(),
        }
    }

    /// The value of a string that was made of arguments: bytes if one of them was binary.
    fn made(&self, text: String) -> Value {
        if self.is_binary() {
            Value::bytes(text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect())
        } else {
            Value::Text(text)
        }
    }

    fn bytes(&self, at: usize) -> Cow<'a, [u8]> {
        self.values.get(at).and_then(Value::to_bytes).unwrap_or_default()
    }

    /// An argument as a whole number. Of a string the number at its start counts, with a warning if more follows.
    fn int(&self, at: usize) -> i64 {
        match self.values.get(at) {
            Some(value @ Value::Text(text)) => {
                if !arithmetic::is_integer(text) {
                    self.warn(Warning::truncated("INTEGER", text));
                }
                arithmetic::integer(value, false).to_i64().unwrap_or(0)
            }
            value => value.and_then(Value::to_i64).unwrap_or(0),
        }
    }

    /// The 64 bits of a whole number.
    fn bits(&self, at: usize) -> u64 {
        match &self.values[at] {
            Value::UInt(number) => *number,
            value @ (Value::Bytes { number: true, .. } | Value::Decimal(_)) => {
                arithmetic::word(value).unwrap_or(0)
            }
            _ => self.int(at).cast_unsigned(),
        }
    }

    fn double(&self, at: usize) -> f64 {
        let Some(value) = self.values.get(at) else { return 0.0 };
        arithmetic::warn_of_text(self.env, "DOUBLE", value);
        value.to_number().map_or(0.0, Number::to_f64)
    }

    fn warn(&self, warning: Warning) {
        self.env.warn(warning);
    }

    /// NULL, with a warning that shows an argument.
    fn wrong_value(&self, kind: &str, at: usize) -> Value {
        self.warn(Warning::of_value(&self.incorrect(kind, at)));
        Value::Null
    }

    /// The error that shows an argument.
    fn incorrect(&self, kind: &str, at: usize) -> SqlError {
        let value = String::from_utf8_lossy(&self.bytes(at)).into_owned();
        SqlError::WrongValueFor {
            kind: kind.into(),
            value: value.into(),
            function: self.function.name().into(),
        }
    }

    /// A value of this many bytes, or NULL and a warning if it would be too large.
    fn bounded(&self, size: usize, make: impl FnOnce() -> Value) -> Value {
        let max = self.env.system.settings().max_packet;
        if size > max {
            let error = SqlError::ResultTooLarge(self.function.name(), max);
            self.warn(Warning::of_value(&error));
            return Value::Null;
        }
        make()
    }

    /// A double, or an error if it has overflowed.
    fn finite(&self, double: f64) -> EvalResult {
        if double.is_finite() {
            return Ok(Value::Double(double));
        }
        let args: Vec<_> = self.values.iter().filter_map(Value::to_text).collect();
        let place = format!("{}({})", self.function.name(), args.join(","));
        Err(SqlError::OutOfRange { kind: "DOUBLE", place }.into())
    }
}

/// The value of a function of these arguments. Each file knows its own functions and passes on the others.
pub(super) fn value(args: &CallArgs<'_>) -> EvalResult {
    if args.values.iter().any(Value::is_null) && !takes_null(args.function) {
        return Ok(Value::Null);
    }
    let found = text::value(args).or_else(|| text::search(args)).or_else(|| list::value(args));
    if let Some(value) = found.or_else(|| hash::value(args)).or_else(|| address::value(args)) {
        return Ok(value);
    }
    let found = base::value(args).or_else(|| number::value(args)).or_else(|| random::value(args));
    found.or_else(|| pattern::value(args)).unwrap_or(Ok(Value::Null))
}

/// Whether a function may have a value although an argument is NULL.
fn takes_null(function: Function) -> bool {
    use Function::{
        AnyValue, Char, ConcatWs, Elt, Field, Interval, IsIpv4, IsIpv4Compat, IsIpv4Mapped, IsIpv6, IsNull,
        MakeSet, NameConst, NullIf, Quote, Rand,
    };
    matches!(
        function,
        AnyValue
            | Char
            | ConcatWs
            | Elt
            | Field
            | Interval
            | IsIpv4
            | IsIpv4Compat
            | IsIpv4Mapped
            | IsIpv6
            | IsNull
            | MakeSet
            | NameConst
            | NullIf
            | Quote
            | Rand
    )
}

/// A count; negative numbers are 0.
fn clamp(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

fn length(size: usize) -> Value {
    Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
}
