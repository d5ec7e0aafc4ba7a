//! The metrics of a node of a cluster.

use std::fmt;

use getlockd_cluster::driver::{BEAT_BUCKETS, LOST_AFTER};

use super::encoder::Encoder;
use crate::ops::node::NodeStatus;

pub(super) fn encode(node: &NodeStatus, encoder: &mut Encoder<'_>) -> fmt::Result {
    of_the_term(node, encoder)?;
    of_clients(node, encoder)?;
    of_the_engine(node, encoder)
}

fn of_the_term(node: &NodeStatus, encoder: &mut Encoder<'_>) -> fmt::Result {
    let help = "1 while this node leads, 0 while it does not";
    encoder.gauge("getlockd_cluster_leader", help, u64::from(node.leads()))?;
    encoder.gauge("getlockd_cluster_term", "The highest term that this node has seen", node.term)?;
    let help = "T, in seconds: how long a node sees no beat before it leads (--cluster-ttl)";
    encoder.gauge("getlockd_cluster_ttl_seconds", help, node.ttl.as_secs_f64())?;
    // This node announces itself too, so there is always one.
    let lost_after = node.ttl * LOST_AFTER;
    let heard = node.report.nodes.iter().filter(|(_, ago)| *ago <= lost_after).count();
    let help = "Nodes that announced themselves within three times T";
    encoder.gauge("getlockd_cluster_nodes", help, heard as u64)?;
    if let Some(left) = node.left {
        let help = "How long the leader's term runs without another beat, in seconds";
        encoder.gauge("getlockd_term_left_seconds", help, left.as_secs_f64())?;
    }
    let changes = node.report.changes_by_cause.iter().map(|(cause, count)| (*cause, *count));
    encoder.counters(
        "getlockd_leader_changes",
        "Changes of the leader that this node saw, by cause",
        "cause",
        changes,
    )
}

fn of_clients(node: &NodeStatus, encoder: &mut Encoder<'_>) -> fmt::Result {
    let help = "Connections that this node relays to the leader";
    encoder.gauge("getlockd_relayed_connections", help, node.relayed)?;
    let help = "Relayed connections that this node closed, by cause";
    encoder.counters("getlockd_relay_cuts", help, "cause", node.relay_cuts.iter().copied())?;
    let help = "Connections that wait at this node until somebody leads";
    encoder.gauge("getlockd_parked_connections", help, node.parked)?;
    let help = "Writes to clients that were refused because the term was over";
    encoder.counter("getlockd_guard_refused", help, node.guard_refused)?;
    let help = "Sessions that hold locks, each of whose connections closes when the term ends";
    encoder.gauge("getlockd_holders", help, node.holders)
}

fn of_the_engine(node: &NodeStatus, encoder: &mut Encoder<'_>) -> fmt::Result {
    let (count, sum, up_to) = node.report.beats;
    encoder.histogram_up_to(
        "getlockd_beat_seconds",
        "Time of an acknowledged beat, in seconds",
        (count, sum),
        BEAT_BUCKETS.into_iter().zip(up_to),
    )?;
    let errors = node.report.engine_errors.iter().map(|(verb, count)| (*verb, *count));
    encoder.counters(
        "getlockd_engine_errors",
        "Requests to the engine that failed or got no answer in time, by verb",
        "verb",
        errors,
    )?;
    let (longest, count) = node.report.pauses;
    encoder.counter(
        "getlockd_pauses",
        "How often the machine stood still for more than a fifth of T",
        count,
    )?;
    let help = "The longest time for which the machine stood still, in seconds";
    encoder.gauge("getlockd_longest_pause_seconds", help, longest.as_secs_f64())
}
