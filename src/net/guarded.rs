//! A TCP socket that looks at its term right before each write, and that lets no reply outlive the term when it closes.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use getlockd_cluster::{
    moment::Moment,
    term::{Over, Term},
};
use socket2::{SockRef, Socket};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};

use super::kernel;

/// How often the kernel is asked whether clients have acknowledged the end.
const LOOK: Duration = Duration::from_millis(10);

/// What the guarded sockets of one term share.
#[derive(Debug)]
pub struct SocketGuard {
    term: Arc<Term>,
    /// How many are open.
    open: AtomicUsize,
    /// Sockets that close leave a descriptor behind, by which their [`Farewells`] see what becomes of the FIN.
    says_farewell: AtomicBool,
    farewells: UnboundedSender<Farewell>,
}

impl SocketGuard {
    /// A guard for the sockets of a term, and what becomes of them at its end.
    pub fn new(term: Arc<Term>) -> (Arc<Self>, Farewells) {
        let (farewells, sockets) = unbounded_channel();
        let guard =
            Self { term, open: AtomicUsize::new(0), says_farewell: AtomicBool::new(false), farewells };
        let guard = Arc::new(guard);
        (guard.clone(), Farewells { guard, sockets, unheard: Vec::new() })
    }

    /// The term that is looked at.
    pub fn term(&self) -> &Arc<Term> {
        &self.term
    }

    /// How many sockets are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// From now on [`Farewells::all_heard`] waits for each socket that closes. To be called before they do.
    pub fn say_farewell(&self) {
        self.says_farewell.store(true, Ordering::Release);
    }

    /// What is to be done before a socket closes.
    fn close(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        if self.says_farewell.load(Ordering::Acquire) {
            // Without a descriptor nobody sees whether the client knows, so the socket counts as open.
            let Ok(farewell) = socket.try_clone() else { return close_at_end(&socket) };
            let _ = farewell.shutdown(Shutdown::Write);
            // If nobody receives it, it is closed at once.
            let _ = self.farewells.send(Farewell(farewell));
        } else if self.term.closing().is_cancelled() || self.term.left(Moment::now()).is_zero() {
            close_at_end(&socket);
        }
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Closes normally if the peer has acknowledged all that was sent: the FIN is repeated until it does so too. Otherwise the
/// kernel would repeat the reply as well, for as long as a client may be silent. So the connection is reset.
pub(super) fn close_at_end(socket: &Socket) {
    if kernel::has_unacknowledged_data(socket) {
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}

/// A TCP socket that looks at its term right before each write.
#[derive(Debug)]
pub struct GuardedStream {
    stream: TcpStream,
    guard: Arc<SocketGuard>,
}

impl GuardedStream {
    /// Guards a socket.
    pub(super) fn new(stream: TcpStream, guard: Arc<SocketGuard>) -> Self {
        guard.open.fetch_add(1, Ordering::AcqRel);
        Self { stream, guard }
    }

    /// Passes to another guard.
    pub(super) fn adopt(&mut self, guard: &Arc<SocketGuard>) {
        guard.open.fetch_add(1, Ordering::AcqRel);
        let before = std::mem::replace(&mut self.guard, guard.clone());
        before.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// The socket itself: what is written to it passes the guard by.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes at once as much as there is room for, or nothing.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.guard.term.check().map_err(over)?;
        self.stream.try_write(bytes)
    }

    /// Looks, and writes.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_guarded(cx, |stream| stream.try_write(bytes))
    }

    /// Looks, and closes the sending side.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.guard.term.poll_write(cx)).map_err(over)?;
        Poll::Ready(SockRef::from(&self.stream).shutdown(Shutdown::Write))
    }

    /// Calls the kernel right after a look, which each call has of its own.
    fn poll_guarded(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            ready!(self.guard.term.poll_write(cx)).map_err(over)?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

fn over(over: Over) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, over)
}

impl Drop for GuardedStream {
    fn drop(&mut self) {
        self.guard.close(&self.stream);
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_guarded(cx, |stream| stream.try_write_vectored(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_shutdown(&self, cx)
    }
}

/// A socket that its connection has closed, and whose FIN the peer may not have acknowledged yet.
#[derive(Debug)]
struct Farewell(Socket);

impl Drop for Farewell {
    fn drop(&mut self) {
        close_at_end(&self.0);
    }
}

/// The ends of a term's connections: whether the clients know.
#[derive(Debug)]
pub struct Farewells {
    guard: Arc<SocketGuard>,
    sockets: UnboundedReceiver<Farewell>,
    unheard: Vec<Farewell>,
}

impl Farewells {
    /// Resolves when all sockets of the guard are closed, and each of them that has closed since
    /// [`SocketGuard::say_farewell`] has its FIN acknowledged.
    ///
    /// Cancel-safe: it can be called again.
    pub async fn all_heard(&mut self) {
        loop {
            // Looked at first: a socket is counted until it has left its descriptor.
            let open = self.guard.open();
            while let Ok(socket) = self.sockets.try_recv() {
                self.unheard.push(socket);
            }
            self.unheard.retain(|farewell| !kernel::is_fin_acknowledged(&farewell.0));
            if open == 0 && self.unheard.is_empty() {
                return;
            }
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    fn guard() -> (Arc<SocketGuard>, Farewells) {
        let term = Term::held(1, Moment::now().after(Duration::from_mins(1)));
        term.release();
        SocketGuard::new(Arc::new(term))
    }

    async fn pair(guard: &Arc<SocketGuard>) -> (GuardedStream, TcpStream) {
        let listener = crate::net::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (GuardedStream::new(listener.accept().await.unwrap().0, guard.clone()), client)
    }

    /// Writes until neither the buffers of the kernel nor those of the client take more.
    async fn fill(stream: &mut GuardedStream) {
        while timeout(SOON, stream.write_all(&[b'x'; 8192])).await.is_ok() {}
    }

    /// Everything until the end of the stream.
    async fn read(client: &mut TcpStream) -> (usize, io::Result<()>) {
        let mut came = Vec::new();
        let end = client.read_to_end(&mut came).await;
        (came.len(), end.map(drop))
    }

    #[tokio::test]
    async fn nothing_is_written_once_the_term_is_over() {
        let (guard, _farewells) = guard();
        let (mut stream, mut client) = pair(&guard).await;
        stream.write_all(b"told").await.unwrap();
        guard.term().shut();
        for refused in [
            stream.write_all(b"late").await,
            stream.write_vectored(&[IoSlice::new(b"late")]).await.map(drop),
            stream.shutdown().await,
            GuardedStream::try_write(&stream, b"late").map(drop),
        ] {
            assert_eq!(refused.unwrap_err().to_string(), Over.to_string());
        }
        assert_eq!(guard.term().refused(), 4);
        drop(stream);
        assert!(matches!(read(&mut client).await, (4, Ok(()))), "acknowledged: a normal end");
    }

    #[tokio::test]
    async fn write_waits_while_the_term_is_held() {
        let (guard, _farewells) = guard();
        let (mut stream, mut client) = pair(&guard).await;
        guard.term().hold();
        let write = tokio::spawn(async move { stream.write_all(b"1").await });
        tokio::task::yield_now().await;
        assert!(!write.is_finished());
        guard.term().release();
        write.await.unwrap().unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'1');
    }

    #[tokio::test]
    async fn unacknowledged_reply_does_not_outlive_the_term() {
        let (guard, _farewells) = guard();
        let (mut stream, mut client) = pair(&guard).await;
        fill(&mut stream).await;
        guard.term().shut();
        drop(stream);
        assert_eq!(read(&mut client).await.1.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn reply_outlives_a_connection_that_ends_within_the_term() {
        let (guard, _farewells) = guard();
        let (mut stream, mut client) = pair(&guard).await;
        fill(&mut stream).await;
        drop(stream);
        assert!(matches!(read(&mut client).await, (65_536.., Ok(()))));
        assert_eq!(guard.open(), 0);
    }

    #[tokio::test]
    async fn farewell_is_heard_once_the_client_has_acknowledged_it() {
        let (guard, mut farewells) = guard();
        let (mut stream, mut client) = pair(&guard).await;
        let (other, other_client) = pair(&guard).await;
        fill(&mut stream).await;
        guard.say_farewell();
        guard.term().shut();
        drop(stream);
        assert!(timeout(SOON, farewells.all_heard()).await.is_err(), "one is open, one does not know");
        drop(other);
        assert!(timeout(SOON, farewells.all_heard()).await.is_err(), "the other does not read on");
        assert!(read(&mut client).await.1.is_ok());
        timeout(Duration::from_secs(5), farewells.all_heard()).await.expect("both have acknowledged");
        drop(other_client);
    }

    #[tokio::test]
    async fn unheard_farewell_ends_with_a_reset() {
        let (guard, mut farewells) = guard();
        let (mut stream, mut client) = pair(&guard).await;
        fill(&mut stream).await;
        guard.say_farewell();
        drop(stream);
        assert!(timeout(SOON, farewells.all_heard()).await.is_err());
        drop(farewells);
        assert_eq!(read(&mut client).await.1.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
