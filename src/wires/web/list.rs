//! Lists: made in turns, on threads other than those that serve clients, with a limit on long lists in flight.

use std::{sync::Arc, time::Duration};

use axum::{body::HttpBody, response::Response};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Peer,
    response::{LongList, ResponseGuard},
};
use crate::core::{
    session::LockService,
    share::{QuotaCause, QuotaExceeded, Turn},
};

/// How long a list waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to read a long list.
const READ_TIME: Duration = Duration::from_secs(30);

/// The size in bytes from which a list is long. Few long lists may be in flight at a time, since each may take
/// megabytes.
pub const LONG_LIST: usize = 64 * 1024;

/// Makes a list in its turn, on a thread other than those that serve clients. `size` returns its length: a long list
/// needs a permit, and is made again if it had to wait for that.
///
/// Cancel-safe: dropped, it drops the list.
pub(crate) async fn list<T: Send + 'static>(
    service: &Arc<LockService>,
    peer: &Peer,
    make: impl Fn(&Arc<LockService>) -> T + Clone + Send + 'static,
    size: fn(&T) -> usize,
) -> Result<(T, Option<ResponseGuard>), QuotaExceeded> {
    let made = in_turn(service, peer, make.clone()).await?;
    if size(&made) <= LONG_LIST {
        return Ok((made, None));
    }
    if let Some(place) = service.shared().lists.try_take(peer.quota_key()) {
        return Ok((made, Some(long_list(place, peer))));
    }
    // Long lists that wait for a permit would fill the memory, so this one is dropped and made again later.
    drop(made);
    let place = service.shared().lists.wait_for(peer.quota_key(), TURN_TIME).await?;
    let made = in_turn(service, peer, make).await?;
    Ok((made, Some(long_list(place, peer))))
}

/// Cancel-safe: dropped, it drops the list.
async fn in_turn<T: Send + 'static>(
    service: &Arc<LockService>,
    peer: &Peer,
    make: impl FnOnce(&Arc<LockService>) -> T + Send + 'static,
) -> Result<T, QuotaExceeded> {
    let late = || service.shared().lists.refuse(QuotaCause::Full);
    let permit = timeout(TURN_TIME, service.list_permit(peer.quota_key())).await.map_err(|_| late())?;
    let of = service.clone();
    spawn_blocking(move || permit.make(|| make(&of))).await.map_err(|_| late())
}

/// Keeps the permit until the response is sent, and closes the connection if that takes too long.
fn long_list(place: Turn, peer: &Peer) -> ResponseGuard {
    let (read, cut_off) = (CancellationToken::new(), peer.connection.cut_off.clone());
    let long_list = LongList { _place: place, _read: read.clone().drop_guard() };
    tokio::spawn(async move {
        tokio::select! { () = read.cancelled() => {}, () = sleep(READ_TIME) => cut_off.cancel() }
    });
    ResponseGuard::LongList(Arc::new(long_list))
}

/// The length of a response, in bytes.
pub(crate) fn body_bytes(response: &Response) -> usize {
    let bytes = HttpBody::size_hint(response.body()).lower();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
