//! Every flag and its environment variable, checked once.

mod exposure;
pub mod manual;
pub mod ping;
mod tls;
pub mod user_command;
mod values;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, builder::BoolishValueParser};
use clap_complete::Shell;

pub use exposure::OpenToAll;
pub use tls::TlsFlags;
pub use values::{IdleLimit, Listen, LogFormat, PingTarget};
use values::{at_least_one, host, keepalive, line_size, memory_size, packet_size, some_time, time};

use getlockd_proto::environment::ignore_empty;

use crate::{
    core::{client_info::Wire, session::Limits},
    ops::log,
};

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
    /// Make an entry for the file of users: it asks for a password, or reads a line of its input
    User(NewUser),
    /// Look whether a server could start with these flags, its ports being free, and tell what it would do; exit code 0 if it could
    Check(Box<Config>),
    /// Ask a running server whether it answers; exit code 0 if it does
    Ping {
        /// Where its line protocol is, or http:// and where HTTP is [default: where it listens by default, or
        /// by GETLOCKD_LINE and GETLOCKD_HTTP]
        #[arg(value_name = "ADDR")]
        server: Option<PingTarget>,
    },
    /// Print the completion script for a shell
    ///
    ///   getlockd completions bash > /etc/bash_completion.d/getlockd
    ///
    ///   getlockd completions zsh > /usr/local/share/zsh/site-functions/_getlockd
    ///
    ///   getlockd completions fish > ~/.config/fish/completions/getlockd.fish
    #[command(verbatim_doc_comment)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    ///
    ///   getlockd man > /usr/local/share/man/man8/getlockd.8
    #[command(verbatim_doc_comment)]
    Man,
}

/// A new user.
#[derive(Args, Clone, Debug)]
pub struct NewUser {
    /// What the user is called
    pub name: String,
    /// What the names of the locks start with that the user may take, or * for all; may be given again
    #[arg(long, value_name = "PREFIX")]
    pub lock: Vec<String>,
    /// What the names start with that the user may see beside those, or *; may be given again
    #[arg(long, value_name = "PREFIX")]
    pub see: Vec<String>,
    /// The user may end sessions of others: of those who may lock and see only what this user may see
    #[arg(long)]
    pub kill: bool,
    /// Make a random token for HTTP and gRPC, told once, in place of a password
    #[arg(long)]
    pub token: bool,
    /// No verifier for MySQL clients that know mysql_native_password alone
    #[arg(long)]
    pub no_native: bool,
}

/// How the server is set up.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Where the line protocol listens: host:port (port 0 takes a free one), off, or systemd for its socket
    #[arg(long, env = "GETLOCKD_LINE", default_value = "127.0.0.1:3305", value_name = "ADDR")]
    pub line: Listen,

    /// Where the MySQL protocol listens: host:port, off, or systemd
    #[arg(long, env = "GETLOCKD_MYSQL", default_value = "127.0.0.1:3307", value_name = "ADDR")]
    pub mysql: Listen,

    /// Where HTTP and gRPC listen: host:port, off, or systemd
    #[arg(long, env = "GETLOCKD_HTTP", default_value = "127.0.0.1:3308", value_name = "ADDR")]
    pub http: Listen,

    /// A name under which browsers find the server, be it at a proxy; may be given again. Without users it is asked by
    /// addresses, localhost and these alone; with --open that is so for browsers
    #[arg(long = "http-host", env = "GETLOCKD_HTTP_HOST", value_name = "NAME", value_delimiter = ',', value_parser = host)]
    pub http_hosts: Vec<String>,

    /// The file of users, who then have to log in; `getlockd user` makes its entries. SIGHUP reads it again
    #[arg(long, env = "GETLOCKD_USERS", value_name = "FILE")]
    pub users: Option<PathBuf>,

    /// Listen beyond loopback though there are no users: everybody who gets there may do everything
    #[arg(long, env = "GETLOCKD_OPEN", value_parser = BoolishValueParser::new())]
    pub open: bool,

    /// How clients are served by TLS.
    #[command(flatten)]
    pub tls: TlsFlags,

    /// The most connections at a time [default: as many as the process may open]
    #[arg(long, env = "GETLOCKD_MAX_CONNECTIONS", value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_connections: Option<usize>,

    /// Threads that serve connections; more than one helps when one processor is not enough
    #[arg(long, env = "GETLOCKD_WORKERS", default_value_t = 1, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub workers: usize,

    /// The most locks one session may hold
    #[arg(long, env = "GETLOCKD_MAX_LOCKS_PER_SESSION", default_value_t = Limits::DEFAULT.locks_per_session, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_locks_per_session: usize,

    /// The most locks that all sessions hold together; the first 8 of each session do not count
    #[arg(long, env = "GETLOCKD_MAX_LOCKS", default_value_t = Limits::DEFAULT.locks, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_locks: usize,

    /// The most that may wait for one lock
    #[arg(long, env = "GETLOCKD_MAX_WAITERS_PER_LOCK", default_value_t = Limits::DEFAULT.waiters_per_lock, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_waiters_per_lock: usize,

    /// The most bytes of a line of the line protocol
    #[arg(long, env = "GETLOCKD_MAX_LINE", default_value_t = crate::wires::line::MAX_LINE, value_name = "BYTES", value_parser = line_size, allow_negative_numbers = true)]
    pub max_line: usize,

    /// The most bytes of a packet of the MySQL protocol
    #[arg(long, env = "GETLOCKD_MAX_PACKET", default_value_t = crate::wires::mysql::MAX_PACKET, value_name = "BYTES", value_parser = packet_size, allow_negative_numbers = true)]
    pub max_packet: usize,

    /// The most bytes that all connections make the server keep, beyond 16 kB of each
    #[arg(long, env = "GETLOCKD_MAX_MEMORY", default_value_t = Limits::DEFAULT.memory, value_name = "BYTES", value_parser = memory_size, allow_negative_numbers = true)]
    pub max_memory: usize,

    /// Within which time a client must have logged in by MySQL and where there are users, said something by HTTP,
    /// or shaken hands by TLS
    #[arg(long, env = "GETLOCKD_LOGIN_TIME", default_value = "10s", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub login_time: Duration,

    /// How long a connection that holds no lock may be idle before it is closed; off for no limit
    #[arg(
        long,
        env = "GETLOCKD_IDLE_TIME",
        default_value = "off",
        value_name = "TIME",
        allow_negative_numbers = true
    )]
    pub idle_time: IdleLimit,

    /// How long one that holds a lock may be idle before it is closed and its locks are freed; off for no limit
    #[arg(
        long,
        env = "GETLOCKD_IDLE_TIME_HOLDERS",
        default_value = "off",
        value_name = "TIME",
        allow_negative_numbers = true
    )]
    pub idle_time_holders: IdleLimit,

    /// The shortest time for which a lease can be taken
    #[arg(long, env = "GETLOCKD_LEASE_MIN", default_value = "10ms", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub lease_min: Duration,

    /// The longest time for which a lease can be taken
    #[arg(long, env = "GETLOCKD_LEASE_MAX", default_value = "744h", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
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

    /// What is logged: error, warn, info, debug, trace or off; lock names only by trace. Other crates are heard of
    /// errors alone, unless they are named: info,h2=warn
    #[arg(long, env = "GETLOCKD_LOG_LEVEL", default_value = log::DEFAULT_LEVEL, value_name = "FILTER")]
    pub log_level: log::Filter,
}

impl Cli {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// One line that tells what is wrong, or the text of `--help` or `--version`.
    pub fn read<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Self, CliError> {
        let matches = ignore_empty(Self::command()).try_get_matches_from(args);
        let cli = matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(CliError::from)?;
        match &cli.task {
            None => cli.config.check_together()?,
            Some(Task::Check(config)) => config.check_together()?,
            Some(Task::User(_) | Task::Ping { .. } | Task::Completions { .. } | Task::Man) => {}
        }
        Ok(cli)
    }
}

impl Config {
    /// Each wire, by the name that its flag has, and where it listens.
    pub fn wires(&self) -> [(Wire, Listen); 3] {
        [(Wire::Line, self.line), (Wire::MySql, self.mysql), (Wire::Http, self.http)]
    }

    /// Checks what flags mean together.
    fn check_together(&self) -> Result<(), CliError> {
        let wrong = |what: &str| Err(CliError::Invalid(what.to_owned()));
        if self.wires().iter().all(|(_, listen)| *listen == Listen::Off) {
            return wrong("nothing to serve: --line, --mysql and --http are off");
        }
        for (wire, listen) in self.wires() {
            if let Listen::At(addr) = listen {
                self.check_open(wire, addr).map_err(|error| CliError::Invalid(error.to_string()))?;
            }
        }
        self.check_ports()?;
        if self.lease_min > self.lease_max {
            return wrong("--lease-min is more than --lease-max; say one that is not");
        }
        self.tls.conflict().map_or(Ok(()), wrong)
    }
}

/// Why the command line gives no configuration.
#[derive(Debug)]
pub enum CliError {
    /// `--help` or `--version`: the text.
    Help(String),
    /// What is wrong.
    Invalid(String),
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
        if matches!(error.kind(), DisplayHelp | DisplayVersion) {
            return Self::Help(error.render().to_string());
        }
        // One line: what is wrong and the hint to it, without the summary of usage behind.
        let text = error.render().to_string();
        let parts = text.lines().take_while(|line| !line.starts_with("Usage:"));
        let parts = parts.map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("For more"));
        let line = parts.collect::<Vec<_>>().join("; ").replace(":;", ":");
        Self::Invalid(line.trim_start_matches("error: ").to_owned())
    }
}

#[cfg(test)]
mod tests;
