//! Which machines can reach a listener, and the refusals and warnings that follow from it.

use std::net::SocketAddr;

use super::{CliError, Config, Listen, PingTarget};
use crate::{
    core::client_info::Wire,
    wires::web::{HostPolicy, Hosts},
};

/// The warning for a port at which passwords cross a network without TLS.
const WITHOUT_TLS: &str = "users log in here from other machines without TLS: \
     passwords can be read in transit; give --tls-cert and --tls-key";

/// The warning for a port at which passwords may cross a network without TLS.
const TLS_OPTIONAL: &str = "users may log in here from other machines without TLS: \
     passwords can be read in transit; set --tls required";

/// Anyone on other machines would have full access, and `--open` was not given.
#[derive(Debug, thiserror::Error)]
#[error(
    "--{wire} {addr} is open to other machines and nobody has to log in there: \
     give --users FILE, or --open if anyone who can connect may have full access"
)]
pub struct OpenToAll {
    wire: Wire,
    addr: SocketAddr,
}

impl Config {
    /// Without users, the server may listen only on loopback, unless `--open` was given.
    ///
    /// # Errors
    /// [`OpenToAll`]
    pub fn check_open(&self, wire: Wire, addr: SocketAddr) -> Result<(), OpenToAll> {
        let is_intended = self.open || self.users.is_some();
        if is_intended || is_loopback(addr) { Ok(()) } else { Err(OpenToAll { wire, addr }) }
    }

    /// The host names that HTTP requests may use, and which clients are bound to them.
    pub(crate) fn hosts(&self) -> Hosts {
        let policy = match (&self.users, self.open) {
            (Some(_), _) => HostPolicy::Nobody,
            (None, true) => HostPolicy::Browsers,
            (None, false) => HostPolicy::Everybody,
        };
        Hosts { own: self.http_hosts.clone(), policy }
    }

    /// No two wires may listen on one port.
    pub(super) fn check_ports(&self) -> Result<(), CliError> {
        let wires = self.wires();
        for [(one, at), (other, too)] in [[wires[0], wires[1]], [wires[0], wires[2]], [wires[1], wires[2]]] {
            let (Listen::At(at), Listen::At(too)) = (at, too) else { continue };
            let is_same = at.ip() == too.ip() || at.ip().is_unspecified() || too.ip().is_unspecified();
            if at.port() != 0 && at.port() == too.port() && is_same {
                return Err(CliError::Invalid(format!(
                    "--{one} {at} and --{other} {too} are the same port; give them different ports"
                )));
            }
        }
        Ok(())
    }

    /// The warning for an address at which passwords can be read in transit.
    pub fn password_warning(&self, addr: SocketAddr) -> Option<&'static str> {
        let are_sent = self.users.is_some() && !is_loopback(addr);
        match self.tls.files() {
            Some((_, true)) => None,
            Some((_, false)) => are_sent.then_some(TLS_OPTIONAL),
            None => are_sent.then_some(WITHOUT_TLS),
        }
    }

    /// The port that a health check asks: the line protocol, or HTTP if that is off.
    ///
    /// # Errors
    /// A message that says what to do if both have no address.
    pub fn ping_target(&self) -> Result<PingTarget, String> {
        match (self.line, self.http) {
            (Listen::At(addr), _) => Ok(PingTarget::Line(addr)),
            (_, Listen::At(addr)) => Ok(PingTarget::Http(addr)),
            _ => {
                Err("no address to ask: give host:port of the line protocol, or http://host:port".to_owned())
            }
        }
    }
}

fn is_loopback(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}
