//! The floor: grouped commits of the same database, and nothing around them. One batch is under way, and the next takes
//! all that came meanwhile.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use redb::{Database, TableDefinition};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::pairs::Client;

const TABLE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("leases");

/// As long as the record of a lease.
const RECORD: [u8; 80] = [b'x'; 80];

/// Those of the server.
const CACHE: usize = 1024 * 1024;

type Key = [u8; 32];

/// Commits what it is given, on a thread of its own, until all who may give it something are gone.
#[derive(Clone)]
pub struct Loop(mpsc::UnboundedSender<Change>);

struct Change {
    key: Key,
    is_put: bool,
    done: oneshot::Sender<()>,
}

impl Loop {
    /// Over a new database.
    pub fn start(file: &Path) -> Self {
        let database = Database::builder().set_cache_size(CACHE).create(file).unwrap();
        let (sender, mut changes) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut batch = Vec::new();
            while let Some(first) = changes.blocking_recv() {
                batch.push(first);
                batch.extend(std::iter::from_fn(|| changes.try_recv().ok()));
                commit(&database, &batch);
                batch.drain(..).for_each(|change| change.done.send(()).unwrap());
            }
        });
        Self(sender)
    }

    pub fn client(&self) -> Bare {
        Bare { commits: self.clone(), key: Key::default() }
    }

    async fn change(&self, key: Key, is_put: bool) {
        let (done, committed) = oneshot::channel();
        self.0.send(Change { key, is_put, done }).ok().unwrap();
        committed.await.unwrap();
    }
}

fn commit(database: &Database, batch: &[Change]) {
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(TABLE).unwrap();
    for Change { key, is_put, .. } in batch {
        if *is_put {
            table.insert(key, &RECORD[..]).unwrap();
        } else {
            table.remove(key).unwrap();
        }
    }
    drop(table);
    transaction.commit().unwrap();
}

/// Puts a record, and deletes it.
pub struct Bare {
    commits: Loop,
    key: Key,
}

impl Client for Bare {
    async fn take(&mut self) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Anywhere in the table, as the digest of a secret is.
        self.key = Sha256::digest(NEXT.fetch_add(1, Relaxed).to_le_bytes()).into();
        self.commits.change(self.key, true).await;
    }

    async fn free(&mut self) {
        self.commits.change(self.key, false).await;
    }
}
