//! What outlives the process: leases, and floors for the numbers that must not repeat.
//!
//! A [`Store`] keeps them. A [`StoreWriter`] stands in front of it: one batch is under way, and the next takes all that came
//! meanwhile. What is answered to a client is answered behind the commit.

mod writer;

use std::{
    fmt, io,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
#[cfg(target_os = "linux")]
use rustix::time::{ClockId, Timespec, clock_gettime};

pub use writer::{Committed, NotWritten, StoreReport, StoreWriter};

use crate::core::{
    client_info::Origin,
    lease::{Key, LeaseNames, Secret},
    lock::{Mode, SessionId, Token},
};

/// A lease as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableLease {
    /// The digest of its secret.
    pub key: Key,
    /// The locks that it holds.
    pub names: LeaseNames,
    /// How it holds them.
    pub mode: Mode,
    /// Its fencing token.
    pub token: Token,
    /// How long it runs without a heartbeat.
    pub ttl: Duration,
    /// The number of its session.
    pub session: SessionId,
    /// From where it was taken.
    pub origin: Origin,
    /// The user who took it; none without users.
    pub user: Option<String>,
    /// What its client calls itself; empty if it does not.
    pub client: String,
    /// Why it was taken, for people.
    pub note: Option<String>,
    /// When its locks were granted, in milliseconds since 1970. For people only.
    pub granted_ms: u64,
    /// When it ends, if that is fixed. The end of others moves with their heartbeats, which are not written.
    pub ends: Option<BootMoment>,
}

/// A moment on a clock that no one sets: it counts from the start of the machine, also while that sleeps. It means
/// something on that boot alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootMoment {
    /// The id of the boot.
    pub boot: [u8; 16],
    /// Milliseconds since then.
    pub millis: u64,
}

impl BootMoment {
    /// Now; none where the system does not tell.
    #[cfg(target_os = "linux")]
    pub fn now() -> Option<Self> {
        static BOOT: LazyLock<Option<[u8; 16]>> = LazyLock::new(boot_id);
        #[cfg(test)]
        if let Some(clocks) = crate::core::clock::simulated::clocks() {
            return Some(Self { boot: [7; 16], millis: 0 }.after(clocks.uptime));
        }
        let boot = (*BOOT)?;
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        let millis = u64::try_from(tv_sec).ok()? * 1_000 + u64::try_from(tv_nsec).ok()? / 1_000_000;
        Some(Self { boot, millis })
    }

    /// None: there is no such clock.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Option<Self> {
        None
    }

    /// So much later.
    pub fn after(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { millis: self.millis.saturating_add(millis), ..self }
    }
}

#[cfg(target_os = "linux")]
fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

impl DurableLease {
    /// For how long it runs from the start of a server: for its whole time to live, which starts again as its client may
    /// have sent heartbeats; one whose end is fixed runs to that, if it is still the same boot.
    pub fn left(&self, now: Option<BootMoment>) -> Duration {
        match (self.ends, now) {
            (Some(ends), Some(now)) if ends.boot == now.boot => {
                Duration::from_millis(ends.millis.saturating_sub(now.millis)).min(self.ttl)
            }
            _ => self.ttl,
        }
    }
}

/// Numbers above all that were ever given. A start goes on from them, whatever the clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Of fencing tokens.
    pub token: Token,
    /// Of session ids, which start again behind the last one: compared modulo 2^32.
    pub session: u32,
}

/// What a store had when it was opened.
#[derive(Debug)]
pub struct StoredState {
    /// The leases that were promised.
    pub leases: Vec<DurableLease>,
    /// Where numbers go on.
    pub floors: Floors,
    /// Up to where they may be given: the next start goes on from there.
    pub ceiling: Floors,
    /// What the tokens of requests with an id are made with.
    pub request_key: Secret,
    /// For how long nothing may be granted after the start: leases that were shorter were not written.
    pub grace: Duration,
}

/// One change of a store.
#[derive(Clone, Debug)]
pub enum LeaseChange {
    /// A lease is promised, or renewed for longer.
    Put(Arc<DurableLease>),
    /// A lease has ended.
    Delete,
}

impl LeaseChange {
    /// The lease that is to be in the store from now on.
    pub fn put(&self) -> Option<&DurableLease> {
        if let Self::Put(lease) = self { Some(lease) } else { None }
    }
}

/// What is committed at once: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In order: a lease may change twice.
    pub changes: Vec<(Key, LeaseChange)>,
    /// The floors from now on, if they move.
    pub floors: Option<Floors>,
}

/// How a commit ended, if not well.
#[derive(Debug)]
pub enum CommitError {
    /// Another process owns the store now. Nothing was written, and nothing will be.
    Lost,
    /// The store may have it, or a part of the file may be torn: [`Store::replace`] makes it certain.
    Unknown(io::Error),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("another server owns the store"),
            Self::Unknown(error) => error.fmt(f),
        }
    }
}

/// Where leases are kept.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Commits a batch. It is durable when this resolves with `Ok`.
    ///
    /// Not cancel-safe: dropped, the batch may be committed or not.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Makes the store what it is to be, after a commit of which nothing is known.
    ///
    /// Not cancel-safe: dropped, the store is the old one or the new one.
    fn replace(&self, leases: Vec<DurableLease>, floors: Floors) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Notes that the server stops in good order, and which numbers it gave last. `is_quiet`: no lease runs that was not
    /// written, so the next start need not wait.
    fn close(&self, last: Floors, is_quiet: bool) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Whether a batch may have floors. A store that keeps them by itself is not asked to move them.
    fn has_floors(&self) -> bool {
        true
    }

    /// How many bytes it takes; none if it does not tell. It may read from the disk.
    fn bytes(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
pub(crate) mod tests;
