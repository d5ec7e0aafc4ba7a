//! The fields of a body. A value of another type is refused with the name of its field.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// A word for how a lock is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ModeWord {
    #[default]
    Exclusive,
    Shared,
    Permit,
}

pub(super) fn resource_name<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    required_text("resourceName", value)
}

/// One of two fields: whether one of them is there is up to the whole body.
pub(super) fn one_resource_name<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    resource_name(value).map(Some)
}

pub(super) fn resource_names<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    let no_list = || D::Error::custom("resourceNames: expected a list of strings");
    let Value::Array(texts) = Value::deserialize(value)? else { return Err(no_list()) };
    let text = |value| if let Value::String(text) = value { Ok(text) } else { Err(no_list()) };
    texts.into_iter().map(text).collect::<Result<_, _>>().map(Some)
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

pub(super) fn mode<'de, D: Deserializer<'de>>(value: D) -> Result<ModeWord, D::Error> {
    match text("mode", value)?.as_deref() {
        None | Some("exclusive") => Ok(ModeWord::Exclusive),
        Some("shared") => Ok(ModeWord::Shared),
        Some("permit") => Ok(ModeWord::Permit),
        Some(_) => Err(D::Error::custom("mode: use `exclusive`, `shared` or `permit`")),
    }
}

pub(super) fn limit<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u16>, D::Error> {
    let limit = whole_number(number, || D::Error::custom("limit: use 1 to 65535 permits"))?;
    if limit == Some(0) { Err(D::Error::custom("limit: use 1 to 65535 permits")) } else { Ok(limit) }
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

fn milliseconds<'de, D: Deserializer<'de>, T: TryFrom<i128>>(
    field: &str,
    number: D,
) -> Result<Option<T>, D::Error> {
    let wrong =
        || D::Error::custom(format!("{field}: expected milliseconds as a whole number, such as 5000"));
    whole_number(number, wrong)
}

/// Reads the number of a field: one without a fraction, however it is written (1000 and 1e3 are the same).
fn whole_number<'de, D: Deserializer<'de>, T: TryFrom<i128>>(
    number: D,
    wrong: impl Fn() -> D::Error,
) -> Result<Option<T>, D::Error> {
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
