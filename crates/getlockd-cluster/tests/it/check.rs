//! What `getlockd check` finds out about etcd.

use std::time::Duration;

use getlockd_cluster::{engine::Engine as _, etcd::Etcd as Engine};

use crate::{
    common::etcd::Etcd,
    node::{beat, config, done, node, take_now},
};

/// T/5 of the default.
const BEAT_TIME: Duration = Duration::from_secs(1);

#[tokio::test]
async fn three_members_are_fit_and_nothing_is_left_of_the_check() {
    let Some(etcd) = Etcd::start(3) else { return };
    let report = node(&etcd).check(BEAT_TIME).await;
    assert_eq!((&report.warnings, &report.errors), (&vec![], &vec![]));
    let [first, second, third] = [0, 1, 2].map(|n| etcd.members[n].addr.to_string());
    for (line, start) in
        report.lines.iter().zip([&first, &second, &third, "etcd has 3 members", "a transaction of"])
    {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(report.lines[0].contains(": etcd 3."), "{report:?}");
    assert_eq!(etcd.ctl(&["get", "--prefix", "/"]), "");
}

#[tokio::test]
async fn single_member_is_not_highly_available() {
    let Some(etcd) = Etcd::start(1) else { return };
    let report = node(&etcd).check(BEAT_TIME).await;
    assert_eq!(report.errors, [""; 0]);
    assert_eq!(report.warnings, ["etcd has one member: it is not highly available; run three"]);
}

#[tokio::test]
async fn member_that_is_not_named_or_does_not_answer_is_a_warning() {
    let Some(mut etcd) = Etcd::start(3) else { return };
    etcd.members[2].kill();
    let url = format!("etcd://{},{}/getlockd", etcd.members[0].addr, etcd.members[2].addr);
    etcd.await_leader();
    let report = Engine::new(&config(&url)).unwrap().check(BEAT_TIME).await;
    let warnings = report.warnings.join("\n");
    assert!(warnings.contains(&format!("{}:", etcd.members[2].addr)), "{report:?}");
    assert!(warnings.contains(r#"the member "m1""#), "{report:?}");
}

#[tokio::test]
async fn etcd_that_is_not_there_is_an_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("etcd://{free}/getlockd");
    let report = Engine::new(&config(&url)).unwrap().check(BEAT_TIME).await;
    assert_eq!(report.errors, ["no member of etcd was reached"]);
    assert!(report.warnings[0].contains("Connection refused"), "{report:?}");
}

#[tokio::test]
async fn etcd_that_is_full_or_takes_small_transactions_is_an_error() {
    let Some(etcd) = Etcd::with(1, &["--max-txn-ops", "64"]) else { return };
    let report = node(&etcd).check(BEAT_TIME).await;
    assert!(report.errors[0].contains("--max-txn-ops"), "{report:?}");

    let Some(etcd) = Etcd::with(1, &["--quota-backend-bytes", "65536"]) else { return };
    let large = "x".repeat(100_000);
    // The one that finds it full raises the alarm.
    for key in ["a", "b"] {
        etcd.try_ctl(&["put", key, &large]);
    }
    let report = node(&etcd).check(BEAT_TIME).await;
    assert!(report.errors[0].contains("NOSPACE"), "{report:?}");
}

#[tokio::test]
async fn revisions_that_are_never_compacted_are_a_warning() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node = node(&etcd);
    let term = take_now(&node, "a").await;
    for n in 2..5 {
        done(node.beat(beat(term, "a", n)).await);
    }
    // As if a day had two beats.
    let half_a_day = Duration::from_hours(12);
    let warnings = node.check(half_a_day).await.warnings;
    assert!(warnings[1].contains("--auto-compaction-retention=1h"), "{warnings:?}");
    let revision = node.look().await.unwrap().revision;
    etcd.ctl(&["compact", &revision.to_string()]);
    assert_eq!(node.check(half_a_day).await.warnings.len(), 1);
}
