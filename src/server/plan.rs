//! What a server needs before it listens, and `getlockd check`, which wants to know no more.

use std::{fmt::Write, net::TcpListener, sync::Arc};

use super::{RESERVED_DESCRIPTORS, StartError};
use crate::{
    config::{Config, Listen},
    core::{
        budget::MAX_CONNECTION_MEMORY,
        share::{max_unauthenticated, reserve},
        users::Users,
    },
    net::Tls,
};

/// What a server needs before it listens: its files, and how many connections it can have.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) users: Option<Arc<Users>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) max_connections: usize,
}

impl Plan {
    pub(super) fn of(config: &Config) -> Result<Self, StartError> {
        let users = config.users.as_deref().map(Users::load).transpose()?.map(Arc::new);
        let tls = config.tls.files().map(|(files, required)| Tls::load(files, required)).transpose()?;
        let max_connections = max_connections(config.max_connections)?;
        Ok(Self { users, tls: tls.map(Arc::new), max_connections })
    }
}

/// What a server with a configuration would do, for a person: what is right, and what should be looked at.
#[derive(Debug)]
pub struct Checked {
    /// Some lines.
    pub report: String,
    /// One of each.
    pub warnings: Vec<String>,
}

/// Looks at all that is needed to serve, and does not listen.
///
/// # Errors
/// [`StartError`]: the first thing that is wrong.
pub fn check(config: &Config) -> Result<Checked, StartError> {
    let plan = Plan::of(config)?;
    let mut report = String::new();
    let mut warnings = Vec::new();
    for (wire, listen) in config.wires() {
        // Nothing goes wrong when a String is written to.
        let _ = writeln!(report, "{wire}: {listen}");
        let Listen::At(addr) = listen else { continue };
        // Its port may be in use, by the server that is to be changed.
        TcpListener::bind((addr.ip(), 0)).map_err(|error| StartError::Listen { wire, addr, error })?;
        if let Some(warning) = config.shown_passwords(addr) {
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
    warnings.extend(super::clock::warning());
    if config.max_connections.is_some_and(|wanted| wanted > plan.max_connections) {
        warnings
            .push("--max-connections is more than the process may open; raise its limit of files".to_owned());
    }
    Ok(Checked { report, warnings })
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
