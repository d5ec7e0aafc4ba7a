//! Runs what README.md shows, in every language that is installed.
//!
//! With `README_SNIPPETS=all` in the environment a missing interpreter is a failure.
use std::{path::Path, process::Stdio};

use crate::common::{
    TestServer,
    console::{output, shown},
    skip::skip,
};
use tokio::process::Command;

const README: &str = include_str!("../../README.md");

/// What runs a fenced block of this kind: the file's name and the command in front of it.
const LANGUAGES: [(&str, &str, &[&str]); 7] = [
    ("bash", "snippet.sh", &["bash"]),
    ("python", "snippet.py", &["python3"]),
    ("javascript", "snippet.js", &["node"]),
    ("go", "snippet.go", &["go", "run"]),
    ("php", "snippet.php", &["php"]),
    ("ruby", "snippet.rb", &["ruby"]),
    ("perl", "snippet.pl", &["perl"]),
];

fn block(kind: &str) -> &'static str {
    let start =
        README.split_once(&format!("\n```{kind}\n")).unwrap_or_else(|| panic!("no {kind} in README.md")).1;
    start.split_once("\n```").unwrap().0
}

fn all_are_wanted() -> bool {
    std::env::var("README_SNIPPETS").is_ok_and(|which| which == "all")
}

/// Whether a program is there. It must be where everything is to be run.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(found || !all_are_wanted(), "{program} is not installed");
    if !found {
        skip(&format!("a snippet of {program}"), "not installed", ".ci/run installs it");
    }
    found
}

#[tokio::test]
async fn snippets_run_and_take_the_lock() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    for (kind, file, command) in LANGUAGES {
        let snippet = block(kind);
        assert!(snippet.lines().count() <= 8, "{kind} has more than eight lines");
        if !is_installed(command[0]) {
            continue;
        }
        let snippet = snippet.replace("3305", &server.addr.port().to_string());
        let args: Vec<_> = command[1..].iter().copied().chain([file]).collect();
        std::fs::write(folder.path().join(file), &snippet).unwrap();
        assert_eq!(output(command[0], &args, folder.path()).await, "working\n", "{kind}");

        // The same, while somebody else holds the lock.
        server.until(|stats| stats.table.locks == 0).await;
        let mut holder = server.client().await;
        assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
        std::fs::write(folder.path().join(file), snippet.replace("nightly 10", "nightly 0")).unwrap();
        assert_eq!(output(command[0], &args, folder.path()).await, "", "{kind}");
    }
}

/// Whether this netcat is OpenBSD's, whose `-N` closes its side at the end of its input.
async fn nc_has_n() -> bool {
    let help = Command::new("nc").arg("-h").output().await.unwrap();
    let has = String::from_utf8_lossy(&help.stderr).contains("-N");
    assert!(has || !all_are_wanted(), "nc is not OpenBSD's");
    has
}

#[tokio::test]
async fn console_session_replays() {
    let server = TestServer::start();
    if !is_installed("nc") || !nc_has_n().await {
        return;
    }
    assert_eq!(shown(README, &server, "nc", Path::new(".")).await, "");
}

#[tokio::test]
async fn curl_session_replays() {
    let server = TestServer::start();
    if is_installed("curl") {
        assert_eq!(shown(README, &server, "curl", Path::new(".")).await, "");
    }
}

#[tokio::test]
async fn killed_netcat_frees_its_lock() {
    let server = TestServer::start();
    if !is_installed("nc") {
        return;
    }
    let mut nc = Command::new("nc");
    nc.args(["127.0.0.1", &server.addr.port().to_string()]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut nc = nc.kill_on_drop(true).spawn().unwrap();
    let mut typed = nc.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut typed, b"GET_LOCK x 0\n").await.unwrap();
    server.until(|stats| stats.table.locks == 1).await;
    let mut waiter = server.client().await;
    waiter.send("GET_LOCK x 60").await;
    server.until_waiting(1).await;
    nc.kill().await.unwrap();
    assert_eq!(waiter.line().await, "1");
}

#[test]
fn flags_are_in_the_table() {
    use clap::CommandFactory;
    for arg in getlockd::config::Cli::command().get_arguments().filter_map(clap::Arg::get_long) {
        assert!(matches!(arg, "help" | "version") || README.contains(&format!("| `--{arg}")), "--{arg}");
    }
}

/// The Dockerfile cannot be built here; what it runs can.
#[tokio::test]
async fn container_commands_exist() {
    let dockerfile = include_str!("../../Dockerfile");
    let health = dockerfile.lines().find(|line| line.starts_with("HEALTHCHECK")).unwrap();
    let words: Vec<_> = health.split_once('[').unwrap().1.split('"').filter(|word| word.len() > 2).collect();
    assert_eq!(words[0], "/usr/local/bin/getlockd");
    let server = TestServer::start();
    let variable = dockerfile.lines().find_map(|line| line.strip_prefix("ENV ")).unwrap();
    let (name, value) = variable.split_once('=').unwrap();
    let mut ping = Command::new(env!("CARGO_BIN_EXE_getlockd"));
    ping.args(&words[1..]).env(name, value.replace("3305", &server.addr.port().to_string()));
    let output = ping.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
