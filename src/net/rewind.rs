//! A stream whose first bytes have already been read in order to detect the protocol.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that yields the given bytes again, and then the rest.
#[derive(Debug)]
pub struct Rewind<S> {
    prefix: BytesMut,
    /// The underlying stream.
    pub(super) stream: S,
}

impl<S> Rewind<S> {
    /// Puts `prefix`, which was read from `stream`, back in front of it.
    pub fn new(prefix: BytesMut, stream: S) -> Self {
        Self { prefix, stream }
    }
}

impl<S: AsyncRead + Unpin> Rewind<S> {
    /// Copies the first bytes, and keeps them to be read. Ready with as many as have come; 0 means the end of the stream.
    pub(super) fn poll_peek(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(room) = space.get_mut(self.prefix.len()..).filter(|room| !room.is_empty()) {
            let mut more = ReadBuf::new(room);
            match Pin::new(&mut self.stream).poll_read(cx, &mut more) {
                Poll::Pending if self.prefix.is_empty() => return Poll::Pending,
                Poll::Pending => {}
                Poll::Ready(read) => {
                    read?;
                    self.prefix.extend_from_slice(more.filled());
                }
            }
        }
        let came = self.prefix.len().min(space.len());
        space[..came].copy_from_slice(&self.prefix[..came]);
        Poll::Ready(Ok(came))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let taken = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..taken]);
        self.prefix.advance(taken);
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
