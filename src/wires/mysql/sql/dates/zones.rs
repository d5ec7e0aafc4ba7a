//! What depends on the time zone: seconds since 1970, and conversions.

use super::values::parts;
use crate::wires::mysql::{
    sql::eval::Env,
    temporal::{DateTime, Offset, SECOND, Temporal},
    value::{Decimal, Value},
};

/// The last second that there is: 3001-01-18 23:59:59 UTC.
const LAST: i64 = 32_536_771_199;

/// UNIX_TIMESTAMP of a date: 0 for what is before 1970 or behind the last second.
pub(super) fn unix_timestamp(env: &Env<'_>, value: &Value, digits: u8) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let moment = env.moment_of(value, env.rules().lenient()).filter(|moment| !moment.date.has_zeros());
    let micros = moment.map_or(0, |moment| env.zone().unix(moment));
    let micros = if (0..=LAST * SECOND + SECOND - 1).contains(&micros) { micros } else { 0 };
    seconds(micros, digits)
}

/// Seconds with so many digits.
fn seconds(micros: i64, digits: u8) -> Value {
    if digits == 0 {
        return Value::Int(micros.div_euclid(SECOND));
    }
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    Value::Decimal(Decimal { digits: (micros / unit).into(), scale: digits.into() })
}

/// FROM_UNIXTIME
pub(super) fn from_unixtime(env: &Env<'_>, value: &Value, digits: u8) -> Option<Temporal> {
    let (whole, micros, _) = parts(value.to_number()?);
    if !(0..=LAST).contains(&whole) || micros < 0 {
        return None;
    }
    let moment = env.zone().local(whole * SECOND + micros).rounded(digits)?;
    Some(Temporal::DateTime { moment, digits })
}

/// CONVERT_TZ: a moment beyond those that have a second since 1970 stays as it is.
pub(super) fn convert_tz(env: &Env<'_>, values: &[Value], digits: u8) -> Option<Value> {
    let zone = |at: usize| Offset::named(&values[at].to_text()?);
    let (from, to) = (zone(1)?, zone(2)?);
    let moment = env.moment_of(&values[0], env.rules().strict())?;
    let unix = from.unix(moment);
    let moment: DateTime = if (1..=LAST * SECOND).contains(&unix) { to.local(unix) } else { moment };
    Some(Value::Temporal(Temporal::DateTime { moment, digits }))
}
