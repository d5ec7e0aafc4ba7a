//! The state machine of the seat: no I/O, no clock of its own, no random numbers.
//!
//! It is told what happened and when, and answers what to do. One try to write is under way at a time.

use std::time::Duration;

use crate::{
    engine::{Look, Written},
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
    SeatSeen(Option<crate::engine::Versioned>),
    /// The same of the beat.
    BeatSeen(Option<crate::engine::Versioned>),
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
    /// Sockets close, those of holders first: the term is about to end.
    StepDown(&'static str),
    /// The term is over: nothing is told under it, and what is in memory is dropped. Nothing is deleted from the engine.
    End(&'static str),
    /// Another node leads, in this term: relay to it.
    Follow(u64, Leader),
    /// Nobody leads, as far as is known: connections are parked.
    Nobody,
    /// The seat is resigned, or the time is over in which it could be: the process may end.
    Resigned,
}

/// The machine.
#[derive(Debug)]
pub struct Seat {
    // SEAT fills this in.
    _config: SeatConfig,
}

/// Where the nonces of tries come from.
pub type Nonces = Box<dyn FnMut() -> String + Send>;

impl Seat {
    /// A node that has seen nothing yet.
    pub fn new(config: SeatConfig, _nonces: Nonces) -> Self {
        Self { _config: config }
    }

    /// One step.
    pub fn step(&mut self, _now: Now, _event: Event) -> Vec<Action> {
        Vec::new()
    }

    /// How many holders are to be told at the end of the term: closing begins earlier by 25 us for each.
    pub fn set_holders(&mut self, _holders: usize) {}

    /// What the node knows of the seat.
    pub fn seen(&self) -> Option<&SeatRecord> {
        None
    }

    /// The share of T that a term serves after the send of a beat: 0.9.
    pub fn serving_time(ttl: Duration) -> Duration {
        ttl * 9 / 10
    }
}
