//! The status port of a node of a cluster. It is about this very node, where the other ports are about the leader:
//! probes, balancers and Prometheus ask here.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use getlockd_cluster::moment::Moment;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    metrics::{Metrics, scrape},
    node::{LeaderPlace, NodeState, NodeStatus, NodeView},
};

/// The most connections at a time. Probes and Prometheus have a few.
const CONNECTIONS: usize = 64;

/// How long the head of a request may take, after the previous request too. Prometheus asks each minute or more often.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// How long a connection may last in all, so that one that is forgotten does not keep its place forever.
const CONNECTION_TIME: Duration = Duration::from_hours(1);

/// How long to wait after a failed accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves the status port until `stop` is cancelled.
///
/// Cancel-safe: dropped, it stops accepting; open connections go on.
pub async fn serve(
    listener: TcpListener,
    node: Arc<dyn NodeView>,
    started: SystemTime,
    stop: CancellationToken,
) {
    let (router, places) = (router(node, started), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(BACK_OFF).await;
            continue;
        };
        let served = connection(stream, router.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, _ = timeout(CONNECTION_TIME, served) => {} }
            drop(place);
        });
    }
}

/// Cancel-safe: dropped, it closes the connection.
async fn connection(stream: TcpStream, router: Router) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    // A client that leaves in the middle of a request is its own affair.
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

/// The paths of the status port.
fn router(node: Arc<dyn NodeView>, started: SystemTime) -> Router {
    let metrics = Arc::new(Metrics::of_node(node.clone(), started));
    Router::new()
        .route("/", get(async || HELLO))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/leader", get(leader))
        .route("/cluster", get(cluster))
        .route("/metrics", get(move |headers: HeaderMap| scrape(metrics.clone(), headers)))
        .with_state(node)
}

const HELLO: &str = "\
The status of this node of a cluster of getlockd:
GET /healthz   200 while the process lives
GET /readyz    200 while clients can be sent to this node, 503 while they should not
GET /leader    200 on the leader, 503 on all others
GET /cluster   this node, its cluster, and the last changes of the leader
GET /metrics   metrics for Prometheus
";

/// Cancel-safe: it changes nothing.
async fn readyz(State(node): State<Arc<dyn NodeView>>) -> Response {
    let node = node.status();
    match node.not_ready {
        None => answer(StatusCode::OK, format!("ok: {}\n", in_words(&node))),
        Some(why) => answer(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; {}\n", in_words(&node))),
    }
}

/// Cancel-safe: it changes nothing.
async fn leader(State(node): State<Arc<dyn NodeView>>) -> Response {
    let node = node.status();
    let code =
        if node.state == NodeState::Leading { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(code, in_words(&node) + "\n")
}

/// Cancel-safe: it changes nothing.
async fn cluster(State(node): State<Arc<dyn NodeView>>) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(NodeStatusJson::of(&node.status()))).into_response()
}

/// An answer that is true at this moment alone. Who is refused asks again in a second.
fn answer(code: StatusCode, text: String) -> Response {
    let headers = [(CACHE_CONTROL, "no-store")];
    match code {
        StatusCode::OK => (headers, text).into_response(),
        _ => (code, headers, [(RETRY_AFTER, "1")], text).into_response(),
    }
}

/// Who leads, as a person reads it.
fn in_words(node: &NodeStatus) -> String {
    match &node.leader {
        Some(LeaderPlace { node: leader, address }) => {
            format!("{leader} leads at {address}, term {}", node.term)
        }
        None => format!("nobody leads; the last term was {}", node.term),
    }
}

/// The answer of `/cluster`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatusJson<'a> {
    node: &'a str,
    state: &'static str,
    ready: bool,
    term: u64,
    leader: Option<LeaderPlaceJson<'a>>,
    left_ms: Option<u64>,
    ttl_ms: u64,
    relayed: usize,
    parked: usize,
    holders: usize,
    /// For how long the engine has not answered; none if it does.
    engine_down_ms: Option<u64>,
    nodes: Vec<AnnouncedNodeJson<'a>>,
    changes: Vec<LeaderChangeJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderPlaceJson<'a> {
    node: &'a str,
    address: &'a str,
}

/// A node that announced itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnnouncedNodeJson<'a> {
    node: &'a str,
    address: &'a str,
    version: &'a str,
    started_at_ms: u64,
    seen_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderChangeJson<'a> {
    at_ms: u64,
    leader: Option<&'a str>,
    term: u64,
    cause: &'static str,
}

impl<'a> NodeStatusJson<'a> {
    fn of(node: &'a NodeStatus) -> Self {
        let (leader, engine_down) = (node.leader.as_ref(), node.report.engine_down_since);
        let announced = node.report.nodes.iter().map(|(record, ago)| AnnouncedNodeJson {
            node: &record.node,
            address: &record.address,
            version: &record.version,
            started_at_ms: record.started_ms,
            seen_ms: millis(*ago),
        });
        let changes = node.report.changes.iter().map(|change| LeaderChangeJson {
            at_ms: millis(change.at.duration_since(UNIX_EPOCH).unwrap_or_default()),
            leader: change.leader.as_deref(),
            term: change.term,
            cause: change.cause,
        });
        Self {
            node: &node.node,
            state: node.state.as_str(),
            ready: node.not_ready.is_none(),
            term: node.term,
            leader: leader.map(|leader| LeaderPlaceJson { node: &leader.node, address: &leader.address }),
            left_ms: node.left.map(millis),
            ttl_ms: millis(node.ttl),
            relayed: node.relayed,
            parked: node.parked,
            holders: node.holders,
            engine_down_ms: engine_down.map(|since| millis(since.elapsed_at_least(Moment::now()))),
            nodes: announced.collect(),
            changes: changes.collect(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
