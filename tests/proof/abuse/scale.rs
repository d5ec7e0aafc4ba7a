//! Locks that very many hold or wait for, and sessions that hold very many. What a step may cost is asserted beside
//! the code (`src/core/lock`, `src/core/session`); here it is seen to serve, and how long a neighbour waits meanwhile.

use std::{net::SocketAddr, time::Duration};

use getlockd::internal::grpc::proto::{AcquireRequest, Mode};
use tokio::{task::JoinSet, time::sleep};

use super::attacked::Attacked;
use crate::common::{Client, grpc};

/// So many in a release build, and fewer in one for debugging.
const fn sized(full: usize, small: usize) -> usize {
    if cfg!(debug_assertions) { small } else { full }
}

/// Sends lines, as many at a time as are read again, and expects the same answer to each.
async fn ask_all(client: &mut Client, lines: impl Iterator<Item = String>, answer: &str) {
    let lines: Vec<_> = lines.collect();
    for lines in lines.chunks(500) {
        client.send_bytes(lines.concat().as_bytes()).await;
        for line in lines {
            assert_eq!(client.line().await, answer, "{line}");
        }
    }
}

/// Somebody who holds a lock of that name.
async fn holder(line: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(line).await;
    assert_eq!(client.ask(&format!("GET_LOCK {name} 0")).await, "1");
    client
}

/// Resolves when a number of STATS is as wanted.
pub(crate) async fn until(server: &Attacked, key: &str, wanted: impl Fn(usize) -> bool) {
    while !wanted(server.stats(key).await) {
        sleep(Duration::from_millis(10)).await;
    }
}

/// So many leases on one lock, which share it.
async fn share(server: &Attacked, count: usize) {
    let (locks, mut sharing) = (grpc::locks(server.at.http).await, JoinSet::new());
    for part in 0..10 {
        let mut locks = locks.clone();
        sharing.spawn(async move {
            for _ in (part..count).step_by(10) {
                let (name, mode, ttl_ms) = ("big".to_owned(), Mode::Shared.into(), Some(600_000));
                locks.acquire(AcquireRequest { name, mode, ttl_ms, ..Default::default() }).await.unwrap();
            }
        });
    }
    while let Some(shared) = sharing.join_next().await {
        shared.unwrap();
    }
}

/// What so many clients are told last who each ask so many times for a lock that they do not get.
async fn ask_in_vain(clients: Vec<Client>, times: usize, lock: &str) -> String {
    let mut asking = JoinSet::new();
    for mut client in clients {
        let line = format!("GET_LOCK {lock} 0.000001");
        asking.spawn(async move {
            for _ in 0..times {
                assert_eq!(client.ask(&line).await, "0");
            }
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    format!("0, {times} times each")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_lock_with_very_many_holders() {
    let count = sized(50_000, 500);
    let mut server = Attacked::start(&["--max-leases", "100000"]).await;
    share(&server, count).await;
    server.shows(&format!("{count} share a lock"), "Locked");
    for waited_for in [false, true] {
        let (mut clients, mut friends) = (Vec::new(), Vec::new());
        for at in 0..8 {
            clients.push(holder(server.at.line, &format!("own{at}")).await);
            let mut friend = Client::connect(server.at.line).await;
            if waited_for {
                friend.send(&format!("GET_LOCK own{at} 600")).await;
            }
            friends.push(friend);
        }
        until(&server, "waiters", |waiters| waiters == if waited_for { 8 } else { 0 }).await;
        let told = ask_in_vain(clients, sized(200, 5), "big").await;
        let who = if waited_for { "8 for whom others wait" } else { "8" };
        server.shows(&format!("{who} ask for what {count} share"), &told);
        drop(friends);
        until(&server, "waiters", |waiters| waiters == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_chain_of_waits() {
    let length = sized(10_000, 300);
    let mut server = Attacked::start(&["--max-connections", "12000"]).await;
    let mut chain = Vec::new();
    for at in 0..length {
        let mut client = holder(server.at.line, &format!("link{at}")).await;
        if at > 0 {
            client.send(&format!("GET_LOCK link{} 6000", at - 1)).await;
        }
        chain.push(client);
    }
    until(&server, "waiters", |waiters| waiters == length - 1).await;
    server.shows(&format!("a chain of {length}"), "nothing yet");
    let mut clients = Vec::new();
    for at in 0..8 {
        clients.push(holder(server.at.line, &format!("own{at}")).await);
    }
    let end = format!("link{}", length - 1);
    let told = ask_in_vain(clients, sized(200, 5), &end).await;
    server.shows(&format!("8 ask at the end of a chain of {length}"), &told);
    let mut told = String::new();
    for _ in 0..sized(50, 2) {
        told = chain[0].ask(&format!("GET_LOCK {end} 600")).await;
        let start = format!("ERROR DEADLOCK deadlock of {length} sessions: session ");
        assert!(told.starts_with(&start), "{told}");
        assert!(told.ends_with(&format!(", and {} more; release one, or use timeout 0", length - 20)));
        assert_eq!(told.matches(" waits for ").count(), 20);
    }
    server.shows(&format!("the first of {length} would close the cycle"), &told);
    assert_eq!(chain[0].ask("RELEASE_LOCK link0").await, "1");
    assert_eq!(chain[1].line().await, "1", "the chain stands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_holders_of_very_many_locks_end_together() {
    let each = sized(100_000, 3_000);
    let mut server = Attacked::start(&[]).await;
    for end in ["hang up", "are killed", "free all"] {
        let mut four = Vec::new();
        for at in 0..4 {
            let mut client = Client::connect(server.at.line).await;
            ask_all(&mut client, (0..each).map(|lock| format!("GET_LOCK held{at}_{lock} 0\n")), "1").await;
            four.push(client);
        }
        server.shows(&format!("4 hold {each} locks each"), "1");
        let mut told = String::new();
        match end {
            "hang up" => four.drain(..).for_each(Client::reset),
            "are killed" => {
                let mut killer = Client::connect(server.at.line).await;
                for client in &mut four {
                    let id = client.id().await;
                    assert_eq!(killer.ask(&format!("KILL {id}")).await, "1");
                    told = client.line().await;
                }
            }
            _ => {
                for client in &mut four {
                    client.send("RELEASE_ALL_LOCKS").await;
                }
                for client in &mut four {
                    told = client.line().await;
                    assert_eq!(told, each.to_string());
                }
            }
        }
        until(&server, "locks", |locks| locks <= 2).await;
        server.shows(&format!("4 that hold {each} locks each {end}"), &told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_waiters_disconnect_at_once() {
    let count = sized(9_000, 300);
    let mut server = Attacked::start(&[]).await;
    let mut first = holder(server.at.line, "wanted").await;
    let mut waiters = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(server.at.line).await;
        client.send("GET_LOCK wanted 6000").await;
        waiters.push(client);
    }
    until(&server, "waiters", |waiters| waiters == count).await;
    let mut last = Client::connect(server.at.line).await;
    last.send("GET_LOCK wanted 6000").await;
    until(&server, "waiters", |waiters| waiters == count + 1).await;
    server.shows(&format!("{count} wait for a lock"), "nothing yet");
    waiters.into_iter().for_each(Client::reset);
    assert_eq!(first.ask("RELEASE_LOCK wanted").await, "1");
    assert_eq!(last.line().await, "1", "who stands behind them has it");
    until(&server, "waiters", |waiters| waiters == 0).await;
    server.shows(&format!("{count} that wait die at once"), "nothing");
}
