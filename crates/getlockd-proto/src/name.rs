//! What may be the name of a lock, and which names are the same.

use std::{error::Error, fmt};

/// The most characters a name may have (protocol.md, "Names"; MySQL manual 14.14).
pub const MAX_NAME_CHARS: usize = 64;

/// Why a string is not a valid name. Each message names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// No character at all.
    Empty,
    /// More than [`MAX_NAME_CHARS`] characters.
    TooLong(usize),
    /// A NUL character.
    Nul,
    /// Bytes that are not UTF-8.
    NotUtf8,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty; use 1 to 64 characters"),
            Self::TooLong(chars) => {
                write!(f, "the name has {chars} characters; use at most {MAX_NAME_CHARS}")
            }
            Self::Nul => f.write_str("a name cannot contain NUL; remove it"),
            Self::NotUtf8 => f.write_str("the name is not valid UTF-8; send UTF-8"),
        }
    }
}

impl Error for NameError {}

/// Checks a name.
///
/// # Errors
/// [`NameError`] when `text` is empty, too long or contains NUL.
pub fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_CHARS {
        let chars = text.chars().count();
        if chars > MAX_NAME_CHARS {
            return Err(NameError::TooLong(chars));
        }
    }
    if text.as_bytes().contains(&0) { Err(NameError::Nul) } else { Ok(()) }
}

/// Lower-cases a name. Names with the same result are the same lock.
///
/// # Errors
/// As [`check`].
pub fn folded<T: FromIterator<char>>(text: &str) -> Result<T, NameError> {
    check(text)?;
    Ok(lower(text))
}

/// Lower-cases any text as [`folded`] does a name: for a search by a name in texts that are not names.
pub fn lower<T: FromIterator<char>>(text: &str) -> T {
    text.chars().map(fold).collect()
}

/// Maps one character to lower case, by the table of MySQL's `utf8mb3_general_ci`.
///
/// That table is from Unicode 3.0. Cased letters that were added later stay unchanged, so that a name
/// means the same lock on every wire.
fn fold(c: char) -> char {
    let folds = FOLDED.iter().any(|range| range.contains(&u32::from(c)));
    if folds { c.to_lowercase().next().unwrap_or(c) } else { c }
}

/// Where that table has letters that change; measured against a real server for every character.
const FOLDED: [std::ops::RangeInclusive<u32>; 18] = [
    0x0041..=0x021E,
    0x0222..=0x0232,
    0x0386..=0x03AB,
    0x03DA..=0x03EE,
    0x0400..=0x0480,
    0x048C..=0x04BE,
    0x04C1..=0x04C3,
    0x04C7..=0x04C7,
    0x04CB..=0x04CB,
    0x04D0..=0x04F4,
    0x04F8..=0x04F8,
    0x0531..=0x0556,
    0x1E00..=0x1E94,
    0x1EA0..=0x1EF8,
    0x1F08..=0x212B,
    0x2160..=0x216F,
    0x24B6..=0x24CF,
    0xFF21..=0xFF3A,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/data/utf8mb3_lower.tsv` lists every character that a real server's `LOWER()` changes.
    #[test]
    fn folding_matches_mysql_for_every_bmp_character() {
        let table: std::collections::HashMap<char, char> =
            include_str!("../../../tests/data/utf8mb3_lower.tsv")
                .lines()
                .filter_map(|line| line.split_once('\t'))
                .map(|(from, to)| (hex(from), hex(to)))
                .collect();
        assert_eq!(table.len(), 696);
        for c in (1..=0xFFFF).filter_map(char::from_u32) {
            assert_eq!(fold(c), table.get(&c).copied().unwrap_or(c), "U+{:04X}", u32::from(c));
        }
    }

    fn hex(code: &str) -> char {
        char::from_u32(u32::from_str_radix(code.trim(), 16).unwrap()).unwrap()
    }
}
