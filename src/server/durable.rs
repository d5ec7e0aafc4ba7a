//! The store of a server: opened before it listens, taken up before it grants, and closed behind the last change.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{StartError, token_watch::TokenWatch};
use crate::{
    config::StoreFlags,
    core::{
        lease::{Leases, Secret},
        lock::first_token,
        session::LockService,
        store::{BootMoment, DurableLease, Floors, Store, StoreWriter},
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
    /// What runs once they are taken up: the writer, and the watch over fencing tokens.
    writing: Option<JoinHandle<()>>,
    watch: Option<TokenWatch>,
}

impl OpenStore {
    /// Opens the store of these flags; none without one.
    pub(super) fn open(flags: &StoreFlags) -> Result<Option<Self>, StartError> {
        let Some(path) = flags.file.clone() else { return Ok(None) };
        let opened = Instant::now();
        let options = OpenOptions { path, grace: flags.grace, anyway: flags.anyway };
        let (store, state) = FileStore::open(options, |floors| Floors {
            token: first_token(floors.token),
            session: floors.session,
        })?;
        Ok(Some(Self {
            writer: StoreWriter::new(state.leases.iter().cloned(), state.ceiling),
            floors: state.floors,
            request_key: state.request_key,
            store: Arc::new(store),
            leases: state.leases,
            grants_from: opened + state.grace,
            writing: None,
            watch: None,
        }))
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
        self.writing = Some(tokio::spawn(self.writer.clone().run(self.store.clone(), last)));
        match TokenWatch::start(service.clone(), self.writer.clone()) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::error!(%error, "no thread watches the fencing tokens"),
        }
    }

    /// Ends the writing. From here on what ends in memory goes on in the store.
    ///
    /// Not cancel-safe: dropped, the store may not be closed in good order.
    pub(super) async fn close(&mut self, leases: &Leases) {
        self.writer.close(leases.all_stored());
        let Some(writing) = self.writing.take() else { return };
        let is_closed = tokio::select! {
            biased;
            () = self.writer.closed() => true,
            // It gave up, or it hangs in the disk.
            _ = timeout(LAST_COMMIT, writing) => false,
        };
        if !is_closed {
            tracing::warn!(
                "the lease store was not closed in good order; the next start waits --store-grace"
            );
        }
    }
}
