//! `mysql`, `mariadb`, `mycli`, `mysqladmin` and their kin, as a person or a script uses them.

use std::pin::pin;

use tokio::io::AsyncWriteExt;

use super::tool::{address, ask, end, start};
use crate::common::TestServer;

const WAIT: &str =
    "SELECT GET_LOCK('nightly', 60) AS granted, IS_USED_LOCK('nightly') = CONNECTION_ID() AS mine";

/// Runs a command line that waits for a lock, and hands it the lock. What it wrote, or None where it is not installed.
async fn waits(program: &str, more: &[&str]) -> Option<String> {
    let server = TestServer::start();
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let home = tempfile::tempdir().unwrap();
    let address = address(&server);
    let args: Vec<&str> =
        address.iter().map(String::as_str).chain(more.iter().copied()).chain(["-e", WAIT]).collect();
    let mut ended = pin!(end(start(program, &args, home.path())?));
    tokio::select! {
        (_, said) = &mut ended => panic!("{program} {more:?} did not wait: {said}"),
        () = server.until_waiting(1) => {}
    }
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    let (well, said) = ended.await;
    server.until(|stats| stats.table.locks == 0).await;
    assert!(well, "{program} {more:?}: {said}");
    Some(said)
}

#[tokio::test]
async fn mysql_and_mariadb() {
    let options: [&[&str]; 9] = [
        &[],
        &["--safe-updates"],
        &["--i-am-a-dummy", "--database=test"],
        &["--batch"],
        &["--default-character-set=utf8mb3"],
        &["--default-character-set=latin1"],
        &["--compress"],
        &["--init-command=SET SESSION wait_timeout=100, sql_mode='ANSI'"],
        &["--no-auto-rehash", "--reconnect", "--force"],
    ];
    for program in ["mysql", "mariadb"] {
        for more in options {
            let Some(said) = waits(program, more).await else { return };
            assert!(said.ends_with("granted\tmine\n1\t1\n"), "{program} {more:?}: {said}");
        }
    }
}

#[tokio::test]
async fn mycli() {
    let Some(said) = waits("mycli", &[]).await else { return };
    assert!(said.ends_with("granted\tmine\n1\t1\n"), "{said}");
    let Some(said) = waits("mycli", &["--table"]).await else { return };
    assert!(said.contains("| 1       | 1    |"), "{said}");
}

/// At a terminal, where the client asks for names to complete and prints tables.
#[tokio::test]
async fn mysql_at_a_terminal() {
    let server = TestServer::start();
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let home = tempfile::tempdir().unwrap();
    let shell = format!("mysql --safe-updates {}", address(&server).join(" "));
    let Some(mut group) =
        start("script", &["--quiet", "--return", "--command", &shell, "/dev/null"], home.path())
    else {
        return;
    };
    let mut keys = group.child.stdin.take().unwrap();
    let mut ended = pin!(end(group));
    keys.write_all(b"SELECT GET_LOCK('nightly', 60) AS granted;\n").await.unwrap();
    tokio::select! {
        (_, said) = &mut ended => panic!("it did not wait: {said}"),
        () = server.until_waiting(1) => {}
    }
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    keys.write_all(b"use test\nstatus\nSELECT RELEASE_LOCK('nightly') AS released;\nexit\n").await.unwrap();
    let (well, said) = ended.await;
    assert!(well, "{said}");
    for part in ["granted |", "Database changed", "Current database:\ttest", "8.4.0-getlockd", "released |"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

#[tokio::test]
async fn mysqladmin_lists_and_kills_sessions() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let commands: [(&[&str], &str); 8] = [
        (&["ping"], "mysqld is alive"),
        (&["status"], "Uptime: "),
        (&["processlist"], "| User lock "),
        (&["--verbose", "processlist"], "| GET_LOCK"),
        (&["extended-status"], "| Getlockd_waiters"),
        (&["variables"], "| max_connections"),
        (&["version"], "8.4.0-getlockd"),
        (&["kill", "1"], ""),
    ];
    for (command, wanted) in commands {
        let Some((well, said)) = ask("mysqladmin", &server, command).await else { return };
        assert!(well && said.contains(wanted), "{command:?}: {said}");
    }
    assert_eq!(waiter.line().await, "1");
}

#[tokio::test]
async fn other_mysql_tools() {
    let server = TestServer::start();
    let load = "SELECT GET_LOCK('nightly', 60); SELECT RELEASE_LOCK('nightly')";
    let commands: [(&str, &[&str], &str); 4] = [
        ("mysqlshow", &[], "information_schema"),
        ("mysqlshow", &["test"], "Database: test"),
        ("mysqlcheck", &["--all-databases"], ""),
        (
            "mysqlslap",
            &["--query", load, "--delimiter=;", "--concurrency=4", "--iterations=3"],
            "clients running queries: 4",
        ),
    ];
    for (program, more, wanted) in commands {
        let Some((well, said)) = ask(program, &server, more).await else { return };
        assert!(well && said.contains(wanted), "{program} {more:?}: {said}");
    }
    server.until(|stats| stats.table.locks == 0).await;
}
