//! The server: its listeners, its sessions, and how it stops.

mod clock;
mod durable;
mod listeners;
mod plan;
mod reload;
mod token_watch;

use std::{
    future::{Ready, ready},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Router, middleware::from_fn_with_state};
use getlockd_cluster::term::Term;
use tokio::time::timeout;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    core::{
        client_info::{Origin, Wire},
        cluster::ClusterView,
        lease::{Bounds, Durability, Leases},
        session::{Limits, LockService, Session},
        share::Quota,
    },
    net::{
        self, Accepted, Acceptor, BufferedSocket, Keepalive, LeaderTerm, Limiter, Timeouts, TransportConfig,
    },
    ops::metrics::{Metrics, Sources},
    wires::{
        compat, grpc, line, mysql, rest,
        web::{self, AppState, Hosts},
    },
};

use durable::OpenStore;
use listeners::Listeners;
use plan::Plan;
pub use plan::{CheckReport, StartError, check};
pub use reload::{ReloadError, Reloader};

/// How long the last replies to clients may take once all locks are released.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A server that is bound to its addresses and does not serve yet.
#[derive(Debug)]
pub struct Server {
    service: Arc<LockService>,
    /// For the line and MySQL wires: it stops when the drain begins, since a new connection could take no lock.
    acceptor: Acceptor,
    /// For HTTP and gRPC: it stops when the drain ends, since holders of leases connect again to renew and release them.
    /// It shares the quota of connections with the other one.
    http_acceptor: Acceptor,
    /// The tasks that accept connections until the server stops.
    accepting: TaskTracker,
    limiters: Vec<Arc<Limiter>>,
    started: SystemTime,
    transport: Arc<TransportConfig>,
    max_line: usize,
    mysql: mysql::ServerFlags,
    drain: Duration,
    leases: Arc<Leases>,
    hosts: Arc<Hosts>,
    grpc: grpc::Services,
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
        Self::bind_as(config, None)
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
        Self::bind_as(config, Some((cluster, LeaderTerm { term, takeover_delay: Duration::ZERO })))
    }

    fn bind_as(
        config: &Config,
        leader: Option<(Arc<dyn ClusterView>, LeaderTerm)>,
    ) -> Result<Self, StartError> {
        let (cluster, term) = leader.unzip();
        let Plan { users, tls, max_connections } = Plan::new(config)?;
        let store = OpenStore::open(&config.store)?;
        let listeners = Listeners::bind(config)?;
        if let Some(warning) = clock::warning() {
            tracing::warn!("{warning}");
        }
        let limits = Limits {
            locks_per_session: config.max_locks_per_session,
            locks: config.max_locks,
            waiters_per_lock: config.max_waiters_per_lock,
            memory: config.max_memory,
        };
        let timeouts = Timeouts {
            login: config.login_time,
            idle: config.idle_time.0,
            idle_holder: config.idle_time_holders.0,
        };
        let floors = store.as_ref().map(|store| store.floors).unwrap_or_default();
        let writer = store.as_ref().map(|store| store.writer.clone());
        let service = LockService::in_cluster(limits, users, floors, writer, cluster);
        let acceptor = Acceptor::new(Quota::for_connections(max_connections, service.users().is_some()));
        let bounds = Bounds { min: config.lease_min, max: config.lease_max, count: config.max_leases };
        let durability = store.as_ref().map(|store| Durability {
            writer: store.writer.clone(),
            grace: config.store.grace,
            request_key: store.request_key.clone(),
        });
        let leases = Leases::with_store(service.clone(), bounds, acceptor.tasks.clone(), durability);
        let state = AppState { service: service.clone(), leases: leases.clone() };
        let grpc = grpc::Services::new(state, &compat::GRPC_SERVICES)?;
        tracing::info!(max_connections, wanted = config.max_connections, "ready");
        Ok(Self {
            service,
            http_acceptor: Acceptor {
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
                ..acceptor.clone()
            },
            acceptor,
            accepting: TaskTracker::new(),
            limiters: Vec::new(),
            started: SystemTime::now(),
            transport: Arc::new(TransportConfig {
                keepalive: Keepalive(config.keepalive),
                tls,
                timeouts,
                term,
            }),
            max_line: config.max_line,
            mysql: mysql::ServerFlags { max_packet: config.max_packet, max_connections },
            drain: config.drain,
            leases,
            hosts: Arc::new(config.hosts()),
            grpc,
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
        self.listeners.first_steps(self.transport.tls.is_some())
    }

    /// Reloads the users and the certificate while the server runs.
    pub fn reloader(&self) -> Reloader {
        Reloader { tls: self.transport.tls.clone(), service: self.service.clone() }
    }

    /// Cancel this token to end a drain early: holders are told, and their locks are released.
    pub fn at_once(&self) -> CancellationToken {
        self.at_once.clone()
    }

    /// Is cancelled when the server serves, which with a store is not at once: leases come first.
    pub fn ready(&self) -> CancellationToken {
        self.ready.clone()
    }

    /// The sessions of this server.
    pub fn service(&self) -> &Arc<LockService> {
        &self.service
    }

    /// Serves until `stop` resolves, then gives lock holders `--drain` to finish.
    ///
    /// Cancel-safe: dropped, it stops accepting; open connections go on.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        // However this ends, no more connections are accepted.
        let _stop = (self.acceptor.stop.clone().drop_guard(), self.http_acceptor.stop.clone().drop_guard());
        let mut stop = pin!(stop);
        if let Some(store) = &mut self.store {
            // Clients that connect meanwhile wait to be accepted.
            tokio::select! {
                () = store.recover(&self.service, &self.leases) => {}
                () = &mut stop => {
                    // The file is as it was opened: with the leases, and with the grace that the next start waits for.
                    tracing::info!("stopped before it granted anything");
                    return;
                }
            }
            store.watch_tokens(&self.service);
        }
        self.accept();
        self.grpc.serve().await;
        self.ready.cancel();
        stop.await;
        self.stop().await;
    }

    fn accept(&mut self) {
        let keepalive = self.transport.keepalive;
        if let Some(listener) = self.listeners.line.take() {
            let limiter = self.limiter(Wire::Line);
            let (leases, max_line) = (self.leases.clone(), self.max_line);
            let serve = self
                .serving(Wire::Line, move |io, session| line::serve(io, session, leases.clone(), max_line));
            let acceptor = self.acceptor.clone();
            self.accepting.spawn(net::accept(listener, acceptor, limiter, line::refusal, keepalive, serve));
        }
        if let Some(listener) = self.listeners.mysql.take() {
            let limiter = self.limiter(Wire::MySql);
            let (leases, config) = (self.leases.clone(), self.mysql);
            let serve = self
                .serving(Wire::MySql, move |io, session| mysql::serve(io, session, leases.clone(), config));
            let acceptor = self.acceptor.clone();
            self.accepting.spawn(net::accept(listener, acceptor, limiter, mysql::refusal, keepalive, serve));
        }
        if let Some(listener) = self.listeners.http.take() {
            let limiter = self.limiter(Wire::Http);
            let web = web::HttpService {
                // Made after the other limiters, since its metrics show them.
                router: self.router(),
                transport: self.transport.clone(),
                service: self.service.clone(),
                stop: self.http_acceptor.stop.clone(),
            };
            let serve = serve_http(web);
            let acceptor = self.http_acceptor.clone();
            tokio::spawn(net::accept(listener, acceptor, limiter, web::refusal, keepalive, serve));
        }
    }

    /// A limiter for the listener of a wire.
    fn limiter(&mut self, wire: Wire) -> Arc<Limiter> {
        let limiter = Limiter::new(wire, self.acceptor.quota.clone());
        self.limiters.push(limiter.clone());
        limiter
    }

    fn metrics(&self) -> Arc<Metrics> {
        let (service, leases, limiters) = (self.service.clone(), self.leases.clone(), self.limiters.clone());
        let (connections, started) = (self.acceptor.quota.clone(), self.started);
        Arc::new(Metrics::new(Arc::new(Sources { service, leases, limiters, connections, started })))
    }

    /// Serves a connection with a session of its own.
    fn serving<F: Future<Output = ()>, S: Fn(BufferedSocket, Session) -> F>(
        &self,
        wire: Wire,
        serve: S,
    ) -> impl Fn(Accepted) -> Serving<F> + use<F, S> {
        let (service, transport) = (self.service.clone(), self.transport.clone());
        move |Accepted { stream, peer, permit, via }| {
            let session = service.open(Origin { wire, peer });
            session.handle().set_permit(permit);
            if via.is_some() {
                session.handle().note(|client_info| client_info.via = via);
            }
            match BufferedSocket::new(stream, transport.clone()) {
                Ok(io) => Either::Left(serve(io, session)),
                Err(_) => Either::Right(ready(())),
            }
        }
    }

    /// The routes of HTTP and gRPC.
    pub(crate) fn router(&self) -> Router {
        let state = AppState { service: self.service.clone(), leases: self.leases.clone() };
        let http = rest::router(state.clone(), self.metrics(), self.http_acceptor.stop.clone());
        let admit = |router: Router| match self.service.users() {
            Some(_) => router.layer(from_fn_with_state(self.service.clone(), web::authenticate)),
            None => router,
        };
        let others = compat::router(&state, admit);
        let outermost = from_fn_with_state(self.hosts.clone(), web::check_and_deliver);
        admit(http.merge(self.grpc.router.clone())).merge(others).layer(outermost)
    }

    async fn stop(&mut self) {
        let Self { service, acceptor, http_acceptor, drain, leases, .. } = self;
        tracing::info!(?drain, sessions = service.registry().count(), "stopping");
        acceptor.stop.cancel();
        acceptor.tasks.close();
        self.accepting.close();
        // A client that has been told about the shutdown must not be able to connect again.
        self.accepting.wait().await;
        service.registry().drain();
        leases.drain();
        self.grpc.stop().await;
        let is_drained = tokio::select! {
            drained = timeout(*drain, acceptor.tasks.wait()) => drained.is_ok(),
            () = self.at_once.cancelled() => false,
        };
        // Before anything ends in memory: what ends there from now on goes on in the store.
        if let Some(store) = &self.store {
            store.close(leases).await;
        }
        if !is_drained {
            service.warn_of_holders(&leases.stored_sessions());
            service.registry().end_all();
            let _ = timeout(LAST_WORDS, acceptor.tasks.wait()).await;
        }
        http_acceptor.stop.cancel();
        http_acceptor.tasks.close();
        let _ = timeout(LAST_WORDS, http_acceptor.tasks.wait()).await;
        tracing::info!("stopped");
    }
}

/// The future that serves a connection; ready at once if the connection is already closed.
type Serving<F> = Either<F, Ready<()>>;

/// Serves an HTTP connection. It has no session of its own: each request has one.
fn serve_http(
    web: web::HttpService,
) -> impl Fn(Accepted) -> Serving<Pin<Box<dyn Future<Output = ()> + Send>>> {
    move |connection| match web.transport.keepalive.probe(&connection.stream) {
        Ok(()) => Either::Left(Box::pin(web::serve(connection, web.clone()))),
        Err(_) => Either::Right(ready(())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use getlockd_proto::timeout::Timeout;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpStream,
    };

    use super::*;
    use crate::{
        core::{
            command::{AcquireAnswer, LockRequest},
            lock::Mode,
            session::Acquiring,
            share::{Quota, Resource},
        },
        name::Name,
    };

    fn leases(service: &Arc<LockService>) -> Arc<Leases> {
        let bounds = Bounds { min: Duration::ZERO, max: Duration::MAX, count: 1 };
        Leases::new(service.clone(), bounds, TaskTracker::new())
    }

    /// Hundreds of connections are idle for each active one, so the size of their tasks matters.
    #[tokio::test]
    async fn connection_task_is_small() {
        let service = LockService::new(Limits { locks_per_session: 1, ..Limits::default() });
        let listener = net::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            sockets.push(
                BufferedSocket::new(stream, TransportConfig::from(Keepalive(Duration::from_secs(30))))
                    .unwrap(),
            );
        }
        let mut open = || (sockets.pop().unwrap(), service.open(Origin { wire: Wire::Line, peer: addr }));
        let ((io, session), (other_io, other)) = (open(), open());
        let leases = leases(&service);
        let sizes = [
            size_of_val(&line::serve(io, session, leases.clone(), line::MAX_LINE)),
            size_of_val(&mysql::serve(other_io, other, leases, mysql::ServerFlags::default())),
        ];

        // With 384 bytes a task has 512, the next size is 640.
        assert!(sizes[0] <= 400 && sizes[1] <= 530, "{sizes:?}");
    }

    /// Neither its lock nor its place remains, and waiters and new clients are served.
    #[tokio::test]
    async fn panic_ends_only_its_connection() {
        let service = LockService::new(Limits::default());
        let acceptor = Acceptor::new(Quota::new(Resource::Connections, 2));
        let [faulty, right] = [(); 2].map(|()| net::listen(([127, 0, 0, 1], 0).into()).unwrap());
        let [faulty_at, right_at] = [&faulty, &right].map(|listener| listener.local_addr().unwrap());
        let open = |service: &Arc<LockService>, peer| service.open(Origin { wire: Wire::Line, peer });

        let its_service = service.clone();
        let panics = move |Accepted { stream, peer, .. }: Accepted| {
            let mut session = open(&its_service, peer);
            async move {
                let name = Name::new("kept").unwrap();
                let take = LockRequest { name, mode: Mode::Exclusive, timeout: Timeout::Forever };
                assert!(matches!(session.acquire(take), Acquiring::Done(Ok(AcquireAnswer::Granted(_)))));
                stream.readable().await.unwrap();
                panic!("planned: a connection panics while it holds a lock");
            }
        };
        let serves = move |Accepted { stream, peer, .. }| {
            let io = BufferedSocket::new(stream, TransportConfig::from(Keepalive(Duration::from_secs(30))))
                .unwrap();
            line::serve(io, open(&service, peer), leases(&service), line::MAX_LINE)
        };
        let keepalive = Keepalive(Duration::from_secs(30));
        let limiter = || Limiter::new(Wire::Line, acceptor.quota.clone());
        tokio::spawn(net::accept(faulty, acceptor.clone(), limiter(), |_| Bytes::new(), keepalive, panics));
        tokio::spawn(net::accept(right, acceptor.clone(), limiter(), |_| Bytes::new(), keepalive, serves));

        let mut fated = TcpStream::connect(faulty_at).await.unwrap();
        let mut waiter = BufReader::new(TcpStream::connect(right_at).await.unwrap()).lines();
        waiter.get_mut().write_all(b"CONNECTION_ID\n").await.unwrap();
        assert!(waiter.next_line().await.unwrap().is_some(), "both places are taken");
        waiter.get_mut().write_all(b"GET_LOCK kept 20\n").await.unwrap();
        fated.write_all(b"now").await.unwrap();
        assert_eq!(waiter.next_line().await.unwrap().as_deref(), Some("1"));

        let mut next = BufReader::new(TcpStream::connect(right_at).await.unwrap()).lines();
        next.get_mut().write_all(b"IS_FREE_LOCK kept\n").await.unwrap();
        assert_eq!(next.next_line().await.unwrap().as_deref(), Some("0"), "there is a place again");
    }
}
