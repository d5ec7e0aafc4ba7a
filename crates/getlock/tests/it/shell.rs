//! `getlock shell`.

use std::{fs, process::Stdio};

use getlockd::internal::users::{NewEntry, entry};
use tokio::io::AsyncWriteExt;

use crate::{
    common::{PATIENCE, TestServer, group::Group},
    getlock, output,
    tmux::Terminal,
    told,
};

#[tokio::test]
async fn shell_completes_commands_and_held_locks() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK deploy:web 0").await, "1");
    assert_eq!(holder.ask("GET_LOCK 'two words' 0").await, "1");
    let Some(terminal) = Terminal::start(&server, "getlock shell; echo ended $?; cat") else { return };
    terminal.until(|shown| shown.contains("getlock>")).await;
    terminal.text("is_us");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("getlock> IS_USED_LOCK")).await;
    terminal.text("dep");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("getlock> IS_USED_LOCK deploy:web")).await;
    terminal.keys("Enter");
    terminal.until(|shown| shown.contains("\n1\n")).await;
    terminal.text("WHY tw");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("getlock> WHY 'two words'")).await;
    terminal.keys("Enter");
    terminal.until(|shown| shown.contains("WHY name='two words'") && shown.contains("\nEND 1\n")).await;
    // The history of this session.
    terminal.keys("Up");
    terminal.keys("Up");
    terminal.until(|shown| shown.trim_end().ends_with("getlock> IS_USED_LOCK deploy:web")).await;
    // ^C gives up the line, ^D the session.
    terminal.keys("C-c");
    terminal.until(|shown| shown.trim_end().ends_with("\ngetlock>")).await;
    terminal.keys("C-d");
    terminal.until(|shown| shown.contains("ended 0")).await;
}

#[tokio::test]
async fn interrupted_wait_keeps_the_locks_of_the_shell() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK busy 0").await, "1");
    let script = "trap : INT; getlock shell; echo ended $?; cat";
    let Some(terminal) = Terminal::start(&server, script) else { return };
    terminal.until(|shown| shown.contains("getlock>")).await;
    terminal.enter("GET_LOCK mine 0");
    terminal.until(|shown| shown.contains("\n1\n")).await;
    terminal.enter("GET_LOCK busy -1");
    terminal.until(|shown| shown.contains("waiting for busy, 1st of 1; held ")).await;
    terminal.keys("C-c");
    let shown = terminal.until(|shown| shown.contains("ERROR INTERRUPTED")).await;
    assert!(!shown.contains("waiting for busy"), "{shown}");
    assert_ne!(holder.ask("IS_USED_LOCK mine").await, "NULL");
    terminal.until(|shown| shown.trim_end().ends_with("getlock>")).await;
    terminal.enter("QUIT");
    terminal.until(|shown| shown.contains("BYE\nended 0")).await;
    assert_eq!(holder.ask("IS_USED_LOCK mine").await, "NULL");
}

#[tokio::test]
async fn shell_tells_of_a_lost_session_and_connects_again() {
    let server = TestServer::start();
    let mut operator = server.client().await;
    let Some(terminal) = Terminal::start(&server, "getlock shell; cat") else { return };
    let shown = terminal.until(|shown| shown.contains("getlock>")).await;
    let session = shown.split_once("session ").unwrap().1.split_once('.').unwrap().0;
    assert_eq!(operator.ask(&format!("KILL {session}")).await, "1");
    terminal
        .until(|shown| shown.contains("ERROR KILLED") && shown.contains("the locks of this session with it"))
        .await;
    terminal.enter("PING");
    terminal.until(|shown| shown.contains("connected again: session ") && shown.contains("\nPONG\n")).await;
    drop(server);
    terminal.until(|shown| shown.matches("the locks of this session with it").count() == 2).await;
    terminal.enter("PING");
    terminal.until(|shown| shown.contains("cannot connect to 127.0.0.1:")).await;
}

#[tokio::test]
async fn shell_reads_stdin_where_there_is_no_terminal() {
    let server = TestServer::start();
    let mut command = getlock(server.addr, &["shell"]);
    command.stdin(Stdio::piped());
    let mut group = Group::spawn(&mut command);
    let mut stdin = group.child.stdin.take().unwrap();
    stdin.write_all(b"GET_LOCK nightly 0\n\nIS_FREE_LOCK nightly\nNOSUCH\nHELP quit\nPING").await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, group.output()).await.expect("an end in time").unwrap();
    let (code, out, err) = told(&output);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], ["1", "0"], "{out}");
    assert!(lines[2].starts_with("ERROR UNKNOWN_COMMAND") && out.ends_with("\nEND 3\nPONG\n"), "{out}");
}

#[tokio::test]
async fn shell_without_a_login_is_refused_where_there_are_users() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let wanted = NewEntry { name: "app".to_owned(), ..NewEntry::default() };
    fs::write(&users, entry(&wanted, b"sesame", false).unwrap()).unwrap();
    let server = TestServer::with(&["--users", users.to_str().unwrap()]);
    let (code, out, err) = output(getlock(server.addr, &["shell"])).await;
    assert_eq!((code, out.as_str()), (77, ""));
    assert!(err.contains("log in first"), "{err}");
}
