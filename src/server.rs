//! The server: its listeners, its sessions, and how it stops.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    command::Origin,
    config::{Config, Listen},
    line,
    net::{self, Burst, Gate, Keepalive},
    session::{Hub, Limits, Session},
};

/// Descriptors that are not for connections: listeners, the runtime's own, and those that are told
/// that there is no place.
const RESERVED_DESCRIPTORS: u64 = 64;

/// How long the last words to clients may take once everything is freed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be had.
    #[error("cannot listen on {addr} ({wire}): {error}")]
    Listen {
        /// The wire that wanted it.
        wire: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The process may open hardly anything.
    #[error("this process may open only {0} files, too few to serve; raise its limit (ulimit -n)")]
    TooFewDescriptors(u64),
}

/// A server that has its addresses and does not serve yet.
#[derive(Debug)]
pub struct Server {
    hub: Arc<Hub>,
    gate: Gate,
    max_connections: usize,
    keepalive: Keepalive,
    drain: Duration,
    line: Option<TcpListener>,
}

impl Server {
    /// Binds the addresses of `config`. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] when an address is taken or the process is too limited.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let line = listen(line::WIRE, config.line)?;
        let max_connections = max_connections(config.max_connections)?;
        Ok(Self {
            hub: Hub::new(Limits { locks_per_session: config.max_locks_per_session }),
            gate: Gate::new(max_connections),
            max_connections,
            keepalive: Keepalive(config.keepalive),
            drain: config.drain,
            line,
        })
    }

    /// Where the line protocol listens.
    pub fn line_addr(&self) -> Option<SocketAddr> {
        self.line.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The sessions of this server.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Serves until `stop` resolves, then lets holders finish for the time of `--drain`.
    ///
    /// Cancel-safe: dropped, it stops accepting; connections that are served go on.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { hub, gate, max_connections, keepalive, drain, line } = self;
        if let Some(listener) = line {
            let serve = serve_line(hub.clone(), keepalive);
            let refuse = refuse_line(max_connections, keepalive);
            tokio::spawn(net::accept(listener, gate.clone(), serve, refuse));
        }
        stop.await;
        tracing::info!(?drain, sessions = hub.sessions(), "stopping");
        gate.stop.cancel();
        gate.tasks.close();
        hub.drain();
        if timeout(drain, gate.tasks.wait()).await.is_err() {
            tracing::warn!(sessions = hub.sessions(), "drain is over; ending sessions that still hold locks");
            hub.end_all();
            let _ = timeout(LAST_WORDS, gate.tasks.wait()).await;
        }
        tracing::info!("stopped");
    }
}

fn listen(wire: &'static str, listen: Listen) -> Result<Option<TcpListener>, StartError> {
    let Listen::At(addr) = listen else { return Ok(None) };
    let listener = net::listen(addr).map_err(|error| StartError::Listen { wire, addr, error })?;
    let bound = listener.local_addr().unwrap_or(addr);
    tracing::info!(wire, addr = %bound, "listening");
    Ok(Some(listener))
}

/// As many connections as wanted, or at least as the process can open.
fn max_connections(wanted: Option<usize>) -> Result<usize, StartError> {
    let descriptors = wanted.map_or(u64::MAX, |wanted| wanted as u64 + RESERVED_DESCRIPTORS);
    let files = rlimit::increase_nofile_limit(descriptors).unwrap_or(1024);
    let possible = usize::try_from(files.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX);
    let possible = possible.min(Semaphore::MAX_PERMITS);
    match wanted {
        _ if possible == 0 => Err(StartError::TooFewDescriptors(files)),
        Some(wanted) if wanted > possible => {
            tracing::warn!(
                wanted,
                possible,
                files,
                "fewer connections than wanted: the process may not open more files"
            );
            Ok(possible)
        }
        wanted => Ok(wanted.unwrap_or(possible)),
    }
}

type Serving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn serve_line(hub: Arc<Hub>, keepalive: Keepalive) -> impl Fn(TcpStream) -> Serving {
    move |stream| {
        let hub = hub.clone();
        Box::pin(async move {
            if let Some((io, session)) = open(stream, keepalive, &hub, line::WIRE) {
                line::serve(io, session).await;
            }
        })
    }
}

fn refuse_line(max: usize, keepalive: Keepalive) -> impl Fn(TcpStream) -> Serving {
    move |stream| {
        Box::pin(async move {
            if let Ok(io) = Burst::new(stream, keepalive) {
                line::refuse(io, max).await;
            }
        })
    }
}

/// A session for a connection, unless its client has gone already.
fn open(
    stream: TcpStream,
    keepalive: Keepalive,
    hub: &Arc<Hub>,
    wire: &'static str,
) -> Option<(Burst, Session)> {
    let peer = stream.peer_addr().ok()?;
    let io = Burst::new(stream, keepalive).ok()?;
    Some((io, hub.open(Origin { wire, peer })))
}
