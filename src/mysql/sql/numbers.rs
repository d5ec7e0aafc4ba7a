//! Arithmetic (MySQL manual 14.6.1).

use super::{ast::Operator, eval::Evaluated};
use crate::mysql::{
    error::SqlError,
    value::{Decimal, Number, Value, number_prefix},
};

/// With more digits behind the point a number is no exact one any more.
const MAX_SCALE: u32 = 30;

/// `digits`: how many a division adds.
pub(super) fn arithmetic(operator: Operator, left: &Value, right: &Value, digits: u32) -> Evaluated {
    use Operator::{BitAnd, BitOr, ShiftLeft, ShiftRight};
    if matches!(operator, BitAnd | BitOr | ShiftLeft | ShiftRight) {
        return Ok(bits(operator, left, right));
    }
    let (Some(a), Some(b)) = (left.to_number(), right.to_number()) else { return Ok(Value::Null) };
    match (a, b) {
        (Number::Exact(a), Number::Exact(b)) => {
            let whole = a.scale == 0 && b.scale == 0 && operator != Operator::Divide;
            match exact(operator, a, b, digits) {
                Some(None) => Ok(Value::Null),
                Some(Some(result)) if whole || operator == Operator::IntegerDivide => {
                    bigint(result.digits, left, right)
                }
                Some(Some(result)) => Ok(Value::Decimal(result)),
                None => Ok(double(operator, a.to_f64(), b.to_f64())),
            }
        }
        (a, b) => Ok(double(operator, a.to_f64(), b.to_f64())),
    }
}

/// On 64 bits, without a sign.
fn bits(operator: Operator, left: &Value, right: &Value) -> Value {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bits are what counts")]
    let word = |value: &Value| value.to_number().map(|number| number.round() as u64);
    match (word(left), word(right)) {
        (Some(a), Some(b)) => {
            let by = u32::try_from(b).unwrap_or(u32::MAX);
            Value::UInt(match operator {
                Operator::BitAnd => a & b,
                Operator::BitOr => a | b,
                Operator::ShiftLeft => a.checked_shl(by).unwrap_or(0),
                _ => a.checked_shr(by).unwrap_or(0),
            })
        }
        _ => Value::Null,
    }
}

/// None if the result does not fit; none inside for a division by zero.
fn exact(operator: Operator, a: Decimal, b: Decimal, more_digits: u32) -> Option<Option<Decimal>> {
    let (x, y, scale) = a.aligned(b)?;
    let is_division = matches!(operator, Operator::Divide | Operator::IntegerDivide | Operator::Modulo);
    if is_division && y == 0 {
        return Some(None);
    }
    let (digits, scale) = match operator {
        Operator::Plus => (x.checked_add(y)?, scale),
        Operator::Minus => (x.checked_sub(y)?, scale),
        Operator::Times => (a.digits.checked_mul(b.digits)?, a.scale + b.scale),
        Operator::IntegerDivide => (x.checked_div(y)?, 0),
        Operator::Modulo => (x.checked_rem(y)?, scale),
        _ => {
            let scale = a.scale + more_digits;
            let more =
                Decimal { digits: x.checked_mul(10_i128.checked_pow(scale + 1)?)?.checked_div(y)?, scale: 1 };
            (more.round(), scale)
        }
    };
    (scale <= MAX_SCALE).then_some(Some(Decimal { digits, scale }))
}

fn bigint(number: i128, left: &Value, right: &Value) -> Evaluated {
    let unsigned = matches!(left, Value::UInt(_)) || matches!(right, Value::UInt(_));
    let value = if unsigned {
        u64::try_from(number).map(Value::UInt).ok()
    } else {
        i64::try_from(number).map(Value::Int).ok()
    };
    value.ok_or_else(|| SqlError::OutOfRange(number.to_string()).into())
}

fn double(operator: Operator, a: f64, b: f64) -> Value {
    let is_division = matches!(operator, Operator::Divide | Operator::IntegerDivide | Operator::Modulo);
    if is_division && b == 0.0 {
        return Value::Null;
    }
    Value::Double(match operator {
        Operator::Plus => a + b,
        Operator::Minus => a - b,
        Operator::Times => a * b,
        Operator::IntegerDivide => (a / b).trunc(),
        Operator::Modulo => a % b,
        _ => a / b,
    })
}

/// Whether a text is a whole number and nothing else.
pub(super) fn is_integer(text: &str) -> bool {
    let digits = text.trim().trim_start_matches(['+', '-']);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// As `CAST(... AS SIGNED)` or `UNSIGNED` makes it; a text counts up to its first other character.
pub(super) fn integer(value: &Value, unsigned: bool) -> Value {
    let number = match value {
        Value::Text(text) => {
            let prefix = number_prefix(text);
            let whole = prefix.split(['.', 'e', 'E']).next().unwrap_or_default();
            whole.parse().unwrap_or(0)
        }
        other => other.to_number().map_or(0, Number::round),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as MySQL wraps it")]
    if unsigned {
        Value::UInt(number.clamp(i64::MIN.into(), u64::MAX.into()) as u64)
    } else {
        Value::Int(number.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}
