//! Responses that never end by themselves, for those who watch.

use std::{convert::Infallible, time::Duration};

use axum::body::{Body, Bytes};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::Peer;

/// How often something is sent, whether there is news or not.
const BEAT: Duration = Duration::from_secs(15);

/// How long a viewer has to take what is sent.
const READ_TIME: Duration = Duration::from_secs(30);

/// Sends whatever is the newest of `news`, and a `beat` first and now and then, until the news end or the
/// viewer leaves. Nothing piles up: who does not read is not sent more, and is cut off in the end. Its
/// `place` is kept as long.
pub(crate) fn event_stream(
    peer: &Peer,
    news: watch::Receiver<Bytes>,
    beat: impl Fn() -> Bytes + Send + 'static,
    place: impl Send + 'static,
) -> Body {
    let (sender, taken) = mpsc::channel(1);
    let peer = peer.clone();
    tokio::spawn(async move {
        let _place = place;
        select! {
            () = send(news, beat, sender, &peer) => {}
            () = peer.connection.gone.cancelled() => {}
        }
    });
    Body::from_stream(ReceiverStream::new(taken).map(Ok::<_, Infallible>))
}

/// Cancel-safe: what is not sent is not sent.
async fn send(
    mut news: watch::Receiver<Bytes>,
    beat: impl Fn() -> Bytes,
    sender: mpsc::Sender<Bytes>,
    peer: &Peer,
) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if !news.borrow().is_empty() {
        news.mark_changed();
    }
    loop {
        let next = select! {
            biased;
            () = sender.closed() => return,
            _ = beats.tick() => beat(),
            changed = news.changed() => match changed {
                Ok(()) => news.borrow_and_update().clone(),
                Err(_) => return,
            },
        };
        match timeout(READ_TIME, sender.send(next)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => return peer.connection.cut.cancel(),
        }
    }
}
