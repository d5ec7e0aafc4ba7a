//! A node of a cluster: it serves while it leads, relays its clients while another node does, and parks them while nobody
//! does.

mod engine;
mod front;
mod leading;
mod view;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use getlockd_cluster::{
    driver::{self, Cluster, Role},
    etcd::Etcd,
    moment::Moment,
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
use self::leading::{ServedTerm, lead};
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
    net::{
        self, Acceptor, Admit, PortTls, ProxyFrom, Relay, RelayPort, Relays, Upstream, UpstreamError,
        is_own_port,
    },
    ops::status,
    wires::{line, mysql, web},
};

/// How long to wait before a leader is connected to again.
const RECONNECT: Duration = Duration::from_millis(100);

/// How long the port of this node may take to answer itself.
const ADVERTISED_TIME: Duration = Duration::from_secs(5);

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
    ports: Option<Ports>,
    proxy_from: Option<Arc<ProxyFrom>>,
    ready: CancellationToken,
}

/// What becomes of connections now.
#[derive(Clone, Debug)]
enum Front {
    /// Nobody leads: they are parked.
    Nobody,
    /// Another node leads.
    Relays(Arc<Upstream>),
    /// This node leads.
    Serves(Arc<ServedTerm>),
}

/// The ports that only a node has.
#[derive(Debug)]
struct Ports {
    cluster: TcpListener,
    tls: Option<PortTls>,
    status: Option<TcpListener>,
}

/// Where relayed connections enter, by their wires.
struct Entrances(Vec<(Wire, Arc<dyn Admit>)>);

impl fmt::Debug for Entrances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(wire, _)| wire)).finish()
    }
}

/// What the parts of a node share.
#[derive(Debug)]
struct NodeShared {
    config: Arc<InstanceConfig>,
    name: Arc<str>,
    /// Where the other nodes reach it.
    advertised: String,
    ttl: Duration,
    /// What becomes of connections now.
    front: watch::Sender<Front>,
    cluster: Cluster,
    relay: Arc<Relay>,
    /// The relays of the term in which this node leads.
    relays: watch::Sender<Option<Arc<Relays>>>,
    /// Where relayed connections enter.
    entrances: OnceLock<Entrances>,
    process: u64,
    /// When this node handed over last as the others did not reach it, in seconds of the boot clock; 0 if it never did.
    isolated: AtomicU64,
    /// The address of this node is known to be its own.
    is_reached: AtomicBool,
    /// Since when there is no way to a leader that stands in the seat, in seconds of the boot clock; 0 if there is none or
    /// it is reached.
    cut_off: AtomicU64,
    at_once: CancellationToken,
    /// The process has been told to stop.
    draining: CancellationToken,
    /// It stops: connections that wait are dropped.
    stopping: CancellationToken,
}

impl NodeShared {
    fn new(
        config: &Config,
        plan: Plan,
        engine: Etcd,
        addr: SocketAddr,
        ports: &Ports,
    ) -> Result<Self, StartError> {
        let flags = &config.cluster;
        let advertised = flags.advertised(addr);
        let leader = leader(config, advertised.clone(), ports.tls.as_ref())?;
        let quota = Quota::for_connections(plan.max_connections, plan.users.is_some());
        let (name, process) = (leader.node.clone(), random_number()?);
        let cluster = Cluster::start(Arc::new(engine), SeatConfig { leader }).map_err(StartError::Thread)?;
        cluster.stand(false);
        Ok(Self {
            config: Arc::new(InstanceConfig::new(config, plan, &quota)),
            relay: Relay::new(&name, process),
            name: name.into(),
            advertised,
            ttl: flags.cluster_ttl,
            process,
            front: watch::Sender::new(Front::Nobody),
            cluster,
            relays: watch::Sender::new(None),
            entrances: OnceLock::new(),
            isolated: AtomicU64::new(0),
            is_reached: AtomicBool::new(false),
            cut_off: AtomicU64::new(0),
            at_once: CancellationToken::new(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// A term takes connections from now on.
    fn serves(&self, leading: &Arc<ServedTerm>) {
        self.relays.send_replace(Some(leading.relays.clone()));
        self.front.send_replace(Front::Serves(leading.clone()));
    }

    /// The term does not take connections any more.
    fn no_longer(&self, leading: &ServedTerm) {
        self.front.send_if_modified(|front| {
            let is_its =
                matches!(front, Front::Serves(serves) if Arc::ptr_eq(&serves.tenure, &leading.tenure));
            if is_its {
                *front = Front::Nobody;
            }
            is_its
        });
        self.relays.send_if_modified(|relays| {
            let are_its = relays.as_ref().is_some_and(|relays| Arc::ptr_eq(relays, &leading.relays));
            if are_its {
                *relays = None;
            }
            are_its
        });
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
        let cluster = listen("--cluster-listen", config.cluster.listen)?;
        let status = config.cluster.status_addr();
        let status = status.map(|addr| listen("--status", addr)).transpose()?;
        if let Some(warning) = clock::warning() {
            tracing::warn!("{warning}");
        }
        let addr = cluster.local_addr().map_err(StartError::Thread)?;
        let ports = Ports { cluster, tls: plan.tls.as_ref().map(|tls| tls.for_cluster_port()), status };
        let (shared, max_connections) =
            (NodeShared::new(config, plan, engine, addr, &ports)?, config.max_connections);
        tracing::info!(max_connections, node = %shared.name, cluster = %addr, "ready");
        let proxy_from = config.proxy_from();
        Ok(Self {
            shared: Arc::new(shared),
            listeners,
            ports: Some(ports),
            proxy_from,
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
        self.shared.config.reloader(self.current())
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
        let acceptor = Acceptor { proxy_from: self.proxy_from.clone(), ..Acceptor::default() };
        let http_acceptor =
            Acceptor { tasks: TaskTracker::new(), stop: CancellationToken::new(), ..acceptor.clone() };
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
        node.cluster.stand(false);
        if matches!(*node.front.borrow(), Front::Relays(_)) {
            // What its clients hold is the leader's: they get the same time to finish.
            tokio::select! {
                _ = timeout(drain, acceptor.tasks.wait()) => {}
                () = node.at_once.cancelled() => {}
            }
        }
        node.cluster.drain(true, None);
        tokio::select! {
            () = node.cluster.ended() => {}
            // The drain of a leader ends early, and it hands over if it can do so at once.
            () = async { node.at_once.cancelled().await; sleep(LAST_WORDS).await } => {}
        }
        node.stopping.cancel();
        http_acceptor.stop.cancel();
        let _ = timeout(LAST_WORDS, acceptor.tasks.wait()).await;
        following.abort();
        tracing::info!("stopped");
    }

    /// Accepts connections of all wires. Returns the tasks that accept until the drain begins.
    fn accept(&mut self, acceptor: &Acceptor, http_acceptor: &Acceptor) -> TaskTracker {
        let (node, accepting) = (self.shared.clone(), TaskTracker::new());
        let serve = |wire| {
            let node = node.clone();
            move |accepted| front::serve(node.clone(), wire, accepted)
        };
        let mut entrances = Vec::new();
        if let Some(listener) = self.listeners.line.take() {
            let entrance = node.config.entrance(Wire::Line, acceptor, line::refusal, serve(Wire::Line));
            accepting.spawn(net::accept(listener, acceptor.clone(), entrance.clone()));
            entrances.push((Wire::Line, entrance));
        }
        if let Some(listener) = self.listeners.mysql.take() {
            let entrance = node.config.entrance(Wire::MySql, acceptor, mysql::refusal, serve(Wire::MySql));
            accepting.spawn(net::accept(listener, acceptor.clone(), entrance.clone()));
            entrances.push((Wire::MySql, entrance));
        }
        if let Some(listener) = self.listeners.http.take() {
            let entrance = node.config.entrance(Wire::Http, http_acceptor, web::refusal, serve(Wire::Http));
            tokio::spawn(net::accept(listener, http_acceptor.clone(), entrance.clone()));
            entrances.push((Wire::Http, entrance));
        }
        // It is set once.
        let _ = node.entrances.set(Entrances(entrances));
        accepting
    }

    /// Serves the port for relays and the status port, to the end of the process.
    fn serve_ports(&mut self) {
        let (node, ports) = (self.shared.clone(), self.ports.take());
        let Some(Ports { cluster, tls, status }) = ports else { return };
        let port = RelayPort { tls, process: node.process, relays: node.relays.subscribe() };
        tokio::spawn(port.accept(cluster));
        if let Some(listener) = status {
            let (started, stop) = (node.config.started, node.stopping.clone());
            tokio::spawn(status::serve(listener, node.clone(), started, stop));
        }
        tokio::spawn(stand_once_reached(node));
    }
}

/// Lets this node lead once the address that the other nodes are given is known to be its own. Behind a balancer it would
/// relay its clients to itself, and a leader that nobody reaches is an outage.
///
/// Cancel-safe: dropped, the node leads or not, as it did.
async fn stand_once_reached(node: Arc<NodeShared>) {
    let address = &node.advertised;
    let mut is_warned = false;
    loop {
        let asked = timeout(ADVERTISED_TIME, is_own_port(address, node.process)).await;
        let why = match asked {
            Ok(Ok(true)) => break,
            Ok(Ok(false)) => "another process answers there".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !is_warned {
            tracing::error!(
                address,
                why,
                "this node is not reached at its address, and does not lead until it is; set --advertise to an address that only this node has"
            );
        }
        is_warned = true;
        sleep(ADVERTISED_TIME).await;
    }
    node.is_reached.store(true, Ordering::Relaxed);
    if !node.draining.is_cancelled() {
        node.cluster.stand(true);
    }
}

/// Does what the role of this node asks for, from one role to the next.
///
/// Cancel-safe: dropped, the last role goes on.
async fn follow_roles(node: Arc<NodeShared>) {
    let mut roles = node.cluster.role.clone();
    loop {
        let role = roles.borrow_and_update().clone();
        node.cut_off.store(0, Ordering::Relaxed);
        match role {
            Role::Nobody => drop(node.front.send_replace(Front::Nobody)),
            Role::Follows(term, leader) => tokio::select! {
                () = follow(&node, term, leader) => {}
                changed = roles.changed() => if changed.is_err() { return } else { continue },
            },
            Role::Leads(tenure) => {
                node.relay.saw(tenure.term.number());
                node.front.send_replace(Front::Nobody);
                tokio::spawn(lead(node.clone(), tenure));
            }
        }
        if roles.changed().await.is_err() {
            return;
        }
    }
}

/// Relays to a leader, and connects again whenever the way to it is lost. Returns only when it has no hope.
///
/// Cancel-safe: dropped, the clients that are relayed are cut once the front changes.
async fn follow(node: &Arc<NodeShared>, term: u64, leader: Arc<Leader>) {
    node.front.send_replace(Front::Nobody);
    loop {
        match node.relay.connect(term, leader.clone()).await {
            Ok(upstream) => {
                node.cut_off.store(0, Ordering::Relaxed);
                let closing = upstream.closing().clone();
                node.front.send_replace(Front::Relays(upstream));
                closing.cancelled().await;
                node.front.send_replace(Front::Nobody);
            }
            Err(UpstreamError::Over(_)) => return,
            Err(error) => {
                tracing::debug!(%error, "no way to the leader; trying again");
                let now = Moment::now().boot.as_secs().max(1);
                let _ = node.cut_off.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        sleep(RECONNECT).await;
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
fn leader(config: &Config, address: String, tls: Option<&PortTls>) -> Result<Leader, StartError> {
    let random =
        || Secret::random().map(|secret| secret.reveal().to_owned()).map_err(|_| StartError::NoRandom);
    Ok(Leader {
        node: config.cluster.name(),
        address,
        nonce: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        secret: random()?,
        pin: tls.map(|tls| tls.pin.clone()),
        ttl: config.cluster.cluster_ttl,
        takeover_delay: config.cluster.takeover_delay,
        keepalive: config.keepalive,
        request_key: random()?,
    })
}

/// A number by which this process knows its own port.
fn random_number() -> Result<u64, StartError> {
    getrandom::u64().map_err(|_| StartError::NoRandom)
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
    if let Some(wanted) = asked.node.as_ref().filter(|wanted| **wanted != leader.node) {
        return Err(
            format!("{} leads, term {term}, and not {wanted}: see the log of {wanted}", leader.node).into()
        );
    }
    Ok(format!("{} leads, term {term}\n", leader.node))
}
