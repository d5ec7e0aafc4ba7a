//! A node of a cluster, as its own status port and metrics show it.

use std::{fmt::Debug, sync::Arc, time::Duration};

use getlockd_cluster::driver::ClusterReport;

use super::metrics::Sources;

/// What a node tells of itself. The server has one for the whole life of its process, through all terms.
pub trait NodeView: Debug + Send + Sync + 'static {
    /// How the node is now.
    fn status(&self) -> NodeStatus;

    /// What the metrics of its locks are read from while it serves them; none while it does not.
    fn served(&self) -> Option<Arc<Sources>>;
}

/// A node at one moment.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its name.
    pub node: String,
    /// What it does.
    pub state: NodeState,
    /// The highest term that it has seen; 0 before the first.
    pub term: u64,
    /// Who leads; none if nobody does, as far as the node knows.
    pub leader: Option<LeaderPlace>,
    /// Why clients should be sent to other nodes; none if this one is ready for them.
    pub not_ready: Option<NotReady>,
    /// How long the leader's term runs without another beat; none while nobody leads. A follower has it from the leader.
    pub left: Option<Duration>,
    /// T, as it holds in this term: how long a candidate sees no beat before it leads.
    pub ttl: Duration,
    /// How many connections the node relays to the leader.
    pub relayed: usize,
    /// How many connections wait for somebody to lead.
    pub parked: usize,
    /// How many relayed connections the node has closed, by cause.
    pub relay_cuts: Vec<(&'static str, u64)>,
    /// How many writes to clients were refused because the term was over.
    pub guard_refused: u64,
    /// How many sessions hold locks; 0 on a node that does not lead.
    pub holders: usize,
    /// What the node knows of its cluster.
    pub report: Arc<ClusterReport>,
}

impl NodeStatus {
    /// Whether it leads, also while it drains.
    pub fn leads(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.node == self.node)
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It serves all locks.
    Leading,
    /// It relays its clients to the leader.
    Following,
    /// Nobody leads: its clients wait.
    Parked,
    /// It leads, or led, and is about to stop.
    Draining,
}

impl NodeState {
    /// As the status port names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Following => "following",
            Self::Parked => "parked",
            Self::Draining => "draining",
        }
    }
}

/// A leader, and where its relays reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderPlace {
    /// Its name.
    pub node: String,
    /// Its cluster port.
    pub address: String,
}

/// Why a node is not ready for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It stops.
    #[error("draining")]
    Draining,
    /// It follows a leader that it does not reach, or of which it has heard nothing for too long.
    #[error("behind: no way to the leader")]
    Behind,
}
