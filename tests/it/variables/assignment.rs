//! SET: bounds, names, expressions, bare words, what is refused, and resets.

use crate::common::{
    TestServer,
    mysql::{MySql, Reply},
};

/// What a statement is answered with: the value of a result, `ok`, or the number and text of an error; and its warnings.
async fn told(client: &mut MySql, sql: &str) -> String {
    let told = match client.query(sql).await {
        Reply::Ok { .. } => "ok".to_owned(),
        Reply::Error { code, text, .. } => return format!("{code} {text}"),
        Reply::Rows { rows, .. } => rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned()),
    };
    let Reply::Rows { rows, .. } = client.query("SHOW WARNINGS").await else { panic!("no list of warnings") };
    rows.iter()
        .fold(told, |told, row| format!("{told} ({} {})", row[1].as_ref().unwrap(), row[2].as_ref().unwrap()))
}

async fn transcript(client: &mut MySql, lines: &[(&str, &str)]) {
    for (sql, expected) in lines {
        assert_eq!(told(client, sql).await, *expected, "{sql}");
    }
}

#[tokio::test]
async fn number_is_clamped_with_a_warning() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    transcript(
        &mut a,
        &[
            ("SET lock_wait_timeout = 0", "ok (1292 Truncated incorrect lock_wait_timeout value: '0')"),
            ("SELECT @@lock_wait_timeout", "1"),
            ("SET sort_buffer_size = 1 << 20", "ok"),
            ("SELECT @@session.sort_buffer_size", "1048576"),
            ("SET read_buffer_size = 10000", "ok (1292 Truncated incorrect read_buffer_size value: '10000')"),
            ("SELECT @@read_buffer_size", "8192"),
            ("SET max_join_size = 1000000", "ok"),
            ("SELECT @@sql_big_selects", "0"),
            ("SET long_query_time = 0.25", "ok"),
            ("SELECT @@long_query_time", "0.250000"),
            (
                "SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
                "ok",
            ),
            (
                "SET lock_wait_timeout = 0",
                "1231 Variable 'lock_wait_timeout' can't be set to the value of '0'",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn value_is_an_expression_or_a_bare_word() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    transcript(
        &mut a,
        &[
            ("SET @v = 7, @w = 256 >> 2", "ok"),
            ("SET cte_max_recursion_depth = @v * 2 + @@default_week_format", "ok"),
            ("SELECT @@cte_max_recursion_depth + @w", "78"),
            (
                "SET character_set_connection=utf8mb4,character_set_results=NULL,character_set_client=binary",
                "ok",
            ),
            ("SELECT @@character_set_client", "binary"),
            ("SELECT @@character_set_results", "NULL"),
            ("SET character_set_results = DEFAULT, character_set_client = DEFAULT", "ok"),
            ("SET autocommit = OFF, foreign_key_checks = ON, unique_checks = FALSE", "ok"),
            ("SELECT CONCAT(@@autocommit, @@foreign_key_checks, @@unique_checks)", "010"),
            ("SET default_storage_engine = memory", "ok"),
            ("SELECT @@default_storage_engine", "MEMORY"),
            ("SET transaction_isolation = 1", "ok"),
            ("SELECT @@transaction_isolation", "READ-COMMITTED"),
            ("SET collation_connection = latin1_swedish_ci", "ok"),
            ("SELECT @@character_set_connection", "latin1"),
            ("SET SQL_SAFE_UPDATES=1,SQL_SELECT_LIMIT=1000,MAX_JOIN_SIZE=1000000", "ok"),
            ("SET insert_id = 5, identity = 6", "ok"),
            ("SELECT CONCAT(@@insert_id, @@last_insert_id, LAST_INSERT_ID())", "566"),
        ],
    )
    .await;
}

#[tokio::test]
async fn set_value_is_shown_expanded() {
    const ANSI: &str = "REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE,ONLY_FULL_GROUP_BY,ANSI";
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    transcript(
        &mut a,
        &[
            ("SET sql_mode = ansi", "ok"),
            ("SELECT @@sql_mode", ANSI),
            ("SET sql_mode = 4", "ok"),
            ("SELECT @@sql_mode", "ANSI_QUOTES"),
            ("SET sql_mode = 16", "3899 sql_mode=0x00000010 is not supported."),
            (
                "SET sql_mode = NO_AUTO_CREATE_USER",
                "1231 Variable 'sql_mode' can't be set to the value of 'NO_AUTO_CREATE_USER'",
            ),
            ("SET sql_mode = ''", "ok"),
            ("SET optimizer_switch = 'index_merge=off,mrr=off'", "ok"),
            ("SET optimizer_switch = 'mrr=default'", "ok"),
            ("SELECT @@optimizer_switch LIKE 'index_merge=off,%,mrr=on,%'", "1"),
            ("SET optimizer_switch = 'default'", "ok"),
            ("SELECT @@optimizer_switch = @@global.optimizer_switch", "1"),
            (
                "SET optimizer_switch = 'mrr=maybe'",
                "1231 Variable 'optimizer_switch' can't be set to the value of 'mrr=maybe'",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn refused_assignment_sets_nothing() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    transcript(
        &mut a,
        &[
            ("SET port = 1, nosuch = 1", "1193 Unknown system variable 'nosuch'"),
            ("SET default_week_format = 3, nosuch = 1", "1193 Unknown system variable 'nosuch'"),
            (
                "SET default_week_format = 3, autocommit = 2",
                "1231 Variable 'autocommit' can't be set to the value of '2'",
            ),
            (
                "SET default_week_format = 3, sort_buffer_size = '1'",
                "1232 Incorrect argument type to variable 'sort_buffer_size'",
            ),
            ("SELECT @@default_week_format", "0"),
            (
                "SET max_connections = 5",
                "1229 Variable 'max_connections' is a GLOBAL variable and should be set with SET GLOBAL",
            ),
            ("SELECT @@session.max_connections", "1238 Variable 'max_connections' is a GLOBAL variable"),
            ("SELECT @@global.timestamp", "1238 Variable 'timestamp' is a SESSION variable"),
            (
                "SET max_allowed_packet = 5000",
                "1621 SESSION variable 'max_allowed_packet' is read-only. Use SET GLOBAL to assign the value",
            ),
            ("SET insert_id = DEFAULT", "1230 Variable 'insert_id' doesn't have a default value"),
            ("SET default_storage_engine = none", "1286 Unknown storage engine 'none'"),
            ("SET lc_time_names = xx_YY", "1649 Unknown locale: 'xx_YY'"),
            ("SET character_set_server = nosuch", "1115 Unknown character set: 'nosuch'"),
            ("SET collation_server = nosuch", "1273 Unknown collation: 'nosuch'"),
            (
                "SET character_set_client = NULL",
                "1231 Variable 'character_set_client' can't be set to the value of 'NULL'",
            ),
            ("SET timestamp = -1", "1231 Variable 'timestamp' can't be set to the value of '-1'"),
            ("SET autocommit = '1'", "1231 Variable 'autocommit' can't be set to the value of '1'"),
            ("SET autocommit = 1.0", "1232 Incorrect argument type to variable 'autocommit'"),
            ("SET GLOBAL nosuch = 1", "1193 Unknown system variable 'nosuch'"),
            ("SET GLOBAL port = 1", "1238 Variable 'port' is a read only variable"),
            (
                "SET @@global.timestamp = 1",
                "1228 Variable 'timestamp' is a SESSION variable and can't be used with SET GLOBAL",
            ),
            (
                "SET PERSIST max_connections = 1",
                "1235 getlockd is a lock server: its settings are command-line flags",
            ),
            (
                "SET @@persist.sort_buffer_size = 1",
                "1235 getlockd is a lock server: its settings are command-line flags",
            ),
            ("SET sql_log_bin = 0", "ok"),
        ],
    )
    .await;
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/users.toml");
    let server = TestServer::with(&["--users", users]);
    let mut a = MySql::connect_as(server.mysql, "other", "sesame").await.unwrap();
    let denied = "1227 Access denied; you need (at least one of) the SUPER or SYSTEM_VARIABLES_ADMIN privilege(s) for this operation";
    transcript(&mut a, &[("SET GLOBAL max_connections = 5", denied), ("SELECT @@sql_log_bin", "1")]).await;
}

#[tokio::test]
async fn reset_and_change_user_restore_defaults() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let start = shown(&mut a).await;
    let changed =
        "SET sort_buffer_size = 1 << 20, sql_mode = ANSI, time_zone = '+02:00', transaction_read_only = 1";
    for by_reset in [true, false] {
        assert_eq!(told(&mut a, changed).await, "ok");
        assert_eq!(different(&shown(&mut a).await, &start).len(), 4 + 2);
        if by_reset {
            assert!(matches!(a.command(&[0x1f]).await, Reply::Ok { .. }));
        } else {
            a.change_user("other", "sesame").await.unwrap();
        }
        // The only two that no two statements have in common.
        assert_eq!(different(&shown(&mut a).await, &start), ["statement_id", "timestamp"]);
    }
}

/// Names and values.
type Shown = Vec<Vec<Option<String>>>;

async fn shown(client: &mut MySql) -> Shown {
    match client.query("SHOW VARIABLES").await {
        Reply::Rows { rows, .. } => rows,
        other => panic!("{other:?}"),
    }
}

fn different(now: &Shown, then: &Shown) -> Vec<String> {
    let pairs = now.iter().zip(then).filter(|(now, then)| now != then);
    pairs.map(|(now, _)| now[0].clone().unwrap()).collect()
}
