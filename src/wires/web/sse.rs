//! Server-sent events for the live page: responses that do not end by themselves.

use std::{convert::Infallible, time::Duration};

use axum::body::{Body, Bytes};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::Peer;

/// The interval of heartbeats, which are sent whether there is news or not.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a viewer may take to read what is sent.
const READ_TIME: Duration = Duration::from_secs(30);

/// Sends the newest of `news` whenever it changes, and a `heartbeat` first and at intervals, until the news end or the
/// viewer leaves. Nothing piles up: a viewer that does not read is sent nothing more and is cut off after a while. Its
/// `place` is kept until then.
pub(crate) fn event_stream(
    peer: &Peer,
    news: watch::Receiver<Bytes>,
    heartbeat: impl Fn() -> Bytes + Send + 'static,
    place: impl Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    let peer = peer.clone();
    tokio::spawn(async move {
        let _place = place;
        select! {
            () = send(news, heartbeat, sender, &peer) => {}
            () = peer.connection.hung_up.cancelled() => {}
        }
    });
    Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>))
}

/// Cancel-safe: dropped, it sends no more.
async fn send(
    mut news: watch::Receiver<Bytes>,
    heartbeat: impl Fn() -> Bytes,
    sender: mpsc::Sender<Bytes>,
    peer: &Peer,
) {
    let mut heartbeats = interval(HEARTBEAT);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if !news.borrow().is_empty() {
        news.mark_changed();
    }
    loop {
        let next = select! {
            biased;
            () = sender.closed() => return,
            _ = heartbeats.tick() => heartbeat(),
            changed = news.changed() => match changed {
                Ok(()) => news.borrow_and_update().clone(),
                Err(_) => return,
            },
        };
        match timeout(READ_TIME, sender.send(next)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => return peer.connection.cut_off.cancel(),
        }
    }
}
