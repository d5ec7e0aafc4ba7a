//! What a server needs before it listens, and `getlockd check`, which wants to know no more.

use std::{
    fmt::Write,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use super::clock;
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
};

/// Descriptors that are not for connections: listeners, the runtime's own, and clients that are told that there is no
/// place.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be had.
    #[error("cannot listen on {addr} ({wire}): {error}")]
    Listen {
        /// The wire that wanted it.
        wire: Wire,
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// Anyone on other machines would have full access.
    #[error(transparent)]
    Open(#[from] OpenToAll),
    /// systemd did not pass what was to be served.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// The users cannot be read.
    #[error(transparent)]
    Users(#[from] FileError),
    /// The process may open hardly anything.
    #[error(
        "this process may open only {0} files and needs {RESERVED_DESCRIPTORS} beside its connections; raise its limit (ulimit -n)"
    )]
    TooFewDescriptors(u64),
    /// Certificates or keys are not what they should be.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The description of the gRPC services is broken.
    #[error("cannot describe the gRPC services: {0}")]
    Services(#[from] tonic_reflection::server::Error),
}

/// What a server needs before it listens: its files, and how many connections it can have.
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

/// What a server with a configuration would do, for a person: what is right, and what should be looked at.
#[derive(Debug)]
pub struct CheckReport {
    /// What it would do, in lines.
    pub report: String,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

/// Checks all that is needed to serve, and does not listen.
///
/// # Errors
/// [`StartError`]: the first thing that is wrong.
pub fn check(config: &Config) -> Result<CheckReport, StartError> {
    let plan = Plan::new(config)?;
    let mut report = String::new();
    let mut warnings = Vec::new();
    for (wire, listen) in config.wires() {
        // Nothing goes wrong when a String is written to.
        let _ = writeln!(report, "{wire}: {listen}");
        let Listen::At(addr) = listen else { continue };
        // Its port may be in use, by the server that is to be changed.
        TcpListener::bind((addr.ip(), 0)).map_err(|error| StartError::Listen { wire, addr, error })?;
        if let Some(warning) = config.password_warning(addr) {
            warnings.push(format!("--{wire} {addr}: {warning}"));
        }
    }
    let _ = writeln!(report, "users: {}", users(config, &plan));
    let _ = writeln!(report, "tls: {}", tls(config, &plan));
    let _ = writeln!(report, "connections: at most {}{}", plan.max_connections, strangers(&plan));
    for (what, limit) in [("leases", config.max_leases), ("locks", config.max_locks)] {
        let _ = writeln!(report, "{what}: at most {limit}{}", share(limit));
    }
    let (each, all) = (MAX_CONNECTION_MEMORY, config.max_memory);
    let _ = writeln!(report, "memory: at most {each} bytes for a connection, {all} for all");
    warnings.extend(clock::warning());
    if config.max_connections.is_some_and(|wanted| wanted > plan.max_connections) {
        warnings
            .push("--max-connections is more than the process may open; raise its limit of files".to_owned());
    }
    Ok(CheckReport { report, warnings })
}

fn users(config: &Config, plan: &Plan) -> String {
    match (&plan.users, &config.users) {
        (Some(users), Some(path)) => format!("{}, from {}", users.count(), path.display()),
        _ => "none: everybody who gets here may do everything".to_owned(),
    }
}

fn tls(config: &Config, plan: &Plan) -> String {
    let (Some(tls), Some((files, required))) = (&plan.tls, config.tls.files()) else {
        return "none".to_owned();
    };
    let whether = if required { "required" } else { "optional" };
    let clients = if files.client_ca.is_some() { "; clients must show a certificate" } else { "" };
    format!("{whether}, with {}{clients}", tls.cert().display())
}

/// How many of these places one user or address has at most.
fn share(limit: usize) -> String {
    match limit - reserve(limit) {
        most if most == limit => String::new(),
        most => format!(", of one user or address {most}"),
    }
}

fn strangers(plan: &Plan) -> String {
    let share = share(plan.max_connections);
    match &plan.users {
        Some(_) => format!("{share}, before they log in {}", max_unauthenticated(plan.max_connections)),
        None => share,
    }
}

/// As many connections as wanted, or at least as the process can open.
fn max_connections(wanted: Option<usize>) -> Result<usize, StartError> {
    let descriptors = wanted.map_or(u64::MAX, |wanted| (wanted as u64).saturating_add(RESERVED_DESCRIPTORS));
    let files = rlimit::increase_nofile_limit(descriptors).unwrap_or(1024);
    let possible = usize::try_from(files.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX);
    if possible == 0 {
        return Err(StartError::TooFewDescriptors(files));
    }
    Ok(possible.min(wanted.unwrap_or(usize::MAX)))
}
