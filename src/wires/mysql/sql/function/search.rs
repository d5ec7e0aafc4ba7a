//! Where a text is in another, and how two compare. Texts are compared without regard to case, bytes as they are.

use std::{borrow::Cow, cmp::Ordering};

use super::{Args, clamp, length};
use crate::wires::mysql::{
    sql::functions::Function,
    value::{Value, folded},
};

pub(super) fn value(args: &Args<'_>) -> Option<Value> {
    Some(match args.function {
        Function::Locate => {
            let from = if args.values.len() > 2 { args.int(2) } else { 1 };
            length(locate(args, &args.text(0), &args.text(1), from))
        }
        Function::Instr => length(locate(args, &args.text(1), &args.text(0), 1)),
        Function::FindInSet => length(find_in_set(args)),
        Function::Strcmp => {
            let order = comparable(args, &args.text(0)).cmp(&comparable(args, &args.text(1)));
            Value::Int(match order {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            })
        }
        Function::Ascii => length(args.bytes(0).first().map_or(0, |byte| (*byte).into())),
        Function::Ord => ord(args),
        _ => return None,
    })
}

/// As it is compared.
fn comparable<'t>(args: &Args<'_>, text: &'t str) -> Cow<'t, str> {
    if args.is_binary() { text.into() } else { folded(text).into() }
}

/// At which character from `from` on the one is in the other, counted from 1; 0 if it is not.
fn locate(args: &Args<'_>, part: &str, text: &str, from: i64) -> usize {
    let count = text.chars().count();
    if from < 1 || clamp(from) > count + 1 {
        return 0;
    }
    let skip = clamp(from) - 1;
    if part.is_empty() {
        return skip + 1;
    }
    // Folding a character may make two of it, so each is folded by itself.
    let start = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
    let (part, tail) = (comparable(args, part), comparable(args, &text[start..]));
    tail.find(&*part).map_or(0, |at| skip + 1 + tail[..at].chars().count())
}

/// The place of a text in a list with commas.
fn find_in_set(args: &Args<'_>) -> usize {
    let (text, set) = (args.text(0), args.text(1));
    let (text, set) = (comparable(args, &text), comparable(args, &set));
    if set.is_empty() || text.contains(',') {
        return 0;
    }
    set.split(',').position(|member| member == text).map_or(0, |at| at + 1)
}

/// The bytes of the first character, as a number.
fn ord(args: &Args<'_>) -> Value {
    let first = args.text(0).chars().next();
    let Some(first) = first else { return Value::Int(0) };
    if args.is_binary() {
        return Value::Int(u32::from(first).into());
    }
    let mut bytes = [0; 4];
    let number = first.encode_utf8(&mut bytes).bytes().fold(0, |number, byte| number << 8 | i64::from(byte));
    Value::Int(number)
}
