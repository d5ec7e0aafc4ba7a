//! Leases: their time to the millisecond, their place in the queues, and who may end them.

use std::{sync::Arc, time::Duration};

use crate::common::{
    TestServer,
    http::{Request, get, post},
};
use getlockd::{
    internal::{
        client_info::Origin,
        command::Error,
        lease::{Bounds, Client, LeaseError, LeaseRequest, Leases, Secret},
        session::{Limits, LockService, Principal},
        share::{QuotaCause, QuotaExceeded, Resource},
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, advance},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const MS: Duration = Duration::from_millis(1);

fn leases() -> Arc<Leases> {
    let service = LockService::new(Limits { locks_per_session: 10, ..Limits::default() });
    let bounds = Bounds { min: 10 * MS, max: Duration::from_hours(1), count: 3 };
    Leases::new(service, bounds, TaskTracker::new())
}

fn name() -> Name {
    Name::new("nightly").unwrap()
}

fn client() -> Client {
    let origin =
        Origin { wire: getlockd::internal::client_info::Wire::Line, peer: ([127, 0, 0, 1], 1).into() };
    Client { origin, gone: CancellationToken::new(), user: None, via: None }
}

/// Takes the lock for so long; the grant is delivered.
async fn take(leases: &Arc<Leases>, ttl: Duration) -> Result<Secret, LeaseError> {
    let secret = Secret::random().unwrap();
    let wish = LeaseRequest { ttl: Some(ttl), ..LeaseRequest::of(name()) };
    leases.acquire_as(wish, secret.key(), client()).await?.delivery.done();
    Ok(secret)
}

/// Waits for the lock; resolves with how long it took.
fn wait(leases: &Arc<Leases>) -> JoinHandle<Result<Duration, LeaseError>> {
    let (leases, secret, since) = (leases.clone(), Secret::random().unwrap(), Instant::now());
    let wish = LeaseRequest { wait: Timeout::Forever, ..LeaseRequest::of(name()) };
    tokio::spawn(async move {
        leases.acquire_as(wish, secret.key(), client()).await?.delivery.done();
        Ok(since.elapsed())
    })
}

async fn until_waiting(leases: &Leases, waiters: usize) {
    while leases.service().stats().table.waiters != waiters {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn expired_lease_passes_lock_to_next_waiter() {
    let leases = leases();
    take(&leases, 1000 * MS).await.unwrap();
    let next = wait(&leases);
    let waited = next.await.unwrap().unwrap();
    assert!((1000 * MS..=1001 * MS).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn heartbeat_is_exact_to_the_millisecond() {
    let leases = leases();
    let secret = take(&leases, 1000 * MS).await.unwrap();
    for _ in 0..10 {
        advance(999 * MS).await;
        let ends = leases.renew(&secret.key(), &name(), None, Principal::ALL).await.unwrap().ends;
        assert_eq!(ends - Instant::now(), 1000 * MS);
    }
    advance(1000 * MS).await;
    assert_eq!(
        leases.renew(&secret.key(), &name(), None, Principal::ALL).await.unwrap_err(),
        LeaseError::Gone
    );
    assert_eq!(leases.release(&secret.key(), &name(), Principal::ALL).await, Err(LeaseError::Gone));
    assert!(leases.service().is_free(&name()));
}

#[tokio::test(start_paused = true)]
async fn heartbeat_may_change_the_ttl() {
    let leases = leases();
    let secret = take(&leases, 10_000 * MS).await.unwrap();
    let ends = leases.renew(&secret.key(), &name(), Some(50 * MS), Principal::ALL).await.unwrap().ends;
    assert_eq!(ends - Instant::now(), 50 * MS);
    let waited = wait(&leases).await.unwrap().unwrap();
    assert!((50 * MS..=51 * MS).contains(&waited), "{waited:?}");
    let secret = Secret::random().unwrap();
    assert_eq!(
        leases.renew(&secret.key(), &name(), None, Principal::ALL).await.unwrap_err(),
        LeaseError::NotYours
    );
}

#[tokio::test(start_paused = true)]
async fn holder_is_told_of_waiters() {
    let leases = leases();
    let secret = take(&leases, 10_000 * MS).await.unwrap();
    let next = wait(&leases);
    until_waiting(&leases, 1).await;
    advance(70 * MS).await;
    let renewed = leases.renew(&secret.key(), &name(), None, Principal::ALL).await.unwrap();
    assert_eq!((renewed.waiters, renewed.first_waited), (1, Some(70 * MS)));
    leases.release(&secret.key(), &name(), Principal::ALL).await.unwrap();
    assert_eq!(next.await.unwrap().unwrap(), 70 * MS);
}

#[tokio::test(start_paused = true)]
async fn undelivered_grant_is_revoked() {
    let leases = leases();
    let key = Secret::random().unwrap().key();
    let grant = leases.acquire_as(LeaseRequest::of(name()), key, client()).await.unwrap();
    assert!(!leases.service().is_free(&name()));
    drop(grant);
    assert!(leases.service().is_free(&name()));
    assert_eq!(leases.service().registry().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn cancelled_request_leaves_the_queue_during_a_grant() {
    let leases = leases();
    let secret = take(&leases, 10_000 * MS).await.unwrap();
    let (first, second) = (wait(&leases), wait(&leases));
    until_waiting(&leases, 2).await;
    // Granted, and gone before it can be told.
    leases.release(&secret.key(), &name(), Principal::ALL).await.unwrap();
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn request_fields_are_bounded() {
    let leases = leases();
    let bounds = LeaseError::Ttl { min: 10 * MS, max: Duration::from_hours(1) };
    assert_eq!(take(&leases, 9 * MS).await.unwrap_err(), bounds);
    assert_eq!(take(&leases, Duration::from_hours(2)).await.unwrap_err(), bounds);
    let long = LeaseRequest { client: Some("x".repeat(257)), ..LeaseRequest::of(name()) };
    let refused = leases.acquire_as(long, Secret::random().unwrap().key(), client()).await;
    assert_eq!(refused.unwrap_err(), LeaseError::Refused(Error::TextTooLong));
    let waiters: Vec<_> = (0..3).map(|_| wait(&leases)).collect();
    until_waiting(&leases, 2).await;
    let quota_exceeded = QuotaExceeded { resource: Resource::Leases, limit: 3, cause: QuotaCause::Full };
    assert_eq!(take(&leases, 50 * MS).await.unwrap_err(), LeaseError::QuotaExceeded(quota_exceeded));
    for waiter in waiters {
        waiter.abort();
    }
}

#[tokio::test]
async fn disconnect_leaves_the_queue() {
    let server = TestServer::start();
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let body = r#"{"resourceName":"nightly","waitMs":-1}"#;
    for (method, path, body) in
        [("POST", "/api/lock/acquire", body), ("GET", "/getLock/nightly?wait=600", "")]
    {
        let waiting = Request::send(server.http, method, path, body).await;
        server.until_waiting(1).await;
        drop(waiting);
        server.until_waiting(0).await;
    }
    // More requests behind the one that waits change nothing.
    let behind = format!("{}\r\n", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50_000));
    let mut waiting = Request::send(server.http, "GET", "/getLock/nightly?wait=600", "").await;
    server.until_waiting(1).await;
    tokio::select! { () = waiting.send_more(&behind) => {}, () = tokio::task::yield_now() => {} }
    drop(waiting);
    server.until_waiting(0).await;
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    assert_eq!(line.ask("IS_FREE_LOCK nightly").await, "1");
}

#[tokio::test(start_paused = true)]
async fn revoked_grant_keeps_later_lease_of_same_client() {
    let leases = leases();
    let key = Secret::random().unwrap().key();
    let first = leases.acquire_as(LeaseRequest::of(name()), key, client()).await.unwrap();
    leases.release(&key, &name(), Principal::ALL).await.unwrap();
    let second = leases.acquire_as(LeaseRequest::of(name()), key, client()).await.unwrap();
    drop(first);
    assert!(leases.remaining(&key, &name(), Principal::ALL).await.is_ok());
    drop(second);
    assert!(leases.service().is_free(&name()));
}

#[tokio::test(start_paused = true)]
async fn closed_connection_does_not_wait() {
    let leases = leases();
    take(&leases, 10_000 * MS).await.unwrap();
    let waiter = client();
    let gone = waiter.gone.clone();
    let wish = LeaseRequest { wait: Timeout::Forever, ..LeaseRequest::of(name()) };
    let waiting = leases.acquire_as(wish, Secret::random().unwrap().key(), waiter);
    let (refused, ()) = tokio::join!(waiting, async { gone.cancel() });
    assert_eq!(refused.unwrap_err(), LeaseError::HungUp);
    assert_eq!(leases.service().stats().table.waiters, 0);
}

/// As `nc -N` does: it has no more to say, and reads.
#[tokio::test]
async fn half_closed_client_is_answered() {
    let server = TestServer::start();
    for _ in 0..20 {
        let mut request = Request::send(server.http, "GET", "/healthz", "").await;
        request.half_close().await;
        assert_eq!(request.reply().await, (200, "ok".to_owned()));
    }
}

#[tokio::test]
async fn cross_site_request_takes_no_lock() {
    let server = TestServer::start();
    for (site, code) in [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)] {
        let head = format!("/getLock/{site} HTTP/1.1\r\nsec-fetch-site: {site}\r\nx: ");
        let (got, body) = get(server.http, &head).await;
        let refusal =
            r#"{"success":false,"status":"Forbidden","message":"cross-site browser requests are refused"}"#;
        assert!(got == code && (body == refusal) == (code == 403), "{site}: {body}");
    }
    // By plain HTTP from another machine a browser tells no more than this.
    for (origin, is_refused) in [("http://evil", true), ("null", true), ("http://localhost", false)] {
        let head = format!("/api/session/0/kill HTTP/1.1\r\norigin: {origin}\r\nx: ");
        let (told, _) = Request::send(server.http, "POST", &head, "").await.reply().await;
        assert_eq!(told == 403, is_refused, "{origin}: {told}");
    }
}

#[tokio::test]
async fn kill_ends_a_lease_and_a_wait() {
    let server = TestServer::start();
    let mut line = server.client().await;
    let wish = json!({"resourceName": "nightly", "clientId": "web-1"});
    let (_, taken) = post(server.http, "/api/lock/acquire", &wish).await;
    let id = line.ask("IS_USED_LOCK nightly").await;
    let waiting = Request::send(server.http, "GET", "/getLock/nightly?wait=600", "").await;
    server.until_waiting(1).await;
    let waiter = line.list("WAITERS nightly").await[0].clone();
    let waiter = waiter.split(['=', ' ']).nth(2).unwrap();
    assert_eq!(line.ask(&format!("KILL QUERY {waiter}")).await, "1");
    assert_eq!(waiting.reply().await.0, 409);
    assert_eq!(line.ask(&format!("KILL {id}")).await, "1");
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let beat = json!({"resourceName": "nightly", "lockToken": taken["lockToken"]});
    assert_eq!(post(server.http, "/api/lock/heartbeat", &beat).await.0, 409);
}

#[tokio::test]
async fn drain_waits_for_leases_and_lets_them_be_released() {
    let mut server = TestServer::with(&["--drain", "60s"]);
    let (_, token) = get(server.http, "/getLock/nightly?ttl=60").await;
    server.stop();
    while get(server.http, "/readyz").await.0 == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(server.http, "/getLock/other").await.0, 503);
    assert_eq!(get(server.http, &format!("/releaseLock/nightly/{token}")).await.1, "released");
    server.stopped().await;
}

#[tokio::test]
async fn field_of_another_type_is_refused_by_its_name() {
    let server = TestServer::start();
    for value in [json!(5), json!(true), json!([]), json!({})] {
        for field in ["resourceName", "clientId", "mode", "note", "requestId", "lockToken"] {
            let path = if field == "lockToken" { "/api/lock/release" } else { "/api/lock/acquire" };
            let mut body = json!({ "resourceName": "x" });
            body[field] = value.clone();
            let (status, answer) = post(server.http, path, &body).await;
            let expected = format!("{field}: expected a string");
            assert_eq!((status, &answer["message"]), (400, &json!(expected)), "{body}");
        }
    }
}

#[tokio::test]
async fn invalid_request_is_a_json_error() {
    let server = TestServer::start();
    let body = "x".repeat(20_000);
    for (method, path, body, code, hint) in [
        ("POST", "/api/lock/acquire", "", 400, "send a JSON object"),
        ("POST", "/api/lock/acquire", "{}", 400, "resourceName: this field is required"),
        ("POST", "/api/lock/release", r#"{"resourceName":"x"}"#, 400, "lockToken: this field is required"),
        ("POST", "/api/session/1/kill", r#"{"reason":5}"#, 400, "reason: expected a string"),
        ("POST", "/api/lock/acquire", r#"{"resourceName":"x","ttlMs":1}"#, 400, "--lease-min"),
        (
            "POST",
            "/api/lock/acquire",
            r#"{"resourceName":"x","mode":"some"}"#,
            400,
            "`exclusive`, `shared` or `permit`",
        ),
        ("POST", "/api/lock/release", r#"{"resourceName":"x","lockToken":""}"#, 400, "32 hexadecimal digits"),
        ("POST", "/api/lock/release", r#"{"resourceName":"x","lockToken":"x"}"#, 404, "no such lease"),
        (
            "POST",
            "/api/lock/acquire",
            r#"{"resourceName":"x","waitMs":0.5}"#,
            400,
            "waitMs: expected milliseconds",
        ),
        (
            "POST",
            "/api/lock/acquire",
            r#"{"resourceName":"x","ttlMs":"5s"}"#,
            400,
            "ttlMs: expected milliseconds as a whole number, such as 5000",
        ),
        ("POST", "/api/lock/acquire", r#"{"resourceName":"x","ttlMs":1}"#, 400, "ttlMs must be 10 to"),
        (
            "POST",
            "/api/lock/acquire",
            r#"{"name":"x"}"#,
            400,
            "unknown field \"name\"; did you mean \"resourceName\"?",
        ),
        ("POST", "/api/lock/acquire", r#"{"x":1}"#, 400, "field \"x\"; GET /openapi.json lists the fields"),
        ("GET", "/api/locks?after_=1", "", 400, "unknown parameter \"after_\"; did you mean \"after\"?"),
        ("POST", "/api/lock/acquire", r#"{"resourceName":"x","requestId":"short"}"#, 400, "requestId: "),
        (
            "POST",
            "/api/session/abc/kill",
            "",
            400,
            "\"abc\" is not a session ID (a number); GET /api/sessions",
        ),
        ("POST", "/api/session/4000000000/kill", "", 404, "session 4000000000; GET /api/sessions lists them"),
        ("GET", "/getLock/%ff", "", 400, "UTF-8"),
        ("POST", "/api/lock/acquire", &body, 413, "at most 16384 bytes"),
        ("GET", "/getLock/x?wait=soon", "", 400, "500ms, 10s, 2m"),
        ("GET", "/getLock/x?ttl=-1", "", 400, "ttl: expected seconds"),
        ("DELETE", "/api/locks", "", 405, "DELETE is not allowed on /api/locks; the Allow header"),
        ("GET", "/nowhere", "", 404, "no such path: /nowhere; GET /openapi.json lists the paths"),
        ("GET", "/api/lock/status/file:/var/x", "", 404, "in a lock name, write / as %2F"),
        ("GET", "/getLock/a/b", "", 404, "in a lock name, write / as %2F"),
    ] {
        let (got, told) = Request::send(server.http, method, path, body).await.reply().await;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let message = told["message"].as_str().unwrap();
        assert!(got == code && message.contains(hint), "{method} {path}: {got} {message}");
    }
    assert_eq!(server.service.registry().count(), 0);
}
