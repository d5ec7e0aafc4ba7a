//! Stand-ins between whose steps shuttle may run any other thread.
//!
//! Where the real type never blocks, it is used as it is, and each call is one step: its inner workings are for its
//! authors to prove.

use std::{
    hash::{BuildHasherDefault, DefaultHasher},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use shuttle::{rand::Rng, thread};
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

#[expect(clippy::unwrap_used, reason = "poisoned only where a scenario has failed")]
mod map;

pub(crate) use map::{DashMap, Entry, LockedKeys, each};

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
