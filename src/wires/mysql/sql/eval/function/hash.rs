//! Hashes and checksums.

use sha1::Digest;

use super::CallArgs;
use crate::wires::mysql::{error::Warning, sql::builtin::Function, value::Value};

pub(super) fn value(args: &CallArgs<'_>) -> Option<Value> {
    let bytes = || args.bytes(0);
    Some(match args.function {
        Function::Md5 => digest(&md5::compute(&*bytes()).0),
        Function::Sha1 => digest(&sha1::Sha1::digest(&*bytes())),
        Function::Sha2 => sha2(args),
        Function::Crc32 => Value::UInt(crc32(&bytes()).into()),
        _ => return None,
    })
}

fn sha2(args: &CallArgs<'_>) -> Value {
    let bytes = args.bytes(0);
    match args.int(1) {
        224 => digest(&sha2::Sha224::digest(&*bytes)),
        0 | 256 => digest(&sha2::Sha256::digest(&*bytes)),
        384 => digest(&sha2::Sha384::digest(&*bytes)),
        512 => digest(&sha2::Sha512::digest(&*bytes)),
        _ => {
            args.warn(Warning::new(1583, "Incorrect parameters in the call to native function 'sha2'"));
            Value::Null
        }
    }
}

fn digest(bytes: &[u8]) -> Value {
    Value::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The CRC-32 remainders of all bytes (ISO 3309).
const REMAINDERS: [u32; 256] = {
    let mut remainders = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is one of 256")]
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = if remainder & 1 == 1 { 0xEDB8_8320 } else { 0 };
            remainder = remainder >> 1 ^ carry;
            bit += 1;
        }
        remainders[byte] = remainder;
        byte += 1;
    }
    remainders
};

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        sum >> 8 ^ REMAINDERS[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_the_manual() {
        assert_eq!(crc32(b"MySQL"), 3_259_397_556);
        assert_eq!(crc32(b"mysql"), 2_501_908_538);
        assert_eq!(crc32(b""), 0);
    }
}
