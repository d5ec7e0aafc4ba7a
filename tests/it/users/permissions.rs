//! A user can neither lock, see nor end what is not of their part: a test for each wire.

use getlockd::internal::grpc::proto::{
    HistoryRequest, KillRequest, ListRequest, SessionsRequest, StatusRequest, WaitersRequest, WhyRequest,
};
use tonic::Code;

use super::{File, acquire, app1, basic, http, line, mysql, user, with_login};
use crate::common::grpc::locks;
use crate::common::mysql::Reply;
use crate::common::{Client, TestServer};

/// The number of none.
const NO_SESSION: u32 = 4_000_000;

/// One of app2's holds what one of app1's must not get at; its number.
async fn stranger(server: &TestServer) -> (Client, u32) {
    let mut app2 = line(server, "app2").await;
    assert_eq!(app2.ask("GET_LOCK app2:a 0").await, "1");
    let id = app2.id().await;
    (app2, id)
}

#[tokio::test]
async fn line_hides_and_refuses_foreign_locks() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, id) = stranger(&server).await;
    let mut app1 = line(&server, "app1").await;
    assert_eq!(app1.ask("GET_LOCK app2:b 0").await, "ERROR DENIED your user may not lock app2:b");
    assert_eq!(app1.ask("GET_SHARED_LOCK APP2:b 0").await, "ERROR DENIED your user may not lock app2:b");
    assert_eq!(app1.ask("LEASE_LOCK app2:a 60").await, "ERROR DENIED your user may not lock app2:a");
    for take in ["GET_PERMIT app2:b 3 0", "GET_LOCKS app1:a app2:b 0", "GET_SHARED_LOCKS app1:a app2:b 0"] {
        assert_eq!(app1.ask(take).await, "ERROR DENIED your user may not lock app2:b", "{take}");
    }
    let release = "RELEASE_LOCKS app1:a app2:a";
    assert_eq!(app1.ask(release).await, "ERROR DENIED your user may not see app2:a");
    for look in ["RELEASE_LOCK", "IS_FREE_LOCK", "IS_USED_LOCK", "WAITERS", "WHY", "HISTORY"] {
        let told = app1.ask(&format!("{look} app2:a")).await;
        assert_eq!(told, "ERROR DENIED your user may not see app2:a", "{look}");
    }
    assert_eq!(app1.list("LOCKS").await, Vec::<String>::new());
    assert_eq!(app1.list("LOCKS app2:").await, Vec::<String>::new());
    assert_eq!(app1.list("SESSIONS").await.len(), 1);
    // Of a session that it may not know of it is told what it is told where there is none.
    for (kill, id) in [("KILL", id), ("KILL QUERY", id), ("KILL", NO_SESSION), ("KILL QUERY", NO_SESSION)] {
        let told = app1.ask(&format!("{kill} {id}")).await;
        assert_eq!(told, format!("ERROR NO_SESSION there is no session {id}; SESSIONS lists them"));
    }
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    // Within, all is as ever.
    let mut other = line(&server, "app1").await;
    assert_eq!(other.ask("GET_LOCK app1:a 0").await, "1");
    assert_eq!(app1.list("LOCKS").await.len(), 1);
    let kill = format!("KILL {}", other.id().await);
    assert_eq!(app1.ask(&kill).await, "1");
}

/// A right to names is none to the same names in a namespace, and the other way round.
#[tokio::test]
async fn namespaces_need_a_right_of_their_own() {
    let file = File::new();
    let of_orders = user("orders", &["SERVICE:orders:"], &[], false);
    file.write(&[of_orders, user("service", &["service:"], &[], false), user("all", &["*"], &[], false)]);
    let server = file.server();
    let mut orders = mysql(&server, "orders").await;
    let take = "SELECT service_get_write_locks('orders', 'app1:a', 0)";
    assert_eq!(orders.value(take).await.as_deref(), Some("1"));
    for (sql, name) in [
        ("SELECT service_get_write_locks('Orders', 'a', 0)", "SERVICE:Orders:a"),
        ("SELECT service_get_read_locks('orders:x', 'a', 0)", "SERVICE:orders%3Ax:a"),
        ("SELECT GET_LOCK('SERVICE:orders:a', 0)", "service:orders:a"),
    ] {
        let denied = format!(
            "Access denied; you need (at least one of) the LOCK on {name} privilege(s) for this operation"
        );
        let reply = orders.query(sql).await;
        assert_eq!(reply, Reply::Error { code: 1227, state: "42000".to_owned(), text: denied });
    }
    let mut other = mysql(&server, "service").await;
    assert_eq!(other.query(take).await.code(), 1227);
    assert_eq!(other.value("SELECT GET_LOCK('SERVICE:orders:app1:a', 0)").await.as_deref(), Some("1"));
    assert_eq!(other.value("SELECT COUNT(*) FROM getlockd.locks").await.as_deref(), Some("1"));
    assert_eq!(other.query("SELECT * FROM getlockd.why WHERE name = 'SERVICE:orders:a'").await.code(), 1227);
    assert_eq!(mysql(&server, "all").await.query(take).await.code(), 3133);
    assert_eq!(orders.value("SELECT service_release_locks('orders')").await.as_deref(), Some("1"));
    assert_eq!(mysql(&server, "all").await.value(take).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn mysql_hides_and_refuses_foreign_locks() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, id) = stranger(&server).await;
    let mut app1 = mysql(&server, "app1").await;
    for (what, name) in [
        ("LOCK", "SELECT GET_LOCK('app2:b', 0)"),
        ("LOCK", "SELECT GET_SHARED_LOCK('App2:b', 0)"),
        ("LOCK", "SELECT LEASE_LOCK('app2:b', 60)"),
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
    for table in ["locks", "waiters", "why", "history"] {
        let select = format!("SELECT * FROM getlockd.{table} WHERE name = 'app2:a'");
        assert_eq!(app1.query(&select).await.code(), 1227, "{table}");
    }
    assert_eq!(app1.value("SELECT COUNT(*) FROM getlockd.locks").await.unwrap(), "0");
    let processes = "SELECT COUNT(*) FROM information_schema.processlist";
    assert_eq!(app1.value(processes).await.unwrap(), "1");
    for (kill, id) in [("KILL", id), ("KILL QUERY", id), ("KILL", NO_SESSION), ("KILL QUERY", NO_SESSION)] {
        assert_eq!(app1.query(&format!("{kill} {id}")).await.code(), 1094);
    }
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    assert_eq!(mysql(&server, "ops").await.value(count).await.unwrap(), "1");
}

#[tokio::test]
async fn mysql_change_user_changes_permissions() {
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
async fn mysql_change_user_works_long_after_login() {
    let file = File::new();
    let path = file.path();
    let server = TestServer::with(&["--users", path.to_str().unwrap(), "--login-time", "1s"]);
    let mut client = mysql(&server, "app1").await;
    assert_eq!(client.value("SELECT SLEEP(1.1)").await.unwrap(), "0");
    client.change_user("app2", "secret of app2").await.unwrap();
    assert_eq!(client.value("SELECT GET_LOCK('app2:a', 0)").await.unwrap(), "1");
}

#[tokio::test]
async fn http_hides_and_refuses_foreign_locks() {
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
    ] {
        let (status, told) = app1(&server, method, path, &body).await;
        assert!(status == 403 && told.contains("\"Forbidden\""), "{path}: {status} {told}");
    }
    for what in ["kill", "cancel-wait"] {
        let (status, told) = app1(&server, "POST", &format!("/api/session/{id}/{what}"), "").await;
        let none = app1(&server, "POST", &format!("/api/session/{NO_SESSION}/{what}"), "").await;
        assert_eq!((status, told.replace(&id.to_string(), &NO_SESSION.to_string())), none);
        assert_eq!(status, 404);
    }
    assert_eq!(app1(&server, "GET", "/api/locks", "").await.1, "{\"locks\":[],\"total\":0}");
    assert_eq!(app1(&server, "GET", "/lockmanager/status", "").await.1, "");
    let (_, sessions) = app1(&server, "GET", "/api/sessions", "").await;
    assert!(sessions.ends_with("\"total\":1}"), "{sessions}");
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    let (_, held) = http(&server, &as_app2, "GET", "/api/locks", "").await;
    assert!(held.contains("\"total\":2"), "{held}");
}

#[tokio::test]
async fn lease_is_renewed_only_by_its_user() {
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
async fn request_id_of_another_user_gets_no_lease() {
    let file = File::new();
    let server = file.server();
    let body = r#"{"resourceName":"app1:a","requestId":"0f8a2e6d105e4c1c9b7d"}"#;
    let (first, _) = app1(&server, "POST", "/api/lock/acquire", body).await;
    assert_eq!(first, 200);
    let (code, told) = http(&server, "Bearer token of web", "POST", "/api/lock/acquire", body).await;
    assert!(code == 409 && told.contains("RequestIdTaken"), "{code} {told}");
    assert_eq!(app1(&server, "POST", "/api/lock/acquire", body).await.0, 200);
}

#[tokio::test]
async fn grpc_hides_and_refuses_foreign_locks() {
    let file = File::new();
    let server = file.server();
    let (mut stranger, session) = stranger(&server).await;
    let mut locks = locks(server.http).await;
    let login = basic("app1", "secret of app1");
    assert_eq!(acquire(&mut locks, &login, "app2:b").await, Err(Code::PermissionDenied));
    let status = locks.status(with_login(StatusRequest { name: "app2:a".to_owned() }, &login)).await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);
    let of_app2 = || "app2:a".to_owned();
    let waiters =
        locks.waiters(with_login(WaitersRequest { name: of_app2(), ..Default::default() }, &login)).await;
    assert_eq!(waiters.unwrap_err().code(), Code::PermissionDenied);
    let why = locks.why(with_login(WhyRequest { name: of_app2() }, &login)).await;
    assert_eq!(why.unwrap_err().code(), Code::PermissionDenied);
    let history =
        locks.history(with_login(HistoryRequest { name: of_app2(), ..Default::default() }, &login)).await;
    assert_eq!(history.unwrap_err().code(), Code::PermissionDenied);
    for (session, cancel_wait) in [(session, false), (session, true), (NO_SESSION, false), (NO_SESSION, true)]
    {
        let kill = KillRequest { session, cancel_wait, reason: None };
        let killed = locks.kill(with_login(kill, &login)).await;
        assert_eq!(killed.unwrap_err().code(), Code::NotFound);
    }
    let sessions = locks.sessions(with_login(SessionsRequest::default(), &login)).await.unwrap().into_inner();
    assert_eq!(sessions.total, 1);
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
    let list = locks.list(with_login(ListRequest::default(), &login)).await.unwrap().into_inner();
    assert_eq!((list.total, list.locks.len()), (0, 0));
    let mut hold = crate::common::grpc::Hold::open_as(server.http, &login).await;
    hold.send(crate::common::grpc::get_lock("app2:b", 0)).await;
    assert_eq!(hold.next().await.refusal.unwrap().symbol, "DENIED");
    hold.send(crate::common::grpc::lease_lock("app2:b", 60_000)).await;
    assert_eq!(hold.next().await.refusal.unwrap().symbol, "DENIED");
    hold.send(crate::common::grpc::get_lock("app1:b", 0)).await;
    assert_eq!(hold.next().await.result, Some(1));
}

#[tokio::test]
async fn deadlock_and_why_hide_foreign_names() {
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
    assert!(why[0].contains(" waits_for='(hidden)'"), "{why:?}");
    assert_eq!(why.len(), 2, "app2:b itself is not shown, both:a behind it is: {why:?}");
    let told = one.ask("GET_LOCK both:c 60").await;
    assert!(
        told.starts_with("ERROR DEADLOCK") && told.contains("'(hidden)'") && !told.contains("app2:"),
        "{told}"
    );
}

#[tokio::test]
async fn kill_reaches_only_visible_sessions() {
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
}

#[tokio::test]
async fn kill_of_a_visible_session_needs_permission() {
    let file = File::new();
    file.write(&[user("app2", &["app2:"], &[], false), user("sees", &[], &["*"], false)]);
    let server = file.server();
    let (mut stranger, id) = stranger(&server).await;
    let told = line(&server, "sees").await.ask(&format!("KILL {id}")).await;
    assert_eq!(told, format!("ERROR DENIED your user may not end session {id}"));
    assert_eq!(mysql(&server, "sees").await.query(&format!("KILL {id}")).await.code(), 1095);
    assert_eq!(stranger.ask("FENCING_TOKEN app2:a").await.len(), 16);
}

#[tokio::test]
async fn introduction_needs_a_login_and_shows_where_the_session_does() {
    let file = File::new();
    let server = file.server();
    let mut nobody = server.client().await;
    assert_eq!(nobody.ask("INTRODUCE web-2").await, "ERROR AUTH log in first: AUTH user password");
    let (mut stranger, id) = stranger(&server).await;
    assert_eq!(stranger.ask("INTRODUCE web-2 'ask bo'").await, "1");
    let (mut app1, mut ops) = (line(&server, "app1").await, line(&server, "ops").await);
    let row = ops.list("SESSIONS").await.into_iter().find(|row| row.contains("user=app2")).unwrap();
    assert!(row.contains(" client=web-2 user=app2 note='ask bo'"), "{row}");
    for list in ["SESSIONS", "LOCKS"] {
        let rows = app1.list(list).await;
        assert!(!rows.iter().any(|row| row.contains("web-2") || row.contains("ask bo")), "{rows:?}");
    }
    let told = app1.ask(&format!("KILL {id} mine")).await;
    assert!(told.starts_with("ERROR NO_SESSION "), "{told}");
    assert_eq!(ops.ask(&format!("KILL {id} 'deploy stuck'")).await, "1");
    assert!(stranger.line().await.contains(" (ops): deploy stuck; your locks are released"));
}
