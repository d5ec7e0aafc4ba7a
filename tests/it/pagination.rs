//! Lists in pages, while locks are taken and freed and clients come and go: what stays is on one page, and on one only.

use std::collections::BTreeSet;

use crate::common::{
    Client, TestServer,
    dice::Dice,
    grpc::locks,
    http::{Request, get},
};
use getlockd::internal::grpc::proto::{HistoryRequest, ListRequest, SessionsRequest, WaitersRequest};
use serde_json::Value;

/// A page of a list by HTTP: its rows, and the path of the next page.
async fn page(
    server: &TestServer,
    path: &str,
    rows: &str,
    after: Option<&str>,
) -> (Vec<Value>, Option<String>) {
    let limit = if path.contains('?') { "&limit=3" } else { "?limit=3" };
    let after = after.map(|after| format!("&after={}", after.replace('%', "%25").replace(' ', "%20")));
    let (code, told) = get(server.http, &format!("{path}{limit}{}", after.unwrap_or_default())).await;
    assert_eq!(code, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let listed = told[rows].as_array().unwrap().clone();
    let next = told.get("next").map(|next| next.as_str().unwrap().to_owned());
    assert!(listed.len() <= 3 && (next.is_none() || listed.len() == 3), "{told}");
    (listed, next)
}

/// All pages of a list, with something done between each two.
async fn pages(server: &TestServer, path: &str, rows: &str, mut between: impl AsyncFnMut()) -> Vec<Value> {
    let (mut all, mut next) = page(server, path, rows, None).await;
    while let Some(after) = next {
        between().await;
        let (more, then) = page(server, path, rows, Some(&after)).await;
        all.extend(more);
        next = then;
    }
    all
}

fn texts(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter().map(|row| row[field].to_string()).collect()
}

/// Each of these once, and no row twice.
fn assert_are_there_once(told: &[String], stay: &[String]) {
    let once: BTreeSet<_> = told.iter().collect();
    assert_eq!(once.len(), told.len(), "{told:?}");
    assert!(stay.iter().all(|stays| once.contains(stays)), "{told:?} has not all of {stay:?}");
}

#[tokio::test]
async fn stable_locks_are_listed_once_despite_changes() {
    let server = TestServer::start();
    let [mut stays, mut comes] = server.clients().await;
    let mut names = Vec::new();
    for n in 0..20 {
        assert_eq!(stays.ask(&format!("GET_LOCK 'n% {n:02}' 0")).await, "1");
        names.push(format!("\"n% {n:02}\""));
    }
    let mut dice = Dice::new(7);
    let told = pages(&server, "/api/locks?prefix=N", "locks", async || {
        for _ in 0..5 {
            comes.ask(&format!("GET_LOCK 'n% {:02}x' 0", dice.below(20))).await;
            comes.ask(&format!("RELEASE_LOCK 'n% {:02}x'", dice.below(20))).await;
        }
    })
    .await;
    let told = texts(&told, "name");
    assert_are_there_once(&told, &names);
    assert!(told.is_sorted());
}

#[tokio::test]
async fn shared_holders_are_listed_once_each() {
    let server = TestServer::start();
    let mut clients: [Client; 8] = server.clients().await;
    for client in &mut clients {
        assert_eq!(client.ask("GET_SHARED_LOCK nightly 0").await, "1");
    }
    let told = pages(&server, "/api/locks", "locks", async || {}).await;
    assert_are_there_once(&texts(&told, "fencingToken"), &[]);
    assert_eq!(told.len(), 8);
}

#[tokio::test]
async fn waiters_are_listed_once_despite_an_upgrade() {
    let server = TestServer::start();
    let [mut holder, mut other] = server.clients().await;
    for client in [&mut holder, &mut other] {
        assert_eq!(client.ask("GET_SHARED_LOCK nightly 0").await, "1");
    }
    let mut waiting = Vec::new();
    for n in 0..12 {
        let mut client = server.client().await;
        let id = client.id().await.to_string();
        client.send("GET_LOCK nightly 600").await;
        server.until_waiting(n + 1).await;
        waiting.push((id, Some(client)));
    }
    let mut round = 0;
    let told = pages(&server, "/api/lock/waiters/nightly", "waiters", async || {
        // The last row of the page before goes, and one that has not been shown yet.
        let last = 3 * round + 2;
        for gone in [last, 10] {
            waiting[gone].1 = None;
        }
        if round == 0 {
            holder.send("GET_LOCK nightly 600").await;
        }
        let still = waiting.iter().filter(|(_, client)| client.is_some()).count();
        server.until_waiting(still + 1).await;
        round += 1;
    })
    .await;
    let told = texts(&told, "session");
    let stay: Vec<_> =
        waiting.iter().filter(|(_, client)| client.is_some()).map(|(id, _)| id.clone()).collect();
    assert_are_there_once(&told, &stay);
    let numbers: Vec<u32> = told.iter().map(|id| id.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn stable_sessions_are_listed_once() {
    let server = TestServer::start();
    let mut ids = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let (mut stays, mut goes) = (server.client().await, server.client().await);
        ids.push(stays.id().await.to_string());
        goes.id().await;
        clients.push((stays, Some(goes)));
    }
    let mut next = 0;
    let told = pages(&server, "/api/sessions", "sessions", async || {
        clients[next].1 = None;
        next += 1;
        let sessions = 20 - next;
        server.until(|stats| stats.sessions == sessions).await;
    })
    .await;
    assert_are_there_once(&texts(&told, "session"), &ids);
}

#[tokio::test]
async fn history_continues_after_eviction() {
    let server = TestServer::start();
    let hold = async || {
        let mut client = server.client().await;
        client.ask("GET_LOCK nightly 0").await;
        drop(client);
        server.until(|stats| stats.table.locks == 0).await;
    };
    for _ in 0..5 {
        hold().await;
    }
    let all = page(&server, "/api/lock/history/nightly", "holds", None).await;
    let two = page(&server, "/api/lock/history/nightly", "holds", all.1.as_deref()).await;
    assert_eq!((two.0.len(), &two.1), (2, &None));
    // One more pushes out the last, and a second the one before.
    hold().await;
    assert_eq!(page(&server, "/api/lock/history/nightly", "holds", all.1.as_deref()).await.0, two.0[..1]);
    for _ in 0..5 {
        hold().await;
    }
    assert_eq!(page(&server, "/api/lock/history/nightly", "holds", all.1.as_deref()).await, (vec![], None));
}

#[tokio::test]
async fn grpc_has_the_same_pages() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    for n in 0..5 {
        assert_eq!(holder.ask(&format!("GET_LOCK n{n} 0")).await, "1");
    }
    let (mut waiters, mut ids) = (Vec::new(), Vec::new());
    for n in 0..4 {
        let mut client = server.client().await;
        ids.push(client.id().await);
        client.send("GET_LOCK n0 600").await;
        server.until_waiting(n + 1).await;
        waiters.push(client);
    }
    let mut grpc = locks(server.http).await;
    let limit = Some(2);
    let (mut names, mut after, mut totals) = (Vec::new(), None, BTreeSet::new());
    loop {
        let asked = ListRequest { limit, after, ..Default::default() };
        let told = grpc.list(asked).await.unwrap().into_inner();
        names.extend(told.locks.into_iter().map(|lock| lock.name));
        totals.insert(told.total);
        after = told.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((names.join(" ").as_str(), totals), ("n0 n1 n2 n3 n4", BTreeSet::from([5])));
    let asked = |after| WaitersRequest { name: "n0".to_owned(), limit: Some(3), after };
    let first = grpc.waiters(asked(None)).await.unwrap().into_inner();
    let second = grpc.waiters(asked(first.next.clone())).await.unwrap().into_inner();
    let told: Vec<_> = first.waiters.iter().chain(&second.waiters).map(|waiter| waiter.session).collect();
    assert_eq!((told, second.next), (ids, None));
    let first = grpc.sessions(SessionsRequest { limit, after: None }).await.unwrap().into_inner();
    let second = grpc.sessions(SessionsRequest { limit, after: first.next }).await.unwrap().into_inner();
    assert!(first.sessions[1].session < second.sessions[0].session);
    holder.ask("RELEASE_ALL_LOCKS").await;
    let asked = HistoryRequest { name: "n1".to_owned(), limit: Some(1), after: Some("1".to_owned()) };
    assert!(grpc.history(asked).await.unwrap().into_inner().holds.is_empty());
    for (limit, after) in [(Some(0), None), (Some(10_001), None), (None, Some("nonsense".to_owned()))] {
        let refused = grpc.sessions(SessionsRequest { limit, after }).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
}

#[tokio::test]
async fn invalid_page_token_is_refused() {
    let server = TestServer::start();
    for (query, hint) in [
        ("limit=0", "1 to 10000"),
        ("limit=10001", "1 to 10000"),
        ("limit=many", "1 to 10000"),
        ("limit=", "1 to 10000"),
        ("after=nonsense", "`next`"),
        ("page=2", "page"),
    ] {
        for path in ["/api/locks", "/api/sessions", "/api/lock/waiters/x", "/api/lock/history/x"] {
            let (code, told) =
                Request::send(server.http, "GET", &format!("{path}?{query}"), "").await.reply().await;
            assert!(code == 400 && told.contains(hint), "{path} {query}: {code} {told}");
        }
    }
    assert_eq!(get(server.http, "/api/locks?limit=10000").await.0, 200);
}
