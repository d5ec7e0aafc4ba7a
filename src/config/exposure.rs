//! Who gets to where a server listens, and what that means.

use std::net::SocketAddr;

use super::{Asked, Config, Listen, NotServing};
use crate::wires::web::{HostPolicy, Hosts};

/// What is said where passwords go over a net without TLS.
const WITHOUT_TLS: &str = "users log in here from other machines without TLS: \
     passwords can be read on the way; give --tls-cert and --tls-key";

/// What is said where they may.
const TLS_OPTIONAL: &str = "users may log in here from other machines without TLS: \
     passwords can be read on the way; say --tls required";

/// Everybody could do everything from other machines, and nobody has said that it is to be so.
#[derive(Debug, thiserror::Error)]
#[error(
    "--{wire} {addr} is open to other machines and nobody has to log in there: \
     give --users FILE, or say --open if everybody who gets there may do everything"
)]
pub struct OpenToAll {
    wire: &'static str,
    addr: SocketAddr,
}

impl Config {
    /// Where everybody may do everything, only this machine gets there, unless it is said otherwise.
    ///
    /// # Errors
    /// [`OpenToAll`]
    pub fn check_open(&self, wire: &'static str, addr: SocketAddr) -> Result<(), OpenToAll> {
        let is_meant = self.open || self.users.is_some();
        if is_meant || is_of_this_machine(addr) { Ok(()) } else { Err(OpenToAll { wire, addr }) }
    }

    /// The names under which HTTP is asked, and by whom.
    pub(crate) fn hosts(&self) -> Hosts {
        let policy = match (&self.users, self.open) {
            (Some(_), _) => HostPolicy::Nobody,
            (None, true) => HostPolicy::Browsers,
            (None, false) => HostPolicy::Everybody,
        };
        Hosts { own: self.http_hosts.clone(), policy }
    }

    /// No two wires listen at one port.
    pub(super) fn check_apart(&self) -> Result<(), NotServing> {
        let wires = self.wires();
        for [(one, at), (other, too)] in [[wires[0], wires[1]], [wires[0], wires[2]], [wires[1], wires[2]]] {
            let (Listen::At(at), Listen::At(too)) = (at, too) else { continue };
            let is_same = at.ip() == too.ip() || at.ip().is_unspecified() || too.ip().is_unspecified();
            if at.port() != 0 && at.port() == too.port() && is_same {
                return Err(NotServing::Wrong(format!(
                    "--{one} {at} and --{other} {too} are the same port; take two"
                )));
            }
        }
        Ok(())
    }

    /// What is to be said where passwords can be read on their way there.
    pub fn shown_passwords(&self, addr: SocketAddr) -> Option<&'static str> {
        let are_sent = self.users.is_some() && !is_of_this_machine(addr);
        match self.tls.files() {
            Some((_, true)) => None,
            Some((_, false)) => are_sent.then_some(TLS_OPTIONAL),
            None => are_sent.then_some(WITHOUT_TLS),
        }
    }

    /// What a health check asks: the line protocol, or HTTP where that is off.
    ///
    /// # Errors
    /// A line that says what to do.
    pub fn to_ask(&self) -> Result<Asked, String> {
        match (self.line, self.http) {
            (Listen::At(addr), _) => Ok(Asked::Line(addr)),
            (_, Listen::At(addr)) => Ok(Asked::Http(addr)),
            _ => {
                Err("say where the server is: host:port of its line protocol, or http://host:port".to_owned())
            }
        }
    }
}

fn is_of_this_machine(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}
