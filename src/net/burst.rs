//! One connection's reading and writing, in bursts: one read takes all that came, one write sends
//! all the replies to it.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::Keepalive;

/// The most that is read from a client while one of its commands waits.
pub const MAX_READ_AHEAD: usize = 128 * 1024;

/// The most replies, in bytes, that wait for a client to read them before it is served again.
pub const MAX_UNSENT: usize = 64 * 1024;

/// What one read takes at most. It stands on the stack, so that an idle connection has no buffer.
const READ: usize = 16 * 1024;

/// How long a connection that is closed waits for its client to take the last words.
const LINGER: Duration = Duration::from_secs(1);

/// A socket with what was read and not yet used, and what is to be written.
#[derive(Debug)]
pub struct Burst {
    stream: TcpStream,
    keepalive: Keepalive,
    stalled: bool,
    /// What came.
    pub input: BytesMut,
    /// What goes out with the next flush.
    pub output: BytesMut,
}

impl Burst {
    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// When its options cannot be set: it is gone already.
    pub fn new(stream: TcpStream, keepalive: Keepalive) -> io::Result<Self> {
        keepalive.prepare(&stream)?;
        Ok(Self { stream, keepalive, stalled: false, input: BytesMut::new(), output: BytesMut::new() })
    }

    /// Appends what came to `input`: how many bytes, 0 at the end of the stream. While nothing
    /// comes, buffers that are empty are given back.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut space);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
        if polled.is_pending() {
            give_back(&mut self.input);
            give_back(&mut self.output);
        }
        ready!(polled)?;
        self.input.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Writes all of `output`.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, &self.output);
            self.note_stall(polled.is_pending());
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.output.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is to be sent, then resolves when the client has gone. What it sends meanwhile
    /// is kept, up to [`MAX_READ_AHEAD`]; beyond that it stays in the kernel.
    ///
    /// Cancel-safe: nothing read is lost, nothing is sent twice.
    pub async fn hung_up(&mut self) {
        if std::future::poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
            return;
        }
        while self.input.len() < MAX_READ_AHEAD {
            match std::future::poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        closed(&self.stream).await;
    }

    /// Sends what is to be sent and closes, such that the client gets to read it: closing at once
    /// over unread input would reset the connection.
    ///
    /// Takes at most a second. Not cancel-safe.
    pub async fn close(mut self) {
        let last_words = async {
            self.stream.write_all_buf(&mut self.output).await?;
            self.stream.shutdown().await?;
            self.input.clear();
            while std::future::poll_fn(|cx| self.poll_fill(cx)).await? > 0 {
                self.input.clear();
            }
            Ok::<_, io::Error>(())
        };
        // Whoever does not take them by then has no use for them.
        let _ = tokio::time::timeout(LINGER, last_words).await;
    }

    /// A peer that does not read is bounded by no time: it lives, and keeps its locks.
    fn note_stall(&mut self, stalled: bool) {
        if stalled && !self.stalled {
            Keepalive::allow_unread(&self.stream);
        } else if self.stalled && !stalled {
            // Should it fail the peer is found gone by the next write.
            let _ = self.keepalive.limit_unacknowledged(&self.stream);
        }
        self.stalled = stalled;
    }
}

fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}

/// Resolves when the other end has closed, without reading what lies in front of it.
#[cfg(target_os = "linux")]
async fn closed(stream: &TcpStream) {
    // Priority data is not asked for, so what is left of this interest is the end of the stream.
    let _ = stream.ready(tokio::io::Interest::PRIORITY).await;
}

/// Resolves when the other end has closed, without reading what lies in front of it.
#[cfg(not(target_os = "linux"))]
async fn closed(stream: &TcpStream) {
    let is_open =
        async || stream.ready(tokio::io::Interest::READABLE).await.is_ok_and(|r| !r.is_read_closed());
    while is_open().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
