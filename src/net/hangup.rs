//! A socket that tells of its other end's closing, also where that stands behind bytes that nobody
//! wants to read yet.

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

/// As many bytes may lie unread behind a request that waits: the end of the stream of one who sends
/// more cannot arrive.
const MAX_UNREAD: usize = 64 * 1024;

/// How often it is looked whether they are read, while there are such.
const LOOK: Duration = Duration::from_secs(1);

/// One of two handles on a socket: this one reads and writes, the other watches.
#[derive(Debug)]
pub struct WatchedStream(Arc<Socket>);

/// The other: it resolves when the other end has gone.
#[derive(Debug)]
pub struct HangupWatch(Arc<Socket>);

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// How often something was read.
    reads: AtomicUsize,
}

impl WatchedStream {
    /// Splits a socket.
    pub fn new(stream: TcpStream) -> (Self, HangupWatch) {
        let socket = Arc::new(Socket { stream, reads: AtomicUsize::new(0) });
        (Self(socket.clone()), HangupWatch(socket))
    }
}

impl HangupWatch {
    /// Resolves when the other end has closed, or sends more than is read while a request waits, so
    /// that there would be no telling. Cancel-safe.
    pub async fn hung_up(&self) {
        tokio::select! { () = closed(&self.0.stream) => {}, () = self.stuffed() => {} }
    }

    async fn stuffed(&self) {
        loop {
            let reads = self.0.reads.load(Ordering::Relaxed);
            if self.0.stream.readable().await.is_err() {
                return;
            }
            sleep(LOOK).await;
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

/// Resolves when the other end has closed, without reading what lies in front of it.
#[cfg(target_os = "linux")]
pub(super) async fn closed(stream: &TcpStream) {
    // Priority data is not asked for, so what is left of this interest is the end of the stream.
    let _ = stream.ready(Interest::PRIORITY).await;
}

/// Resolves when the other end has closed, without reading what lies in front of it.
#[cfg(not(target_os = "linux"))]
pub(super) async fn closed(stream: &TcpStream) {
    let is_open = async || stream.ready(Interest::READABLE).await.is_ok_and(|r| !r.is_read_closed());
    while is_open().await {
        sleep(Duration::from_millis(50)).await;
    }
}
