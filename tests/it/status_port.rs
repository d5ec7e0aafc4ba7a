//! The status port of a node: what probes, balancers and Prometheus are told of this very node.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use getlockd::internal::cluster::{NodeState, NodeView, NotReady, serve_status};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::common::{http::get, stub_cluster::StubNode};

struct StatusPort {
    node: Arc<StubNode>,
    addr: SocketAddr,
    _stop: DropGuard,
}

impl StatusPort {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (node, addr, stop) =
            (StubNode::leading(), listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve_status(listener, node.clone(), SystemTime::now(), stop.clone()));
        Self { node, addr, _stop: stop.drop_guard() }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (code, body) = get(self.addr, path).await;
        (code, body.trim_end().to_owned())
    }

    async fn probes(&self) -> [u16; 3] {
        [self.get("/healthz").await.0, self.get("/readyz").await.0, self.get("/leader").await.0]
    }
}

/// The metrics of a node, all there are.
pub async fn metrics_of_a_node() -> String {
    StatusPort::start().await.get("/metrics").await.1
}

#[tokio::test]
async fn leader_is_ready_and_says_that_it_leads() {
    let port = StatusPort::start().await;
    assert_eq!(port.probes().await, [200, 200, 200]);
    assert_eq!(port.get("/leader").await, (200, "a leads at 10.0.0.1:3309, term 16226".to_owned()));
    assert_eq!(port.get("/readyz").await.1, "ok: a leads at 10.0.0.1:3309, term 16226");
}

#[tokio::test]
async fn follower_is_ready_and_names_the_leader() {
    let port = StatusPort::start().await;
    port.node.change(|node| (node.node, node.state) = ("b".to_owned(), NodeState::Following));
    assert_eq!(port.probes().await, [200, 200, 503]);
    assert_eq!(port.get("/leader").await.1, "a leads at 10.0.0.1:3309, term 16226");
}

#[tokio::test]
async fn follower_without_a_way_to_the_leader_is_not_ready() {
    let port = StatusPort::start().await;
    port.node.change(|node| {
        (node.node, node.state) = ("b".to_owned(), NodeState::Following);
        node.not_ready = Some(NotReady::Behind);
    });
    assert_eq!(port.probes().await, [200, 503, 503]);
    let why = "behind: no way to the leader; a leads at 10.0.0.1:3309, term 16226";
    assert_eq!(port.get("/readyz").await.1, why);
}

#[tokio::test]
async fn node_that_parks_its_clients_is_ready() {
    let port = StatusPort::start().await;
    port.node.change(|node| (node.state, node.leader) = (NodeState::Parked, None));
    assert_eq!(port.probes().await, [200, 200, 503]);
    assert_eq!(port.get("/leader").await.1, "nobody leads; the last term was 16226");
}

#[tokio::test]
async fn draining_leader_takes_no_more_clients() {
    let port = StatusPort::start().await;
    port.node.change(|node| (node.state, node.not_ready) = (NodeState::Draining, Some(NotReady::Draining)));
    assert_eq!(port.probes().await, [200, 503, 503]);
}

#[tokio::test]
async fn cluster_is_shown_with_its_last_changes() {
    let port = StatusPort::start().await;
    let (code, body) = port.get("/cluster").await;
    let node = |node: &str, last: u8, seen: u64| {
        json!({
            "node": node, "address": format!("10.0.0.{last}:3309"), "version": "0.1.0",
            "startedAtMs": 1_795_770_000_000_u64, "seenMs": seen,
        })
    };
    let shown = json!({
        "node": "a", "state": "leading", "ready": true, "term": 16226,
        "leader": { "node": "a", "address": "10.0.0.1:3309" },
        "leftMs": 4212, "ttlMs": 5000, "relayed": 12, "parked": 0, "holders": 9, "engineDownMs": null,
        "nodes": [node("a", 1, 0), node("b", 2, 1000), node("c", 2, 40_000)],
        "changes": [{ "atMs": 1_795_773_600_000_u64, "leader": "a", "term": 16226, "cause": "no beat" }],
    });
    assert_eq!((code, serde_json::from_str::<Value>(&body).unwrap()), (200, shown));
}

#[tokio::test]
async fn metrics_are_of_this_node() {
    let page = metrics_of_a_node().await;
    for sample in [
        "getlockd_cluster_leader 1",
        "getlockd_cluster_term 16226",
        "getlockd_cluster_ttl_seconds 5.0",
        "getlockd_cluster_nodes 2",
        "getlockd_term_left_seconds 4.212",
        "getlockd_leader_changes_total{cause=\"no beat\"} 1",
        "getlockd_relayed_connections 12",
        "getlockd_relay_cuts_total{cause=\"term over\"} 3",
        "getlockd_parked_connections 0",
        "getlockd_guard_refused_total 4",
        "getlockd_holders 9",
        "getlockd_beat_seconds_sum 0.075",
        "getlockd_beat_seconds_count 5",
        "getlockd_beat_seconds_bucket{le=\"0.005\"} 1",
        "getlockd_beat_seconds_bucket{le=\"0.01\"} 4",
        "getlockd_beat_seconds_bucket{le=\"+Inf\"} 5",
        "getlockd_engine_errors_total{verb=\"beat\"} 2",
        "getlockd_pauses_total 1",
        "getlockd_longest_pause_seconds 60.2",
    ] {
        assert!(page.lines().any(|line| line == sample), "{sample}: {page}");
    }
    assert!(page.contains("getlockd_start_time_seconds ") && page.contains("process_open_fds "));
    assert!(!page.contains("getlockd_locks "), "it has no locks to show");
}

#[tokio::test]
async fn metrics_of_a_follower_have_no_more_than_it_knows() {
    let port = StatusPort::start().await;
    port.node.change(|node| (node.state, node.leader, node.left) = (NodeState::Parked, None, None));
    assert!(!port.node.status().leads());
    let (_, page) = port.get("/metrics").await;
    assert!(page.contains("getlockd_cluster_leader 0\n") && !page.contains("getlockd_term_left_seconds"));
}
