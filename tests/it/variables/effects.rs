//! Variables that mean something here: they act, or tell what is so.

use crate::common::{
    TestServer,
    mysql::{MySql, Reply},
};

async fn value(client: &mut MySql, sql: &str) -> String {
    client.value(sql).await.unwrap_or_else(|| "NULL".to_owned())
}

async fn done(client: &mut MySql, sql: &str) {
    let reply = client.query(sql).await;
    assert!(matches!(reply, Reply::Ok { .. }), "{sql}: {reply:?}");
}

#[tokio::test]
async fn sql_mode_changes_parsing() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    assert_eq!(value(&mut a, "SELECT NOT 1 BETWEEN -5 AND 5").await, "0");
    done(&mut a, "SET sql_mode = 'HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'").await;
    assert_eq!(value(&mut a, "SELECT (NOT 0) + 1").await, "2");
    assert_eq!(value(&mut a, "SELECT NOT 5 = 0").await, "1");
    assert_eq!(value(&mut a, r"SELECT 'a\' || 'b'").await, r"a\b");
    done(&mut a, "SET sql_mode = DEFAULT").await;
    assert_eq!(value(&mut a, "SELECT NOT 5 = 0").await, "1");
    assert_eq!(value(&mut a, "SELECT NOT 0 = 1").await, "1");
}

#[tokio::test]
async fn limits_and_digits_take_effect() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    done(&mut a, "SET sql_select_limit = 0, div_precision_increment = 2").await;
    let Reply::Rows { rows, .. } = a.query("SELECT GET_LOCK('x', 0)").await else { panic!("no result") };
    assert!(rows.is_empty());
    assert_eq!(value(&mut a, "SELECT IS_FREE_LOCK('x') LIMIT 1").await, "1");
    done(&mut a, "SET sql_select_limit = DEFAULT").await;
    assert_eq!(value(&mut a, "SELECT 1 / 3").await, "0.33");
    done(&mut a, "SET timestamp = 1700000000.5").await;
    assert_eq!(value(&mut a, "SELECT @@timestamp").await, "1700000000.500000");
    assert_eq!(value(&mut a, "SELECT UNIX_TIMESTAMP()").await, "1700000000");
    done(&mut a, "SET timestamp = DEFAULT").await;
    assert_eq!(value(&mut a, "SELECT UNIX_TIMESTAMP() > 1700000000 AND @@timestamp > 1700000000").await, "1");
}

#[tokio::test]
async fn read_only_variables_tell_the_truth() {
    let server = TestServer::with(&["--max-connections", "37", "--max-packet", "4096", "--login-time", "7s"]);
    let mut a = MySql::connect(server.mysql).await;
    let mut b = MySql::connect(server.mysql).await;
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (name, fact) in [
        ("port", server.mysql.port().to_string()),
        ("hostname", hostname.trim().to_owned()),
        ("max_connections", "37".to_owned()),
        ("max_allowed_packet", "4096".to_owned()),
        ("connect_timeout", "7".to_owned()),
        ("pseudo_thread_id", a.id.to_string()),
        ("system_time_zone", "UTC".to_owned()),
        ("have_ssl", "DISABLED".to_owned()),
        ("gtid_mode", "OFF".to_owned()),
    ] {
        assert_eq!(value(&mut a, &format!("SELECT @@{name}")).await, fact, "{name}");
    }
    let uuid = value(&mut a, "SELECT @@server_uuid").await;
    assert_eq!(value(&mut b, "SELECT @@server_uuid").await, uuid);
    assert!(uuid.len() == 36 && uuid.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{uuid}");
}

#[tokio::test]
async fn warning_count_is_of_the_last_statement() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    a.query("SELECT @@nosuch").await;
    assert_eq!(value(&mut a, "SELECT CONCAT(@@warning_count, @@error_count)").await, "11");
    done(&mut a, "SET lock_wait_timeout = 0").await;
    assert_eq!(value(&mut a, "SELECT CONCAT(@@warning_count, @@error_count)").await, "10");
    // Errors of such a statement do not add up.
    for _ in 0..3 {
        a.query("SELECT @@warning_count, @@nosuch").await;
    }
    assert_eq!(value(&mut a, "SELECT @@error_count").await, "1");
}

#[tokio::test]
async fn show_variables_respects_scope() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    done(&mut a, "SET sort_buffer_size = 1 << 20").await;
    let shown = "VARIABLES WHERE Variable_name IN ('sort_buffer_size', 'port', 'timestamp')";
    let rows = |reply| match reply {
        Reply::Rows { rows, .. } => rows,
        other => panic!("{other:?}"),
    };
    let of_session = rows(a.query(&format!("SHOW SESSION {shown}")).await);
    let of_server = rows(a.query(&format!("SHOW GLOBAL {shown}")).await);
    assert_eq!((of_session.len(), of_server.len()), (3, 2));
    assert_eq!(of_session[1][1].as_deref(), Some("1048576"));
    assert_eq!(of_server[1][1].as_deref(), Some("262144"));
}

#[tokio::test]
async fn prepared_statements_set_and_read_variables() {
    const READ: &str =
        "SELECT @@long_query_time, @@autocommit, @@sql_mode, @@optimizer_trace_offset, @@sort_buffer_size";
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let Reply::Rows { columns, .. } = a.query(READ).await else { panic!("no result") };
    let set = prepare(&mut a, "SET sort_buffer_size = ?, sql_mode = ANSI_QUOTES").await;
    a.columns(1).await;
    let bound = [b"\x17", &set[..], b"\0\x01\0\0\0\0\x01\x08\0", &65_536_u64.to_le_bytes()].concat();
    assert!(matches!(a.command(&bound).await, Reply::Ok { .. }));
    let read = prepare(&mut a, READ).await;
    assert_eq!(a.columns(5).await, columns);
    a.send(0, &[b"\x17", &read[..], b"\0\x01\0\0\0"].concat()).await;
    assert_eq!(a.packet().await.unwrap(), [5]);
    assert_eq!(a.columns(5).await, columns);
    let row = [
        b"\0\0",
        &10.0_f64.to_le_bytes()[..],
        &1_u64.to_le_bytes(),
        b"\x0bANSI_QUOTES",
        &(-1_i64).to_le_bytes(),
        &65_536_u64.to_le_bytes(),
    ];
    assert_eq!(a.packet().await.unwrap(), row.concat());
}

/// The number of a prepared statement.
async fn prepare(client: &mut MySql, sql: &str) -> [u8; 4] {
    client.send(0, format!("\x16{sql}").as_bytes()).await;
    client.packet().await.unwrap()[1..5].try_into().unwrap()
}
