//! Who is it? A session says its name and a note, and every list on every wire shows them and for how long it has been idle.

use std::time::Duration;

use crate::common::{
    TestServer,
    grpc::{Hold, get_lock, locks},
    http::{Request, get, post},
    mysql::{Hello, MySql},
};
use getlockd::internal::grpc::proto::{
    HistoryRequest, Introduce, KillRequest, ListRequest, ReleaseLock, SessionsRequest, WaitersRequest,
    hold_request::Command,
};
use serde_json::{Value, json};
use tonic::Code;

const SAID: &str = "client=backup@db1 note='ask ops'";

/// A field of a row of the line protocol.
fn field<'a>(row: &'a str, key: &str) -> &'a str {
    let value = row.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{key} in {row}"))
}

fn seconds(row: &str, key: &str) -> f64 {
    field(row, key).parse().unwrap()
}

async fn document(server: &TestServer, path: &str) -> Value {
    let (status, body) = get(server.http, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn every_list_on_every_wire_shows_client_and_note() {
    let server = TestServer::start();
    let [mut holder, mut waiter, mut eye] = server.clients().await;
    for client in [&mut holder, &mut waiter] {
        assert_eq!(client.ask("INTRODUCE backup@db1 'ask ops'").await, "1");
    }
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send("GET_LOCK nightly 600").await;
    server.until_waiting(1).await;
    for list in ["LOCKS", "WHY nightly", "WAITERS nightly", "SESSIONS"] {
        let rows = eye.list(list).await;
        assert!(rows[0].ends_with(SAID), "{list}: {rows:?}");
    }
    for (path, rows) in [
        ("/api/locks", "locks"),
        ("/api/lock/why/nightly", "steps"),
        ("/api/lock/waiters/nightly", "waiters"),
        ("/api/sessions", "sessions"),
    ] {
        let row = &document(&server, path).await[rows][0];
        let told = (&row["client"], &row["note"], &row["wire"]);
        assert_eq!(told, (&"backup@db1".into(), &"ask ops".into(), &"line".into()), "{path}");
        assert!(row["idleMs"].is_u64(), "{path}: {row}");
    }
    let mut grpc = locks(server.http).await;
    let told = (Some("backup@db1".to_owned()), Some("ask ops".to_owned()));
    let lock = grpc.list(ListRequest::default()).await.unwrap().into_inner().locks.remove(0);
    assert_eq!((lock.client, lock.note), told);
    let waiters = WaitersRequest { name: "nightly".to_owned(), ..WaitersRequest::default() };
    let place = grpc.waiters(waiters).await.unwrap().into_inner().waiters.remove(0);
    assert_eq!((place.client, place.note, place.wire.as_str()), (told.0.clone(), told.1.clone(), "line"));
    let session = grpc.sessions(SessionsRequest::default()).await.unwrap().into_inner().sessions.remove(0);
    assert_eq!((session.client, session.note), told);
    let mut mysql = MySql::connect(server.mysql).await;
    for (table, condition) in [
        ("locks", "session = 1"),
        ("why", "name = 'nightly'"),
        ("waiters", "name = 'nightly'"),
        ("sessions", "session = 1"),
    ] {
        let select = format!(
            "SELECT CONCAT_WS('|', client, note, wire, idle >= 0) FROM getlockd.{table} WHERE {condition}"
        );
        assert_eq!(mysql.value(&select).await.as_deref(), Some("backup@db1|ask ops|line|1"), "{table}");
    }
    assert_eq!(eye.ask("KILL 1").await, "1");
    let past = eye.list("HISTORY nightly").await.remove(0);
    assert!(past.ends_with(&format!("cause=killed {SAID}")), "{past}");
}

#[tokio::test]
async fn introduction_replaces_what_was_said_before() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for (line, shown) in [
        ("INTRODUCE a b", " client=a note=b"),
        ("INTRODUCE(\"Web 1\", 'b')", " client='Web 1' note=b"),
        ("introduce c", " client=c"),
        ("INTRODUCE '' d", " note=d"),
        ("INTRODUCE ''", ""),
    ] {
        assert_eq!(client.ask(line).await, "1", "{line}");
        let row = client.list("SESSIONS").await.remove(0);
        let (_, behind) = row.split_once(" idle=").unwrap();
        assert_eq!(&behind[behind.find(' ').unwrap_or(behind.len())..], shown, "{line}");
    }
}

#[tokio::test]
async fn unreadable_introduction_is_refused_and_nothing_changes() {
    let server = TestServer::start();
    let mut client = server.client().await;
    assert_eq!(client.ask("INTRODUCE web-1 note").await, "1");
    let usage = "usage: INTRODUCE client [note], as in: INTRODUCE backup@db1 'nightly backup, ask ops'";
    let long = "ERROR LIMIT a client, a note and a reason have at most 256 characters each";
    for (line, told) in [
        ("INTRODUCE".to_owned(), format!("ERROR SYNTAX {usage}")),
        ("INTRODUCE a b c".to_owned(), format!("ERROR SYNTAX {usage}")),
        (format!("INTRODUCE {}", "x".repeat(257)), long.to_owned()),
        (format!("INTRODUCE a {}", "é".repeat(257)), long.to_owned()),
        (format!("KILL 1 {}", "x".repeat(257)), long.to_owned()),
    ] {
        assert_eq!(client.ask(&line).await, told, "{line}");
    }
    assert!(client.ask("INTRODUCE a\u{202e}b").await.starts_with("ERROR BAD_NAME "), "it cannot be seen");
    client.send_bytes(b"INTRODUCE \xff\n").await;
    assert_eq!(client.line().await, format!("ERROR SYNTAX {usage}"));
    assert!(client.list("SESSIONS").await[0].ends_with(" client=web-1 note=note"));
    assert_eq!(client.ask(&format!("INTRODUCE {}", "é".repeat(256))).await, "1");
}

#[tokio::test]
async fn unseen_characters_are_escaped_where_they_are_shown() {
    let server = TestServer::start();
    let [mut killer, mut victim] = server.clients().await;
    assert_eq!(victim.ask(r"INTRODUCE 'a\u{1b}[2J' 'x\ny'").await, "1");
    let row = killer.list("SESSIONS").await.remove(1);
    assert!(row.ends_with(r" client='a\u{1b}[2J' note='x\u{a}y'"), "{row}");
    assert_eq!(killer.ask(r"KILL 2 'a\u{1b}[2J\nb'").await, "1");
    let told = "ERROR KILLED killed by session 1: a\\u{1b}[2J\\u{a}b; your locks are released; closing\n";
    assert_eq!(victim.rest().await, told);
}

#[tokio::test]
async fn words_are_charged_beside_the_login() {
    let server = TestServer::start();
    let mut client = server.client().await;
    assert_eq!(client.ask("AUTH somebody x").await, "1");
    for (line, memory) in [("INTRODUCE web-1 backup", "19"), ("INTRODUCE w", "9"), ("AUTH me x", "3")] {
        assert_eq!(client.ask(line).await, "1", "{line}");
        assert_eq!(field(&client.list("SESSIONS").await[0], "memory"), memory, "{line}");
    }
}

/// The clock of `idle` is up to 4 ms late.
#[tokio::test]
async fn idle_counts_from_the_last_command_and_keepalive_is_none() {
    let server = TestServer::start();
    let [mut client, mut eye] = server.clients().await;
    assert_eq!(client.ask("GET_LOCK nightly 0").await, "1");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(client.ask("KEEPALIVE").await.starts_with("KEEPALIVE "));
    let row = eye.list("LOCKS").await.remove(0);
    assert!(seconds(&row, "idle") >= 0.02 && seconds(&row, "idle") <= seconds(&row, "held") + 0.05, "{row}");
    assert_eq!(client.ask("PING").await, "PONG");
    let row = eye.list("LOCKS").await.remove(0);
    assert!(seconds(&row, "idle") <= seconds(&row, "held") - 0.02, "{row}");

    eye.send("GET_LOCK nightly 600").await;
    server.until_waiting(1).await;
    let row = client.list("WAITERS nightly").await.remove(0);
    assert!((seconds(&row, "idle") - seconds(&row, "waited")).abs() <= 0.05, "{row}");
}

#[tokio::test]
async fn idle_of_a_lease_counts_from_its_last_heartbeat() {
    let server = TestServer::start();
    let lease = json!({ "resourceName": "nightly" });
    let (_, granted) = post(server.http, "/api/lock/acquire", &lease).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let idle = || async { document(&server, "/api/locks").await["locks"][0]["idleMs"].as_u64().unwrap() };
    let before = idle().await;
    assert!(before >= 20, "{before}");
    let beat = json!({ "resourceName": "nightly", "lockToken": granted["lockToken"] });
    assert_eq!(post(server.http, "/api/lock/heartbeat", &beat).await.0, 200);
    let row = document(&server, "/api/locks").await["locks"][0].clone();
    assert!(row["idleMs"].as_u64().unwrap() + 20 <= row["heldMs"].as_u64().unwrap(), "{row}");
}

#[tokio::test]
async fn victim_is_told_of_its_killer_and_the_reason() {
    let server = TestServer::start();
    let [mut ops, mut victim] = server.clients().await;
    assert_eq!(ops.ask("AUTH ops x").await, "1");
    let id = victim.id().await;
    assert_eq!(victim.ask("GET_LOCK nightly 0").await, "1");
    assert_eq!(ops.ask(&format!("KILL CONNECTION {id} 'deploy stuck'")).await, "1");
    let told = "ERROR KILLED killed by session 1 (ops): deploy stuck; your locks are released; closing\n";
    assert_eq!(victim.rest().await, told);
    assert!(ops.list("HISTORY nightly").await[0].ends_with(" cause=killed reason='deploy stuck'"));
    let past = document(&server, "/api/lock/history/nightly").await["holds"][0].clone();
    assert_eq!(past["reason"], "deploy stuck");
    let mut mysql = MySql::connect(server.mysql).await;
    let reason = mysql.value("SELECT reason FROM getlockd.history").await;
    assert_eq!(reason.as_deref(), Some("deploy stuck"));
}

#[tokio::test]
async fn waiters_over_http_and_grpc_are_told_the_reason() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let wanted = json!({ "resourceName": "nightly", "waitMs": 600_000 }).to_string();
    let request = Request::send(server.http, "POST", "/api/lock/acquire", &wanted).await;
    server.until_waiting(1).await;
    let id = field(&holder.list("WAITERS nightly").await[0], "session").to_owned();
    assert_eq!(holder.ask(&format!("KILL {id} 'deploy stuck'")).await, "1");
    let (status, body) = request.reply().await;
    assert_eq!(status, 409);
    assert!(body.contains("this wait has ended: killed by session 1: deploy stuck"), "{body}");

    let mut hold = Hold::open(server.http).await;
    hold.send(Command::Introduce(Introduce { client: "web-1".to_owned(), note: String::new() })).await;
    assert_eq!(hold.next().await.result, Some(1));
    hold.send(get_lock("nightly", 600_000)).await;
    server.until_waiting(1).await;
    let row = holder.list("WAITERS nightly").await.remove(0);
    assert!(row.ends_with(" client=web-1"), "{row}");
    let session = field(&row, "session").parse().unwrap();
    let reason = Some("deploy stuck".to_owned());
    let mut grpc = locks(server.http).await;
    grpc.kill(KillRequest { session, cancel_wait: false, reason }).await.unwrap();
    let ended = hold.last().await.unwrap_err();
    assert_eq!(ended.code(), Code::Aborted);
    assert!(
        ended.message().ends_with(": deploy stuck; the locks of this stream were released"),
        "{}",
        ended.message()
    );
}

#[tokio::test]
async fn http_and_mysql_kill_with_a_reason() {
    let server = TestServer::start();
    let [mut first, mut second, mut third] = server.clients().await;
    let ids = [first.id().await, second.id().await, third.id().await];
    let path = |id| format!("/api/session/{id}/kill");
    let long = json!({ "reason": "x".repeat(257) });
    assert_eq!(post(server.http, &path(ids[0]), &long).await.0, 400);
    assert_eq!(post(server.http, &path(ids[0]), &json!({ "why": "x" })).await.0, 400);
    let (status, _) = post(server.http, &path(ids[0]), &json!({ "reason": "by HTTP" })).await;
    assert!(status == 200 && first.rest().await.contains(": by HTTP; your locks"));
    assert_eq!(Request::send(server.http, "POST", &path(ids[1]), "").await.reply().await.0, 200);
    assert!(second.rest().await.ends_with("; your locks are released; closing\n"));
    let mut mysql = MySql::connect(server.mysql).await;
    assert_eq!(mysql.query(&format!("KILL QUERY {} 'x'", ids[2])).await.code(), 1064);
    assert_eq!(mysql.query(&format!("KILL {} 5", ids[2])).await.code(), 1064);
    assert_eq!(mysql.query(&format!("KILL {} '{}'", ids[2], "x".repeat(257))).await.code(), 1210);
    mysql.query(&format!("KILL {} 'by MySQL'", ids[2])).await;
    let told = third.rest().await;
    assert!(told.contains(" (root): by MySQL; your locks are released"), "{told}");
}

#[tokio::test]
async fn note_attribute_of_a_mysql_connection_is_its_note() {
    let server = TestServer::start();
    let attributes = [("_client_name", "libmysql"), ("note", "ask ops"), ("program_name", "backup@db1")];
    let hello = Hello { attributes: &attributes, ..Hello::default() };
    let mut client = MySql::log_in(server.mysql, hello).await.unwrap();
    assert_eq!(client.value("SELECT note FROM getlockd.sessions").await.as_deref(), Some("ask ops"));
    let listed = "SELECT COUNT(*) FROM performance_schema.session_connect_attrs WHERE ATTR_NAME = 'note'";
    assert_eq!(client.value(listed).await.as_deref(), Some("1"));
    let row = server.client().await.list("SESSIONS").await.remove(0);
    assert!(row.ends_with(" client=backup@db1 user=root note='ask ops'"), "{row}");
}

#[tokio::test]
async fn history_of_a_released_hold_has_no_reason() {
    let server = TestServer::start();
    let mut hold = Hold::open(server.http).await;
    hold.send(get_lock("nightly", 0)).await;
    assert_eq!(hold.next().await.result, Some(1));
    tokio::time::sleep(Duration::from_millis(15)).await;
    hold.send(Command::ReleaseLock(ReleaseLock { name: "nightly".to_owned() })).await;
    assert_eq!(hold.next().await.result, Some(1));
    let history = HistoryRequest { name: "nightly".to_owned(), ..HistoryRequest::default() };
    let past = locks(server.http).await.history(history).await.unwrap().into_inner().holds.remove(0);
    assert_eq!((past.cause.as_str(), past.reason, past.note), ("release", None, None));
}
