//! Turns for TLS handshakes: the signature in one takes as much time of a thread as hundreds of requests.

use std::{future::poll_fn, pin::Pin, task::Poll};

use tokio::{sync::Mutex, task::yield_now};

/// Runs one step of a handshake at a time, in the order in which they ask, and other ready tasks between two steps.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<()>);

impl Handshakes {
    /// Runs a handshake to its end, each step in a turn. While it waits for the client it takes no turn.
    ///
    /// Cancel-safe if `handshake` is: dropped, it releases its turn.
    pub(super) async fn run<F: Future + Unpin>(&self, handshake: &mut F) -> F::Output {
        loop {
            let turn = self.0.lock().await;
            // The runtime polls its sockets before this task continues, so others are served between two steps.
            yield_now().await;
            let step = poll_fn(|cx| Poll::Ready(Pin::new(&mut *handshake).poll(cx))).await;
            drop(turn);
            match step {
                Poll::Ready(done) => return done,
                Poll::Pending => woken().await,
            }
        }
    }
}

/// Waits until the task is woken, including by what it has polled since it last started to run.
async fn woken() {
    let mut has_waited = false;
    poll_fn(|_| {
        let is_woken = std::mem::replace(&mut has_waited, true);
        if is_woken { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        future::pending,
        pin::pin,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use tokio::{sync::Notify, task::JoinSet};

    use super::*;

    #[tokio::test]
    async fn ready_tasks_run_between_handshake_steps() {
        let (turns, done) = (Arc::new(Handshakes::default()), Arc::new(Mutex::new(Vec::new())));
        let mut all = JoinSet::new();
        for n in 0..100 {
            let (turns, done) = (turns.clone(), done.clone());
            all.spawn(async move {
                for step in 0..3 {
                    let mut left = 1;
                    turns
                        .run(&mut poll_fn(|cx| {
                            done.lock().unwrap().push((n, step));
                            cx.waker().wake_by_ref();
                            left -= 1;
                            if left < 0 { Poll::Ready(()) } else { Poll::Pending }
                        }))
                        .await;
                }
            });
        }
        let mut most = 0;
        let mut before = 0;
        while done.lock().unwrap().len() < 600 {
            yield_now().await;
            let now = done.lock().unwrap().len();
            most = most.max(now - before);
            before = now;
        }
        assert_eq!(most, 1);
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        // In the order in which they asked.
        assert_eq!(done.lock().unwrap()[..100], (0..100).map(|n| (n, 0)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn waiting_or_dropped_handshake_blocks_no_other() {
        let turns = Handshakes::default();
        let steps = AtomicUsize::new(0);
        let mut never = pin!(pending::<()>());
        let mut counted = poll_fn(|cx| {
            steps.fetch_add(1, Ordering::Relaxed);
            never.as_mut().poll(cx)
        });
        let mut waits = pin!(turns.run(&mut counted));
        for _ in 0..10 {
            assert!(poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await.is_pending());
            yield_now().await;
        }
        assert!(steps.load(Ordering::Relaxed) > 0);

        // Dropped wherever it is.
        for steps in 0..4 {
            let mut ready = std::future::ready(());
            let mut dropped = Box::pin(turns.run(&mut ready));
            for _ in 0..steps {
                if poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await.is_ready() {
                    break;
                }
            }
        }
        turns.run(&mut std::future::ready(())).await;
    }

    #[tokio::test]
    async fn woken_handshake_goes_on() {
        let (turns, comes) = (Arc::new(Handshakes::default()), Arc::new(Notify::new()));
        let waits = tokio::spawn({
            let (turns, comes) = (turns.clone(), comes.clone());
            async move { turns.run(&mut Box::pin(comes.notified())).await }
        });
        for _ in 0..10 {
            turns.run(&mut std::future::ready(())).await;
        }
        comes.notify_one();
        waits.await.unwrap();
    }
}
