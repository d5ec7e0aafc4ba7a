//! The stream of a connection: a socket, with TLS or without.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{Rewind, Secured, Tls};

/// A socket, with TLS or without. Most are without, and as small as the socket.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Rewind<TcpStream>>>),
    /// Lost to hands that were not shaken.
    Gone,
}

impl Stream {
    /// The socket; none if it is gone.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(tls) => Some(&tls.get_ref().0.stream),
            Self::Gone => None,
        }
    }

    /// Shakes hands with a client of whose part `came` has been read.
    ///
    /// Not cancel-safe: dropped, it closes the socket.
    pub(super) async fn upgrade(&mut self, came: BytesMut, tls: &Tls) -> io::Result<()> {
        match mem::replace(self, Self::Gone) {
            Self::Plain(stream) => {
                let accepted = tls.accept(Rewind::new(came, stream)).await?;
                *self = Self::Tls(Box::new(accepted));
                Ok(())
            }
            // It is done already.
            other => {
                *self = other;
                Err(io::ErrorKind::AlreadyExists.into())
            }
        }
    }

    pub(super) fn secured(&self) -> Option<Secured> {
        let Self::Tls(tls) = self else { return None };
        Secured::by(tls.get_ref().1)
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Sends what TLS has taken and not sent yet.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Plain(_) | Self::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Ends what is sent: by TLS with its goodbye in front.
    pub(super) async fn shut_down(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(tls) => tls.shutdown().await,
            Self::Gone => Ok(()),
        }
    }
}

/// Resolves when the other end has closed, without reading what lies in front of it.
#[cfg(target_os = "linux")]
pub(super) async fn closed(stream: &TcpStream) {
    // Priority data is not asked for, so what is left of this interest is the end of the stream.
    let _ = stream.ready(tokio::io::Interest::PRIORITY).await;
}

/// Resolves when the other end has closed, without reading what lies in front of it.
#[cfg(not(target_os = "linux"))]
pub(super) async fn closed(stream: &TcpStream) {
    let is_open =
        async || stream.ready(tokio::io::Interest::READABLE).await.is_ok_and(|r| !r.is_read_closed());
    while is_open().await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
