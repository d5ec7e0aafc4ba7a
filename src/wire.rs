//! What wires with a connection share.

use std::{future::poll_fn, task::Poll};

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
