//! MySQL's Locking Service: `tests/data/locking_service.md`, and what a transcript does not show.

use crate::{
    common::{
        TestServer,
        mysql::{Column, MySql, Reply},
    },
    markdown::blocks,
    mysql_transcripts::replay,
};

const CASES: &str = include_str!("../data/locking_service.md");

#[tokio::test]
async fn locking_service_answers_as_mysql() {
    let cases = blocks(CASES, "mysql");
    assert_eq!(cases.len(), CASES.lines().filter(|line| line.starts_with("## ")).count());
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(replay("tests/data/locking_service.md", case).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The library says that its results are never NULL, and have one digit.
#[tokio::test]
async fn columns_are_bigint_not_null_of_a_single_digit() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for call in [
        "service_get_read_locks('ns', 'a', 0)",
        "service_get_write_locks('ns', 'a', 0)",
        "service_release_locks('ns')",
    ] {
        let Reply::Rows { columns, .. } = client.query(&format!("SELECT {call}")).await else { panic!() };
        let name = call.to_owned();
        let column = Column { name, kind: 8, length: 1, flags: 129, charset: 63, decimals: 0 };
        assert_eq!(columns, [column]);
        assert_eq!(client.prepared(call).await, "1");
    }
}

#[tokio::test]
async fn reset_of_the_connection_releases_all_namespaces() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let take = "SELECT service_get_write_locks('a', 'x', 0), service_get_write_locks('b', 'y', 0)";
    assert_eq!(client.value(take).await.as_deref(), Some("1"));
    assert_eq!(server.service.stats().table.locks, 2);
    assert!(matches!(client.command(&[0x1F]).await, Reply::Ok { .. }));
    assert_eq!(server.service.stats().table.locks, 0);
}

/// Other wires show a lock in a namespace, on every page of a list, and can neither take nor release it.
#[tokio::test]
async fn other_wires_list_locks_in_namespaces_and_leave_them() {
    let server = TestServer::start();
    let (mut mysql, mut line) = (MySql::connect(server.mysql).await, server.client().await);
    let take = "SELECT service_get_write_locks('ns', 'A', 'b c', 0), GET_LOCK('a', 0)";
    assert_eq!(mysql.value(take).await.as_deref(), Some("1"));
    let locks = line.list("LOCKS").await;
    for (row, name) in locks.iter().zip(["SERVICE:ns:A", "'SERVICE:ns:b c'", "a"]) {
        assert!(row.starts_with(&format!("LOCK name={name} mode=exclusive session=1 wire=mysql ")), "{row}");
    }
    assert_eq!(locks.len(), 3);
    assert_eq!(line.ask("IS_FREE_LOCK SERVICE:ns:A").await, "1");
    assert_eq!(line.ask("GET_LOCK SERVICE:ns:A 0").await, "1");
    assert_eq!(line.ask("RELEASE_ALL_LOCKS").await, "1");
    assert_eq!(line.list("LOCKS").await.len(), 3);
}

#[tokio::test]
async fn very_many_locks_of_a_namespace_are_released_together() {
    const LOCKS: usize = 1_000;
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for at in 0..LOCKS {
        let (other, name) = (at % 2, at / 2);
        let take = format!("SELECT service_get_write_locks('ns{other}', 'n{name}', 0)");
        assert_eq!(client.value(&take).await.as_deref(), Some("1"));
    }
    assert_eq!(client.value("SELECT GET_LOCK('a', 0)").await.as_deref(), Some("1"));
    assert_eq!(client.value("SELECT RELEASE_ALL_LOCKS()").await.as_deref(), Some("1"));
    assert_eq!(client.value("SELECT service_release_locks('ns0')").await.as_deref(), Some("1"));
    assert_eq!(server.service.stats().table.locks, LOCKS / 2);
    let left = "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_SCHEMA = 'ns1'";
    assert_eq!(client.value(left).await, Some((LOCKS / 2).to_string()));
}
