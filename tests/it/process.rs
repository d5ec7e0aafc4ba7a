//! The program itself: flags, signals, limits, logs.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use crate::common::{
    PATIENCE,
    program::{PROGRAM, Program, next_with},
};
use getlockd::internal::users::{NewEntry, entry};

struct Client(BufReader<TcpStream>);

fn client(program: &Program) -> Client {
    let stream = TcpStream::connect(program.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(BufReader::new(stream))
}

impl Client {
    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    fn send(&mut self, line: &str) {
        writeln!(self.0.get_mut(), "{line}").unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn is_closed(&mut self) -> bool {
        self.0.fill_buf().unwrap().is_empty()
    }
}

#[test]
fn signal_drains_and_exits_with_0() {
    for signal in ["-TERM", "-INT"] {
        let program = Program::start(&["--drain", "1m"]);
        let (mut idle, mut holder, mut waiter) = (client(&program), client(&program), client(&program));
        assert_eq!(idle.ask("PING"), "PONG");
        assert_eq!(holder.ask("GET_LOCK x 0"), "1");
        waiter.send("GET_LOCK x -1");
        while !idle.ask("WAITERS x").starts_with("WAITER ") {}
        assert_eq!(idle.line(), "END 1");
        program.signal(signal);
        for client in [&mut idle, &mut waiter] {
            assert!(client.line().starts_with("ERROR SHUTDOWN "));
            assert!(client.is_closed());
        }
        assert!(TcpStream::connect(program.addr).is_err(), "it accepts no more");
        assert_eq!(holder.ask("RELEASE_LOCK x"), "1");
        assert!(holder.line().starts_with("ERROR SHUTDOWN "));
        drop(holder);
        let (status, log) = program.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("stopping") && log.contains("stopped"), "{log}");
        assert!(!log.contains("nc 127") && !log.contains("^C"), "that is for terminals: {log}");
    }
}

#[test]
fn drain_timeout_ends_remaining_holders() {
    let program = Program::start(&["--drain", "50ms"]);
    let mut holder = client(&program);
    assert_eq!(holder.ask("GET_LOCK x 0"), "1");
    program.signal("-TERM");
    assert!(holder.line().starts_with("ERROR SHUTDOWN "));
    assert!(holder.is_closed());
    drop(holder);
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("SIGTERM") && log.contains("drain is over"), "{log}");
    assert!(log.contains("still holds locks session=1 wire=\"line\" peer=127.0.0.1:"), "{log}");
}

#[test]
fn second_signal_exits_at_once() {
    let mut program = Program::start(&["--drain", "1h"]);
    let mut holder = client(&program);
    assert_eq!(holder.ask("GET_LOCK x 0"), "1");
    program.signal("-TERM");
    next_with(program.log.as_mut().unwrap(), "stopping");
    program.signal("-TERM");
    assert!(holder.line().starts_with("ERROR SHUTDOWN "), "it is told before");
    assert!(holder.is_closed());
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("second signal"), "{log}");
}

/// Opening one for reading takes until somebody opens it for writing.
fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn hanging_file_does_not_block_signals() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let wanted = NewEntry { name: "app1".to_owned(), lock: vec!["*".to_owned()], ..NewEntry::default() };
    fs::write(&users, entry(&wanted, b"open sesame", false).unwrap()).unwrap();
    let program = Program::start(&["--users", users.to_str().unwrap(), "--drain", "50ms"]);
    fs::remove_file(&users).unwrap();
    fifo(&users);
    program.signal("-HUP");
    let mut holder = client(&program);
    assert_eq!(holder.ask("AUTH app1 'open sesame'"), "1", "all stays as it was");
    assert_eq!(holder.ask("GET_LOCK x 0"), "1");
    program.signal("-TERM");
    assert!(holder.line().starts_with("ERROR SHUTDOWN "));
    assert_eq!(program.wait().0.code(), Some(0));

    // The same while it starts.
    let flags =
        ["--line", "127.0.0.1:0", "--mysql", "off", "--http", "off", "--users", users.to_str().unwrap()];
    let mut starting = Command::new(PROGRAM).args(flags).stderr(Stdio::piped()).spawn().unwrap();
    // It reads the file, and so has its signals in hand.
    let opened = fs::OpenOptions::new().write(true).open(&users).unwrap();
    Command::new("kill").arg(starting.id().to_string()).status().unwrap();
    assert_eq!(starting.wait().unwrap().code(), Some(1));
    drop(opened);
    let mut told = String::new();
    starting.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.ends_with("getlockd: stopped by SIGTERM before it was serving\n"), "{told}");
}

#[test]
fn startup_error_is_a_single_line() {
    let running = Program::start(&[]);
    let taken = running.addr.to_string();
    for (flags, told) in [
        (&["--line", &taken][..], "cannot listen on 127.0.0.1:"),
        (&["--line", "127.0.0.1"], "host:port"),
        (&["--max-locks-per-session", "none"], "at least 1"),
        (&["--no-such-flag"], "unexpected argument"),
    ] {
        let output = Command::new(PROGRAM).args(flags).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(text.starts_with("getlockd: ") && text.contains(told) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn flags_override_the_environment() {
    let mut command = Command::new(PROGRAM);
    command
        .env("GETLOCKD_LINE", "127.0.0.1:0")
        .env("GETLOCKD_MYSQL", "off")
        .env("GETLOCKD_HTTP", "off")
        .env("GETLOCKD_MAX_LOCKS_PER_SESSION", "7");
    let program = Program::spawn(&mut command);
    assert!(client(&program).ask("HELLO").ends_with(" max_locks=7"));
    let program = Program::spawn(command.args(["--max-locks-per-session", "8"]));
    assert!(client(&program).ask("HELLO").ends_with(" max_locks=8"));
}

#[test]
fn help_and_version_go_to_stdout() {
    let output = |flag: &str| Command::new(PROGRAM).arg(flag).output().unwrap();
    let version = output("--version");
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("getlockd {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = output("--help");
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("GETLOCKD_DRAIN"));
}

#[test]
fn ping_checks_that_a_server_answers() {
    let program = Program::start(&[]);
    let ping = |addr: &str| Command::new(PROGRAM).args(["ping", addr]).output().unwrap();
    assert!(ping(&program.addr.to_string()).status.success());
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = ping(&unused.to_string());
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("no answer from"));
}

#[test]
fn json_logs_never_name_a_lock() {
    let mut program = Program::start(&["--log-format", "json"]);
    let mut client = client(&program);
    assert_eq!(client.ask("GET_LOCK very_secret_name 0"), "1");
    client.send("KILL 1");
    assert!(client.line().starts_with("ERROR KILLED "));
    let killed = next_with(program.log.as_mut().unwrap(), "session killed");
    assert!(killed.starts_with('{') && killed.trim_end().ends_with('}'), "{killed}");
    program.signal("-TERM");
    let (_, log) = program.wait();
    assert!(!(killed + &log).contains("very_secret_name"));
}

#[test]
fn descriptor_exhaustion_refuses_and_recovers() {
    let mut command = Command::new("sh");
    let flags = "--line 127.0.0.1:0 --mysql off --max-connections 1000";
    command.args(["-c", &format!("ulimit -n 80; exec {PROGRAM} {flags}")]);
    let mut program = Program::spawn(&mut command);
    let ready = next_with(program.log.as_mut().unwrap(), "ready");
    assert!(ready.contains("max_connections=16") && ready.contains("wanted=1000"), "{ready}");
    let mut clients: Vec<_> = (0..16).map(|_| client(&program)).collect();
    assert!(clients.iter_mut().all(|client| client.ask("PING") == "PONG"));
    // Far more than there are descriptors.
    let refused: Vec<_> = (0..200).map(|_| client(&program)).collect();
    drop(refused);
    assert!(clients.iter_mut().all(|client| client.ask("PING") == "PONG"), "neighbours are not disturbed");
    drop(clients);
    let mut again = client(&program);
    again.send("PING");
    let mut answer = again.line();
    while answer != "PONG" {
        assert!(answer.is_empty() || answer.starts_with("ERROR LIMIT "), "{answer}");
        again = client(&program);
        again.send("PING");
        answer = again.line();
    }
}

#[test]
fn closed_log_does_not_block_the_server() {
    let mut program = Program::start(&["--log-level", "trace"]);
    drop(program.log.take());
    let (mut victim, mut killer) = (client(&program), client(&program));
    assert_eq!(victim.ask("GET_LOCK x 0"), "1");
    assert_eq!(killer.ask("KILL 1"), "1");
    assert_eq!(killer.ask("IS_FREE_LOCK x"), "1");
    program.signal("-TERM");
    assert_eq!(program.wait().0.code(), Some(0));
}

#[test]
fn unread_log_does_not_block_the_server() {
    let program = Program::start(&["--log-level", "trace"]);
    let (mut victim, mut killer) = (client(&program), client(&program));
    // Far more lines than the pipe and the writer's queue take.
    for _ in 0..300 {
        victim.send(&"IS_FREE_LOCK x\n".repeat(1_000));
        for _ in 0..1_000 {
            assert_eq!(victim.line(), "1");
        }
    }
    assert_eq!(killer.ask("KILL 1"), "1");
    program.signal("-TERM");
    assert!(killer.line().starts_with("ERROR SHUTDOWN "));
}
