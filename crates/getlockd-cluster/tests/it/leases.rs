//! Leases, as a new leader reads them.

use getlockd_cluster::engine::{Engine as _, EngineError};

use crate::{
    common::etcd::Etcd,
    node::{beat_with, done, node, take_now},
};

/// What one lease is at most: its record is as long as its owner and its note.
const RECORD: usize = 2_600;

#[tokio::test]
async fn three_thousand_leases_are_read_at_the_revision_of_the_take() {
    let Some(etcd) = Etcd::start(1) else { return };
    let (a, b) = (node(&etcd), node(&etcd));
    let term = take_now(&a, "a").await;
    let record = "x".repeat(RECORD);
    let keys: Vec<_> = (0..3_000).map(|n| format!("lease/{n:064}")).collect();
    for (n, keys) in keys.chunks(120).enumerate() {
        let leases: Vec<_> = keys.iter().map(|key| (key.as_str(), Some(record.as_str()))).collect();
        done(a.beat(beat_with(term, "a", 2 + n as u64, &leases)).await);
    }
    let term = take_now(&b, "b").await;
    done(b.beat(beat_with(term, "b", 2, &[(&keys[7], None), ("lease/later", Some("x"))])).await);
    let leases = b.leases(term).await.unwrap().records;
    assert_eq!(leases.iter().map(|(key, _)| key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    assert!(leases.iter().all(|(_, kept)| kept == record.as_bytes()));
}

#[tokio::test]
async fn leases_at_a_revision_that_is_compacted_are_told_apart() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node = node(&etcd);
    let term = take_now(&node, "a").await;
    let revision = done(node.beat(beat_with(term, "a", 2, &[("lease/1", Some("x"))])).await);
    etcd.ctl(&["compact", &revision.to_string()]);
    assert_eq!(node.leases(term).await, Err(EngineError::Compacted(term)));
    assert_eq!(node.leases(revision).await.unwrap().records, [("lease/1".to_owned(), b"x".to_vec())]);
}
