//! Lists and KILL: what they are asked, and how rows are told.

use std::{str::FromStr, sync::Arc};

use tonic::{Request, Response, Status};

use super::{
    WIRE, lock_mode, moment,
    proto::{
        EndedHold, KillResponse, Lock, Session as SessionTold, SessionsResponse, StatsResponse, Step, Waiter,
        WaitersResponse, WhyResponse,
    },
    since_1970,
};
use crate::{
    command::{Command, Error, Reply, SessionRow, Stats, WaiterRow, WhyRow},
    lease::{LeaseError, Leases},
    lock::{Page, Paged, Truncated},
    session::{self, Hub, Session},
    tally::Past,
    web::{list, message, millis, peer_of},
};

/// Makes a list of everything, in a session that lasts no longer.
///
/// Cancel-safe: what was made is dropped.
pub(super) async fn listed<Q, T, M>(
    leases: &Arc<Leases>,
    request: &Request<Q>,
    list_of: impl Fn(&mut Session) -> Result<T, Error> + Clone + Send + 'static,
) -> Result<Response<M>, Status>
where
    M: From<T> + prost::Message + Send + 'static,
{
    let peer = peer_of(request)?;
    let client = peer.client(WIRE);
    let make = move |hub: &Arc<Hub>| list_of(&mut client.open(hub)).map(M::from);
    let (told, listing) = list(leases.hub(), peer, make, size).await?;
    Ok(message(told.map_err(LeaseError::Refused)?, listing))
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
pub(super) async fn kill<Q>(
    leases: &Arc<Leases>,
    request: &Request<Q>,
    command: Command,
) -> Result<Response<KillResponse>, Status> {
    let mut session = peer_of(request)?.client(WIRE).open(leases.hub());
    let answer = session.start(command).ended().await.map_err(LeaseError::Refused)?;
    let done = matches!(answer, Reply::Int(1));
    Ok(Response::new(KillResponse { done }))
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
        let SessionRow { session, origin, age, holds, waits_for, memory, profile } = row;
        Self {
            session: session.0,
            wire: origin.wire.to_owned(),
            peer: origin.peer.to_string(),
            client: profile.client().map(str::to_owned),
            user: profile.user().map(str::to_owned),
            note: profile.note.as_deref().map(str::to_owned),
            age_ms: millis(age),
            holds: holds as u64,
            waits_for: waits_for.map(|name| name.to_string()),
            expires_at_ms: profile.expires.map(moment),
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
            wire: origin.wire.to_owned(),
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
