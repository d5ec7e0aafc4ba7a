//! Several locks at once, permits and events, against the server.

use std::time::Duration;

use getlockd_client::{Error, Mode, Symbol, Timeout, WatchEvent, http::Leases};

use super::{client, connection, held, in_time};
use crate::common::TestServer;

#[tokio::test]
async fn several_locks_are_taken_all_or_none() {
    let server = TestServer::start();
    let (client, other) = (client(&server).await, connection(&server).await);
    let both = client.acquire(["a", "B", "b"], Timeout::Forever).await.unwrap();
    let rows = other.locks("").await.unwrap().rows;
    let held: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.fencing_token)).collect();
    assert_eq!(held, [("a", both.fencing_token()), ("b", both.fencing_token())]);
    let error = client.acquire(["c", "b"], Timeout::NONE).await.unwrap_err();
    assert!(matches!(&error, Error::NotGranted { in_the_way: Some(name), .. } if name == "b"), "{error}");

    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(["c", "b"], Timeout::Forever).await }
    });
    server.until(|stats| stats.table.waiters > 0).await;
    assert!(other.try_lock("c").await.unwrap().is_none(), "nobody passes the one that waits");
    both.release().await.unwrap();
    in_time(waiting).await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(server.service.stats().table.locks, 0);
}

#[tokio::test]
async fn token_of_a_lock_held_before_is_not_that_of_the_grant() {
    let server = TestServer::start();
    let connection = connection(&server).await;
    let first = connection.try_lock("a").await.unwrap().unwrap();
    let both = connection.try_lock(["a", "b"]).await.unwrap().unwrap();
    assert!(both.fencing_token() > first.fencing_token());
    both.release().await.unwrap();
    assert_eq!(server.service.stats().table.locks, 1, "it is held once more");
    first.release().await.unwrap();
}

#[tokio::test]
async fn permits_are_bounded_by_their_limit() {
    let server = TestServer::start();
    let (client, other) = (client(&server).await, connection(&server).await);
    let both = [client.try_permit("render", 2).await, client.try_permit("render", 2).await];
    let both = both.map(|taken| taken.unwrap().expect("it is free"));
    assert!(client.try_permit("render", 2).await.unwrap().is_none());
    let modes: Vec<_> = other.locks("").await.unwrap().rows.iter().map(|row| row.mode).collect();
    assert_eq!(modes, [Mode::Permit(2); 2]);
    for refused in [other.try_permit("render", 3).await, other.try_lock_shared("render").await] {
        assert_eq!(refused.unwrap_err().symbol(), Some(Symbol::LimitDiffers));
    }
    drop(both);
    held(&client, "render").await.release().await.unwrap();
}

#[tokio::test]
async fn watch_and_waiters_are_told() {
    let server = TestServer::start();
    let (client, other) = (client(&server).await, connection(&server).await);
    let mut watch = client.watch("App:").await.unwrap();
    held(&client, "other").await.release().await.unwrap();
    let guard = held(&client, "app:x").await;
    let WatchEvent::Taken(taken) = in_time(watch.recv()).await.unwrap() else { panic!("no grant") };
    assert_eq!((taken.name.as_str(), taken.fencing_token), ("app:x", guard.fencing_token()));

    let mut waiters = guard.on_waiter().await.unwrap();
    let next = tokio::spawn({
        let other = other.clone();
        async move { other.acquire("app:x", Timeout::Forever).await }
    });
    assert_eq!(in_time(waiters.recv()).await.unwrap().session, other.session());
    guard.release().await.unwrap();
    let WatchEvent::Freed(freed) = in_time(watch.recv()).await.unwrap() else { panic!("no release") };
    assert_eq!((freed.hold, freed.cause.as_str()), (taken, "release"));
    let next = in_time(next).await.unwrap().unwrap();
    assert!(matches!(in_time(watch.recv()).await.unwrap(), WatchEvent::Taken(_)));
    connection(&server).await.kill(next.session(), None).await.unwrap();
    let WatchEvent::Lost(lost) = in_time(watch.recv()).await.unwrap() else { panic!("no loss") };
    assert_eq!((lost.hold.session, lost.cause.as_str()), (next.session(), "killed"));
}

#[tokio::test]
async fn waiter_that_came_before_is_told() {
    let server = TestServer::start();
    let (client, other) = (client(&server).await, connection(&server).await);
    let guard = held(&client, "x").await;
    let _waiting = tokio::spawn({
        let other = other.clone();
        async move { other.acquire("x", Timeout::Forever).await }
    });
    server.until_waiting(1).await;
    let mut waiters = guard.on_waiter().await.unwrap();
    assert_eq!(in_time(waiters.recv()).await.unwrap().session, other.session());
}

#[tokio::test]
async fn lease_has_several_locks_or_a_permit() {
    let server = TestServer::start();
    let (leases, other) = (Leases::new(server.http.to_string()), connection(&server).await);
    let both = leases.acquire(["a", "b"], Duration::from_secs(1)).await.unwrap();
    assert_eq!(other.locks("").await.unwrap().rows.len(), 2);
    let error = leases.acquire(["c", "b"], Timeout::NONE).await.unwrap_err();
    assert!(matches!(&error, Error::NotGranted { in_the_way: Some(name), .. } if name == "b"), "{error}");
    both.release().await.unwrap();
    assert_eq!(server.service.stats().table.locks, 0);
    let _permit = leases.acquire_permit("a", 2, Timeout::NONE).await.unwrap();
    let refused = leases.try_permit("a", 3).await.unwrap_err();
    assert_eq!(refused.symbol(), Some(Symbol::LimitDiffers));
}
