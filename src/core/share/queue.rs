//! Places that are worth a wait: first come, first served over principals, however often one of them asks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Cause, NoPlace, QuotaKey, Refusals, What};
use crate::core::sync::{Rank, plain::Guarded};

/// So many are served at a time, and so many of each principal; the others of that one wait behind their own.
#[derive(Debug)]
pub struct Queue {
    what: What,
    limit: usize,
    of_each: usize,
    all: Arc<Semaphore>,
    /// Of those who wait or are served.
    members: Guarded<HashMap<QuotaKey, Line>>,
    refusals: Refusals,
}

/// The line of one principal.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    /// How many are in it.
    count: usize,
}

impl Queue {
    /// Nobody waits.
    pub fn new(what: What, limit: usize, of_each: usize) -> Arc<Self> {
        let (members, refusals) = (Guarded::new(Rank::PlaceQueue, HashMap::new()), Refusals::default());
        Arc::new(Self { what, limit, of_each, all: Arc::new(Semaphore::new(limit)), members, refusals })
    }

    /// Resolves when one is served.
    ///
    /// Cancel-safe: dropped, the place in the queue is lost.
    pub fn wait(self: &Arc<Self>, principal: QuotaKey) -> impl Future<Output = Served> + Send + use<> {
        let member = Member::of(self.clone(), principal);
        async move {
            // Neither is ever closed.
            let own = member.places.clone().acquire_owned().await.ok();
            let all = member.queue.all.clone().acquire_owned().await.ok();
            Served { _permits: [own, all], _member: member }
        }
    }

    /// The same, for so long at most.
    ///
    /// Cancel-safe, as [`Queue::wait`].
    ///
    /// # Errors
    /// [`NoPlace`]
    pub async fn wait_for(self: &Arc<Self>, principal: QuotaKey, time: Duration) -> Result<Served, NoPlace> {
        let member = Member::of(self.clone(), principal.clone());
        timeout(time, self.wait(principal)).await.map_err(|_| {
            let cause = if member.places.available_permits() == 0 && self.all.available_permits() > 0 {
                Cause::Share
            } else {
                Cause::Full
            };
            self.refuse(cause)
        })
    }

    /// Counts one that has waited in vain.
    pub fn refuse(&self, cause: Cause) -> NoPlace {
        self.refusals.add(cause);
        NoPlace { what: self.what, limit: self.limit, cause }
    }

    /// A place, if nobody has to be waited for.
    pub fn try_take(self: &Arc<Self>, principal: QuotaKey) -> Option<Served> {
        let member = Member::of(self.clone(), principal);
        let own = member.places.clone().try_acquire_owned().ok()?;
        let all = self.all.clone().try_acquire_owned().ok()?;
        Some(Served { _permits: [Some(own), Some(all)], _member: member })
    }

    /// What the places are for.
    pub fn what(&self) -> What {
        self.what
    }

    /// How often one has waited in vain, by its cause.
    pub fn refusals(&self) -> [(Cause, u64); Cause::ALL.len()] {
        self.refusals.read()
    }
}

/// One that waits or is served, of a principal that is forgotten with its last.
#[derive(Debug)]
struct Member {
    queue: Arc<Queue>,
    principal: QuotaKey,
    places: Arc<Semaphore>,
}

impl Member {
    fn of(queue: Arc<Queue>, principal: QuotaKey) -> Self {
        let places = {
            let mut members = queue.members.lock();
            let new = || Line { places: Arc::new(Semaphore::new(queue.of_each)), count: 0 };
            let line = members.entry(principal.clone()).or_insert_with(new);
            line.count += 1;
            line.places.clone()
        };
        Self { queue, principal, places }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.queue.members.lock();
        if let Some(line) = members.get_mut(&self.principal) {
            line.count -= 1;
            if line.count == 0 {
                members.remove(&self.principal);
            }
        }
    }
}

/// One that is served. Dropped, the next is.
#[derive(Debug)]
pub struct Served {
    // In this order: the places are given back before the principal can be forgotten.
    _permits: [Option<OwnedSemaphorePermit>; 2],
    _member: Member,
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };

    use super::*;

    fn one(name: &str) -> QuotaKey {
        QuotaKey::User(name.into())
    }

    fn now<F: Future>(waiting: &mut Pin<Box<F>>) -> Option<F::Output> {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(served) => Some(served),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn principals_take_turns() {
        let queue = Queue::new(What::Lists, 1, 1);
        let first = queue.wait(one("greedy")).await;
        let [mut second, mut third, mut other] =
            ["greedy", "greedy", "other"].map(|name| Box::pin(queue.wait(one(name))));
        // All ask, the greedy one twice before the other.
        for waiting in [&mut second, &mut third, &mut other] {
            assert!(now(waiting).is_none());
        }
        drop(first);
        // The second asks for its turn among all behind the other, who came before that.
        assert!(now(&mut second).is_none());
        let served = now(&mut other).expect("it is the other's turn");
        assert!(now(&mut second).is_none() && now(&mut third).is_none());
        drop(served);
        drop(now(&mut second).expect("its turn"));
        drop(now(&mut third).expect("its turn"));
        drop((second, third, other));
        assert!(queue.members.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn timed_out_principal_is_told_why() {
        let queue = Queue::new(What::Lists, 3, 2);
        let time = Duration::from_secs(5);
        let mut kept = vec![queue.try_take(one("a")).unwrap(), queue.try_take(one("a")).unwrap()];
        assert!(queue.try_take(one("a")).is_none());
        assert_eq!(queue.wait_for(one("a"), time).await.unwrap_err().cause, Cause::Share);
        kept.push(queue.wait_for(one("b"), time).await.unwrap());
        assert_eq!(queue.wait_for(one("b"), time).await.unwrap_err().cause, Cause::Full);
        let counts = queue.refusals().map(|(_, count)| count);
        assert_eq!(counts, [1, 1, 0]);
        drop(kept);
        assert!(queue.members.lock().is_empty());
    }
}
