//! What a leader shows of its cluster. A server alone has none of this.

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

/// The cluster behind a lock service, as it is at the moment of a question.
pub trait ClusterView: Debug + Send + Sync + 'static {
    /// What it is like now.
    fn status(&self) -> ClusterStatus;
}

/// A cluster, as its leader knows it.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// The node that answers, which leads.
    pub node: String,
    /// Its term.
    pub term: u64,
    /// Since when it leads.
    pub leader_since: SystemTime,
    /// T: how long a leader that is not heard of keeps its place.
    pub ttl: Duration,
    /// How much longer the next leader waits before it grants.
    pub takeover_delay: Duration,
    /// How long the term runs without another beat.
    pub left: Duration,
    /// All nodes that are known, the leader among them, by name.
    pub nodes: Vec<NodeRow>,
    /// The last changes of the leader, newest last.
    pub changes: Vec<ChangeRow>,
}

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// Whether it leads.
    pub role: NodeRole,
    /// Where the others reach it.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// When its process began, in milliseconds since 1970.
    pub started_ms: u64,
    /// How long ago it was heard of last.
    pub seen: Duration,
    /// How many connections it relays to the leader.
    pub relayed: usize,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It serves all locks.
    Leader,
    /// It relays its clients to the leader.
    Follower,
    /// It was not heard of for three times T.
    Lost,
}

impl NodeRole {
    /// As lists and metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Lost => "lost",
        }
    }
}

/// One change of the leader.
#[derive(Clone, Debug)]
pub struct ChangeRow {
    /// When.
    pub at: SystemTime,
    /// Who leads from then on; none if nobody does.
    pub leader: Option<String>,
    /// The term.
    pub term: u64,
    /// Why, in a few words.
    pub cause: &'static str,
}
