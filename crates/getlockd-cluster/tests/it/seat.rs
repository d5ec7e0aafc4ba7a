//! Taking, keeping and giving up the seat.

use getlockd_cluster::engine::{Engine as _, Look, Written};

use crate::{
    common::etcd::Etcd,
    node::{beat, beat_of, beat_with, done, node, not, resign, take, take_now, text},
};

#[tokio::test]
async fn seat_is_taken_kept_and_resigned() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node = node(&etcd);
    let nobody = node.look().await.unwrap();
    assert_eq!((&nobody.seat, &nobody.beat), (&None, &None));
    let term = done(take(&node, "a", &nobody).await);
    let look = node.look().await.unwrap();
    assert_eq!(text(look.seat.as_ref().unwrap()), "a");
    assert_eq!(look.seat.unwrap().revision, term);
    let second = done(node.beat(beat(term, "a", 2)).await);
    let third = done(node.beat(beat(term, "a", 3)).await);
    assert!(term < second && second < third);
    let resigned = done(node.resign(resign(term, "a", 4)).await);
    let look = node.look().await.unwrap();
    assert_eq!(look.revision, resigned);
    assert_eq!(text(&look.seat.unwrap()), "resigned");
    assert_eq!(look.beat.unwrap().value, beat_of(4));
}

#[tokio::test]
async fn of_two_that_saw_the_same_the_first_takes_the_seat() {
    let Some(etcd) = Etcd::start(1) else { return };
    let (a, b) = (node(&etcd), node(&etcd));
    let nobody = a.look().await.unwrap();
    let (taken_by_a, taken_by_b) = tokio::join!(take(&a, "a", &nobody), take(&b, "b", &nobody));
    let (winner, loser) = match (taken_by_a, taken_by_b) {
        (Written::Done(_), Written::Not(look)) => ("a", look),
        (Written::Not(look), Written::Done(_)) => ("b", look),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&loser.seat.unwrap()), winner);
}

#[tokio::test]
async fn seat_is_not_taken_once_it_was_touched_since() {
    let Some(etcd) = Etcd::start(1) else { return };
    let (a, b) = (node(&etcd), node(&etcd));
    let term = take_now(&a, "a").await;
    let seen = b.look().await.unwrap();
    done(a.beat(beat(term, "a", 2)).await);
    let look = not(take(&b, "b", &seen).await);
    assert_eq!(look.beat.as_ref().unwrap().value, beat_of(2));
    done(take(&b, "b", &look).await);
}

#[tokio::test]
async fn seat_is_not_taken_if_only_its_revision_is_as_seen() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node = node(&etcd);
    take_now(&node, "a").await;
    let look = node.look().await.unwrap();
    let mut other = look.clone();
    other.seat.as_mut().unwrap().value = b"of a backup".into();
    not(take(&node, "b", &other).await);
    let mut other = look;
    other.beat.as_mut().unwrap().value = beat_of(7);
    not(take(&node, "b", &other).await);
}

#[tokio::test]
async fn beat_that_comes_late_is_superseded() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node = node(&etcd);
    let term = take_now(&node, "a").await;
    done(node.beat(beat(term, "a", 3)).await);
    for late in [2, 3] {
        let look = not(node.beat(beat_with(term, "a", late, &[("lease/1", Some("x"))])).await);
        assert_eq!(look.seat.unwrap().revision, term);
        assert_eq!(look.beat.unwrap().value, beat_of(3));
    }
    assert_eq!(node.leases(0).await.unwrap().records, []);
}

#[tokio::test]
async fn beat_of_a_term_that_is_over_writes_nothing() {
    let Some(etcd) = Etcd::start(1) else { return };
    let (a, b) = (node(&etcd), node(&etcd));
    let term = take_now(&a, "a").await;
    let next = take_now(&b, "b").await;
    let look = not(a.beat(beat_with(term, "a", 9, &[("lease/1", Some("x"))])).await);
    assert_eq!(look.seat.unwrap().revision, next);
    not(a.resign(resign(term, "a", 10)).await);
    assert_eq!(b.leases(0).await.unwrap().records, []);
    assert_eq!(text(&b.look().await.unwrap().seat.unwrap()), "b");
}

#[tokio::test]
async fn beat_after_the_prefix_was_deleted_finds_nothing() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node = node(&etcd);
    let term = take_now(&node, "a").await;
    etcd.ctl(&["del", "--prefix", "/getlockd/"]);
    let look = not(node.beat(beat(term, "a", 2)).await);
    assert_eq!(look, Look { revision: look.revision, ..Look::default() });
}

#[tokio::test]
async fn clusters_with_two_prefixes_know_nothing_of_each_other() {
    let Some(etcd) = Etcd::start(1) else { return };
    let a = node(&etcd);
    let url = etcd.url("getlockd/team-b");
    let b = getlockd_cluster::etcd::Etcd::new(&crate::node::config(&url)).unwrap();
    take_now(&a, "a").await;
    assert_eq!(b.look().await.unwrap().seat, None);
    take_now(&b, "b").await;
    assert_eq!(text(&a.look().await.unwrap().seat.unwrap()), "a");
}

#[tokio::test]
async fn what_etcd_refuses_is_refused_and_not_unknown() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node = node(&etcd);
    let term = take_now(&node, "a").await;
    let twice = [("lease/1", Some("x")), ("lease/1", None)];
    let keys: Vec<_> = (0..128).map(|n| format!("lease/{n}")).collect();
    let many: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("x"))).collect();
    let large = "x".repeat(3 << 20);
    let large = [("lease/1", Some(large.as_str()))];
    for leases in [&twice[..], &many, &large] {
        let written = node.beat(beat_with(term, "a", 2, leases)).await;
        assert!(matches!(written, Written::Refused(_)), "{written:?}");
    }
    done(node.beat(beat_with(term, "a", 2, &many[..120])).await);
}
