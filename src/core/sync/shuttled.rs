//! Stand-ins between whose steps shuttle may run any other thread.
//!
//! Where the real type never blocks, it is used as it is, and each call is one step: its inner workings are for its
//! authors to prove.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use shuttle::{rand::Rng, thread};
use shuttle_dashmap as whole;
use tokio::{sync::futures::Notified, time::Instant};

/// Another thread may run here.
fn step() {
    // Shuttle has no clock: a sleep is a step, and a yield would be a hint to run others first.
    thread::sleep(std::time::Duration::ZERO);
}

/// The same in every run, so that a schedule can be replayed.
pub(crate) type RandomState = BuildHasherDefault<DefaultHasher>;
pub(crate) type HashMap<K, V, S = RandomState> = std::collections::HashMap<K, V, S>;
pub(crate) type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// So few that two locks sometimes share a shard, as they do in a table of a million.
const SHARDS: usize = 4;

/// Like dashmap's, with shards. Shuttle's own has one shard: two locks would never change at the same time.
#[derive(Debug)]
pub(crate) struct DashMap<K, V, S> {
    shards: [whole::DashMap<K, V>; SHARDS],
    hasher: S,
}

impl<K: Eq + Hash + Clone, V, S: BuildHasher> DashMap<K, V, S> {
    pub(crate) fn with_hasher_and_shard_amount(hasher: S, _: usize) -> Self {
        Self { shards: std::array::from_fn(|_| whole::DashMap::new()), hasher }
    }

    pub(crate) fn entry(&self, key: K) -> whole::Entry<'_, K, V> {
        self.shard(&key).entry(key)
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<whole::Ref<'_, K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shard(key).get(key)
    }

    pub(crate) fn get_mut<Q>(&self, key: &Q) -> Option<whole::RefMut<'_, K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shard(key).get_mut(key)
    }

    pub(crate) fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shard(key).contains_key(key)
    }

    pub(crate) fn remove_if_mut<Q>(&self, key: &Q, f: impl FnOnce(&K, &mut V) -> bool) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shard(key).remove_if_mut(key, f)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = whole::RefMulti<'_, K, V>> {
        self.shards.iter().flat_map(whole::DashMap::iter)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(whole::DashMap::len).sum()
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> &whole::DashMap<K, V> {
        let hash = self.hasher.hash_one(key);
        #[expect(clippy::cast_possible_truncation, reason = "less than SHARDS")]
        &self.shards[(hash % SHARDS as u64) as usize]
    }
}

/// Like tokio's.
pub(crate) mod oneshot {
    use super::{Context, Pin, Poll, step};
    use tokio::sync::oneshot as real;

    #[derive(Debug)]
    pub(crate) struct Sender<T>(real::Sender<T>);

    #[derive(Debug)]
    pub(crate) struct Receiver<T>(real::Receiver<T>);

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = real::channel();
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(self, message: T) -> Result<(), T> {
            step();
            self.0.send(message)
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, real::error::RecvError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            step();
            Pin::new(&mut self.0).poll(cx)
        }
    }
}

/// Like tokio's.
#[derive(Debug)]
pub(crate) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::Notify::new())
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        step();
        self.0.notified()
    }

    pub(crate) fn notify_waiters(&self) {
        step();
        self.0.notify_waiters();
    }
}

/// Like that of the crate `atomic-waker`.
#[derive(Debug, Default)]
pub(crate) struct AtomicWaker(atomic_waker::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn register(&self, waker: &Waker) {
        step();
        self.0.register(waker);
    }

    pub(crate) fn wake(&self) {
        step();
        self.0.wake();
    }
}

/// Resolves at any time: at once, or after others have run for a while.
pub(crate) async fn sleep_until(_: Instant) {
    let later = || shuttle::rand::thread_rng().r#gen::<bool>();
    while later() {
        shuttle::future::yield_now().await;
    }
}
