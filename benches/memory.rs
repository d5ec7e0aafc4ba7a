//! `cargo bench --bench memory`: what the server's resident memory grows by for an idle connection on
//! each wire, for a lock that is held, and for a waiter. What the kernel keeps for a socket is not in it.
//!
//! Needs Linux, and 11,000 open files. What was measured stands in benches/README.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
#[path = "../tests/common/mod.rs"]
mod clients;
mod common;

use std::net::SocketAddr;

use clients::{Client, mysql::MySql};
use common::{Server, line::Line};
use getlockd::internal::grpc::proto::{StatusRequest, locks_client::LocksClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::Channel;

/// What is counted over.
const COUNT: usize = 10_000;
/// Connections that come first and are not counted: they make what a server needs once.
const FIRST: usize = 100;
/// Locks, just before the table doubles and just behind.
const LOCKS: [usize; 2] = [100_000, 120_000];

fn main() {
    if common::is_only_asked() {
        return;
    }
    common::open_many_files();
    println!("resident memory, bytes\n\nan idle connection, of {COUNT}");
    println!("  line, after PING              {:>6}", idle("line", line));
    println!("  MySQL, logged in              {:>6}", idle("mysql", MySql::connect));
    println!("  MySQL, after a pair           {:>6}", idle("mysql", mysql));
    println!("  HTTP, after a request         {:>6}", idle("http", http));
    println!("  gRPC, after a call            {:>6}", idle("http", grpc));
    println!("\na held lock, name of 10 bytes");
    for sessions in [1, 100] {
        for locks in LOCKS {
            println!("  {locks} in {sessions:>3} sessions         {:>6}", held(sessions, locks));
        }
    }
    println!("\na waiter, of {COUNT}, without its connection");
    println!("  all for one lock              {:>6}", waiting(|_| 0));
    println!("  each for a lock of its own    {:>6}", waiting(|waiter| waiter));
}

/// Of a connection, all of which stay.
fn idle<C>(wire: &str, connect: impl AsyncFn(SocketAddr) -> C) -> usize {
    let (server, port) = Server::getlockd(wire, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut all = Vec::new();
    let mut open = |count| {
        all.extend((0..count).map(|_| runtime.block_on(connect(([127, 0, 0, 1], port).into()))));
        server.memory()
    };
    let (before, after) = (open(FIRST), open(COUNT));
    after.saturating_sub(before) / COUNT
}

async fn line(addr: SocketAddr) -> Client {
    let mut line = Client::connect(addr).await;
    assert_eq!(line.ask("PING").await, "PONG");
    line
}

async fn mysql(addr: SocketAddr) -> MySql {
    let mut mysql = MySql::connect(addr).await;
    for call in ["GET_LOCK('one', 0)", "RELEASE_LOCK('one')"] {
        assert_eq!(mysql.value(&format!("SELECT {call}")).await.as_deref(), Some("1"));
    }
    mysql
}

async fn http(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /api/lock/status/one HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut reply = [0; 1024];
    let read = stream.read(&mut reply).await.unwrap();
    assert!(reply[..read].starts_with(b"HTTP/1.1 200 OK"), "{}", reply[..read].escape_ascii());
    stream
}

async fn grpc(addr: SocketAddr) -> LocksClient<Channel> {
    let channel = Channel::from_shared(format!("http://{addr}")).unwrap();
    let mut locks = LocksClient::new(channel.connect().await.unwrap());
    locks.status(StatusRequest { name: "one".to_owned() }).await.unwrap();
    locks
}

/// Of a lock, by sessions that hold as many each.
fn held(sessions: usize, locks: usize) -> usize {
    let (server, port) = Server::getlockd("line", &["--max-locks-per-session", &locks.to_string()]);
    let mut lines = Line::many(port, sessions);
    let (before, each) = (server.memory(), locks / sessions);
    for (at, line) in lines.iter_mut().enumerate() {
        line.hold("held", 100_000 + at * each..100_000 + (at + 1) * each);
    }
    server.memory().saturating_sub(before) / locks
}

/// Of a waiter, of whom each wants the lock of that number: what its connection, idle, had taken before
/// is not counted.
fn waiting(lock: fn(usize) -> usize) -> usize {
    let (server, port) = Server::getlockd("line", &[]);
    let mut holder = Line::connect(port);
    holder.hold("held", 0..COUNT);
    let mut lines = Line::many(port, COUNT);
    let before = server.memory();
    for (waiter, line) in lines.iter_mut().enumerate() {
        line.send(&format!("GET_LOCK held{} -1", lock(waiter)));
    }
    holder.until("waiters", std::time::Duration::ZERO, |waiters| waiters == COUNT);
    server.memory().saturating_sub(before) / COUNT
}
