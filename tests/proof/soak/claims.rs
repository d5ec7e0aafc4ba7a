//! Who believes to hold what, in this process: a second believer is one too many.
//!
//! A client that is granted a lock claims it, and gives the claim up before it frees the lock. A lease claims it up
//! to the end of its time to live, counted from before it was asked for. A client that is to be killed has lost its
//! claims by the time that `KILL` is sent.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use crate::caller::Mode;

/// Sessions whose number is not known are numbered from here on.
const NAMELESS: u32 = 1 << 31;

pub(crate) struct Claims {
    nameless: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    owners: HashSet<u32>,
    doomed: HashSet<u32>,
    names: HashMap<usize, Name>,
}

#[derive(Default)]
struct Name {
    claims: Vec<Claim>,
    last_exclusive: u64,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub owner: u32,
    pub mode: Mode,
    pub token: u64,
    pub until: Option<Instant>,
}

impl Claim {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Claims {
    pub(crate) fn new() -> Self {
        Self { nameless: AtomicU32::new(NAMELESS), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// For a session with this number, or with none that its client knows. From now on it may be doomed.
    pub(crate) fn begin(&self, id: Option<u32>) -> u32 {
        let owner = id.unwrap_or_else(|| self.nameless.fetch_add(1, Ordering::Relaxed));
        self.state().owners.insert(owner);
        owner
    }

    /// Before its client lets go of it.
    pub(crate) fn end(&self, owner: u32) {
        let mut state = self.state();
        state.give_up(owner);
        state.owners.remove(&owner);
        state.doomed.remove(&owner);
    }

    pub(crate) fn is_doomed(&self, owner: u32) -> bool {
        self.state().doomed.contains(&owner)
    }

    /// Before it is killed; false if it is none that may be.
    pub(crate) fn doom(&self, owner: u32) -> bool {
        let mut state = self.state();
        state.give_up(owner);
        let lives = state.owners.contains(&owner);
        lives && state.doomed.insert(owner)
    }

    /// After a grant. Fails if others hold the lock, or its token is none that grows.
    pub(crate) fn enter(&self, name: usize, claim: Claim) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.doomed.contains(&claim.owner) || claim.is_over(now) {
            return;
        }
        let name = state.names.entry(name).or_default();
        name.claims.retain(|other| other.owner != claim.owner && !other.is_over(now));
        let alike = name.claims.iter().all(|other| other.mode == claim.mode);
        let room = match claim.mode {
            Mode::Exclusive => 1,
            Mode::Permit(limit) => limit.into(),
            Mode::Shared => usize::MAX,
        };
        assert!(alike && name.claims.len() < room, "{claim:?} beside {:?}", name.claims);
        let before = if claim.mode == Mode::Exclusive { name.last } else { name.last_exclusive };
        assert!(claim.token > before, "{claim:?} after token {before}");
        name.last = name.last.max(claim.token);
        if claim.mode == Mode::Exclusive {
            name.last_exclusive = claim.token;
        }
        name.claims.push(claim);
    }

    /// Before a release.
    pub(crate) fn leave(&self, name: usize, owner: u32) {
        self.state().names.entry(name).or_default().claims.retain(|claim| claim.owner != owner);
    }

    /// A heartbeat: the claim goes on.
    pub(crate) fn prolong(&self, name: usize, owner: u32, until: Instant) {
        let mut state = self.state();
        let claims = &mut state.names.entry(name).or_default().claims;
        claims.iter_mut().filter(|claim| claim.owner == owner).for_each(|claim| claim.until = Some(until));
    }
}

impl State {
    fn give_up(&mut self, owner: u32) {
        self.names.values_mut().for_each(|name| name.claims.retain(|claim| claim.owner != owner));
    }
}
