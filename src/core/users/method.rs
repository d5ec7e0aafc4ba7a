//! The MySQL authentication method that a client is asked for, which must not reveal who is a user.
//!
//! A user without `password-sha1` can only be asked by `caching_sha2_password`. So unknown names are asked by either
//! method, in the same proportion as users are.

use sha2::{Digest, Sha256};

use super::{User, verifier::Sha2};

/// Chooses a method for each unknown name at random, and always the same one.
/// The key is a digest of the file's verifiers at the start: it is secret, and the same after a restart with the same
/// file. With another key unknown names would be asked differently, and comparing would reveal them.
#[derive(Debug)]
pub(super) struct MethodLottery(Sha2);

/// How many users of a file have a password, and how many have `password-sha1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NativeShare {
    native: u32,
    all: u32,
}

impl NativeShare {
    pub(super) fn of(users: &[User]) -> Self {
        users.iter().filter_map(|user| user.verifiers.asked_natively()).fold(
            Self::default(),
            |share, native| Self { native: share.native + u32::from(native), all: share.all + 1 },
        )
    }
}

impl MethodLottery {
    pub(super) fn of(users: &[User]) -> Self {
        let mut digest = Sha256::new_with_prefix("getlockd method");
        for user in users {
            user.verifiers.feed(&mut digest);
        }
        Self(digest.finalize().into())
    }

    /// Whether the method is `mysql_native_password`; true if no user has a password.
    pub(super) fn is_native(&self, name: &str, share: NativeShare) -> bool {
        let [a, b, c, d, ..]: Sha2 = Sha256::new_with_prefix(self.0).chain_update(name).finalize().into();
        u64::from(u32::from_be_bytes([a, b, c, d])) * u64::from(share.all) <= u64::from(share.native) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn natives(lot: &MethodLottery, native: u32, all: u32) -> Vec<bool> {
        (0..1000).map(|number| lot.is_native(&format!("name{number}"), NativeShare { native, all })).collect()
    }

    #[test]
    fn auth_methods_of_unknown_users_are_proportional() {
        let lot = MethodLottery([7; 32]);
        let count = |native, all| natives(&lot, native, all).into_iter().filter(|native| *native).count();
        assert_eq!([count(0, 3), count(3, 3), count(0, 0)], [0, 1000, 1000]);
        assert!((200..300).contains(&count(1, 4)), "{}", count(1, 4));
        // One more user changes few names, and all in the same direction.
        let (before, after) = (natives(&lot, 50, 100), natives(&lot, 51, 101));
        assert!(before.iter().zip(&after).all(|(before, after)| after >= before));
        assert_ne!(
            natives(&MethodLottery([8; 32]), 50, 100),
            before,
            "who does not have the key does not know"
        );
    }
}
