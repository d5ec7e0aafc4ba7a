//! Room for the locks of a session, out of that for all.
//!
//! A lock that is taken costs nothing for it: room is taken in batches, and a session with few locks needs none.

use std::sync::Arc;

use crate::core::{
    command::Error,
    share::{Place, Places, QuotaKey},
    sync::{
        Rank,
        plain::{AtomicUsize, Guarded, Ordering},
    },
};

/// So many locks a session may hold whatever others hold: they are not counted among all (protocol.md, "Limits").
pub const OWN_LOCKS: usize = 8;

/// So many more are taken at a time.
const BATCH: usize = 64;

/// How many locks a session may hold before it needs more room. Changed by the session alone.
#[derive(Debug)]
pub(super) struct Room {
    locks: AtomicUsize,
    /// What is taken from the room for all. Boxed: few need it.
    more: Guarded<Option<Box<Place>>>,
}

impl Room {
    /// Of a session that holds nothing.
    pub(super) fn new(max: usize) -> Self {
        Self { locks: AtomicUsize::new(max.min(OWN_LOCKS)), more: Guarded::new(Rank::Room, None) }
    }

    fn locks(&self) -> usize {
        self.locks.load(Ordering::Relaxed)
    }

    /// Whether there is some for one more.
    pub(super) fn has_some(&self, holds: usize) -> bool {
        holds < self.locks()
    }

    /// Makes some, up to so many locks.
    #[cold]
    pub(super) fn grow(&self, max: usize, places: &Arc<Places>, principal: QuotaKey) -> Result<(), Error> {
        let left = max - self.locks();
        if left == 0 {
            return Err(Error::TooManyLocks(max));
        }
        // Where there is little left each lock is asked for.
        let wanted = left.min(BATCH);
        let mut more = self.more.lock();
        let took = match &mut *more {
            Some(place) => place.grow_up_to(wanted)?,
            none => none.insert(Box::new(places.take_up_to(principal, wanted)?)).count(),
        };
        drop(more);
        self.locks.fetch_add(took, Ordering::Relaxed);
        Ok(())
    }

    /// To be called when locks were released: what is empty for long is given back.
    pub(super) fn released(&self, holds: usize) {
        if self.locks().saturating_sub(holds) > 3 * BATCH {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&self) {
        let more = &mut *self.more.lock();
        let Some(place) = more else { return };
        let fewer = place.count().min(BATCH);
        place.shrink(fewer);
        self.locks.fetch_sub(fewer, Ordering::Relaxed);
        if place.count() == 0 {
            *more = None;
        }
    }

    /// Gives all back, of a session that holds nothing any more.
    pub(super) fn give_back(&self) {
        if self.locks() > OWN_LOCKS
            && let Some(place) = self.more.lock().take()
        {
            self.locks.fetch_sub(place.count(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::share::{Cause, NoPlace, What};

    fn who() -> QuotaKey {
        QuotaKey::at([192, 0, 2, 1].into())
    }

    #[test]
    fn room_is_taken_in_batches_and_singly_near_the_end() {
        let places = Places::new(What::Locks, 63);
        let room = Room::new(1_000);
        assert!(room.has_some(OWN_LOCKS - 1) && !room.has_some(OWN_LOCKS));
        let mut holds = OWN_LOCKS;
        let refused = loop {
            match room.grow(1_000, &places, who()) {
                Ok(()) => holds += 1,
                Err(refused) => break refused,
            }
            assert!(room.has_some(holds - 1) && !room.has_some(holds));
        };
        assert_eq!(holds, OWN_LOCKS + 63);
        let full = NoPlace { what: What::Locks, limit: 63, cause: Cause::Full };
        assert_eq!(refused, Error::NoPlace(full));
        assert_eq!(
            places.refusals()[Cause::Full as usize],
            (Cause::Full, 1),
            "what was granted in the end is not counted"
        );
        room.give_back();
        assert!(room.has_some(OWN_LOCKS - 1) && !room.has_some(OWN_LOCKS));
        assert!(places.take(who(), 63).is_ok());
    }

    #[test]
    fn session_returns_unused_room() {
        let places = Places::new(What::Locks, 10_000);
        let room = Room::new(500);
        let mut holds = 0;
        while room.has_some(holds) || room.grow(500, &places, who()).is_ok() {
            holds += 1;
        }
        assert_eq!((holds, room.grow(500, &places, who())), (500, Err(Error::TooManyLocks(500))));
        while holds > 0 {
            holds -= 1;
            room.released(holds);
            let taken = room.more.lock().as_ref().map_or(0, |place| place.count());
            assert!(taken >= holds.saturating_sub(OWN_LOCKS) && taken <= holds + 3 * BATCH);
        }
        assert_eq!(Room::new(3).grow(3, &places, who()), Err(Error::TooManyLocks(3)));
    }
}
