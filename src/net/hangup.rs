//! A socket that detects that the client has closed it, even while unread bytes lie before the end of the stream.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::server::TlsStream;

use super::{GuardedStream, Rewind, Socket};

/// How many bytes may lie unread behind a request that waits. Behind more, the end of the stream could not arrive,
/// because the receive buffer of the kernel is full.
const MAX_UNREAD: usize = 64 * 1024;

/// How long bytes may lie unread before they are counted.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// One of two handles of a socket: this one reads and writes, the other one watches.
#[derive(Debug)]
pub struct WatchedStream {
    shared: Arc<WatchedSocket>,
    /// The stream of a relay over TLS, which cannot be shared.
    relayed: Option<Box<Rewind<TlsStream<GuardedStream>>>>,
}

/// The other handle: it resolves when the client has closed the connection.
#[derive(Debug)]
pub struct HangupWatch(Arc<WatchedSocket>);

#[derive(Debug)]
struct WatchedSocket {
    /// That of the client, or below TLS of its own a second descriptor of it, which only watches.
    socket: Socket,
    /// The number of reads so far.
    reads: AtomicUsize,
}

impl WatchedStream {
    /// Splits a socket into its two handles.
    ///
    /// # Errors
    /// An I/O error if a relayed socket cannot have a second descriptor.
    pub fn new(socket: Socket) -> io::Result<(Self, HangupWatch)> {
        let (socket, relayed) = match socket {
            Socket::Relayed(tls) => {
                let watched = SockRef::from(tls.stream.get_ref().0.tcp()).try_clone()?;
                (TcpStream::from_std(watched.into())?.into(), Some(tls))
            }
            socket => (socket, None),
        };
        let shared = Arc::new(WatchedSocket { socket, reads: AtomicUsize::new(0) });
        Ok((Self { shared: shared.clone(), relayed }, HangupWatch(shared)))
    }
}

impl WatchedSocket {
    fn tcp(&self) -> &TcpStream {
        self.socket.tcp()
    }
}

impl HangupWatch {
    /// Resolves when the client has closed the connection, or has sent so much while a request waits that a close could
    /// not be detected. Cancel-safe.
    pub async fn hung_up(&self) {
        tokio::select! { () = closed(self.0.tcp()) => {}, () = self.backlogged() => {} }
    }

    /// Resolves when so many bytes lie unread, and none are read, that the end of the stream could not arrive.
    ///
    /// Cancel-safe.
    async fn backlogged(&self) {
        loop {
            let reads = self.0.reads.load(Ordering::Relaxed);
            if self.0.tcp().readable().await.is_err() {
                return;
            }
            sleep(POLL_INTERVAL).await;
            let is_stuck = || reads == self.0.reads.load(Ordering::Relaxed);
            if is_stuck() && self.unread().await >= MAX_UNREAD && is_stuck() {
                return;
            }
        }
    }

    async fn unread(&self) -> usize {
        let mut space = vec![0; MAX_UNREAD];
        self.0.tcp().peek(&mut space).await.unwrap_or(MAX_UNREAD)
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { shared, relayed } = self.get_mut();
        let read = match relayed {
            Some(tls) => Pin::new(tls).poll_read(cx, buf),
            None => poll_read(shared.tcp(), cx, buf),
        };
        if matches!(read, Poll::Ready(Ok(()))) {
            shared.reads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

fn poll_read(stream: &TcpStream, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read_buf(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read.map(drop)),
        }
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { shared, relayed } = self.get_mut();
        match (relayed, &shared.socket) {
            (Some(tls), _) => Pin::new(tls).poll_write(cx, bytes),
            (None, Socket::Guarded(guarded)) => guarded.poll_write(cx, bytes),
            (None, socket) => poll_write(socket.tcp(), cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().relayed {
            Some(tls) => Pin::new(tls).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { shared, relayed } = self.get_mut();
        match (relayed, &shared.socket) {
            (Some(tls), _) => Pin::new(tls).poll_shutdown(cx),
            (None, Socket::Guarded(guarded)) => guarded.poll_shutdown(cx),
            (None, socket) => Poll::Ready(SockRef::from(socket.tcp()).shutdown(Shutdown::Write)),
        }
    }
}

fn poll_write(stream: &TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

/// Resolves when the client has closed the connection, without reading the bytes before the end.
#[cfg(target_os = "linux")]
pub(super) async fn closed(stream: &TcpStream) {
    // Sockets are not registered for priority data, so this interest leaves only the end of the stream. Unread bytes
    // would satisfy an interest in reading at once.
    let _ = stream.ready(Interest::PRIORITY).await;
}

/// Resolves when the client has closed the connection, without reading the bytes before the end.
#[cfg(not(target_os = "linux"))]
pub(super) async fn closed(stream: &TcpStream) {
    let is_open = async || stream.ready(Interest::READABLE).await.is_ok_and(|r| !r.is_read_closed());
    while is_open().await {
        sleep(Duration::from_millis(50)).await;
    }
}
