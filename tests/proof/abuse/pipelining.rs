//! What is sent ahead of answers, and answers that nobody reads: each connection has one sum, and so have all.

use getlockd::internal::budget::MAX_CONNECTION_MEMORY;
use tokio::io::AsyncBufReadExt;

use super::attacked::Attacked;
use crate::common::{Client, http};

/// What all connections may have in these tests, in bytes.
const ALL: usize = 8 * 1024 * 1024;

/// Resolves when that many bytes are charged. Meanwhile and then it is no more than there may be.
async fn until_charged(server: &Attacked, bytes: usize, most: usize) -> usize {
    loop {
        let charged = server.stats("memory").await;
        assert!(charged <= most, "{charged}");
        if charged >= bytes {
            return charged;
        }
    }
}

/// Resolves when nothing is charged any more.
async fn until_given_back(server: &Attacked) {
    while server.stats("memory").await > 0 {
        tokio::task::yield_now().await;
    }
}

/// How often somebody was refused for that reason.
async fn refused(server: &Attacked, reason: &str) -> u64 {
    let (_, page) = http::get(server.at.http, "/metrics").await;
    let start = format!("getlockd_refused_total{{reason=\"{reason}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

/// What SESSIONS says of the memory of one.
async fn memory_of(server: &Attacked, id: u32) -> usize {
    let rows = Client::connect(server.at.line).await.list("SESSIONS").await;
    let row = rows.iter().find(|row| row.starts_with(&format!("SESSION session={id} "))).unwrap();
    row.split(' ').find_map(|field| field.strip_prefix("memory=")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn input_behind_a_wait_is_not_kept() {
    let mut server = Attacked::start(&[]).await;
    let mut greedy = Client::connect(server.at.line).await;
    assert_eq!(greedy.ask("GET_LOCK greedy 0").await, "1");
    greedy.send("GET_LOCK the_neighbours 600").await;
    let (endless, mut sent) = ("PING\n".repeat(20_000), 0);
    let told = loop {
        tokio::select! {
            biased;
            line = greedy.next() => break line.unwrap(),
            () = tokio::task::yield_now() => {
                sent += greedy.stream.get_ref().try_write(endless.as_bytes()).unwrap_or(0);
                assert!(sent < 100_000_000, "it is told in time");
            }
        }
    };
    assert!(told.starts_with("ERROR LIMIT more than 4194304 bytes "), "{told}");
    server.shows("100 MB behind a command that waits", &told);
    assert_eq!(refused(&server, "connection_memory").await, 1);
    assert_eq!(Client::connect(server.at.line).await.ask("GET_LOCK greedy 5").await, "1", "it holds nothing");
    until_given_back(&server).await;
}

#[tokio::test]
async fn thousand_pipelines_are_held_back_and_complete() {
    let flag = ALL.to_string();
    let mut server = Attacked::start(&["--max-memory", &flag]).await;
    let mut greedy = Vec::new();
    let pings = "PING\n".repeat(20_000);
    for _ in 0..1_000 {
        let mut client = Client::connect(server.at.line).await;
        let id = client.id().await;
        client.send("GET_LOCK the_neighbours 600").await;
        client.send_bytes(pings.as_bytes()).await;
        greedy.push((id, client));
    }
    let charged = until_charged(&server, ALL - 256 * 1024, ALL).await;
    while server.stats("waiters").await < 1_000 {
        tokio::task::yield_now().await;
    }
    server.shows(
        "1,000 who send 100 kB behind a command that waits",
        &format!("nothing; {charged} bytes charged"),
    );
    assert_eq!(server.stats("waiters").await, 1_000, "who is held back stays in the queue");
    assert!(memory_of(&server, greedy[0].0).await > 100_000, "the first is seen to have much");
    // The last has what the network keeps for it.
    let (id, mut last) = greedy.pop().unwrap();
    assert!(memory_of(&server, id).await <= 64 * 1024);
    assert_eq!(Client::connect(server.at.line).await.ask(&format!("KILL QUERY {id}")).await, "1");
    assert!(last.line().await.starts_with("ERROR INTERRUPTED "));
    for _ in 0..20_000 {
        assert_eq!(last.line().await, "PONG");
    }
    // One that leaves is seen to, though it was not read to its end.
    greedy.drain(500..);
    while server.stats("waiters").await > 500 {
        tokio::task::yield_now().await;
    }
    drop((greedy, last));
    until_given_back(&server).await;
}

#[tokio::test]
async fn unread_lists_stay_within_max_memory() {
    let flag = ALL.to_string();
    let mut server = Attacked::start(&["--max-memory", &flag]).await;
    let mut holder = Client::connect(server.at.line).await;
    let locks: String = (0..10_000).map(|at| format!("GET_LOCK list{at:0>60} 0\n")).collect();
    holder.send_bytes(locks.as_bytes()).await;
    for _ in 0..10_000 {
        assert_eq!(holder.line().await, "1");
    }
    let mut greedy = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(server.at.line).await;
        // More than the kernel takes, and the last line says that it was served to the end.
        client.send_bytes(["LOCKS list\n".repeat(5).as_str(), "PING\n"].concat().as_bytes()).await;
        greedy.push(client);
    }
    while refused(&server, "server_memory").await == 0 {
        let charged = server.stats("memory").await;
        assert!(charged <= ALL + ALL / 8, "{charged}");
    }
    let mut told = String::new();
    for client in &mut greedy {
        let (mut lists, mut errors) = (0, 0);
        loop {
            let line = client.line().await;
            match line.split(' ').next().unwrap() {
                "LOCK" => {}
                "END" => lists += 1,
                "ERROR" => (errors, told) = (errors + 1, line),
                _ => break,
            }
        }
        assert_eq!(lists + errors, 5, "each is answered");
    }
    assert!(told.starts_with("ERROR LIMIT memory limit of the server reached: 8388608 bytes "), "{told}");
    server.shows("8 who ask for 5 lists of 10,000 locks and do not read", &told);
    until_given_back(&server).await;
    // One that is gone before it has read is forgotten, too.
    let mut gone = Client::connect(server.at.line).await;
    gone.send_bytes("LOCKS list\n".repeat(5).as_bytes()).await;
    until_charged(&server, 1_000_000, MAX_CONNECTION_MEMORY).await;
    assert!(!gone.stream.fill_buf().await.unwrap().is_empty());
    drop(gone);
    until_given_back(&server).await;
    assert_eq!(holder.ask("RELEASE_ALL_LOCKS").await, "10000");
}
