//! Functions of numbers. Exact numbers stay exact where possible.

use std::cmp::Ordering;

use super::CallArgs;
use crate::wires::mysql::{
    error::{SqlError, Warning},
    sql::{
        ast::Operator,
        builtin::Function,
        env::{Env, EvalResult},
        eval::arithmetic,
    },
    value::{Decimal, Number, Value, folded},
};

pub(super) fn value(args: &CallArgs<'_>) -> Option<EvalResult> {
    let x = || args.double(0);
    Some(match args.function {
        Function::Abs => abs(args),
        Function::Sign => Ok(Value::Int(sign(args))),
        Function::Ceiling | Function::Floor => Ok(to_whole(args)),
        Function::Round | Function::Truncate => Ok(round(args)),
        Function::BitCount => Ok(Value::Int(bit_count(args))),
        Function::Greatest => extreme(args, Ordering::Greater),
        Function::Least => extreme(args, Ordering::Less),
        Function::Pi => Ok(Value::Rounded { double: std::f64::consts::PI, digits: 6 }),
        Function::Pow => args.finite(x().powf(args.double(1))),
        Function::Sqrt => of_domain(args, x() >= 0.0, f64::sqrt),
        Function::Exp => args.finite(x().exp()),
        Function::Ln | Function::Log2 | Function::Log10 | Function::Log => Ok(logarithm(args)),
        Function::Sin => args.finite(x().sin()),
        Function::Cos => args.finite(x().cos()),
        Function::Tan => args.finite(x().tan()),
        Function::Cot => args.finite(1.0 / x().tan()),
        Function::Asin => of_domain(args, x().abs() <= 1.0, f64::asin),
        Function::Acos => of_domain(args, x().abs() <= 1.0, f64::acos),
        Function::Atan if args.values.len() == 2 => args.finite(x().atan2(args.double(1))),
        Function::Atan => args.finite(x().atan()),
        Function::Degrees => args.finite(x() * (180.0 / std::f64::consts::PI)),
        Function::Radians => args.finite(x() * (std::f64::consts::PI / 180.0)),
        _ => return None,
    })
}

/// `MOD(a, b)` is `a % b`.
pub(in crate::wires::mysql::sql) fn modulo(env: &Env<'_>, values: &[Value]) -> EvalResult {
    arithmetic::calculated(env, Operator::Modulo, &values[0], &values[1])
}

fn of_domain(args: &CallArgs<'_>, is_inside: bool, function: fn(f64) -> f64) -> EvalResult {
    if is_inside { args.finite(function(args.double(0))) } else { Ok(Value::Null) }
}

fn logarithm(args: &CallArgs<'_>) -> Value {
    let x = args.double(0);
    let result = match args.function {
        Function::Log2 => x.log2(),
        Function::Log10 => x.log10(),
        Function::Log if args.values.len() == 2 => {
            let y = args.double(1);
            #[expect(clippy::float_cmp, reason = "there is no logarithm of base 1")]
            let has_base = x > 0.0 && x != 1.0;
            if has_base && y > 0.0 { y.ln() / x.ln() } else { f64::NAN }
        }
        _ => x.ln(),
    };
    if result.is_finite() {
        return Value::Double(result);
    }
    args.warn(Warning::new(3020, "Invalid argument for logarithm"));
    Value::Null
}

fn abs(args: &CallArgs<'_>) -> EvalResult {
    Ok(match &args.values[0] {
        Value::Int(number) => match number.checked_abs() {
            Some(number) => Value::Int(number),
            None => {
                return Err(SqlError::OutOfRange { kind: "BIGINT", place: format!("abs({number})") }.into());
            }
        },
        Value::UInt(number) => Value::UInt(*number),
        Value::Decimal(Decimal { digits, scale }) => {
            Value::Decimal(Decimal { digits: digits.saturating_abs(), scale: *scale })
        }
        Value::Rounded { double, digits } => Value::Rounded { double: double.abs(), digits: *digits },
        value @ (Value::Bytes { number: true, .. } | Value::Temporal(_)) => {
            return Ok(exact(value).map_or(Value::Null, |number| whole(number.digits.abs())));
        }
        _ => Value::Double(args.double(0).abs()),
    })
}

fn exact(value: &Value) -> Option<Decimal> {
    match value.to_number() {
        Some(Number::Exact(number)) => Some(number),
        _ => None,
    }
}

fn sign(args: &CallArgs<'_>) -> i64 {
    match exact(&args.values[0]) {
        Some(number) => i64::try_from(number.digits.signum()).unwrap_or(0),
        None => match args.double(0) {
            0.0 => 0,
            double if double > 0.0 => 1,
            _ => -1,
        },
    }
}

/// A whole number as a value.
fn whole(number: i128) -> Value {
    let signed = i64::try_from(number).map(Value::Int);
    let value = signed.or_else(|_| u64::try_from(number).map(Value::UInt));
    value.unwrap_or(Value::Decimal(Decimal { digits: number, scale: 0 }))
}

fn to_whole(args: &CallArgs<'_>) -> Value {
    let is_up = args.function == Function::Ceiling;
    match &args.values[0] {
        value @ (Value::Int(_) | Value::UInt(_)) => value.clone(),
        Value::Double(double) => Value::Double(if is_up { double.ceil() } else { double.floor() }),
        value => {
            if let Some(Decimal { digits, scale }) = exact(value) {
                let unit = 10_i128.saturating_pow(scale);
                let down = digits.div_euclid(unit);
                return whole(if is_up && digits.rem_euclid(unit) != 0 { down + 1 } else { down });
            }
            let double = args.double(0);
            Value::Double(if is_up { double.ceil() } else { double.floor() })
        }
    }
}

/// The most digits after the point.
const MAX_SCALE: i64 = 30;

/// ROUND and TRUNCATE.
fn round(args: &CallArgs<'_>) -> Value {
    let places = if args.values.len() > 1 { args.int(1) } else { 0 };
    let truncates = args.function == Function::Truncate;
    match (&args.values[0], exact(&args.values[0])) {
        (value @ (Value::Int(_) | Value::UInt(_)), _) if places >= 0 => value.clone(),
        (value, Some(number)) => {
            let places = places.clamp(-64, MAX_SCALE);
            let is_whole = !matches!(value, Value::Decimal(_));
            let scale = u32::try_from(places.max(0)).unwrap_or(0);
            let rounded = cut(number, places, truncates).and_then(|number| number.with_scale(scale));
            match rounded {
                Some(number) if is_whole => whole(number.digits),
                Some(number) => Value::Decimal(number),
                None => value.clone(),
            }
        }
        _ => {
            let digits = u8::try_from(places.clamp(0, MAX_SCALE)).unwrap_or(0);
            Value::Rounded { double: rounded(args.double(0), places, truncates), digits }
        }
    }
}

/// An exact number with this many digits after the point, or with that many zeros before it.
fn cut(number: Decimal, places: i64, truncates: bool) -> Option<Decimal> {
    let dropped = i64::from(number.scale) - places;
    let Ok(dropped @ 1..) = u32::try_from(dropped) else { return Some(number) };
    let Some(unit) = 10_i128.checked_pow(dropped) else { return Some(Decimal { digits: 0, scale: 0 }) };
    let half = if truncates { 0 } else { unit / 2 * number.digits.signum() };
    let digits = number.digits.checked_add(half)? / unit;
    match u32::try_from(places) {
        Ok(scale) => Some(Decimal { digits, scale }),
        Err(_) => Some(Decimal {
            digits: digits.checked_mul(10_i128.checked_pow(u32::try_from(-places).ok()?)?)?,
            scale: 0,
        }),
    }
}

/// A double with this many digits after the point, rounded half to even like in MySQL's C library.
pub(super) fn rounded(double: f64, places: i64, truncates: bool) -> f64 {
    let unit = 10_f64.powi(i32::try_from(places.unsigned_abs().min(400)).unwrap_or(400));
    let scaled = if places < 0 { double / unit } else { double * unit };
    if places >= 0 && !(unit.is_finite() && scaled.is_finite()) {
        return double;
    }
    if places < 0 && !unit.is_finite() {
        return 0.0;
    }
    let whole = if truncates { scaled.trunc() } else { scaled.round_ties_even() };
    if places < 0 { whole * unit } else { whole / unit }
}

fn bit_count(args: &CallArgs<'_>) -> i64 {
    let count = match &args.values[0] {
        Value::Bytes { bytes, number: false } => bytes.iter().map(|byte| byte.count_ones()).sum(),
        _ => args.bits(0).count_ones(),
    };
    count.into()
}

/// The minimum or the maximum: compared as strings if one is a string, and otherwise as numbers of a common type.
fn extreme(args: &CallArgs<'_>, wanted: Ordering) -> EvalResult {
    if args.values.iter().any(|value| matches!(value, Value::Text(_) | Value::Bytes { .. })) {
        let comparable = |at: usize| if args.is_binary() { args.text(at) } else { folded(&args.text(at)) };
        let mut best = (0, comparable(0));
        for next in 1..args.values.len() {
            let text = comparable(next);
            if text.cmp(&best.1) == wanted {
                best = (next, text);
            }
        }
        return Ok(args.made(args.text(best.0)));
    }
    let mut best = &args.values[0];
    for next in &args.values[1..] {
        if args.env.compare(next, best)? == Some(wanted) {
            best = next;
        }
    }
    Ok(alike(best, args.values))
}

/// A number as a double if one of them is a double, and otherwise with as many digits as any of them has.
fn alike(number: &Value, among: &[Value]) -> Value {
    if among.iter().any(|value| matches!(value, Value::Double(_) | Value::Rounded { .. })) {
        return Value::Double(number.to_number().map_or(0.0, Number::to_f64));
    }
    let scale = |value: &Value| if let Value::Decimal(decimal) = value { Some(decimal.scale) } else { None };
    let widest = among.iter().filter_map(scale).max();
    match (widest, exact(number)) {
        (Some(scale), Some(exact)) => exact.with_scale(scale).map_or_else(|| number.clone(), Value::Decimal),
        _ => number.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_and_double_rounding_match_mysql() {
        let number = |text| Decimal::parse(text).unwrap();
        for (text, places, is) in
            [("1.58", 0, "2"), ("-1.58", 0, "-2"), ("23.298", -1, "20"), ("1.298", 1, "1.3")]
        {
            assert_eq!(cut(number(text), places, false).unwrap().to_string(), is, "{text}");
        }
        assert_eq!(cut(number("1.999"), 1, true).unwrap().to_string(), "1.9");
        assert_eq!(cut(number("122"), -2, true).unwrap().to_string(), "100");
        assert_eq!(rounded(2.5, 0, false).to_string(), "2");
        assert_eq!(rounded(-1.999, 1, true).to_string(), "-1.9");
    }
}
