//! The relay's side: the leader of one term, for as long as it is certain that it leads, and the connections to it.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use getlockd_cluster::{moment::Moment, record::Leader, term::Term};
use getlockd_proto::keepalive::Keepalive;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::rustls::{self, ClientConfig};
use tokio_util::sync::CancellationToken;

use super::{
    CutCause, RelayStats,
    frame::{FrameReader, FromLeader, FromRelay, TermLeft},
    hop::{self, Hop},
    introduction::{Introduction, Pass},
    pump::Pump,
};
use crate::{
    core::client_info::Wire,
    net::{Accepted, Farewells, Proxied, SocketGuard},
};

/// How often the clocks are looked at. Timers of the runtime stop while the machine sleeps.
const TICK: Duration = Duration::from_millis(50);

/// How long before the end clients are cut, and how much earlier for each of them.
const CUT_BEFORE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_micros(25));

/// A node, as a relay.
#[derive(Debug)]
pub struct Relay {
    node: Arc<str>,
    process: u64,
    stats: Arc<RelayStats>,
    /// The highest term that was seen. Nothing of a lower one is believed.
    highest: AtomicU64,
}

/// Why there is no way to the leader.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It cannot be reached, or it is another node, or its certificate is not the one that the seat names.
    #[error("cannot reach the leader at {0}: {1}")]
    Unreachable(String, io::Error),
    /// It does not serve, or not under this term.
    #[error("the leader at {0} does not serve under this term")]
    NotServing(String),
    /// A higher term was seen.
    #[error("term {0} is over")]
    Over(u64),
    /// The pin cannot be used.
    #[error("TLS cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// A connection of which nothing was passed on: it can be parked.
#[derive(Debug)]
pub struct Returned {
    /// As it was accepted.
    pub accepted: Accepted,
    /// Why.
    pub error: UpstreamError,
}

impl Relay {
    /// `process` tells this process from others of the same name: a random number.
    pub fn new(node: &str, process: u64) -> Arc<Self> {
        Arc::new(Self { node: node.into(), process, stats: Arc::default(), highest: AtomicU64::new(0) })
    }

    /// The counts.
    pub fn stats(&self) -> &Arc<RelayStats> {
        &self.stats
    }

    /// This term stands in the seat, or stood there: nothing of a lower one is believed from now on.
    pub fn saw(&self, term: u64) {
        self.highest.fetch_max(term, Ordering::AcqRel);
    }

    /// Connects to the leader of a term, and asks it how long the term runs.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`UpstreamError`]: worth another try while the seat says the same.
    pub async fn connect(
        self: &Arc<Self>,
        term: u64,
        leader: Arc<Leader>,
    ) -> Result<Arc<Upstream>, UpstreamError> {
        self.saw(term);
        let tls = leader.pin.as_deref().map(hop::pinned).transpose()?;
        let route = LeaderRoute { relay: self.clone(), number: term, leader, tls };
        route.check_term()?;
        let mut hop = route.dial(&Introduction::Control(route.pass())).await?;
        let (asked, answer) = timeout(route.patience(), ask(&mut hop))
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| route.unreachable(error))?;
        route.check_term()?;
        if answer.term != term || answer.left.is_zero() {
            return Err(route.not_serving());
        }
        let guarded = Term::held(term, asked.after(answer.left)).counting(self.stats.refused_counter());
        guarded.release();
        let (guard, farewells) = SocketGuard::new(Arc::new(guarded));
        let end = CancellationToken::new();
        let upstream = Arc::new(Upstream {
            route: Arc::new(route),
            guard: guard.clone(),
            keepalive: Arc::new(AtomicU64::new(millis(answer.keepalive))),
            end: end.clone(),
        });
        let control = Control {
            route: upstream.route.clone(),
            guard,
            farewells,
            keepalive: upstream.keepalive.clone(),
            numbers: AtomicU64::new(FIRST),
        };
        tokio::spawn(control.run(hop, end));
        Ok(upstream)
    }
}

/// The number of the first question.
const FIRST: u64 = 1;

/// Asks the first question, and returns when, and the answer.
///
/// Not cancel-safe.
async fn ask(hop: &mut Hop) -> io::Result<(Moment, TermLeft)> {
    let asked = Moment::now();
    hop.write_all(&FromRelay::Ask(FIRST).encode()).await?;
    hop.flush().await?;
    let mut frame = [0; FromLeader::LENGTH];
    hop.read_exact(&mut frame).await?;
    match FromLeader::decode(frame) {
        Some(FromLeader::Left(answer)) if answer.number == FIRST => Ok((asked, answer)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// How a leader is reached.
#[derive(Debug)]
struct LeaderRoute {
    relay: Arc<Relay>,
    number: u64,
    leader: Arc<Leader>,
    tls: Option<Arc<ClientConfig>>,
}

impl LeaderRoute {
    fn check_term(&self) -> Result<(), UpstreamError> {
        let is_highest = self.relay.highest.load(Ordering::Acquire) <= self.number;
        if is_highest { Ok(()) } else { Err(UpstreamError::Over(self.number)) }
    }

    /// How long one step may take.
    fn patience(&self) -> Duration {
        self.leader.ttl * 2 / 5
    }

    fn pass(&self) -> Pass {
        Pass {
            term: self.number,
            secret: self.leader.secret.clone().into_bytes(),
            process: self.relay.process,
            node: self.relay.node.clone(),
        }
    }

    /// A connection on which the leader has welcomed this relay.
    ///
    /// Cancel-safe.
    async fn dial(&self, introduction: &Introduction) -> Result<Hop, UpstreamError> {
        let dial = async {
            let mut hop = hop::connect(&self.leader.address, self.tls.as_ref()).await?;
            hop.write_all(&introduction.encode()?).await?;
            hop.flush().await?;
            let mut frame = [0; FromLeader::LENGTH];
            match hop.read_exact(&mut frame).await {
                Ok(_) if FromLeader::decode(frame) == Some(FromLeader::Welcome(self.number)) => Ok(Some(hop)),
                // It closes what it refuses.
                Ok(_) | Err(_) => Ok(None),
            }
        };
        match timeout(self.patience(), dial).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
            Ok(Some(hop)) => Ok(hop),
            Ok(None) => Err(self.not_serving()),
            Err(error) => Err(self.unreachable(error)),
        }
    }

    fn unreachable(&self, error: io::Error) -> UpstreamError {
        UpstreamError::Unreachable(self.leader.address.clone(), error)
    }

    fn not_serving(&self) -> UpstreamError {
        UpstreamError::NotServing(self.leader.address.clone())
    }
}

/// The leader of one term. Dropped, it cuts its clients.
#[derive(Debug)]
pub struct Upstream {
    route: Arc<LeaderRoute>,
    guard: Arc<SocketGuard>,
    /// What the leader says, in milliseconds.
    keepalive: Arc<AtomicU64>,
    end: CancellationToken,
}

impl Upstream {
    /// Whether the leader is known to lead: readiness.
    pub fn is_good(&self) -> bool {
        !self.closing().is_cancelled()
    }

    /// Cancelled when its clients are cut. It takes no more; the node may connect again, if the seat says the same.
    pub fn closing(&self) -> &CancellationToken {
        self.guard.term().closing()
    }

    /// How long the term runs for certain, as the leader said last.
    pub fn left(&self) -> Duration {
        self.guard.term().left(Moment::now())
    }

    #[cfg(test)]
    pub(super) fn guard_deadline(&self) -> Moment {
        self.guard.term().deadline()
    }

    /// How many connections it relays.
    #[cfg(test)]
    pub fn relayed(&self) -> usize {
        self.guard.open()
    }

    /// Connects a client to the leader. The future that it returns relays the connection to its end; dropped, it closes both
    /// ends. It does not keep this upstream, which may be dropped.
    ///
    /// Cancel-safe: dropped, it closes both ends.
    ///
    /// # Errors
    /// [`Returned`] if the leader cannot be reached. Then nothing was read or written.
    pub async fn relay(
        self: Arc<Self>,
        accepted: Accepted,
        wire: Wire,
    ) -> Result<impl Future<Output = ()> + Send + use<>, Returned> {
        let leader = match self.dial(&accepted, wire).await {
            Ok(leader) => leader,
            Err(error) => return Err(Returned { accepted, error }),
        };
        let (term, counted) = (self.guard.term().clone(), self.route.relay.stats.count_relayed());
        let mut pump = Pump::new(accepted.into_stream().guarded_by(&self.guard), leader, self.keepalive());
        Ok(async move {
            tokio::select! {
                biased;
                () = term.closing().cancelled() => {}
                // By reference: moved, it would have its place twice.
                () = &mut pump => {}
            }
            drop(counted);
        })
    }

    async fn dial(&self, accepted: &Accepted, wire: Wire) -> Result<Hop, UpstreamError> {
        let unreachable = |error| self.route.unreachable(error);
        let client = accepted.stream.tcp();
        let to = client.local_addr().map_err(unreachable)?;
        let connection = Proxied { from: accepted.peer, to };
        let introduction = Introduction::Client(self.route.pass(), wire, connection);
        let leader = tokio::select! {
            biased;
            () = self.closing().cancelled() => return Err(UpstreamError::Over(self.route.number)),
            leader = self.route.dial(&introduction) => leader?,
        };
        // A leader that does not read is alive; one that vanishes is found by the control connection.
        self.keepalive().probe(hop::tcp(&leader)).map_err(unreachable)?;
        self.keepalive().prepare(client).map_err(unreachable)?;
        Ok(leader)
    }

    fn keepalive(&self) -> Keepalive {
        Keepalive(Duration::from_millis(self.keepalive.load(Ordering::Relaxed)))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The control connection, and the end.
struct Control {
    route: Arc<LeaderRoute>,
    guard: Arc<SocketGuard>,
    farewells: Farewells,
    keepalive: Arc<AtomicU64>,
    /// The last question. No number comes twice, on whatever connection.
    numbers: AtomicU64,
}

impl Control {
    /// Keeps the term for as long as the leader says so, and cuts the clients at its end.
    ///
    /// Cancel-safe: dropped, the term ends by itself, and no write is made after it; the clients are not closed.
    async fn run(mut self, hop: Hop, end: CancellationToken) {
        let (cause, hop) = tokio::select! {
            biased;
            () = end.cancelled() => (CutCause::Replaced, None),
            () = self.ends() => (CutCause::Unheard, None),
            hop = self.talk(hop) => (CutCause::HandOver, Some(hop)),
        };
        let (term, stats) = (self.guard.term(), &self.route.relay.stats);
        let relayed = self.guard.open();
        stats.cut(cause, relayed as u64);
        if cause != CutCause::Replaced || relayed > 0 {
            tracing::info!(leader = %self.route.leader.node, term = term.number(), cause = cause.as_str(), "{relayed} relayed connections are cut");
        }
        if hop.is_some() {
            self.guard.say_farewell();
        }
        term.shut();
        if let Some(mut hop) = hop {
            // Behind a client that does not hear it, the leader waits until what it has promised is over.
            let ttl = self.route.leader.ttl;
            if timeout(ttl, self.farewells.all_heard()).await.is_ok() {
                let told = async {
                    hop.write_all(&FromRelay::HasCut.encode()).await?;
                    hop.flush().await?;
                    // Closed before all is read, the connection would be reset, and the leader might not hear it.
                    while hop.read(&mut [0; FromLeader::LENGTH]).await? > 0 {}
                    Ok::<_, io::Error>(())
                };
                let _ = timeout(ttl, told).await;
            }
        }
    }

    /// Resolves shortly before the end of the term.
    ///
    /// Cancel-safe.
    async fn ends(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let relayed = u32::try_from(self.guard.open()).unwrap_or(u32::MAX);
            let before = CUT_BEFORE.0 + CUT_BEFORE.1.saturating_mul(relayed);
            if self.guard.term().left(Moment::now()) <= before {
                return;
            }
        }
    }

    /// Asks again and again. Returns when the leader says that all are to be cut.
    ///
    /// Cancel-safe.
    async fn talk(&self, mut hop: Hop) -> Hop {
        loop {
            match self.ask(&mut hop).await {
                Ok(()) => return hop,
                Err(error) => tracing::debug!(%error, "the control connection has ended; connecting again"),
            }
            hop = loop {
                sleep(TICK).await;
                if let Ok(hop) = self.route.dial(&Introduction::Control(self.route.pass())).await {
                    break hop;
                }
            };
        }
    }

    /// As [`Control::talk`], on one connection.
    ///
    /// Not cancel-safe: the connection cannot be used after it.
    async fn ask(&self, hop: &mut Hop) -> io::Result<()> {
        let mut questions = Questions::default();
        let mut frames = FrameReader::default();
        let mut asks = interval(self.route.leader.ttl / 5);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = asks.tick() => {
                    if questions.unanswered(Moment::now()) > self.route.patience() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
                    questions.ask(number, Moment::now());
                    hop.write_all(&FromRelay::Ask(number).encode()).await?;
                    hop.flush().await?;
                }
                frame = frames.next(hop) => match FromLeader::decode(frame?) {
                    Some(FromLeader::Left(answer)) => self.answered(answer, &mut questions)?,
                    Some(FromLeader::Cut) => return Ok(()),
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                },
            }
        }
    }

    fn answered(&self, answer: TermLeft, questions: &mut Questions) -> io::Result<()> {
        if answer.term != self.route.number || self.route.check_term().is_err() {
            return Err(io::Error::other("another term"));
        }
        if let Some(asked) = questions.answered(answer.number)
            && !answer.left.is_zero()
        {
            self.guard.term().extend(asked.after(answer.left));
            self.keepalive.store(millis(answer.keepalive), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Questions that are not answered: an answer counts from the sending of its own.
#[derive(Debug, Default)]
struct Questions(VecDeque<(u64, Moment)>);

impl Questions {
    fn ask(&mut self, number: u64, now: Moment) {
        self.0.push_back((number, now));
    }

    /// When it was asked; none if it was not, or is answered.
    fn answered(&mut self, number: u64) -> Option<Moment> {
        let at = self.0.iter().position(|(asked, _)| *asked == number)?;
        // Answers come in order.
        self.0.drain(..=at).next_back().map(|(_, asked)| asked)
    }

    /// For how long the oldest has been waiting for its answer.
    fn unanswered(&self, now: Moment) -> Duration {
        self.0.front().map_or(Duration::ZERO, |(_, asked)| asked.elapsed_at_most(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_counts_from_its_own_question() {
        let at = |secs| Moment::default().after(Duration::from_secs(secs));
        let mut questions = Questions::default();
        questions.ask(1, at(1));
        questions.ask(2, at(2));
        assert_eq!(questions.unanswered(at(4)), Duration::from_secs(3));
        assert_eq!(questions.answered(1), Some(at(1)), "not from the second, which was asked later");
        assert_eq!(questions.answered(1), None, "once");
        assert_eq!(questions.answered(3), None, "it was never asked");
        assert_eq!(questions.answered(2), Some(at(2)));
        assert_eq!(questions.unanswered(at(9)), Duration::ZERO);
    }
}
