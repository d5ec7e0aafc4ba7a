//! Who owns which lock, who waits for it, and whether a wait would close a cycle.
//!
//! The rules are those of protocol.md, "Locks". Nothing here knows of sockets or wires.
//!
//! Ownership passes under the guard of the table's shard; messages only tell. Lock order: a shard
//! of the table, then the wait graph; never the other way round. `sync::Rank` has the whole order, of all mutexes.
//!
//! Each file builds on those before it: `holders` (who holds a lock), `request` (what is asked and what comes of
//! it), `queue`, `entry` (one lock), `graph` (who waits for what), `table` (all locks), `search` (for cycles), then
//! `owner` and `wait`. These two know each other: a wait borrows its owner. `page` and `report` are what lists show.

mod entry;
mod graph;
mod holders;
mod owner;
mod page;
mod queue;
mod report;
mod request;
mod search;
mod table;
mod token;
mod wait;

use std::fmt;

pub use holders::Hold;
pub use owner::Owner;
pub use page::{HoldKey, Page, Paged, Truncated, WaiterKey};
pub use report::{LockInfo, LockSnapshot, WaiterInfo, WhyStep};
pub use request::{Acquire, Cycle, Link, MAX_CYCLE_LINKS, OnBusy, Released, Verdict};
pub use table::{Counters, Table};
pub use wait::Wait;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Beside other shared holders.
    Shared,
    /// Alone.
    Exclusive,
}

impl Mode {
    /// Its word, on all wires.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fencing token: grows with every grant, across restarts too, and stays below 2^53.
pub type Token = u64;
