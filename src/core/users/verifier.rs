//! What is stored of a password or a token: enough to check it, and to check MySQL's proofs of it.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// `SHA256(SHA256(password))`, which checks `caching_sha2_password` and the password itself.
pub(super) type Sha2 = [u8; 32];

/// `SHA1(SHA1(password))`, which checks `mysql_native_password`.
pub(super) type Native = [u8; 20];

/// The verifiers of one user.
#[derive(Default)]
pub(super) struct Verifiers {
    pub password: Option<Sha2>,
    pub native: Option<Native>,
    pub token: Option<Sha2>,
}

/// The verifier of unknown names. Nothing matches it, and checking takes the same time.
pub(super) const NOBODY: Verifiers = Verifiers { password: None, native: None, token: None };

impl std::fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifiers(..)")
    }
}

/// What a client presents to log in.
pub enum Proof<'a> {
    /// The password itself.
    Password(&'a [u8]),
    /// `caching_sha2_password`'s: `SHA256(p) XOR SHA256(SHA256(SHA256(p)), nonce)`.
    Sha2 {
        /// The challenge of the server.
        nonce: &'a [u8],
        /// The response of the client.
        proof: &'a [u8],
    },
    /// `mysql_native_password`'s: `SHA1(p) XOR SHA1(nonce, SHA1(SHA1(p)))`.
    Native {
        /// The challenge of the server.
        nonce: &'a [u8],
        /// The response of the client.
        proof: &'a [u8],
    },
}

impl std::fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// The credentials of a client. They are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub name: String,
    /// The proof.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    /// Without the name too: people type a password in its place.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

pub(super) fn sha2_of(password: &[u8]) -> Sha2 {
    sha256(&[&sha256(&[password])])
}

pub(super) fn native_of(password: &[u8]) -> Native {
    sha1(&[&sha1(&[password])])
}

/// A token is random and long, so hashing it once is enough.
pub(super) fn token_digest(token: &[u8]) -> Sha2 {
    sha256(&[token])
}

fn sha256(parts: &[&[u8]]) -> Sha2 {
    digest::<Sha256>(parts).into()
}

fn sha1(parts: &[&[u8]]) -> Native {
    digest::<Sha1>(parts).into()
}

fn digest<D: Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    #[cfg(test)]
    tests::HASHED.with_borrow_mut(|hashed| hashed.push(parts.iter().map(|part| part.len()).sum()));
    parts.iter().fold(D::new(), D::chain_update).finalize()
}

impl Verifiers {
    /// Whether MySQL clients are asked for a proof by `mysql_native_password`; `None` without a password.
    pub(super) fn asked_natively(&self) -> Option<bool> {
        (self.password.is_some() || self.native.is_some()).then_some(self.native.is_some())
    }

    /// Adds all verifiers to a digest.
    pub(super) fn feed(&self, digest: &mut Sha256) {
        for kept in [self.password.as_ref(), self.token.as_ref()].into_iter().flatten() {
            digest.update(kept);
        }
        digest.update(self.native.unwrap_or_default());
    }

    /// Hashes the same number of bytes whatever is stored, also for [`NOBODY`].
    pub(super) fn accept(&self, proof: &Proof<'_>) -> bool {
        match *proof {
            Proof::Password(password) => is_kept(self.password, |_| Some(sha2_of(password))),
            Proof::Sha2 { nonce, proof } => is_kept(self.password, |kept| {
                let once: Sha2 = unmask(proof, sha256(&[kept, nonce]))?;
                Some(sha256(&[&once]))
            }),
            Proof::Native { nonce, proof } => is_kept(self.native, |kept| {
                let once: Native = unmask(proof, sha1(&[nonce, kept]))?;
                Some(sha1(&[&once]))
            }),
        }
    }

    pub(super) fn accepts_token(&self, digest: &Sha2) -> bool {
        self.token.is_some_and(|kept| same(&kept, digest))
    }
}

/// Whether a hash matches the stored one. If nothing is stored, comparing takes the same time.
fn is_kept<const N: usize>(kept: Option<[u8; N]>, shown: impl Fn(&[u8; N]) -> Option<[u8; N]>) -> bool {
    let compared = kept.unwrap_or([0; N]);
    let is_same = shown(&compared).is_some_and(|shown| same(&compared, &shown));
    is_same && kept.is_some()
}

fn same(kept: &[u8], shown: &[u8]) -> bool {
    kept.ct_eq(shown).into()
}

/// `None` if the proof does not have the length of the mask.
fn unmask<const N: usize>(proof: &[u8], mask: [u8; N]) -> Option<[u8; N]> {
    let proof: &[u8; N] = proof.try_into().ok()?;
    Some(std::array::from_fn(|at| proof[at] ^ mask[at]))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        /// How many bytes each hash was made of.
        pub(super) static HASHED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

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
    fn verifiers_have_the_form_of_mysql() {
        // SELECT UPPER(SHA1(UNHEX(SHA1('password'))))
        let native: String = native_of(b"password").iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(native, "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
    }

    #[test]
    fn wrong_proof_costs_the_same_for_any_user() {
        let user = Verifiers { password: Some(sha2_of(b"pw")), native: Some(native_of(b"pw")), token: None };
        let without_native = Verifiers { password: user.password, ..NOBODY };
        let with_token = Verifiers { token: Some(token_digest(b"token")), ..NOBODY };
        let nonce = b"01234567890123456789";
        for (proof, hashes) in [
            (Proof::Password(b"wrong"), vec![5, 32]),
            (Proof::Sha2 { nonce, proof: &[1; 32] }, vec![52, 32]),
            (Proof::Native { nonce, proof: &[1; 20] }, vec![40, 20]),
            (Proof::Sha2 { nonce, proof: b"" }, vec![52]),
            (Proof::Native { nonce, proof: b"" }, vec![40]),
        ] {
            for whose in [&user, &without_native, &with_token, &NOBODY] {
                HASHED.take();
                assert!(!whose.accept(&proof));
                assert_eq!(HASHED.take(), hashes);
            }
        }
    }
}
