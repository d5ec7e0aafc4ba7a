//! The store of a server: opened before it listens, taken up before it grants, and closed behind the last change.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{StartError, instance::Start, token_watch::TokenWatch};
use crate::{
    config::StoreFlags,
    core::{
        lease::{Durability, Leases, Secret, Unwritten},
        lock::first_token,
        session::LockService,
        store::{BootMoment, DurableLease, Floors, Store, StoreWriter, StoredState},
        sync::mutant,
    },
    store::{FileStore, OpenOptions},
};

/// How long the last commit may take.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// A store that is open.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub writer: Arc<StoreWriter>,
    /// Where numbers go on.
    pub floors: Floors,
    pub request_key: Secret,
    store: Arc<dyn Store>,
    /// What it had; taken up once.
    leases: Vec<DurableLease>,
    /// Leases that were not written have ended by then.
    grants_from: Instant,
    /// The writer writes no more, in good order or not.
    written: CancellationToken,
    watch: Option<TokenWatch>,
}

impl OpenStore {
    /// Opens the store of these flags; none without one.
    pub(super) fn open(flags: &StoreFlags) -> Result<Option<Self>, StartError> {
        let Some(path) = flags.file.clone() else { return Ok(None) };
        let opened = Instant::now();
        let options = OpenOptions { path, grace: flags.grace, anyway: flags.anyway };
        let (store, state) = FileStore::open(options, first_numbers)?;
        Ok(Some(Self::of(Arc::new(store), state, opened)))
    }

    /// A store that was opened at that time, with what it has.
    fn of(store: Arc<dyn Store>, state: StoredState, opened: Instant) -> Self {
        Self {
            writer: StoreWriter::new(state.leases.iter().cloned(), state.ceiling),
            floors: state.floors,
            request_key: state.request_key,
            store,
            leases: state.leases,
            grants_from: opened + state.grace,
            written: CancellationToken::new(),
            watch: None,
        }
    }

    /// Where the lock table goes on. Leases of up to `grace` are not written.
    pub(super) fn start(&self, grace: Duration) -> Start {
        let durability = Durability {
            writer: self.writer.clone(),
            unwritten: Unwritten::UpTo(grace),
            request_key: self.request_key.clone(),
        };
        Start { floors: self.floors, durability: Some(durability), ..Start::default() }
    }

    /// Takes up what the store has, once leases that were not written have ended.
    ///
    /// Cancel-safe: dropped, nothing is taken up.
    pub(super) async fn recover(&mut self, service: &Arc<LockService>, leases: &Arc<Leases>) {
        if self.grants_from > Instant::now() {
            tracing::info!(grace = ?self.grants_from.duration_since(Instant::now()), "waiting for leases that were not written");
            sleep_until(self.grants_from).await;
        }
        let since = Instant::now();
        let stored = std::mem::take(&mut self.leases);
        let found = stored.len();
        let restored = leases.restore(stored, BootMoment::now());
        tracing::info!(restored, dropped = found - restored, took = ?since.elapsed(), "leases restored");
        let numbers = service.clone();
        let last = Arc::new(move || numbers.last_numbers());
        let writing = self.writer.clone().run(self.store.clone(), last);
        let written = self.written.clone();
        tokio::spawn(async move {
            writing.await;
            written.cancel();
        });
    }

    /// From here on fencing tokens never pass what the store allows, however long it cannot be written.
    pub(super) fn watch_tokens(&mut self, service: &Arc<LockService>) {
        match TokenWatch::start(service.clone(), self.writer.clone()) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::error!(%error, "no thread watches the fencing tokens"),
        }
    }

    /// Ends the writing. From here on what ends in memory goes on in the store.
    ///
    /// Not cancel-safe: dropped, the store may not be closed in good order.
    pub(super) async fn close(&self, leases: &Leases) {
        mutant!(ShutdownDeletes => {
            leases.service().registry().end_all();
            let _ = timeout(LAST_COMMIT, leases.tasks().wait()).await;
        });
        self.writer.close(leases.all_stored());
        let is_closed = tokio::select! {
            biased;
            () = self.writer.closed() => true,
            // It gave up, or it hangs in the disk.
            _ = timeout(LAST_COMMIT, self.written.cancelled()) => false,
        };
        if !is_closed {
            tracing::warn!(
                "the lease store was not closed in good order; the next start waits --store-grace"
            );
        }
    }
}

/// Where numbers go on that were last promised to be below these.
fn first_numbers(floors: Floors) -> Floors {
    Floors { token: first_token(floors.token), session: floors.session }
}

#[cfg(test)]
mod tests;
