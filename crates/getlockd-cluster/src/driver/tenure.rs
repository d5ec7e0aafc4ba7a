//! One leadership, as the server has it.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::writes::{LeaseWrite, NotWritten};
use crate::{
    moment::Moment,
    record::{Floors, Leader},
    term::Term,
};

/// One leadership of this node.
#[derive(Debug)]
pub struct Tenure {
    /// The guard of its sockets.
    pub term: Arc<Term>,
    /// The record with which the seat was taken.
    pub leader: Arc<Leader>,
    /// Where numbers start.
    pub first: Floors,
    /// The leases that stood in the engine: key without the prefix (`lease/<digest>`), and record.
    pub(super) leases: Mutex<Vec<(String, Vec<u8>)>>,
    /// When it began, for people.
    pub since: SystemTime,
    /// The first numbers that may not be given: moved by each beat that is acknowledged.
    pub ceiling: watch::Receiver<Floors>,
    pub(super) orders: mpsc::UnboundedSender<DriverOrder>,
    pub(super) state: Arc<TenureState>,
}

/// What the driver tells the server.
#[derive(Debug, Default)]
pub(super) struct TenureState {
    pub(super) numbers: OnceLock<Numbers>,
    pub(super) serving: CancellationToken,
    pub(super) draining: CancellationToken,
    pub(super) cause: OnceLock<&'static str>,
    pub(super) promised_until: Mutex<Moment>,
}

/// What is asked of the server while it leads.
pub struct Numbers {
    /// The numbers that were given last.
    pub last: Box<dyn Fn() -> Floors + Send + Sync>,
    /// How many sessions hold locks, or more: closing begins earlier by so many.
    pub holders: Box<dyn Fn() -> usize + Send + Sync>,
}

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Numbers")
    }
}

/// What the server tells the driver. Those with a number are of that term.
#[derive(Debug)]
pub(super) enum DriverOrder {
    Drain { exits: bool, successor: Option<String> },
    Stand(bool),
    Restored(u64),
    RestoreFailed(u64),
    Write(u64, LeaseWrite),
    Drained(u64),
    AllTold(u64),
}

impl Tenure {
    /// To be called once, when the leases are restored and clients can be served. The guard opens soon after: see
    /// [`Tenure::serving`].
    pub fn restored(&self, numbers: Numbers) {
        // A second call changes nothing.
        let _ = self.state.numbers.set(numbers);
        self.order(DriverOrder::Restored);
    }

    /// The server cannot serve this term: the seat is resigned, and another node may have more luck.
    pub fn restore_failed(&self) {
        self.order(DriverOrder::RestoreFailed);
    }

    /// The leases that stood in the engine. They are taken once.
    pub fn take_leases(&self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut *self.leases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.state.serving.is_cancelled() && !self.term.is_shut()
    }

    /// Resolves when clients are served; never if the term ends before. Cancel-safe.
    pub async fn serving(&self) {
        self.state.serving.cancelled().await;
    }

    /// Writes leases with the next beat, each by its key without the prefix (`lease/<digest>`): none deletes. Of one key the
    /// last change counts.
    ///
    /// Cancel-safe: dropped, they are written all the same.
    ///
    /// # Errors
    /// [`NotWritten`]
    pub async fn write(&self, changes: Vec<(String, Option<Vec<u8>>)>) -> Result<(), NotWritten> {
        let (done, written) = oneshot::channel();
        self.order(|term| DriverOrder::Write(term, LeaseWrite { changes, done }));
        written.await.unwrap_or(Err(NotWritten::Over))
    }

    /// The drain is over: the guard shuts for good.
    pub fn drained(&self) {
        self.order(DriverOrder::Drained);
    }

    /// All that was promised has ended: the seat can be resigned.
    pub fn all_told(&self) {
        self.order(DriverOrder::AllTold);
    }

    /// Resolves when the node is to drain: a hand-over was asked for, or [`super::Cluster::drain`] was called.
    /// Cancel-safe.
    pub async fn draining(&self) {
        self.state.draining.cancelled().await;
    }

    /// Why the term ends, once its sockets close ([`Term::closing`]); none as long as it serves.
    pub fn cause(&self) -> Option<&'static str> {
        self.state.cause.get().copied()
    }

    /// When all that was promised under this term has ended by itself, relays with slower clocks included. It does not
    /// move any more once the guard is shut.
    pub fn promised_until(&self) -> Moment {
        *self.state.promised_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: impl FnOnce(u64) -> DriverOrder) {
        // Without a driver there is no term either, which the guard knows.
        let _ = self.orders.send(order(self.term.number()));
    }
}
