//! Shares: of what there is so much of, nobody gets all.
//!
//! Whoever takes a place is a principal: a user, or where there are no users an address. While places are many,
//! each takes as many as it likes. The last eighth goes only to those who have less than an eighth of all.

mod place;
mod queue;
mod quota_key;
mod strangers;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use place::Place;
pub use queue::{Queue, Served};
pub use quota_key::QuotaKey;
pub use strangers::Exit;

use self::{place::Holder, strangers::Strangers};
use crate::core::sync::{Rank, plain::Guarded};

/// The part of the places that is left for those who have less than it, as its divisor: an eighth.
pub const SHARE: usize = 8;

/// Of fewer places than this no part is left for anybody.
pub const MIN_SHARED: usize = 64;

/// The part that those who have not logged in may have together, where there are users: a half.
pub const STRANGERS: usize = 2;

/// So many of the places are left for those who have less than that.
pub fn reserve(limit: usize) -> usize {
    if limit < MIN_SHARED { 0 } else { limit / SHARE }
}

/// The most that strangers have together, where there are users.
pub fn of_strangers(limit: usize) -> usize {
    (limit / STRANGERS).max(1)
}

/// What places are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// TCP connections, of all wires.
    Connections,
    /// Leases, and `Hold` streams.
    Leases,
    /// Locks that are held.
    Locks,
    /// Long lists on their way.
    Lists,
    /// Those who watch `/events`.
    Viewers,
}

impl What {
    /// Its name, for people and for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Leases => "leases",
            Self::Locks => "locks",
            Self::Lists => "lists",
            Self::Viewers => "viewers",
        }
    }
}

/// Why one does not get a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// All are taken.
    Full,
    /// The principal has its share.
    Share,
    /// One that had not logged in was ended for a newer one.
    Strangers,
}

impl Cause {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Full, Self::Share, Self::Strangers];

    /// Its name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Share => "share",
            Self::Strangers => "strangers",
        }
    }
}

/// There is no place, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace {
    /// What it would have been for.
    pub what: What,
    /// How many there are.
    pub limit: usize,
    /// Why.
    pub cause: Cause,
}

impl std::error::Error for NoPlace {}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, limit, cause } = self;
        let is_full = *cause == Cause::Full;
        let (flag, remedy) = match what {
            What::Connections if is_full => {
                return write!(f, "no connection is free of {limit} (--max-connections, ulimit -n)");
            }
            What::Connections => {
                f.write_str("no connection is free for you: ")?;
                (" (--max-connections)", "close some")
            }
            What::Leases => (" (--max-leases)", "release some"),
            What::Locks => (" (--max-locks)", "release some"),
            What::Lists => ("", "read those that are on their way"),
            What::Viewers => ("", "close some"),
        };
        let what = what.as_str();
        if is_full {
            return write!(f, "all {limit} {what} are taken{flag}; try again later");
        }
        write!(f, "your user or address has its share of the {limit} {what}{flag}; {remedy}")
    }
}

/// How often there was no place, by its cause.
#[derive(Debug, Default)]
struct Refusals([AtomicU64; Cause::ALL.len()]);

impl Refusals {
    fn add(&self, cause: Cause) {
        self.0[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> [(Cause, u64); Cause::ALL.len()] {
        Cause::ALL.map(|cause| (cause, self.0[cause as usize].load(Ordering::Relaxed)))
    }
}

/// So many places, which principals share.
#[derive(Debug)]
pub struct Places {
    what: What,
    limit: usize,
    /// The most that one may have, however many are free.
    of_each: usize,
    reserve: usize,
    /// The most that strangers may have; none where everybody is known by the address.
    of_strangers: Option<usize>,
    taken: Guarded<Taken>,
    refusals: Refusals,
}

/// The places that are taken.
#[derive(Debug, Default)]
struct Taken {
    /// Without those of strangers.
    all: usize,
    /// Of those who have one.
    of: HashMap<QuotaKey, usize>,
    strangers: Strangers,
}

impl Places {
    /// Places of which the last eighth is left for those who have few.
    pub fn new(what: What, limit: usize) -> Arc<Self> {
        Self::with(what, limit, limit, None)
    }

    /// Places of which each gets `of_each` at most.
    pub fn capped(what: What, limit: usize, of_each: usize) -> Arc<Self> {
        Self::with(what, limit, of_each, None)
    }

    /// Places for connections. Where there are users, those who come are strangers until they log in.
    pub fn for_connections(limit: usize, has_users: bool) -> Arc<Self> {
        Self::with(What::Connections, limit, limit, has_users.then(|| of_strangers(limit)))
    }

    fn with(what: What, limit: usize, of_each: usize, of_strangers: Option<usize>) -> Arc<Self> {
        let (taken, refusals) = (Guarded::new(Rank::Places, Taken::default()), Refusals::default());
        Arc::new(Self { what, limit, of_each, reserve: reserve(limit), of_strangers, taken, refusals })
    }

    /// How many there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What they are for.
    pub fn what(&self) -> What {
        self.what
    }

    /// How often there was none, by its cause.
    pub fn refusals(&self) -> [(Cause, u64); Cause::ALL.len()] {
        self.refusals.read()
    }

    /// Takes so many places for a principal.
    ///
    /// # Errors
    /// [`NoPlace`]: nothing is taken.
    pub fn take(self: &Arc<Self>, principal: QuotaKey, count: usize) -> Result<Place, NoPlace> {
        self.taken.lock().take(self, &principal, count).map_err(|cause| self.refuse(cause))?;
        Ok(Place { places: self.clone(), holder: Holder::Principal(principal), count })
    }

    /// Takes so many places for a principal, or one if there are not so many.
    ///
    /// # Errors
    /// [`NoPlace`]: nothing is taken.
    pub fn take_up_to(self: &Arc<Self>, principal: QuotaKey, wanted: usize) -> Result<Place, NoPlace> {
        let count = self.try_up_to(&principal, wanted)?;
        Ok(Place { places: self.clone(), holder: Holder::Principal(principal), count })
    }

    /// Only what is refused in the end counts as refused.
    fn try_up_to(&self, principal: &QuotaKey, wanted: usize) -> Result<usize, NoPlace> {
        let mut taken = self.taken.lock();
        let took = taken.take(self, principal, wanted).map(|()| wanted);
        let took = took.or_else(|_| taken.take(self, principal, 1).map(|()| 1));
        drop(taken);
        took.map_err(|cause| self.refuse(cause))
    }

    /// How many are taken.
    pub fn count(&self) -> usize {
        let taken = self.taken.lock();
        taken.all + taken.strangers.count()
    }

    /// Takes a place for one that comes from this address. Where there are users it is a stranger's: if strangers
    /// have theirs, or all are taken, the oldest of them is told by its [`Exit`] to leave, and its place passes on at once.
    ///
    /// # Errors
    /// [`NoPlace`]: nothing is taken.
    pub fn enter(self: &Arc<Self>, from: QuotaKey) -> Result<(Place, Option<Arc<Exit>>), NoPlace> {
        let Some(most) = self.of_strangers else { return Ok((self.take(from, 1)?, None)) };
        let exit = Arc::<Exit>::default();
        let mut taken = self.taken.lock();
        let count = taken.strangers.count();
        if count >= most || taken.all + count >= self.limit {
            // The eighth here keeps a flood from one address among itself.
            if !taken.strangers.make_room(&from, (most / SHARE).max(1)) {
                drop(taken);
                return Err(self.refuse(Cause::Full));
            }
            self.refusals.add(Cause::Strangers);
        }
        let holder = Holder::Stranger(taken.strangers.add(from, exit.clone()));
        Ok((Place { places: self.clone(), holder, count: 1 }, Some(exit)))
    }

    fn refuse(&self, cause: Cause) -> NoPlace {
        self.refusals.add(cause);
        NoPlace { what: self.what, limit: self.limit, cause }
    }
}

impl Taken {
    /// The rule.
    fn take(&mut self, places: &Places, principal: &QuotaKey, count: usize) -> Result<(), Cause> {
        let has = self.of.get(principal).copied().unwrap_or(0).saturating_add(count);
        let all = self.all.saturating_add(count);
        if all.saturating_add(self.strangers.count()) > places.limit {
            return Err(Cause::Full);
        }
        // Strangers make room for those who are known.
        let is_short = all > places.limit - places.reserve;
        if has > places.of_each || is_short && has > places.reserve {
            return Err(Cause::Share);
        }
        self.put(principal, count);
        Ok(())
    }

    fn put(&mut self, principal: &QuotaKey, count: usize) {
        self.all += count;
        *self.of.entry(principal.clone()).or_default() += count;
    }

    fn give_back(&mut self, principal: &QuotaKey, count: usize) {
        self.all -= count;
        if let Some(has) = self.of.get_mut(principal) {
            *has -= count;
            if *has == 0 {
                self.of.remove(principal);
            }
        }
    }
}

/// What has a place that passes to the user as whom its client logs in.
pub trait Pass: fmt::Debug + Send + Sync {
    /// Passes it on.
    ///
    /// # Errors
    /// [`NoPlace`]: it stays whose it was.
    fn pass_to(&self, principal: QuotaKey) -> Result<(), NoPlace>;
}

#[cfg(test)]
mod tests;
