//! Calls of functions that need locks, the session, or unevaluated arguments. All others are in `function`.

use std::{cmp::Ordering, time::Duration};

use getlockd_proto::timeout::Timeout;

use super::{
    dates,
    function::{self, CallArgs},
    lock_args::{lock_names, permits, timeout},
    service,
};
use crate::{
    core::{
        command::{LockRequest, LocksRequest},
        lock::Mode,
    },
    wires::mysql::{
        VERSION,
        error::SqlError,
        sql::{
            ast::Expr,
            builtin::Function,
            env::{Effect, Env, EvalResult, FOLD, LockQuery, Suspend},
        },
        value::{Number, Value, lock_name},
        work::ROW,
    },
};

/// The value of a call, or the effect that it needs first.
pub(super) fn call(env: &Env<'_>, at: usize, function: Function, args: &[Expr]) -> EvalResult {
    // These evaluate an argument only if they need it.
    match function {
        Function::Coalesce | Function::IfNull => return first_not_null(env, args),
        Function::If => {
            let condition = env.eval(&args[0])?.to_bool() == Some(true);
            return env.eval(if condition { &args[1] } else { &args[2] });
        }
        // Arguments after a NULL are not evaluated.
        Function::Concat => return up_to_null(env, args).map(|values| concat(env, &values)),
        _ if function.is_aggregate() => return function::aggregate(env, at, function, args),
        _ => {}
    }
    let values = args.iter().map(|arg| env.eval(arg)).collect::<EvalResult<Vec<_>>>()?;
    if let Some(effect) = lock_function(env, function, &values) {
        let effect = effect?;
        if let Some(lookup) = env.lookup {
            env.work.spend(ROW)?;
            if let Effect::Query(query) = &effect {
                return Ok(lookup.ask(at, query)?);
            }
        }
        return Err(Suspend::Effect(at, effect));
    }
    match function {
        Function::Sleep => {
            let seconds = values[0].to_number().map_or(0.0, Number::to_f64);
            let longest = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(longest);
            Err(Suspend::Effect(at, Effect::Sleep(time)))
        }
        Function::Database | Function::Version | Function::User | Function::CurrentUser => {
            Ok(session_function(env, function))
        }
        Function::ConnectionId => Ok(Value::UInt(env.session_info.id.into())),
        Function::RowCount => Ok(Value::Int(env.session_info.row_count)),
        Function::FoundRows => Ok(Value::UInt(env.session_info.found_rows)),
        Function::LastInsertId => Ok(env.last_insert_id()),
        Function::Date(function) => {
            env.work.spend(FOLD * values.iter().map(Value::size).sum::<usize>())?;
            dates::call(env, function, args, &values)
        }
        _ => {
            env.work.spend(effort(function, &values))?;
            value_function(env, function, &values)
        }
    }
}

/// The cost of a call with these arguments, in units of work.
fn effort(function: Function, values: &[Value]) -> usize {
    let size = values.iter().map(Value::size).sum::<usize>();
    match (function, values) {
        // REPLACE searches the string twice; the replacement is only copied.
        (Function::Replace, [text, ..]) => REPLACE * text.size() + size,
        _ => cost(function) * size,
    }
}

/// The additional cost of a byte that REPLACE searches.
const REPLACE: usize = 4;

/// The cost of a byte of an argument, in units of work.
fn cost(function: Function) -> usize {
    match function {
        Function::Md5
        | Function::Sha1
        | Function::Sha2
        | Function::Reverse
        | Function::Insert
        | Function::Soundex
        | Function::Trim
        | Function::Ltrim
        | Function::Rtrim => 4,
        // Characters are folded.
        Function::Lower
        | Function::Upper
        | Function::Locate
        | Function::Instr
        | Function::Strcmp
        | Function::Field
        | Function::FindInSet => 5,
        // Each is compared with the best so far.
        Function::Greatest | Function::Least => 8,
        _ => 2,
    }
}

/// The values up to the first NULL.
fn up_to_null(env: &Env<'_>, args: &[Expr]) -> EvalResult<Vec<Value>> {
    let mut values = Vec::new();
    for arg in args {
        values.push(env.eval(arg)?);
        if values.last().is_some_and(Value::is_null) {
            break;
        }
    }
    Ok(values)
}

fn first_not_null(env: &Env<'_>, args: &[Expr]) -> EvalResult {
    for arg in args {
        let value = env.eval(arg)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Ok(Value::Null)
}

/// The effect of a lock function; `None` for other functions.
fn lock_function(env: &Env<'_>, function: Function, values: &[Value]) -> Option<Result<Effect, SqlError>> {
    let name = || lock_name(&values[0]);
    Some(match function {
        Function::GetLock | Function::GetSharedLock => name().map(|name| {
            let mode = if function == Function::GetLock { Mode::Exclusive } else { Mode::Shared };
            Effect::Acquire(LockRequest { name, mode, timeout: timeout(env, &values[1]) })
        }),
        Function::GetLocks | Function::GetSharedLocks => {
            let mode = if function == Function::GetLocks { Mode::Exclusive } else { Mode::Shared };
            let (last, names) = values.split_last()?;
            lock_names(names).map(|names| {
                Effect::AcquireSeveral(LocksRequest { names, mode, timeout: timeout(env, last) })
            })
        }
        Function::GetPermit => name().and_then(|name| {
            let mode = Mode::Permit(permits(function, &values[1])?);
            Ok(Effect::Acquire(LockRequest { name, mode, timeout: timeout(env, &values[2]) }))
        }),
        Function::Service(function) => service::effect(env, function, values),
        Function::ReleaseLocks => lock_names(values).map(Effect::ReleaseSeveral),
        Function::ReleaseLock => name().map(Effect::Release),
        Function::ReleaseAllLocks => Ok(Effect::ReleaseAll),
        Function::LeaseLock => name().map(|name| {
            let ttl = match timeout(env, &values[1]) {
                Timeout::Within(ttl) => ttl,
                // Longer than any lease.
                Timeout::Forever => Duration::MAX,
            };
            Effect::LeaseLock(name, ttl)
        }),
        Function::IsFreeLock => name().map(LockQuery::IsFree).map(Effect::Query),
        Function::IsUsedLock => name().map(LockQuery::UsedBy).map(Effect::Query),
        Function::FencingToken => name().map(LockQuery::FencingToken).map(Effect::Query),
        _ => return None,
    })
}

fn session_function(env: &Env<'_>, function: Function) -> Value {
    match function {
        Function::Database => env.session_info.database.map_or(Value::Null, Value::text),
        Function::Version => Value::text(VERSION),
        Function::User => Value::Text(format!("{}@{}", env.session_info.user, env.session_info.host)),
        // All users share one account.
        _ => Value::Text(format!("{}@%", env.session_info.user)),
    }
}

fn value_function(env: &Env<'_>, function: Function, values: &[Value]) -> EvalResult {
    match function {
        Function::NullIf => {
            let equal = env.compare(&values[0], &values[1])? == Some(Ordering::Equal);
            Ok(if equal { Value::Null } else { values[0].clone() })
        }
        Function::IsNull => Ok(values[0].is_null().into()),
        Function::CurrentRole => Ok(Value::text("NONE")),
        Function::Modulo => function::modulo(env, values),
        _ => function::value(&CallArgs::new(env, function, values)),
    }
}

pub(super) fn concat(env: &Env<'_>, values: &[Value]) -> Value {
    if values.iter().any(Value::is_null) {
        return Value::Null;
    }
    function::concat(&CallArgs::new(env, Function::Concat, values))
}
