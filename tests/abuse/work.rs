//! Work: what one statement may do, and that others have their turn.

use crate::{
    Neighbour,
    attacked::Attacked,
    common::{
        TestServer,
        mysql::{DEPRECATE_EOF, MULTI_STATEMENTS, MySql, Reply},
    },
};

/// Looks at 64 kB for each of 250 characters.
fn slow_like() -> String {
    format!("@v LIKE '%{}b'", "a".repeat(250))
}

#[tokio::test]
async fn a_statement_does_not_go_on_for_ever() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let mut a = MySql::connect_with(server.at.mysql, DEPRECATE_EOF | MULTI_STATEMENTS, "").await;
    assert_eq!(a.value("SELECT GET_LOCK('mine', 0)").await.as_deref(), Some("1"));
    assert!(matches!(a.query("SET @v = REPEAT('a', 65536)").await, Reply::Ok { .. }));
    let all_of = |what: &str, count| vec![what; count].join(",");
    for (attack, statement, code) in [
        ("one LIKE", format!("DO {}", slow_like()), 1235),
        ("48 LIKE", format!("DO {}", vec![slow_like(); 48].join(" OR ")), 1235),
        ("IN of long texts", format!("DO @v IN ({})", all_of("@v || 1", 90)), 1235),
        ("GREATEST of long texts", format!("DO GREATEST({})", all_of("@v", 200)), 1226),
        ("SHA2 of megabytes", format!("DO CONCAT({})", all_of("SHA2(REPEAT('x',1000000),512)", 120)), 1235),
        ("a list of long texts", format!("SELECT {}", all_of("@v", 900)), 1226),
        ("words without an end", format!("DO {}", "a ".repeat(100_000)), 1235),
    ] {
        let statement = statement.replace("@v || 1", "CONCAT(@v, 1)");
        let reply = a.query(&statement).await;
        assert_eq!(server.told(attack, &reply), code, "{attack}");
        neighbour.is_well().await;
    }
    // A batch ends at the first of them.
    a.start(&vec![format!("DO {}", slow_like()); 5].join(";")).await;
    assert_eq!(a.reply().await.code(), 1235);
    assert_eq!(a.value("SELECT IS_USED_LOCK('mine') = CONNECTION_ID()").await.as_deref(), Some("1"));
    // What people do is far below: a pattern on a list, a digest for a name.
    assert_eq!(a.value("SELECT GET_LOCK(SHA2('a name', 256), 0)").await.as_deref(), Some("1"));
    assert_eq!(a.value("SELECT @v LIKE '%a%a%a'").await.as_deref(), Some("1"));
    assert_eq!(a.value("SELECT LENGTH(CONCAT(@v, @v))").await.as_deref(), Some("131072"));
}

#[tokio::test]
async fn what_is_evaluated_again_for_each_lock_does_not_add_up() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let locks: Vec<_> = (0..200).map(|at| format!("GET_LOCK('{at:0>60}', 0)")).collect();
    let statement = format!("SELECT LENGTH(CONCAT({}))", locks.join(","));
    assert_eq!(a.value(&statement).await.as_deref(), Some("200"));
    assert_eq!(a.value("SELECT RELEASE_ALL_LOCKS()").await.as_deref(), Some("200"));
}
