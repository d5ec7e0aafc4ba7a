//! The waiters of a lock, in the order in which they are granted it.

use std::{cmp::Ordering, collections::BTreeMap, mem};

use tokio::time::Instant;

use super::request::{Request, Verdict};
use crate::core::sync::oneshot;

/// The number of a wait. It grows with every wait for any lock.
pub(super) type Ticket = u64;

/// A position in a queue: upgrades come first, others in the order of their arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuePosition {
    is_no_upgrade: bool,
    pub ticket: Ticket,
}

impl QueuePosition {
    pub(super) fn of(request: Request, ticket: Ticket) -> Self {
        Self::new(request.upgrade, ticket)
    }

    pub(super) fn new(is_upgrade: bool, ticket: Ticket) -> Self {
        Self { is_no_upgrade: !is_upgrade, ticket }
    }

    pub(super) fn is_upgrade(self) -> bool {
        !self.is_no_upgrade
    }
}

impl Ord for QueuePosition {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::COMPARED.set(tests::COMPARED.get() + 1);
        (self.is_no_upgrade, self.ticket).cmp(&(other.is_no_upgrade, other.ticket))
    }
}

impl PartialOrd for QueuePosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A session's wait.
#[derive(Debug)]
pub(super) struct Waiter {
    pub request: Request,
    pub position: QueuePosition,
    pub since: Instant,
    pub verdict: oneshot::Sender<Verdict>,
}

/// Usually one waiter, for which this is small. Of many waiters, each may leave at any time.
#[derive(Debug)]
pub(super) enum Queue {
    One(Waiter),
    Many(BTreeMap<QueuePosition, Waiter>),
}

impl Queue {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        let (one, many) = match self {
            Self::One(waiter) => (Some(waiter), None),
            Self::Many(waiters) => (None, Some(waiters.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn first(&self) -> Option<&Waiter> {
        match self {
            Self::One(waiter) => Some(waiter),
            Self::Many(waiters) => waiters.first_key_value().map(|(_, waiter)| waiter),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(waiters) => waiters.len(),
        }
    }

    pub(super) fn get(&self, position: QueuePosition) -> Option<&Waiter> {
        match self {
            Self::One(waiter) => Some(waiter).filter(|waiter| waiter.position == position),
            Self::Many(waiters) => waiters.get(&position),
        }
    }

    pub(super) fn push(&mut self, waiter: Waiter) {
        if let Self::One(_) = self
            && let Self::One(first) = mem::replace(self, Self::Many(BTreeMap::new()))
        {
            self.push(first);
        }
        if let Self::Many(waiters) = self {
            waiters.insert(waiter.position, waiter);
        }
    }

    pub(super) fn remove(&mut self, position: QueuePosition) -> Option<Waiter> {
        match self {
            Self::One(waiter) if waiter.position != position => None,
            Self::One(_) => match mem::replace(self, Self::Many(BTreeMap::new())) {
                Self::One(waiter) => Some(waiter),
                Self::Many(_) => None,
            },
            Self::Many(waiters) => waiters.remove(&position),
        }
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
        Waiter { request, position: QueuePosition::of(request, ticket), since: Instant::now(), verdict }
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
