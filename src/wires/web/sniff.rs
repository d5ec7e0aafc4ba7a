//! The first bytes of a connection: whether it uses TLS, and which version of HTTP.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{io::AsyncReadExt, time::sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::net::{
    BufferedSocket, HangupWatch, Rewind, Socket, TLS_HELLO, Tls, TransportConfig, WatchedStream,
};

/// The first bytes of an HTTP/2 connection.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often the socket is checked for the rest of a possible preface.
const LOOK: Duration = Duration::from_millis(50);

/// How long a client may take to read why it is refused.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The stream that HTTP is read from, with or without TLS.
pub(super) type HttpStream = Either<WatchedStream, Box<Rewind<TlsStream<WatchedStream>>>>;

/// The result of sniffing.
pub(super) enum Sniffed {
    /// The connection can be served.
    Http { io: HttpStream, watch: HangupWatch },
    /// The client does not use TLS where TLS is required.
    NoTls(Socket),
}

/// Waits for the bytes that identify the protocol. The caller must bound the time.
///
/// Cancel-safe: dropped, it closes the socket.
pub(super) async fn sniff(mut stream: Socket, tls: Option<&Tls>) -> io::Result<Sniffed> {
    let Some(tls) = tls else { return plain(stream).await };
    if peek(&mut stream, &mut [0]).await? == [TLS_HELLO] {
        return secured(stream, tls).await;
    }
    if tls.is_required() { Ok(Sniffed::NoTls(stream)) } else { plain(stream).await }
}

async fn plain(mut stream: Socket) -> io::Result<Sniffed> {
    let mut start = [0; PREFACE.len()];
    while may_be_preface(peek(&mut stream, &mut start).await?) {
        sleep(LOOK).await;
    }
    let (io, watch) = WatchedStream::new(stream)?;
    Ok(Sniffed::Http { io: HttpStream::Left(io), watch })
}

async fn secured(stream: Socket, tls: &Tls) -> io::Result<Sniffed> {
    let (io, watch) = WatchedStream::new(stream)?;
    let mut io = tls.accept_http(io).await?;
    let mut start = BytesMut::new();
    // Decrypted bytes cannot be peeked, so they are read here and put back in front of the stream.
    while may_be_preface(&start) {
        if io.read_buf(&mut start).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Sniffed::Http { io: HttpStream::Right(Box::new(Rewind::new(start, io))), watch })
}

/// Whether there are too few bytes to tell the version of HTTP.
fn may_be_preface(start: &[u8]) -> bool {
    start.len() < PREFACE.len() && PREFACE.starts_with(start)
}

async fn peek<'a>(stream: &mut Socket, start: &'a mut [u8]) -> io::Result<&'a [u8]> {
    match stream.peek(start).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        came => Ok(&start[..came]),
    }
}

/// Tells a client that TLS is required.
pub(super) async fn refuse(stream: Socket, transport: Arc<TransportConfig>) {
    const REFUSAL: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 42\r\n\r\n\
          this port requires TLS: use https://...\n";
    if let Ok(mut io) = BufferedSocket::new(stream, transport) {
        io.output.extend_from_slice(REFUSAL);
        io.close(Some(LAST_WORDS)).await;
    }
}
