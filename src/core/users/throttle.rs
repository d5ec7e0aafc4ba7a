//! The throttle for wrong passwords: they are answered with growing delays, and few of them are checked.
//!
//! Three limits hold for any number of addresses and names: per name and address, per name from all addresses, and per
//! address for all names. Unknown names are counted like those of users, and a delay depends only on the address:
//! neither reveals who is a user.
//!
//! The limit per name would let strangers lock its user out. So a user who has logged in from an address before is let
//! in from there regardless of the other counts. Only the right password reveals that: a wrong one gets the same answer
//! as everybody's.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use tokio::time::Instant;

use crate::core::sync::{Rank, plain::Guarded};

/// How many wrong passwords for one name from one address are checked: at once, and then per second.
pub const WRONG_BY_NAME_AND_ADDRESS: (u32, u32) = (16, 5);

/// The same for one name from all addresses.
pub const WRONG_BY_NAME: (u32, u32) = (64, 20);

/// The same for one address under all names.
pub const WRONG_BY_ADDRESS: (u32, u32) = (64, 20);

/// The delay of the first wrong answer to an address. It doubles with each further one, up to the longest.
const DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// How many keys each count remembers.
const MAX_KEYS: usize = 10_000;

/// A key of a count: a keyed digest of an address, a name, or both, since nobody must be able to fill the memory with
/// names. `RandomState` is SipHash with a random key, without which nobody can find two names with the same digest.
type AttemptKey = u64;

/// Why a login attempt is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginRefusal {
    /// It was wrong, which must not be revealed before this moment.
    Wrong(Instant),
    /// It was not checked.
    TooMany,
}

#[derive(Debug)]
pub(super) struct Throttle {
    key: RandomState,
    counts: Guarded<Counts>,
}

#[derive(Debug)]
struct Counts {
    /// By address: how long wrong answers are delayed.
    delays: Buckets,
    of_address: Buckets,
    of_name: Buckets,
    of_both: Buckets,
    /// From which address the right password has let in which user, and when.
    admitted: RecentTimes,
}

/// A login attempt, with the keys that it counts against.
#[derive(Clone, Copy)]
struct AttemptKeys {
    address: AttemptKey,
    /// `None` for a token, which has no name.
    name: Option<AttemptKey>,
    both: AttemptKey,
}

impl Default for Throttle {
    fn default() -> Self {
        let counts = Counts {
            // More than six would delay no answer further.
            delays: Buckets::new(6, Duration::from_mins(1)),
            of_address: Buckets::allowing(WRONG_BY_ADDRESS),
            of_name: Buckets::allowing(WRONG_BY_NAME),
            of_both: Buckets::allowing(WRONG_BY_NAME_AND_ADDRESS),
            admitted: RecentTimes::default(),
        };
        Self { key: RandomState::new(), counts: Guarded::new(Rank::Throttle, counts) }
    }
}

impl Throttle {
    /// Whether a login attempt for this name succeeds, and with what result.
    pub(super) fn judge<T>(
        &self,
        from: IpAddr,
        name: Option<&str>,
        proven: Option<T>,
    ) -> Result<T, LoginRefusal> {
        let from = network(from);
        let keys = AttemptKeys {
            address: self.key.hash_one(from),
            name: name.map(|name| self.key.hash_one(name)),
            both: self.key.hash_one((from, name)),
        };
        self.counts.lock().judge(keys, proven, Instant::now())
    }
}

impl Counts {
    fn judge<T>(&mut self, keys: AttemptKeys, proven: Option<T>, now: Instant) -> Result<T, LoginRefusal> {
        let has_room = !self.of_both.is_full(keys.both, now);
        let is_open = !self.of_address.is_full(keys.address, now)
            && keys.name.is_none_or(|name| !self.of_name.is_full(name, now));
        if let Some(proven) = proven
            && has_room
            && (is_open || self.admitted.get(keys.both).is_some())
        {
            self.admitted.set(keys.both, now);
            return Ok(proven);
        }
        // From here on nothing depends on what was presented, or on earlier logins.
        self.of_both.add(keys.both, now);
        if !(has_room && is_open) {
            return Err(LoginRefusal::TooMany);
        }
        self.of_address.add(keys.address, now);
        if let Some(name) = keys.name {
            self.of_name.add(name, now);
        }
        let delay = DELAY.0.saturating_mul(1 << self.delays.level(keys.address, now)).min(DELAY.1);
        self.delays.add(keys.address, now);
        Err(LoginRefusal::Wrong(now + delay))
    }
}

/// A leaky bucket per key: it holds a number of attempts, and loses one per interval.
#[derive(Debug)]
struct Buckets {
    size: u32,
    leak: Duration,
    /// When each bucket is empty, if nothing is added.
    empty: RecentTimes,
}

impl Buckets {
    fn new(size: u32, leak: Duration) -> Self {
        Self { size, leak, empty: RecentTimes::default() }
    }

    fn allowing((at_once, a_second): (u32, u32)) -> Self {
        Self::new(at_once, Duration::from_secs(1) / a_second)
    }

    /// The number of attempts in the bucket.
    fn level(&self, key: AttemptKey, now: Instant) -> u32 {
        let left = self.empty.get(key).map_or(Duration::ZERO, |empty| empty.duration_since(now));
        let level = left.as_nanos().div_ceil(self.leak.as_nanos());
        u32::try_from(level).unwrap_or(self.size)
    }

    fn is_full(&self, key: AttemptKey, now: Instant) -> bool {
        self.level(key, now) >= self.size
    }

    /// Adds one unless the bucket is full: refused attempts do not extend the refusal.
    fn add(&mut self, key: AttemptKey, now: Instant) {
        if !self.is_full(key, now) {
            let empty = self.empty.get(key).map_or(now, |empty| empty.max(now));
            self.empty.set(key, empty + self.leak);
        }
    }
}

/// A moment per key. If there is no room for another key, the one with the earliest moment is forgotten: the bucket
/// that is empty first. So a full bucket is forgotten only for thousands of equally full ones.
#[derive(Debug, Default)]
struct RecentTimes {
    of: HashMap<AttemptKey, Instant>,
    in_order: BTreeSet<(Instant, AttemptKey)>,
}

impl RecentTimes {
    fn get(&self, key: AttemptKey) -> Option<Instant> {
        self.of.get(&key).copied()
    }

    fn set(&mut self, key: AttemptKey, moment: Instant) {
        if let Some(before) = self.of.insert(key, moment) {
            self.in_order.remove(&(before, key));
        } else if self.of.len() > MAX_KEYS
            && let Some((_, earliest)) = self.in_order.pop_first()
        {
            self.of.remove(&earliest);
        }
        self.in_order.insert((moment, key));
    }
}

/// A client with one IPv6 address has a whole network of them.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// The owner's, and some other one.
    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const FRESH: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// The address of one of very many.
    fn one_of_many(number: usize) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | (number as u128) << 64))
    }

    /// How many of so many wrong ones, all at one moment, are looked at.
    fn looked_at(
        throttle: &Throttle,
        count: usize,
        from: impl Fn(usize) -> IpAddr,
        name: impl Fn(usize) -> String,
    ) -> usize {
        (0..count).filter(|&number| wrong(throttle, from(number), Some(&name(number))).is_some()).count()
    }

    fn name(name: &str) -> impl Fn(usize) -> String {
        move |_| name.to_owned()
    }

    fn admits(throttle: &Throttle, from: IpAddr, name: &str) -> bool {
        throttle.judge(from, Some(name), Some(())).is_ok()
    }

    /// After how many milliseconds a wrong one is answered; none if it is not looked at.
    fn wrong(throttle: &Throttle, from: IpAddr, name: Option<&str>) -> Option<u128> {
        match throttle.judge(from, name, None::<()>) {
            Err(LoginRefusal::Wrong(answered)) => Some((answered - Instant::now()).as_millis()),
            _ => None,
        }
    }

    fn delay(throttle: &Throttle, from: IpAddr, name: Option<&str>) -> u128 {
        wrong(throttle, from, name).unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn delay_grows_with_each_wrong_login() {
        let throttle = Throttle::default();
        let names = [Some("app1"), Some("nobody"), None, Some("app1"), Some("app2"), Some("app1"), None];
        let delays = names.map(|name| delay(&throttle, OWN, name));
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(delay(&throttle, FRESH, Some("app1")), 100, "that others fail does not show");
        // One is forgotten each minute.
        advance(Duration::from_mins(4)).await;
        assert_eq!([delay(&throttle, OWN, None), delay(&throttle, OWN, None)], [400, 800]);
        advance(Duration::from_mins(6)).await;
        assert_eq!(delay(&throttle, OWN, Some("app1")), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn few_logins_per_name_and_address_are_checked() {
        let throttle = Throttle::default();
        assert_eq!(looked_at(&throttle, 600, |_| OWN, name("app1")), 16);
        assert!(!admits(&throttle, OWN, "app1") && admits(&throttle, OWN, "app2"));
        assert!(admits(&throttle, FRESH, "app1"));
        advance(Duration::from_secs(1)).await;
        assert_eq!(looked_at(&throttle, 600, |_| OWN, name("app1")), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn few_logins_per_address_are_checked() {
        let throttle = Throttle::default();
        assert_eq!(looked_at(&throttle, 600, |_| OWN, |number| format!("name{number}")), 64);
        assert!(!admits(&throttle, OWN, "app1") && admits(&throttle, FRESH, "app1"));
        advance(Duration::from_secs(1)).await;
        assert_eq!(looked_at(&throttle, 600, |_| OWN, |number| format!("new{number}")), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn few_logins_per_name_are_checked() {
        for user in ["app1", "a name that nobody has"] {
            let throttle = Throttle::default();
            assert_eq!(looked_at(&throttle, 3 * MAX_KEYS, one_of_many, name(user)), 64);
            assert_eq!(looked_at(&throttle, 600, |_| FRESH, name(user)), 0);
            advance(Duration::from_secs(1)).await;
            assert_eq!(looked_at(&throttle, 3 * MAX_KEYS, one_of_many, name(user)), 20);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_stay_few_beyond_remembered_addresses() {
        let throttle = Throttle::default();
        let guess = |number| format!("name{number}");
        assert_eq!(looked_at(&throttle, MAX_KEYS + 100, one_of_many, guess), MAX_KEYS + 100);
        assert_eq!(looked_at(&throttle, 600, |_| FRESH, name("app1")), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_keeps_the_worst() {
        let throttle = Throttle::default();
        looked_at(&throttle, 64, one_of_many, name("app1"));
        looked_at(&throttle, 16, |_| OWN, name("app2"));
        looked_at(
            &throttle,
            2 * MAX_KEYS,
            |number| one_of_many(64 + number),
            |number| format!("name{number}"),
        );
        for number in 0..2 * MAX_KEYS {
            assert!(admits(&throttle, one_of_many(number + 3 * MAX_KEYS), "app3"));
        }
        let Counts { delays, of_address, of_name, of_both, admitted } = &*throttle.counts.lock();
        for moments in [&delays.empty, &of_address.empty, &of_name.empty, &of_both.empty, admitted] {
            assert_eq!((moments.of.len(), moments.in_order.len()), (MAX_KEYS, MAX_KEYS));
        }
        let key = throttle.key.hash_one("app1");
        assert!(of_name.is_full(key, Instant::now()), "64 guesses outlast thousands of invented names");
        let key = throttle.key.hash_one((OWN, Some("app2")));
        assert!(of_both.is_full(key, Instant::now()), "and 16 of an address outlast thousands of addresses");
    }

    #[tokio::test(start_paused = true)]
    async fn user_logs_in_from_a_clean_address_during_guesses() {
        let throttle = Throttle::default();
        assert!(admits(&throttle, OWN, "app1"));
        for _ in 0..100 {
            looked_at(&throttle, 2 * MAX_KEYS / 100, one_of_many, name("app1"));
            assert!(admits(&throttle, OWN, "app1"));
            assert!(!admits(&throttle, FRESH, "app1"), "else it could be guessed from there");
            assert!(admits(&throttle, FRESH, "app2"));
            advance(Duration::from_secs(1)).await;
        }
        // Nor does it matter who fails under other names behind the same router.
        looked_at(&throttle, 600, |_| OWN, |number| format!("name{number}"));
        assert!(admits(&throttle, OWN, "app1"));
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_user_is_answered_as_a_wrong_password() {
        let throttle = Throttle::default();
        let answers = |name: &str| {
            let mut answers = vec![wrong(&throttle, OWN, Some(name))];
            looked_at(&throttle, 64, one_of_many, |_| name.to_owned());
            answers.extend((0..20).map(|_| wrong(&throttle, OWN, Some(name))));
            answers
        };
        assert!(admits(&throttle, OWN, "app1"));
        let of_user = answers("app1");
        advance(Duration::from_mins(10)).await;
        assert_eq!(of_user, answers("a name that nobody has"));
        assert_eq!((of_user[0], of_user[1]), (Some(100), None));
    }
}
