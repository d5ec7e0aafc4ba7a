//! Work: what one statement may do, and that others have their turn.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Neighbour, attacked::Attacked, scale::until};
use crate::common::{
    PATIENCE, TestServer,
    mysql::{DEPRECATE_EOF, MULTI_STATEMENTS, MySql, Reply},
};

/// Looks at 64 kB for each of 250 characters.
fn slow_like() -> String {
    format!("@v LIKE '%{}b'", "a".repeat(250))
}

#[tokio::test]
async fn endless_statement_is_ended() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let mut a = MySql::connect_with(server.at.mysql, DEPRECATE_EOF | MULTI_STATEMENTS, "").await;
    assert_eq!(a.value("SELECT GET_LOCK('mine', 0)").await.as_deref(), Some("1"));
    assert!(matches!(a.query("SET @v = REPEAT('a', 65536)").await, Reply::Ok { .. }));
    let all_of = |what: &str, count| vec![what; count].join(",");
    for (attack, statement, code) in [
        ("one LIKE", format!("DO {}", slow_like()), 1235),
        ("48 LIKE", format!("DO {}", vec![slow_like(); 48].join(" OR ")), 1235),
        ("IN of long texts", format!("DO @v IN ({})", all_of("@v || 1", 90)), 1235),
        ("GREATEST of long texts", format!("DO GREATEST({})", all_of("@v", 200)), 1226),
        ("SHA2 of megabytes", format!("DO CONCAT({})", all_of("SHA2(REPEAT('x',1000000),512)", 120)), 1235),
        ("a list of long texts", format!("SELECT {}", all_of("@v", 900)), 1226),
        ("a pattern of large classes", format!("DO 'a' REGEXP '{}'", "[!-\u{10FFFF}]".repeat(100)), 1235),
        ("words without an end", format!("DO {}", "a ".repeat(100_000)), 1235),
    ] {
        let statement = statement.replace("@v || 1", "CONCAT(@v, 1)");
        let reply = a.query(&statement).await;
        assert_eq!(server.told(attack, &reply), code, "{attack}");
        neighbour.is_well().await;
    }
    // A batch ends at the first of them.
    a.start(&vec![format!("DO {}", slow_like()); 5].join(";")).await;
    assert_eq!(a.reply().await.code(), 1235);
    assert_eq!(a.value("SELECT IS_USED_LOCK('mine') = CONNECTION_ID()").await.as_deref(), Some("1"));
    // What people do is far below: a pattern on a list, a digest for a name.
    assert_eq!(a.value("SELECT GET_LOCK(SHA2('a name', 256), 0)").await.as_deref(), Some("1"));
    assert_eq!(a.value("SELECT @v LIKE '%a%a%a'").await.as_deref(), Some("1"));
    assert_eq!(a.value("SELECT LENGTH(CONCAT(@v, @v))").await.as_deref(), Some("131072"));
}

#[tokio::test]
async fn repeated_evaluation_per_lock_is_bounded() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let locks: Vec<_> = (0..200).map(|at| format!("GET_LOCK('{at:0>60}', 0)")).collect();
    let statement = format!("SELECT LENGTH(CONCAT({}))", locks.join(","));
    assert_eq!(a.value(&statement).await.as_deref(), Some("200"));
    assert_eq!(a.value("SELECT RELEASE_ALL_LOCKS()").await.as_deref(), Some("200"));
}

/// Somebody who holds a lock, and has a long text, and may send batches.
async fn holder(mysql: SocketAddr) -> MySql {
    let mut holder = MySql::connect_with(mysql, DEPRECATE_EOF | MULTI_STATEMENTS, "").await;
    assert!(matches!(holder.query("SET @v = REPEAT('a', 60000)").await, Reply::Ok { .. }));
    assert_eq!(holder.value("SELECT GET_LOCK('stuck', 0)").await.as_deref(), Some("1"));
    holder
}

#[tokio::test]
async fn batch_ends_with_disconnect_of_a_client_without_locks() {
    let mut server = Attacked::start(&[]).await;
    let before = [server.stats("sessions").await, server.stats("memory").await];
    // Each statement is much, and not too much.
    let long = format!("DO {}", vec![format!("@v LIKE '%{}b'", "a".repeat(20)); 10].join(","));
    let mut a = holder(server.at.mysql).await;
    assert_eq!(a.value("SELECT RELEASE_LOCK('stuck')").await.as_deref(), Some("1"));
    assert!(matches!(a.query(&long).await, Reply::Ok { .. }));
    a.start(&vec![long; 500].join(";")).await;
    drop(a);
    let over = async {
        until(&server, "sessions", |sessions| sessions <= before[0]).await;
        until(&server, "memory", |memory| memory <= before[1]).await;
    };
    timeout(PATIENCE, over).await.expect("it is over with its client");
    server.shows("500 heavy statements in a packet, and gone", "nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_statements_end_with_disconnect() {
    let server = TestServer::start();
    let mut waiter = server.client().await;
    let (short, last) = ("DO SHA2(@v,512)", "DO GET_LOCK('reached', 0)");
    let mut a = holder(server.mysql).await;
    a.start(&format!("{};{last}", vec![short; 20_000].join(";"))).await;
    drop(a);
    assert_eq!(waiter.ask("GET_LOCK stuck 600").await, "1");
    assert_eq!(waiter.ask("RELEASE_LOCK stuck").await, "1");

    let mut a = holder(server.mysql).await;
    for _ in 0..10_000 {
        a.start(short).await;
    }
    a.start(last).await;
    drop(a);
    assert_eq!(waiter.ask("GET_LOCK stuck 600").await, "1");
    let stats = waiter.list("STATS").await.remove(0);
    assert!(stats.contains(" grants=4 "), "a last statement was reached: {stats}");
}

#[tokio::test]
async fn long_pipeline_is_answered_to_the_end() {
    let server = TestServer::start();
    let mut a = holder(server.mysql).await;
    // More than the memory of a connection, of which there is hardly any left.
    for at in 0..3 {
        assert!(matches!(a.query(&format!("SET @v{at} = REPEAT('a', 1000000)")).await, Reply::Ok { .. }));
    }
    let packet = [&8_001_u32.to_le_bytes()[..], b"\x03DO '", &b"a".repeat(7_995), b"'"].concat();
    let (mut answers, mut packets) = a.stream.split();
    let sending = async {
        for _ in 0..1_000 {
            packets.write_all(&packet).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..1_000 {
            let mut answer = [0; 11];
            timeout(PATIENCE, answers.read_exact(&mut answer)).await.expect("in time").unwrap();
            assert_eq!(answer[..5], [7, 0, 0, 1, 0]);
        }
    };
    tokio::join!(sending, reading);
    assert_eq!(a.value("SELECT IS_USED_LOCK('stuck') = CONNECTION_ID()").await.as_deref(), Some("1"));
}
