//! What there is to know about a cluster, for people and metrics.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    moment::Moment,
    record::{NodeRecord, SeatRecord},
};

/// How many changes of the leader are kept.
const CHANGES: usize = 20;

/// What there is to know about a cluster.
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
    /// The nodes that announced themselves, and how long ago by this node's clock, as of `at`.
    pub nodes: Vec<(NodeRecord, Duration)>,
    /// When this was so.
    pub at: Moment,
    /// Since when the engine does not answer; none if it does.
    pub engine_down_since: Option<Moment>,
}

impl ClusterReport {
    /// The same, with the age that the signs of life of nodes have now.
    #[must_use]
    pub fn aged(&self, now: Moment) -> Self {
        let passed = self.at.elapsed_at_most(now);
        let nodes = self.nodes.iter().map(|(node, ago)| (node.clone(), *ago + passed)).collect();
        Self { nodes, at: now, ..self.clone() }
    }
}

/// Bounds of the histogram of beats, in seconds.
pub const BEAT_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// One change of the leader, as this node saw it.
#[derive(Clone, Debug)]
pub struct LeaderChange {
    /// When, by the time of day.
    pub at: SystemTime,
    /// Who leads from then on; none if nobody does.
    pub leader: Option<String>,
    /// The term: of the leader that begins, or of this node's that ends.
    pub term: u64,
    /// Why.
    pub cause: &'static str,
}

impl ClusterReport {
    pub(super) fn changed(&mut self, leader: Option<String>, term: u64, cause: &'static str) {
        if self.changes.len() == CHANGES {
            self.changes.remove(0);
        }
        self.changes.push(LeaderChange { at: SystemTime::now(), leader, term, cause });
        *self.changes_by_cause.entry(cause).or_default() += 1;
    }

    pub(super) fn beat_took(&mut self, time: Duration) {
        let (count, sum, buckets) = &mut self.beats;
        *count += 1;
        *sum += time.as_secs_f64();
        for (bucket, bound) in buckets.iter_mut().zip(BEAT_BUCKETS) {
            *bucket += u64::from(time.as_secs_f64() <= bound);
        }
    }

    pub(super) fn paused(&mut self, time: Duration) {
        let (longest, count) = &mut self.pauses;
        *longest = time.max(*longest);
        *count += 1;
    }

    pub(super) fn engine_failed(&mut self, verb: &'static str, now: Moment) {
        *self.engine_errors.entry(verb).or_default() += 1;
        self.engine_down_since.get_or_insert(now);
    }

    pub(super) fn engine_answered(&mut self) {
        self.engine_down_since = None;
    }
}

/// Why another leads than before, by what stood there.
pub(super) fn cause_of_change(before: Option<&SeatRecord>, knew_one: bool) -> &'static str {
    match before {
        Some(SeatRecord::Resigned(_)) => "handed over",
        Some(_) => "no beats",
        None if knew_one => "seat was missing",
        None => "first seen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_twenty_changes_are_kept_and_all_are_counted() {
        let mut report = ClusterReport::default();
        for term in 0..25 {
            report.changed(Some("a".into()), term, "no beats");
        }
        assert_eq!((report.changes.len(), report.changes[0].term), (20, 5));
        assert_eq!(report.changes_by_cause["no beats"], 25);
    }

    #[test]
    fn beats_are_counted_up_to_each_bound() {
        let mut report = ClusterReport::default();
        report.beat_took(Duration::from_millis(3));
        report.beat_took(Duration::from_secs(2));
        assert_eq!((report.beats.0, report.beats.2), (2, [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]));
    }
}
