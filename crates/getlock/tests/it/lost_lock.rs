//! The lock is lost while its command runs.

use std::fs;

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    runtime::Runtime,
    time::timeout,
};

use crate::{PATIENCE, Running, TestServer};

pub(crate) const HEEDS: &str = "trap 'echo told; exit 3' TERM; echo started; while :; do sleep 0.01; done";
pub(crate) const DEAF: &str = "trap 'echo told' TERM; echo started; while :; do sleep 0.01; done";
#[tokio::test]
async fn lost_lock_terminates_the_command() {
    // A runtime of its own: where it ends, the server's sockets are closed without a word, as when its process is killed.
    let machine = Runtime::new().unwrap();
    let server = machine.spawn(async { TestServer::start() }).await.unwrap();
    let mut running = Running::start(server.addr, &["x", "-c", HEEDS]).await;
    machine.shutdown_background();
    assert_eq!(running.line().await, "told");
    let (code, err) = running.end().await;
    assert!(code == 75 && err.contains("the lock is lost, and the command is told to end"), "{code}, {err}");
}

#[tokio::test]
async fn lost_lock_kills_a_command_that_ignores_sigterm() {
    let server = TestServer::start();
    let mut running = Running::start(server.addr, &["--kill-after", "50ms", "x", "-c", DEAF]).await;
    let mut killer = server.client().await;
    assert_eq!(killer.ask("KILL 1").await, "1");
    assert_eq!(running.line().await, "told");
    let (code, err) = running.end().await;
    assert!(code == 75 && err.contains("killed by session 2;") && err.contains("SIGKILL"), "{err}");
}

#[tokio::test]
async fn lost_lock_keeps_the_command_on_request() {
    let server = TestServer::start();
    let script = "echo started; while ! [ -e $0.end ]; do sleep 0.01; done; echo done; exit 4";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it").display().to_string();
    let mut running =
        Running::start(server.addr, &["--keep-running", "x", "--", "sh", "-c", script, &file]).await;
    let mut killer = server.client().await;
    assert_eq!(killer.ask("KILL 1").await, "1");
    let mut told = String::new();
    let mut err = BufReader::new(running.group.child.stderr.take().unwrap());
    timeout(PATIENCE, err.read_line(&mut told)).await.expect("a line in time").unwrap();
    assert!(told.contains("runs on without it (--keep-running)"), "{told}");
    fs::write(format!("{file}.end"), "").unwrap();
    assert_eq!(running.line().await, "done");
    assert_eq!(running.group.child.wait().await.unwrap().code(), Some(4));
}
