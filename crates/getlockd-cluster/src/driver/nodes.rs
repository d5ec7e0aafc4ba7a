//! The nodes that announce themselves, and which of them is to lead next.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    engine::Versioned,
    moment::Moment,
    record::{Leader, NodeRecord},
};

/// After how many times T without a sign of life a node counts as lost.
pub const LOST_AFTER: u32 = 3;

/// How long what a node announced is kept after the last change.
const FORGOTTEN: Duration = Duration::from_hours(24);

/// How many nodes are kept. The engine's users may write what they like.
const MOST: usize = 1000;

#[derive(Debug)]
pub(super) struct KnownNodes {
    own: NodeRecord,
    ttl: Duration,
    announced: Option<Moment>,
    seen: BTreeMap<String, SeenNode>,
}

#[derive(Debug)]
struct SeenNode {
    revision: u64,
    /// None if a later version wrote it.
    record: Option<NodeRecord>,
    changed: Moment,
}

impl KnownNodes {
    pub(super) fn new(leader: &Leader) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let own = NodeRecord {
            node: leader.node.clone(),
            address: leader.address.clone(),
            version: leader.version.clone(),
            started_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            n: 0,
        };
        Self { own, ttl: leader.ttl, announced: None, seen: BTreeMap::new() }
    }

    /// What this node is to announce, each T.
    pub(super) fn announcement(&mut self, now: Moment) -> Option<NodeRecord> {
        if self.announced.is_some_and(|announced| announced.elapsed_at_most(now) < self.ttl) {
            return None;
        }
        self.announced = Some(now);
        self.own.n += 1;
        Some(self.own.clone())
    }

    pub(super) fn saw(&mut self, node: String, key: Option<Versioned>, now: Moment) {
        let Some(key) = key else {
            self.seen.remove(&node);
            return;
        };
        let is_known = self.seen.get(&node).is_some_and(|seen| seen.revision == key.revision);
        if is_known || (self.seen.len() >= MOST && !self.seen.contains_key(&node)) {
            return;
        }
        // A node is known by its key, whatever its record says.
        let record = NodeRecord::decode(&key.value).filter(|record| record.node == node);
        self.seen.insert(node, SeenNode { revision: key.revision, record, changed: now });
    }

    /// All that can be read, and how long ago each was heard of.
    pub(super) fn list(&self, now: Moment) -> Vec<(NodeRecord, Duration)> {
        let row = |seen: &SeenNode| Some((seen.record.clone()?, seen.changed.elapsed_at_most(now)));
        self.seen.values().filter_map(row).collect()
    }

    /// Those that were not heard of for a day.
    pub(super) fn forgotten(&self, now: Moment) -> Vec<String> {
        let is_forgotten = |seen: &SeenNode| seen.changed.elapsed_at_least(now) >= FORGOTTEN;
        self.seen.iter().filter(|(_, seen)| is_forgotten(seen)).map(|(node, _)| node.clone()).collect()
    }

    /// Whether a node could lead: it was heard of lately, and it is not this one.
    pub(super) fn is_successor(&self, node: &str, now: Moment) -> bool {
        self.successors(now).any(|record| record.node == node)
    }

    /// Who is to lead next: the newest version, and then the youngest process. So a roll of new versions costs one
    /// hand-over.
    pub(super) fn successor(&self, now: Moment) -> Option<String> {
        self.successors(now)
            .max_by_key(|record| (version(&record.version), record.started_ms))
            .map(|record| record.node.clone())
    }

    fn successors(&self, now: Moment) -> impl Iterator<Item = &NodeRecord> {
        let lost = self.ttl * LOST_AFTER;
        self.seen
            .values()
            .filter(move |seen| seen.changed.elapsed_at_most(now) < lost)
            .filter_map(|seen| seen.record.as_ref())
            .filter(|record| record.node != self.own.node)
    }
}

/// The numbers of a version. One with a suffix, such as `1.2.0-rc.1`, is before the one without.
fn version(text: &str) -> (Vec<u64>, bool) {
    let text = text.split('+').next().unwrap_or_default();
    let (numbers, suffix) =
        text.split_once('-').map_or((text, None), |(numbers, suffix)| (numbers, Some(suffix)));
    (numbers.split('.').map(|number| number.parse().unwrap_or_default()).collect(), suffix.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> KnownNodes {
        let leader = Leader {
            node: "a".into(),
            address: "a:3309".into(),
            nonce: String::new(),
            version: "1.9.0".into(),
            secret: String::new(),
            pin: None,
            ttl: Duration::from_secs(5),
            takeover_delay: Duration::ZERO,
            keepalive: Duration::from_secs(20),
            request_key: String::new(),
        };
        KnownNodes::new(&leader)
    }

    fn announce(nodes: &mut KnownNodes, node: &str, version: &str, started_ms: u64, at: Moment) {
        let record = NodeRecord {
            node: node.into(),
            address: String::new(),
            version: version.into(),
            started_ms,
            n: 1,
        };
        nodes.saw(node.into(), Some(Versioned { revision: 7, value: record.encode() }), at);
    }

    #[test]
    fn newest_version_and_then_the_youngest_process_leads_next() {
        let mut nodes = nodes();
        let now = Moment::default();
        assert_eq!(nodes.successor(now), None);
        announce(&mut nodes, "a", "9.0.0", 99, now);
        assert_eq!(nodes.successor(now), None, "not this node");
        announce(&mut nodes, "b", "1.9.0", 1, now);
        announce(&mut nodes, "c", "1.10.0-rc.1", 2, now);
        assert_eq!(nodes.successor(now).as_deref(), Some("c"));
        announce(&mut nodes, "d", "1.10.0", 3, now);
        announce(&mut nodes, "e", "1.10.0", 2, now);
        assert_eq!(nodes.successor(now).as_deref(), Some("d"));
    }

    #[test]
    fn node_that_was_not_heard_of_for_three_t_is_lost() {
        let mut nodes = nodes();
        let start = Moment::default();
        announce(&mut nodes, "b", "1.9.0", 1, start);
        let at = |seconds| start.after(Duration::from_secs(seconds));
        assert!(nodes.is_successor("b", at(14)));
        announce(&mut nodes, "b", "1.9.0", 1, at(14));
        assert!(!nodes.is_successor("b", at(15)), "a watch that reconnects tells nothing new");
        assert_eq!(nodes.list(at(15))[0].1, Duration::from_secs(15));
        assert_eq!(nodes.forgotten(at(86_399)), Vec::<String>::new());
        assert_eq!(nodes.forgotten(at(86_400)), ["b"]);
    }

    #[test]
    fn node_announces_itself_each_t() {
        let mut nodes = nodes();
        let start = Moment::default();
        let n = |nodes: &mut KnownNodes, millis| {
            nodes.announcement(start.after(Duration::from_millis(millis))).map(|record| record.n)
        };
        assert_eq!([0, 50, 5000, 5050].map(|at| n(&mut nodes, at)), [Some(1), None, Some(2), None]);
    }
}
