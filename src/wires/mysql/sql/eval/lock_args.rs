//! The arguments of lock functions: several names, the limit of a permit, and timeouts. A single name is read in `value`.

use std::time::Duration;

use getlockd_proto::timeout::Timeout;

use crate::{
    core::command::MAX_NAMES,
    name::Name,
    wires::mysql::{
        error::{SqlError, Warning},
        sql::{builtin::Function, env::Env},
        value::{Number, Value, lock_name, number_prefix},
    },
};

/// The names of several locks.
pub(super) fn lock_names(values: &[Value]) -> Result<Vec<Name>, SqlError> {
    if values.len() > MAX_NAMES {
        return Err(SqlError::TooManyNames);
    }
    values.iter().map(lock_name).collect()
}

/// The limit of GET_PERMIT: a whole number, also in a string.
pub(super) fn permits(function: Function, value: &Value) -> Result<u16, SqlError> {
    let text = value.to_text();
    let limit = text.as_deref().and_then(|text| text.trim().parse().ok()).filter(|limit| *limit > 0);
    limit.ok_or_else(|| SqlError::WrongValueFor {
        kind: "limit".into(),
        value: text.map_or("NULL".into(), String::into_boxed_str),
        function: function.name().into(),
    })
}

/// The timeout of GET_LOCK, and the time of LEASE_LOCK: NULL is 0, a negative number means forever, and of a string the
/// number at its start counts
/// (protocol.md, "Differences from MySQL": fractions count).
pub(super) fn timeout(env: &Env<'_>, value: &Value) -> Timeout {
    if let Value::Text(text) = value
        && (number_prefix(text) != text.trim() || text.trim().is_empty())
    {
        env.warn(Warning::truncated("INTEGER", text));
    }
    match value.to_number() {
        None => Timeout::Within(Duration::ZERO),
        Some(Number::Exact(decimal)) => {
            // Most are so, and need no text to be read.
            if let (0, Ok(seconds)) = (decimal.scale, u32::try_from(decimal.digits)) {
                return Timeout::Within(Duration::from_secs(seconds.into()));
            }
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
