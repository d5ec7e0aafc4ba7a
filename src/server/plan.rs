//! The files and limits that a server needs before it listens, and the report of `getlockd check` on them.

use std::{
    fmt::Write,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use getlockd_cluster::etcd::check::EtcdCheck;
use tokio::runtime::Builder;

use super::{
    clock,
    node::{EngineFlagsError, engine},
};
use crate::{
    config::{Config, Listen, OpenToAll},
    core::{
        budget::MAX_CONNECTION_MEMORY,
        client_info::Wire,
        share::{max_unauthenticated, reserve},
        users::{FileError, Users},
    },
    net::{Tls, TlsError},
    ops::systemd::PassedError,
    store::{FileStore, FoundStore, OpenError},
};

/// File descriptors that are not for connections: those of listeners, of the runtime, and of clients that are being told
/// that the server is full.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server cannot listen on an address.
    #[error("cannot listen on {addr} ({wire}): {error}; choose another address with --{wire}")]
    Listen {
        /// The wire that is configured for it.
        wire: Wire,
        /// The address.
        addr: SocketAddr,
        /// The I/O error.
        error: io::Error,
    },
    /// Anyone on other machines would have full access.
    #[error(transparent)]
    Open(#[from] OpenToAll),
    /// systemd did not pass the socket of a wire.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// The users file cannot be used.
    #[error(transparent)]
    Users(#[from] FileError),
    /// The limit of open files leaves nothing for connections.
    #[error(
        "this process may open only {0} files and needs {RESERVED_DESCRIPTORS} besides its connections; raise the limit (ulimit -n)"
    )]
    TooFewDescriptors(u64),
    /// The certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The lease store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The flags of the cluster describe no engine.
    #[error(transparent)]
    Engine(#[from] EngineFlagsError),
    /// A port of a node cannot be listened on.
    #[error("cannot listen on {addr}: {error}; choose another address with {flag}")]
    Port {
        /// The flag that names it.
        flag: &'static str,
        /// The address.
        addr: SocketAddr,
        /// The I/O error.
        error: io::Error,
    },
    /// The thread of the cluster cannot be started.
    #[error("cannot take part in the cluster: {0}")]
    Thread(io::Error),
    /// The engine of the cluster is not fit for it.
    #[error("--cluster: {0}")]
    Cluster(String),
    /// The system has no random bytes for the secret of this node.
    #[error("the system has no random bytes to give")]
    NoRandom,
    /// The descriptors of the gRPC services, which are compiled in, are broken.
    #[error("cannot describe the gRPC services: {0}")]
    Services(#[from] tonic_reflection::server::Error),
}

/// What a server has loaded before it listens, and how many connections it can have.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) users: Option<Arc<Users>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) max_connections: usize,
}

impl Plan {
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        let users = config.users.as_deref().map(Users::load).transpose()?.map(Arc::new);
        let tls = config.tls.files().map(|(files, required)| Tls::load(files, required)).transpose()?;
        let max_connections = max_connections(config.max_connections)?;
        Ok(Self { users, tls: tls.map(Arc::new), max_connections })
    }
}

/// The output of `getlockd check`.
#[derive(Debug)]
pub struct CheckReport {
    /// What the server would do, in lines.
    pub report: String,
    /// Settings that work but are probably not intended, each with what to do.
    pub warnings: Vec<String>,
}

/// Checks all that a server needs to start, without listening.
///
/// # Errors
/// [`StartError`]: the first problem that is found.
pub fn check(config: &Config) -> Result<CheckReport, StartError> {
    let plan = Plan::new(config)?;
    let mut report = String::new();
    let mut warnings = Vec::new();
    for (wire, listen) in config.wires() {
        // Nothing goes wrong when a String is written to.
        let _ = writeln!(report, "{wire}: {listen}");
        let Listen::At(addr) = listen else { continue };
        // The port itself may be in use, by the running server that this configuration is meant for.
        TcpListener::bind((addr.ip(), 0)).map_err(|error| StartError::Listen { wire, addr, error })?;
        if let Some(warning) = config.password_warning(addr) {
            warnings.push(format!("--{wire} {addr}: {warning}"));
        }
    }
    let _ = writeln!(report, "users: {}", users(config, &plan));
    let _ = writeln!(report, "tls: {}", tls(config, &plan));
    let _ = writeln!(report, "store: {}", store(config)?);
    if config.cluster.is_on() {
        warnings.extend(check_cluster(config, &mut report)?);
    }
    let _ = writeln!(report, "connections: at most {}{}", plan.max_connections, strangers(&plan));
    for (what, limit) in [("leases", config.max_leases), ("locks", config.max_locks)] {
        let _ = writeln!(report, "{what}: at most {limit}{}", share(limit));
    }
    let (each, all) = (MAX_CONNECTION_MEMORY, config.max_memory);
    let _ = writeln!(report, "memory: at most {each} bytes per connection, {all} for all connections");
    warnings.extend(clock::warning());
    if config.max_connections.is_some_and(|wanted| wanted > plan.max_connections) {
        warnings.push("--max-connections exceeds the limit of open files; raise that (ulimit -n)".to_owned());
    }
    Ok(CheckReport { report, warnings })
}

/// Checks the engine of the cluster, and the addresses of this node. Returns warnings.
fn check_cluster(config: &Config, report: &mut String) -> Result<Vec<String>, StartError> {
    let flags = &config.cluster;
    for (flag, addr) in [("--cluster-listen", Some(flags.listen)), ("--status", flags.status_addr())] {
        let Some(addr) = addr else { continue };
        TcpListener::bind((addr.ip(), 0)).map_err(|error| StartError::Port { flag, addr, error })?;
    }
    let engine = engine(&flags.engine, flags.cluster_ttl / 8)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let EtcdCheck { lines, warnings, errors } = runtime.block_on(engine.check(flags.cluster_ttl / 5));
    let place = format!("node {}, reached at {}", flags.name(), flags.advertised(flags.listen));
    for line in std::iter::once(place).chain(lines) {
        let _ = writeln!(report, "cluster: {line}");
    }
    if errors.is_empty() { Ok(warnings) } else { Err(StartError::Cluster(errors.join("; "))) }
}

fn users(config: &Config, plan: &Plan) -> String {
    match (&plan.users, &config.users) {
        (Some(users), Some(path)) => format!("{}, from {}", users.count(), path.display()),
        _ => "none: anyone who can connect has full access".to_owned(),
    }
}

fn store(config: &Config) -> Result<String, OpenError> {
    let Some(path) = &config.store.file else {
        let what = if config.cluster.is_on() {
            "the etcd of the cluster"
        } else {
            "none: leases end with the server"
        };
        return Ok(what.to_owned());
    };
    let found = match FileStore::check(path, config.store.anyway)? {
        FoundStore::Nothing => "to be made".to_owned(),
        // By the running server that this configuration is meant for.
        FoundStore::InUse => "in use by a running server".to_owned(),
        FoundStore::Leases(1) => "with 1 lease".to_owned(),
        FoundStore::Leases(count) => format!("with {count} leases"),
    };
    Ok(format!("{}, {found}", path.display()))
}

fn tls(config: &Config, plan: &Plan) -> String {
    let (Some(tls), Some((files, required))) = (&plan.tls, config.tls.files()) else {
        return "none".to_owned();
    };
    let whether = if required { "required" } else { "optional" };
    let clients = if files.client_ca.is_some() { "; clients must present a certificate" } else { "" };
    format!("{whether}, with {}{clients}", tls.cert().display())
}

/// How many of `limit` places one user or address may take; empty if that is all of them.
fn share(limit: usize) -> String {
    match limit - reserve(limit) {
        most if most == limit => String::new(),
        most => format!(", {most} per user or address"),
    }
}

fn strangers(plan: &Plan) -> String {
    let share = share(plan.max_connections);
    match &plan.users {
        Some(_) => format!("{share}, {} before login", max_unauthenticated(plan.max_connections)),
        None => share,
    }
}

/// The number of connections that are wanted, or as many as the limit of open files allows.
fn max_connections(wanted: Option<usize>) -> Result<usize, StartError> {
    let descriptors = wanted.map_or(u64::MAX, |wanted| (wanted as u64).saturating_add(RESERVED_DESCRIPTORS));
    let files = rlimit::increase_nofile_limit(descriptors).unwrap_or(1024);
    let possible = usize::try_from(files.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX);
    if possible == 0 {
        return Err(StartError::TooFewDescriptors(files));
    }
    Ok(possible.min(wanted.unwrap_or(usize::MAX)))
}
