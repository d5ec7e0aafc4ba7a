//! etcd as the engine of a seat: plain keys, transactions and watches; no lease of etcd.
//!
//! Under the prefix P stand `P/seat`, `P/beat`, `P/lease/<digest>`, `P/node/<name>` and `P/hand-over`. All that is written
//! goes by one transaction, and all that is read is linearizable.

pub mod check;
mod failure;
mod generated;
mod keys;
mod members;
mod txn;
pub mod url;
mod version;
mod watch;

use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::mpsc;

use self::{
    failure::EtcdFailure,
    generated::etcdserverpb::{RangeRequest, TxnRequest, TxnResponse},
    keys::Keys,
    members::EtcdMembers,
    url::EtcdUrl,
};
use crate::engine::{Beat, Change, Engine, EngineError, Leases, Look, Resign, Take, Written};

/// How many leases are read at once: with records of at most 2.6 kB a page is below 1.5 MB.
const PAGE: i64 = 500;

/// How long one page may take. Pages are larger than anything else that is read.
const PAGE_TIME: Duration = Duration::from_secs(2);

/// How etcd is reached.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// Its members, and the prefix of the keys.
    pub url: EtcdUrl,
    /// PEM of the authority that signed the certificates of its members; else the authorities of this machine are trusted.
    pub ca: Option<Vec<u8>>,
    /// PEM of the certificate that is shown to it, and of its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// User and password.
    pub login: Option<EtcdLogin>,
    /// How long a call may take: T/8.
    pub time_limit: Duration,
    /// Whether versions are used whose members diverge.
    pub anyway: bool,
}

/// A user of etcd.
#[derive(Clone)]
pub struct EtcdLogin {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for EtcdLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A certificate or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WrongCertificates {
    /// The file of authorities has none.
    #[error("no certificate stands in the file of --cluster-ca; it must be PEM")]
    NoAuthority,
    /// The certificate that is to be shown, or its key.
    #[error(
        "the files of --cluster-cert and --cluster-key cannot be used: {0}; they must be a certificate and its key in PEM"
    )]
    Identity(#[from] tonic::transport::Error),
}

/// An etcd cluster, and the keys of one cluster of getlockd in it.
#[derive(Debug)]
pub struct Etcd {
    members: EtcdMembers,
    keys: Keys,
}

impl Etcd {
    /// Connects to nothing yet. Each connection belongs to the runtime that made it first.
    ///
    /// # Errors
    /// [`WrongCertificates`]
    pub fn new(config: &EtcdConfig) -> Result<Self, WrongCertificates> {
        let keys = Keys::new(&config.url.prefix);
        Ok(Self { members: EtcdMembers::new(config)?, keys })
    }

    /// Makes a transaction at the member whose turn it is. Not cancel-safe: dropped, nothing is known of it.
    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, EtcdFailure> {
        let member = self.members.current();
        let made = member.txn(request).await;
        self.members.note(member, &made);
        made
    }

    /// Makes a write of the seat. Not cancel-safe: dropped, nothing is known of it.
    async fn write(&self, request: TxnRequest) -> Written {
        match self.txn(request).await {
            Err(failure) => failure.of_write(),
            Ok(answer) => txn::written(answer),
        }
    }

    /// Makes a write that depends on nothing. Not cancel-safe: dropped, it may be made or not.
    async fn put(&self, request: TxnRequest) -> Result<(), EngineError> {
        self.txn(request).await.map(|_| ()).map_err(EtcdFailure::of_read)
    }
}

impl Engine for Etcd {
    fn look(&self) -> BoxFuture<'_, Result<Look, EngineError>> {
        let request = txn::look(&self.keys);
        async { self.txn(request).await.map(txn::looked).map_err(EtcdFailure::of_read) }.boxed()
    }

    fn take(&self, take: Take) -> BoxFuture<'_, Written> {
        self.write(txn::take(&self.keys, take)).boxed()
    }

    fn beat(&self, beat: Beat) -> BoxFuture<'_, Written> {
        self.write(txn::beat(&self.keys, beat)).boxed()
    }

    fn resign(&self, resign: Resign) -> BoxFuture<'_, Written> {
        self.write(txn::resign(&self.keys, resign)).boxed()
    }

    fn leases(&self, revision: u64) -> BoxFuture<'_, Result<Leases, EngineError>> {
        async move {
            let (mut key, end) = self.keys.leases();
            let mut leases = Leases::default();
            loop {
                // Not within a transaction: etcd 3.4 panics at one that reads a revision just compacted.
                let request = RangeRequest {
                    key,
                    range_end: end.clone(),
                    limit: PAGE,
                    revision: revision.cast_signed(),
                    ..RangeRequest::default()
                };
                let member = self.members.current();
                let read = member.range(request, PAGE_TIME).await;
                self.members.note(member, &read);
                let page = read.map_err(|failure| match failure {
                    EtcdFailure::Compacted => EngineError::Compacted(revision),
                    other => other.of_read(),
                })?;
                let Some(last) = page.kvs.last() else { return Ok(leases) };
                key = [&last.key[..], &[0]].concat();
                for record in page.kvs {
                    leases.records.push((self.keys.without_prefix(&record.key), record.value));
                }
                if !page.more {
                    return Ok(leases);
                }
            }
        }
        .boxed()
    }

    fn announce(&self, node: &str, value: Vec<u8>) -> BoxFuture<'_, Result<(), EngineError>> {
        self.put(txn::put(self.keys.node(node), value)).boxed()
    }

    fn forget(&self, node: Option<&str>) -> BoxFuture<'_, Result<(), EngineError>> {
        let key = node.map_or_else(|| self.keys.hand_over.clone(), |node| self.keys.node(node));
        self.put(txn::delete(key)).boxed()
    }

    fn ask_hand_over(&self, value: Vec<u8>) -> BoxFuture<'_, Result<(), EngineError>> {
        self.put(txn::put(self.keys.hand_over.clone(), value)).boxed()
    }

    fn watch(&self, changes: mpsc::UnboundedSender<Change>) -> BoxFuture<'_, ()> {
        watch::run(self, changes).boxed()
    }
}
