//! A socket with buffers: one read takes all that has arrived, one write sends all the replies to it. System calls are most
//! of what a short request costs.

use std::{
    future::poll_fn,
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::{
    Keepalive, Rewind, Secured, Tls,
    hangup::closed,
    silence::{Liveness, SilenceWatch, is_silent},
};
use crate::core::budget::{Budget, Charge, Exceeded, OWN_MEMORY};

/// The most replies, in bytes, that wait for a client to read them before it is served again. A longer one is charged
/// to its budget.
pub const MAX_UNSENT: usize = OWN_MEMORY;

/// What one read takes at most. The buffer is on the stack, so that an idle connection has none.
const READ: usize = 16 * 1024;

/// What a buffer for replies has room for at first.
const SHORT_REPLY: usize = 256;

/// How long a connection that is closed waits for its client to close too.
const LINGER: Duration = Duration::from_secs(1);

/// What the connections of a port have in common.
#[derive(Debug)]
pub struct TransportConfig {
    /// Within which time a client that vanished is detected.
    pub keepalive: Keepalive,
    /// The certificates and keys; none without TLS.
    pub tls: Option<Arc<Tls>>,
    /// How long their clients may take.
    pub timeouts: Timeouts,
}

/// How long a client may take to log in, and for how long it may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long it has to log in, or to say what it wants, where it has to speak first.
    pub login: Duration,
    /// How long a connection that holds nothing may be idle; none forever.
    pub idle: Option<Duration>,
    /// How long one that holds a lock may be idle, before it is freed; none forever.
    pub idle_holder: Option<Duration>,
}

impl Timeouts {
    /// It may take any time.
    pub const NONE: Self = Self { login: Duration::MAX, idle: None, idle_holder: None };
}

impl From<Keepalive> for TransportConfig {
    fn from(keepalive: Keepalive) -> Self {
        Self { keepalive, tls: None, timeouts: Timeouts::NONE }
    }
}

/// What few connections have: apart, so that the others stay small.
#[derive(Debug, Default)]
struct Rare {
    watch: Option<SilenceWatch>,
    /// What a long `input` is charged, until it is empty.
    input: Charge,
    /// What a long `output` is charged, until it is sent.
    output: Charge,
}

/// A socket with what was read and not yet used, and what is to be written.
#[derive(Debug)]
pub struct BufferedSocket {
    stream: Stream,
    /// Shared: every idle connection would have a copy.
    transport: Arc<TransportConfig>,
    /// While there is a write to a client that may be gone, or a long buffer.
    rare: Option<Box<Rare>>,
    /// What has arrived and was not decoded yet.
    pub input: BytesMut,
    /// What the next flush sends.
    pub output: BytesMut,
}

impl BufferedSocket {
    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// When its options cannot be set: it is gone already.
    pub fn new(stream: TcpStream, transport: impl Into<Arc<TransportConfig>>) -> io::Result<Self> {
        let (transport, input, output) = (transport.into(), BytesMut::new(), BytesMut::new());
        transport.keepalive.prepare(&stream)?;
        Ok(Self { stream: Stream::Plain(stream), transport, rare: None, input, output })
    }

    /// What a TLS handshake needs; none if the port has no TLS.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.transport.tls.as_ref()
    }

    /// How long the client may take.
    pub fn timeouts(&self) -> Timeouts {
        self.transport.timeouts
    }

    /// The port that the client came by; none if the socket is gone.
    pub fn local_port(&self) -> Option<u16> {
        self.stream.tcp()?.local_addr().ok().map(|addr| addr.port())
    }

    /// The version and the cipher of TLS, if the connection has it.
    pub fn secured(&self) -> Option<Secured> {
        self.stream.secured()
    }

    /// Does the TLS handshake, whose first bytes are in `input`.
    ///
    /// Not cancel-safe: dropped, it closes the socket.
    ///
    /// # Errors
    /// When the client refuses, or is refused. It has been sent an alert.
    pub async fn upgrade(&mut self, tls: &Tls) -> io::Result<()> {
        let received = mem::take(&mut self.input);
        self.stream.upgrade(received, tls).await
    }

    /// Appends what came to `input`: how many bytes, 0 at the end of the stream. While nothing
    /// comes, buffers that are empty are given back.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut space);
        let polled = self.stream.poll_read(cx, &mut read);
        if polled.is_pending() {
            for buffer in [&mut self.input, &mut self.output] {
                if buffer.is_empty() {
                    *buffer = BytesMut::new();
                }
            }
            if self.rare.is_some() {
                self.release_charges();
                return self.poll_watch(cx).map(Err);
            }
        }
        ready!(polled)?;
        self.input.extend_from_slice(read.filled());
        if self.output.capacity() == 0 {
            // At once what a short reply needs, rather than a little more for each piece of it.
            self.output.reserve(SHORT_REPLY);
        }
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Sends all of `output`. Fails if the client is gone; a client that only does not read is waited for.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let unsent = self.output.len();
        let sent = self.stream.poll_send(cx, &mut self.output);
        if self.output.len() < unsent || matches!(sent, Poll::Ready(Ok(()))) {
            self.made_progress()?;
        }
        if sent.is_pending() {
            return self.poll_stalled(cx);
        }
        if self.rare.is_some() {
            self.release_charges();
        }
        sent
    }

    /// The write does not go on. Ready when the client is found gone.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let keepalive = self.transport.keepalive;
        let watch = &mut self.rare.get_or_insert_default().watch;
        watch.get_or_insert_with(|| SilenceWatch::begin(keepalive, true)).mark_stalled();
        self.poll_watch(cx).map(Err)
    }

    /// Ready when the client is found gone.
    #[cold]
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(stream) = self.stream.tcp() else { return Poll::Ready(io::ErrorKind::NotConnected.into()) };
        let Some(watch) = self.rare.as_mut().and_then(|rare| rare.watch.as_mut()) else {
            return Poll::Pending;
        };
        match ready!(watch.poll(cx, stream)) {
            Liveness::Gone => Poll::Ready(io::ErrorKind::TimedOut.into()),
            Liveness::Heard => {
                self.rare.get_or_insert_default().watch = None;
                self.release_charges();
                Poll::Pending
            }
        }
    }

    /// To be called before a late answer, as at the end of a wait: the client may have been silent for a while, and is given
    /// up when its silence is too long, whatever is sent meanwhile.
    pub fn watch_late_answer(&mut self) {
        let keepalive = self.transport.keepalive;
        if self.watch().is_none() && self.stream.tcp().is_some_and(|stream| is_silent(stream, keepalive)) {
            self.begin_watch();
        }
    }

    fn watch(&self) -> Option<&SilenceWatch> {
        self.rare.as_ref()?.watch.as_ref()
    }

    #[cold]
    fn begin_watch(&mut self) {
        let watch = SilenceWatch::begin(self.transport.keepalive, false);
        self.rare.get_or_insert_default().watch = Some(watch);
    }

    /// For how much silence of the client nothing is freed that it holds.
    pub fn left(&self) -> Duration {
        self.transport.keepalive.left()
    }

    /// The client has read something: a stall is over.
    fn made_progress(&mut self) -> io::Result<()> {
        if self.watch().is_some_and(SilenceWatch::is_stalled) { self.end_stall() } else { Ok(()) }
    }

    #[cold]
    fn end_stall(&mut self) -> io::Result<()> {
        // The kernel may have had room for all of it, while the client is gone.
        self.begin_watch();
        self.stream.tcp().map_or(Ok(()), |stream| self.transport.keepalive.limit_unacknowledged(stream))
    }

    /// Sends what is to be sent and takes what comes: how much came.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_fill(cx)
    }

    /// Resolves when the client has gone, or has sent more than its budget has room for. Meanwhile it sends what is
    /// to be sent, and keeps what comes, but for what `answered` takes out of it.
    ///
    /// The end of the stream stands behind all that was sent. Only a server that takes in what a client that is gone
    /// had in its buffers sees that it is gone, so one who sends too much is not left waiting with its locks. Where it
    /// is all connections that have no more, the rest stays with the network, and the end is seen once what stands in
    /// front of it fits there.
    ///
    /// Cancel-safe: nothing read is lost, nothing is sent twice.
    pub async fn hung_up(&mut self, budget: &Budget, mut answered: impl FnMut(&mut Self)) -> Hangup {
        loop {
            answered(self);
            match self.charge_input(budget) {
                Ok(()) => match poll_fn(|cx| self.poll_exchange(cx)).await {
                    Ok(0) | Err(_) => return Hangup::Left,
                    // One who sends much takes turns with the others: it is all looked at.
                    Ok(READ..) => yield_now().await,
                    Ok(_) => {}
                },
                Err(Exceeded::Connection(most)) => return Hangup::SentTooMuch(most),
                Err(Exceeded::Server(_)) => {
                    // Boxed: few come here, and every waiter would have room for it.
                    Box::pin(self.closed()).await;
                    return Hangup::Left;
                }
            }
        }
    }

    /// Resolves when the client has closed or reset the connection, without reading what lies in front of that.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) {
        if let Some(stream) = self.stream.tcp() {
            closed(stream).await;
        }
    }

    /// Pays for what came and what a read adds to it. As much as one read takes is free.
    fn charge_input(&mut self, budget: &Budget) -> Result<(), Exceeded> {
        if self.input.len() <= READ {
            return Ok(());
        }
        // A buffer that is full is doubled.
        let size = (self.input.len() + READ).next_power_of_two();
        let paid = &mut self.rare.get_or_insert_default().input;
        if paid.bytes() < size { budget.resize(paid, size) } else { Ok(()) }
    }

    /// Pays for an answer that was written behind `start`, if it is long, until it is sent. There is always room for
    /// a short one: what it tells of has happened.
    ///
    /// # Errors
    /// [`Exceeded`]: it cannot stay, see [`BufferedSocket::discard_answer`].
    pub fn charge_answer(&mut self, start: usize, budget: &Budget) -> Result<(), Exceeded> {
        if self.output.len() - start <= MAX_UNSENT {
            return Ok(());
        }
        budget.resize_answer(&mut self.rare.get_or_insert_default().output, self.output.len())
    }

    /// Takes back what was written behind `start`.
    pub fn discard_answer(&mut self, start: usize) {
        // A copy: what was cut off would stay with what is left.
        self.output = BytesMut::from(&self.output[..start]);
    }

    /// Gives back what is paid for buffers that are empty, and what nothing is left of.
    #[cold]
    fn release_charges(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        if self.input.is_empty() {
            rare.input.give_back();
        }
        if self.output.is_empty() {
            rare.output.give_back();
        }
        if rare.watch.is_none() && rare.input.bytes() + rare.output.bytes() == 0 {
            self.rare = None;
        }
    }

    /// Sends what is to be sent, for as long as the client lives, or for `patience` if there is
    /// one. Then closes such that the client gets to read it: closing at once over unread input
    /// would reset the connection.
    ///
    /// Not cancel-safe.
    pub async fn close(mut self, patience: Option<Duration>) {
        let flush = poll_fn(|cx| self.poll_flush(cx));
        let flushed = match patience {
            Some(patience) => timeout(patience, flush).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
            None => flush.await,
        };
        if flushed.is_ok() {
            // A client that has not closed by then is not waited for.
            let _ = timeout(LINGER, self.shut_down()).await;
        }
    }

    async fn shut_down(&mut self) -> io::Result<()> {
        self.stream.shut_down().await?;
        self.input.clear();
        while poll_fn(|cx| self.poll_fill(cx)).await? > 0 {
            self.input.clear();
        }
        Ok(())
    }
}

/// Why a wait for a client's end is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// It has closed or reset the connection.
    Left,
    /// It has sent more than is kept: than so many bytes, with what else is kept for it.
    SentTooMuch(usize),
}

/// A socket, with TLS or without. Most are without, and as small as the socket.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Rewind<TcpStream>>>),
    /// Lost to a handshake that failed.
    Gone,
}

impl Stream {
    /// The socket; none if it is gone.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(tls) => Some(&tls.get_ref().0.stream),
            Self::Gone => None,
        }
    }

    /// Does the handshake with a client whose first bytes, `received`, have been read.
    ///
    /// Not cancel-safe: dropped, it closes the socket.
    async fn upgrade(&mut self, received: BytesMut, tls: &Tls) -> io::Result<()> {
        match mem::replace(self, Self::Gone) {
            Self::Plain(stream) => {
                let accepted = tls.accept(Rewind::new(received, stream)).await?;
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

    fn secured(&self) -> Option<Secured> {
        let Self::Tls(tls) = self else { return None };
        Secured::by(tls.get_ref().1)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Sends all of `output`, and what TLS has taken and not sent yet. What was sent is cut off, whatever comes of the
    /// rest.
    fn poll_send(&mut self, cx: &mut Context<'_>, output: &mut BytesMut) -> Poll<io::Result<()>> {
        while !output.is_empty() {
            let sent = match self {
                Self::Plain(stream) => Pin::new(stream).poll_write(cx, output),
                Self::Tls(tls) => Pin::new(tls).poll_write(cx, output),
                Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            };
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => output.advance(sent),
            }
        }
        match self {
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Plain(_) | Self::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Ends what is sent: over TLS with its `close_notify` in front.
    async fn shut_down(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(tls) => tls.shutdown().await,
            Self::Gone => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn pair() -> (BufferedSocket, TcpStream) {
        let listener = crate::net::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (
            BufferedSocket::new(stream, TransportConfig::from(Keepalive(Duration::from_secs(30)))).unwrap(),
            client,
        )
    }

    #[tokio::test]
    async fn disconnect_of_a_slow_reader_is_seen() {
        let (mut io, mut client) = pair().await;
        io.output.resize(64 << 20, b'x');
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(io.hung_up(&Budget::default(), |_| ()).await, Hangup::Left);
        assert!(!io.output.is_empty(), "it read everything");
        assert_eq!(io.input, &b"last words"[..]);
    }

    #[tokio::test]
    async fn idle_connection_keeps_no_buffer() {
        let (mut io, mut client) = pair().await;
        client.write_all(b"PING").await.unwrap();
        assert_eq!(poll_fn(|cx| io.poll_fill(cx)).await.unwrap(), 4);
        io.output.extend_from_slice(b"PONG");
        poll_fn(|cx| io.poll_flush(cx)).await.unwrap();
        io.input.advance(4);
        assert!(poll_fn(|cx| Poll::Ready(io.poll_fill(cx))).await.is_pending());
        assert_eq!((io.input.capacity(), io.output.capacity()), (0, 0));
    }
}
