//! Members that die or stand still.

use getlockd_cluster::engine::{Engine as _, EngineError, Written};

use crate::{
    common::etcd::Etcd,
    node::{beat, done, node, starting_at, take, take_now, text},
};

#[tokio::test]
async fn write_to_a_frozen_member_is_unknown_and_may_be_made() {
    let Some(mut etcd) = Etcd::start(1) else { return };
    let a = node(&etcd);
    let nobody = a.look().await.unwrap();
    etcd.members[0].freeze();
    let taken = take(&a, "a", &nobody).await;
    assert!(matches!(taken, Written::Unknown(_)), "{taken:?}");
    assert!(matches!(a.look().await, Err(EngineError::Unavailable(_))));
    etcd.members[0].thaw();
    etcd.members[0].await_health();
    match a.look().await.unwrap().seat {
        Some(seat) => assert_eq!(text(&seat), "a"),
        None => assert!(done(take(&a, "a", &nobody).await) > nobody.revision),
    }
}

#[tokio::test]
async fn beat_goes_to_the_next_member_after_a_standstill() {
    let Some(mut etcd) = Etcd::start(3) else { return };
    // One that does not lead etcd, so that no election comes between.
    let first = usize::from(etcd.await_leader() == 0);
    let node = starting_at(&etcd, first);
    let term = take_now(&node, "a").await;
    done(node.beat(beat(term, "a", 2)).await);
    etcd.members[first].freeze();
    let unknown = node.beat(beat(term, "a", 3)).await;
    assert!(matches!(unknown, Written::Unknown(_)), "{unknown:?}");
    done(node.beat(beat(term, "a", 4)).await);
    done(node.beat(beat(term, "a", 5)).await);
}

#[tokio::test]
async fn beat_goes_to_the_next_member_after_a_death() {
    let Some(mut etcd) = Etcd::start(3) else { return };
    let first = usize::from(etcd.await_leader() == 0);
    let node = starting_at(&etcd, first);
    let term = take_now(&node, "a").await;
    etcd.members[first].kill();
    let mut n = 2;
    while let Written::Unknown(_) = node.beat(beat(term, "a", n)).await {
        n += 1;
    }
    assert!(n <= 4, "{n} tries with two members that live");
    etcd.members[first].start();
    etcd.members[(first + 1) % 3].kill();
    etcd.await_leader();
    while let Written::Unknown(_) = node.beat(beat(term, "a", n)).await {
        n += 1;
    }
}

#[tokio::test]
async fn without_a_quorum_every_write_is_unknown() {
    let Some(mut etcd) = Etcd::start(3) else { return };
    let node = node(&etcd);
    let term = take_now(&node, "a").await;
    etcd.members[0].kill();
    etcd.members[1].kill();
    for n in 2..6 {
        let unknown = node.beat(beat(term, "a", n)).await;
        assert!(matches!(unknown, Written::Unknown(_)), "{unknown:?}");
    }
    etcd.members[0].start();
    let mut n = 6;
    while let Written::Unknown(_) = node.beat(beat(term, "a", n)).await {
        n += 1;
    }
}
