//! Users: who may log in, and what each may do (docs/security.md).
//!
//! Without a users file everybody may do everything, and no [`User`] exists.

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

/// A user who may log in, with their rights.
#[derive(Debug)]
pub struct User {
    name: Box<str>,
    verifiers: Verifiers,
    lock: NameScope,
    see: NameScope,
    kill: bool,
    /// The reading of the file that this comes from: a later one may differ.
    generation: u64,
}

/// The names that start with one of some prefixes.
#[derive(Debug, Default, PartialEq, Eq)]
struct NameScope(Vec<Prefix>);

/// The beginning of all names of a part of the locks.
#[derive(Debug, PartialEq, Eq)]
enum Prefix {
    /// All names.
    Any,
    /// Folded like names, or in namespaces.
    Of(Name),
}

impl Prefix {
    fn covers(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(prefix) => text.starts_with(prefix.as_str()),
        }
    }

    /// Whether this contains all names of the other.
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

    /// Whether they may see who holds a lock and who waits for it.
    pub fn may_see(&self, name: &Name) -> bool {
        self.see.covers(name) || self.may_lock(name)
    }

    /// Whether they may see all locks and all sessions.
    pub fn may_see_all(&self) -> bool {
        self.see.is_all() || self.lock.is_all()
    }

    /// Whether they may see a session of `other`; `None` stands for a session that has not logged in.
    pub fn may_see_session_of(&self, other: Option<&Self>) -> bool {
        self.may_see_all() || other.is_some_and(|other| other.name == self.name)
    }

    /// Whether they may end a session of `other`: their own, and with the right to kill those of users who may take and
    /// see nothing that they may not see.
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

    /// The reading of the file that this comes from.
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

/// All users of the file.
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
    /// [`FileError`], which says where the file is wrong.
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

    /// Reloads the file. Returns the number of users. New rights apply from each session's next command;
    /// [`crate::core::session::LockService::users_changed`] applies them to locks that are held.
    ///
    /// # Errors
    /// [`FileError`], which says where the file is wrong; then nothing is changed.
    pub fn reload(&self) -> Result<usize, FileError> {
        let generation = self.generation() + 1;
        let loaded = LoadedUsers::of(file::read(&self.path, generation)?);
        let count = loaded.by_name.len();
        *self.loaded.write() = loaded;
        self.generation.store(generation, Ordering::SeqCst);
        Ok(count)
    }

    /// How often the file was reloaded.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The current user of this name.
    pub fn find(&self, name: &str) -> Option<Arc<User>> {
        self.loaded.read().by_name.get(name).cloned()
    }

    /// The number of users.
    pub fn count(&self) -> usize {
        self.loaded.read().by_name.len()
    }

    /// Whether MySQL clients with this user name are asked for a proof by `mysql_native_password`, or else by
    /// `caching_sha2_password`. The result does not reveal whether the user exists.
    pub fn asks_natively(&self, name: &str) -> bool {
        let loaded = self.loaded.read();
        let drawn = self.lottery.is_native(name, loaded.share);
        loaded.by_name.get(name).and_then(|user| user.verifiers.asked_natively()).unwrap_or(drawn)
    }

    /// Logs in a client that proves to be a user. Failures are answered with growing delays, which do not depend on
    /// whether the user exists.
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
                // An unknown name may be a password in the wrong place.
                let user = user.as_ref().map(|user| user.name());
                // Separate lines: the log limits lines of one kind, and guesses come in thousands.
                match refusal {
                    LoginRefusal::Wrong(_) => tracing::warn!(%from, user, "login refused"),
                    LoginRefusal::TooMany => {
                        tracing::warn!(%from, user, "login not checked: too many wrong passwords");
                    }
                }
                Err(denied(refusal).await)
            }
        }
    }

    /// Logs in a client that presents a token, which identifies the user. The right token is accepted after any number
    /// of wrong ones from the same address: it is too long to be guessed.
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
                tracing::warn!(%from, "token not checked: too many wrong tokens");
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

/// Resolves to the reason of a refusal once it may be revealed.
///
/// Cancel-safe: the failure already counts.
async fn denied(refusal: LoginRefusal) -> Denied {
    let LoginRefusal::Wrong(answered) = refusal else { return Denied::TooMany };
    sleep_until(answered).await;
    Denied::Wrong
}
