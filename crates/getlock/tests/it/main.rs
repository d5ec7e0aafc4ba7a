//! `getlock`: a lock around a command, and lists.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

mod cluster;
mod command;
#[allow(dead_code, reason = "each of the test binaries uses its part")]
#[path = "../../../../tests/common/mod.rs"]
mod common;
mod completion;
mod documents;
mod introduction;
mod lead;
mod lists;
mod lost_lock;
mod manual;
mod page;
#[cfg(target_os = "linux")]
mod partition;
mod queue;
mod quick_start;
mod server_url;
mod several;
mod shell;
mod terminal;
mod termination;
mod tmux;
mod watch;

use std::process::{Output, Stdio};

use common::{PATIENCE, TestServer, group::Group};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{ChildStdout, Command},
    time::timeout,
};

const GETLOCK: &str = env!("CARGO_BIN_EXE_getlock");

fn getlock(addr: impl std::fmt::Display, args: &[&str]) -> Command {
    let mut command = Command::new(GETLOCK);
    command
        .env_remove("GETLOCK_USER")
        .env_remove("GETLOCK_PASSWORD")
        .env("GETLOCK_HOST", addr.to_string())
        .args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn output(mut command: Command) -> (i32, String, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Group::spawn(&mut command).output();
    told(&timeout(PATIENCE, output).await.expect("an end in time").unwrap())
}

/// Its exit code, and what it wrote.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Runs it and takes its exit code; it is to say nothing.
async fn code(server: &TestServer, args: &[&str]) -> i32 {
    let (code, out, err) = output(getlock(server.addr, args)).await;
    assert_eq!((out.as_str(), err.as_str()), ("", ""), "{args:?}");
    code
}

/// A command that has started, and says so.
struct Running {
    group: Group,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn spawn(addr: impl std::fmt::Display, args: &[&str]) -> Self {
        let mut group = Group::spawn(&mut getlock(addr, args));
        let out = BufReader::new(group.child.stdout.take().unwrap());
        Self { group, out }
    }

    async fn start(addr: impl std::fmt::Display, args: &[&str]) -> Self {
        let mut running = Self::spawn(addr, args);
        assert_eq!(running.line().await, "started");
        running
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.out.read_line(&mut line)).await.expect("a line in time").unwrap();
        line.trim_end().to_owned()
    }

    async fn signal(&self, name: &str) {
        let id = self.group.child.id().unwrap().to_string();
        assert!(
            Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await.unwrap().success()
        );
    }

    /// Its exit code, and what it told on stderr.
    async fn end(mut self) -> (i32, String) {
        let mut err = String::new();
        let told = self.group.child.stderr.as_mut().unwrap().read_to_string(&mut err);
        timeout(PATIENCE, told).await.expect("an end in time").unwrap();
        (self.group.child.wait().await.unwrap().code().unwrap(), err)
    }
}
