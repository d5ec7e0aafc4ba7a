//! Clients that are slow on purpose: who says one byte a second, and who never reads.
//!
//! `tests/it/line.rs` shows that one who never reads keeps its locks for as long as it is there.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::report;
use crate::common::{
    Client, PATIENCE, TestServer,
    grpc::{Hold, get_lock},
    mysql::MySql,
    program::Program,
};

/// One byte a second, until the server has ended the connection: after so many seconds, having said this.
/// Others are served meanwhile.
async fn drip(mut stream: TcpStream, bytes: &[u8], neighbour: &mut Client) -> (u64, String) {
    let (since, mut told) = (Instant::now(), Vec::new());
    for byte in bytes {
        let written = stream.write_all(&[*byte]).await;
        let is_over = timeout(Duration::from_secs(1), stream.read_to_end(&mut told)).await.is_ok();
        if is_over || written.is_err() {
            return (since.elapsed().as_secs(), String::from_utf8_lossy(&told).into_owned());
        }
        let asked = Instant::now();
        assert_eq!(neighbour.ask("PING").await, "PONG");
        assert!(asked.elapsed() < Duration::from_secs(1), "the neighbour waits too");
    }
    panic!("all of it was taken: {}", told.escape_ascii());
}

#[tokio::test(start_paused = true)]
async fn login_byte_by_byte_ends_after_10_s() {
    let server = TestServer::start();
    let mut neighbour = server.client().await;
    let slow = MySql::greeted(server.mysql).await;
    let login = slow.login("caching_sha2_password", b"", "");
    let packet = [&[u8::try_from(login.len()).unwrap(), 0, 0, 1], login.as_slice()].concat();
    assert_eq!(drip(slow.stream, &packet, &mut neighbour).await.0, 10);
}

#[tokio::test(start_paused = true)]
async fn body_byte_by_byte_ends_after_10_s() {
    let server = TestServer::start();
    let mut neighbour = server.client().await;
    let mut slow = TcpStream::connect(server.http).await.unwrap();
    let head = "POST /api/lock/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\nconnection: close\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let (seconds, told) = drip(slow, &[b' '; 100], &mut neighbour).await;
    assert!(seconds == 10 && told.starts_with("HTTP/1.1 408 "), "{seconds} {told}");
}

#[tokio::test(start_paused = true)]
async fn head_byte_by_byte_ends_after_75_s() {
    let server = TestServer::start();
    let mut neighbour = server.client().await;
    let slow = TcpStream::connect(server.http).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(100));
    assert_eq!(drip(slow, head.as_bytes(), &mut neighbour).await.0, 75);
}

#[tokio::test(start_paused = true)]
async fn http_2_preface_byte_by_byte_ends_after_10_s() {
    let server = TestServer::start();
    let mut neighbour = server.client().await;
    let slow = TcpStream::connect(server.http).await.unwrap();
    assert_eq!(drip(slow, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &mut neighbour).await.0, 10);
}

#[tokio::test(start_paused = true)]
async fn command_byte_by_byte_runs_when_complete() {
    let server = TestServer::start();
    let [mut line, mut neighbour] = server.clients().await;
    let mut mysql = MySql::connect(server.mysql).await;
    let query = b"\x21\0\0\0\x03SELECT GET_LOCK('by.mysql', '0')";
    for byte in b"GET_LOCK by.line 0\n" {
        line.send_bytes(&[*byte]).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(neighbour.ask("PING").await, "PONG");
    }
    assert_eq!(line.line().await, "1");
    for byte in query {
        mysql.stream.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(neighbour.ask("PING").await, "PONG");
    }
    assert_eq!(mysql.reply().await.value().as_deref(), Some("1"));
}

/// More than all buffers between a client that does not read and the server take.
const FLOOD: usize = 64 * 1024 * 1024;

/// Asks and asks, until the server does not take any more; answers how much it has taken.
async fn stuff(stream: &TcpStream, request: &[u8]) -> usize {
    let (burst, mut sent) = (request.repeat(64 * 1024 / request.len() + 1), 0);
    while sent < FLOOD && timeout(Duration::from_millis(500), stream.writable()).await.is_ok() {
        sent += stream.try_write(&burst[sent % request.len()..]).unwrap_or(0);
    }
    sent
}

#[tokio::test]
async fn slow_reader_costs_little_memory_and_no_time() {
    let (program, mysql, http) = Program::on_all_wires(&[]);
    let mut neighbour = Client::connect(program.addr).await;
    assert_eq!(neighbour.ask("GET_LOCK kept 0").await, "1");
    let line = Client::connect(program.addr).await.stream.into_inner();
    let mysql = MySql::connect(mysql).await.stream;
    let http = TcpStream::connect(http).await.unwrap();
    let before = program.resident();
    for (wire, deaf, request) in [
        ("line", &line, format!("HELP{}\n", " ".repeat(1019))),
        ("MySQL", &mysql, "\x1a\0\0\0\x03SELECT REPEAT('y', 20000)".to_owned()),
        (
            "HTTP",
            &http,
            format!("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(900)),
        ),
    ] {
        assert!(stuff(deaf, request.as_bytes()).await < FLOOD, "{wire}: the server went on to read");
        let asked = std::time::Instant::now();
        assert_eq!(neighbour.ask("IS_FREE_LOCK kept").await, "0");
        report("beside one who never reads", wire, vec![asked.elapsed()]);
        let grown = program.resident().saturating_sub(before);
        println!("\n| memory with those who never read, up to this wire | {wire} | {grown} kB |");
        assert!(grown < 8 * 1024, "{wire}: {grown} kB");
    }
}

#[tokio::test]
async fn slow_reader_of_a_grpc_stream_is_ended() {
    let (program, _, http) = Program::on_all_wires(&[]);
    let (mut neighbour, mut next) =
        (Client::connect(program.addr).await, Client::connect(program.addr).await);
    assert_eq!(neighbour.ask("GET_LOCK kept 0").await, "1");
    let mut deaf = Hold::open(http).await;
    deaf.send(get_lock("nightly", 0)).await;
    assert_eq!(deaf.next().await.result, Some(1));
    next.send("GET_LOCK nightly 60").await;
    while neighbour.list("WAITERS nightly").await.is_empty() {}
    let before = program.resident();
    while timeout(PATIENCE, deaf.try_send(get_lock("nightly", 0))).await.expect("an end") {}
    assert_eq!(next.line().await, "1");
    assert_eq!(neighbour.ask("IS_FREE_LOCK kept").await, "0");
    let grown = program.resident().saturating_sub(before);
    println!("\n| memory with one who never reads | gRPC Hold | {grown} kB |");
    assert!(grown < 8 * 1024, "{grown} kB");
}
