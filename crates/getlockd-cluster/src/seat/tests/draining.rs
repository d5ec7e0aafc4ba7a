//! A hand-over ends all that was promised before it resigns.

use super::*;

fn drain(exits: bool) -> Event {
    Event::Drain { exits, successor: Some("c".into()) }
}

/// One whose guard is shut.
fn drained(exits: bool) -> Node {
    let mut node = Node::serving();
    assert_eq!(node.told(drain(exits)), [Action::Drain]);
    assert_eq!(node.told(Event::Drained), [Action::End("drained")]);
    node
}

fn is_resign(actions: &[Action], number: u64) -> bool {
    matches!(actions, [Action::Resign { term: 200, n, successor: Some(c), .. }] if *n == number && c == "c")
}

#[test]
fn seat_is_resigned_when_all_are_told() {
    let mut node = drained(true);
    assert!(is_resign(&node.told(Event::AllTold), 1));
    assert_eq!(node.told(Event::ResignEnded(Written::Done(201))), [Action::Resigned, Action::Nobody]);
    assert_eq!(node.waits(3 * T), []);
}

#[test]
fn seat_is_resigned_when_all_has_ended_by_itself() {
    let mut node = Node::serving();
    let sent = node.at;
    node.told(drain(true));
    node.waits(500);
    node.told(Event::Drained);
    for n in 1..5 {
        assert_eq!(node.beat_ends(Written::Done(200 + n)), [], "beats go on, and promise nothing");
    }
    let (_, actions) = node.waits_for_action();
    assert!(is_resign(&actions, 5), "{actions:?}");
    assert_eq!(
        node.at,
        sent.after(Duration::from_millis(T)),
        "T after the beat that stood when the guard shut"
    );
}

#[test]
fn clients_that_are_given_longer_are_waited_for() {
    let mut node = Node::new();
    node.seat.config.leader.takeover_delay = Duration::from_secs(3);
    node.sees(None);
    node.beats(None);
    node.waits(T + 3000);
    node.told(Event::TakeEnded(Written::Done(200)));
    let sent = node.at;
    node.told(Event::Restored);
    node.told(drain(true));
    node.told(Event::Drained);
    for n in 1..8 {
        node.beat_ends(Written::Done(200 + n));
    }
    node.waits_for_action();
    assert_eq!(node.at, sent.after(Duration::from_millis(T + 3000)));
}

#[test]
fn all_told_before_the_guard_is_shut_means_nothing() {
    let mut node = Node::serving();
    node.told(drain(true));
    assert_eq!(node.told(Event::AllTold), []);
    assert_eq!(node.told(Event::Drained), [Action::End("drained")]);
}

#[test]
fn leases_are_written_until_the_guard_is_shut() {
    let mut node = Node::serving();
    node.told(drain(true));
    assert!(matches!(&node.told(Event::WritesWaiting)[..], [Action::Beat { with_leases: true, .. }]));
    node.told(Event::BeatEnded(unknown()));
    node.told(Event::Drained);
    let (_, actions) = node.waits_for_action();
    assert!(matches!(&actions[..], [Action::Beat { with_leases: false, .. }]), "{actions:?}");
    node.told(Event::BeatEnded(Written::Done(201)));
    assert!(matches!(&node.waits(1000)[..], [Action::Beat { with_leases: false, .. }]));
}

#[test]
fn unanswered_resign_is_tried_again_and_may_have_landed() {
    let mut node = drained(true);
    node.told(Event::AllTold);
    node.waits(600);
    let actions = node.told(Event::ResignEnded(unknown()));
    assert!(is_resign(&actions, 2), "{actions:?}");
    let look = Look { revision: 201, seat: resigned(201, 200, Some("c")), beat: beat(201, 1) };
    assert_eq!(node.told(Event::ResignEnded(Written::Not(look)))[0], Action::Resigned);
}

#[test]
fn resign_that_is_never_answered_ends_like_a_crash() {
    let mut node = drained(true);
    node.told(Event::AllTold);
    for n in 2..10 {
        assert_eq!(node.waits(600), []);
        assert!(is_resign(&node.told(Event::ResignEnded(unknown())), n));
    }
    assert_eq!(node.waits(200), [Action::Resigned, Action::Nobody]);
}

#[test]
fn node_that_handed_over_lets_others_try_first() {
    let mut node = drained(false);
    node.told(Event::AllTold);
    assert_eq!(node.told(Event::ResignEnded(Written::Done(201))), [Action::Resigned, Action::Nobody]);
    node.sees(resigned_by("a", 201, 200, None));
    node.beats(beat(201, 1));
    assert_eq!(node.waits_for_action().0, T, "nobody else wants it");
}

#[test]
fn node_that_handed_over_is_handed_the_seat_back_at_once() {
    let mut node = drained(false);
    node.told(Event::AllTold);
    node.told(Event::ResignEnded(Written::Done(201)));
    node.sees(seat(300, leader("b", "b1")));
    node.beats(beat(300, 0));
    node.waits(1000);
    node.beats(beat(301, 1));
    let actions = [node.sees(resigned(302, 300, Some("a"))), node.beats(beat(302, 2))].concat();
    assert!(actions.iter().any(|action| matches!(action, Action::Take { .. })), "{actions:?}");
}

#[test]
fn term_that_never_served_is_resigned_at_once() {
    let mut node = Node::restoring();
    let actions = node.told(drain(true));
    assert!(matches!(&actions[..], [Action::End(_), Action::Resign { .. }]), "{actions:?}");

    let mut node = Node::restoring();
    let actions = node.told(Event::RestoreFailed);
    assert!(matches!(&actions[..], [Action::End(_), Action::Resign { successor: None, .. }]), "{actions:?}");
    node.told(Event::ResignEnded(Written::Done(201)));
    node.sees(resigned_by("a", 201, 200, None));
    node.beats(beat(201, 1));
    assert_eq!(node.waits_for_action().0, T, "another node may have more luck");
}

#[test]
fn seat_lost_after_the_drain_needs_no_resign() {
    let mut node = drained(true);
    assert_eq!(node.sees(seat(300, leader("c", "c1")))[0], Action::Resigned);

    let mut node = drained(false);
    let look = Look { revision: 310, seat: seat(300, leader("c", "c1")), beat: beat(300, 0) };
    let actions = node.beat_ends(Written::Not(look));
    assert_eq!(actions, [Action::Resigned, Action::Follow(300, leader("c", "c1"))]);
}

#[test]
fn drain_without_beats_ends_as_any_term_does() {
    let mut node = Node::serving();
    node.told(drain(true));
    node.waits(1000);
    let actions = node.waits(3500);
    assert!(matches!(&actions[..], [Action::StepDown(_), Action::End(_), Action::Nobody]), "{actions:?}");
    assert_eq!(node.told(Event::BeatEnded(unknown()))[0], Action::Resigned, "nothing is left to resign");
}

#[test]
fn order_to_exit_during_a_hand_over_counts() {
    let mut node = drained(false);
    assert_eq!(node.told(drain(true)), []);
    node.told(Event::AllTold);
    node.told(Event::ResignEnded(Written::Done(201)));
    assert_eq!(node.waits(3 * T), []);
}
