//! Turns of a connection. What serves HTTP/1.1 goes on as long as requests are at hand, and then wakes itself to go on at once:
//! the runtime would have it run dozens of times before it looks for what has come for others.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use atomic_waker::AtomicWaker;
use tokio::task::yield_now;

/// Nobody has woken it since it ran.
const WAITS: u8 = 0;
const RUNS: u8 = 1;
/// It was woken, and is to run again.
const WOKEN: u8 = 2;

/// Whether it is the turn of a connection again: else nothing more is read.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeSlice(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_new: AtomicBool,
    is_last: AtomicBool,
    /// How often it has woken itself, one time after another.
    again: AtomicU8,
    state: AtomicU8,
    task: AtomicWaker,
}

impl TimeSlice {
    /// Serves a connection, turn by turn. As cancel-safe as that.
    pub(super) async fn serve<F: Future>(&self, mut connection: Pin<&mut F>) -> F::Output {
        let waker = Waker::from(self.0.clone());
        poll_fn(|cx| {
            self.0.task.register(cx.waker());
            self.0.state.swap(RUNS, Ordering::AcqRel);
            self.begin();
            let served = connection.as_mut().poll(&mut Context::from_waker(&waker));
            let ran = self.0.state.compare_exchange(RUNS, WAITS, Ordering::AcqRel, Ordering::Acquire);
            if ran.is_ok() {
                self.0.again.store(0, Ordering::Relaxed);
            } else if served.is_pending() {
                // Once is what a request that comes alone takes.
                let again = self.0.again.load(Ordering::Relaxed).saturating_add(1);
                self.0.again.store(again, Ordering::Relaxed);
                if again > 1 && self.0.is_last.load(Ordering::Relaxed) {
                    // This wakes it once the runtime has looked for what has come for others.
                    let _: Poll<()> = pin!(yield_now()).poll(cx);
                } else {
                    cx.waker().wake_by_ref();
                }
            }
            served
        })
        .await
    }

    pub(super) fn begin(&self) {
        self.0.is_new.store(true, Ordering::Relaxed);
    }

    /// From now on it goes on only when the runtime has looked for what has come for others. Not by HTTP/2: there each
    /// request has a task of its own, which would go on before, and what they leave to the connection would pile up.
    pub(super) fn comes_last(&self) {
        self.0.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether it has begun since this was last asked.
    pub(super) fn has_begun(&self) -> bool {
        self.0.is_new.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == WAITS {
            self.task.wake();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
    };

    use super::*;

    #[tokio::test]
    async fn self_waking_task_yields_to_others() {
        const ROUNDS: usize = 200;
        let (mut asks, mut answers) = tokio::net::UnixStream::pair().unwrap();
        let echo = tokio::spawn(async move {
            while let Ok(byte) = answers.read_u8().await {
                answers.write_u8(byte).await.unwrap();
            }
        });
        let rounds = tokio::spawn(async move {
            for _ in 0..ROUNDS {
                asks.write_u8(7).await.unwrap();
                asks.read_u8().await.unwrap();
            }
        });
        let mut turns = 0;
        let busy = poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if rounds.is_finished() { Poll::Ready(()) } else { Poll::Pending }
        });
        let slice = TimeSlice::default();
        slice.comes_last();
        slice.serve(pin!(busy)).await;
        rounds.await.unwrap();
        echo.await.unwrap();
        assert!(turns < 8 * ROUNDS, "{turns}");
    }

    #[tokio::test]
    async fn task_woken_by_others_goes_on() {
        let [come, was_there] = [(); 2].map(|()| Arc::new(Notify::new()));
        let (slice, comes, is_there) = (TimeSlice::default(), come.clone(), was_there.clone());
        let served = tokio::spawn(async move {
            slice
                .serve(pin!(async {
                    for _ in 0..100 {
                        comes.notified().await;
                        is_there.notify_one();
                    }
                }))
                .await;
        });
        for _ in 0..100 {
            come.notify_one();
            was_there.notified().await;
        }
        served.await.unwrap();
    }
}
