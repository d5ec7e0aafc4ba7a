//! A node that leads: it beats, serves, and ends in time.

use std::time::Duration;

use super::{Action, Flight, LOST, Seat, State};
use crate::{
    engine::{Look, Written},
    moment::Moment,
    record::{BeatRecord, Leader, SeatRecord},
};

/// The engine answers as it did before an earlier answer: it was restored from a backup.
pub(super) const WENT_BACK: &str = "the engine went back to an earlier state";

/// No beat was acknowledged for too long.
const NO_BEAT: &str = "no beat was acknowledged in time";

/// How much earlier closing begins for each holder that is to be told.
const CLOSING_ONE: Duration = Duration::from_micros(25);

#[derive(Debug)]
pub(super) struct Leading {
    pub(super) term: u64,
    /// The seat as it was taken.
    pub(super) seat: Leader,
    /// The send of the newest try that was acknowledged: all time counts from there.
    pub(super) sent: Moment,
    /// The revision of the last write that was acknowledged.
    pub(super) revision: u64,
    /// That of the last try.
    pub(super) n: u64,
    /// When the last try was sent.
    tried: Moment,
    pace: Pace,
    stage: Stage,
    /// Leases wait to be written.
    writes: bool,
    /// The next beat carries no leases, until one is acknowledged: then no earlier try can land any more.
    alone: bool,
    /// The machine stood still: nothing is told until this try, or a later one, is acknowledged.
    awaits: Option<u64>,
    pub(super) drain: Option<Drain>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The leases are read.
    Restoring,
    /// The server can serve.
    Restored,
    /// Clients are told things.
    Serving,
    /// Sockets are closing, and no beat brings the term back.
    SteppingDown,
}

/// When the next try is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// T/5 after the last one.
    Regular,
    /// At once.
    Urgent,
    /// The last one failed: soon, but not so soon that the engine is flooded.
    AfterFailure,
}

/// The end of a term that a node gives up by itself.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) successor: Option<String>,
    /// The guard is shut for good; there is no way back into this term, whatever comes of the resign.
    pub(super) shut: Option<Shut>,
}

#[derive(Debug)]
pub(super) struct Shut {
    /// The send of the newest acknowledged try as it stood when the guard shut: what was promised, counts from there.
    pub(super) sent: Moment,
    /// Nothing that was promised runs any more.
    pub(super) told: bool,
    /// When the first try to resign was sent.
    pub(super) resigning: Option<Moment>,
}

impl Leading {
    pub(super) fn new(term: u64, seat: Leader, sent: Moment) -> Self {
        Self {
            term,
            seat,
            sent,
            revision: term,
            n: 0,
            tried: sent,
            pace: Pace::Regular,
            stage: Stage::Restoring,
            writes: false,
            alone: false,
            awaits: None,
            drain: None,
        }
    }

    /// When the term ends, if no later try is acknowledged.
    pub(super) fn deadline(&self) -> Moment {
        self.sent.after(Seat::serving_time(self.seat.ttl))
    }

    /// Whether the guard was shut by a drain: nothing is told any more, but the seat is still kept.
    pub(super) fn is_shut(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.shut.is_some())
    }

    pub(super) fn is_stepping_down(&self) -> bool {
        self.stage == Stage::SteppingDown
    }

    pub(super) fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    fn is_over(&self, now: Moment) -> bool {
        self.sent.elapsed_at_most(now) >= Seat::serving_time(self.seat.ttl)
    }

    /// Whether it is time to close sockets, so that clients hear of it before a successor grants.
    fn must_step_down(&self, holders: usize, now: Moment) -> bool {
        let closing = CLOSING_ONE.saturating_mul(u32::try_from(holders).unwrap_or(u32::MAX));
        let at = (self.seat.ttl * 4 / 5).saturating_sub(closing).max(self.seat.ttl / 2);
        self.sent.elapsed_at_most(now) >= at
    }

    pub(super) fn is_beat_due(&self, now: Moment) -> bool {
        let since = self.tried.elapsed_at_most(now);
        match self.pace {
            Pace::Regular => self.carries_leases() || since >= self.seat.ttl / 5,
            Pace::Urgent => true,
            Pace::AfterFailure => since >= self.seat.ttl / 20,
        }
    }

    /// Nothing is written after the guard is shut: what ends from then on goes on in the engine.
    fn carries_leases(&self) -> bool {
        self.writes && !self.alone && !self.is_shut()
    }

    /// The next try, at the same time as the last one of all.
    pub(super) fn next_try(&mut self, now: Moment) -> u64 {
        self.n = self.n.saturating_add(1);
        self.tried = now;
        self.pace = Pace::Regular;
        self.n
    }

    /// A try was not acknowledged.
    pub(super) fn failed(&mut self) {
        self.pace = Pace::AfterFailure;
    }

    fn hurry(&mut self) {
        if self.pace != Pace::AfterFailure {
            self.pace = Pace::Urgent;
        }
    }

    /// Why the seat is lost, if what stands there is another term than this one, or a history in which there is none.
    pub(super) fn lost_by(&self, look: &Look) -> Option<&'static str> {
        let value = SeatRecord::Leads(self.seat.clone()).encode();
        let is_own = look.seat.as_ref().is_some_and(|seat| seat.revision == self.term && seat.value == value);
        if !is_own || look.beat.is_none() {
            return Some(LOST);
        }
        (look.revision < self.revision).then_some(WENT_BACK)
    }

    /// A later try was there first. That says nothing of this one; the next is to be higher.
    pub(super) fn superseded(&mut self, look: &Look) {
        let stands = look.beat.as_ref().and_then(|beat| BeatRecord::decode(&beat.value));
        self.n = self.n.max(stands.map_or(0, |beat| beat.n));
        self.failed();
    }
}

impl Seat {
    /// After a pause of the machine nothing is told until a beat that was sent after it is acknowledged: another node may
    /// lead meanwhile, and this node's clocks may have stood still with the machine.
    pub(super) fn note_pause(&mut self, now: Moment) {
        let Some(last) = self.last_step.replace(now) else { return };
        let State::Leading(leading) = &mut self.state else { return };
        if last.elapsed_at_most(now) <= leading.seat.ttl / 5 {
            return;
        }
        if leading.is_serving() && leading.awaits.is_none() && !leading.is_shut() {
            self.actions.push(Action::Hold);
        }
        leading.awaits = Some(leading.n.saturating_add(1));
        leading.hurry();
    }

    pub(super) fn end_if_over(&mut self, now: Moment) {
        if let State::Leading(leading) = &self.state
            && !leading.is_shut()
            && leading.is_over(now)
        {
            self.end(NO_BEAT);
        }
    }

    /// What a node does that leads.
    pub(super) fn lead(&mut self, now: Moment) {
        let State::Leading(leading) = &mut self.state else { return };
        if leading.is_shut() {
            return self.lead_on_after_the_drain(now);
        }
        if leading.is_stepping_down() {
            return;
        }
        if leading.must_step_down(self.holders, now) {
            leading.stage = Stage::SteppingDown;
            return self.actions.push(Action::StepDown(NO_BEAT));
        }
        if leading.stage == Stage::Restored && leading.awaits.is_none() {
            leading.stage = Stage::Serving;
            self.actions.push(Action::Serve);
        }
        self.beat_if_due(now);
    }

    pub(super) fn beat_if_due(&mut self, now: Moment) {
        let State::Leading(leading) = &mut self.state else { return };
        if self.flight.is_some() || !leading.is_beat_due(now) {
            return;
        }
        let with_leases = leading.carries_leases();
        if with_leases {
            leading.writes = false;
        }
        let n = leading.next_try(now);
        self.flight = Some(Flight::Beat { term: leading.term, n, sent: now, with_leases });
        self.actions.push(Action::Beat { term: leading.term, seat: leading.seat.clone(), n, with_leases });
    }

    pub(super) fn beat_ended(&mut self, written: Written, now: Moment) {
        let flight = self.flight.take_if(|flight| matches!(flight, Flight::Beat { .. }));
        let Some(Flight::Beat { term, n, sent, with_leases }) = flight else { return };
        if matches!(written, Written::Done(_)) {
            // It is a change that a successor waits for, this node included.
            self.sight.touch(now);
        }
        let State::Leading(leading) = &mut self.state else { return };
        if leading.term != term {
            return;
        }
        if with_leases && !matches!(written, Written::Done(_)) {
            leading.writes = true;
        }
        match written {
            Written::Done(revision) => self.acknowledged(revision, n, sent, now),
            Written::Not(look) => self.beat_was_not_made(look, now),
            // It was not made and will not be, so nothing is to be fenced. The seat must not wait for leases.
            Written::Refused(_) if with_leases => {
                leading.alone = true;
                slip!(RefusedForEver => leading.alone = false);
                leading.hurry();
            }
            Written::Refused(_) => leading.failed(),
            Written::Unknown(_) => {
                leading.alone = true;
                leading.failed();
            }
        }
    }

    /// The only thing that moves the end of a term: the send of a try that was itself acknowledged.
    fn acknowledged(&mut self, revision: u64, n: u64, sent: Moment, now: Moment) {
        let State::Leading(leading) = &mut self.state else { return };
        slip!(RevisionMayFall => leading.revision = 0);
        if revision <= leading.revision {
            return self.lose(WENT_BACK, now);
        }
        leading.revision = revision;
        leading.alone = false;
        if leading.is_stepping_down() {
            return;
        }
        leading.sent = sent;
        slip!(DeadlineFromReceipt => leading.sent = now);
        if leading.is_shut() {
            return;
        }
        self.actions.push(Action::Extend(leading.deadline()));
        if leading.awaits.is_some_and(|awaits| n >= awaits) {
            leading.awaits = None;
            if leading.is_serving() {
                self.actions.push(Action::Release);
            }
        }
    }

    fn beat_was_not_made(&mut self, look: Look, now: Moment) {
        let State::Leading(leading) = &mut self.state else { return };
        slip!(SupersededIsLost => return self.lose(WENT_BACK, now));
        let lost = leading.lost_by(&look);
        leading.superseded(&look);
        self.sight.saw(look, now);
        if let Some(cause) = lost {
            self.lose(cause, now);
        }
    }

    pub(super) fn restored(&mut self) {
        if let State::Leading(leading) = &mut self.state
            && leading.stage == Stage::Restoring
        {
            leading.stage = Stage::Restored;
        }
    }

    pub(super) fn writes_waiting(&mut self) {
        if let State::Leading(leading) = &mut self.state {
            leading.writes = true;
        }
    }

    pub(super) fn numbers_run_out(&mut self) {
        if let State::Leading(leading) = &mut self.state {
            leading.hurry();
        }
    }
}
