//! Lists and KILL: what they are asked, and how rows are told.

use std::{str::FromStr, sync::Arc};

use tonic::{Request, Response, Status};

use super::{
    lock_mode, moment,
    proto::{
        EndedHold, HistoryResponse, KillRequest, KillResponse, ListResponse, Lock, Session as SessionTold,
        SessionsResponse, StatsResponse, Step, Waiter, WaitersResponse, WhyResponse,
    },
    since_1970,
};
use crate::{
    core::{
        client_info::Wire,
        command::{Error, LockRow, SessionRow, Stats, WaiterRow, WhyRow},
        lease::Leases,
        lock::{Page, Paged, SessionId, Truncated},
        session::{self, Hub, Query},
        stats::Past,
    },
    wires::web::{self, message, millis, peer_of},
};

/// Answers a query, in a session that lasts no longer.
pub(super) fn query<Q: Query, T>(
    leases: &Arc<Leases>,
    request: &Request<T>,
    query: &Q,
) -> Result<Q::Answer, Status> {
    Ok(peer_of(request)?.client(Wire::Grpc).open(leases.hub()).query(query)?)
}

/// The same for a list that looks at everything.
///
/// Cancel-safe: what was made is dropped.
pub(super) async fn list<Q, T, M>(
    leases: &Arc<Leases>,
    request: &Request<T>,
    query: Q,
) -> Result<Response<M>, Status>
where
    Q: Query + Clone + Send + 'static,
    M: From<Q::Answer> + prost::Message + Send + 'static,
{
    let peer = peer_of(request)?;
    let client = peer.client(Wire::Grpc);
    let make = move |hub: &Arc<Hub>| client.open(hub).query(&query).map(M::from);
    let (told, listing) = web::list(leases.hub(), peer, make, size).await?;
    Ok(message(told?, listing))
}

/// The page that is asked for.
pub(super) fn page<K: FromStr>(limit: Option<u32>, after: Option<&str>) -> Result<Page<K>, Status> {
    session::page(limit.map(u64::from), after).map_err(|bad| Status::invalid_argument(bad.to_string()))
}

/// How many bytes an answer has.
fn size<M: prost::Message>(made: &Result<M, Error>) -> usize {
    made.as_ref().map_or(0, M::encoded_len)
}

/// Ends a session, or its wait.
///
/// Cancel-safe: the other session ends all the same.
pub(super) async fn kill(
    leases: &Arc<Leases>,
    request: &Request<KillRequest>,
) -> Result<Response<KillResponse>, Status> {
    let KillRequest { session: id, cancel_wait } = *request.get_ref();
    let mut session = peer_of(request)?.client(Wire::Grpc).open(leases.hub());
    if cancel_wait {
        let done = session.cancel_wait(SessionId(id))?;
        return Ok(Response::new(KillResponse { done }));
    }
    // Should this session be ended meanwhile, as the server stops, the other has been told to end all the same.
    let _ = session.kill(SessionId(id))?.finish().await;
    Ok(Response::new(KillResponse { done: true }))
}

impl From<Paged<LockRow>> for ListResponse {
    fn from(list: Paged<LockRow>) -> Self {
        let next = list.next(LockRow::key);
        Self { locks: list.rows.into_iter().map(Lock::from).collect(), total: list.total as u64, next }
    }
}

impl From<Paged<Past>> for HistoryResponse {
    fn from(list: Paged<Past>) -> Self {
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
        let sessions = list.rows.into_iter().map(SessionTold::from).collect();
        Self { sessions, total: list.total as u64, next }
    }
}

impl From<WaiterRow> for Waiter {
    fn from(WaiterRow { session, mode, peer, waited, .. }: WaiterRow) -> Self {
        let peer = peer.map_or_else(String::new, |peer| peer.to_string());
        Self { session: session.0, peer, mode: lock_mode(mode), waited_ms: millis(waited) }
    }
}

impl From<WhyRow> for Step {
    fn from(WhyRow { lock, waits_for }: WhyRow) -> Self {
        Self { hold: Some(Lock::from(lock)), waits_for: waits_for.map(|name| name.to_string()) }
    }
}

impl From<SessionRow> for SessionTold {
    fn from(row: SessionRow) -> Self {
        let SessionRow { session, origin, age, holds, waits_for, memory, client_info } = row;
        Self {
            session: session.0,
            wire: origin.wire.as_str().to_owned(),
            peer: origin.peer.to_string(),
            client: client_info.client().map(str::to_owned),
            user: client_info.user().map(str::to_owned),
            note: client_info.note.as_deref().map(str::to_owned),
            age_ms: millis(age),
            holds: holds as u64,
            waits_for: waits_for.map(|name| name.to_string()),
            expires_at_ms: client_info.expires.map(moment),
            memory: memory as u64,
        }
    }
}

impl From<Stats> for StatsResponse {
    fn from(stats: Stats) -> Self {
        let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory } = stats;
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
        }
    }
}

impl From<Past> for EndedHold {
    fn from(past: Past) -> Self {
        let Past { session, origin, user, client, mode, token, started, held, cause, .. } = past;
        Self {
            session: session.0,
            wire: origin.wire.as_str().to_owned(),
            peer: origin.peer.to_string(),
            client: Some(client.to_string()).filter(|client| !client.is_empty()),
            user: Some(user.to_string()).filter(|user| !user.is_empty()),
            mode: lock_mode(mode),
            fencing_token: token,
            acquired_at_ms: since_1970(started),
            held_ms: millis(held),
            cause: cause.as_str().to_owned(),
        }
    }
}
