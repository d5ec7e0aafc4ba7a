//! The conversion of a value that a session variable is set to: MySQL's checks, by the type of the variable.

use super::{
    Variables,
    error::VariableError,
    modes,
    table::{Variable, VariableKind},
    text,
};
use crate::wires::mysql::{
    error::{SqlError, Warning},
    value::{Number, Value},
};

/// The greatest `@@timestamp`, in seconds since 1970.
const MAX_TIMESTAMP: f64 = 32_536_771_199.0;

/// The value that is stored, which may be a near one; `None` for the initial value.
pub(super) fn converted(
    variable: &'static Variable,
    value: &Value,
    session: &Variables,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Value>, SqlError> {
    if let Some(named) = session.charsets.checked(variable.name, value)? {
        return Ok(Some(named));
    }
    Ok(Some(match &variable.kind {
        VariableKind::Flag => Value::UInt(place(variable, &["OFF", "ON"], value)? as u64),
        VariableKind::Enumeration(names) => Value::text(names[place(variable, names, value)?]),
        VariableKind::Number { .. } => {
            let (number, is_near) = number(variable, value)?;
            if is_near {
                warnings.push(out_of_bounds(variable, value, session)?);
            }
            number
        }
        VariableKind::Real { least, greatest } => {
            let wanted = real(variable, value)?;
            if variable.name == "timestamp" {
                return timestamp(variable, wanted);
            }
            let real = wanted.clamp(*least, *greatest);
            #[expect(clippy::float_cmp, reason = "one that is within the bounds is left as it is")]
            if real != wanted {
                warnings.push(out_of_bounds(variable, value, session)?);
            }
            Value::Double(real)
        }
        VariableKind::Set(names) => {
            let mut bits = bits(variable, names, value)?;
            if variable.name == "sql_mode" {
                bits = modes::checked(bits, names, warnings)?;
            }
            Value::Text(members(names, bits))
        }
        VariableKind::Switches(names) => Value::Text(switched(variable, names, value, session)?),
        VariableKind::Text => text::checked(variable, value)?,
    }))
}

/// The warning for a value that was clamped; an error in strict mode.
fn out_of_bounds(variable: &Variable, value: &Value, session: &Variables) -> Result<Warning, VariableError> {
    let shown = value.to_text().unwrap_or_default();
    if session.has_mode("STRICT_ALL_TABLES") {
        return Err(VariableError::wrong_value(variable, shown));
    }
    Ok(Warning::truncated(variable.name, &shown))
}

/// The index of a name, or an index given as a number.
fn place(variable: &Variable, names: &[&str], value: &Value) -> Result<usize, VariableError> {
    let shown = || value.to_text().unwrap_or_else(|| "NULL".to_owned());
    let place = match value {
        Value::Int(_) | Value::UInt(_) => value.to_i64().and_then(|place| usize::try_from(place).ok()),
        Value::Decimal(_) | Value::Double(_) => return Err(VariableError::WrongType(variable.name)),
        _ => value.to_text().and_then(|text| place_of(names, &text)),
    };
    place.filter(|place| *place < names.len()).ok_or_else(|| VariableError::wrong_value(variable, shown()))
}

fn place_of(names: &[&str], text: &str) -> Option<usize> {
    names.iter().position(|name| !name.is_empty() && name.eq_ignore_ascii_case(text))
}

/// The nearest number within the bounds, and whether it differs.
fn number(variable: &Variable, value: &Value) -> Result<(Value, bool), VariableError> {
    let VariableKind::Number { signed, least, greatest, block } = variable.kind else {
        return Err(VariableError::WrongType(variable.name));
    };
    let wanted = match value {
        Value::Int(number) => i128::from(*number),
        Value::UInt(number) => (*number).into(),
        _ => return Err(VariableError::WrongType(variable.name)),
    };
    let lowest = if signed { i128::MIN } else { 0 };
    let number = (wanted.max(lowest).min(greatest) / block * block).max(least);
    let near = if signed {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    } else {
        Value::UInt(u64::try_from(number).unwrap_or(u64::MAX))
    };
    Ok((near, number != wanted))
}

fn real(variable: &Variable, value: &Value) -> Result<f64, VariableError> {
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Decimal(_) | Value::Double(_) => {
            Ok(value.to_number().map_or(0.0, Number::to_f64))
        }
        _ => Err(VariableError::WrongType(variable.name)),
    }
}

/// 0 stands for the current time.
fn timestamp(variable: &Variable, seconds: f64) -> Result<Option<Value>, SqlError> {
    if seconds == 0.0 {
        return Ok(None);
    }
    if !(1.0..=MAX_TIMESTAMP).contains(&seconds) {
        let shown = Value::Double(seconds).to_text().unwrap_or_default();
        return Err(VariableError::wrong_value(variable, shown).into());
    }
    Ok(Some(Value::Double(seconds)))
}

/// Names of a set, separated by commas, or a number: as bits.
fn bits(variable: &Variable, names: &[&str], value: &Value) -> Result<u64, VariableError> {
    let wrong = |text: &str| VariableError::wrong_value(variable, text);
    match value {
        Value::Null => Err(wrong("NULL")),
        Value::Int(_) | Value::UInt(_) => {
            let shown = value.to_text().unwrap_or_default();
            let bits = shown.parse::<u64>().ok().filter(|bits| *bits >> names.len() == 0);
            bits.ok_or_else(|| wrong(&shown))
        }
        Value::Decimal(_) | Value::Double(_) => Err(VariableError::WrongType(variable.name)),
        _ => {
            let text = value.to_text().unwrap_or_default();
            let parts = text.trim_end_matches(' ').split(',').filter(|part| !part.is_empty());
            parts
                .map(|part| place_of(names, part).map(|at| 1 << at).ok_or_else(|| wrong(part)))
                .try_fold(0, |bits, bit| Ok(bits | bit?))
        }
    }
}

fn members(names: &[&str], bits: u64) -> String {
    let members = names.iter().enumerate().filter(|(at, name)| bits >> at & 1 == 1 && !name.is_empty());
    members.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

/// All switches, some of which may be unchanged: `name=on`, `name=off`, `name=default` or `default`, or a number.
fn switched(
    variable: &'static Variable,
    names: &[&str],
    value: &Value,
    session: &Variables,
) -> Result<String, VariableError> {
    let wrong = |text: &str| VariableError::wrong_value(variable, text);
    let are_on = |value: &Value| {
        let text = value.to_text().unwrap_or_default();
        text.split(',').map(|switch| switch.ends_with("=on")).collect::<Vec<_>>()
    };
    let initial = are_on(&variable.initial);
    let mut switches = session.own(variable).as_ref().map_or_else(|| initial.clone(), are_on);
    match value {
        Value::Null => return Err(wrong("NULL")),
        Value::Int(_) | Value::UInt(_) => {
            let bits = bits(variable, names, value)?;
            switches = (0..names.len()).map(|at| bits >> at & 1 == 1).collect();
        }
        Value::Decimal(_) | Value::Double(_) => return Err(VariableError::WrongType(variable.name)),
        _ => {
            let text = value.to_text().unwrap_or_default();
            for part in text.split(',').filter(|part| !part.is_empty()) {
                if part.eq_ignore_ascii_case("default") {
                    switches.clone_from(&initial);
                    continue;
                }
                let (name, state) = part.split_once('=').ok_or_else(|| wrong(part))?;
                let at = place_of(names, name).ok_or_else(|| wrong(part))?;
                switches[at] = match state.to_ascii_lowercase().as_str() {
                    "on" => true,
                    "off" => false,
                    "default" => initial[at],
                    _ => return Err(wrong(part)),
                };
            }
        }
    }
    let switch = |(name, on): (&&str, bool)| format!("{name}={}", if on { "on" } else { "off" });
    Ok(names.iter().zip(switches).map(switch).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &Value) -> Result<String, (u16, String)> {
        let variable = Variable::named(name).unwrap();
        let mut warnings = Vec::new();
        let kept = converted(variable, value, &Variables::default(), &mut warnings);
        let kept = kept.map_err(|error| (error.code().0, error.message()))?;
        let shown = kept.and_then(|kept| kept.to_text()).unwrap_or_default();
        Ok(warnings.iter().fold(shown, |shown, warning| format!("{shown} !{}", warning.code)))
    }

    #[test]
    fn numbers_are_clamped_to_bounds_and_blocks() {
        for (name, wanted, kept) in [
            ("lock_wait_timeout", 0, "1 !1292"),
            ("lock_wait_timeout", 60, "60"),
            ("read_buffer_size", 8193, "8192 !1292"),
            ("read_buffer_size", -1, "8192 !1292"),
            ("read_buffer_size", i64::MAX, "2147479552 !1292"),
            ("optimizer_trace_offset", -5, "-5"),
            ("sql_select_limit", -1, "0 !1292"),
        ] {
            assert_eq!(set(name, &Value::Int(wanted)).as_deref(), Ok(kept), "{name} = {wanted}");
        }
        for value in [Value::text("5"), Value::Null, Value::Double(1.5)] {
            assert_eq!(set("lock_wait_timeout", &value).unwrap_err().0, 1232);
        }
    }

    #[test]
    fn any_value_is_kept_or_refused() {
        let long = "a=on,".repeat(100_000);
        let odd = [
            Value::Null,
            Value::Int(i64::MIN),
            Value::Int(-1),
            Value::UInt(u64::MAX),
            Value::Double(f64::NAN),
            Value::Double(f64::NEG_INFINITY),
            Value::text(""),
            Value::text(",,="),
            Value::text(long.as_str()),
            Value::bytes(vec![0xFF; 5_000]),
        ];
        for variable in Variable::all() {
            for value in &odd {
                let kept = converted(variable, value, &Variables::default(), &mut Vec::new());
                let bytes = kept.map_or(0, |kept| kept.map_or(0, |kept| kept.size()));
                assert!(bytes <= text::MAX_LIST, "{} = {value:?}", variable.name);
            }
        }
    }

    #[test]
    fn enum_values_are_set_by_name_or_index() {
        for (name, value, kept) in [
            ("autocommit", Value::text("off"), "0"),
            ("autocommit", Value::Int(1), "1"),
            ("transaction_isolation", Value::text("read-committed"), "READ-COMMITTED"),
            ("transaction_isolation", Value::Int(3), "SERIALIZABLE"),
            ("sql_mode", Value::text("ansi_quotes,,pipes_as_concat "), "PIPES_AS_CONCAT,ANSI_QUOTES"),
            ("sql_mode", Value::Int(6), "PIPES_AS_CONCAT,ANSI_QUOTES"),
            ("optimizer_trace", Value::text("enabled=on"), "enabled=on,one_line=off"),
            ("optimizer_trace", Value::Int(2), "enabled=off,one_line=on"),
        ] {
            assert_eq!(set(name, &value).as_deref(), Ok(kept), "{name}");
        }
        for (name, value, wrong) in [
            ("autocommit", Value::Int(2), "2"),
            ("autocommit", Value::text("yes"), "yes"),
            ("transaction_isolation", Value::Null, "NULL"),
            ("sql_mode", Value::text("ANSI,NONSENSE"), "NONSENSE"),
            ("sql_mode", Value::UInt(1 << 33), "8589934592"),
            ("optimizer_trace", Value::text("enabled=perhaps"), "enabled=perhaps"),
        ] {
            let text = format!("Variable '{name}' can't be set to the value of '{wrong}'");
            assert_eq!(set(name, &value), Err((1231, text)));
        }
    }
}
