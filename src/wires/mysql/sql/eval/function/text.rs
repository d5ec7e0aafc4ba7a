//! Functions that build strings, find one in another, or compare two. Strings are compared without case, bytes exactly.

use std::{borrow::Cow, cmp::Ordering};

use super::{CallArgs, clamp, length};
use crate::wires::mysql::{
    sql::builtin::Function,
    value::{Value, folded},
};

pub(super) fn value(args: &CallArgs<'_>) -> Option<Value> {
    let text = |at: usize| args.text(at);
    Some(match args.function {
        Function::ConcatWs => concat_ws(args),
        Function::Char => characters(args),
        Function::Substring => {
            let length = (args.values.len() == 3).then(|| args.int(2));
            args.made(substring(&text(0), args.int(1), length))
        }
        Function::Left => args.made(text(0).chars().take(clamp(args.int(1))).collect()),
        Function::Right => {
            let skip = text(0).chars().count().saturating_sub(clamp(args.int(1)));
            args.made(text(0).chars().skip(skip).collect())
        }
        // What has no character set has no case.
        Function::Lower | Function::Upper if args.is_binary() => args.made(text(0)),
        Function::Lower => Value::Text(text(0).chars().map(lower).collect()),
        Function::Upper => Value::Text(text(0).chars().map(upper).collect()),
        Function::Trim | Function::Ltrim | Function::Rtrim => trim(args),
        Function::Lpad | Function::Rpad => pad(args),
        Function::Space => {
            let count = clamp(args.int(0));
            args.bounded(count, || Value::Text(" ".repeat(count)))
        }
        Function::Reverse => args.made(text(0).chars().rev().collect()),
        Function::Replace => replace(args),
        Function::Repeat => repeat(args),
        Function::Insert => insert(args),
        Function::SubstringIndex => args.made(substring_index(&text(0), &text(1), args.int(2))),
        Function::Quote => quote(args),
        Function::Soundex => Value::Text(soundex(&text(0))),
        Function::Length => length(args.bytes(0).len()),
        Function::BitLength => length(args.bytes(0).len() * 8),
        Function::CharLength => length(text(0).chars().count()),
        Function::LoadFile => Value::Null,
        _ => return None,
    })
}

/// None of the arguments is NULL.
pub(in crate::wires::mysql::sql) fn concat(args: &CallArgs<'_>) -> Value {
    joined(args, &[], 0)
}

/// MySQL converts one character to one, wherever it is.
fn lower(character: char) -> char {
    character.to_lowercase().next().unwrap_or(character)
}

/// A character that would become several, such as `ß`, is unchanged.
fn upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    if upper.len() == 1 { upper.next().unwrap_or(character) } else { character }
}

fn concat_ws(args: &CallArgs<'_>) -> Value {
    if args.values[0].is_null() {
        return Value::Null;
    }
    joined(args, &args.bytes(0), 1)
}

/// The arguments from this one on that are not NULL.
fn joined(args: &CallArgs<'_>, separator: &[u8], from: usize) -> Value {
    let parts: Vec<_> = args.values[from..].iter().filter_map(Value::to_bytes).collect();
    let size = parts.iter().map(|part| part.len() + separator.len()).sum::<usize>();
    args.bounded(size.saturating_sub(separator.len()), || {
        let joined = parts.join(separator);
        if args.is_binary() {
            return Value::bytes(joined);
        }
        String::from_utf8(joined).map_or_else(|error| Value::bytes(error.into_bytes()), Value::Text)
    })
}

/// `CHAR(77, 121)`: each number becomes one byte or more.
fn characters(args: &CallArgs<'_>) -> Value {
    let known = (0..args.values.len()).filter(|at| !args.values[*at].is_null());
    let bytes = known.flat_map(|at| {
        let bytes = args.int(at).to_be_bytes();
        let start = bytes[4..].iter().position(|byte| *byte != 0).unwrap_or(3);
        bytes[4 + start..].to_vec()
    });
    Value::bytes(bytes.collect())
}

fn substring(text: &str, from: i64, length: Option<i64>) -> String {
    let start = match from {
        1.. => clamp(from) - 1,
        0 => return String::new(),
        _ => match text.chars().count().checked_sub(clamp(from.saturating_neg())) {
            Some(start) => start,
            None => return String::new(),
        },
    };
    text.chars().skip(start).take(length.map_or(usize::MAX, clamp)).collect()
}

/// Removes repetitions at the ends: of blanks, or of the second argument.
fn trim(args: &CallArgs<'_>) -> Value {
    let (text, what) = (args.text(0), if args.values.len() > 1 { args.text(1) } else { " ".to_owned() });
    if what.is_empty() {
        return args.made(text);
    }
    let mut left = &text[..];
    if args.function != Function::Rtrim {
        left = left.trim_start_matches(&*what);
    }
    if args.function != Function::Ltrim {
        left = left.trim_end_matches(&*what);
    }
    args.made(left.to_owned())
}

/// A string of this many characters: cut, or padded on the left or right.
fn pad(args: &CallArgs<'_>) -> Value {
    let Ok(count) = usize::try_from(args.int(1)) else { return Value::Null };
    let (text, with) = (args.text(0), args.text(2));
    let has = text.chars().count();
    if count <= has {
        return args.made(text.chars().take(count).collect());
    }
    // As MySQL counts: characters may be as wide as any.
    let width = if args.is_binary() { 1 } else { args.env.system.settings().client_charset.width() as usize };
    args.bounded(count.saturating_mul(width), || {
        if with.is_empty() {
            return args.made(String::new());
        }
        let padding: String = with.chars().cycle().take(count - has).collect();
        args.made(if args.function == Function::Lpad { padding + &text } else { text + &padding })
    })
}

fn replace(args: &CallArgs<'_>) -> Value {
    let (text, from, to) = (args.text(0), args.text(1), args.text(2));
    if from.is_empty() {
        return args.made(text);
    }
    let size = text.len().saturating_add(text.matches(&*from).count().saturating_mul(to.len()));
    args.bounded(size, || args.made(text.replace(&*from, &to)))
}

fn repeat(args: &CallArgs<'_>) -> Value {
    let (text, times) = (args.text(0), clamp(args.int(1)));
    args.bounded(text.len().saturating_mul(times), || args.made(text.repeat(times)))
}

/// `INSERT(text, position, length, other)`: a position outside of the string changes nothing.
fn insert(args: &CallArgs<'_>) -> Value {
    let (text, other) = (args.text(0), args.text(3));
    let (from, length) = (args.int(1), args.int(2));
    let count = text.chars().count();
    if from < 1 || clamp(from) > count {
        return args.made(text);
    }
    let from = clamp(from) - 1;
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(count - from);
    args.bounded(text.len() + other.len(), || {
        let head = text.chars().take(from).chain(other.chars());
        args.made(head.chain(text.chars().skip(from + length)).collect())
    })
}

/// The part before the delimiter of this number, or after it if the number is negative.
fn substring_index(text: &str, delimiter: &str, count: i64) -> String {
    if delimiter.is_empty() || count == 0 {
        return String::new();
    }
    let nth = clamp(count.saturating_abs()) - 1;
    if count > 0 {
        let end = text.match_indices(delimiter).nth(nth).map_or(text.len(), |(at, _)| at);
        return text[..end].to_owned();
    }
    let start = text.rmatch_indices(delimiter).nth(nth).map_or(0, |(at, _)| at + delimiter.len());
    text[start..].to_owned()
}

/// A string as an SQL literal.
fn quote(args: &CallArgs<'_>) -> Value {
    if args.values[0].is_null() {
        return Value::text("NULL");
    }
    let text = args.text(0);
    let escapes = text.chars().filter(|c| matches!(c, '\0' | '\u{1a}' | '\'' | '\\')).count();
    args.bounded(text.len() + escapes + 2, || {
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push('\'');
        for c in text.chars() {
            match c {
                '\0' => quoted.push_str("\\0"),
                '\u{1a}' => quoted.push_str("\\Z"),
                '\'' | '\\' => quoted.extend(['\\', c]),
                c => quoted.push(c),
            }
        }
        quoted.push('\'');
        args.made(quoted)
    })
}

/// The code of each letter from A to Z; letters with `0` are skipped.
const SOUNDS: &[u8; 26] = b"01230120022455012623010202";

/// The sound of a string in English, of any length: MySQL drops repetitions before it drops vowels.
fn soundex(text: &str) -> String {
    let code = |c: char| match c.to_ascii_uppercase() {
        letter @ 'A'..='Z' => SOUNDS[letter as usize - 'A' as usize],
        _ => b'0',
    };
    let mut letters = text.chars().filter(|c| c.is_alphabetic());
    let Some(first) = letters.next() else { return String::new() };
    let mut sound = first.to_ascii_uppercase().to_string();
    let mut last = code(first);
    for c in letters {
        let code = code(c);
        if code != b'0' && code != last {
            sound.push(char::from(code));
            last = code;
        }
    }
    while sound.chars().count() < 4 {
        sound.push('0');
    }
    sound
}

pub(super) fn search(args: &CallArgs<'_>) -> Option<Value> {
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

/// A string in the form in which it is compared.
fn comparable<'t>(args: &CallArgs<'_>, text: &'t str) -> Cow<'t, str> {
    if args.is_binary() { text.into() } else { folded(text).into() }
}

/// The position of one string in another, from character `from` on, counted from 1; 0 if it is not found.
fn locate(args: &CallArgs<'_>, part: &str, text: &str, from: i64) -> usize {
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

/// The position of a string in a list with commas.
fn find_in_set(args: &CallArgs<'_>) -> usize {
    let (text, set) = (args.text(0), args.text(1));
    let (text, set) = (comparable(args, &text), comparable(args, &set));
    if set.is_empty() || text.contains(',') {
        return 0;
    }
    set.split(',').position(|member| member == text).map_or(0, |at| at + 1)
}

/// The bytes of the first character, as a number.
fn ord(args: &CallArgs<'_>) -> Value {
    let first = args.text(0).chars().next();
    let Some(first) = first else { return Value::Int(0) };
    if args.is_binary() {
        return Value::Int(u32::from(first).into());
    }
    let mut bytes = [0; 4];
    let number = first.encode_utf8(&mut bytes).bytes().fold(0, |number, byte| number << 8 | i64::from(byte));
    Value::Int(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soundex_matches_the_manual() {
        for (text, sound) in [("Hello", "H400"), ("Quadratically", "Q36324"), ("", ""), ("1a", "A000")] {
            assert_eq!(soundex(text), sound, "{text}");
        }
    }

    #[test]
    fn substring_index_counts_from_either_end() {
        assert_eq!(substring_index("www.mysql.com", ".", 2), "www.mysql");
        assert_eq!(substring_index("www.mysql.com", ".", -2), "mysql.com");
        assert_eq!(substring_index("www", ".", 5), "www");
        assert_eq!(substring("Quadratically", 5, Some(6)), "ratica");
        assert_eq!(substring("Sakila", -5, Some(3)), "aki");
        assert_eq!(substring("Sakila", -9, None), "");
    }
}
