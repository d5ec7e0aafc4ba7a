//! A command under a lock.

use std::{fs, os::unix::fs::PermissionsExt};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::{GETLOCK, Group, PATIENCE, Running, TestServer, code, getlock, output};

#[tokio::test]
async fn exit_code_is_passed_on() {
    let server = TestServer::start();
    assert_eq!(code(&server, &["x", "--", "true"]).await, 0);
    assert_eq!(code(&server, &["x", "sh", "-c", "exit 42"]).await, 42);
    assert_eq!(code(&server, &["x", "-c", "kill -KILL $$"]).await, 128 + 9);
    assert_eq!(code(&server, &["run", "ls", "--", "false"]).await, 1);
    assert_eq!(server.service.stats().table.locks, 0);
}

#[tokio::test]
async fn failure_to_run_has_its_own_exit_codes() {
    let server = TestServer::start();
    for (args, expected, told) in [
        (&["x", "/no/such/program"][..], 127, "cannot run /no/such/program"),
        (&["x", "/etc/passwd"], 126, "cannot run /etc/passwd"),
        (&["x"], 64, "no command given. Usage: getlock NAME"),
        (&["kill"], 64, "Usage: getlock kill [OPTIONS] SESSION"),
        (&["ls", "--", "./backup.sh"], 64, "getlock run ls -- COMMAND"),
        (&["x", "--wait", "-1", "true"], 64, "expected seconds (10, 0.5)"),
        (&["x", "--wait", "soon", "true"], 64, "invalid value 'soon'"),
        (&["x", "-n", "-w", "1", "true"], 64, "cannot be used with"),
        (&["", "true"], 64, "the name is empty; use 1 to 64 characters"),
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
async fn environment_names_the_lock() {
    let server = TestServer::start();
    let script = "echo $GETLOCK_NAME $GETLOCK_SESSION $GETLOCK_FENCING_TOKEN";
    let (code, first, _) = output(getlock(server.addr, &["two words", "-c", script])).await;
    let (_, second, _) = output(getlock(server.addr, &["two words", "-c", script])).await;
    assert_eq!(code, 0);
    let fields = |line: &str| line.trim().rsplitn(3, ' ').map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (fields(&first), fields(&second));
    assert_eq!((first[2].as_str(), first[1].as_str(), second[1].as_str()), ("two words", "1", "2"));
    assert!(first[0].parse::<u64>().unwrap() < second[0].parse::<u64>().unwrap());
}

#[tokio::test]
async fn signals_are_passed_on() {
    let server = TestServer::start();
    for signal in ["TERM", "HUP", "QUIT", "INT", "USR1", "USR2"] {
        // Without a terminal, as cron starts it, all of them are.
        let script = format!("trap 'echo told; exit 3' {signal}; echo started; while :; do sleep 0.01; done");
        let mut group = Group::spawn(&mut getlock(server.addr, &["x", "-c", &script]));
        let mut out = BufReader::new(group.child.stdout.take().unwrap()).lines();
        assert_eq!(out.next_line().await.unwrap().unwrap(), "started");
        let kill = format!("kill -{signal} {}", group.child.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success(), "{kill}");
        let told = timeout(PATIENCE, out.next_line()).await.expect("a line in time").unwrap();
        assert_eq!(told.as_deref(), Some("told"), "{signal}");
        assert_eq!(group.child.wait().await.unwrap().code(), Some(3), "{signal}");
        server.until(|stats| stats.sessions == 0).await;
    }
}

/// As under nohup.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn ignored_signals_stay_ignored() {
    let server = TestServer::start();
    let script = format!("trap '' HUP; exec {GETLOCK} x -c 'kill -HUP $PPID; kill -HUP $$; echo lives'");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("GETLOCK_HOST", server.addr.to_string());
    assert_eq!(output(shell).await, (0, "lives\n".to_owned(), String::new()));
}

#[tokio::test]
async fn killed_getlock_frees_the_lock() {
    let server = TestServer::start();
    let mut running = Running::start(server.addr, &["x", "-c", "echo started; exec sleep 0.1"]).await;
    running.group.child.kill().await.unwrap();
    server.until(|stats| stats.table.locks == 0).await;
}

#[tokio::test]
async fn script_without_shebang_is_run_by_sh() {
    let (server, folder) = (TestServer::start(), tempfile::tempdir().unwrap());
    let script = folder.path().join("script");
    fs::write(&script, "exit $1\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(code(&server, &["x", "--", script.to_str().unwrap(), "7"]).await, 7);
}

#[tokio::test]
async fn exit_code_is_known_with_sigchld_ignored() {
    let server = TestServer::start();
    let mut command = Command::new("bash");
    command.args(["-c", "trap '' CHLD; exec \"$0\" x -- sh -c 'exit 4'", GETLOCK]);
    command.env("GETLOCK_HOST", server.addr.to_string());
    assert_eq!(output(command).await.0, 4);
}

#[tokio::test]
async fn empty_variable_counts_as_unset() {
    let server = TestServer::start();
    let mut command = getlock(server.addr, &["x", "--", "true"]);
    for name in
        ["GETLOCK_USER", "GETLOCK_PASSWORD_FILE", "GETLOCK_TLS", "GETLOCK_TLS_CA", "GETLOCK_KEEPALIVE"]
    {
        command.env(name, "");
    }
    assert_eq!(output(command).await, (0, String::new(), String::new()));
}

#[tokio::test]
async fn foreign_protocol_is_named() {
    let server = TestServer::start();
    for (addr, args, told) in [
        (server.http, &["x", "true"][..], "that port speaks HTTP"),
        (server.mysql, &["x", "true"], "that port speaks MySQL's protocol"),
        (server.addr, &["--tls", "x", "true"], "the server does not use TLS on that port"),
    ] {
        let (code, _, err) = output(getlock(addr, args)).await;
        assert!(code == 69 && err.contains(told), "{code}, {err}");
    }
}
