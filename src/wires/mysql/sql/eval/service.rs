//! The functions of MySQL's Locking Service (MySQL manual 7.6.9.1). In MySQL they are loaded from a library, which has its
//! own checks: of the arguments' number and types before anything is evaluated, and of names when they are.

use std::str;

use super::lock_args::timeout;
use crate::{
    core::{
        command::{LocksRequest, MAX_NAMES},
        lock::Mode,
    },
    name::{Name, Namespace},
    wires::mysql::{
        error::SqlError,
        sql::{
            ast::Expr,
            builtin::ServiceFunction,
            column_type::{ColumnType, TypeKind},
            env::{Effect, Env},
        },
        value::{Value, shown_name},
    },
};

const STRING: &str = "Wrong argument type - expected string.";
const INTEGER: &str = "Wrong argument type - expected integer.";

impl ServiceFunction {
    fn cannot_initialize(self, why: &'static str) -> SqlError {
        SqlError::CannotInitialize { function: self.name(), why }
    }

    fn wrong_count(self) -> SqlError {
        self.cannot_initialize(match self {
            Self::GetRead | Self::GetWrite => {
                "Requires at least three arguments: (namespace,lock(...),timeout)."
            }
            Self::Release => "Requires one argument: (lock_namespace).",
        })
    }
}

/// The type of a call with arguments of these types.
pub(super) fn of_call(
    env: &Env<'_>,
    function: ServiceFunction,
    args: &[Expr],
    types: &[ColumnType],
) -> Result<ColumnType, SqlError> {
    // The type of a parameter is known when the statement is executed.
    let is = |at: usize, kinds: fn(TypeKind) -> bool| {
        let is_unknown = matches!(&args[at], Expr::Parameter(place) if *place >= env.parameters.len());
        is_unknown || kinds(types[at].kind)
    };
    let strings = match function {
        ServiceFunction::Release if args.len() == 1 => 1,
        ServiceFunction::GetRead | ServiceFunction::GetWrite if args.len() >= 3 => args.len() - 1,
        _ => return Err(function.wrong_count()),
    };
    if !(strings..args.len()).all(|at| is(at, is_integer)) {
        return Err(function.cannot_initialize(INTEGER));
    }
    if !(0..strings).all(|at| is(at, is_string)) {
        return Err(function.cannot_initialize(STRING));
    }
    Ok(ColumnType::bigint(1, true))
}

fn is_integer(kind: TypeKind) -> bool {
    matches!(kind, TypeKind::Int { .. } | TypeKind::Year)
}

/// NULL is a string to MySQL, and so are dates.
fn is_string(kind: TypeKind) -> bool {
    !is_integer(kind)
        && !matches!(kind, TypeKind::Decimal { .. } | TypeKind::Double | TypeKind::Rounded { .. })
}

/// What a call does. All names are checked before anything is taken.
pub(super) fn effect(env: &Env<'_>, function: ServiceFunction, values: &[Value]) -> Result<Effect, SqlError> {
    let mode = match function {
        ServiceFunction::GetRead => Mode::Shared,
        ServiceFunction::GetWrite => Mode::Exclusive,
        ServiceFunction::Release => {
            let [namespace] = values else { return Err(function.wrong_count()) };
            return checked(namespace, Namespace::new).map(Effect::ReleaseNamespace);
        }
    };
    let [namespace, names @ .., last] = values else { return Err(function.wrong_count()) };
    let namespace = checked(namespace, Namespace::new)?;
    if names.len() > MAX_NAMES {
        return Err(SqlError::TooManyNames);
    }
    let name = |name| checked(name, |text| Name::in_namespace(&namespace, text));
    let names = names.iter().map(name).collect::<Result<_, _>>()?;
    Ok(Effect::AcquireInNamespace(LocksRequest { names, mode, timeout: timeout(env, last) }))
}

/// The name or the namespace in a value. It ends at its first NUL, as any string in C.
fn checked<T, E>(value: &Value, make: impl FnOnce(&str) -> Result<T, E>) -> Result<T, SqlError> {
    let Some(bytes) = value.to_bytes() else { return Err(SqlError::ServiceName("(null)".to_owned())) };
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let made = str::from_utf8(bytes).ok().and_then(|text| make(text).ok());
    made.ok_or_else(|| SqlError::ServiceName(shown_name(bytes)))
}
