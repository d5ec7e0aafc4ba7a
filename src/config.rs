//! Every flag and its environment variable, checked once.

use std::{
    ffi::OsString,
    net::{SocketAddr, ToSocketAddrs},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use tracing::level_filters::LevelFilter;

use crate::timeout::Timeout;

/// A lock server: MySQL's GET_LOCK family without MySQL.
///
/// Named advisory locks that live exactly as long as their owner: a connection, or a lease.
/// Try it: run getlockd, then `nc 127.0.0.1 3305` and type HELP.
#[derive(Clone, Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub task: Option<Task>,

    /// How to serve.
    #[command(flatten)]
    pub config: Config,
}

/// What the program does beside serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Ask a running server whether it answers; exit code 0 if it does
    Ping {
        /// Where its line protocol is
        #[arg(env = "GETLOCKD_LINE", default_value = "127.0.0.1:3305", value_name = "ADDR")]
        server: Listen,
    },
}

/// How the server is set up.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Where the line protocol listens: host:port (port 0 takes a free one), or off
    #[arg(long, env = "GETLOCKD_LINE", default_value = "127.0.0.1:3305", value_name = "ADDR|off")]
    pub line: Listen,

    /// Where the MySQL protocol listens: host:port, or off
    #[arg(long, env = "GETLOCKD_MYSQL", default_value = "127.0.0.1:3307", value_name = "ADDR|off")]
    pub mysql: Listen,

    /// Where HTTP and gRPC listen: host:port, or off
    #[arg(long, env = "GETLOCKD_HTTP", default_value = "127.0.0.1:3308", value_name = "ADDR|off")]
    pub http: Listen,

    /// The most connections at a time [default: as many as the process may open]
    #[arg(long, env = "GETLOCKD_MAX_CONNECTIONS", value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_connections: Option<usize>,

    /// Threads that serve connections; more than one helps when one processor is not enough
    #[arg(long, env = "GETLOCKD_WORKERS", default_value_t = 1, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub workers: usize,

    /// The most locks one session may hold
    #[arg(long, env = "GETLOCKD_MAX_LOCKS_PER_SESSION", default_value_t = 100_000, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_locks_per_session: usize,

    /// The most that may wait for one lock
    #[arg(long, env = "GETLOCKD_MAX_WAITERS_PER_LOCK", default_value_t = 100_000, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_waiters_per_lock: usize,

    /// The most bytes of a line of the line protocol
    #[arg(long, env = "GETLOCKD_MAX_LINE", default_value_t = crate::line::MAX_LINE, value_name = "BYTES", value_parser = line_size, allow_negative_numbers = true)]
    pub max_line: usize,

    /// The most bytes of a packet of the MySQL protocol
    #[arg(long, env = "GETLOCKD_MAX_PACKET", default_value_t = crate::mysql::MAX_PACKET, value_name = "BYTES", value_parser = packet_size, allow_negative_numbers = true)]
    pub max_packet: usize,

    /// Within which time a client must have logged in by MySQL, or said something by HTTP
    #[arg(long, env = "GETLOCKD_LOGIN_TIME", default_value = "10s", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub login_time: Duration,

    /// How long a connection that holds no lock may be idle before it is closed; off for ever
    #[arg(
        long,
        env = "GETLOCKD_IDLE_TIME",
        default_value = "off",
        value_name = "TIME",
        allow_negative_numbers = true
    )]
    pub idle_time: Idle,

    /// How long one that holds a lock may be idle before it is closed and its locks are freed; off for ever
    #[arg(
        long,
        env = "GETLOCKD_IDLE_TIME_HOLDERS",
        default_value = "off",
        value_name = "TIME",
        allow_negative_numbers = true
    )]
    pub idle_time_holders: Idle,

    /// The shortest time for which a lease can be taken
    #[arg(long, env = "GETLOCKD_LEASE_MIN", default_value = "10ms", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub lease_min: Duration,

    /// The longest time for which a lease can be taken
    #[arg(long, env = "GETLOCKD_LEASE_MAX", default_value = "24h", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub lease_max: Duration,

    /// The most leases at a time, with those that wait, and Hold streams
    #[arg(long, env = "GETLOCKD_MAX_LEASES", default_value_t = 100_000, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_leases: usize,

    /// Within which time a client that vanished without a word is found, and its locks freed
    #[arg(long, env = "GETLOCKD_KEEPALIVE", default_value = "30s", value_name = "TIME", value_parser = keepalive, allow_negative_numbers = true)]
    pub keepalive: Duration,

    /// How long those who hold locks may finish when the server is told to stop
    #[arg(long, env = "GETLOCKD_DRAIN", default_value = "10s", value_name = "TIME", value_parser = time, allow_negative_numbers = true)]
    pub drain: Duration,

    /// How log lines look
    #[arg(long, env = "GETLOCKD_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace or off; lock names only by trace
    #[arg(long, env = "GETLOCKD_LOG_LEVEL", default_value = "info", value_name = "LEVEL", value_parser = level)]
    pub log_level: LevelFilter,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a wire listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

/// How long a connection may be idle; none for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle(pub Option<Duration>);

impl FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        some_time(text).map(|time| Self(Some(time))).map_err(|_| "say a time such as 10m, or off".to_owned())
    }
}

impl Cli {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// One line that tells what is wrong, or the text of `--help` or `--version`.
    pub fn read<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Self, NotServing> {
        let cli = Self::try_parse_from(args).map_err(NotServing::from)?;
        let Config { line, mysql, http, lease_min, lease_max, .. } = cli.config;
        let wrong = |what: &str| Err(NotServing::Wrong(what.to_owned()));
        if cli.task.is_none() && [line, mysql, http] == [Listen::Off; 3] {
            return wrong("nothing to serve: --line, --mysql and --http are off");
        }
        if lease_min > lease_max {
            return wrong("--lease-min is more than --lease-max; say one that is not");
        }
        Ok(cli)
    }
}

/// Why there is no configuration to run with.
#[derive(Debug)]
pub enum NotServing {
    /// It was asked for this text.
    Told(String),
    /// This is wrong.
    Wrong(String),
}

impl From<clap::Error> for NotServing {
    fn from(error: clap::Error) -> Self {
        use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
        if matches!(error.kind(), DisplayHelp | DisplayVersion) {
            return Self::Told(error.render().to_string());
        }
        // One line: what is wrong and the hint to it, without the summary of usage behind.
        let text = error.render().to_string();
        let parts = text.lines().take_while(|line| !line.starts_with("Usage:"));
        let parts = parts.map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("For more"));
        let line = parts.collect::<Vec<_>>().join("; ");
        Self::Wrong(line.trim_start_matches("error: ").to_owned())
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        let mut found = text.to_socket_addrs().map_err(|error| format!("{error}; say host:port, or off"))?;
        found.next().map(Self::At).ok_or_else(|| "no address of that name".to_owned())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("say a whole number, at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn line_size(text: &str) -> Result<usize, String> {
    size(text, 128..=64 * 1024)
}

fn packet_size(text: &str) -> Result<usize, String> {
    size(text, 1024..=crate::mysql::MAX_PACKET)
}

fn size(text: &str, possible: RangeInclusive<usize>) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| possible.contains(size));
    size.ok_or_else(|| format!("say a number of bytes from {} to {}", possible.start(), possible.end()))
}

fn time(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(Timeout::Within(time)) => Ok(time),
        _ => Err("say a time such as 10s, 500ms or 2m".to_owned()),
    }
}

/// No less than a millisecond, and no more than a clock holds.
fn some_time(text: &str) -> Result<Duration, String> {
    let possible = Duration::from_millis(1)..=Duration::from_hours(24 * 366);
    time(text)
        .ok()
        .filter(|time| possible.contains(time))
        .ok_or_else(|| "say a time from 1ms to 8784h".to_owned())
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let named = |text: &str| text.parse().ok().filter(|_| text.parse::<u8>().is_err());
    named(text).ok_or_else(|| "say error, warn, info, debug, trace or off".to_owned())
}

fn keepalive(text: &str) -> Result<Duration, String> {
    let possible = Duration::from_secs(4)..=Duration::from_hours(2);
    time(text)
        .ok()
        .filter(|time| possible.contains(time))
        .ok_or_else(|| "say a time from 4s to 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str]) -> Result<Cli, String> {
        let args = std::iter::once("getlockd").chain(flags.iter().copied());
        Cli::read(args).map_err(|not| match not {
            NotServing::Told(text) | NotServing::Wrong(text) => text,
        })
    }

    #[test]
    fn flags_are_read_as_people_write_them() {
        let config = read(&["--line", "0.0.0.0:0", "--drain", "500ms", "--keepalive=1m"]).unwrap().config;
        assert_eq!(config.line, Listen::At(SocketAddr::from(([0, 0, 0, 0], 0))));
        assert_eq!(config.drain, Duration::from_millis(500));
        assert_eq!(config.keepalive, Duration::from_mins(1));
    }

    #[test]
    fn a_bad_flag_is_one_line_that_says_what_would_be_right() {
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
            (&["--workers", "0"], "at least 1"),
            (&["--keepalive", "1s"], "from 4s to 2h"),
            (&["--drain", "soon"], "10s, 500ms or 2m"),
            (&["--drain", "-1"], "10s, 500ms or 2m"),
            (&["--log-level", "loud"], "error, warn, info"),
            (&["--log-format", "xml"], "text, json"),
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
            "max-connections",
            "workers",
            "max-locks-per-session",
            "max-waiters-per-lock",
            "max-line",
            "max-packet",
            "login-time",
            "idle-time",
            "idle-time-holders",
            "lease-min",
            "lease-max",
            "max-leases",
            "keepalive",
            "drain",
            "log-format",
            "log-level",
        ] {
            let variable = format!("GETLOCKD_{}", flag.to_uppercase().replace('-', "_"));
            assert!(help.contains(&format!("--{flag} ")) && help.contains(&variable), "{flag}");
        }
    }
}
