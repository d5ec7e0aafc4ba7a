//! A cluster of nodes that a test makes up: what its leader shows, and what each node tells of itself.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use getlockd::internal::cluster::{
    ChangeRow, ClusterStatus, ClusterView, LeaderPlace, NodeRole, NodeRow, NodeState, NodeStatus, NodeView,
    Sources,
    driver::{ClusterReport, LeaderChange},
    moment::Moment,
    record::NodeRecord,
    term::Term,
};

/// The term that the leader of these tests has.
pub const TERM: u64 = 16226;

/// When it began: 2026-11-27 10:00.
const LEADER_SINCE: Duration = Duration::from_hours(498_826);

/// A term that runs for so long, and whose sockets may be written to.
pub fn term(left: Duration) -> Arc<Term> {
    let term = Term::held(TERM, Moment::now().after(left));
    term.release();
    Arc::new(term)
}

/// What the leader `a` shows: that it leads, and that `b` follows.
#[derive(Debug)]
pub struct LeaderOfTwo(pub Arc<Term>);

impl ClusterView for LeaderOfTwo {
    fn status(&self) -> ClusterStatus {
        let since = SystemTime::UNIX_EPOCH + LEADER_SINCE;
        ClusterStatus {
            node: "a".to_owned(),
            term: TERM,
            leader_since: since,
            ttl: Duration::from_secs(5),
            takeover_delay: Duration::ZERO,
            left: self.0.left(Moment::now()),
            nodes: vec![row("a", NodeRole::Leader, 0), row("b", NodeRole::Follower, 12)],
            changes: vec![ChangeRow {
                at: since,
                leader: Some("a".to_owned()),
                term: TERM,
                cause: "no beat",
            }],
        }
    }
}

fn row(node: &str, role: NodeRole, relayed: usize) -> NodeRow {
    NodeRow {
        node: node.to_owned(),
        role,
        address: format!("10.0.0.{}:3309", if node == "a" { 1 } else { 2 }),
        version: "0.1.0".to_owned(),
        started_ms: 1_795_770_000_000,
        seen: Duration::from_millis(412),
        relayed,
    }
}

/// A node that tells of itself what a test has it tell.
#[derive(Debug)]
pub struct StubNode(Mutex<NodeStatus>);

impl StubNode {
    /// The node `a`, which leads.
    pub fn leading() -> Arc<Self> {
        let since = SystemTime::UNIX_EPOCH + LEADER_SINCE;
        let change = LeaderChange { at: since, leader: Some("a".to_owned()), term: TERM, cause: "no beat" };
        let announced = |node: &str, ago| {
            let NodeRow { node, address, version, started_ms, .. } = row(node, NodeRole::Follower, 0);
            (NodeRecord { node, address, version, started_ms, n: 7 }, Duration::from_secs(ago))
        };
        let report = ClusterReport {
            changes: vec![change],
            changes_by_cause: [("no beat", 1)].into(),
            engine_errors: [("beat", 2)].into(),
            beats: (5, 0.075, [0, 0, 1, 4, 4, 5, 5, 5, 5, 5]),
            pauses: (Duration::from_millis(60_200), 1),
            nodes: vec![announced("a", 0), announced("b", 1), announced("c", 40)],
            at: Moment::now(),
            engine_down_since: None,
        };
        Arc::new(Self(Mutex::new(NodeStatus {
            node: "a".to_owned(),
            state: NodeState::Leading,
            term: TERM,
            leader: Some(LeaderPlace { node: "a".to_owned(), address: "10.0.0.1:3309".to_owned() }),
            not_ready: None,
            left: Some(Duration::from_millis(4212)),
            ttl: Duration::from_secs(5),
            relayed: 12,
            parked: 0,
            relay_cuts: vec![("term over", 3)],
            guard_refused: 4,
            holders: 9,
            report: Arc::new(report),
        })))
    }

    pub fn change(&self, change: impl FnOnce(&mut NodeStatus)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl NodeView for StubNode {
    fn status(&self) -> NodeStatus {
        self.0.lock().unwrap().clone()
    }

    fn served(&self) -> Option<Arc<Sources>> {
        None
    }
}
