//! A node that does not lead: it waits until the seat may be taken, and tries to take it.

use std::time::Duration;

use super::{Action, DRAINED, Flight, Leading, Now, Seat, State, TakeTry, ToldRole};
use crate::{
    engine::{Look, Versioned, Written},
    moment::Moment,
    record::{BeatRecord, Floors, SeatRecord},
};

/// How far the time of day may be ahead of the floor of tokens: a year, in microseconds.
const YEAR: u64 = 366 * 24 * 3600 * 1_000_000;

/// Where tokens start at most if there is no floor: the year 2112.
const LATEST_START: u64 = 1 << 52;

#[derive(Debug, Default)]
pub(super) struct Candidate {
    /// A try that was not answered: whether it stands there is to be looked at.
    unsure: Option<TakeTry>,
    /// When something was tried last.
    tried: Option<Moment>,
}

impl Candidate {
    /// Whether the last try is long enough ago that a next one does not flood the engine.
    fn has_rested(&self, ttl: Duration, now: Moment) -> bool {
        self.tried.is_none_or(|tried| tried.elapsed_at_most(now) >= ttl / 20)
    }
}

impl Seat {
    /// What a node does that does not lead.
    pub(super) fn stand(&mut self, now: Now) {
        let State::Candidate(candidate) = &mut self.state else { return };
        if self.flight.is_some() {
            return;
        }
        if self.exits && candidate.unsure.is_none() {
            self.retire();
        } else if !candidate.has_rested(self.config.leader.ttl, now.moment) {
            // The next tick comes soon.
        } else if let Some(unsure) = candidate.unsure.take() {
            candidate.tried = Some(now.moment);
            self.flight = Some(Flight::Look(unsure));
            self.actions.push(Action::Look);
        } else if self.stands && self.sight.may_be_taken(&self.config.leader, now.moment) {
            candidate.tried = Some(now.moment);
            self.take(now);
        }
    }

    pub(super) fn retire(&mut self) {
        self.state = State::Retired;
        self.actions.push(Action::Resigned);
    }

    fn take(&mut self, now: Now) {
        let mut seat = self.config.leader.clone();
        // Fresh for each try: one that lands late must not be taken for a later one.
        seat.nonce = (self.nonces)();
        if let Some(key) = self.sight.request_key() {
            key.clone_into(&mut seat.request_key);
        }
        let first = self.first_numbers(now.wall_micros);
        let beat = BeatRecord { n: 0, floors: first.ahead() };
        self.actions.push(Action::Take { expected: self.sight.expected(), seat: seat.clone(), beat });
        self.flight = Some(Flight::Take(TakeTry { seat, sent: now.moment, first }));
    }

    /// Where the numbers of a term start. The floor is for a clock that was set back; the clock is for an engine that was
    /// restored from a backup. A clock that is far ahead is not believed, since every later term would keep its number.
    fn first_numbers(&mut self, wall_micros: u64) -> Floors {
        slip!(FloorNotRead => return Floors { token: wall_micros, session: 0 });
        let Some(floors) = self.sight.floors() else {
            return Floors { token: wall_micros.min(LATEST_START), session: 0 };
        };
        if wall_micros > floors.token.saturating_add(YEAR) {
            self.actions.push(Action::ClockIgnored { wall_micros, floor: floors.token });
            return floors;
        }
        slip!(ClockNotRead => return floors);
        Floors { token: floors.token.max(wall_micros), ..floors }
    }

    pub(super) fn take_ended(&mut self, written: Written, now: Moment) {
        let Some(Flight::Take(tried)) = self.flight.take_if(|flight| matches!(flight, Flight::Take(_)))
        else {
            return;
        };
        match written {
            Written::Done(term) => {
                let beat = BeatRecord { n: 0, floors: tried.first.ahead() };
                let key = |value| Some(Versioned { revision: term, value });
                let seat = key(SeatRecord::Leads(tried.seat.clone()).encode());
                self.sight.saw(Look { revision: term, seat, beat: key(beat.encode()) }, now);
                self.begin(tried, term, now);
            }
            // An engine's client that tried twice by itself is told "no" of what it did.
            Written::Not(look) => self.look_for(tried, look, now),
            Written::Refused(_) => {}
            Written::Unknown(_) => self.doubt(tried),
        }
    }

    pub(super) fn looked(&mut self, look: Option<Look>, now: Moment) {
        let Some(Flight::Look(tried)) = self.flight.take_if(|flight| matches!(flight, Flight::Look(_)))
        else {
            return;
        };
        match look {
            Some(look) => self.look_for(tried, look, now),
            None if has_time(&tried, now) => self.doubt(tried),
            // Whatever became of it, it is of no use any more.
            None => {}
        }
    }

    fn doubt(&mut self, tried: TakeTry) {
        if let State::Candidate(candidate) = &mut self.state {
            candidate.unsure = Some(tried);
        }
    }

    /// Whether a try stands there. If not, it may still land; then it is a leader like any other, of whom nothing is
    /// heard.
    fn look_for(&mut self, tried: TakeTry, look: Look, now: Moment) {
        let changed = look.seat != self.sight.expected().seat || look.beat != self.sight.expected().beat;
        let term = look.seat.as_ref().filter(|seat| stands_in(&tried, seat)).map(|seat| seat.revision);
        let term = term.filter(|_| look.beat.is_some());
        self.sight.saw(look, now);
        if let Some(term) = term {
            slip!(TakeFromLook => return self.begin(TakeTry { sent: now, ..tried }, term, now));
            self.begin(tried, term, now);
        } else if let State::Candidate(candidate) = &mut self.state
            && changed
        {
            candidate.tried = None;
        }
    }

    /// The seat is this node's. Its time counts from the send of the very try that took it.
    fn begin(&mut self, tried: TakeTry, term: u64, now: Moment) {
        if !has_time(&tried, now) {
            return;
        }
        self.sight.began(term, tried.seat.wait(), now);
        let leading = Leading::new(term, tried.seat, tried.sent);
        self.actions.push(Action::Begin {
            term,
            seat: leading.seat.clone(),
            first: tried.first,
            ceiling: tried.first.ahead(),
            deadline: leading.deadline(),
        });
        self.shown = ToldRole::Leads;
        self.state = State::Leading(Box::new(leading));
        if self.exits {
            // The try was under way when the process began to end.
            self.shut_unserved(DRAINED);
        }
    }

    /// Without a term from now on, which was not drained.
    pub(super) fn end(&mut self, cause: &'static str) {
        self.actions.push(Action::End(cause));
        self.state = State::Candidate(Box::default());
    }

    /// The seat is not this node's any more.
    pub(super) fn lose(&mut self, cause: &'static str, now: Moment) {
        match &self.state {
            State::Leading(leading) if leading.is_shut() => self.finish(now),
            State::Leading(_) => self.end(cause),
            _ => {}
        }
    }
}

fn has_time(tried: &TakeTry, now: Moment) -> bool {
    tried.sent.elapsed_at_most(now) < Seat::serving_time(tried.seat.ttl)
}

fn stands_in(tried: &TakeTry, seat: &Versioned) -> bool {
    matches!(SeatRecord::decode(&seat.value), SeatRecord::Leads(leader) if leader.nonce == tried.seat.nonce)
}
