//! Shares: one that takes all that it gets leaves something for others.

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use getlockd::internal::{
    session::OWN_LOCKS,
    users::{NewEntry, entry},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::attacked::Attacked;
use crate::{
    common::{
        Client, PATIENCE,
        http::{self, Request},
        mysql::{MySql, Reply},
    },
    h2::{self, Raw},
};

/// Another address of this machine.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

/// A server with users, each of whom may lock everything.
async fn with_users(flags: &[&str]) -> (Attacked, TempDir) {
    let entries = ["neighbour", "app1", "app2"].map(|name| {
        let wanted = NewEntry { name: name.to_owned(), lock: vec!["*".to_owned()], ..NewEntry::default() };
        entry(&wanted, format!("secret of {name}").as_bytes(), false).unwrap()
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    std::fs::write(&path, entries.concat()).unwrap();
    let flags = [&["--users", path.to_str().unwrap()], flags].concat();
    (Attacked::start(&flags).await, dir)
}

/// What a user shows by HTTP.
fn login(name: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:secret of {name}")))
}

/// The answer to a GET from there: its status, and all of it.
async fn get_from(from: [u8; 4], http: SocketAddr, path: &str) -> (u16, String) {
    let mut client = Client::connect_from(from, http).await;
    client.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r")).await;
    let told = client.rest().await;
    (told.split(' ').nth(1).unwrap().parse().unwrap(), told)
}

/// How often there was no place, as the metrics have it.
async fn refusals(http: SocketAddr, login: &str, reason: &str, cause: &str) -> u64 {
    let (_, page) = Request::send_as(http, login, "GET", "/metrics", "").await.reply().await;
    let sample = format!("getlockd_refused_total{{reason=\"{reason}\",cause=\"{cause}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&sample)).unwrap().parse().unwrap()
}

/// All that a server says to one that says nothing.
async fn said(addr: SocketAddr) -> Vec<u8> {
    let (mut stream, mut said) = (TcpStream::connect(addr).await.unwrap(), Vec::new());
    timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the end in time").unwrap();
    said
}

#[tokio::test]
async fn address_cannot_take_all_connections() {
    let mut server = Attacked::start(&["--max-connections", "80"]).await;
    let mut kept = Vec::new();
    let told = loop {
        let mut client = Client::connect(server.at.line).await;
        match client.ask("PING").await {
            told if told == "PONG" => kept.push(client),
            told => break told,
        }
    };
    let share = "your user or address has used up its share of the 80 connections \
                 (--max-connections); close some";
    assert_eq!(told, format!("ERROR LIMIT {share}; closing"));
    // One more is the neighbour's, which has the same address.
    assert_eq!(kept.len(), 69);
    let mysql = said(server.at.mysql).await;
    assert_eq!(u16::from_le_bytes([mysql[5], mysql[6]]), 1203);
    let (status, text) = http::get(server.at.http, "/healthz").await;
    assert_eq!((status, text.as_str()), (503, share));
    for n in 0..10 {
        let mut other = Client::connect_from([127, 0, 0, 2 + n % 2], server.at.line).await;
        assert_eq!(other.ask("PING").await, "PONG");
        kept.push(other);
    }
    let mut last = Client::connect_from(ELSEWHERE, server.at.line).await;
    let full = "ERROR LIMIT connection limit reached: 80 (--max-connections, ulimit -n); closing";
    assert_eq!(last.line().await, full);
    server.shows("all connections for one address", &told);
}

#[tokio::test]
async fn unauthenticated_connections_do_not_block_users() {
    let (mut server, _dir) = with_users(&["--max-connections", "50"]).await;
    let at = server.at;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(Client::connect(at.line).await);
    }
    for mut ended in silent.drain(..20) {
        assert_eq!(ended.next().await, None, "the oldest make room, without a word");
    }
    // Users get in on each wire, and stay, however many strangers come.
    let mut line = Client::connect(at.line).await;
    assert_eq!(line.ask("AUTH app1 'secret of app1'").await, "1");
    let mut mysql = MySql::connect_as(at.mysql, "app1", "secret of app1").await.unwrap();
    assert_eq!(http::get(at.http, "/healthz").await, (200, "ok".to_owned()));
    let stats = Request::send_as(at.http, &login("app1"), "GET", "/api/stats", "").await.reply().await;
    assert_eq!(stats.0, 200, "{}", stats.1);
    for _ in 0..100 {
        silent.push(Client::connect(at.line).await);
    }
    for client in [silent.last_mut().unwrap(), &mut line] {
        assert_eq!(client.ask("PING").await, "PONG");
    }
    assert_eq!(mysql.value("SELECT 'well'").await.as_deref(), Some("well"));
    // But for the first half of the places each took that of another; so did those who logged in.
    let ended = refusals(at.http, &login("app1"), "connections", "strangers").await;
    assert!((125..=130).contains(&ended), "{ended}");
    server.shows("150 who do not log in, with 50 places", "the oldest are closed");
}

#[tokio::test]
async fn login_beyond_share_of_connections_is_refused() {
    let (mut server, _dir) = with_users(&["--max-connections", "64"]).await;
    let at = server.at;
    let mut kept = Vec::new();
    let told = loop {
        let mut client = Client::connect(at.line).await;
        match client.ask("AUTH app1 'secret of app1'").await {
            told if told == "1" => kept.push(client),
            told => break told,
        }
    };
    assert_eq!(
        told,
        "ERROR LIMIT your user or address has used up its share of the 64 connections \
         (--max-connections); close some"
    );
    assert_eq!(kept.len(), 55);
    let refused = MySql::connect_as(at.mysql, "app1", "secret of app1").await.map(drop).unwrap_err();
    assert_eq!(server.told("all connections for one user", &refused), 1203);
    let stats = Request::send_as(at.http, &login("app1"), "GET", "/api/stats", "").await.reply().await;
    assert!(stats.0 == 503 && stats.1.contains("\"Unavailable\""), "{}", stats.1);
    drop(MySql::connect_as(at.mysql, "app2", "secret of app2").await.map_err(drop).unwrap());
}

#[tokio::test]
async fn user_cannot_take_all_leases() {
    let (mut server, _dir) = with_users(&["--max-leases", "80"]).await;
    let acquire = async |name: &str, lock: usize| {
        let wish = json!({ "resourceName": lock.to_string(), "ttlMs": 86_400_000 }).to_string();
        Request::send_as(server.at.http, &login(name), "POST", "/api/lock/acquire", &wish).await.reply().await
    };
    for lock in 0..70 {
        assert_eq!(acquire("app1", lock).await.0, 200);
    }
    let (status, told) = acquire("app1", 70).await;
    assert!(
        status == 503 && told.contains("has used up its share of the 80 leases (--max-leases)"),
        "{told}"
    );
    for lock in 70..80 {
        assert_eq!(acquire("app2", lock).await.0, 200);
    }
    assert!(acquire("neighbour", 80).await.1.contains("lease limit reached: 80 (--max-leases)"));
    server.shows("all leases for one user", &told);
}

#[tokio::test]
async fn unread_lists_do_not_block_short_lists() {
    let mut server = Attacked::start(&[]).await;
    let (line, http) = (server.at.line, server.at.http);
    let mut holder = Client::connect(line).await;
    for at in 0..1_000 {
        assert_eq!(holder.ask(&format!("GET_LOCK {at:0>60} 0")).await, "1");
    }
    // Each of two addresses asks for three, and reads nothing of them.
    let head = h2::head(&[
        (":method", "GET"),
        (":path", "/api/locks"),
        (":scheme", "http"),
        (":authority", "localhost"),
    ]);
    let mut unread = Vec::new();
    for from in [[127, 0, 0, 1], ELSEWHERE] {
        let stream = Client::connect_from(from, http).await.stream.into_inner();
        let mut greedy = Raw::begin(stream, 0).await;
        for stream in [1, 3, 5] {
            greedy.send(&h2::frame(h2::HEADERS, h2::END | h2::END_HEAD, stream, &head)).await.unwrap();
        }
        // Two are answered, up to their bodies; the third waits for one of these to be read.
        for _ in 0..2 {
            while greedy.next().await.unwrap().0 != h2::HEADERS {}
        }
        unread.push(greedy);
    }
    let third = [127, 0, 0, 3];
    for path in
        ["/api/stats", "/api/lock/why/x", "/api/lock/waiters/x", "/api/sessions", "/api/locks?prefix=x"]
    {
        let (status, told) = get_from(third, http, path).await;
        assert_eq!(status, 200, "{path}: {told}");
    }
    let (status, told) = get_from(third, http, "/api/locks").await;
    assert!(status == 503 && told.contains("list limit reached: 4; try again later"), "{told}");
    assert_eq!(holder.list("LOCKS x").await, [""; 0]);
    server.shows("long lists that are not read", told.lines().last().unwrap_or_default());
    // Where one has its share there are still two for others.
    unread.pop();
    let long = async || get_from(third, http, "/api/locks").await.0;
    while long().await != 200 {}
}

#[tokio::test]
async fn four_sessions_cannot_take_all_locks() {
    let mut server = Attacked::start(&["--max-locks", "800"]).await;
    let (mut greedy, mut told) = (Vec::new(), String::new());
    for session in 0..4 {
        let mut client = Client::connect(server.at.line).await;
        let mut holds = 0;
        told = loop {
            match client.ask(&format!("GET_LOCK greedy-{session}-{holds} 0")).await {
                taken if taken == "1" => holds += 1,
                refused => break refused,
            }
        };
        greedy.push((client, holds));
    }
    let share =
        "ERROR LIMIT your user or address has used up its share of the 800 locks (--max-locks); release some";
    assert_eq!(told, share);
    let held: usize = greedy.iter().map(|(_, holds)| holds).sum();
    assert_eq!(held, 700 + 4 * OWN_LOCKS);
    // Who has few is not asked for it, at the same address either; and elsewhere there is more.
    for (from, count) in [([127, 0, 0, 1], OWN_LOCKS), (ELSEWHERE, OWN_LOCKS + 100)] {
        let mut client = Client::connect_from(from, server.at.line).await;
        for lock in 0..count {
            assert_eq!(client.ask(&format!("GET_LOCK {}-{lock} 0", from[3])).await, "1");
        }
        greedy.push((client, count));
    }
    let mut mysql = MySql::connect(server.at.mysql).await;
    for lock in 0..OWN_LOCKS {
        assert_eq!(mysql.value(&format!("SELECT GET_LOCK('mysql-{lock}', 0)")).await.as_deref(), Some("1"));
    }
    let refused = mysql.query("SELECT GET_LOCK('one-more', 0)").await;
    assert_eq!(server.told("all locks for one address", &refused), 1226);
    let refused = [
        refusals(server.at.http, "", "locks", "share").await,
        refusals(server.at.http, "", "locks", "full").await,
    ];
    assert_eq!(refused, [4, 1], "each is counted once");
    // What is released is there again, and so is what ends with its session.
    let (mut first, _) = greedy.swap_remove(0);
    assert_eq!(first.ask("GET_LOCK greedy-0-0 0").await, "1", "it holds that already");
    drop(first);
    while matches!(mysql.query("SELECT GET_LOCK('one-more', 0)").await, Reply::Error { .. }) {}
}
