//! Servers with a store that stop and start again, as a process of their own.

use std::{net::SocketAddr, path::PathBuf, process::Command};

use getlockd::internal::grpc::proto::{ListRequest, SessionsRequest, WhyRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Client,
    grpc::locks,
    http::{get, post},
    mysql::MySql,
    program::{PROGRAM, Program, next_with},
};

const FREE: &str = "127.0.0.1:0";

/// A store, whose servers come one after the other.
struct Scene {
    dir: TempDir,
}

struct Running {
    program: Program,
    mysql: SocketAddr,
    http: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("leases")
    }

    fn start(&self, flags: &[&str]) -> Running {
        let mut command = Command::new(PROGRAM);
        command.args(["--line", FREE, "--mysql", FREE, "--http", FREE, "--store-anyway", "--store"]);
        let mut program = Program::spawn(command.arg(self.store()).args(flags));
        let [mysql, http] = [(); 2].map(|()| program.next_addr());
        Running { program, mysql, http }
    }
}

impl Running {
    async fn line(&self) -> Client {
        Client::connect(self.program.addr).await
    }

    /// Takes a lock by a lease; the request that renews and releases it, and its fencing token.
    async fn lease(&self, name: &str, ttl_ms: u64) -> (Value, Value) {
        let wish = json!({ "resourceName": name, "ttlMs": ttl_ms });
        let (status, lease) = post(self.http, "/api/lock/acquire", &wish).await;
        assert_eq!(status, 200, "{lease}");
        (json!({ "resourceName": name, "lockToken": lease["lockToken"] }), lease["fencingToken"].clone())
    }

    async fn heartbeat(&self, lease: &Value) -> (u16, Value) {
        post(self.http, "/api/lock/heartbeat", lease).await
    }

    async fn release(&self, lease: &Value) -> u16 {
        post(self.http, "/api/lock/release", lease).await.0
    }

    /// Its log up to a line with this.
    fn logs(&mut self, word: &str) -> String {
        next_with(self.program.log.as_mut().unwrap(), word)
    }

    fn stop(&self) {
        self.program.signal("-TERM");
    }

    /// Stops it, which ends well; what it had not logged before.
    fn stopped(self) -> String {
        self.stop();
        self.ended()
    }

    fn ended(self) -> String {
        let (status, log) = self.program.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// As by a crash.
    fn killed(self) {
        self.program.signal("-KILL");
        self.program.wait();
    }
}

fn is_restored(rows: &[String]) -> Vec<bool> {
    rows.iter().map(|row| row.ends_with(" restored=1")).collect()
}

#[tokio::test]
async fn stop_does_not_wait_for_a_stored_lease_and_it_goes_on() {
    let scene = Scene::new();
    let server = scene.start(&["--drain", "10m"]);
    let (lease, token) = server.lease("nightly", 600_000).await;
    let log = server.stopped();
    assert!(log.contains("stopped") && !log.contains("drain is over"), "{log}");

    let server = scene.start(&["--drain", "10m"]);
    let mut line = server.line().await;
    for list in ["LOCKS", "WHY nightly", "SESSIONS"] {
        let rows = line.list(list).await;
        assert!(is_restored(&rows)[0], "{rows:?}");
    }
    let status: Value = serde_json::from_str(&get(server.http, "/api/lock/status/nightly").await.1).unwrap();
    assert_eq!((&status["restored"], &status["fencingToken"]), (&json!(true), &token));
    let sessions: Value = serde_json::from_str(&get(server.http, "/api/sessions").await.1).unwrap();
    assert_eq!(sessions["sessions"][0]["restored"], true);
    let mut mysql = MySql::connect(server.mysql).await;
    for table in ["locks", "why", "sessions"] {
        let held = if table == "sessions" { "holds = 1" } else { "name = 'nightly'" };
        let sql = format!("SELECT restored FROM getlockd.{table} WHERE {held}");
        assert_eq!(mysql.value(&sql).await.as_deref(), Some("1"), "{table}");
    }
    let mut grpc = locks(server.http).await;
    assert!(grpc.list(ListRequest::default()).await.unwrap().into_inner().locks[0].restored);
    assert!(grpc.sessions(SessionsRequest::default()).await.unwrap().into_inner().sessions[0].restored);
    let why = grpc.why(WhyRequest { name: "nightly".to_owned() }).await.unwrap().into_inner();
    assert!(why.steps[0].hold.as_ref().unwrap().restored);

    // Others queue behind it, on every wire, until its client releases it.
    line.send("GET_LOCK nightly 60").await;
    let mut eye = server.line().await;
    while eye.list("WAITERS nightly").await.is_empty() {}
    let (status, renewed) = server.heartbeat(&lease).await;
    assert_eq!((status, &renewed["fencingToken"], &renewed["waiters"]), (200, &token, &json!(1)));
    assert_eq!(is_restored(&eye.list("LOCKS").await), [false], "its client was heard of");
    let status: Value = serde_json::from_str(&get(server.http, "/api/lock/status/nightly").await.1).unwrap();
    assert_eq!(status.get("restored"), None);
    assert_eq!(server.release(&lease).await, 200);
    assert_eq!(line.line().await, "1");
    let next: u64 = line.ask("FENCING_TOKEN nightly").await.parse().unwrap();
    assert!(next > token.as_u64().unwrap(), "{next} after {token}");
}

#[tokio::test]
async fn drain_serves_stored_leases_while_a_connection_holds_a_lock() {
    let scene = Scene::new();
    let mut server = scene.start(&["--drain", "10m"]);
    let mut holder = server.line().await;
    assert_eq!(holder.ask("GET_LOCK of_a_connection 0").await, "1");
    let (stays, token) = server.lease("stays", 600_000).await;
    let (goes, _) = server.lease("goes", 600_000).await;
    server.stop();
    server.logs("stopping");
    let (status, renewed) = server.heartbeat(&stays).await;
    assert_eq!((status, renewed["fencingToken"].clone()), (200, token.clone()));
    assert_eq!(server.release(&goes).await, 200);
    let (status, refused) = post(server.http, "/api/lock/acquire", &json!({ "resourceName": "new" })).await;
    assert_eq!(status, 503, "{refused}");
    assert_eq!(holder.ask("RELEASE_LOCK of_a_connection").await, "1");
    drop(holder);
    let log = server.ended();
    assert!(!log.contains("drain is over"), "{log}");

    let server = scene.start(&[]);
    let mut line = server.line().await;
    assert_eq!(line.ask("IS_FREE_LOCK goes").await, "1");
    let (status, renewed) = server.heartbeat(&stays).await;
    assert_eq!((status, renewed["fencingToken"].clone()), (200, token));
}

#[tokio::test]
async fn drain_that_runs_out_names_only_holders_that_lose_locks() {
    let scene = Scene::new();
    let server = scene.start(&["--drain", "50ms"]);
    let mut holder = server.line().await;
    assert_eq!(holder.ask("GET_LOCK of_a_connection 0").await, "1");
    server.lease("stays", 600_000).await;
    server.stop();
    assert!(holder.rest().await.starts_with("ERROR SHUTDOWN "));
    let log = server.ended();
    assert!(log.contains("drain is over") && log.contains("wire=\"line\""), "{log}");
    assert!(!log.contains("wire=\"http\""), "it goes on: {log}");
}

#[tokio::test]
async fn second_signal_leaves_stored_leases_in_the_store() {
    let scene = Scene::new();
    let mut server = scene.start(&["--drain", "1h"]);
    let mut holder = server.line().await;
    assert_eq!(holder.ask("GET_LOCK of_a_connection 0").await, "1");
    let (lease, token) = server.lease("nightly", 600_000).await;
    server.stop();
    server.logs("stopping");
    server.stop();
    assert!(holder.rest().await.starts_with("ERROR SHUTDOWN "));
    let (status, log) = server.program.wait();
    assert_eq!(status.code(), Some(1), "{log}");

    let server = scene.start(&[]);
    let (status, renewed) = server.heartbeat(&lease).await;
    assert_eq!((status, renewed["fencingToken"].clone()), (200, token));
}

#[tokio::test]
async fn stop_during_the_grace_keeps_the_leases_and_the_grace() {
    let scene = Scene::new();
    let server = scene.start(&["--store-grace", "2s"]);
    let (lease, token) = server.lease("nightly", 600_000).await;
    server.killed();
    let mut server = scene.start(&["--store-grace", "10ms"]);
    server.logs("waiting for leases that were not written");
    let log = server.stopped();
    assert!(log.contains("stopped before it granted anything"), "{log}");

    let mut server = scene.start(&["--store-grace", "10ms"]);
    server.logs("waiting for leases that were not written");
    // A client that connects now is served when the leases are back.
    let mut line = server.line().await;
    line.send("IS_FREE_LOCK nightly").await;
    server.logs("leases restored restored=1");
    assert_eq!(line.line().await, "0");
    let (status, renewed) = server.heartbeat(&lease).await;
    assert_eq!((status, renewed["fencingToken"].clone()), (200, token));
}

#[tokio::test]
async fn next_start_waits_for_a_lease_that_was_not_written() {
    let scene = Scene::new();
    let server = scene.start(&["--store-grace", "1s", "--drain", "10ms"]);
    server.lease("short", 1_000).await;
    let log = server.stopped();
    assert!(log.contains("drain is over"), "{log}");
    let mut server = scene.start(&["--store-grace", "1s", "--drain", "10m"]);
    server.logs("waiting for leases that were not written");
    server.logs("leases restored restored=0");

    // With time to end, it leaves nothing to wait for.
    server.lease("short", 50).await;
    let log = server.stopped();
    assert!(!log.contains("drain is over"), "{log}");
    let server = scene.start(&[]);
    assert_eq!(server.line().await.ask("PING").await, "PONG");
    let log = server.stopped();
    assert!(log.contains("leases restored") && !log.contains("waiting for leases"), "{log}");
}
