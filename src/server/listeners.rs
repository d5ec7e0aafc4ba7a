//! Where the wires listen.

use tokio::net::TcpListener;

use super::StartError;
use crate::{
    config::{Config, Listen},
    net,
    ops::systemd::{Passed, PassedError},
};

/// The listening socket of each wire that is on.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) line: Option<TcpListener>,
    pub(super) mysql: Option<TcpListener>,
    pub(super) http: Option<TcpListener>,
}

impl Listeners {
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let mut passed = None;
        // One at a time: nothing is said of a second where a first cannot listen.
        let mut listen = |wire| listen(config, wire, &mut passed);
        let [line, mysql, http] = config.wires();
        let listeners = Self { line: listen(line)?, mysql: listen(mysql)?, http: listen(http)? };
        for name in passed.iter().flat_map(Passed::left) {
            tracing::warn!(name, "systemd passed a socket that no wire takes");
        }
        Ok(listeners)
    }
}

fn listen(
    config: &Config,
    (wire, listen): (&'static str, Listen),
    passed: &mut Option<Passed>,
) -> Result<Option<TcpListener>, StartError> {
    let listener = match listen {
        Listen::Off => return Ok(None),
        Listen::At(addr) => net::listen(addr).map_err(|error| StartError::Listen { wire, addr, error })?,
        Listen::Systemd => adopt(wire, passed)?,
    };
    let addr = listener.local_addr().map_err(PassedError::from)?;
    config.check_open(wire, addr)?;
    tracing::info!(wire, %addr, "listening");
    if let Some(warning) = config.shown_passwords(addr) {
        tracing::warn!(wire, %addr, "{warning}");
    }
    Ok(Some(listener))
}

/// The socket that systemd passed for a wire.
fn adopt(wire: &str, passed: &mut Option<Passed>) -> Result<TcpListener, PassedError> {
    if passed.is_none() {
        *passed = Some(Passed::take_all()?);
    }
    let socket =
        passed.as_mut().map_or(Err(PassedError::None(wire.to_owned())), |passed| passed.take(wire))?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket)?)
}
