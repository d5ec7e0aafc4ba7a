//! The checker and the model, on histories that are known to be good, and on bad ones: each bad one is a
//! good one with one thing changed.

use super::{
    checker::{Step, Track, Wrong, check},
    lock::{
        Fate::{Granted, Never, Unknown},
        Lock, Op,
    },
};
use crate::caller::{
    Mode::{Exclusive, Permit, Shared},
    NO, Said, YES,
};

const OPEN: u64 = u64::MAX;

/// What a session does, from and until when.
fn session<const N: usize>(session: u32, steps: [(u64, u64, Op); N]) -> Track<Op> {
    let step = |(from, until, op)| Step { op, from, until, optional: false, likely: until };
    Track { session, steps: steps.into_iter().map(step).collect() }
}

/// A request that has no answer, and the end of its session.
fn open(from: u64, op: Op, gone: (u64, u64)) -> Vec<Step<Op>> {
    let maybe = |op| Step { op, from, until: OPEN, optional: true, likely: from };
    let end = Step { op: Op::End, from: gone.0, until: gone.1, optional: false, likely: gone.1 };
    vec![maybe(op), maybe(Op::Vanish), end]
}

fn is_good(tracks: &[Track<Op>]) -> bool {
    match check(Lock::default(), tracks) {
        Ok(_) => true,
        Err(Wrong::NoOrder(_)) => false,
        Err(Wrong::GaveUp) => panic!("so short a history is decided"),
    }
}

#[track_caller]
fn good<const N: usize>(tracks: &[Track<Op>; N]) {
    assert!(is_good(tracks), "{:?}", check(Lock::default(), tracks));
}

#[track_caller]
fn bad<const N: usize>(tracks: &[Track<Op>; N]) {
    assert!(!is_good(tracks), "this was found to be in order");
}

fn had(token: u64) -> Op {
    Op::Try(Exclusive, Granted(token))
}

fn shared(token: u64) -> Op {
    Op::Try(Shared, Granted(token))
}

const BUSY: Op = Op::Try(Exclusive, Never);
const FREED: Op = Op::Release(YES);

#[test]
fn rejects_two_exclusive_holders() {
    let first = || session(1, [(0, 1, had(1)), (10, 11, FREED)]);
    good(&[first(), session(2, [(12, 13, had(2))])]);
    // The release and the grant overlap: it may have been in time.
    good(&[first(), session(2, [(5, 11, had(2))])]);
    bad(&[first(), session(2, [(5, 9, had(2))])]);
}

#[test]
fn rejects_a_refused_try_of_a_free_lock() {
    let first = || session(1, [(0, 1, had(1)), (10, 11, FREED)]);
    good(&[first(), session(2, [(5, 6, BUSY), (10, 11, BUSY)])]);
    bad(&[first(), session(2, [(12, 13, BUSY)])]);
}

#[test]
fn rejects_a_release_without_a_hold() {
    good(&[session(1, [(0, 1, had(1)), (2, 3, FREED), (4, 5, Op::Release(Said::Null))])]);
    bad(&[session(1, [(0, 1, had(1)), (2, 3, FREED), (4, 5, FREED)])]);
    let first = || session(1, [(0, 1, had(1))]);
    good(&[first(), session(2, [(2, 3, Op::Release(NO))])]);
    bad(&[first(), session(2, [(2, 3, FREED)])]);
    bad(&[first(), session(2, [(2, 3, Op::Release(Said::Null))])]);
}

#[test]
fn accepts_counted_holds_freed_as_often() {
    let again = || [(0, 1, had(1)), (2, 3, had(1)), (4, 5, FREED)];
    good(&[session(1, again()), session(2, [(6, 7, BUSY)])]);
    bad(&[session(1, again()), session(2, [(6, 7, had(2))])]);
    let all = |counts| session(1, [(0, 1, had(1)), (2, 3, had(1)), (4, 5, Op::ReleaseAll(counts))]);
    good(&[all(2), session(2, [(6, 7, had(2))])]);
    bad(&[all(1), session(2, [(6, 7, had(2))])]);
}

#[test]
fn rejects_a_fencing_token_that_goes_back() {
    let first = |token| session(1, [(0, 1, had(token)), (2, 3, FREED)]);
    good(&[first(5), session(2, [(4, 5, had(6))])]);
    bad(&[first(5), session(2, [(4, 5, had(4))])]);
    bad(&[first(5), session(2, [(4, 5, had(5))])]);
}

#[test]
fn rejects_a_fencing_token_changed_during_a_hold() {
    let again = |token| [(0, 1, had(1)), (2, 3, had(1)), (2, 3, Op::Told(Exclusive, token))];
    good(&[session(1, again(1))]);
    bad(&[session(1, again(2))]);
}

#[test]
fn rejects_shared_beside_exclusive() {
    let first = || session(1, [(0, 1, shared(1)), (10, 11, FREED)]);
    good(&[first(), session(2, [(5, 6, shared(2))])]);
    bad(&[first(), session(2, [(5, 6, had(2))])]);
    bad(&[session(1, [(0, 1, had(1)), (10, 11, FREED)]), session(2, [(5, 6, shared(2))])]);
}

#[test]
fn upgrade_is_a_new_exclusive_grant() {
    let upgrade = |token| session(1, [(0, 1, shared(1)), (10, 11, had(token))]);
    let other = |freed| session(2, [(2, 3, shared(2)), (freed, freed + 1, FREED)]);
    good(&[upgrade(3), other(4)]);
    bad(&[upgrade(1), other(4)]);
    bad(&[upgrade(3), other(20)]);
}

#[test]
fn rejects_overtaking_in_the_queue() {
    let wait = |from, until, token| {
        [(from, until, Op::Ask(Exclusive, Granted(token))), (from, until, Op::Told(Exclusive, token))]
    };
    let holder = || session(1, [(0, 1, had(1)), (10, 11, FREED)]);
    let second = |token| {
        let [ask, told] = wait(2, 12, token);
        session(2, [ask, told, (13, 14, FREED)])
    };
    good(&[holder(), second(2), session(3, wait(15, 16, 3))]);
    // The third came when the second was there for sure, and had the lock before it.
    let third = |token| {
        let [ask, told] = wait(5, 11, token);
        session(3, [ask, told, (12, 13, FREED)])
    };
    let seen = || session(4, [(3, 4, Op::Try(Shared, Never))]);
    good(&[holder(), second(3), third(2)]);
    let shared_holder = || session(1, [(0, 1, shared(1)), (10, 11, FREED)]);
    bad(&[shared_holder(), seen(), second(3), third(2)]);
}

#[test]
fn shared_try_fails_behind_an_exclusive_waiter() {
    let holder = || session(1, [(0, 1, shared(1)), (20, 21, FREED)]);
    let waits = |from| session(2, [(from, 10, Op::Ask(Exclusive, Never)), (from, 10, Op::Leave)]);
    let tries = |at, fate| session(3, [(at, at + 1, Op::Try(Shared, fate))]);
    good(&[holder(), waits(2), tries(4, Never)]);
    good(&[holder(), waits(2), tries(11, Granted(2))]);
    bad(&[holder(), waits(5), tries(3, Never)]);
    bad(&[holder(), waits(2), tries(11, Never)]);
}

fn permit(token: u64) -> Op {
    Op::Try(Permit(2), Granted(token))
}

#[test]
fn rejects_a_permit_too_many() {
    let holder =
        |token: u32, freed| session(token, [(0, 1, permit(token.into())), (freed, freed + 1, FREED)]);
    good(&[holder(1, 4), holder(2, 10), session(3, [(2, 3, Op::Try(Permit(2), Never)), (6, 7, permit(3))])]);
    bad(&[holder(1, 8), holder(2, 10), session(3, [(6, 7, permit(3))])]);
    bad(&[holder(1, 4), holder(2, 10), session(3, [(6, 7, Op::Try(Permit(2), Never))])]);
    // Exclusive is for all permits.
    good(&[holder(1, 4), holder(2, 10), session(3, [(6, 7, BUSY), (12, 13, had(3))])]);
    bad(&[holder(1, 4), holder(2, 10), session(3, [(6, 7, had(3))])]);
}

#[test]
fn another_limit_is_refused_beside_holders() {
    let holder = || session(1, [(0, 1, permit(1)), (10, 11, FREED)]);
    let refused = |from, mode| session(2, [(from, from + 1, Op::Refused(mode))]);
    good(&[holder(), refused(5, Permit(3))]);
    good(&[holder(), refused(5, Shared)]);
    bad(&[holder(), refused(5, Permit(2))]);
    bad(&[holder(), refused(5, Exclusive)]);
    bad(&[holder(), refused(12, Permit(3))]);
    bad(&[holder(), session(2, [(5, 6, Op::Try(Permit(3), Never))])]);
    bad(&[holder(), session(2, [(5, 6, Op::Try(Permit(3), Granted(2)))])]);
    bad(&[holder(), session(2, [(5, 6, shared(2))])]);
}

/// A request of this lock and another, which is granted at `taken`, with this token.
fn of_two(number: u32, asked: u64, taken: u64, token: u64) -> Track<Op> {
    let [place, take] = [Op::Place, Op::Take].map(|op| op(Exclusive, Granted(token)));
    session(number, [(asked, asked + 1, place), (taken, taken + 1, take), (taken + 1, taken + 2, FREED)])
}

#[test]
fn rejects_overtaking_a_request_of_several() {
    // The other lock comes free at 20. Up to then nobody holds this one.
    let seen = || session(2, [(4, 5, Op::IsFree(YES)), (6, 7, BUSY), (8, 9, Op::IsFree(YES))]);
    let waits = |token| session(3, [(10, 40, Op::Ask(Exclusive, Granted(token))), (10, 40, FREED)]);
    good(&[of_two(1, 2, 20, 1), seen(), waits(2)]);
    bad(&[of_two(1, 2, 20, 1), seen(), session(3, [(10, 11, had(2)), (12, 13, FREED)])]);
    bad(&[of_two(1, 2, 20, 2), seen(), waits(1)]);
    // One that holds the other lock passes.
    let passes = |op| session(3, [(10, 11, Op::Beside(Box::new(op))), (12, 13, FREED)]);
    good(&[of_two(1, 2, 20, 2), seen(), passes(had(1))]);
    bad(&[of_two(1, 2, 20, 1), seen(), passes(had(2))]);
    // And so does one that stands in front of it in the queue.
    let ask = |from, token| (from, from + 4, Op::Ask(Exclusive, Granted(token)));
    let pass = |from| (from, from + 4, Op::Pass);
    let idle = || session(3, [ask(8, 1), pass(10), (15, 16, FREED)]);
    let holds = |from| {
        let (from, until, op) = ask(from, 2);
        session(4, [(from, until, Op::Beside(Box::new(op))), pass(16), (18, 19, FREED)])
    };
    good(&[of_two(1, 2, 20, 3), idle(), holds(10)]);
    bad(&[of_two(1, 2, 20, 3), idle()]);
    bad(&[of_two(1, 2, 20, 3), idle(), holds(17)]);
}

#[test]
fn rejects_a_part_that_is_kept_after_a_timeout() {
    let holder = |freed| session(1, [(0, 1, had(1)), (freed, freed + 1, FREED)]);
    let gives_up =
        |missing| session(2, [(2, 3, Op::Place(Exclusive, Never)), (8, 9, Op::GiveUp(Exclusive, missing))]);
    let next = |op| session(3, [(12, 13, op)]);
    // It was missing this lock. Nobody has it once its holder is gone.
    good(&[holder(10), gives_up(Some(true)), next(had(2))]);
    bad(&[holder(10), gives_up(Some(true)), next(BUSY)]);
    // It was missing the other one, and could have had this one.
    good(&[holder(5), gives_up(Some(false)), next(had(2))]);
    bad(&[holder(5), gives_up(Some(false)), next(BUSY)]);
    // The name that it was told was not the first that was missing, or was not missing.
    bad(&[holder(10), gives_up(Some(false)), next(had(2))]);
    bad(&[holder(5), gives_up(Some(true)), next(had(2))]);
    good(&[holder(10), gives_up(None), next(had(2))]);
}

#[test]
fn rejects_a_part_of_a_try_that_could_not_be_had() {
    let holder = || session(1, [(0, 1, had(1)), (10, 11, FREED)]);
    let tries = |from, op| session(2, [(from, from + 1, op)]);
    good(&[holder(), tries(12, Op::Could(Exclusive))]);
    bad(&[holder(), tries(5, Op::Could(Exclusive))]);
    good(&[holder(), tries(5, BUSY)]);
    bad(&[holder(), tries(12, BUSY)]);
}

#[test]
fn request_of_several_takes_what_it_holds_once_more() {
    let place = |token| (2, 3, Op::Place(Exclusive, Granted(token)));
    let take = |token| (4, 5, Op::Take(Exclusive, Granted(token)));
    let told = |token| (5, 6, Op::Told(Exclusive, token));
    let freed = |from| (from, from + 1, FREED);
    let next = || session(2, [(20, 21, had(5))]);
    let again = |token| [(0, 1, had(1)), place(token), take(token), told(token), freed(10), freed(12)];
    good(&[session(1, again(1)), next()]);
    bad(&[session(1, again(2)), next()]);
    bad(&[session(1, [(0, 1, had(1)), place(1), take(1), freed(10)]), next()]);
    // An upgrade is a new grant, ahead of the queue.
    let upgrade = [(0, 1, shared(1)), place(3), take(3), told(3), freed(10), freed(12)];
    good(&[
        session(1, upgrade),
        session(3, [(1, 2, Op::Ask(Exclusive, Granted(4))), (15, 16, FREED)]),
        next(),
    ]);
}

#[test]
fn rejects_a_timeout_before_its_time() {
    let holder = || session(1, [(0, 1, had(1)), (6, 7, FREED)]);
    let waits = |left| session(2, [(2, 12, Op::Ask(Exclusive, Never)), (left, 12, Op::Leave)]);
    good(&[holder(), waits(3)]);
    // So a deadlock is written down, too. It would have had the lock at 7 at the latest, and says that it left at 8 at the soonest.
    bad(&[holder(), session(2, [(2, 5, Op::Ask(Exclusive, Never)), (8, 12, Op::Leave)])]);
    bad(&[holder(), session(2, [(8, 9, Op::Ask(Exclusive, Never)), (8, 9, Op::Leave)])]);
}

#[test]
fn unanswered_request_may_have_been_granted_or_not() {
    let left = || Track { session: 1, steps: open(2, Op::Try(Exclusive, Unknown), (3, 10)) };
    good(&[left(), session(2, [(4, 5, had(2))])]);
    good(&[left(), session(2, [(4, 5, BUSY), (6, 7, BUSY), (11, 12, had(2))])]);
    // It had not, at 4, and does not come in later than its end.
    bad(&[left(), session(2, [(4, 5, had(2)), (6, 7, FREED), (11, 12, BUSY)])]);
}

#[test]
fn rejects_a_hold_after_the_session_ended() {
    let killed = || {
        let mut steps = session(1, [(0, 1, had(1))]).steps;
        steps.extend(open(2, FREED, (5, 8)));
        Track { session: 1, steps }
    };
    good(&[killed(), session(2, [(6, 7, BUSY), (9, 10, had(2))])]);
    good(&[killed(), session(2, [(3, 4, had(2))])]);
    bad(&[killed(), session(2, [(9, 10, BUSY)])]);
    let idle = || session(1, [(0, 1, had(1)), (5, 8, Op::End)]);
    good(&[idle(), session(2, [(6, 7, had(2))])]);
    bad(&[idle(), session(2, [(3, 4, had(2))])]);
}

#[test]
fn rejects_a_lease_that_ended_early() {
    let lease = |ends| session(1, [(0, 1, had(1)), (ends, 20, Op::End), (19, 20, Op::Beat(NO))]);
    let next = || session(2, [(8, 9, had(2))]);
    good(&[lease(7), next()]);
    bad(&[lease(10), next()]);
    bad(&[session(1, [(0, 1, had(1)), (19, 20, Op::Beat(Said::Null))])]);
}

/// It crashes at 15. What a client was told before holds behind it.
#[test]
fn rejects_a_lease_that_a_crash_lost() {
    // It was told to run to 40 at least; it may be longer by a start of the server.
    let lease = |ends| session(1, [(0, 1, had(1)), (ends, OPEN, Op::End)]);
    good(&[lease(40), session(2, [(20, 21, BUSY), (50, 51, BUSY), (60, 61, had(2))])]);
    bad(&[lease(40), session(2, [(20, 21, had(2))])]);
    let beaten = |said| session(1, [(0, 1, had(1)), (20, 21, Op::Beat(said))]);
    good(&[beaten(YES)]);
    bad(&[beaten(Said::Null)]);
    // A connection ends with the server.
    good(&[lease(15), session(2, [(20, 21, had(2))])]);
}

#[test]
fn rejects_a_released_lease_that_a_crash_brought_back() {
    let released = || session(1, [(0, 1, had(1)), (10, 11, FREED)]);
    good(&[released(), session(2, [(20, 21, had(2))])]);
    bad(&[released(), session(2, [(20, 21, BUSY)])]);
    // Without an answer it may have been released or not.
    let asked = || session(1, [(0, 1, had(1)), (10, OPEN, Op::End)]);
    good(&[asked(), session(2, [(20, 21, had(2))])]);
    good(&[asked(), session(2, [(20, 21, BUSY), (30, 31, had(2))])]);
}

#[test]
fn rejects_a_fencing_token_repeated_after_a_crash() {
    let lease = || session(1, [(0, 1, had(5)), (12, OPEN, Op::End)]);
    good(&[lease(), session(2, [(20, 21, had(6))])]);
    bad(&[lease(), session(2, [(20, 21, had(5))])]);
}

#[test]
fn observed_holder_must_be_the_holder() {
    let holder = || session(1, [(0, 1, had(1)), (6, 7, FREED)]);
    good(&[holder(), session(2, [(2, 3, Op::IsUsed(Some(1))), (8, 9, Op::IsUsed(None))])]);
    bad(&[holder(), session(2, [(2, 3, Op::IsUsed(Some(2)))])]);
    good(&[holder(), session(2, [(2, 3, Op::IsFree(NO)), (8, 9, Op::IsFree(YES))])]);
    bad(&[holder(), session(2, [(2, 3, Op::IsFree(YES))])]);
    bad(&[holder(), session(2, [(8, 9, Op::IsFree(NO))])]);
}

/// Each overlaps with seven before it and seven behind it.
#[test]
fn long_history_is_decided() {
    let visitor = |number: u32| {
        let (token, from) = (u64::from(number), u64::from(number) * 10);
        let ask = Op::Ask(Exclusive, Granted(token));
        session(number, [(from, from + 79, ask), (from, from + 79, FREED)])
    };
    let mut tracks: Vec<_> = (1..200).rev().map(visitor).collect();
    assert!(is_good(&tracks));
    tracks[100].steps.pop();
    assert!(!is_good(&tracks), "one did not free it");
}
