//! Holding a client while nobody leads: it sees a connection that is slow, and no error.

use std::{sync::Arc, time::Duration};

use tokio::{io::Interest, net::TcpStream, time::sleep};

use super::RelayStats;
use crate::net::{Accepted, hangup::closed};

/// What the wait of a parked connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked<T> {
    /// What was waited for.
    Goes(T),
    /// The client has gone.
    Left,
    /// The time is over: the client is to be told so.
    TooLong,
}

/// Holds a connection until `until` resolves, the client leaves, or `limit` is over. Nothing is read, so that the client's
/// first words go to the leader.
///
/// Cancel-safe.
pub async fn park<T>(
    accepted: &Accepted,
    stats: &Arc<RelayStats>,
    limit: Duration,
    until: impl Future<Output = T>,
) -> Parked<T> {
    let _parked = stats.count_parked();
    tokio::select! {
        biased;
        what = until => Parked::Goes(what),
        () = gone(accepted.stream.tcp()) => Parked::Left,
        () = sleep(limit) => Parked::TooLong,
    }
}

/// Resolves when the client has certainly gone. One that has sent something and closed its sending side may wait for the
/// answer.
///
/// Cancel-safe.
async fn gone(stream: &TcpStream) {
    closed(stream).await;
    if matches!(stream.peek(&mut [0]).await, Ok(1..)) {
        let _ = stream.ready(Interest::ERROR).await;
    }
}
