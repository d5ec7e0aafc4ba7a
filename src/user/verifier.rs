//! What is kept of a password or a token: enough to check it, and to check MySQL's proofs of it.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// `SHA256(SHA256(password))`, with which `caching_sha2_password` and a password itself are checked.
pub(super) type Sha2 = [u8; 32];

/// `SHA1(SHA1(password))`, with which `mysql_native_password` is checked.
pub(super) type Native = [u8; 20];

/// What is kept of one user's secrets.
#[derive(Default)]
pub(super) struct Verifiers {
    pub password: Option<Sha2>,
    pub native: Option<Native>,
    pub token: Option<Sha2>,
}

impl std::fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifiers(..)")
    }
}

/// What somebody shows to be let in.
pub enum Proof<'a> {
    /// The password itself.
    Password(&'a [u8]),
    /// `caching_sha2_password`'s: `SHA256(p) XOR SHA256(SHA256(SHA256(p)), nonce)`.
    Sha2 {
        /// What the server sent.
        nonce: &'a [u8],
        /// What the client sent.
        proof: &'a [u8],
    },
    /// `mysql_native_password`'s: `SHA1(p) XOR SHA1(nonce, SHA1(SHA1(p)))`.
    Native {
        /// What the server sent.
        nonce: &'a [u8],
        /// What the client sent.
        proof: &'a [u8],
    },
}

impl std::fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(..)")
    }
}

pub(super) fn sha2_of(password: &[u8]) -> Sha2 {
    Sha256::digest(Sha256::digest(password)).into()
}

pub(super) fn native_of(password: &[u8]) -> Native {
    Sha1::digest(Sha1::digest(password)).into()
}

/// A token is random and long: once is enough.
pub(super) fn token_digest(token: &[u8]) -> Sha2 {
    Sha256::digest(token).into()
}

impl Verifiers {
    pub(super) fn has_native(&self) -> bool {
        self.native.is_some()
    }

    pub(super) fn accept(&self, proof: &Proof<'_>) -> bool {
        match *proof {
            Proof::Password(password) => self.password.is_some_and(|kept| same(&kept, &sha2_of(password))),
            Proof::Sha2 { nonce, proof } => self.password.is_some_and(|kept| {
                let mask = Sha256::new_with_prefix(kept).chain_update(nonce).finalize();
                unmask(proof, &mask).is_some_and(|once| same(&kept, &Sha256::digest(once)))
            }),
            Proof::Native { nonce, proof } => self.native.is_some_and(|kept| {
                let mask = Sha1::new_with_prefix(nonce).chain_update(kept).finalize();
                unmask(proof, &mask).is_some_and(|once| same(&kept, &Sha1::digest(once)))
            }),
        }
    }

    pub(super) fn accepts_token(&self, digest: &Sha2) -> bool {
        self.token.is_some_and(|kept| same(&kept, digest))
    }
}

fn same(kept: &[u8], shown: &[u8]) -> bool {
    kept.ct_eq(shown).into()
}

fn unmask(proof: &[u8], mask: &[u8]) -> Option<Vec<u8>> {
    (proof.len() == mask.len()).then(|| proof.iter().zip(mask).map(|(proof, mask)| proof ^ mask).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secret: &[u8], mask: &[u8]) -> Vec<u8> {
        secret.iter().zip(mask).map(|(secret, mask)| secret ^ mask).collect()
    }

    #[test]
    fn mysql_proofs_are_checked_without_the_password() {
        let nonce = b"01234567890123456789";
        let kept = Verifiers { password: Some(sha2_of(b"pw")), native: Some(native_of(b"pw")), token: None };
        let mask = Sha256::new_with_prefix(sha2_of(b"pw")).chain_update(nonce).finalize();
        let sha2 = masked(&Sha256::digest(b"pw"), &mask);
        let mask = Sha1::new_with_prefix(nonce).chain_update(native_of(b"pw")).finalize();
        let native = masked(&Sha1::digest(b"pw"), &mask);
        assert!(kept.accept(&Proof::Sha2 { nonce, proof: &sha2 }));
        assert!(kept.accept(&Proof::Native { nonce, proof: &native }));
        assert!(kept.accept(&Proof::Password(b"pw")));
        for wrong in [
            Proof::Sha2 { nonce: b"another", proof: &sha2 },
            Proof::Sha2 { nonce, proof: b"" },
            Proof::Native { nonce, proof: &sha2 },
            Proof::Password(b"PW"),
            Proof::Password(b""),
        ] {
            assert!(!kept.accept(&wrong));
        }
        let nobody = Verifiers::default();
        assert!(!nobody.accept(&Proof::Password(b"")) && !nobody.accepts_token(&token_digest(b"")));
    }

    #[test]
    fn what_is_kept_is_as_mysql_keeps_it() {
        // SELECT UPPER(SHA1(UNHEX(SHA1('password'))))
        let native: String = native_of(b"password").iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(native, "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
    }
}
