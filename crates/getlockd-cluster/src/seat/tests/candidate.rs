//! When a seat is taken, and when it is not.

use super::*;

/// The try to take, among other actions.
fn take_of(actions: &[Action]) -> Option<(&Look, &Leader, &BeatRecord)> {
    actions.iter().find_map(|action| match action {
        Action::Take { expected, seat, beat } => Some((expected, seat, beat)),
        _ => None,
    })
}

#[test]
fn silent_leader_is_succeeded_after_its_t() {
    let mut node = Node::following();
    let (time, actions) = node.waits_for_action();
    assert_eq!(time, T);
    let (expected, taken, first) = take_of(&actions).expect("a try");
    assert_eq!(
        (expected.seat.clone(), expected.beat.clone()),
        (seat(OTHERS, leader("b", "b1")), beat(OTHERS, 0))
    );
    assert_eq!((taken.node.as_str(), taken.nonce.as_str()), ("a", "a1"));
    assert_eq!(taken.request_key, "key of b", "it goes from term to term");
    assert_eq!(first, &BeatRecord { n: 0, floors: Floors { token: 1000, session: 10 }.ahead() });
}

#[test]
fn each_beat_begins_the_wait_again() {
    let mut node = Node::following();
    for n in 1..10 {
        assert_eq!(node.waits(T - 50), []);
        assert_eq!(node.beats(beat(OTHERS + n, n)), []);
    }
    assert_eq!(node.beats(beat(OTHERS + 9, 9)), [], "a watch that reconnects reports what is known");
    assert_eq!(node.waits_for_action().0, T);
}

#[test]
fn what_was_seen_counts_over_reconnects() {
    let mut node = Node::following();
    node.waits(T - 100);
    node.sees(seat(OTHERS, leader("b", "b1")));
    node.beats(beat(OTHERS, 0));
    assert_eq!(node.waits_for_action().0, 100);
}

#[test]
fn t_of_the_record_counts_and_not_the_own() {
    let mut node = Node::new();
    let slow =
        Leader { ttl: Duration::from_secs(15), takeover_delay: Duration::from_secs(2), ..leader("b", "b1") };
    node.sees(seat(OTHERS, slow));
    node.beats(beat(OTHERS, 0));
    assert_eq!(node.waits_for_action().0, 17_000);
}

#[test]
fn wait_is_over_when_both_clocks_say_so() {
    let mut node = Node::following();
    for _ in 0..3 * T / 50 {
        node.at.boot += Duration::from_millis(50);
        node.at.raw += Duration::from_millis(25);
        let took = !node.told(Event::Tick).is_empty();
        assert_eq!(took, node.at.raw >= Duration::from_millis(60_000 + T), "{:?}", node.at);
        if took {
            return;
        }
    }
    panic!("the seat was not taken");
}

#[test]
fn unreadable_seat_is_never_taken() {
    let mut node = Node::following();
    let newer = Versioned { revision: 101, value: br#"{"v":2,"state":"leads"}"#.to_vec() };
    assert_eq!(node.sees(Some(newer)), [Action::Nobody]);
    node.beats(beat(101, 0));
    assert_eq!(node.waits(100 * T), []);
    assert_eq!(node.seat.seen(), Some(&SeatRecord::Unreadable));
}

#[test]
fn beat_that_is_unreadable_keeps_the_seat() {
    let mut node = Node::following();
    node.beats(Some(Versioned { revision: 101, value: b"7".to_vec() }));
    assert_eq!(node.waits(100 * T), [], "the floors of numbers are not known");
}

#[test]
fn missing_seat_is_waited_for_like_any_other() {
    let mut node = Node::new();
    let slow = Leader { ttl: Duration::from_secs(15), ..leader("b", "b1") };
    node.sees(seat(OTHERS, slow));
    node.beats(beat(OTHERS, 0));
    node.waits(T);
    assert_eq!(node.sees(None), [Action::Nobody]);
    node.beats(None);
    let (time, actions) = node.waits_for_action();
    assert_eq!(time, 15_000, "its leader may not know that it is gone");
    assert_eq!(take_of(&actions).map(|take| take.0), Some(&Look::default()));
}

#[test]
fn first_start_of_all_waits_once() {
    let mut node = Node::new();
    node.wall_micros = 1_800_000_000_000_000;
    node.sees(None);
    node.beats(None);
    let (time, actions) = node.waits_for_action();
    assert_eq!(time, T);
    let (_, taken, first) = take_of(&actions).expect("a try");
    assert_eq!(taken.request_key, "key of a");
    assert_eq!(first.floors, Floors { token: 1_800_000_000_000_000, session: 0 }.ahead());
}

#[test]
fn nothing_is_taken_before_both_keys_were_seen() {
    let mut node = Node::new();
    node.sees(seat(OTHERS, leader("b", "b1")));
    assert_eq!(node.waits(2 * T), []);
    node.beats(beat(OTHERS, 0));
    assert_eq!(node.waits_for_action().0, T);
}

#[test]
fn resigned_seat_is_taken_at_once() {
    let mut node = Node::following();
    node.beats(beat(104, 4));
    assert_eq!(node.sees(resigned(105, OTHERS, None)), [Action::Nobody], "its last beat was not seen yet");
    let actions = node.beats(beat(105, 5));
    let (expected, ..) = take_of(&actions).expect("a try");
    assert_eq!(expected.beat, beat(105, 5));
}

#[test]
fn seat_resigned_for_another_is_left_to_it_a_while() {
    let mut node = Node::following();
    node.sees(resigned(105, OTHERS, Some("c")));
    node.beats(beat(105, 5));
    assert_eq!(node.waits_for_action().0, 1000);
    let mut successor = Node::following();
    successor.sees(resigned(105, OTHERS, Some("a")));
    assert!(take_of(&successor.beats(beat(105, 5))).is_some());
}

#[test]
fn resigned_seat_out_of_a_backup_is_waited_for() {
    let mut node = Node::following();
    node.sees(seat(300, leader("c", "c1")));
    node.beats(beat(300, 0));
    assert_eq!(node.sees(resigned(105, OTHERS, None)), [Action::Nobody]);
    node.beats(beat(105, 5));
    assert_eq!(node.waits_for_action().0, T, "the leader of term 300 may not know");
}

#[test]
fn unanswered_take_that_stands_there_counts_from_its_send() {
    let mut node = Node::following();
    node.waits(T);
    let nonce = node.take();
    let sent = node.at;
    node.waits(600);
    assert_eq!(node.told(Event::TakeEnded(unknown())), [Action::Look]);
    node.waits(1000);
    let look = Look { revision: 210, seat: seat(200, leader("a", &nonce)), beat: beat(200, 0) };
    let actions = node.told(Event::Looked(Some(look)));
    let deadline = sent.after(Duration::from_millis(4500));
    assert!(
        matches!(&actions[..], [Action::Begin { term: 200, deadline: at, .. }, Action::Beat { n: 1, .. }] if *at == deadline),
        "{actions:?}"
    );
}

#[test]
fn take_that_is_found_too_late_is_not_led_under() {
    let mut node = Node::following();
    node.waits(T);
    let nonce = node.take();
    node.told(Event::TakeEnded(unknown()));
    assert_eq!(node.waits(4500), [Action::Look]);
    let look = Look { revision: 210, seat: seat(200, leader("a", &nonce)), beat: beat(200, 0) };
    assert_eq!(node.told(Event::Looked(Some(look))), [Action::Nobody]);
    assert_eq!(node.waits_for_action().0, T, "it is a leader like any other, of whom nothing is heard");
    assert_eq!(node.take(), "a2");
}

#[test]
fn take_that_lands_late_is_a_foreign_leader() {
    let mut node = Node::following();
    node.waits(T);
    let first = node.take();
    node.told(Event::TakeEnded(unknown()));
    node.waits(250);
    let before = Look { revision: 110, seat: seat(OTHERS, leader("b", "b1")), beat: beat(OTHERS, 0) };
    assert_eq!(node.told(Event::Looked(Some(before))), []);
    node.waits(250);
    assert_ne!(node.take(), first, "each try has a fresh nonce");
    // The first one landed meanwhile; the watch hangs, and the second is told so.
    let look = Look { revision: 210, seat: seat(200, leader("a", &first)), beat: beat(200, 0) };
    assert_eq!(node.told(Event::TakeEnded(Written::Not(look))), [Action::Nobody], "no node relays to itself");
    assert_eq!(node.waits_for_action().0, T);
}

#[test]
fn take_that_lost_tells_of_the_winner() {
    let mut node = Node::following();
    node.waits(T);
    let look = Look { revision: 210, seat: seat(200, leader("c", "c1")), beat: beat(200, 0) };
    let actions = node.told(Event::TakeEnded(Written::Not(look)));
    assert_eq!(actions, [Action::Follow(200, leader("c", "c1"))]);
    assert_eq!(node.waits_for_action().0, T);
}

#[test]
fn look_goes_on_until_the_try_is_of_no_use() {
    let mut node = Node::following();
    node.waits(T);
    assert_eq!(node.told(Event::TakeEnded(unknown())), [], "a try was made at this very moment");
    assert_eq!(node.waits(250), [Action::Look]);
    for _ in 0..8 {
        node.waits(500);
        assert_eq!(node.told(Event::Looked(None)), [Action::Look]);
    }
    node.waits(500);
    assert!(matches!(&node.told(Event::Looked(None))[..], [Action::Take { .. }]), "4.5 s after its send");
    assert_eq!(node.take(), "a2");
}

#[test]
fn lower_term_than_the_highest_is_not_followed() {
    let mut node = Node::following();
    node.sees(seat(300, leader("c", "c1")));
    node.beats(beat(300, 0));
    assert_eq!(node.sees(seat(OTHERS, leader("b", "b1"))), [Action::Nobody]);
    assert_eq!(node.beats(beat(101, 1)), []);
    assert_eq!(node.beats(beat(102, 2)), []);
}

#[test]
fn node_is_not_wedged_by_a_restored_engine() {
    let mut node = Node::following();
    node.sees(seat(300, leader("c", "c1")));
    node.beats(beat(300, 0));
    assert_eq!(node.sees(seat(OTHERS, leader("b", "b1"))), [Action::Nobody]);
    node.beats(beat(101, 1));
    node.waits(T - 50);
    assert_eq!(node.beats(beat(102, 2)), []);
    node.waits(1000);
    let actions = node.beats(beat(103, 3));
    assert_eq!(actions, [Action::Follow(OTHERS, leader("b", "b1"))], "it lives, and term 300 has ended");
    node.waits(T);
    node.take();
    let actions = node.told(Event::TakeEnded(Written::Done(150)));
    assert!(matches!(&actions[..], [Action::Begin { term: 150, .. }]), "{actions:?}");
}

#[test]
fn wait_for_a_lower_term_is_no_shorter_than_for_the_highest() {
    let mut node = Node::following();
    node.sees(seat(300, Leader { ttl: Duration::from_secs(15), ..leader("c", "c1") }));
    node.beats(beat(300, 0));
    node.sees(seat(OTHERS, leader("b", "b1")));
    node.beats(beat(OTHERS, 0));
    assert_eq!(node.waits_for_action().0, 15_000);
}

#[test]
fn clock_counts_only_if_it_is_near_the_floor() {
    let first = |wall_micros, token| {
        let mut node = Node::following();
        node.beats(beat_with(101, 1, Floors { token, session: 7 }));
        node.wall_micros = wall_micros;
        let (_, actions) = node.waits_for_action();
        let warned = actions.contains(&Action::ClockIgnored { wall_micros, floor: token });
        (take_of(&actions).map(|(.., beat)| beat.floors.token - (1 << 24)), warned)
    };
    let day = 24 * 3600 * 1_000_000;
    assert_eq!(first(1000 * day, 999 * day), (Some(1000 * day), false), "a restored backup");
    assert_eq!(first(1000 * day, 1001 * day), (Some(1001 * day), false), "a clock set back");
    assert_eq!(first(1000 * day, 600 * day), (Some(600 * day), true), "a clock that is years ahead");
}

#[test]
fn clock_of_the_first_start_is_not_believed_without_end() {
    let mut node = Node::new();
    node.wall_micros = u64::MAX;
    node.sees(None);
    node.beats(None);
    let (_, actions) = node.waits_for_action();
    assert_eq!(take_of(&actions).map(|(.., beat)| beat.floors.token), Some((1 << 52) + (1 << 24)));
}

#[test]
fn node_that_exits_stands_no_more() {
    let mut node = Node::following();
    let drain = || Event::Drain { exits: true, successor: None };
    assert_eq!(node.told(drain()), [Action::Resigned, Action::Nobody]);
    assert_eq!(node.waits(3 * T), []);

    let mut node = Node::following();
    node.waits(T);
    assert_eq!(node.told(drain()), [], "a try is under way");
    let actions = node.told(Event::TakeEnded(Written::Done(200)));
    assert!(
        matches!(
            &actions[..],
            [Action::Begin { .. }, Action::End(_), Action::Resign { term: 200, n: 1, .. }]
        ),
        "{actions:?}"
    );
    assert_eq!(node.told(Event::ResignEnded(Written::Done(201)))[0], Action::Resigned);
}
