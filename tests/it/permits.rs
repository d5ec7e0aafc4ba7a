//! Permits: locks that a limited number of sessions hold together.

use std::time::Duration;

use crate::common::TestServer;

#[tokio::test]
async fn permits_are_granted_up_to_the_limit_in_order() {
    let server = TestServer::start();
    let [mut a, mut b, mut c, mut d] = server.clients().await;
    assert_eq!(a.ask("GET_PERMIT uploads 2 0").await, "1");
    assert_eq!(b.ask("SELECT GET_PERMIT('uploads', 2, 0)").await, "1");
    assert_eq!(c.ask("GET_PERMIT uploads 2 0").await, "0");
    c.send("GET_PERMIT uploads 2 60").await;
    server.until_waiting(1).await;
    d.send("GET_PERMIT uploads 2 1 min").await;
    server.until_waiting(2).await;
    assert_eq!(b.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(c.line().await, "1");
    drop(a);
    assert_eq!(d.line().await, "1");
    assert_eq!(b.ask("GET_PERMIT uploads 2 0").await, "0");
}

#[tokio::test]
async fn exclusive_request_waits_for_all_permits() {
    let server = TestServer::start();
    let [mut a, mut b, mut exclusive, mut late] = server.clients().await;
    assert_eq!(a.ask("GET_PERMIT uploads 3 0").await, "1");
    assert_eq!(b.ask("GET_PERMIT uploads 3 0").await, "1");
    exclusive.send("GET_LOCK uploads 60").await;
    server.until_waiting(1).await;
    assert_eq!(late.ask("GET_PERMIT uploads 3 0").await, "0", "nobody overtakes");
    late.send("GET_PERMIT uploads 3 60").await;
    server.until_waiting(2).await;
    assert_eq!(a.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(b.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(exclusive.line().await, "1");
    assert_eq!(exclusive.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(late.line().await, "1");
}

#[tokio::test]
async fn permit_is_counted_and_upgraded() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    for _ in 0..2 {
        assert_eq!(a.ask("GET_PERMIT uploads 2 0").await, "1");
    }
    let token = a.ask("FENCING_TOKEN uploads").await;
    assert_eq!(b.ask("GET_PERMIT uploads 2 0").await, "1", "a session has one permit");
    a.send("GET_LOCK uploads 60").await;
    server.until_waiting(1).await;
    assert_eq!(b.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(a.line().await, "1");
    assert_ne!(a.ask("FENCING_TOKEN uploads").await, token);
    assert_eq!(a.ask("GET_PERMIT uploads 2 0").await, "1", "an exclusive hold is as good as a permit");
    assert_eq!(b.ask("GET_PERMIT uploads 2 0").await, "0");
    assert_eq!(a.ask("RELEASE_ALL_LOCKS").await, "4");
    assert_eq!(b.ask("GET_PERMIT uploads 2 0").await, "1");
}

#[tokio::test]
async fn rows_of_permits_show_their_limit() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("INTRODUCE web-1 'two words'").await, "1");
    assert_eq!(a.ask("GET_PERMIT uploads 1 0").await, "1");
    b.send("GET_PERMIT uploads 1 60").await;
    server.until_waiting(1).await;
    let locks = c.list("LOCKS").await;
    assert!(locks[0].starts_with("LOCK name=uploads mode=permit session=1 "), "{locks:?}");
    assert!(locks[0].ends_with(" limit=1 client=web-1 note='two words'"), "{locks:?}");
    let why = c.list("WHY uploads").await;
    assert!(why[0].ends_with(" limit=1 client=web-1 note='two words'"), "{why:?}");
    let waiters = c.list("WAITERS uploads").await;
    assert!(waiters[0].starts_with("WAITER session=2 mode=permit "), "{waiters:?}");
    assert!(waiters[0].ends_with(" limit=1"), "{waiters:?}");
    // A hold that is released sooner is not kept.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(a.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(b.line().await, "1");
    let history = c.list("HISTORY uploads").await;
    assert!(history[0].ends_with(" cause=release limit=1 client=web-1 note='two words'"), "{history:?}");
}

#[tokio::test]
async fn another_limit_is_refused_with_the_number() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    let differs = "ERROR LIMIT_DIFFERS uploads has a limit of 2 permits now; ask for a permit with that limit, or try again when nobody holds it";
    assert_eq!(a.ask("GET_PERMIT uploads 2 0").await, "1");
    for take in ["GET_PERMIT uploads 3 0", "GET_PERMIT uploads 3 60", "GET_SHARED_LOCK uploads 60"] {
        assert_eq!(b.ask(take).await, differs, "{take}");
        assert_eq!(a.ask(take).await, differs, "{take}, of its holder");
    }
    assert_eq!(b.ask("GET_SHARED_LOCKS other uploads 60").await, differs);
    assert_eq!(c.ask("IS_FREE_LOCK other").await, "1");
    assert_eq!(a.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(b.ask("GET_PERMIT uploads 3 0").await, "1", "the limit ends with the last permit");
}

#[tokio::test]
async fn limit_lasts_while_a_session_waits_for_a_permit() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK uploads 0").await, "1");
    b.send("GET_PERMIT uploads 3 60").await;
    server.until_waiting(1).await;
    for take in ["GET_PERMIT uploads 2 0", "GET_SHARED_LOCK uploads 0"] {
        let told = c.ask(take).await;
        assert!(told.starts_with("ERROR LIMIT_DIFFERS uploads has a limit of 3 permits now; "), "{told}");
    }
    assert_eq!(a.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(b.line().await, "1");
}

#[tokio::test]
async fn permit_beside_shared_holders_is_refused() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_SHARED_LOCK uploads 0").await, "1");
    assert_eq!(
        b.ask("GET_PERMIT uploads 2 60").await,
        "ERROR LIMIT_DIFFERS uploads is shared now, without a limit; ask for it shared, or try again when nobody holds it"
    );
}

#[tokio::test]
async fn permits_deadlock_only_if_no_holder_can_leave() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_PERMIT uploads 2 0").await, "1");
    assert_eq!(b.ask("GET_PERMIT uploads 2 0").await, "1");
    assert_eq!(c.ask("GET_LOCK disk 0").await, "1");
    a.send("GET_LOCK disk 60").await;
    server.until_waiting(1).await;
    // B may still leave.
    c.send("GET_PERMIT uploads 2 60").await;
    server.until_waiting(2).await;
    let told = b.ask("GET_LOCK disk 60").await;
    assert!(told.starts_with("ERROR DEADLOCK deadlock"), "{told}");
    for link in ["waits for disk (held by 3)", "waits for uploads (held by "] {
        assert!(told.contains(link), "{told}");
    }
    assert_eq!(b.ask("RELEASE_LOCK uploads").await, "1");
    assert_eq!(c.line().await, "1");
    assert_eq!(c.ask("RELEASE_LOCK disk").await, "1");
    assert_eq!(a.line().await, "1");
}
