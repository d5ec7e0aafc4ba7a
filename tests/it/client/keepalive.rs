//! A guard is lost before anybody else can be granted its lock (protocol.md, part 1).

use std::{pin::pin, time::Duration};

use getlockd_client::{Builder, Connection, Error, Guard, Timeout};
use tokio::{task::JoinHandle, time::Instant};

use super::{in_time, poll_once};
use crate::common::{
    self,
    stub::{Stub, answer_keepalive, expect_take, grant},
};

/// A server that stays silent for a second frees nothing.
const LEFT: &str = "1.000";

fn acquire(connection: &Connection, name: &'static str) -> JoinHandle<Result<Guard, Error>> {
    let connection = connection.clone();
    tokio::spawn(async move { connection.acquire(name, Timeout::Forever).await })
}

/// A connection to a stub, which promises this.
async fn connected(left: &str) -> (Connection, common::Client) {
    let stub = Stub::start().await;
    let builder = Builder::new(stub.addr()).name("");
    let connection = tokio::spawn(async move { builder.connection().await });
    let peer = stub.welcome(left).await;
    (in_time(connection).await.unwrap().unwrap(), peer)
}

/// The same, with a lock that is held.
async fn holding(left: &str) -> (Connection, Guard, common::Client) {
    let (connection, mut peer) = connected(left).await;
    let guard = acquire(&connection, "x");
    grant(&mut peer, "x", left).await;
    (connection, in_time(guard).await.unwrap().unwrap(), peer)
}

#[tokio::test]
async fn guard_is_lost_before_the_promise_ends() {
    let (connection, guard, mut peer) = holding(LEFT).await;
    let mut last = Instant::now();
    for _ in 0..3 {
        last = answer_keepalive(&mut peer, LEFT).await;
        assert!(!guard.is_lost());
    }
    let lost = in_time(guard.lost()).await;
    assert!(last.elapsed() < Duration::from_secs(1) && !lost.time_left().is_zero(), "{lost}");
    assert!(last.elapsed() > Duration::from_millis(500), "two fifths are for stopping, and no more");
    assert!(lost.to_string().contains("did not answer in time"), "{lost}");
    assert!(guard.is_lost() && connection.is_lost() && lost.symbol().is_none());
    assert!(matches!(guard.release().await, Err(Error::Lost(_))));
    // Two or three questions had no answer. A server that lives after all must not free the lock too early.
    while let Some(line) = peer.next().await {
        assert_eq!(line, "KEEPALIVE");
    }
    assert!(last.elapsed() > Duration::from_millis(950), "{:?}", last.elapsed());
}

#[tokio::test]
async fn lost_connection_closes_with_its_last_guard() {
    let (connection, guard, mut peer) = holding("3.000").await;
    let asked = answer_keepalive(&mut peer, "3.000").await;
    in_time(guard.lost()).await;
    drop((guard, connection));
    while peer.next().await.is_some() {}
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn guard_is_lost_by_the_clock_alone() {
    let (_connection, guard, _peer) = holding(LEFT).await;
    // Nothing else runs on this thread meanwhile, the task of the connection neither.
    std::thread::sleep(Duration::from_millis(650));
    assert!(guard.is_lost());
    assert!(matches!(guard.release().await, Err(Error::Lost(_))));
}

#[tokio::test]
async fn guard_is_kept_during_another_wait() {
    let (connection, guard, mut peer) = holding(LEFT).await;
    let waiting = acquire(&connection, "y");
    // The first may have been asked before the wait began.
    let mut line = peer.line().await;
    let mut answered = 0;
    while answered < 10 {
        if line == "KEEPALIVE" {
            peer.send("KEEPALIVE left=1.000").await;
            answered += 1;
        }
        assert!(!guard.is_lost());
        line = peer.line().await;
    }
    in_time(guard.lost()).await;
    assert!(matches!(in_time(waiting).await.unwrap(), Err(Error::Lost(_))));
}

#[tokio::test]
async fn late_grant_is_kept_after_a_fresh_promise() {
    let (connection, mut peer) = connected(LEFT).await;
    let mut taken = pin!(acquire(&connection, "x"));
    answer_keepalive(&mut peer, LEFT).await;
    expect_take(&mut peer, "x").await;
    tokio::time::sleep(Duration::from_millis(650)).await;
    peer.send("1\n99").await;
    assert_eq!(peer.line().await, "KEEPALIVE", "while it only waited it asked nothing");
    assert!(!poll_once(&mut taken).await);
    peer.send("KEEPALIVE left=1.000").await;
    let guard = in_time(taken).await.unwrap().unwrap();
    assert!(!guard.is_lost() && guard.fencing_token() == 99);
}

#[tokio::test]
async fn late_grant_without_a_promise_is_given_up() {
    let (connection, mut peer) = connected(LEFT).await;
    let taken = acquire(&connection, "x");
    answer_keepalive(&mut peer, LEFT).await;
    expect_take(&mut peer, "x").await;
    tokio::time::sleep(Duration::from_millis(650)).await;
    peer.send("1\n99").await;
    assert!(matches!(in_time(taken).await.unwrap(), Err(Error::Lost(_))));
    while let Some(line) = peer.next().await {
        assert_eq!(line, "KEEPALIVE");
    }
}

#[tokio::test]
async fn given_up_grant_is_tried_again() {
    let stub = Stub::start().await;
    let client = tokio::spawn(Builder::new(stub.addr()).name("").connect());
    let mut first = stub.welcome(LEFT).await;
    let client = in_time(client).await.unwrap().unwrap();
    let taken = tokio::spawn(async move { client.acquire("x", Timeout::Forever).await });
    answer_keepalive(&mut first, LEFT).await;
    expect_take(&mut first, "x").await;
    tokio::time::sleep(Duration::from_millis(650)).await;
    first.send("1\n98").await;
    let mut second = stub.welcome(LEFT).await;
    grant(&mut second, "x", LEFT).await;
    assert_eq!(in_time(taken).await.unwrap().unwrap().fencing_token(), 99);
}

#[tokio::test]
async fn connection_without_locks_sends_nothing() {
    let (connection, guard, mut peer) = holding(LEFT).await;
    drop(guard);
    assert_eq!(peer.line().await, "RELEASE_LOCK x");
    peer.send("1").await;
    // Longer than a held lock would be silent, and than it would live.
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert!(!connection.is_lost());
    let ping = tokio::spawn(async move { connection.ping().await });
    assert_eq!(peer.line().await, "PING");
    peer.send("PONG").await;
    in_time(ping).await.unwrap().unwrap();
}

#[tokio::test]
async fn server_without_promise_is_not_asked() {
    let (connection, guard, mut peer) = holding("0.000").await;
    assert_eq!(connection.stop_within(), None);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ping = tokio::spawn(async move { connection.ping().await });
    assert_eq!(peer.line().await, "PING");
    peer.send("PONG").await;
    in_time(ping).await.unwrap().unwrap();
    assert!(!guard.is_lost());
}

#[tokio::test]
async fn stop_time_that_does_not_fit_is_refused() {
    let stub = Stub::start().await;
    let builder = Builder::new(stub.addr()).name("").stop_within(Duration::from_millis(800));
    let connection = tokio::spawn(async move { builder.connection().await });
    let _peer = stub.welcome(LEFT).await;
    let error = in_time(connection).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::StopWithin { .. }), "{error}");
    assert!(error.to_string().ends_with("after 1s; use less than 800ms"), "{error}");

    let builder = Builder::new(stub.addr()).name("").stop_within(Duration::from_millis(700));
    let connection = tokio::spawn(async move { builder.connection().await });
    let _peer = stub.welcome(LEFT).await;
    let connection = in_time(connection).await.unwrap().unwrap();
    assert_eq!(connection.stop_within(), Some(Duration::from_millis(700)));
}

#[tokio::test]
async fn too_long_line_fails_its_call_and_keeps_locks() {
    let (connection, guard, mut peer) = holding("0.000").await;
    let lists = tokio::spawn(async move {
        let locks = connection.locks("").await;
        let odd = connection.locks("").await;
        let fine = connection.locks("").await;
        (locks, odd, fine)
    });
    let row = |name: &str| {
        format!(
            "LOCK name={name} mode=shared session=1 wire=line peer=NULL fencing_token=1 held=1.500 waiters=0"
        )
    };
    assert_eq!(peer.line().await, "LOCKS");
    peer.send(&format!("{}\n{}\n{}\nEND 3", row("a"), row(&"n".repeat(200_000)), row("b"))).await;
    assert_eq!(peer.line().await, "LOCKS");
    peer.send("LOCK odd\nEND 1").await;
    assert_eq!(peer.line().await, "LOCKS");
    peer.send(&format!("{}\nEND 10 of 20", row("a"))).await;
    let (long, odd, fine) = in_time(lists).await.unwrap();
    assert!(matches!(long, Err(Error::TooLong)) && matches!(odd, Err(Error::Unexpected(_))));
    let fine = fine.unwrap();
    assert_eq!((fine.total, fine.rows[0].held), (20, Duration::from_millis(1500)));
    assert!(!guard.is_lost());
}
