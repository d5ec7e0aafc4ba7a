//! The tables of the schema `getlockd` on the MySQL wire: `getlockd.locks`, `waiters`, `why` and `history`.

use crate::common::{
    TestServer,
    mysql::{MySql, Reply},
};

/// Rows with bars between their columns; none is an empty result.
fn shown(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Rows { rows, .. } => {
            let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
            rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" | ")).collect()
        }
        Reply::Error { code, text, .. } => vec![format!("ERROR {code} {text}")],
        Reply::Ok { .. } => vec!["OK".to_owned()],
    }
}

async fn rows(client: &mut MySql, sql: &str) -> Vec<String> {
    shown(&client.query(sql).await)
}

#[tokio::test]
async fn prepared_condition_on_a_name_reads_that_lock() {
    let server = TestServer::start();
    let (mut a, mut line) = (MySql::connect(server.mysql).await, server.client().await);
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    assert_eq!(line.ask("GET_LOCK weekly 0").await, "1");
    assert_eq!(rows(&mut a, "SET @name = 'nightly'").await, ["OK"]);
    for (table, found) in [("locks", "nightly"), ("why", "nightly")] {
        let prepare =
            format!("PREPARE s FROM 'SELECT name FROM getlockd.{table} WHERE wire = \"line\" AND ? = name'");
        assert_eq!(rows(&mut a, &prepare).await, ["OK"], "{table}");
        assert_eq!(rows(&mut a, "EXECUTE s USING @name").await, [found], "{table}");
    }
    let all = "SELECT name FROM getlockd.locks ORDER BY name DESC LIMIT 1";
    assert_eq!(rows(&mut a, all).await, ["weekly"]);
    assert_eq!(rows(&mut a, "SELECT COUNT(*) FROM getlockd.locks").await, ["2"]);
    assert_eq!(rows(&mut a, "SELECT name FROM getlockd.waiters WHERE name = 'nightly'").await, [""; 0]);
    let either =
        rows(&mut a, "SELECT name FROM getlockd.why WHERE name = 'nightly' OR name = 'weekly'").await;
    assert!(either[0].starts_with("ERROR 1235 "), "{either:?}");
}

#[tokio::test]
async fn reasons_name_the_lock_of_each_step() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    let mut watcher = MySql::connect(server.mysql).await;
    assert_eq!(rows(&mut a, "SELECT GET_LOCK('first', 0)").await, ["1"]);
    assert_eq!(rows(&mut b, "SELECT GET_LOCK('second', 0)").await, ["1"]);
    a.start("SELECT GET_LOCK('second', 600)").await;
    server.until_waiting(1).await;
    let why = "SELECT name, lock_name, session, waits_for FROM getlockd.why WHERE name = 'first'";
    assert_eq!(rows(&mut watcher, why).await, ["first | first | 1 | second", "first | second | 2 | NULL"]);
}

#[tokio::test]
async fn history_has_the_release_cause_of_each_hold() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    for name in ["x", "y"] {
        assert_eq!(rows(&mut a, &format!("SELECT GET_LOCK('{name}', 0)")).await, ["1"]);
    }
    rows(&mut a, "SELECT SLEEP(0.02)").await;
    assert_eq!(rows(&mut a, "SELECT RELEASE_LOCK('x')").await, ["1"]);
    assert_eq!(rows(&mut a, "SELECT RELEASE_LOCK('y')").await, ["1"]);
    let all = "SELECT name, mode, session, wire, user, client, cause FROM getlockd.history ORDER BY name";
    let row = |name| format!("{name} | exclusive | 1 | mysql | root | NULL | release");
    assert_eq!(rows(&mut b, all).await, [row("x"), row("y")]);
    let facts = "SELECT held >= 0.02, acquired_at <= NOW(3), acquired_at > NOW() - INTERVAL 1 MINUTE \
                 FROM getlockd.history WHERE name = 'y'";
    assert_eq!(rows(&mut b, facts).await, ["1 | 1 | 1"]);
}

#[tokio::test]
async fn schema_is_described_and_not_listed() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let tables = ["history", "locks", "nodes", "sessions", "waiters", "why"];
    assert_eq!(rows(&mut a, "SHOW TABLES FROM getlockd").await, tables);
    assert_eq!(rows(&mut a, "SHOW DATABASES LIKE 'getlockd'").await, [""; 0]);
    let described = rows(&mut a, "DESCRIBE getlockd.waiters").await;
    assert_eq!(described.len(), 12);
    assert!(described[0].starts_with("name | varchar(64) | NO"), "{described:?}");
    let missing = rows(&mut a, "SELECT 1 FROM getlockd.nosuch").await;
    assert_eq!(missing, ["ERROR 1146 Table 'getlockd.nosuch' doesn't exist"]);
}

/// A connection has memory for as many rows as a table has, and for the keys by which they are sorted.
#[tokio::test]
async fn full_tables_are_counted_and_sorted() {
    const ROWS: usize = 10_000;
    let server = TestServer::start();
    let (mut a, mut holder) = (MySql::connect(server.mysql).await, server.client().await);
    let gets: Vec<_> = (0..ROWS).map(|at| format!("GET_LOCK {at:064} 0")).collect();
    holder.send(&gets.join("\n")).await;
    for _ in 0..ROWS {
        assert_eq!(holder.line().await, "1");
    }
    let kill = format!("KILL {}", holder.id().await);
    for (table, before) in [("locks", "SELECT 1"), ("history", kill.as_str())] {
        rows(&mut a, before).await;
        let count = format!("SELECT COUNT(*) FROM getlockd.{table}");
        let sorted = format!("SELECT name FROM getlockd.{table} ORDER BY name DESC LIMIT 1");
        assert_eq!(rows(&mut a, &count).await, [ROWS.to_string()], "{table}");
        assert_eq!(rows(&mut a, &sorted).await, [format!("{:064}", ROWS - 1)], "{table}");
    }
}

#[tokio::test]
async fn sessions_with_long_texts_are_shown_as_far_as_they_fit() {
    const SESSIONS: usize = 1_800;
    let server = TestServer::with(&["--max-line", "4096"]);
    let introduce = format!("INTRODUCE '{0}' '{0}'", "🔒".repeat(256));
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let mut client = server.client().await;
        assert_eq!(client.ask(&introduce).await, "1");
        clients.push(client);
    }
    let mut a = MySql::connect(server.mysql).await;
    let greedy = "SELECT session FROM getlockd.sessions ORDER BY memory DESC LIMIT 1";
    assert!(rows(&mut a, greedy).await[0].parse::<u32>().is_ok());
    let warned = rows(&mut a, "SHOW WARNINGS").await;
    assert!(
        warned[0]
            .starts_with("Warning | 1226 | getlockd.sessions: the memory of this connection has room for ")
    );
    assert!(warned[0].ends_with(&format!(" of {} rows", SESSIONS + 1)), "{warned:?}");
}
