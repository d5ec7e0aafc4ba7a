//! The name of a lock: checked and folded once, never invalid afterwards.

use std::{
    cmp::Ordering,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    sync::LazyLock,
};

use smol_str::SmolStr;

use crate::sync::RandomState;

/// The most characters a name may have (protocol.md, "Names"; MySQL manual 14.14).
pub const MAX_NAME_CHARS: usize = 64;

/// A lock's name: 1 to [`MAX_NAME_CHARS`] characters, lower-cased.
///
/// Two names are one lock when they differ only in case. Accents and blanks are significant.
/// Cheap to clone; up to 23 bytes need no allocation. It knows its hash: see [`Hashed`].
#[derive(Clone)]
pub struct Name {
    hash: u64,
    text: SmolStr,
}

/// Why a text is not a [`Name`]. Each message names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a name has at least one character")]
    Empty,
    /// More than [`MAX_NAME_CHARS`] characters.
    #[error("a name has at most {MAX_NAME_CHARS} characters, this one has {0}")]
    TooLong(usize),
    /// A NUL character.
    #[error("a name cannot contain the NUL character")]
    Nul,
    /// Bytes that are not UTF-8.
    #[error("a name is UTF-8 text, this one is not")]
    NotUtf8,
}

impl Name {
    /// Checks `text` and folds it to lower case.
    ///
    /// # Errors
    /// [`NameError`] when `text` is empty, too long or contains NUL.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let is_plain = |b| matches!(b, 1..b'A' | b'['..=0x7F);
        if (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Self::folded(SmolStr::new(text)));
        }
        check(text)?;
        Ok(Self::folded(text.chars().map(fold).collect()))
    }

    fn folded(text: SmolStr) -> Self {
        /// Strangers choose the names: with a key of this process they cannot choose the hashes.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        Self { hash: KEY.hash_one(text.as_bytes()), text }
    }

    /// As [`Name::new`], from bytes that a client sent.
    ///
    /// # Errors
    /// [`NameError`], also when `bytes` is not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8).and_then(Self::new)
    }

    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// For maps whose keys are names: takes the hash that a name was given when it was made, so that a
/// name is hashed once, however many maps it is looked up in.
pub type Hashed = BuildHasherDefault<KnownHash>;

/// See [`Hashed`].
#[derive(Debug, Default)]
pub struct KnownHash(u64);

impl Hasher for KnownHash {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // No name comes here; other keys would still be told apart.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn check(text: &str) -> Result<(), NameError> {
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

/// One character to its lower case, as the table of MySQL's `utf8mb3_general_ci` has it.
///
/// That table is of Unicode 3.0: letters with a case that came later are left as they are, so that
/// a name means the same lock on the MySQL wire and on every other.
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

    fn name(text: &str) -> String {
        Name::new(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn case_does_not_matter_accents_and_blanks_do() {
        assert_eq!(name("NightLy"), "nightly");
        assert_eq!(name("ÀÉ"), name("àé"));
        assert_ne!(name("ÀÉ"), name("AE"));
        assert_eq!(name("Σ"), name("σ"));
        assert_ne!(name("σ"), name("ς"));
        assert_eq!(name("İ"), name("i"));
        assert_ne!(name("ß"), name("ẞ"));
        assert_ne!(name("ab "), name("ab"));
    }

    #[test]
    fn a_name_has_1_to_64_characters_however_many_bytes() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        for c in ["a", "é", "語", "😀"] {
            assert!(Name::new(&c.repeat(64)).is_ok());
            assert_eq!(Name::new(&c.repeat(65)), Err(NameError::TooLong(65)));
        }
        assert_eq!(Name::new("a\0b"), Err(NameError::Nul));
        assert_eq!(Name::from_bytes(b"\xff"), Err(NameError::NotUtf8));
    }

    /// `tests/data/utf8mb3_lower.tsv` lists every character that a real server's `LOWER()` changes.
    #[test]
    fn folding_is_the_servers_for_every_character_of_the_plane() {
        let table: std::collections::HashMap<char, char> = include_str!("../tests/data/utf8mb3_lower.tsv")
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
