//! What becomes of a connection: this node serves it, relays it, or parks it.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::{Front, NodeShared};
use crate::{
    core::client_info::Wire,
    net::{Accepted, BufferedSocket, Parked, TLS_HELLO, park},
    wires::{line, mysql, web},
};

/// How long to wait before a leader that did not answer is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// How long a client may take to read that nobody leads.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What serves or relays a connection to its end.
type Passage = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves or relays a connection as soon as somebody leads, and refuses it if nobody does in the time for a login and that of
/// a drain.
///
/// Cancel-safe: dropped, it closes the connection.
pub(super) async fn serve(node: Arc<NodeShared>, wire: Wire, accepted: Accepted) {
    // Boxed, and freed before the connection goes on: it is small for the rest of its life.
    let work = Box::pin(enter(node, wire, accepted)).await;
    if let Some(work) = work {
        work.await;
    }
}

/// Waits until somebody leads. None if the connection has ended.
///
/// Cancel-safe: dropped, it closes the connection.
async fn enter(node: Arc<NodeShared>, wire: Wire, mut accepted: Accepted) -> Option<Passage> {
    // A leader that drains is waited for as well.
    let give_up = Instant::now() + node.config.transport.timeouts.login + node.config.drain;
    let mut fronts = node.front.subscribe();
    loop {
        let front = fronts.borrow_and_update().clone();
        let mut retry = None;
        match front {
            Front::Serves(term) if term.takes(wire) => return Some(term.serve(wire, accepted)),
            Front::Relays(upstream) => match upstream.relay(accepted, wire).await {
                Ok(relaying) => return Some(Box::pin(relaying)),
                // Not a byte has passed.
                Err(returned) => {
                    tracing::debug!(error = %returned.error, "connection parked");
                    (accepted, retry) = (returned.accepted, Some(RETRY));
                }
            },
            Front::Nobody | Front::Serves(_) => {}
        }
        let goes_on = async {
            tokio::select! {
                changed = fronts.changed() => drop(changed),
                () = sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
        };
        let limit = give_up.saturating_duration_since(Instant::now());
        let parked = tokio::select! {
            parked = park(&accepted, node.relay.stats(), limit, goes_on) => parked,
            () = node.stopping.cancelled() => return None,
        };
        match parked {
            Parked::Goes(()) => {}
            Parked::Left => return None,
            Parked::TooLong => {
                refuse(&node, wire, accepted).await;
                return None;
            }
        }
    }
}

/// Tells a client that nobody leads. One that has begun TLS is told nothing: it has no session that could be told.
///
/// Cancel-safe: dropped, it closes the connection.
async fn refuse(node: &NodeShared, wire: Wire, mut accepted: Accepted) {
    let transport = Arc::new(node.config.transport.clone());
    if let Some(tls) = &transport.tls {
        let mut first = [0];
        // What has come by now: a client of MySQL says nothing before it is greeted.
        let came = accepted.stream.peek(&mut first).now_or_never();
        if tls.is_required() || (matches!(came, Some(Ok(1))) && first == [TLS_HELLO]) {
            return;
        }
    }
    let refusal = match wire {
        Wire::Line => line::no_leader(),
        Wire::MySql => mysql::no_leader(),
        Wire::Http | Wire::Grpc => web::no_leader(),
    };
    if let Ok(mut io) = BufferedSocket::new(accepted.stream, transport) {
        io.output.extend_from_slice(&refusal);
        io.close(Some(LAST_WORDS)).await;
    }
}
