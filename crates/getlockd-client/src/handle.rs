//! How the task of a connection is reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{Error, List, Lost, Refused, clock::Moment, guard::Held, heartbeat::HeartbeatTimer};

/// Lines to be sent, and who waits for what they are answered.
#[derive(Debug)]
pub(crate) struct Ask {
    pub lines: String,
    pub answer: Awaited,
    /// A `KEEPALIVE` goes in front of them.
    pub with_question: bool,
}

/// Who waits for an answer, and what has come of it.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// One line.
    Word(oneshot::Sender<Result<String, Error>>),
    /// The same, to the release of a guard.
    Released(Option<oneshot::Sender<Result<String, Error>>>),
    /// The rows of a list, or what is wrong with one of them.
    List(Result<Vec<String>, Error>, oneshot::Sender<Result<List<String>, Error>>),
    /// The answers to `GET_LOCK` and to `FENCING_TOKEN` behind it.
    Lock { name: String, granted: Option<Result<bool, Refused>>, reply: oneshot::Sender<LockReply> },
}

pub(crate) type LockReply = Result<Option<Held>, Error>;

/// What the task knows of the server's promise, for whoever looks at a guard between two answers.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When the guards are lost if nothing more is answered.
    end: AtomicU64,
    promised: AtomicU64,
    left: AtomicU64,
}

const UNKNOWN: u64 = u64::MAX;

impl Default for Pulse {
    fn default() -> Self {
        let [end, promised] = [Moment::NEVER, Moment::PAST].map(|at| AtomicU64::new(at.as_nanos()));
        Self { end, promised, left: AtomicU64::new(UNKNOWN) }
    }
}

impl Pulse {
    pub(crate) fn set(&self, heartbeat: &HeartbeatTimer) {
        self.promised.store(heartbeat.promised().as_nanos(), Ordering::Release);
        self.end.store(heartbeat.guards_end().as_nanos(), Ordering::Release);
    }

    pub(crate) fn set_left(&self, left: Duration) {
        self.left.store(u64::try_from(left.as_nanos()).unwrap_or(UNKNOWN - 1), Ordering::Release);
    }
}

/// How a connection is reached. It ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    asks: mpsc::UnboundedSender<Ask>,
    fate: watch::Receiver<Option<Lost>>,
    pulse: Arc<Pulse>,
}

impl Link {
    pub(crate) fn new(
        asks: mpsc::UnboundedSender<Ask>,
        fate: watch::Receiver<Option<Lost>>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self { asks, fate, pulse }
    }

    /// Sends lines at once; the answer is read even if nobody waits for it.
    pub(crate) fn send(&self, lines: String, answer: Awaited) {
        self.post(Ask { lines, answer, with_question: false });
    }

    /// The same, with a `KEEPALIVE` in front of them.
    pub(crate) fn send_with_question(&self, lines: String, answer: Awaited) {
        self.post(Ask { lines, answer, with_question: true });
    }

    fn post(&self, ask: Ask) {
        // If there is no connection any more, dropping the answer tells.
        let _ = self.asks.send(ask);
    }

    /// What the server promises with each answer, once one has come.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.pulse.left.load(Ordering::Acquire);
        (left != UNKNOWN).then(|| Duration::from_nanos(left))
    }

    /// How the connection ended, if it has. Exact: it looks at the clock, and not only at what the task has noticed.
    pub(crate) fn lost_already(&self) -> Option<Lost> {
        let lost = self.fate.borrow().clone();
        lost.or_else(|| self.asks.is_closed().then(ended_with_runtime)).or_else(|| self.out_of_time())
    }

    fn out_of_time(&self) -> Option<Lost> {
        let moment = |nanos: &AtomicU64| Moment::from_nanos(nanos.load(Ordering::Acquire));
        (Moment::now() >= moment(&self.pulse.end)).then(|| Lost::silent(moment(&self.pulse.promised)))
    }

    /// Resolves when the connection has ended.
    ///
    /// Cancel-safe.
    pub(crate) fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let mut fate = self.fate.clone();
        async move {
            let lost = fate.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
            lost.unwrap_or_else(ended_with_runtime)
        }
    }

    /// What was answered, or why nothing was.
    pub(crate) async fn answer<T>(&self, reply: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
        match reply.await {
            Ok(answer) => answer,
            Err(_) => Err(self.lost().await.into()),
        }
    }
}

fn ended_with_runtime() -> Lost {
    Lost::new("the program's runtime ended", None)
}
