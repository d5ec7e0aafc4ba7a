//! Accepting connections: as many as may be, and for as long as the server runs.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long to wait after a failed accept, at first and at most: descriptors may be short.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How many are told at a time that the server is full. Whoever comes beyond that is just closed.
pub(crate) const REFUSALS: usize = 32;

/// Where connections come in, and what they count against.
#[derive(Clone, Debug)]
pub struct Gate {
    /// One permit a connection.
    pub places: Arc<Semaphore>,
    /// One permit for each that is told that there is no place.
    pub refusals: Arc<Semaphore>,
    /// Every connection's task.
    pub tasks: TaskTracker,
    /// Ends the accept loop.
    pub stop: CancellationToken,
}

impl Gate {
    /// A gate for at most `max_connections`.
    pub fn new(max_connections: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max_connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }
}

/// Accepts until the gate's `stop`. `serve` runs a connection to its end, `refuse` tells one that
/// there is no place for it.
///
/// Cancel-safe: no accepted connection is lost.
pub async fn accept<S, R>(
    listener: TcpListener,
    gate: Gate,
    serve: impl Fn(TcpStream) -> S,
    refuse: impl Fn(TcpStream) -> R,
) where
    S: Future<Output = ()> + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let mut pause = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            () = gate.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                pause = BACK_OFF.0;
                if let Ok(place) = gate.places.clone().try_acquire_owned() {
                    gate.tasks.spawn(keeping(place, serve(stream)));
                } else if let Ok(place) = gate.refusals.clone().try_acquire_owned() {
                    gate.tasks.spawn(keeping(place, refuse(stream)));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, ?pause, "cannot accept connections; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

async fn keeping(place: OwnedSemaphorePermit, work: impl Future<Output = ()>) {
    work.await;
    drop(place);
}

/// Whether only the one that was to be accepted has failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
