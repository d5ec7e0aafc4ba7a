//! The state machine of the seat: no I/O, no clock of its own, no random numbers.
//!
//! It is told what happened and when, and answers what to do. One try to write is under way at a time: each of
//! [`Action::Look`], [`Action::Take`], [`Action::Beat`] and [`Action::Resign`] is answered by exactly one event, and until
//! then no other of them comes.
//!
//! A node is a candidate, which follows the leader and may take the seat (`candidate`); or it leads (`leading`), until
//! it has no time left or hands over (`draining`). What it saw of the engine, and since when, is its `sight`.
//!
//! An engine that was restored from a backup has lower terms again. No node follows a lower term than the highest that it
//! saw, until that one must have ended: then it waits as for any record, follows who lives, or takes the seat, and the new
//! term is what it is. Relays that serve under the higher term have cut by then. A client that remembers the higher term
//! refuses the new one until it forgets: that is what it remembers it for.

/// Runs the given code only if the proof has planted that bug: `slip!(OwnTtl => return)`. Outside of this crate's own tests
/// it expands to nothing.
macro_rules! slip {
    ($slip:ident => $($what:tt)*) => {
        #[cfg(test)]
        if $crate::seat::proof::slips::Slip::$slip.is_planted() {
            $($what)*;
        }
    };
}

mod candidate;
mod draining;
mod leading;
#[cfg(test)]
mod proof;
mod sight;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::{candidate::Candidate, leading::Leading, sight::Sight};
use crate::{
    engine::{Look, Versioned, Written},
    moment::Moment,
    record::{BeatRecord, Floors, Leader, SeatRecord},
};

/// What a node is, for its own records.
#[derive(Clone, Debug)]
pub struct SeatConfig {
    /// Its record while it leads; the nonce is made for each try.
    pub leader: Leader,
}

/// The time of a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// What decides.
    pub moment: Moment,
    /// The time of day in microseconds since 1970: where fencing tokens start, and nothing else.
    pub wall_micros: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time went on. Expected each 50 ms; a gap longer than T/5 counts as a pause of the machine.
    Tick,
    /// A watch, or the first look of one, reported the seat.
    SeatSeen(Option<Versioned>),
    /// The same of the beat.
    BeatSeen(Option<Versioned>),
    /// The answer to [`Action::Look`]; none if there was none.
    Looked(Option<Look>),
    /// The answer to [`Action::Take`].
    TakeEnded(Written),
    /// The answer to [`Action::Beat`].
    BeatEnded(Written),
    /// The answer to [`Action::Resign`].
    ResignEnded(Written),
    /// All leases are restored, and the server can serve.
    Restored,
    /// They cannot be read at this term's revision, or the server cannot serve: the term is given up.
    RestoreFailed,
    /// Leases wait to be written.
    WritesWaiting,
    /// More than half of the numbers below the floors is given: a beat at once.
    NumbersRunOut,
    /// The drain begins. `exits`: the process ends after it, and takes no seat again.
    Drain {
        /// The process ends.
        exits: bool,
        /// Who is to lead next.
        successor: Option<String>,
    },
    /// The drain is over: nothing is told under this term any more.
    Drained,
    /// All that was promised has ended: no lease runs that was not written, and each relay and each holder knows.
    AllTold,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read seat and beat, linearizably: a try to take it was not answered.
    Look,
    /// Try to take the seat.
    Take {
        /// What was seen, and must still stand there.
        expected: Look,
        /// The seat that is written. The machine makes its nonce from [`Seat::new`]'s source.
        seat: Leader,
        /// The beat that is written with it.
        beat: BeatRecord,
    },
    /// Try a beat. The driver adds the floors, [`crate::record::AHEAD`] above the last numbers given.
    Beat {
        /// The term.
        term: u64,
        /// The seat as it was taken.
        seat: Leader,
        /// Higher than in each try before.
        n: u64,
        /// With the leases that wait, or alone.
        with_leases: bool,
    },
    /// Try to resign.
    Resign {
        /// The term.
        term: u64,
        /// The seat as it was taken.
        seat: Leader,
        /// Higher than in each try before.
        n: u64,
        /// Who is to lead next.
        successor: Option<String>,
    },
    /// A term begins: restore the leases that stand there at its revision, and serve once [`Action::Serve`] comes.
    Begin {
        /// The term.
        term: u64,
        /// The record with which it was taken.
        seat: Leader,
        /// Where numbers start.
        first: Floors,
        /// The first numbers that may not be given before a beat is acknowledged.
        ceiling: Floors,
        /// When it ends, if no beat is acknowledged.
        deadline: Moment,
    },
    /// The term serves from now on.
    Serve,
    /// The term ends later. The floors of the beat that was acknowledged are the ceiling of numbers from now on.
    Extend(Moment),
    /// Writes to clients wait: the machine stood still for a while.
    Hold,
    /// They go on.
    Release,
    /// The drain begins: no new sessions, and every lease is written.
    Drain,
    /// Sockets close, those of holders first: the term is about to end.
    StepDown(&'static str),
    /// The term is over: nothing is told under it, and what is in memory is dropped. Nothing is deleted from the engine.
    End(&'static str),
    /// Another node leads, in this term: relay to it.
    Follow(u64, Leader),
    /// Nobody leads, as far as is known: connections are parked.
    Nobody,
    /// The drain is over: the seat is resigned, or lost, or was never held. A process that exits may end.
    Resigned,
    /// The time of day is more than a year ahead of the floor of tokens, and was not used: it is wrong, or the floor is.
    ClockIgnored {
        /// The time of day.
        wall_micros: u64,
        /// The floor from which tokens go on.
        floor: u64,
    },
}

/// The machine.
pub struct Seat {
    config: SeatConfig,
    nonces: Nonces,
    holders: usize,
    sight: Sight,
    state: State,
    /// The try that waits for its answer.
    flight: Option<Flight>,
    last_step: Option<Moment>,
    /// The process is to end: no seat is taken any more.
    exits: bool,
    shown: ToldRole,
    actions: Vec<Action>,
}

/// Where the nonces of tries come from.
pub type Nonces = Box<dyn FnMut() -> String + Send>;

#[derive(Debug)]
enum State {
    Candidate(Box<Candidate>),
    Leading(Box<Leading>),
    /// It takes no seat any more.
    Retired,
}

/// A try that waits for its answer.
#[derive(Debug)]
enum Flight {
    Take(TakeTry),
    /// It was not answered: does it stand there?
    Look(TakeTry),
    Beat {
        term: u64,
        n: u64,
        sent: Moment,
        with_leases: bool,
    },
    Resign {
        term: u64,
    },
}

/// A try to take the seat.
#[derive(Clone, Debug)]
struct TakeTry {
    /// Its nonce is of this try alone.
    seat: Leader,
    sent: Moment,
    first: Floors,
}

/// The role that was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ToldRole {
    Nobody,
    Follows(u64),
    Leads,
}

impl Seat {
    /// A node that has seen nothing yet.
    pub fn new(config: SeatConfig, nonces: Nonces) -> Self {
        Self {
            config,
            nonces,
            holders: 0,
            sight: Sight::default(),
            state: State::Candidate(Box::default()),
            flight: None,
            last_step: None,
            exits: false,
            shown: ToldRole::Nobody,
            actions: Vec::new(),
        }
    }

    /// One step. Time is looked at first: an answer that comes after the end of a term does not bring it back.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        self.note_pause(now.moment);
        self.end_if_over(now.moment);
        self.take_in(now.moment, event);
        self.go_on(now);
        self.show_role();
        std::mem::take(&mut self.actions)
    }

    fn take_in(&mut self, now: Moment, event: Event) {
        slip!(DeadlineByRead => if let (Event::BeatSeen(Some(_)), State::Leading(leading)) = (&event, &mut self.state) {
            leading.sent = now;
            self.actions.push(Action::Extend(leading.deadline()));
        });
        match event {
            Event::Tick => {}
            Event::SeatSeen(seat) => self.seat_seen(seat, now),
            Event::BeatSeen(beat) => self.sight.saw_beat(beat, now),
            Event::Looked(look) => self.looked(look, now),
            Event::TakeEnded(written) => self.take_ended(written, now),
            Event::BeatEnded(written) => self.beat_ended(written, now),
            Event::ResignEnded(written) => self.resign_ended(written, now),
            Event::Restored => self.restored(),
            Event::RestoreFailed => self.restore_failed(),
            Event::WritesWaiting => self.writes_waiting(),
            Event::NumbersRunOut => self.numbers_run_out(),
            Event::Drain { exits, successor } => self.drain(exits, successor),
            Event::Drained => self.drained(),
            Event::AllTold => self.all_told(),
        }
    }

    fn go_on(&mut self, now: Now) {
        match self.state {
            State::Candidate(_) => self.stand(now),
            State::Leading(_) => self.lead(now.moment),
            State::Retired => {}
        }
    }

    fn seat_seen(&mut self, seat: Option<Versioned>, now: Moment) {
        let is_later = |term| seat.as_ref().is_some_and(|seat| seat.revision > term);
        let lost = matches!(&self.state, State::Leading(leading) if is_later(leading.term));
        self.sight.saw_seat(seat, now);
        if lost {
            self.lose(LOST, now);
        }
    }

    /// Tells who leads, if that is another than was told last.
    fn show_role(&mut self) {
        let leader = match self.state {
            State::Leading(_) => return,
            State::Candidate(_) => self.sight.leader(&self.config.leader),
            State::Retired => None,
        };
        let role = leader.map_or(ToldRole::Nobody, |(term, _)| ToldRole::Follows(term));
        if role != self.shown {
            self.actions
                .push(leader.map_or(Action::Nobody, |(term, leader)| Action::Follow(term, leader.clone())));
            self.shown = role;
        }
    }

    /// How many holders are to be told at the end of the term: closing begins earlier by 25 us for each.
    pub fn set_holders(&mut self, holders: usize) {
        self.holders = holders;
    }

    /// What the node knows of the seat; none if it has seen none, or if there is none.
    pub fn seen(&self) -> Option<&SeatRecord> {
        self.sight.record()
    }

    /// Whether another process leads that has this node's name or address, so that this one cannot relay to it.
    pub fn has_namesake(&self) -> bool {
        matches!(self.state, State::Candidate(_)) && self.sight.has_namesake(&self.config.leader)
    }

    /// What stood in the seat before that.
    pub fn seen_before(&self) -> Option<&SeatRecord> {
        self.sight.before()
    }

    /// The share of T that a term serves after the send of a beat: 0.9.
    pub fn serving_time(ttl: Duration) -> Duration {
        ttl * 9 / 10
    }
}

/// Another node has the seat, or the seat is gone.
const LOST: &str = "the seat was taken by another node, or is gone";

/// Why a term ends that was drained.
const DRAINED: &str = "drained";

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("state", &self.state).field("sight", &self.sight).finish_non_exhaustive()
    }
}
