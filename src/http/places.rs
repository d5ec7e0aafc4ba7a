//! Places for those who look: so many in all, and so many for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::web::Who;

/// The places that there are, and how many of them each may have.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_each: usize,
    /// Of those who have one.
    shares: Mutex<HashMap<Who, Weak<Semaphore>>>,
}

/// It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_his: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(all: usize, of_each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_each, shares: Mutex::default() }
    }

    /// None if all are taken, or as many as this one may have.
    pub(super) fn take(&self, who: Who) -> Option<Place> {
        let of_his = self.share(who).try_acquire_owned().ok()?;
        let of_all = self.all.clone().try_acquire_owned().ok()?;
        Some(Place { _of_all: of_all, _of_his: of_his })
    }

    /// A place keeps the share that it is of: those that nobody keeps are forgotten.
    fn share(&self, who: Who) -> Arc<Semaphore> {
        // No code that can panic runs while it is held.
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = shares.get(&who).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Semaphore::new(self.of_each));
        shares.insert(who, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_no_more_than_his_share_and_all_no_more_than_there_is() {
        let places = Places::new(3, 2);
        let who = |name: &str| Who::User(name.into());
        let mut taken = vec![places.take(who("a")).unwrap(), places.take(who("a")).unwrap()];
        assert!(places.take(who("a")).is_none());
        taken.push(places.take(who("b")).unwrap());
        assert!(places.take(who("b")).is_none() && places.take(who("c")).is_none());
        drop(taken.remove(0));
        assert!(places.take(who("c")).is_some());
        assert!(places.take(who("a")).is_some());
        drop(taken);
        drop(places.take(who("d")));
        assert_eq!(places.shares.lock().unwrap().len(), 1, "but for the last one all are forgotten");
    }
}
