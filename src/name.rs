//! The name of a lock: checked and folded once, and always valid afterwards.

use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    sync::LazyLock,
};

use getlockd_proto::name::{self, MAX_NAME_CHARS, NameError};
use smol_str::{SmolStr, format_smolstr};

use crate::core::sync::RandomState;

/// Clients choose the names, but with this process's key they cannot choose the hashes.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A lock name: 1 to [`MAX_NAME_CHARS`] characters, folded to lower case. Or a name in a [`Namespace`], which is not folded.
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
        let is_folded = |byte| matches!(byte, 1..b'A' | b'['..=0x7F);
        let is_plain = (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(is_folded);
        let text = if is_plain { SmolStr::new(text) } else { name::folded(text)? };
        Ok(Self { hash: KEY.hash_one(text.as_bytes()), text })
    }

    /// Any text, as it is.
    fn unfolded(text: SmolStr) -> Self {
        Self { hash: KEY.hash_one(text.as_bytes()), text }
    }

    /// Like [`Name::new`], from bytes that a client sent.
    ///
    /// # Errors
    /// [`NameError`], also if `bytes` is not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8).and_then(Self::new)
    }

    /// A name in a namespace: 1 to [`MAX_NAME_CHARS`] characters, in which case counts.
    ///
    /// # Errors
    /// [`NameError`] if `text` is empty, too long or contains NUL.
    pub fn in_namespace(namespace: &Namespace, text: &str) -> Result<Self, NameError> {
        name::check(text)?;
        Ok(Self::unfolded(format_smolstr!("{}{text}", namespace.0)))
    }

    /// A name as lists show it, which is [`Name::as_str`]: folded, unless it is in a namespace.
    ///
    /// # Errors
    /// [`NameError`] if no list shows that.
    pub fn from_shown(text: &str) -> Result<Self, NameError> {
        match split(text) {
            Some((namespace, name)) => Self::in_namespace(&Namespace::new(&namespace)?, name),
            None => Self::new(text),
        }
    }

    /// What names begin with: as it is if it is the beginning of names in namespaces, and else folded.
    ///
    /// # Errors
    /// [`NameError`] if no name begins so.
    pub fn prefix(text: &str) -> Result<Self, NameError> {
        if text.starts_with(IN_NAMESPACES) { Ok(Self::unfolded(SmolStr::new(text))) } else { Self::new(text) }
    }

    /// What all names in namespaces begin with.
    pub fn in_namespaces() -> Self {
        Self::unfolded(SmolStr::new_static(IN_NAMESPACES))
    }

    /// Whether a folded text occurs in it. Of a name in a namespace, case does not count for that.
    pub fn has(&self, folded: &str) -> bool {
        if self.is_in_namespace() {
            name::lower::<String>(&self.text).contains(folded)
        } else {
            self.text.contains(folded)
        }
    }

    /// Whether it is in a namespace.
    pub fn is_in_namespace(&self) -> bool {
        self.text.starts_with(IN_NAMESPACES)
    }

    /// Its namespace and its name there; none if it is in no namespace.
    pub fn namespace_and_name(&self) -> Option<(Cow<'_, str>, &str)> {
        split(&self.text)
    }

    /// The name as it is shown: folded, or `SERVICE:namespace:name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What the names of locks in namespaces begin with. Folded names have no upper-case ASCII letters, so none begins so.
const IN_NAMESPACES: &str = "SERVICE:";

/// A namespace of locks. MySQL's Locking Service has such: its names are not folded, and are released together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(
    /// What the names in it begin with. A colon in the namespace itself is escaped, so that it ends at the next one.
    SmolStr,
);

impl Namespace {
    /// Checks `text`, of which every byte counts.
    ///
    /// # Errors
    /// [`NameError`] if `text` is empty, too long or contains NUL.
    pub fn new(text: &str) -> Result<Self, NameError> {
        name::check(text)?;
        let escaped = text.replace('%', "%25").replace(':', "%3A");
        Ok(Self(format_smolstr!("{IN_NAMESPACES}{escaped}:")))
    }

    /// Whether the name is in it.
    pub fn contains(&self, name: &Name) -> bool {
        name.text.starts_with(self.0.as_str())
    }
}

/// The namespace and the name there, of a name in a namespace.
fn split(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let (namespace, name) = text.strip_prefix(IN_NAMESPACES)?.split_once(':')?;
    let is_escaped = namespace.contains('%');
    let namespace =
        if is_escaped { namespace.replace("%3A", ":").replace("%25", "%").into() } else { namespace.into() };
    Some((namespace, name))
}

/// These names in their order, each once. There are few: every pair is compared.
pub(crate) fn distinct<N: PartialEq>(names: impl IntoIterator<Item = N>) -> Vec<N> {
    let mut once = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    once
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

    #[test]
    fn name_in_a_namespace_is_kept_as_it_is() {
        for (namespace, text, shown) in [
            ("ns", "Lock1", "SERVICE:ns:Lock1"),
            ("NS", "a:b c", "SERVICE:NS:a:b c"),
            ("a:b", "c", "SERVICE:a%3Ab:c"),
            ("%3A", "100%", "SERVICE:%253A:100%"),
            ("SERVICE:", "SERVICE:", "SERVICE:SERVICE%3A:SERVICE:"),
        ] {
            let name = Name::in_namespace(&Namespace::new(namespace).unwrap(), text).unwrap();
            assert_eq!(name.as_str(), shown);
            assert!(name.is_in_namespace());
            assert_eq!(Name::from_shown(shown).unwrap(), name);
            assert_eq!(name.namespace_and_name(), Some((namespace.into(), text)));
            assert_ne!(Name::new(shown).ok(), Some(name), "no client can call an ordinary lock so");
        }
    }

    #[test]
    fn namespace_contains_only_its_own_names() {
        let namespace = |text: &str| Namespace::new(text).unwrap();
        let name =
            |in_namespace: &str, text: &str| Name::in_namespace(&namespace(in_namespace), text).unwrap();
        assert!(namespace("a").contains(&name("a", "b:c")));
        assert!(!namespace("a:b").contains(&name("a", "b:c")));
        assert!(!namespace("a").contains(&name("A", "b")));
        assert!(!namespace("a").contains(&name("a ", "b")));
        assert!(!namespace("a").contains(&Name::new("SERVICE:a:b").unwrap()));
    }

    #[test]
    fn namespace_and_name_have_1_to_64_characters_each() {
        let (longest, namespace) = ("é".repeat(64), Namespace::new("a").unwrap());
        assert!(Namespace::new(&longest).is_ok() && Name::in_namespace(&namespace, &longest).is_ok());
        for (text, error) in
            [("", NameError::Empty), (&*"a".repeat(65), NameError::TooLong(65)), ("a\0", NameError::Nul)]
        {
            assert_eq!(Namespace::new(text), Err(error));
            assert_eq!(Name::in_namespace(&namespace, text), Err(error));
        }
    }
}
