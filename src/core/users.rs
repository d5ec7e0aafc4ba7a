//! Users: who may log in, and what each may do (protocol.md, part 11).
//!
//! Without a file of users everybody may do everything, and there is no [`User`] anywhere.

mod file;
mod method;
mod throttle;
mod verifier;

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::sleep_until;

pub use file::{EntryError, FileError, NewEntry, entry};
pub use throttle::{WRONG_BY_ADDRESS, WRONG_BY_NAME, WRONG_BY_NAME_AND_ADDRESS};
pub use verifier::{Credentials, Proof};

use self::{
    method::{MethodLottery, NativeShare},
    throttle::{LoginRefusal, Throttle},
    verifier::Verifiers,
};
use crate::{
    core::sync::{Rank, plain::ReadMostly},
    name::Name,
};

/// A user who may log in, and what they may do.
#[derive(Debug)]
pub struct User {
    name: Box<str>,
    verifiers: Verifiers,
    lock: NameScope,
    see: NameScope,
    kill: bool,
    /// Of the file that this was read from: a later one may say something else.
    generation: u64,
}

/// The names that start with one of some prefixes.
#[derive(Debug, Default, PartialEq, Eq)]
struct NameScope(Vec<Prefix>);

/// What all names of a part of the locks start with.
#[derive(Debug, PartialEq, Eq)]
enum Prefix {
    /// Of all names.
    Any,
    /// Folded, as names are.
    Of(Name),
}

impl Prefix {
    fn covers(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(prefix) => text.starts_with(prefix.as_str()),
        }
    }

    /// Whether all names of the other are among its own.
    fn contains(&self, other: &Self) -> bool {
        match other {
            Self::Any => *self == Self::Any,
            Self::Of(prefix) => self.covers(prefix.as_str()),
        }
    }
}

impl NameScope {
    fn covers(&self, name: &Name) -> bool {
        self.0.iter().any(|prefix| prefix.covers(name.as_str()))
    }

    fn contains(&self, part: &Prefix) -> bool {
        self.0.iter().any(|prefix| prefix.contains(part))
    }

    fn is_all(&self) -> bool {
        self.0.contains(&Prefix::Any)
    }
}

impl User {
    /// Their name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether they may take a lock.
    pub fn may_lock(&self, name: &Name) -> bool {
        self.lock.covers(name)
    }

    /// Whether they may know who holds a lock and who waits for it.
    pub fn may_see(&self, name: &Name) -> bool {
        self.see.covers(name) || self.may_lock(name)
    }

    /// Whether they may know of all locks and all sessions.
    pub fn may_see_all(&self) -> bool {
        self.see.is_all() || self.lock.is_all()
    }

    /// Whether they may know of a session of `other`; none is one that has not logged in.
    pub fn may_see_session_of(&self, other: Option<&Self>) -> bool {
        self.may_see_all() || other.is_some_and(|other| other.name == self.name)
    }

    /// Whether they may end a session of `other`: their own, and, if they may end any, those of users who
    /// may lock and see nothing that they do not see.
    pub fn may_kill(&self, other: Option<&Self>) -> bool {
        let within = |other: &Self| {
            let mut parts = other.lock.0.iter().chain(&other.see.0);
            parts.all(|part| self.see.contains(part) || self.lock.contains(part))
        };
        match other {
            Some(other) => other.name == self.name || self.kill && within(other),
            None => self.kill && self.may_see_all(),
        }
    }

    /// Of which reading of the file they are.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Why somebody is not let in. None of them says whether there is such a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such user, or not their password.
    #[error("wrong user or password")]
    Wrong,
    /// Too many wrong ones have come for this name or from this address. It was not said whether this one is right.
    #[error("too many wrong passwords for this user or from your address; try again in a few seconds")]
    TooMany,
}

/// All users, as the file has them.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    loaded: ReadMostly<LoadedUsers>,
    generation: AtomicU64,
    throttle: Throttle,
    lottery: MethodLottery,
}

#[derive(Debug)]
struct LoadedUsers {
    by_name: HashMap<Box<str>, Arc<User>>,
    share: NativeShare,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// [`FileError`] says where the file is wrong.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let users = file::read(path, 0)?;
        Ok(Self {
            path: path.to_owned(),
            lottery: MethodLottery::of(&users),
            loaded: ReadMostly::new(Rank::Users, LoadedUsers::of(users)),
            generation: AtomicU64::new(0),
            throttle: Throttle::default(),
        })
    }

    /// Reads it again: how many users there are. What sessions may do changes with their next command;
    /// [`crate::core::session::LockService::users_changed`] sees to what they hold.
    ///
    /// # Errors
    /// [`FileError`] says where the file is wrong; then all is as before.
    pub fn reload(&self) -> Result<usize, FileError> {
        let generation = self.generation() + 1;
        let loaded = LoadedUsers::of(file::read(&self.path, generation)?);
        let count = loaded.by_name.len();
        *self.loaded.write() = loaded;
        self.generation.store(generation, Ordering::SeqCst);
        Ok(count)
    }

    /// How often the file was read again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The user of this name, as they are now.
    pub fn find(&self, name: &str) -> Option<Arc<User>> {
        self.loaded.read().by_name.get(name).cloned()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.loaded.read().by_name.len()
    }

    /// Whether MySQL clients that say this name are asked for a proof by `mysql_native_password`, or else by
    /// `caching_sha2_password`. It does not tell whether there is such a user.
    pub fn asks_natively(&self, name: &str) -> bool {
        let loaded = self.loaded.read();
        let drawn = self.lottery.is_native(name, loaded.share);
        loaded.by_name.get(name).and_then(|user| user.verifiers.asked_natively()).unwrap_or(drawn)
    }

    /// Logs in a client that proves to be a user. Failures are answered later and later, and whether there is such a user does
    /// not change how.
    ///
    /// Cancel-safe: dropped, the failure counts.
    ///
    /// # Errors
    /// [`Denied`]
    pub async fn log_in(&self, from: IpAddr, name: &str, proof: &Proof<'_>) -> Result<Arc<User>, Denied> {
        let user = self.find(name);
        let verifiers = user.as_ref().map_or(&verifier::NOBODY, |user| &user.verifiers);
        let is_right = verifiers.accept(proof);
        let proven = user.clone().filter(|_| is_right);
        match self.throttle.judge(from, Some(name), proven) {
            Ok(user) => Ok(user),
            Err(refusal) => {
                // A name that nobody has may be a password in the wrong place.
                let user = user.as_ref().map(|user| user.name());
                // A line of its own for each: lines of one kind are few a second, and guesses come in thousands.
                match refusal {
                    LoginRefusal::Wrong(_) => tracing::warn!(%from, user, "login refused"),
                    LoginRefusal::TooMany => {
                        tracing::warn!(%from, user, "login not looked at: too many wrong ones have come");
                    }
                }
                Err(denied(refusal).await)
            }
        }
    }

    /// The same for one who shows a token, which tells who they are. The right one is let in however many
    /// wrong ones come from the same address: it is too long to be guessed.
    ///
    /// Cancel-safe: dropped, the failure counts.
    ///
    /// # Errors
    /// [`Denied`]
    pub async fn log_in_by_token(&self, from: IpAddr, token: &[u8]) -> Result<Arc<User>, Denied> {
        let digest = verifier::token_digest(token);
        let user =
            self.loaded.read().by_name.values().find(|user| user.verifiers.accepts_token(&digest)).cloned();
        if let Some(user) = user {
            return Ok(user);
        }
        let Err(refusal) = self.throttle.judge(from, None, None::<Infallible>);
        match refusal {
            LoginRefusal::Wrong(_) => tracing::warn!(%from, "token refused"),
            LoginRefusal::TooMany => {
                tracing::warn!(%from, "token not looked at: too many wrong ones have come");
            }
        }
        Err(denied(refusal).await)
    }
}

impl LoadedUsers {
    fn of(users: Vec<User>) -> Self {
        let share = NativeShare::of(&users);
        Self { by_name: users.into_iter().map(|user| (user.name.clone(), Arc::new(user))).collect(), share }
    }
}

/// Why one is not let in, once it may be said.
///
/// Cancel-safe: it counts already.
async fn denied(refusal: LoginRefusal) -> Denied {
    let LoginRefusal::Wrong(answered) = refusal else { return Denied::TooMany };
    sleep_until(answered).await;
    Denied::Wrong
}
