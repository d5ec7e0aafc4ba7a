//! Limits that can be set, on the wires on which protocol.md has no transcript of them.

use crate::common::{PATIENCE, TestServer, http, mysql::MySql};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

/// All that comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end in time").unwrap();
    rest
}

#[tokio::test]
async fn login_time_closes_unauthenticated_connections() {
    let server = TestServer::with(&["--login-time", "150ms"]);
    let mut client = MySql::connect(server.mysql).await;
    let (mut silent, mut mute) =
        (TcpStream::connect(server.mysql).await.unwrap(), TcpStream::connect(server.http).await.unwrap());
    assert!(rest(&mut silent).await.len() > 70, "it is greeted, and closed");
    assert_eq!(rest(&mut mute).await, b"");
    assert_eq!(client.value("SELECT 'still here'").await.as_deref(), Some("still here"));
}

#[tokio::test]
async fn max_waiters_per_lock_holds_on_every_wire() {
    let server = TestServer::with(&["--max-waiters-per-lock", "1"]);
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let mut first = MySql::connect(server.mysql).await;
    first.start("SELECT GET_LOCK('x', 600)").await;
    server.until_waiting(1).await;
    let mut second = MySql::connect(server.mysql).await;
    assert_eq!(second.query("SELECT GET_LOCK('x', 600)").await.code(), 1226);
    let wish = json!({ "resourceName": "x", "ttlMs": 60_000, "waitMs": 60_000 });
    let (status, answer) = http::post(server.http, "/api/lock/acquire", &wish).await;
    assert!(status == 503 && answer.to_string().contains("--max-waiters-per-lock"), "{status} {answer}");
    // Who only tries does not wait, and other locks have queues of their own.
    assert_eq!(second.value("SELECT GET_LOCK('x', 0)").await.as_deref(), Some("0"));
    assert_eq!(second.value("SELECT GET_LOCK('y', 600)").await.as_deref(), Some("1"));
    assert_eq!(holder.ask("RELEASE_LOCK x").await, "1");
    assert_eq!(first.reply().await.value().as_deref(), Some("1"));
}

#[tokio::test]
async fn max_packet_bounds_statements_and_results() {
    let server = TestServer::with(&["--max-packet", "2000"]);
    let mut a = MySql::connect(server.mysql).await;
    assert_eq!(a.value("SELECT @@max_allowed_packet").await.as_deref(), Some("2000"));
    assert_eq!(a.value("SELECT LENGTH(REPEAT('x', 2000))").await.as_deref(), Some("2000"));
    assert_eq!(a.value("SELECT REPEAT('x', 2001)").await, None, "and a warning");
    a.start(&format!("SELECT '{}'", "x".repeat(2000))).await;
    assert_eq!(a.reply().await.code(), 1153);
    assert_eq!(a.packet().await, None);
}

#[tokio::test]
async fn mysql_idle_time_spares_lock_holders() {
    let server = TestServer::with(&["--idle-time", "150ms"]);
    let (mut holder, mut idle) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    assert_eq!(holder.value("SELECT GET_LOCK('x', 0)").await.as_deref(), Some("1"));
    let inactive = idle.packet().await.unwrap();
    assert_eq!(u16::from_le_bytes([inactive[1], inactive[2]]), 4031);
    assert_eq!(idle.packet().await, None);
    assert_eq!(holder.value("SELECT RELEASE_LOCK('x')").await.as_deref(), Some("1"));
}
