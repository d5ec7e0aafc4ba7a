//! GET_LOCKS, GET_SHARED_LOCKS, RELEASE_LOCKS and GET_PERMIT on the MySQL wire.

use crate::common::{
    TestServer,
    mysql::{Column, DEPRECATE_EOF, MySql, Reply},
};

async fn is(client: &mut MySql, sql: &str, value: &str) {
    assert_eq!(client.value(sql).await.as_deref(), Some(value), "{sql}");
}

async fn is_error(client: &mut MySql, sql: &str, code: u16, state: &str, text: &str) {
    let error = Reply::Error { code, state: state.to_owned(), text: text.to_owned() };
    assert_eq!(client.query(sql).await, error, "{sql}");
}

/// The rows of SHOW WARNINGS, with bars between their columns.
async fn warnings(client: &mut MySql) -> Vec<String> {
    let Reply::Rows { rows, .. } = client.query("SHOW WARNINGS").await else { panic!() };
    rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" | ")).collect()
}

#[tokio::test]
async fn column_types_equal_get_lock_and_release_all_locks() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (call, length, flags) in [
        ("GET_LOCKS('a', 'b', 0)", 1, 128),
        ("GET_SHARED_LOCKS('a', 0)", 1, 128),
        ("GET_PERMIT('p', 2, 0)", 1, 128),
        ("RELEASE_LOCKS('p')", 21, 161),
    ] {
        let Reply::Rows { columns, .. } = client.query(&format!("SELECT {call}")).await else { panic!() };
        let column = Column { name: call.to_owned(), kind: 8, length, flags, charset: 63, decimals: 0 };
        assert_eq!(columns, [column]);
    }
}

#[tokio::test]
async fn wrong_names_are_errors_as_of_get_lock() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let wrong = |name: &str| {
        format!(
            "Incorrect user-level lock name '{name}'. The name is empty, NULL, or can not be expressed in the current \
             character-set."
        )
    };
    let long = "n".repeat(65);
    for call in [
        "GET_LOCKS('a', {}, 0)",
        "GET_SHARED_LOCKS({}, 'a', 0)",
        "GET_PERMIT({}, 2, 0)",
        "RELEASE_LOCKS('a', {})",
    ] {
        let of = |name: &str| format!("SELECT {}", call.replace("{}", name));
        is_error(&mut client, &of("''"), 3057, "42000", &wrong("")).await;
        is_error(&mut client, &of("NULL"), 3057, "42000", &wrong("NULL")).await;
        let too_long = format!("User-level lock name '{long}' should not exceed 64 characters.");
        is_error(&mut client, &of(&format!("'{long}'")), 4163, "42000", &too_long).await;
    }
    is(&mut client, "SELECT COUNT(*) FROM getlockd.locks", "0").await;
    for (call, name) in [
        ("GET_LOCKS('a')", "GET_LOCKS"),
        ("GET_LOCKS()", "GET_LOCKS"),
        ("GET_SHARED_LOCKS(0)", "GET_SHARED_LOCKS"),
        ("RELEASE_LOCKS()", "RELEASE_LOCKS"),
        ("GET_PERMIT('a', 2)", "GET_PERMIT"),
        ("GET_PERMIT('a', 2, 0, 0)", "GET_PERMIT"),
    ] {
        let text = format!("Incorrect parameter count in the call to native function '{name}'");
        is_error(&mut client, &format!("SELECT {call}"), 1582, "42000", &text).await;
    }
}

#[tokio::test]
async fn timeouts_are_read_as_by_get_lock() {
    let server = TestServer::start();
    let (mut holder, mut client) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    is(&mut holder, "SELECT GET_LOCKS('a', 'b', NULL)", "1").await;
    for timeout in ["NULL", "0", "'0'", "0.01", "'0.01 s'"] {
        is(&mut client, &format!("SELECT GET_LOCKS('b', {timeout})"), "0").await;
        is(&mut client, &format!("SELECT GET_SHARED_LOCKS('b', 'c', {timeout})"), "0").await;
    }
    let noted = [
        "Warning | 1292 | Truncated incorrect INTEGER value: '0.01 s'",
        "Note | 1205 | The lock b was in the way",
    ];
    assert_eq!(warnings(&mut client).await, noted);
}

#[tokio::test]
async fn note_names_the_first_lock_in_the_way() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    is(&mut a, "SELECT GET_LOCKS('x', 'two words', 0)", "1").await;
    for (names, in_the_way) in [("'free', 'x', 'two words'", "x"), ("'two words', 'X'", "'two words'")] {
        let reply = b.query(&format!("SELECT GET_LOCKS({names}, 0)")).await;
        assert!(matches!(reply, Reply::Rows { warnings: 1, .. }), "{reply:?}");
        let note = format!("Note | 1205 | The lock {in_the_way} was in the way");
        assert_eq!(warnings(&mut b).await, [note]);
    }
    is(&mut b, "SELECT IS_FREE_LOCK('free')", "1").await;
    is(&mut b, "SELECT GET_LOCKS('free', 0)", "1").await;
    assert_eq!(warnings(&mut b).await, Vec::<String>::new());
}

#[tokio::test]
async fn locks_held_already_are_taken_once_more() {
    let server = TestServer::start();
    let (mut a, mut line) = (MySql::connect(server.mysql).await, server.client().await);
    is(&mut a, "SELECT GET_LOCK('a', 0) + GET_LOCKS('a', 'b', 0)", "2").await;
    is(&mut a, "SELECT RELEASE_LOCKS('a', 'b', 'c')", "2").await;
    assert_eq!(line.ask("IS_FREE_LOCK b").await, "1");
    assert_eq!(line.ask("IS_FREE_LOCK a").await, "0");
    is(&mut a, "SELECT RELEASE_LOCKS('a')", "1").await;
    is(&mut a, "SELECT RELEASE_LOCKS('a')", "0").await;
}

#[tokio::test]
async fn wrong_limits_are_error_1411() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (limit, shown) in [
        ("0", "0"),
        ("-1", "-1"),
        ("65536", "65536"),
        ("1.5", "1.5"),
        ("NULL", "NULL"),
        ("'3 of them'", "3 of them"),
        ("''", ""),
    ] {
        let text = format!("Incorrect limit value: '{shown}' for function get_permit");
        is_error(&mut client, &format!("SELECT GET_PERMIT('p', {limit}, 0)"), 1411, "HY000", &text).await;
    }
    for (name, limit) in [("a", "1"), ("b", "65535"), ("c", "'65535'"), ("d", "1 + 1")] {
        is(&mut client, &format!("SELECT GET_PERMIT('{name}', {limit}, 0)"), "1").await;
    }
}

#[tokio::test]
async fn without_reentry_a_held_lock_among_several_is_0() {
    let server = TestServer::start();
    let mut pooled = MySql::connect_with(server.mysql, DEPRECATE_EOF, "no_reentry").await;
    is(&mut pooled, "SELECT GET_LOCKS('a', 'b', 60)", "1").await;
    for call in ["GET_LOCKS('c', 'b', -1)", "GET_SHARED_LOCKS('b', 60)", "GET_PERMIT('b', 2, 60)"] {
        is(&mut pooled, &format!("SELECT {call}"), "0").await;
        let warnings = warnings(&mut pooled).await;
        assert!(
            warnings[0].starts_with("Warning | 3572 | This session already holds the lock b "),
            "{warnings:?}"
        );
    }
    is(&mut pooled, "SELECT IS_FREE_LOCK('c')", "1").await;
    // MySQL's Locking Service takes a lock as often as it is asked to.
    let take = "SELECT service_get_write_locks('ns', 'a', 0) + service_get_write_locks('ns', 'a', 0)";
    is(&mut pooled, take, "2").await;
}

#[tokio::test]
async fn wait_for_several_locks_holds_none_and_keeps_its_place() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    let mut c = MySql::connect(server.mysql).await;
    is(&mut a, "SELECT GET_LOCK('b', 0)", "1").await;
    b.start("SELECT GET_LOCKS('a', 'b', 60)").await;
    server.until_waiting(1).await;
    is(&mut c, "SELECT IS_FREE_LOCK('a')", "1").await;
    is(&mut c, "SELECT GET_LOCK('a', 0)", "0").await;
    is(&mut c, "SELECT waits_for FROM getlockd.sessions WHERE session = 2", "b").await;
    is(&mut a, "SELECT RELEASE_LOCK('b')", "1").await;
    assert_eq!(b.reply().await.value().as_deref(), Some("1"));
    is(&mut c, "SELECT COUNT(*) FROM getlockd.locks WHERE session = 2", "2").await;
    is(&mut b, "SELECT FENCING_TOKEN('a') = FENCING_TOKEN('b')", "1").await;
}

#[tokio::test]
async fn deadlock_among_several_locks_is_error_3058() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    is(&mut a, "SELECT GET_LOCK('a', 0)", "1").await;
    is(&mut b, "SELECT GET_LOCK('b', 0)", "1").await;
    a.start("SELECT GET_LOCKS('b', 'c', 60)").await;
    server.until_waiting(1).await;
    assert_eq!(b.query("SELECT GET_LOCKS('c', 'a', 60)").await.code(), 3058);
    let told = warnings(&mut b).await;
    assert!(told[1].starts_with("Note | 3058 | deadlock: session 2 waits for a (held by 1)"), "{told:?}");
    is(&mut b, "SELECT RELEASE_LOCKS('b')", "1").await;
    assert_eq!(a.reply().await.value().as_deref(), Some("1"));
}

#[tokio::test]
async fn other_limit_is_error_1210_which_names_it() {
    let server = TestServer::start();
    let (mut a, mut b) = (MySql::connect(server.mysql).await, MySql::connect(server.mysql).await);
    is(&mut a, "SELECT GET_PERMIT('p', 2, 0)", "1").await;
    let text =
        "p has a limit of 2 permits now; ask for a permit with that limit, or try again when nobody holds it";
    for call in ["GET_PERMIT('p', 3, 0)", "GET_SHARED_LOCK('P', 60)", "GET_SHARED_LOCKS('q', 'p', 60)"] {
        is_error(&mut b, &format!("SELECT {call}"), 1210, "HY000", text).await;
    }
    is(&mut b, "SELECT GET_PERMIT('p', 2, 0)", "1").await;
    let mut c = MySql::connect(server.mysql).await;
    is(&mut c, "SELECT GET_PERMIT('p', 2, 0)", "0").await;
    c.start("SELECT GET_LOCK('p', 60)").await;
    server.until_waiting(1).await;
    is(&mut a, "SELECT mode FROM getlockd.waiters WHERE name = 'p' AND `limit` IS NULL", "exclusive").await;
    is(&mut a, "SELECT RELEASE_LOCK('p')", "1").await;
    is(&mut b, "SELECT RELEASE_LOCK('p')", "1").await;
    assert_eq!(c.reply().await.value().as_deref(), Some("1"));
}
