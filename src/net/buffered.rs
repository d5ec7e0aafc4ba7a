//! A buffered socket: one read takes everything that has arrived, and one write sends all replies to it. System calls
//! are most of the cost of a short request.

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
use getlockd_cluster::{moment::Moment, term::Term};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::{
    Keepalive, Rewind, Secured, Socket, Tls,
    hangup::closed,
    silence::{Liveness, SilenceWatch, is_silent},
};
use crate::core::budget::{Budget, Charge, Exceeded, OWN_MEMORY};

/// The most bytes of replies that may wait for a client to read them before its next command is run. A longer reply is
/// charged to its budget.
pub const MAX_UNSENT: usize = OWN_MEMORY;

/// The most bytes that one read takes. The buffer is on the stack, so that an idle connection has none.
const READ: usize = 16 * 1024;

/// The initial capacity of a buffer for replies.
const SHORT_REPLY: usize = 256;

/// How long the server, after closing a connection, waits for the client to close it too.
const LINGER: Duration = Duration::from_secs(1);

/// The settings that the connections of a port share.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// How long until a vanished client is detected.
    pub keepalive: Keepalive,
    /// The certificates and keys; `None` without TLS.
    pub tls: Option<Arc<Tls>>,
    /// The time limits of clients.
    pub timeouts: Timeouts,
    /// The term under which the connections of a leader are served; none on a server alone.
    pub term: Option<LeaderTerm>,
}

/// A term, as a leader's transport knows it.
#[derive(Clone, Debug)]
pub struct LeaderTerm {
    /// When it ends.
    pub term: Arc<Term>,
    /// How much longer a successor waits before it grants.
    pub takeover_delay: Duration,
}

/// For how long a silent client keeps what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// From the moment of the question on.
    pub time: Duration,
    /// The term that promises it; none on a server alone.
    pub term: Option<u64>,
}

impl TransportConfig {
    /// For how long a silent client keeps what it holds: until it is found to be gone, and no longer than the term of a
    /// leader runs.
    pub fn left(&self) -> Left {
        let time = self.keepalive.left();
        match &self.term {
            None => Left { time, term: None },
            Some(LeaderTerm { term, takeover_delay }) => {
                let left = match term.left(Moment::now()) {
                    Duration::ZERO => Duration::ZERO,
                    left => left + *takeover_delay,
                };
                Left { time: time.min(left), term: Some(term.number()) }
            }
        }
    }
}

/// How long a client may take to log in, and how long it may be idle.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long a client has to log in or, where it speaks first, to send its first bytes.
    pub login: Duration,
    /// How long a connection that holds no lock may be idle; `None` means forever.
    pub idle: Option<Duration>,
    /// How long a connection that holds a lock may be idle before its locks are released; `None` means forever.
    pub idle_holder: Option<Duration>,
}

impl Timeouts {
    /// No limits.
    pub const NONE: Self = Self { login: Duration::MAX, idle: None, idle_holder: None };
}

impl From<Keepalive> for TransportConfig {
    fn from(keepalive: Keepalive) -> Self {
        Self { keepalive, tls: None, timeouts: Timeouts::NONE, term: None }
    }
}

/// State that only few connections need, kept apart so that the others stay small.
#[derive(Debug, Default)]
struct Rare {
    watch: Option<SilenceWatch>,
    /// The charge for a long `input`, until that is empty.
    input: Charge,
    /// The charge for a long `output`, until that is sent.
    output: Charge,
}

/// A socket with its input that is not consumed yet, and its output that is not sent yet.
#[derive(Debug)]
pub struct BufferedSocket {
    stream: Stream,
    /// Shared, since every idle connection would have a copy.
    transport: Arc<TransportConfig>,
    /// Present while there is a long buffer, or a write to a client that may have vanished.
    rare: Option<Box<Rare>>,
    /// Bytes that have arrived and are not decoded yet.
    pub input: BytesMut,
    /// Bytes that the next flush sends.
    pub output: BytesMut,
}

impl BufferedSocket {
    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// An I/O error if the socket's options cannot be set because it is already closed.
    pub fn new(stream: impl Into<Socket>, transport: impl Into<Arc<TransportConfig>>) -> io::Result<Self> {
        let stream = stream.into();
        let (transport, input, output) = (transport.into(), BytesMut::new(), BytesMut::new());
        transport.keepalive.prepare(stream.tcp())?;
        Ok(Self { stream: Stream::Plain(stream), transport, rare: None, input, output })
    }

    /// The certificates and keys for a TLS handshake; `None` if the port has no TLS.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.transport.tls.as_ref()
    }

    /// The time limits of the client.
    pub fn timeouts(&self) -> Timeouts {
        self.transport.timeouts
    }

    /// The local address of the connection; `None` if the socket is closed.
    pub fn local_port(&self) -> Option<u16> {
        self.stream.tcp()?.local_addr().ok().map(|addr| addr.port())
    }

    /// The version and the cipher suite of TLS; `None` without TLS.
    pub fn secured(&self) -> Option<Secured> {
        self.stream.secured()
    }

    /// Performs the TLS handshake, whose first bytes are in `input`.
    ///
    /// Not cancel-safe: dropped, it closes the socket.
    ///
    /// # Errors
    /// An I/O error if the client refuses, or is refused. In both cases an alert was sent.
    pub async fn upgrade(&mut self, tls: &Tls) -> io::Result<()> {
        let received = mem::take(&mut self.input);
        self.stream.upgrade(received, tls).await
    }

    /// Reads once and appends to `input`. Returns the number of bytes; 0 means the end of the stream. Empty buffers are
    /// freed while nothing arrives.
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
            // Reserve at once what a short reply needs, not a little more for each piece of it.
            self.output.reserve(SHORT_REPLY);
        }
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Sends all of `output`. Fails if the client is gone; a client that merely does not read is waited for.
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

    /// The write makes no progress. Ready when the client is found to be gone.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let keepalive = self.transport.keepalive;
        let watch = &mut self.rare.get_or_insert_default().watch;
        watch.get_or_insert_with(|| SilenceWatch::begin(keepalive, true)).mark_stalled();
        self.poll_watch(cx).map(Err)
    }

    /// Ready when the client is found to be gone.
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

    /// To be called before a late reply, such as at the end of a wait. The client may have been silent for a while, and
    /// it counts as gone once its silence is too long, even if the server is sending.
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

    /// How long a silent client keeps what it holds.
    pub fn left(&self) -> Left {
        self.transport.left()
    }

    /// The client has read something, so a stall is over.
    fn made_progress(&mut self) -> io::Result<()> {
        if self.watch().is_some_and(SilenceWatch::is_stalled) { self.end_stall() } else { Ok(()) }
    }

    #[cold]
    fn end_stall(&mut self) -> io::Result<()> {
        // The kernel may have buffered all of it although the client is gone.
        self.begin_watch();
        self.stream.tcp().map_or(Ok(()), |stream| self.transport.keepalive.limit_unacknowledged(stream))
    }

    /// Sends `output` while it reads input. Returns the number of bytes read.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_fill(cx)
    }

    /// Resolves when the client is gone, or has sent more than its budget allows. Meanwhile it sends the output and
    /// buffers the input, except what `answered` takes out of it, which is called each time before.
    ///
    /// The end of the stream arrives behind everything that was sent before. Only a server that reads all that a
    /// vanished client had in its buffers finds out that it is gone. So a client that sends too much is not left
    /// waiting with its locks. If it is the budget of all connections that is used up, the rest stays in the network,
    /// and the end is seen once the bytes before it fit.
    ///
    /// Cancel-safe: nothing read is lost, nothing is sent twice. `answered` has seen all that was read, wherever it is
    /// dropped.
    pub async fn hung_up(&mut self, budget: &Budget, mut answered: impl FnMut(&mut Self)) -> Hangup {
        answered(self);
        loop {
            let mut exchange = |io: &mut Self, cx: &mut Context<'_>| {
                answered(io);
                io.poll_exchange(cx)
            };
            match self.charge_input(budget) {
                Ok(()) => match poll_fn(|cx| exchange(self, cx)).await {
                    Ok(0) | Err(_) => return Hangup::Left,
                    Ok(read) => {
                        answered(self);
                        if read >= READ {
                            // A client that sends much takes turns with the others, since all of its input is scanned.
                            yield_now().await;
                        }
                    }
                },
                Err(Exceeded::Connection(most)) => return Hangup::SentTooMuch(most),
                Err(Exceeded::Server(_)) => {
                    // Boxed: few clients get here, and otherwise every waiter would reserve the space.
                    Box::pin(self.closed()).await;
                    return Hangup::Left;
                }
            }
        }
    }

    /// Resolves when the client has closed or reset the connection, without reading the bytes before the end.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) {
        if let Some(stream) = self.stream.tcp() {
            closed(stream).await;
        }
    }

    /// Charges the input, and what one read may add to it. The size of one read is free.
    fn charge_input(&mut self, budget: &Budget) -> Result<(), Exceeded> {
        if self.input.len() <= READ {
            return Ok(());
        }
        // A full buffer doubles.
        let size = (self.input.len() + READ).next_power_of_two();
        let paid = &mut self.rare.get_or_insert_default().input;
        if paid.bytes() < size { budget.resize(paid, size) } else { Ok(()) }
    }

    /// How long the output may become by a reply: as far as [`BufferedSocket::charge_answer`] charges it.
    pub fn answer_room(&self, budget: &Budget) -> usize {
        let room = match &self.rare {
            Some(rare) => budget.answer_room(&rare.output),
            None => budget.answer_room(&Charge::default()),
        };
        room.max(self.output.len() + MAX_UNSENT)
    }

    /// Charges a reply that was written from `start` on, if it is long, until it is sent. A short reply is never
    /// refused, since what it reports has already happened.
    ///
    /// # Errors
    /// [`Exceeded`]: the reply must be dropped, see [`BufferedSocket::discard_answer`].
    pub fn charge_answer(&mut self, start: usize, budget: &Budget) -> Result<(), Exceeded> {
        if self.output.len() - start <= MAX_UNSENT {
            return Ok(());
        }
        budget.resize_answer(&mut self.rare.get_or_insert_default().output, self.output.len())
    }

    /// Removes what was written from `start` on.
    pub fn discard_answer(&mut self, start: usize) {
        // Copied, since otherwise the capacity for the discarded part would be kept.
        self.output = BytesMut::from(&self.output[..start]);
    }

    /// Frees empty buffers, and returns their charges.
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

    /// Sends the output for as long as the client lives, or for at most `patience`. Then closes in such a way that the
    /// client can read it: closing a socket with unread input would reset the connection.
    ///
    /// Not cancel-safe.
    pub async fn close(mut self, patience: Option<Duration>) {
        let flush = poll_fn(|cx| self.poll_flush(cx));
        let flushed = match patience {
            Some(patience) => timeout(patience, flush).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
            None => flush.await,
        };
        if flushed.is_ok() {
            // The server does not wait longer for a client that has not closed by then.
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

/// Why waiting for the end of a client is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// The client has closed or reset the connection.
    Left,
    /// The client has sent more than may be kept: more than this many bytes, together with what else is kept for it.
    SentTooMuch(usize),
}

/// A socket with or without TLS of the client. Most have none, and are as small as the socket.
#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Rewind<Socket>>>),
    /// Consumed by a handshake that failed.
    Gone,
}

impl Stream {
    /// The TCP socket; `None` after a failed handshake.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream.tcp()),
            Self::Tls(tls) => Some(tls.get_ref().0.stream.tcp()),
            Self::Gone => None,
        }
    }

    /// Performs the handshake with a client whose first bytes, `received`, have been read.
    ///
    /// Not cancel-safe: dropped, it closes the socket.
    async fn upgrade(&mut self, received: BytesMut, tls: &Tls) -> io::Result<()> {
        match mem::replace(self, Self::Gone) {
            Self::Plain(stream) => {
                let accepted = tls.accept(Rewind::new(received, stream)).await?;
                *self = Self::Tls(Box::new(accepted));
                Ok(())
            }
            // The handshake has already been done.
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

    /// Sends all of `output`, and what TLS has buffered. Removes from `output` what was sent, even if an error follows.
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
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Closes the sending side; over TLS it sends `close_notify` first.
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
    async fn dropped_wait_has_shown_all_that_it_read() {
        let (mut io, mut client) = pair().await;
        client.write_all(&vec![b'x'; 3 * READ]).await.unwrap();
        let (budget, mut seen) = (Budget::default(), 0);
        while io.input.len() < READ {
            let _ = io.stream.tcp().unwrap().readable().await;
            let mut waiting = std::pin::pin!(io.hung_up(&budget, |io| seen = io.input.len()));
            assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
        }
        assert_eq!(seen, io.input.len());
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
