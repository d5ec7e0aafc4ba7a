//! Fencing tokens.

use std::time::SystemTime;

use super::{Mode, Token};
use crate::core::sync::{AtomicU64, Ordering, plain};

/// Where tokens come from. They start at the clock's microseconds and count grants, so they fall
/// behind the clock, and a restart goes on above them even if the clock was set back a little.
#[derive(Debug)]
pub(super) struct Tokens {
    first: Token,
    next: AtomicU64,
    shared: plain::AtomicU64,
}

impl Tokens {
    pub(super) fn from_clock() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // 2^53 microseconds end in the year 2255.
        let first = u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX).max(1);
        Self { first, next: AtomicU64::new(first), shared: plain::AtomicU64::default() }
    }

    /// The token of a new grant. Called under the lock's guard, so tokens grow per name.
    pub(super) fn next(&self, mode: Mode) -> Token {
        if mode == Mode::Shared {
            self.shared.fetch_add(1, plain::Ordering::Relaxed);
        }
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How many were given.
    pub(super) fn issued(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - self.first
    }

    /// How many of them for shared holds.
    pub(super) fn issued_shared(&self) -> u64 {
        self.shared.load(plain::Ordering::Relaxed)
    }
}
