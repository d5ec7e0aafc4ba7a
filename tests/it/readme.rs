//! README.md is short, and what it shows works.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    common::{PATIENCE, TestServer, console::shown, grpc::locks, http, mysql::MySql},
    docs::{commands_of, is_installed},
    markdown::{blocks, read, table},
};
use getlockd::internal::grpc::proto::AcquireRequest;

const README: &str = include_str!("../../README.md");

#[test]
fn readme_has_at_most_two_screens() {
    assert!(README.len() <= 9000, "README.md has {} bytes", README.len());
    let first_screen: Vec<_> = README.lines().take(35).collect();
    assert!(first_screen.iter().any(|line| line.contains("no replication")), "what a crash does");
    let bullets = README.split_once("\n## Guarantees and limits\n").unwrap().1.split("\n## ").next().unwrap();
    assert_eq!(bullets.lines().filter(|line| line.starts_with("- **")).count(), 6);
}

#[test]
fn two_commands_set_everything_up() {
    let (_, lines) = blocks(README, "sh").remove(0);
    assert_eq!(
        lines,
        ["cargo run --release", "cargo install --locked --path crates/getlock --root /usr/local"]
    );
    assert!(read("Cargo.toml").contains("\ndefault-run = \"getlockd\"\n"), "what the first one runs");
    assert!(
        read("crates/getlock/Cargo.toml").contains("\nname = \"getlock\"\n"),
        "what the second one installs"
    );
    let crontab = blocks(README, "crontab").remove(0).1;
    let path = crontab.iter().find_map(|line| line.strip_prefix("PATH=")).unwrap();
    assert!(path.split(':').any(|folder| folder == "/usr/local/bin"), "cron finds it there");
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

    let run = commands_of(README).into_iter().find(|words| words.join(" ").starts_with("docker run"));
    for published in run.unwrap().iter().filter_map(|word| word.strip_prefix("127.0.0.1:")) {
        let port = published.split(':').nth(1).unwrap();
        assert!(dockerfile.contains(&format!("0.0.0.0:{port}")), "the container listens on {port}");
    }
}

#[tokio::test]
async fn piped_commands_replay_through_netcat() {
    let server = TestServer::start();
    if is_installed("nc") {
        assert_eq!(shown(README, &server, "nc", Path::new(".")).await, "");
    }
}

/// A program such as netcat, with a server at its other end.
async fn replay_in(program: &str, lines: &[&str]) {
    let server = TestServer::start();
    let mut command = Command::new(program);
    command.args(["127.0.0.1", &server.addr.port().to_string()]).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut netcat = command.spawn().unwrap();
    let mut typed = netcat.stdin.take().unwrap();
    let mut shown = BufReader::new(netcat.stdout.take().unwrap()).lines();
    for line in lines {
        if let Some(line) = line.strip_prefix("A> ") {
            typed.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        } else if let Some(reply) = line.strip_prefix("A< ") {
            // telnet tells that it has connected.
            let is_its_own =
                |line: &str| ["Trying", "Connected", "Escape"].iter().any(|own| line.starts_with(own));
            let mut got = String::new();
            while got.is_empty() || is_its_own(&got) {
                let next = timeout(PATIENCE, shown.next_line()).await.expect("a line in time").unwrap();
                got = next.unwrap_or_else(|| panic!("{program} ended before {reply}"));
            }
            assert_eq!(got.trim_end(), reply, "{program}");
        } else {
            assert_eq!(*line, "A is closed");
            server.until(|stats| stats.sessions == 0).await;
        }
    }
    // Some stay until the end of what is typed.
    drop(typed);
    timeout(PATIENCE, netcat.wait()).await.unwrap_or_else(|_| panic!("{program} goes on")).unwrap();
}

#[tokio::test]
async fn typed_commands_replay_in_nc_ncat_and_telnet() {
    let transcripts = blocks(README, "transcript");
    let typed = transcripts.iter().find(|(_, lines)| lines.contains(&"A> QUIT")).unwrap();
    for program in ["nc", "ncat", "telnet"] {
        if is_installed(program) {
            replay_in(program, &typed.1).await;
        }
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
    typed.write_all(b"GET_LOCK x 0\n").await.unwrap();
    server.until(|stats| stats.table.locks == 1).await;
    let mut waiter = server.client().await;
    waiter.send("GET_LOCK x 60").await;
    server.until_waiting(1).await;
    nc.kill().await.unwrap();
    assert_eq!(waiter.line().await, "1");
}

/// The example of a wire: the code in its row.
fn example(wire: &str) -> &'static str {
    let rows = table(README, "| port | wire | example | read |");
    let row = rows.into_iter().find(|row| row[1] == wire).unwrap_or_else(|| panic!("no row for {wire}"));
    row[2].trim_matches('`')
}

#[tokio::test]
async fn examples_of_all_four_ways_take_the_lock() {
    let server = TestServer::start();
    assert_eq!(server.client().await.ask(example("lines of text")).await, "1");
    server.until(|stats| stats.table.locks == 0).await;

    let mut driver = MySql::connect(server.mysql).await;
    assert_eq!(driver.value(example("MySQL")).await.as_deref(), Some("1"));
    drop(driver);
    server.until(|stats| stats.table.locks == 0).await;

    let path = example("HTTP").split_once("127.0.0.1:3308").unwrap().1.trim_end_matches('\'');
    let (status, token) = http::get(server.http, path).await;
    assert_eq!((status, token.len()), (200, 32));
    let (_, released) = http::get(server.http, &format!("/releaseLock/nightly/{token}")).await;
    assert_eq!(released, "released");

    let call: Vec<_> = example("gRPC").split(' ').collect();
    assert_eq!(call[2..], ["-d", "'{\"name\":\"nightly\"}'", "127.0.0.1:3308", "getlockd.v1.Locks/Acquire"]);
    let wish = AcquireRequest { name: "nightly".to_owned(), ..AcquireRequest::default() };
    locks(server.http).await.acquire(wish).await.unwrap();
}
