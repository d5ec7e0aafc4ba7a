//! What wires with a connection share.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{
    core::{
        command::{AcquireAnswer, Answer, EndReason},
        session::{Handle, ListPermit, Session, Waiting},
    },
    net::{BufferedSocket, Hangup, Timeouts, Tls},
};

/// Why something did not come to its end: the connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disconnect {
    /// By the client.
    HungUp(Hangup),
    /// By the server.
    Ended(EndReason),
}

/// Waits for a lock, for as long as the client is there. Meanwhile earlier replies go out, and
/// further commands are taken in, of which `answered` may answer some at once.
///
/// Cancel-safe: dropped, it leaves the queue, and no byte is lost.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for what it is given twice")]
pub(crate) fn wait<'a>(
    io: &'a mut BufferedSocket,
    mut waiting: Waiting<'a>,
    answered: impl FnMut(&mut BufferedSocket) + Send + 'a,
) -> impl Future<Output = Result<Answer<AcquireAnswer>, Disconnect>> + Send + 'a {
    async move {
        let budget = waiting.budget();
        let answer = tokio::select! {
            biased;
            answer = waiting.outcome() => answer.map_err(Disconnect::Ended),
            hung_up = io.hung_up(&budget, answered) => Err(Disconnect::HungUp(hung_up)),
        };
        io.answers_late();
        answer
    }
}

/// Waits until the client may look at everything. One who holds something has to be there meanwhile; of
/// one who holds nothing the last words may be to ask for a list.
///
/// Cancel-safe: dropped, its place among those who want to is lost, and no byte is.
pub(crate) async fn list_permit(
    io: &mut BufferedSocket,
    session: &Session,
) -> Result<ListPermit, Disconnect> {
    let budget = session.budget();
    let turn = tokio::select! {
        biased;
        ending = session.handle().ended() => Err(Disconnect::Ended(ending)),
        turn = session.list_permit() => Ok(turn),
        hung_up = io.hung_up(&budget, |_| ()), if session.holds() > 0 => Err(Disconnect::HungUp(hung_up)),
    };
    io.answers_late();
    turn
}

/// Lets others have their turn, if the client is still there: what has been answered goes out, and what it sends
/// ahead is taken in, as the end of the stream stands behind that. For a wire whose clients have no use for a
/// connection that is closed on one side.
///
/// Cancel-safe: no byte is lost.
pub(crate) async fn rest(io: &mut BufferedSocket, session: &Session) -> Result<(), Disconnect> {
    let budget = session.budget();
    tokio::select! {
        biased;
        ending = session.handle().ended() => Err(Disconnect::Ended(ending)),
        hung_up = io.hung_up(&budget, |_| ()) => Err(Disconnect::HungUp(hung_up)),
        () = yield_now() => Ok(()),
    }
}

/// Sends the replies, unless the session ends before the client takes them.
///
/// Cancel-safe: nothing is sent twice.
pub(crate) async fn flush(io: &mut BufferedSocket, handle: &Handle) -> Result<(), Disconnect> {
    poll_fn(|cx| match io.poll_flush(cx) {
        Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Disconnect::HungUp(Hangup::Left))),
        Poll::Pending => handle.poll_ended(cx).map(|ending| Err(Disconnect::Ended(ending))),
    })
    .await
}

/// Shakes hands, unless the session ends before, or the client takes longer than `time`.
///
/// Not cancel-safe: dropped, it closes the socket.
pub(crate) async fn upgrade(
    io: &mut BufferedSocket,
    handle: &Handle,
    tls: &Tls,
    time: Duration,
) -> Result<(), Disconnect> {
    let shaken = tokio::select! {
        biased;
        ending = handle.ended() => return Err(Disconnect::Ended(ending)),
        // Boxed: it has room for a whole handshake, which every connection would keep that has said nothing yet.
        shaken = Box::pin(timeout(time, io.upgrade(tls))) => shaken,
    };
    shaken.unwrap_or(Err(std::io::ErrorKind::TimedOut.into())).map_err(|error| {
        tracing::debug!(%error, "no TLS comes about");
        Disconnect::HungUp(Hangup::Left)
    })
}

/// Why no more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The client has gone.
    Left,
    /// The session is to end.
    Ended(EndReason),
    /// Nothing came for longer than may be.
    Idle,
}

/// Waits for more input.
///
/// Cancel-safe: nothing read is lost.
pub(crate) fn fill<'a>(
    io: &'a mut BufferedSocket,
    handle: &'a Handle,
    idle: &'a mut Idle,
) -> impl Future<Output = Result<(), Silence>> + Send + 'a {
    poll_fn(|cx| {
        match io.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Silence::Left)),
            Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
            Poll::Pending => {}
        }
        if let Poll::Ready(ending) = handle.poll_ended(cx) {
            return Poll::Ready(Err(Silence::Ended(ending)));
        }
        idle.poll(cx).map(|()| Err(Silence::Idle))
    })
}

/// How long a connection may be idle as its session is now; none forever. Before the login it is what is left of the
/// time for that.
pub(crate) fn max_idle(io: &BufferedSocket, session: &Session) -> Option<Duration> {
    let Timeouts { login, idle, idle_holder } = io.timeouts();
    if session.needs_login() {
        return Some(login.saturating_sub(session.handle().age()));
    }
    if session.holds() == 0 { idle } else { idle_holder }
}

/// Looks now and then whether a connection has been idle for too long. One that may be idle for ever
/// keeps nothing for it.
#[derive(Debug, Default)]
pub(crate) struct Idle(Option<Box<Timer>>);

#[derive(Debug)]
struct Timer {
    end: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Idle {
    /// From now on it may be idle for so long; none for ever.
    pub(crate) fn begin(&mut self, limit: Option<Duration>) {
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        match (end, &mut self.0) {
            (None, timer) => *timer = None,
            (Some(end), Some(timer)) => timer.end = end,
            (Some(end), timer) => *timer = Some(Box::new(Timer { end, sleep: Box::pin(sleep_until(end)) })),
        }
    }

    /// Ready when it was for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Timer { end, sleep }) = self.0.as_deref_mut() else { return Poll::Pending };
        // Not set anew for each command: when it is due it looks how long it has been.
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= *end {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(*end);
        }
        if sleep.deadline() > *end {
            sleep.as_mut().reset(*end);
            return sleep.as_mut().poll(cx);
        }
        Poll::Pending
    }
}
