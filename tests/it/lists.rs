//! What one wire shows and ends, HTTP and gRPC show and end too. However many ask for lists, the others go on.

use crate::common::{
    Client, TestServer,
    grpc::locks,
    http::{Request, get, post},
    mysql::MySql,
};
use getlockd::internal::{
    budget::{MAX_CONNECTION_MEMORY, OWN_MEMORY},
    grpc::proto::{HistoryRequest, KillRequest, SessionsRequest, StatsRequest, WaitersRequest, WhyRequest},
    share::QuotaKey,
};
use serde_json::json;
use tonic::Code;

#[tokio::test]
async fn grpc_shows_and_kills_line_sessions() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    let (a_id, b_id) = (a.id().await, b.id().await);
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    b.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let name = || "nightly".to_owned();
    let mut grpc = locks(server.http).await;

    let waiters =
        grpc.waiters(WaitersRequest { name: name(), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!((waiters.total, waiters.waiters[0].session), (1, b_id));
    let why = grpc.why(WhyRequest { name: name() }).await.unwrap().into_inner();
    let step = &why.steps[0];
    assert_eq!((step.hold.as_ref().unwrap().session, &step.waits_for), (a_id, &None));
    let sessions = grpc.sessions(SessionsRequest::default()).await.unwrap().into_inner().sessions;
    let told: Vec<_> =
        sessions.iter().map(|session| (session.session, session.waits_for.as_deref())).collect();
    assert_eq!(told[..2], [(a_id, None), (b_id, Some("nightly"))]);
    let stats = grpc.stats(StatsRequest {}).await.unwrap().into_inner();
    assert_eq!((stats.locks, stats.waiters, stats.grants), (1, 1, 1));

    let kill = |session, cancel_wait| KillRequest { session, cancel_wait, reason: None };
    assert!(!grpc.kill(kill(a_id, true)).await.unwrap().into_inner().done);
    assert!(grpc.kill(kill(b_id, true)).await.unwrap().into_inner().done);
    assert!(b.line().await.starts_with("ERROR INTERRUPTED wait cancelled"));
    assert!(grpc.kill(kill(a_id, false)).await.unwrap().into_inner().done);
    assert!(a.line().await.starts_with("ERROR KILLED killed by session "));
    assert_eq!(grpc.kill(kill(a_id, false)).await.unwrap_err().code(), Code::NotFound);
    let history =
        grpc.history(HistoryRequest { name: name(), ..Default::default() }).await.unwrap().into_inner().holds;
    assert_eq!((history[0].session, &*history[0].cause), (a_id, "killed"));
}

#[tokio::test]
async fn memory_of_a_session_is_listed_on_every_wire() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    let id = b.id().await;
    b.send_bytes(&[b"GET_LOCK nightly 60\n".to_vec(), b"PING\n".repeat(20_000)].concat()).await;
    // All of it is there when it has a buffer of so much.
    let kept = 128 * 1024;
    server.until(|stats| stats.memory == kept - OWN_MEMORY).await;

    let rows = a.list("SESSIONS").await;
    assert!(rows[1].contains(&format!(" waits_for=nightly memory={kept} idle=")), "{rows:?}");
    let all = format!(" memory={} max_memory=1073741824", kept - OWN_MEMORY);
    assert!(a.list("STATS").await[0].ends_with(&all));
    let (_, sessions) = get(server.http, "/api/sessions").await;
    let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
    assert_eq!(sessions["sessions"][1]["memory"], kept);
    let (_, stats) = get(server.http, "/api/stats").await;
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((&stats["memory"], &stats["maxMemory"]), (&(kept - OWN_MEMORY).into(), &(1 << 30).into()));
    let mut grpc = locks(server.http).await;
    let sessions = grpc.sessions(SessionsRequest::default()).await.unwrap().into_inner().sessions;
    let told = sessions.iter().find(|session| session.session == id).unwrap().memory;
    let stats = grpc.stats(StatsRequest {}).await.unwrap().into_inner();
    assert_eq!((told, stats.memory, stats.max_memory), (kept as u64, (kept - OWN_MEMORY) as u64, 1 << 30));
    let mut mysql = MySql::connect(server.mysql).await;
    let status = mysql.query("SHOW STATUS LIKE 'Getlockd_memory'").await;
    assert!(format!("{status:?}").contains(&(kept - OWN_MEMORY).to_string()), "{status:?}");

    assert_eq!(a.ask(&format!("KILL QUERY {id}")).await, "1");
    assert!(b.line().await.starts_with("ERROR INTERRUPTED "));
    server.until(|stats| stats.memory == 0).await;
}

#[tokio::test]
async fn note_memory_is_charged_to_its_session_or_lease() {
    let server = TestServer::start();
    let lease = json!({ "resourceName": "leased", "clientId": "web-1", "note": "back up" });
    assert_eq!(post(server.http, "/api/lock/acquire", &lease).await.0, 200);
    let mut eye = server.client().await;
    assert_eq!(eye.ask("AUTH somebody x").await, "1");
    let rows = eye.list("SESSIONS").await;
    assert!(rows[0].contains(" waits_for=NULL memory=12 idle="), "{rows:?}");
    assert!(rows[0].contains(" client=web-1 note='back up' "), "{rows:?}");
    assert!(rows[1].contains(" memory=8 ") && rows[1].ends_with(" user=somebody"), "{rows:?}");
}

#[tokio::test]
async fn http_kills_a_wait_and_a_lease() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    let id = b.id().await;
    b.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let (status, told) = post(server.http, &format!("/api/session/{id}/cancel-wait"), &json!({})).await;
    assert_eq!((status, &told["status"]), (200, &"Interrupted".into()));
    assert!(b.line().await.starts_with("ERROR INTERRUPTED wait cancelled"));

    let wanted = json!({ "resourceName": "weekly", "clientId": "web-1", "note": "backup" });
    assert_eq!(post(server.http, "/api/lock/acquire", &wanted).await.0, 200);
    let sessions = get(server.http, "/api/sessions").await.1;
    let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
    let lease = sessions["sessions"].as_array().unwrap().iter().find(|row| row["client"] == "web-1").unwrap();
    assert_eq!((&lease["note"], &lease["holds"]), (&"backup".into(), &1.into()));
    let (status, told) =
        post(server.http, &format!("/api/session/{}/kill", lease["session"]), &json!({})).await;
    assert_eq!((status, &told["status"]), (200, &"Killed".into()));
    assert_eq!(a.ask("IS_FREE_LOCK weekly").await, "1");
    assert_eq!(post(server.http, "/api/session/x/kill", &json!({})).await.0, 400);
    assert_eq!(get(server.http, "/api/session/1/kill").await.0, 405);
}

/// Another than the clients of these tests.
fn elsewhere() -> QuotaKey {
    QuotaKey::at([192, 0, 2, 1].into())
}

/// Has it reach the point at which it waits for its turn to be shown a list.
async fn asks(client: &mut Client, own: &str, list: &str) {
    client.send(&format!("GET_LOCK {own} 0\n{list}")).await;
    assert_eq!(client.line().await, "1", "it is sent before the wait");
}

#[tokio::test]
async fn lists_are_built_in_turn_without_blocking_others() {
    let server = TestServer::start();
    let permit = server.service.list_permit(elsewhere()).await;
    let mut clients = server.clients::<30>().await;
    for (number, client) in clients.iter_mut().enumerate() {
        let list = ["LOCKS", "SESSIONS", "WHY nightly", "WAITERS nightly"][number % 4];
        asks(client, &format!("own-{number}"), list).await;
    }
    let mut mysql = MySql::connect(server.mysql).await;
    mysql.start("SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_NAME = 'nightly'").await;
    let web = Request::send(server.http, "GET", "/api/locks?prefix=nightly", "").await;

    let mut neighbour = server.client().await;
    for answer in ["1", "1"] {
        assert_eq!(neighbour.ask("GET_LOCK nightly 0").await, answer);
        assert_eq!(neighbour.ask("RELEASE_LOCK nightly").await, answer);
    }
    assert!(neighbour.ask("STATS").await.contains(" locks=30 "));
    assert_eq!(neighbour.line().await, "END 1");
    assert_eq!(neighbour.ask("GET_LOCK nightly 0").await, "1");
    // All lists are made after this, and show it.
    drop(permit);
    for (number, client) in clients.iter_mut().enumerate() {
        let list = client.list("PING").await;
        let rows = [31, 32, 1, 0][number % 4];
        assert_eq!(list.len(), rows, "{list:?}");
        assert_eq!(client.line().await, "PONG");
    }
    assert_eq!(mysql.reply().await.value().as_deref(), Some("1"));
    let (status, locks) = web.reply().await;
    assert!(status == 200 && locks.contains(r#""total":1"#), "{status} {locks}");
}

#[tokio::test]
async fn holder_that_disconnects_before_its_turn_is_released() {
    let server = TestServer::start();
    let permit = server.service.list_permit(elsewhere()).await;
    let [mut holder, mut killed, mut last_words] = server.clients().await;
    asks(&mut holder, "nightly", "LOCKS").await;
    let id = killed.id().await;
    asks(&mut killed, "hourly", "LOCKS").await;
    last_words.send("LOCKS").await;
    last_words.half_close().await;
    drop(holder);
    server.until(|stats| stats.table.locks == 1).await;
    assert_eq!(server.client().await.ask(&format!("KILL {id}")).await, "1");
    server.until(|stats| stats.table.locks == 0).await;
    drop(permit);
    assert_eq!(last_words.rest().await, "END 0\n");
}

#[tokio::test]
async fn list_of_long_texts_ends_where_the_memory_ends() {
    const LOCKS: usize = 2_500;
    let server = TestServer::start();
    let [mut long, mut operator] = server.clients().await;
    // Each of these characters is shown as six.
    let text = "\u{80}".repeat(256);
    assert_eq!(long.ask(&format!("INTRODUCE '{}' '{}'", &text[..240], &text)).await, "1");
    long.send(&(0..LOCKS).map(|at| format!("GET_LOCK long-{at:04} 0\n")).collect::<String>()).await;
    for _ in 0..LOCKS {
        assert_eq!(long.line().await, "1");
    }
    for _ in 0..2 {
        let (mut bytes, mut rows, mut line) = (0, 0, operator.ask("LOCKS").await);
        while line.starts_with("LOCK ") {
            (bytes, rows, line) = (bytes + line.len() + 1, rows + 1, operator.line().await);
        }
        assert_eq!(line, format!("END {rows} of {LOCKS}"));
        assert!((MAX_CONNECTION_MEMORY - 8 * 1024..MAX_CONNECTION_MEMORY).contains(&bytes), "{bytes}");
    }
    assert_eq!(operator.list("LOCKS long-0001").await.len(), 1, "what is looked for fits");
}
