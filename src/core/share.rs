//! Quotas of limited resources: no user and no address can take everything.
//!
//! Who takes from a quota is identified by a [`QuotaKey`]: a user, or an address if the server has no users. While much
//! is left, each may take as much as it likes. The last eighth is reserved for those that have less than an eighth of
//! the total.

mod fair_queue;
mod unauthenticated;

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use smol_str::SmolStr;

pub use fair_queue::{FairQueue, Turn};
pub use unauthenticated::Eviction;

use self::unauthenticated::{Age, Unauthenticated};
use crate::core::{
    sync::{Rank, plain::Guarded},
    users::User,
};

/// Whose share a resource counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuotaKey {
    /// A user, by name.
    User(SmolStr),
    /// The address of clients, if the server has no users or before a login; for IPv6 the /64 network, since one client
    /// has all of that.
    Address(IpAddr),
}

impl QuotaKey {
    /// The key of the user, or else of the address.
    pub fn of(user: Option<&User>, address: IpAddr) -> Self {
        user.map_or_else(|| Self::at(address), |user| Self::User(user.name().into()))
    }

    /// The key of an address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// The reserved part, as a divisor: an eighth.
pub const SHARE: usize = 8;

/// Quotas smaller than this reserve nothing.
pub const MIN_SHARED: usize = 64;

/// The part that clients without a login may have together, if the server has users: a half.
pub const UNAUTHENTICATED_SHARE: usize = 2;

/// How much of a quota is reserved for those that have less than that.
pub fn reserve(limit: usize) -> usize {
    if limit < MIN_SHARED { 0 } else { limit / SHARE }
}

/// The most connections that clients may have together before a login, if the server has users.
pub fn max_unauthenticated(limit: usize) -> usize {
    (limit / UNAUTHENTICATED_SHARE).max(1)
}

/// A shared resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// TCP connections, of all wires.
    Connections,
    /// Leases, and `Hold` streams.
    Leases,
    /// Locks that are held.
    Locks,
    /// Long lists in flight.
    Lists,
    /// Viewers of `/events`.
    Viewers,
    /// Streams of events.
    Watchers,
}

impl Resource {
    /// Its name, for people and for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Leases => "leases",
            Self::Locks => "locks",
            Self::Lists => "lists",
            Self::Viewers => "viewers",
            Self::Watchers => "watchers",
        }
    }

    /// One of them, for people.
    fn singular(self) -> &'static str {
        self.as_str().trim_end_matches('s')
    }
}

/// Why there is none for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaCause {
    /// All are taken.
    Full,
    /// The user or address has its share.
    Share,
    /// One that had not logged in was ended for a newer one.
    Unauthenticated,
}

impl QuotaCause {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Full, Self::Share, Self::Unauthenticated];

    /// Its name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Share => "share",
            Self::Unauthenticated => "strangers",
        }
    }
}

/// There is nothing left for a client, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// Of what.
    pub resource: Resource,
    /// How many there are.
    pub limit: usize,
    /// Why.
    pub cause: QuotaCause,
}

impl std::error::Error for QuotaExceeded {}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, limit, cause } = self;
        let is_full = *cause == QuotaCause::Full;
        let (flag, remedy) = match resource {
            Resource::Connections if is_full => {
                return write!(f, "connection limit reached: {limit} (--max-connections, ulimit -n)");
            }
            Resource::Connections => (" (--max-connections)", "close some"),
            Resource::Leases => (" (--max-leases)", "release some"),
            Resource::Locks => (" (--max-locks)", "release some"),
            Resource::Lists => ("", "read those that you have asked for"),
            Resource::Viewers | Resource::Watchers => ("", "close some"),
        };
        if is_full {
            let resource = resource.singular();
            return write!(f, "{resource} limit reached: {limit}{flag}; try again later");
        }
        let resource = resource.as_str();
        write!(f, "your user or address has used up its share of the {limit} {resource}{flag}; {remedy}")
    }
}

/// How often a quota was exceeded, by cause.
#[derive(Debug, Default)]
struct Refusals([AtomicU64; QuotaCause::ALL.len()]);

impl Refusals {
    fn add(&self, cause: QuotaCause) {
        self.0[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> [(QuotaCause, u64); QuotaCause::ALL.len()] {
        QuotaCause::ALL.map(|cause| (cause, self.0[cause as usize].load(Ordering::Relaxed)))
    }
}

/// A quota of a resource that users or addresses share.
#[derive(Debug)]
pub struct Quota {
    resource: Resource,
    limit: usize,
    /// The most that one of them may have, however many are free.
    of_each: usize,
    reserve: usize,
    /// The most before a login; `None` if everybody is identified by address.
    max_unauthenticated: Option<usize>,
    taken: Guarded<Taken>,
    refusals: Refusals,
}

/// The usage of a quota.
#[derive(Debug, Default)]
struct Taken {
    /// Without clients before a login.
    all: usize,
    /// The usage of each key that has any.
    of: HashMap<QuotaKey, usize>,
    unauthenticated: Unauthenticated,
}

impl Quota {
    /// Makes a quota whose last eighth is reserved for those that have little.
    pub fn new(resource: Resource, limit: usize) -> Arc<Self> {
        Self::with(resource, limit, limit, None)
    }

    /// Makes a quota of which each key may have at most `of_each`.
    pub fn capped(resource: Resource, limit: usize, of_each: usize) -> Arc<Self> {
        Self::with(resource, limit, of_each, None)
    }

    /// Makes the quota of connections. If the server has users, new connections are unauthenticated until they log in.
    pub fn for_connections(limit: usize, has_users: bool) -> Arc<Self> {
        Self::with(Resource::Connections, limit, limit, has_users.then(|| max_unauthenticated(limit)))
    }

    fn with(
        resource: Resource,
        limit: usize,
        of_each: usize,
        max_unauthenticated: Option<usize>,
    ) -> Arc<Self> {
        let (taken, refusals) = (Guarded::new(Rank::Quota, Taken::default()), Refusals::default());
        Arc::new(Self {
            resource,
            limit,
            of_each,
            reserve: reserve(limit),
            max_unauthenticated,
            taken,
            refusals,
        })
    }

    /// The limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The resource.
    pub fn resource(&self) -> Resource {
        self.resource
    }

    /// How often the quota was exceeded, by cause.
    pub fn refusals(&self) -> [(QuotaCause, u64); QuotaCause::ALL.len()] {
        self.refusals.read()
    }

    /// Takes this much for a user or address.
    ///
    /// # Errors
    /// [`QuotaExceeded`]: nothing was taken.
    pub fn take(self: &Arc<Self>, key: QuotaKey, count: usize) -> Result<Reservation, QuotaExceeded> {
        self.taken.lock().take(self, &key, count).map_err(|cause| self.refuse(cause))?;
        Ok(Reservation { quota: self.clone(), holder: Holder::Known(key), count })
    }

    /// Takes one for what was promised before the start, whether or not there is as much.
    pub fn take_over(self: &Arc<Self>, key: QuotaKey) -> Reservation {
        self.taken.lock().add(&key, 1);
        Reservation { quota: self.clone(), holder: Holder::Known(key), count: 1 }
    }

    /// Takes this many places for a key, or one if fewer are free.
    ///
    /// # Errors
    /// [`QuotaExceeded`]: nothing was taken.
    pub fn take_up_to(self: &Arc<Self>, key: QuotaKey, wanted: usize) -> Result<Reservation, QuotaExceeded> {
        let count = self.try_up_to(&key, wanted)?;
        Ok(Reservation { quota: self.clone(), holder: Holder::Known(key), count })
    }

    /// Only the final refusal counts.
    fn try_up_to(&self, key: &QuotaKey, wanted: usize) -> Result<usize, QuotaExceeded> {
        let mut taken = self.taken.lock();
        let took = taken.take(self, key, wanted).map(|()| wanted);
        let took = took.or_else(|_| taken.take(self, key, 1).map(|()| 1));
        drop(taken);
        took.map_err(|cause| self.refuse(cause))
    }

    /// The current usage.
    pub fn count(&self) -> usize {
        let taken = self.taken.lock();
        taken.all + taken.unauthenticated.count()
    }

    /// Admits a connection from this address. If the server has users, the connection is unauthenticated. If
    /// unauthenticated connections have their share, or the quota is used up, the oldest of them is told by its
    /// [`Eviction`] to leave, and the new connection takes its place at once.
    ///
    /// # Errors
    /// [`QuotaExceeded`]: nothing was taken.
    pub fn admit(
        self: &Arc<Self>,
        from: QuotaKey,
    ) -> Result<(Reservation, Option<Arc<Eviction>>), QuotaExceeded> {
        let Some(most) = self.max_unauthenticated else { return Ok((self.take(from, 1)?, None)) };
        let eviction = Arc::<Eviction>::default();
        let mut taken = self.taken.lock();
        let count = taken.unauthenticated.count();
        if count >= most || taken.all + count >= self.limit {
            // An address that has its share makes room itself: a flood from one address evicts only its own connections.
            if !taken.unauthenticated.make_room(&from, (most / SHARE).max(1)) {
                drop(taken);
                return Err(self.refuse(QuotaCause::Full));
            }
            self.refusals.add(QuotaCause::Unauthenticated);
        }
        let holder = Holder::Unauthenticated(taken.unauthenticated.add(from, eviction.clone()));
        Ok((Reservation { quota: self.clone(), holder, count: 1 }, Some(eviction)))
    }

    fn refuse(&self, cause: QuotaCause) -> QuotaExceeded {
        self.refusals.add(cause);
        QuotaExceeded { resource: self.resource, limit: self.limit, cause }
    }
}

impl Taken {
    /// Decides on a request.
    fn take(&mut self, quota: &Quota, key: &QuotaKey, count: usize) -> Result<(), QuotaCause> {
        let has = self.of.get(key).copied().unwrap_or(0).saturating_add(count);
        let all = self.all.saturating_add(count);
        if all.saturating_add(self.unauthenticated.count()) > quota.limit {
            return Err(QuotaCause::Full);
        }
        // Unauthenticated connections make room for authenticated ones.
        let is_short = all > quota.limit - quota.reserve;
        if has > quota.of_each || is_short && has > quota.reserve {
            return Err(QuotaCause::Share);
        }
        self.add(key, count);
        Ok(())
    }

    fn add(&mut self, key: &QuotaKey, count: usize) {
        self.all += count;
        *self.of.entry(key.clone()).or_default() += count;
    }

    fn give_back(&mut self, key: &QuotaKey, count: usize) {
        self.all -= count;
        if let Some(has) = self.of.get_mut(key) {
            *has -= count;
            if *has == 0 {
                self.of.remove(key);
            }
        }
    }
}

/// A part of a quota. Dropped, it is returned.
#[derive(Debug)]
pub struct Reservation {
    quota: Arc<Quota>,
    holder: Holder,
    count: usize,
}

#[derive(Debug)]
enum Holder {
    Known(QuotaKey),
    /// For the order of arrival.
    Unauthenticated(Age),
}

impl Reservation {
    /// The number of places.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Transfers the permit to another key: that of the user as whom its client has logged in.
    ///
    /// # Errors
    /// [`QuotaExceeded`]: the permit is unchanged.
    pub fn transfer_to(&mut self, to: QuotaKey) -> Result<(), QuotaExceeded> {
        if matches!(&self.holder, Holder::Known(now) if *now == to) {
            return Ok(());
        }
        let mut taken = self.quota.taken.lock();
        let transferred = match &self.holder {
            Holder::Known(from) => {
                taken.give_back(from, self.count);
                let transferred = taken.take(&self.quota, &to, self.count);
                transferred.inspect_err(|_| taken.add(from, self.count))
            }
            Holder::Unauthenticated(age) => {
                let evictable = taken.unauthenticated.remove(*age);
                let transferred = taken.take(&self.quota, &to, self.count);
                match (evictable, &transferred) {
                    (Some((_, eviction)), Ok(())) => eviction.cancel(),
                    (Some((from, eviction)), Err(_)) => taken.unauthenticated.put(*age, from, eviction),
                    // It was just told to leave, and does so.
                    (None, _) => {}
                }
                transferred
            }
        };
        drop(taken);
        transferred.map_err(|cause| self.quota.refuse(cause))?;
        self.holder = Holder::Known(to);
        Ok(())
    }

    /// Takes this many more places for the same key, or one if fewer are free. Returns the number.
    ///
    /// # Errors
    /// [`QuotaExceeded`]: nothing more was taken.
    pub fn grow_up_to(&mut self, wanted: usize) -> Result<usize, QuotaExceeded> {
        let Holder::Known(key) = &self.holder else { return Ok(0) };
        let more = self.quota.try_up_to(key, wanted)?;
        self.count += more;
        Ok(more)
    }

    /// Returns some places.
    pub fn shrink(&mut self, fewer: usize) {
        let fewer = fewer.min(self.count);
        if let Holder::Known(key) = &self.holder {
            self.quota.taken.lock().give_back(key, fewer);
            self.count -= fewer;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.quota.taken.lock();
        match &self.holder {
            Holder::Known(key) => taken.give_back(key, self.count),
            // A connection that was told to leave no longer has a place.
            Holder::Unauthenticated(age) => drop(taken.unauthenticated.remove(*age)),
        }
    }
}

/// A permit that is transferred to the user as whom its client logs in.
pub trait Transfer: fmt::Debug + Send + Sync {
    /// Counts the permit against another key.
    ///
    /// # Errors
    /// [`QuotaExceeded`]: the permit is unchanged.
    fn transfer_to(&self, key: QuotaKey) -> Result<(), QuotaExceeded>;
}

#[cfg(test)]
mod tests;
