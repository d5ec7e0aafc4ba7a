//! What the server tells unasked, once a session has asked for it: the lines that begin with `*` (protocol.md, part 4).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{Lost, Mode, reply::RowFields};

/// So many events are kept for a reader. Later ones are missed, and counted.
const MAX_UNREAD: usize = 1024;

/// A session waits for a lock that this one holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaiterEvent {
    /// The lock, in lower case.
    pub name: String,
    /// The session that waits.
    pub session: u32,
    /// How it wants the lock.
    pub mode: Mode,
    /// How many sessions wait for the lock, with this one.
    pub waiters: u64,
}

/// What happened to locks that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A session got the lock.
    Taken(WatchedHold),
    /// Its holder released it.
    Freed(EndedHold),
    /// The hold ended otherwise: by a kill, a disconnect and so on.
    Lost(EndedHold),
    /// So many events are missing here: they came faster than they were read. None if nobody knows how many.
    Missed(Option<u64>),
}

/// A hold of a lock that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchedHold {
    /// The lock, in lower case.
    pub name: String,
    /// How it is held.
    pub mode: Mode,
    /// The holder's session id.
    pub session: u32,
    /// The number of the grant.
    pub fencing_token: u64,
}

/// The end of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedHold {
    /// The hold that has ended.
    pub hold: WatchedHold,
    /// How long the lock was held.
    pub held: Duration,
    /// Why it ended, as the server writes it: `release`, `disconnect`, `killed` and so on (protocol.md, part 4).
    pub cause: String,
}

/// A line that the server sends unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Waiting(WaiterEvent),
    Watched(WatchEvent),
}

impl Event {
    /// From what follows `* `. None for what this version does not know.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let row = RowFields::read(line)?;
        let watched = match line.split(' ').next()? {
            "WAITING" => return WaiterEvent::read(&row).map(Self::Waiting),
            "TAKEN" => WatchEvent::Taken(WatchedHold::read(&row)?),
            "FREED" => WatchEvent::Freed(EndedHold::read(&row)?),
            "LOST" => WatchEvent::Lost(EndedHold::read(&row)?),
            "MISSED" => WatchEvent::Missed(row.number("count")),
            _ => return None,
        };
        Some(Self::Watched(watched))
    }

    /// The session that waits, if it is for this lock.
    pub(crate) fn waiter(&self, lock: &str) -> Option<u32> {
        match self {
            Self::Waiting(waiter) if waiter.name == lock => Some(waiter.session),
            _ => None,
        }
    }
}

impl WaiterEvent {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            name: row.text("name")?,
            session: row.number("session")?,
            mode: Mode::read(row)?,
            waiters: row.number("waiters")?,
        })
    }
}

impl WatchedHold {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            name: row.text("name")?,
            mode: Mode::read(row)?,
            session: row.number("session")?,
            fencing_token: row.number("fencing_token")?,
        })
    }
}

impl EndedHold {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self { hold: WatchedHold::read(row)?, held: row.time("held")?, cause: row.text("cause")? })
    }
}

impl WatchEvent {
    /// The lock; none of missed events, which may be of any.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Taken(hold) => Some(&hold.name),
            Self::Freed(ended) | Self::Lost(ended) => Some(&ended.hold.name),
            Self::Missed(_) => None,
        }
    }
}

/// Which events a reader wants.
#[derive(Debug)]
pub(crate) enum Interest {
    /// The waiters of these locks.
    Waiters(Vec<String>),
    /// The locks whose name starts so.
    Prefix(String),
}

impl Interest {
    fn includes(&self, event: &Event) -> bool {
        match (self, event) {
            (Self::Waiters(names), Event::Waiting(waiter)) => names.contains(&waiter.name),
            (Self::Prefix(prefix), Event::Watched(event)) => {
                event.name().is_none_or(|name| name.starts_with(prefix))
            }
            _ => false,
        }
    }
}

/// The events that a reader has not read yet. The task of the connection never waits for a reader.
#[derive(Debug)]
pub(crate) struct Subscription {
    interest: Interest,
    unread: Mutex<VecDeque<Event>>,
    came: Notify,
}

impl Subscription {
    pub(crate) fn new(interest: Interest) -> Arc<Self> {
        Arc::new(Self { interest, unread: Mutex::default(), came: Notify::new() })
    }

    pub(crate) fn unread(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn offer(&self, event: &Event) {
        if !self.interest.includes(event) {
            return;
        }
        let mut unread = self.unread();
        if unread.len() < MAX_UNREAD {
            unread.push_back(event.clone());
        } else {
            let more = if let Event::Watched(WatchEvent::Missed(count)) = event { *count } else { Some(1) };
            match unread.back_mut() {
                Some(Event::Watched(WatchEvent::Missed(count))) => {
                    *count = count.zip(more).map(|(count, more)| count.saturating_add(more));
                }
                _ => unread.push_back(Event::Watched(WatchEvent::Missed(more))),
            }
        }
        self.came.notify_one();
    }

    /// The next event, also if the connection has ended since.
    ///
    /// Cancel-safe.
    pub(crate) async fn next(&self, lost: impl Future<Output = Lost>) -> Result<Event, Lost> {
        let first = || self.unread().pop_front();
        let mut lost = std::pin::pin!(lost);
        loop {
            if let Some(event) = first() {
                return Ok(event);
            }
            tokio::select! {
                () = self.came.notified() => {}
                lost = &mut lost => return first().ok_or(lost),
            }
        }
    }
}

/// The readers of a connection. Those that are dropped are forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriptions(Arc<Mutex<Vec<Weak<Subscription>>>>);

impl Subscriptions {
    pub(crate) fn add(&self, subscription: &Arc<Subscription>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|reader| reader.strong_count() > 0);
        all.push(Arc::downgrade(subscription));
    }

    pub(crate) fn offer(&self, event: &Event) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).for_each(|reader| reader.offer(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(count: u64) -> Event {
        Event::Watched(WatchEvent::Missed(Some(count)))
    }

    fn taken(name: &str) -> Event {
        Event::read(&format!("TAKEN name={name} mode=exclusive session=7 fencing_token=9")).unwrap()
    }

    #[test]
    fn events_are_typed() {
        let Some(Event::Watched(WatchEvent::Lost(ended))) = Event::read(
            "LOST name='a b' mode=permit limit=3 session=7 fencing_token=9 held=0.250 cause=killed colour=blue",
        ) else {
            panic!("no loss")
        };
        assert_eq!((ended.hold.name.as_str(), ended.hold.mode), ("a b", Mode::Permit(3)));
        assert_eq!((ended.held, ended.cause.as_str()), (Duration::from_millis(250), "killed"));
        let waiting = Event::read("WAITING name=nightly session=9 mode=exclusive waiters=1");
        let waiter =
            WaiterEvent { name: "nightly".to_owned(), session: 9, mode: Mode::Exclusive, waiters: 1 };
        assert_eq!(waiting, Some(Event::Waiting(waiter)));
        assert_eq!(Event::read("MISSED count=12"), Some(missed(12)));
        assert_eq!(
            [Event::read("LATER a=b"), Event::read("TAKEN name=a"), Event::read("")],
            [None, None, None]
        );
    }

    #[test]
    fn slow_reader_is_told_how_many_events_it_missed() {
        let reader = Subscription::new(Interest::Prefix("app:".to_owned()));
        for _ in 0..MAX_UNREAD + 2 {
            reader.offer(&taken("app:x"));
        }
        reader.offer(&missed(5));
        reader.offer(&taken("other"));
        let mut unread = reader.unread();
        assert_eq!((unread.len(), unread.pop_back()), (MAX_UNREAD + 1, Some(missed(7))));
    }
}
