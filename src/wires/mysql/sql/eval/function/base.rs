//! Strings that represent numbers or bytes: bases, base 64, and numbers for people.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::CallArgs;
use crate::wires::mysql::{
    error::{SqlError, Warning},
    sql::{builtin::Function, env::EvalResult},
    value::{Number, Value},
};

pub(super) fn value(args: &CallArgs<'_>) -> Option<EvalResult> {
    Some(Ok(match args.function {
        Function::Hex => hex(args),
        Function::Unhex => unhex(args),
        Function::ToBase64 => to_base64(args),
        Function::FromBase64 => from_base64(args),
        Function::Conv => conv(args, args.int(1), args.int(2)),
        Function::Bin => conv(args, 10, 2),
        Function::Oct => conv(args, 10, 8),
        Function::Format => return Some(format(args)),
        Function::FormatBytes => Value::Text(format_bytes(args.double(0))),
        _ => return None,
    }))
}

/// The digits of a number, or the bytes of anything else.
fn hex(args: &CallArgs<'_>) -> Value {
    match &args.values[0] {
        Value::Int(number) => Value::Text(format!("{number:X}")),
        Value::UInt(number) => Value::Text(format!("{number:X}")),
        value @ (Value::Decimal(_) | Value::Double(_) | Value::Rounded { .. }) => {
            let rounded = value.to_number().map_or(0, Number::round);
            let bits = u64::try_from(rounded).or_else(|_| i64::try_from(rounded).map(i64::cast_unsigned));
            Value::Text(format!("{:X}", bits.unwrap_or(u64::MAX)))
        }
        _ => {
            let bytes = args.bytes(0);
            args.bounded(bytes.len() * 2, || Value::Text(hex_digits(&bytes)))
        }
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

fn hex_digits(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(HEX_DIGITS[usize::from(digit)])).collect()
}

fn unhex(args: &CallArgs<'_>) -> Value {
    let digits = args.bytes(0);
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let Some(mut digits) = digits.iter().map(digit).collect::<Option<Vec<u8>>>() else {
        return args.wrong_value("string", 0);
    };
    if !digits.len().is_multiple_of(2) {
        digits.insert(0, 0);
    }
    Value::bytes(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The length of a line, in characters.
const LINE: usize = 76;

fn to_base64(args: &CallArgs<'_>) -> Value {
    let bytes = args.bytes(0);
    let size = bytes.len().div_ceil(3) * 4;
    args.bounded(size + size / LINE, || {
        let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let lines: Vec<_> = encoded.as_bytes().chunks(LINE).map(String::from_utf8_lossy).collect();
        Value::Text(lines.join("\n"))
    })
}

/// Blanks are ignored.
fn from_base64(args: &CallArgs<'_>) -> Value {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true);
    let digits: Vec<u8> = args.bytes(0).iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
    GeneralPurpose::new(&STANDARD, config).decode(digits).map_or(Value::Null, Value::bytes)
}

/// Converts a number from one base to another. A negative base has signed numbers.
fn conv(args: &CallArgs<'_>, from: i64, to: i64) -> Value {
    let text = args.text(0);
    let radix = |base: i64| u32::try_from(base.unsigned_abs()).ok().filter(|base| (2..=36).contains(base));
    let (Some(from_radix), Some(radix)) = (radix(from), radix(to)) else { return Value::Null };
    if text.is_empty() {
        return Value::Null;
    }
    let bits = leading_digits(&text, from_radix, from < 0);
    let signed = bits.cast_signed();
    let (sign, magnitude) = if to < 0 && signed < 0 { ("-", signed.unsigned_abs()) } else { ("", bits) };
    Value::Text(format!("{sign}{}", in_base(magnitude, radix)))
}

/// The 64 bits of the number at the start of a string; the greatest if it is too large.
fn leading_digits(text: &str, radix: u32, signed: bool) -> u64 {
    let text = text.trim_start();
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = digits.chars().map_while(|c| c.to_digit(radix));
    let number = digits.fold(0_u128, |number, digit| {
        number.saturating_mul(radix.into()).saturating_add(digit.into()).min(u128::from(u64::MAX) + 1)
    });
    let most = match (signed, negative) {
        (false, _) => u64::MAX,
        (true, false) => i64::MAX.cast_unsigned(),
        (true, true) => i64::MIN.unsigned_abs(),
    };
    match u64::try_from(number) {
        Ok(number) if number <= most => {
            if negative {
                number.wrapping_neg()
            } else {
                number
            }
        }
        _ => most,
    }
}

fn in_base(mut number: u64, radix: u32) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % u64::from(radix)).unwrap_or(0);
        digits.push(char::from_digit(digit, radix).unwrap_or('0').to_ascii_uppercase());
        number /= u64::from(radix);
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

/// The most digits after the point.
const MAX_DIGITS: i64 = 30;

/// `FORMAT(number, digits)` in English, the only supported locale.
fn format(args: &CallArgs<'_>) -> EvalResult {
    if args.values.len() > 2 {
        check_locale(args)?;
    }
    let digits = u32::try_from(args.int(1).clamp(0, MAX_DIGITS)).unwrap_or(0);
    let text = match args.values[0].to_number() {
        Some(Number::Exact(number)) => number.with_scale(digits).unwrap_or(number).to_string(),
        _ => format!("{:.*}", digits as usize, super::number::rounded(args.double(0), digits.into(), false)),
    };
    Ok(Value::Text(grouped(&text)))
}

/// A locale that MySQL does not know either is replaced by English, with a warning.
fn check_locale(args: &CallArgs<'_>) -> Result<(), SqlError> {
    let locale = args.text(2);
    match locale.split_once('_') {
        Some((language, _)) if language.eq_ignore_ascii_case("en") => Ok(()),
        Some(_) => Err(SqlError::NoSuchThing(format!("it has no number format for the locale {locale}"))),
        None => {
            args.warn(Warning::of_value(&SqlError::UnknownLocale(locale)));
            Ok(())
        }
    }
}

/// Inserts a comma after each three digits before the point.
fn grouped(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let whole = text.find('.').unwrap_or(text.len());
    let mut grouped = sign.to_owned();
    for (at, digit) in text[..whole].chars().enumerate() {
        if at > 0 && (whole - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &text[whole..]
}

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

fn format_bytes(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, None);
    for name in UNITS {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = Some(name);
    }
    match unit {
        None => format!("{:>4} bytes", value.trunc()),
        Some(unit) if value.abs() >= 100_000.0 => format!("{} {unit}", scientific(value)),
        Some(unit) => format!("{value:.2} {unit}"),
    }
}

/// The format of C: `1.00e+05`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_bytes_have_units() {
        assert_eq!(grouped("1234567.89"), "1,234,567.89");
        assert_eq!(grouped("-123"), "-123");
        assert_eq!(format_bytes(512.0), " 512 bytes");
        assert_eq!(format_bytes(18_446_644_073_709_551_615.0), "16.00 EiB");
    }

    #[test]
    fn base_conversion_wraps_as_in_mysql() {
        assert_eq!(leading_digits("6E", 18, false), 122);
        assert_eq!(leading_digits("-17", 10, false), 0_u64.wrapping_sub(17));
        assert_eq!(leading_digits("99999999999999999999999", 10, false), u64::MAX);
        assert_eq!(in_base(255, 16), "FF");
        assert_eq!(hex_digits(b"\x00\x1F\xA0\xFF"), "001FA0FF");
    }
}
