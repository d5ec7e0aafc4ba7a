//! Conditions on lists: work that others can end, and that nobody has to wait for.

use std::net::SocketAddr;

use getlockd::internal::session::MAX_LIST_ROWS;

use super::{Neighbour, attacked::Attacked};
use crate::common::{
    Client, TestServer,
    mysql::{MySql, Reply},
};

/// Somebody who holds this many locks.
async fn holder_of(line: SocketAddr, count: usize) -> Client {
    let mut holder = Client::connect(line).await;
    for at in 0..count {
        assert_eq!(holder.ask(&format!("GET_LOCK wh{at} 0")).await, "1");
    }
    holder
}

const LOCKS: &str = "FROM performance_schema.metadata_locks";

/// Looks at a text of 10 kB over and over, for each lock; but not at all of one statement's work at once.
fn slow_list() -> String {
    format!("SELECT COUNT(*) {LOCKS} WHERE OBJECT_NAME LIKE 'wh%' AND @v LIKE '%{}b'", "a".repeat(20))
}

/// Somebody who holds a lock and asks for ten such lists.
async fn slow(mysql: SocketAddr) -> MySql {
    let mut slow = MySql::connect(mysql).await;
    assert!(matches!(slow.query("SET @v = REPEAT('a', 10000)").await, Reply::Ok { .. }));
    assert_eq!(slow.value("SELECT GET_LOCK('stuck', 0)").await.as_deref(), Some("1"));
    for _ in 0..10 {
        slow.start(&slow_list()).await;
    }
    slow
}

/// How many lists it was answered, and the last answer.
async fn answers(mut client: MySql) -> (usize, Option<Reply>) {
    let (mut lists, mut last) = (0, None);
    while let Some(reply) = client.heard().await {
        lists += usize::from(matches!(reply, Reply::Rows { .. }) || reply.code() == 1235);
        last = Some(reply);
    }
    (lists, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_condition_ends_with_kill_and_delays_no_list() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let mut eye = holder_of(server.at.line, 250).await;
    let slow = slow(server.at.mysql).await;
    let id = slow.id;
    let reading = tokio::spawn(answers(slow));
    // The table is looked at in its turn, and the condition is none of that.
    assert_eq!(eye.list("LOCKS wh").await.len(), 250);
    assert_eq!(eye.ask("IS_USED_LOCK stuck").await, id.to_string());
    assert_eq!(eye.ask(&format!("KILL {id}")).await, "1");
    assert_eq!(eye.ask("GET_LOCK stuck 0").await, "1", "it is free when KILL is answered");
    let (lists, last) = reading.await.unwrap();
    let last = last.expect("it is told");
    assert_eq!(server.told("a list with a slow condition, killed", &last), 1317);
    assert!(lists < 10, "all lists were made in spite of KILL");
    neighbour.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_condition_ends_with_a_holder_that_disconnects() {
    let server = TestServer::start();
    let mut eye = holder_of(server.addr, 250).await;
    let slow = slow(server.mysql).await;
    slow.stream.set_zero_linger().unwrap();
    drop(slow);
    assert_eq!(eye.ask("GET_LOCK stuck 20").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_condition_ends_by_time_and_by_work() {
    let mut server = Attacked::start(&[]).await;
    let _holder = holder_of(server.at.line, 250).await;
    let mut a = MySql::connect(server.at.mysql).await;
    assert!(matches!(a.query("SET @v = REPEAT('a', 10000)").await, Reply::Ok { .. }));
    let hurried = slow_list().replace("SELECT", "SELECT /*+ MAX_EXECUTION_TIME(1) */");
    assert_eq!(server.told("a list with little time", &a.query(&hurried).await), 3024);
    assert_eq!(server.told("a list without an end", &a.query(&slow_list()).await), 1235);
    let long = slow_list().replace(&"a".repeat(20), &"a".repeat(250));
    assert!(matches!(a.query("SET @v = REPEAT('a', 65536)").await, Reply::Ok { .. }));
    assert_eq!(server.told("one condition without an end", &a.query(&long).await), 1235);
    assert_eq!(
        a.value(&format!("SELECT COUNT(*) {LOCKS} WHERE OBJECT_NAME LIKE 'wh%'")).await.as_deref(),
        Some("250")
    );
}

#[tokio::test]
async fn list_queries_give_the_expected_rows() {
    let server = TestServer::start();
    let _holder = holder_of(server.addr, 12).await;
    let mut a = MySql::connect(server.mysql).await;
    let rows = async |a: &mut MySql, what: &str| match a.query(&what.replace("LOCKS", LOCKS)).await {
        Reply::Rows { rows, .. } => {
            rows.iter().map(|row| row[0].clone().unwrap_or_default()).collect::<Vec<_>>()
        }
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(
        rows(&mut a, "SELECT OBJECT_NAME LOCKS ORDER BY OBJECT_NAME DESC LIMIT 1, 2").await,
        ["wh8", "wh7"]
    );
    assert_eq!(rows(&mut a, "SELECT DISTINCT LOCK_TYPE LOCKS").await, ["EXCLUSIVE"]);
    assert_eq!(rows(&mut a, "SELECT DISTINCT LOCK_TYPE LOCKS LIMIT 1, 5").await, [""; 0]);
    assert_eq!(rows(&mut a, "SELECT COUNT(*) LOCKS LIMIT 0").await, [""; 0]);
    assert_eq!(rows(&mut a, "SELECT COUNT(OBJECT_SCHEMA) LOCKS").await, ["0"]);
    let into =
        format!("SELECT OBJECT_NAME, LOCK_TYPE {LOCKS} ORDER BY OBJECT_NAME LIMIT 3, 1 INTO @name, @type");
    assert!(matches!(a.query(&into).await, Reply::Ok { .. }));
    assert_eq!(a.value("SELECT CONCAT(@name, @type)").await.as_deref(), Some("wh11EXCLUSIVE"));
    let first = rows(&mut a, "SHOW PROCESSLIST").await;
    assert_eq!((first.len(), rows(&mut a, "SELECT FOUND_ROWS()").await), (2, vec!["2".to_owned()]));
    let all = a.value(&format!("SELECT COUNT(*) {LOCKS}")).await.unwrap();
    for (select, shown, found) in [
        ("SELECT OBJECT_NAME LOCKS LIMIT 1, 2", 2, "2"),
        ("SELECT SQL_CALC_FOUND_ROWS OBJECT_NAME LOCKS LIMIT 1, 2", 2, all.as_str()),
        ("SELECT SQL_CALC_FOUND_ROWS OBJECT_NAME LOCKS LIMIT 0", 0, all.as_str()),
        ("SELECT SQL_CALC_FOUND_ROWS DISTINCT LOCK_TYPE LOCKS LIMIT 3, 1", 0, "1"),
        ("SELECT SQL_CALC_FOUND_ROWS COUNT(*) LOCKS LIMIT 0", 0, "1"),
        ("SELECT COUNT(*) LOCKS LIMIT 0", 0, "0"),
    ] {
        assert_eq!(rows(&mut a, select).await.len(), shown, "{select}");
        assert_eq!(rows(&mut a, "SELECT FOUND_ROWS()").await, [found], "{select}");
    }
}

#[tokio::test]
async fn longest_list_fits_into_the_memory_of_a_session() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    let locks: String = (0..=MAX_LIST_ROWS).map(|at| format!("GET_LOCK wh{at:0>60} 0\n")).collect();
    holder.send_bytes(locks.as_bytes()).await;
    for _ in 0..=MAX_LIST_ROWS {
        assert_eq!(holder.line().await, "1");
    }
    let mut a = MySql::connect(server.mysql).await;
    let all = format!(
        "SELECT * {LOCKS} WHERE OBJECT_NAME LIKE 'wh%' AND LOCK_STATUS = 'GRANTED' ORDER BY OBJECT_NAME DESC"
    );
    let Reply::Rows { rows, .. } = a.query(&all).await else { panic!("a list") };
    assert_eq!(rows.len(), MAX_LIST_ROWS);
    assert!(rows.is_sorted_by(|a, b| a[2] > b[2]));
}
