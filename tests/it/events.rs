//! Being told: watchers learn what happens to locks, and holders learn that others wait.

use std::time::Duration;

use getlockd::internal::grpc::proto::{
    Events, ReleaseAllLocks, WatchRequest, hold_request::Command, watch_response::Event,
};
use getlockd::internal::{
    client_info::{Origin, Wire},
    command::LockRequest,
    lock::Mode,
    session::{Acquiring, Limits, LockService, Session, Told},
};
use getlockd::name::Name;
use getlockd_proto::timeout::Timeout;

use tokio::{io::BufReader, net::TcpSocket};

use crate::common::{
    Client, TestServer,
    grpc::{Hold, get_lock, locks},
};

/// A line without what differs from run to run.
fn stable(line: &str) -> String {
    let words =
        line.split(' ').filter(|word| !word.starts_with("fencing_token=") && !word.starts_with("held="));
    words.collect::<Vec<_>>().join(" ")
}

async fn event(client: &mut Client) -> String {
    stable(&client.line().await)
}

#[tokio::test]
async fn watcher_is_told_when_a_lock_is_taken_freed_and_lost() {
    let server = TestServer::start();
    let [mut watcher, mut holder, mut waiter, mut admin] = server.clients().await;
    assert_eq!(watcher.ask("WATCH app1:").await, "1");
    let (first, second) = (holder.id().await, waiter.id().await);
    holder.ask("GET_LOCK other 0").await;
    holder.ask("GET_LOCK app1:nightly 0").await;
    assert_eq!(
        event(&mut watcher).await,
        format!("* TAKEN name=app1:nightly mode=exclusive session={first}")
    );
    waiter.send("GET_LOCK app1:nightly 60").await;
    server.until_waiting(1).await;
    holder.ask("RELEASE_LOCK app1:nightly").await;
    assert_eq!(
        event(&mut watcher).await,
        format!("* FREED name=app1:nightly mode=exclusive session={first} cause=release")
    );
    assert_eq!(
        event(&mut watcher).await,
        format!("* TAKEN name=app1:nightly mode=exclusive session={second}")
    );
    admin.ask(&format!("KILL {second}")).await;
    assert_eq!(
        event(&mut watcher).await,
        format!("* LOST name=app1:nightly mode=exclusive session={second} cause=killed")
    );
}

#[tokio::test]
async fn request_refused_as_a_deadlock_is_no_waiter() {
    let server = TestServer::start();
    let [mut holder, mut waiter, mut asker] = server.clients().await;
    assert_eq!(holder.ask("EVENTS ON").await, "1");
    assert_eq!(holder.ask("GET_LOCK v 0").await, "1");
    assert_eq!(asker.ask("GET_LOCK w 0").await, "1");
    holder.send("GET_LOCK w 60").await;
    server.until_waiting(1).await;
    let id = waiter.id().await;
    waiter.send("GET_LOCK v 60").await;
    assert_eq!(event(&mut holder).await, format!("* WAITING name=v session={id} mode=exclusive waiters=1"));
    for refused in ["GET_LOCK v 60", "GET_LOCKS u v 60"] {
        assert!(asker.ask(refused).await.starts_with("ERROR DEADLOCK"), "{refused}");
    }
    assert_eq!(asker.ask("RELEASE_LOCK w").await, "1");
    assert_eq!(holder.line().await, "1", "the next line is the reply");
}

#[tokio::test]
async fn each_end_of_a_hold_is_told_with_its_cause() {
    let server = TestServer::start();
    let [mut watcher, mut holder] = server.clients().await;
    watcher.ask("WATCH").await;
    holder.ask("GET_LOCK a 0").await;
    holder.ask("RELEASE_ALL_LOCKS").await;
    holder.ask("GET_SHARED_LOCK a 0").await;
    holder.ask("GET_LOCK a 0").await;
    drop(holder);
    let id = 2;
    for told in [
        format!("* TAKEN name=a mode=exclusive session={id}"),
        format!("* FREED name=a mode=exclusive session={id} cause=release"),
        format!("* TAKEN name=a mode=shared session={id}"),
        format!("* TAKEN name=a mode=exclusive session={id}"),
        format!("* LOST name=a mode=exclusive session={id} cause=disconnect"),
    ] {
        assert_eq!(event(&mut watcher).await, told);
    }
}

#[tokio::test]
async fn holder_is_told_of_waits_while_it_waits_itself() {
    let server = TestServer::start();
    let [mut holder, mut other, mut waiter, mut last] = server.clients().await;
    assert_eq!(holder.ask("EVENTS ON").await, "1");
    holder.ask("GET_LOCK nightly 0").await;
    other.ask("GET_LOCK second 0").await;
    holder.send("GET_LOCK second 60").await;
    server.until_waiting(1).await;
    waiter.send("GET_LOCK nightly 60").await;
    assert_eq!(holder.line().await, "* WAITING name=nightly session=3 mode=exclusive waiters=1");
    last.send("GET_SHARED_LOCK nightly 60").await;
    assert_eq!(holder.line().await, "* WAITING name=nightly session=4 mode=shared waiters=2");
    other.ask("RELEASE_LOCK second").await;
    assert_eq!(holder.line().await, "1");
    assert_eq!(holder.ask("EVENTS OFF").await, "1");
}

#[tokio::test]
async fn new_holder_is_told_of_waits_that_began_before() {
    let server = TestServer::start();
    let [mut first, mut second, mut third] = server.clients().await;
    first.ask("GET_LOCK nightly 0").await;
    second.ask("EVENTS ON").await;
    second.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    third.send("GET_LOCK nightly 60").await;
    server.until_waiting(2).await;
    first.ask("RELEASE_LOCK nightly").await;
    let mut told = [second.line().await, second.line().await];
    told.sort();
    assert_eq!(told, ["* WAITING name=nightly session=3 mode=exclusive waiters=1", "1"]);
}

#[tokio::test]
async fn watch_within_a_watched_prefix_adds_nothing() {
    let server = TestServer::start();
    let [mut watcher, mut holder] = server.clients().await;
    for (line, answer) in [
        ("WATCH app1:", "1"),
        ("WATCH app1:jobs:", "1"),
        ("UNWATCH app1:jobs:", "0"),
        ("WATCH app", "1"),
        ("UNWATCH app1:", "0"),
        ("WATCH", "1"),
        ("UNWATCH app", "0"),
    ] {
        assert_eq!(watcher.ask(line).await, answer, "{line}");
    }
    holder.ask("GET_LOCK app1:jobs:a 0").await;
    assert_eq!(event(&mut watcher).await, "* TAKEN name=app1:jobs:a mode=exclusive session=2");
    assert_eq!(watcher.ask("UNWATCH").await, "1");
    holder.ask("RELEASE_ALL_LOCKS").await;
    assert_eq!(watcher.ask("PING").await, "PONG");
}

#[tokio::test]
async fn seventeenth_prefix_is_refused_with_the_limit() {
    let server = TestServer::start();
    let mut watcher = server.client().await;
    for at in 0..16 {
        assert_eq!(watcher.ask(&format!("WATCH p{at:02}")).await, "1");
    }
    let refused = watcher.ask("WATCH q").await;
    assert_eq!(refused, "ERROR LIMIT this session watches 16 prefixes, the maximum; watch a shorter one");
    assert_eq!(watcher.ask("WATCH p").await, "1");
    assert_eq!(watcher.ask("WATCH q").await, "1");
}

fn session(service: &std::sync::Arc<LockService>) -> Session {
    service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() })
}

fn pair(session: &mut Session, name: &Name) {
    let timeout = Timeout::Within(Duration::ZERO);
    let wanted = LockRequest { name: name.clone(), mode: Mode::Exclusive, timeout };
    assert!(matches!(session.acquire(wanted), Acquiring::Done(Ok(_))));
    session.release(name).unwrap();
}

/// The fencing tokens of what a session is told in the order in which it is told, and how much it has missed.
fn told(session: &Session) -> (Vec<u64>, u64) {
    let (mut tokens, mut missed) = (Vec::new(), 0);
    while let Some(told) = session.handle().next_told() {
        match told {
            Told::Lock(event) => tokens.push(event.hold.token),
            Told::Missed(count) => missed += count.expect("a count"),
            Told::Waiting(_) => panic!("nobody waits"),
        }
    }
    (tokens, missed)
}

#[tokio::test]
async fn sleeper_among_10000_watchers_knows_how_many_it_missed() {
    const WATCHERS: usize = 10_000;
    const PAIRS: usize = 25;
    const ROUNDS: usize = 4;
    /// What is kept of each prefix where there are 1,001.
    const KEPT: usize = 125;
    let service = LockService::new(Limits::default());
    let mut watchers: Vec<_> = (0..WATCHERS).map(|_| session(&service)).collect();
    for watcher in &mut watchers {
        watcher.watch(Some(Name::new("app1:").unwrap())).unwrap();
    }
    let mut others: Vec<_> = (0..1_000).map(|_| session(&service)).collect();
    for (at, other) in others.iter_mut().enumerate() {
        other.watch(Some(Name::new(&format!("other{at}")).unwrap())).unwrap();
    }
    let (name, mut holder) = (Name::new("app1:nightly").unwrap(), session(&service));
    let (sleeper, readers) = watchers.split_first().unwrap();
    let mut last = vec![0; readers.len()];
    for _ in 0..ROUNDS {
        (0..PAIRS).for_each(|_| pair(&mut holder, &name));
        for (reader, last) in readers.iter().zip(&mut last) {
            let (tokens, missed) = told(reader);
            assert_eq!((tokens.len(), missed), (2 * PAIRS, 0));
            let pairs = tokens.chunks(2).all(|pair| pair[0] == pair[1]);
            assert!(pairs && tokens.is_sorted() && tokens[0] > *last);
            *last = tokens[tokens.len() - 1];
        }
    }
    let (tokens, missed) = told(sleeper);
    let all = 2 * PAIRS * ROUNDS;
    assert_eq!((tokens.len(), usize::try_from(missed).unwrap()), (KEPT, all - KEPT));
    assert_eq!(tokens.last(), last.last());
}

#[tokio::test]
async fn each_watcher_is_woken_by_an_event() {
    let service = LockService::new(Limits::default());
    let mut watchers: Vec<_> = (0..1_000).map(|_| session(&service)).collect();
    for watcher in &mut watchers {
        watcher.watch(None).unwrap();
    }
    let mut holder = session(&service);
    pair(&mut holder, &Name::new("nightly").unwrap());
    for watcher in &watchers {
        let woken = std::future::poll_fn(|cx| watcher.handle().poll_wakeup(cx));
        tokio::time::timeout(crate::common::PATIENCE, woken).await.expect("woken in time");
        assert_eq!(told(watcher).0.len(), 2);
    }
}

/// With many bytes, so that the sockets are soon full.
fn long_name() -> Name {
    Name::new(&format!("app1:{}", "\u{1d11e}".repeat(59))).unwrap()
}

#[tokio::test]
async fn client_that_does_not_read_is_told_how_many_it_missed() {
    const ROUNDS: usize = 150;
    let server = TestServer::start();
    let mut quick = server.client().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut slow = Client { stream: BufReader::new(socket.connect(server.addr).await.unwrap()) };
    slow.ask("WATCH app1:").await;
    quick.ask("WATCH app1:").await;
    let (name, mut holder) = (long_name(), session(&server.service));
    for _ in 0..ROUNDS {
        (0..100).for_each(|_| pair(&mut holder, &name));
        for _ in 0..200 {
            let line = quick.line().await;
            assert!(!line.starts_with("* MISSED"), "{line}");
        }
    }
    let mut seen = 0;
    while seen < ROUNDS * 200 {
        let line = slow.line().await;
        seen += line.strip_prefix("* MISSED count=").map_or(1, |count| count.parse().unwrap());
    }
    assert_eq!(seen, ROUNDS * 200);
    assert!(server.service.events().missed() > 0, "its socket took all");
    assert_eq!(slow.ask("PING").await, "PONG");
}

/// Watches over HTTP/1.0, whose bodies are not in chunks.
async fn watch(server: &TestServer, prefix: &str, after: Option<&str>) -> Client {
    let mut client = Client::connect(server.http).await;
    let after = after.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
    client.send(&format!("GET /api/watch?prefix={prefix} HTTP/1.0\r\nHost: localhost\r\n{after}\r")).await;
    while !client.line().await.is_empty() {}
    client
}

/// The next server-sent event that is more than a heartbeat: its kind, its id, and its data.
async fn sent(client: &mut Client) -> (String, String, serde_json::Value) {
    loop {
        let (mut kind, mut id, mut data) = (None, String::new(), serde_json::Value::Null);
        loop {
            let line = client.line().await;
            match line.split_once(": ") {
                Some(("event", text)) => kind = Some(text.to_owned()),
                Some(("id", text)) => text.clone_into(&mut id),
                Some(("data", text)) => data = serde_json::from_str(text).unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        if let Some(kind) = kind {
            return (kind, id, data);
        }
    }
}

#[tokio::test]
async fn http_stream_goes_on_behind_the_last_event_id() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    let mut watcher = watch(&server, "app1:", None).await;
    holder.ask("GET_LOCK app1:nightly 0").await;
    let (kind, id, data) = sent(&mut watcher).await;
    assert_eq!(
        (kind.as_str(), &data["name"], &data["mode"]),
        ("taken", &"app1:nightly".into(), &"exclusive".into())
    );
    drop(watcher);
    holder.ask("RELEASE_LOCK app1:nightly").await;
    holder.ask("GET_LOCK other 0").await;
    let mut watcher = watch(&server, "app1:", Some(&id)).await;
    let (kind, _, data) = sent(&mut watcher).await;
    assert_eq!((kind.as_str(), &data["cause"]), ("freed", &"release".into()));
    assert!(data["heldMs"].is_u64() && data["fencingToken"].is_u64(), "{data}");
}

#[tokio::test]
async fn unknown_last_event_id_begins_with_an_unknown_gap() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    for id in ["1f-7", "nonsense"] {
        let mut watcher = watch(&server, "app1:", Some(id)).await;
        holder.ask("GET_LOCK app1:nightly 0").await;
        let (kind, _, data) = sent(&mut watcher).await;
        assert_eq!((kind.as_str(), &data["count"]), ("missed", &serde_json::Value::Null));
        assert_eq!(sent(&mut watcher).await.0, "taken");
        holder.ask("RELEASE_ALL_LOCKS").await;
    }
}

#[tokio::test]
async fn hold_stream_is_told_of_waits() {
    let server = TestServer::start();
    let mut holder = Hold::open(server.http).await;
    holder.send(Command::Events(Events { on: true })).await;
    assert_eq!(holder.next().await.result, Some(1));
    holder.send(get_lock("nightly", 0)).await;
    assert_eq!(holder.next().await.result, Some(1));
    let mut waiter = server.client().await;
    let id = waiter.id().await;
    waiter.send("GET_LOCK nightly 60").await;
    let waiting = holder.next().await.waiting.expect("an event");
    assert_eq!((waiting.name.as_str(), waiting.session, waiting.waiters), ("nightly", id, 1));
    holder.send(Command::ReleaseAllLocks(ReleaseAllLocks {})).await;
    assert_eq!(holder.next().await.result, Some(1));
    assert_eq!(waiter.line().await, "1");
}

#[tokio::test]
async fn grpc_watch_goes_on_behind_a_message() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    let mut grpc = locks(server.http).await;
    let request = |after: &str| WatchRequest { prefix: "app1:".to_owned(), after: after.to_owned() };
    let mut stream = grpc.watch(request("")).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.event, None);
    holder.ask("GET_LOCK app1:nightly 0").await;
    let taken = stream.message().await.unwrap().unwrap();
    assert!(matches!(&taken.event, Some(Event::Taken(event)) if event.name == "app1:nightly"), "{taken:?}");
    drop(stream);
    holder.ask("RELEASE_ALL_LOCKS").await;
    let mut stream = grpc.watch(request(&taken.id)).await.unwrap().into_inner();
    let freed = loop {
        if let Some(event) = stream.message().await.unwrap().unwrap().event {
            break event;
        }
    };
    assert!(matches!(&freed, Event::Freed(event) if event.cause() == "release"), "{freed:?}");
}
