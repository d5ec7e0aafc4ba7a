//! The listening sockets of the wires.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
        // The first failure ends the start: the log says nothing about later wires.
        let mut listen = |wire, wanted| listen(config, wire, wanted, &mut passed);
        let listeners = Self {
            line: listen(Wire::Line, config.line)?,
            mysql: listen(Wire::MySql, config.mysql)?,
            http: listen(Wire::Http, config.http)?,
        };
        for name in passed.iter().flat_map(PassedSockets::left) {
            tracing::warn!(name, "ignoring a socket that systemd passed: no wire listens on this name");
        }
        Ok(listeners)
    }

    /// The addresses to try first: the page in a browser, and the line protocol in netcat, which speaks no TLS.
    pub(super) fn first_steps(&self, tls: bool) -> Option<String> {
        let scheme = if tls { "https" } else { "http" };
        let page = local_addr(self.http.as_ref()).map(|addr| format!("open {scheme}://{addr}/"));
        let line = local_addr(self.line.as_ref()).filter(|_| !tls);
        let line = line.map(|addr| format!("nc {} {}, then HELP", addr.ip(), addr.port()));
        match (page, line) {
            (Some(page), Some(line)) => Some(format!("{page} or run: {line}")),
            (Some(page), None) => Some(page),
            (None, line) => line.map(|line| format!("run: {line}")),
        }
    }
}

/// An address at which this machine reaches a listener: loopback if it listens on all addresses.
fn local_addr(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    let addr = listener?.local_addr().ok()?;
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, addr.port()))
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
    net::keep_urgent_inline(&listener).map_err(PassedError::from)?;
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
