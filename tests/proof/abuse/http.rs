//! Requests by HTTP and gRPC: what they keep is bounded, they end at their deadline, and those that cannot be read are
//! told so.

use getlockd::internal::grpc::proto::{AcquireRequest, ReleaseRequest};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::attacked::Attacked;
use crate::{
    common::{PATIENCE, TestServer, grpc, http},
    h2::{self, Raw},
};

/// The head of a request by gRPC.
pub(crate) fn call(path: &str) -> Vec<u8> {
    h2::head(&[
        (":method", "POST"),
        (":path", path),
        (":scheme", "http"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// What a connection may cost, in kB, with what the allocator keeps beside it: without a bound each of
/// these takes ten times as much.
pub(crate) const MOST: u64 = 40 * 1024;

#[tokio::test]
async fn heads_without_bodies_are_bounded() {
    let mut server = Attacked::start(&[]).await;
    let before = server.program.resident();
    let long = "x".repeat(3_900);
    let mut headers = vec![
        (":method", "POST"),
        (":path", "/api/lock/acquire"),
        (":scheme", "http"),
        (":authority", "localhost"),
        ("content-type", "application/json"),
    ];
    headers.extend([("a", long.as_str()), ("b", &long), ("c", &long), ("d", &long)]);
    let head = h2::head(&headers);
    for _ in 0..3 {
        let mut greedy = Raw::connect(server.at.http, 65_535).await;
        for n in 0..10_000 {
            if greedy.send(&h2::frame(h2::HEADERS, h2::END_HEAD, 2 * n + 1, &head)).await.is_err() {
                break;
            }
        }
        server.shows("HTTP/2: 10,000 heads of 16 kB without a body", "503, and the connection ends");
    }
    let grown = server.program.resident().saturating_sub(before);
    assert!(grown < MOST, "{grown} kB");
}

#[tokio::test]
async fn unread_answers_are_bounded() {
    let mut server = Attacked::start(&[]).await;
    let text = "n".repeat(256);
    let wish = json!({ "resourceName": "big", "mode": "shared", "clientId": text, "note": text });
    for _ in 0..300 {
        assert_eq!(http::post(server.at.http, "/api/lock/acquire", &wish).await.0, 200);
    }
    let before = server.program.resident();
    let head = call("/getlockd.v1.Locks/Status");
    let body = b"\0\0\0\0\x05\x0a\x03big";
    // Some take nothing of an answer, and some a byte of each.
    for window in [0, 1] {
        let mut greedy = Raw::connect(server.at.http, window).await;
        for n in 0..3_000 {
            let ask = [
                h2::frame(h2::HEADERS, h2::END_HEAD, 2 * n + 1, &head),
                h2::frame(h2::DATA, h2::END, 2 * n + 1, body),
            ];
            if greedy.send(&ask.concat()).await.is_err() {
                break;
            }
        }
        server.shows(
            "gRPC: 3,000 long answers that nobody reads",
            "RESOURCE_EXHAUSTED, and the connection ends",
        );
        let grown = server.program.resident().saturating_sub(before);
        assert!(grown < MOST, "{grown} kB with a window of {window}");
    }
}

#[tokio::test]
async fn connection_with_thousands_of_waits_can_free_them() {
    let server = TestServer::start();
    let mut locks = grpc::locks(server.http).await;
    let wish = |wait_ms| AcquireRequest { name: "x".to_owned(), wait_ms, ..AcquireRequest::default() };
    let held = locks.acquire(wish(0)).await.unwrap().into_inner();
    let waiting: Vec<_> = (0..2_000)
        .map(|_| {
            let mut locks = locks.clone();
            tokio::spawn(async move { locks.acquire(wish(600_000)).await.map(drop) })
        })
        .collect();
    server.until_waiting(2_000).await;
    let done = ReleaseRequest { name: "x".to_owned(), lease_token: held.lease_token };
    locks.release(done).await.unwrap();
    server.until(|stats| stats.table.grants == 2).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What the head of the answer says to a call by gRPC that comes by HTTP/1.1, where it can be read.
async fn called(server: &TestServer, header: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!(
        "POST /getlockd.v1.Locks/Acquire HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\
         content-type: application/grpc\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut told = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut told)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&told).into_owned()
}

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// To wait a minute for the lock x.
fn waiting() -> Vec<u8> {
    use prost::Message;
    let wish = AcquireRequest { name: "x".to_owned(), wait_ms: 60_000, ..AcquireRequest::default() };
    framed(&wish.encode_to_vec())
}

#[tokio::test]
async fn grpc_deadline_leaves_the_queue() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let told = called(&server, "grpc-timeout: 100m\r\n", &waiting()).await;
    assert!(told.contains("grpc-status: 4\r\n"), "{told}");
    server.until_waiting(0).await;
    let told = called(&server, "grpc-timeout: soon\r\n", &waiting()).await;
    assert!(told.contains("grpc-status: 3\r\n"), "{told}");

    // A stream as well, be it that its client does not take it back.
    let mut raw = Raw::connect(server.http, 65_535).await;
    let mut head = call("/getlockd.v1.Locks/Hold");
    head.extend(h2::head(&[("grpc-timeout", "200m")]));
    raw.send(&h2::frame(h2::HEADERS, h2::END_HEAD, 1, &head)).await.unwrap();
    // A request of Hold that waits for x without end.
    let ask = framed(b"\x0a\x0e\x0a\x01x\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    raw.send(&h2::frame(h2::DATA, 0, 1, &ask)).await.unwrap();
    server.until_waiting(1).await;
    server.until_waiting(0).await;
    assert_eq!(holder.ask("RELEASE_LOCK x").await, "1");
    assert_eq!(holder.ask("IS_FREE_LOCK x").await, "1");
}

#[tokio::test]
async fn invalid_grpc_message_is_an_invalid_argument() {
    let server = TestServer::start();
    for message in [&[0xff; 8][..], b"\x0a\x02\xff\xff", &vec![0; 20_000]] {
        let told = called(&server, "", &framed(message)).await;
        assert!(told.contains("grpc-status: 3\r\n"), "{told}");
    }
}
