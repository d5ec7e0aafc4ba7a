//! The model itself, by what protocol.md says: what a rule allows beside what it forbids.

use getlockd::internal::lock::Mode::{self, Exclusive, Permit, Shared};

use super::rules::{Lock, Model, Who, Wish};

const FOREVER: Option<u64> = None;
const AT_ONCE: Option<u64> = Some(0);

/// Sessions, and what they were answered since the last request: "2: 1" is session 2 that was granted something.
#[derive(Default)]
struct Play(Model);

impl Play {
    fn ask(&mut self, session: Who, locks: &str, mode: Mode, timeout: Option<u64>) -> Vec<String> {
        let names_lock = locks.len() > 1;
        let locks: Vec<Lock> = locks.bytes().map(|name| usize::from(name - b'a')).collect();
        self.0.acquire(session, Wish { locks, mode, timeout, names_lock });
        self.answers()
    }

    fn get(&mut self, session: Who, locks: &str) -> Vec<String> {
        self.ask(session, locks, Exclusive, FOREVER)
    }

    fn try_get(&mut self, session: Who, locks: &str) -> Vec<String> {
        self.ask(session, locks, Exclusive, AT_ONCE)
    }

    fn share(&mut self, session: Who, locks: &str) -> Vec<String> {
        self.ask(session, locks, Shared, FOREVER)
    }

    fn permit(&mut self, session: Who, lock: &str, limit: u16) -> Vec<String> {
        self.ask(session, lock, Permit(limit), FOREVER)
    }

    fn release(&mut self, session: Who, lock: &str) -> Vec<String> {
        let answer = self.0.release(session, usize::from(lock.as_bytes()[0] - b'a'));
        assert_eq!(answer, "1");
        self.answers()
    }

    fn answers(&mut self) -> Vec<String> {
        let answers = std::mem::take(&mut self.0.answers);
        answers.into_iter().map(|(session, answer)| format!("{session}: {answer}")).collect()
    }
}

const WAITS: [&str; 0] = [];

#[test]
fn several_locks_are_granted_together_or_not_at_all() {
    let mut play = Play::default();
    assert_eq!(play.get(1, "b"), ["1: 1"]);
    assert_eq!(play.ask(2, "abc", Exclusive, Some(10)), WAITS);
    assert_eq!((play.0.used_by(0), play.0.used_by(2)), (None, None), "it holds nothing");
    play.0.wait(10);
    assert_eq!(play.answers(), ["2: 0 for 1"]);
    assert_eq!(play.try_get(3, "ac"), ["3: 1"]);
    assert_eq!(play.try_get(2, "cab"), ["2: 0 for 2"], "the first in the order of the request");
    play.release(3, "a");
    play.release(3, "c");
    assert_eq!(play.get(2, "abc"), WAITS);
    assert_eq!(play.release(1, "b"), ["2: 1"]);
    let grants: Vec<_> = (0..3).map(|lock| play.0.hold(2, lock).unwrap().grant).collect();
    assert_eq!(grants, [3; 3], "one grant");
}

#[test]
fn request_of_several_locks_is_not_overtaken() {
    let mut play = Play::default();
    play.get(1, "a");
    assert_eq!(play.get(2, "ab"), WAITS);
    assert_eq!(play.try_get(3, "b"), ["3: 0"]);
    assert_eq!(play.ask(3, "b", Shared, AT_ONCE), ["3: 0"]);
    assert_eq!(play.get(3, "bc"), WAITS);
    assert_eq!(play.try_get(4, "c"), ["4: 0"]);
    assert_eq!(play.release(1, "a"), ["2: 1"]);
    play.release(2, "a");
    assert_eq!(play.release(2, "b"), ["3: 1"]);
}

#[test]
fn session_that_is_waited_for_passes_a_request_of_several() {
    let mut play = Play::default();
    play.get(1, "a");
    play.get(2, "ab");
    assert_eq!(play.try_get(1, "b"), ["1: 1"]);
    play.release(1, "b");
    // Also through others, and when the last of them asks.
    play.get(3, "c");
    assert_eq!(play.get(3, "b"), WAITS);
    assert_eq!(play.get(1, "c"), ["3: 1"], "3 passes, and 1 waits for it");
    play.release(3, "b");
    assert_eq!(play.release(3, "c"), ["1: 1"]);
}

#[test]
fn only_the_asker_passes_with_timeout_zero() {
    let mut play = Play::default();
    play.get(1, "a");
    assert_eq!(play.get(2, "ab"), WAITS);
    play.get(3, "c");
    assert_eq!(play.get(3, "b"), WAITS);
    assert_eq!(play.try_get(1, "c"), ["1: 0"], "it does not wait, so 3 stays behind 2");
    assert_eq!(play.release(1, "a"), ["2: 1"]);
    assert_eq!(play.release(2, "b"), ["3: 1"]);
    // It passes also those that came before and wait behind the same request.
    assert_eq!(play.get(4, "b"), WAITS);
    assert_eq!(play.get(5, "cd"), WAITS);
    assert_eq!(play.get(1, "d"), WAITS);
    assert_eq!(play.try_get(3, "d"), ["3: 1"]);
}

#[test]
fn oldest_wait_passes_if_the_asker_needs_more() {
    let mut play = Play::default();
    play.get(1, "a");
    assert_eq!(play.get(2, "ab"), WAITS);
    play.permit(3, "c", 2);
    play.permit(4, "c", 2);
    assert_eq!([play.get(3, "b"), play.get(4, "b")].concat(), WAITS);
    assert_eq!(play.permit(1, "c", 2), ["3: 1"], "of those that have one of the permits");
}

#[test]
fn older_wait_behind_an_upgrade_passes_it() {
    let mut play = Play::default();
    play.get(1, "a");
    play.permit(2, "b", 2);
    play.permit(3, "b", 2);
    assert_eq!(play.permit(1, "b", 2), WAITS);
    assert_eq!(play.get(2, "ab"), WAITS, "its place in b goes ahead, but not of 1");
    assert_eq!(play.release(3, "b"), ["1: 1"]);
}

#[test]
fn held_locks_alone_make_a_deadlock_of_several() {
    let mut play = Play::default();
    play.get(1, "a");
    play.get(2, "b");
    assert_eq!(play.get(1, "bc"), WAITS);
    assert_eq!(play.get(2, "ac"), ["2: deadlock"]);
    assert_eq!(play.try_get(2, "ac"), ["2: 0 for 0"]);
    assert_eq!(play.get(2, "c"), ["2: 1"]);
}

#[test]
fn locks_of_several_that_are_held_count_once_more() {
    let mut play = Play::default();
    play.get(1, "a");
    assert_eq!(play.get(1, "aba"), ["1: 1"]);
    let (a, b) = (play.0.hold(1, 0).unwrap().grant, play.0.hold(1, 1).unwrap().grant);
    assert!(a < b, "a keeps its token");
    assert_eq!(play.0.release_all(1), 3);
    // An upgrade goes ahead of the queue.
    play.share(1, "a");
    play.share(2, "a");
    assert_eq!(play.get(3, "a"), WAITS);
    assert_eq!(play.get(1, "ab"), WAITS);
    assert_eq!(play.get(2, "a"), ["2: deadlock"]);
    assert_eq!(play.release(2, "a"), ["1: 1"]);
}

#[test]
fn as_many_as_the_limit_hold_permits() {
    let mut play = Play::default();
    assert_eq!([play.permit(1, "a", 2), play.permit(2, "a", 2)].concat(), ["1: 1", "2: 1"]);
    assert_eq!(play.permit(3, "a", 2), WAITS);
    assert_eq!(play.get(4, "a"), WAITS);
    assert_eq!(play.permit(5, "a", 2), WAITS);
    assert_eq!(play.release(1, "a"), ["3: 1"]);
    assert_eq!(play.release(2, "a"), WAITS, "4 waits for all permits, and 5 behind it");
    assert_eq!(play.release(3, "a"), ["4: 1"]);
    assert_eq!(play.release(4, "a"), ["5: 1"]);
}

#[test]
fn another_limit_is_refused_beside_holders_and_waiters() {
    let mut play = Play::default();
    play.permit(1, "a", 2);
    assert_eq!(play.permit(2, "a", 3), ["2: the limit of 0 is Permit(2)"]);
    assert_eq!(play.ask(2, "ba", Shared, AT_ONCE), ["2: the limit of 0 is Permit(2)"]);
    play.share(3, "b");
    assert_eq!(play.permit(2, "b", 1), ["2: the limit of 1 is Shared"]);
    play.get(4, "c");
    play.permit(5, "c", 2);
    assert_eq!(play.share(2, "c"), ["2: the limit of 2 is Permit(2)"]);
    assert_eq!(play.try_get(2, "c"), ["2: 0"]);
}

#[test]
fn upgrade_of_a_permit_goes_first() {
    let mut play = Play::default();
    play.permit(1, "a", 2);
    play.permit(2, "a", 2);
    play.permit(3, "a", 2);
    assert_eq!(play.get(1, "a"), WAITS);
    assert_eq!(play.get(2, "a"), ["2: deadlock"]);
    assert_eq!(play.release(2, "a"), ["1: 1"]);
}

#[test]
fn permits_deadlock_only_if_no_holder_can_leave() {
    let mut play = Play::default();
    play.permit(1, "a", 2);
    play.permit(2, "a", 2);
    play.get(3, "b");
    assert_eq!(play.permit(3, "a", 2), WAITS);
    assert_eq!(play.get(1, "b"), WAITS, "2 can leave");
    assert_eq!(play.get(2, "b"), ["2: deadlock"], "neither can");
    assert_eq!(play.release(2, "a"), ["3: 1"]);
}
