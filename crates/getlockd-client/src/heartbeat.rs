//! When `KEEPALIVE` is sent, and how long the locks of a connection are certain (protocol.md, part 1, "A cut link").
//! Pure: it has no clock and no socket.
//!
//! Each answer to `KEEPALIVE` is a promise of the server: nobody else is granted these locks for `left`, which
//! counts from the moment in which the `KEEPALIVE` was sent, as the server cannot have answered earlier. The connection
//! counts as lost `stop_within` before the last promise ends, so that the work can stop while it still has the lock.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Moment;

/// How often it asks before it knows the server's `left`.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// How long it waits for an answer until then.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// The last promise of the server.
#[derive(Clone, Copy, Debug)]
struct Promise {
    /// When its `KEEPALIVE` was sent.
    sent: Moment,
    /// Zero promises nothing.
    left: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct HeartbeatTimer {
    stop_within: Option<Duration>,
    /// When each `KEEPALIVE` that has no answer yet was sent.
    unanswered: VecDeque<Moment>,
    last_sent: Option<Moment>,
    promise: Option<Promise>,
    guards: usize,
    /// Since when a grant waits for a promise.
    late_since: Option<Moment>,
}

/// How long before the end of a promise a loss is reported.
pub(crate) fn stop_within(configured: Option<Duration>, left: Duration) -> Duration {
    configured.unwrap_or(left * 2 / 5)
}

/// With a longer `stop_within` a lock would be lost before the next `KEEPALIVE` is answered.
pub(crate) fn max_stop_within(left: Duration) -> Duration {
    left * 4 / 5
}

impl HeartbeatTimer {
    pub(crate) fn new(stop_within: Option<Duration>) -> Self {
        Self { stop_within, ..Self::default() }
    }

    /// A `KEEPALIVE` is sent now. A moment that is too early is on the safe side.
    pub(crate) fn sent(&mut self, now: Moment) {
        self.unanswered.push_back(now);
        self.last_sent = Some(now);
    }

    /// The first `KEEPALIVE` that had no answer has one. False if there is none.
    pub(crate) fn answered(&mut self, left: Duration) -> bool {
        let sent = self.unanswered.pop_front();
        if let Some(sent) = sent {
            self.promise = Some(Promise { sent, left });
        }
        sent.is_some()
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
            Some(Promise { sent, left }) => sent.plus(self.time_to_work(left)),
        }
    }

    /// The end of the last promise.
    pub(crate) fn promised_until(&self) -> Moment {
        self.promise.map_or(Moment::PAST, |Promise { sent, left }| sent.plus(left))
    }

    fn time_to_work(&self, left: Duration) -> Duration {
        left.saturating_sub(stop_within(self.stop_within, left))
    }

    /// When the guards of this connection are lost if nothing more is answered.
    pub(crate) fn guards_expire(&self) -> Moment {
        if self.has_guards() { self.certain_until() } else { Moment::NEVER }
    }

    /// When the connection is lost if nothing more is answered.
    fn expires(&self) -> Moment {
        let patience = self.promise.map_or(FIRST_PATIENCE, |promise| self.time_to_work(promise.left));
        let late_end = self.late_since.map_or(Moment::NEVER, |since| since.plus(patience));
        self.guards_expire().min(late_end)
    }

    pub(crate) fn is_expired(&self, now: Moment) -> bool {
        now >= self.expires()
    }

    /// When the next `KEEPALIVE` is due. None while nothing is held: such a connection is silent.
    fn next_due(&self) -> Option<Moment> {
        if !self.has_guards() && self.late_since.is_none() {
            return None;
        }
        let interval = match self.promise {
            Some(Promise { left, .. }) if left.is_zero() => return None,
            Some(Promise { left, .. }) => left / 5,
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
}
