//! Leases of several locks, and of permits: over HTTP, over gRPC, and in the store.

use getlockd::internal::grpc::proto::{
    AcquireRequest, GetLock, HoldResponse, ListRequest, LockMode, ReleaseLocks, hold_request::Command,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;

use crate::common::{
    TestServer,
    grpc::{Hold, get_lock, lease_lock, locks},
    http::{Request, get, post},
    program::Program,
};

const ACQUIRE: &str = "/api/lock/acquire";

/// The holds of all locks: the name, the mode, the limit and the fencing token of each.
async fn holds(server: std::net::SocketAddr) -> Vec<Value> {
    let (_, body) = get(server, "/api/locks").await;
    let locks: Value = serde_json::from_str(&body).unwrap();
    let row = |row: &Value| json!([row["name"], row["mode"], row["limit"], row["fencingToken"]]);
    locks["locks"].as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn several_locks_are_renewed_and_released_by_any_name() {
    let server = TestServer::start();
    let wish = json!({ "resourceNames": ["stock", "Orders", "STOCK"] });
    let (status, lease) = post(server.http, ACQUIRE, &wish).await;
    assert_eq!((status, &lease["place"]), (200, &json!(0)));
    let token = &lease["fencingToken"];
    let held = [json!(["orders", "exclusive", null, token]), json!(["stock", "exclusive", null, token])];
    assert_eq!(holds(server.http).await, held);
    for (name, status) in [("orders", 200), ("stock", 200), ("other", 404)] {
        let beat = json!({ "resourceName": name, "lockToken": lease["lockToken"] });
        assert_eq!(post(server.http, "/api/lock/heartbeat", &beat).await.0, status, "{name}");
    }
    let release = json!({ "resourceName": "stock", "lockToken": lease["lockToken"] });
    assert_eq!(post(server.http, "/api/lock/release", &release).await.0, 200);
    assert_eq!(holds(server.http).await, Vec::<Value>::new());
}

#[tokio::test]
async fn holder_of_several_locks_is_told_of_the_waiters_of_all() {
    let server = TestServer::start();
    let (_, lease) = post(server.http, ACQUIRE, &json!({ "resourceNames": ["a", "b"] })).await;
    let [mut one, mut other] = server.clients::<2>().await;
    one.send("GET_LOCK a 60").await;
    server.until_waiting(1).await;
    other.send("GET_LOCK b 60").await;
    server.until_waiting(2).await;
    let beat = json!({ "resourceName": "b", "lockToken": lease["lockToken"] });
    let (_, renewed) = post(server.http, "/api/lock/heartbeat", &beat).await;
    assert_eq!(renewed["waiters"], 2);
    assert_eq!(post(server.http, "/api/lock/release", &beat).await.0, 200);
    assert_eq!([one.line().await, other.line().await], ["1", "1"]);
}

#[tokio::test]
async fn request_id_stands_for_names_in_any_order() {
    let server = TestServer::start();
    let id = "8f14e45f-ceea-467f-9575-2b1c5a0d7e33";
    let wish = |names: &[&str]| json!({ "resourceNames": names, "requestId": id });
    let (status, first) = post(server.http, ACQUIRE, &wish(&["a", "b"])).await;
    assert_eq!(status, 200);
    let (status, again) = post(server.http, ACQUIRE, &wish(&["b", "a", "b"])).await;
    assert_eq!((status, &again["lockToken"]), (200, &first["lockToken"]));
    for other in [&["a"][..], &["a", "b", "c"], &["a", "c"]] {
        let (status, refused) = post(server.http, ACQUIRE, &wish(other)).await;
        assert_eq!((status, &refused["status"]), (409, &json!("RequestIdTaken")), "{other:?}");
    }
    let of_permit = |limit| json!({ "resourceName": "p", "mode": "permit", "limit": limit, "requestId": format!("{id}p") });
    assert_eq!(post(server.http, ACQUIRE, &of_permit(2)).await.0, 200);
    let (status, refused) = post(server.http, ACQUIRE, &of_permit(3)).await;
    assert_eq!((status, &refused["status"]), (409, &json!("RequestIdTaken")), "another limit");
}

#[tokio::test]
async fn names_and_limit_of_a_request_are_checked() {
    let server = TestServer::start();
    let many: Vec<_> = (0..65).map(|at| format!("n{at}")).collect();
    for (wish, hint) in [
        (json!({}), "resourceName: this field is required"),
        (
            json!({ "resourceName": "a", "resourceNames": ["b"] }),
            "send resourceName or resourceNames, not both",
        ),
        (json!({ "resourceNames": [] }), "resourceNames: name at least one lock"),
        (json!({ "resourceNames": "a" }), "resourceNames: expected a list of strings"),
        (json!({ "resourceNames": ["a", 1] }), "resourceNames: expected a list of strings"),
        (json!({ "resourceNames": ["a", ""] }), "name"),
        (json!({ "resourceNames": many }), "too many names; one request takes at most 64"),
        (json!({ "resourceNames": ["a", "b"], "mode": "permit", "limit": 2 }), "a permit is of one lock"),
        (json!({ "resourceName": "a", "mode": "permit" }), "limit: mode `permit` needs this field"),
        (json!({ "resourceName": "a", "limit": 2 }), "limit: only mode `permit` takes this field"),
        (json!({ "resourceName": "a", "mode": "permit", "limit": 0 }), "limit: use 1 to 65535 permits"),
        (json!({ "resourceName": "a", "mode": "permit", "limit": 65_536 }), "limit: use 1 to 65535 permits"),
        (json!({ "resourceName": "a", "mode": "permits" }), "mode: use `exclusive`, `shared` or `permit`"),
    ] {
        let (status, refused) = post(server.http, ACQUIRE, &wish).await;
        let message = refused["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(hint), "{wish}: {status} {message}");
    }
    let (status, body) = get(server.http, "/getLock/a?limit=0").await;
    assert!(status == 400 && body.contains("limit: use 1 to 65535 permits"), "{body}");
    assert_eq!(holds(server.http).await, Vec::<Value>::new());
}

#[tokio::test]
async fn permits_are_granted_up_to_their_limit_and_listed_with_it() {
    let server = TestServer::start();
    let wish = json!({ "resourceName": "pool", "mode": "permit", "limit": 2 });
    assert_eq!(post(server.http, ACQUIRE, &wish).await.0, 200);
    assert_eq!(get(server.http, "/getLock/pool?limit=2").await.1.len(), 32);
    assert_eq!(get(server.http, "/getLock/pool?limit=2").await, (200, "false".to_owned()));
    let (status, busy) = post(server.http, ACQUIRE, &wish).await;
    assert_eq!((status, &busy["status"], busy.get("inTheWay")), (409, &json!("Busy"), None));
    for row in holds(server.http).await {
        assert_eq!((&row[1], &row[2]), (&json!("permit"), &json!(2)));
    }
    let (_, status) = get(server.http, "/api/lock/status/pool").await;
    assert!(status.contains(r#""mode":"permit","limit":2"#), "{status}");
    let mut grpc = locks(server.http).await;
    let listed = grpc.list(ListRequest::default()).await.unwrap().into_inner().locks;
    let shown: Vec<_> = listed.iter().map(|lock| (lock.mode(), lock.limit)).collect();
    assert_eq!(shown, [(LockMode::Permit, Some(2)); 2]);
}

fn several(names: &[&str], wait_ms: i64) -> Command {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Command::GetLock(GetLock { names, wait_ms, ..GetLock::default() })
}

fn permit(name: &str, limit: u32) -> Command {
    let (name, mode) = (name.to_owned(), LockMode::Permit.into());
    Command::GetLock(GetLock { name, mode, limit: Some(limit), ..GetLock::default() })
}

async fn asked(hold: &mut Hold, command: Command) -> HoldResponse {
    hold.send(command).await;
    hold.next().await
}

#[tokio::test]
async fn hold_stream_takes_and_releases_several_locks() {
    let server = TestServer::start();
    let [mut one, mut other] = [Hold::open(server.http).await, Hold::open(server.http).await];
    let granted = asked(&mut one, several(&["a", "b"], 0)).await;
    assert_eq!((granted.result, granted.place, granted.in_the_way), (Some(1), 0, None));
    assert!(granted.fencing_token.is_some());
    let busy = asked(&mut other, several(&["c", "b"], 0)).await;
    assert_eq!((busy.result, busy.in_the_way.as_deref()), (Some(0), Some("b")));
    let names = ["b", "c", "a"].map(str::to_owned).to_vec();
    let released = asked(&mut one, Command::ReleaseLocks(ReleaseLocks { names })).await;
    assert_eq!(released.result, Some(2));
    assert_eq!(asked(&mut other, several(&["c", "b"], 0)).await.result, Some(1));
    one.send(get_lock("b", -1)).await;
    server.until_waiting(1).await;
    let names = vec!["b".to_owned()];
    assert_eq!(asked(&mut other, Command::ReleaseLocks(ReleaseLocks { names })).await.result, Some(1));
    assert_eq!(one.next().await.place, 1, "a wait for one lock has a place too");
}

#[tokio::test]
async fn hold_stream_refuses_names_and_limits_that_do_not_fit() {
    let server = TestServer::start();
    let mut hold = Hold::open(server.http).await;
    let both = GetLock { name: "a".to_owned(), names: vec!["b".to_owned()], ..GetLock::default() };
    let permits = GetLock {
        names: ["a", "b"].map(str::to_owned).to_vec(),
        mode: LockMode::Permit.into(),
        limit: Some(2),
        ..GetLock::default()
    };
    let limit = GetLock { name: "a".to_owned(), limit: Some(2), ..GetLock::default() };
    let many = GetLock { names: (0..65).map(|at| format!("n{at}")).collect(), ..GetLock::default() };
    let bad = GetLock { names: vec!["a".to_owned(), String::new()], ..GetLock::default() };
    for (request, symbol) in
        [(both, "SYNTAX"), (permits, "SYNTAX"), (limit, "SYNTAX"), (many, "LIMIT"), (bad, "BAD_NAME")]
    {
        let refused = asked(&mut hold, Command::GetLock(request)).await.refusal.unwrap();
        assert_eq!(refused.symbol, symbol, "{}", refused.message);
    }
    assert_eq!(asked(&mut hold, permit("a", 0)).await.refusal.unwrap().symbol, "SYNTAX");
    let none = Command::ReleaseLocks(ReleaseLocks::default());
    assert_eq!(asked(&mut hold, none).await.refusal.unwrap().symbol, "SYNTAX");
}

#[tokio::test]
async fn grpc_call_for_several_locks_names_the_lock_in_the_way() {
    let server = TestServer::start();
    let mut grpc = locks(server.http).await;
    let wish = |names: &[&str]| AcquireRequest {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        ..AcquireRequest::default()
    };
    let lease = grpc.acquire(wish(&["straße", "b"])).await.unwrap().into_inner();
    assert_eq!((lease.place, lease.waiters), (0, 0));
    let busy = grpc.acquire(wish(&["a", "Straße"])).await.unwrap_err();
    let in_the_way = busy.metadata().get_bin("in-the-way-bin").unwrap().to_bytes().unwrap();
    assert_eq!((busy.code(), &*in_the_way), (Code::Aborted, "straße".as_bytes()));
    let both = AcquireRequest { name: "a".to_owned(), ..wish(&["b"]) };
    assert_eq!(grpc.acquire(both).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn lease_lock_of_a_permit_keeps_it_a_permit() {
    let server = TestServer::start();
    let mut hold = Hold::open(server.http).await;
    let token = asked(&mut hold, permit("pool", 2)).await.fencing_token;
    let lease = asked(&mut hold, lease_lock("pool", 60_000)).await.lease_token.unwrap();
    drop(hold);
    assert_eq!(holds(server.http).await, [json!(["pool", "permit", 2, token])]);
    let mut other = Hold::open(server.http).await;
    assert_eq!(asked(&mut other, permit("pool", 2)).await.result, Some(1));
    assert_eq!(get(server.http, "/getLock/pool?limit=2").await.1, "false");
    assert_eq!(get(server.http, &format!("/releaseLock/pool/{lease}")).await.1, "released");
    assert_eq!(get(server.http, "/getLock/pool?limit=2").await.1.len(), 32);
}

fn with_store(folder: &TempDir) -> (Program, std::net::SocketAddr) {
    let path = folder.path().join("leases").display().to_string();
    let (program, _, http) =
        Program::on_all_wires(&["--store", &path, "--store-anyway", "--store-grace", "0s"]);
    (program, http)
}

#[tokio::test]
async fn several_locks_and_permits_outlive_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (program, http) = with_store(&folder);
    let several = json!({ "resourceNames": ["stock", "orders"], "ttlMs": 600_000 });
    let (_, lease) = post(http, ACQUIRE, &several).await;
    let permit = json!({ "resourceName": "pool", "mode": "permit", "limit": 2, "ttlMs": 600_000 });
    for _ in 0..2 {
        assert_eq!(post(http, ACQUIRE, &permit).await.0, 200);
    }
    let before = holds(http).await;
    let (_, stored) = get(http, "/api/store").await;
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let shown = |lease: &Value| json!([lease["name"], lease["otherNames"], lease["mode"], lease["limit"]]);
    let rows: Vec<_> = stored["leases"].as_array().unwrap().iter().map(shown).collect();
    let of_permit = json!(["pool", null, "permit", 2]);
    assert_eq!(rows, [of_permit.clone(), of_permit, json!(["stock", ["orders"], "exclusive", null])]);
    program.signal("-KILL");
    program.wait();

    let (_program, http) = with_store(&folder);
    assert_eq!(holds(http).await, before);
    let (status, busy) = post(http, ACQUIRE, &permit).await;
    assert_eq!((status, &busy["status"]), (409, &json!("Busy")), "two of two permits are taken");
    let release = json!({ "resourceName": "orders", "lockToken": lease["lockToken"] });
    assert_eq!(post(http, "/api/lock/release", &release).await.0, 200);
    assert_eq!(post(http, ACQUIRE, &several).await.0, 200);
}

#[tokio::test]
async fn request_that_waits_for_several_locks_holds_none_of_them() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK b 0").await, "1");
    let wish = json!({ "resourceNames": ["a", "b"], "waitMs": -1 }).to_string();
    let waiting = Request::send(server.http, "POST", ACQUIRE, &wish).await;
    server.until_waiting(1).await;
    assert_eq!(holder.ask("IS_FREE_LOCK a").await, "1");
    let (_, sessions) = get(server.http, "/api/sessions").await;
    assert!(sessions.contains(r#""holds":0,"waitsFor":"b""#), "{sessions}");
    assert_eq!(post(server.http, ACQUIRE, &json!({ "resourceName": "a" })).await.0, 409, "nobody passes it");
    assert_eq!(holder.ask("RELEASE_LOCK b").await, "1");
    let (status, granted) = waiting.reply().await;
    let granted: Value = serde_json::from_str(&granted).unwrap();
    assert_eq!((status, &granted["place"]), (200, &json!(1)));
    let token = &granted["fencingToken"];
    let held = [json!(["a", "exclusive", null, token]), json!(["b", "exclusive", null, token])];
    assert_eq!(holds(server.http).await, held);
}

#[tokio::test]
async fn wait_for_several_locks_ends_with_the_name_in_the_way() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    for name in ["c", "b"] {
        assert_eq!(holder.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    let id = "8f14e45f-ceea-467f-9575-2b1c5a0d7e33";
    for request_id in [None, Some(id)] {
        let wish = json!({ "resourceNames": ["a", "b", "c"], "waitMs": 100, "requestId": request_id });
        let (status, busy) = post(server.http, ACQUIRE, &wish).await;
        assert_eq!((status, &busy["status"], &busy["inTheWay"]), (409, &json!("Busy"), &json!("b")));
    }
    assert_eq!(server.service.stats().table.waiters, 0);
}

#[tokio::test]
async fn permit_with_another_limit_is_refused_with_the_number() {
    let server = TestServer::start();
    let wish = |mode, limit: Option<u16>| json!({ "resourceName": "pool", "mode": mode, "limit": limit });
    assert_eq!(post(server.http, ACQUIRE, &wish("permit", Some(2))).await.0, 200);
    for other in [wish("permit", Some(3)), wish("shared", None)] {
        let (status, refused) = post(server.http, ACQUIRE, &other).await;
        assert_eq!((status, &refused["status"]), (409, &json!("LimitDiffers")), "{other}");
        assert!(refused["message"].as_str().unwrap().contains("a limit of 2 permits"), "{refused}");
    }
    let (status, busy) = post(server.http, ACQUIRE, &wish("exclusive", None)).await;
    assert_eq!((status, &busy["status"]), (409, &json!("Busy")), "exclusive waits for all permits");
    let mut grpc = locks(server.http).await;
    let refused = grpc.acquire(AcquireRequest {
        name: "pool".to_owned(),
        mode: LockMode::Permit.into(),
        limit: Some(3),
        ..AcquireRequest::default()
    });
    assert_eq!(refused.await.unwrap_err().code(), Code::FailedPrecondition);
    let mut hold = Hold::open(server.http).await;
    assert_eq!(asked(&mut hold, permit("pool", 3)).await.refusal.unwrap().symbol, "LIMIT_DIFFERS");
}
