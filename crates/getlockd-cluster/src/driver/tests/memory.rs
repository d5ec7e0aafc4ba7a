//! An engine in memory, which answers each node late, not at all, or after it was done.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use crate::{
    engine::{Beat, Change, Engine, EngineError, Leases, Look, Resign, Take, Versioned, Written},
    moment::Moment,
};

/// How long a way takes.
const WAY: Duration = Duration::from_millis(1);

/// What all nodes share.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) began: Instant,
    pub(super) moment: Moment,
    keys: Mutex<Keys>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) revision: u64,
    pub(super) values: BTreeMap<String, Versioned>,
}

/// One node's way to it.
#[derive(Debug)]
pub(super) struct MemoryEngine {
    store: Arc<Store>,
    pub(super) faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Nothing goes there, and nothing comes back.
    pub(super) cut: bool,
    /// So long an answer takes more than others.
    pub(super) slow: Duration,
    /// So many beats with leases are made, and their answer is lost.
    pub(super) lost_answers: usize,
    /// A batch with this lease is refused.
    pub(super) refused: Option<String>,
    /// Leases at this revision, or an earlier one, are compacted away.
    pub(super) compacted: u64,
    /// How many leases came with each beat that carried any.
    pub(super) batches: Vec<usize>,
}

impl Store {
    pub(super) fn new() -> Arc<Self> {
        let store = Self {
            began: Instant::now(),
            moment: Moment::now(),
            keys: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        Arc::new(store)
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().expect("keys")
    }

    pub(super) fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.keys().values.get(key).map(|key| key.value.clone())
    }

    /// Somebody else writes, or deletes.
    pub(super) fn write(&self, changes: Vec<(String, Option<Vec<u8>>)>) -> u64 {
        let mut keys = self.keys();
        keys.revision += 1;
        let revision = keys.revision;
        for (key, value) in changes {
            match value {
                Some(value) => keys.values.insert(key, Versioned { revision, value }),
                None => keys.values.remove(&key),
            };
        }
        drop(keys);
        self.changed.send_replace(revision);
        revision
    }

    pub(super) fn look(&self) -> Look {
        let keys = self.keys();
        Look {
            revision: keys.revision,
            seat: keys.values.get("seat").cloned(),
            beat: keys.values.get("beat").cloned(),
        }
    }
}

impl MemoryEngine {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, faults: Mutex::default() }
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("faults")
    }

    async fn way(&self) {
        sleep(WAY).await;
        if self.faults().cut {
            pending::<()>().await;
        }
    }

    /// Whether the seat is that of this term, and the beat that stands is lower.
    fn may_beat(look: &Look, term: u64, seat: &[u8], beat: &[u8]) -> bool {
        look.seat.as_ref().is_some_and(|key| key.revision == term && key.value == seat)
            && look.beat.as_ref().is_some_and(|key| *key.value < *beat)
    }

    fn write(&self, looked: Look, may: bool, changes: Vec<(String, Option<Vec<u8>>)>) -> Written {
        if may { Written::Done(self.store.write(changes)) } else { Written::Not(looked) }
    }
}

impl Engine for MemoryEngine {
    fn look(&self) -> BoxFuture<'_, Result<Look, EngineError>> {
        Box::pin(async {
            self.way().await;
            let look = self.store.look();
            self.way().await;
            Ok(look)
        })
    }

    fn take(&self, take: Take) -> BoxFuture<'_, Written> {
        Box::pin(async move {
            self.way().await;
            let look = self.store.look();
            let may = look.seat == take.expected.seat && look.beat == take.expected.beat;
            let changes = vec![("seat".into(), Some(take.seat)), ("beat".into(), Some(take.beat))];
            let written = self.write(look, may, changes);
            self.way().await;
            written
        })
    }

    fn beat(&self, beat: Beat) -> BoxFuture<'_, Written> {
        Box::pin(async move {
            self.way().await;
            let has_leases = !beat.leases.is_empty();
            if has_leases {
                self.faults().batches.push(beat.leases.len());
            }
            if beat.leases.iter().any(|(key, _)| Some(key) == self.faults().refused.as_ref()) {
                return Written::Refused("too large".into());
            }
            let look = self.store.look();
            let may = Self::may_beat(&look, beat.term, &beat.seat, &beat.beat);
            let mut changes = vec![("beat".into(), Some(beat.beat))];
            changes.extend(beat.leases);
            let written = self.write(look, may, changes);
            let slow = self.faults().slow;
            sleep(slow).await;
            if has_leases && self.faults().lost_answers > 0 {
                self.faults().lost_answers -= 1;
                return pending().await;
            }
            self.way().await;
            written
        })
    }

    fn resign(&self, resign: Resign) -> BoxFuture<'_, Written> {
        Box::pin(async move {
            self.way().await;
            let look = self.store.look();
            let may = Self::may_beat(&look, resign.term, &resign.seat, &resign.beat);
            let changes = vec![("seat".into(), Some(resign.resigned)), ("beat".into(), Some(resign.beat))];
            let written = self.write(look, may, changes);
            self.way().await;
            written
        })
    }

    fn leases(&self, revision: u64) -> BoxFuture<'_, Result<Leases, EngineError>> {
        Box::pin(async move {
            self.way().await;
            if revision <= self.faults().compacted {
                return Err(EngineError::Compacted(revision));
            }
            let keys = self.store.keys();
            let lease = |(key, value): (&String, &Versioned)| {
                key.starts_with("lease/").then(|| (key.clone(), value.value.clone()))
            };
            Ok(Leases { records: keys.values.iter().filter_map(lease).collect() })
        })
    }

    fn announce(&self, node: &str, value: Vec<u8>) -> BoxFuture<'_, Result<(), EngineError>> {
        let key = format!("node/{node}");
        Box::pin(async move {
            self.way().await;
            self.store.write(vec![(key, Some(value))]);
            Ok(())
        })
    }

    fn forget(&self, node: Option<&str>) -> BoxFuture<'_, Result<(), EngineError>> {
        let key = node.map_or_else(|| "hand-over".into(), |node| format!("node/{node}"));
        Box::pin(async move {
            self.way().await;
            self.store.write(vec![(key, None)]);
            Ok(())
        })
    }

    fn ask_hand_over(&self, value: Vec<u8>) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            self.way().await;
            self.store.write(vec![("hand-over".into(), Some(value))]);
            Ok(())
        })
    }

    fn watch(&self, changes: mpsc::UnboundedSender<Change>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut changed = self.store.changed.subscribe();
            let mut known: HashMap<String, Versioned> = HashMap::new();
            let look = self.store.look();
            let _ = changes.send(Change::Seat(look.seat));
            let _ = changes.send(Change::Beat(look.beat));
            while !changes.is_closed() {
                if !self.faults().cut {
                    let now = self.store.keys().values.clone();
                    for (key, value) in &now {
                        if known.get(key) != Some(value) {
                            let _ = changes.send(change(key, Some(value.clone())));
                        }
                    }
                    for key in known.keys().filter(|key| !now.contains_key(*key)) {
                        let _ = changes.send(change(key, None));
                    }
                    known = now.into_iter().collect();
                }
                // Also without a change: the way may be there again.
                let _ = tokio::time::timeout(50 * WAY, changed.changed()).await;
                sleep(WAY).await;
            }
        })
    }
}

fn change(key: &str, value: Option<Versioned>) -> Change {
    match key.split_once('/') {
        Some(("node", node)) => Change::Node(node.into(), value),
        None if key == "seat" => Change::Seat(value),
        None if key == "beat" => Change::Beat(value),
        // Of leases a watch tells nothing.
        _ => Change::HandOver(value.filter(|_| key == "hand-over")),
    }
}
