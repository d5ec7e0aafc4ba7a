//! What happens to locks, for those who have asked to be told.
//!
//! A watcher is told of all names with a prefix. The events of a prefix are kept in one short history, a [`Topic`],
//! whatever the number of its watchers. They are published under the guard of the lock's shard, so those of one lock
//! come in their true order; that costs a look-up for each length that a watched prefix has. The publisher wakes one
//! task, which wakes the watchers in pieces. A watcher that falls behind the history is told how much it has missed.
//!
//! A session that holds a lock may be told that others begin to wait for it: a [`Listener`]. The publisher only notes the wait.

mod listener;
mod topic;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use smol_str::SmolStr;
use tokio::{sync::Notify, time::Instant};

pub use crate::core::stats::ReleaseCause;
pub use listener::Listener;
pub use topic::{EventId, NextEvent, Topic, Watcher};

use crate::{
    core::{
        clock,
        lock::{Hold, Mode, SessionId},
        sync::{
            Rank,
            plain::{AtomicU64, AtomicUsize, Guarded, Ordering, ReadMostly},
        },
    },
    name::Name,
};

/// The most events that are kept of one prefix.
pub const HISTORY: usize = 1_000;

/// The most events that are kept of all prefixes together, but for a few of each.
const KEPT: usize = 128 * HISTORY;

/// A prefix has room for so many events, however many prefixes there are.
const MIN_HISTORY: usize = 2;

/// For so long the events of a prefix are kept that nobody watches any more: a client that has lost its connection goes on
/// where it was.
const LINGER: Duration = Duration::from_mins(1);

/// Prefixes are not kept that long where there are more than this.
const LINGERING: usize = 1_024;

/// The most waits that are noted and not passed on yet.
const WAITS: usize = 1_024;

/// A hold that has begun or ended.
#[derive(Clone, Debug)]
pub struct LockEvent {
    /// The lock.
    pub name: Name,
    /// The hold.
    pub hold: Hold,
    /// How it ended; none if it has begun.
    pub end: Option<HoldEnd>,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug)]
pub struct HoldEnd {
    /// Why.
    pub cause: ReleaseCause,
    /// How long it lasted.
    pub held: Duration,
}

impl LockEvent {
    /// The word for it: `taken`, `freed` if the holder has released it, or `lost` if the hold ended otherwise.
    pub fn kind(&self) -> &'static str {
        match self.end.map(|end| end.cause) {
            None => "taken",
            Some(ReleaseCause::Release | ReleaseCause::Reset) => "freed",
            Some(_) => "lost",
        }
    }
}

/// A session waits for a lock.
#[derive(Clone, Debug)]
pub struct WaitEvent {
    /// The lock.
    pub name: Name,
    /// The session.
    pub session: SessionId,
    /// How it wants the lock.
    pub mode: Mode,
    /// How many wait, with this one.
    pub waiters: usize,
}

/// Where a watcher or a listener is told that there is something for it.
pub trait Notified: Send + Sync {
    /// There is something. Called by one task for all of them, so it does next to nothing.
    fn notify(&self);
}

impl Notified for Notify {
    fn notify(&self) {
        self.notify_one();
    }
}

/// All that is watched.
pub struct Events {
    /// How many prefixes and listeners there are: most servers have none, and then this is all that a grant costs.
    wanted: AtomicUsize,
    topics: ReadMostly<Topics>,
    listeners: Guarded<HashMap<SessionId, Weak<Listener>>>,
    news: Guarded<News>,
    /// Wakes the task that passes the news on.
    changed: Notify,
    /// How many events a prefix has room for.
    room: AtomicUsize,
    watchers: AtomicUsize,
    missed: AtomicU64,
}

/// The prefixes that are watched.
struct Topics {
    by_prefix: HashMap<SmolStr, Arc<Topic>>,
    /// How many of them have each length, in bytes.
    lengths: BTreeMap<usize, usize>,
    /// The number of the next one. Those of two starts differ.
    next_id: u64,
    /// With so many prefixes those are looked for that nobody watches.
    prune_at: usize,
}

/// What the watchers and listeners have not been told.
#[derive(Default)]
struct News {
    items: VecDeque<Item>,
    /// How many of them are waits.
    waits: usize,
    /// There is a task that passes them on.
    is_served: bool,
}

/// Something to pass on.
pub enum Item {
    /// To the watchers of a prefix.
    Topic(Arc<Topic>),
    /// To the listeners that hold the lock.
    Wait(Arc<WaitEvent>),
    /// To all listeners: more waits began than are noted.
    LostWaits,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Default for Events {
    fn default() -> Self {
        let topics = Topics {
            by_prefix: HashMap::new(),
            lengths: BTreeMap::new(),
            next_id: u64::try_from(clock::since_epoch().as_micros()).unwrap_or_default(),
            prune_at: LINGERING,
        };
        Self {
            wanted: AtomicUsize::new(0),
            topics: ReadMostly::new(Rank::Topics, topics),
            listeners: Guarded::new(Rank::Listeners, HashMap::new()),
            news: Guarded::new(Rank::News, News::default()),
            changed: Notify::new(),
            room: AtomicUsize::new(HISTORY),
            watchers: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
        }
    }
}

/// What the table tells. Each is called under the guard of the lock's shard, and only if it [is wanted](Events::is_wanted).
impl Events {
    /// Whether anybody watches or listens.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) != 0
    }

    /// A hold has begun.
    #[cold]
    pub fn taken(&self, name: &Name, hold: Hold) {
        self.publish(name, || LockEvent { name: name.clone(), hold, end: None });
    }

    /// A hold has ended.
    #[cold]
    pub fn ended(&self, name: &Name, hold: Hold, cause: ReleaseCause) {
        let end = || HoldEnd { cause, held: hold.since.elapsed() };
        self.publish(name, || LockEvent { name: name.clone(), hold, end: Some(end()) });
    }

    /// A session has begun to wait, or is the first that still waits after a grant.
    #[cold]
    pub fn waits(&self, wait: WaitEvent) {
        if self.listeners.lock().is_empty() {
            return;
        }
        self.news.lock().add_wait(wait);
        self.changed.notify_one();
    }

    fn publish(&self, name: &Name, event: impl FnOnce() -> LockEvent) {
        let topics = self.topics.read();
        let mut matching = topics.of(name.as_str()).peekable();
        if matching.peek().is_none() {
            return;
        }
        let (event, room) = (Arc::new(event()), self.room.load(Ordering::Relaxed));
        let is_news = |topic: &&Arc<Topic>| topic.push(event.clone(), room);
        let changed: smallvec::SmallVec<[Arc<Topic>; 4]> = matching.filter(is_news).cloned().collect();
        drop(topics);
        if !changed.is_empty() {
            self.news.lock().items.extend(changed.into_iter().map(Item::Topic));
            self.changed.notify_one();
        }
    }
}

/// Watchers and listeners.
impl Events {
    /// Watches the names with this prefix, from now on or from behind an event that a watcher had before.
    pub fn watch(
        self: &Arc<Self>,
        prefix: &str,
        after: Option<EventId>,
        notified: Weak<dyn Notified>,
    ) -> Watcher {
        let mut topics = self.topics.write();
        if topics.by_prefix.len() >= topics.prune_at {
            self.prune(&mut topics, Duration::ZERO);
            topics.prune_at = LINGERING.max(2 * topics.by_prefix.len());
        }
        let topic = topics.by_prefix.get(prefix).cloned().unwrap_or_else(|| {
            self.wanted.fetch_add(1, Ordering::Relaxed);
            topics.add(prefix)
        });
        self.set_room(&topics);
        // Before the guard is left: nobody finds the prefix without a watcher.
        Watcher::new(self.clone(), topic, after, notified)
    }

    /// Is told of waits for what the session holds.
    pub fn listen(self: &Arc<Self>, session: SessionId, notified: Weak<dyn Notified>) -> Arc<Listener> {
        let listener = Arc::new(Listener::new(self.clone(), session, notified));
        self.listeners.lock().insert(session, Arc::downgrade(&listener));
        self.wanted.fetch_add(1, Ordering::Relaxed);
        listener
    }

    fn stop_listening(&self, session: SessionId) {
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        self.listeners.lock().remove(&session);
    }

    /// Those of these sessions that listen.
    pub(crate) fn listeners(&self, sessions: &[SessionId]) -> Vec<Arc<Listener>> {
        let listeners = self.listeners.lock();
        sessions.iter().filter_map(|session| listeners.get(session)?.upgrade()).collect()
    }

    /// All sessions that listen.
    pub(crate) fn all_listeners(&self) -> Vec<SessionId> {
        self.listeners.lock().keys().copied().collect()
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// How many events watchers have missed, each of them counted by itself.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Removes the prefixes that nobody has watched for so long.
    fn prune(&self, topics: &mut Topics, linger: Duration) {
        let Topics { by_prefix, lengths, .. } = topics;
        by_prefix.retain(|prefix, topic| {
            let stays = topic.is_watched_within(linger);
            if !stays {
                self.wanted.fetch_sub(1, Ordering::Relaxed);
                if let Some(count) = lengths.get_mut(&prefix.len()) {
                    *count -= 1;
                }
            }
            stays
        });
        lengths.retain(|_, count| *count > 0);
    }

    /// Divides the room for events among the prefixes. It changes only when their number has doubled or halved.
    fn set_room(&self, topics: &Topics) {
        let shares = topics.by_prefix.len().next_power_of_two();
        let room = (KEPT / shares).clamp(MIN_HISTORY, HISTORY);
        if self.room.swap(room, Ordering::Relaxed) > room {
            topics.by_prefix.values().for_each(|topic| topic.shrink(room));
        }
    }
}

/// Passing the news on.
impl Events {
    /// Whether the caller is to start the task that passes the news on.
    pub(crate) fn needs_service(&self) -> bool {
        !std::mem::replace(&mut self.news.lock().is_served, true)
    }

    /// There is no such task any more.
    pub(crate) fn service_ends(&self) {
        self.news.lock().is_served = false;
    }

    /// The next news. None when nobody watches or listens any more: the task ends then.
    ///
    /// Cancel-safe: dropped, it has taken nothing.
    pub(crate) async fn next(&self) -> Option<Item> {
        let mut pruned = Instant::now();
        loop {
            let changed = self.changed.notified();
            if let Some(item) = self.news.lock().next() {
                return Some(item);
            }
            if pruned.elapsed() >= LINGER / 2 {
                pruned = Instant::now();
                let mut topics = self.topics.write();
                self.prune(&mut topics, LINGER);
                self.set_room(&topics);
            }
            if self.ends_service() {
                return None;
            }
            let _ = tokio::time::timeout(LINGER / 2, changed).await;
        }
    }

    /// Whether nobody watches any more. The next watcher starts the task again.
    fn ends_service(&self) -> bool {
        let mut news = self.news.lock();
        news.is_served = self.is_wanted();
        !news.is_served
    }
}

impl News {
    fn add_wait(&mut self, wait: WaitEvent) {
        // One place more, to tell that some are lost.
        match self.waits {
            ..WAITS => self.items.push_back(Item::Wait(Arc::new(wait))),
            WAITS => self.items.push_back(Item::LostWaits),
            _ => return,
        }
        self.waits += 1;
    }

    fn next(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.waits -= usize::from(!matches!(item, Item::Topic(_)));
        Some(item)
    }
}

impl Topics {
    /// Those whose prefix a name has.
    fn of(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        let lengths = self.lengths.range(..=name.len());
        lengths.filter_map(|(&length, _)| {
            #[cfg(test)]
            LOOKED_UP.set(LOOKED_UP.get() + 1);
            self.by_prefix.get(name.get(..length)?)
        })
    }

    fn add(&mut self, prefix: &str) -> Arc<Topic> {
        self.next_id += 1;
        let topic = Arc::new(Topic::new(self.next_id));
        self.by_prefix.insert(prefix.into(), topic.clone());
        *self.lengths.entry(prefix.len()).or_default() += 1;
        topic
    }
}

#[cfg(test)]
thread_local! {
    /// How many prefixes have been looked up.
    static LOOKED_UP: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests;
