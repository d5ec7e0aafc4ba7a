//! What a watch reports, also if the member that it was at is gone.

use getlockd_cluster::engine::Engine as _;

use crate::{
    common::etcd::Etcd,
    node::{Watch, beat, done, node, starting_at, take_now},
};

#[tokio::test]
async fn watch_reports_what_stands_there_and_then_each_change() {
    let Some(etcd) = Etcd::start(1) else { return };
    let a = node(&etcd);
    let term = take_now(&a, "a").await;
    a.announce("b", b"here".into()).await.unwrap();
    let mut watch = Watch::start(node(&etcd));
    for report in ["seat a", "beat 1", "node b here", "hand-over -"] {
        assert_eq!(watch.next().await, report);
    }
    done(a.beat(beat(term, "a", 2)).await);
    assert_eq!(watch.next().await, "beat 2");
    a.announce("c", b"too".into()).await.unwrap();
    assert_eq!(watch.next().await, "node c too");
    a.forget(Some("b")).await.unwrap();
    assert_eq!(watch.next().await, "node b -");
    a.ask_hand_over(b"c".into()).await.unwrap();
    assert_eq!(watch.next().await, "hand-over c");
    a.forget(None).await.unwrap();
    assert_eq!(watch.next().await, "hand-over -");
}

#[tokio::test]
async fn watch_reports_keys_that_are_deleted() {
    let Some(etcd) = Etcd::start(1) else { return };
    take_now(&node(&etcd), "a").await;
    let mut watch = Watch::started(node(&etcd)).await;
    etcd.ctl(&["del", "--prefix", "/getlockd/"]);
    let mut reports = [watch.next().await, watch.next().await];
    reports.sort();
    assert_eq!(reports, ["beat -", "seat -"]);
}

#[tokio::test]
async fn watch_goes_on_at_the_next_member_after_a_death() {
    let Some(mut etcd) = Etcd::start(3) else { return };
    let a = starting_at(&etcd, 1);
    a.announce("gone", b"x".into()).await.unwrap();
    take_now(&a, "a").await;
    let mut watch = Watch::started(node(&etcd)).await;
    etcd.members[0].kill();
    etcd.ctl(&["put", "/getlockd/seat", "b"]);
    assert_eq!(watch.until("seat b").await, "seat b");
    etcd.ctl(&["del", "/getlockd/node/gone"]);
    assert_eq!(watch.until("node gone -").await, "node gone -");
}

#[tokio::test]
async fn watch_goes_on_at_the_next_member_after_a_standstill() {
    let Some(mut etcd) = Etcd::start(3) else { return };
    let mut watch = Watch::started(node(&etcd)).await;
    etcd.members[0].freeze();
    etcd.members[1].await_health();
    etcd.ctl(&["put", "/getlockd/seat", "b"]);
    assert_eq!(watch.until("seat b").await, "seat b");
}

#[tokio::test]
async fn watch_tells_of_a_node_that_went_while_it_was_away() {
    let Some(mut etcd) = Etcd::start(1) else { return };
    let a = node(&etcd);
    a.announce("b", b"here".into()).await.unwrap();
    let mut watch = Watch::started(node(&etcd)).await;
    etcd.members[0].kill();
    etcd.members[0].start();
    etcd.ctl(&["del", "/getlockd/node/b"]);
    assert_eq!(watch.until("node b").await, "node b -");
}

#[tokio::test]
async fn watch_goes_on_after_a_compaction() {
    let Some(mut etcd) = Etcd::start(1) else { return };
    let a = node(&etcd);
    let term = take_now(&a, "a").await;
    let mut watch = Watch::started(node(&etcd)).await;
    etcd.members[0].kill();
    etcd.members[0].start();
    let mut n = 2;
    while !matches!(a.beat(beat(term, "a", n)).await, getlockd_cluster::engine::Written::Done(_)) {
        n += 1;
    }
    let revision = a.look().await.unwrap().revision;
    etcd.ctl(&["compact", &revision.to_string()]);
    watch.until(&format!("beat {n}")).await;
}

#[tokio::test]
async fn watch_ends_without_listeners() {
    let Some(etcd) = Etcd::start(1) else { return };
    let (sender, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(async move { node(&etcd).watch(sender).await });
    changes.recv().await.unwrap();
    drop(changes);
    watching.await.unwrap();
}
