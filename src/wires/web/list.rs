//! Lists: made in turns apart from the threads that serve others, with few long ones on their way at a time.

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

/// How long a client has to read a long list.
const READ_TIME: Duration = Duration::from_secs(30);

/// A list of more bytes than this is long: there are few of them on their way at a time, as each may have megabytes.
pub const LONG_LIST: usize = 64 * 1024;

/// Makes a list in its turn, apart from the threads that serve others. `size` tells its bytes: a long one needs a
/// place among the long ones, and is made again if it had to wait for that.
///
/// Cancel-safe: what was made is dropped.
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
    // Long lists that wait would fill the memory: this one is made again when there is a place.
    drop(made);
    let place = service.shared().lists.wait_for(peer.quota_key(), TURN_TIME).await?;
    let made = in_turn(service, peer, make).await?;
    Ok((made, Some(long_list(place, peer))))
}

/// Cancel-safe: what was made is dropped.
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

/// Keeps the place until the response is sent, and cuts the connection off if that takes too long.
fn long_list(place: Turn, peer: &Peer) -> ResponseGuard {
    let (read, cut_off) = (CancellationToken::new(), peer.connection.cut_off.clone());
    let long_list = LongList { _place: place, _read: read.clone().drop_guard() };
    tokio::spawn(async move {
        tokio::select! { () = read.cancelled() => {}, () = sleep(READ_TIME) => cut_off.cancel() }
    });
    ResponseGuard::LongList(Arc::new(long_list))
}

/// How many bytes a response has: how long a list is that was made.
pub(crate) fn body_bytes(response: &Response) -> usize {
    let bytes = HttpBody::size_hint(response.body()).lower();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
