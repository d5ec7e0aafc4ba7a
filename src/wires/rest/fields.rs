//! The fields of a body. A value of another type is refused with the name of its field.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::core::lock::Mode;

pub(super) fn resource_name<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    required_text("resourceName", value)
}

pub(super) fn lock_token<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    required_text("lockToken", value)
}

pub(super) fn client_id<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    text("clientId", value)
}

pub(super) fn note<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    text("note", value)
}

pub(super) fn request_id<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    text("requestId", value)
}

pub(super) fn reason<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    text("reason", value)
}

pub(super) fn wait_ms<'de, D: Deserializer<'de>>(number: D) -> Result<Option<i128>, D::Error> {
    milliseconds("waitMs", number)
}

pub(super) fn ttl_ms<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u64>, D::Error> {
    milliseconds("ttlMs", number)
}

pub(super) fn mode<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Mode>, D::Error> {
    match text("mode", value)?.as_deref() {
        None => Ok(None),
        Some("exclusive") => Ok(Some(Mode::Exclusive)),
        Some("shared") => Ok(Some(Mode::Shared)),
        Some(_) => Err(D::Error::custom("mode: use `exclusive` or `shared`")),
    }
}

fn required_text<'de, D: Deserializer<'de>>(field: &str, value: D) -> Result<String, D::Error> {
    text(field, value)?.ok_or_else(|| no_text(field))
}

fn text<'de, D: Deserializer<'de>>(field: &str, value: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(value)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(no_text(field)),
    }
}

fn no_text<E: Error>(field: &str) -> E {
    E::custom(format_args!("{field}: expected a string"))
}

/// Reads the number of a field: one without a fraction, however it is written (1000 and 1e3 are the same).
fn milliseconds<'de, D: Deserializer<'de>, T: TryFrom<i128>>(
    field: &str,
    number: D,
) -> Result<Option<T>, D::Error> {
    let wrong =
        || D::Error::custom(format!("{field}: expected milliseconds as a whole number, such as 5000"));
    let number = match Value::deserialize(number)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number,
        _ => return Err(wrong()),
    };
    // The cast saturates, beyond all numbers that are accepted.
    #[expect(clippy::cast_possible_truncation)]
    let float = || number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i128);
    let whole = number.as_i128().or_else(float).and_then(|whole| T::try_from(whole).ok());
    whole.map(Some).ok_or_else(wrong)
}
