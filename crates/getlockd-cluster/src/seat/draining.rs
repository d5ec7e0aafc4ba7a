//! The end of a leadership that a node gives up by itself.
//!
//! A node that ends the wait of T early must first have ended all that was promised against the old deadline. So the guard is
//! shut for good, and the seat is resigned only when each lease that was not written has run out, each relay has answered
//! that it has cut, and each holder has heard; or when all of it has ended by itself.

use std::time::Duration;

use super::{
    Action, DRAINED, Flight, Leading, Seat, State,
    leading::{Drain, Shut},
};
use crate::{
    engine::{Look, Written},
    moment::Moment,
};

impl Leading {
    /// The guard shuts. `told`: nothing was promised.
    fn shut(&mut self, told: bool) {
        let sent = self.sent;
        let drain = self.drain.get_or_insert(Drain { successor: None, shut: None });
        drain.shut = Some(Shut { sent, told, resigning: None });
    }

    /// Whether all that was promised has ended: as it is known, or by itself, with relays whose clocks are slower.
    fn may_resign(&self, now: Moment) -> bool {
        slip!(ResignAtOnce => return self.when_shut().is_some());
        self.when_shut().is_some_and(|shut| shut.told || shut.sent.elapsed_at_least(now) >= self.seat.wait())
    }

    fn when_shut(&self) -> Option<&Shut> {
        self.drain.as_ref()?.shut.as_ref()
    }

    /// For how long it has tried to resign.
    fn resigning_for(&self, now: Moment) -> Duration {
        let since = self.when_shut().and_then(|shut| shut.resigning);
        since.map_or(Duration::ZERO, |since| since.elapsed_at_most(now))
    }

    fn is_resign_due(&self, now: Moment) -> bool {
        self.when_shut().is_some_and(|shut| shut.resigning.is_none()) || self.is_beat_due(now)
    }
}

impl Seat {
    pub(super) fn drain(&mut self, exits: bool, successor: Option<String>) {
        self.exits |= exits;
        let State::Leading(leading) = &mut self.state else { return };
        if leading.drain.is_some() || leading.is_stepping_down() {
            return;
        }
        leading.drain = Some(Drain { successor, shut: None });
        if leading.is_serving() {
            self.actions.push(Action::Drain);
        } else {
            self.shut_unserved(DRAINED);
        }
    }

    /// The leases cannot be restored: another node may have more luck.
    pub(super) fn restore_failed(&mut self) {
        if let State::Leading(leading) = &self.state
            && !leading.is_serving()
            && !leading.is_stepping_down()
            && !leading.is_shut()
        {
            self.shut_unserved("the leases could not be restored");
        }
    }

    /// A term under which nothing was told to anyone: there is nothing to wait for.
    pub(super) fn shut_unserved(&mut self, cause: &'static str) {
        if let State::Leading(leading) = &mut self.state {
            leading.shut(true);
            self.actions.push(Action::End(cause));
        }
    }

    pub(super) fn drained(&mut self) {
        if let State::Leading(leading) = &mut self.state
            && !leading.is_shut()
            && !leading.is_stepping_down()
        {
            leading.shut(false);
            self.actions.push(Action::End(DRAINED));
        }
    }

    pub(super) fn all_told(&mut self) {
        let State::Leading(leading) = &mut self.state else { return };
        if let Some(Drain { shut: Some(shut), .. }) = &mut leading.drain {
            shut.told = true;
        }
    }

    /// Beats go on until the seat is resigned: nobody may take it while something that was promised still runs.
    pub(super) fn lead_on_after_the_drain(&mut self, now: Moment) {
        let State::Leading(leading) = &mut self.state else { return };
        if !leading.may_resign(now) {
            return self.beat_if_due(now);
        }
        if leading.resigning_for(now) >= leading.seat.ttl {
            // No answer: the seat is left as a crash leaves it.
            self.finish(now);
        } else if self.flight.is_none() && leading.is_resign_due(now) {
            self.resign(now);
        }
    }

    fn resign(&mut self, now: Moment) {
        let State::Leading(leading) = &mut self.state else { return };
        let n = leading.next_try(now);
        // Until it is acknowledged: the next try is soon.
        leading.failed();
        let Some(Drain { successor, shut: Some(shut) }) = &mut leading.drain else { return };
        shut.resigning.get_or_insert(now);
        let successor = successor.clone();
        self.flight = Some(Flight::Resign { term: leading.term });
        self.actions.push(Action::Resign { term: leading.term, seat: leading.seat.clone(), n, successor });
    }

    pub(super) fn resign_ended(&mut self, written: Written, now: Moment) {
        let flight = self.flight.take_if(|flight| matches!(flight, Flight::Resign { .. }));
        let Some(Flight::Resign { term }) = flight else { return };
        let State::Leading(leading) = &mut self.state else { return };
        if leading.term != term {
            return;
        }
        match written {
            Written::Done(_) => self.finish(now),
            Written::Not(look) => self.resign_was_not_made(look, now),
            Written::Refused(_) | Written::Unknown(_) => {}
        }
    }

    fn resign_was_not_made(&mut self, look: Look, now: Moment) {
        let State::Leading(leading) = &mut self.state else { return };
        // Also when an earlier try landed: then the seat is another by now.
        let lost = leading.lost_by(&look).is_some();
        leading.superseded(&look);
        self.sight.saw(look, now);
        if lost {
            self.finish(now);
        }
    }

    /// The drain is over. A node that resigned lets the others try first: see `sight`.
    pub(super) fn finish(&mut self, now: Moment) {
        if self.exits {
            return self.retire();
        }
        self.actions.push(Action::Resigned);
        // What it saw while it led is not what it waits for as a candidate.
        self.sight.touch(now);
        self.state = State::Candidate(Box::default());
    }
}
