//! `getlock`: a lock around a command, and lists.
#![allow(clippy::unwrap_used)]

#[path = "tls/authority.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with tests/tls")]
mod authority;
mod common;

use std::{
    fs,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use authority::{Authority, text};
use common::{PATIENCE, TestServer, program::Program};
use getlockd::user::{Wanted, entry};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
    time::timeout,
};

const GETLOCK: &str = env!("CARGO_BIN_EXE_getlock");

fn getlock(addr: impl std::fmt::Display, args: &[&str]) -> Command {
    let mut command = Command::new(GETLOCK);
    command.env_remove("GETLOCK_USER").env("GETLOCK_HOST", addr.to_string()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn output(mut command: Command) -> (i32, String, String) {
    told(&timeout(PATIENCE, command.output()).await.expect("an end in time").unwrap())
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
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    async fn start(addr: impl std::fmt::Display, args: &[&str]) -> Self {
        let mut child = getlock(addr, args).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, out };
        assert_eq!(running.line().await, "started");
        running
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.out.read_line(&mut line)).await.expect("a line in time").unwrap();
        line.trim_end().to_owned()
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(
            Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await.unwrap().success()
        );
    }

    /// Its exit code, and what it told on stderr.
    async fn end(mut self) -> (i32, String) {
        let mut err = String::new();
        let told = self.child.stderr.as_mut().unwrap().read_to_string(&mut err);
        timeout(PATIENCE, told).await.expect("an end in time").unwrap();
        (self.child.wait().await.unwrap().code().unwrap(), err)
    }
}

#[tokio::test]
async fn the_command_s_exit_code_is_passed_on() {
    let server = TestServer::start();
    assert_eq!(code(&server, &["x", "--", "true"]).await, 0);
    assert_eq!(code(&server, &["x", "sh", "-c", "exit 42"]).await, 42);
    assert_eq!(code(&server, &["x", "-c", "kill -KILL $$"]).await, 128 + 9);
    assert_eq!(code(&server, &["run", "ls", "--", "false"]).await, 1);
    assert_eq!(server.hub.stats().table.locks, 0);
}

#[tokio::test]
async fn what_cannot_be_run_has_codes_of_its_own() {
    let server = TestServer::start();
    for (args, expected, told) in [
        (&["x", "/no/such/program"][..], 127, "cannot run /no/such/program"),
        (&["x", "/etc/passwd"], 126, "cannot run /etc/passwd"),
        (&["x"], 64, "say what to run"),
        (&["x", "--wait", "soon", "true"], 64, "invalid value 'soon'"),
        (&["x", "-n", "-w", "1", "true"], 64, "cannot be used with"),
        (&["", "true"], 64, "a name has at least one character"),
        (&["--tls-ca", "/no/such/file", "x", "true"], 64, "cannot read /no/such/file"),
        (&["--user", "deploy", "x", "true"], 64, "password is missing"),
    ] {
        let (code, _, err) = output(getlock(server.addr, args)).await;
        assert!(code == expected && err.contains(told), "{args:?}: {code}, {err}");
    }
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, err) = output(getlock(unused, &["x", "true"])).await;
    assert!(code == 69 && err.starts_with("getlock: cannot connect to 127.0.0.1:"), "{code}, {err}");
}

#[tokio::test]
async fn the_command_finds_the_lock_in_its_environment() {
    let server = TestServer::start();
    let script = "echo $GETLOCK_NAME $GETLOCK_CONNECTION_ID $GETLOCK_FENCING_TOKEN";
    let (code, first, _) = output(getlock(server.addr, &["two words", "-c", script])).await;
    let (_, second, _) = output(getlock(server.addr, &["two words", "-c", script])).await;
    assert_eq!(code, 0);
    let fields = |line: &str| line.trim().rsplitn(3, ' ').map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (fields(&first), fields(&second));
    assert_eq!((first[2].as_str(), first[1].as_str(), second[1].as_str()), ("two words", "1", "2"));
    assert!(first[0].parse::<u64>().unwrap() < second[0].parse::<u64>().unwrap());
}

/// What cron does on twenty machines at once.
#[tokio::test]
async fn of_twenty_one_runs_and_the_others_go_home() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    // It works until all the others have gone home.
    let script = format!(
        "echo $GETLOCK_CONNECTION_ID >> {0}; while ! [ -e {0}.end ]; do sleep 0.01; done",
        ran.display()
    );
    let mut all = JoinSet::new();
    for _ in 0..20 {
        all.spawn(output(getlock(server.addr, &["-n", "-E", "99", "nightly", "-c", &script])));
    }
    for _ in 0..19 {
        let (code, _, err) = all.join_next().await.unwrap().unwrap();
        assert_eq!((code, err.as_str()), (99, ""));
    }
    fs::write(folder.path().join("ran.end"), "").unwrap();
    assert_eq!(all.join_next().await.unwrap().unwrap().0, 0);
    assert_eq!(fs::read_to_string(ran).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn those_who_wait_run_one_after_the_other_in_their_order() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    let mut gate = server.client().await;
    assert_eq!(gate.ask("GET_LOCK nightly 0").await, "1");
    let mut all = JoinSet::new();
    for n in 0..20 {
        // Were two inside at a time, there would be no folder to be made.
        let script = format!("mkdir {0}.inside && echo {n} >> {0} && rmdir {0}.inside", ran.display());
        all.spawn(output(getlock(server.addr, &["-w", "60", "nightly", "-c", &script])));
        server.until_waiting(n + 1).await;
    }
    drop(gate);
    while let Some(ended) = all.join_next().await {
        assert_eq!(ended.unwrap(), (0, String::new(), String::new()));
    }
    let order: Vec<usize> =
        fs::read_to_string(ran).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_does_not_get_it_in_time_goes_home() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_SHARED_LOCK x 0").await, "1");
    assert_eq!(code(&server, &["-n", "x", "false"]).await, 1);
    assert_eq!(code(&server, &["-w", "0.05", "-E", "7", "x", "false"]).await, 7);
    assert_eq!(code(&server, &["-n", "-s", "x", "true"]).await, 0);
    let (code, _, err) = output(getlock(server.addr, &["-n", "-v", "x", "true"])).await;
    assert_eq!((code, err.as_str()), (1, "getlock: x was not granted\n"));
}

#[tokio::test]
async fn a_wait_that_is_ended_is_not_granted() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let waiting = tokio::spawn(output(getlock(server.addr, &["-v", "-E", "5", "x", "true"])));
    server.until_waiting(1).await;
    assert_eq!(output(getlock(server.addr, &["kill", "--wait", "2"])).await.0, 0);
    let (code, _, err) = waiting.await.unwrap();
    assert!(code == 5 && err.contains("KILL QUERY"), "{code}, {err}");
}

#[tokio::test]
async fn a_wait_without_a_server_ends() {
    let mut server = TestServer::with(&["--drain", "0"]);
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let waiting = tokio::spawn(output(getlock(server.addr, &["x", "true"])));
    server.until_waiting(1).await;
    server.stop();
    let (code, _, err) = waiting.await.unwrap();
    assert!(code == 69 && err.contains("the server is stopping"), "{code}, {err}");
}

const HEEDS: &str = "trap 'echo told; exit 3' TERM; echo started; while :; do sleep 0.01; done";
const DEAF: &str = "trap 'echo told' TERM; echo started; while :; do sleep 0.01; done";

#[tokio::test]
async fn a_command_whose_lock_is_lost_is_told_and_ends() {
    let mut server = Program::start(&[]);
    let mut running = Running::start(server.addr, &["x", "-c", HEEDS]).await;
    server.child.kill().unwrap();
    assert_eq!(running.line().await, "told");
    let (code, err) = running.end().await;
    assert!(code == 75 && err.contains("the lock is lost, and the command is told to end"), "{code}, {err}");
}

#[tokio::test]
async fn one_that_does_not_heed_it_is_killed() {
    let server = TestServer::start();
    let mut running = Running::start(server.addr, &["--kill-after", "50ms", "x", "-c", DEAF]).await;
    let mut killer = server.client().await;
    assert_eq!(killer.ask("KILL 1").await, "1");
    assert_eq!(running.line().await, "told");
    let (code, err) = running.end().await;
    assert!(
        code == 75 && err.contains("session 2 ended this one by KILL") && err.contains("SIGKILL"),
        "{err}"
    );
}

#[tokio::test]
async fn one_that_may_go_on_without_its_lock_does() {
    let server = TestServer::start();
    let script = "echo started; while ! [ -e $0.end ]; do sleep 0.01; done; echo done; exit 4";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it").display().to_string();
    let mut running =
        Running::start(server.addr, &["--keep-running", "x", "--", "sh", "-c", script, &file]).await;
    let mut killer = server.client().await;
    assert_eq!(killer.ask("KILL 1").await, "1");
    let mut told = String::new();
    let mut err = BufReader::new(running.child.stderr.take().unwrap());
    timeout(PATIENCE, err.read_line(&mut told)).await.expect("a line in time").unwrap();
    assert!(told.contains("runs on without it (--keep-running)"), "{told}");
    fs::write(format!("{file}.end"), "").unwrap();
    assert_eq!(running.line().await, "done");
    assert_eq!(running.child.wait().await.unwrap().code(), Some(4));
}

#[tokio::test]
async fn signals_are_passed_on() {
    let server = TestServer::start();
    for signal in ["TERM", "HUP", "QUIT", "INT", "USR1", "USR2"] {
        // Without a terminal, as cron starts it, all of them are.
        let script = format!("trap 'echo told; exit 3' {signal}; echo started; while :; do sleep 0.01; done");
        let mut command = Command::new("setsid");
        command.args([GETLOCK, "x", "-c", &script]).env("GETLOCK_HOST", server.addr.to_string());
        let mut session = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut out = BufReader::new(session.stdout.take().unwrap()).lines();
        assert_eq!(out.next_line().await.unwrap().unwrap(), "started");
        let kill = format!("kill -{signal} {}", session.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success(), "{kill}");
        let told = timeout(PATIENCE, out.next_line()).await.expect("a line in time").unwrap();
        assert_eq!(told.as_deref(), Some("told"), "{signal}");
        assert_eq!(session.wait().await.unwrap().code(), Some(3), "{signal}");
        server.until(|stats| stats.connections == 0).await;
    }
}

#[tokio::test]
async fn its_own_end_frees_the_lock() {
    let server = TestServer::start();
    let mut running = Running::start(server.addr, &["x", "-c", "echo started; exec sleep 0.1"]).await;
    running.child.kill().await.unwrap();
    server.until(|stats| stats.table.locks == 0).await;
}

#[tokio::test]
async fn once_in_a_window_it_runs() {
    let server = TestServer::start();
    let args = ["--once", "1h", "-v", "nightly", "-c", "echo started"];
    let mut first = Running::start(server.addr, &args).await;
    let mut err = BufReader::new(first.child.stderr.take().unwrap()).lines();
    let mut told =
        async || timeout(PATIENCE, err.next_line()).await.expect("a line in time").unwrap().unwrap();
    assert!(told().await.contains("took nightly"));
    assert!(told().await.contains("done; nightly is kept for 3"));
    let (code, out, err) = output(getlock(server.addr, &args)).await;
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(err, "getlock: nightly is under way or done elsewhere in this window\n");
    assert_eq!(self::code(&server, &["--once", "1h", "-E", "8", "nightly", "false"]).await, 8);
    first.signal("TERM").await;
    assert_eq!(first.child.wait().await.unwrap().code(), Some(128 + 15));
    // It is free now.
    let began = Instant::now();
    assert_eq!(self::code(&server, &["--once", "200ms", "nightly", "true"]).await, 0);
    assert!(began.elapsed() >= Duration::from_millis(200), "the name is kept to the end of the window");
}

#[tokio::test]
async fn a_failure_leaves_the_window_to_others() {
    let server = TestServer::start();
    assert_eq!(code(&server, &["--once", "1h", "nightly", "-c", "exit 5"]).await, 5);
    assert_eq!(code(&server, &["--once", "1ms", "nightly", "true"]).await, 0);
}

#[tokio::test]
async fn lists_align_and_tell_the_same_as_json() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    assert_eq!(a.ask("GET_SHARED_LOCK 'a long name \\u{1b}[2J' 0").await, "1");
    b.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let (code, out, err) = output(getlock(server.addr, &["ls"])).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    let column = |head: &str| lines[0].find(head).unwrap();
    assert!(lines[1].starts_with(r"'a long name \u{1b}[2j'  shared") && !out.contains('\x1b'), "{out}");
    assert_eq!(lines[2][column("MODE")..].split_whitespace().next(), Some("exclusive"));
    assert_eq!(lines.iter().map(|line| line.len()).max(), Some(lines[0].len()), "{out}");
    assert_eq!(output(getlock(server.addr, &["ls", "night"])).await.1.lines().count(), 2);

    let (_, out, _) = output(getlock(server.addr, &["ls", "--json"])).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json[0]["name"], "a long name \u{1b}[2j");
    assert_eq!((&json[1]["owner"], &json[1]["waiters"]), (&1.into(), &1.into()));

    let (_, why, _) = output(getlock(server.addr, &["why", "nightly"])).await;
    assert!(why.lines().nth(1).unwrap().starts_with("nightly  exclusive        1  127.0.0.1:"), "{why}");
    let (_, sessions, _) =
        output(getlock(server.addr, &["--host", &server.addr.to_string(), "sessions"])).await;
    assert!(sessions.lines().nth(2).unwrap().trim_end().ends_with("nightly"), "{sessions}");

    assert_eq!(self::code(&server, &["kill", "1"]).await, 0);
    assert_eq!(b.line().await, "1");
    let (code, _, err) = output(getlock(server.addr, &["kill", "1"])).await;
    assert!(code == 1 && err.contains("no session 1"), "{err}");
    let (code, out, err) = output(getlock(server.addr, &["why", "weekly"])).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "getlock: nobody holds weekly\n"));
}

#[tokio::test]
async fn completions_and_a_manual_come_with_it() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = output(getlock("x", &["completions", shell])).await;
        assert!(code == 0 && out.contains("conflict-exit-code"), "{shell}");
    }
    let (code, out, _) = output(getlock("x", &["man"])).await;
    assert!(code == 0 && out.contains(".TH getlock 1") && out.contains("75"), "{out}");
    let (code, _, err) = output(getlock("x", &["top"])).await;
    assert!(code == 64 && err.contains("top needs a terminal"), "{err}");
}

#[tokio::test]
async fn it_comes_by_tls_and_as_a_user_whose_password_is_in_no_argument() {
    let authority = Authority::new();
    let file = |name: &str| authority.folder.path().join(name);
    let wanted = Wanted { name: "app".to_owned(), lock: vec!["app:".to_owned()], ..Wanted::default() };
    fs::write(file("users.toml"), entry(&wanted, b"sesame", false).unwrap()).unwrap();
    fs::write(file("password"), "sesame\n").unwrap();
    let signed = authority.sign("server");
    let users = file("users.toml");
    let server = TestServer::with(&signed.flags(&["--users", text(&users)]));
    let (ca, password) = (authority.ca(), file("password"));
    let flags = ["--tls-ca", text(&ca), "--user", "app"];
    let with = |more: &[&str]| getlock(server.addr, &[&flags[..], more].concat());
    let (code, out, err) = output(with(&["--password-file", text(&password), "app:x", "echo", "in"])).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "in\n", ""));
    let mut by_environment = with(&["-n", "app:x", "true"]);
    by_environment.env("GETLOCK_PASSWORD", "sesame");
    assert_eq!(output(by_environment).await.0, 0);
    let mut wrong = with(&["app:x", "true"]);
    wrong.env("GETLOCK_PASSWORD", "wrong");
    let (code, _, err) = output(wrong).await;
    assert!(code == 77 && err.ends_with("(AUTH)\n"), "{code}, {err}");
    let (code, _, err) = output(with(&["--password-file", text(&password), "other", "true"])).await;
    assert!(code == 77 && err.ends_with("(DENIED)\n"), "{code}, {err}");
}
