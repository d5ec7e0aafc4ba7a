//! Each bug that is planted is found: what the other tests would say if it were there.

use getlockd::internal::mutants::Bug;

use crate::{deadlock, kinds, owners, schedules::with, sessions};

#[test]
#[should_panic(expected = "something is left")]
fn finds_grant_lost_to_a_dropped_waiter() {
    with(Bug::LostGrant, owners::drop_or_take);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_grant_lost_while_others_wait() {
    with(Bug::LostGrant, owners::one_waits_one_leaves);
}

#[test]
#[should_panic(expected = "nobody ends this wait")]
fn finds_release_that_looks_outside_the_guard() {
    with(Bug::StaleLook, owners::one_after_the_other);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_handover_that_stops_early() {
    with(Bug::StopsEarly, owners::neighbours);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_leaving_waiter_that_unblocks_none() {
    with(Bug::LeavesQuietly, owners::one_between);
}

#[test]
#[should_panic(expected = "overtaken")]
fn finds_newcomer_that_overtakes() {
    with(Bug::Overtakes, owners::in_turn);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_dropped_upgrade_that_stays_exclusive() {
    with(Bug::StaysAlone, owners::upgrade_dropped);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_searches_that_wait_for_each_other() {
    with(Bug::HeedsYounger, deadlock::two_cross);
}

#[test]
#[should_panic(expected = "told of a deadlock where there is none")]
fn finds_deadlock_told_through_a_refused_wait() {
    with(Bug::TellsOpen, deadlock::two_cycles_share_a_wait);
}

#[test]
#[should_panic(expected = "something is left")]
fn finds_granted_wait_left_in_the_graph() {
    with(Bug::StaleWait, owners::readers_and_a_writer);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_deadlock_missed_between_number_and_wait() {
    with(Bug::EarlyTicket, deadlock::three_in_a_ring);
}

#[test]
#[should_panic(expected = "somebody else")]
fn finds_two_owners() {
    with(Bug::TwoOwners, owners::readers_and_a_writer);
}

#[test]
#[should_panic(expected = "somebody else")]
fn finds_hold_released_on_its_way() {
    with(Bug::HandsOver, owners::hold_passed_on);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_kill_missed_between_look_and_sleep() {
    with(Bug::LateWaker, sessions::kill);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_end_missed_between_look_and_sleep() {
    with(Bug::LateEar, sessions::kill);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_session_opened_during_shutdown() {
    with(Bug::LateGuest, sessions::drain);
}

#[test]
#[should_panic(expected = "something is left")]
fn finds_part_kept_after_a_timeout() {
    with(Bug::PartKept, kinds::timeout_of_several);
}

#[test]
#[should_panic(expected = "somebody else is inside")]
fn finds_permit_too_many() {
    with(Bug::PermitTooMany, kinds::three_for_two_permits);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn finds_deadlock_missed_among_permits() {
    with(Bug::MissedKnot, kinds::knot_of_permits);
}

#[test]
#[should_panic(expected = "told of a deadlock where there is none")]
fn finds_false_deadlock_among_permits() {
    with(Bug::FalseKnot, kinds::permit_that_comes_back);
}
