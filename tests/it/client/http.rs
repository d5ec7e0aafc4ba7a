//! Leases over HTTP.

use std::{fs, time::Duration};

use getlockd::internal::users::{NewEntry, entry};
use getlockd_client::{
    Builder, Error, Symbol, Timeout,
    http::{Lease, Leases},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};

use super::in_time;
use crate::common::TestServer;

const TTL: Duration = Duration::from_millis(500);

fn leases(server: &TestServer) -> Leases {
    Leases::new(server.http.to_string()).ttl(TTL).name("web-1").note("backup")
}

async fn held(leases: &Leases, name: &str) -> Lease {
    leases.try_lock(name).await.unwrap().expect("it is free")
}

async fn until_free(server: &TestServer) {
    in_time(async {
        while server.service.stats().table.locks > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn heartbeats_keep_a_lease_until_it_is_released_or_dropped() {
    let server = TestServer::start();
    let (leases, mut line) = (leases(&server), server.client().await);
    let first = held(&leases, "nightly").await;
    sleep(TTL * 2).await;
    assert!(!first.is_lost());
    let row = line.ask("LOCKS").await;
    assert!(row.contains("wire=http") && row.contains("client=web-1 note=backup"), "{row}");
    assert_eq!(line.line().await, "END 1");
    assert!(leases.try_lock("Nightly").await.unwrap().is_none());
    assert!(matches!(
        leases.acquire("nightly", Duration::from_millis(1)).await,
        Err(Error::NotGranted { .. })
    ));
    let token = first.fencing_token();
    first.release().await.unwrap();
    assert_eq!(server.service.stats().table.locks, 0, "a release waits until it is done");
    let second = held(&leases, "nightly").await;
    assert!(second.fencing_token() > token);
    drop(second);
    until_free(&server).await;
    let [_a, _b] =
        [leases.try_lock_shared("x").await, leases.acquire_shared("x", Timeout::Forever).await.map(Some)]
            .map(|lease| lease.unwrap().unwrap());
}

#[tokio::test]
async fn a_lease_after_a_long_wait_has_all_of_its_time() {
    let server = TestServer::start();
    let (leases, mut line) = (leases(&server), server.client().await);
    assert_eq!(line.ask("GET_LOCK x 0").await, "1");
    let waiting = tokio::spawn(async move { leases.acquire("x", Timeout::Forever).await });
    server.until_waiting(1).await;
    sleep(TTL * 2).await;
    assert_eq!(line.ask("RELEASE_LOCK x").await, "1");
    let lease = in_time(waiting).await.unwrap().unwrap();
    sleep(TTL).await;
    assert!(!lease.is_lost());
}

#[tokio::test]
async fn a_killed_lease_is_lost_and_its_work_is_dropped() {
    let server = TestServer::start();
    let (leases, mut line) = (leases(&server), server.client().await);
    let work = leases.lock("x", Timeout::NONE, async |_: &Lease| {
        let session = line.ask("IS_USED_LOCK x").await;
        assert_eq!(line.ask(&format!("KILL {session}")).await, "1");
        std::future::pending::<()>().await;
    });
    let lost = in_time(work).await.unwrap_err();
    assert!(matches!(lost, Error::Lost(_)), "{lost}");
    assert_eq!(server.service.stats().table.locks, 0);
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_the_queue() {
    let server = TestServer::start();
    let (leases, mut line) = (leases(&server), server.client().await);
    assert_eq!(line.ask("GET_LOCK x 0").await, "1");
    let waiting = tokio::spawn(async move { leases.acquire("x", Timeout::Forever).await });
    server.until_waiting(1).await;
    waiting.abort();
    server.until_waiting(0).await;
    assert_eq!(line.ask("RELEASE_LOCK x").await, "1");
    until_free(&server).await;
}

#[tokio::test]
async fn a_lease_is_lost_in_time_when_the_server_is_gone() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leases = Leases::new(gone.local_addr().unwrap().to_string()).ttl(TTL);
    let grants_once = async {
        let (mut stream, _) = gone.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        let body = r#"{"status":"Acquired","lockToken":"x","fencingToken":7}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        drop(gone);
    };
    let (lease, ()) = tokio::join!(held(&leases, "x"), grants_once);
    assert_eq!(lease.fencing_token(), 7);
    let lost = in_time(lease.lost()).await;
    assert!(lease.is_lost() && lost.time_left() <= TTL / 5, "{lost}");
    assert!(matches!(lease.release().await, Err(Error::Lost(_))));
}

#[tokio::test]
async fn a_user_logs_in_and_a_stop_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let wanted = NewEntry { name: "app".to_owned(), lock: vec!["app:".to_owned()], ..NewEntry::default() };
    fs::write(&users, entry(&wanted, b"sesame", false).unwrap()).unwrap();
    let server = TestServer::with(&["--users", users.to_str().unwrap()]);
    let builder = Builder::new(server.http.to_string());
    let leases = Leases::with(builder.clone().user("app", "sesame"));
    held(&leases, "app:x").await.release().await.unwrap();
    let denied = leases.try_lock("other").await.unwrap_err();
    assert_eq!(denied.symbol(), Some(Symbol::Denied), "{denied}");
    let unknown = Leases::with(builder.clone()).try_lock("app:x").await.unwrap_err();
    assert_eq!(unknown.symbol(), Some(Symbol::Auth), "{unknown}");
    let late = Leases::with(builder.stop_within(Duration::from_secs(40))).try_lock("app:x").await;
    assert!(matches!(late, Err(Error::StopWithin { .. })));
}

#[tokio::test]
async fn a_lease_that_the_user_may_not_have_any_more_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let wanted =
        |lock: &str| NewEntry { name: "app".to_owned(), lock: vec![lock.to_owned()], ..NewEntry::default() };
    fs::write(&users, entry(&wanted("app:"), b"sesame", false).unwrap()).unwrap();
    let server = TestServer::with(&["--users", users.to_str().unwrap()]);
    let builder = Builder::new(server.http.to_string()).user("app", "sesame");
    let lease = held(&Leases::with(builder).ttl(4 * TTL), "app:x").await;
    fs::write(&users, entry(&wanted("other:"), b"sesame", false).unwrap()).unwrap();
    assert_eq!(server.reload(), Ok(()));
    let lost = in_time(lease.lost()).await.to_string();
    assert!(lost.contains("may not lock app:x"), "{lost}");
}
