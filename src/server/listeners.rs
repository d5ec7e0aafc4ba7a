//! Where the wires listen.

use tokio::net::TcpListener;

use super::plan::StartError;
use crate::{
    config::{Config, Listen},
    core::client_info::Wire,
    net,
    ops::systemd::{PassedError, PassedSockets},
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
        // The first that fails ends it: the log says nothing of a later one.
        let mut listen = |wire, wanted| listen(config, wire, wanted, &mut passed);
        let listeners = Self {
            line: listen(Wire::Line, config.line)?,
            mysql: listen(Wire::MySql, config.mysql)?,
            http: listen(Wire::Http, config.http)?,
        };
        for name in passed.iter().flat_map(PassedSockets::left) {
            tracing::warn!(name, "systemd passed a socket that no wire takes");
        }
        Ok(listeners)
    }
}

fn listen(
    config: &Config,
    wire: Wire,
    listen: Listen,
    passed: &mut Option<PassedSockets>,
) -> Result<Option<TcpListener>, StartError> {
    let listener = match listen {
        Listen::Off => return Ok(None),
        Listen::At(addr) => net::listen(addr).map_err(|error| StartError::Listen { wire, addr, error })?,
        Listen::Systemd => adopt(wire.as_str(), passed)?,
    };
    let addr = listener.local_addr().map_err(PassedError::from)?;
    config.check_open(wire, addr)?;
    tracing::info!(wire = wire.as_str(), %addr, "listening");
    if let Some(warning) = config.password_warning(addr) {
        tracing::warn!(wire = wire.as_str(), %addr, "{warning}");
    }
    Ok(Some(listener))
}

/// The socket that systemd passed for a wire.
fn adopt(wire: &str, passed: &mut Option<PassedSockets>) -> Result<TcpListener, PassedError> {
    if passed.is_none() {
        *passed = Some(PassedSockets::take_all()?);
    }
    let socket =
        passed.as_mut().map_or(Err(PassedError::None(wire.to_owned())), |passed| passed.take(wire))?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket)?)
}
