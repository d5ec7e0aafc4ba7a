//! The task that tells watchers and listeners that there is something for them, a few at a time.

use std::sync::Arc;

use tokio::{runtime::Handle, task::yield_now};

use crate::core::{
    events::{Events, Item, Topic, WaitEvent},
    lock::{PIECE, Table, Token},
};

/// So many are woken at a time. Each will write to its socket before others have their turn.
const WOKEN: usize = 8;

/// Starts the task, if somebody watches and it does not run.
pub(super) fn start(table: &Arc<Table>) {
    if table.events().is_wanted()
        && let Ok(runtime) = Handle::try_current()
        && table.events().needs_service()
    {
        runtime.spawn(dispatch(Service(Some(table.clone()))));
    }
}

/// Dropped with the runtime before its end, the next watcher starts another.
struct Service(Option<Arc<Table>>);

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(table) = &self.0 {
            table.events().service_ends();
        }
    }
}

/// Cancel-safe: dropped, some watchers are told with the next event.
async fn dispatch(mut service: Service) {
    let Some(table) = service.0.clone() else { return };
    let events = table.events();
    while let Some(item) = events.next().await {
        match item {
            Item::Topic(topic) => tell_watchers(&topic).await,
            Item::Wait(wait) => tell_holders(&table, &wait).await,
            Item::LostWaits => tell_of_loss(events).await,
        }
    }
    service.0 = None;
}

/// Cancel-safe: dropped, the others are told with the next event.
async fn tell_watchers(topic: &Topic) {
    topic.begin_to_tell();
    let mut last = 0;
    while let Some(told) = topic.tell_some(last, WOKEN) {
        last = told;
        yield_now().await;
    }
}

/// Cancel-safe: dropped, the others are not told.
async fn tell_holders(table: &Table, wait: &Arc<WaitEvent>) {
    let mut last: Option<Token> = None;
    loop {
        let holders = table.some_holders(&wait.name, last, PIECE);
        let Some(&(_, token)) = holders.last() else { return };
        last = Some(token);
        let sessions: Vec<_> = holders.iter().map(|&(session, _)| session).collect();
        for some in table.events().listeners(&sessions).chunks(WOKEN) {
            for listener in some {
                listener.tell(wait);
            }
            yield_now().await;
        }
        if holders.len() < PIECE {
            return;
        }
    }
}

/// Cancel-safe: dropped, the others are not told.
async fn tell_of_loss(events: &Events) {
    for some in events.all_listeners().chunks(WOKEN) {
        events.listeners(some).iter().for_each(|listener| listener.tell_lost());
        yield_now().await;
    }
}
