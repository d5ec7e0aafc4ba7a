//! What clients were told, and whether it can be true.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    core::{
        lease::{Key, LeaseNames},
        lock::{Mode, Token},
    },
    name::Name,
};

/// Since the start of the machine, which is that of the simulation.
pub(super) type Moment = Duration;

/// The locks that a client was told it has, in one grant.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// None for one of a connection.
    pub key: Option<Key>,
    pub names: LeaseNames,
    pub mode: Mode,
    pub token: Token,
    pub ttl: Duration,
    /// It runs at least to then.
    pub ends: Moment,
    /// Its client asks for its end, or somebody else does.
    pub is_given_up: bool,
}

/// What clients were told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    told: Vec<Told>,
    /// Leases that were told released, or ended.
    gone: Vec<(Key, LeaseNames)>,
    /// The highest token of each name.
    highest: BTreeMap<Name, Token>,
    /// The highest one of all runs before this one.
    highest_before: Token,
    /// The number of the last session of a connection.
    last_session: u32,
    /// What cannot be true.
    faults: Vec<String>,
    pub grants: usize,
    pub restored: usize,
}

impl Ledger {
    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// The first thing that was not as it has to be.
    pub(super) fn first_fault(&self) -> Option<&String> {
        self.faults.first()
    }

    pub(super) fn highest(&self, names: &LeaseNames) -> Token {
        let highest = names.iter().filter_map(|name| self.highest.get(name)).max();
        highest.copied().unwrap_or_default().max(self.highest_before)
    }

    /// A grant was told at this moment, by a request before which `before` was the highest token.
    pub(super) fn granted(&mut self, now: Moment, told: Told, before: Token) {
        self.grants += 1;
        let Told { names, token, .. } = &told;
        if *token <= before {
            self.faults.push(format!("tokens do not grow: {token} of {names:?} after {before}"));
        }
        for name in names.iter() {
            let highest = self.highest.entry(name.clone()).or_default();
            *highest = (*highest).max(*token);
        }
        if told.ends <= now {
            // It was told too late: others may have the lock by now.
            return;
        }
        for name in names.iter() {
            let is_beside =
                |other: &&Told| other.names.contains(name) && !other.is_given_up && other.ends > now;
            let others: Vec<_> = self.told.iter().filter(is_beside).collect();
            if !may_be_beside(told.mode, &others) {
                self.faults.push(format!("too many owners of {name} at {now:?}: {told:?} beside {others:?}"));
            }
        }
        self.told.push(told);
    }

    fn find(&mut self, token: Token) -> Option<&mut Told> {
        self.told.iter_mut().find(|told| told.token == token)
    }

    /// A heartbeat is on its way: with a shorter time to live, its client counts on no more.
    pub(super) fn renewing(&mut self, now: Moment, token: Token, ttl: Option<Duration>) {
        if let (Some(ttl), Some(told)) = (ttl, self.find(token)) {
            told.ends = told.ends.min(now + ttl);
        }
    }

    pub(super) fn renewed(&mut self, token: Token, ttl: Option<Duration>, ends: Moment) {
        if let Some(told) = self.find(token) {
            told.ends = ends;
            told.ttl = ttl.unwrap_or(told.ttl);
        }
    }

    pub(super) fn gives_up(&mut self, token: Token) {
        if let Some(told) = self.find(token) {
            told.is_given_up = true;
        }
    }

    /// Its client is told that the lock is not theirs any more.
    pub(super) fn gone(&mut self, now: Moment, token: Token) {
        let Some(at) = self.told.iter().position(|told| told.token == token) else { return };
        let told = self.told.swap_remove(at);
        if told.ends > now && !told.is_given_up {
            self.faults.push(format!("lost at {now:?}, before its end: {told:?}"));
        }
        self.gone.extend(told.key.map(|key| (key, told.names)));
    }

    /// A connection has this number.
    pub(super) fn connected(&mut self, session: u32) {
        if session <= self.last_session {
            self.faults.push(format!("session {session} after {}", self.last_session));
        }
        self.last_session = session;
    }

    /// The server is gone, and with it what connections have.
    pub(super) fn crashed(&mut self) {
        self.told.retain(|told| told.key.is_some());
        self.highest_before = self.highest.values().copied().max().unwrap_or_default();
    }

    /// An older copy of the store is put back: what was told is void, but for the numbers.
    pub(super) fn forget(&mut self) {
        (self.told, self.gone) = (Vec::new(), Vec::new());
    }

    /// Leases that run.
    pub(super) fn running(&self, now: Moment) -> Vec<Told> {
        self.told.iter().filter(|told| !told.is_given_up && told.ends > now).cloned().collect()
    }

    /// Leases that must not run.
    pub(super) fn not_running(&self) -> Vec<(Key, LeaseNames)> {
        self.gone.clone()
    }
}

/// Whether one more may hold a lock in this mode beside these.
fn may_be_beside(mode: Mode, others: &[&Told]) -> bool {
    let is_alike = others.iter().all(|other| other.mode == mode);
    others.is_empty()
        || match mode {
            Mode::Exclusive => false,
            Mode::Shared => is_alike,
            Mode::Permit(limit) => is_alike && others.len() < limit.into(),
        }
}

impl Told {
    pub(super) fn new(names: &LeaseNames, mode: Mode, token: Token, ends: Moment) -> Self {
        let (names, ttl) = (names.clone(), Duration::ZERO);
        Self { key: None, names, mode, token, ttl, ends, is_given_up: false }
    }
}
