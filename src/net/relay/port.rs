//! The cluster port: where relays come to a leader.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use getlockd_cluster::{moment::Moment, term::Term};
use getlockd_proto::keepalive::Keepalive;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    PortTls, Relays,
    frame::{FrameReader, FromLeader, FromRelay},
    introduction::{Introduction, Pass},
};
use crate::net::{GuardedStream, ProxyHeader, Rewind, Socket, SocketGuard, TLS_HELLO};

/// How long a relay may take for its introduction.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// How many connections may be in theirs.
const MAX_STRANGERS: usize = 1024;

/// How long to wait after a failed accept.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The cluster port of a node.
#[derive(Debug)]
pub struct RelayPort {
    /// TLS, where the server has a certificate.
    pub tls: Option<PortTls>,
    /// The number of this process, by which it knows its own port.
    pub process: u64,
    /// The relays of the term in which this node leads; none while it does not serve.
    pub relays: watch::Receiver<Option<Arc<Relays>>>,
}

impl RelayPort {
    /// Accepts relays.
    ///
    /// Cancel-safe: dropped, it closes the listener and the control connections; relayed connections go on.
    pub async fn accept(self, listener: TcpListener) {
        let (port, strangers, mut all) =
            (Arc::new(self), Arc::new(Semaphore::new(MAX_STRANGERS)), JoinSet::new());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = all.join_next() => continue,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept relays; trying again");
                    sleep(BACK_OFF).await;
                    continue;
                }
            };
            let Ok(place) = strangers.clone().try_acquire_owned() else { continue };
            let port = port.clone();
            all.spawn(async move {
                let introduced = timeout(INTRODUCTION, port.introduced(stream)).await;
                drop(place);
                match introduced.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
                    Ok(None) => {}
                    Ok(Some(control)) => {
                        if let Err(error) = control.run().await {
                            tracing::debug!(from = %peer, %error, "control connection ends");
                        }
                    }
                    Err(error) => tracing::debug!(from = %peer, %error, "no relay"),
                }
            });
        }
    }

    /// Reads who it is. A client's connection is passed on; a control connection is returned.
    ///
    /// Cancel-safe: dropped, it closes the connection.
    async fn introduced(&self, stream: TcpStream) -> io::Result<Option<ControlConnection>> {
        stream.set_nodelay(true)?;
        let mut socket = self.secured(stream).await?;
        let header = ProxyHeader::read(&mut socket).await?;
        let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        let Some(introduction) = Introduction::of(&header) else { return refused("no relay's header") };
        let relays = self.relays.borrow().clone();
        let (pass, client) = match introduction {
            Introduction::Who => {
                socket.write_all(&FromLeader::Process(self.process).encode()).await?;
                return Ok(None);
            }
            Introduction::Control(pass) => (pass, None),
            Introduction::Client(pass, wire, connection) => (pass, Some((wire, connection))),
        };
        if self.tls.is_some() && !matches!(socket, Socket::Relayed(_)) {
            return refused("this port requires TLS");
        }
        let Some(relays) = relays.filter(|relays| relays.lets_in(&pass)) else {
            return refused("another term, or a wrong secret");
        };
        let welcome = FromLeader::Welcome(relays.term()).encode();
        let Some((wire, connection)) = client else {
            Keepalive(relays.keepalive()).prepare(socket.tcp())?;
            socket.write_all(&welcome).await?;
            socket.flush().await?;
            return Ok(Some(ControlConnection { socket, relays, pass }));
        };
        let Some(entrance) = relays.entrance(wire) else { return refused("this wire is off, or drains") };
        socket.adopt(&relays.guard(&pass));
        socket.write_all(&welcome).await?;
        socket.flush().await?;
        entrance.admit(socket, connection.from, Some(pass.node));
        Ok(None)
    }

    /// With TLS if the relay begins so. The guard of the term comes later: it must lie below TLS.
    async fn secured(&self, stream: TcpStream) -> io::Result<Socket> {
        let is_tls = self.tls.is_some() && {
            let mut first = [0];
            stream.peek(&mut first).await? > 0 && first == [TLS_HELLO]
        };
        let stream = GuardedStream::new(stream, no_guard());
        match &self.tls {
            Some(tls) if is_tls => {
                let secured = Box::pin(tls.acceptor().accept(stream)).await?;
                Ok(Socket::Relayed(Box::new(Rewind::new(BytesMut::new(), secured))))
            }
            _ => Ok(Socket::Guarded(Box::new(stream))),
        }
    }
}

/// Of a connection to which nothing is told that a term promises.
fn no_guard() -> Arc<SocketGuard> {
    let term = Term::held(0, Moment { boot: Duration::MAX, raw: Duration::MAX });
    term.release();
    SocketGuard::new(Arc::new(term)).0
}

struct ControlConnection {
    socket: Socket,
    relays: Arc<Relays>,
    pass: Pass,
}

impl ControlConnection {
    /// Answers until the relay leaves.
    ///
    /// Cancel-safe: dropped, it closes the connection.
    async fn run(self) -> io::Result<()> {
        let Self { mut socket, relays, pass } = self;
        let promises = relays.control(pass);
        let (mut frames, mut is_told) = (FrameReader::default(), false);
        loop {
            tokio::select! {
                () = relays.cut().cancelled(), if !is_told => {
                    is_told = true;
                    socket.write_all(&FromLeader::Cut.encode()).await?;
                }
                frame = frames.next(&mut socket) => match FromRelay::decode(frame?) {
                    Some(FromRelay::Ask(number)) => {
                        socket.write_all(&FromLeader::Left(promises.answer(number)).encode()).await?;
                    }
                    Some(FromRelay::HasCut) => promises.has_cut(),
                    None => return Err(io::ErrorKind::InvalidData.into()),
                },
            }
            socket.flush().await?;
        }
    }
}

/// Whether the cluster port at an address is that of the process with this number. The caller bounds the time.
///
/// Cancel-safe.
///
/// # Errors
/// An I/O error if no cluster port answers there.
pub async fn is_own_port(address: &str, process: u64) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&Introduction::Who.encode()?).await?;
    let mut frame = [0; FromLeader::LENGTH];
    stream.read_exact(&mut frame).await?;
    Ok(FromLeader::decode(frame) == Some(FromLeader::Process(process)))
}
