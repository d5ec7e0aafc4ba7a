//! What wires with a connection share.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    command::{Answer, Ending},
    net::{Burst, HungUp},
    session::{Handle, Waiting},
};

/// Why something did not come to its end: the connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// By the client.
    HungUp(HungUp),
    /// By the server.
    Ended(Ending),
}

/// Waits for a lock, for as long as the client is there. Meanwhile earlier replies go out, and
/// further commands are taken in.
///
/// Cancel-safe: dropped, it leaves the queue, and no byte is lost.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for what it is given twice")]
pub(crate) fn wait<'a>(
    io: &'a mut Burst,
    mut waiting: Waiting<'a>,
) -> impl Future<Output = Result<Answer, Cut>> + Send + 'a {
    async move {
        tokio::select! {
            biased;
            answer = waiting.decided() => answer.map_err(Cut::Ended),
            hung_up = io.hung_up() => Err(Cut::HungUp(hung_up)),
        }
    }
}

/// Sends the replies, unless the session ends before the client takes them.
///
/// Cancel-safe: nothing is sent twice.
pub(crate) async fn flush(io: &mut Burst, handle: &Handle) -> Result<(), Cut> {
    poll_fn(|cx| match io.poll_flush(cx) {
        Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Cut::HungUp(HungUp::Left))),
        Poll::Pending => handle.poll_ended(cx).map(|ending| Err(Cut::Ended(ending))),
    })
    .await
}

/// Looks now and then whether a connection has been idle for too long.
#[derive(Debug, Default)]
pub(crate) struct Idle(Option<Pin<Box<Sleep>>>);

impl Idle {
    /// Ready when it is `end`; never if there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, end: Option<Instant>) -> Poll<()> {
        let Some(end) = end else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(end)));
        // Not set anew for each command: when it is due it looks how long it has been.
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(end);
        }
        if sleep.deadline() > end {
            sleep.as_mut().reset(end);
            return sleep.as_mut().poll(cx);
        }
        Poll::Pending
    }
}
