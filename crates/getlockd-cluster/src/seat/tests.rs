//! The machine, step by step: what it is told, and what it then does. T is 5 s, and times are in milliseconds.

#![expect(clippy::unnecessary_wraps, reason = "keys are made as they are seen: there, or not")]

mod candidate;
mod draining;
mod leading;

use std::time::Duration;

use super::{Action, Event, Now, Seat, SeatConfig};
use crate::{
    engine::{Look, Versioned, Written},
    moment::Moment,
    record::{BeatRecord, Floors, Leader, Resigned, SeatRecord},
};

/// T of all records here that say nothing else.
const T: u64 = 5000;

/// A term that another node leads in most of the tests.
const OTHERS: u64 = 100;

/// The machine of node `a`, its time, and the nonces `a1`, `a2`, ...
struct Node {
    seat: Seat,
    at: Moment,
    wall_micros: u64,
}

fn leader(node: &str, nonce: &str) -> Leader {
    Leader {
        node: node.into(),
        address: format!("{node}:3309"),
        nonce: nonce.into(),
        version: "1.0.0".into(),
        secret: String::new(),
        pin: None,
        ttl: Duration::from_millis(T),
        takeover_delay: Duration::ZERO,
        keepalive: Duration::from_secs(20),
        request_key: format!("key of {node}"),
    }
}

fn seat(term: u64, leader: Leader) -> Option<Versioned> {
    Some(Versioned { revision: term, value: SeatRecord::Leads(leader).encode() })
}

fn beat(revision: u64, n: u64) -> Option<Versioned> {
    beat_with(revision, n, Floors { token: 1000, session: 10 })
}

fn beat_with(revision: u64, n: u64, floors: Floors) -> Option<Versioned> {
    Some(Versioned { revision, value: BeatRecord { n, floors }.encode() })
}

fn resigned(revision: u64, term: u64, successor: Option<&str>) -> Option<Versioned> {
    resigned_by("b", revision, term, successor)
}

fn resigned_by(node: &str, revision: u64, term: u64, successor: Option<&str>) -> Option<Versioned> {
    let record = Resigned {
        node: node.into(),
        term,
        successor: successor.map(Into::into),
        request_key: "key of b".into(),
    };
    Some(Versioned { revision, value: SeatRecord::Resigned(record).encode() })
}

fn unknown() -> Written {
    Written::Unknown("no answer".into())
}

impl Node {
    fn new() -> Self {
        let mut made = 0;
        let nonces = Box::new(move || {
            made += 1;
            format!("a{made}")
        });
        let config = SeatConfig { leader: leader("a", "") };
        // A node that runs for a minute already.
        let at = Moment::default().after(Duration::from_mins(1));
        Self { seat: Seat::new(config, nonces), at, wall_micros: 0 }
    }

    /// One that follows `b`, which leads in term 100.
    fn following() -> Self {
        let mut node = Self::new();
        assert_eq!(node.sees(seat(OTHERS, leader("b", "b1"))), [Action::Follow(OTHERS, leader("b", "b1"))]);
        assert_eq!(node.beats(beat(OTHERS, 0)), []);
        node
    }

    /// One that took the seat from `b`, in term 200.
    fn restoring() -> Self {
        let mut node = Self::following();
        node.waits(T);
        node.take();
        let actions = node.told(Event::TakeEnded(Written::Done(200)));
        assert!(matches!(&actions[..], [Action::Begin { term: 200, .. }]), "{actions:?}");
        node
    }

    /// One that serves in term 200.
    fn serving() -> Self {
        let mut node = Self::restoring();
        assert_eq!(node.told(Event::Restored), [Action::Serve]);
        node
    }

    fn told(&mut self, event: Event) -> Vec<Action> {
        self.seat.step(Now { moment: self.at, wall_micros: self.wall_micros }, event)
    }

    fn sees(&mut self, seat: Option<Versioned>) -> Vec<Action> {
        self.told(Event::SeatSeen(seat))
    }

    fn beats(&mut self, beat: Option<Versioned>) -> Vec<Action> {
        self.told(Event::BeatSeen(beat))
    }

    /// Time passes, with a tick each 50 ms. All that is done meanwhile.
    fn waits(&mut self, millis: u64) -> Vec<Action> {
        (0..millis / 50).flat_map(|_| self.passes(50)).collect()
    }

    /// So much time passes at once, and then comes a tick.
    fn passes(&mut self, millis: u64) -> Vec<Action> {
        self.at = self.at.after(Duration::from_millis(millis));
        self.told(Event::Tick)
    }

    /// Waits until it does something, for at most a minute. How long that took.
    fn waits_for_action(&mut self) -> (u64, Vec<Action>) {
        for step in 0..1200 {
            let actions = self.passes(50);
            if !actions.is_empty() {
                return ((step + 1) * 50, actions);
            }
        }
        panic!("nothing was done within a minute: {:?}", self.seat)
    }

    /// It tries to take the seat, now or in time before: the nonce of the try.
    fn take(&mut self) -> String {
        // `waits` threw the action away: the try is under way.
        match &self.seat.flight {
            Some(super::Flight::Take(tried)) => tried.seat.nonce.clone(),
            other => panic!("no try is under way, but {other:?}"),
        }
    }

    /// Waits for the next beat, and answers it so.
    fn beat_ends(&mut self, written: Written) -> Vec<Action> {
        while !matches!(self.seat.flight, Some(super::Flight::Beat { .. })) {
            let actions = self.passes(50);
            assert!(actions.iter().all(|action| matches!(action, Action::Beat { .. })), "{actions:?}");
        }
        self.told(Event::BeatEnded(written))
    }

    /// What stands in the engine while this node leads in term 200.
    fn own_look(&self, revision: u64, n: u64) -> Look {
        Look { revision, seat: seat(200, self.own_record()), beat: beat(revision, n) }
    }

    fn own_record(&self) -> Leader {
        match &self.seat.state {
            super::State::Leading(leading) => leading.seat.clone(),
            other => panic!("does not lead: {other:?}"),
        }
    }
}
