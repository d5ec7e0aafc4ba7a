//! `KEEPALIVE`: for how long nobody else is granted what a session holds. What comes of it when a link is cut is
//! in `tests/proof/faults`.

use std::time::Duration;

use crate::common::{
    TestServer,
    grpc::{Hold, get_lock},
};
use getlockd::internal::{
    budget::MAX_CONNECTION_MEMORY,
    grpc::proto::{Keepalive, ReleaseLock, hold_request::Command},
};

const LEFT: &str = "KEEPALIVE left=25.000";

#[tokio::test]
async fn answered_during_a_wait_and_order_is_kept() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send("GET_LOCK nightly 60\nPING\nKEEPALIVE\nIS_FREE_LOCK other\nkeepalive ;").await;
    assert_eq!([waiter.line().await, waiter.line().await], [LEFT, LEFT]);
    // In two pieces.
    waiter.send_bytes(b"IS_FREE_LOCK nightly\nKEEPA").await;
    waiter.send_bytes(b"LIVE\n").await;
    assert_eq!(waiter.line().await, LEFT);
    assert_eq!(holder.ask("RELEASE_LOCK nightly").await, "1");
    for reply in ["1", "PONG", "1", "0"] {
        assert_eq!(waiter.line().await, reply);
    }
}

#[tokio::test]
async fn reply_uses_the_line_ending_of_its_question() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send_bytes(b"GET_LOCK nightly 60\nKEEPALIVE\r\n").await;
    server.until_waiting(1).await;
    let mut reply = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut waiter.stream, &mut reply).await.unwrap();
    assert_eq!(reply, format!("{LEFT}\r\n"));
}

#[tokio::test]
async fn unread_answers_are_bounded() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let questions = "KEEPALIVE\n".repeat(10_000);
    let flood = async {
        // What the kernel takes in beside that is not the server's.
        for _ in 0..(6 * MAX_CONNECTION_MEMORY).div_ceil(questions.len()) {
            waiter.send_bytes(questions.as_bytes()).await;
        }
    };
    tokio::select! {
        () = flood => server.until_waiting(0).await,
        () = server.until_waiting(0) => {}
    }
    assert_eq!(holder.ask("KEEPALIVE").await, LEFT, "its neighbour is served");
}

#[tokio::test]
async fn questions_do_not_count_as_activity() {
    let server = TestServer::with(&["--idle-time-holders", "300ms"]);
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let last = loop {
        let line = holder.ask("KEEPALIVE").await;
        if line != LEFT {
            break line;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(last.starts_with("ERROR LIMIT idle for 300ms (--idle-time-holders)"), "{last}");
}

#[tokio::test]
async fn grpc_stream_is_answered_during_a_wait() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let mut hold = Hold::open(server.http).await;
    hold.send(Command::Keepalive(Keepalive {})).await;
    assert_eq!(hold.next().await.left_ms, Some(25_000));
    hold.send(get_lock("nightly", 60_000)).await;
    hold.send(Command::ReleaseLock(ReleaseLock { name: "other".to_owned() })).await;
    server.until_waiting(1).await;
    hold.send(Command::Keepalive(Keepalive {})).await;
    let told = hold.next().await;
    assert_eq!((told.left_ms, told.result), (Some(25_000), None));
    assert_eq!(holder.ask("RELEASE_LOCK nightly").await, "1");
    let granted = hold.next().await;
    assert_eq!((granted.left_ms, granted.result), (None, Some(1)));
    assert_eq!(hold.next().await.result, None, "nobody holds the other");
}

#[tokio::test]
async fn promise_is_five_sixths_from_ten_seconds_up() {
    for (keepalive, left) in [("10s", "8.333"), ("1m", "50.000"), ("9s", "0.000")] {
        let server = TestServer::with(&["--keepalive", keepalive]);
        assert_eq!(server.client().await.ask("KEEPALIVE").await, format!("KEEPALIVE left={left}"));
    }
}
