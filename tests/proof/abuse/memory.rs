//! Memory: what a connection makes the server remember, and all of them together.

use getlockd::internal::budget::{MAX_CONNECTION_MEMORY, OWN_MEMORY};
use tokio::io::AsyncWriteExt;

use super::{Neighbour, attacked::Attacked};
use crate::common::mysql::{MySql, Reply};

/// How many bytes are charged.
async fn charged(server: &Attacked) -> usize {
    server.stats("memory").await
}

/// The same, on the table.
async fn show(server: &mut Attacked, attack: &str) -> usize {
    let charged = charged(server).await;
    server.shows(attack, &format!("{charged} bytes charged"));
    charged
}

/// Prepares a statement: its number.
async fn prepare(client: &mut MySql, sql: &str) -> Result<[u8; 4], Reply> {
    client.send(0, &[b"\x16", sql.as_bytes()].concat()).await;
    let answer = client.packet().await.unwrap();
    if answer[0] == 0xFF {
        let code = u16::from_le_bytes([answer[1], answer[2]]);
        return Err(Reply::Error {
            code,
            state: String::new(),
            text: String::from_utf8_lossy(&answer[9..]).into(),
        });
    }
    if answer[7] > 0 {
        client.columns(usize::from(answer[7])).await;
    }
    if answer[5] > 0 {
        client.columns(usize::from(answer[5])).await;
    }
    Ok(answer[1..5].try_into().unwrap())
}

async fn execute(client: &mut MySql, id: [u8; 4]) -> Reply {
    client.command(&[b"\x17", &id[..], &[0, 1, 0, 0, 0, 0, 1, 252, 0]].concat()).await
}

#[tokio::test]
async fn long_data_stays_within_the_budget() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let mut a = MySql::connect(server.at.mysql).await;
    assert_eq!(a.value("SELECT GET_LOCK('mine', 0)").await.as_deref(), Some("1"));
    let mut ids = Vec::new();
    for _ in 0..12 {
        let id = prepare(&mut a, "DO ?").await.unwrap();
        for _ in 0..2 {
            a.send(0, &[b"\x18", &id[..], b"\0\0", &vec![b'A'; 500_000][..]].concat()).await;
        }
        ids.push(id);
    }
    assert_eq!(a.value("SELECT IS_USED_LOCK('mine') = CONNECTION_ID()").await.as_deref(), Some("1"));
    assert!(show(&mut server, "data in pieces, 12 MB").await <= MAX_CONNECTION_MEMORY);
    let replies = [execute(&mut a, ids[0]).await, execute(&mut a, ids[11]).await];
    assert_eq!(server.told("data in pieces, the first", &replies[0]), 0);
    assert_eq!(server.told("data in pieces, the last", &replies[1]), 1226);
    // What was refused is forgotten: the next execution is a new one.
    let value = [b"\x17", &ids[11][..], &[0, 1, 0, 0, 0, 0, 1, 253, 0, 1, b'x']].concat();
    assert!(matches!(a.command(&value).await, Reply::Ok { .. }));
    drop(a);
    neighbour.is_well().await;
}

#[tokio::test]
async fn statements_and_variables_stay_within_the_budget() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let mut a = MySql::connect(server.at.mysql).await;
    let long = format!("DO '{}'", "x".repeat(300_000));
    let refused = loop {
        match prepare(&mut a, &long).await {
            Ok(_) => assert!(charged(&server).await <= MAX_CONNECTION_MEMORY),
            Err(refused) => break refused,
        }
    };
    assert_eq!(server.told("prepared statements of 300 kB", &refused), 1226);
    assert!(matches!(a.command(b"\x1f").await, Reply::Ok { .. }), "a reset gives all back");
    assert!(show(&mut server, "after a reset").await < OWN_MEMORY);
    let mut last = Reply::Ok { status: 0, warnings: 0 };
    for at in 0..20 {
        last = a.query(&format!("SET @v{at} = REPEAT('x', 300000)")).await;
    }
    assert_eq!(server.told("variables of 300 kB", &last), 1226);
    assert!(show(&mut server, "variables").await <= MAX_CONNECTION_MEMORY);
    assert_eq!(a.value("SELECT LENGTH(@v0)").await.as_deref(), Some("300000"));
    assert_eq!(a.value("SELECT @v19").await, None, "nothing of what was refused is kept");
    // A packet that there is no memory for is not read, and the connection goes on.
    let reply = a.query(&format!("DO '{}'", "x".repeat(900_000))).await;
    assert_eq!(server.told("a packet of 900 kB", &reply), 1226);
    assert_eq!(a.value("SELECT LENGTH(@v0)").await.as_deref(), Some("300000"));
    neighbour.is_well().await;
}

#[tokio::test]
async fn waiting_statement_is_charged_to_its_session() {
    let mut server = Attacked::start(&["--max-memory", "1048576"]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let long = format!("SELECT GET_LOCK('neighbour', 600){}", ",1".repeat(900));
    let mut waiters = Vec::new();
    for _ in 0..10 {
        let mut waiter = MySql::connect(server.at.mysql).await;
        waiter.start(&long).await;
        waiters.push(waiter);
    }
    // Some wait, and the others are told at once.
    while charged(&server).await < 600_000 {
        neighbour.is_well().await;
    }
    let kept = show(&mut server, "10 who wait, with 900 columns each").await;
    assert!(kept <= 1_048_576 + 10 * OWN_MEMORY, "{kept}");
    let mut last = waiters.pop().unwrap();
    assert_eq!(server.told("the last of them", &last.reply().await), 1226);
    neighbour.is_well().await;
}

#[tokio::test]
async fn many_small_statements_are_prepared() {
    let mut server = Attacked::start(&[]).await;
    let mut a = MySql::connect(server.at.mysql).await;
    let mut last = [0; 4];
    for _ in 0..3_000 {
        last = prepare(&mut a, "DO ?").await.unwrap();
    }
    assert!(show(&mut server, "3000 prepared statements").await <= MAX_CONNECTION_MEMORY);
    a.send(0, &[b"\x18", &last[..], b"\0\0five!"].concat()).await;
    assert!(matches!(execute(&mut a, last).await, Reply::Ok { .. }));
}

#[tokio::test]
async fn unread_results_are_bounded() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let megabytes = |count| format!("SELECT {}", vec!["REPEAT('x', 1000000)"; count].join(","));
    let mut unread = Vec::new();
    for _ in 0..10 {
        let mut a = MySql::connect(server.at.mysql).await;
        let reply = a.query(&megabytes(249)).await;
        assert_eq!(server.told("a result of 249 MB", &reply), 1226);
        // More than the kernel takes.
        for _ in 0..8 {
            a.start(&megabytes(3)).await;
        }
        unread.push(a);
    }
    while charged(&server).await < 10 * 1_000_000 {
        neighbour.is_well().await;
    }
    let kept = show(&mut server, "10 times 8 results of 3 MB that nobody reads").await;
    assert!(kept <= 10 * MAX_CONNECTION_MEMORY, "{kept}");
    drop(unread);
    while charged(&server).await > OWN_MEMORY {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn small_session_is_served_when_memory_is_exhausted() {
    let mut server = Attacked::start(&["--max-memory", "1048576"]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let (mut greedy, mut second) =
        (MySql::connect(server.at.mysql).await, MySql::connect(server.at.mysql).await);
    for at in 0..10 {
        greedy.query(&format!("SET @v{at} = REPEAT('x', 100000)")).await;
    }
    let reply = greedy.query("SET @more = REPEAT('x', 100000)").await;
    assert_eq!(server.told("the greedy one", &reply), 1226);
    let reply = second.query("SET @v = REPEAT('x', 100000)").await;
    assert_eq!(server.told("the one who comes late", &reply), 1226);
    assert!(show(&mut server, "all together").await <= 1_048_576);
    // What everybody has is not refused to them.
    assert!(matches!(second.query("SET @v = REPEAT('x', 10000)").await, Reply::Ok { .. }));
    neighbour.is_well().await;
    let mut newcomer = Neighbour::of_other(server.at.mysql).await;
    newcomer.is_well().await;
    drop(greedy);
}

#[tokio::test]
async fn unfinished_logins_cost_little_memory() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let mut halves = Vec::new();
    for _ in 0..100 {
        let mut half = MySql::greeted(server.at.mysql).await;
        half.stream.write_all(&[&[0, 0x20, 0, 1][..], &[0; 8_000]].concat()).await.unwrap();
        halves.push(half);
    }
    neighbour.is_well().await;
    show(&mut server, "100 halves of logins").await;
}
