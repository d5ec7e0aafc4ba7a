//! All wires on one lock: one owner at a time, in the order in which they came.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::common::{
    Client, TestServer,
    grpc::{Hold, get_lock, locks},
    http::{Request, get, post},
    mysql::MySql,
};
use getlockd::internal::grpc::proto::{
    AcquireRequest, ReleaseAllLocks, ReleaseRequest, hold_request::Command,
};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

fn acquire() -> AcquireRequest {
    AcquireRequest { name: "nightly".to_owned(), wait_ms: -1, ..AcquireRequest::default() }
}

/// Each wire takes the lock, adds itself to the list, and frees it.
#[tokio::test]
async fn waiters_of_all_wires_are_served_in_order() {
    let server = TestServer::start();
    let mut first = server.client().await;
    assert_eq!(first.ask("GET_LOCK nightly 0").await, "1");
    let (done, mut order) = unbounded_channel();

    let mut line = server.client().await;
    line.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let mut mysql = MySql::connect(server.mysql).await;
    mysql.start("SELECT GET_LOCK('Nightly', 60)").await;
    server.until_waiting(2).await;
    let http = Request::send(server.http, "GET", "/getLock/NIGHTLY?wait=60", "").await;
    server.until_waiting(3).await;
    let mut grpc = locks(server.http).await;
    let told = done.clone();
    let grpc = tokio::spawn(async move {
        let token = grpc.acquire(acquire()).await.unwrap().into_inner().lease_token;
        told.send("grpc").unwrap();
        grpc.release(ReleaseRequest { name: "nightly".to_owned(), lease_token: token }).await.unwrap();
    });
    server.until_waiting(4).await;
    let mut hold = Hold::open(server.http).await;
    hold.send(get_lock("nightly", 60_000)).await;
    server.until_waiting(5).await;

    assert_eq!(first.ask("RELEASE_LOCK nightly").await, "1");
    assert_eq!(line.line().await, "1");
    done.send("line").unwrap();
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    assert_eq!(mysql.reply().await.value().as_deref(), Some("1"));
    done.send("mysql").unwrap();
    drop(mysql);
    let (_, token) = http.reply().await;
    done.send("http").unwrap();
    assert_eq!(get(server.http, &format!("/releaseLock/nightly/{token}")).await.1, "released");
    grpc.await.unwrap();
    assert_eq!(hold.next().await.result, Some(1));
    done.send("hold").unwrap();
    drop(hold);
    server.until(|stats| stats.table.locks == 0).await;
    drop(done);
    let mut seen = Vec::new();
    while let Some(wire) = order.recv().await {
        seen.push(wire);
    }
    assert_eq!(seen, ["line", "mysql", "http", "grpc", "hold"]);
}

/// Counts those who believe that they hold the lock.
#[derive(Clone, Default)]
struct Inside(Arc<AtomicUsize>);

impl Inside {
    async fn visit(&self) {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "two owners");
        tokio::task::yield_now().await;
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

const ROUNDS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusive_lock_has_a_single_owner() {
    let server = TestServer::start();
    let inside = Inside::default();
    let (http, addr, mysql) = (server.http, server.addr, server.mysql);
    let mut grpc = locks(server.http).await;
    let mut hold = Hold::open(server.http).await;
    let mut wires = tokio::task::JoinSet::new();
    let visit = inside.clone();
    wires.spawn(async move {
        let mut line = Client::connect(addr).await;
        for _ in 0..ROUNDS {
            assert_eq!(line.ask("GET_LOCK nightly 60").await, "1");
            visit.visit().await;
            assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
        }
    });
    let visit = inside.clone();
    wires.spawn(async move {
        let mut mysql = MySql::connect(mysql).await;
        for _ in 0..ROUNDS {
            assert_eq!(mysql.value("SELECT GET_LOCK('nightly', 60)").await.as_deref(), Some("1"));
            visit.visit().await;
            assert_eq!(mysql.value("SELECT RELEASE_LOCK('nightly')").await.as_deref(), Some("1"));
        }
    });
    let visit = inside.clone();
    wires.spawn(async move {
        for _ in 0..ROUNDS {
            let (code, taken) =
                post(http, "/api/lock/acquire", &json!({"resourceName": "nightly", "waitMs": -1})).await;
            assert_eq!(code, 200, "{taken}");
            visit.visit().await;
            let done = json!({"resourceName": "nightly", "lockToken": taken["lockToken"]});
            assert_eq!(post(http, "/api/lock/release", &done).await.0, 200);
        }
    });
    let visit = inside.clone();
    wires.spawn(async move {
        for _ in 0..ROUNDS {
            let token = grpc.acquire(acquire()).await.unwrap().into_inner().lease_token;
            visit.visit().await;
            grpc.release(ReleaseRequest { name: "nightly".to_owned(), lease_token: token }).await.unwrap();
        }
    });
    wires.spawn(async move {
        for _ in 0..ROUNDS {
            hold.send(get_lock("nightly", -1)).await;
            assert_eq!(hold.next().await.result, Some(1));
            inside.visit().await;
            hold.send(Command::ReleaseAllLocks(ReleaseAllLocks {})).await;
            assert_eq!(hold.next().await.result, Some(1));
        }
    });
    while let Some(wire) = wires.join_next().await {
        wire.unwrap();
    }
    server.until(|stats| stats.table.locks == 0 && stats.table.waiters == 0).await;
}

#[tokio::test]
async fn deadlock_across_wires_is_told_to_the_last_waiter() {
    let server = TestServer::start();
    let mut line = server.client().await;
    let mut hold = Hold::open(server.http).await;
    assert_eq!(line.ask("GET_LOCK disk 0").await, "1");
    hold.send(get_lock("nightly", 0)).await;
    assert_eq!(hold.next().await.result, Some(1));
    line.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    hold.send(get_lock("disk", 60_000)).await;
    let refusal = hold.next().await.refusal.unwrap();
    assert_eq!(refusal.symbol, "DEADLOCK");
    assert!(
        refusal.message.contains("2 waits for disk (held by 1), 1 waits for nightly (held by 2)"),
        "{refusal:?}"
    );
    drop(hold);
    assert_eq!(line.line().await, "1");
}
