//! SQL values, and their conversions.

use std::{borrow::Cow, cmp::Ordering};

use getlockd_proto::name::MAX_NAME_CHARS;

use super::{
    error::SqlError,
    temporal::{Components, Temporal},
};
use crate::name::Name;

/// A value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    UInt(u64),
    Decimal(Decimal),
    Double(f64),
    /// A double that is shown with this many digits after the point.
    Rounded {
        double: f64,
        digits: u8,
    },
    /// A string in the connection's character set, as UTF-8.
    Text(String),
    /// Bytes without a character set; `number` for `0x41`, which counts as a number where one is needed.
    Bytes {
        bytes: Vec<u8>,
        number: bool,
    },
    Temporal(Temporal),
}

/// An exact number: `digits / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub digits: i128,
    pub scale: u32,
}

/// A number for arithmetic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Exact(Decimal),
    Double(f64),
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number, or NULL for `None`.
    pub(super) fn or_null(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::UInt)
    }

    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Bytes { bytes, number: false }
    }

    pub(super) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Whether it is a date or a time.
    #[inline]
    pub(super) fn is_date(&self) -> bool {
        matches!(self, Self::Temporal(_))
    }

    /// The bytes of a string; 0 for values without memory of their own.
    #[inline]
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    /// The value as a variable keeps it: dates become strings.
    pub(super) fn kept(self) -> Self {
        match self {
            Self::Temporal(temporal) => Self::Text(temporal.to_string()),
            other => other,
        }
    }

    /// The value in the text protocol; `None` for NULL.
    pub(super) fn to_bytes(&self) -> Option<Cow<'_, [u8]>> {
        Some(match self {
            Self::Null => return None,
            Self::Int(number) => number.to_string().into_bytes().into(),
            Self::UInt(number) => number.to_string().into_bytes().into(),
            Self::Decimal(decimal) => decimal.to_string().into_bytes().into(),
            Self::Double(double) => double_text(*double).into_bytes().into(),
            Self::Rounded { double, digits } => {
                format!("{double:.*}", usize::from(*digits)).into_bytes().into()
            }
            Self::Text(text) => text.as_bytes().into(),
            Self::Bytes { bytes, .. } => bytes.into(),
            Self::Temporal(temporal) => temporal.to_string().into_bytes().into(),
        })
    }

    /// The value as a string; `None` for NULL. Invalid UTF-8 is replaced.
    pub(super) fn to_text(&self) -> Option<String> {
        self.to_bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The value as a number; `None` for NULL. For a string, the number at its start.
    pub(super) fn to_number(&self) -> Option<Number> {
        Some(match self {
            Self::Null => return None,
            Self::Int(number) => Number::Exact(Decimal { digits: (*number).into(), scale: 0 }),
            Self::UInt(number) => Number::Exact(Decimal { digits: (*number).into(), scale: 0 }),
            Self::Decimal(decimal) => Number::Exact(*decimal),
            Self::Double(double) | Self::Rounded { double, .. } => Number::Double(*double),
            Self::Text(text) => Number::Double(leading_number(text)),
            Self::Bytes { bytes, number: true } => {
                Number::Exact(Decimal { digits: big_endian(bytes), scale: 0 })
            }
            Self::Bytes { bytes, number: false } => {
                Number::Double(leading_number(&String::from_utf8_lossy(bytes)))
            }
            Self::Temporal(temporal) => Number::Exact(temporal.number()),
        })
    }

    /// The value as a condition; `None` for NULL.
    pub(super) fn to_bool(&self) -> Option<bool> {
        self.to_number().map(|number| match number {
            Number::Exact(decimal) => decimal.digits != 0,
            Number::Double(double) => double != 0.0,
        })
    }

    /// The value as a whole number, rounded half away from zero and clamped; `None` for NULL.
    pub(super) fn to_i64(&self) -> Option<i64> {
        self.to_number().map(|number| {
            let rounded = number.round();
            i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
        })
    }

    /// The value as seconds, in microseconds; `None` for NULL.
    pub(super) fn to_micros(&self) -> Option<i64> {
        i64::try_from(match self.to_number()? {
            Number::Exact(decimal) => decimal.scaled_to(6),
            Number::Double(double) => Number::Double(double * 1e6).round(),
        })
        .ok()
    }

    fn is_binary(&self) -> bool {
        matches!(self, Self::Bytes { .. })
    }

    /// The operand of a comparison with bytes.
    fn has_bytes(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Bytes { .. })
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Bytes { number: false, .. } | Self::Temporal(_))
    }

    /// Compares two values; `None` if one is NULL. Strings are compared without case, with bytes as bytes, anything
    /// else as numbers.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.is_binary() && other.has_bytes() || self.has_bytes() && other.is_binary() {
            return Some(self.to_bytes()?.cmp(&other.to_bytes()?));
        }
        if self.is_text() && other.is_text() {
            return Some(folded(&self.to_text()?).cmp(&folded(&other.to_text()?)));
        }
        match (self.to_number()?, other.to_number()?) {
            (Number::Exact(a), Number::Exact(b)) => Some(a.compare(b)),
            (a, b) => a.to_f64().partial_cmp(&b.to_f64()),
        }
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Int(yes.into())
    }
}

impl From<Option<bool>> for Value {
    fn from(answer: Option<bool>) -> Self {
        answer.map_or(Self::Null, Self::from)
    }
}

impl Number {
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Exact(decimal) => decimal.to_f64(),
            Self::Double(double) => double,
        }
    }

    /// Rounds half away from zero; a double half to even, like MySQL's C library.
    pub(super) fn round(self) -> i128 {
        match self {
            Self::Exact(decimal) => decimal.round(),
            #[expect(clippy::cast_possible_truncation, reason = "a float that is too big is clamped")]
            Self::Double(double) => double.round_ties_even() as i128,
        }
    }
}

impl Decimal {
    /// The number in a literal such as `1.50`; `None` if it has more digits than can be kept.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 30 {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { digits, scale: fraction.len().try_into().ok()? })
    }

    pub(super) fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    pub(super) fn round(self) -> i128 {
        let Some(unit) = 10_i128.checked_pow(self.scale) else { return 0 };
        let half = unit / 2 * self.digits.signum();
        self.digits.saturating_add(half) / unit
    }

    /// Rounds to this many digits after the point, half away from zero.
    pub(super) fn scaled_to(self, scale: u32) -> i128 {
        let most = if self.digits < 0 { i128::MIN } else { i128::MAX };
        self.with_scale(scale).map_or(most, |scaled| scaled.digits)
    }

    /// The same number with this many digits after the point; `None` if it does not fit.
    pub(super) fn with_scale(self, scale: u32) -> Option<Self> {
        let digits = if scale >= self.scale {
            self.digits.checked_mul(10_i128.checked_pow(scale - self.scale)?)?
        } else {
            Self { digits: self.digits, scale: self.scale - scale }.round()
        };
        Some(Self { digits, scale })
    }

    /// Both numbers with the greater of their scales.
    pub(super) fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let scaled = |d: Self| d.digits.checked_mul(10_i128.checked_pow(scale - d.scale)?);
        Some((scaled(self)?, scaled(other)?, scale))
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        match self.aligned(other) {
            Some((a, b, _)) => a.cmp(&b),
            None => self.to_f64().total_cmp(&other.to_f64()),
        }
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let scale = self.scale as usize;
        let digits = format!("{:0>width$}", self.digits.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let point = if scale > 0 { "." } else { "" };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

/// Folds a string for comparisons without case.
pub(super) fn folded(text: &str) -> String {
    // Not that of the whole text, which looks at what stands around a sigma.
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0'..='\u{7F}' => folded.push(c.to_ascii_lowercase()),
            'ς' => folded.push('σ'),
            _ => folded.extend(c.to_lowercase()),
        }
    }
    folded
}

/// Formats a double like MySQL: short, with an exponent only far from 1.
fn double_text(double: f64) -> String {
    let magnitude = double.abs();
    if magnitude != 0.0 && !(1e-5..1e15).contains(&magnitude) {
        format!("{double:e}")
    } else {
        format!("{double}")
    }
}

/// The number at the start of a string; 0 if there is none.
fn leading_number(text: &str) -> f64 {
    number_prefix(text).parse().unwrap_or(0.0)
}

/// The part of a string that is a number.
pub(super) fn number_prefix(text: &str) -> &str {
    let text = text.trim_start();
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(end);
    end += whole;
    let fraction = if bytes.get(end) == Some(&b'.') { digits(end + 1) } else { 0 };
    if fraction > 0 || whole > 0 && bytes.get(end) == Some(&b'.') {
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return "";
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(end + 1 + sign..).map_or(0, |_| digits(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    &text[..end]
}

fn big_endian(bytes: &[u8]) -> i128 {
    let low = &bytes[bytes.len().saturating_sub(8)..];
    low.iter().fold(0, |number, byte| number << 8 | i128::from(*byte))
}

/// The lock name in a value, or MySQL's error (8.4, `sql/item_func.cc`, observed).
pub(super) fn lock_name(value: &Value) -> Result<Name, SqlError> {
    let Some(bytes) = value.to_bytes() else { return Err(SqlError::LockName("NULL".to_owned())) };
    // A name ends at its first NUL.
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let incorrect = || SqlError::LockName(shown_name(bytes));
    let head_ends = |text: &str| text.char_indices().nth(MAX_NAME_CHARS).map(|(at, _)| at);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // What is wrong beyond the last character that counts is too long before it is wrong.
        Err(error) => {
            let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            return Err(match head_ends(valid) {
                Some(_) => SqlError::LockNameTooLong(shown_name(bytes)),
                None => incorrect(),
            });
        }
    };
    let end = head_ends(text);
    if text.is_empty() || text[..end.unwrap_or(text.len())].chars().any(|c| c > '\u{FFFF}') {
        return Err(incorrect());
    }
    if end.is_some() {
        return Err(SqlError::LockNameTooLong(shown_name(bytes)));
    }
    Name::new(text).map_err(|_| incorrect())
}

/// The most bytes of a name in an error.
const SHOWN: usize = 192;

/// A name in an error: in MySQL's old UTF-8, which has no characters beyond the basic plane.
pub(super) fn shown_name(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown.extend(chunk.valid().chars().map(|c| if c > '\u{FFFF}' { '?' } else { c }));
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    shown.truncate(shown.floor_char_boundary(SHOWN));
    shown
}

impl Temporal {
    /// The number of a date and time: `20261127101112.5`.
    pub(super) fn number(self) -> Decimal {
        let Components { is_negative, year, month, day, hour, minute, second, micros } = self.fields();
        let date = (year * 100 + month) * 100 + day;
        let clock = (hour * 100 + minute) * 100 + second;
        let whole = match self {
            Self::Date(_) => date,
            Self::Time { .. } => clock,
            Self::DateTime { .. } => date * 1_000_000 + clock,
        };
        let digits = self.digits().min(6);
        let fraction = micros / 10_i64.pow(6 - u32::from(digits));
        let number = i128::from(whole) * 10_i128.pow(digits.into()) + i128::from(fraction);
        Decimal { digits: if is_negative { -number } else { number }, scale: digits.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_by_mysql() {
        assert_eq!(Decimal::parse("1.50").unwrap().to_string(), "1.50");
        assert_eq!(Decimal { digits: -5, scale: 2 }.to_string(), "-0.05");
        assert_eq!(double_text(1000.0), "1000");
        assert_eq!(double_text(1e30), "1e30");
        assert_eq!(double_text(0.5), "0.5");
    }

    #[test]
    fn text_converts_to_its_leading_number() {
        for (text, prefix) in [
            ("2abc", "2"),
            (" 1.6", "1.6"),
            ("1e0", "1e0"),
            ("1e", "1"),
            ("-.5x", "-.5"),
            ("abc", ""),
            ("", ""),
        ] {
            assert_eq!(number_prefix(text), prefix, "{text:?}");
        }
    }

    #[test]
    fn values_compare_as_text_or_numbers() {
        let text = |text: &str| Value::text(text);
        assert_eq!(text("A").compare(&text("a")), Some(Ordering::Equal));
        assert_eq!(text("10").compare(&Value::Int(9)), Some(Ordering::Greater));
        assert_eq!(Value::UInt(u64::MAX).compare(&Value::Int(-1)), Some(Ordering::Greater));
        assert_eq!(Value::Null.compare(&Value::Int(1)), None);
    }
}
