//! What a node shows of itself and of its cluster.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, SystemTime},
};

use getlockd_cluster::{
    driver::{ClusterReport, LOST_AFTER, LeaderChange, Role, Tenure},
    moment::Moment,
    record::{Leader, NodeRecord},
    term::Term,
};

use super::{Front, NodeShared};
use crate::{
    core::cluster::{ChangeRow, ClusterStatus, ClusterView, NodeRole, NodeRow},
    net::{CutCause, RelayRow},
    ops::{
        metrics::Sources,
        node::{LeaderPlace, NodeState, NodeStatus, NodeView, NotReady},
    },
};

/// The cluster of a leader, as its clients see it.
#[derive(Debug)]
pub(super) struct TermView {
    /// Weak: the node has the term, whose lock service has this.
    node: Weak<NodeShared>,
    term: Arc<Term>,
    leader: Arc<Leader>,
    since: SystemTime,
}

impl TermView {
    pub fn new(node: &Arc<NodeShared>, tenure: &Tenure) -> Self {
        let Tenure { term, leader, since, .. } = tenure;
        Self { node: Arc::downgrade(node), term: term.clone(), leader: leader.clone(), since: *since }
    }
}

impl ClusterView for TermView {
    fn status(&self) -> ClusterStatus {
        let Self { node, term, leader, since } = self;
        let node = node.upgrade();
        let report = node.as_ref().map(|node| node.report()).unwrap_or_default();
        let relays = match node.as_ref().map(|node| node.front.borrow().clone()) {
            Some(Front::Serves(served)) => served.relays.rows(),
            _ => Vec::new(),
        };
        ClusterStatus {
            node: leader.node.clone(),
            term: term.number(),
            leader_since: *since,
            ttl: leader.ttl,
            takeover_delay: leader.takeover_delay,
            left: term.left(Moment::now()),
            nodes: rows(&report, leader, &relays),
            changes: changes(&report),
        }
    }
}

fn rows(report: &ClusterReport, leader: &Leader, relays: &[RelayRow]) -> Vec<NodeRow> {
    let relayed = |node: &str| relays.iter().filter(|row| *row.node == *node).map(|row| row.relayed).sum();
    let row = |(record, seen): &(NodeRecord, Duration)| NodeRow {
        role: match &record.node {
            node if *node == leader.node => NodeRole::Leader,
            _ if *seen > leader.ttl * LOST_AFTER => NodeRole::Lost,
            _ => NodeRole::Follower,
        },
        relayed: relayed(&record.node),
        node: record.node.clone(),
        address: record.address.clone(),
        version: record.version.clone(),
        started_ms: record.started_ms,
        seen: *seen,
    };
    report.nodes.iter().map(row).collect()
}

fn changes(report: &ClusterReport) -> Vec<ChangeRow> {
    let row = |change: &LeaderChange| ChangeRow {
        at: change.at,
        leader: change.leader.clone(),
        term: change.term,
        cause: change.cause,
    };
    report.changes.iter().map(row).collect()
}

impl NodeShared {
    /// What the node knows of its cluster, now.
    fn report(&self) -> ClusterReport {
        self.cluster.report.borrow().aged(Moment::now())
    }

    /// Whether clients had better go to other nodes: a leader stands in the seat that this one does not reach, the engine does
    /// not answer this one, or the others do not reach it.
    fn is_behind(&self, report: &ClusterReport) -> bool {
        let cut_off = Duration::from_secs(self.cut_off.load(Ordering::Relaxed));
        let is_cut_off = !cut_off.is_zero() && Moment::now().boot.saturating_sub(cut_off) > self.ttl;
        let is_blind = report
            .engine_down_since
            .is_some_and(|since| since.elapsed_at_least(Moment::now()) > self.ttl * 2);
        is_cut_off || is_blind || report.namesake || !self.is_reached.load(Ordering::Relaxed)
    }

    /// Whether other nodes run, as the engine says.
    pub fn hears_of_others(&self, ttl: Duration) -> bool {
        let report = self.report();
        report.nodes.iter().any(|(record, seen)| *record.node != *self.name && *seen <= ttl * LOST_AFTER)
    }
}

impl NodeView for NodeShared {
    fn status(&self) -> NodeStatus {
        let (front, report) = (self.front.borrow().clone(), self.report());
        let last_term = report.changes.last().map_or(0, |change| change.term);
        // A record of a leader that is not reached, or that does not serve, says nothing of who leads now.
        let (term, leader) = match (&*self.cluster.role.borrow(), &front) {
            (Role::Follows(term, leader), Front::Relays(_)) => (*term, Some(leader.clone())),
            (Role::Leads(tenure), Front::Serves(_)) => (tenure.term.number(), Some(tenure.leader.clone())),
            (Role::Follows(term, _), _) => (*term, None),
            (Role::Leads(tenure), _) => (tenure.term.number(), None),
            (Role::Nobody, _) => (last_term, None),
        };
        let (state, left, not_ready) = match &front {
            Front::Serves(leading) => {
                let state = if leading.is_draining() { NodeState::Draining } else { NodeState::Leading };
                (state, Some(leading.tenure.term.left(Moment::now())), None)
            }
            Front::Relays(upstream) => {
                let behind = (!upstream.is_good()).then_some(NotReady::Behind);
                (NodeState::Following, Some(upstream.left()), behind)
            }
            Front::Nobody => (NodeState::Parked, None, self.is_behind(&report).then_some(NotReady::Behind)),
        };
        let is_draining = self.draining.is_cancelled() || state == NodeState::Draining;
        NodeStatus {
            node: self.name.to_string(),
            state: if is_draining { NodeState::Draining } else { state },
            term,
            ttl: leader.as_ref().map_or(self.ttl, |leader| leader.ttl),
            leader: leader
                .map(|leader| LeaderPlace { node: leader.node.clone(), address: leader.address.clone() }),
            not_ready: if is_draining { Some(NotReady::Draining) } else { not_ready },
            left,
            relayed: usize::try_from(self.relay.stats().relayed()).unwrap_or(usize::MAX),
            parked: usize::try_from(self.relay.stats().parked()).unwrap_or(usize::MAX),
            relay_cuts: CutCause::ALL.map(|cause| (cause.as_str(), self.relay.stats().cuts(cause))).to_vec(),
            guard_refused: self.relay.stats().refused() + self.cluster.refused(),
            holders: match &front {
                Front::Serves(leading) => leading.instance.service().registry().holders(),
                Front::Relays(_) | Front::Nobody => 0,
            },
            report: Arc::new(report),
        }
    }

    fn served(&self) -> Option<Arc<Sources>> {
        match &*self.front.borrow() {
            Front::Serves(leading) => Some(leading.instance.sources().clone()),
            Front::Relays(_) | Front::Nobody => None,
        }
    }
}
