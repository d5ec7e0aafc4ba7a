//! Floods that carry no request.

use std::io;

use getlockd::internal::grpc::proto::{AcquireRequest, ReleaseRequest};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

use super::attacked::Attacked;
use crate::{
    common::{
        TestServer,
        authority::{Authority, connect, shaken},
        grpc,
        mysql::{MySql, Reply},
    },
    h2::{self, Raw},
};

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
async fn http_2_frames_without_requests_end_the_connection() {
    let mut server = Attacked::start(&[]).await;
    for (attack, kind, flags, stream, payload) in [
        ("PING", h2::PING, 0, 0, &[0; 8][..]),
        // A library may warn of each.
        ("the answer to a PING that nobody sent", h2::PING, h2::END, 0, &[7; 8]),
        ("SETTINGS", h2::SETTINGS, 0, 0, &[]),
        ("WINDOW_UPDATE", h2::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ("PRIORITY", h2::PRIORITY, 0, 1, &[0; 5]),
        ("frames of an unknown kind", 0x77, 0, 0, &[]),
        ("the same, long ones", 0x77, 0, 0, &[0; 16_000]),
    ] {
        let frame = h2::frame(kind, flags, stream, payload);
        // In the release build as often as it is let in.
        for _ in 0..if cfg!(debug_assertions) { 1 } else { 20 } {
            let mut flooder = Raw::connect(server.at.http, 65_535).await;
            assert!(is_cut_off(&mut flooder, &frame.repeat(64_000 / frame.len())).await, "{attack}");
        }
        server.shows(&format!("HTTP/2: a flood of {attack}"), "the connection ends");
    }
    let log = server.ends();
    assert!(log.len() < 2_000, "{log}");
}

/// Each is a request, and is begun; none is for long.
#[tokio::test]
async fn rapid_reset_takes_turns_with_others() {
    let mut server = Attacked::start(&[]).await;
    let head = h2::head(&[
        (":method", "GET"),
        (":path", "/getLock/x?wait=600"),
        (":scheme", "http"),
        (":authority", "localhost"),
    ]);
    let mut flooder = Raw::connect(server.at.http, 65_535).await;
    let mut sent = 0;
    for first in (1..if cfg!(debug_assertions) { 10_000 } else { 400_000 }).step_by(200) {
        let pairs = (first..first + 200).step_by(2).map(|stream| {
            let taken_back = h2::frame(h2::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
            [h2::frame(h2::HEADERS, h2::END | h2::END_HEAD, stream, &head), taken_back].concat()
        });
        if flooder.send(&pairs.collect::<Vec<_>>().concat()).await.is_err() {
            break;
        }
        sent += 100;
    }
    server.shows(
        "HTTP/2: requests that are taken back at once",
        &format!("{sent} are taken, then the connection ends"),
    );
    drop(flooder);
    while server.stats("locks").await + server.stats("waiters").await > 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn waits_of_an_ended_connection_leave_the_queue() {
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
async fn busy_client_is_not_taken_for_a_flood() {
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
    assert_eq!(server.service.stats().table.grants, 2_000);
}

#[tokio::test]
async fn short_lines_take_turns_with_others() {
    let mut server = Attacked::start(&[]).await;
    for (attack, line) in
        [("empty lines", "\n"), ("PING", "PING\n"), ("a word that is no command", "NOTHING\n")]
    {
        let (reads, mut writes) = TcpStream::connect(server.at.line).await.unwrap().into_split();
        let mut answers = BufReader::new(reads).lines();
        let flood = async {
            let lines = line.repeat(16 * 1024 / line.len());
            for _ in 0..if cfg!(debug_assertions) { 100 } else { 2_000 } {
                writes.write_all(lines.as_bytes()).await.unwrap();
            }
            writes.write_all(b"IS_FREE_LOCK free\n").await.unwrap();
        };
        let last = async {
            let mut told = String::new();
            while let Some(answer) = answers.next_line().await.unwrap().filter(|answer| answer != "1") {
                told = answer;
            }
            told
        };
        let ((), told) = tokio::join!(flood, last);
        server.shows(&format!("line: a flood of {attack}"), &told);
    }
}

/// All that one read of the server gives is at hand for what serves HTTP: some hundred requests.
#[tokio::test]
async fn http_1_requests_take_turns_with_others() {
    const AT_ONCE: usize = 500;
    let mut server = Attacked::start(&[]).await;
    let requests = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(AT_ONCE);
    for connections in [1, 64] {
        let rounds = if cfg!(debug_assertions) { 64 } else { 6_400 } / connections;
        let floods = (0..connections).map(|_| {
            let (http, requests) = (server.at.http, requests.clone());
            tokio::spawn(async move {
                let (reads, mut writes) = TcpStream::connect(http).await.unwrap().into_split();
                let flood = async {
                    for _ in 0..rounds {
                        writes.write_all(requests.as_bytes()).await.unwrap();
                    }
                };
                let mut lines = BufReader::new(reads).lines();
                let answers = async {
                    for _ in 0..rounds * AT_ONCE {
                        // A body has no end of line.
                        while !lines.next_line().await.unwrap().unwrap().ends_with("HTTP/1.1 200 OK") {}
                    }
                };
                tokio::join!(flood, answers);
            })
        });
        for flood in floods.collect::<Vec<_>>() {
            flood.await.unwrap();
        }
        server
            .shows(&format!("HTTP/1.1: pipelined requests on {connections} connections"), "HTTP/1.1 200 OK");
    }
}

#[tokio::test]
async fn com_ping_takes_turns_with_others() {
    let mut server = Attacked::start(&[]).await;
    let mut flooder = MySql::connect(server.at.mysql).await;
    let pings = [1, 0, 0, 0, 14].repeat(3_000);
    for _ in 0..if cfg!(debug_assertions) { 10 } else { 300 } {
        flooder.stream.write_all(&pings).await.unwrap();
        for _ in 0..3_000 {
            assert!(matches!(flooder.reply().await, Reply::Ok { .. }));
        }
    }
    server.shows("MySQL: a flood of COM_PING", "OK");
}

/// Records that carry no data, which a TLS library handles by itself: with data between them it takes any number.
#[tokio::test]
async fn tls_key_updates_take_turns_with_others() {
    let authority = Authority::new();
    let files = authority.sign("server");
    let mut server = Attacked::start(&files.flags(&["--tls", "optional"])).await;
    let rounds = if cfg!(debug_assertions) { 200 } else { 20_000 };
    for (attack, updates, data) in
        [("TLS: key updates alone", 1_000, &b""[..]), ("TLS: key updates between empty lines", 30, b"\n")]
    {
        let mut flooder = connect(&authority.client(None), server.at.line).await.unwrap();
        let flood = async {
            for _ in 0..rounds {
                for _ in 0..updates {
                    flooder.get_mut().1.refresh_traffic_keys().map_err(io::Error::other)?;
                }
                flooder.write_all(data).await?;
                flooder.flush().await?;
            }
            flooder.write_all(b"PING\n").await?;
            flooder.read_exact(&mut [0; 5]).await
        };
        let told = flood.await.map_or_else(|error| error.to_string(), |_| "PONG".to_owned());
        server.shows(attack, &told);
        assert_eq!(told == "PONG", !data.is_empty(), "{told}");
    }
}

/// Each is a signature of the server, and all of them come at once.
#[tokio::test]
async fn tls_handshakes_take_turns_with_others() {
    let authority = Authority::new();
    let files = authority.sign("server");
    let mut server = Attacked::start(&files.flags(&["--tls", "optional"])).await;
    for (wire, addr) in [("line", server.at.line), ("HTTP", server.at.http)] {
        let client = authority.client(None);
        // So that all hellos come together, the connections are there before.
        let mut streams = Vec::new();
        for _ in 0..200 {
            streams.push(TcpStream::connect(addr).await.unwrap());
        }
        let mut handshakes = JoinSet::new();
        for stream in streams {
            let client = client.clone();
            handshakes.spawn(async move { shaken(&client, stream).await.map(drop) });
        }
        let done = handshakes.join_all().await.into_iter().flatten().count();
        assert_eq!(done, 200);
        server.shows(&format!("TLS: 200 handshakes at once ({wire})"), &format!("{done} are done"));
    }
}
