//! Runs the machine of the seat against an engine, on a thread of its own, so that no work of the server delays a beat.

mod hand_over;
mod leadership;
mod nodes;
mod report;
mod run;
mod tenure;
#[cfg(test)]
mod tests;
mod writes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::{
    runtime,
    sync::{mpsc, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::{
    hand_over::{HandOverError, hand_over},
    nodes::LOST_AFTER,
    report::{BEAT_BUCKETS, ClusterReport, LeaderChange},
    tenure::{Numbers, Tenure},
    writes::NotWritten,
};
use self::{
    run::{Clock, NodeDriver, Outputs},
    tenure::DriverOrder,
};
use crate::{engine::Engine, moment::Moment, record::Leader, seat::SeatConfig};

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

/// A node of a cluster: its thread, and what it reports. Dropped, it ends the thread, and shuts the term if there is one;
/// the seat stays as a crash leaves it.
#[derive(Debug)]
pub struct Cluster {
    /// Its role, from now on.
    pub role: watch::Receiver<Role>,
    /// What there is to know.
    pub report: watch::Receiver<Arc<ClusterReport>>,
    orders: mpsc::UnboundedSender<DriverOrder>,
    ended: CancellationToken,
    refused: Arc<AtomicU64>,
    _stop: DropGuard,
}

impl Cluster {
    /// Starts the thread. All calls of the engine are made on it, so an engine that connects at its first call, and not
    /// when it is made, has its connections driven there.
    ///
    /// # Errors
    /// An I/O error if no thread can be started.
    pub fn start(engine: Arc<dyn Engine>, config: SeatConfig) -> std::io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (driver, cluster) = Self::with_clock(engine, config, Box::new(Moment::now));
        thread::Builder::new().name("cluster".into()).spawn(move || runtime.block_on(driver.run()))?;
        Ok(cluster)
    }

    fn with_clock(engine: Arc<dyn Engine>, config: SeatConfig, clock: Clock) -> (NodeDriver, Self) {
        let (role, role_seen) = watch::channel(Role::Nobody);
        let (report, report_seen) = watch::channel(Arc::default());
        let (orders, orders_taken) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let stop = CancellationToken::new();
        let refused = Arc::default();
        let outputs = Outputs { role, report, ended: ended.clone(), refused: Arc::clone(&refused) };
        let driver =
            NodeDriver::new(engine, config, clock, outputs, (orders.clone(), orders_taken), stop.clone());
        (
            driver,
            Self { role: role_seen, report: report_seen, orders, ended, refused, _stop: stop.drop_guard() },
        )
    }

    /// Whether this node takes the seat when it may be taken; it does from the start.
    pub fn stand(&self, stands: bool) {
        // The thread is gone only after an end.
        let _ = self.orders.send(DriverOrder::Stand(stands));
    }

    /// Begins the drain, if this node leads. `exits`: it takes no seat again, and if it does not lead, this is the end.
    /// Without `exits` nothing happens if no other node could lead. The successor is the newest version, and then the
    /// youngest process, if none is named.
    pub fn drain(&self, exits: bool, successor: Option<String>) {
        // The thread is gone only after an end.
        let _ = self.orders.send(DriverOrder::Drain { exits, successor });
    }

    /// How many writes to clients were refused because a term of this node was over.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Resolves when this node leads no more and never will again: after a drain that exits, the seat is resigned.
    ///
    /// Cancel-safe.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}
