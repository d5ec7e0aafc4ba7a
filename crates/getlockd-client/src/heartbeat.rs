//! When `KEEPALIVE` is sent, and how long the locks of a connection are certain (protocol.md, part 1, "A cut link").
//! Pure: it has no clock and no socket.
//!
//! Each answer to `KEEPALIVE` is a promise of the server: nobody else is granted these locks for `left`, which
//! counts from the moment in which the `KEEPALIVE` was sent, as the server cannot have answered earlier. The connection
//! counts as lost `stop_within` before the last promise ends, so that the work can stop while it still has the lock.
//!
//! In a cluster the promise is that of a leader, and ends with its term unless the leader renews it. It is shorter, so the
//! client asks more often and reports a loss later.

use std::{collections::VecDeque, time::Duration};

use crate::{Error, clock::Moment, reply::RowFields};

/// How often it asks before it knows the server's `left`.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// How long it waits for an answer until then.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// The last promise of the server.
#[derive(Clone, Copy, Debug)]
struct Promise {
    until: Moment,
    /// What the last answer promised. Zero promises nothing.
    left: Duration,
}

/// The times of a cluster, as `HELLO` tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterTimes {
    /// A leader that cannot renew its term goes on for nine tenths of this.
    pub ttl: Duration,
    /// For so much longer its successor grants nothing.
    pub takeover_delay: Duration,
}

impl ClusterTimes {
    /// None without a cluster. A server that does not tell them has promised `left`, which is at most nine tenths of the ttl
    /// and all of the delay.
    pub(crate) fn read(hello: &RowFields, left: Duration) -> Option<Self> {
        hello.number::<u64>("term")?;
        let ttl = hello.time("ttl").unwrap_or(left * 10 / 9);
        let takeover_delay = hello.time("takeover_delay").unwrap_or_default();
        (!ttl.is_zero()).then_some(Self { ttl, takeover_delay })
    }

    /// With a longer `stop_within`, locks would be lost while the leader is only late in renewing its term: it does so
    /// each fifth of `ttl`, may be late by two fifths, and is asked each tenth.
    pub(crate) fn max_stop_within(self) -> Duration {
        self.ttl * 3 / 10 + self.takeover_delay
    }

    /// The default, where an answer promises `left`: it may be less than the term, for a short `--keepalive`.
    fn stop_within(self, left: Duration) -> Duration {
        let usual = (self.ttl * 9 / 10 + self.takeover_delay) * 2 / 5;
        usual.min(self.max_stop_within()).min(left * 3 / 5)
    }
}

#[derive(Debug, Default)]
pub(crate) struct HeartbeatTimer {
    stop_within: Option<Duration>,
    cluster: Option<ClusterTimes>,
    /// When each `KEEPALIVE` that has no answer yet was sent.
    unanswered: VecDeque<Moment>,
    last_sent: Option<Moment>,
    promise: Option<Promise>,
    guards: usize,
    /// Since when the server has a request for a lock.
    waits_since: Option<Moment>,
    /// Since when a grant waits for a promise.
    late_since: Option<Moment>,
}

/// Fails if a lock would be lost before the next `KEEPALIVE` is answered.
pub(crate) fn check_stop_within(
    stop_within: Duration,
    left: Duration,
    cluster: Option<ClusterTimes>,
) -> Result<(), Error> {
    let (longest, cluster_ttl) = match cluster {
        Some(times) if stop_within > times.max_stop_within() => (times.max_stop_within(), Some(times.ttl)),
        // The next answer of a leader may promise more.
        Some(_) if stop_within < left => return Ok(()),
        None if stop_within < left * 4 / 5 => return Ok(()),
        _ => (left * 4 / 5, None),
    };
    Err(Error::StopWithin { stop_within, left, longest, cluster_ttl })
}

impl HeartbeatTimer {
    pub(crate) fn new(stop_within: Option<Duration>) -> Self {
        Self { stop_within, ..Self::default() }
    }

    /// The server belongs to a cluster. From here on the time to stop is the same for each promise.
    pub(crate) fn join(&mut self, cluster: ClusterTimes) {
        let left = self.left();
        self.stop_within.get_or_insert_with(|| cluster.stop_within(left));
        self.cluster = Some(cluster);
    }

    /// What the last answer has promised.
    pub(crate) fn left(&self) -> Duration {
        self.promise.map_or(Duration::ZERO, |promise| promise.left)
    }

    /// How long before the end of a promise a loss is reported. None if the server promises nothing.
    pub(crate) fn stop_within(&self) -> Option<Duration> {
        let promise = self.promise.filter(|promise| !promise.left.is_zero())?;
        Some(self.stop_within.unwrap_or(promise.left * 2 / 5))
    }

    /// A `KEEPALIVE` is sent now. A moment that is too early is on the safe side.
    pub(crate) fn sent(&mut self, now: Moment) {
        self.unanswered.push_back(now);
        self.last_sent = Some(now);
    }

    /// The first `KEEPALIVE` that had no answer has one. False if there is none.
    pub(crate) fn answered(&mut self, left: Duration) -> bool {
        let Some(sent) = self.unanswered.pop_front() else { return false };
        // An answer that was long on its way does not shorten the promise before.
        let until = sent.plus(left).max(self.promised_until());
        self.promise = Some(Promise { until, left });
        true
    }

    /// No `KEEPALIVE` that was sent will be answered any more.
    #[cfg(feature = "http")]
    pub(crate) fn failed(&mut self) {
        self.unanswered.clear();
    }

    pub(crate) fn add_guard(&mut self) {
        self.guards += 1;
    }

    pub(crate) fn remove_guard(&mut self) {
        self.guards = self.guards.saturating_sub(1);
    }

    pub(crate) fn has_guards(&self) -> bool {
        self.guards > 0
    }

    /// Whether a request for a lock has no reply yet.
    pub(crate) fn set_waits(&mut self, waits: bool, now: Moment) {
        self.waits_since = waits.then(|| self.waits_since.unwrap_or(now));
    }

    /// A grant is kept back until there is a promise.
    pub(crate) fn begin_late(&mut self, now: Moment) {
        self.late_since.get_or_insert(now);
    }

    pub(crate) fn end_late(&mut self) {
        self.late_since = None;
    }

    /// Whether a lock may be given out.
    pub(crate) fn is_certain(&self, now: Moment) -> bool {
        now < self.certain_until()
    }

    fn certain_until(&self) -> Moment {
        match self.promise {
            None => Moment::PAST,
            Some(Promise { left, .. }) if left.is_zero() => Moment::NEVER,
            Some(Promise { until, .. }) => until.minus(self.stop_within().unwrap_or_default()),
        }
    }

    /// The end of the last promise.
    pub(crate) fn promised_until(&self) -> Moment {
        self.promise.map_or(Moment::PAST, |promise| promise.until)
    }

    /// How long a grant that came late waits for a promise.
    fn patience(&self) -> Duration {
        let stop = self.stop_within().unwrap_or_default();
        self.promise.map_or(FIRST_PATIENCE, |promise| promise.left.saturating_sub(stop))
    }

    /// When the guards of this connection are lost if nothing more is answered.
    pub(crate) fn guards_expire(&self) -> Moment {
        if self.has_guards() { self.certain_until() } else { Moment::NEVER }
    }

    /// When the connection is lost if nothing more is answered.
    fn expires(&self) -> Moment {
        let late_end = self.late_since.map_or(Moment::NEVER, |since| since.plus(self.patience()));
        self.guards_expire().min(late_end).min(self.wait_expires())
    }

    /// When a wait is over at whose leader nobody answers. By then another one leads, which knows nothing of the wait.
    fn wait_expires(&self) -> Moment {
        match (self.cluster, self.waits_since) {
            (Some(cluster), Some(since)) => since.max(self.promised_until()).plus(cluster.ttl),
            _ => Moment::NEVER,
        }
    }

    pub(crate) fn is_expired(&self, now: Moment) -> bool {
        now >= self.expires()
    }

    /// When the next `KEEPALIVE` is due. None while nothing is held, nor in a cluster waited for: such a connection is silent.
    fn next_due(&self) -> Option<Moment> {
        if !self.has_guards() && self.late_since.is_none() {
            let cluster = self.cluster.filter(|_| self.waits_since.is_some())?;
            return Some(self.last_sent.map_or(Moment::PAST, |at| at.plus(cluster.ttl / 5)));
        }
        let interval = match self.promise {
            Some(Promise { left, .. }) if left.is_zero() => return None,
            Some(Promise { left, .. }) => {
                self.cluster.map_or(left / 5, |cluster| (cluster.ttl / 10).min(left / 5))
            }
            None => FIRST_INTERVAL,
        };
        Some(self.last_sent.map_or(Moment::PAST, |at| at.plus(interval)))
    }

    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.next_due().is_some_and(|at| now >= at)
    }

    /// How long the driver may sleep: not always until the next moment that counts, since a timer stands still while
    /// the machine sleeps, and the promise runs out.
    pub(crate) fn sleep_time(&self, now: Moment) -> Option<Duration> {
        let next = self.next_due()?.min(self.expires());
        let most = self.promise.map_or(FIRST_INTERVAL, |promise| promise.left / 25);
        Some(next.since(now).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(25);

    fn at(seconds: u64) -> Moment {
        Moment::PAST.plus(Duration::from_secs(seconds))
    }

    /// A guard at second 100, with a promise that was asked for then.
    fn holding() -> HeartbeatTimer {
        let mut heartbeat = HeartbeatTimer::new(None);
        heartbeat.sent(at(100));
        assert!(!heartbeat.is_certain(at(100)) && heartbeat.answered(LEFT) && heartbeat.is_certain(at(100)));
        heartbeat.add_guard();
        heartbeat
    }

    #[test]
    fn guard_is_lost_at_two_fifths_of_the_promise() {
        let mut heartbeat = holding();
        assert!(!heartbeat.is_expired(at(114)) && heartbeat.is_expired(at(115)));
        heartbeat.sent(at(105));
        heartbeat.sent(at(110));
        assert_eq!(heartbeat.guards_expire(), at(115), "a question is no answer");
        assert!(heartbeat.answered(LEFT));
        assert_eq!(heartbeat.guards_expire(), at(120), "it counts from its question");
        assert!(heartbeat.answered(LEFT) && !heartbeat.answered(LEFT));
        assert_eq!(heartbeat.guards_expire(), at(125));
    }

    #[test]
    fn keepalive_is_due_each_fifth_during_a_hold() {
        let mut heartbeat = holding();
        assert!(!heartbeat.is_due(at(104)) && heartbeat.is_due(at(105)));
        heartbeat.sent(at(105));
        assert!(!heartbeat.is_due(at(109)) && heartbeat.is_due(at(110)));
        heartbeat.remove_guard();
        assert!(
            !heartbeat.is_due(at(1000))
                && !heartbeat.is_expired(at(1000))
                && heartbeat.sleep_time(at(1000)).is_none()
        );
    }

    #[test]
    fn timers_are_shorter_than_the_promise() {
        let heartbeat = holding();
        assert_eq!(heartbeat.sleep_time(at(100)), Some(Duration::from_secs(1)));
        assert_eq!(heartbeat.sleep_time(at(200)), Some(Duration::ZERO), "after a sleep of the machine");
    }

    #[test]
    fn late_grant_asks_again_and_is_given_up_in_time() {
        let mut heartbeat = HeartbeatTimer::new(Some(Duration::from_secs(5)));
        heartbeat.sent(at(100));
        assert!(heartbeat.answered(LEFT));
        assert!(!heartbeat.is_certain(at(120)) && !heartbeat.is_due(at(120)));
        heartbeat.begin_late(at(120));
        assert!(heartbeat.is_due(at(120)));
        heartbeat.sent(at(120));
        assert!(!heartbeat.is_expired(at(139)) && heartbeat.is_expired(at(140)));
        assert!(heartbeat.answered(LEFT) && heartbeat.is_certain(at(121)));
    }

    #[test]
    fn server_without_promise_is_asked_no_more() {
        let mut heartbeat = HeartbeatTimer::new(None);
        heartbeat.sent(at(100));
        assert!(heartbeat.answered(Duration::ZERO));
        heartbeat.add_guard();
        assert!(heartbeat.is_certain(at(1_000_000)) && !heartbeat.is_due(at(1_000_000)));
        assert!(!heartbeat.is_expired(at(1_000_000)) && heartbeat.sleep_time(at(1_000_000)).is_none());
    }

    const CLUSTER: ClusterTimes =
        ClusterTimes { ttl: Duration::from_secs(5), takeover_delay: Duration::ZERO };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A guard at second 100, of a leader that promises `left` then.
    fn holding_in(cluster: ClusterTimes, configured: Option<Duration>, left: Duration) -> HeartbeatTimer {
        let mut heartbeat = HeartbeatTimer::new(configured);
        heartbeat.sent(at(100));
        assert!(heartbeat.answered(left));
        heartbeat.join(cluster);
        heartbeat.add_guard();
        heartbeat
    }

    #[test]
    fn leader_is_asked_each_tenth_of_its_ttl() {
        let mut heartbeat = holding_in(CLUSTER, None, millis(4500));
        assert_eq!(heartbeat.next_due(), Some(at(100).plus(millis(500))));
        heartbeat.sent(at(101));
        assert!(heartbeat.answered(millis(2000)));
        assert_eq!(
            heartbeat.next_due(),
            Some(at(101).plus(millis(400))),
            "or more often, when little is left"
        );
    }

    #[test]
    fn loss_is_told_three_tenths_before_a_leader_ends() {
        for left in [4500, 3500, 2500] {
            let heartbeat = holding_in(CLUSTER, None, millis(left));
            assert_eq!(heartbeat.stop_within(), Some(millis(1500)), "{left}");
            assert_eq!(heartbeat.guards_expire(), at(100).plus(millis(left - 1500)));
        }
        // It is sure of what it was told, also by an answer that promises less.
        let mut heartbeat = holding_in(CLUSTER, None, millis(4500));
        heartbeat.sent(at(101));
        assert!(heartbeat.answered(millis(1000)));
        assert_eq!(heartbeat.guards_expire(), at(103));
    }

    #[test]
    fn wait_at_a_leader_that_has_vanished_is_given_up() {
        let mut heartbeat = holding_in(CLUSTER, None, millis(4500));
        heartbeat.remove_guard();
        assert!(!heartbeat.is_due(at(1000)) && !heartbeat.is_expired(at(1000)));
        heartbeat.set_waits(true, at(1000));
        heartbeat.set_waits(true, at(1003));
        assert!(
            heartbeat.is_due(at(1000)) && !heartbeat.is_expired(at(1004)) && heartbeat.is_expired(at(1005))
        );
        heartbeat.sent(at(1004));
        assert!(!heartbeat.is_due(at(1004)) && heartbeat.is_due(at(1005)));
        assert!(heartbeat.answered(millis(4000)) && !heartbeat.is_expired(at(1012)));
        assert!(heartbeat.is_expired(at(1013)));
        heartbeat.set_waits(false, at(1013));
        assert!(!heartbeat.is_expired(at(2000)));

        let mut alone = holding();
        alone.remove_guard();
        alone.set_waits(true, at(100));
        assert!(
            !alone.is_due(at(1000)) && !alone.is_expired(at(1000)),
            "a server alone is not asked during a wait"
        );
    }

    #[test]
    fn times_of_a_cluster_are_told_or_guessed() {
        let read = |hello| ClusterTimes::read(&RowFields::read(hello).unwrap(), millis(4500));
        assert_eq!(read("HELLO session=1"), None);
        assert_eq!(read("HELLO session=1 node=a term=9 ttl=5.000 takeover_delay=0.000"), Some(CLUSTER));
        assert_eq!(read("HELLO session=1 node=a term=9"), Some(CLUSTER));
        assert_eq!(read("HELLO session=1 node=a term=9 ttl=0.000"), None);
    }

    #[test]
    fn takeover_delay_leaves_more_time_to_stop() {
        let delayed = ClusterTimes { takeover_delay: Duration::from_secs(20), ..CLUSTER };
        assert_eq!(delayed.max_stop_within(), millis(21_500));
        assert_eq!(holding_in(delayed, None, millis(24_500)).stop_within(), Some(millis(9800)));
        let configured = holding_in(delayed, Some(millis(21_500)), millis(23_500));
        assert_eq!(configured.guards_expire(), at(102));
        // The server's --keepalive may promise less than its term.
        let long = ClusterTimes { ttl: Duration::from_mins(1), ..CLUSTER };
        assert_eq!(holding_in(long, None, millis(25_000)).stop_within(), Some(millis(15_000)));
        assert_eq!(holding_in(long, None, millis(25_000)).next_due(), Some(at(105)));
    }
}
