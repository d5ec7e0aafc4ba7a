//! What the wires share whose connections are sessions: waiting for locks, for leases, for input and for list permits,
//! and sending replies.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
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
        lease::{LeaseLockAnswer, Leases},
        session::{Handle, ListPermit, Session, Waiting, Woken},
    },
    name::Name,
    net::{BufferedSocket, Hangup, Timeouts, Tls},
};

/// Why the connection ends during a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disconnect {
    /// The client has closed it.
    HungUp(Hangup),
    /// The server ends it.
    Ended(EndReason),
}

/// Waits for a lock as long as the client is connected. Meanwhile it sends earlier replies and reads further commands,
/// some of which `answered` may answer at once.
///
/// Cancel-safe: dropped, it leaves the queue, and no byte is lost.
#[expect(clippy::manual_async_fn, reason = "the future of an async fn has its arguments twice")]
pub(crate) fn wait<'a>(
    io: &'a mut BufferedSocket,
    mut waiting: Waiting<'a>,
    answered: impl FnMut(&mut BufferedSocket) + Send + 'a,
) -> impl Future<Output = Result<Answer<AcquireAnswer>, Disconnect>> + Send + 'a {
    async move {
        let budget = waiting.budget();
        let answer = tokio::select! {
            biased;
            // First: it has this task woken when there is something to tell the client meanwhile.
            answer = waiting.outcome() => answer.map_err(Disconnect::Ended),
            hung_up = io.hung_up(&budget, answered) => Err(Disconnect::HungUp(hung_up)),
        };
        io.watch_late_answer();
        answer
    }
}

/// Waits for the permit to make a list. A holder that disconnects meanwhile is dropped; a client without locks still gets
/// its list after it has closed its side.
///
/// Cancel-safe: dropped, it loses its place in the queue for permits, and no byte.
pub(crate) async fn list_permit(
    io: &mut BufferedSocket,
    session: &Session,
) -> Result<ListPermit, Disconnect> {
    let budget = session.budget();
    let permit = tokio::select! {
        biased;
        ending = session.handle().ended() => Err(Disconnect::Ended(ending)),
        permit = session.list_permit() => Ok(permit),
        hung_up = io.hung_up(&budget, |_| ()), if session.holds() > 0 => Err(Disconnect::HungUp(hung_up)),
    };
    io.watch_late_answer();
    permit
}

/// Passes a lock on to a lease, unless the client has left or leaves meanwhile: the lock ends with its session then.
///
/// Cancel-safe: dropped, the lease ends, and no byte is lost.
pub(crate) async fn lease_lock(
    io: &mut BufferedSocket,
    session: &mut Session,
    leases: &Arc<Leases>,
    name: &Name,
    ttl: Duration,
) -> Result<Answer<LeaseLockAnswer>, Disconnect> {
    let (budget, handle) = (session.budget(), session.handle_arc());
    let gone = async {
        tokio::select! {
            biased;
            ending = handle.ended() => Disconnect::Ended(ending),
            hung_up = io.hung_up(&budget, |_| ()) => Disconnect::HungUp(hung_up),
        }
    };
    let answer = leases.lease_lock(session, name, ttl, gone).await;
    io.watch_late_answer();
    answer
}

/// Yields to other connections if the client is still connected: sends the replies so far, and reads what the client
/// sends ahead, since the end of the stream lies behind that. For a wire whose clients have no use for a half-closed
/// connection.
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
/// Cancel-safe: dropped, it sends nothing twice.
pub(crate) async fn flush(io: &mut BufferedSocket, handle: &Handle) -> Result<(), Disconnect> {
    poll_fn(|cx| match io.poll_flush(cx) {
        Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Disconnect::HungUp(Hangup::Left))),
        Poll::Pending => handle.poll_ended(cx).map(|ending| Err(Disconnect::Ended(ending))),
    })
    .await
}

/// Performs the TLS handshake, unless the session ends first or the client takes longer than `time`.
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
        // Boxed: the state of a handshake is large, and otherwise every connection without input would reserve it.
        shaken = Box::pin(timeout(time, io.upgrade(tls))) => shaken,
    };
    shaken.unwrap_or(Err(std::io::ErrorKind::TimedOut.into())).map_err(|error| {
        tracing::debug!(%error, "TLS handshake failed");
        Disconnect::HungUp(Hangup::Left)
    })
}

/// Why no more input arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The client has closed the connection.
    Left,
    /// The session has to end.
    Ended(EndReason),
    /// Nothing has arrived for longer than the limit.
    Idle,
}

/// What a connection without input is woken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Input has arrived.
    Input,
    /// There is something that the client is to be told.
    News,
}

/// Waits for more input.
///
/// Cancel-safe: dropped, it loses no input.
pub(crate) fn fill<'a>(
    io: &'a mut BufferedSocket,
    handle: &'a Handle,
    idle: &'a mut IdleTimer,
) -> impl Future<Output = Result<Filled, Silence>> + Send + 'a {
    poll_fn(|cx| {
        match io.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Silence::Left)),
            Poll::Ready(Ok(_)) => return Poll::Ready(Ok(Filled::Input)),
            Poll::Pending => {}
        }
        match handle.poll_wakeup(cx) {
            Poll::Ready(Woken::End(ending)) => return Poll::Ready(Err(Silence::Ended(ending))),
            Poll::Ready(Woken::News) => return Poll::Ready(Ok(Filled::News)),
            Poll::Pending => {}
        }
        idle.poll(cx).map(|()| Err(Silence::Idle))
    })
}

/// How long a connection may be idle in its session's current state; `None` means forever. Before the login it is the
/// rest of the time for that.
pub(crate) fn max_idle(io: &BufferedSocket, session: &Session) -> Option<Duration> {
    let Timeouts { login, idle, idle_holder } = io.timeouts();
    if session.needs_login() {
        return Some(login.saturating_sub(session.handle().age()));
    }
    if session.holds() == 0 { idle } else { idle_holder }
}

/// Detects that a connection has been idle for too long. A connection without a limit has no timer.
#[derive(Debug, Default)]
pub(crate) struct IdleTimer(Option<Box<Timer>>);

#[derive(Debug)]
struct Timer {
    end: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleTimer {
    /// Sets the limit; `None` means no limit.
    pub(crate) fn begin(&mut self, limit: Option<Duration>) {
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        match (end, &mut self.0) {
            (None, timer) => *timer = None,
            (Some(end), Some(timer)) => timer.end = end,
            (Some(end), timer) => *timer = Some(Box::new(Timer { end, sleep: Box::pin(sleep_until(end)) })),
        }
    }

    /// Ready when the connection has been idle for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Timer { end, sleep }) = self.0.as_deref_mut() else { return Poll::Pending };
        // The timer is not reset for each command, which would cost more than the command: when it fires, it checks how
        // long the connection has really been idle.
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
