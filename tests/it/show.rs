//! What SHOW and the tables of a MySQL server without a table answer: `tests/data/mysql_empty_shows.json`.

use crate::common::{
    TestServer,
    mysql::{Column, DEPRECATE_EOF, Hello, MySql, Reply},
};
use getlockd::internal::users::{NewEntry, entry};
use serde_json::{Map, Value, json};

/// Where we differ on purpose: why, and in which statements.
const DIFFERENT: [(&str, &[&str]); 9] = [
    (
        "a monitor of today asks for it in the old words, and wants an empty set",
        &["SHOW SLAVE STATUS", "SHOW MASTER STATUS"],
    ),
    ("8.4 has none", &["SHOW LIBRARY STATUS LIKE 'x'"]),
    ("8.4 explains in the form TRADITIONAL", &["EXPLAIN SELECT 1"]),
    ("EXPLAIN shows no rewritten statement", &["EXPLAIN FORMAT=TRADITIONAL SELECT 1"]),
    ("there is no binary log", &["SHOW BINARY LOGS"]),
    (
        "what a lock server has fewer of: engines, plugins, privileges, character sets, words",
        &[
            "SELECT * FROM information_schema.engines",
            "SELECT * FROM information_schema.plugins",
            "SELECT * FROM information_schema.keywords LIMIT 1",
            "SELECT * FROM information_schema.collations",
            "SELECT * FROM information_schema.collation_character_set_applicability",
            "SHOW COLLATION",
            "SHOW CHARACTER SET",
            "SELECT * FROM information_schema.character_sets",
            "SHOW ENGINES",
            "SHOW STORAGE ENGINES",
            "SHOW PLUGINS",
            "SHOW PRIVILEGES",
        ],
    ),
    (
        "an account is of every host, and its rights are those of the file of users",
        &["SHOW GRANTS", "SHOW GRANTS FOR CURRENT_USER()", "SHOW CREATE USER CURRENT_USER()"],
    ),
    ("a database is there for those who use it", &["SHOW FULL TABLES FROM app LIKE 'x'"]),
    (
        "of locks and sessions each user is shown what they may see",
        &[
            "SELECT * FROM performance_schema.metadata_locks WHERE object_type='nosuch'",
            "SELECT * FROM performance_schema.threads WHERE thread_id=0",
        ],
    ),
];

#[tokio::test]
async fn show_matches_mysql_without_tables() {
    // There is no name for an address here.
    let file = include_str!("../data/mysql_empty_shows.json").replace("'localhost'", "'127.0.0.1'");
    let file: Value = serde_json::from_str(&file).unwrap();
    let statements = file["statements"].as_object().unwrap();
    assert_eq!(statements.len(), 127);
    let server = TestServer::start();
    let users = tempfile::tempdir().unwrap();
    let users = file_of_users(&users);
    let guarded = TestServer::with(&["--users", &users]);
    let mut root = MySql::connect_with(server.mysql, DEPRECATE_EOF, "app").await;
    let mut homeless = MySql::connect(server.mysql).await;
    let mut plain = MySql::connect_as(guarded.mysql, "probe", "secret").await.unwrap();
    let mut wrong = Vec::new();
    for (sql, expected) in statements {
        let expected = expected.as_object().unwrap();
        let got = [
            compare(&mut root, sql, expected, None).await,
            compare(&mut homeless, sql, expected, Some("without_database")).await,
            compare(&mut plain, sql, expected, Some("plain_user")).await,
        ];
        let got: Vec<_> = got.into_iter().flatten().collect();
        let known = DIFFERENT.iter().any(|(_, statements)| statements.contains(&sql.as_str()));
        if got.is_empty() == known {
            wrong.push(format!("{sql}\n  {}", got.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{} of 127 differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn file_of_users(dir: &tempfile::TempDir) -> String {
    let user = |name: &str, lock: &[&str], see: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (name, lock, see) = (name.to_owned(), texts(lock), texts(see));
        entry(&NewEntry { name, lock, see, kill: false, native: true }, b"secret", false).unwrap()
    };
    let path = dir.path().join("users.toml");
    std::fs::write(&path, user("probe", &["x:"], &[]) + &user("monitor", &[], &["*"])).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn monitor_user_sees_everything() {
    let users = tempfile::tempdir().unwrap();
    let server = TestServer::with(&["--users", &file_of_users(&users)]);
    let mut monitor = MySql::connect_as(server.mysql, "monitor", "secret").await.unwrap();
    let mut probe = MySql::connect_as(server.mysql, "probe", "secret").await.unwrap();
    for sql in [
        "SHOW REPLICA STATUS",
        "SHOW ENGINE INNODB STATUS",
        "SELECT * FROM information_schema.innodb_trx",
        "SELECT page_size FROM information_schema.innodb_cmp",
    ] {
        let reply = monitor.query(sql).await;
        assert!(matches!(reply, Reply::Rows { .. }), "{sql}: {reply:?}");
        let reply = probe.query(sql).await;
        assert!(matches!(reply, Reply::Error { code: 1227, .. }), "{sql}: {reply:?}");
    }
}

/// How the answer differs from what is expected, of root or in a special case, if that has an answer of its own.
async fn compare(
    client: &mut MySql,
    sql: &str,
    expected: &Map<String, Value>,
    case: Option<&str>,
) -> Option<String> {
    let mut expected = expected.clone();
    if let Some(case) = case {
        match expected.get(case)?.clone() {
            Value::Object(fields) => expected.extend(fields),
            error if error[0].is_u64() => {
                expected.insert("error".to_owned(), error);
            }
            rows => {
                expected.insert("nrows".to_owned(), json!(rows.as_array().unwrap().len()));
                expected.insert("rows".to_owned(), rows);
                // They are named after the account.
                expected.remove("columns");
            }
        }
    }
    client.query("DO 0").await;
    let reply = client.query(sql).await;
    let told = match &reply {
        Reply::Rows { columns, rows, .. } => {
            let warnings = warnings(client).await;
            let mut told = json!({ "columns": columns.iter().map(field).collect::<Value>() });
            let typed: Vec<Vec<Value>> = rows.iter().map(|row| typed(row, columns)).collect();
            told["nrows"] = json!(typed.len());
            told["rows"] = json!(typed);
            told["warnings"] = warnings;
            told
        }
        Reply::Error { code, state, text } => json!({ "error": [code, state, text] }),
        Reply::Ok { .. } => json!("OK"),
    };
    let case = case.unwrap_or("root");
    let differs = |what: &str| format!("{case}, {what}: mysql {} here {}", expected[what], told[what]);
    if expected.contains_key("error") {
        return (told["error"] != expected["error"]).then(|| differs("error"));
    }
    if expected.get("columns").is_some_and(|columns| *columns != told["columns"]) {
        return Some(differs("columns"));
    }
    if expected.get("warnings").is_some_and(|warnings| *warnings != told["warnings"]) {
        return Some(differs("warnings"));
    }
    match expected.get("rows").and_then(Value::as_array) {
        Some(rows) if expected["nrows"] != told["nrows"] => Some(differs("nrows") + &format!(", {rows:?}")),
        Some(rows) if !rows.iter().all(|row| told["rows"].as_array().unwrap().contains(row)) => {
            Some(differs("rows"))
        }
        _ => None,
    }
}

fn field(column: &Column) -> Value {
    let Column { name, kind, length, flags, charset, decimals } = column;
    json!([name, kind, length, flags, charset, decimals])
}

/// A row as the file has it, with numbers in columns of integers.
fn typed(row: &[Option<String>], columns: &[Column]) -> Vec<Value> {
    let value = |(text, column): (&Option<String>, &Column)| match text {
        Some(text) if matches!(column.kind, 1..=3 | 8) => json!(text.parse::<i64>().unwrap()),
        text => json!(text),
    };
    row.iter().zip(columns).map(value).collect()
}

async fn warnings(client: &mut MySql) -> Value {
    let Reply::Rows { columns, rows, .. } = client.query("SHOW WARNINGS").await else { panic!("no list") };
    rows.iter().map(|row| json!(typed(row, &columns))).collect()
}

/// A value of the only column, row by row; or the error's number.
async fn values(client: &mut MySql, sql: &str) -> Result<Vec<Option<String>>, u16> {
    match client.query(sql).await {
        Reply::Rows { rows, .. } => Ok(rows.into_iter().map(|row| row[0].clone()).collect()),
        other => Err(other.code()),
    }
}

#[tokio::test]
async fn lock_functions_are_evaluated_per_row() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    let mine = "SELECT ID FROM information_schema.processlist WHERE ID = IS_USED_LOCK('a')";
    let its =
        "SELECT OBJECT_NAME FROM performance_schema.metadata_locks WHERE OWNER_THREAD_ID = IS_USED_LOCK('a')";
    let row = |value: &str| Ok(vec![Some(value.to_owned())]);
    for sql in [mine, its] {
        assert_eq!(values(&mut b, sql).await, Ok(vec![]));
    }
    assert_eq!(a.value("SELECT GET_LOCK('a', 0)").await.unwrap(), "1");
    assert_eq!(values(&mut b, mine).await, row(&a.id.to_string()));
    assert_eq!(values(&mut b, its).await, row("a"));
    for (select, told) in [
        ("SELECT IS_FREE_LOCK(OBJECT_NAME) FROM performance_schema.metadata_locks", "0"),
        ("SELECT IS_FREE_LOCK(CONCAT(OBJECT_NAME, 'b')) FROM performance_schema.metadata_locks", "1"),
        ("SELECT COUNT(IS_USED_LOCK(OBJECT_NAME)) FROM performance_schema.metadata_locks", "1"),
        (
            "SELECT ID = CONNECTION_ID() FROM information_schema.processlist ORDER BY ID = CONNECTION_ID() LIMIT 1",
            "0",
        ),
        ("SELECT ID FROM information_schema.processlist ORDER BY ID = IS_USED_LOCK('a') DESC LIMIT 1", "1"),
        (
            "SELECT MY.ID FROM `INFORMATION_SCHEMA`.`processlist` AS my WHERE `my`.`id` = IS_USED_LOCK('a')",
            "1",
        ),
        ("SELECT p.* FROM information_schema.processlist p WHERE p.ID = 1", "1"),
        ("SELECT FENCING_TOKEN(OBJECT_NAME) IS NULL FROM performance_schema.metadata_locks", "1"),
    ] {
        assert_eq!(values(&mut b, select).await, row(told), "{select}");
    }
}

#[tokio::test]
async fn order_by_prefers_aliases_and_positions() {
    let server = TestServer::start();
    let mut first = MySql::connect_with(server.mysql, DEPRECATE_EOF, "a").await;
    let mut second = MySql::connect_with(server.mysql, DEPRECATE_EOF, "b").await;
    let (up, down) = (["1", "2"], ["2", "1"]);
    for (select, told) in [
        ("ID AS x FROM information_schema.processlist ORDER BY x DESC", down),
        ("ID AS x FROM information_schema.processlist ORDER BY X", up),
        ("ID x FROM information_schema.processlist ORDER BY `x` DESC", down),
        ("ID FROM information_schema.processlist ORDER BY 1", up),
        ("ID FROM information_schema.processlist ORDER BY 1 DESC", down),
        ("ID AS x FROM information_schema.processlist ORDER BY ((x)) DESC", down),
        ("ID FROM information_schema.processlist ORDER BY (1) DESC", down),
        ("* FROM information_schema.processlist ORDER BY 4 DESC", down),
        ("ID, USER FROM information_schema.processlist ORDER BY 2, 1 DESC", down),
        ("ID, CONCAT('n', DB) FROM information_schema.processlist ORDER BY `CONCAT('n', DB)` DESC", down),
        // A name alone is an item's, and within an expression or behind a table a column's.
        ("ID, -CAST(ID AS SIGNED) AS DB FROM information_schema.processlist ORDER BY DB", down),
        ("ID, -CAST(ID AS SIGNED) AS DB FROM information_schema.processlist p ORDER BY p.DB", up),
        ("ID, -CAST(ID AS SIGNED) AS DB FROM information_schema.processlist ORDER BY CONCAT(DB)", up),
        ("ID AS x FROM information_schema.processlist ORDER BY x + 0 DESC", down),
        ("ID, -CAST(ID AS SIGNED) AS x FROM information_schema.processlist ORDER BY COALESCE(x, 0)", down),
        ("ID AS x, ID AS x FROM information_schema.processlist ORDER BY x DESC", down),
    ] {
        let sql = format!("SELECT {select}");
        assert_eq!(values(&mut second, &sql).await, Ok(told.map(|id| Some(id.to_owned())).to_vec()), "{sql}");
    }
    for (select, told) in [
        ("COUNT(*) AS n FROM information_schema.processlist ORDER BY n", "2"),
        ("COUNT(*) FROM information_schema.processlist ORDER BY 1", "2"),
        ("3 AS x ORDER BY x", "3"),
        ("3 ORDER BY 1", "3"),
    ] {
        assert_eq!(first.value(&format!("SELECT {select}")).await.as_deref(), Some(told), "{select}");
    }
    let table = "FROM information_schema.processlist";
    for (sql, code, text) in [
        (format!("SELECT ID {table} ORDER BY 2"), 1054, "Unknown column '2' in 'order clause'"),
        (format!("SELECT ID {table} ORDER BY 0"), 1054, "Unknown column '0' in 'order clause'"),
        ("SELECT *".to_owned(), 1096, "No tables used"),
        ("SELECT 1 ORDER BY 2".to_owned(), 1054, "Unknown column '2' in 'order clause'"),
        (format!("SELECT ID AS x {table} ORDER BY y"), 1054, "Unknown column 'y' in 'order clause'"),
        (format!("SELECT ID AS x {table} WHERE x = 1"), 1054, "Unknown column 'x' in 'where clause'"),
        (
            format!("SELECT ID AS x, DB AS x {table} ORDER BY x"),
            1052,
            "Column 'x' in order clause is ambiguous",
        ),
    ] {
        let prepared = first.command(&[b"\x16", sql.as_bytes()].concat()).await;
        for reply in [first.query(&sql).await, prepared] {
            let Reply::Error { code: told, text: said, .. } = reply else { panic!("{sql}: {reply:?}") };
            assert_eq!((told, &*said), (code, text), "{sql}");
        }
    }
}

#[tokio::test]
async fn view_columns_keep_their_names() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (select, shown) in [
        ("schema_name FROM information_schema.schemata", "SCHEMA_NAME"),
        ("s.Schema_Name FROM information_schema.schemata s", "SCHEMA_NAME"),
        ("schema_name AS schema_name FROM information_schema.schemata", "schema_name"),
        ("LOWER(schema_name) FROM information_schema.schemata", "LOWER(schema_name)"),
        ("for_col_name FROM information_schema.innodb_foreign_cols", "FOR_COL_NAME"),
        ("SYS_VERSION FROM sys.version", "sys_version"),
        // These are no views in MySQL.
        ("id FROM information_schema.processlist", "id"),
        ("Plugin_Name FROM information_schema.plugins", "Plugin_Name"),
        ("TRX_ID FROM information_schema.innodb_trx", "TRX_ID"),
        ("object_name FROM performance_schema.metadata_locks", "object_name"),
        ("user FROM mysql.user", "user"),
    ] {
        let (sql, reply) = (format!("SELECT {select}"), client.query(&format!("SELECT {select}")).await);
        match reply {
            Reply::Rows { columns, .. } => assert_eq!(columns[0].name, shown, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    for (show, shown) in [
        ("DATABASES LIKE 'my%'", "Database (my%)"),
        ("DATABASES WHERE `Database` LIKE 'my%'", "Database"),
        ("TABLES FROM sys WHERE Tables_in_sys LIKE 'v%'", "Tables_in_sys"),
    ] {
        let Reply::Rows { columns, .. } = client.query(&format!("SHOW {show}")).await else {
            panic!("{show}")
        };
        assert_eq!(columns[0].name, shown, "{show}");
    }
}

#[tokio::test]
async fn side_effects_are_refused_per_row() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    for held in [false, true] {
        for call in
            ["GET_LOCK(OBJECT_NAME, 0)", "RELEASE_LOCK('a')", "RELEASE_ALL_LOCKS()", "SLEEP(0)", "@a := 1"]
        {
            for sql in [
                format!("SELECT {call} FROM performance_schema.metadata_locks"),
                format!("SELECT 1 FROM performance_schema.metadata_locks WHERE {call}"),
                format!("SELECT 1 FROM performance_schema.metadata_locks ORDER BY {call}"),
                format!("SELECT COUNT({call}) FROM performance_schema.metadata_locks"),
                format!("SHOW STATUS WHERE {call}"),
            ] {
                assert_eq!(a.query(&sql).await.code(), 1235, "{sql}, held: {held}");
                let prepared = a.command(&[b"\x16", sql.as_bytes()].concat()).await;
                if sql.starts_with("SELECT") {
                    assert_eq!(prepared.code(), 1235, "{sql}, prepared");
                }
            }
        }
        assert_eq!(a.value("SELECT GET_LOCK('a', 0)").await.unwrap(), "1");
    }
}

#[tokio::test]
async fn prepared_columns_match_the_result() {
    let server = TestServer::start();
    let mut client = MySql::connect_with(server.mysql, DEPRECATE_EOF, "app").await;
    for sql in [
        "SELECT ID, TIME, COMMAND FROM information_schema.processlist WHERE ID = CONNECTION_ID()",
        "SELECT * FROM performance_schema.threads",
        "EXPLAIN SELECT 1",
        "SHOW FULL TABLES LIKE 'x'",
        "SHOW GRANTS",
        "DESCRIBE mysql.user",
        "CHECK TABLE nosuch",
    ] {
        let (promised, _) = executed(&mut client, sql).await;
        let Reply::Rows { columns, .. } = client.query(sql).await else { panic!("{sql}") };
        assert_eq!(promised, columns, "{sql}");
    }
    let sql = "SELECT ID, TIME, COMMAND FROM information_schema.processlist WHERE ID = CONNECTION_ID()";
    let (_, row) = executed(&mut client, sql).await;
    // No NULL; a BIGINT, an INT and a VARCHAR.
    let id = u64::from(client.id).to_le_bytes();
    assert_eq!(row, [&[0, 0], &id[..], &[0; 4], b"\x05Query"].concat());
    assert_eq!(client.command(b"\x16SELECT * FROM nosuch").await.code(), 1146);
    assert_eq!(client.command(b"\x16SHOW TABLES FROM nosuch").await.code(), 1049);
}

/// Prepares and executes a statement: the columns that both tell of, and the first row.
async fn executed(client: &mut MySql, sql: &str) -> (Vec<Column>, Vec<u8>) {
    client.send(0, &[b"\x16", sql.as_bytes()].concat()).await;
    let prepared = client.packet().await.unwrap();
    assert_eq!(prepared[0], 0, "{sql}: {prepared:?}");
    let promised = client.columns(usize::from(prepared[5])).await;
    client.send(0, &[b"\x17", &prepared[1..5], b"\0\x01\0\0\0"].concat()).await;
    let count = client.packet().await.unwrap();
    assert_eq!(client.columns(usize::from(count[0])).await, promised, "{sql}");
    let (mut packet, mut rows) = (client.packet().await.unwrap(), Vec::new());
    while packet[0] == 0 {
        rows.push(packet);
        packet = client.packet().await.unwrap();
    }
    (promised, rows.into_iter().next().unwrap_or_default())
}

#[tokio::test]
async fn startup_queries_of_monitors_and_orms_are_answered() {
    let server = TestServer::start();
    let mut client = MySql::connect_with(server.mysql, DEPRECATE_EOF, "app").await;
    let statements = include_str!("../data/monitor_statements.sql");
    for sql in statements.lines().filter(|line| !line.starts_with("-- ")) {
        let reply = client.query(sql).await;
        assert!(matches!(reply, Reply::Rows { .. }), "{sql}: {reply:?}");
    }
    for (sql, told) in [
        (
            "SELECT COLUMN_TYPE FROM information_schema.columns WHERE TABLE_NAME = 'processlist' AND COLUMN_NAME = 'HOST' LIMIT 1",
            "varchar(261)",
        ),
        (
            "SELECT TABLE_TYPE FROM information_schema.tables WHERE TABLE_NAME = 'PROCESSLIST' LIMIT 1",
            "SYSTEM VIEW",
        ),
        ("SHOW TABLES FROM performance_schema LIKE 'metadata%'", "metadata_locks"),
        ("DESC information_schema.processlist host", "HOST"),
        ("SELECT SCHEMA_NAME FROM information_schema.schemata ORDER BY SCHEMA_NAME", "app"),
        ("SHOW DATABASES", "app"),
        ("SHOW STATUS LIKE 'Uptime'", "Uptime"),
    ] {
        assert_eq!(client.value(sql).await.as_deref(), Some(told), "{sql}");
    }
}

#[tokio::test]
async fn tables_obey_permissions_as_lists_do() {
    let users = tempfile::tempdir().unwrap();
    let server = TestServer::with(&["--users", &file_of_users(&users)]);
    let mut probe = MySql::connect_as(server.mysql, "probe", "secret").await.unwrap();
    assert_eq!(probe.value("SELECT GET_LOCK('x:a', 0)").await.unwrap(), "1");
    for sql in [
        "SELECT OBJECT_NAME FROM performance_schema.metadata_locks WHERE OWNER_THREAD_ID = IS_USED_LOCK('x:a')",
        "SELECT OBJECT_NAME FROM performance_schema.metadata_locks WHERE IS_FREE_LOCK(OBJECT_NAME) = 0",
    ] {
        assert_eq!(probe.value(sql).await.unwrap(), "x:a", "{sql}");
    }
    let other = "SELECT IS_USED_LOCK('y:a') FROM performance_schema.metadata_locks";
    assert_eq!(probe.query(other).await.code(), 1227);
    let schemas = "SELECT COUNT(*) FROM information_schema.tables WHERE TABLE_SCHEMA IN ('mysql', 'sys')";
    assert_eq!(probe.value(schemas).await.unwrap(), "0");
}

#[tokio::test]
async fn connect_attributes_are_rows() {
    let server = TestServer::start();
    let attributes = [("_client_name", "libmysql"), ("_pid", "4711"), ("program_name", "nightly")];
    let hello = Hello { attributes: &attributes, ..Hello::default() };
    let mut client = MySql::log_in(server.mysql, hello).await.unwrap();
    let sql = "SELECT CONCAT(ATTR_NAME, '=', ATTR_VALUE) FROM performance_schema.session_connect_attrs \
               WHERE PROCESSLIST_ID = CONNECTION_ID() ORDER BY ORDINAL_POSITION";
    let told =
        ["program_name=nightly", "_client_name=libmysql", "_pid=4711"].map(|told| Some(told.to_owned()));
    assert_eq!(values(&mut client, sql).await, Ok(told.to_vec()));
}
