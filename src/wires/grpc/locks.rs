//! The gRPC service `Locks` (proto/getlockd.proto).

use std::{pin::Pin, str::FromStr, sync::Arc, time::Duration};

use getlockd_proto::timeout::Timeout;
use smol_str::SmolStr;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    hold, lock_mode, mode, moment, name, names,
    proto::{
        AcquireRequest, AcquireResponse, EndedHold, HistoryRequest, HistoryResponse, HoldRequest,
        KillRequest, KillResponse, ListRequest, ListResponse, Lock, Node, NodesRequest, NodesResponse,
        ReleaseRequest, ReleaseResponse, RenewRequest, RenewResponse, Session as SessionMessage,
        SessionsRequest, SessionsResponse, StatsRequest, StatsResponse, StatusRequest, StatusResponse, Step,
        Waiter, WaitersRequest, WaitersResponse, WatchRequest, WatchResponse, WhyRequest, WhyResponse,
        locks_server::Locks,
    },
    since_1970, watch,
};
use crate::{
    core::{
        client_info::{ClientInfo, Wire},
        cluster::{NodeRole, NodeRow},
        command::{Error, LockRow, SessionRow, Stats, WaiterRow, WhyRow},
        lease::{Grant, LeaseRequest, NotSecret, Renewed, RequestId, Secret},
        lock::{Page, Paged, SessionId, Truncated},
        session::{self, History, HoldersOf, LockService, Nodes, Query, Session, Sessions, Waiters, Why},
        stats::PastHold,
    },
    wires::web::{self, AppState, ResponseGuard, deadline, message, millis, peer_of, release_charge},
};

/// The most holds that Status returns.
const MAX_HOLDS: usize = 1_000;

/// The messages of a `Watch` call.
type BoxStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

/// The service, with the sessions and leases of the server.
#[derive(Clone, Debug)]
pub(super) struct LocksService(pub(super) AppState);

#[tonic::async_trait]
impl Locks for LocksService {
    type HoldStream = hold::ReplyStream;
    type WatchStream = BoxStream;

    async fn acquire(&self, request: Request<AcquireRequest>) -> Result<Response<AcquireResponse>, Status> {
        let client = peer_of(&request)?.client(Wire::Grpc);
        let body = request.into_inner();
        let names =
            names(&body.name, &body.names).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let request = LeaseRequest {
            mode: mode(body.mode, body.limit, &names).map_err(Status::invalid_argument)?,
            names: names.clone(),
            wait: Timeout::from_millis(body.wait_ms.into()),
            ttl: body.ttl_ms.map(Duration::from_millis),
            client: body.client,
            note: body.note,
            request: body.request_id.map(RequestId::new).transpose()?,
        };
        let (Grant { token, ends, place, waited, delivery }, secret) =
            self.0.leases.acquire(request, client).await?;
        let response = AcquireResponse {
            lease_token: secret.reveal().to_owned(),
            fencing_token: token,
            expires_at_ms: moment(ends),
            waited_ms: millis(waited),
            place: place as u64,
            waiters: self.0.leases.queues_of(&names).0 as u64,
        };
        Ok(message(response, Some(ResponseGuard::Grant(delivery))))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let peer = peer_of(&request)?.clone();
        let body = request.into_inner();
        let (key, ttl) = (secret(&body.lease_token)?.key(), body.ttl_ms.map(Duration::from_millis));
        let Renewed { ends, token, waiters, first_waited } =
            self.0.leases.renew(&key, &name(&body.name)?, ttl, peer.principal()).await?;
        let (left, term) = peer.leader_left().unzip();
        Ok(Response::new(RenewResponse {
            expires_at_ms: moment(ends),
            fencing_token: token,
            waiters: waiters as u64,
            first_waited_ms: first_waited.map(millis),
            left_ms: left.map(millis),
            term,
        }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let peer = peer_of(&request)?.clone();
        let body = request.into_inner();
        self.0
            .leases
            .release(&secret(&body.lease_token)?.key(), &name(&body.name)?, peer.principal())
            .await?;
        Ok(Response::new(ReleaseResponse {}))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let name = name(&request.get_ref().name)?;
        let holds = self.query(&request, &HoldersOf { name, limit: MAX_HOLDS })?;
        let total = holds.total as u64;
        let holds = holds.rows.into_iter().map(Lock::from).collect();
        Ok(message(StatusResponse { holds, total }, None))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let ListRequest { prefix, limit, after } = request.get_ref();
        let page = page(*limit, after.as_deref())?;
        let prefix = if prefix.is_empty() { None } else { Some(name(prefix)?) };
        self.list_in_turn(&request, session::Locks { prefix, page }).await
    }

    async fn waiters(&self, request: Request<WaitersRequest>) -> Result<Response<WaitersResponse>, Status> {
        let WaitersRequest { name: lock, limit, after } = request.get_ref();
        let (name, page) = (name(lock)?, page(*limit, after.as_deref())?);
        self.list_in_turn(&request, Waiters { name, page }).await
    }

    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyResponse>, Status> {
        let name = name(&request.get_ref().name)?;
        self.list_in_turn(&request, Why { name }).await
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        let HistoryRequest { name: lock, limit, after } = request.get_ref();
        let (name, page) = (name(lock)?, page(*limit, after.as_deref())?);
        let holds = self.query(&request, &History { name: Some(name), page })?;
        Ok(message(HistoryResponse::from(holds), None))
    }

    async fn sessions(
        &self,
        request: Request<SessionsRequest>,
    ) -> Result<Response<SessionsResponse>, Status> {
        let SessionsRequest { limit, after } = request.get_ref();
        let page = page(*limit, after.as_deref())?;
        self.list_in_turn(&request, Sessions { page }).await
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let stats = self.session(&request)?.stats()?;
        Ok(message(StatsResponse::from(stats), None))
    }

    async fn nodes(&self, request: Request<NodesRequest>) -> Result<Response<NodesResponse>, Status> {
        let nodes = self.query(&request, &Nodes)?.into_iter().map(Node::from).collect();
        Ok(message(NodesResponse { nodes }, None))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<KillResponse>, Status> {
        let KillRequest { session: id, cancel_wait, reason } = request.get_ref();
        let (id, mut session) = (SessionId(*id), self.session(&request)?);
        if *cancel_wait {
            let done = session.cancel_wait(id)?;
            return Ok(Response::new(KillResponse { done }));
        }
        // An end means that this session has ended meanwhile, because the server stops. The other session ends
        // nevertheless.
        session.kill(id, reason.as_deref())?.finish().await.unwrap_or(Ok(()))?;
        Ok(Response::new(KillResponse { done: true }))
    }

    async fn hold(
        &self,
        request: Request<Streaming<HoldRequest>>,
    ) -> Result<Response<Self::HoldStream>, Status> {
        let deadline = deadline(request.metadata().as_ref())?;
        let peer = peer_of(&request)?;
        let client = peer.client(Wire::Grpc);
        let AppState { service, leases } = &self.0;
        let reservation = leases.reserve(&client)?;
        let (transport, budget) = (peer.transport().clone(), peer.budget().clone());
        // A stream may last for hours: from here on it counts among the leases, not as a request in flight.
        release_charge(request.extensions());
        let session = client.open(service);
        session.share(&budget);
        let (replies, stream) = tokio::sync::mpsc::channel(hold::UNSENT + 1);
        let terms = hold::StreamTerms { transport, deadline };
        let served = hold::hold(session, leases.clone(), request.into_inner(), replies, terms);
        leases.tasks().spawn(async move {
            served.await;
            drop(reservation);
        });
        Ok(Response::new(hold::ReplyStream::new(stream)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let peer = peer_of(&request)?.clone();
        // A stream may last for hours: from here on it does not count as a request in flight.
        release_charge(request.extensions());
        let events = watch::watch(&self.0.service, &peer, request.into_inner())?;
        Ok(Response::new(Box::pin(events)))
    }
}

impl LocksService {
    /// Opens a session for one call.
    fn session<T>(&self, request: &Request<T>) -> Result<Session, Status> {
        Ok(peer_of(request)?.client(Wire::Grpc).open(&self.0.service))
    }

    fn query<Q: Query, T>(&self, request: &Request<T>, query: &Q) -> Result<Q::Answer, Status> {
        Ok(self.session(request)?.query(query)?)
    }

    /// Responds with a list. The query reads the whole table, in a session that ends with it.
    ///
    /// Cancel-safe: dropped, it drops the list.
    async fn list_in_turn<Q, T, M>(&self, request: &Request<T>, query: Q) -> Result<Response<M>, Status>
    where
        Q: Query + Clone + Send + 'static,
        M: From<Q::Answer> + prost::Message + Send + 'static,
    {
        let peer = peer_of(request)?;
        let client = peer.client(Wire::Grpc);
        let make = move |service: &Arc<LockService>| client.open(service).query(&query).map(M::from);
        let size = |made: &Result<M, Error>| made.as_ref().map_or(0, M::encoded_len);
        let (list, guard) = web::list(&self.0.service, peer, make, size).await?;
        Ok(message(list?, guard))
    }
}

/// Parses the parameters of a page.
fn page<K: FromStr>(limit: Option<u32>, after: Option<&str>) -> Result<Page<K>, Status> {
    session::page(limit.map(u64::from), after).map_err(|bad| Status::invalid_argument(bad.to_string()))
}

/// Parses a lease token.
fn secret(token: &str) -> Result<Secret, Status> {
    token.parse().map_err(|error: NotSecret| Status::invalid_argument(error.to_string()))
}

impl From<LockRow> for Lock {
    fn from(row: LockRow) -> Self {
        Self {
            name: row.name.as_str().to_owned(),
            mode: lock_mode(row.mode),
            limit: row.mode.limit().map(u32::from),
            session: row.session.0,
            wire: row.origin.map_or("", |origin| origin.wire.as_str()).to_owned(),
            peer: row.address(),
            client: row.client().map(str::to_owned),
            user: row.user().map(str::to_owned),
            note: row.note().map(str::to_owned),
            fencing_token: row.fencing_token,
            held_ms: millis(row.held),
            expires_at_ms: row.expires().map(moment),
            waiters: row.waiters as u64,
            idle_ms: row.idle().map_or(0, millis),
            restored: row.restored(),
            via: row.via().map(str::to_owned),
        }
    }
}

impl From<Paged<LockRow>> for ListResponse {
    fn from(list: Paged<LockRow>) -> Self {
        let next = list.next(LockRow::key);
        Self { locks: list.rows.into_iter().map(Lock::from).collect(), total: list.total as u64, next }
    }
}

impl From<Paged<PastHold>> for HistoryResponse {
    fn from(list: Paged<PastHold>) -> Self {
        let next = list.next(|past| past.token);
        Self { holds: list.rows.into_iter().map(EndedHold::from).collect(), next }
    }
}

impl From<Paged<WaiterRow>> for WaitersResponse {
    fn from(list: Paged<WaiterRow>) -> Self {
        let next = list.next(|row| row.key);
        let waiters = list.rows.into_iter().map(Waiter::from).collect();
        Self { waiters, total: list.total as u64, next }
    }
}

impl From<Truncated<WhyRow>> for WhyResponse {
    fn from(list: Truncated<WhyRow>) -> Self {
        Self { total: list.total as u64, steps: list.rows.into_iter().map(Step::from).collect() }
    }
}

impl From<Paged<SessionRow>> for SessionsResponse {
    fn from(list: Paged<SessionRow>) -> Self {
        let next = list.next(|row| row.session);
        let sessions = list.rows.into_iter().map(SessionMessage::from).collect();
        Self { sessions, total: list.total as u64, next }
    }
}

impl From<WaiterRow> for Waiter {
    fn from(WaiterRow { session, mode, origin, client_info, waited, .. }: WaiterRow) -> Self {
        let client_info = client_info.as_ref();
        Self {
            session: session.0,
            wire: origin.map_or("", |origin| origin.wire.as_str()).to_owned(),
            peer: origin.map_or_else(String::new, |origin| origin.peer.to_string()),
            mode: lock_mode(mode),
            limit: mode.limit().map(u32::from),
            waited_ms: millis(waited),
            idle_ms: client_info.map_or(0, |client_info| millis(client_info.idle())),
            client: client_info.and_then(ClientInfo::client).map(str::to_owned),
            user: client_info.and_then(ClientInfo::user).map(str::to_owned),
            note: client_info.and_then(ClientInfo::note).map(str::to_owned),
            via: client_info.and_then(ClientInfo::via).map(str::to_owned),
        }
    }
}

impl From<WhyRow> for Step {
    fn from(WhyRow { lock, waits_for }: WhyRow) -> Self {
        Self { hold: Some(Lock::from(lock)), waits_for: waits_for.map(|name| name.to_string()) }
    }
}

impl From<SessionRow> for SessionMessage {
    fn from(row: SessionRow) -> Self {
        let SessionRow { session, origin, age, holds, waits_for, memory, client_info } = row;
        Self {
            session: session.0,
            wire: origin.wire.as_str().to_owned(),
            peer: origin.peer.to_string(),
            client: client_info.client().map(str::to_owned),
            user: client_info.user().map(str::to_owned),
            note: client_info.note().map(str::to_owned),
            age_ms: millis(age),
            holds: holds as u64,
            waits_for: waits_for.map(|name| name.to_string()),
            expires_at_ms: client_info.expires.map(moment),
            memory: memory as u64,
            idle_ms: millis(client_info.idle()),
            restored: client_info.restored,
            via: client_info.via().map(str::to_owned),
        }
    }
}

impl From<Stats> for StatsResponse {
    fn from(stats: Stats) -> Self {
        let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory, cluster } = stats;
        let (role, leader) = (NodeRole::Leader.as_str(), cluster.as_ref());
        Self {
            sessions: sessions as u64,
            locks: table.locks as u64,
            waiters: table.waiters as u64,
            grants: table.grants,
            timeouts,
            deadlocks: table.deadlocks,
            abandoned,
            uptime_ms: millis(uptime),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            memory: memory as u64,
            max_memory: max_memory as u64,
            role: leader.map(|_| role.to_owned()),
            node: leader.map(|leader| leader.node.clone()),
            term: leader.map(|leader| leader.term),
            leader_since_ms: leader.map(|leader| since_1970(leader.leader_since)),
        }
    }
}

impl From<NodeRow> for Node {
    fn from(NodeRow { node, role, address, version, started_ms, seen, relayed }: NodeRow) -> Self {
        let started_at_ms = i64::try_from(started_ms).unwrap_or(i64::MAX);
        let (role, seen_ms, relayed) = (role.as_str().to_owned(), millis(seen), relayed as u64);
        Self { node, role, address, version, started_at_ms, seen_ms, relayed }
    }
}

impl From<PastHold> for EndedHold {
    fn from(past: PastHold) -> Self {
        let PastHold { session, origin, texts, mode, token, started, held, cause, .. } = past;
        let text = |text: Option<SmolStr>| text.map(String::from);
        Self {
            session: session.0,
            wire: origin.wire.as_str().to_owned(),
            peer: origin.peer.to_string(),
            client: text(texts.client),
            user: text(texts.user),
            note: text(texts.note),
            reason: text(texts.reason),
            mode: lock_mode(mode),
            limit: mode.limit().map(u32::from),
            fencing_token: token,
            acquired_at_ms: since_1970(started),
            held_ms: millis(held),
            cause: cause.as_str().to_owned(),
        }
    }
}
