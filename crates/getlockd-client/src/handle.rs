//! How the task of a connection is reached, and a lock that it has handed over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use getlockd_proto::{escape::Written, name};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Error, List, Lost, Names, clock::Moment, events::Subscriptions, heartbeat::HeartbeatTimer,
    reply::RowFields, rows::FromRow,
};

/// Lines to be sent, and the reply that is expected to them.
#[derive(Debug)]
pub(crate) struct DriverRequest {
    pub lines: String,
    pub reply: Pending,
    /// A `KEEPALIVE` goes in front of them.
    pub with_keepalive: bool,
}

/// A reply that is expected, with as much of it as has been read.
#[derive(Debug)]
pub(crate) enum Pending {
    /// One line.
    Word(oneshot::Sender<Result<String, Error>>),
    /// One line, to `HELLO`.
    Hello(oneshot::Sender<Result<String, Error>>),
    /// One line, to the release of a guard.
    Release(Option<oneshot::Sender<Result<String, Error>>>),
    /// The rows of a list, or what is wrong with one of them.
    List(Result<Vec<String>, Error>, oneshot::Sender<Result<List<String>, Error>>),
    /// The replies to `GET_LOCK` and so on, and to each `FENCING_TOKEN` behind it.
    Lock(PendingLock),
}

#[derive(Debug)]
pub(crate) struct PendingLock {
    pub names: Names,
    /// The first reply, once it has come.
    pub granted: Option<Result<(), Error>>,
    /// How many replies to `FENCING_TOKEN` are still to come.
    pub tokens_left: usize,
    pub fencing_token: u64,
    pub reply: oneshot::Sender<LockReply>,
}

pub(crate) type LockReply = Result<HeldLock, Error>;

/// What the task knows of the server's promise. A guard reads it between two answers, so its check of the clock
/// is exact even if the task has not run lately.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// When the guards are lost if nothing more is answered.
    guards_expire: AtomicU64,
    promised_until: AtomicU64,
    left: AtomicU64,
    stop_within: AtomicU64,
}

const UNKNOWN: u64 = u64::MAX;

impl Default for Deadlines {
    fn default() -> Self {
        let [guards_expire, promised_until] =
            [Moment::NEVER, Moment::PAST].map(|at| AtomicU64::new(at.as_nanos()));
        let [left, stop_within] = [UNKNOWN; 2].map(AtomicU64::new);
        Self { guards_expire, promised_until, left, stop_within }
    }
}

impl Deadlines {
    pub(crate) fn publish(&self, heartbeat: &HeartbeatTimer) {
        self.stop_within.store(heartbeat.stop_within().map_or(UNKNOWN, known), Ordering::Release);
        self.promised_until.store(heartbeat.promised_until().as_nanos(), Ordering::Release);
        self.guards_expire.store(heartbeat.guards_expire().as_nanos(), Ordering::Release);
    }

    /// The loss, if the guards have expired.
    pub(crate) fn expired(&self) -> Option<Lost> {
        let moment = |nanos: &AtomicU64| Moment::from_nanos(nanos.load(Ordering::Acquire));
        (Moment::now() >= moment(&self.guards_expire)).then(|| Lost::silent(moment(&self.promised_until)))
    }

    pub(crate) fn set_left(&self, left: Duration) {
        self.left.store(known(left), Ordering::Release);
    }
}

fn known(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(UNKNOWN - 1)
}

fn time(nanos: &AtomicU64) -> Option<Duration> {
    Some(nanos.load(Ordering::Acquire)).filter(|nanos| *nanos != UNKNOWN).map(Duration::from_nanos)
}

/// The sending end of a connection's task. The connection ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct DriverHandle {
    requests: mpsc::UnboundedSender<DriverRequest>,
    lost: watch::Receiver<Option<Lost>>,
    deadlines: Arc<Deadlines>,
    subscriptions: Subscriptions,
}

impl DriverHandle {
    pub(crate) fn new(
        requests: mpsc::UnboundedSender<DriverRequest>,
        lost: watch::Receiver<Option<Lost>>,
        deadlines: Arc<Deadlines>,
        subscriptions: Subscriptions,
    ) -> Self {
        Self { requests, lost, deadlines, subscriptions }
    }

    /// Who reads the events of the connection.
    pub(crate) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Sends lines at once. The reply is read even if its receiver is dropped.
    pub(crate) fn send(&self, lines: String, reply: Pending) {
        // If the task has ended, this drops `reply`, and that tells its receiver.
        let _ = self.requests.send(DriverRequest { lines, reply, with_keepalive: false });
    }

    /// Sends lines with a `KEEPALIVE` in front of them.
    pub(crate) fn send_with_keepalive(&self, lines: String, reply: Pending) {
        let _ = self.requests.send(DriverRequest { lines, reply, with_keepalive: true });
    }

    /// What the server promises with each answer, once one has come.
    pub(crate) fn left(&self) -> Option<Duration> {
        time(&self.deadlines.left)
    }

    /// How long before the end of a promise a loss is reported. None if the server promises nothing.
    pub(crate) fn stop_within(&self) -> Option<Duration> {
        time(&self.deadlines.stop_within)
    }

    /// How the connection ended, if it has. Exact: it looks at the clock, and not only at what the task has noticed.
    pub(crate) fn why_lost(&self) -> Option<Lost> {
        let lost = self.lost.borrow().clone();
        lost.or_else(|| self.requests.is_closed().then(ended_with_runtime))
            .or_else(|| self.deadlines.expired())
    }

    /// Resolves when the connection has ended.
    ///
    /// Cancel-safe. The future does not keep the connection.
    pub(crate) fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        when_lost(self.lost.clone())
    }

    /// Tells of the end of the connection, and does not keep it.
    pub(crate) fn lost_receiver(&self) -> watch::Receiver<Option<Lost>> {
        self.lost.clone()
    }

    /// The reply, or why there is none.
    ///
    /// Cancel-safe.
    pub(crate) async fn reply<T>(&self, reply: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
        match reply.await {
            Ok(reply) => reply,
            Err(_) => Err(self.lost().await.into()),
        }
    }

    /// Sends a line, whose reply is one line.
    pub(crate) fn request(&self, line: String) -> oneshot::Receiver<Result<String, Error>> {
        let (sender, reply) = oneshot::channel();
        self.send(line, Pending::Word(sender));
        reply
    }

    /// Cancel-safe: dropped, the request is still sent.
    pub(crate) async fn word(&self, line: String) -> Result<String, Error> {
        self.reply(self.request(line)).await
    }

    /// Cancel-safe, likewise.
    pub(crate) async fn expect_one(&self, line: String) -> Result<(), Error> {
        expect_one(&self.word(line).await?)
    }

    /// Cancel-safe: dropped, the list is read and forgotten.
    pub(crate) async fn list<T: FromRow>(&self, line: String) -> Result<List<T>, Error> {
        let (sender, reply) = oneshot::channel();
        self.send(line, Pending::List(Ok(Vec::new()), sender));
        let List { rows, total } = self.reply(reply).await?;
        let read = |row: String| {
            let fields = RowFields::read(&row);
            fields.and_then(|fields| T::read(&fields)).ok_or(Error::Unexpected(row))
        };
        Ok(List { rows: rows.into_iter().map(read).collect::<Result<_, _>>()?, total })
    }
}

/// The line of a command about one lock.
pub(crate) fn about_lock(command: &str, name: &str) -> Result<String, Error> {
    name::check(name)?;
    Ok(format!("{command} {}\n", Written(name)))
}

/// The line of a command about all locks whose name starts with a prefix, which may be empty.
pub(crate) fn about_prefix(command: &str, prefix: &str) -> Result<String, Error> {
    if prefix.is_empty() { Ok(format!("{command}\n")) } else { about_lock(command, prefix) }
}

/// The reply `1`.
pub(crate) fn expect_one(reply: &str) -> Result<(), Error> {
    if reply == "1" { Ok(()) } else { Err(Error::Unexpected(reply.to_owned())) }
}

/// Cancel-safe.
pub(crate) async fn when_lost(mut lost: watch::Receiver<Option<Lost>>) -> Lost {
    let lost = lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
    lost.unwrap_or_else(ended_with_runtime)
}

pub(crate) fn ended_with_runtime() -> Lost {
    Lost::new("the program's runtime ended", None)
}

/// One grant on a connection, of one lock or several. Dropped, it is released.
#[derive(Debug)]
pub(crate) struct HeldLock {
    pub driver: DriverHandle,
    pub names: Names,
    pub fencing_token: u64,
    is_released: bool,
}

impl HeldLock {
    pub(crate) fn new(driver: DriverHandle, names: Names, fencing_token: u64) -> Self {
        Self { driver, names, fencing_token, is_released: false }
    }

    pub(crate) fn release(&mut self, reply: Option<oneshot::Sender<Result<String, Error>>>) {
        self.is_released = true;
        self.driver.send(self.names.release(), Pending::Release(reply));
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if !self.is_released {
            self.release(None);
        }
    }
}
