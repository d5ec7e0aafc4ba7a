//! What the clients of a leader see of its cluster, on every wire; and that a server alone shows nothing of it.

use std::{fs, sync::Arc, time::Duration};

use getlockd::internal::{
    cluster::{moment::Moment, term::Term},
    grpc::proto::{
        AcquireRequest, Keepalive, ListRequest, Node, NodesRequest, RenewRequest, SessionsRequest,
        StatsRequest, hold_request::Command,
    },
    line, mysql,
    users::{NewEntry, entry},
    web,
};
use serde_json::{Value, json};

use crate::common::{
    Client, TestServer,
    grpc::{self, Hold, get_lock},
    http::{get, post},
    mysql::{MySql, Reply},
    stub_cluster::{TERM, term},
};

/// A leader whose term runs for so many seconds.
fn leader(seconds: u64) -> (TestServer, Arc<Term>) {
    let term = term(Duration::from_secs(seconds));
    (TestServer::leading(term.clone(), &[]), term)
}

/// `KEEPALIVE left=4.212 term=16226`: the time in milliseconds, and the term.
fn promise(line: &str) -> (u64, u64) {
    let fields = line.strip_prefix("KEEPALIVE left=").and_then(|rest| rest.split_once(" term="));
    let (left, term) = fields.unwrap_or_else(|| panic!("{line:?}"));
    (left.replace('.', "").parse().unwrap(), term.parse().unwrap())
}

async fn json(server: &TestServer, path: &str) -> Value {
    let (status, body) = get(server.http, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

async fn rows(client: &mut MySql, sql: &str) -> Vec<Vec<Option<String>>> {
    match client.query(sql).await {
        Reply::Rows { rows, .. } => rows,
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn line_keepalive_tells_the_rest_of_the_term() {
    let (server, term) = leader(4);
    let mut a = server.client().await;
    let (left, number) = promise(&a.ask("KEEPALIVE").await);
    assert!(left > 1_000 && left <= 4_000 && number == TERM, "{left} {number}");
    term.extend(Moment::now().after(Duration::from_secs(9)));
    let (left, _) = promise(&a.ask("KEEPALIVE").await);
    assert!(left > 4_000 && left <= 9_000, "a beat prolongs it: {left}");
    term.extend(Moment::now().after(Duration::from_hours(1)));
    assert_eq!(
        a.ask("KEEPALIVE").await,
        format!("KEEPALIVE left=25.000 term={TERM}"),
        "no longer than the keepalive"
    );
}

#[tokio::test]
async fn line_keepalive_ahead_of_a_wait_tells_the_term() {
    let (server, _term) = leader(60);
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    b.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    assert_eq!(b.ask("KEEPALIVE").await, format!("KEEPALIVE left=25.000 term={TERM}"));
}

#[tokio::test]
async fn stream_keepalive_is_told_what_is_left_at_that_moment() {
    let (server, term) = leader(4);
    let mut a = Hold::open(server.http).await;
    a.send(Command::Keepalive(Keepalive {})).await;
    let told = a.next().await;
    assert!(told.left_ms.unwrap() <= 4_000 && told.term == Some(TERM), "{told:?}");
    term.extend(Moment::now().after(Duration::from_secs(9)));
    a.send(Command::Keepalive(Keepalive {})).await;
    let told = a.next().await;
    assert!(told.left_ms.unwrap() > 4_000, "a stream outlives the beat under which it began: {told:?}");
}

#[tokio::test]
async fn stream_keepalive_ahead_of_a_wait_tells_the_term() {
    let (server, term) = leader(4);
    let mut a = server.client().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    let mut b = Hold::open(server.http).await;
    b.send(get_lock("nightly", 60_000)).await;
    server.until_waiting(1).await;
    term.extend(Moment::now().after(Duration::from_secs(9)));
    b.send(Command::Keepalive(Keepalive {})).await;
    let told = b.next().await;
    assert!(told.left_ms.unwrap() > 4_000 && told.term == Some(TERM), "{told:?}");
}

#[tokio::test]
async fn heartbeat_answer_has_the_term_and_what_is_left() {
    let (server, _term) = leader(4);
    let (_, grant) =
        post(server.http, "/api/lock/acquire", &json!({"resourceName": "a", "ttlMs": 60_000})).await;
    let body = json!({"resourceName": "a", "lockToken": grant["lockToken"]});
    let (_, renewed) = post(server.http, "/api/lock/heartbeat", &body).await;
    assert!(renewed["leftMs"].as_u64().unwrap() <= 4_000, "{renewed}");
    assert_eq!(renewed["term"], TERM);

    let mut locks = grpc::locks(server.http).await;
    let acquire = AcquireRequest { name: "b".to_owned(), ..AcquireRequest::default() };
    let lease_token = locks.acquire(acquire).await.unwrap().into_inner().lease_token;
    let renew = RenewRequest { name: "b".to_owned(), lease_token, ttl_ms: None };
    let renewed = locks.renew(renew).await.unwrap().into_inner();
    assert!(renewed.left_ms.unwrap() <= 4_000 && renewed.term == Some(TERM), "{renewed:?}");
}

#[tokio::test]
async fn greeting_and_numbers_name_the_leader() {
    let (server, _term) = leader(60);
    let mut a = server.client().await;
    let hello = a.ask("HELLO").await;
    assert!(hello.ends_with(" max_locks=100000 node=a term=16226 ttl=5.000 takeover_delay=0.000"), "{hello}");
    let stats = a.list("STATS").await.remove(0);
    let since = stats.split_once(" role=leader node=a term=16226 leader_since=").unwrap().1;
    assert!(since.split_once('.').is_some_and(|(_, millis)| millis.len() == 3), "{stats}");

    let stats = json(&server, "/api/stats").await;
    let leader = [&stats["role"], &stats["node"], &stats["term"], &stats["leaderSince"]];
    assert_eq!(leader, [&json!("leader"), &json!("a"), &json!(TERM), &json!("2026-11-27T10:00:00.000Z")]);

    let mut locks = grpc::locks(server.http).await;
    let stats = locks.stats(StatsRequest {}).await.unwrap().into_inner();
    assert_eq!((stats.role.as_deref(), stats.node.as_deref()), (Some("leader"), Some("a")));
    assert_eq!((stats.term, stats.leader_since_ms), (Some(TERM), Some(1_795_773_600_000)));

    let mut mysql = MySql::connect(server.mysql).await;
    for (name, value) in [
        ("Getlockd_leader_since", "2026-11-27T10:00:00.000Z"),
        ("Getlockd_node", "a"),
        ("Getlockd_role", "leader"),
        ("Getlockd_term", "16226"),
    ] {
        let shown = rows(&mut mysql, &format!("SHOW STATUS LIKE '{name}'")).await;
        assert_eq!(shown, [[Some(name.to_owned()), Some(value.to_owned())]]);
    }
}

#[tokio::test]
async fn nodes_are_listed_on_every_wire() {
    let (server, _term) = leader(60);
    let nodes = server.client().await.list("NODES").await;
    let shown: Vec<_> = nodes.iter().map(|row| row.split_once(" started=").unwrap()).collect();
    assert_eq!(shown[0].0, "NODE node=a role=leader address=10.0.0.1:3309 version=0.1.0");
    assert_eq!(shown[1].0, "NODE node=b role=follower address=10.0.0.2:3309 version=0.1.0");
    assert!(shown[1].1.ends_with(" seen=0.412 relayed=12"), "{nodes:?}");

    let node = |node: &str, role: &str, last: u8, relayed: u8| {
        json!({
            "node": node, "role": role, "address": format!("10.0.0.{last}:3309"), "version": "0.1.0",
            "startedAt": "2026-11-27T09:00:00.000Z", "seenMs": 412, "relayed": relayed,
        })
    };
    let all = json!({"nodes": [node("a", "leader", 1, 0), node("b", "follower", 2, 12)]});
    assert_eq!(json(&server, "/api/nodes").await, all);

    let mut locks = grpc::locks(server.http).await;
    let nodes = locks.nodes(NodesRequest {}).await.unwrap().into_inner().nodes;
    let follower = Node {
        node: "b".to_owned(),
        role: "follower".to_owned(),
        address: "10.0.0.2:3309".to_owned(),
        version: "0.1.0".to_owned(),
        started_at_ms: 1_795_770_000_000,
        seen_ms: 412,
        relayed: 12,
    };
    assert_eq!((nodes.len(), &nodes[1]), (2, &follower));

    let mut mysql = MySql::connect(server.mysql).await;
    let sql = "SELECT node, role, address, version, started_at, seen, relayed FROM getlockd.nodes WHERE role = 'follower'";
    let row = ["b", "follower", "10.0.0.2:3309", "0.1.0", "2026-11-27 09:00:00.000", "0.412", "12"];
    assert_eq!(rows(&mut mysql, sql).await, [row.map(|cell| Some(cell.to_owned()))]);
}

#[tokio::test]
async fn server_alone_has_no_nodes_and_names_no_leader() {
    let server = TestServer::start();
    let mut a = server.client().await;
    assert_eq!(a.ask("KEEPALIVE").await, "KEEPALIVE left=25.000");
    assert!(a.ask("HELLO").await.ends_with(" max_locks=100000"));
    assert!(a.list("STATS").await[0].ends_with(" max_memory=1073741824"));
    assert_eq!(a.list("NODES").await, [""; 0]);
    assert_eq!(json(&server, "/api/nodes").await, json!({"nodes": []}));
    assert_eq!(json(&server, "/api/stats").await.get("role"), None);
    let mut locks = grpc::locks(server.http).await;
    assert_eq!(locks.nodes(NodesRequest {}).await.unwrap().into_inner().nodes, []);
    let mut mysql = MySql::connect(server.mysql).await;
    assert!(rows(&mut mysql, "SELECT node FROM getlockd.nodes").await.is_empty());
    assert!(rows(&mut mysql, "SHOW STATUS LIKE 'Getlockd_node'").await.is_empty());
}

#[tokio::test]
async fn nodes_are_listed_to_any_user_after_a_login() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let wanted = NewEntry { name: "app1".to_owned(), ..NewEntry::default() };
    fs::write(&users, entry(&wanted, b"secret", false).unwrap()).unwrap();
    let server = TestServer::leading(term(Duration::from_mins(1)), &["--users", users.to_str().unwrap()]);
    let mut a = server.client().await;
    assert!(a.ask("NODES").await.starts_with("ERROR AUTH "));
    assert_eq!(get(server.http, "/api/nodes").await.0, 401);
    assert_eq!(a.ask("AUTH app1 secret").await, "1");
    assert_eq!(a.list("NODES").await.len(), 2);
}

/// A session that holds `nightly` and came by the node `b`.
async fn relayed(server: &TestServer) -> (Client, u32) {
    let mut client = server.client().await;
    assert_eq!(client.ask("GET_LOCK nightly 0").await, "1");
    let id = client.id().await;
    server.relay(id);
    (client, id)
}

#[tokio::test]
async fn relayed_client_is_shown_with_its_node_on_every_wire() {
    let (server, _term) = leader(60);
    let (_holder, id) = relayed(&server).await;
    let mut a = server.client().await;
    for list in ["LOCKS", "SESSIONS", "WHY nightly"] {
        let rows = a.list(list).await;
        let row = rows.iter().find(|row| row.contains(&format!(" session={id} "))).unwrap();
        assert!(row.ends_with(" via=b"), "{list}: {row}");
        assert_eq!(rows.iter().filter(|row| row.contains(" via=")).count(), 1, "{rows:?}");
    }
    assert_eq!(json(&server, "/api/locks").await["locks"][0]["via"], "b");
    let sessions = json(&server, "/api/sessions").await;
    let vias = sessions["sessions"].as_array().unwrap().iter().filter(|row| row["via"] == "b");
    assert_eq!(vias.count(), 1, "{sessions}");

    let mut locks = grpc::locks(server.http).await;
    let held = locks.list(ListRequest::default()).await.unwrap().into_inner().locks;
    assert_eq!(held[0].via.as_deref(), Some("b"));
    let sessions = locks.sessions(SessionsRequest::default()).await.unwrap().into_inner().sessions;
    let vias: Vec<_> = sessions.iter().filter_map(|session| session.via.as_deref()).collect();
    assert_eq!(vias, ["b"]);

    let mut mysql = MySql::connect(server.mysql).await;
    for table in ["locks", "sessions", "why"] {
        let sql = format!(
            "SELECT via FROM getlockd.{table} WHERE session = {id} AND {}",
            match table {
                "sessions" => "1",
                _ => "name = 'nightly'",
            }
        );
        assert_eq!(rows(&mut mysql, &sql).await, [[Some("b".to_owned())]], "{table}");
    }
}

#[tokio::test]
async fn relayed_waiter_is_shown_with_its_node() {
    let (server, _term) = leader(60);
    let (mut a, mut b) = (server.client().await, server.client().await);
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    server.relay(b.id().await);
    b.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    assert!(a.list("WAITERS nightly").await[0].ends_with(" via=b"));
    assert_eq!(json(&server, "/api/lock/waiters/nightly").await["waiters"][0]["via"], "b");
    let mut mysql = MySql::connect(server.mysql).await;
    let sql = "SELECT via FROM getlockd.waiters WHERE name = 'nightly'";
    assert_eq!(rows(&mut mysql, sql).await, [[Some("b".to_owned())]]);
}

#[test]
fn parked_client_is_refused_in_the_words_of_its_wire() {
    assert_eq!(&line::no_leader()[..], b"ERROR UNAVAILABLE no leader; try again\n");
    let packet = mysql::no_leader();
    let (head, text) = packet.split_at(13);
    assert_eq!(
        head,
        [&[u8::try_from(packet.len() - 4).unwrap(), 0, 0, 0, 0xff], &1053_u16.to_le_bytes()[..], b"#08S01"]
            .concat()
    );
    assert_eq!(text, b"Server shutdown in progress: no leader; try again");
    let response = String::from_utf8(web::no_leader().to_vec()).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"),
        "{head}"
    );
    assert!(head.ends_with(&format!("content-length: {}", body.len())) && body == "no leader; try again");
}
