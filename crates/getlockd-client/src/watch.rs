//! What happens to locks, as it happens.

use std::{pin::pin, sync::Arc};

use getlockd_proto::name::lower;

use crate::{
    Connection, Error, Lost, WatchEvent,
    events::{Event, Interest, Subscription},
    handle::about_prefix,
};

/// Locks that are watched, from [`Client::watch`](crate::Client::watch). Dropped, it ends its connection.
#[derive(Debug)]
pub struct WatchEvents {
    connection: Connection,
    subscription: Arc<Subscription>,
}

impl Connection {
    /// Watches the locks whose name starts with `prefix`: who takes them, and how their holds end (`WATCH`). This
    /// connection is for the watch alone, and ends with it.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Lost`]. An older server refuses it with
    /// [`Symbol::UnknownCommand`](crate::Symbol::UnknownCommand).
    pub async fn watch(self, prefix: &str) -> Result<WatchEvents, Error> {
        let subscription = Subscription::new(Interest::Prefix(lower(prefix)));
        // Before the command: the first event may come with its reply.
        self.driver().subscriptions().add(&subscription);
        self.driver().expect_one(about_prefix("WATCH", prefix)?).await?;
        Ok(WatchEvents { connection: self, subscription })
    }
}

impl WatchEvents {
    /// The next event.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Lost`] when the connection has ended, after the events that came before.
    pub fn recv(&mut self) -> impl Future<Output = Result<WatchEvent, Lost>> + Send + use<> {
        let (subscription, lost) = (self.subscription.clone(), self.connection.lost());
        async move {
            let mut lost = pin!(lost);
            loop {
                if let Event::Watched(event) = subscription.next(&mut lost).await? {
                    return Ok(event);
                }
            }
        }
    }
}
