//! The switch for pools on the MySQL wire: a session that asks for it takes no lock twice.

use crate::common::{
    TestServer, mysql,
    mysql::{DEPRECATE_EOF, Hello, MySql, Reply},
};

const TAKE: &str = "SELECT GET_LOCK('nightly', 60)";
const WARNING: &str = "This session already holds the lock nightly and may not take it again (database no_reentry, or \
                       getlockd_reentry = OFF); an earlier borrower of this pooled connection may hold it: take the \
                       lock on another connection";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn is_ok(client: &mut MySql, sql: &str) {
    let reply = client.query(sql).await;
    assert!(matches!(reply, Reply::Ok { .. }), "{sql}: {reply:?}");
}

/// What somebody gets who borrows this connection, and with how many warnings.
async fn borrow(client: &mut MySql, take: &str) -> (String, u16) {
    let reply = client.query(take).await;
    let Reply::Rows { ref warnings, .. } = reply else { panic!("{reply:?}") };
    (reply.value().unwrap(), *warnings)
}

fn got(number: &str, warnings: u16) -> (String, u16) {
    (number.to_owned(), warnings)
}

#[tokio::test]
async fn second_borrower_gets_0_and_a_warning() {
    let server = TestServer::start();
    let mut pooled = MySql::connect_with(server.mysql, DEPRECATE_EOF, "no_reentry").await;
    assert_eq!(borrow(&mut pooled, TAKE).await, got("1", 0));
    assert_eq!(borrow(&mut pooled, TAKE).await, got("0", 1));
    // A list of warnings counts none itself: a driver that lists what is counted would ask without an end.
    let told = [[some("Warning"), some("3572"), some(WARNING)]];
    for _ in 0..2 {
        let Reply::Rows { rows, warnings, .. } = pooled.query("SHOW WARNINGS").await else { panic!() };
        assert_eq!((rows, warnings), (told.clone().map(Vec::from).to_vec(), 0));
    }
    assert_eq!(borrow(&mut pooled, "SELECT @@warning_count").await, got("1", 0));
    assert_eq!(borrow(&mut pooled, "SHOW COUNT(*) WARNINGS").await, got("1", 0));
    assert_eq!(borrow(&mut pooled, "SELECT GET_SHARED_LOCK('nightly', -1)").await, got("0", 1));
    assert_eq!(
        borrow(&mut pooled, "SELECT GET_LOCK('weekly', 0) + GET_LOCK('weekly', 0)").await,
        got("1", 1)
    );
    // One release frees it: it was not taken twice.
    assert_eq!(pooled.value("SELECT RELEASE_LOCK('nightly')").await, some("1"));
    assert_eq!(server.client().await.ask("IS_FREE_LOCK nightly").await, "1");
    assert_eq!(borrow(&mut pooled, TAKE).await, got("1", 0));
}

#[tokio::test]
async fn reentry_is_allowed_by_default() {
    let server = TestServer::start();
    let mut plain = MySql::connect_with(server.mysql, DEPRECATE_EOF, "app").await;
    assert_eq!((borrow(&mut plain, TAKE).await, borrow(&mut plain, TAKE).await), (got("1", 0), got("1", 0)));
    assert_eq!(plain.value("SELECT RELEASE_ALL_LOCKS()").await, some("2"));
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    // Another's lock is waited for, and that is no re-entry.
    is_ok(&mut plain, "SET getlockd_reentry = OFF").await;
    assert_eq!(borrow(&mut plain, "SELECT GET_LOCK('nightly', 0)").await, got("0", 0));
}

#[tokio::test]
async fn upgrade_is_allowed_and_weaker_mode_is_reentry() {
    let server = TestServer::start();
    let mut pooled = MySql::connect_with(server.mysql, DEPRECATE_EOF, "no_reentry").await;
    assert_eq!(borrow(&mut pooled, "SELECT GET_SHARED_LOCK('nightly', 0)").await, got("1", 0));
    assert_eq!(borrow(&mut pooled, "SELECT GET_SHARED_LOCK('nightly', 0)").await, got("0", 1));
    assert_eq!(borrow(&mut pooled, TAKE).await, got("1", 0));
    assert_eq!(borrow(&mut pooled, "SELECT GET_SHARED_LOCK('nightly', 0)").await, got("0", 1));
}

#[tokio::test]
async fn enabled_by_database_or_variable_and_kept_on_reset() {
    let server = TestServer::start();
    let mut client = MySql::log_in(server.mysql, Hello::default()).await.unwrap();
    for (ask, again) in [
        ("USE no_reentry", "0"),
        ("SET SESSION getlockd_reentry = OFF", "0"),
        ("USE app", "0"),
        ("SET @@session.getlockd_reentry = DEFAULT", "1"),
        ("SET getlockd_reentry = 0", "0"),
        ("SET getlockd_reentry = ON", "1"),
        ("USE no_reentry", "0"),
        ("SET getlockd_reentry = ON", "0"),
        ("USE app", "1"),
    ] {
        is_ok(&mut client, ask).await;
        assert_eq!(borrow(&mut client, TAKE).await.0, "1", "{ask}");
        assert_eq!(borrow(&mut client, TAKE).await.0, again, "{ask}");
        client.value("SELECT RELEASE_ALL_LOCKS()").await;
    }
    assert_eq!(client.query("SET getlockd_reentry = 'perhaps'").await.code(), 1231);

    // COM_INIT_DB, then COM_RESET_CONNECTION, as pools do it.
    assert!(matches!(client.command(b"\x02no_reentry").await, Reply::Ok { .. }));
    for _ in 0..2 {
        assert_eq!(borrow(&mut client, TAKE).await, got("1", 0));
        assert_eq!(borrow(&mut client, TAKE).await, got("0", 1));
        assert!(matches!(client.command(b"\x1f").await, Reply::Ok { .. }));
    }
    is_ok(&mut client, "USE app").await;
    is_ok(&mut client, "SET getlockd_reentry = OFF").await;
    assert!(matches!(client.command(b"\x1f").await, Reply::Ok { .. }));
    assert_eq!(client.value("SELECT @@getlockd_reentry").await, some("0"));
    assert_eq!(
        (borrow(&mut client, TAKE).await.0, borrow(&mut client, TAKE).await.0),
        ("1".into(), "0".into())
    );

    // Somebody else has not asked for it, unless they do.
    let database = |database| Hello { database, ..Hello::default() };
    client.become_again(database(b"app")).await.unwrap();
    assert_eq!(client.value("SELECT @@getlockd_reentry").await, some("1"));
    assert_eq!(
        (borrow(&mut client, TAKE).await.0, borrow(&mut client, TAKE).await.0),
        ("1".into(), "1".into())
    );
    client.become_again(database(b"no_reentry")).await.unwrap();
    assert_eq!(
        (borrow(&mut client, TAKE).await.0, borrow(&mut client, TAKE).await.0),
        ("1".into(), "0".into())
    );
    let Reply::Rows { rows, .. } = client.query("SHOW VARIABLES LIKE 'getlockd%'").await else { panic!() };
    assert_eq!(rows, [[some("getlockd_reentry"), some("OFF")]], "as it acts, by the database");
    client.query("USE No_Reentry").await;
    client.query("SET getlockd_reentry = ON").await;
    assert_eq!(client.value("SELECT @@getlockd_reentry").await, some("0"));
    client.query("USE app").await;
    assert_eq!(client.value("SELECT @@getlockd_reentry").await, some("1"));
}

#[tokio::test]
async fn prepared_and_batched_calls_are_answered_the_same() {
    let server = TestServer::start();
    let mut pooled =
        MySql::connect_with(server.mysql, DEPRECATE_EOF | mysql::MULTI_STATEMENTS, "no_reentry").await;
    pooled.send(0, &[b"\x16", TAKE.as_bytes()].concat()).await;
    let prepared = pooled.packet().await.unwrap();
    pooled.columns(1).await;
    for wanted in [1, 0] {
        pooled.send(0, &[b"\x17", &prepared[1..5], &[0, 1, 0, 0, 0]].concat()).await;
        pooled.packet().await.unwrap();
        pooled.columns(1).await;
        assert_eq!(pooled.packet().await.unwrap()[2], wanted);
        let end = pooled.packet().await.unwrap();
        assert_eq!((end[0], end[5]), (0xFE, 1 - wanted), "the count of warnings");
    }
    pooled.start("SELECT GET_LOCK('a', 0); SELECT GET_LOCK('a', 0); SELECT 2").await;
    for wanted in ["1", "0", "2"] {
        assert_eq!(pooled.reply().await.value(), some(wanted));
    }
}
