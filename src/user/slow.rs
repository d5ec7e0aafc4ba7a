//! Wrong passwords are answered later and later, and few at a time; right ones at once.
//!
//! So a guesser gets a handful of guesses a second from one address, and one program with an old
//! password does not lock out those beside it that have the new one.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::Denied;

/// Who fails: an address, and the user he claims to be, if there is one of that name.
pub(super) type Key = (IpAddr, Option<Box<str>>);

/// The delay of the first wrong answer; it doubles with each, up to the most.
const DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// How many wrong ones of a kind may wait for their answer. With so many no more are looked at.
const WAITING: usize = 16;

/// So long a failure is remembered.
const MEMORY: Duration = Duration::from_mins(10);

/// How many kinds are remembered; beyond it all others share one.
const KINDS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Slow(Mutex<HashMap<Key, Failures>>);

#[derive(Debug)]
struct Failures {
    count: u32,
    /// When those that wait for their answer get it. One that does not stay for it waits all the same:
    /// who hears nothing for a moment knows that his guess was wrong.
    waiting: VecDeque<Instant>,
    last: Instant,
}

impl Failures {
    /// How many wait for their answer.
    fn waiting(&mut self) -> usize {
        let now = Instant::now();
        while self.waiting.front().is_some_and(|answered| *answered <= now) {
            self.waiting.pop_front();
        }
        self.waiting.len()
    }
}

/// One who shows something, right or wrong.
pub(super) struct Attempt<'a> {
    slow: &'a Slow,
    key: Key,
}

impl Slow {
    /// Whether this one is looked at.
    pub(super) fn attempt(&self, (from, user): Key) -> Result<Attempt<'_>, Denied> {
        let key = (network(from), user);
        if self.failures().get_mut(&key).is_some_and(|failures| failures.waiting() >= WAITING) {
            return Err(Denied::TooMany);
        }
        Ok(Attempt { slow: self, key })
    }

    /// Counts a failure: how late it is to be answered.
    fn begin(&self, key: &mut Key) -> Duration {
        let mut all = self.failures();
        if all.len() >= KINDS && !all.contains_key(key) {
            all.retain(|_, failures| failures.last.elapsed() < MEMORY);
            if all.len() >= KINDS {
                *key = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), None);
            }
        }
        let new = || Failures { count: 0, waiting: VecDeque::new(), last: Instant::now() };
        let failures = all.entry(key.clone()).or_insert_with(new);
        if failures.last.elapsed() > MEMORY {
            failures.count = 0;
        }
        let delay = DELAY.0.saturating_mul(1 << failures.count.min(10)).min(DELAY.1);
        failures.count = failures.count.saturating_add(1);
        failures.last = Instant::now();
        // Those that share are not counted: nobody is refused for them.
        if failures.waiting() < WAITING {
            failures.waiting.push_back(failures.last + delay);
        }
        delay
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        // No code that can panic runs while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    pub(super) fn succeed(self) {
        let mut all = self.slow.failures();
        if all.get_mut(&self.key).is_some_and(|failures| failures.waiting() == 0) {
            all.remove(&self.key);
        }
    }

    /// Resolves when the answer may be given. Cancel-safe: the failure counts, and waits on.
    pub(super) async fn fail(mut self) {
        let delay = self.slow.begin(&mut self.key);
        sleep(delay).await;
    }
}

/// Whoever has one address of IPv6 has many.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(last: u8, user: Option<&str>) -> Key {
        (IpAddr::from([10, 0, 0, last]), user.map(Into::into))
    }

    /// In milliseconds.
    async fn failing(slow: &Slow, key: Key) -> u128 {
        let start = Instant::now();
        slow.attempt(key).unwrap_or_else(|_| unreachable!()).fail().await;
        start.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_takes_longer_than_the_one_before() {
        let slow = Slow::default();
        let mut times = Vec::new();
        for _ in 0..7 {
            times.push(failing(&slow, key(1, Some("app1"))).await);
        }
        assert_eq!(times, [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(failing(&slow, key(2, Some("app1"))).await, 100);
        assert_eq!(failing(&slow, key(1, None)).await, 100);
        slow.attempt(key(1, Some("app1"))).unwrap_or_else(|_| unreachable!()).succeed();
        assert_eq!(failing(&slow, key(1, Some("app1"))).await, 100);
        failing(&slow, key(1, Some("app1"))).await;
        tokio::time::advance(MEMORY * 2).await;
        assert_eq!(failing(&slow, key(1, Some("app1"))).await, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn few_fail_at_a_time() {
        let slow = Slow::default();
        let mut failing: Vec<_> = (0..WAITING)
            .map(|_| Box::pin(slow.attempt(key(1, None)).unwrap_or_else(|_| unreachable!()).fail()))
            .collect();
        for failing in &mut failing {
            assert!(futures_poll(failing).await);
        }
        assert!(slow.attempt(key(1, None)).is_err());
        assert!(slow.attempt(key(1, Some("app1"))).is_ok() && slow.attempt(key(2, None)).is_ok());
        // One that leaves makes no place for another: it would guess as fast as it can leave.
        failing.pop();
        assert!(slow.attempt(key(1, None)).is_err());
        tokio::time::advance(DELAY.0).await;
        assert!(slow.attempt(key(1, None)).is_ok());
    }

    /// Whether it goes on.
    async fn futures_poll(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let slow = Slow::default();
        let spread = |n: usize| (IpAddr::from(u32::try_from(n).unwrap_or_default().to_be_bytes()), None);
        for n in 0..KINDS + 10 {
            let mut key = spread(n);
            slow.begin(&mut key);
        }
        assert_eq!(slow.failures().len(), KINDS + 1);
        tokio::time::advance(MEMORY * 2).await;
        slow.begin(&mut spread(KINDS + 11));
        assert_eq!(slow.failures().len(), 1);
    }
}
