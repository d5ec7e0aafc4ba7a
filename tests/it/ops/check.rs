//! `getlockd check` and `getlockd ping`.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use super::said;
use crate::common::{
    authority::{Authority, text},
    program::{PROGRAM, Program, next_with},
};

const USER: &str = "[user.app1]\ntoken-sha256 = \
    \"0000000000000000000000000000000000000000000000000000000000000000\"\nlock = [\"*\"]\nsee = []\n";

fn check(flags: &[&str]) -> Output {
    Command::new(PROGRAM).arg("check").args(flags).output().unwrap()
}

/// A file of users in a folder.
pub fn users(folder: &Path) -> String {
    let path = folder.join("users.toml");
    fs::write(&path, USER).unwrap();
    text(&path).to_owned()
}

#[test]
fn reports_the_plan_without_listening() {
    let authority = Authority::new();
    let (files, users) = (authority.sign("server"), users(authority.folder.path()));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let flags = ["--line", &addr, "--mysql", "off", "--http", "systemd", "--max-connections", "100"];
    let output = check(&files.flags(&[&flags[..], &["--users", &users]].concat()));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let expected = format!(
        "line: {addr}\nmysql: off\nhttp: the socket that systemd passes\nusers: 1, from {users}\n\
         tls: required, with {}\nstore: none: leases end with the server\nconnections: at most 100, 88 per user or address, 50 before login\n\
         leases: at most 100000, 87500 per user or address\nlocks: at most 1000000, 875000 per user or address\n\
         memory: at most 4194304 bytes per connection, 1073741824 for all connections\n",
        files.cert.display()
    );
    assert_eq!(said(&output), expected);
}

#[test]
fn error_is_a_single_line() {
    let authority = Authority::new();
    let (files, users) = (authority.sign("server"), users(authority.folder.path()));
    let key = authority.sign("other").key;
    let nobody = authority.folder.path().join("nobody.toml");
    fs::write(&nobody, "").unwrap();
    for (flags, told) in [
        (&["--users", "/nowhere"][..], "cannot read the users file /nowhere"),
        (&["--users", text(&files.cert)], ":1: "),
        (&["--users", text(&nobody)], "nobody.toml contains no users; add one with `getlockd user NAME >> "),
        (&["--tls-cert", text(&files.cert), "--tls-key", text(&key)], "does not belong to the certificate"),
        (&["--tls-cert", &users, "--tls-key", text(&key)], "contains no certificate"),
        (&["--tls-cert", &users], "needs --tls-key"),
        (&["--line", "0.0.0.0:0"], "is open to other machines"),
        (&["--line", "off", "--mysql", "off", "--http", "off"], "nothing to serve"),
        (&["--line", "nowhere"], "host:port"),
        (&["--line", "127.0.0.1:4000", "--http", "127.0.0.1:4000"], "are the same port"),
        (&["--line", "192.0.2.1:4000", "--open"], "cannot listen on 192.0.2.1:4000 (line)"),
        (&["--no-such-flag"], "unexpected argument"),
    ] {
        let output = check(flags);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {text}");
        assert!(text.starts_with("getlockd: ") && text.contains(told) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn environment_is_read_as_by_the_server() {
    let output = Command::new(PROGRAM).arg("check").env("GETLOCKD_USERS", "").output().unwrap();
    assert!(said(&output).contains("users: none"), "{}", said(&output));
    let mut command = Command::new(PROGRAM);
    let output = command.arg("check").env("GETLOCKD_USERS", "/nowhere").output().unwrap();
    assert!(said(&output).contains("cannot read the users file /nowhere"), "{}", said(&output));
}

#[test]
fn cleartext_passwords_give_a_warning() {
    let authority = Authority::new();
    let (files, users) = (authority.sign("server"), users(authority.folder.path()));
    let flags = ["--line", "0.0.0.0:0", "--mysql", "off", "--http", "off", "--users", &users];
    let optional = files.flags(&[&flags[..], &["--tls", "optional"]].concat());
    for (flags, told, cure) in [
        (&flags[..], "users log in here from other machines without TLS", "give --tls-cert and --tls-key\n"),
        (&optional, "users may log in here from other machines without TLS", "set --tls required\n"),
    ] {
        let output = check(flags);
        assert_eq!(output.status.code(), Some(0));
        let warning = String::from_utf8(output.stderr).unwrap();
        let start = format!("getlockd: warning: --line 0.0.0.0:0: {told}");
        assert!(warning.starts_with(&start) && warning.ends_with(cure), "{warning}");
        assert_eq!(warning.lines().count(), 1, "{warning}");

        let mut program = Program::spawn(Command::new(PROGRAM).args(flags));
        let logged = next_with(program.log.as_mut().unwrap(), told);
        assert!(logged.contains("WARN") && logged.contains("line"), "{logged}");
    }
    assert!(check(&files.flags(&flags)).stderr.is_empty());
    assert!(check(&files.flags(&["--users", &users, "--tls", "optional"])).stderr.is_empty());
}

fn ping(asked: &str) -> Output {
    Command::new(PROGRAM).args(["ping", asked]).output().unwrap()
}

#[test]
fn ping_succeeds_in_each_tls_mode() {
    let authority = Authority::new();
    let (files, users) = (authority.sign("server"), users(authority.folder.path()));
    let ca = authority.ca();
    let required = files.flags(&[]);
    let optional = files.flags(&["--tls", "optional"]);
    let with_clients = files.flags(&["--tls-client-ca", text(&ca), "--users", &users]);
    for flags in
        [&[][..], &["--users", &users], &["--max-connections", "1"], &required, &optional, &with_clients]
    {
        let (program, mysql, http) = Program::on_all_wires(flags);
        // With one place it is full.
        let _place = std::net::TcpStream::connect(program.addr).unwrap();
        for asked in [program.addr.to_string(), format!("http://{http}"), format!("http://{http}/")] {
            let output = ping(&asked);
            assert!(output.status.success(), "{flags:?} {asked}: {}", said(&output));
        }
        let other = said(&ping(&mysql.to_string()));
        assert_eq!(
            other,
            format!(
                "getlockd: {mysql} speaks MySQL's protocol; ask the port of the line protocol, or of HTTP\n"
            )
        );
    }
}

#[test]
fn ping_uses_http_when_line_is_off() {
    let flags = ["--line", "off", "--mysql", "off", "--http", "127.0.0.1:0"];
    let program = Program::spawn(Command::new(PROGRAM).args(flags));
    let ask = |line: &str, http: &str| {
        let mut command = Command::new(PROGRAM);
        command.arg("ping").env("GETLOCKD_LINE", line).env("GETLOCKD_HTTP", http).output().unwrap()
    };
    let http = program.addr.to_string();
    assert!(ask("off", &http).status.success());
    assert!(said(&ask("systemd", "off")).contains("no address to ask: give host:port"));
    let told = format!("getlockd: {http} speaks HTTP and not the line protocol; ask http://{http}\n");
    assert_eq!(said(&ping(&http)), told);
}
