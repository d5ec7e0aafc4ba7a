//! CAST and CONVERT (MySQL manual 14.10).

use super::{arithmetic, dates};
use crate::wires::mysql::{
    charset::Charset,
    error::Warning,
    sql::{
        ast::Cast,
        env::{Env, FOLD},
    },
    value::{Decimal, Number, Value, number_prefix},
};

/// The cost of a cast, in units of work.
pub(super) fn effort(value: &Value, cast: Cast) -> usize {
    let writing = match (cast, value) {
        (Cast::Using(charset), Value::Text(text)) => charset.effort(text.as_bytes()),
        _ => 0,
    };
    FOLD * value.size() + writing
}

pub(super) fn cast(env: &Env<'_>, value: &Value, cast: Cast) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let text = || value.to_text().unwrap_or_default();
    match cast {
        Cast::Char(None) => Value::Text(text()),
        Cast::Char(Some(length)) => Value::Text(shortened(env, &text(), length)),
        Cast::Using(charset) => using(env, value, charset),
        Cast::Binary(length) => {
            let mut bytes = value.to_bytes().unwrap_or_default().into_owned();
            if let Some(length) = length {
                let max = env.system.settings().max_packet;
                bytes.resize(length.min(max), 0);
            }
            Value::bytes(bytes)
        }
        Cast::Signed | Cast::Unsigned => {
            if matches!(value, Value::Text(_)) && !arithmetic::is_integer(&text()) {
                env.warn(Warning::truncated("INTEGER", &text()));
            }
            arithmetic::integer(value, cast == Cast::Unsigned)
        }
        Cast::Date | Cast::Time(_) | Cast::DateTime(_) | Cast::Year => dates::cast(env, value, cast),
        Cast::Decimal { precision, scale } => decimal(env, value, precision, scale),
        Cast::Double | Cast::Float => {
            arithmetic::warn_of_text(env, "DOUBLE", value);
            let double = value.to_number().map_or(0.0, Number::to_f64);
            Value::Double(if cast == Cast::Float { to_float(double) } else { double })
        }
    }
}

/// A string with `?` for characters that the character set lacks, or bytes interpreted as strings of it.
fn using(env: &Env<'_>, value: &Value, charset: Charset) -> Value {
    let bytes = value.to_bytes().unwrap_or_default().into_owned();
    let bytes = match value {
        Value::Bytes { .. } => bytes,
        _ => charset.encode(&bytes).into_owned(),
    };
    let text = charset.decode(bytes).and_then(|text| match text {
        Value::Bytes { bytes, .. } if charset != Charset::BINARY => Err(charset.invalid(&bytes)),
        text => Ok(text),
    });
    text.unwrap_or_else(|error| {
        env.warn(Warning::of_value(&error));
        Value::Null
    })
}

/// Cuts a string with too many characters, with a warning.
fn shortened(env: &Env<'_>, text: &str, length: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(length) else { return text.to_owned() };
    env.warn(Warning::truncated(&format!("CHAR({length})"), text));
    text[..end].to_owned()
}

/// A number with this many digits, some of them after the point; the greatest such number if the value is too large.
fn decimal(env: &Env<'_>, value: &Value, precision: u32, scale: u32) -> Value {
    let number = match value {
        Value::Text(text) => {
            let prefix = number_prefix(text);
            if prefix.is_empty() || prefix != text.trim() {
                env.warn(Warning::truncated("DECIMAL", text));
            }
            Decimal::parse(prefix.trim_start_matches('+')).map_or_else(|| of_double(value, scale), Some)
        }
        _ => match value.to_number() {
            Some(Number::Exact(number)) => Some(number),
            _ => of_double(value, scale),
        },
    };
    let most = 10_i128.saturating_pow(precision) - 1;
    let number = number.and_then(|number| number.with_scale(scale));
    let is_negative = value.to_number().is_some_and(|number| number.to_f64() < 0.0);
    match number {
        Some(number) if number.digits.abs() <= most => Value::Decimal(number),
        _ => {
            env.warn(Warning::new(1264, "Out of range value for column 'CAST' at row 1"));
            Value::Decimal(Decimal { digits: if is_negative { -most } else { most }, scale })
        }
    }
}

fn of_double(value: &Value, scale: u32) -> Option<Decimal> {
    let double = value.to_number().map_or(0.0, Number::to_f64);
    Decimal::parse(&format!("{double:.*}", scale as usize))
}

/// With the digits of a float.
fn to_float(double: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "that is what a float is")]
    let float = double as f32;
    float.to_string().parse().unwrap_or(double)
}
