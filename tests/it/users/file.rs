//! The file of users, and how it changes.

use std::fs;

use getlockd::internal::users::{NewEntry, Proof, Users, entry};

use super::{File, line, mysql, user};
use crate::common::mysql::Reply;

#[tokio::test]
async fn reload_changes_permissions_and_keeps_valid_sessions() {
    let file = File::new();
    let server = file.server();
    let (mut stays, mut loses, mut gone) =
        (line(&server, "app1").await, line(&server, "app1").await, line(&server, "app2").await);
    for (client, name) in [(&mut stays, "app1:new:a"), (&mut loses, "app1:old:a"), (&mut gone, "app2:a")] {
        assert_eq!(client.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    let mut waits = line(&server, "app1").await;
    waits.send("GET_LOCK app1:old:a 60").await;
    server.until_waiting(1).await;
    file.write(&[user("app1", &["app1:new:"], &[], false), user("new", &["*"], &[], false)]);
    assert_eq!(server.reload(), Ok(()));
    for client in [&mut loses, &mut gone, &mut waits] {
        assert!(client.line().await.starts_with("ERROR DENIED your access was revoked"));
        assert_eq!(client.next().await, None);
    }
    assert_eq!(stays.ask("GET_LOCK app1:new:a 0").await, "1");
    assert_eq!(stays.ask("GET_LOCK app1:old:a 0").await, "ERROR DENIED your user may not lock app1:old:a");
    let mut new = line(&server, "new").await;
    assert_eq!(new.ask("GET_LOCK app1:old:a 0").await, "1");
    assert_eq!(stays.ask("AUTH app2 'secret of app2'").await.split(' ').nth(1), Some("AUTH"));
    // A file that is broken changes nothing.
    fs::write(file.path(), "[user.app1]\nlock = 5\n").unwrap();
    assert!(server.reload().unwrap_err().contains("users.toml:2"));
    // Nor does one that was truncated.
    file.write(&[]);
    assert!(server.reload().unwrap_err().contains(" contains no users; add one with "));
    assert_eq!(stays.ask("RELEASE_LOCK app1:new:a").await, "1");
    drop(line(&server, "app1").await);
}

/// What is asked for each row of a table, and what SHOW tells, go by the rights of now, too.
#[tokio::test]
async fn reload_changes_what_mysql_statements_may_see() {
    let file = File::new();
    let server = file.server();
    let mut holder = line(&server, "app2").await;
    assert_eq!(holder.ask("GET_LOCK app2:a 0").await, "1");
    let id = holder.id().await.to_string();
    let used = "SELECT IS_USED_LOCK('app2:a') FROM information_schema.character_sets LIMIT 1";
    let mut ops = mysql(&server, "ops").await;
    assert_eq!(ops.value(used).await.unwrap(), id);
    assert!(matches!(ops.query("SHOW ENGINE INNODB STATUS").await, Reply::Rows { .. }));
    file.write(&[user("app2", &["app2:"], &[], false), user("ops", &[], &["shared:"], true)]);
    assert_eq!(server.reload(), Ok(()));
    assert_eq!(ops.query("SHOW ENGINE INNODB STATUS").await.code(), 1227);
    assert_eq!(ops.query(used).await.code(), 1227);
    file.write(&[user("app2", &["app2:"], &[], false), user("ops", &[], &["app2:"], true)]);
    assert_eq!(server.reload(), Ok(()));
    assert_eq!(ops.value(used).await.unwrap(), id);
}

#[test]
fn error_names_the_place_and_hides_verifiers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let secret = "bf7ffba958c798f80e3cf8ebea1cbc781495cadb8880a7f2bbc73d530712b52d";
    for (text, hint) in [
        (format!("[user.a]\npassword = \"{secret}\""), "users.toml:2: unknown field `password`"),
        (format!("[user.a]\npassword-sha256 = \"{secret}\" x"), "users.toml:2: "),
        ("[user.a]".to_owned(), "user a: password-sha256 or token-sha256 is missing"),
        (
            "[user.a]\npassword-sha256 = \"12\"".to_owned(),
            "user a: password-sha256 must be 64 hexadecimal digits",
        ),
        (
            format!("[user.a]\npassword-sha256 = \"{secret}\"\nlock = [\"a*\"]"),
            "remove the *, since a prefix matches all names",
        ),
        (format!("[user.a]\npassword-sha256 = \"{secret}\"\nsee = [\"\"]"), "is not a prefix of lock names"),
        (format!("[user.\"a:b\"]\npassword-sha256 = \"{secret}\""), "a user's name must have"),
        (format!("[usr.a]\npassword-sha256 = \"{secret}\""), "unknown field `usr`"),
        (String::new(), "users.toml contains no users; add one with `getlockd user NAME >> "),
        ("# [user.a]\n".to_owned(), "contains no users"),
    ] {
        fs::write(&path, &text).unwrap();
        let told = Users::load(&path).unwrap_err().to_string();
        assert!(told.contains(hint) && !told.contains(secret) && !told.contains('\n'), "{text}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn written_entry_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let wanted =
        NewEntry { name: "a \"b\"".to_owned(), lock: vec!["Ä'\\".to_owned()], ..NewEntry::default() };
    fs::write(&path, entry(&wanted, "pass wörd".as_bytes(), false).unwrap()).unwrap();
    let users = Users::load(&path).unwrap();
    let from = [127, 0, 0, 1].into();
    let user = users.log_in(from, "a \"b\"", &Proof::Password("pass wörd".as_bytes())).await.unwrap();
    assert!(user.may_lock(&getlockd::name::Name::new("ä'\\x").unwrap()));
    assert!(!users.asks_natively("a \"b\""));
    assert!(users.log_in(from, "a \"b\"", &Proof::Password(b"")).await.is_err());
}
