//! Statements of all kinds over the MySQL wire: those that are prepared by name, those that are not served, and those that
//! are no SQL.

use crate::common::{
    TestServer,
    mysql::{DEPRECATE_EOF, MULTI_STATEMENTS, MySql, Reply},
};

/// The statements of a file, one a line.
fn statements(file: &str) -> impl Iterator<Item = &str> {
    file.lines().filter(|line| !line.starts_with("-- "))
}

/// Those that are not answered with this error, by a query and by COM_STMT_PREPARE.
async fn answered_otherwise(file: &str, wanted: u16) -> Vec<String> {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let mut others = Vec::new();
    for sql in statements(file) {
        for command in [&b"\x03"[..], b"\x16"] {
            a.send(0, &[command, sql.as_bytes()].concat()).await;
            let first = a.packet().await.unwrap();
            let code = if first[0] == 0xFF { u16::from_le_bytes([first[1], first[2]]) } else { 0 };
            if code != wanted {
                others.push(format!("{code} {sql}: {}", String::from_utf8_lossy(&first)));
                a = MySql::connect(server.mysql).await;
            }
        }
    }
    others
}

#[tokio::test]
async fn valid_but_unserved_statement_is_refused() {
    let file = include_str!("../data/unserved_statements.sql");
    assert!(statements(file).count() >= 200);
    let others = answered_otherwise(file, 1235).await;
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[tokio::test]
async fn invalid_sql_is_a_syntax_error() {
    let file = include_str!("../data/wrong_statements.sql");
    assert!(statements(file).count() >= 100);
    let others = answered_otherwise(file, 1064).await;
    assert!(others.is_empty(), "{}", others.join("\n"));
}

/// The rows of a result.
fn rows(reply: Reply) -> Vec<Vec<Option<String>>> {
    match reply {
        Reply::Rows { rows, .. } => rows,
        other => panic!("{other:?}"),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn error(code: u16, text: &str) -> Reply {
    Reply::Error { code, state: "HY000".into(), text: text.into() }
}

async fn done(client: &mut MySql, sql: &str) {
    let reply = client.query(sql).await;
    assert!(matches!(reply, Reply::Ok { .. }), "{sql}: {reply:?}");
}

const NOT_PREPARABLE: &str = "This command is not supported in the prepared statement protocol yet";

#[tokio::test]
async fn statement_is_prepared_by_name() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    done(&mut a, "PREPARE s FROM 'SELECT GET_LOCK(?, ?), ? + 1 AS more, ?'").await;
    done(&mut a, "SET @name = 'nightly', @seconds = 0, @one = 41").await;
    let reply = a.query("EXECUTE s USING @name, @seconds, @one, @nothing").await;
    let Reply::Rows { ref columns, .. } = reply else { panic!("{reply:?}") };
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["GET_LOCK(?, ?)", "more", "?"]);
    assert_eq!(columns[1].kind, 8, "an integer stays one");
    assert_eq!(rows(reply), [[some("1"), some("42"), None]]);
    assert_eq!(a.value("SELECT IS_USED_LOCK('nightly') = CONNECTION_ID()").await, some("1"));

    // Names are the same in capitals, and in backquotes.
    done(&mut a, "PREPARE `odd name` FROM 'DO RELEASE_LOCK(?)'").await;
    done(&mut a, "EXECUTE `ODD NAME` USING @name").await;
    assert_eq!(a.value("SELECT IS_FREE_LOCK('nightly')").await, some("1"));
    assert_eq!(
        a.query("EXECUTE s USING @name").await,
        error(1210, "Incorrect arguments to EXECUTE"),
        "it has four placeholders"
    );
    assert_eq!(a.query("EXECUTE S").await.code(), 1210);
    let unknown = "Unknown prepared statement handler (Nosuch) given to ";
    assert_eq!(a.query("EXECUTE Nosuch").await, error(1243, &format!("{unknown}EXECUTE")));
    for sql in ["DEALLOCATE PREPARE Nosuch", "DROP PREPARE Nosuch"] {
        assert_eq!(a.query(sql).await, error(1243, &format!("{unknown}DEALLOCATE PREPARE")));
    }
    done(&mut a, "DEALLOCATE PREPARE S").await;
    assert_eq!(a.query("EXECUTE s").await.code(), 1243);
    done(&mut a, "DROP PREPARE `odd name`").await;
}

/// They are about the statement before, which would be the EXECUTE.
#[tokio::test]
async fn warning_queries_are_not_prepared() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    for sql in ["SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SELECT @@warning_count"] {
        let reply = a.query(&format!("PREPARE w FROM '{sql}'")).await;
        assert!(matches!(reply, Reply::Error { code: 1295, .. }), "{sql}: {reply:?}");
        assert_eq!(prepare(&mut a, sql, 0).await, Err(1295), "{sql}");
    }
}

#[tokio::test]
async fn column_beside_an_aggregate_is_refused() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let sql = "SELECT COUNT(*), CONCAT(user, '@') FROM information_schema.processlist";
    let Reply::Error { code: 1140, text, .. } = a.query(sql).await else { panic!("a row of what?") };
    assert_eq!(
        text,
        "In aggregated query without GROUP BY, expression #2 of SELECT list contains nonaggregated column \
         'information_schema.processlist.user'; this is incompatible with sql_mode=only_full_group_by"
    );
    for sql in [
        "SELECT COUNT(*), MAX(CONCAT(user, '@')), COUNT(DISTINCT id) FROM information_schema.processlist",
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root' ORDER BY COUNT(id)",
        "SELECT user, id FROM information_schema.processlist",
    ] {
        assert!(matches!(a.query(sql).await, Reply::Rows { .. }), "{sql}");
    }
    a.query("SET sql_mode = ''").await;
    assert!(matches!(a.query(sql).await, Reply::Rows { .. }));
}

#[tokio::test]
async fn prepare_replaces_or_drops_the_old_statement() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    done(&mut a, "PREPARE s FROM 'SELECT 1'").await;
    done(&mut a, "SET @text = 'SELECT @text IS NOT NULL;'").await;
    done(&mut a, "PREPARE S FROM @text").await;
    assert_eq!(a.query("EXECUTE s").await.value(), some("1"));
    for (sql, code) in [
        ("PREPARE s FROM 'SELECT nosuch'", 1054),
        ("PREPARE s FROM 'SELECT 1; SELECT 2'", 1064),
        ("PREPARE s FROM ''", 1065),
        ("PREPARE s FROM @nothing", 1064),
        ("PREPARE s FROM 'INSERT INTO t VALUES (?)'", 1235),
        ("PREPARE s FROM 'SELECT NOSUCH()'", 1305),
        ("PREPARE s FROM 'SELECT 1 LIMIT x'", 1327),
    ] {
        done(&mut a, "PREPARE s FROM 'SELECT 1'").await;
        assert_eq!(a.query(sql).await.code(), code, "{sql}");
        assert_eq!(a.query("EXECUTE s").await.code(), 1243, "the old one is gone");
    }
    for sql in ["PREPARE t FROM \"SELECT 1\"", "EXECUTE s", "DEALLOCATE PREPARE s", "DROP PREPARE s"] {
        assert_eq!(a.command(&[b"\x16", sql.as_bytes()].concat()).await, error(1295, NOT_PREPARABLE));
        let quoted = sql.replace('"', "\"\"");
        assert_eq!(a.query(&format!("PREPARE s FROM \"{quoted}\"")).await, error(1295, NOT_PREPARABLE));
    }
    assert_eq!(a.query("PREPARE s FROM NULL").await.code(), 1064);
}

#[tokio::test]
async fn reset_and_change_user_drop_prepared_statements() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    done(&mut a, "PREPARE s FROM 'SELECT 1'").await;
    assert!(matches!(a.command(&[0x1F]).await, Reply::Ok { .. }));
    assert_eq!(a.query("EXECUTE s").await.code(), 1243);
    done(&mut a, "PREPARE s FROM 'SELECT 1'").await;
    a.change_user("root", "").await.unwrap();
    assert_eq!(a.query("EXECUTE s").await.code(), 1243);
}

#[tokio::test]
async fn execute_can_wait_for_a_lock() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let capabilities = DEPRECATE_EOF | MULTI_STATEMENTS;
    let mut waiter = MySql::connect_with(server.mysql, capabilities, "").await;
    let mut killer = MySql::connect(server.mysql).await;
    done(&mut waiter, "PREPARE take FROM 'SELECT GET_LOCK(?, ?)'").await;
    done(&mut waiter, "SET @name = 'nightly', @seconds = 600").await;

    waiter.start("EXECUTE take USING @name, @seconds").await;
    server.until_waiting(1).await;
    let shown = "SELECT info FROM information_schema.processlist WHERE state = 'User lock'";
    assert_eq!(killer.value(shown).await, some("SELECT GET_LOCK(?, ?)"));
    done(&mut killer, &format!("KILL QUERY {}", waiter.id)).await;
    assert_eq!(waiter.reply().await.code(), 1317);

    done(&mut waiter, "SET max_execution_time = 20").await;
    assert_eq!(waiter.query("EXECUTE take USING @name, @seconds").await.code(), 3024);
    done(&mut waiter, "SET max_execution_time = 0").await;

    waiter.start("EXECUTE take USING @name, @seconds; SELECT 2").await;
    server.until_waiting(1).await;
    assert_eq!(holder.ask("RELEASE_LOCK nightly").await, "1");
    assert_eq!(waiter.reply().await.value(), some("1"));
    assert_eq!(waiter.reply().await.value(), some("2"), "the batch goes on");
    let error = waiter.query("EXECUTE take USING @nothing, @seconds").await;
    assert_eq!(error.code(), 3057);
    let warnings = rows(waiter.query("SHOW WARNINGS").await);
    assert_eq!(warnings.len(), 1, "it is told once");

    holder.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    drop(waiter);
    assert_eq!(holder.line().await, "1");
}

#[tokio::test]
async fn limit_takes_placeholders() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let mut others = vec![MySql::connect(server.mysql).await, MySql::connect(server.mysql).await];
    let list = "SELECT id FROM information_schema.processlist ORDER BY id LIMIT";
    done(&mut a, &format!("PREPARE s FROM '{list} ?, ?'")).await;
    done(&mut a, "SET @skip = 1, @count = 1, @text = '1', @real = 1.5, @below = -1").await;
    assert_eq!(rows(a.query("EXECUTE s USING @skip, @count").await), [[some("2")]]);
    assert_eq!(rows(a.query("EXECUTE s USING @skip, @nothing").await).len(), 0);
    for wrong in ["@text", "@real"] {
        let reply = a.query(&format!("EXECUTE s USING @skip, {wrong}")).await;
        assert_eq!(reply, error(1210, "Incorrect arguments to EXECUTE"));
    }
    let below = a.query("EXECUTE s USING @below, @count").await;
    let text = "signed integer value is out of range in 'EXECUTE'";
    assert_eq!(below, Reply::Error { code: 1690, state: "22003".into(), text: text.into() });
    done(&mut a, "PREPARE s FROM 'SELECT COUNT(*) FROM information_schema.processlist LIMIT ? OFFSET ?'")
        .await;
    assert_eq!(rows(a.query("EXECUTE s USING @count, @zero").await), [[some("3")]]);
    done(&mut a, "PREPARE s FROM 'SELECT GET_LOCK(\"x\", 0) LIMIT ?'").await;
    done(&mut a, "SET @count = 0").await;
    assert_eq!(rows(a.query("EXECUTE s USING @count").await).len(), 0);
    assert_eq!(a.value("SELECT IS_FREE_LOCK('x')").await, some("1"));

    a.send(0, &[b"\x16", list.as_bytes(), b" ?"].concat()).await;
    let prepared = a.packet().await.unwrap();
    a.columns(1).await;
    a.columns(1).await;
    // An integer and its digits; a double, which node's numbers are, is refused.
    let double = &[&[5, 0][..], &2_f64.to_le_bytes()].concat();
    for (value, count) in [(&[8, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], 2), (&[253, 0, 1, b'1'], 1), (double, 0)] {
        a.send(0, &[b"\x17", &prepared[1..5], &[0, 1, 0, 0, 0], &[0, 1], value].concat()).await;
        let first = a.packet().await.unwrap();
        if count == 0 {
            assert_eq!(&first[3..], b"#HY000Incorrect arguments to mysqld_stmt_execute");
            continue;
        }
        a.columns(1).await;
        for _ in 0..count {
            assert_eq!(a.packet().await.unwrap()[0], 0);
        }
        assert_eq!(a.packet().await.unwrap()[0], 0xFE);
    }
    others.clear();
}

/// The number of a statement that is prepared, or the code of the error.
async fn prepare(client: &mut MySql, sql: &str, placeholders: usize) -> Result<u32, u16> {
    client.send(0, &[b"\x16", sql.as_bytes()].concat()).await;
    let packet = client.packet().await.unwrap();
    if packet[0] == 0xFF {
        return Err(u16::from_le_bytes([packet[1], packet[2]]));
    }
    client.columns(placeholders).await;
    client.columns(1).await;
    Ok(u32::from_le_bytes(packet[1..5].try_into().unwrap()))
}

/// node's mysql2 keeps each text that it has executed.
#[tokio::test]
async fn connection_prepares_5000_statements() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    for number in 0..5_000 {
        let sql = format!(
            "SELECT GET_LOCK(CONCAT('tenant-{number}:', ?), ?) AS acquired /* application: billing, controller: \
             invoices, action: close_month, job: Invoices::CloseMonthJob, request: 7f1c{number:08}, pid: 4711, \
             source: app/jobs/invoices/close_month_job.rb:42:in `perform`, db_host: locks.internal.example */"
        );
        prepare(&mut a, &sql, 2).await.unwrap_or_else(|code| panic!("{code} for number {number}"));
    }
    let used = "SHOW STATUS LIKE 'Getlockd_memory'";
    let used: usize = rows(a.query(used).await)[0][1].as_ref().unwrap().parse().unwrap();
    assert!(used > 5_000 * 300, "{used} bytes are charged for them");
    assert_eq!(a.value("SELECT GET_LOCK('x', 0)").await, some("1"));
}

#[tokio::test]
async fn prepared_statement_limit_is_enforced() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let max: usize = a.value("SELECT @@max_prepared_stmt_count").await.unwrap().parse().unwrap();
    done(&mut a, "PREPARE by_name FROM 'SELECT 0'").await;
    let mut last = 0;
    // One `DO 1` needs so little that the number is reached before the memory is used up.
    for _ in 1..max {
        a.send(0, b"\x16DO 1").await;
        last = u32::from_le_bytes(a.packet().await.unwrap()[1..5].try_into().unwrap());
    }
    let full = format!("Can't create more than max_prepared_stmt_count statements (current value: {max})");
    let full = Reply::Error { code: 1461, state: "42000".into(), text: full };
    assert_eq!(a.command(b"\x16DO 1").await, full);
    assert_eq!(a.query("PREPARE other FROM 'SELECT 0'").await, full);
    assert_eq!(a.query("EXECUTE by_name").await.value(), some("0"));
    a.send(0, &[b"\x19", &last.to_le_bytes()[..]].concat()).await;
    done(&mut a, "PREPARE other FROM 'SELECT 0'").await;
}

#[tokio::test]
async fn prepared_by_name_is_charged_to_the_connection() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    done(&mut a, "SET @text = CONCAT('SELECT LENGTH(\"', REPEAT('x', 500000), '\")')").await;
    let mut kept = 0;
    let refused = loop {
        match a.query(&format!("PREPARE s{kept} FROM @text")).await {
            Reply::Ok { .. } => kept += 1,
            refused => break refused,
        }
    };
    assert!((2..8).contains(&kept), "{kept} of half a megabyte each");
    assert_eq!(refused.code(), 1226);
    assert_eq!(a.query("EXECUTE s0").await.code(), 1226, "nor is there memory to read it again");
    done(&mut a, "DEALLOCATE PREPARE s1").await;
    done(&mut a, "SET @text = NULL").await;
    assert_eq!(a.query("EXECUTE s0").await.value(), some("500000"));
}
