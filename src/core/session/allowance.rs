//! How many locks a session may hold, out of the quota for all.
//!
//! A lock that is taken costs nothing for it: the allowance grows in batches, and a session with few locks needs none
//! of the quota.

use std::sync::Arc;

use crate::core::{
    command::Error,
    share::{Quota, QuotaKey, Reservation},
    sync::{
        Rank,
        plain::{AtomicUsize, Guarded, Ordering},
    },
};

/// So many locks a session may hold whatever others hold: they are not counted among all (protocol.md, "Limits").
pub const OWN_LOCKS: usize = 8;

/// So many more are taken at a time.
const BATCH: usize = 64;

/// How many locks a session may hold before it has to ask the quota. Changed by the session alone.
#[derive(Debug)]
pub(super) struct LockAllowance {
    locks: AtomicUsize,
    /// What is taken of the quota. Boxed: few need it.
    reserved: Guarded<Option<Box<Reservation>>>,
}

impl LockAllowance {
    /// Of a session that holds nothing.
    pub(super) fn new(max: usize) -> Self {
        Self {
            locks: AtomicUsize::new(max.min(OWN_LOCKS)),
            reserved: Guarded::new(Rank::LockAllowance, None),
        }
    }

    fn locks(&self) -> usize {
        self.locks.load(Ordering::Relaxed)
    }

    /// Whether it is enough for one more.
    pub(super) fn covers_one_more(&self, holds: usize) -> bool {
        holds < self.locks()
    }

    /// Takes more of the quota, up to so many locks.
    #[cold]
    pub(super) fn grow(&self, max: usize, quota: &Arc<Quota>, key: QuotaKey) -> Result<(), Error> {
        let left = max - self.locks();
        if left == 0 {
            return Err(Error::TooManyLocks(max));
        }
        // Where there is little left each lock is asked for.
        let wanted = left.min(BATCH);
        let mut reserved = self.reserved.lock();
        let took = match &mut *reserved {
            Some(reservation) => reservation.grow_up_to(wanted)?,
            none => none.insert(Box::new(quota.take_up_to(key, wanted)?)).count(),
        };
        drop(reserved);
        self.locks.fetch_add(took, Ordering::Relaxed);
        Ok(())
    }

    /// To be called when locks were released: what is empty for long is given back.
    pub(super) fn released(&self, holds: usize) {
        let free = self.locks().saturating_sub(holds);
        if free > 3 * BATCH {
            self.shrink(free);
        }
    }

    /// Gives back what is free beyond two batches; where locks are released one by one, that is a batch at a time.
    #[cold]
    fn shrink(&self, free: usize) {
        let reserved = &mut *self.reserved.lock();
        let Some(reservation) = reserved else { return };
        let fewer = reservation.count().min(free - 2 * BATCH - 1);
        reservation.shrink(fewer);
        self.locks.fetch_sub(fewer, Ordering::Relaxed);
        if reservation.count() == 0 {
            *reserved = None;
        }
    }

    /// Gives all back, of a session that holds nothing any more.
    pub(super) fn give_back(&self) {
        if self.locks() > OWN_LOCKS
            && let Some(reservation) = self.reserved.lock().take()
        {
            self.locks.fetch_sub(reservation.count(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::share::{QuotaCause, QuotaExceeded, Resource};

    fn who() -> QuotaKey {
        QuotaKey::at([192, 0, 2, 1].into())
    }

    #[test]
    fn room_is_taken_in_batches_and_singly_near_the_end() {
        let quota = Quota::new(Resource::Locks, 63);
        let allowance = LockAllowance::new(1_000);
        assert!(allowance.covers_one_more(OWN_LOCKS - 1) && !allowance.covers_one_more(OWN_LOCKS));
        let mut holds = OWN_LOCKS;
        let refused = loop {
            match allowance.grow(1_000, &quota, who()) {
                Ok(()) => holds += 1,
                Err(refused) => break refused,
            }
            assert!(allowance.covers_one_more(holds - 1) && !allowance.covers_one_more(holds));
        };
        assert_eq!(holds, OWN_LOCKS + 63);
        let full = QuotaExceeded { resource: Resource::Locks, limit: 63, cause: QuotaCause::Full };
        assert_eq!(refused, Error::QuotaExceeded(full));
        assert_eq!(
            quota.refusals()[QuotaCause::Full as usize],
            (QuotaCause::Full, 1),
            "what was granted in the end is not counted"
        );
        allowance.give_back();
        assert!(allowance.covers_one_more(OWN_LOCKS - 1) && !allowance.covers_one_more(OWN_LOCKS));
        assert!(quota.take(who(), 63).is_ok());
    }

    #[test]
    fn session_returns_unused_room() {
        let quota = Quota::new(Resource::Locks, 10_000);
        let allowance = LockAllowance::new(500);
        let mut holds = 0;
        while allowance.covers_one_more(holds) || allowance.grow(500, &quota, who()).is_ok() {
            holds += 1;
        }
        assert_eq!((holds, allowance.grow(500, &quota, who())), (500, Err(Error::TooManyLocks(500))));
        while holds > 0 {
            holds -= 1;
            allowance.released(holds);
            let taken = allowance.reserved.lock().as_ref().map_or(0, |reservation| reservation.count());
            assert!(taken >= holds.saturating_sub(OWN_LOCKS) && taken <= holds + 3 * BATCH);
        }
        assert_eq!(LockAllowance::new(3).grow(3, &quota, who()), Err(Error::TooManyLocks(3)));
    }
}
