//! How much memory clients may make the server remember: each connection up to its own bound, all together up to
//! theirs.
//!
//! What is kept for a client is charged before it is kept. A [`Charge`] stands beside what it pays for, and gives the
//! bytes back when it is dropped: nothing has to be remembered for that.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The most bytes that one connection makes the server remember, or prepare for it.
pub const MAX_CONNECTION_MEMORY: usize = 4 * 1024 * 1024;

/// So much of it is never refused, even when all together have reached their bound: who behaves needs no more.
pub const OWN_MEMORY: usize = 16 * 1024;

/// What all connections have together.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    limit: usize,
}

impl Memory {
    /// Nothing is used of it.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    /// How many bytes are charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes bytes, if there are so many; those who have next to nothing are served all the same.
    fn take(&self, bytes: usize, is_own: bool) -> Result<(), Exceeded> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if is_own || before.saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        Err(Exceeded::Server(self.limit))
    }
}

/// Why nothing more is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The connection would have more than it may have: so many bytes.
    Connection(usize),
    /// All together would.
    Server(usize),
}

/// What one connection has.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    /// Changed by the task of the connection alone.
    used: AtomicUsize,
    memory: Arc<Memory>,
}

impl Budget {
    /// Of a new connection.
    pub fn of(memory: &Arc<Memory>) -> Self {
        Self(Arc::new(Account { used: AtomicUsize::new(0), memory: memory.clone() }))
    }

    /// How many bytes are charged now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Charges so many bytes, for as long as the charge is kept.
    ///
    /// # Errors
    /// [`Exceeded`]: nothing is charged.
    pub fn charge(&self, bytes: usize) -> Result<Charge, Exceeded> {
        let mut charge = Charge::default();
        self.resize(&mut charge, bytes)?;
        Ok(charge)
    }

    /// A charge of this connection becomes one for so many bytes.
    ///
    /// # Errors
    /// [`Exceeded`]: it stays as it was.
    pub fn resize(&self, charge: &mut Charge, bytes: usize) -> Result<(), Exceeded> {
        if let Some(more) = bytes.checked_sub(charge.bytes) {
            self.grow(more)?;
        } else {
            self.0.shrink(charge.bytes - bytes);
        }
        charge.bytes = bytes;
        charge.of.get_or_insert_with(|| self.clone());
        Ok(())
    }

    fn grow(&self, more: usize) -> Result<(), Exceeded> {
        let wanted = self.used().saturating_add(more);
        if wanted > MAX_CONNECTION_MEMORY {
            return Err(Exceeded::Connection(MAX_CONNECTION_MEMORY));
        }
        self.0.memory.take(more, wanted <= OWN_MEMORY)?;
        self.0.used.store(wanted, Ordering::Relaxed);
        Ok(())
    }
}

/// Of a connection that has nothing in common with others.
impl Default for Budget {
    fn default() -> Self {
        Self::of(&Memory::new(usize::MAX))
    }
}

impl Account {
    fn shrink(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that are paid for. Dropped, they are given back.
#[derive(Debug, Default)]
pub struct Charge {
    of: Option<Budget>,
    bytes: usize,
}

impl Charge {
    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is left is a charge for nothing. It costs next to nothing where it was one before.
    pub fn give_back(&mut self) {
        if self.bytes > 0 {
            *self = Self::default();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(Budget(account)) = &self.of {
            account.shrink(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_what_is_refused_is_not_charged() {
        let memory = Memory::new(usize::MAX);
        let budget = Budget::of(&memory);
        let first = budget.charge(1_000).unwrap();
        let mut second = budget.charge(MAX_CONNECTION_MEMORY - 1_000).unwrap();
        assert_eq!(budget.charge(1).unwrap_err(), Exceeded::Connection(MAX_CONNECTION_MEMORY));
        assert_eq!(budget.used(), MAX_CONNECTION_MEMORY);
        budget.resize(&mut second, 10).unwrap();
        drop(first);
        assert_eq!((budget.used(), memory.used()), (10, 10));
        assert!(budget.resize(&mut second, usize::MAX).is_err());
        drop((second, budget));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn the_greedy_are_refused_before_those_who_have_next_to_nothing() {
        let memory = Memory::new(100_000);
        let (greedy, modest) = (Budget::of(&memory), Budget::of(&memory));
        let kept = greedy.charge(100_000).unwrap();
        assert_eq!(greedy.charge(1).unwrap_err(), Exceeded::Server(100_000));
        let own = modest.charge(OWN_MEMORY).unwrap();
        assert_eq!(modest.charge(1).unwrap_err(), Exceeded::Server(100_000));
        drop(kept);
        assert_eq!(memory.used(), OWN_MEMORY);
        assert!(modest.charge(1).is_ok());
        drop(own);
    }
}
