//! Streams of the events of locks, for the wires over HTTP. They do not end by themselves.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;

use super::Peer;
use crate::{
    core::{
        events::{EventId, Notified, Watcher},
        session::{LockService, Told, shown},
        share::QuotaExceeded,
        users::User,
    },
    name::Name,
};

/// How often something is sent, so that both sides notice if the other has vanished.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How many events may be on their way to a client that does not read them.
const UNSENT: usize = 16;

/// What a watching client is sent.
#[derive(Debug)]
pub(crate) struct Watched {
    /// With this the client goes on behind it.
    pub(crate) id: EventId,
    /// What happened; nothing at the start and in a heartbeat.
    pub(crate) told: Option<Told>,
}

/// The events of the locks whose names have this prefix, from now on or from behind one that the client had before.
/// The stream ends when the client leaves, their user is removed, or the server stops.
///
/// # Errors
/// [`QuotaExceeded`]: too many watch.
pub(crate) fn watch(
    service: &Arc<LockService>,
    peer: &Peer,
    prefix: Option<Name>,
    after: Option<EventId>,
) -> Result<ReceiverStream<Watched>, QuotaExceeded> {
    let place = service.shared().watchers.take(peer.quota_key(), 1)?;
    let (sender, receiver) = mpsc::channel(UNSENT);
    let news = Arc::new(Notify::new());
    let notified: Arc<dyn Notified> = news.clone();
    let text = prefix.as_ref().map_or("", Name::as_str);
    let watcher = service.events().watch(text, after, Arc::downgrade(&notified));
    service.serve_events();
    // What is behind the event that the client had is news.
    news.notify_one();
    let (service, peer) = (service.clone(), peer.clone());
    tokio::spawn(async move {
        // Kept until the end: the watcher has only weak ones.
        let (_place, _notified) = (place, notified);
        let stream = WatchStream { service, user: peer.user.clone(), prefix, watcher, news, sender };
        select! {
            () = stream.serve() => {}
            () = peer.connection.hung_up.cancelled() => {}
            () = peer.connection.stop.cancelled() => {}
        }
    });
    Ok(ReceiverStream::new(receiver))
}

struct WatchStream {
    service: Arc<LockService>,
    user: Option<Arc<User>>,
    prefix: Option<Name>,
    watcher: Watcher,
    news: Arc<Notify>,
    sender: mpsc::Sender<Watched>,
}

impl WatchStream {
    /// Cancel-safe: dropped, it sends no more.
    async fn serve(mut self) {
        let mut heartbeats = interval(HEARTBEAT);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_heartbeat = select! {
                biased;
                () = self.sender.closed() => return,
                () = self.news.notified() => false,
                _ = heartbeats.tick() => true,
            };
            if !self.renew_user() {
                return;
            }
            let sent = if is_heartbeat { self.send(None).await } else { self.send_all().await };
            if sent.is_none() {
                return;
            }
        }
    }

    /// None when the client has left. Cancel-safe: dropped, it sends no more.
    async fn send_all(&mut self) -> Option<()> {
        while let Some(next) = self.watcher.next() {
            if let Some(told) = shown(next, self.prefix.as_ref(), self.user.as_deref()) {
                self.send(Some(told)).await?;
            }
        }
        Some(())
    }

    /// None when the client has left. Cancel-safe: dropped, nothing is sent.
    async fn send(&self, told: Option<Told>) -> Option<()> {
        self.sender.send(Watched { id: self.watcher.last(), told }).await.ok()
    }

    /// Looks what the user may see now. False if there is no such user any more.
    fn renew_user(&mut self) -> bool {
        let (Some(user), Some(users)) = (&self.user, self.service.users()) else { return true };
        let now = users.find(user.name());
        let is_there = now.is_some();
        self.user = now;
        is_there
    }
}
