//! The last events of the names with one prefix, and those who watch them.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Bound,
    str::FromStr,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{Events, LockEvent, Notified};
use crate::core::sync::{
    Rank,
    plain::{Guarded, Ordering},
};

/// The events of a prefix.
pub struct Topic {
    /// No other topic has it, of this start or of another.
    id: u64,
    log: Guarded<TopicLog>,
}

struct TopicLog {
    kept: VecDeque<Arc<LockEvent>>,
    /// The number of the first that is kept. They are counted from 1.
    first: u64,
    watchers: BTreeMap<u64, Weak<dyn Notified>>,
    last_watcher: u64,
    /// When the last watcher has left.
    left: Instant,
    /// Its watchers are about to be told.
    is_news: bool,
}

impl Topic {
    pub(super) fn new(id: u64) -> Self {
        let log = TopicLog {
            kept: VecDeque::new(),
            first: 1,
            watchers: BTreeMap::new(),
            last_watcher: 0,
            left: Instant::now(),
            is_news: false,
        };
        Self { id, log: Guarded::new(Rank::Topic, log) }
    }

    /// Adds an event, for which there is so much room. Whether the watchers are to be told that there is something.
    pub(super) fn push(&self, event: Arc<LockEvent>, room: usize) -> bool {
        let mut log = self.log.lock();
        log.kept.push_back(event);
        if log.kept.len() > room {
            log.kept.pop_front();
            log.first += 1;
        }
        !log.watchers.is_empty() && !std::mem::replace(&mut log.is_news, true)
    }

    /// Keeps no more events than this.
    pub(super) fn shrink(&self, room: usize) {
        let mut log = self.log.lock();
        let over = log.kept.len().saturating_sub(room);
        log.kept.drain(..over);
        log.kept.shrink_to(room);
        log.first += over as u64;
    }

    pub(super) fn is_watched_within(&self, linger: Duration) -> bool {
        let log = self.log.lock();
        !log.watchers.is_empty() || log.left.elapsed() < linger
    }

    /// Its watchers are told from here on, so it is news again with the next event.
    pub(crate) fn begin_to_tell(&self) {
        self.log.lock().is_news = false;
    }

    /// Tells so many watchers behind this one that there is something. The last of them; none if there are no more.
    pub(crate) fn tell_some(&self, after: u64, count: usize) -> Option<u64> {
        let some: Vec<_> = {
            let log = self.log.lock();
            let watchers = log.watchers.range((Bound::Excluded(after), Bound::Unbounded));
            watchers.take(count).map(|(&id, watcher)| (id, watcher.clone())).collect()
        };
        some.iter().filter_map(|(_, watcher)| watcher.upgrade()).for_each(|watcher| watcher.notify());
        some.last().map(|&(id, _)| id)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One who watches a prefix. Dropped, it watches no more.
pub struct Watcher {
    events: Arc<Events>,
    topic: Arc<Topic>,
    id: u64,
    /// The number of the event that is next.
    next: u64,
    /// It began behind an event that is not known here.
    is_lost: bool,
}

/// What a watcher gets.
#[derive(Clone, Debug)]
pub enum NextEvent {
    /// An event.
    Event(Arc<LockEvent>),
    /// So many events were missed; none if nobody knows how many.
    Missed(Option<u64>),
}

impl Watcher {
    pub(super) fn new(
        events: Arc<Events>,
        topic: Arc<Topic>,
        after: Option<EventId>,
        notified: Weak<dyn Notified>,
    ) -> Self {
        let mut log = topic.log.lock();
        log.last_watcher += 1;
        let (id, end) = (log.last_watcher, log.first + log.kept.len() as u64);
        log.watchers.insert(id, notified);
        drop(log);
        events.watchers.fetch_add(1, Ordering::Relaxed);
        let known = after.filter(|after| after.topic == topic.id && after.number < end);
        let next = known.map_or(end, |after| after.number + 1);
        Self { events, topic, id, next, is_lost: after.is_some() && known.is_none() }
    }

    /// What comes next, if there is something.
    pub fn next(&mut self) -> Option<NextEvent> {
        if std::mem::take(&mut self.is_lost) {
            return Some(NextEvent::Missed(None));
        }
        let log = self.topic.log.lock();
        let missed = log.first.saturating_sub(self.next);
        if missed > 0 {
            self.next = log.first;
            self.events.missed.fetch_add(missed, Ordering::Relaxed);
            return Some(NextEvent::Missed(Some(missed)));
        }
        let at = usize::try_from(self.next - log.first).ok()?;
        let event = log.kept.get(at)?.clone();
        self.next += 1;
        Some(NextEvent::Event(event))
    }

    /// Which event it has had last.
    pub fn last(&self) -> EventId {
        EventId { topic: self.topic.id, number: self.next - 1 }
    }

    /// How many events it has not had.
    pub fn behind(&self) -> u64 {
        let log = self.topic.log.lock();
        log.first + log.kept.len() as u64 - self.next
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.events.watchers.fetch_sub(1, Ordering::Relaxed);
        let mut log = self.topic.log.lock();
        log.watchers.remove(&self.id);
        log.left = Instant::now();
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("last", &self.last()).finish_non_exhaustive()
    }
}

/// The number of an event, by which a client goes on behind it. It means nothing else to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    topic: u64,
    number: u64,
}

impl EventId {
    /// One that no server has given.
    pub const UNKNOWN: Self = Self { topic: 0, number: 0 };
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, number } = self;
        write!(f, "{topic:x}-{number}")
    }
}

/// It was not read: no server has given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let (topic, number) = text.split_once('-').ok_or(NoEventId)?;
        let topic = u64::from_str_radix(topic, 16).map_err(|_| NoEventId)?;
        Ok(Self { topic, number: number.parse().map_err(|_| NoEventId)? })
    }
}
