//! What wires with a connection share.

use std::pin::pin;

use crate::{
    command::{Answer, Ending},
    net::{Burst, HungUp},
    session::Waiting,
};

/// Why a wait had no answer: the connection is over.
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
pub(crate) async fn wait(io: &mut Burst, waiting: Waiting<'_>) -> Result<Answer, Cut> {
    let finish = pin!(waiting.finish());
    tokio::select! {
        biased;
        answer = finish => answer.map_err(Cut::Ended),
        hung_up = io.hung_up() => Err(Cut::HungUp(hung_up)),
    }
}
