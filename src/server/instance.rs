//! One life of the lock table, with all that serves its clients. A server alone has one; a node of a cluster has one for
//! each of its terms.

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Router, middleware::from_fn_with_state};
use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};

use super::{
    plan::{Plan, StartError},
    reload::{CurrentService, Reloader},
};
use crate::{
    config::{Config, Listen},
    core::{
        client_info::{Origin, Wire},
        cluster::ClusterView,
        lease::{Bounds, Durability, Leases},
        session::{Limits, LockService, Session},
        share::{Quota, QuotaExceeded},
        store::Floors,
        users::Users,
    },
    net::{
        Accepted, Acceptor, Admit, BufferedSocket, Entrance, Keepalive, LeaderTerm, Limiter, Timeouts,
        TransportConfig,
    },
    ops::metrics::{Metrics, Sources},
    wires::{
        compat, grpc, line, mysql, rest,
        web::{self, AppState, Hosts},
    },
};

/// What all instances of a process share.
#[derive(Debug)]
pub(super) struct InstanceConfig {
    pub transport: TransportConfig,
    pub drain: Duration,
    limits: Limits,
    users: Option<Arc<Users>>,
    bounds: Bounds,
    hosts: Arc<Hosts>,
    max_line: usize,
    mysql: mysql::ServerFlags,
    connections: Arc<Quota>,
    limiters: Vec<Arc<Limiter>>,
    pub started: SystemTime,
}

impl InstanceConfig {
    pub fn new(
        config: &Config,
        Plan { users, tls, max_connections }: Plan,
        connections: &Arc<Quota>,
    ) -> Self {
        let timeouts = Timeouts {
            login: config.login_time,
            idle: config.idle_time.0,
            idle_holder: config.idle_time_holders.0,
        };
        let on = config.wires().into_iter().filter(|(_, listen)| *listen != Listen::Off);
        Self {
            transport: TransportConfig { keepalive: Keepalive(config.keepalive), tls, timeouts, term: None },
            drain: config.drain,
            limits: Limits {
                locks_per_session: config.max_locks_per_session,
                locks: config.max_locks,
                waiters_per_lock: config.max_waiters_per_lock,
                memory: config.max_memory,
            },
            users,
            bounds: Bounds { min: config.lease_min, max: config.lease_max, count: config.max_leases },
            hosts: Arc::new(config.hosts()),
            max_line: config.max_line,
            mysql: mysql::ServerFlags { max_packet: config.max_packet, max_connections },
            connections: connections.clone(),
            limiters: on.map(|(wire, _)| Limiter::new(wire, connections.clone())).collect(),
            started: SystemTime::now(),
        }
    }

    /// Reloads the users and the certificate, for what serves clients at that moment.
    pub fn reloader(&self, current: Arc<dyn CurrentService>) -> Reloader {
        Reloader { tls: self.transport.tls.clone(), users: self.users.clone(), current }
    }

    /// Where the connections of a wire enter, which has a listener.
    pub fn entrance<F: Future<Output = ()> + Send + 'static>(
        &self,
        wire: Wire,
        acceptor: &Acceptor,
        refusal: fn(QuotaExceeded) -> Bytes,
        serve: impl Fn(Accepted) -> F + Send + Sync + 'static,
    ) -> Arc<dyn Admit> {
        let found = self.limiters.iter().find(|limiter| limiter.wire() == wire);
        let limiter = found.cloned().unwrap_or_else(|| Limiter::new(wire, self.connections.clone()));
        let keepalive = self.transport.keepalive;
        Arc::new(Entrance { acceptor: acceptor.clone(), limiter, refusal, keepalive, serve })
    }
}

/// Where an instance goes on.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub floors: Floors,
    pub durability: Option<Durability>,
    /// The term of a leader.
    pub term: Option<LeaderTerm>,
    /// What a leader shows of its cluster.
    pub cluster: Option<Arc<dyn ClusterView>>,
}

/// One life of the lock table.
#[derive(Debug)]
pub(super) struct Instance {
    config: Arc<InstanceConfig>,
    service: Arc<LockService>,
    leases: Arc<Leases>,
    grpc: grpc::Services,
    sources: Arc<Sources>,
    web: web::HttpService,
    /// Connections of the line and MySQL wires, and leases.
    tasks: TaskTracker,
    http_tasks: TaskTracker,
}

/// The future that serves a connection; ready at once if the connection is already closed.
pub(super) type Serving<F> = Either<F, Ready<()>>;

impl CurrentService for Instance {
    fn service(&self) -> Option<Arc<LockService>> {
        Some(self.service.clone())
    }
}

impl Instance {
    pub fn new(config: Arc<InstanceConfig>, start: Start) -> Result<Self, StartError> {
        let Start { floors, durability, term, cluster } = start;
        let writer = durability.as_ref().map(|durability| durability.writer.clone());
        let service = LockService::in_cluster(config.limits, config.users.clone(), floors, writer, cluster);
        let tasks = TaskTracker::new();
        let leases = Leases::with_store(service.clone(), config.bounds, tasks.clone(), durability);
        let state = AppState { service: service.clone(), leases: leases.clone() };
        let grpc = grpc::Services::new(state.clone(), &compat::GRPC_SERVICES)?;
        let transport = Arc::new(TransportConfig { term, ..config.transport.clone() });
        let stop = CancellationToken::new();
        let sources = Arc::new(Sources {
            service: service.clone(),
            leases: leases.clone(),
            limiters: config.limiters.clone(),
            connections: config.connections.clone(),
            started: config.started,
        });
        let router = router(&config, &state, &grpc, &sources, &stop);
        let web = web::HttpService { router, transport, service: service.clone(), stop };
        Ok(Self { config, service, leases, grpc, sources, web, tasks, http_tasks: TaskTracker::new() })
    }

    pub fn config(&self) -> &Arc<InstanceConfig> {
        &self.config
    }

    pub fn service(&self) -> &Arc<LockService> {
        &self.service
    }

    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// The tasks of line and MySQL connections, and of leases: the drain waits for them.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// The tasks of HTTP and gRPC connections.
    pub fn http_tasks(&self) -> &TaskTracker {
        &self.http_tasks
    }

    /// Cancelled when HTTP and gRPC connections end.
    pub fn http_stop(&self) -> &CancellationToken {
        &self.web.stop
    }

    /// What its metrics are read from.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// Health checks of gRPC say that it serves. Cancel-safe.
    pub async fn serve(&self) {
        self.grpc.serve().await;
    }

    /// Serves a connection of the line protocol.
    ///
    /// Cancel-safe: dropped, it closes the connection, whose session ends.
    pub fn serve_line(&self, accepted: Accepted) -> Serving<impl Future<Output = ()> + Send + use<>> {
        let (leases, max_line) = (self.leases.clone(), self.config.max_line);
        self.open(Wire::Line, accepted, move |io, session| line::serve(io, session, leases, max_line))
    }

    /// Serves a connection of the MySQL protocol.
    ///
    /// Cancel-safe: dropped, it closes the connection, whose session ends.
    pub fn serve_mysql(&self, accepted: Accepted) -> Serving<impl Future<Output = ()> + Send + use<>> {
        let (leases, flags) = (self.leases.clone(), self.config.mysql);
        self.open(Wire::MySql, accepted, move |io, session| mysql::serve(io, session, leases, flags))
    }

    /// Serves a connection of HTTP or gRPC. It has no session of its own: each request has one.
    ///
    /// Cancel-safe: dropped, it closes the connection, and its requests leave their queues.
    pub fn serve_http(&self, accepted: Accepted) -> Serving<Pin<Box<dyn Future<Output = ()> + Send>>> {
        match self.web.transport.keepalive.probe(accepted.stream.tcp()) {
            Ok(()) => Either::Left(Box::pin(web::serve(accepted, self.web.clone()))),
            Err(_) => Either::Right(ready(())),
        }
    }

    /// Serves a connection with a session of its own.
    fn open<F: Future<Output = ()>>(
        &self,
        wire: Wire,
        Accepted { stream, peer, permit, via }: Accepted,
        serve: impl FnOnce(BufferedSocket, Session) -> F,
    ) -> Serving<F> {
        let session = self.service.open(Origin { wire, peer });
        session.handle().set_permit(permit);
        if via.is_some() {
            session.handle().note(|client_info| client_info.via = via);
        }
        match BufferedSocket::new(stream, self.web.transport.clone()) {
            Ok(io) => Either::Left(serve(io, session)),
            Err(_) => Either::Right(ready(())),
        }
    }

    /// The routes of HTTP and gRPC.
    #[cfg(fuzzing)]
    pub fn router(&self) -> &Router {
        &self.web.router
    }

    /// Grants nothing new, and gives holders `--drain` to finish, unless `at_once` resolves first. False if some still hold
    /// locks.
    ///
    /// Cancel-safe: dropped, nothing new is granted all the same.
    pub async fn drain(&self, at_once: impl Future<Output = ()>) -> bool {
        self.tasks.close();
        self.service.registry().drain();
        self.leases.drain();
        self.grpc.stop().await;
        tokio::select! {
            drained = timeout(self.config.drain, self.tasks.wait()) => drained.is_ok(),
            () = at_once => false,
        }
    }

    /// Ends all sessions and connections. What the store has goes on there. `last_words`: how long the last replies may take
    /// once all locks are released.
    ///
    /// Not cancel-safe: dropped, some connections go on.
    pub async fn end(&self, is_drained: bool, last_words: Duration) {
        if !is_drained {
            self.service.warn_of_holders(&self.leases.stored_sessions());
            self.service.registry().end_all();
            let _ = timeout(last_words, self.tasks.wait()).await;
        }
        self.web.stop.cancel();
        self.http_tasks.close();
        let _ = timeout(last_words, self.http_tasks.wait()).await;
    }
}

/// The routes of HTTP and gRPC.
fn router(
    config: &InstanceConfig,
    state: &AppState,
    grpc: &grpc::Services,
    sources: &Arc<Sources>,
    stop: &CancellationToken,
) -> Router {
    let service = &state.service;
    let http = rest::router(state.clone(), Arc::new(Metrics::new(sources.clone())), stop.clone());
    let admit = |router: Router| match service.users() {
        Some(_) => router.layer(from_fn_with_state(service.clone(), web::authenticate)),
        None => router,
    };
    let others = compat::router(state, admit);
    let outermost = from_fn_with_state(config.hosts.clone(), web::check_and_deliver);
    admit(http.merge(grpc.router.clone())).merge(others).layer(outermost)
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
            share::Resource,
        },
        name::Name,
        net::{self, Acceptor},
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
        let (acceptor, quota) = (Acceptor::default(), Quota::new(Resource::Connections, 2));
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
                stream.tcp().readable().await.unwrap();
                panic!("planned: a connection panics while it holds a lock");
            }
        };
        let serves = move |Accepted { stream, peer, .. }| {
            let io = BufferedSocket::new(stream, TransportConfig::from(Keepalive(Duration::from_secs(30))))
                .unwrap();
            line::serve(io, open(&service, peer), leases(&service), line::MAX_LINE)
        };
        let keepalive = Keepalive(Duration::from_secs(30));
        let limiter = || Limiter::new(Wire::Line, quota.clone());
        let refusal = |_| Bytes::new();
        let to_faulty =
            Entrance { acceptor: acceptor.clone(), limiter: limiter(), refusal, keepalive, serve: panics };
        let to_right =
            Entrance { acceptor: acceptor.clone(), limiter: limiter(), refusal, keepalive, serve: serves };
        tokio::spawn(net::accept(faulty, acceptor.clone(), Arc::new(to_faulty)));
        tokio::spawn(net::accept(right, acceptor, Arc::new(to_right)));

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
