//! The sockets of clients: that of a server alone, and those of a leader or a relay, which look at their term right before
//! each write.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{GuardedStream, Rewind, SocketGuard};

/// The socket of a client. It is not larger than a [`TcpStream`].
#[derive(Debug)]
pub enum Socket {
    /// Nothing limits what is told.
    Plain(TcpStream),
    /// What is told ends with a term.
    Guarded(Box<GuardedStream>),
    /// The same, over the TLS of a relay. The guard is below that, since rustls may write later.
    Relayed(Box<Rewind<TlsStream<GuardedStream>>>),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl Socket {
    /// From now on nothing is told once the term of `guard` is over. A socket that has a guard keeps it.
    #[must_use]
    pub fn guarded_by(self, guard: &Arc<SocketGuard>) -> Self {
        match self {
            Self::Plain(stream) => Self::Guarded(Box::new(GuardedStream::new(stream, guard.clone()))),
            guarded => guarded,
        }
    }

    /// Passes to another guard. Nothing if it has none.
    pub(super) fn adopt(&mut self, guard: &Arc<SocketGuard>) {
        match self {
            Self::Plain(_) => {}
            Self::Guarded(guarded) => guarded.adopt(guard),
            Self::Relayed(tls) => tls.stream.get_mut().0.adopt(guard),
        }
    }

    /// The TCP socket, for its options and its state: what is written to it passes the guard by.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Guarded(guarded) => guarded.tcp(),
            Self::Relayed(tls) => tls.stream.get_ref().0.tcp(),
        }
    }

    /// Copies the first bytes that come, and leaves them to be read. Returns their number; 0 means the end of the stream.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// An I/O error of the socket.
    pub async fn peek(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.peek(space).await,
            Self::Guarded(guarded) => guarded.tcp().peek(space).await,
            Self::Relayed(tls) => poll_fn(|cx| tls.poll_peek(cx, space)).await,
        }
    }

    /// Writes at once as much as there is room for, or nothing.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            Self::Guarded(guarded) => guarded.try_write(bytes),
            Self::Relayed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Guarded(guarded) => Pin::new(guarded).poll_read(cx, buf),
            Self::Relayed(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Guarded(guarded) => Pin::new(guarded).poll_write(cx, bytes),
            Self::Relayed(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Guarded(guarded) => Pin::new(guarded).poll_write_vectored(cx, bytes),
            Self::Relayed(tls) => Pin::new(tls).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // A TCP socket has nothing to flush.
            Self::Plain(_) | Self::Guarded(_) => Poll::Ready(Ok(())),
            Self::Relayed(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Guarded(guarded) => Pin::new(guarded).poll_shutdown(cx),
            Self::Relayed(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_is_as_small_as_the_tcp_stream() {
        assert_eq!(size_of::<Socket>(), size_of::<TcpStream>());
    }
}
