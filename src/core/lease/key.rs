//! What a lease is asked for with: a secret, of which only a digest is kept.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The token of a lease: 128 bits from the system's random source, written as 32 hexadecimal digits.
#[derive(Clone)]
pub struct Secret(String);

/// The system gave no random bytes, or the text is none of 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease token has 32 hexadecimal digits")]
pub struct NotSecret;

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random bytes to give.
    pub fn random() -> Result<Self, NotSecret> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| NotSecret)?;
        Ok(Self::of_bytes(&bytes))
    }

    /// The one that a request stands for. Only who has this secret too can tell which it is: half of a digest over
    /// both, which cannot be gone on with.
    pub(super) fn of_request(&self, id: &str) -> Self {
        let Key(digest) = Key::of("request", &[&self.0, id]);
        Self::of_bytes(&digest[..16])
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The text, for the one who took the lease and for nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the lease is kept under.
    pub fn key(&self) -> Key {
        Key::of("token", &[&self.0])
    }
}

impl FromStr for Secret {
    type Err = NotSecret;

    fn from_str(text: &str) -> Result<Self, NotSecret> {
        let is_secret = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_secret { Ok(Self(text.to_ascii_lowercase())) } else { Err(NotSecret) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a lease is kept under: a digest, so that nothing shows a token, and how long a comparison
/// takes tells nothing about one.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of what a kind of client proves itself with. Parts cannot run into each other.
    pub fn of(kind: &str, parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in std::iter::once(&kind).chain(parts) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// As a store has it.
impl Key {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of these bytes, which [`Key::bytes`] gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Enough of it to tell one client from another in a list.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(&self.0[..8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_round_trips_and_is_hidden_in_debug() {
        let secret = Secret::random().unwrap();
        assert_eq!(secret.reveal().len(), 32);
        assert_eq!(secret.reveal().to_uppercase().parse::<Secret>().unwrap().key(), secret.key());
        assert_ne!(Secret::random().unwrap().key(), secret.key());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!("short".parse::<Secret>().unwrap_err(), NotSecret);
        assert_ne!(Key::of("a", &["bc", "d"]), Key::of("a", &["b", "cd"]));
    }
}
