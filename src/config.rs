//! Every flag and its environment variable, checked once.

mod cluster;
mod exposure;
pub mod manual;
pub mod ping;
mod store;
pub mod store_command;
mod tls;
pub mod user_command;
mod values;

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, builder::BoolishValueParser};
use clap_complete::Shell;

pub use cluster::{ClusterFlags, EngineFlags};
pub use exposure::OpenToAll;
pub use store::StoreFlags;
pub use store_command::StoreArgs;
pub use tls::TlsFlags;
pub use values::{IdleLimit, Listen, LogFormat, PingTarget};
use values::{at_least_one, host, keepalive, line_size, memory_size, packet_size, some_time, time};

use getlockd_proto::environment::ignore_empty;

use crate::{
    core::{client_info::Wire, session::Limits},
    net::{Keepalive, ProxyFrom},
    ops::log,
};

/// A lock server: MySQL's GET_LOCK family without MySQL.
///
/// A lock lives exactly as long as the connection or the lease that holds it.
/// Try it: run getlockd, then `nc 127.0.0.1 3305` and type HELP.
#[derive(Clone, Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = UNITS)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub task: Option<Task>,

    /// How to serve.
    #[command(flatten)]
    pub config: Config,
}

/// The end of `--help`: how times are written.
const UNITS: &str =
    "TIME is a number with a unit, such as 500ms, 10s, 2m or 1h; without a unit it is in seconds.";

/// A task other than serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Print an entry for the users file; prompts for the password, or reads it from standard input
    User(NewUser),
    /// Check the flags and files, and print what a server would do (ports are assumed free); exits with 0 if it could
    /// start
    #[command(after_help = UNITS)]
    Check(Box<Config>),
    /// Ask a running server whether it answers; exits with 0 if it does
    Ping {
        /// Address of the line protocol (host:port) or of HTTP (http://host:port) [default: GETLOCKD_LINE, or
        /// GETLOCKD_HTTP where the line protocol is off, else 127.0.0.1:3305]
        #[arg(value_name = "ADDR")]
        server: Option<PingTarget>,
    },
    /// Show the leases in the store of a running server, or in the file of a stopped one (--file)
    Store(StoreArgs),
    /// Ask the leader of a cluster to hand over to another node; prints which node leads then
    ///
    /// Leases go on. Locks of connections end after --drain, as when a server is stopped.
    HandOver(HandOver),
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

/// A hand-over that is asked for.
#[derive(Args, Clone, Debug)]
pub struct HandOver {
    /// The node that is to lead [default: the newest version, then the youngest process]
    #[arg(value_name = "NODE")]
    pub node: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub engine: EngineFlags,
}

/// A new user.
#[derive(Args, Clone, Debug)]
pub struct NewUser {
    /// Name of the user
    pub name: String,
    /// Let the user take locks whose names start with PREFIX, or all locks with *; may be repeated
    #[arg(long, value_name = "PREFIX")]
    pub lock: Vec<String>,
    /// Let the user also see locks whose names start with PREFIX, or all locks with *; may be repeated
    #[arg(long, value_name = "PREFIX")]
    pub see: Vec<String>,
    /// Let the user end sessions of other users who may take and see only locks that this user may see
    #[arg(long)]
    pub kill: bool,
    /// Generate a random token for HTTP and gRPC instead of asking for a password; it is shown only once
    #[arg(long)]
    pub token: bool,
    /// Leave out the verifier for MySQL clients that support only mysql_native_password
    #[arg(long)]
    pub no_native: bool,
}

/// The configuration of the server.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Listen address of the line protocol: host:port (port 0 takes a free port), off, or systemd (the socket that it
    /// passes)
    #[arg(long, env = "GETLOCKD_LINE", default_value = "127.0.0.1:3305", value_name = "ADDR")]
    pub line: Listen,

    /// Listen address of the MySQL protocol: host:port, off, or systemd
    #[arg(long, env = "GETLOCKD_MYSQL", default_value = "127.0.0.1:3307", value_name = "ADDR")]
    pub mysql: Listen,

    /// Listen address of HTTP and gRPC: host:port, off, or systemd
    #[arg(long, env = "GETLOCKD_HTTP", default_value = "127.0.0.1:3308", value_name = "ADDR")]
    pub http: Listen,

    /// Host name under which browsers reach the server, directly or through a proxy; may be repeated. Without users,
    /// HTTP requests must use an address, localhost or one of these names; with --open only browsers must
    #[arg(long = "http-host", env = "GETLOCKD_HTTP_HOST", value_name = "NAME", value_delimiter = ',', value_parser = host)]
    pub http_hosts: Vec<String>,

    /// Users file; clients then have to log in. `getlockd user` prints its entries. SIGHUP reloads it
    #[arg(long, env = "GETLOCKD_USERS", value_name = "FILE")]
    pub users: Option<PathBuf>,

    /// Allow listening beyond loopback without users: anyone who can connect has full access
    #[arg(long, env = "GETLOCKD_OPEN", value_parser = BoolishValueParser::new())]
    pub open: bool,

    /// The flags of TLS.
    #[command(flatten)]
    pub tls: TlsFlags,

    /// Maximum number of connections [default: as many as the limit of open files allows]
    #[arg(long, env = "GETLOCKD_MAX_CONNECTIONS", value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_connections: Option<usize>,

    /// Number of threads that serve connections; more than one helps when one processor is not enough
    #[arg(long, env = "GETLOCKD_WORKERS", default_value_t = 1, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub workers: usize,

    /// Maximum number of locks that one session may hold
    #[arg(long, env = "GETLOCKD_MAX_LOCKS_PER_SESSION", default_value_t = Limits::DEFAULT.locks_per_session, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_locks_per_session: usize,

    /// Maximum number of locks that all sessions together may hold; the first 8 of each session do not count
    #[arg(long, env = "GETLOCKD_MAX_LOCKS", default_value_t = Limits::DEFAULT.locks, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_locks: usize,

    /// Maximum number of requests that may wait for one lock
    #[arg(long, env = "GETLOCKD_MAX_WAITERS_PER_LOCK", default_value_t = Limits::DEFAULT.waiters_per_lock, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_waiters_per_lock: usize,

    /// Maximum length of a line of the line protocol, in bytes
    #[arg(long, env = "GETLOCKD_MAX_LINE", default_value_t = crate::wires::line::MAX_LINE, value_name = "BYTES", value_parser = line_size, allow_negative_numbers = true)]
    pub max_line: usize,

    /// Maximum length of a packet of the MySQL protocol, in bytes
    #[arg(long, env = "GETLOCKD_MAX_PACKET", default_value_t = crate::wires::mysql::MAX_PACKET, value_name = "BYTES", value_parser = packet_size, allow_negative_numbers = true)]
    pub max_packet: usize,

    /// Maximum memory, in bytes, that the server keeps for all connections together, beyond 16 kB for each
    #[arg(long, env = "GETLOCKD_MAX_MEMORY", default_value_t = Limits::DEFAULT.memory, value_name = "BYTES", value_parser = memory_size, allow_negative_numbers = true)]
    pub max_memory: usize,

    /// How long a client may take to finish the TLS handshake, to log in (over MySQL, and on every wire where there are
    /// users), and to send its first HTTP request
    #[arg(long, env = "GETLOCKD_LOGIN_TIME", default_value = "10s", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub login_time: Duration,

    /// How long a connection that holds no lock may be idle before it is closed; off: no limit
    #[arg(
        long,
        env = "GETLOCKD_IDLE_TIME",
        default_value = "off",
        value_name = "TIME",
        allow_negative_numbers = true
    )]
    pub idle_time: IdleLimit,

    /// How long a connection that holds a lock may be idle before it is closed and its locks are released; off: no
    /// limit
    #[arg(
        long,
        env = "GETLOCKD_IDLE_TIME_HOLDERS",
        default_value = "off",
        value_name = "TIME",
        allow_negative_numbers = true
    )]
    pub idle_time_holders: IdleLimit,

    /// Shortest lease that a client may ask for
    #[arg(long, env = "GETLOCKD_LEASE_MIN", default_value = "10ms", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub lease_min: Duration,

    /// Longest lease that a client may ask for
    #[arg(long, env = "GETLOCKD_LEASE_MAX", default_value = "744h", value_name = "TIME", value_parser = some_time, allow_negative_numbers = true)]
    pub lease_max: Duration,

    /// Maximum number of leases, including requests that wait, and of Hold streams
    #[arg(long, env = "GETLOCKD_MAX_LEASES", default_value_t = 100_000, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub max_leases: usize,

    /// Where leases are kept over a restart.
    #[command(flatten)]
    pub store: StoreFlags,

    /// The cluster that this server is a node of.
    #[command(flatten)]
    pub cluster: ClusterFlags,

    /// How long until a client that vanished silently is detected and its locks are released
    #[arg(long, env = "GETLOCKD_KEEPALIVE", default_value = "30s", value_name = "TIME", value_parser = keepalive, allow_negative_numbers = true)]
    pub keepalive: Duration,

    /// How long lock holders may take to finish after SIGTERM or SIGINT
    #[arg(long, env = "GETLOCKD_DRAIN", default_value = "10s", value_name = "TIME", value_parser = time, allow_negative_numbers = true)]
    pub drain: Duration,

    /// Format of log lines
    #[arg(long, env = "GETLOCKD_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Log level: error, warn, info, debug, trace or off. Only trace logs lock names. Other crates log only errors,
    /// unless named: info,h2=warn
    #[arg(long, env = "GETLOCKD_LOG_LEVEL", default_value = log::DEFAULT_LEVEL, value_name = "FILTER")]
    pub log_level: log::Filter,
}

impl Cli {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do, or the text of `--help` or `--version`.
    pub fn read<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Self, CliError> {
        let matches = ignore_empty(Self::command()).try_get_matches_from(args);
        let cli = matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(CliError::from)?;
        match &cli.task {
            None => cli.config.check_together()?,
            Some(Task::Check(config)) => config.check_together()?,
            Some(
                Task::User(_)
                | Task::Ping { .. }
                | Task::Store(_)
                | Task::HandOver(_)
                | Task::Completions { .. }
                | Task::Man,
            ) => {}
        }
        Ok(cli)
    }
}

impl Config {
    /// Each wire and where it listens.
    pub fn wires(&self) -> [(Wire, Listen); 3] {
        [(Wire::Line, self.line), (Wire::MySql, self.mysql), (Wire::Http, self.http)]
    }

    /// The balancers that say who their clients are; none without any.
    pub(crate) fn proxy_from(&self) -> Option<Arc<ProxyFrom>> {
        let networks = self.cluster.proxies.clone();
        (!networks.is_empty()).then(|| Arc::new(ProxyFrom { networks, time: self.login_time }))
    }

    /// Checks flags against each other.
    fn check_together(&self) -> Result<(), CliError> {
        let wrong = |what: &str| Err(CliError::Invalid(what.to_owned()));
        if self.wires().iter().all(|(_, listen)| *listen == Listen::Off) {
            return wrong("nothing to serve: --line, --mysql and --http are all off; turn one of them on");
        }
        for (wire, listen) in self.wires() {
            if let Listen::At(addr) = listen {
                self.check_open(wire, addr).map_err(|error| CliError::Invalid(error.to_string()))?;
            }
        }
        self.check_ports()?;
        if self.lease_min > self.lease_max {
            return wrong("--lease-min is more than --lease-max; lower it, or raise --lease-max");
        }
        if self.cluster.is_on() && self.store.file.is_some() {
            return wrong(
                "--store is for a server alone: the leases of a cluster are in its etcd; leave --store out",
            );
        }
        if self.cluster.is_on() && Keepalive(self.keepalive).left().is_zero() {
            return wrong("--keepalive: in a cluster use at least 10s, or clients would trust no lock");
        }
        self.cluster.check()?;
        self.tls.conflict().map_or(Ok(()), wrong)
    }
}

/// Why the command line yields no configuration.
#[derive(Debug)]
pub enum CliError {
    /// `--help` or `--version`: the text.
    Help(String),
    /// What is wrong and what to do, in one line.
    Invalid(String),
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
        if matches!(error.kind(), DisplayHelp | DisplayVersion) {
            return Self::Help(error.render().to_string());
        }
        // One line: what is wrong and the hint to it, without the usage summary after it.
        let text = error.render().to_string();
        let parts = text.lines().take_while(|line| !line.starts_with("Usage:"));
        let parts = parts.map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("For more"));
        let line = parts.collect::<Vec<_>>().join("; ").replace(":;", ":");
        Self::Invalid(line.trim_start_matches("error: ").to_owned())
    }
}

#[cfg(test)]
mod tests;
