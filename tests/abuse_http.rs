//! What strangers and careless programs do on the HTTP port, and that no neighbour is hurt by it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Client, PATIENCE, TestServer, grpc,
    h2::{self, Raw},
    http,
    program::Program,
};
use getlockd::grpc::proto::{AcquireRequest, ReleaseRequest};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The status and the rest of the answer to a request as it is written here.
async fn answer(server: &TestServer, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut told = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut told)).await.expect("an answer in time").unwrap();
    let status = told.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
    (status, told)
}

/// The answer to a GET with these headers.
async fn get(server: &TestServer, path: &str, headers: &[&str]) -> (u16, String) {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    answer(server, &format!("GET {path} HTTP/1.1\r\n{headers}\r\n")).await
}

#[tokio::test]
async fn without_users_no_page_gets_in_by_a_name_that_it_has_changed() {
    let server = TestServer::start();
    for headers in [
        &["host: evil.example:3308"][..],
        &["host: evil.example", "origin: http://evil.example", "sec-fetch-site: same-origin"],
    ] {
        for path in ["/", "/api/locks", "/getLock/x", "/netlocker/lock?key=x&time_lock=9", "/nothing"] {
            let (status, told) = get(&server, path, headers).await;
            assert!(status == 403 && told.contains("\"status\":\"Forbidden\""), "{path}: {told}");
            assert!(told.contains("start it with --http-host evil.example"), "{told}");
        }
    }
    assert_eq!(server.hub.stats().table.grants, 0);
    for host in ["localhost", "127.0.0.1:3308", "[::1]"] {
        assert_eq!(get(&server, "/api/locks", &[&format!("host: {host}")]).await.0, 200, "{host}");
    }
}

#[tokio::test]
async fn names_can_be_allowed_and_where_all_may_come_programs_use_any() {
    let browser = ["host: evil.example", "sec-fetch-site: same-origin"];
    let named = TestServer::with(&["--http-host", "a.example,b.example", "--http-host", "c.example"]);
    for host in ["host: a.example:80", "host: B.example", "host: c.example."] {
        assert_eq!(get(&named, "/readyz", &[host]).await.0, 200, "{host}");
    }
    assert_eq!(get(&named, "/readyz", &browser).await.0, 403);
    // A proxy that changes Host has a name that browsers know.
    let by_proxy = ["host: localhost", "origin: https://b.example"];
    assert_eq!(get(&named, "/readyz", &by_proxy).await.0, 200);

    let open = TestServer::with(&["--open"]);
    assert_eq!(get(&open, "/readyz", &browser[..1]).await.0, 200);
    assert_eq!(get(&open, "/readyz", &browser).await.0, 403);
}

#[tokio::test]
async fn an_image_of_another_site_takes_no_lock() {
    let server = TestServer::with(&["--open"]);
    for path in ["/getLock/x?ttl=24h", "/netlocker/lock?key=x&time_lock=9", "/lockmanager/getLock/x"] {
        let (status, told) = get(&server, path, &["host: 127.0.0.1", "referer: http://evil.example/"]).await;
        assert!(status == 403 && told.contains("of other sites"), "{path}: {told}");
    }
    assert_eq!(server.hub.stats().table.grants, 0);
}

#[tokio::test]
async fn a_host_is_said_once() {
    let server = TestServer::start();
    for (request, status) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: local host\r\n\r\n", 400),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n", 200),
        ("GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", 403),
    ] {
        assert_eq!(answer(&server, request).await.0, status, "{request}");
    }
}

#[tokio::test]
async fn options_tells_what_a_path_takes() {
    let server = TestServer::start();
    let asked = async |path: &str| {
        let request = format!("OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        answer(&server, &request).await
    };
    for (path, taken) in [
        ("/api/lock/acquire", "allow: POST\r\n"),
        ("/healthz", "allow: GET,HEAD\r\n"),
        ("/sharelock/lock", "allow: POST\r\n"),
    ] {
        let (status, told) = asked(path).await;
        assert!(status == 204 && told.contains(taken), "{path}: {told}");
    }
    assert_eq!(asked("/nothing").await.0, 404);
}

/// Sends it until the connection ends: whether it did.
async fn is_cut_off(connection: &mut Raw, part: &[u8]) -> bool {
    for _ in 0..2_000 {
        if connection.send(part).await.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn who_floods_with_frames_that_carry_no_request_is_cut_off_and_nobody_hears_of_it() {
    let (program, _, http) = Program::on_all_wires(&[]);
    let mut neighbour = Client::connect(program.addr).await;
    assert_eq!(neighbour.ask("GET_LOCK kept 0").await, "1");
    for (kind, flags, stream, payload) in [
        (h2::PING, 0, 0, &[0; 8][..]),
        // The answer to one that nobody sent: a library may warn of each.
        (h2::PING, h2::END, 0, &[7; 8]),
        (h2::SETTINGS, 0, 0, &[]),
        (h2::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        (h2::PRIORITY, 0, 1, &[0; 5]),
        (0x77, 0, 0, &[]),
        (0x77, 0, 0, &[0; 16_000]),
    ] {
        let frame = h2::frame(kind, flags, stream, payload);
        let mut flooder = Raw::connect(http, 65_535).await;
        assert!(is_cut_off(&mut flooder, &frame.repeat(64_000 / frame.len())).await, "{kind}");
        assert_eq!(neighbour.ask("RELEASE_LOCK kept").await, "1");
        assert_eq!(neighbour.ask("GET_LOCK kept 0").await, "1");
    }
    drop(neighbour);
    program.signal("-TERM");
    let (status, log) = program.wait();
    assert!(status.success() && log.len() < 2_000, "{log}");
}

#[tokio::test]
async fn what_waits_on_a_connection_that_is_cut_off_leaves_its_queue() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let mut flooder = Raw::connect(server.http, 65_535).await;
    let asked = h2::head(&[
        (":method", "GET"),
        (":path", "/getLock/x?wait=600"),
        (":scheme", "http"),
        (":authority", "localhost"),
    ]);
    flooder.send(&h2::frame(h2::HEADERS, h2::END | h2::END_HEAD, 1, &asked)).await.unwrap();
    server.until_waiting(1).await;
    assert!(is_cut_off(&mut flooder, &h2::frame(h2::PING, 0, 0, &[0; 8]).repeat(1_000)).await);
    server.until_waiting(0).await;
}

#[tokio::test]
async fn a_busy_client_is_not_taken_for_a_flood() {
    let server = TestServer::start();
    let locks = grpc::locks(server.http).await;
    let pairs = (0..50).map(|n| {
        let mut locks = locks.clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                let name = format!("busy-{n}");
                let wish = AcquireRequest { name: name.clone(), ..AcquireRequest::default() };
                let lease_token = locks.acquire(wish).await.unwrap().into_inner().lease_token;
                let done = ReleaseRequest { name, lease_token };
                locks.release(done).await.unwrap();
            }
        })
    });
    for pair in pairs.collect::<Vec<_>>() {
        pair.await.unwrap();
    }
    assert_eq!(server.hub.stats().table.grants, 2_000);
}

#[tokio::test]
async fn a_flood_of_empty_lines_takes_turns_with_others() {
    let server = TestServer::start();
    let (mut flooder, mut neighbour) = (server.client().await, server.client().await);
    let flood = tokio::spawn(async move {
        for _ in 0..500 {
            flooder.send_bytes(&[b'\n'; 16 * 1024]).await;
        }
        flooder.ask("PING").await
    });
    assert_eq!(neighbour.ask("GET_LOCK x 0").await, "1");
    assert_eq!(flood.await.unwrap(), "PONG");
}

/// What a connection may cost, in kB, with what the allocator keeps beside it: without a bound each of
/// these takes ten times as much.
const MOST: u64 = 40 * 1024;

/// The head of a request by gRPC.
fn call(path: &str) -> Vec<u8> {
    h2::head(&[
        (":method", "POST"),
        (":path", path),
        (":scheme", "http"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

#[tokio::test]
async fn heads_without_bodies_are_bounded() {
    let (program, _, http) = Program::on_all_wires(&[]);
    let mut neighbour = Client::connect(program.addr).await;
    let before = program.resident();
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
        let mut greedy = Raw::connect(http, 65_535).await;
        for n in 0..10_000 {
            if greedy.send(&h2::frame(h2::HEADERS, h2::END_HEAD, 2 * n + 1, &head)).await.is_err() {
                break;
            }
        }
        assert_eq!(neighbour.ask("PING").await, "PONG");
    }
    let grown = program.resident().saturating_sub(before);
    assert!(grown < MOST, "{grown} kB");
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded() {
    let (program, _, http) = Program::on_all_wires(&[]);
    let mut neighbour = Client::connect(program.addr).await;
    let text = "n".repeat(256);
    let wish = json!({ "resourceName": "big", "mode": "shared", "clientId": text, "note": text });
    for _ in 0..300 {
        assert_eq!(http::post(http, "/api/lock/acquire", &wish).await.0, 200);
    }
    let before = program.resident();
    let head = call("/getlockd.v1.Locks/Status");
    let body = b"\0\0\0\0\x05\x0a\x03big";
    // Some take nothing of an answer, and some a byte of each.
    for window in [0, 1] {
        let mut greedy = Raw::connect(http, window).await;
        for n in 0..3_000 {
            let ask = [
                h2::frame(h2::HEADERS, h2::END_HEAD, 2 * n + 1, &head),
                h2::frame(h2::DATA, h2::END, 2 * n + 1, body),
            ];
            if greedy.send(&ask.concat()).await.is_err() {
                break;
            }
        }
        assert_eq!(neighbour.ask("PING").await, "PONG");
        let grown = program.resident().saturating_sub(before);
        assert!(grown < MOST, "{grown} kB with a window of {window}");
    }
}

#[tokio::test]
async fn thousands_wait_on_one_connection_and_can_be_freed_by_it() {
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
async fn a_call_that_waits_leaves_the_queue_at_its_deadline() {
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
async fn what_is_no_message_is_an_invalid_argument() {
    let server = TestServer::start();
    for message in [&[0xff; 8][..], b"\x0a\x02\xff\xff", &vec![0; 20_000]] {
        let told = called(&server, "", &framed(message)).await;
        assert!(told.contains("grpc-status: 3\r\n"), "{told}");
    }
}
