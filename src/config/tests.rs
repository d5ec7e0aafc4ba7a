use std::{net::SocketAddr, time::Duration};

use super::*;

fn read(flags: &[&str]) -> Result<Cli, String> {
    let args = std::iter::once("getlockd").chain(flags.iter().copied());
    Cli::read(args).map_err(|not| match not {
        CliError::Help(text) | CliError::Invalid(text) => text,
    })
}

#[test]
fn flag_values_are_parsed() {
    let config =
        read(&["--line", "0.0.0.0:0", "--open", "--drain", "500ms", "--keepalive=1m"]).unwrap().config;
    assert_eq!(config.line, Listen::At(SocketAddr::from(([0, 0, 0, 0], 0))));
    assert_eq!(config.drain, Duration::from_millis(500));
    assert_eq!(config.keepalive, Duration::from_mins(1));
}

#[test]
fn health_check_prefers_line_over_http() {
    let asked = |flags: &[&str]| read(flags).unwrap().config.ping_target();
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(asked(&[]), Ok(PingTarget::Line(at(getlockd_proto::DEFAULT_PORT))));
    assert_eq!(asked(&["--line", "off"]), Ok(PingTarget::Http(at(3308))));
    assert!(asked(&["--line", "systemd", "--http", "off"]).is_err());
    assert_eq!("http://127.0.0.1:1/".parse(), Ok(PingTarget::Http(at(1))));
}

#[test]
fn bad_flag_is_a_single_line_with_advice() {
    for (flags, hint) in [
        (&["--lime", "x"][..], "--line"),
        (&["--line", "nowhere"], "host:port"),
        (&["--line", "off", "--mysql", "off", "--http", "off"], "nothing to serve"),
        (&["--lease-min", "2s", "--lease-max", "1s"], "--lease-max"),
        (&["--lease-min", "0"], "from 1ms to"),
        (&["--max-line", "1"], "from 128 to 65536"),
        (&["--max-packet", "2G"], "from 1024 to 1048576"),
        (&["--login-time", "0"], "from 1ms to"),
        (&["--idle-time", "never"], "such as 10m, or off"),
        (&["--max-connections", "0"], "at least 1"),
        (&["--max-locks", "0"], "at least 1"),
        (&["--workers", "0"], "at least 1"),
        (&["--keepalive", "1s"], "from 4s to 2h"),
        (&["--drain", "soon"], "10s, 500ms or 2m"),
        (&["--tls-cert", "a"], "needs --tls-key"),
        (&["--tls-key", "a"], "needs --tls-cert"),
        (&["--tls-client-ca", "a"], "needs --tls-cert and --tls-key"),
        (&["--tls", "optional"], "needs --tls-cert and --tls-key"),
        (&["--tls-cert", "a", "--tls-key", "b", "--tls", "off"], "required, optional"),
        (&["--drain", "-1"], "10s, 500ms or 2m"),
        (&["--http-host", "locks.example:80"], "without a port"),
        (&["--log-level", "loud"], "error, warn, info"),
        (&["--log-level", "info,h2"], "info,h2=warn"),
        (&["--log-format", "xml"], "text, json"),
        (&["--mysql", "0.0.0.0:0"], "give --users FILE, or --open"),
        (&["check", "--mysql", "0.0.0.0:0"], "give --users FILE, or --open"),
        (&["check", "--lease-min", "2s", "--lease-max", "1s"], "--lease-max"),
        (&["ping", "nowhere"], "expected host:port or http://host:port"),
        (&["--node-name", "a"], "--cluster"),
        (&["--status", "off"], "--cluster"),
        (&["--cluster-ca", "ca.pem"], "--cluster"),
        (&["--cluster", "etcd://h", "--cluster-cert", "c.pem"], "--cluster-key"),
        (&["--cluster", "etcd://h", "--cluster-user", "u"], "--cluster-password-file"),
        (&["--cluster", "etcd://h", "--cluster-ttl", "2s"], "from 3s to 60s"),
        (&["--cluster", "etcd://h", "--node-name", "a b"], "letters, digits"),
        (&["--cluster", "etcd://h", "--advertise", "host"], "host:port"),
        (&["--cluster", "etcd://h", "--cluster-listen", "0.0.0.0:3309"], "--advertise"),
        (&["--cluster", "etcd://h", "--store", "f"], "leave --store out"),
        (&["--cluster", "etcd://h", "--keepalive", "5s"], "at least 10s"),
        (&["user"], "<NAME>"),
        (&["serve"], "unrecognized subcommand"),
    ] {
        let line = read(flags).unwrap_err();
        assert!(line.contains(hint) && !line.contains('\n'), "{flags:?}: {line}");
    }
}

#[test]
fn help_names_every_flag_and_its_variable() {
    let help = read(&["--help"]).unwrap_err();
    for flag in [
        "line",
        "mysql",
        "http",
        "http-host",
        "tls-cert",
        "tls-key",
        "tls-client-ca",
        "tls",
        "users",
        "open",
        "max-connections",
        "workers",
        "max-locks-per-session",
        "max-locks",
        "max-waiters-per-lock",
        "max-line",
        "max-packet",
        "max-memory",
        "login-time",
        "idle-time",
        "idle-time-holders",
        "lease-min",
        "lease-max",
        "max-leases",
        "keepalive",
        "drain",
        "cluster",
        "cluster-ca",
        "cluster-cert",
        "cluster-key",
        "cluster-user",
        "cluster-password-file",
        "cluster-etcd-anyway",
        "cluster-listen",
        "advertise",
        "node-name",
        "cluster-ttl",
        "takeover-delay",
        "status",
        "proxy-from",
        "log-format",
        "log-level",
    ] {
        let variable = format!("GETLOCKD_{}", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&format!("--{flag}")) && help.contains(&variable), "{flag}");
    }
}
