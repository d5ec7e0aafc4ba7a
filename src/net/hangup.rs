//! A socket that detects that the client has closed it, even while unread bytes lie before the end of the stream.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::sleep,
};

/// How many bytes may lie unread behind a request that waits. Behind more, the end of the stream could not arrive,
/// because the receive buffer of the kernel is full.
const MAX_UNREAD: usize = 64 * 1024;

/// How long bytes may lie unread before they are counted.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// One of two handles of a socket: this one reads and writes, the other one watches.
#[derive(Debug)]
pub struct WatchedStream(Arc<Socket>);

/// The other handle: it resolves when the client has closed the connection.
#[derive(Debug)]
pub struct HangupWatch(Arc<Socket>);

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// The number of reads so far.
    reads: AtomicUsize,
}

impl WatchedStream {
    /// Splits a socket into its two handles.
    pub fn new(stream: TcpStream) -> (Self, HangupWatch) {
        let socket = Arc::new(Socket { stream, reads: AtomicUsize::new(0) });
        (Self(socket.clone()), HangupWatch(socket))
    }
}

impl HangupWatch {
    /// Resolves when the client has closed the connection, or has sent so much while a request waits that a close could
    /// not be detected. Cancel-safe.
    pub async fn hung_up(&self) {
        tokio::select! { () = closed(&self.0.stream) => {}, () = self.backlogged() => {} }
    }

    /// Resolves when so many bytes lie unread, and none are read, that the end of the stream could not arrive.
    ///
    /// Cancel-safe.
    async fn backlogged(&self) {
        loop {
            let reads = self.0.reads.load(Ordering::Relaxed);
            if self.0.stream.readable().await.is_err() {
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
        self.0.stream.peek(&mut space).await.unwrap_or(MAX_UNREAD)
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read_buf(buf) {
                Ok(_) => {
                    self.0.reads.fetch_add(1, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match self.0.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write))
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
