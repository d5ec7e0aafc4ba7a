//! Each bug that is planted is found: what the other tests would say if it were there.

use getlockd::internal::mutants::Bug;

use crate::{deadlock, owners, schedules::with, sessions};

#[test]
#[should_panic(expected = "something is left")]
fn a_grant_to_one_who_has_gone() {
    with(Bug::LostGrant, owners::drop_or_take);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn a_grant_to_one_who_has_gone_while_others_wait() {
    with(Bug::LostGrant, owners::one_waits_one_leaves);
}

#[test]
#[should_panic(expected = "nobody ends this wait")]
fn a_look_for_waiters_outside_of_the_guard() {
    with(Bug::StaleLook, owners::one_after_the_other);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn a_hand_over_that_stops_early() {
    with(Bug::StopsEarly, owners::neighbours);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn a_waiter_that_leaves_quietly() {
    with(Bug::LeavesQuietly, owners::one_between);
}

#[test]
#[should_panic(expected = "overtaken")]
fn a_newcomer_that_does_not_queue() {
    with(Bug::Overtakes, owners::in_turn);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn a_dropped_upgrade_that_stays() {
    with(Bug::StaysAlone, owners::upgrade_dropped);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn two_searches_that_wait_for_each_other() {
    with(Bug::HeedsYounger, deadlock::two_cross);
}

#[test]
#[should_panic(expected = "told of a deadlock where there is none")]
fn a_deadlock_through_a_wait_that_is_refused() {
    with(Bug::TellsOpen, deadlock::two_cycles_share_a_wait);
}

#[test]
#[should_panic(expected = "something is left")]
fn a_wait_that_was_granted_and_stands_in_the_graph() {
    with(Bug::StaleWait, owners::readers_and_a_writer);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn a_deadlock_that_closes_between_number_and_wait() {
    with(Bug::EarlyTicket, deadlock::three_in_a_ring);
}

#[test]
#[should_panic(expected = "somebody else")]
fn two_owners() {
    with(Bug::TwoOwners, owners::readers_and_a_writer);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn a_kill_that_comes_between_look_and_sleep() {
    with(Bug::LateWaker, sessions::kill);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn an_end_that_comes_between_look_and_sleep() {
    with(Bug::LateEar, sessions::kill);
}

#[test]
#[should_panic(expected = "deadlock! blocked tasks")]
fn a_guest_who_comes_while_the_server_stops() {
    with(Bug::LateGuest, sessions::drain);
}
