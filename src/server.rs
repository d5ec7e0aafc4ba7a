//! The server: its listeners, its sessions, and how it stops.

mod clock;
mod durable;
mod instance;
mod listeners;
mod node;
mod plan;
mod reload;
mod token_watch;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use getlockd_cluster::term::Term;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    core::{client_info::Wire, cluster::ClusterView, session::LockService, share::Quota},
    net::{self, Acceptor, LeaderTerm},
    wires::{line, mysql, web},
};

use durable::OpenStore;
use instance::{Instance, InstanceConfig, Start};
use listeners::Listeners;
pub use node::{EngineFlagsError, Node, hand_over};
use plan::Plan;
pub use plan::{CheckReport, StartError, check};
pub use reload::{CurrentService, ReloadError, Reloader};

/// How long the last replies to clients may take once all locks are released.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A server that is bound to its addresses and does not serve yet.
#[derive(Debug)]
pub struct Server {
    instance: Arc<Instance>,
    /// For the line and MySQL wires: it stops when the drain begins, since a new connection could take no lock.
    acceptor: Acceptor,
    /// For HTTP and gRPC: it stops when the drain ends, since holders of leases connect again to renew and release them.
    /// It shares the quota of connections with the other one.
    http_acceptor: Acceptor,
    /// The tasks that accept connections until the server stops.
    accepting: TaskTracker,
    listeners: Listeners,
    at_once: CancellationToken,
    ready: CancellationToken,
    store: Option<OpenStore>,
}

impl Server {
    /// Binds the addresses of `config`. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if an address is in use, the limit of open files is too low, or a file cannot be used.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        Self::bind_with(config, None)
    }

    /// The same, as the leader of a cluster that is shown so, under a term that runs elsewhere: for tests of what the
    /// clients of a leader see.
    ///
    /// # Errors
    /// As [`Server::bind`].
    #[doc(hidden)]
    pub fn bind_as_leader(
        config: &Config,
        cluster: Arc<dyn ClusterView>,
        term: Arc<Term>,
    ) -> Result<Self, StartError> {
        let term = LeaderTerm { term, takeover_delay: Duration::ZERO };
        Self::bind_with(config, Some((cluster, term)))
    }

    fn bind_with(
        config: &Config,
        leader: Option<(Arc<dyn ClusterView>, LeaderTerm)>,
    ) -> Result<Self, StartError> {
        let plan = Plan::new(config)?;
        let max_connections = plan.max_connections;
        let store = OpenStore::open(&config.store)?;
        let listeners = Listeners::bind(config)?;
        if let Some(warning) = clock::warning() {
            tracing::warn!("{warning}");
        }
        let quota = Quota::for_connections(max_connections, plan.users.is_some());
        let start = store.as_ref().map(|store| store.start(config.store.grace)).unwrap_or_default();
        let (cluster, term) = leader.unzip();
        let start = Start { term, cluster, ..start };
        let instance = Arc::new(Instance::new(Arc::new(InstanceConfig::new(config, plan, &quota)), start)?);
        let proxy_from = config.proxy_from();
        let acceptor = Acceptor { tasks: instance.tasks().clone(), proxy_from, ..Acceptor::default() };
        tracing::info!(max_connections, wanted = config.max_connections, "ready");
        Ok(Self {
            http_acceptor: Acceptor {
                tasks: instance.http_tasks().clone(),
                stop: instance.http_stop().clone(),
                ..acceptor.clone()
            },
            acceptor,
            accepting: TaskTracker::new(),
            instance,
            listeners,
            at_once: CancellationToken::new(),
            ready: CancellationToken::new(),
            store,
        })
    }

    /// The address of the line protocol; `None` if it is off.
    pub fn line_addr(&self) -> Option<SocketAddr> {
        self.listeners.line.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The address of the MySQL protocol; `None` if it is off.
    pub fn mysql_addr(&self) -> Option<SocketAddr> {
        self.listeners.mysql.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The address of HTTP and gRPC; `None` if they are off.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.listeners.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// What a person who has just started the server can do next, in one line; `None` if neither the line protocol nor
    /// HTTP is on.
    pub fn first_steps(&self) -> Option<String> {
        self.listeners.first_steps(self.instance.config().transport.tls.is_some())
    }

    /// Reloads the users and the certificate while the server runs.
    pub fn reloader(&self) -> Reloader {
        self.instance.config().reloader(self.current())
    }

    /// Cancel this token to end a drain early: holders are told, and their locks are released.
    pub fn at_once(&self) -> CancellationToken {
        self.at_once.clone()
    }

    /// Is cancelled when the server serves, which with a store is not at once: leases come first.
    pub fn ready(&self) -> CancellationToken {
        self.ready.clone()
    }

    /// What serves clients now.
    pub fn current(&self) -> Arc<dyn CurrentService> {
        self.instance.clone()
    }

    /// The sessions of this server.
    pub fn service(&self) -> &Arc<LockService> {
        self.instance.service()
    }

    /// Serves until `stop` resolves, then gives lock holders `--drain` to finish.
    ///
    /// Cancel-safe: dropped, it stops accepting; open connections go on.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        // However this ends, no more connections are accepted.
        let _stop = (self.acceptor.stop.clone().drop_guard(), self.http_acceptor.stop.clone().drop_guard());
        let mut stop = pin!(stop);
        if let Some(store) = &mut self.store {
            let (service, leases) = (self.instance.service(), self.instance.leases());
            // Clients that connect meanwhile wait to be accepted.
            tokio::select! {
                () = store.recover(service, leases) => {}
                () = &mut stop => {
                    // The file is as it was opened: with the leases, and with the grace that the next start waits for.
                    tracing::info!("stopped before it granted anything");
                    return;
                }
            }
            store.watch_tokens(service);
        }
        self.accept();
        self.instance.serve().await;
        self.ready.cancel();
        stop.await;
        self.stop().await;
    }

    fn accept(&mut self) {
        let (config, instance) = (self.instance.config().clone(), self.instance.clone());
        if let Some(listener) = self.listeners.line.take() {
            let (acceptor, instance) = (self.acceptor.clone(), instance.clone());
            let serve = move |accepted| instance.serve_line(accepted);
            let entrance = config.entrance(Wire::Line, &acceptor, line::refusal, serve);
            self.accepting.spawn(net::accept(listener, acceptor, entrance));
        }
        if let Some(listener) = self.listeners.mysql.take() {
            let (acceptor, instance) = (self.acceptor.clone(), instance.clone());
            let serve = move |accepted| instance.serve_mysql(accepted);
            let entrance = config.entrance(Wire::MySql, &acceptor, mysql::refusal, serve);
            self.accepting.spawn(net::accept(listener, acceptor, entrance));
        }
        if let Some(listener) = self.listeners.http.take() {
            let acceptor = self.http_acceptor.clone();
            let serve = move |accepted| instance.serve_http(accepted);
            let entrance = config.entrance(Wire::Http, &acceptor, web::refusal, serve);
            tokio::spawn(net::accept(listener, acceptor, entrance));
        }
    }

    /// The routes of HTTP and gRPC.
    #[cfg(fuzzing)]
    pub(crate) fn router(&self) -> axum::Router {
        self.instance.router().clone()
    }

    async fn stop(&mut self) {
        let Self { instance, acceptor, accepting, .. } = self;
        tracing::info!(drain = ?instance.config().drain, sessions = instance.service().registry().count(), "stopping");
        acceptor.stop.cancel();
        accepting.close();
        // A client that has been told about the shutdown must not be able to connect again.
        accepting.wait().await;
        let is_drained = instance.drain(self.at_once.cancelled()).await;
        // Before anything ends in memory: what ends there from now on goes on in the store.
        if let Some(store) = &self.store {
            store.close(instance.leases()).await;
        }
        instance.end(is_drained, LAST_WORDS).await;
        tracing::info!("stopped");
    }
}
