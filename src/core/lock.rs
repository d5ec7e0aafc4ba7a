//! Who owns which lock, who waits for it, and whether a wait would close a cycle.
//!
//! The rules are those of protocol.md, "Locks". Nothing here knows of sockets or wires.
//!
//! Ownership passes under the guard of the table's shard; messages only tell. Lock order: a shard
//! of the table, then the wait graph; never the other way round. `sync::Rank` has the whole order, of all mutexes.
//!
//! Each file builds on those before it: `holders` (who holds a lock), `request` (what is asked and what comes of
//! it), `queue`, `entry` (one lock), `graph` (who waits for what), `table` (all locks), `several` (at once), `knot` and
//! `search` (for deadlocks), then `owner` and `wait`. These two know each other: a wait borrows its owner. `page`, `report` and `blocking` are what people are shown.

mod blocking;
mod entry;
mod graph;
mod holders;
mod knot;
mod owner;
mod page;
mod queue;
mod report;
mod request;
mod search;
mod several;
mod table;
mod wait;

use std::fmt;

pub use blocking::{Blocking, HeadBlocker};
pub use holders::Hold;
pub use owner::{Owner, ReleaseScope, ReleasedPiece};
pub use page::{HoldKey, Page, Paged, Truncated, WaiterKey};
pub use report::{LockInfo, LockOrder, LockSnapshot, QueuePlace, WaiterInfo, WhyStep};
pub use request::{Acquire, Cycle, Link, MAX_CYCLE_LINKS, OnBusy, Released, Verdict};
pub use table::{Counters, Table};
pub use wait::Wait;

use crate::core::{
    clock,
    sync::{AtomicU64, Ordering, mutant, plain},
};

/// So many steps of work that may be long are done at a time: locks that are freed, holders that are looked at. Then
/// others have a turn.
pub const PIECE: usize = 256;

/// The number of a session, unique among those that live; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u32);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Beside any number of other shared holders.
    Shared,
    /// Beside other holders of a permit, so many in all. Never 0.
    Permit(u16),
    /// Alone.
    Exclusive,
}

impl Mode {
    /// Its word, on all wires.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Permit(_) => "permit",
            Self::Exclusive => "exclusive",
        }
    }

    /// How many may hold the lock together, if that is a number of permits.
    pub fn limit(self) -> Option<u16> {
        if let Self::Permit(limit) = self { Some(limit) } else { None }
    }

    /// Whether a session that holds a lock in this mode has all that the other mode gives.
    pub fn covers(self, other: Self) -> bool {
        self == Self::Exclusive || self == other
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fencing token: grows with every grant, across restarts too, and stays below 2^53.
pub type Token = u64;

/// How far the clock may be ahead of a floor: a year of microseconds.
const MAX_CLOCK_LEAD: Token = 366 * 24 * 3_600 * 1_000_000;

/// Where tokens go on, above those of a store and by the clock.
pub(crate) fn first_token(floor: Token) -> Token {
    Tokens::from(floor).first
}

/// Where tokens come from. They start at the clock's microseconds and count grants, so they fall
/// behind the clock, and a restart goes on above them even if the clock was set back a little.
#[derive(Debug)]
struct Tokens {
    first: Token,
    next: AtomicU64,
    shared: plain::AtomicU64,
    permits: plain::AtomicU64,
}

impl Tokens {
    /// They go on from the clock or from a floor of a store, whichever is higher: a store that was restored from a backup
    /// is caught by the clock, and a clock that was set back by the floor.
    fn from(floor: Token) -> Self {
        // 2^53 microseconds end in the year 2255.
        let clock = u64::try_from(clock::since_epoch().as_micros()).unwrap_or(u64::MAX).max(1);
        mutant!(FloorNotRead => return Self::at(clock));
        // A clock that is wrong by years would be remembered forever.
        let is_credible = floor == 0 || clock <= floor.saturating_add(MAX_CLOCK_LEAD);
        Self::at(if is_credible { clock.max(floor) } else { floor })
    }

    fn at(first: Token) -> Self {
        Self {
            first,
            next: AtomicU64::new(first),
            shared: plain::AtomicU64::default(),
            permits: plain::AtomicU64::default(),
        }
    }

    /// The token of a new grant. Called under the lock's guard, so tokens grow per name.
    fn next(&self, mode: Mode) -> Token {
        if mode != Mode::Exclusive {
            let of_mode = if mode == Mode::Shared { &self.shared } else { &self.permits };
            of_mode.fetch_add(1, plain::Ordering::Relaxed);
        }
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The one that was given last.
    fn last(&self) -> Token {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// How many were given.
    fn issued(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - self.first
    }

    /// How many of them for shared holds.
    fn issued_shared(&self) -> u64 {
        self.shared.load(plain::Ordering::Relaxed)
    }

    /// How many of them for permits.
    fn issued_permits(&self) -> u64 {
        self.permits.load(plain::Ordering::Relaxed)
    }
}
