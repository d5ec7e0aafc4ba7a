//! What the server tells unasked, against a server that says what a test has it say.

use std::time::Duration;

use getlockd_client::{Builder, Client, Timeout, WatchEvent, blocking};
use tokio::task::spawn_blocking;

use super::in_time;
use crate::common::stub::{Stub, answer_keepalive, grant};

const TAKEN: &str = "* TAKEN name=app:x mode=exclusive session=9 fencing_token=12";
const FREED: &str = "* FREED name=app:x mode=exclusive session=9 fencing_token=12 held=0.250 cause=release";
const LOST: &str = "* LOST name=app:x mode=permit session=9 fencing_token=12 held=0.250 cause=killed limit=3";

#[tokio::test]
async fn watch_tells_what_happens_to_locks() {
    let stub = Stub::start().await;
    let builder = Builder::new(stub.addr()).name("");
    let (connection, peer) = tokio::join!(builder.connection(), stub.welcome("25.000"));
    let mut peer = peer;
    let serve = async {
        assert_eq!(peer.line().await, "WATCH App:");
        peer.send(&format!("1\n{TAKEN}\n{FREED}\n* LATER colour=blue\n{LOST}\n* MISSED count=12")).await;
        peer
    };
    let (watch, peer) = tokio::join!(connection.unwrap().watch("App:"), serve);
    let mut watch = watch.unwrap();
    let WatchEvent::Taken(hold) = in_time(watch.recv()).await.unwrap() else { panic!("no grant") };
    assert_eq!((hold.name.as_str(), hold.session, hold.fencing_token), ("app:x", 9, 12));
    let WatchEvent::Freed(ended) = in_time(watch.recv()).await.unwrap() else { panic!("no release") };
    assert_eq!((ended.hold, ended.held, ended.cause.as_str()), (hold, Duration::from_millis(250), "release"));
    let WatchEvent::Lost(ended) = in_time(watch.recv()).await.unwrap() else { panic!("no loss") };
    assert_eq!((ended.hold.mode.limit(), ended.cause.as_str()), (Some(3), "killed"));
    // What came before the end is read before it.
    drop(peer);
    assert_eq!(in_time(watch.recv()).await, Ok(WatchEvent::Missed(Some(12))));
    assert!(in_time(watch.recv()).await.is_err());
}

#[tokio::test]
async fn guard_learns_of_each_waiter_once() {
    let stub = Stub::start().await;
    let client = Builder::new(stub.addr()).name("").connect();
    let (client, mut peer) = tokio::join!(client, stub.welcome("25.000"));
    let client: Client = client.unwrap();
    let acquire = client.acquire("Nightly", Timeout::Forever);
    let guard = tokio::join!(acquire, grant(&mut peer, "Nightly", "25.000")).0.unwrap();
    let serve = async {
        assert_eq!(peer.line().await, "EVENTS ON");
        peer.send("1\n* WAITING name=nightly session=9 mode=exclusive waiters=2").await;
        assert_eq!(peer.line().await, "WAITERS nightly");
        peer.send(
            "WAITER session=8 mode=shared wire=line peer=NULL waited=1.000\n\
             WAITER session=9 mode=exclusive wire=line peer=NULL waited=0.001\nEND 2\n\
             * WAITING name=other session=11 mode=exclusive waiters=1\n\
             * WAITING name=nightly session=10 mode=exclusive waiters=3",
        )
        .await;
    };
    let mut waiters = tokio::join!(guard.on_waiter(), serve).0.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let waiter = in_time(waiters.recv()).await.unwrap();
        seen.push((waiter.session, waiter.waiters));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(8, 2), (9, 2), (10, 3)]);
    let release = async {
        assert_eq!(peer.line().await, "RELEASE_LOCK Nightly");
        peer.send("* WAITING name=nightly session=13 mode=shared waiters=4\n1").await;
    };
    tokio::join!(guard.release(), release).0.unwrap();
}

#[tokio::test]
async fn events_come_between_replies() {
    let stub = Stub::start().await;
    let builder = Builder::new(stub.addr()).name("");
    let (connection, mut peer) = tokio::join!(builder.connection(), stub.welcome("25.000"));
    let connection = connection.unwrap();
    let serve = async {
        answer_keepalive(&mut peer, "25.000").await;
        assert_eq!(peer.line().await, "GET_LOCK x 0.000000000");
        assert_eq!(peer.line().await, "FENCING_TOKEN x");
        peer.send(&format!("{TAKEN}\n1\n{FREED}\n99\n{TAKEN}")).await;
    };
    let (guard, ()) = tokio::join!(connection.try_lock("x"), serve);
    assert_eq!(guard.unwrap().unwrap().fencing_token(), 99);
}

#[tokio::test]
async fn blocking_watch_and_waiters_read_events() {
    let stub = Stub::start().await;
    let addr = stub.addr();
    let work = spawn_blocking(move || {
        let client = blocking::Client::start(Builder::new(addr).name(""))?;
        let guard = client.acquire("x", Timeout::Forever)?;
        let waiter = guard.on_waiter()?.recv()?;
        let event = client.watch("")?.recv()?;
        Ok::<_, getlockd_client::Error>((waiter.session, event))
    });
    let mut peer = stub.welcome("25.000").await;
    grant(&mut peer, "x", "25.000").await;
    assert_eq!(peer.line().await, "EVENTS ON");
    peer.send("1").await;
    assert_eq!(peer.line().await, "WAITERS x");
    peer.send("END 0\n* WAITING name=x session=9 mode=exclusive waiters=1").await;
    let mut watcher = stub.welcome("25.000").await;
    assert_eq!(watcher.line().await, "WATCH");
    watcher.send(&format!("1\n{TAKEN}")).await;
    let (session, event) = in_time(work).await.unwrap().unwrap();
    assert!(session == 9 && matches!(event, WatchEvent::Taken(_)));
}
