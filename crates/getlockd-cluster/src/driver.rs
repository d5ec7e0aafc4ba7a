//! Runs the machine of the seat against an engine, on a thread of its own, so that no work of the server delays a beat.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    engine::Engine,
    moment::Moment,
    record::{Floors, Leader, NodeRecord},
    seat::SeatConfig,
    term::Term,
};

/// How a node stands in its cluster.
#[derive(Clone, Debug)]
pub enum Role {
    /// Nobody leads, as far as this node knows. Connections are parked.
    Nobody,
    /// Another node leads: its term, and where it is.
    Follows(u64, Arc<Leader>),
    /// This node leads. The term may not serve yet ([`Tenure::is_serving`]), or not any more.
    Leads(Arc<Tenure>),
}

/// One leadership of this node.
#[derive(Debug)]
pub struct Tenure {
    /// The guard of its sockets.
    pub term: Arc<Term>,
    /// The record with which the seat was taken.
    pub leader: Arc<Leader>,
    /// Where numbers start.
    pub first: Floors,
    /// The leases that stood in the engine: key without the prefix, and record.
    pub leases: std::sync::Mutex<Vec<(String, Vec<u8>)>>,
    /// When it began, for people.
    pub since: std::time::SystemTime,
    /// The first numbers that may not be given: moved by each beat that is acknowledged.
    pub ceiling: watch::Receiver<Floors>,
    writes: mpsc::UnboundedSender<LeaseWrite>,
    numbers: OnceLock<Numbers>,
}

/// What is asked of the server while it leads.
pub struct Numbers {
    /// The numbers that were given last.
    pub last: Box<dyn Fn() -> Floors + Send + Sync>,
    /// How many sessions hold locks.
    pub holders: Box<dyn Fn() -> usize + Send + Sync>,
}

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Numbers")
    }
}

/// Changes of leases that are written with the next beat.
#[derive(Debug)]
pub struct LeaseWrite {
    /// Each by its key without the prefix: none deletes. In order: of one key the last counts.
    pub changes: Vec<(String, Option<Vec<u8>>)>,
    /// Answered when they are written.
    pub done: oneshot::Sender<Result<(), NotWritten>>,
}

/// Why leases were not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// The term is over.
    #[error("this server does not lead any more")]
    Over,
    /// The engine refuses it.
    #[error("{0}")]
    Refused(String),
}

impl Tenure {
    /// To be called once, when the leases are restored and clients can be served: the guard opens at
    /// [`Tenure::serving`].
    pub fn restored(&self, _numbers: Numbers) {}

    /// The server cannot serve this term.
    pub fn restore_failed(&self) {}

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        false
    }

    /// Writes leases with the next beat.
    ///
    /// Cancel-safe: dropped, they are written all the same.
    ///
    /// # Errors
    /// [`NotWritten`]
    pub async fn write(&self, _changes: Vec<(String, Option<Vec<u8>>)>) -> Result<(), NotWritten> {
        Err(NotWritten::Over)
    }

    /// The drain is over: the guard shuts for good.
    pub fn drained(&self) {}

    /// All that was promised has ended: the seat can be resigned.
    pub fn all_told(&self) {}

    /// Resolves when the node was asked to drain (`hand-over`, or [`Cluster::drain`]). Cancel-safe.
    pub async fn draining(&self) {
        std::future::pending().await
    }
}

/// What there is to know about a cluster, for people and metrics.
#[derive(Clone, Debug, Default)]
pub struct ClusterReport {
    /// The last changes of the leader, newest last, at most 20.
    pub changes: Vec<LeaderChange>,
    /// How often the leader changed, by cause.
    pub changes_by_cause: BTreeMap<&'static str, u64>,
    /// Errors of the engine, by verb.
    pub engine_errors: BTreeMap<&'static str, u64>,
    /// How long beats took: count, sum in seconds, and counts up to each of [`BEAT_BUCKETS`].
    pub beats: (u64, f64, [u64; BEAT_BUCKETS.len()]),
    /// The longest time for which the machine stood still, and how often it did for more than T/5.
    pub pauses: (Duration, u64),
    /// The nodes that announced themselves, and how long ago by this node's clock.
    pub nodes: Vec<(NodeRecord, Duration)>,
    /// Since when the engine does not answer; none if it does.
    pub engine_down_since: Option<Moment>,
}

/// Bounds of the histogram of beats, in seconds.
pub const BEAT_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// One change of the leader, as this node saw it.
#[derive(Clone, Debug)]
pub struct LeaderChange {
    /// When, by the time of day.
    pub at: std::time::SystemTime,
    /// Who leads from then on; none if nobody does.
    pub leader: Option<String>,
    /// The term.
    pub term: u64,
    /// Why.
    pub cause: &'static str,
}

/// A node of a cluster: its thread, and what it reports.
#[derive(Debug)]
pub struct Cluster {
    /// Its role, from now on.
    pub role: watch::Receiver<Role>,
    /// What there is to know.
    pub report: watch::Receiver<Arc<ClusterReport>>,
}

impl Cluster {
    /// Starts the thread.
    ///
    /// # Errors
    /// An I/O error if no thread can be started.
    pub fn start(_engine: Arc<dyn Engine>, _config: SeatConfig) -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Begins the drain, if this node leads. `exits`: it takes no seat again. The successor is the newest version, and
    /// then the youngest process, if none is named.
    pub fn drain(&self, _exits: bool, _successor: Option<String>) {}

    /// Resolves when this node leads no more and never will again: after a drain that exits, the seat is resigned.
    ///
    /// Cancel-safe.
    pub async fn ended(&self) {}
}
