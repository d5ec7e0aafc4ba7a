//! The leadership that the driver runs: its guard, its numbers, and what waits to be written.

use std::{
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use tokio::sync::{mpsc, watch};

use super::{
    tenure::{DriverOrder, Tenure, TenureState},
    writes::Writes,
};
use crate::{
    engine::Leases,
    moment::Moment,
    record::{AHEAD, Floors, Leader},
    seat::Seat,
    term::Term,
};

#[derive(Debug)]
pub(super) struct Leadership {
    pub(super) term: Arc<Term>,
    pub(super) leader: Arc<Leader>,
    pub(super) began: Moment,
    /// That of the last write that was acknowledged: the leases of this term can be read there.
    pub(super) revision: u64,
    pub(super) writes: Writes,
    pub(super) state: Arc<TenureState>,
    /// None until the leases are read.
    pub(super) tenure: Option<Arc<Tenure>>,
    pub(super) restored_leases: usize,
    first: Floors,
    ceiling: watch::Sender<Floors>,
    serving: bool,
    paused: bool,
    numbers_are_low: bool,
}

/// How near the last numbers are to the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supply {
    Enough,
    /// More than half is given: a beat is due.
    Half,
    /// Nearly all are given. What is given past the ceiling must not be told before a beat is acknowledged.
    Low,
}

impl Leadership {
    pub(super) fn new(term: Term, leader: Leader, numbers: (Floors, Floors), now: Moment) -> Self {
        let (first, ceiling) = numbers;
        let (deadline, revision) = (term.deadline(), term.number());
        let leadership = Self {
            term: Arc::new(term),
            leader: Arc::new(leader),
            began: now,
            revision,
            writes: Writes::default(),
            state: Arc::default(),
            tenure: None,
            restored_leases: 0,
            first,
            ceiling: watch::Sender::new(ceiling),
            serving: false,
            paused: false,
            numbers_are_low: false,
        };
        leadership.promise(deadline);
        leadership
    }

    /// The leases are read: the server can restore them.
    pub(super) fn publish(
        &mut self,
        leases: Leases,
        orders: mpsc::UnboundedSender<DriverOrder>,
    ) -> Arc<Tenure> {
        self.restored_leases = leases.records.len();
        let tenure = Arc::new(Tenure {
            term: Arc::clone(&self.term),
            leader: Arc::clone(&self.leader),
            first: self.first,
            leases: leases.records.into(),
            since: SystemTime::now(),
            ceiling: self.ceiling.subscribe(),
            orders,
            state: Arc::clone(&self.state),
        });
        self.tenure = Some(Arc::clone(&tenure));
        tenure
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving
    }

    pub(super) fn serve(&mut self) {
        self.serving = true;
        self.hold_or_release();
        self.state.serving.cancel();
    }

    /// A beat with these floors was acknowledged.
    pub(super) fn extend(&mut self, deadline: Moment, floors: Option<Floors>) {
        // Numbers before time: what the guard lets through is below the ceiling.
        if let Some(floors) = floors {
            self.ceiling.send_replace(floors);
        }
        self.promise(deadline);
        self.term.extend(deadline);
        self.check_supply();
    }

    /// What is promised from now on ends by itself at S + T and the delay, S being the send of the last beat.
    fn promise(&self, deadline: Moment) {
        let rest = self.leader.wait().saturating_sub(Seat::serving_time(self.leader.ttl));
        let mut until = self.state.promised_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = deadline.after(rest);
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.hold_or_release();
    }

    /// The floors of the next beat.
    pub(super) fn next_floors(&self) -> Floors {
        self.last_numbers().ahead()
    }

    fn last_numbers(&self) -> Floors {
        self.state.numbers.get().map_or(self.first, |numbers| (numbers.last)())
    }

    pub(super) fn holders(&self) -> usize {
        self.state.numbers.get().map_or(0, |numbers| (numbers.holders)())
    }

    /// Holds writes while numbers are low: what is not told is not visible.
    pub(super) fn check_supply(&mut self) -> Supply {
        let supply = supply(self.last_numbers(), *self.ceiling.borrow());
        self.numbers_are_low = supply == Supply::Low;
        self.hold_or_release();
        supply
    }

    fn hold_or_release(&self) {
        if self.paused || self.numbers_are_low || !self.is_serving() {
            self.term.hold();
        } else {
            self.term.release();
        }
    }

    pub(super) fn end(&mut self, cause: &'static str) {
        // The first cause stays: it is why sockets began to close.
        let _ = self.state.cause.set(cause);
        self.term.shut();
        self.writes.close();
    }
}

fn supply(last: Floors, ceiling: Floors) -> Supply {
    let tokens = ceiling.token.saturating_sub(last.token);
    // Ids wrap; those past the ceiling are a little ahead of it.
    let sessions = ceiling.session.wrapping_sub(last.session);
    let sessions = if sessions > AHEAD.session { 0 } else { sessions };
    if tokens <= AHEAD.token / 16 || sessions <= AHEAD.session / 16 {
        Supply::Low
    } else if tokens <= AHEAD.token / 2 || sessions <= AHEAD.session / 2 {
        Supply::Half
    } else {
        Supply::Enough
    }
}

impl Drop for Leadership {
    /// Also when the driver ends, for whatever reason.
    fn drop(&mut self) {
        self.end("the node ended");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn supply_is_low_near_the_ceiling_and_past_it() {
        let ceiling = Floors { token: 1 << 40, session: 5 };
        let supply_at = |tokens: u64, sessions: u32| {
            let last = Floors {
                token: (ceiling.token + (1 << 10)).wrapping_sub(tokens + (1 << 10)),
                session: ceiling.session.wrapping_sub(sessions),
            };
            supply(last, ceiling)
        };
        assert_eq!(supply_at(1 << 24, 1 << 20), Supply::Enough);
        assert_eq!(supply_at(1 << 23, 1 << 20), Supply::Half);
        assert_eq!(supply_at(1 << 24, 1 << 19), Supply::Half);
        assert_eq!(supply_at(1 << 20, 1 << 20), Supply::Low);
        assert_eq!(supply_at(1 << 24, 1 << 16), Supply::Low);
        assert_eq!(supply_at(1 << 24, 0), Supply::Low);
        assert_eq!(supply(Floors { token: ceiling.token + 7, session: 9 }, ceiling), Supply::Low);
    }

    #[test]
    fn writes_are_held_until_served_and_while_paused_or_low() {
        let first = Floors { token: 100, session: 100 };
        let leader = Leader {
            node: "a".into(),
            address: String::new(),
            nonce: String::new(),
            version: String::new(),
            secret: String::new(),
            pin: None,
            ttl: Duration::from_mins(1),
            takeover_delay: Duration::from_secs(3),
            keepalive: Duration::ZERO,
            request_key: String::new(),
        };
        let now = Moment::now();
        let deadline = now.after(Duration::from_secs(54));
        let mut leadership = Leadership::new(Term::held(7, deadline), leader, (first, first.ahead()), now);
        let tenure = leadership.publish(Leases::default(), mpsc::unbounded_channel().0);
        assert_eq!(tenure.promised_until(), now.after(Duration::from_secs(63)));
        let may_write = || tenure.term.check().is_ok();
        assert!(!may_write());
        leadership.serve();
        assert!(may_write() && tenure.is_serving());
        leadership.pause(true);
        assert!(!may_write());
        leadership.pause(false);
        assert!(may_write());
        let last = Floors { token: first.token + (1 << 24), ..first };
        let numbers = Numbers { last: Box::new(move || last), holders: Box::new(|| 3) };
        tenure.restored(numbers);
        assert_eq!((leadership.check_supply(), leadership.holders()), (Supply::Low, 3));
        assert!(!may_write());
        leadership.extend(deadline, Some(leadership.next_floors()));
        assert!(may_write());
        assert_eq!(*tenure.ceiling.borrow(), last.ahead());
        drop(leadership);
        assert_eq!((may_write(), tenure.cause()), (false, Some("the node ended")));
    }

    use super::super::tenure::Numbers;
}
