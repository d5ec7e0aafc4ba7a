//! Counts of a node's relayed and parked connections. Nothing is decided by them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Why relayed connections were cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutCause {
    /// The leader did not say in time that its term goes on.
    Unheard,
    /// The leader is about to hand over.
    HandOver,
    /// Another node leads, or nobody does, or this node stops.
    Replaced,
}

impl CutCause {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Unheard, Self::HandOver, Self::Replaced];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::HandOver => "hand_over",
            Self::Replaced => "replaced",
        }
    }
}

/// The counts of a node.
#[derive(Debug, Default)]
pub struct RelayStats {
    relayed: AtomicU64,
    parked: AtomicU64,
    cuts: [AtomicU64; CutCause::ALL.len()],
    refused: Arc<AtomicU64>,
}

/// One connection that is counted for as long as this lives.
#[derive(Debug)]
pub struct CountedConnection(Arc<RelayStats>, fn(&RelayStats) -> &AtomicU64);

impl RelayStats {
    /// Connections that are relayed now.
    pub fn relayed(&self) -> u64 {
        self.relayed.load(Ordering::Relaxed)
    }

    /// Connections that are parked now.
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// How many relayed connections were cut for this cause.
    pub fn cuts(&self, cause: CutCause) -> u64 {
        self.cuts[cause as usize].load(Ordering::Relaxed)
    }

    /// How many writes the guards of upstreams have refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn count_relayed(self: &Arc<Self>) -> CountedConnection {
        CountedConnection::new(self, |stats| &stats.relayed)
    }

    pub(super) fn count_parked(self: &Arc<Self>) -> CountedConnection {
        CountedConnection::new(self, |stats| &stats.parked)
    }

    pub(super) fn cut(&self, cause: CutCause, connections: u64) {
        self.cuts[cause as usize].fetch_add(connections, Ordering::Relaxed);
    }

    /// Where the guards of upstreams count what they refuse.
    pub(super) fn refused_counter(&self) -> Arc<AtomicU64> {
        self.refused.clone()
    }
}

impl CountedConnection {
    fn new(stats: &Arc<RelayStats>, count: fn(&RelayStats) -> &AtomicU64) -> Self {
        count(stats).fetch_add(1, Ordering::Relaxed);
        Self(stats.clone(), count)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}
