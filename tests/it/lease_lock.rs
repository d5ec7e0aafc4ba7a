//! LEASE_LOCK: a lock passes from a session to a lease that outlives it, on each wire that has sessions.

use std::{path::Path, process::Command};

use getlockd::internal::grpc::proto::ReleaseRequest;
use serde_json::json;

use crate::common::{
    Client, TestServer,
    grpc::{Hold, get_lock, lease_lock, locks},
    http::post,
    mysql::MySql,
    program::{PROGRAM, Program},
};

fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A field of a row.
fn field<'a>(row: &'a str, key: &str) -> &'a str {
    let start = format!(" {key}=");
    row.split_once(&start).unwrap_or_else(|| panic!("{key} in {row}")).1.split(' ').next().unwrap()
}

/// What HTTP answers to a request with this token: its status word.
async fn with_token(http: std::net::SocketAddr, what: &str, token: &str) -> String {
    let body = json!({ "resourceName": "nightly", "lockToken": token });
    let (_, answer) = post(http, &format!("/api/lock/{what}"), &body).await;
    answer["status"].as_str().unwrap().to_owned()
}

async fn release(http: std::net::SocketAddr, token: &str) {
    assert_eq!(with_token(http, "release", token).await, "Released");
}

#[tokio::test]
async fn lease_keeps_the_hold_after_its_connection() {
    let server = TestServer::start();
    let [mut holder, mut waiter, mut observer] = server.clients().await;
    assert_eq!(holder.ask("INTRODUCE web-1 'ask Ana'").await, "1");
    for _ in 0..2 {
        assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    }
    let (fencing_token, peer) =
        (holder.ask("FENCING_TOKEN nightly").await, holder.stream.get_ref().local_addr());
    waiter.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let token = holder.ask("LEASE_LOCK nightly 3300").await;
    assert!(is_token(&token), "{token}");
    assert_eq!(holder.ask("FENCING_TOKEN nightly").await, "NULL");
    assert_eq!(holder.ask("RELEASE_LOCK nightly").await, "0");
    let session = holder.id().await;
    drop(holder);
    server.until(|stats| stats.sessions == 3).await;

    let [held] = &observer.list("WHY nightly").await[..] else { panic!("one lock") };
    assert_eq!(field(held, "fencing_token"), fencing_token);
    assert_eq!((field(held, "wire"), field(held, "mode")), ("line", "exclusive"));
    assert_eq!(field(held, "peer"), peer.unwrap().to_string());
    assert!(
        held.contains(" client=web-1 note='ask Ana' expires=3299.") && held.contains(" waiters=1 "),
        "{held}"
    );
    assert_ne!(field(held, "session"), session.to_string());
    // However often it was taken, one release is enough.
    assert_eq!(with_token(server.http, "heartbeat", &token).await, "HeartbeatReceived");
    release(server.http, &token).await;
    assert_eq!(waiter.line().await, "1");
    let ended = observer.list("HISTORY nightly").await;
    assert!(ended.iter().all(|row| row.contains(" cause=release client=web-1 ")), "{ended:?}");
}

#[tokio::test]
async fn lease_ends_at_its_time() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    assert!(is_token(&holder.ask("LEASE_LOCK nightly 50ms").await));
    assert_eq!(waiter.ask("GET_LOCK nightly 60").await, "1");
}

#[tokio::test]
async fn shared_hold_stays_beside_the_others() {
    let server = TestServer::start();
    let [mut first, mut second, mut writer] = server.clients().await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask("GET_SHARED_LOCK nightly 0").await, "1");
    }
    writer.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let token = first.ask("LEASE_LOCK nightly 60").await;
    // The lease holds it beside the second one, which so cannot have it alone, and goes ahead of the writer once it can.
    second.send("GET_LOCK nightly 60").await;
    server.until_waiting(2).await;
    release(server.http, &token).await;
    assert_eq!(second.line().await, "1");
    drop(second);
    assert_eq!(writer.line().await, "1");
    assert_eq!(first.ask("GET_SHARED_LOCK nightly 0").await, "0");
}

#[tokio::test]
async fn session_may_wait_for_its_own_lease() {
    let server = TestServer::start();
    let [mut holder, mut other] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    assert_eq!(other.ask("GET_LOCK other 0").await, "1");
    let token = holder.ask("LEASE_LOCK nightly 60").await;
    // Before, this would have been a cycle. Now each waits for a lease, or for one that waits for it.
    other.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    holder.send("GET_LOCK other 60").await;
    server.until_waiting(2).await;
    release(server.http, &token).await;
    assert_eq!(other.line().await, "1");
    drop(other);
    assert_eq!(holder.line().await, "1");
}

#[tokio::test]
async fn refused_request_leaves_the_hold() {
    let server = TestServer::with(&["--max-leases", "1", "--lease-max", "1h"]);
    let [mut holder, mut other] = server.clients().await;
    assert_eq!(holder.ask("LEASE_LOCK nightly 60").await, "NULL");
    for _ in 0..2 {
        assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    }
    assert_eq!(other.ask("LEASE_LOCK nightly 60").await, "0");
    for wrong in ["0", "-1", "61m", "0.001"] {
        let refused = holder.ask(&format!("LEASE_LOCK nightly {wrong}")).await;
        assert_eq!(
            refused, "ERROR LIMIT a lease runs for 0.01 to 3600 s (--lease-min, --lease-max)",
            "{wrong}"
        );
    }
    assert!(
        holder
            .ask("LEASE_LOCK nightly soon")
            .await
            .starts_with("ERROR BAD_TIMEOUT 'soon' is not a time to live")
    );
    let usage = "ERROR SYNTAX usage: LEASE_LOCK name ttl, as in: LEASE_LOCK nightly 3300";
    assert_eq!(holder.ask("LEASE_LOCK nightly").await, usage);
    assert_eq!(other.ask("GET_LOCK weekly 0").await, "1");
    assert!(is_token(&other.ask("SELECT LEASE_LOCK('weekly', 60);").await));
    assert!(holder.ask("LEASE_LOCK nightly 5 min").await.starts_with("ERROR LIMIT "), "all leases are taken");
    for answer in ["1", "1", "NULL"] {
        assert_eq!(holder.ask("RELEASE_LOCK nightly").await, answer);
    }
}

#[tokio::test]
async fn client_gone_before_the_answer_leaves_no_lease() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    // The server is in this thread: it reads the request when the end of the stream is there too.
    holder.send("LEASE_LOCK nightly 3300").await;
    drop(holder);
    assert_eq!(waiter.line().await, "1");
    let mut mysql = MySql::connect(server.mysql).await;
    waiter.send("QUIT").await;
    assert_eq!(mysql.value("SELECT GET_LOCK('nightly', 60)").await.as_deref(), Some("1"));
    mysql.start("SELECT LEASE_LOCK('nightly', 3300)").await;
    drop(mysql);
    server.until(|stats| stats.table.locks == 0 && stats.sessions == 0).await;
}

#[tokio::test]
async fn mysql_leases_by_a_function() {
    let server = TestServer::start();
    let mut mysql = MySql::connect(server.mysql).await;
    let mut observer = server.client().await;
    assert_eq!(mysql.value("SELECT LEASE_LOCK('nightly', 60)").await, None);
    assert_eq!(mysql.value("SELECT GET_LOCK('nightly', 0)").await.as_deref(), Some("1"));
    let fencing_token = mysql.value("SELECT FENCING_TOKEN('nightly')").await.unwrap();
    let refused = mysql.query("SELECT LEASE_LOCK('nightly', NULL)").await;
    assert_eq!(
        (refused.code(), mysql.value("SELECT IS_USED_LOCK('nightly') = CONNECTION_ID()").await.as_deref()),
        (1105, Some("1"))
    );
    assert_eq!(mysql.query("SELECT LEASE_LOCK(name, 60) FROM getlockd.locks").await.code(), 1235);
    let token = mysql.value("SELECT LEASE_LOCK('Nightly', 3300.5)").await.unwrap();
    assert!(is_token(&token), "{token}");
    assert_eq!(mysql.value("SELECT LEASE_LOCK('nightly', 60)").await.as_deref(), Some("0"));
    drop(mysql);
    server.until(|stats| stats.sessions == 2).await;
    let [held] = &observer.list("LOCKS").await[..] else { panic!("one lock") };
    assert_eq!((field(held, "wire"), field(held, "fencing_token")), ("mysql", &*fencing_token));
    assert!(held.contains(" expires=3300."), "{held}");
    release(server.http, &token).await;
    assert_eq!(observer.ask("IS_FREE_LOCK nightly").await, "1");
}

#[tokio::test]
async fn lease_of_a_failed_mysql_statement_ends() {
    let server = TestServer::start();
    let mut mysql = MySql::connect(server.mysql).await;
    let take = "SELECT GET_LOCK('a', 0) + GET_LOCK('b', 0)";
    assert_eq!(mysql.value(take).await.as_deref(), Some("2"));
    let failed = mysql.query("SELECT LEASE_LOCK('a', 60), LEASE_LOCK('b', 0)").await;
    assert_eq!(failed.code(), 1105);
    assert_eq!(
        mysql.value("SELECT CONCAT(IS_FREE_LOCK('a'), IS_FREE_LOCK('b'))").await.as_deref(),
        Some("10")
    );
    // Its token may be kept in place of being told.
    mysql.query("SELECT LEASE_LOCK('b', 60) INTO @token").await;
    assert_eq!(mysql.value("SELECT LENGTH(@token)").await.as_deref(), Some("32"));
    assert_eq!(mysql.value("SELECT IS_FREE_LOCK('b')").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn hold_stream_leases_a_lock() {
    let server = TestServer::start();
    let mut hold = Hold::open(server.http).await;
    hold.send(lease_lock("nightly", 60_000)).await;
    assert_eq!(hold.next().await.result, None);
    hold.send(get_lock("nightly", 0)).await;
    let fencing_token = hold.next().await.fencing_token.unwrap();
    hold.send(lease_lock("nightly", 0)).await;
    assert_eq!(hold.next().await.refusal.unwrap().symbol, "LIMIT");
    hold.send(lease_lock("nightly", 60_000)).await;
    let leased = hold.next().await;
    assert_eq!((leased.result, leased.refusal), (Some(1), None));
    let lease_token = leased.lease_token.unwrap();
    assert!(is_token(&lease_token));
    hold.send(lease_lock("nightly", 60_000)).await;
    assert_eq!(hold.next().await.result, Some(0));
    drop(hold);
    server.until(|stats| stats.sessions == 1).await;
    let mut observer = server.client().await;
    let [held] = &observer.list("LOCKS").await[..] else { panic!("one lock") };
    assert_eq!((field(held, "wire"), field(held, "fencing_token")), ("grpc", &*fencing_token.to_string()));
    let request = ReleaseRequest { name: "nightly".to_owned(), lease_token };
    locks(server.http).await.release(request).await.unwrap();
    assert_eq!(observer.ask("IS_FREE_LOCK nightly").await, "1");
}

#[tokio::test]
async fn killed_lease_frees_the_lock() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    assert!(is_token(&holder.ask("LEASE_LOCK nightly 60").await));
    let lease = holder.ask("IS_USED_LOCK nightly").await;
    assert_eq!(holder.ask(&format!("KILL {lease}")).await, "1");
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
}

fn start(store: &Path) -> (Program, std::net::SocketAddr) {
    let free = "127.0.0.1:0";
    let mut command = Command::new(PROGRAM);
    command.args(["--line", free, "--mysql", "off", "--http", free, "--store-anyway", "--store"]).arg(store);
    let mut program = Program::spawn(&mut command);
    let http = program.next_addr();
    (program, http)
}

#[tokio::test]
async fn stored_lease_outlives_a_crash_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("leases");
    let (program, _) = start(&store);
    let mut holder = Client::connect(program.addr).await;
    assert_eq!(holder.ask("INTRODUCE web-1").await, "1");
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let fencing_token = holder.ask("FENCING_TOKEN nightly").await;
    let token = holder.ask("LEASE_LOCK nightly 3300").await;
    assert!(is_token(&token), "{token}");
    // By SIGKILL.
    drop(program);

    let (program, http) = start(&store);
    let mut next = Client::connect(program.addr).await;
    assert_eq!(next.ask("GET_LOCK nightly 0").await, "0");
    let [held] = &next.list("LOCKS").await[..] else { panic!("one lock") };
    assert_eq!((field(held, "wire"), field(held, "fencing_token")), ("line", &*fencing_token));
    assert!(held.contains(" client=web-1 ") && field(held, "expires").starts_with("32"), "{held}");
    release(http, &token).await;
    assert_eq!(next.ask("GET_LOCK nightly 0").await, "1");
}
