//! How long the locks of a connection are certain (protocol.md, part 1, "A link that is cut without a word").
//! Pure: it has no clock and no socket.
//!
//! Each answer to `KEEPALIVE` is a promise of the server: nobody else is granted these locks for `left`, which
//! counts from the moment in which the question was sent. The connection counts as lost `stop_within` before
//! the last promise ends, so that the work can stop while the lock is still its own.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Moment;

/// How often it asks, and how long it waits, before the server has told its `left`.
const UNTOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What the server has promised last.
#[derive(Clone, Copy, Debug)]
struct Promise {
    /// When the question was sent.
    sent: Moment,
    /// Zero promises nothing.
    left: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct HeartbeatTimer {
    stop_within: Option<Duration>,
    /// When the questions were sent that have no answer yet.
    unanswered: VecDeque<Moment>,
    last_asked: Option<Moment>,
    promise: Option<Promise>,
    /// How many guards there are.
    held: usize,
    /// Since when a grant waits for a promise.
    late: Option<Moment>,
}

/// How long before the end of a promise a loss is told.
pub(crate) fn stop_within(told: Option<Duration>, left: Duration) -> Duration {
    told.unwrap_or(left * 2 / 5)
}

/// Beyond it a lock would be lost before the next question is answered.
pub(crate) fn most_to_stop(left: Duration) -> Duration {
    left * 4 / 5
}

impl HeartbeatTimer {
    pub(crate) fn new(stop_within: Option<Duration>) -> Self {
        Self { stop_within, ..Self::default() }
    }

    /// A question is sent now. A moment that is too early is on the safe side.
    pub(crate) fn ask(&mut self, now: Moment) {
        self.unanswered.push_back(now);
        self.last_asked = Some(now);
    }

    /// The first question that had no answer has one. False if there is none.
    pub(crate) fn answer(&mut self, left: Duration) -> bool {
        let sent = self.unanswered.pop_front();
        if let Some(sent) = sent {
            self.promise = Some(Promise { sent, left });
        }
        sent.is_some()
    }

    pub(crate) fn add_guard(&mut self) {
        self.held += 1;
    }

    pub(crate) fn remove_guard(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    pub(crate) fn has_guards(&self) -> bool {
        self.held > 0
    }

    /// A grant is kept back until there is a promise.
    pub(crate) fn begin_late(&mut self, now: Moment) {
        self.late.get_or_insert(now);
    }

    pub(crate) fn end_late(&mut self) {
        self.late = None;
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

    /// Until when the server has promised something.
    pub(crate) fn promised(&self) -> Moment {
        self.promise.map_or(Moment::PAST, |Promise { sent, left }| sent.plus(left))
    }

    fn time_to_work(&self, left: Duration) -> Duration {
        left.saturating_sub(stop_within(self.stop_within, left))
    }

    /// When the guards of this connection are lost if nothing more is answered.
    pub(crate) fn guards_end(&self) -> Moment {
        if self.has_guards() { self.certain_until() } else { Moment::NEVER }
    }

    /// When the connection is lost if nothing more is answered.
    fn end(&self) -> Moment {
        let patience = self.promise.map_or(UNTOLD.1, |promise| self.time_to_work(promise.left));
        let late_end = self.late.map_or(Moment::NEVER, |since| since.plus(patience));
        self.guards_end().min(late_end)
    }

    pub(crate) fn is_over(&self, now: Moment) -> bool {
        now >= self.end()
    }

    /// When the next question is due. None while nothing is held: such a connection is silent.
    fn next_question(&self) -> Option<Moment> {
        if !self.has_guards() && self.late.is_none() {
            return None;
        }
        let pause = match self.promise {
            Some(Promise { left, .. }) if left.is_zero() => return None,
            Some(Promise { left, .. }) => left / 5,
            None => UNTOLD.0,
        };
        Some(self.last_asked.map_or(Moment::PAST, |at| at.plus(pause)))
    }

    pub(crate) fn must_ask(&self, now: Moment) -> bool {
        self.next_question().is_some_and(|at| now >= at)
    }

    /// How long nothing has to be done. A timer stands still while the machine sleeps, so it is looked at often.
    pub(crate) fn rest(&self, now: Moment) -> Option<Duration> {
        let next = self.next_question()?.min(self.end());
        let most = self.promise.map_or(UNTOLD.0, |promise| promise.left / 25);
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
        heartbeat.ask(at(100));
        assert!(!heartbeat.is_certain(at(100)) && heartbeat.answer(LEFT) && heartbeat.is_certain(at(100)));
        heartbeat.add_guard();
        heartbeat
    }

    #[test]
    fn a_guard_is_lost_when_two_fifths_of_the_last_promise_are_left() {
        let mut heartbeat = holding();
        assert!(!heartbeat.is_over(at(114)) && heartbeat.is_over(at(115)));
        heartbeat.ask(at(105));
        heartbeat.ask(at(110));
        assert_eq!(heartbeat.guards_end(), at(115), "a question is no answer");
        assert!(heartbeat.answer(LEFT));
        assert_eq!(heartbeat.guards_end(), at(120), "it counts from its question");
        assert!(heartbeat.answer(LEFT) && !heartbeat.answer(LEFT));
        assert_eq!(heartbeat.guards_end(), at(125));
    }

    #[test]
    fn each_fifth_a_question_is_due_while_something_is_held() {
        let mut heartbeat = holding();
        assert!(!heartbeat.must_ask(at(104)) && heartbeat.must_ask(at(105)));
        heartbeat.ask(at(105));
        assert!(!heartbeat.must_ask(at(109)) && heartbeat.must_ask(at(110)));
        heartbeat.remove_guard();
        assert!(
            !heartbeat.must_ask(at(1000))
                && !heartbeat.is_over(at(1000))
                && heartbeat.rest(at(1000)).is_none()
        );
    }

    #[test]
    fn no_timer_runs_longer_than_a_part_of_the_promise() {
        let heartbeat = holding();
        assert_eq!(heartbeat.rest(at(100)), Some(Duration::from_secs(1)));
        assert_eq!(heartbeat.rest(at(200)), Some(Duration::ZERO), "after a sleep of the machine");
    }

    #[test]
    fn a_late_grant_asks_again_and_is_given_up_in_time() {
        let mut heartbeat = HeartbeatTimer::new(Some(Duration::from_secs(5)));
        heartbeat.ask(at(100));
        assert!(heartbeat.answer(LEFT));
        assert!(!heartbeat.is_certain(at(120)) && !heartbeat.must_ask(at(120)));
        heartbeat.begin_late(at(120));
        assert!(heartbeat.must_ask(at(120)));
        heartbeat.ask(at(120));
        assert!(!heartbeat.is_over(at(139)) && heartbeat.is_over(at(140)));
        assert!(heartbeat.answer(LEFT) && heartbeat.is_certain(at(121)));
    }

    #[test]
    fn who_promises_nothing_is_asked_nothing_more() {
        let mut heartbeat = HeartbeatTimer::new(None);
        heartbeat.ask(at(100));
        assert!(heartbeat.answer(Duration::ZERO));
        heartbeat.add_guard();
        assert!(heartbeat.is_certain(at(1_000_000)) && !heartbeat.must_ask(at(1_000_000)));
        assert!(!heartbeat.is_over(at(1_000_000)) && heartbeat.rest(at(1_000_000)).is_none());
    }
}
