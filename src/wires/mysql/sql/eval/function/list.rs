//! Lists: strings and numbers chosen by an index, and the index of one in a list.

use std::cmp::Ordering;

use super::{CallArgs, length};
use crate::wires::mysql::{
    sql::builtin::Function,
    value::{Number, Value, folded},
};

pub(super) fn value(args: &CallArgs<'_>) -> Option<Value> {
    Some(match args.function {
        Function::Elt => elt(args),
        Function::Field => length(field(args)),
        Function::MakeSet => make_set(args),
        Function::ExportSet => export_set(args),
        Function::Interval => interval(args),
        Function::AnyValue => args.values[0].clone(),
        Function::NameConst => args.values[1].clone(),
        _ => return None,
    })
}

fn elt(args: &CallArgs<'_>) -> Value {
    let Ok(at @ 1..) = usize::try_from(if args.values[0].is_null() { 0 } else { args.int(0) }) else {
        return Value::Null;
    };
    match args.values.get(at) {
        None | Some(Value::Null) => Value::Null,
        Some(_) => args.made(args.text(at)),
    }
}

/// Which of the others equals the first: all compared as strings, as numbers, or else as doubles.
fn field(args: &CallArgs<'_>) -> usize {
    let [wanted, others @ ..] = args.values else { return 0 };
    if wanted.is_null() {
        return 0;
    }
    let is_text = |value: &Value| matches!(value, Value::Text(_) | Value::Bytes { .. } | Value::Temporal(_));
    let is_exact = |value: &Value| matches!(value.to_number(), Some(Number::Exact(_)) | None);
    let position = if args.values.iter().all(|value| is_text(value) || value.is_null()) {
        let comparable = |at| if args.is_binary() { args.text(at) } else { folded(&args.text(at)) };
        let wanted = comparable(0);
        (1..args.values.len()).find(|at| !args.values[*at].is_null() && comparable(*at) == wanted)
    } else if args.values.iter().all(|value| !is_text(value) && is_exact(value)) {
        others.iter().position(|other| wanted.compare(other) == Some(Ordering::Equal)).map(|at| at + 1)
    } else {
        let wanted = args.double(0);
        #[expect(clippy::float_cmp, reason = "as MySQL compares them")]
        let is_equal = |at: &usize| !args.values[*at].is_null() && args.double(*at) == wanted;
        (1..args.values.len()).find(is_equal)
    };
    position.unwrap_or(0)
}

/// The strings whose bits are set, separated by commas.
fn make_set(args: &CallArgs<'_>) -> Value {
    if args.values[0].is_null() {
        return Value::Null;
    }
    let bits = args.bits(0);
    let chosen = (1..args.values.len().min(65)).filter(|at| bits >> (at - 1) & 1 == 1);
    let texts: Vec<_> = chosen.filter(|at| !args.values[*at].is_null()).map(|at| args.text(at)).collect();
    let size = texts.iter().map(|text| text.len() + 1).sum::<usize>();
    args.bounded(size, || args.made(texts.join(",")))
}

/// A string for each bit, from the lowest on.
fn export_set(args: &CallArgs<'_>) -> Value {
    let (on, off) = (args.text(1), args.text(2));
    let separator = if args.values.len() > 3 { args.text(3) } else { ",".to_owned() };
    let count = if args.values.len() > 4 { args.int(4) } else { 64 };
    let count = usize::try_from(count).unwrap_or(64).min(64);
    let bits = args.bits(0);
    let size = count * (on.len().max(off.len()) + separator.len());
    args.bounded(size, || {
        let texts: Vec<_> = (0..count).map(|at| if bits >> at & 1 == 1 { &*on } else { &*off }).collect();
        args.made(texts.join(&separator))
    })
}

/// How many of the others, in ascending order, the first has reached; -1 for NULL.
fn interval(args: &CallArgs<'_>) -> Value {
    let Some(first) = args.values[0].to_number() else { return Value::Int(-1) };
    let is_reached = |at: &usize| match (first, args.values[*at].to_number()) {
        (_, None) => true,
        (Number::Exact(a), Some(Number::Exact(b))) => a.compare(b) != Ordering::Less,
        (a, Some(b)) => a.to_f64() >= b.to_f64(),
    };
    length((1..args.values.len()).take_while(is_reached).count())
}
