//! Users: who comes in, and what each may lock, see and end, on every wire.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use common::{
    Client, PATIENCE, TestServer,
    grpc::locks,
    http::Request as Http,
    mysql::{MySql, Reply},
};
use getlockd::{
    grpc::proto::{
        AcquireRequest, HistoryRequest, KillRequest, ListRequest, SessionsRequest, StatusRequest,
        WaitersRequest, WhyRequest, locks_client::LocksClient,
    },
    others::{
        netlocker::proto::{
            NetLockRequest, NetUnlockRequest, net_locker_service_client::NetLockerServiceClient,
        },
        sharelock::proto::{LockRequest, share_lock_service_client::ShareLockServiceClient},
    },
    user::{Proof, Users, Wanted, entry},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Request, transport::Channel};

/// A file of users: app1 and app2 keep to their part, ops sees all and may end all.
struct File {
    dir: TempDir,
}

const APP1: [&str; 1] = ["app1:"];
const APP2: [&str; 1] = ["app2:"];

fn user(name: &str, lock: &[&str], see: &[&str], kill: bool) -> String {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let wanted = Wanted { name: name.to_owned(), lock: owned(lock), see: owned(see), kill, native: true };
    entry(&wanted, format!("secret of {name}").as_bytes(), false).unwrap()
}

impl File {
    fn new() -> Self {
        let file = Self { dir: tempfile::tempdir().unwrap() };
        let (app1, app2) = (user("app1", &APP1, &[], true), user("app2", &APP2, &["shared:"], false));
        file.write(&[app1, app2, user("ops", &[], &["*"], true), token()]);
        file
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("users.toml")
    }

    fn write(&self, entries: &[String]) {
        fs::write(self.path(), entries.concat()).unwrap();
    }

    fn server(&self) -> TestServer {
        TestServer::with(&["--users", self.path().to_str().unwrap()])
    }
}

/// Of a user who has no password.
fn token() -> String {
    let wanted = Wanted { name: "web".to_owned(), lock: vec!["app1:".to_owned()], ..Wanted::default() };
    entry(&wanted, b"token of web", true).unwrap()
}

async fn line(server: &TestServer, name: &str) -> Client {
    let mut client = server.client().await;
    assert_eq!(client.ask(&format!("AUTH {name} 'secret of {name}'")).await, "1");
    client
}

async fn mysql(server: &TestServer, name: &str) -> MySql {
    MySql::connect_as(server.mysql, name, &format!("secret of {name}")).await.unwrap()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

async fn http(server: &TestServer, login: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    Http::send_as(server.http, login, method, path, body).await.reply().await
}

/// As app1 by HTTP.
async fn app1(server: &TestServer, method: &str, path: &str, body: &str) -> (u16, String) {
    http(server, &basic("app1", "secret of app1"), method, path, body).await
}

fn with_login<T>(message: T, login: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", login.parse().unwrap());
    request
}

async fn acquire(locks: &mut LocksClient<Channel>, login: &str, name: &str) -> Result<(), Code> {
    let wanted = AcquireRequest { name: name.to_owned(), ..AcquireRequest::default() };
    locks.acquire(with_login(wanted, login)).await.map(drop).map_err(|status| status.code())
}

#[tokio::test]
async fn a_wrong_password_is_refused_on_the_line_wire() {
    let (file, mut refused) = (File::new(), vec![]);
    let server = file.server();
    let mut client = server.client().await;
    assert_eq!(client.ask("GET_LOCK app1:a 0").await, "ERROR AUTH log in first: AUTH user password");
    for login in ["AUTH app1 wrong", "AUTH nobody 'secret of app1'", "AUTH app1 ''"] {
        refused.push(client.ask(login).await);
    }
    assert_eq!(refused, ["ERROR AUTH wrong user or password"; 3]);
    assert_eq!(client.ask("LOCKS").await, "ERROR AUTH log in first: AUTH user password");
    assert_eq!(client.ask("PING").await, "PONG");
    assert_eq!(client.ask("AUTH app1 'secret of app1'").await, "1");
    assert_eq!(client.ask("GET_LOCK app1:a 0").await, "1");
    let other = "ERROR AUTH this session has logged in as another user; open another connection";
    assert_eq!(client.ask("AUTH app2 'secret of app2'").await, other);
}

#[tokio::test]
async fn a_wrong_password_is_refused_on_the_mysql_wire() {
    let file = File::new();
    let server = file.server();
    let denied = |user: &str, with: &str| Reply::Error {
        code: 1045,
        state: "28000".to_owned(),
        text: format!("Access denied for user '{user}'@'127.0.0.1' (using password: {with})"),
    };
    for (user, password, with) in
        [("app1", "wrong", "YES"), ("nobody", "secret of app1", "YES"), ("web", "token of web", "YES")]
    {
        let by_sha2 = MySql::connect_as(server.mysql, user, password).await;
        assert_eq!(by_sha2.err().unwrap(), denied(user, with));
        if user == "web" {
            continue;
        }
        let natively = MySql::connect_natively(server.mysql, user, password).await;
        assert_eq!(natively.err().unwrap(), denied(user, with));
    }
    let mut nothing = MySql::greeted(server.mysql).await;
    let login = nothing.login("caching_sha2_password", b"", "");
    nothing.send(1, &login).await;
    assert_eq!(nothing.reply().await, denied("root", "NO"));
    let mut client = MySql::connect_natively(server.mysql, "app1", "secret of app1").await.unwrap();
    assert_eq!(client.value("SELECT CURRENT_USER()").await.unwrap(), "app1@%");
    assert_eq!(mysql(&server, "app1").await.value("SELECT GET_LOCK('app1:a', 0)").await.unwrap(), "1");
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_http() {
    let file = File::new();
    let server = file.server();
    let paths = ["/", "/api/locks", "/getLock/app1:a", "/metrics", "/none"];
    let logins = [&*basic("app1", "wrong"), &basic("nobody", "x"), "Bearer secret of app1", "Basic !"];
    let without = paths.map(|path| ("", path));
    for (login, path) in without.into_iter().chain(logins.map(|login| (login, "/getLock/app1:a"))) {
        let (status, body) = http(&server, login, "GET", path, "").await;
        assert_eq!(status, 401, "{login} {path}: {body}");
        assert!(body.contains("\"status\":\"Unauthorized\""), "{body}");
    }
    for open in ["/healthz", "/readyz"] {
        assert_eq!(http(&server, "", "GET", open, "").await.0, 200);
    }
    assert_eq!(app1(&server, "GET", "/getLock/app1:a", "").await.0, 200);
    assert_eq!(http(&server, "Bearer token of web", "GET", "/getLock/app1:b", "").await.1.len(), 32);
}

#[tokio::test]
async fn programs_with_an_old_token_do_not_lock_out_those_with_the_new_one() {
    let file = File::new();
    let server = file.server();
    for _ in 0..40 {
        drop(Http::send_as(server.http, "Bearer old", "GET", "/api/locks", "").await);
    }
    while http(&server, "Bearer old", "GET", "/api/locks", "").await.0 != 429 {}
    assert_eq!(http(&server, "Bearer token of web", "GET", "/api/locks", "").await.0, 200);
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_grpc() {
    let file = File::new();
    let server = file.server();
    let mut locks = locks(server.http).await;
    for login in [basic("app1", "wrong"), "Bearer wrong".to_owned()] {
        assert_eq!(acquire(&mut locks, &login, "app1:a").await, Err(Code::Unauthenticated));
    }
    let without = locks.acquire(AcquireRequest::default()).await.unwrap_err();
    assert_eq!(without.code(), Code::Unauthenticated);
    assert_eq!(acquire(&mut locks, &basic("app1", "secret of app1"), "app1:a").await, Ok(()));
    assert_eq!(acquire(&mut locks, "Bearer token of web", "app1:b").await, Ok(()));
}

/// One of app2's holds what one of app1's must not get at; its number.
async fn stranger(server: &TestServer) -> (Client, u32) {
    let mut app2 = line(server, "app2").await;
    assert_eq!(app2.ask("GET_LOCK app2:a 0").await, "1");
    let id = app2.id().await;
    (app2, id)
}

#[tokio::test]
async fn the_line_wire_shows_and_takes_nothing_outside() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, id) = stranger(&server).await;
    let mut app1 = line(&server, "app1").await;
    assert_eq!(app1.ask("GET_LOCK app2:b 0").await, "ERROR DENIED your user may not lock app2:b");
    assert_eq!(app1.ask("GET_SHARED_LOCK APP2:b 0").await, "ERROR DENIED your user may not lock app2:b");
    for look in ["RELEASE_LOCK", "IS_FREE_LOCK", "IS_USED_LOCK", "WAITERS", "WHY"] {
        let told = app1.ask(&format!("{look} app2:a")).await;
        assert_eq!(told, "ERROR DENIED your user may not look at app2:a", "{look}");
    }
    assert_eq!(app1.list("LOCKS").await, Vec::<String>::new());
    assert_eq!(app1.list("LOCKS app2:").await, Vec::<String>::new());
    assert_eq!(app1.list("SESSIONS").await.len(), 1);
    for kill in ["KILL", "KILL QUERY"] {
        let told = app1.ask(&format!("{kill} {id}")).await;
        assert_eq!(told, format!("ERROR DENIED your user may not end session {id}"));
    }
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    // Within, all is as ever.
    let mut other = line(&server, "app1").await;
    assert_eq!(other.ask("GET_LOCK app1:a 0").await, "1");
    assert_eq!(app1.list("LOCKS").await.len(), 1);
    let kill = format!("KILL {}", other.id().await);
    assert_eq!(app1.ask(&kill).await, "1");
}

#[tokio::test]
async fn the_mysql_wire_shows_and_takes_nothing_outside() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, id) = stranger(&server).await;
    let mut app1 = mysql(&server, "app1").await;
    for (what, name) in [
        ("LOCK", "SELECT GET_LOCK('app2:b', 0)"),
        ("LOCK", "SELECT GET_SHARED_LOCK('App2:b', 0)"),
        ("SEE", "SELECT IS_FREE_LOCK('app2:b')"),
        ("SEE", "SELECT IS_USED_LOCK('app2:b')"),
        ("SEE", "SELECT RELEASE_LOCK('app2:b')"),
    ] {
        let text = format!(
            "Access denied; you need (at least one of) the {what} on app2:b privilege(s) for this operation"
        );
        let denied = Reply::Error { code: 1227, state: "42000".to_owned(), text };
        assert_eq!(app1.query(name).await, denied);
    }
    let count = "SELECT COUNT(*) FROM performance_schema.metadata_locks";
    assert_eq!(app1.value(count).await.unwrap(), "0");
    let named = "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_NAME = 'app2:a'";
    assert_eq!(app1.value(named).await.unwrap(), "0");
    let processes = "SELECT COUNT(*) FROM information_schema.processlist";
    assert_eq!(app1.value(processes).await.unwrap(), "1");
    for kill in ["KILL", "KILL QUERY"] {
        assert_eq!(app1.query(&format!("{kill} {id}")).await.code(), 1095);
    }
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    assert_eq!(mysql(&server, "ops").await.value(count).await.unwrap(), "1");
}

#[tokio::test]
async fn a_mysql_client_that_becomes_another_user_has_the_rights_of_that_one() {
    let file = File::new();
    let server = file.server();
    let mut client = mysql(&server, "app1").await;
    assert_eq!(client.value("SELECT GET_LOCK('app1:a', 0)").await.unwrap(), "1");
    client.change_user("app2", "secret of app2").await.unwrap();
    assert_eq!(client.query("SELECT GET_LOCK('app1:a', 0)").await.code(), 1227);
    assert_eq!(client.value("SELECT GET_LOCK('app2:a', 0)").await.unwrap(), "1");
    assert_eq!(client.change_user("ops", "wrong").await.unwrap_err().code(), 1045);
    assert_eq!(client.packet().await, None);
}

#[tokio::test]
async fn a_mysql_client_may_become_another_user_long_after_its_login() {
    let file = File::new();
    let path = file.path();
    let server = TestServer::with(&["--users", path.to_str().unwrap(), "--login-time", "1s"]);
    let mut client = mysql(&server, "app1").await;
    assert_eq!(client.value("SELECT SLEEP(1.1)").await.unwrap(), "0");
    client.change_user("app2", "secret of app2").await.unwrap();
    assert_eq!(client.value("SELECT GET_LOCK('app2:a', 0)").await.unwrap(), "1");
}

#[tokio::test]
async fn http_shows_and_takes_nothing_outside() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, id) = stranger(&server).await;
    let as_app2 = basic("app2", "secret of app2");
    let (_, token) = http(&server, &as_app2, "GET", "/getLock/app2:lease", "").await;
    let of = |name: &str| format!("{{\"resourceName\":\"{name}\",\"lockToken\":\"{token}\"}}");
    for (method, path, body) in [
        ("GET", "/getLock/app2:b", String::new()),
        ("POST", "/api/lock/acquire", "{\"resourceName\":\"app2:b\"}".to_owned()),
        ("POST", "/api/lock/heartbeat", of("app2:lease")),
        ("POST", "/api/lock/release", of("app2:lease")),
        ("GET", "/api/lock/status/app2:a", String::new()),
        ("GET", "/api/lock/waiters/app2:a", String::new()),
        ("GET", "/api/lock/why/app2:a", String::new()),
        ("GET", "/api/lock/history/app2:a", String::new()),
        ("POST", &format!("/api/session/{id}/kill"), String::new()),
        ("POST", &format!("/api/session/{id}/interrupt"), String::new()),
    ] {
        let (status, told) = app1(&server, method, path, &body).await;
        assert!(status == 403 && told.contains("\"Forbidden\""), "{path}: {status} {told}");
    }
    assert_eq!(app1(&server, "GET", "/api/locks", "").await.1, "{\"locks\":[],\"total\":0}");
    assert_eq!(app1(&server, "GET", "/lockmanager/status", "").await.1, "");
    let (_, sessions) = app1(&server, "GET", "/api/sessions", "").await;
    assert!(sessions.ends_with("\"total\":1}"), "{sessions}");
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    let (_, held) = http(&server, &as_app2, "GET", "/api/locks", "").await;
    assert!(held.contains("\"total\":2"), "{held}");
}

/// Each thing that can be asked of the other services about a lock of app2's, and how that service tells why not.
fn asked_of_others(token: &str) -> [(&'static str, String, &'static str, &'static str); 13] {
    let of = |what: &str, name: &str| format!("{what}?resource={name}&ttl=9s&token={token}");
    let body = "{\"key\":\"app2:lease\",\"timeoutMs\":0}";
    let (text, status, error) = ("WHY", "{\"status\":2}", "{\"error\":\"WHY\"}");
    [
        ("GET", "/netlocker/lock?key=app2:b&time_lock=9&unique_id=x".to_owned(), "", text),
        ("GET", "/netlocker/unlock?key=app2:lease&unique_id=x".to_owned(), "", text),
        ("POST", "/sharelock/lock".to_owned(), body, status),
        ("POST", "/sharelock/unlock".to_owned(), body, status),
        ("POST", of("/waelson/lock", "app2:b"), "", error),
        ("POST", of("/waelson/unlock", "app2:lease"), "", error),
        ("POST", of("/waelson/refresh", "app2:lease"), "", error),
        ("GET", of("/waelson/ttl", "app2:lease"), "", error),
        ("GET", "/lockmanager/getLock/app2:b".to_owned(), "", error),
        ("GET", "/lockmanager/getLock/1/app2:b/9".to_owned(), "", error),
        ("GET", format!("/lockmanager/releaseLock/app2:lease/{token}"), "", error),
        ("GET", "/lockmanager/getlock?lockname=app2:b".to_owned(), "", error),
        ("DELETE", format!("/lockmanager/releaselock?lockname=app2:lease&token={token}"), "", error),
    ]
}

#[tokio::test]
async fn other_services_refuse_in_their_own_words() {
    let file = File::new();
    let server = file.server();
    let as_app2 = basic("app2", "secret of app2");
    let (_, token) = http(&server, &as_app2, "GET", "/getLock/app2:lease", "").await;
    let refused = async |login: &str, code: u16, why: &str| {
        let login = &format!("{login}\r\nx-client-id: x");
        for (method, path, body, shape) in asked_of_others(&token) {
            let (status, told) = loop {
                let (status, told) = http(&server, login, method, &path, body).await;
                // One may be among those that are answered late.
                if code != 429 || status == 429 {
                    break (status, told);
                }
            };
            let (before, after) = shape.split_once("WHY").unwrap_or((shape, ""));
            assert!(status == code && told.starts_with(before) && told.ends_with(after), "{path}: {told}");
            assert!(before == shape || told.contains(why), "{path}: {told}");
        }
    };
    refused("", 401, "log in: Authorization").await;
    refused(&basic("app1", "secret of app1"), 403, "your user may not lock app2:").await;
    let (_, held) = http(&server, &as_app2, "GET", "/api/locks", "").await;
    assert!(held.contains("\"total\":1"), "{held}");
    for _ in 0..40 {
        drop(Http::send_as(server.http, "Bearer old", "GET", "/api/locks", "").await);
    }
    refused("Bearer old", 429, "too many wrong passwords").await;
}

#[tokio::test]
async fn other_services_refuse_by_grpc() {
    let file = File::new();
    let server = file.server();
    let channel = common::grpc::connected(server.http).await;
    let login = basic("app1", "secret of app1");
    let mut netlocker = NetLockerServiceClient::new(channel.clone());
    let mut sharelock = ShareLockServiceClient::new(channel);
    let key = || "app2:a".to_owned();
    let wanted = NetLockRequest { key: key(), time_lock: 9, unique_id: None };
    let code = netlocker.try_and_lock(with_login(wanted, &login)).await.unwrap_err().code();
    assert_eq!(code, Code::PermissionDenied);
    let held = NetUnlockRequest { key: key(), unique_id: None };
    let code = netlocker.unlock(with_login(held, &login)).await.unwrap_err().code();
    assert_eq!(code, Code::PermissionDenied);
    let as_x = |mut request: Request<_>| {
        request.metadata_mut().insert("x-client-id", "x".parse().unwrap());
        request
    };
    let wanted = with_login(LockRequest { key: key(), timeout_ms: 0 }, &login);
    assert_eq!(sharelock.lock(as_x(wanted)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(sharelock.lock(LockRequest::default()).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_lease_is_renewed_by_nobody_but_the_user_who_took_it() {
    let file = File::new();
    let server = file.server();
    let (_, token) = app1(&server, "GET", "/getLock/app1:a", "").await;
    let body = format!("{{\"resourceName\":\"app1:a\",\"lockToken\":\"{token}\"}}");
    let web = "Bearer token of web";
    assert_eq!(http(&server, web, "POST", "/api/lock/heartbeat", &body).await.0, 409);
    assert_eq!(http(&server, web, "POST", "/api/lock/release", &body).await.0, 409);
    assert_eq!(app1(&server, "POST", "/api/lock/release", &body).await.0, 200);
}

#[tokio::test]
async fn grpc_shows_and_takes_nothing_outside() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, connection_id) = stranger(&server).await;
    let mut locks = locks(server.http).await;
    let login = basic("app1", "secret of app1");
    assert_eq!(acquire(&mut locks, &login, "app2:b").await, Err(Code::PermissionDenied));
    let status = locks.status(with_login(StatusRequest { name: "app2:a".to_owned() }, &login)).await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);
    let of_app2 = || "app2:a".to_owned();
    let waiters = locks.waiters(with_login(WaitersRequest { name: of_app2() }, &login)).await;
    assert_eq!(waiters.unwrap_err().code(), Code::PermissionDenied);
    let why = locks.why(with_login(WhyRequest { name: of_app2() }, &login)).await;
    assert_eq!(why.unwrap_err().code(), Code::PermissionDenied);
    let history = locks.history(with_login(HistoryRequest { name: of_app2() }, &login)).await;
    assert_eq!(history.unwrap_err().code(), Code::PermissionDenied);
    for only_wait in [false, true] {
        let kill = KillRequest { connection_id, only_wait };
        let killed = locks.kill(with_login(kill, &login)).await;
        assert_eq!(killed.unwrap_err().code(), Code::PermissionDenied);
    }
    let sessions = locks.sessions(with_login(SessionsRequest {}, &login)).await.unwrap().into_inner();
    assert_eq!(sessions.total, 1);
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    let list = locks.list(with_login(ListRequest::default(), &login)).await.unwrap().into_inner();
    assert_eq!((list.total, list.locks.len()), (0, 0));
    let mut hold = common::grpc::Hold::open_as(server.http, &login).await;
    hold.send(common::grpc::get_lock("app2:b", 0)).await;
    assert_eq!(hold.next().await.refusal.unwrap().symbol, "DENIED");
    hold.send(common::grpc::get_lock("app1:b", 0)).await;
    assert_eq!(hold.next().await.result, Some(1));
}

#[tokio::test]
async fn a_circle_and_a_chain_hide_what_may_not_be_seen() {
    let file = File::new();
    file.write(&[
        user("app1", &["app1:", "both:"], &[], false),
        user("app2", &["app2:", "both:"], &[], false),
    ]);
    let server = file.server();
    let (mut one, mut two) = (line(&server, "app1").await, line(&server, "app2").await);
    assert_eq!(one.ask("GET_LOCK both:a 0").await, "1");
    assert_eq!(two.ask("GET_LOCK app2:b 0").await, "1");
    two.send("GET_LOCK both:a 60").await;
    server.until_waiting(1).await;
    assert_eq!(one.ask("GET_LOCK both:b 0").await, "1");
    let mut third = line(&server, "app2").await;
    assert_eq!(third.ask("GET_LOCK both:c 0").await, "1");
    third.send("GET_LOCK app2:b 60").await;
    server.until_waiting(2).await;
    let why = one.list("WHY both:c").await;
    assert!(why[0].ends_with("waiting_for='(hidden)'"), "{why:?}");
    assert_eq!(why.len(), 2, "app2:b itself is not shown, both:a behind it is: {why:?}");
    let told = one.ask("GET_LOCK both:c 60").await;
    assert!(
        told.starts_with("ERROR DEADLOCK") && told.contains("'(hidden)'") && !told.contains("app2:"),
        "{told}"
    );
}

#[tokio::test]
async fn who_may_end_sessions_ends_those_that_are_within_his_sight() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, id) = stranger(&server).await;
    let mut ops = line(&server, "ops").await;
    assert_eq!(ops.list("LOCKS").await.len(), 1);
    assert_eq!(ops.list("SESSIONS").await.len(), 2);
    assert_eq!(ops.ask("GET_LOCK app2:a 0").await, "ERROR DENIED your user may not lock app2:a");
    assert_eq!(ops.ask(&format!("KILL {id}")).await, "1");
    assert!(stranger.line().await.starts_with("ERROR KILLED"));
    let mut guest = server.client().await;
    assert_eq!(guest.ask("PING").await, "PONG");
    assert_eq!(ops.ask("KILL 3").await, "1");
    let mut app1 = line(&server, "app1").await;
    let id = ops.id().await;
    assert_eq!(
        app1.ask(&format!("KILL {id}")).await,
        format!("ERROR DENIED your user may not end session {id}")
    );
}

#[tokio::test]
async fn a_new_file_changes_what_users_may_and_drops_nobody_who_still_may() {
    let file = File::new();
    let server = file.server();
    let (mut stays, mut loses, mut gone) =
        (line(&server, "app1").await, line(&server, "app1").await, line(&server, "app2").await);
    for (client, name) in [(&mut stays, "app1:new:a"), (&mut loses, "app1:old:a"), (&mut gone, "app2:a")] {
        assert_eq!(client.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    let mut waits = line(&server, "app1").await;
    waits.send("GET_LOCK app1:old:a 60").await;
    server.until_waiting(1).await;
    file.write(&[user("app1", &["app1:new:"], &[], false), user("new", &["*"], &[], false)]);
    assert_eq!(server.reload(), Ok(()));
    for client in [&mut loses, &mut gone, &mut waits] {
        assert!(client.line().await.starts_with("ERROR DENIED your user may not be here"));
        assert_eq!(client.next().await, None);
    }
    assert_eq!(stays.ask("GET_LOCK app1:new:a 0").await, "1");
    assert_eq!(stays.ask("GET_LOCK app1:old:a 0").await, "ERROR DENIED your user may not lock app1:old:a");
    let mut new = line(&server, "new").await;
    assert_eq!(new.ask("GET_LOCK app1:old:a 0").await, "1");
    assert_eq!(stays.ask("AUTH app2 'secret of app2'").await.split(' ').nth(1), Some("AUTH"));
    // A file that is broken changes nothing.
    fs::write(file.path(), "[user.app1]\nlock = 5\n").unwrap();
    assert!(server.reload().unwrap_err().contains("users.toml:2"));
    // Nor does one that was truncated.
    file.write(&[]);
    assert!(server.reload().unwrap_err().contains("no user is in "));
    assert_eq!(stays.ask("RELEASE_LOCK app1:new:a").await, "1");
    drop(line(&server, "app1").await);
}

#[tokio::test]
async fn one_who_does_not_log_in_is_closed_in_time_whatever_he_sends() {
    let file = File::new();
    let path = file.path();
    let server = TestServer::with(&["--users", path.to_str().unwrap(), "--login-time", "100ms"]);
    let mut client = server.client().await;
    assert_eq!(client.ask("PING").await, "PONG");
    assert_eq!(client.line().await, "ERROR AUTH nobody has logged in for 100ms (--login-time); closing");
    assert_eq!(client.next().await, None);
    // Nor is there more time for one who guesses, and one who takes no answers.
    let mut guesser = server.client().await;
    guesser.send(&["AUTH app1 guess"; 100].join("\n")).await;
    assert_eq!(guesser.line().await, "ERROR AUTH wrong user or password");
    assert_eq!(guesser.line().await, "ERROR AUTH nobody has logged in for 100ms (--login-time); closing");
    let mut deaf = TcpStream::connect(server.addrs().line).await.unwrap();
    let closed = async { while deaf.write_all(&b"HELP\n".repeat(1000)).await.is_ok() {} };
    timeout(PATIENCE, closed).await.expect("an end in time");
}

#[tokio::test]
async fn one_who_does_not_log_in_by_http_is_closed_in_time_whatever_he_sends() {
    let file = File::new();
    let path = file.path();
    let server = TestServer::with(&["--users", path.to_str().unwrap(), "--login-time", "200ms"]);
    let request = |login: &str| {
        format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /api/locks HTTP/1.1\r\nhost: x\r\nauthorization: {login}\r\n\r\n"
        )
    };
    let (login, wrong) = (basic("app1", "secret of app1"), basic("app1", "wrong"));
    let mut known = TcpStream::connect(server.http).await.unwrap();
    known.write_all(request(&login).as_bytes()).await.unwrap();
    let mut known_by_grpc = common::grpc::Hold::open_as(server.http, &login).await;

    let closed = async |mut stranger: TcpStream| {
        let read = timeout(PATIENCE, stranger.read_to_end(&mut Vec::new())).await;
        drop(read.expect("an end in time"));
    };
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for said in [&*request(""), &request(&wrong), "GET / HTTP/1.1\r\nhost:", http2] {
        let mut stranger = TcpStream::connect(server.http).await.unwrap();
        stranger.write_all(said.as_bytes()).await.unwrap();
        closed(stranger).await;
    }
    let mut busy = TcpStream::connect(server.http).await.unwrap();
    let ends = async { while busy.write_all(request("").as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, ends).await.expect("an end in time");

    // Those who came before have logged in, and stay.
    known.write_all(request("").as_bytes()).await.unwrap();
    let mut told = String::new();
    while !told.contains("401 Unauthorized") {
        let mut read = [0; 4096];
        let count = timeout(PATIENCE, known.read(&mut read)).await.expect("an answer").unwrap();
        assert!(count > 0, "it was closed: {told}");
        told.push_str(std::str::from_utf8(&read[..count]).unwrap());
    }
    known_by_grpc.send(common::grpc::get_lock("app1:a", 0)).await;
    assert_eq!(known_by_grpc.next().await.result, Some(1));
}

#[tokio::test]
async fn what_is_refused_does_not_repeat_a_password() {
    let file = File::new();
    let server = file.server();
    let mut client = server.client().await;
    for wrong in
        ["AUTH app1 secret) x", "AUTH app1 'secret", "SELECT AUTH('app1' secret)", "auth app1 secret 3"]
    {
        let told = client.ask(wrong).await;
        assert!(told.starts_with("ERROR SYNTAX usage: AUTH") && !told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn where_there_are_no_users_everybody_is_let_in() {
    let server = TestServer::start();
    let mut client = server.client().await;
    assert_eq!(client.ask("AUTH app1 anything").await, "1");
    assert_eq!(client.ask("GET_LOCK a 0").await, "1");
    assert!(client.list("LOCKS").await[0].ends_with(" user=app1"));
}

/// app1's lease, which says that it is ops.
async fn pretender(server: &TestServer) {
    let body = "{\"resourceName\":\"app1:a\",\"clientId\":\"ops\"}";
    assert_eq!(app1(server, "POST", "/api/lock/acquire", body).await.0, 200);
}

#[tokio::test]
async fn what_calls_itself_something_else_is_shown_with_its_user() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    let mut app1 = line(&server, "app1").await;
    for list in ["LOCKS", "SESSIONS"] {
        let told = app1.list(list).await;
        assert!(told[0].contains(" user=ops account=app1 "), "{told:?}");
    }
    // One who says nothing of himself is shown by his user alone.
    assert!(app1.list("SESSIONS").await[1].ends_with(" user=app1"));
}

#[tokio::test]
async fn mysql_shows_the_user_of_what_calls_itself_something_else() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    let mut by_mysql = mysql(&server, "app1").await;
    let who = "SELECT COUNT(*) FROM information_schema.processlist WHERE USER = 'ops'";
    assert_eq!(by_mysql.value(who).await.unwrap(), "0");
}

#[tokio::test]
async fn http_shows_what_calls_itself_something_else_with_its_user() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    for path in ["/api/locks", "/api/lock/status/app1:a", "/api/lock/why/app1:a", "/api/sessions"] {
        let (_, told) = app1(&server, "GET", path, "").await;
        assert!(told.contains("\"clientId\":\"ops\",\"account\":\"app1\","), "{path}: {told}");
        assert_eq!(told.matches("account").count(), 1, "{path}: {told}");
    }
}

#[tokio::test]
async fn grpc_shows_what_calls_itself_something_else_with_its_user() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    let (mut locks, login) = (locks(server.http).await, basic("app1", "secret of app1"));
    let list = locks.list(with_login(ListRequest::default(), &login)).await.unwrap().into_inner().locks;
    let sessions =
        locks.sessions(with_login(SessionsRequest {}, &login)).await.unwrap().into_inner().sessions;
    let (lock, lease, own) = (&list[0], &sessions[0], &sessions[1]);
    assert_eq!((lock.owner.as_deref(), lock.account.as_deref()), (Some("ops"), Some("app1")));
    assert_eq!((lease.owner.as_deref(), lease.account.as_deref()), (Some("ops"), Some("app1")));
    assert_eq!((own.owner.as_deref(), own.account.as_deref()), (Some("app1"), None));
}

#[test]
fn a_file_that_is_wrong_says_where_and_shows_no_verifier() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let secret = "bf7ffba958c798f80e3cf8ebea1cbc781495cadb8880a7f2bbc73d530712b52d";
    for (text, hint) in [
        (format!("[user.a]\npassword = \"{secret}\""), "users.toml:2: unknown field `password`"),
        (format!("[user.a]\npassword-sha256 = \"{secret}\" x"), "users.toml:2: "),
        ("[user.a]".to_owned(), "user a: say password-sha256 or token-sha256"),
        ("[user.a]\npassword-sha256 = \"12\"".to_owned(), "user a: password-sha256 is 64 hexadecimal digits"),
        (format!("[user.a]\npassword-sha256 = \"{secret}\"\nlock = [\"a*\"]"), "a prefix has no *"),
        (format!("[user.a]\npassword-sha256 = \"{secret}\"\nsee = [\"\"]"), "is no prefix of names"),
        (format!("[user.\"a:b\"]\npassword-sha256 = \"{secret}\""), "a user's name has"),
        (format!("[usr.a]\npassword-sha256 = \"{secret}\""), "unknown field `usr`"),
        (String::new(), "users.toml; `getlockd user NAME >> "),
        ("# [user.a]\n".to_owned(), "no user is in "),
    ] {
        fs::write(&path, &text).unwrap();
        let told = Users::load(&path).unwrap_err().to_string();
        assert!(told.contains(hint) && !told.contains(secret) && !told.contains('\n'), "{text}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_comes_back_as_a_user() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let wanted = Wanted { name: "a \"b\"".to_owned(), lock: vec!["Ä'\\".to_owned()], ..Wanted::default() };
    fs::write(&path, entry(&wanted, "pass wörd".as_bytes(), false).unwrap()).unwrap();
    let users = Users::load(&path).unwrap();
    let from = [127, 0, 0, 1].into();
    let user = users.log_in(from, "a \"b\"", &Proof::Password("pass wörd".as_bytes())).await.unwrap();
    assert!(user.may_lock(&getlockd::name::Name::new("ä'\\x").unwrap()));
    assert!(!user.has_native());
    assert!(users.log_in(from, "a \"b\"", &Proof::Password(b"")).await.is_err());
}
