//! Runs what docs/leader-election.md shows: in each language that is installed, with the packages of `clients`.

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{
    common::{PATIENCE, TestServer},
    docs::is_installed,
    markdown::{blocks, read, root},
};

const PAGE: &str = "docs/leader-election.md";

/// A block of the page as a program that uses the package of its language.
struct Snippet {
    folder: tempfile::TempDir,
}

impl Snippet {
    fn new(kind: &str, number: usize, file: &str, server: &TestServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = blocks(&read(PAGE), kind)[number].1.join("\n");
        let text = text.replace("3305", &server.addr.port().to_string());
        fs::write(folder.path().join(file), text).unwrap();
        Self { folder }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env("PYTHONPATH", root().join("clients/python/src"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn python(number: usize, server: &TestServer) -> (Snippet, Command) {
    let snippet = Snippet::new("python", number, "leader.py", server);
    let mut command = snippet.command("python3");
    command.arg("leader.py");
    (snippet, command)
}

fn javascript(server: &TestServer) -> (Snippet, Command) {
    let snippet = Snippet::new("javascript", 0, "leader.js", server);
    fs::create_dir(snippet.path().join("node_modules")).unwrap();
    symlink(root().join("clients/node"), snippet.path().join("node_modules/getlock")).unwrap();
    let mut command = snippet.command("node");
    command.arg("leader.js");
    (snippet, command)
}

/// Cancel-safe.
async fn go(server: &TestServer) -> (Snippet, Command) {
    let snippet = Snippet::new("go", 0, "main.go", server);
    let client = root().join("clients/go");
    let module = format!(
        "module leader\n\ngo 1.19\n\nrequire getlock v0.0.0\n\nreplace getlock => {}\n",
        client.display()
    );
    fs::write(snippet.path().join("go.mod"), module).unwrap();
    let mut build = snippet.command("go");
    build.args(["build", "-o", "leader", "."]);
    for (key, value) in
        [("GOPROXY", "off"), ("GOFLAGS", "-mod=mod"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]
    {
        build.env(key, value);
    }
    assert!(build.status().await.unwrap().success());
    let command = snippet.command(snippet.path().join("leader"));
    (snippet, command)
}

/// A process that tells of its terms.
struct Candidate {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Candidate {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The number of the next term. Cancel-safe.
    async fn term(&mut self) -> u64 {
        let line = timeout(2 * PATIENCE, self.lines.next_line()).await.expect("a term in time").unwrap();
        let line = line.expect("a term, not the end");
        line.strip_prefix("leading in term ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
    }
}

/// The leader is killed twice: the other one leads, and then the first one again.
///
/// Not cancel-safe.
async fn lead_in_turns(server: &TestServer, first: Command, second: Command) {
    let mut eye = server.client().await;
    let mut first = Candidate::start(first);
    let mut terms = vec![first.term().await];
    let mut second = Candidate::start(second);
    for next in [&mut second, &mut first] {
        server.until_waiting(1).await;
        let leader = eye.ask("IS_USED_LOCK scheduler").await;
        assert_eq!(eye.ask(&format!("KILL {leader}")).await, "1");
        terms.push(next.term().await);
    }
    assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
}

#[tokio::test]
async fn python_leads_again_after_a_kill() {
    if is_installed("python3") {
        let server = TestServer::start();
        let ((_threads, first), (_tasks, second)) = (python(0, &server), python(1, &server));
        lead_in_turns(&server, first, second).await;
    }
}

#[tokio::test]
async fn javascript_leads_again_after_a_kill() {
    if is_installed("node") {
        let server = TestServer::start();
        let ((_one, first), (_other, second)) = (javascript(&server), javascript(&server));
        lead_in_turns(&server, first, second).await;
    }
}

#[tokio::test]
async fn go_leads_again_after_a_kill() {
    if is_installed("go") {
        let server = TestServer::start();
        let ((_one, first), (_other, second)) = (go(&server).await, go(&server).await);
        lead_in_turns(&server, first, second).await;
    }
}

#[tokio::test]
async fn write_of_a_former_leader_is_refused() {
    if is_installed("python3") {
        let server = TestServer::start();
        let (_snippet, mut command) = python(2, &server);
        let output = command.output().await.unwrap();
        let shown = blocks(&read(PAGE), "text").remove(0).1.join("\n");
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), shown);
    }
}
