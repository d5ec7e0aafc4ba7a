//! systemd: its units, the sockets that it passes, and what it is told.

use std::{fs, net::SocketAddr, os::unix::net::UnixDatagram, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::{assert_is_variable, check::users, read, said, tool};
use crate::common::{
    Client, PATIENCE,
    http::get,
    mysql::MySql,
    program::{PROGRAM, Program, next_with},
    python,
    skip::skip_missing,
};

const UNITS: [&str; 4] =
    ["getlockd.service", "getlockd-line.socket", "getlockd-mysql.socket", "getlockd-http.socket"];

/// What is told to systemd.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The next message that is no sign of life.
    fn told(&self) -> String {
        loop {
            let message = self.next();
            if !message.starts_with("WATCHDOG=1\n") {
                return message;
            }
        }
    }

    fn next(&self) -> String {
        let mut space = [0; 1024];
        let length = self.socket.recv(&mut space).expect("a message in time");
        String::from_utf8(space[..length].to_vec()).unwrap()
    }
}

#[test]
fn notify_reports_start_reload_and_stop() {
    let manager = Manager::new();
    let mut command = Command::new(PROGRAM);
    command.args(["--line", "127.0.0.1:0", "--mysql", "off", "--http", "off"]);
    let program = Program::spawn(command.env("NOTIFY_SOCKET", manager.path()));
    assert_eq!(manager.next(), "READY=1\nSTATUS=serving\n");
    program.signal("-HUP");
    let reloading = manager.next();
    let when = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(when.trim_end().parse::<u64>().unwrap() > 0);
    assert_eq!(manager.next(), "READY=1\nSTATUS=serving\n");
    program.signal("-TERM");
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=waiting for sessions that hold locks\n");
    assert_eq!(program.wait().0.code(), Some(0));
}

#[test]
fn failed_reload_is_reported_and_completes() {
    let manager = Manager::new();
    let users = users(manager.folder.path());
    let mut command = Command::new(PROGRAM);
    command.args(["--line", "127.0.0.1:0", "--mysql", "off", "--http", "off", "--users"]).arg(&users);
    let program = Program::spawn(command.env("NOTIFY_SOCKET", manager.path()));
    assert!(manager.told().starts_with("READY=1\n"));
    fs::write(&users, "what?").unwrap();
    program.signal("-HUP");
    assert!(manager.told().starts_with("RELOADING=1\n"));
    assert!(manager.told().starts_with("READY=1\nSTATUS=serving; the last reload failed, see the log"));
}

#[test]
fn watchdog_is_fed_also_during_drain() {
    let manager = Manager::new();
    let mut command = Command::new(PROGRAM);
    command.args(["--line", "127.0.0.1:0", "--mysql", "off", "--http", "off", "--drain", "1h"]);
    let program = Program::spawn(command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "100000"));
    let mut holder = std::net::TcpStream::connect(program.addr).unwrap();
    std::io::Write::write_all(&mut holder, b"GET_LOCK x 0\n").unwrap();
    while manager.next() != "WATCHDOG=1\nSTATUS=1 sessions\n" {}
    program.signal("-TERM");
    assert!(manager.told().starts_with("STOPPING=1\n"));
    for _ in 0..3 {
        assert!(manager.next().starts_with("WATCHDOG=1\n"));
    }
    drop(holder);
    assert_eq!(program.wait().0.code(), Some(0));
}

/// Starts a program as systemd does: with sockets as descriptors from 3 on, each with a name.
const AS_SYSTEMD: &str = r#"
import fcntl, os, socket, sys
names, host, program, *flags = sys.argv[1:]
sockets = [socket.create_server((host, 0)) for _ in names.split(":")]
if os.environ.get("SILENT"):
    sockets = [socket.socket() for _ in sockets]
high = [fcntl.fcntl(one, fcntl.F_DUPFD, 100) for one in sockets]
for at, one in enumerate(high):
    os.dup2(one, 3 + at, inheritable=True)
passed = dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.execve(program, [program, *flags], {**os.environ, **passed})
"#;

fn by_systemd(names: &str, host: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.args(["-c", AS_SYSTEMD, names, host, PROGRAM]).args(flags);
    command
}

fn there_is_no_python() -> bool {
    let is_missing = Command::new(python()).arg("-V").output().is_err();
    if is_missing {
        skip_missing("python3");
    }
    is_missing
}

const ALL: [&str; 6] = ["--line", "systemd", "--mysql", "systemd", "--http", "systemd"];

#[tokio::test]
async fn passed_sockets_are_matched_by_name() {
    if there_is_no_python() {
        return;
    }
    let mut program = Program::spawn(&mut by_systemd("http:line:mysql", "127.0.0.1", &ALL));
    let [mysql, http] = [(); 2].map(|()| program.next_addr());
    let addrs: [SocketAddr; 3] = [program.addr, mysql, http];
    assert!(addrs.iter().all(|addr| addr.port() != 0));
    let mut line = Client::connect(addrs[0]).await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let mut mysql = MySql::connect(addrs[1]).await;
    assert_eq!(mysql.value("SELECT IS_FREE_LOCK('nightly')").await.as_deref(), Some("0"));
    assert_eq!(get(addrs[2], "/readyz").await, (200, "ok".to_owned()));
}

#[test]
fn unused_socket_is_logged() {
    if there_is_no_python() {
        return;
    }
    let flags = ["--line", "systemd", "--mysql", "off", "--http", "off"];
    let mut program = Program::spawn(&mut by_systemd("line:other", "127.0.0.1", &flags));
    let warning = next_with(program.log.as_mut().unwrap(), "no wire listens on this name");
    assert!(warning.contains("other"), "{warning}");
}

#[test]
fn unusable_socket_is_a_single_line_error() {
    if there_is_no_python() {
        return;
    }
    for (names, host, silent, told) in [
        ("line:mysql", "127.0.0.1", "", "systemd passed no socket named http"),
        ("line:line:mysql:http", "127.0.0.1", "", "several sockets named line"),
        ("line:mysql:http", "0.0.0.0", "", "is open to other machines"),
        ("line:mysql:http", "127.0.0.1", "yes", "line does not listen"),
    ] {
        let mut command = by_systemd(names, host, &[&ALL[..], &["--log-level", "off"]].concat());
        let output = command.env("SILENT", silent).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(told) && text.lines().count() == 1, "{text}");
    }
    let alone = Command::new(PROGRAM).args(ALL).args(["--log-level", "off"]).output().unwrap();
    assert!(said(&alone).contains("systemd passed no socket named line"));
}

/// The units, with the program where it is.
fn units() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let text = read(unit).replace("/usr/local/bin/getlockd", PROGRAM);
        fs::write(folder.path().join(unit), text).unwrap();
    }
    folder
}

#[test]
fn systemd_analyze_accepts_the_units() {
    let folder = units();
    let paths = UNITS.map(|unit| folder.path().join(unit));
    let Some(output) = tool(Command::new("systemd-analyze").arg("verify").args(paths)) else { return };
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

#[test]
fn systemd_analyze_accepts_the_drop_in_of_a_cluster() {
    let folder = units();
    let drop_ins = folder.path().join("getlockd.service.d");
    fs::create_dir(&drop_ins).unwrap();
    let text = read("getlockd-cluster.conf");
    fs::write(drop_ins.join("cluster.conf"), &text).unwrap();
    let service = folder.path().join(UNITS[0]);
    let Some(output) = tool(Command::new("systemd-analyze").arg("verify").arg(service)) else { return };
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    let settings =
        text.lines().filter_map(|line| line.strip_prefix("Environment=")).flat_map(|line| line.split(' '));
    settings.filter_map(|setting| setting.split_once('=')).for_each(|(name, _)| assert_is_variable(name));
}

#[test]
fn service_is_sandboxed() {
    let folder = units();
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--no-pager", "--offline=true", "--threshold=20"]);
    let Some(output) = tool(command.arg(folder.path().join(UNITS[0]))) else { return };
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn units_use_existing_flags() {
    let service = read(UNITS[0]);
    let line = service.lines().find_map(|line| line.strip_prefix("Environment=")).unwrap();
    line.split(' ').filter_map(|word| word.split_once('=')).for_each(|(name, _)| assert_is_variable(name));
    let config = getlockd::config::Cli::read(["getlockd"]).unwrap().config;
    for (wire, listen) in config.wires() {
        let wire = wire.as_str();
        assert!(line.contains(&format!("GETLOCKD_{}=systemd", wire.to_uppercase())), "{line}");
        let socket = read(&format!("getlockd-{wire}.socket"));
        assert!(
            socket.contains(&format!("\nListenStream={listen}\nFileDescriptorName={wire}\n")),
            "{socket}"
        );
    }
    let value = |key: &str| {
        let text = service.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        std::time::Duration::from_secs(text.trim_end_matches('s').parse().unwrap())
    };
    assert!(value("TimeoutStopSec=") > config.drain + std::time::Duration::from_secs(10));
}
