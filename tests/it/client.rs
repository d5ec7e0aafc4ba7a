//! The client in Rust, against a server in this process.

mod blocking;
mod cluster;
mod events;
mod http;
mod keepalive;
mod kinds;
mod leader;
mod several;

use std::{pin::pin, time::Duration};

use crate::common::{self, PATIENCE, TestServer, authority::Authority};
use getlockd::internal::users::{NewEntry, entry};
use getlockd_client::{Builder, Client, Connection, Error, Guard, Symbol, Timeout, Tls};
use tokio::{net::TcpListener, time::timeout};

async fn client(server: &TestServer) -> Client {
    Client::connect(server.addr.to_string()).await.unwrap()
}

async fn connection(server: &TestServer) -> Connection {
    Connection::connect(server.addr.to_string()).await.unwrap()
}

/// What must be granted at once.
async fn held(client: &Client, name: &str) -> Guard {
    client.try_lock(name).await.unwrap().expect("it is free")
}

/// What an error comes from.
fn cause(error: &Error) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

#[tokio::test]
async fn lock_is_held_until_guard_is_dropped_or_released() {
    let server = TestServer::start();
    let client = client(&server).await;
    let first = held(&client, "two 'words'\n").await;
    assert!(client.try_lock("Two 'Words'\n").await.unwrap().is_none());
    let again = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("two 'words'\n", Timeout::Forever).await }
    });
    server.until_waiting(1).await;
    let token = first.fencing_token();
    drop(first);
    let second = in_time(again).await.unwrap().unwrap();
    assert!(second.fencing_token() > token);
    second.release().await.unwrap();
    assert_eq!(server.service.stats().table.locks, 0, "a release waits until it is done");
}

#[tokio::test]
async fn acquire_timeout_is_an_error() {
    let server = TestServer::start();
    let client = client(&server).await;
    let _first = held(&client, "x").await;
    let late = Duration::from_millis(1);
    assert!(matches!(client.acquire("x", late).await, Err(Error::NotGranted { .. })));
    assert!(matches!(
        connection(&server).await.acquire_shared("x", late).await,
        Err(Error::NotGranted { .. })
    ));
    let mut ran = false;
    let scope = client.lock("x", late, async |_: &Guard| ran = true).await;
    assert!(matches!(scope, Err(Error::NotGranted { .. })) && !ran, "no work without the lock");
}

#[tokio::test]
async fn scope_takes_and_frees_the_lock() {
    let server = TestServer::start();
    let client = client(&server).await;
    // Such work can be spawned.
    let scope = tokio::spawn({
        let client = client.clone();
        async move {
            let inside = async |guard: &Guard| {
                assert!(client.try_lock("x").await.unwrap().is_none());
                guard.name().to_owned()
            };
            client.lock("x", Timeout::Forever, inside).await
        }
    });
    assert_eq!(in_time(scope).await.unwrap().unwrap(), "x");
    assert_eq!(server.service.stats().table.locks, 0);
    let connection = connection(&server).await;
    let sum = connection.lock_shared("x", Duration::ZERO, async |_: &Guard| 1 + 1).await.unwrap();
    assert_eq!((sum, server.service.stats().table.locks), (2, 0));
}

#[tokio::test]
async fn scope_drops_its_future_when_lock_is_lost() {
    let server = TestServer::start();
    let (client, killer) = (client(&server).await, connection(&server).await);
    let (started, session) = tokio::sync::oneshot::channel();
    let (kept, dropped) = tokio::sync::oneshot::channel::<()>();
    let scope = tokio::spawn(async move {
        let work = async move |guard: &Guard| {
            let _kept = kept;
            started.send(guard.session()).unwrap();
            std::future::pending::<()>().await;
        };
        client.lock("x", Timeout::Forever, work).await
    });
    killer.kill(in_time(session).await.unwrap(), None).await.unwrap();
    assert_eq!(in_time(scope).await.unwrap().unwrap_err().symbol(), Some(Symbol::Killed));
    assert!(in_time(dropped).await.is_err());

    let guard = killer.acquire("x", Timeout::Forever).await.unwrap();
    assert_eq!(guard.run(async { 7 }).await.unwrap(), 7);
    assert!(!guard.is_lost());
}

#[tokio::test]
async fn name_and_note_are_said_on_every_connection() {
    let mut server = TestServer::start();
    let addr = server.addr.to_string();
    let builder = Client::builder(&*addr).name("web-1").note("ask \u{202e}anna").user("ops", "x");
    let client = builder.clone().connect().await.unwrap();
    for _ in 0..2 {
        let guard = in_time(client.acquire("nightly", Timeout::Forever)).await.unwrap();
        let connection = connection(&server).await;
        let row = connection.locks("").await.unwrap().rows.remove(0);
        let said = [row.client.as_deref(), row.user.as_deref(), row.note.as_deref()];
        assert_eq!(said, [Some("web-1"), Some("ops"), Some("ask \u{202e}anna")]);
        assert!(row.idle.is_some_and(|idle| idle <= row.held + Duration::from_millis(50)), "{row:?}");
        connection.kill(row.session, Some("deploy stuck")).await.unwrap();
        let told = in_time(guard.lost()).await.to_string();
        assert!(told.contains(": deploy stuck; your locks are released"), "{told}");
        let past = connection.history("nightly").await.unwrap().rows.remove(0);
        let said = [past.client.as_deref(), past.note.as_deref(), past.reason.as_deref()];
        assert_eq!(said, [Some("web-1"), Some("ask \u{202e}anna"), Some("deploy stuck")]);
        drop((guard, connection));
        server.stop();
        server.stopped().await;
        server = TestServer::at(&addr, &[]);
    }
    let long = builder.name("é".repeat(1000)).connection().await.unwrap();
    let row = long.sessions().await.unwrap().rows.into_iter().find(|row| row.session == long.session());
    assert_eq!(row.unwrap().client.unwrap().chars().count(), 250, "as much as a line has room for");
}

#[tokio::test]
async fn client_without_a_name_introduces_its_user_and_program() {
    let server = TestServer::start();
    let addr = server.addr.to_string();
    let [default, silent] = [Client::builder(&*addr), Client::builder(&*addr).name("")];
    let [default, silent] = [default.connection().await.unwrap(), silent.connection().await.unwrap()];
    let rows = silent.sessions().await.unwrap().rows;
    let client = |of: &Connection| {
        rows.iter().find(|row| row.session == of.session()).and_then(|row| row.client.clone())
    };
    let said = client(&default).unwrap();
    assert!(said.contains(&format!("[{}] it-", std::process::id())) && said.contains('@'), "{said}");
    assert_eq!(client(&silent), None);
}

#[tokio::test]
async fn shared_locks_coexist() {
    let server = TestServer::start();
    let client = client(&server).await;
    let both = [
        client.try_lock_shared("x").await.map(Option::unwrap),
        client.acquire_shared("x", Timeout::Forever).await,
    ];
    let both = both.map(Result::unwrap);
    assert!(client.try_lock("x").await.unwrap().is_none());
    drop(both);
    held(&client, "x").await.release().await.unwrap();
}

#[tokio::test]
async fn released_connection_returns_to_pool() {
    let server = TestServer::start();
    let client = client(&server).await;
    let first = held(&client, "x").await;
    let id = first.session();
    first.release().await.unwrap();
    let (again, another) = (held(&client, "x").await, held(&client, "y").await);
    assert_eq!(again.session(), id);
    assert_ne!(another.session(), id);
    drop((again, another));
    server.until(|stats| stats.table.locks == 0 && stats.sessions == 2).await;
    let none = Client::builder(server.addr.to_string()).idle(0).connect().await.unwrap();
    drop(client);
    server.until(|stats| stats.sessions == 0).await;
    drop(held(&none, "x").await);
    server.until(|stats| stats.sessions == 0).await;
}

#[tokio::test]
async fn guards_of_same_name_on_same_connection_count() {
    let server = TestServer::start();
    let connection = connection(&server).await;
    let [first, second] = [(); 2].map(|()| connection.try_lock("x"));
    let (first, second) = tokio::join!(first, second);
    let (first, second) = (first.unwrap().unwrap(), second.unwrap().unwrap());
    assert_eq!(first.fencing_token(), second.fencing_token());
    first.release().await.unwrap();
    assert_eq!(server.service.stats().table.locks, 1);
    second.release().await.unwrap();
    assert_eq!(server.service.stats().table.locks, 0);
}

#[tokio::test]
async fn lost_connection_loses_all_its_guards() {
    let server = TestServer::start();
    let (one, other) = (connection(&server).await, connection(&server).await);
    let guards = [one.try_lock("a").await.unwrap().unwrap(), one.try_lock("b").await.unwrap().unwrap()];
    assert!(!guards[0].is_lost());
    other.kill(one.session(), None).await.unwrap();
    for guard in &guards {
        let lost = in_time(guard.lost()).await;
        assert_eq!(lost.symbol(), Some(Symbol::Killed));
        assert!(guard.is_lost() && lost.to_string().contains("killed by session "), "{lost}");
    }
    let [first, _] = guards;
    assert!(matches!(first.release().await, Err(Error::Lost(_))));
    assert!(matches!(one.try_lock("a").await, Err(Error::Lost(_))), "it does not come back");
    assert!(other.try_lock("a").await.unwrap().is_some());
}

#[tokio::test]
async fn server_shutdown_loses_the_lock() {
    let mut server = TestServer::with(&["--drain", "0"]);
    let guard = held(&client(&server).await, "x").await;
    server.stop();
    assert_eq!(in_time(guard.lost()).await.symbol(), Some(Symbol::Shutdown));
}

#[tokio::test]
async fn silent_close_by_server_is_a_loss() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = common::Client { stream: tokio::io::BufReader::new(stream) };
        assert_eq!(peer.line().await, "KEEPALIVE");
        assert_eq!(peer.line().await, "HELLO");
        peer.send("KEEPALIVE left=25.000\nHELLO version=9 protocol=1 session=7").await;
        assert_eq!(peer.line().await, "KEEPALIVE");
        peer.send("KEEPALIVE left=25.000").await;
        assert_eq!(peer.line().await, "GET_LOCK x -1");
        assert_eq!(peer.line().await, "FENCING_TOKEN x");
        peer.send("1\n99").await;
        assert_eq!(peer.line().await, "RELEASE_LOCK x");
        peer.send("nonsense").await;
        peer.next().await
    });
    let connection = Builder::new(addr).name("").connection().await.unwrap();
    let guard = connection.acquire("x", Timeout::Forever).await.unwrap();
    assert_eq!((guard.session(), guard.fencing_token()), (7, 99));
    assert!(matches!(guard.release().await, Err(Error::Unexpected(_))));
    let lost = connection.lost();
    drop(connection);
    in_time(lost).await;
    assert_eq!(in_time(server).await.unwrap(), None);
}

#[tokio::test]
async fn dropped_client_call_leaves_the_queue() {
    let server = TestServer::start();
    let client = client(&server).await;
    let _held = held(&client, "x").await;
    {
        let mut waiting = pin!(client.acquire("x", Timeout::Forever));
        assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
        tokio::select! {
            _ = &mut waiting => unreachable!("it is held"),
            () = server.until_waiting(1) => {}
        }
    }
    server.until_waiting(0).await;
    server.until(|stats| stats.sessions == 1).await;
}

#[tokio::test]
async fn dropped_connection_call_leaves_no_lock() {
    let server = TestServer::start();
    let (one, other) = (connection(&server).await, connection(&server).await);
    let first = other.try_lock("x").await.unwrap().unwrap();
    let kept = one.try_lock("kept").await.unwrap().unwrap();
    tokio::select! {
        _ = one.acquire("x", Timeout::Forever) => unreachable!("it is held"),
        () = server.until_waiting(1) => {}
    }
    // It waits still, and what is asked now is behind it.
    let ping = tokio::spawn(async move { one.ping().await });
    first.release().await.unwrap();
    in_time(ping).await.unwrap().unwrap();
    server.until(|stats| stats.table.locks == 1).await;
    assert!(!kept.is_lost());
}

#[tokio::test]
async fn unclaimed_grant_is_freed() {
    let server = TestServer::start();
    let connection = connection(&server).await;
    for _ in 0..100 {
        // The answer comes while nobody looks at it.
        let mut lock = Box::pin(connection.try_lock("x"));
        poll_once(&mut lock).await;
        connection.ping().await.unwrap();
        drop(lock);
        connection.ping().await.unwrap();
        assert_eq!(server.service.stats().table.locks, 0);
    }
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(what: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *what).poll(cx).is_ready()))
        .await
}

#[tokio::test]
async fn retry_covers_waits_but_not_lost_locks() {
    let first = TestServer::with(&["--drain", "0"]);
    let addr = first.addr.to_string();
    let client = Client::builder(&addr).retry(PATIENCE).connect().await.unwrap();
    let lost = held(&client, "x").await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("x", Timeout::Forever).await }
    });
    first.until_waiting(1).await;
    let mut first = first;
    first.stop();
    first.stopped().await;
    in_time(lost.lost()).await;
    let second = TestServer::at(&addr, &[]);
    let guard = in_time(waiting).await.unwrap().unwrap();
    assert!(!guard.is_lost() && lost.is_lost());
    drop(lost);
    client.connection().await.unwrap().ping().await.unwrap();
    assert_eq!(second.service.stats().table.locks, 1, "the drop of the lost one freed nothing");
}

#[tokio::test]
async fn closed_idle_connection_is_not_reused() {
    let server = TestServer::with(&["--idle-time", "300ms"]);
    let client = Client::builder(server.addr.to_string()).retry(Duration::ZERO).connect().await.unwrap();
    server.until(|stats| stats.sessions == 0).await;
    held(&client, "x").await.release().await.unwrap();
}

#[tokio::test]
async fn refusal_carries_its_symbol() {
    let server = TestServer::start();
    let (one, other) = (connection(&server).await, connection(&server).await);
    let [_a, _b] = [one.try_lock("a").await.unwrap(), other.try_lock("b").await.unwrap()];
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { one.acquire("b", Timeout::Forever).await }
    });
    server.until_waiting(1).await;
    let cycle = other.acquire("a", Timeout::Forever).await.unwrap_err();
    assert_eq!(cycle.symbol(), Some(Symbol::Deadlock));
    assert!(other.cancel_wait(one.session()).await.unwrap());
    assert_eq!(in_time(waiting).await.unwrap().unwrap_err().symbol(), Some(Symbol::Interrupted));
    assert!(!other.cancel_wait(one.session()).await.unwrap());
    assert_eq!(other.kill(999, None).await.unwrap_err().symbol(), Some(Symbol::NoSession));
    assert!(matches!(one.try_lock("").await, Err(Error::BadName(_))));
    assert!(matches!(one.try_lock(&"n".repeat(5000)).await, Err(Error::BadName(_))));
    one.ping().await.unwrap();
}

#[tokio::test]
async fn killed_wait_is_not_retried() {
    let server = TestServer::start();
    let client = client(&server).await;
    let _held = held(&client, "x").await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("x", Timeout::Forever).await }
    });
    server.until_waiting(1).await;
    let killer = connection(&server).await;
    let waiter = killer.waiters("x").await.unwrap().rows[0].session;
    killer.kill(waiter, None).await.unwrap();
    assert_eq!(in_time(waiting).await.unwrap().unwrap_err().symbol(), Some(Symbol::Killed));
}

#[tokio::test]
async fn lists_are_typed_rows() {
    let server = TestServer::start();
    let connection = connection(&server).await;
    let _guard = connection.try_lock("it's mine").await.unwrap().unwrap();
    let locks = connection.locks("it").await.unwrap();
    assert_eq!((locks.total, locks.rows[0].name.as_str()), (1, "it's mine"));
    assert_eq!(connection.why("it's mine").await.unwrap().rows[0].waits_for, None);
    assert_eq!(connection.sessions().await.unwrap().rows[0].session, connection.session());
    assert_eq!(connection.stats().await.unwrap().locks, 1);
    assert_eq!(connection.locks("").await.unwrap().total, 1);
    assert_eq!(connection.locks("other").await.unwrap().rows, []);
}

#[tokio::test]
async fn unreachable_server_is_reported() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = Client::connect(&closed).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {closed}"));
    assert!(cause(&error).contains("refused"));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = Builder::new(silent.local_addr().unwrap().to_string());
    let error = builder.connect_time(Duration::from_millis(10)).connection().await.unwrap_err();
    assert!(cause(&error).contains("no answer within 10ms"), "{error}");
}

#[tokio::test]
async fn login_gives_the_permissions_of_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.toml");
    let wanted = NewEntry { name: "app".to_owned(), lock: vec!["app:".to_owned()], ..NewEntry::default() };
    std::fs::write(&file, entry(&wanted, b"it's \\ secret", false).unwrap()).unwrap();
    let server = TestServer::with(&["--users", file.to_str().unwrap()]);
    let builder = || Client::builder(server.addr.to_string()).retry(Duration::ZERO);
    let symbol = |failed: Result<Client, Error>| failed.unwrap_err().symbol();
    assert_eq!(symbol(builder().user("app", "wrong").connect().await), Some(Symbol::Auth));
    let client = builder().user("app", "it's \\ secret").connect().await.unwrap();
    held(&client, "app:x").await.release().await.unwrap();
    assert_eq!(client.try_lock("other").await.unwrap_err().symbol(), Some(Symbol::Denied));
    let nobody = builder().connect().await.unwrap();
    assert_eq!(nobody.try_lock("app:x").await.unwrap_err().symbol(), Some(Symbol::Auth));
}

#[tokio::test]
async fn mutual_tls_authenticates_both_sides() {
    let authority = Authority::new();
    let ca = authority.ca().to_str().unwrap().to_owned();
    let server = TestServer::with(&authority.sign("server").flags(&["--tls-client-ca", &ca]));
    let files = authority.sign("client");
    let [ca, chain, key] = [authority.ca(), files.cert, files.key].map(|file| std::fs::read(file).unwrap());
    let builder = || Client::builder(server.addr.to_string()).retry(Duration::ZERO);
    let tls = Tls::of_authority(&ca, Some((&chain, &key))).unwrap();
    let client = builder().tls(tls).connect().await.unwrap();
    let guard = held(&client, "x").await;
    assert_eq!(server.service.stats().table.locks, 1);
    guard.release().await.unwrap();

    let nameless = builder().tls(Tls::of_authority(&ca, None).unwrap()).connect().await.unwrap_err();
    assert!(matches!(nameless, Error::Lost(_) | Error::Connect { .. }), "{nameless}");
    let other = Authority::new();
    let distrusting = Tls::of_authority(&std::fs::read(other.ca()).unwrap(), None).unwrap();
    let error = builder().tls(distrusting).connect().await.unwrap_err();
    assert!(cause(&error).contains("certificate"), "{error}");
    let error = builder().connect().await.unwrap_err();
    assert_eq!(error.symbol(), Some(Symbol::WrongProtocol), "{error}");
}

#[tokio::test]
async fn tls_ca_as_server_certificate_is_refused_with_advice() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.itself().flags(&[]));
    let tls = Tls::of_authority(&std::fs::read(authority.ca()).unwrap(), None).unwrap();
    let error = Client::builder(server.addr.to_string()).retry(Duration::ZERO).tls(tls).connect().await;
    assert!(cause(&error.unwrap_err()).contains("basicConstraints=critical,CA:FALSE"));
}

/// A key that nobody uses.
const P_521: &[u8] = b"-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIB5MkDxBVAvRmqgkZ2
1gw8Esi4zYqcxs6RAaoR34EXG51AS7ezF7yq/hbqN42LcOIYv6JBjCnx26MTfJiB
B9/YE0GhgYkDgYYABAGUFek8ZKK7ZjuiC3Un7ZUjFjvS2Sl4dgQDxNoy78iws2vr
+mz0gHtbraChD01QtfZyFws80nT2vqNvsroEFgwoMQC7OAuTTVBTI5GejBg+RdbL
frv9AZw+HjJc+sEsihsYlJx/zywy9p6Er5slmcFucD4J+wq0Kvt3r1+wwcr0OXGz
yg==
-----END PRIVATE KEY-----
";

#[test]
fn tls_unusable_key_is_refused_with_advice() {
    let authority = Authority::new();
    let files = authority.sign("client");
    let [ca, chain, key] = [authority.ca(), files.cert, files.key].map(|file| std::fs::read(file).unwrap());
    let with_mark = |pem: &[u8]| [b"\xef\xbb\xbf", pem].concat();
    Tls::of_authority(&with_mark(&ca), Some((&with_mark(&chain), &with_mark(&key)))).unwrap();
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = Tls::of_authority(&ca, Some((&chain, encrypted))).unwrap_err().to_string();
    assert!(error.contains("is encrypted; decrypt it with: openssl pkey"), "{error}");
    let error = Tls::of_authority(&ca, Some((&chain, P_521))).unwrap_err().to_string();
    assert!(error.contains("not supported; use ECDSA (P-256 or P-384)"), "{error}");
    let error = Tls::of_authority(&ca, Some((&chain, &chain))).unwrap_err().to_string();
    assert!(error.contains("no private key found"), "{error}");
}

#[tokio::test]
async fn leased_lock_outlives_its_connection() {
    let server = TestServer::start();
    let (holder, other) = (connection(&server).await, connection(&server).await);
    let ttl = Duration::from_mins(1);
    assert!(matches!(holder.lease_lock("nightly", ttl).await, Err(Error::NotHeld)));
    let guard = holder.try_lock("nightly").await.unwrap().expect("it is free");
    let refused = holder.lease_lock("nightly", Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.symbol(), Some(Symbol::Limit));
    assert_eq!(holder.lease_lock("nightly", ttl).await.unwrap().len(), 32);
    let fencing_token = guard.fencing_token();
    drop((guard, holder));
    server.until(|stats| stats.sessions == 2).await;
    assert!(other.try_lock("nightly").await.unwrap().is_none());
    let held = other.locks("nightly").await.unwrap().rows.remove(0);
    assert_eq!((held.fencing_token, held.expires.is_some()), (fencing_token, true));
}
