//! The name of a lock: checked and folded once, and always valid afterwards.

use std::{
    cmp::Ordering,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    sync::LazyLock,
};

use getlockd_proto::name::{self, MAX_NAME_CHARS, NameError};
use smol_str::SmolStr;

use crate::core::sync::RandomState;

/// A lock name: 1 to [`MAX_NAME_CHARS`] characters, folded to lower case.
///
/// Two names are the same lock if they differ only in case. Accents and blanks are significant. A name is cheap to
/// clone, and up to 23 bytes need no allocation. It carries its hash: see [`Hashed`].
#[derive(Clone)]
pub struct Name {
    hash: u64,
    text: SmolStr,
}

impl Name {
    /// Checks `text` and folds it to lower case.
    ///
    /// # Errors
    /// [`NameError`] if `text` is empty, too long or contains NUL.
    pub fn new(text: &str) -> Result<Self, NameError> {
        /// Clients choose the names, but with this process's key they cannot choose the hashes.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let is_folded = |byte| matches!(byte, 1..b'A' | b'['..=0x7F);
        let is_plain = (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(is_folded);
        let text = if is_plain { SmolStr::new(text) } else { name::folded(text)? };
        Ok(Self { hash: KEY.hash_one(text.as_bytes()), text })
    }

    /// Like [`Name::new`], from bytes that a client sent.
    ///
    /// # Errors
    /// [`NameError`], also if `bytes` is not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8).and_then(Self::new)
    }

    /// The folded name.
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

/// A hasher for maps whose keys are names: it takes the hash that the name got when it was made, so that a name is
/// hashed once, however many maps it is looked up in.
pub type Hashed = BuildHasherDefault<KnownHash>;

/// The state of [`Hashed`].
#[derive(Debug, Default)]
pub struct KnownHash(u64);

impl Hasher for KnownHash {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Names write only a u64. Other keys would work too, only slower.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        Name::new(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn names_ignore_case_but_not_accents_or_blanks() {
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
    fn name_has_1_to_64_characters() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        for c in ["a", "é", "語", "😀"] {
            assert!(Name::new(&c.repeat(64)).is_ok());
            assert_eq!(Name::new(&c.repeat(65)), Err(NameError::TooLong(65)));
        }
        assert_eq!(Name::new("a\0b"), Err(NameError::Nul));
        assert_eq!(Name::from_bytes(b"\xff"), Err(NameError::NotUtf8));
    }
}
