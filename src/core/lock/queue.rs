//! The waiters of a lock, in the order in which they are granted it.

use std::{cmp::Ordering, collections::BTreeMap, ops::Bound, sync::Arc};

use tokio::time::Instant;

use super::{
    Mode,
    request::{Parts, Request, Verdict},
};
use crate::core::sync::oneshot;

/// The number of a wait. It grows with every wait for any lock.
pub(super) type Ticket = u64;

/// A position in a queue: upgrades come first, others in the order of their arrival. One that passes another stands in
/// front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuePosition {
    /// The ticket of the wait whose place it is, followed by two bits: [`OWN_PLACE`], or how it stands in front of that.
    place: u64,
    pub ticket: Ticket,
}

/// What passes even those that have passed others twice.
const IN_FRONT: u64 = 0;
/// The place of upgrades, as if all had come before the first ticket.
const FIRST: u64 = OWN_PLACE;
/// In the last two bits of a place: in front of what passes the wait with that ticket, in front of that wait, its own.
const PASSES_TWICE: u64 = 1;
const PASSES: u64 = 2;
const OWN_PLACE: u64 = 3;

impl QueuePosition {
    pub(super) fn of(request: Request, ticket: Ticket) -> Self {
        Self::new(request.upgrade, ticket)
    }

    pub(super) fn new(is_upgrade: bool, ticket: Ticket) -> Self {
        Self { place: if is_upgrade { FIRST } else { ticket << 2 | OWN_PLACE }, ticket }
    }

    /// The place of a wait that passes the one at `self`.
    pub(super) fn in_front(self, ticket: Ticket) -> Self {
        let place = match self.place & OWN_PLACE {
            OWN_PLACE => self.place & !OWN_PLACE | PASSES,
            PASSES => self.place & !OWN_PLACE | PASSES_TWICE,
            _ => IN_FRONT,
        };
        Self { place, ticket }
    }

    /// The position of an upgrade, ahead of whatever has passed an earlier one.
    pub(super) fn ahead_of(self, first: Self) -> Self {
        Self { place: self.place.min(first.place.saturating_sub(1)), ..self }
    }

    /// As two numbers, by which positions are ordered.
    pub(super) fn numbers(self) -> (u64, Ticket) {
        (self.place, self.ticket)
    }

    /// The position with these numbers.
    pub(super) fn from_numbers(place: u64, ticket: Ticket) -> Self {
        Self { place, ticket }
    }
}

impl Ord for QueuePosition {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::COMPARED.set(tests::COMPARED.get() + 1);
        self.numbers().cmp(&other.numbers())
    }
}

impl PartialOrd for QueuePosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A session's wait, or the part of it that is about this lock.
#[derive(Debug)]
pub(super) struct Waiter {
    pub request: Request,
    pub position: QueuePosition,
    pub since: Instant,
    /// Of a wait for several locks, all of them.
    pub parts: Option<Arc<Parts>>,
    /// Of a wait for several locks, the first part has it.
    pub verdict: Option<oneshot::Sender<Verdict>>,
}

impl Waiter {
    /// Tells the session how its wait ended. It may have gone: `Table::leave`.
    pub(super) fn tell(self, verdict: Verdict) {
        if let Some(sender) = self.verdict {
            let _ = sender.send(verdict);
        }
    }
}

/// Usually one waiter, for which this is small. Of many waiters, each may leave at any time.
#[derive(Debug)]
pub(super) enum Queue {
    One(Waiter),
    Crowd(Crowd),
}

/// No operation takes longer for many waiters than for few, except a look at all of them.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    waiters: BTreeMap<QueuePosition, Waiter>,
    /// Those that wait for several locks.
    several: BTreeMap<QueuePosition, Arc<Parts>>,
    /// How many do not want the lock exclusively, and how: all of them want it in the same way.
    beside: usize,
    mode: Option<Mode>,
}

impl Queue {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        let (one, many) = match self {
            Self::One(waiter) => (Some(waiter), None),
            Self::Crowd(many) => (None, Some(many.waiters.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn first(&self) -> Option<&Waiter> {
        match self {
            Self::One(waiter) => Some(waiter),
            Self::Crowd(many) => many.waiters.first_key_value().map(|(_, waiter)| waiter),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Crowd(many) => many.waiters.len(),
        }
    }

    pub(super) fn get(&self, position: QueuePosition) -> Option<&Waiter> {
        match self {
            Self::One(waiter) => Some(waiter).filter(|waiter| waiter.position == position),
            Self::Crowd(many) => many.waiters.get(&position),
        }
    }

    /// Those that wait for several locks and stand in front of a position, the nearest first.
    pub(super) fn several_in_front(
        &self,
        of: QueuePosition,
    ) -> impl Iterator<Item = (QueuePosition, &Arc<Parts>)> {
        let (one, many) = match self {
            Self::One(waiter) => {
                let waiter = Some(waiter).filter(|waiter| waiter.position < of);
                (waiter.and_then(|waiter| Some((waiter.position, waiter.parts.as_ref()?))), None)
            }
            Self::Crowd(many) => {
                let in_front = many.several.range((Bound::Unbounded, Bound::Excluded(of))).rev();
                (None, Some(in_front.map(|(position, parts)| (*position, parts))))
            }
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Whether one of them waits for several locks.
    pub(super) fn has_several(&self) -> bool {
        match self {
            Self::One(waiter) => waiter.parts.is_some(),
            Self::Crowd(many) => !many.several.is_empty(),
        }
    }

    /// How the lock is wanted by those that do not want it exclusively.
    pub(super) fn mode_beside(&self) -> Option<Mode> {
        match self {
            Self::One(waiter) => Some(waiter.request.mode).filter(|mode| *mode != Mode::Exclusive),
            Self::Crowd(many) => many.mode.filter(|_| many.beside > 0),
        }
    }

    pub(super) fn push(&mut self, waiter: Waiter) {
        match self {
            Self::One(_) => {
                if let Self::One(first) = std::mem::replace(self, Self::Crowd(Crowd::default())) {
                    self.push(first);
                }
                self.push(waiter);
            }
            Self::Crowd(many) => many.push(waiter),
        }
    }

    pub(super) fn remove(&mut self, position: QueuePosition) -> Option<Waiter> {
        match self {
            Self::One(waiter) if waiter.position != position => None,
            Self::One(_) => match std::mem::replace(self, Self::Crowd(Crowd::default())) {
                Self::One(waiter) => Some(waiter),
                Self::Crowd(_) => None,
            },
            Self::Crowd(many) => many.remove(position),
        }
    }
}

impl Crowd {
    fn push(&mut self, waiter: Waiter) {
        if waiter.request.mode != Mode::Exclusive {
            (self.beside, self.mode) = (self.beside + 1, Some(waiter.request.mode));
        }
        if let Some(parts) = &waiter.parts {
            self.several.insert(waiter.position, parts.clone());
        }
        self.waiters.insert(waiter.position, waiter);
    }

    fn remove(&mut self, position: QueuePosition) -> Option<Waiter> {
        let waiter = self.waiters.remove(&position)?;
        if waiter.request.mode != Mode::Exclusive {
            self.beside -= 1;
        }
        if waiter.parts.is_some() {
            self.several.remove(&position);
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::core::lock::{Mode, SessionId};

    thread_local! {
        /// How many pairs of positions have been compared.
        pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    fn waiter(ticket: Ticket, upgrade: bool) -> Waiter {
        let session = SessionId(u32::try_from(ticket).unwrap());
        let request = Request { session, mode: Mode::Exclusive, upgrade };
        let (verdict, _) = oneshot::channel();
        Waiter {
            request,
            position: QueuePosition::of(request, ticket),
            since: Instant::now(),
            parts: None,
            verdict: Some(verdict),
        }
    }

    fn tickets(queue: &Queue) -> Vec<Ticket> {
        queue.iter().map(|waiter| waiter.position.ticket).collect()
    }

    #[test]
    fn upgrades_go_first_and_others_in_order() {
        let mut queue = Queue::One(waiter(1, false));
        for (ticket, upgrade) in [(2, false), (3, true), (4, false)] {
            queue.push(waiter(ticket, upgrade));
        }
        assert_eq!(tickets(&queue), [3, 1, 2, 4]);
        let first = waiter(1, false).position;
        assert_eq!(queue.remove(first).unwrap().position, first);
        assert!(queue.remove(first).is_none());
        assert_eq!((tickets(&queue), queue.len()), (vec![3, 2, 4], 3));
    }

    #[test]
    fn passing_position_is_in_front_of_the_passed() {
        let (first, second) = (QueuePosition::new(false, 1), QueuePosition::new(false, 2));
        let passes = second.in_front(7);
        let passes_later = second.in_front(8);
        let passes_the_passing = passes.in_front(9);
        let passes_even_that = passes_the_passing.in_front(10);
        let upgrade = QueuePosition::new(true, 11);
        let passes_the_upgrade = upgrade.in_front(12);
        let mut all = [
            first,
            second,
            passes,
            passes_later,
            passes_the_passing,
            passes_even_that,
            upgrade,
            passes_the_upgrade,
        ];
        all.sort_unstable();
        let order = [
            passes_even_that,
            passes_the_upgrade,
            upgrade,
            first,
            passes_the_passing,
            passes,
            passes_later,
            second,
        ];
        assert_eq!(all, order);
    }

    #[test]
    fn leaving_a_long_queue_is_cheap() {
        const LENGTH: Ticket = 9_000;
        let mut queue = Queue::One(waiter(1, false));
        (2..=LENGTH).for_each(|ticket| queue.push(waiter(ticket, false)));
        // From the middle to both ends, as connections die in any order.
        let order =
            (0..LENGTH).map(|at| if at % 2 == 0 { (LENGTH - at) / 2 } else { (LENGTH + at).div_ceil(2) });
        for ticket in order {
            let before = COMPARED.get();
            assert!(queue.remove(waiter(ticket, false).position).is_some(), "{ticket}");
            // A node has at most 11 positions, and there are at most 5 below each other.
            assert!(COMPARED.get() - before <= 55, "{}", COMPARED.get() - before);
        }
        assert_eq!(queue.len(), 0);
    }
}
