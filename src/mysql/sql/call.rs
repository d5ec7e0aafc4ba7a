//! The native functions.

use std::{cmp::Ordering, time::Duration};

use sha1::Digest;

use super::{
    ast::Expr,
    eval::{Ask, Env, Evaluated, Halt},
    functions::Function,
};
use crate::{
    command::Command,
    lock::Mode,
    mysql::{
        VERSION, clock,
        error::{SqlError, Warning},
        names::lock_name,
        value::{Number, Value, number_prefix},
        work::ROW,
    },
    timeout::Timeout,
};

pub(super) fn call(env: &Env<'_>, at: usize, function: Function, args: &[Expr]) -> Evaluated {
    let answer = called(env, at, function, args);
    if let Ok(value) = &answer
        && let size @ 1.. = value.size()
    {
        env.work.text(size)?;
    }
    answer
}

/// A value that was made, which counts.
pub(super) fn counted(env: &Env<'_>, value: Value) -> Evaluated {
    if let size @ 1.. = value.size() {
        env.work.text(size)?;
    }
    Ok(value)
}

fn called(env: &Env<'_>, at: usize, function: Function, args: &[Expr]) -> Evaluated {
    if let Some(answer) = lazy(env, function, args) {
        return answer;
    }
    let values = args.iter().map(|arg| env.eval(arg)).collect::<Evaluated<Vec<_>>>()?;
    if let Some(command) = command(env, function, &values) {
        let command = command?;
        if let Some(look) = env.look {
            env.work.spend(ROW)?;
            if let Some(told) = look.ask(at, &command) {
                return Ok(told?);
            }
        }
        return Err(Halt::Ask(at, Ask::Run(command)));
    }
    match function {
        Function::Sleep => {
            let seconds = values[0].to_number().map_or(0.0, Number::to_f64);
            let longest = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(longest);
            Err(Halt::Ask(at, Ask::Sleep(time)))
        }
        Function::Database | Function::Version | Function::User | Function::CurrentUser => {
            Ok(about(env, function))
        }
        Function::ConnectionId => Ok(Value::UInt(env.facts.id.into())),
        Function::RowCount => Ok(Value::Int(env.facts.row_count)),
        Function::FoundRows => Ok(Value::UInt(env.facts.found_rows)),
        Function::LastInsertId => Ok(Value::UInt(0)),
        Function::Now
        | Function::Sysdate
        | Function::UnixTimestamp
        | Function::TimeDiff
        | Function::ConvertTz => Ok(time(env, function, &values)),
        _ => {
            env.work.spend(cost(function) * values.iter().map(Value::size).sum::<usize>())?;
            pure(env, function, &values)
        }
    }
}

/// What a byte of an argument costs, in units of work.
fn cost(function: Function) -> usize {
    match function {
        Function::Md5 | Function::Sha1 | Function::Sha2 | Function::Lower | Function::Upper => 4,
        _ => 2,
    }
}

/// Those that look at an argument only if they need it.
fn lazy(env: &Env<'_>, function: Function, args: &[Expr]) -> Option<Evaluated> {
    match function {
        Function::Coalesce | Function::IfNull => Some(first_that_is(env, args)),
        Function::Count => Some(count(env, &args[0])),
        // What stands behind a NULL is not looked at.
        Function::Concat => Some(known(env, args).map(|values| concat(env, &values))),
        Function::If => Some(env.eval(&args[0]).and_then(|condition| {
            let chosen = if condition.to_bool() == Some(true) { &args[1] } else { &args[2] };
            env.eval(chosen)
        })),
        _ => None,
    }
}

/// Of how many rows it is not NULL.
fn count(env: &Env<'_>, arg: &Expr) -> Evaluated {
    let Some(rows) = env.rows else { return Ok((!env.eval(arg)?.is_null()).into()) };
    let mut count = 0;
    if matches!(arg, Expr::Star) {
        return Ok(Value::Int(i64::try_from(rows.len()).unwrap_or(i64::MAX)));
    }
    for record in rows {
        env.work.spend(ROW)?;
        let row = record.row();
        let env = Env { row: Some(&row), rows: None, ..*env };
        count += i64::from(!env.eval(arg)?.is_null());
    }
    Ok(Value::Int(count))
}

/// The values up to the first NULL.
fn known(env: &Env<'_>, args: &[Expr]) -> Evaluated<Vec<Value>> {
    let mut values = Vec::new();
    for arg in args {
        values.push(env.eval(arg)?);
        if values.last().is_some_and(Value::is_null) {
            break;
        }
    }
    Ok(values)
}

fn first_that_is(env: &Env<'_>, args: &[Expr]) -> Evaluated {
    for arg in args {
        let value = env.eval(arg)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Ok(Value::Null)
}

/// The command that a lock function is, if it is one.
fn command(env: &Env<'_>, function: Function, values: &[Value]) -> Option<Result<Command, SqlError>> {
    let name = || lock_name(&values[0]);
    Some(match function {
        Function::GetLock | Function::GetSharedLock => name().map(|name| {
            let mode = if function == Function::GetLock { Mode::Exclusive } else { Mode::Shared };
            Command::GetLock { name, mode, timeout: timeout(env, &values[1]) }
        }),
        Function::ReleaseLock => name().map(Command::ReleaseLock),
        Function::ReleaseAllLocks => Ok(Command::ReleaseAllLocks),
        Function::IsFreeLock => name().map(Command::IsFreeLock),
        Function::IsUsedLock => name().map(Command::IsUsedLock),
        Function::FencingToken => name().map(Command::FencingToken),
        _ => return None,
    })
}

/// NULL is 0, less than 0 is for ever, and of a text counts the number at its start (protocol.md,
/// "Differences from MySQL": fractions count).
fn timeout(env: &Env<'_>, value: &Value) -> Timeout {
    if let Value::Text(text) = value
        && (number_prefix(text) != text.trim() || text.trim().is_empty())
    {
        env.warn(Warning::truncated("INTEGER", text));
    }
    match value.to_number() {
        None => Timeout::Within(Duration::ZERO),
        Some(Number::Exact(decimal)) => {
            if decimal.scale == 0 && decimal.digits > u64::MAX.into() {
                env.warn(Warning::truncated("DECIMAL", &decimal.to_string()));
            }
            decimal.to_string().parse().unwrap_or(Timeout::Forever)
        }
        Some(Number::Double(seconds)) if seconds < 0.0 => Timeout::Forever,
        Some(Number::Double(seconds)) => {
            Duration::try_from_secs_f64(seconds).map_or(Timeout::Forever, Timeout::Within)
        }
    }
}

fn about(env: &Env<'_>, function: Function) -> Value {
    match function {
        Function::Database => env.facts.database.map_or(Value::Null, Value::text),
        Function::Version => Value::text(VERSION),
        Function::User => Value::Text(format!("{}@{}", env.facts.user, env.facts.host)),
        // The account that everybody has.
        _ => Value::Text(format!("{}@%", env.facts.user)),
    }
}

fn time(env: &Env<'_>, function: Function, values: &[Value]) -> Value {
    let digits =
        values.first().and_then(Value::to_i64).and_then(|digits| u8::try_from(digits).ok()).unwrap_or(0);
    match (function, values) {
        (Function::Now, _) => Value::Time { micros: env.facts.now, digits },
        (Function::Sysdate, _) => Value::Time { micros: clock::now(), digits },
        (Function::UnixTimestamp, []) => Value::Int(env.facts.now.div_euclid(1_000_000)),
        (Function::UnixTimestamp, [Value::Time { micros, digits: 0 }]) => {
            Value::Int(micros.div_euclid(1_000_000))
        }
        (Function::UnixTimestamp, [Value::Time { micros, digits }]) => {
            Value::Decimal(clock::unix(*micros, *digits))
        }
        (Function::TimeDiff, [Value::Time { micros: a, .. }, Value::Time { micros: b, .. }]) => {
            let seconds = (a - b) / 1_000_000;
            let sign = if seconds < 0 { "-" } else { "" };
            let (hours, rest) = (seconds.abs() / 3600, seconds.abs() % 3600);
            Value::text(format!("{sign}{hours:02}:{:02}:{:02}", rest / 60, rest % 60))
        }
        // Without tables of time zones only those that are UTC are known, and change nothing.
        (Function::ConvertTz, [moment, from, to]) if is_utc(from) && is_utc(to) => moment.clone(),
        _ => Value::Null,
    }
}

fn is_utc(zone: &Value) -> bool {
    let zone = zone.to_text().unwrap_or_default();
    ["UTC", "SYSTEM", "+00:00"].iter().any(|utc| utc.eq_ignore_ascii_case(&zone))
}

fn pure(env: &Env<'_>, function: Function, values: &[Value]) -> Evaluated {
    // NULL in, NULL out; but for these.
    match function {
        Function::NullIf => {
            let equal = env.compare(&values[0], &values[1])? == Some(Ordering::Equal);
            return Ok(if equal { Value::Null } else { values[0].clone() });
        }
        Function::IsNull => return Ok(values[0].is_null().into()),
        Function::ConcatWs => return Ok(concat_ws(env, values)),
        Function::Char => return Ok(characters(values)),
        _ if values.iter().any(Value::is_null) => return Ok(Value::Null),
        _ => {}
    }
    let text = |at: usize| values[at].to_text().unwrap_or_default();
    let number = |at: usize| values[at].to_i64().unwrap_or(0);
    let bytes = || values[0].to_bytes().unwrap_or_default();
    Ok(match function {
        Function::Substring => substring(&text(0), number(1), (values.len() == 3).then(|| number(2))),
        Function::Left => Value::Text(text(0).chars().take(clamp(number(1))).collect()),
        Function::Right => {
            let skip = text(0).chars().count().saturating_sub(clamp(number(1)));
            Value::Text(text(0).chars().skip(skip).collect())
        }
        Function::Lower => Value::Text(text(0).to_lowercase()),
        Function::Upper => Value::Text(text(0).to_uppercase()),
        Function::Trim => Value::text(text(0).trim_matches(' ')),
        Function::Replace if text(1).is_empty() => Value::Text(text(0)),
        Function::Replace => replace(env, &text(0), &text(1), &text(2)),
        Function::Repeat => repeat(env, &values[0], clamp(number(1))),
        Function::Hex => hex(env, &values[0]),
        Function::Length => Value::Int(i64::try_from(bytes().len()).unwrap_or(i64::MAX)),
        Function::CharLength => Value::Int(i64::try_from(text(0).chars().count()).unwrap_or(i64::MAX)),
        Function::Md5 => digest(&md5::compute(&*bytes()).0),
        Function::Sha1 => digest(&sha1::Sha1::digest(&*bytes())),
        Function::Sha2 => sha2(&bytes(), number(1)),
        Function::Abs => match values[0].to_number() {
            Some(Number::Exact(d)) if d.scale == 0 => Value::Int(number(0).saturating_abs()),
            other => Value::Double(other.map_or(0.0, Number::to_f64).abs()),
        },
        Function::Greatest => extreme(env, values, Ordering::Greater)?,
        _ => extreme(env, values, Ordering::Less)?,
    })
}

pub(super) fn concat(env: &Env<'_>, values: &[Value]) -> Value {
    if values.iter().any(Value::is_null) {
        return Value::Null;
    }
    let parts: Vec<_> = values.iter().map(|value| value.to_bytes().unwrap_or_default()).collect();
    bounded(env, "concat", parts.iter().map(|part| part.len()).sum(), || parts.concat())
}

fn concat_ws(env: &Env<'_>, values: &[Value]) -> Value {
    let Some(separator) = values[0].to_text() else { return Value::Null };
    let parts: Vec<_> = values[1..].iter().filter_map(Value::to_text).collect();
    let size = parts.iter().map(|part| part.len() + separator.len()).sum();
    bounded(env, "concat_ws", size, || parts.join(&separator).into_bytes())
}

/// A text of this many bytes, or NULL and a warning if it would be too large.
fn bounded(env: &Env<'_>, function: &str, size: usize, text: impl FnOnce() -> Vec<u8>) -> Value {
    let max = env.system.settings().max_packet;
    if size > max {
        let error = SqlError::ResultTooLarge(function.to_owned(), max);
        env.warn(Warning::new(error.code().0, error.to_string()));
        return Value::Null;
    }
    String::from_utf8(text()).map_or_else(|error| Value::bytes(error.into_bytes()), Value::Text)
}

/// `CHAR(77, 121)`: each number is one byte or more.
fn characters(values: &[Value]) -> Value {
    let bytes = values.iter().filter_map(Value::to_i64).flat_map(|number| {
        let bytes = number.to_be_bytes();
        let start = bytes[4..].iter().position(|byte| *byte != 0).unwrap_or(3);
        bytes[4 + start..].to_vec()
    });
    Value::bytes(bytes.collect())
}

fn substring(text: &str, from: i64, length: Option<i64>) -> Value {
    let chars: Vec<char> = text.chars().collect();
    let start = match from {
        1.. => clamp(from) - 1,
        0 => return Value::text(""),
        _ => match chars.len().checked_sub(clamp(from.saturating_neg())) {
            Some(start) => start,
            None => return Value::text(""),
        },
    };
    let length = length.map_or(usize::MAX, clamp);
    Value::Text(chars.into_iter().skip(start).take(length).collect())
}

fn replace(env: &Env<'_>, text: &str, from: &str, to: &str) -> Value {
    let size = text.len().saturating_add(text.matches(from).count().saturating_mul(to.len()));
    bounded(env, "replace", size, || text.replace(from, to).into_bytes())
}

fn repeat(env: &Env<'_>, value: &Value, times: usize) -> Value {
    let bytes = value.to_bytes().unwrap_or_default();
    bounded(env, "repeat", bytes.len().saturating_mul(times), || bytes.repeat(times))
}

fn hex(env: &Env<'_>, value: &Value) -> Value {
    match value {
        Value::Int(number) => Value::Text(format!("{number:X}")),
        Value::UInt(number) => Value::Text(format!("{number:X}")),
        other => {
            let bytes = other.to_bytes().unwrap_or_default();
            let digits = || bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes();
            bounded(env, "hex", bytes.len() * 2, digits)
        }
    }
}

fn sha2(bytes: &[u8], bits: i64) -> Value {
    match bits {
        224 => digest(&sha2::Sha224::digest(bytes)),
        0 | 256 => digest(&sha2::Sha256::digest(bytes)),
        384 => digest(&sha2::Sha384::digest(bytes)),
        512 => digest(&sha2::Sha512::digest(bytes)),
        _ => Value::Null,
    }
}

fn digest(bytes: &[u8]) -> Value {
    Value::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn extreme(env: &Env<'_>, values: &[Value], wanted: Ordering) -> Evaluated {
    let mut best = &values[0];
    for next in &values[1..] {
        if env.compare(next, best)? == Some(wanted) {
            best = next;
        }
    }
    Ok(best.clone())
}

fn clamp(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}
