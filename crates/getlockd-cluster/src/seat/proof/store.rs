//! An engine: linearizable, with a history that stale members and backups come from.

use std::collections::BTreeMap;

use super::{rules::Ledger, slips::Slip};
use crate::{
    engine::{Beat, Look, Resign, Take, Versioned, Written},
    record::{Leader, SeatRecord},
};

/// What stands in it.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub look: Look,
    pub leases: BTreeMap<String, Vec<u8>>,
}

/// What is asked of it.
#[derive(Clone, Debug)]
pub enum Ask {
    Look,
    Take(Take, Leader),
    Beat(Beat),
    Resign(Resign),
    Leases,
}

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Look,
    Take,
    Beat,
    Resign,
    Leases,
}

impl Ask {
    pub fn verb(&self) -> Verb {
        match self {
            Self::Look => Verb::Look,
            Self::Take(..) => Verb::Take,
            Self::Beat(_) => Verb::Beat,
            Self::Resign(_) => Verb::Resign,
            Self::Leases => Verb::Leases,
        }
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Looked(Option<Look>),
    Written(Written),
    Leases(Vec<(String, Vec<u8>)>),
}

#[derive(Debug, Default)]
pub struct Store {
    pub now: Contents,
    /// As it stood before: for watches of members that are behind, and for restored backups.
    pub history: Vec<Contents>,
    /// Each take that was made: its revision and nonce, in the order of their making.
    pub takes: Vec<(u64, String)>,
    /// A backup that a script has made.
    pub backup: Option<Contents>,
}

/// The value of a lease that the engine refuses, like a transaction that is too large.
pub const POISON: &[u8] = b"poison";

fn same(seen: Option<&Versioned>, stands: Option<&Versioned>) -> bool {
    if Slip::RevisionOnly.is_planted() {
        return seen.map(|key| key.revision) == stands.map(|key| key.revision);
    }
    seen == stands
}

impl Store {
    pub fn answer(&mut self, ask: Ask, ledger: &mut Ledger) -> Answer {
        match ask {
            Ask::Look => Answer::Looked(Some(self.now.look.clone())),
            Ask::Take(take, leader) => Answer::Written(self.take(take, leader)),
            Ask::Beat(beat) => Answer::Written(self.beat(beat, ledger)),
            Ask::Resign(resign) => Answer::Written(self.resign(resign)),
            Ask::Leases => Answer::Leases(self.leases()),
        }
    }

    /// In which order the take of that term was made, from 1.
    pub fn order(&self, term: u64, nonce: &str) -> Option<usize> {
        self.takes.iter().rposition(|take| (take.0, take.1.as_str()) == (term, nonce)).map(|at| at + 1)
    }

    fn next(&mut self) -> u64 {
        self.history.push(self.now.clone());
        if self.history.len() > 200 {
            self.history.remove(0);
        }
        self.now.look.revision += 1;
        self.now.look.revision
    }

    fn take(&mut self, take: Take, leader: Leader) -> Written {
        let look = &self.now.look;
        let beat =
            Slip::TakeWithoutBeat.is_planted() || same(take.expected.beat.as_ref(), look.beat.as_ref());
        if !beat || !same(take.expected.seat.as_ref(), look.seat.as_ref()) {
            return Written::Not(look.clone());
        }
        let revision = self.next();
        self.now.look.seat = Some(Versioned { revision, value: take.seat });
        self.now.look.beat = Some(Versioned { revision, value: take.beat });
        self.takes.push((revision, leader.nonce));
        Written::Done(revision)
    }

    fn is_of(&self, term: u64, seat: &[u8], beat: &[u8]) -> bool {
        let mine = self.now.look.seat.as_ref().is_some_and(|stands| {
            stands.revision == term && (Slip::RevisionOnly.is_planted() || stands.value == seat)
        });
        let lower = self.now.look.beat.as_ref().is_some_and(|stands| stands.value.as_slice() < beat);
        mine && (lower || Slip::BeatWithoutN.is_planted())
    }

    fn beat(&mut self, beat: Beat, ledger: &mut Ledger) -> Written {
        if beat.leases.iter().any(|(_, value)| value.as_deref().is_some_and(|value| value.ends_with(POISON)))
        {
            return Written::Refused("etcdserver: duplicate key given in txn request".to_owned());
        }
        if !self.is_of(beat.term, &beat.seat, &beat.beat) {
            return Written::Not(self.now.look.clone());
        }
        let revision = self.next();
        self.now.look.beat = Some(Versioned { revision, value: beat.beat });
        for (key, value) in beat.leases {
            ledger.lease_written(&key, value.as_deref());
            match value {
                Some(value) => self.now.leases.insert(key, value),
                None => self.now.leases.remove(&key),
            };
        }
        Written::Done(revision)
    }

    fn resign(&mut self, resign: Resign) -> Written {
        if !self.is_of(resign.term, &resign.seat, &resign.beat) {
            return Written::Not(self.now.look.clone());
        }
        let revision = self.next();
        self.now.look.seat = Some(Versioned { revision, value: resign.resigned });
        self.now.look.beat = Some(Versioned { revision, value: resign.beat });
        Written::Done(revision)
    }

    fn leases(&self) -> Vec<(String, Vec<u8>)> {
        let stale = self.history.len().checked_sub(12).and_then(|at| self.history.get(at));
        let from = stale.filter(|_| Slip::StaleRestore.is_planted()).unwrap_or(&self.now);
        from.leases.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Somebody deletes the prefix.
    pub fn wipe(&mut self) {
        let revision = self.next();
        self.now = Contents { look: Look { revision, ..Look::default() }, ..Contents::default() };
    }

    /// A backup is put back, `back` changes old: revisions go on from there, and so repeat, or `ahead` of it.
    pub fn restore(&mut self, back: usize, ahead: u64) {
        let at = self.history.len().saturating_sub(back);
        let Some(then) = self.history.get(at).cloned() else { return };
        self.history.truncate(at);
        self.now = then;
        self.now.look.revision += ahead;
    }

    /// The backup of the script is put back.
    pub fn put_back(&mut self) {
        if let Some(then) = self.backup.clone() {
            self.history.clear();
            self.now = then;
        }
    }

    /// Whether a backup says that the seat is free, which a node that starts believes.
    pub fn was_resigned(&self, back: usize) -> bool {
        let then = self.history.get(self.history.len().saturating_sub(back));
        let seat = then.and_then(|then| then.look.seat.as_ref());
        seat.is_some_and(|seat| matches!(SeatRecord::decode(&seat.value), SeatRecord::Resigned(_)))
    }

    /// Whether a restore by so many changes is hidden from all that saw these revisions.
    pub fn backup_revision(&self, back: usize) -> Option<u64> {
        self.history.get(self.history.len().saturating_sub(back)).map(|then| then.look.revision)
    }
}
