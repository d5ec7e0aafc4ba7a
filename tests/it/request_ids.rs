//! Requests for leases that come again, with the id of the first: one lease, whatever became of the first answer.

use std::{
    hint::spin_loop,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::common::{
    TestServer,
    grpc::locks,
    http::{Request, post},
};
use getlockd::{
    internal::{
        client_info::Origin,
        command::LockRequest,
        grpc::proto::AcquireRequest,
        lease::{Bounds, Client, Grant, LeaseError, LeaseRequest, Leases, RequestId, Secret},
        lock::Mode,
        session::{Acquiring, Limits, LockService, Principal, UsedBy},
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;
use serde_json::json;
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, advance},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const MS: Duration = Duration::from_millis(1);
const ID: &str = "0f8a2e6d105e4c1c9b7d";

type Lent = Result<(Grant, Secret), LeaseError>;

/// Six leases at most, with those that wait.
fn leases() -> Arc<Leases> {
    let bounds = Bounds { min: 10 * MS, max: Duration::from_hours(1), count: 6 };
    Leases::new(LockService::new(Limits::default()), bounds, TaskTracker::new())
}

fn name() -> Name {
    Name::new("nightly").unwrap()
}

fn client_at(last: u8) -> Client {
    let origin =
        Origin { wire: getlockd::internal::client_info::Wire::Line, peer: ([127, 0, 0, last], 1).into() };
    Client { origin, gone: CancellationToken::new(), user: None, via: None }
}

/// A request with an id that waits for so long.
fn request(wait: Timeout) -> LeaseRequest {
    let request = Some(RequestId::new(ID.to_owned()).unwrap());
    LeaseRequest { wait, request, ttl: Some(1000 * MS), ..LeaseRequest::of(name()) }
}

/// Asks on a connection of its own. Aborted, that is gone.
fn ask(leases: &Arc<Leases>, wish: LeaseRequest) -> JoinHandle<Lent> {
    let leases = leases.clone();
    tokio::spawn(async move { leases.acquire(wish, client_at(1)).await })
}

/// Somebody else holds the lock.
async fn held(leases: &Arc<Leases>) -> Secret {
    let wish = LeaseRequest { ttl: Some(Duration::from_hours(1)), ..LeaseRequest::of(name()) };
    let (grant, secret) = leases.acquire(wish, client_at(9)).await.unwrap();
    grant.delivery.done();
    secret
}

async fn release(leases: &Arc<Leases>, secret: &Secret) {
    leases.release(&secret.key(), &name(), Principal::ALL).await.unwrap();
}

async fn until_waiting(leases: &Leases, waiters: usize) {
    while leases.service().stats().table.waiters != waiters {
        yield_now().await;
    }
}

fn assert_nothing_is_left(leases: &Leases) {
    assert!(leases.service().is_free(&name()));
    assert_eq!((leases.count(), leases.quota().count(), leases.service().registry().count()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn repeated_request_gets_and_renews_its_lease() {
    let leases = leases();
    let (first, secret) = ask(&leases, request(Timeout::NONE)).await.unwrap().unwrap();
    first.delivery.done();
    advance(900 * MS).await;
    for wait in [Timeout::NONE, Timeout::Forever] {
        let (again, same) = ask(&leases, request(wait)).await.unwrap().unwrap();
        assert_eq!((again.token, same.reveal()), (first.token, secret.reveal()));
        assert_eq!(again.ends - Instant::now(), 1000 * MS);
    }
    assert_eq!((leases.count(), leases.quota().count()), (1, 1));
    release(&leases, &secret).await;
    assert_nothing_is_left(&leases);
}

#[tokio::test(start_paused = true)]
async fn repeat_continues_the_wait_of_a_dead_connection() {
    let leases = leases();
    let holder = held(&leases).await;
    let first = ask(&leases, request(Timeout::Forever));
    until_waiting(&leases, 1).await;
    let again = ask(&leases, request(Timeout::Forever));
    yield_now().await;
    let mut later = leases.service().open(client_at(9).origin);
    let session = later.id();
    let later = tokio::spawn(async move {
        let request = LockRequest { name: name(), mode: Mode::Exclusive, timeout: Timeout::Forever };
        let Acquiring::Waiting(waiting) = later.acquire(request) else { panic!("it is held") };
        waiting.finish().await.unwrap().unwrap();
        session
    });
    until_waiting(&leases, 2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    release(&leases, &holder).await;
    let (grant, secret) = again.await.unwrap().unwrap();
    grant.delivery.done();
    assert!(!later.is_finished(), "it came later");
    release(&leases, &secret).await;
    assert_eq!(later.await.unwrap(), session);
    assert_nothing_is_left(&leases);
}

/// The last answer is lost at the very moment at which the request comes again: either finds the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_grant_is_not_revoked_with_the_lost_answer() {
    let leases = leases();
    let (send, lost) = mpsc::channel::<Grant>();
    let dropped = Arc::new(AtomicUsize::new(0));
    let drops = thread::spawn({
        let dropped = dropped.clone();
        move || {
            while let Some(grant) = lost.iter().next() {
                let round = dropped.fetch_add(1, Ordering::SeqCst) / 2;
                (0..round % 1_000).for_each(|_| spin_loop());
                drop(grant);
                dropped.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    for round in 0..3_000 {
        let (lost, _) = leases.acquire(request(Timeout::NONE), client_at(1)).await.unwrap();
        send.send(lost).unwrap();
        while dropped.load(Ordering::SeqCst) == 2 * round {
            spin_loop();
        }
        let again = leases.acquire(request(Timeout::NONE), client_at(1)).await;
        while dropped.load(Ordering::SeqCst) != 2 * round + 2 {
            spin_loop();
        }
        let (grant, secret) = again.unwrap();
        grant.delivery.done();
        assert!(!leases.service().is_free(&name()), "round {round}: granted, and free");
        release(&leases, &secret).await;
    }
    drop(send);
    drops.join().unwrap();
    assert_nothing_is_left(&leases);
}

#[tokio::test(start_paused = true)]
async fn grant_is_revoked_when_no_answer_arrives() {
    let leases = leases();
    let holder = held(&leases).await;
    let (first, again) =
        (ask(&leases, request(Timeout::Forever)), ask(&leases, request(Timeout::Within(60_000 * MS))));
    until_waiting(&leases, 1).await;
    release(&leases, &holder).await;
    let (first, again) = (first.await.unwrap().unwrap(), again.await.unwrap().unwrap());
    assert_eq!((first.0.token, first.1.reveal()), (again.0.token, again.1.reveal()));
    let third = ask(&leases, request(Timeout::NONE)).await.unwrap().unwrap();
    drop((first, again));
    assert_eq!(leases.count(), 1, "the third is on its way");
    drop(third);
    assert_nothing_is_left(&leases);
    // Once delivered, it stays for a request that comes again.
    let (first, _) = ask(&leases, request(Timeout::NONE)).await.unwrap().unwrap();
    first.delivery.done();
    drop(ask(&leases, request(Timeout::NONE)).await.unwrap().unwrap());
    assert_eq!(leases.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn wait_ends_with_its_last_connection() {
    let leases = leases();
    let holder = held(&leases).await;
    let asking: Vec<_> = (0..5).map(|_| ask(&leases, request(Timeout::Forever))).collect();
    until_waiting(&leases, 1).await;
    // Each that waits has a place, as has the holder: however they repeat, no more wait than may.
    assert_eq!(leases.quota().count(), 6);
    let more = ask(&leases, request(Timeout::Forever)).await.unwrap();
    assert!(matches!(more.unwrap_err(), LeaseError::QuotaExceeded(_)));
    for asked in asking {
        assert_eq!(leases.service().stats().table.waiters, 1);
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
    }
    assert_eq!((leases.service().stats().table.waiters, leases.quota().count()), (0, 1));
    release(&leases, &holder).await;
    assert_nothing_is_left(&leases);
}

#[tokio::test(start_paused = true)]
async fn each_repeat_has_its_own_timeout() {
    let leases = leases();
    let holder = held(&leases).await;
    let since = Instant::now();
    let forever = ask(&leases, request(Timeout::Forever));
    until_waiting(&leases, 1).await;
    for wait in [Duration::ZERO, 50 * MS, 20 * MS] {
        let before = Instant::now();
        assert_eq!(ask(&leases, request(wait.into())).await.unwrap().unwrap_err(), LeaseError::Busy(None));
        assert!((wait..=wait + 1 * MS).contains(&before.elapsed()), "{wait:?} {:?}", before.elapsed());
    }
    assert_eq!(leases.service().stats().timeouts, 3);
    release(&leases, &holder).await;
    let (grant, secret) = forever.await.unwrap().unwrap();
    grant.delivery.done();
    assert_eq!(grant.waited, since.elapsed());
    release(&leases, &secret).await;
    assert_nothing_is_left(&leases);
}

/// One that tries and one that waits come in the same moment, on many threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_repeats_share_a_lease() {
    let leases = leases();
    for round in 0..200 {
        let wait = |n: usize| if n.is_multiple_of(2) { Timeout::NONE } else { Timeout::Forever };
        let asking: Vec<_> = (0..4).map(|n| ask(&leases, request(wait(n)))).collect();
        let mut tokens = Vec::new();
        let mut secret = None;
        for asked in asking {
            let (grant, its) = asked.await.unwrap().unwrap_or_else(|error| panic!("{round}: {error}"));
            grant.delivery.done();
            tokens.push(grant.token);
            secret = Some(its);
        }
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{round}: {tokens:?}");
        release(&leases, &secret.unwrap()).await;
        assert_eq!(leases.service().registry().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn conflicting_request_with_same_id_is_refused() {
    let leases = leases();
    let holder = held(&leases).await;
    let first = ask(&leases, request(Timeout::Forever));
    until_waiting(&leases, 1).await;
    let others = || {
        let other = LeaseRequest { names: Name::new("other").unwrap().into(), ..request(Timeout::NONE) };
        let shared = LeaseRequest { mode: Mode::Shared, ..request(Timeout::NONE) };
        [(other, client_at(1)), (shared, client_at(1)), (request(Timeout::NONE), client_at(2))]
    };
    for (wish, client) in others() {
        assert_eq!(leases.acquire(wish, client).await.unwrap_err(), LeaseError::RequestIdTaken, "it waits");
    }
    release(&leases, &holder).await;
    let (grant, secret) = first.await.unwrap().unwrap();
    grant.delivery.done();
    for (wish, client) in others() {
        assert_eq!(leases.acquire(wish, client).await.unwrap_err(), LeaseError::RequestIdTaken, "it runs");
    }
    release(&leases, &secret).await;
    // The id is free with its lease, and leads to the same secret; on another server to another.
    let (grant_later, same) = leases.acquire(request(Timeout::NONE), client_at(2)).await.unwrap();
    assert_eq!(same.reveal(), secret.reveal());
    assert!(grant_later.token > grant.token);
    let (_, elsewhere) = self::leases().acquire(request(Timeout::NONE), client_at(1)).await.unwrap();
    assert_ne!(elsewhere.reveal(), secret.reveal());
}

#[tokio::test(start_paused = true)]
async fn request_of_an_ended_lease_takes_a_new_lease() {
    let leases = leases();
    let (first, _) = ask(&leases, request(Timeout::NONE)).await.unwrap().unwrap();
    first.delivery.done();
    advance(1000 * MS).await;
    let (again, _) = ask(&leases, request(Timeout::NONE)).await.unwrap().unwrap();
    again.delivery.done();
    assert!(again.token > first.token);
    let mut killer = leases.service().open(client_at(9).origin);
    let killed = killer.query(&UsedBy(&name())).unwrap().unwrap();
    killer.kill(killed, None).unwrap().finish().await.unwrap().unwrap();
    let (last, _) = ask(&leases, request(Timeout::NONE)).await.unwrap().unwrap();
    assert!(last.token > again.token);
}

#[test]
fn ids_have_16_to_64_characters_and_stay_secret() {
    for good in ["5".repeat(16), "~!".repeat(32)] {
        assert_eq!(format!("{:?}", RequestId::new(good).unwrap()), "RequestId(..)");
    }
    for bad in ["5".repeat(15), "5".repeat(65), format!("{ID} {ID}"), "é".repeat(16), format!("{ID}\0")] {
        assert_eq!(RequestId::new(bad).unwrap_err(), LeaseError::BadRequestId);
    }
}

/// The client loses its connection, cannot know what came of its request, and asks again: by either wire.
#[tokio::test]
async fn lost_connection_is_repeated_by_http_and_grpc() {
    let server = TestServer::start();
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let wish = json!({ "resourceName": "nightly", "waitMs": -1, "requestId": ID });
    let lost = Request::send(server.http, "POST", "/api/lock/acquire", &wish.to_string()).await;
    server.until_waiting(1).await;
    let again = Request::send(server.http, "POST", "/api/lock/acquire", &wish.to_string()).await;
    let mut grpc = locks(server.http).await;
    let request = AcquireRequest {
        name: "nightly".to_owned(),
        wait_ms: -1,
        request_id: Some(ID.to_owned()),
        ..AcquireRequest::default()
    };
    let by_grpc = {
        let (mut grpc, request) = (grpc.clone(), request.clone());
        tokio::spawn(async move { grpc.acquire(request).await.unwrap().into_inner() })
    };
    drop(lost);
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    let told: serde_json::Value = serde_json::from_str(&again.reply().await.1).unwrap();
    let by_grpc = by_grpc.await.unwrap();
    assert_eq!(
        (told["status"].as_str(), told["lockToken"].as_str()),
        (Some("Acquired"), Some(&*by_grpc.lease_token))
    );
    assert_eq!(told["fencingToken"], by_grpc.fencing_token);
    // The answer arrived, or did not: who asks again hears the same.
    let (code, repeated) = post(server.http, "/api/lock/acquire", &wish).await;
    assert_eq!(
        (code, &repeated["lockToken"], &repeated["fencingToken"]),
        (200, &told["lockToken"], &told["fencingToken"])
    );
    // Another lock under the same id.
    let other = json!({ "resourceName": "weekly", "requestId": ID });
    let (code, refused) = post(server.http, "/api/lock/acquire", &other).await;
    assert_eq!((code, refused["status"].as_str()), (409, Some("RequestIdTaken")));
    let other = AcquireRequest { name: "weekly".to_owned(), ..request };
    assert_eq!(grpc.acquire(other).await.unwrap_err().code(), tonic::Code::AlreadyExists);
    let short = json!({ "resourceName": "weekly", "requestId": "short" });
    assert_eq!(post(server.http, "/api/lock/acquire", &short).await.0, 400);
    let done = json!({ "resourceName": "nightly", "lockToken": told["lockToken"] });
    assert_eq!(post(server.http, "/api/lock/release", &done).await.0, 200);
    server.until(|stats| stats.table.locks == 0 && stats.sessions == 1).await;
}
