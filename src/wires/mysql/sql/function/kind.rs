//! The types of what functions come to, as MySQL 8.4 declares them.

use super::super::{
    functions::Function,
    types::{Kind, MAX_TEXT, Type},
};

/// Of a function whose type is that of its arguments, or always the same.
pub(in crate::wires::mysql::sql) fn kind(function: Function, types: &[Type]) -> Type {
    let not_null = types.iter().all(|arg| arg.not_null);
    let length = |at: usize| types.get(at).map_or(0, |arg| arg.length);
    let all = types.iter().fold(0_u32, |sum, arg| sum.saturating_add(arg.length)).min(MAX_TEXT);
    let is_binary = types.iter().any(|arg| arg.kind == Kind::Bytes);
    let of_texts = |length: u32, not_null: bool| {
        Type::new(if is_binary { Kind::Bytes } else { Kind::Text }, length.min(MAX_TEXT), not_null)
    };
    match function {
        // Texts that are made of texts.
        Function::Substring
        | Function::Left
        | Function::Right
        | Function::Lower
        | Function::Upper
        | Function::Trim
        | Function::Ltrim
        | Function::Rtrim
        | Function::Reverse
        | Function::SubstringIndex => of_texts(length(0), not_null),
        Function::Concat => of_texts(all, not_null),
        Function::Insert => of_texts(length(0).saturating_add(length(3)), not_null),
        Function::Quote => of_texts(length(0).saturating_mul(2).saturating_add(2), not_null),
        Function::Elt => of_texts(types[1..].iter().map(|arg| arg.length).max().unwrap_or(0), false),
        Function::MakeSet => of_texts(all, not_null),
        Function::ExportSet => {
            let part = length(1).max(length(2)).saturating_add(if types.len() > 3 { length(3) } else { 1 });
            of_texts(part.saturating_mul(64), not_null)
        }
        Function::Repeat | Function::Replace | Function::ConcatWs | Function::Lpad | Function::Rpad => {
            of_texts(MAX_TEXT, false)
        }
        Function::RegexpSubstr | Function::RegexpReplace => of_texts(MAX_TEXT, false),
        Function::Space | Function::LoadFile => Type::text(MAX_TEXT),
        Function::Soundex => Type::new(Kind::Text, length(0).max(4), not_null),
        Function::CurrentRole => Type::text(MAX_TEXT),
        // Texts that are numbers or bytes.
        Function::Hex => Type::new(Kind::Text, length(0).saturating_mul(2), not_null),
        Function::Unhex => Type::new(Kind::Bytes, length(0).div_ceil(2), false),
        Function::ToBase64 => {
            let size = length(0).div_ceil(3).saturating_mul(4);
            Type::new(Kind::Text, size + size / 76, not_null)
        }
        Function::FromBase64 => Type::new(Kind::Bytes, length(0) / 4 * 3 + 3, false),
        Function::Conv | Function::Bin | Function::Oct => Type::text(64),
        Function::Format => Type::new(Kind::Text, length(0).saturating_add(length(0) / 3 + 31), not_null),
        Function::FormatBytes => Type::new(Kind::Text, 11, not_null),
        Function::Md5 => Type::new(Kind::Text, 32, not_null),
        Function::Sha1 => Type::new(Kind::Text, 40, not_null),
        Function::Sha2 => Type::text(128),
        Function::Uuid => Type::new(Kind::Text, 36, true),
        Function::BinToUuid => Type::text(36),
        Function::UuidToBin => Type::new(Kind::Bytes, 16, false),
        Function::RandomBytes => Type::new(Kind::Bytes, 1024, false),
        Function::InetNtoa => Type::text(15),
        Function::Inet6Ntoa => Type::text(39),
        Function::Inet6Aton => Type::new(Kind::Bytes, 16, false),
        Function::Char => {
            Type::new(Kind::Bytes, u32::try_from(types.len()).unwrap_or(0).saturating_mul(4), true)
        }
        // Whole numbers.
        Function::Length | Function::CharLength => Type::bigint(10, not_null),
        Function::BitLength | Function::Locate | Function::Instr => Type::bigint(11, not_null),
        Function::Ascii | Function::Field | Function::FindInSet => Type::bigint(3, not_null),
        Function::Ord => Type::bigint(7, not_null),
        Function::Strcmp | Function::BitCount => Type::bigint(2, not_null),
        Function::Interval => Type::bigint(2, true),
        Function::Sign => Type::bigint(21, not_null),
        Function::Crc32 => Type::new(Kind::Int { unsigned: true }, 10, not_null),
        Function::UuidShort => Type::unsigned(true),
        Function::InetAton => Type::unsigned(false),
        Function::RegexpInstr => Type::bigint(11, not_null),
        Function::RegexpLike | Function::IsUuid => Type::bigint(1, false),
        Function::IsIpv4 | Function::IsIpv6 | Function::IsIpv4Compat | Function::IsIpv4Mapped => {
            Type::bigint(1, true)
        }
        _ => number(function, types, not_null),
    }
}

fn number(function: Function, types: &[Type], not_null: bool) -> Type {
    let double = |not_null: bool| Type::new(Kind::Double, 23, not_null);
    let Some(first) = types.first() else {
        return match function {
            Function::Pi => Type::new(Kind::Rounded { digits: 6 }, 8, true),
            _ => double(true),
        };
    };
    let is_text = matches!(first.kind, Kind::Text | Kind::Bytes);
    match function {
        Function::Abs if is_text => double(not_null),
        Function::Abs => *first,
        Function::Ceiling | Function::Floor => match first.kind {
            Kind::Int { .. } => *first,
            Kind::Decimal { .. } | Kind::Null => Type::bigint(first.length, not_null),
            _ => double(not_null),
        },
        Function::Rand => double(true),
        // A sum of numbers is wider than each of them, and there may be none to sum up.
        Function::Sum | Function::Avg => match first.kind {
            Kind::Int { .. } | Kind::Decimal { .. } | Kind::Null => {
                let more = if function == Function::Avg { 4 } else { 0 };
                let digits = first.digits().saturating_add(more).min(30);
                Type::new(Kind::Decimal { digits }, first.length.saturating_add(22 + u32::from(more)), false)
            }
            _ => double(false),
        },
        Function::Min | Function::Max => Type { not_null: false, ..*first },
        Function::AnyValue => *first,
        Function::NameConst => types[1],
        _ => double(false),
    }
}

/// ROUND and TRUNCATE, by how many digits are wanted, if that is known.
pub(in crate::wires::mysql::sql) fn rounded(first: Type, places: Option<i64>, not_null: bool) -> Type {
    let places = u8::try_from(places.unwrap_or_else(|| first.digits().into()).clamp(0, 30)).unwrap_or(0);
    match first.kind {
        Kind::Int { .. } => Type { not_null, ..first },
        Kind::Decimal { digits } => {
            let length = first.length.saturating_sub(digits.into()).saturating_add(places.into());
            Type::new(Kind::Decimal { digits: places }, length, not_null)
        }
        _ => Type::new(Kind::Rounded { digits: places }, 23, not_null),
    }
}
