//! The client for programs without an async runtime.

use std::sync::mpsc;

use getlockd_client::{Builder, Error, Timeout, blocking::Client};
use tokio::task::spawn_blocking;

use super::in_time;
use crate::common::{
    TestServer,
    stub::{Stub, answer_keepalive, grant},
};

#[tokio::test]
async fn lock_is_kept_while_its_thread_is_busy() {
    let stub = Stub::start().await;
    let (addr, (done, busy)) = (stub.addr(), mpsc::channel::<()>());
    let work = spawn_blocking(move || {
        let client = Client::start(Builder::new(addr).name(""))?;
        client.lock("x", Timeout::Forever, |guard| {
            let _ = busy.recv();
            guard.is_lost()
        })
    });
    let mut peer = stub.welcome("1.000").await;
    grant(&mut peer, "x", "1.000").await;
    for _ in 0..8 {
        answer_keepalive(&mut peer, "1.000").await;
    }
    drop(done);
    loop {
        match peer.line().await.as_str() {
            "KEEPALIVE" => peer.send("KEEPALIVE left=1.000").await,
            line => break assert_eq!(line, "RELEASE_LOCK x"),
        }
    }
    peer.send("1").await;
    assert!(!in_time(work).await.unwrap().unwrap());
}

#[tokio::test]
async fn loss_ends_scope_with_an_error() {
    let stub = Stub::start().await;
    let addr = stub.addr();
    let work = spawn_blocking(move || {
        let client = Client::start(Builder::new(addr).name(""))?;
        client.lock("x", Timeout::Forever, |guard| drop(guard.wait_until_lost()))
    });
    let mut peer = stub.welcome("1.000").await;
    grant(&mut peer, "x", "1.000").await;
    assert!(matches!(in_time(work).await.unwrap(), Err(Error::Lost(_))));
}

#[tokio::test]
async fn lock_is_taken_and_freed() {
    let server = TestServer::start();
    let addr = server.addr.to_string();
    let work = spawn_blocking(move || {
        let client = Client::connect(addr)?;
        let guard = client.try_lock("x")?.expect("it is free");
        assert!(client.try_lock_shared("x")?.is_none());
        assert!(matches!(client.acquire("x", Timeout::NONE), Err(Error::NotGranted { .. })));
        assert_eq!((guard.name(), guard.is_lost(), guard.why()), ("x", false, None));
        guard.release()?;
        let both = [client.acquire_shared("x", Timeout::Forever)?, client.try_lock_shared("x")?.unwrap()];
        assert_ne!(both[0].session(), both[1].session());
        Ok::<_, Error>(client.lock_shared("x", Timeout::NONE, |_| 7))
    });
    assert_eq!(in_time(work).await.unwrap().unwrap().unwrap(), 7);
    server.until(|stats| stats.table.locks == 0 && stats.sessions == 0).await;
}
