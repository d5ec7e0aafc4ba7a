//! A store whose disk takes its time, fails, and loses its power.

use std::{collections::HashMap, io, sync::Mutex, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        lease::{Key, Secret},
        store::{Batch, CommitError, DurableLease, Floors, LeaseChange, Store, StoredState},
    },
    dice::Dice,
};

/// What is in the file of a store.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub leases: HashMap<Key, DurableLease>,
    floors: Floors,
    request_key: Secret,
    grace: Duration,
}

impl Image {
    pub(super) fn new() -> Self {
        Self {
            leases: HashMap::new(),
            floors: Floors::default(),
            request_key: Secret::random().unwrap(),
            grace: Duration::ZERO,
        }
    }
}

/// A file on a disk that has power.
#[derive(Debug)]
pub(super) struct Disk {
    state: Mutex<DiskState>,
    /// Leases that run for no longer are not written.
    grace: Duration,
    /// The power is to be cut now.
    pub cut: CancellationToken,
}

#[derive(Debug)]
struct DiskState {
    file: Image,
    /// What the file is after the write that is under way.
    under_way: Option<Image>,
    /// It failed, up to the next replacement.
    is_broken: bool,
    /// The power is cut at a moment of a write, after so many others.
    moments_left: u64,
    dice: Dice,
}

/// What becomes of a write.
struct Fate {
    before: Duration,
    after: Duration,
    /// It fails, and is done all the same or not.
    failure: Option<bool>,
}

impl Disk {
    /// Opens a file as the store of a server does. Up to the cut, so many moments of writes pass.
    pub(super) fn open(
        mut file: Image,
        grace: Duration,
        moments_left: u64,
        dice: Dice,
        first: impl FnOnce(Floors) -> Floors,
    ) -> (Self, StoredState) {
        let floors = first(file.floors);
        let mut leases: Vec<_> = file.leases.values().cloned().collect();
        // A map has another order each time, and a seed is to give the same run.
        leases.sort_by_key(|lease| lease.token);
        let state = StoredState {
            leases,
            floors,
            ceiling: floors.ahead(),
            request_key: file.request_key.clone(),
            grace: file.grace,
        };
        file.floors = state.ceiling;
        file.grace = file.grace.max(grace);
        let state_of_disk = DiskState { file, under_way: None, is_broken: false, moments_left, dice };
        (Self { state: Mutex::new(state_of_disk), grace, cut: CancellationToken::new() }, state)
    }

    /// What is on it.
    pub(super) fn file(&self) -> Image {
        self.state.lock().unwrap().file.clone()
    }

    /// What is on it after a power cut: all or nothing of the write that was under way.
    pub(super) fn cut_power(&self) -> Image {
        let mut state = self.state.lock().unwrap();
        let under_way = state.under_way.take();
        under_way.filter(|_| state.dice.one_in(2)).unwrap_or_else(|| state.file.clone())
    }

    /// A moment at which the power may be cut.
    ///
    /// Cancel-safe.
    async fn moment(&self) {
        let is_cut = {
            let mut state = self.state.lock().unwrap();
            state.moments_left = state.moments_left.saturating_sub(1);
            state.moments_left == 0
        };
        if is_cut {
            self.cut.cancel();
            std::future::pending::<()>().await;
        }
    }

    /// Not cancel-safe: dropped, the write is done or not.
    async fn write(&self, next: Image) -> Result<(), CommitError> {
        let Fate { before, after, failure } = {
            let mut state = self.state.lock().unwrap();
            state.under_way = Some(next);
            let [before, after] = [(); 2].map(|()| Duration::from_millis(state.dice.below(8)));
            let fails = state.dice.one_in(40);
            let is_done = state.dice.one_in(2);
            Fate { before, after, failure: fails.then_some(is_done) }
        };
        self.moment().await;
        sleep(before).await;
        {
            let mut state = self.state.lock().unwrap();
            let next = state.under_way.take();
            state.is_broken = failure.is_some();
            if let (Some(next), None | Some(true)) = (next, failure) {
                state.file = next;
            }
        }
        self.moment().await;
        sleep(after).await;
        failure.map_or(Ok(()), |_| Err(CommitError::Unknown(io::ErrorKind::StorageFull.into())))
    }
}

impl Store for Disk {
    fn commit(&self, Batch { changes, floors }: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            let mut next = {
                let state = self.state.lock().unwrap();
                if state.is_broken {
                    return Err(CommitError::Unknown(io::Error::other("closed")));
                }
                state.file.clone()
            };
            for (key, change) in changes {
                match change {
                    LeaseChange::Put(lease) => drop(next.leases.insert(key, (*lease).clone())),
                    LeaseChange::Delete => drop(next.leases.remove(&key)),
                }
            }
            next.floors = floors.unwrap_or(next.floors);
            self.write(next).await
        }
        .boxed()
    }

    fn replace(&self, leases: Vec<DurableLease>, floors: Floors) -> BoxFuture<'_, Result<(), CommitError>> {
        let leases = leases.into_iter().map(|lease| (lease.key, lease)).collect();
        let next = Image { leases, floors, grace: self.grace, ..self.file() };
        self.write(next).boxed()
    }

    fn close(&self, last: Floors, is_quiet: bool) -> BoxFuture<'_, Result<(), CommitError>> {
        let floors = Floors { token: last.token + 1, session: last.session };
        let grace = if is_quiet { Duration::ZERO } else { self.grace };
        let next = Image { floors, grace, ..self.file() };
        self.write(next).boxed()
    }
}
