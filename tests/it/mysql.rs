//! The MySQL wire over real sockets, packet by packet.

use crate::common::{
    TestServer,
    mysql::{DEPRECATE_EOF, MULTI_STATEMENTS, MySql, Reply},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn locks_and_session_ids_are_shared_with_other_wires() {
    let server = TestServer::start();
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let mut mysql = MySql::connect(server.mysql).await;
    assert_eq!(mysql.id, 2);
    assert_eq!(mysql.value("SELECT CONNECTION_ID()").await, some("2"));
    assert_eq!(mysql.value("SELECT GET_LOCK('NIGHTLY', 0)").await, some("0"));
    assert_eq!(mysql.value("SELECT IS_USED_LOCK('nightly')").await, some("1"));
    mysql.start("SELECT GET_LOCK('nightly', 60), FENCING_TOKEN('nightly') > 0").await;
    server.until_waiting(1).await;
    assert!(line.list("SESSIONS").await[1].contains("session=2 wire=mysql "));
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    assert_eq!(mysql.reply().await.value(), some("1"));
    line.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    drop(mysql);
    assert_eq!(line.line().await, "1");
}

#[tokio::test]
async fn shared_locks_and_fencing_tokens_are_served() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    assert_eq!(a.value("SELECT GET_SHARED_LOCK('r', 0)").await, some("1"));
    assert_eq!(b.value("SELECT GET_SHARED_LOCK('r', 0)").await, some("1"));
    assert_eq!(b.value("SELECT GET_LOCK('r', 0)").await, some("0"));
    assert_eq!(a.value("SELECT FENCING_TOKEN('r') IS NULL").await, some("0"));
    assert_eq!(a.value("SELECT FENCING_TOKEN('s')").await, None);
}

#[tokio::test]
async fn disconnect_leaves_the_queue() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let quit = [1, 0, 0, 0, 1];
    for last_words in [&[][..], &quit, &[14; 10_000]] {
        let mut waiter = MySql::connect(server.mysql).await;
        waiter.start("SELECT GET_LOCK('x', 600)").await;
        server.until_waiting(1).await;
        waiter.stream.write_all(last_words).await.unwrap();
        drop(waiter);
        server.until(|stats| stats.table.waiters == 0 && stats.sessions == 1).await;
    }
    let mut waiter = MySql::connect(server.mysql).await;
    waiter.start("SELECT GET_LOCK('x', 600)").await;
    server.until_waiting(1).await;
    waiter.stream.set_zero_linger().unwrap();
    drop(waiter);
    server.until(|stats| stats.table.waiters == 0 && stats.sessions == 1).await;
}

#[tokio::test]
async fn kill_ends_a_session_and_kill_query_a_wait() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let (mut waiter, mut killer) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    assert_eq!(waiter.value("SELECT GET_LOCK('mine', 0)").await, some("1"));
    for kill in [format!("KILL QUERY {}", waiter.id), format!("KILL /*!50000 QUERY */ {}+0", waiter.id)] {
        waiter.start("SELECT GET_LOCK('x', 600)").await;
        server.until_waiting(1).await;
        assert!(matches!(killer.query(&kill).await, Reply::Ok { .. }));
        assert_eq!(waiter.reply().await.code(), 1317);
    }
    assert_eq!(waiter.value("SELECT IS_USED_LOCK('mine') = CONNECTION_ID()").await, some("1"));
    waiter.start("SELECT GET_LOCK('x', 600)").await;
    server.until_waiting(1).await;
    assert!(matches!(killer.query(&format!("KILL '{}'", waiter.id)).await, Reply::Ok { .. }));
    assert_eq!(killer.value("SELECT IS_FREE_LOCK('mine')").await, some("1"));
    assert_eq!(waiter.reply().await.code(), 1317);
    assert_eq!(waiter.packet().await, None);

    assert!(matches!(killer.query("KILL 1").await, Reply::Ok { .. }), "a session of another wire");
    assert!(holder.rest().await.starts_with("ERROR KILLED "));
    let unknown = killer.query("KILL 99").await;
    assert_eq!(
        unknown,
        Reply::Error { code: 1094, state: "HY000".into(), text: "Unknown thread id: 99".into() }
    );
    assert_eq!(killer.query(&format!("KILL QUERY {}", killer.id)).await.code(), 1317);
    let own = killer.id;
    assert_eq!(killer.query(&format!("KILL {own}")).await.code(), 1317);
    assert_eq!(killer.packet().await, None);
}

#[tokio::test]
async fn reset_and_change_user_free_locks_and_keep_id() {
    let server = TestServer::start();
    let mut a = MySql::connect_with(server.mysql, DEPRECATE_EOF, "shop").await;
    assert_eq!(a.value("SELECT GET_LOCK('x', 0), @a := 7").await, some("1"));
    assert!(matches!(a.command(&[0x1F]).await, Reply::Ok { .. }));
    assert_eq!(a.value("SELECT IS_FREE_LOCK('x')").await, some("1"));
    assert_eq!(a.value("SELECT @a").await, None);
    assert_eq!(a.value("SELECT DATABASE()").await, some("shop"));
    assert_eq!(a.value("SELECT GET_LOCK('x', 0)").await, some("1"));
    a.send(0, b"\x11joe\0\0other\0\xff\0caching_sha2_password\0").await;
    assert_eq!(a.packet().await.unwrap()[0], 0xFE, "the method is always switched");
    a.send(2, b"").await;
    assert!(matches!(a.reply().await, Reply::Ok { .. }));
    assert_eq!(a.value("SELECT IS_FREE_LOCK('x')").await, some("1"));
    assert_eq!(a.value("SELECT CONCAT(USER(), DATABASE())").await, some("joe@127.0.0.1other"));
    assert_eq!(a.value("SELECT CONNECTION_ID()").await, Some(a.id.to_string()));
}

#[tokio::test]
async fn results_end_with_eof_or_ok_as_negotiated() {
    let server = TestServer::start();
    for capabilities in [0, DEPRECATE_EOF] {
        let mut a = MySql::connect_with(server.mysql, capabilities | MULTI_STATEMENTS, "").await;
        assert_eq!(a.query("SELECT 1, NULL, 'x'").await.value(), some("1"));
        // Two statements, of which the first says that there is more.
        let first = a.query("SELECT GET_LOCK('m', 0); SELECT RELEASE_LOCK('m')").await;
        let Reply::Rows { status, .. } = first else { panic!("{first:?}") };
        assert_eq!(status & 8, 8);
        let second = a.reply().await;
        let Reply::Rows { status, .. } = second else { panic!("{second:?}") };
        assert_eq!(status & 8, 0);
    }
    let mut single = MySql::connect(server.mysql).await;
    assert_eq!(single.query("SELECT 1; SELECT GET_LOCK('m', 0)").await.code(), 1064);
    assert_eq!(single.value("SELECT IS_FREE_LOCK('m')").await, some("1"));
}

#[tokio::test]
async fn prepared_statement_is_executed_repeatedly() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    a.send(0, b"\x16SELECT GET_LOCK(?, ?), ? + 1").await;
    let prepared = a.packet().await.unwrap();
    assert_eq!((prepared[0], prepared[5], prepared[7]), (0, 2, 3));
    let id = &prepared[1..5];
    a.columns(3).await;
    assert_eq!(a.columns(2).await[0].name, "GET_LOCK(?, ?)");
    for (name, number) in [("one", 41_u8), ("two", 42)] {
        // A text, a NULL and a byte.
        let values = [&[0b010, 1, 253, 0, 6, 0, 1, 0, 3][..], name.as_bytes(), &[number]].concat();
        a.send(0, &[b"\x17", id, &[0, 1, 0, 0, 0], &values].concat()).await;
        assert_eq!(a.packet().await.unwrap(), [2]);
        a.columns(2).await;
        let row = a.packet().await.unwrap();
        assert_eq!(row, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, number + 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(a.packet().await.unwrap()[0], 0xFE);
        assert_eq!(a.value(&format!("SELECT IS_USED_LOCK('{name}') = CONNECTION_ID()")).await, some("1"));
    }
    a.send(0, &[b"\x19", id].concat()).await;
    let gone = a.command(&[b"\x17", id, &[0, 1, 0, 0, 0]].concat()).await;
    assert_eq!(gone.code(), 1243);
}

#[tokio::test]
async fn each_command_is_run_or_refused() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    for done in [&b"\x0e"[..], b"\x0d", b"\x02shop", b"\x1b\x00\x00"] {
        assert!(matches!(a.command(done).await, Reply::Ok { .. }), "{done:?}");
    }
    assert_eq!(a.value("SELECT SCHEMA()").await, some("shop"));
    for unknown in [&b"\x00"[..], b"\x05", b"\x12", b"\x1c", b"\x20", b"\xff", b""] {
        assert_eq!(a.command(unknown).await.code(), 1047, "{unknown:?}");
    }
    a.send(0, b"\x09").await;
    assert!(String::from_utf8(a.packet().await.unwrap()).unwrap().starts_with("Uptime: "));
    a.send(0, b"\x04table\0").await;
    assert_eq!(a.packet().await.unwrap()[0], 0xFE);
    // Many at once are answered in order, however the bytes are cut.
    let pings = [&[1, 0, 0, 0, 0x1F, 18, 0, 0, 0][..], b"\x03SET NAMES utf8mb4", &[1, 0, 0, 0, 14]].concat();
    for piece in pings.chunks(3) {
        a.stream.write_all(piece).await.unwrap();
    }
    for _ in 0..3 {
        assert!(matches!(a.reply().await, Reply::Ok { .. }));
    }
    a.send(5, b"\x0e").await;
    assert_eq!(a.reply().await.code(), 1156);
    assert_eq!(a.packet().await, None);
}

#[tokio::test]
async fn packet_beyond_the_limit_is_refused() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let sql = |length: usize| format!("SELECT LENGTH('{}')", "x".repeat(length - 18));
    let small = sql(100_000);
    assert_eq!(a.value(&small).await, some("99982"));
    let largest = sql(getlockd::internal::mysql::MAX_PACKET);
    assert_eq!(a.value(&largest).await, Some((getlockd::internal::mysql::MAX_PACKET - 18).to_string()));
    a.start(&sql(getlockd::internal::mysql::MAX_PACKET + 1)).await;
    assert_eq!(a.reply().await.code(), 1153);
    assert_eq!(a.packet().await, None);
}

#[tokio::test]
async fn long_or_deep_statement_does_not_crash() {
    let server = TestServer::start();
    let mut a = MySql::connect_with(server.mysql, DEPRECATE_EOF | MULTI_STATEMENTS, "").await;
    let long = |part: &str, size: usize| part.repeat(size / part.len());
    for (sql, code) in [
        (format!("{}SELECT 1", long("EXPLAIN ", 500_000)), 1235),
        (format!("{}SELECT 1", long("EXPLAIN ", 5_000)), 1064),
        (format!("SELECT {}1{}", long("(", 100_000), long(")", 100_000)), 1235),
        (format!("DO 1{}", long("+1", 500_000)), 1235),
        (format!("DO 1 IN (1{})", long(",1", 500_000)), 1235),
        (format!("SELECT 1{}", long(",1", 500_000)), 1235),
        (format!("DO GREATEST(1{})", long(",IS_FREE_LOCK('a')", 20_000)), 1235),
        (long("/* ", 500_000), 1064),
        (long("/*+ ", 500_000), 1064),
        (long("'", 500_001), 1064),
        ("SELECT REPEAT('a', 1000000) LIKE REPEAT('%a', 1000)".to_owned(), 1235),
    ] {
        assert_eq!(a.query(&sql).await.code(), code, "{}", &sql[..30]);
    }
    for large in [
        "REPLACE(REPEAT('a', 1000000), 'a', REPEAT('b', 1000000))",
        "CONCAT(REPEAT('a', 1000000), REPEAT('a', 1000000))",
        "HEX(REPEAT('a', 1000000))",
        "CONCAT_WS(REPEAT('a', 1000000), 1, 2, 3)",
        "REPEAT('a', 1e18)",
    ] {
        assert_eq!(a.value(&format!("SELECT {large}")).await, None, "{large}");
        assert_eq!(a.query("SHOW WARNINGS").await.value(), some("Warning"));
    }
    // A batch of many statements, each with its answer.
    a.start(&long("DO 1;", 100_000)).await;
    for _ in 0..20_000 {
        assert!(matches!(a.reply().await, Reply::Ok { .. }));
    }
    assert_eq!(a.value("SELECT /*+ MAX_EXECUTION_TIME(20) */ SLEEP(1e19)").await, some("1"));
    assert!(matches!(
        a.query("SET wait_timeout = 18446744073709551615").await,
        Reply::Ok { warnings: 1, .. }
    ));
    assert_eq!(a.value("SELECT @@wait_timeout").await, some("31536000"));
    assert!(matches!(a.query("SET wait_timeout = -5").await, Reply::Ok { warnings: 1, .. }));
    assert_eq!(a.value("SELECT @@wait_timeout").await, some("1"));
}

#[tokio::test]
async fn batch_runs_up_to_its_first_error() {
    let server = TestServer::start();
    let mut a = MySql::connect_with(server.mysql, DEPRECATE_EOF | MULTI_STATEMENTS, "").await;
    assert_eq!(a.value("SELECT GET_LOCK('first', 0); SELECT 'abc").await, some("1"));
    assert_eq!(a.reply().await.code(), 1064);
    assert_eq!(a.value("SELECT IS_USED_LOCK('first') = CONNECTION_ID()").await, some("1"));
}

#[tokio::test]
async fn change_user_is_read_in_every_form() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    // Neither a choice of methods nor a length of the proof.
    a.stream = TcpStream::connect(server.mysql).await.unwrap();
    a.packet().await.unwrap();
    let login = [&[0, 2, 0, 0, 0, 0, 0, 1, 255][..], &[0; 23], b"root\0secret\0"].concat();
    a.send(1, &login).await;
    assert_eq!(a.packet().await.unwrap()[0], 0);
    assert!(matches!(a.command(b"\x11joe\0secret\0shop\0").await, Reply::Ok { .. }));
    a.send(0, b"\x03SELECT USER()").await;
    let mut packets = Vec::new();
    for _ in 0..5 {
        packets.push(a.packet().await.unwrap());
    }
    assert_eq!(packets[3], b"\x0djoe@127.0.0.1");
}

#[tokio::test]
async fn every_login_method_works() {
    let server = TestServer::start();
    for (plugin, proof) in [
        ("caching_sha2_password", &b""[..]),
        ("caching_sha2_password", &[7; 32]),
        ("mysql_native_password", b""),
        ("mysql_native_password", &[7; 20]),
        ("client_ed25519", b"x"),
    ] {
        let mut a = MySql::connect(server.mysql).await;
        a.stream = TcpStream::connect(server.mysql).await.unwrap();
        a.packet().await.unwrap();
        let login = a.login(plugin, proof, "");
        a.send(1, &login).await;
        let mut next = a.packet().await.unwrap();
        if next[0] == 0xFE {
            assert!(next.starts_with(b"\xfemysql_native_password\0"));
            a.send(3, &[7; 20]).await;
            next = a.packet().await.unwrap();
        } else if plugin == "caching_sha2_password" && !proof.is_empty() {
            assert_eq!(next, [1, 3]);
            next = a.packet().await.unwrap();
        }
        assert_eq!(next[0], 0, "{plugin}");
        assert_eq!(a.value("SELECT 1").await, some("1"));
    }
    for bad in [&b""[..], b"\x00", &[0xFF; 40], &[0; 30]] {
        let mut a = MySql::connect(server.mysql).await;
        a.stream = TcpStream::connect(server.mysql).await.unwrap();
        a.packet().await.unwrap();
        a.send(1, bad).await;
        assert!(matches!(a.packet().await.unwrap()[..], [0xFF, ..]), "{bad:?}");
        assert_eq!(a.packet().await, None);
    }
}

#[tokio::test]
async fn full_server_refuses_before_login() {
    let server = TestServer::with(&["--max-connections", "1"]);
    let _only = MySql::connect(server.mysql).await;
    let mut other = TcpStream::connect(server.mysql).await.unwrap();
    let mut refusal = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut other, &mut refusal).await.unwrap();
    assert_eq!(&refusal[4..], b"\xff\x10\x04#08004Too many connections");
}

#[tokio::test]
async fn max_execution_time_ends_a_select_and_its_wait() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let mut a = MySql::connect(server.mysql).await;
    assert_eq!(a.query("SELECT /*+ MAX_EXECUTION_TIME(20) */ GET_LOCK('x', 600)").await.code(), 3024);
    assert!(matches!(a.query("SET max_execution_time = 20").await, Reply::Ok { .. }));
    assert_eq!(a.query("SELECT GET_LOCK('x', 600)").await.code(), 3024);
    a.start("DO GET_LOCK('x', 600)").await;
    server.until_waiting(1).await;
    assert_eq!(holder.ask("RELEASE_LOCK x").await, "1");
    assert!(matches!(a.reply().await, Reply::Ok { .. }), "DO has no limit");
    assert_eq!(a.value("SELECT IS_USED_LOCK('x') = CONNECTION_ID()").await, some("1"));
}

#[tokio::test]
async fn wait_timeout_ends_idle_but_not_waiting_sessions() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let mut a = MySql::connect(server.mysql).await;
    assert!(matches!(a.query("SET SESSION wait_timeout = 1").await, Reply::Ok { .. }));
    assert_eq!(a.value("SELECT GET_LOCK('mine', 0)").await, some("1"));
    assert_eq!(a.value("SELECT GET_LOCK('x', 1.2)").await, some("0"), "longer than it may be idle");
    let inactive = a.packet().await.unwrap();
    assert_eq!(u16::from_le_bytes([inactive[1], inactive[2]]), 4031);
    assert_eq!(a.packet().await, None);
    assert_eq!(holder.ask("GET_LOCK mine 0").await, "1");
}

#[tokio::test]
async fn deadlock_is_error_3058_with_its_cycle_as_warning() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    assert_eq!(a.value("SELECT GET_LOCK('a', 0)").await, some("1"));
    assert_eq!(b.value("SELECT GET_LOCK('b', 0)").await, some("1"));
    a.start("SELECT GET_LOCK('b', 600)").await;
    server.until_waiting(1).await;
    let deadlock = b.query("SELECT GET_LOCK('a', 600)").await;
    let text = "Deadlock found when trying to get user-level lock; try rolling back transaction/releasing locks \
                and restarting lock acquisition.";
    assert_eq!(deadlock, Reply::Error { code: 3058, state: "HY000".into(), text: text.into() });
    let Reply::Rows { rows, .. } = b.query("SHOW WARNINGS").await else { panic!("a list") };
    assert_eq!(rows[0], [some("Error"), some("3058"), some(text)]);
    assert!(rows[1][2].as_ref().unwrap().contains("2 waits for a (held by 1), 1 waits for b (held by 2)"));
    assert_eq!(b.value("SELECT RELEASE_ALL_LOCKS()").await, some("1"), "it keeps what it holds");
    assert_eq!(a.reply().await.value(), some("1"));
}

#[tokio::test]
async fn processes_and_locks_are_tables() {
    let server = TestServer::start();
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK X1 0").await, "1");
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    assert_eq!(a.value("SELECT GET_LOCK('y', 0)").await, some("1"));
    a.start("SELECT GET_LOCK('x1', 600) /* why */").await;
    server.until_waiting(1).await;
    let waiting = "SELECT ID, COMMAND, INFO FROM information_schema.processlist WHERE state = 'User lock'";
    let Reply::Rows { rows, .. } = b.query(waiting).await else { panic!("rows") };
    assert_eq!(rows, [[some("2"), some("Query"), some("SELECT GET_LOCK('x1', 600) /* why */")]]);
    let Reply::Rows { rows, columns, .. } = b.query("SHOW FULL PROCESSLIST").await else { panic!("rows") };
    assert_eq!(
        columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>()[..4],
        ["Id", "User", "Host", "db"]
    );
    assert_eq!(rows.len(), 3);
    let locks = "SELECT lock_status, owner_thread_id, lock_type FROM performance_schema.metadata_locks AS m \
                 WHERE m.OBJECT_NAME = 'x1' AND OBJECT_TYPE = 'USER LEVEL LOCK' ORDER BY lock_status DESC";
    let Reply::Rows { rows, .. } = b.query(locks).await else { panic!("rows") };
    let row = |status, owner| [some(status), some(owner), some("EXCLUSIVE")];
    assert_eq!(rows, [row("PENDING", "2"), row("GRANTED", "1")]);
    let count = "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OWNER_THREAD_ID = 2";
    assert_eq!(b.value(count).await, some("2"));
    assert_eq!(b.value("SELECT COUNT(*) FROM information_schema.processlist WHERE id = 99").await, some("0"));
    // One of them waits and has a statement to show; none has a database.
    let counts = "SELECT CONCAT(COUNT(*) > COUNT(info), COUNT(info) > 0, COUNT(db)) FROM information_schema.processlist";
    assert_eq!(b.value(counts).await, some("110"));
    let users = b.query("SELECT DISTINCT COMMAND = 'Query' FROM information_schema.processlist").await;
    assert!(matches!(users, Reply::Rows { rows, .. } if rows.len() == 2), "two of three sessions are alike");
}

#[tokio::test]
async fn unsupported_statement_is_named_with_the_reason() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    for (sql, reason) in [
        ("INSERT INTO t VALUES (1)", "INSERT is not supported; it has no tables"),
        ("GRANT ALL", "GRANT is not supported; its users are not managed with SQL"),
        ("SELECT SUM(DISTINCT 1)", "of aggregate functions only COUNT, MIN and MAX take DISTINCT"),
        ("SET GLOBAL wait_timeout = 1", "its settings are command-line flags"),
    ] {
        let Reply::Error { text, .. } = a.query(sql).await else { panic!("{sql}") };
        assert_eq!(text, format!("getlockd is a lock server: {reason}"), "{sql}");
    }
}

#[tokio::test]
async fn unserved_statement_is_refused() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    for (sql, code) in [
        ("INSERT INTO t VALUES (GET_LOCK('x', 0))", 1235),
        ("SELECT GET_LOCK(name, 0) FROM jobs", 1046),
        ("SELECT GET_LOCK(name, 0) FROM app.jobs", 1049),
        ("SELECT GET_LOCK(name, 0) FROM sys.jobs", 1146),
        ("SELECT GET_LOCK(name, 0) FROM information_schema.jobs", 1109),
        ("CREATE TABLE t (a INT)", 1235),
        ("LOCK TABLES t READ", 1235),
        ("SET GLOBAL wait_timeout = 1", 1235),
        ("SELECT GET_LOCK('x', 0), nosuch", 1054),
        ("SELECT GET_LOCK('x', 0), NOSUCH()", 1305),
        ("SELECT GET_LOCK(?, 0)", 1064),
        ("SET @a = GET_LOCK('x', 0), version = 1", 1238),
        ("SET @a = GET_LOCK('x', 0), NAMES utf8mb4 COLLATE nosuch", 1273),
        ("SELECT GET_LOCK('x', 0), 2 INTO @a", 1222),
        ("BEGIN SELECT GET_LOCK('x', 0)", 1064),
        ("COMMIT nonsense", 1064),
        ("SHOW CREATE TABLE t", 1046),
        ("SELECT 1 UNION SELECT GET_LOCK('x', 0)", 1235),
        ("SELECT CONCAT(NULL, GET_LOCK('x', 0)), NULL = GET_LOCK('x', 0)", 0),
        ("SELECT @@global.read_only & @@global.super_read_only | 0", 0),
        ("/*+ x */ SELECT 1", 0),
        ("SELECT GET_LOCK('x', 0), @@nosuch", 1193),
        ("SET @a = GET_LOCK('x', 0), nosuch = 1", 1193),
        ("SET version = 1", 1238),
        ("SET NAMES klingon", 1115),
        ("SELECT GET_LOCK('x', 0) FRO", 0),
        ("SELECT GET_LOCK('x', 0),", 1064),
        ("SELECT * ", 1096),
        ("GRANT ALL", 1235),
        ("gibberish", 1064),
        ("", 1065),
        ("/* nothing */ ;", 1065),
        ("SELECT GET_LOCK('x', 0) LIMIT 0", 0),
        ("EXPLAIN SELECT GET_LOCK('x', 0)", 0),
        ("SELECT IF(0, GET_LOCK('x', 0), 2), 0 AND GET_LOCK('x', 0), COALESCE(1, GET_LOCK('x', 0))", 0),
    ] {
        let reply = a.query(sql).await;
        if let Reply::Error { code: got, .. } = &reply {
            assert_eq!(*got, code, "{sql}: {reply:?}");
        } else {
            assert_eq!(code, 0, "{sql}: {reply:?}");
        }
        let alias = sql.ends_with("FRO");
        assert_eq!(a.value("SELECT RELEASE_ALL_LOCKS()").await, some(if alias { "1" } else { "0" }), "{sql}");
    }
    assert_eq!(a.query("SELECT GET_LOCK('x', 0), GET_LOCK(NULL, 0)").await.code(), 3057);
    assert_eq!(
        a.value("SELECT IS_USED_LOCK('x') = CONNECTION_ID()").await,
        some("1"),
        "what came before stays"
    );
}

#[tokio::test]
async fn statements_of_drivers_are_understood() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    for sql in include_str!("../data/driver_statements.sql").lines().filter(|line| !line.starts_with("-- ")) {
        let reply = a.query(sql).await;
        assert!(!matches!(reply, Reply::Error { .. }), "{sql}: {reply:?}");
    }
    assert_eq!(a.value("SELECT GET_LOCK('x', 0)").await, some("1"));
}

#[tokio::test]
async fn text_uses_the_client_charset() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    assert!(matches!(a.query("SET NAMES latin1").await, Reply::Ok { .. }));
    a.send(0, b"\x03SELECT GET_LOCK('\xe9t\xe9', 0), '\xe9'").await;
    assert_eq!(a.packet().await.unwrap(), [2]);
    let columns = a.columns(2).await;
    assert_eq!((columns[1].charset, columns[1].length), (8, 1));
    assert_eq!(a.packet().await.unwrap(), b"\x011\x01\xe9");
    assert_eq!(a.packet().await.unwrap()[0], 0xFE);
    assert_eq!(b.value("SELECT IS_USED_LOCK('ÉTÉ')").await, some("1"));
}

#[tokio::test]
async fn shutdown_ends_waits_and_drains_holders() {
    let mut server = TestServer::start();
    let (mut holder, mut waiter) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    let mut idle = MySql::connect(server.mysql).await;
    assert_eq!(holder.value("SELECT GET_LOCK('x', 0)").await, some("1"));
    waiter.start("SELECT GET_LOCK('x', 600)").await;
    server.until_waiting(1).await;
    server.stop();
    assert_eq!(waiter.reply().await.code(), 1053);
    assert_eq!(idle.packet().await, None);
    assert_eq!(holder.query("SELECT GET_LOCK('y', 0)").await.code(), 1053);
    assert_eq!(holder.value("SELECT RELEASE_LOCK('x')").await, some("1"));
    assert_eq!(holder.packet().await, None);
    drop((holder, waiter, idle));
    server.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn slow_or_silent_login_ends_after_ten_seconds() {
    let server = TestServer::start();
    let mut silent = TcpStream::connect(server.mysql).await.unwrap();
    let start = tokio::time::Instant::now();
    let mut greeting = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut greeting).await.unwrap();
    assert!(greeting.len() > 50, "it was greeted");
    assert_eq!(start.elapsed().as_secs(), 10);
}
