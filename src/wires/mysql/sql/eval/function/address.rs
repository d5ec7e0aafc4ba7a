//! Internet addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::CallArgs;
use crate::wires::mysql::{sql::builtin::Function, value::Value};

pub(super) fn value(args: &CallArgs<'_>) -> Option<Value> {
    Some(match args.function {
        Function::InetAton => {
            inet_aton(&args.text(0)).map_or_else(|| args.wrong_value("string", 0), Value::UInt)
        }
        Function::InetNtoa => match u32::try_from(args.int(0)) {
            Ok(number) => Value::Text(Ipv4Addr::from(number).to_string()),
            Err(_) => args.wrong_value("integer", 0),
        },
        Function::Inet6Aton => match address(args) {
            Some(Address::V4(address)) => Value::bytes(address.octets().into()),
            Some(Address::V6(address)) => Value::bytes(address.octets().into()),
            None => args.wrong_value("string", 0),
        },
        Function::Inet6Ntoa => match packed(args) {
            Some(Address::V4(address)) => Value::Text(address.to_string()),
            Some(Address::V6(address)) => Value::Text(format_v6(address)),
            None => args.wrong_value("string", 0),
        },
        Function::IsIpv4 => matches!(address(args), Some(Address::V4(_))).into(),
        Function::IsIpv6 => matches!(address(args), Some(Address::V6(_))).into(),
        Function::IsIpv4Compat => {
            of_v6(args, |octets| octets[..12] == [0; 12] && octets[12..] > [0, 0, 0, 1][..])
        }
        Function::IsIpv4Mapped => {
            of_v6(args, |octets| octets[..10] == [0; 10] && octets[10..12] == [0xFF, 0xFF])
        }
        _ => return None,
    })
}

enum Address {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// The address as a string.
fn address(args: &CallArgs<'_>) -> Option<Address> {
    if !matches!(args.values[0], Value::Text(_) | Value::Bytes { .. }) {
        return None;
    }
    let text = args.text(0);
    let v4 = text.parse().map(Address::V4).ok();
    v4.or_else(|| text.parse().map(Address::V6).ok())
}

/// The address as bytes.
fn packed(args: &CallArgs<'_>) -> Option<Address> {
    let Value::Bytes { bytes, .. } = &args.values[0] else { return None };
    let v4 = <[u8; 4]>::try_from(&**bytes).map(|octets| Address::V4(octets.into())).ok();
    v4.or_else(|| <[u8; 16]>::try_from(&**bytes).map(|octets| Address::V6(octets.into())).ok())
}

/// As in MySQL, only addresses in the last 96 bits are written with the four numbers of IPv4.
fn format_v6(address: Ipv6Addr) -> String {
    let octets = address.octets();
    let is_compatible = octets[..12] == [0; 12] && octets[12..14] != [0, 0];
    if is_compatible {
        let [.., a, b, c, d] = octets;
        return format!("::{a}.{b}.{c}.{d}");
    }
    address.to_string()
}

/// Whether 16 bytes are an IPv6 address of a kind; false for IPv4 addresses and anything else.
fn of_v6(args: &CallArgs<'_>, is: impl Fn(&[u8; 16]) -> bool) -> Value {
    match packed(args) {
        Some(Address::V6(address)) => is(&address.octets()).into(),
        _ => false.into(),
    }
}

/// `127.1` is 127.0.0.1: omitted numbers are zeros before the last one.
fn inet_aton(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text
        .split('.')
        .map(|part| {
            part.parse().ok().filter(|number| *number <= 255 && part.bytes().all(|c| c.is_ascii_digit()))
        })
        .collect::<Option<_>>()?;
    let (last, head) = parts.split_last()?;
    if head.len() > 3 {
        return None;
    }
    let head = head.iter().zip([24, 16, 8]).map(|(number, shift)| number << shift).sum::<u64>();
    Some(head + last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_are_padded_before_the_last_part() {
        for (text, number) in [
            ("10.0.5.9", Some(167_773_449)),
            ("127.1", Some(0x7F00_0001)),
            ("127.0.1", Some(0x7F00_0001)),
            ("1.2.3.4.5", None),
            ("256.1.1.1", None),
            ("1..2", None),
            ("", None),
        ] {
            assert_eq!(inet_aton(text), number, "{text}");
        }
        assert_eq!(format_v6("fdfe::5a55:caff:fefa:9089".parse().unwrap()), "fdfe::5a55:caff:fefa:9089");
        assert_eq!(format_v6("::ffff:1.2.3.4".parse().unwrap()), "::ffff:1.2.3.4");
        assert_eq!(format_v6("::1.2.3.4".parse().unwrap()), "::1.2.3.4");
    }
}
