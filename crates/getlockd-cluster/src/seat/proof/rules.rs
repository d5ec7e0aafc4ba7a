//! What must hold in every schedule, looked at in true time.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::True;

/// A lock's name.
pub type Name = usize;
/// A lease's number.
pub type LeaseId = u64;

/// What a client was told of a lease.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub name: Name,
    /// It runs until then at the least, whatever the clocks of servers do.
    pub until: True,
    /// When that was told.
    told: True,
    /// Its client has asked for its end.
    pub released: bool,
}

/// What has happened so far, and the first rule that was broken.
#[derive(Debug, Default)]
pub struct Ledger {
    pub now: True,
    pub broken: Option<String>,
    /// The newest term that has told a client of a grant.
    newest: usize,
    /// The highest token that each term has told.
    told: BTreeMap<usize, u64>,
    pub promises: BTreeMap<LeaseId, Promise>,
    /// Leases whose lock has passed on, and when.
    dead: BTreeMap<LeaseId, True>,
    /// Leases that may be deleted: released, or over.
    over: BTreeSet<LeaseId>,
    /// The engine was emptied or set back: what leases were promised until then is lost with it.
    pub lost_until: True,
    /// Clock skew, a wiped prefix or an old backup may take tokens back below this.
    pub tokens_lost: u64,
    pub grants: u64,
    pub leases: u64,
    pub late_writes_refused: u64,
}

pub fn lease_key(lease: LeaseId) -> String {
    format!("lease/{lease:064x}")
}

pub fn lease_of(key: &str) -> LeaseId {
    key.rsplit('/').next().and_then(|digits| LeaseId::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

impl Ledger {
    pub fn broke(&mut self, what: impl Into<String>) {
        let what = format!("at {:.3} s: {}", self.now as f64 / 1e9, what.into());
        self.broken.get_or_insert(what);
    }

    /// Something was told to a client under a term: the kernel has it.
    pub fn told(&mut self, order: usize) {
        if order < self.newest {
            let newest = self.newest;
            self.broke(format!("term {order} tells a client something after term {newest} has granted"));
        }
    }

    /// A client reads something that lay in the kernel of a server which ran all the time.
    pub fn read_late(&mut self, order: usize) {
        if order < self.newest {
            let newest = self.newest;
            self.broke(format!("a client reads a reply of term {order} after term {newest} has granted"));
        }
    }

    /// A client was told of a grant.
    pub fn granted(&mut self, order: usize, name: Name, token: u64, lease: Option<LeaseId>) {
        self.newest = self.newest.max(order);
        self.grants += 1;
        self.leases += u64::from(lease.is_some());
        let before = self.told.range(..order).map(|(_, token)| *token).max().unwrap_or_default();
        if token <= before && before > self.tokens_lost {
            self.broke(format!("token {token} of term {order} is not above {before} of a term before"));
        }
        let highest = self.told.entry(order).or_default();
        *highest = token.max(*highest);
        let now = self.now;
        let running = |(id, promise): (&LeaseId, &Promise)| {
            let runs = promise.until > now && promise.told > self.lost_until;
            (Some(*id) != lease && promise.name == name && !promise.released && runs).then_some(*id)
        };
        if let Some(id) = self.promises.iter().find_map(running) {
            self.broke(format!("name {name} is granted while lease {id} still has its promised time"));
        }
    }

    pub fn highest_token(&self) -> u64 {
        self.told.values().copied().max().unwrap_or_default()
    }

    /// A client hears how long its lease runs.
    pub fn promised(&mut self, lease: LeaseId, name: Name, told: True, until: True) {
        let promise = self.promises.entry(lease).or_insert(Promise { name, until, told, released: false });
        promise.until = promise.until.max(until);
        promise.told = promise.told.max(told);
    }

    /// A client hears that a server, which looked at `at`, does not know its lease.
    pub fn refused(&mut self, lease: LeaseId, at: True) {
        let early = self
            .promises
            .get(&lease)
            .is_some_and(|promise| !promise.released && promise.until > at && promise.told > self.lost_until);
        if early {
            self.broke(format!("lease {lease} is gone before its promised time"));
        }
    }

    /// A lease was released by its client, or its time is over by its server's clock.
    pub fn ends(&mut self, lease: LeaseId) {
        self.over.insert(lease);
    }

    /// Its lock is free for others.
    pub fn passed_on(&mut self, lease: LeaseId) {
        self.dead.insert(lease, self.now);
    }

    fn is_dead(&self, lease: LeaseId) -> bool {
        self.dead.get(&lease).is_some_and(|at| *at > self.lost_until)
    }

    /// It stands in the engine when a term begins.
    pub fn restored(&mut self, lease: LeaseId) {
        if self.is_dead(lease) {
            self.broke(format!("lease {lease} is back after its lock has passed on"));
        }
    }

    /// The engine has written a lease, or deleted it.
    pub fn lease_written(&mut self, key: &str, value: Option<&[u8]>) {
        let lease = lease_of(key);
        if value.is_some() && self.is_dead(lease) {
            self.broke(format!("lease {lease} is written after its lock has passed on"));
        }
        if value.is_none() && !self.over.contains(&lease) {
            self.broke(format!("lease {lease} is deleted, and nobody has ended it"));
        }
    }
}
