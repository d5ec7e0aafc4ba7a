//! Beats, and until when they let a node serve.

use super::*;

fn with_leases(actions: &[Action]) -> Vec<bool> {
    let is_with = |action: &Action| match action {
        Action::Beat { with_leases, .. } => Some(*with_leases),
        _ => None,
    };
    actions.iter().filter_map(is_with).collect()
}

#[test]
fn beats_come_each_fifth_of_t_with_rising_n() {
    let mut node = Node::serving();
    for n in 1..5 {
        let (time, actions) = node.waits_for_action();
        assert_eq!(time, T / 5);
        assert!(
            matches!(&actions[..], [Action::Beat { term: 200, n: is, with_leases: false, .. }] if *is == n)
        );
        let deadline = node.at.after(Duration::from_millis(4500));
        assert_eq!(node.told(Event::BeatEnded(Written::Done(200 + n))), [Action::Extend(deadline)]);
    }
}

#[test]
fn end_counts_from_the_send_of_what_was_acknowledged() {
    let mut node = Node::serving();
    node.waits(1000);
    let sent = node.at;
    node.waits(600);
    let deadline = sent.after(Duration::from_millis(4500));
    assert_eq!(node.told(Event::BeatEnded(Written::Done(201)))[0], Action::Extend(deadline));
    assert_eq!(node.beat_ends(unknown()), []);
    let look = node.own_look(205, 2);
    assert_eq!(node.beat_ends(Written::Not(look)), [], "nor does what is only read move it");
}

#[test]
fn without_a_beat_sockets_close_first_and_then_it_ends() {
    let mut node = Node::serving();
    let sent = node.at;
    let mut at = None;
    while node.at != sent.after(Duration::from_millis(4500)) {
        for action in node.passes(50) {
            match action {
                Action::Beat { .. } => {
                    node.told(Event::BeatEnded(unknown()));
                }
                Action::StepDown(_) => at = Some(node.at),
                Action::End(_) => assert_eq!(node.at, sent.after(Duration::from_millis(4500))),
                Action::Nobody => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(at, Some(sent.after(Duration::from_secs(4))));
    let (time, actions) = node.waits_for_action();
    assert!(matches!(&actions[..], [Action::Take { .. }]), "{actions:?}");
    assert_eq!(time, 500, "T after the last change, like any other");
}

#[test]
fn closing_begins_earlier_with_many_holders() {
    let step_down = |holders| {
        let mut node = Node::serving();
        node.seat.set_holders(holders);
        let mut time = 0;
        loop {
            time += 50;
            if node.passes(50).iter().any(|action| matches!(action, Action::StepDown(_))) {
                return time;
            }
        }
    };
    assert_eq!([step_down(0), step_down(20_000), step_down(10_000_000)], [4000, 3500, 2500]);
}

#[test]
fn beat_acknowledged_while_sockets_close_brings_nothing_back() {
    let mut node = Node::serving();
    node.waits(1000);
    assert!(node.waits(3000).iter().any(|action| matches!(action, Action::StepDown(_))));
    assert_eq!(node.told(Event::BeatEnded(Written::Done(201))), []);
    let acknowledged = node.at;
    let (time, actions) = node.waits_for_action();
    assert_eq!(time, 500);
    assert!(matches!(&actions[..], [Action::End(_), Action::Nobody]), "{actions:?}");
    node.waits_for_action();
    assert_eq!(node.at, acknowledged.after(Duration::from_millis(T)), "that beat is a change to wait for");
}

#[test]
fn answer_after_the_end_does_not_bring_the_term_back() {
    let mut node = Node::serving();
    node.waits(1000);
    node.at = node.at.after(Duration::from_millis(3500));
    let actions = node.told(Event::BeatEnded(Written::Done(201)));
    assert!(matches!(&actions[..], [Action::Hold, Action::End(_), Action::Nobody]), "{actions:?}");
}

#[test]
fn either_clock_ends_the_term() {
    let mut node = Node::serving();
    let mut ended = false;
    for _ in 0..90 {
        node.at.raw += Duration::from_millis(25);
        node.at.boot += Duration::from_millis(50);
        ended |= node.told(Event::Tick).iter().any(|action| matches!(action, Action::End(_)));
    }
    assert!(ended, "4.5 s are over by the boot clock");
}

#[test]
fn another_leader_ends_the_term_at_once() {
    let mut node = Node::serving();
    let look = Look { revision: 310, seat: seat(300, leader("c", "c1")), beat: beat(300, 0) };
    let actions = node.beat_ends(Written::Not(look));
    assert!(matches!(&actions[..], [Action::End(_), Action::Follow(300, _)]), "{actions:?}");

    let mut node = Node::serving();
    let actions = node.sees(seat(300, leader("c", "c1")));
    assert!(
        matches!(&actions[..], [Action::End(_), Action::Follow(300, _)]),
        "a watch may tell first: {actions:?}"
    );

    let mut node = Node::serving();
    assert_eq!(node.sees(seat(OTHERS, leader("b", "b1"))), [], "a watch that lags behind");
    assert_eq!(node.sees(None), [], "or that found nothing: the next beat tells");
}

#[test]
fn missing_keys_end_the_term() {
    for (has_seat, has_beat) in [(false, false), (false, true), (true, false)] {
        let mut node = Node::serving();
        let mut look = node.own_look(201, 0);
        look.seat = look.seat.filter(|_| has_seat);
        look.beat = look.beat.filter(|_| has_beat);
        let actions = node.beat_ends(Written::Not(look));
        assert!(matches!(&actions[..], [Action::End(_), Action::Nobody]), "{actions:?}");
        assert_eq!(node.waits_for_action().0, T, "and it is waited for");
    }
}

#[test]
fn later_try_that_was_there_first_says_nothing() {
    let mut node = Node::serving();
    let look = node.own_look(205, 6);
    assert_eq!(node.beat_ends(Written::Not(look)), []);
    let (time, actions) = node.waits_for_action();
    assert_eq!(time, T / 20);
    assert!(matches!(&actions[..], [Action::Beat { n: 7, .. }]), "{actions:?}");
}

#[test]
fn beat_that_cannot_be_exceeded_costs_the_term_and_no_more() {
    let mut node = Node::serving();
    let look = node.own_look(205, u64::MAX);
    assert_eq!(node.beat_ends(Written::Not(look.clone())), []);
    assert_eq!(node.beat_ends(Written::Not(look)), []);
    let (_, actions) = node.waits_for_action();
    assert!(matches!(&actions[..], [Action::Beat { n: u64::MAX, .. }]), "{actions:?}");
}

#[test]
fn engine_that_goes_back_ends_the_term() {
    let mut node = Node::serving();
    assert!(matches!(node.beat_ends(Written::Done(210))[..], [Action::Extend(_)]));
    let actions = node.beat_ends(Written::Done(210));
    assert!(
        matches!(&actions[..], [Action::End(super::super::leading::WENT_BACK), Action::Nobody]),
        "{actions:?}"
    );

    let mut node = Node::serving();
    let mut look = node.own_look(150, 9);
    look.revision = 150;
    let actions = node.beat_ends(Written::Not(look));
    assert!(matches!(&actions[..], [Action::End(_), Action::Nobody]), "{actions:?}");
}

#[test]
fn leases_are_written_at_once_and_alone_never_late() {
    let mut node = Node::serving();
    let actions = node.told(Event::WritesWaiting);
    assert_eq!(with_leases(&actions), [true]);
    assert_eq!(node.told(Event::WritesWaiting), [], "one try at a time");
    node.waits(600);
    let actions = node.told(Event::BeatEnded(unknown()));
    assert_eq!(with_leases(&actions), [false], "its acknowledgement fences the try that is unknown");
    let actions = node.told(Event::BeatEnded(Written::Done(202)));
    assert_eq!(with_leases(&actions), [true], "then they are sent again");
    node.told(Event::BeatEnded(Written::Done(203)));
    assert_eq!(with_leases(&node.waits(1000)), [false], "none wait");
}

#[test]
fn leases_that_are_refused_do_not_cost_the_seat() {
    let mut node = Node::serving();
    let refused = || Written::Refused("too large".into());
    assert_eq!(with_leases(&node.told(Event::WritesWaiting)), [true]);
    assert_eq!(with_leases(&node.told(Event::BeatEnded(refused()))), [false], "the beat alone, at once");
    assert_eq!(with_leases(&node.told(Event::BeatEnded(Written::Done(202)))), [true]);
    node.told(Event::BeatEnded(refused()));
    node.told(Event::BeatEnded(refused()));
    assert_eq!(node.waits_for_action().0, T / 20, "a beat that is refused is tried again soon");
}

#[test]
fn numbers_that_run_out_bring_a_beat_at_once() {
    let mut node = Node::serving();
    assert!(matches!(&node.told(Event::NumbersRunOut)[..], [Action::Beat { n: 1, .. }]));
}

#[test]
fn nothing_is_told_after_a_pause_until_a_later_beat() {
    let mut node = Node::serving();
    node.waits(1000);
    // The beat is under way. The machine stands still for more than T/5.
    assert_eq!(node.passes(1050), [Action::Hold]);
    let actions = node.told(Event::BeatEnded(Written::Done(201)));
    assert!(
        matches!(&actions[..], [Action::Extend(_), Action::Beat { n: 2, .. }]),
        "a beat that was sent before the pause: {actions:?}"
    );
    let actions = node.told(Event::BeatEnded(Written::Done(202)));
    assert!(matches!(&actions[..], [Action::Extend(_), Action::Release]), "{actions:?}");
}

#[test]
fn pause_by_either_clock_holds_writes() {
    let mut node = Node::serving();
    node.at.boot += Duration::from_millis(1050);
    assert_eq!(node.told(Event::Tick)[0], Action::Hold);
}

#[test]
fn restored_after_a_pause_serves_with_the_next_beat() {
    let mut node = Node::restoring();
    assert!(matches!(&node.passes(1050)[..], [Action::Beat { n: 1, .. }]), "nothing is told yet: no hold");
    assert_eq!(node.told(Event::Restored), []);
    let actions = node.told(Event::BeatEnded(Written::Done(201)));
    assert!(matches!(&actions[..], [Action::Extend(_), Action::Serve]), "{actions:?}");
}

#[test]
fn restoring_beats_for_as_long_as_it_takes() {
    let mut node = Node::restoring();
    for n in 1..20 {
        assert!(matches!(node.beat_ends(Written::Done(200 + n))[..], [Action::Extend(_)]));
    }
    assert_eq!(node.told(Event::Restored), [Action::Serve]);
}

#[test]
fn old_try_is_not_counted_in_a_new_term() {
    let mut node = Node::serving();
    node.waits(1000);
    // A beat is under way when the seat is lost, and it is answered late.
    node.sees(resigned(300, 299, None));
    assert!(
        !node.beats(beat(300, 3)).iter().any(|action| matches!(action, Action::Take { .. })),
        "one at a time"
    );
    let actions = node.told(Event::BeatEnded(unknown()));
    assert!(matches!(&actions[..], [Action::Take { .. }]), "{actions:?}");
}
