//! A command never runs beside the next holder of its lock: it is dead before, however `getlock` itself ends.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::Instant};

use crate::{
    GETLOCK, PATIENCE, Running, TestServer,
    common::{
        group::Group,
        skip::skip,
        stub::{Stub, answer_keepalive, grant},
    },
    getlock,
    lost_lock::DEAF,
    output,
};

/// Resolves when there is no such process any more, or its exit code alone.
async fn until_ended(id: &str) {
    let began = Instant::now();
    let lives = || {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    };
    while lives() {
        assert!(began.elapsed() < PATIENCE, "{id} lives");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn command_is_dead_before_a_silent_server_may_grant() {
    let stub = Stub::start().await;
    let running = tokio::spawn({
        let addr = stub.addr();
        async move { Running::start(addr, &["--no-introduce", "--kill-after", "100ms", "x", "-c", DEAF]).await }
    });
    let mut peer = stub.welcome("1.000").await;
    grant(&mut peer, "x", "1.000").await;
    let mut last = Instant::now();
    for _ in 0..3 {
        last = answer_keepalive(&mut peer, "1.000").await;
    }
    let (code, err) = running.await.unwrap().end().await;
    assert!(last.elapsed() < Duration::from_secs(1), "{:?}", last.elapsed());
    assert!(code == 75 && err.contains("did not answer in time") && err.contains("SIGKILL"), "{code}, {err}");
}

#[tokio::test]
async fn default_stop_time_fits_the_server() {
    let stub = Stub::start().await;
    let running = tokio::spawn({
        let addr = stub.addr();
        async move { Running::start(addr, &["--no-introduce", "x", "-c", DEAF]).await }
    });
    let mut peer = stub.welcome("3.000").await;
    grant(&mut peer, "x", "3.000").await;
    let asked = answer_keepalive(&mut peer, "3.000").await;
    let (code, err) = running.await.unwrap().end().await;
    assert!(code == 75 && asked.elapsed() < Duration::from_secs(3), "{code}, {:?}, {err}", asked.elapsed());
    assert!(asked.elapsed() > Duration::from_secs(2), "it has nearly two fifths of the time");
}

#[tokio::test]
async fn stop_time_that_does_not_fit_is_refused() {
    let server = TestServer::start();
    let (code, out, err) = output(getlock(server.addr, &["--kill-after", "30s", "x", "echo", "ran"])).await;
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("after 25s; use 19.4s or less"), "{err}");
    let fits = getlock(server.addr, &["--kill-after", "19.4s", "x", "echo", "ran"]);
    assert_eq!(output(fits).await, (0, "ran\n".to_owned(), String::new()));
    let runs_on = getlock(server.addr, &["--kill-after", "30s", "--keep-running", "x", "echo", "ran"]);
    assert_eq!(output(runs_on).await.0, 0);
    let promises_nothing = TestServer::with(&["--keepalive", "5s"]);
    assert_eq!(output(getlock(promises_nothing.addr, &["--kill-after", "30s", "x", "true"])).await.0, 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn command_dies_with_a_killed_getlock() {
    let server = TestServer::start();
    let script = "echo started; echo $$; trap '' TERM HUP; exec sleep 1000";
    let mut running = Running::start(server.addr, &["x", "-c", script]).await;
    let command = running.line().await;
    running.signal("KILL").await;
    until_ended(&command).await;
    server.until(|stats| stats.table.locks == 0).await;
}

#[tokio::test]
async fn process_group_is_terminated_and_killed() {
    let server = TestServer::start();
    // The command ends by SIGTERM. What it has started does not.
    let script = format!("sh -c \"echo \\$\\$; {DEAF}\" & wait");
    let args = ["--group", "--kill-after", "50ms", "x", "-c", &script];
    let mut running = Running::spawn(server.addr, &args);
    let inner = running.line().await;
    assert_eq!(running.line().await, "started");
    let mut killer = server.client().await;
    assert_eq!(killer.ask("KILL 1").await, "1");
    assert_eq!(running.line().await, "told");
    let (code, err) = running.end().await;
    assert!(code == 75 && err.contains("what the command has started goes on"), "{code}, {err}");
    until_ended(&inner).await;
}

/// The only child of a process.
async fn child_of(id: u32) -> Option<String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        if let Some(child) = children.split_whitespace().next() {
            return Some(child.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

/// As the first process of a container; none where this may not be tried.
async fn as_init(server: &TestServer, args: &[&str]) -> Option<Command> {
    let flags = ["--fork", "--pid", "--mount-proc"];
    let may = Command::new("unshare").args(flags).arg("true").output().await;
    if !may.is_ok_and(|output| output.status.success()) {
        skip(
            "getlock as the first process of a container",
            "unshare does not work",
            "it needs util-linux and root",
        );
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(flags).arg(GETLOCK).args(args).env("GETLOCK_HOST", server.addr.to_string());
    Some(command)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn pid_1_reaps_orphans() {
    let server = TestServer::start();
    // The inner shell ends at once, and leaves its child behind.
    let script = "orphan=$(sh -c 'true & echo $!'); while [ -e /proc/$orphan ]; do sleep 0.01; done; exit 5";
    let Some(command) = as_init(&server, &["x", "-c", script]).await else { return };
    assert_eq!(output(command).await, (5, String::new(), String::new()));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn pid_1_can_be_ended_during_a_wait() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let Some(mut command) = as_init(&server, &["x", "true"]).await else { return };
    let mut group = Group::spawn(&mut command);
    server.until_waiting(1).await;
    let init = child_of(group.child.id().unwrap()).await.unwrap();
    let kill = Command::new("sh").args(["-c", &format!("kill -TERM {init}")]).status();
    assert!(kill.await.unwrap().success());
    let status = tokio::time::timeout(PATIENCE, group.child.wait()).await.expect("an end in time");
    assert_eq!(status.unwrap().code(), Some(128 + 15));
}

#[tokio::test]
async fn password_is_removed_from_the_environment() {
    let server = TestServer::start();
    for (flag, passes) in [("--nonblock", false), ("--pass-password", true)] {
        let mut command = getlock(server.addr, &[flag, "--user", "app", "x", "--", "env"]);
        command.env("GETLOCK_PASSWORD", "sesame");
        let (code, out, err) = output(command).await;
        assert_eq!((code, out.contains("PASSWORD=sesame"), err.as_str()), (0, passes, ""), "{out}");
    }
}

/// Where all writes fail.
fn full() -> PathBuf {
    Path::new("/dev/full").to_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn unwritable_output_is_an_error() {
    for args in [&["--help"][..], &["--version"], &["man"], &["completions", "bash"]] {
        let out = fs::File::options().write(true).open(full()).unwrap();
        let output = std::process::Command::new(GETLOCK).args(args).stdout(out).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(71) && err.contains("No space left"), "{args:?}: {err}");
    }
}

#[tokio::test]
async fn odd_option_values_keep_their_usual_meaning() {
    let server = TestServer::start();
    assert_eq!(output(getlock(server.addr, &["--wait", "99999999999", "x", "true"])).await.0, 0);
    let (_, help, _) = output(getlock("", &["--help"])).await;
    assert!(!help.contains("env: GETLOCK_HOST="), "an empty variable is as good as none: {help}");
}

#[tokio::test]
async fn server_text_cannot_control_the_terminal() {
    let stub = Stub::start().await;
    let ended = tokio::spawn(output(getlock(stub.addr(), &["--no-introduce", "x", "true"])));
    let mut peer = stub.accept().await;
    assert_eq!(peer.line().await, "KEEPALIVE");
    peer.send("ERROR \u{1b}]0;X \u{1b}]0;pwned\u{7}\u{9b}2J\u{202e}; closing").await;
    let (code, _, err) = ended.await.unwrap();
    assert_eq!(code, 69);
    assert_eq!(err, "getlock: \\u{1b}]0;pwned\\u{7}\\u{9b}2J\\u{202e}; closing (\\u{1b}]0;X)\n");
}
