//! A node of a cluster: it serves while it leads, relays its clients while another node does, and parks them while nobody
//! does.

mod engine;
mod front;
mod leading;
mod view;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use getlockd_cluster::{
    driver::{self, Cluster, Role},
    record::Leader,
    seat::SeatConfig,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::engine::EngineFlagsError;
pub(super) use self::engine::engine;
use self::{
    front::Front,
    leading::{Leading, lead},
};
use super::{
    StartError, clock,
    instance::InstanceConfig,
    listeners::Listeners,
    plan::Plan,
    reload::{CurrentService, Reloader},
};
use crate::{
    config::{Config, HandOver},
    core::{client_info::Wire, lease::Secret, session::LockService, share::Quota},
    net::{self, Acceptor, ClusterTls, RelayStats, Upstream},
    ops::{node::NodeView, status},
    wires::{line, mysql, web},
};

/// How long the last connections may take to close.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a hand-over may take: more than a drain and T do, as far as operators set them.
const HAND_OVER_TIME: Duration = Duration::from_mins(3);

/// How long a try of `hand-over` may take.
const ENGINE_TIME: Duration = Duration::from_secs(2);

/// A node that is bound to its addresses and does not take part yet.
#[derive(Debug)]
pub struct Node {
    shared: Arc<NodeShared>,
    listeners: Listeners,
    cluster_listener: TcpListener,
    cluster_tls: Option<ClusterTls>,
    status_listener: Option<TcpListener>,
    ready: CancellationToken,
}

/// What the parts of a node share.
#[derive(Debug)]
struct NodeShared {
    config: Arc<InstanceConfig>,
    name: Arc<str>,
    ttl: Duration,
    /// What becomes of connections now.
    front: watch::Sender<Front>,
    cluster: Cluster,
    stats: Arc<RelayStats>,
    /// Writes that were refused in earlier terms.
    refused: AtomicU64,
    at_once: CancellationToken,
    /// The process has been told to stop.
    draining: CancellationToken,
    /// It stops: connections that wait are dropped.
    stopping: CancellationToken,
}

impl NodeShared {
    /// The term does not take connections any more.
    fn no_longer(&self, leading: &Leading) {
        self.front.send_if_modified(|front| {
            let is_its = matches!(front, Front::Serves(serves) if Arc::ptr_eq(&serves.tenure, &leading.tenure));
            if is_its {
                *front = Front::Nobody;
            }
            is_its
        });
        self.refused.fetch_add(leading.tenure.term.refused(), Ordering::Relaxed);
    }

    /// How many writes were refused as a term of this node was over.
    fn refused(&self, front: &Front) -> u64 {
        let now = if let Front::Serves(leading) = front { leading.tenure.term.refused() } else { 0 };
        self.refused.load(Ordering::Relaxed) + now
    }
}

impl Node {
    /// Binds the addresses of `config`, which has a cluster. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] as with a server alone, or if the flags of the cluster cannot be used.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let plan = Plan::new(config)?;
        let engine = engine(&config.cluster.engine, config.cluster.cluster_ttl / 8)?;
        let listeners = Listeners::bind(config)?;
        let listen = |flag, addr| net::listen(addr).map_err(|error| StartError::Port { flag, addr, error });
        let cluster_listener = listen("--cluster-listen", config.cluster.listen)?;
        let status = config.cluster.status_addr();
        let status_listener = status.map(|addr| listen("--status", addr)).transpose()?;
        if let Some(warning) = clock::warning() {
            tracing::warn!("{warning}");
        }
        let cluster_tls = plan.tls.as_ref().map(|tls| tls.for_cluster());
        let addr = cluster_listener.local_addr().map_err(StartError::Thread)?;
        let advertised = config.cluster.advertised(addr);
        let leader = leader(config, advertised.clone(), cluster_tls.as_ref())?;
        let max_connections = plan.max_connections;
        let quota = Quota::for_connections(max_connections, plan.users.is_some());
        let name: Arc<str> = leader.node.as_str().into();
        let cluster = Cluster::start(Arc::new(engine), SeatConfig { leader }).map_err(StartError::Thread)?;
        tracing::info!(max_connections, node = %name, cluster = advertised, "ready");
        let shared = NodeShared {
            config: Arc::new(InstanceConfig::new(config, plan, &quota)),
            name,
            ttl: config.cluster.cluster_ttl,
            front: watch::Sender::new(Front::Nobody),
            cluster,
            stats: Arc::default(),
            refused: AtomicU64::new(0),
            at_once: CancellationToken::new(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            listeners,
            cluster_listener,
            cluster_tls,
            status_listener,
            ready: CancellationToken::new(),
        })
    }

    /// What a person who has just started the node can do next, in one line; `None` if neither the line protocol nor HTTP is
    /// on.
    pub fn first_steps(&self) -> Option<String> {
        self.listeners.first_steps(self.shared.config.transport.tls.is_some())
    }

    /// Reloads the users and the certificate while the node runs.
    pub fn reloader(&self) -> Reloader {
        let config = &self.shared.config;
        let (tls, users) = (config.transport.tls.clone(), config.users().cloned());
        Reloader { tls, users, current: self.current() }
    }

    /// What serves clients now: nothing while another node leads.
    pub fn current(&self) -> Arc<dyn CurrentService> {
        self.shared.clone()
    }

    /// Cancel this token to end a drain early: holders are told, and their locks are released.
    pub fn at_once(&self) -> CancellationToken {
        self.shared.at_once.clone()
    }

    /// Is cancelled when the node accepts connections.
    pub fn ready(&self) -> CancellationToken {
        self.ready.clone()
    }

    /// Takes part until `stop` resolves. A leader then gives lock holders `--drain` to finish and hands over.
    ///
    /// Cancel-safe: dropped, it stops accepting; open connections go on.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let (acceptor, http_acceptor) = (Acceptor::default(), Acceptor::default());
        // However this ends, no more connections are accepted.
        let _stop = (acceptor.stop.clone().drop_guard(), http_acceptor.stop.clone().drop_guard());
        let node = self.shared.clone();
        let accepting = self.accept(&acceptor, &http_acceptor);
        self.serve_ports();
        let following = tokio::spawn(follow_roles(node.clone()));
        self.ready.cancel();
        stop.await;

        let drain = node.config.drain;
        tracing::info!(?drain, "stopping");
        node.draining.cancel();
        acceptor.stop.cancel();
        // A client that has been told about the shutdown must not be able to connect to this node again.
        accepting.close();
        accepting.wait().await;
        acceptor.tasks.close();
        node.cluster.drain(true, None);
        if matches!(*node.front.borrow(), Front::Relays(_)) {
            // What its clients hold is the leader's: they get the same time to finish.
            tokio::select! {
                _ = timeout(drain, acceptor.tasks.wait()) => {}
                () = node.at_once.cancelled() => {}
            }
        }
        tokio::select! {
            () = node.cluster.ended() => {}
            () = node.at_once.cancelled() => {}
        }
        node.stopping.cancel();
        http_acceptor.stop.cancel();
        let _ = timeout(LAST_WORDS, acceptor.tasks.wait()).await;
        following.abort();
        tracing::info!("stopped");
    }

    /// Accepts connections of all wires. Returns the tasks that accept until the drain begins.
    fn accept(&mut self, acceptor: &Acceptor, http_acceptor: &Acceptor) -> TaskTracker {
        let (node, accepting) = (&self.shared, TaskTracker::new());
        let keepalive = node.config.transport.keepalive;
        let serve = |wire| {
            let node = node.clone();
            move |accepted| front::serve(node.clone(), wire, accepted)
        };
        if let Some(listener) = self.listeners.line.take() {
            let (limiter, serve) = (node.config.limiter(Wire::Line), serve(Wire::Line));
            let accept = net::accept(listener, acceptor.clone(), limiter, line::refusal, keepalive, serve);
            accepting.spawn(accept);
        }
        if let Some(listener) = self.listeners.mysql.take() {
            let (limiter, serve) = (node.config.limiter(Wire::MySql), serve(Wire::MySql));
            let accept = net::accept(listener, acceptor.clone(), limiter, mysql::refusal, keepalive, serve);
            accepting.spawn(accept);
        }
        if let Some(listener) = self.listeners.http.take() {
            let (limiter, serve) = (node.config.limiter(Wire::Http), serve(Wire::Http));
            let accept = net::accept(listener, http_acceptor.clone(), limiter, web::refusal, keepalive, serve);
            tokio::spawn(accept);
        }
        accepting
    }

    /// Serves the port for relays and the status port, to the end of the process.
    fn serve_ports(&mut self) {
    }
}

/// Does what the role of this node asks for, from one role to the next.
///
/// Cancel-safe: dropped, the last role goes on.
async fn follow_roles(node: Arc<NodeShared>) {
    let mut roles = node.cluster.role.clone();
    loop {
        let role = roles.borrow_and_update().clone();
        match role {
            Role::Nobody => drop(node.front.send_replace(Front::Nobody)),
            Role::Follows(term, leader) => {
                let upstream = Upstream::start(term, leader, node.name.clone(), node.stats.clone());
                node.front.send_replace(Front::Relays(upstream));
            }
            Role::Leads(tenure) => {
                node.front.send_replace(Front::Nobody);
                tokio::spawn(lead(node.clone(), tenure));
            }
        }
        if roles.changed().await.is_err() {
            return;
        }
    }
}

impl CurrentService for NodeShared {
    fn service(&self) -> Option<Arc<LockService>> {
        match &*self.front.borrow() {
            Front::Serves(leading) => Some(leading.instance.service().clone()),
            Front::Relays(_) | Front::Nobody => None,
        }
    }
}

/// The record of this node while it leads.
fn leader(config: &Config, address: String, tls: Option<&ClusterTls>) -> Result<Leader, StartError> {
    let random = || Secret::random().map(|secret| secret.to_string()).map_err(|_| StartError::NoRandom);
    Ok(Leader {
        node: config.cluster.name(),
        address,
        nonce: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        secret: random()?,
        pin: tls.map(ClusterTls::pin),
        ttl: config.cluster.cluster_ttl,
        takeover_delay: config.cluster.takeover_delay,
        keepalive: config.keepalive,
        request_key: random()?,
    })
}

/// Asks the leader of a cluster to hand over. Returns a line that says who leads then.
///
/// # Errors
/// A message that says what to do.
pub fn hand_over(asked: &HandOver) -> Result<String, Box<dyn std::error::Error>> {
    let engine = engine(&asked.engine, ENGINE_TIME)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handing = driver::hand_over(&engine, asked.node.clone(), HAND_OVER_TIME);
    let (term, leader) = runtime.block_on(handing)?;
    Ok(format!("{} leads, term {term}\n", leader.node))
}
