//! The limits over gRPC: what the server answers beyond each is what protocol.md says.

use getlockd::internal::grpc::proto::{
    AcquireRequest, HoldResponse, Introduce, StatsRequest, hold_request::Command,
};
use tokio::task::JoinSet;
use tonic::{Request, Status};

use crate::{
    common::{
        TestServer,
        grpc::{Hold, get_lock, locks},
        mysql::MySql,
    },
    markdown::table,
    mysql_transcripts::guess,
    transcripts::{PROTOCOL, server_with},
    users::basic,
};

/// A code as protocol.md writes it: `RESOURCE_EXHAUSTED`.
fn code(status: &Status) -> String {
    let mut code = String::new();
    for c in format!("{:?}", status.code()).chars() {
        if c.is_uppercase() && !code.is_empty() {
            code.push('_');
        }
        code.push(c.to_ascii_uppercase());
    }
    code
}

/// A row of the table, without its first cell.
type Row = [String; 3];

fn row(named: &str, status: &Status) -> Row {
    [named.to_owned(), code(status), status.message().to_owned()]
}

/// The same for a request of `Hold` that is refused; the stream goes on.
fn refused_row(named: &str, response: HoldResponse) -> Row {
    let refusal = response.refusal.unwrap();
    [named.to_owned(), format!("`{}` in `refusal`", refusal.symbol), refusal.message]
}

/// Why a lease is refused. The connection serves the next call.
async fn refusal(server: &TestServer, wish: AcquireRequest) -> Status {
    let mut client = locks(server.http).await;
    let refusal = client.acquire(wish).await.unwrap_err();
    client.stats(StatsRequest {}).await.unwrap();
    refusal
}

fn named(name: &str) -> AcquireRequest {
    AcquireRequest { name: name.to_owned(), ..AcquireRequest::default() }
}

async fn texts() -> Vec<Row> {
    let server = TestServer::start();
    let long_name = refusal(&server, named(&"n".repeat(65))).await;
    let note = |length| AcquireRequest { note: Some("n".repeat(length)), ..named("nightly") };
    let long_note = refusal(&server, note(257)).await;
    let body = refusal(&server, note(16_384)).await;
    locks(server.http).await.acquire(note(256)).await.unwrap();
    let mut hold = Hold::open(server.http).await;
    hold.send(Command::Introduce(Introduce { client: "n".repeat(257), note: String::new() })).await;
    let introduced = hold.next().await;
    hold.send(get_lock("weekly", 0)).await;
    assert_eq!(hold.next().await.result, Some(1));
    vec![
        row("`MAX_NAME_CHARS`", &long_name),
        row("`MAX_TEXT`", &long_note),
        refused_row("`MAX_TEXT`", introduced),
        row("`MAX_BODY`", &body),
    ]
}

async fn leases() -> Row {
    let server = TestServer::with(&["--max-leases", "1"]);
    locks(server.http).await.acquire(named("nightly")).await.unwrap();
    row("`--max-leases`", &refusal(&server, named("weekly")).await)
}

async fn waiters() -> Vec<Row> {
    let server = TestServer::with(&["--max-waiters-per-lock", "1"]);
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send("GET_LOCK nightly 600").await;
    server.until_waiting(1).await;
    let wish = AcquireRequest { wait_ms: 60_000, ..named("nightly") };
    let leased = refusal(&server, wish).await;
    let mut hold = Hold::open(server.http).await;
    hold.send(get_lock("nightly", 60_000)).await;
    let held = hold.next().await;
    hold.send(get_lock("weekly", 0)).await;
    assert_eq!(hold.next().await.result, Some(1));
    vec![row("`--max-waiters-per-lock`", &leased), refused_row("`--max-waiters-per-lock`", held)]
}

/// What a `Hold` is told behind so many locks.
async fn locks_of_a_stream(flag: &str, count: usize) -> Row {
    let server = TestServer::with(&[flag, "1"]);
    let mut hold = Hold::open(server.http).await;
    for number in 0..count {
        hold.send(get_lock(&number.to_string(), 0)).await;
        assert_eq!(hold.next().await.result, Some(1));
    }
    hold.send(get_lock("more", 0)).await;
    let refused = refused_row(&format!("`{flag}`"), hold.next().await);
    hold.send(get_lock("0", 0)).await;
    assert_eq!(hold.next().await.result, Some(1));
    refused
}

async fn requests_behind_a_wait() -> Row {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let mut hold = Hold::open(server.http).await;
    hold.send(get_lock("nightly", 60_000)).await;
    server.until_waiting(1).await;
    for _ in 0..=256 {
        hold.send(get_lock("weekly", 0)).await;
    }
    row("", &hold.last().await.unwrap_err())
}

async fn wrong_passwords() -> Row {
    let (_dir, server) = server_with(&["--users", "users.toml"]);
    let mut client = MySql::connect_as(server.mysql, "app1", "correct horse").await.unwrap();
    let mut guesses = JoinSet::new();
    let mut refused = None;
    // On a slow machine there may be time for one more password to be looked at.
    for _ in 0..10 {
        guess(&server, &mut guesses).await;
        let mut wish = Request::new(named("app1:nightly"));
        wish.metadata_mut().insert("authorization", basic("app1", "correct horse").parse().unwrap());
        refused = locks(server.http).await.acquire(wish).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"));
    row("`WRONG_BY_NAME_AND_ADDRESS`", &refused.expect("a refusal"))
}

#[tokio::test]
async fn grpc_limits_answer_as_protocol_md_says() {
    let mut told = texts().await;
    told.push(leases().await);
    told.extend(waiters().await);
    told.push(locks_of_a_stream("--max-locks-per-session", 1).await);
    told.push(locks_of_a_stream("--max-locks", 9).await);
    told.push(requests_behind_a_wait().await);
    told.push(wrong_passwords().await);
    let rows = table(PROTOCOL, "| limit over gRPC | named | code | message |");
    let rows: Vec<Row> = rows.iter().map(|row| [row[1], row[2], row[3]].map(str::to_owned)).collect();
    assert_eq!(rows, told);
}
