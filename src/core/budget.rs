//! The limits on the memory that the server keeps for clients: one for each connection, and one for all together.
//!
//! Memory is charged before it is used. A [`Charge`] is kept beside the memory that it pays for, and returns the bytes
//! when it is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The most bytes that the server keeps, or prepares, for one connection.
pub const MAX_CONNECTION_MEMORY: usize = 4 * 1024 * 1024;

/// The bytes that every connection has for itself. They are never refused and do not count towards the shared limit. A
/// well-behaved client needs no more.
pub const OWN_MEMORY: usize = 16 * 1024;

/// Beyond its own bytes, a connection takes memory from the shared limit in steps of this many bytes. So most of what
/// comes and goes with a request does not touch the shared counter.
const STEP: usize = 16 * 1024;

/// Extra bytes of a connection for the error that its budget is used up. The shared limit has an eighth extra, for such
/// errors and for operators who look for the reason.
const SPARE: usize = 1024 * 1024;

/// The memory of all connections together, beyond what each has for itself.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    limit: usize,
}

impl Memory {
    /// Makes an unused budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    /// The number of bytes that are charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// Why nothing more is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// The connection would have more than it may have: so many bytes.
    #[error("memory limit of this connection reached: {0} bytes; read the replies, or ask for less")]
    Connection(usize),
    /// All together would.
    #[error("memory limit of the server reached: {0} bytes (--max-memory); try again later")]
    Server(usize),
}

/// The budget of one connection.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    used: AtomicUsize,
    memory: Arc<Memory>,
}

impl Budget {
    /// Makes the budget of a new connection.
    pub fn of(memory: &Arc<Memory>) -> Self {
        Self(Arc::new(Account { used: AtomicUsize::new(0), memory: memory.clone() }))
    }

    /// The number of bytes that are charged now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Charges this many bytes, for as long as the charge is kept.
    ///
    /// # Errors
    /// [`Exceeded`]: nothing was charged.
    pub fn charge(&self, bytes: usize) -> Result<Charge, Exceeded> {
        let mut charge = Charge::default();
        self.resize(&mut charge, bytes)?;
        Ok(charge)
    }

    /// Charges memory for an error about the budget, for which there is a small extra.
    ///
    /// # Errors
    /// [`Exceeded`]: the extra is used up too.
    pub fn charge_spare(&self, bytes: usize) -> Result<Charge, Exceeded> {
        self.0.grow(bytes, true)?;
        Ok(Charge { of: Some(self.clone()), bytes })
    }

    /// Changes a charge of this connection to this many bytes.
    ///
    /// # Errors
    /// [`Exceeded`]: the charge is unchanged.
    pub fn resize(&self, charge: &mut Charge, bytes: usize) -> Result<(), Exceeded> {
        if let Some(more) = bytes.checked_sub(charge.bytes) {
            self.0.grow(more, false)?;
        } else {
            self.0.shrink(charge.bytes - bytes);
        }
        charge.bytes = bytes;
        charge.of.get_or_insert_with(|| self.clone());
        Ok(())
    }

    /// How many bytes replies that are not sent yet may have, of which this many are charged. All connections together
    /// may still have less.
    pub fn answer_room(&self, charge: &Charge) -> usize {
        MAX_CONNECTION_MEMORY.saturating_sub(self.used() - charge.bytes)
    }

    /// Changes a charge for replies that are not sent yet. A connection that uses little else may exceed the shared
    /// limit: it may be an operator who looks for the greedy client.
    ///
    /// # Errors
    /// [`Exceeded`]: the charge is unchanged.
    pub fn resize_answer(&self, charge: &mut Charge, bytes: usize) -> Result<(), Exceeded> {
        if self.used() > OWN_MEMORY || bytes > MAX_CONNECTION_MEMORY {
            return self.resize(charge, bytes);
        }
        *charge = self.charge_spare(bytes)?;
        Ok(())
    }
}

/// Makes a budget that shares nothing with other connections.
impl Default for Budget {
    fn default() -> Self {
        Self::of(&Memory::new(usize::MAX))
    }
}

impl Account {
    fn grow(&self, more: usize, is_spare: bool) -> Result<(), Exceeded> {
        let most = MAX_CONNECTION_MEMORY + if is_spare { SPARE } else { 0 };
        let grown = |used: usize| used.checked_add(more).filter(|all| *all <= most);
        let before = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
        let before = before.map_err(|_| Exceeded::Connection(MAX_CONNECTION_MEMORY))?;
        let shared = counted(before + more) - counted(before);
        let Memory { used, limit } = &*self.memory;
        let limit_of_all = limit.saturating_add(if is_spare { limit / 8 } else { 0 });
        // Added first and checked afterwards, in one atomic step: two connections must not both find the last bytes
        // free.
        if shared == 0 || used.fetch_add(shared, Ordering::Relaxed).saturating_add(shared) <= limit_of_all {
            return Ok(());
        }
        // Returned like all bytes, not by `shared`: other charges of the connection may have changed meanwhile.
        self.shrink(more);
        Err(Exceeded::Server(*limit))
    }

    fn shrink(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        let shared = counted(before) - counted(before - bytes);
        if shared > 0 {
            self.memory.used.fetch_sub(shared, Ordering::Relaxed);
        }
    }
}

/// How much of a connection's memory counts towards the shared limit.
fn counted(bytes: usize) -> usize {
    bytes.saturating_sub(OWN_MEMORY).next_multiple_of(STEP)
}

/// A number of charged bytes. Dropped, it returns them.
#[derive(Debug, Default)]
pub struct Charge {
    of: Option<Budget>,
    bytes: usize,
}

impl Charge {
    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds this many bytes to the charge. A charge without a connection stays at 0.
    ///
    /// # Errors
    /// [`Exceeded`]: the charge is unchanged.
    pub fn grow(&mut self, more: usize) -> Result<(), Exceeded> {
        if let Some(Budget(account)) = &self.of {
            account.grow(more, false)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Returns all bytes. For an empty charge this costs almost nothing.
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
    fn drop_returns_memory_and_refusal_charges_none() {
        let memory = Memory::new(usize::MAX);
        let budget = Budget::of(&memory);
        let first = budget.charge(1_000).unwrap();
        let mut second = budget.charge(MAX_CONNECTION_MEMORY - 1_000).unwrap();
        assert_eq!(budget.charge(1).unwrap_err(), Exceeded::Connection(MAX_CONNECTION_MEMORY));
        assert_eq!(budget.used(), MAX_CONNECTION_MEMORY);
        assert_eq!(memory.used(), MAX_CONNECTION_MEMORY - OWN_MEMORY);
        budget.resize(&mut second, 10).unwrap();
        drop(first);
        assert_eq!((budget.used(), memory.used()), (10, 0));
        assert!(budget.resize(&mut second, usize::MAX).is_err());
        drop(second);
        assert_eq!((budget.used(), memory.used()), (0, 0));
    }

    #[test]
    fn guaranteed_share_is_never_refused() {
        let memory = Memory::new(8 * STEP);
        let (greedy, modest) = (Budget::of(&memory), Budget::of(&memory));
        let kept = greedy.charge(OWN_MEMORY + 8 * STEP).unwrap();
        assert_eq!(greedy.charge(1).unwrap_err(), Exceeded::Server(8 * STEP));
        let own = modest.charge(OWN_MEMORY).unwrap();
        assert_eq!(modest.charge(1).unwrap_err(), Exceeded::Server(8 * STEP));
        assert_eq!((modest.used(), memory.used()), (OWN_MEMORY, 8 * STEP));
        drop(kept);
        assert_eq!(memory.used(), 0);
        assert!(modest.charge(1).is_ok());
        drop(own);
    }

    #[test]
    fn exhausted_budget_has_bounded_room_for_refusals() {
        let memory = Memory::new(MAX_CONNECTION_MEMORY);
        let budget = Budget::of(&memory);
        let _all = budget.charge(MAX_CONNECTION_MEMORY).unwrap();
        let told: Vec<_> = (0..1_000).map_while(|_| budget.charge_spare(4 * 1024).ok()).collect();
        assert!((100..=SPARE / 4096).contains(&told.len()), "{}", told.len());
        drop(told);
        assert_eq!(budget.used(), MAX_CONNECTION_MEMORY);
    }

    #[test]
    fn exhausted_budget_still_allows_small_answers() {
        let memory = Memory::new(8 * STEP);
        let greedy = Budget::of(&memory);
        let mut kept = greedy.charge(OWN_MEMORY + 8 * STEP).unwrap();
        assert!(greedy.resize_answer(&mut kept, OWN_MEMORY + 9 * STEP).is_err());
        let (eye, mut answer) = (Budget::of(&memory), Charge::default());
        eye.resize_answer(&mut answer, OWN_MEMORY + STEP).unwrap();
        assert!(eye.resize_answer(&mut answer, OWN_MEMORY + 2 * STEP).is_err());
        drop((kept, answer));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn answers_as_long_as_the_room_are_never_refused() {
        for kept in [0, OWN_MEMORY, OWN_MEMORY + 1, MAX_CONNECTION_MEMORY] {
            let (budget, mut answer) = (Budget::default(), Charge::default());
            let _kept = budget.charge(kept).unwrap();
            for _ in 0..2 {
                let room = budget.answer_room(&answer);
                assert_eq!(room, MAX_CONNECTION_MEMORY - kept);
                budget.resize_answer(&mut answer, room).unwrap();
            }
        }
    }

    #[test]
    fn sequential_requests_leave_no_charge() {
        let memory = Memory::new(20 * STEP);
        let budget = Budget::of(&memory);
        std::thread::scope(|scope| {
            for of in 1..5 {
                let budget = &budget;
                scope.spawn(move || {
                    for at in 0..2_000 {
                        let some = budget.charge(at * of * 97 % (9 * STEP));
                        let more = budget.charge_spare(STEP / of);
                        drop((some, more));
                    }
                });
            }
        });
        assert_eq!((budget.used(), memory.used()), (0, 0));
    }
}
