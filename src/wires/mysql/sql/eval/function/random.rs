//! Random numbers and unique identifiers.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use super::CallArgs;
use crate::wires::mysql::{
    clock,
    error::SqlError,
    sql::{builtin::Function, env::EvalResult},
    value::Value,
};

pub(super) fn value(args: &CallArgs<'_>) -> Option<EvalResult> {
    Some(match args.function {
        Function::Rand if args.values.is_empty() => random::<8>().map(|bytes| {
            // As many bits as a double has.
            #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
            let fraction = (u64::from_le_bytes(bytes) >> 11) as f64;
            Value::Double(fraction / 9_007_199_254_740_992.0)
        }),
        Function::Rand => Ok(Value::Double(seeded(args))),
        Function::RandomBytes => random_bytes(args),
        Function::Uuid => Ok(Value::Text(uuid_text(&time_based()))),
        Function::UuidShort => Ok(Value::UInt(short())),
        Function::IsUuid => Ok(parsed(&args.bytes(0)).is_some().into()),
        Function::UuidToBin => match parsed(&args.bytes(0)) {
            Some(uuid) => {
                Ok(Value::bytes(if swaps(args) { rearranged(uuid, HIGH_FIRST).into() } else { uuid.into() }))
            }
            None => Err(args.incorrect("string", 0).into()),
        },
        Function::BinToUuid => match <[u8; 16]>::try_from(&*args.bytes(0)) {
            Ok(uuid) => {
                Ok(Value::Text(uuid_text(&if swaps(args) { rearranged(uuid, LOW_FIRST) } else { uuid })))
            }
            Err(_) => Err(args.incorrect("string", 0).into()),
        },
        _ => return None,
    })
}

fn random<const N: usize>() -> EvalResult<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

fn fill(bytes: &mut [u8]) -> Result<(), SqlError> {
    getrandom::fill(bytes)
        .map_err(|_| SqlError::NoSuchThing("the operating system gave no random bytes; try again".to_owned()))
}

/// The largest result of `RANDOM_BYTES`, in bytes.
const MAX_RANDOM: i64 = 1024;

fn random_bytes(args: &CallArgs<'_>) -> EvalResult {
    let count = args.int(0);
    if !(1..=MAX_RANDOM).contains(&count) {
        return Err(SqlError::OutOfRange { kind: "length", place: args.function.name() }.into());
    }
    let mut bytes = vec![0; super::clamp(count)];
    fill(&mut bytes)?;
    Ok(Value::bytes(bytes))
}

/// The first number of MySQL's own sequence for this seed.
fn seeded(args: &CallArgs<'_>) -> f64 {
    const MAX: u64 = 0x3FFF_FFFF;
    let seed = if args.values[0].is_null() { 0 } else { args.int(0).cast_unsigned() & 0xFFFF_FFFF };
    let low = |number: u64| number & 0xFFFF_FFFF;
    let first = low(seed.wrapping_mul(0x1_0001).wrapping_add(55_555_555)) % MAX;
    let second = low(seed.wrapping_mul(0x1000_0001)) % MAX;
    #[expect(clippy::cast_precision_loss, reason = "30 bits are exact")]
    let fraction = ((first * 3 + second) % MAX) as f64 / MAX as f64;
    fraction
}

/// From 1582, where the time of a UUID begins, to 1970, in its units of 100 ns.
const GREGORIAN: u64 = 0x01B2_1DD2_1381_4000;

/// Clock sequence and node of this process: random, as RFC 9562 requires without a network address.
static NODE: LazyLock<[u8; 8]> = LazyLock::new(|| {
    let mut node = [0; 8];
    // Without them it still has its time.
    let _ = getrandom::fill(&mut node);
    node[0] = node[0] & 0x3F | 0x80;
    node[2] |= 1;
    node
});

/// Version 1, like MySQL's: each UUID has a time of its own.
fn time_based() -> [u8; 16] {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = clock::now().cast_unsigned() * 10 + GREGORIAN;
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    let time = now.max(last.unwrap_or(0) + 1).to_be_bytes();
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&time);
    uuid[8..].copy_from_slice(&*NODE);
    // Its low part comes first.
    let mut uuid = rearranged(uuid, LOW_FIRST);
    uuid[6] = uuid[6] & 0x0F | 0x10;
    uuid
}

/// Like MySQL's for server 1: each is one more than the last, starting with the second in which the first was asked
/// for.
fn short() -> u64 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let seconds = clock::now().cast_unsigned() / 1_000_000;
        AtomicU64::new(1 << 56 | (seconds & 0xFFFF_FFFF) << 24)
    });
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Five groups of digits.
pub(in crate::wires::mysql) fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts = [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]];
    parts.map(hex).join("-")
}

/// With hyphens, without them, or with hyphens in braces.
fn parsed(text: &[u8]) -> Option<[u8; 16]> {
    let text = match text {
        [b'{', inner @ .., b'}'] if inner.len() == 36 => inner,
        text => text,
    };
    let digits: Vec<u8> = match text.len() {
        32 => text.to_vec(),
        36 if [8, 13, 18, 23].iter().all(|at| text[*at] == b'-') => {
            text.iter().copied().filter(|c| *c != b'-').collect()
        }
        _ => return None,
    };
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    digits.chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn swaps(args: &CallArgs<'_>) -> bool {
    args.values.get(1).is_some_and(|_| args.int(1) != 0)
}

/// The positions of the time's bytes: with the high part first, UUIDs are in ascending order.
const HIGH_FIRST: [usize; 8] = [6, 7, 4, 5, 0, 1, 2, 3];
const LOW_FIRST: [usize; 8] = [4, 5, 6, 7, 2, 3, 0, 1];

fn rearranged(uuid: [u8; 16], order: [usize; 8]) -> [u8; 16] {
    let mut rearranged = uuid;
    for (at, from) in order.into_iter().enumerate() {
        rearranged[at] = uuid[from];
    }
    rearranged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_read_and_written() {
        let text = "6ccd780c-baba-1026-9564-5b8c656024db";
        let uuid = parsed(text.as_bytes()).unwrap();
        assert_eq!(uuid_text(&uuid), text);
        assert_eq!(uuid_text(&rearranged(uuid, HIGH_FIRST)), "1026baba-6ccd-780c-9564-5b8c656024db");
        assert_eq!(rearranged(rearranged(uuid, HIGH_FIRST), LOW_FIRST), uuid);
        assert_eq!(parsed(format!("{{{text}}}").as_bytes()), Some(uuid));
        assert_eq!(parsed(text.replace('-', "").as_bytes()), Some(uuid));
        assert_eq!(parsed(b"6ccd780c-baba-1026-9564-5b8c656024d"), None);
    }

    #[test]
    fn uuids_differ_and_are_version_1() {
        let (first, second) = (time_based(), time_based());
        assert_ne!(first, second);
        assert_eq!((first[6] >> 4, first[8] >> 6), (1, 2));
        assert_eq!(short() + 1, short());
    }
}
