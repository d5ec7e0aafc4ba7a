//! Arithmetic (MySQL manual 14.6.1).

use crate::wires::mysql::{
    error::{SqlError, Warning},
    sql::{
        ast::Operator,
        env::{Env, EvalResult},
    },
    value::{Decimal, Number, Value, number_prefix},
};

/// A result with more digits after the point is a double.
const MAX_SCALE: u32 = 30;

/// The result of an operator, with warnings for strings that are not numbers and for divisions by zero.
pub(super) fn calculated(env: &Env<'_>, operator: Operator, left: &Value, right: &Value) -> EvalResult {
    let kind = if is_of_bits(operator) { "INTEGER" } else { "DOUBLE" };
    warn_of_text(env, kind, left);
    warn_of_text(env, kind, right);
    let result = arithmetic(operator, left, right, env.system.settings().division_digits)?;
    let is_of_zero = result.is_null() && !left.is_null() && !right.is_null();
    if is_of_zero && env.system.has_mode("ERROR_FOR_DIVISION_BY_ZERO") {
        env.warn(Warning::new(1365, "Division by 0"));
    }
    Ok(result)
}

/// The negative of a number. An unsigned one becomes signed.
pub(super) fn negated(env: &Env<'_>, value: &Value) -> EvalResult {
    match value {
        Value::UInt(number) if *number <= 1 << 63 => Ok(Value::Int(number.cast_signed().wrapping_neg())),
        _ => calculated(env, Operator::Minus, &Value::Int(0), value),
    }
}

/// Warns about a string that is used as a number and is not one, apart from blanks around it.
pub(super) fn warn_of_text(env: &Env<'_>, kind: &str, value: &Value) {
    let Value::Text(text) = value else { return };
    let is_number = match kind {
        "INTEGER" => is_integer(text),
        _ => number_prefix(text) == text.trim(),
    };
    if !is_number && !text.is_empty() {
        env.warn(Warning::truncated(kind, text));
    }
}

fn is_of_bits(operator: Operator) -> bool {
    use Operator::{BitAnd, BitOr, BitXor, ShiftLeft, ShiftRight};
    matches!(operator, BitAnd | BitOr | BitXor | ShiftLeft | ShiftRight)
}

/// `digits`: how many digits a division adds.
fn arithmetic(operator: Operator, left: &Value, right: &Value, digits: u32) -> EvalResult {
    if is_of_bits(operator) {
        return Ok(bits(operator, left, right));
    }
    let (Some(a), Some(b)) = (left.to_number(), right.to_number()) else { return Ok(Value::Null) };
    match (a, b) {
        (Number::Exact(a), Number::Exact(b)) => {
            let whole = is_whole(left) && is_whole(right) && operator != Operator::Divide;
            match exact(operator, a, b, digits) {
                Some(None) => Ok(Value::Null),
                Some(Some(result)) if whole || operator == Operator::IntegerDivide => {
                    bigint(operator, result.digits, left, right)
                }
                Some(Some(result)) => Ok(Value::Decimal(result)),
                None => double(operator, a.to_f64(), b.to_f64()),
            }
        }
        (a, b) => {
            let result = double(operator, a.to_f64(), b.to_f64())?;
            let shown = fixed_digits(left).zip(fixed_digits(right));
            Ok(match (result, shown) {
                (Value::Double(double), Some((left, right))) => {
                    Value::Rounded { double, digits: digits_of(operator, left, right, digits) }
                }
                (result, _) => result,
            })
        }
    }
}

/// How many digits are shown after the point; `None` if that depends on the value.
fn fixed_digits(value: &Value) -> Option<u8> {
    match value {
        Value::Rounded { digits, .. } => Some(*digits),
        Value::Decimal(decimal) => u8::try_from(decimal.scale).ok(),
        Value::Int(_) | Value::UInt(_) => Some(0),
        _ => None,
    }
}

/// How many digits of a double are shown, for operands that show this many.
pub(super) fn digits_of(operator: Operator, left: u8, right: u8, added: u32) -> u8 {
    let digits = match operator {
        Operator::Times => left.saturating_add(right),
        Operator::Divide => left.max(right).saturating_add(u8::try_from(added).unwrap_or(u8::MAX)),
        _ => left.max(right),
    };
    digits.min(30)
}

/// Whether a value has 64 bits, and is not an exact number that happens to be whole.
fn is_whole(value: &Value) -> bool {
    match value {
        Value::Decimal(_) => false,
        other => matches!(other.to_number(), Some(Number::Exact(Decimal { scale: 0, .. }))),
    }
}

/// The 64 bits of a value; `None` for NULL.
pub(super) fn word(value: &Value) -> Option<u64> {
    if let Value::Text(_) = value {
        return match integer(value, false) {
            Value::Int(number) => Some(number.cast_unsigned()),
            _ => None,
        };
    }
    let rounded = value.to_number()?.round();
    let clamped = rounded.clamp(i64::MIN.into(), u64::MAX.into());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bits are what counts")]
    Some(clamped as u64)
}

/// Operations on 64 bits without a sign.
fn bits(operator: Operator, left: &Value, right: &Value) -> Value {
    let (Some(a), Some(b)) = (word(left), word(right)) else { return Value::Null };
    let shift = u32::try_from(b).unwrap_or(u32::MAX);
    Value::UInt(match operator {
        Operator::BitAnd => a & b,
        Operator::BitOr => a | b,
        Operator::BitXor => a ^ b,
        Operator::ShiftLeft => a.checked_shl(shift).unwrap_or(0),
        _ => a.checked_shr(shift).unwrap_or(0),
    })
}

/// `None` if the result does not fit; `Some(None)` for a division by zero.
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

fn bigint(operator: Operator, number: i128, left: &Value, right: &Value) -> EvalResult {
    let unsigned = matches!(left, Value::UInt(_)) || matches!(right, Value::UInt(_));
    let value = if unsigned {
        u64::try_from(number).map(Value::UInt).ok()
    } else {
        i64::try_from(number).map(Value::Int).ok()
    };
    let shown = |value: &Value| value.to_text().unwrap_or_default();
    let place = || format!("({} {} {})", shown(left), symbol(operator), shown(right));
    let kind = if unsigned { "BIGINT UNSIGNED" } else { "BIGINT" };
    value.ok_or_else(|| SqlError::OutOfRange { kind, place: place() }.into())
}

/// The operator in errors.
fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Times => "*",
        Operator::IntegerDivide => "DIV",
        Operator::Modulo => "%",
        _ => "/",
    }
}

fn double(operator: Operator, a: f64, b: f64) -> EvalResult {
    let result = match operator {
        Operator::Divide | Operator::IntegerDivide | Operator::Modulo if b == 0.0 => return Ok(Value::Null),
        Operator::Plus => a + b,
        Operator::Minus => a - b,
        Operator::Times => a * b,
        Operator::IntegerDivide => return quotient(a, b),
        Operator::Modulo => a % b,
        _ => a / b,
    };
    if result.is_finite() {
        return Ok(Value::Double(result));
    }
    let [a, b] = [a, b].map(|operand| Value::Double(operand).to_text().unwrap_or_default());
    let place = format!("({a} {} {b})", symbol(operator));
    Err(SqlError::OutOfRange { kind: "DOUBLE", place }.into())
}

/// A division whose result is a whole number, whatever the operands are.
fn quotient(a: f64, b: f64) -> EvalResult {
    let quotient = (a / b).trunc();
    #[expect(clippy::cast_possible_truncation, reason = "it is looked at whether it fits")]
    let whole = quotient as i128;
    match i64::try_from(whole) {
        Ok(whole) => Ok(Value::Int(whole)),
        Err(_) => Err(SqlError::OutOfRange { kind: "BIGINT", place: format!("({a} DIV {b})") }.into()),
    }
}

/// Whether a string is a whole number and nothing else.
pub(super) fn is_integer(text: &str) -> bool {
    let digits = text.trim().trim_start_matches(['+', '-']);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Converts a value like `CAST(... AS SIGNED)` or `UNSIGNED`. A string counts up to the first character that is not a
/// digit.
pub(super) fn integer(value: &Value, unsigned: bool) -> Value {
    let number = match value {
        Value::Text(text) => {
            let prefix = number_prefix(text);
            let whole = prefix.split(['.', 'e', 'E']).next().unwrap_or_default();
            whole.parse().unwrap_or(0)
        }
        Value::UInt(number) if !unsigned => return Value::Int(number.cast_signed()),
        other => other.to_number().map_or(0, Number::round),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as MySQL wraps it")]
    if unsigned {
        Value::UInt(number.clamp(i64::MIN.into(), u64::MAX.into()) as u64)
    } else {
        Value::Int(number.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}
