//! What a leader knows of the relays of its term, and what it has promised them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use getlockd_cluster::{moment::Moment, record::Leader, term::Term};
use subtle::ConstantTimeEq;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{frame::TermLeft, introduction::Pass};
use crate::{
    core::{
        client_info::Wire,
        sync::{Rank, plain::Guarded},
    },
    net::{Admit, SocketGuard},
};

/// How often it is looked whether all relays have cut.
const LOOK: Duration = Duration::from_millis(10);

/// The relays of one term.
pub struct Relays {
    term: Arc<Term>,
    leader: Arc<Leader>,
    /// Where relayed connections enter.
    entrances: Vec<(Wire, Arc<dyn Admit>)>,
    /// By the process.
    nodes: Guarded<HashMap<u64, RelayNode>>,
    cut: CancellationToken,
    /// Only clients of HTTP are let in, who may have leases to renew.
    is_draining: AtomicBool,
}

/// One process that relays.
#[derive(Debug)]
struct RelayNode {
    node: Arc<str>,
    /// Of the sockets that it relays.
    guard: Arc<SocketGuard>,
    /// How many control connections it has.
    controls: usize,
    /// When it asked last.
    asked: Option<Moment>,
    /// Until when its clients may live, by this machine's clocks.
    promised: Moment,
    has_cut: bool,
}

/// A relay, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayRow {
    /// The name of its node.
    pub node: Arc<str>,
    /// How long ago it asked whether the term goes on.
    pub asked: Option<Duration>,
    /// How many connections it relays.
    pub relayed: usize,
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relays").field("term", &self.term).field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Relays {
    /// Those of the term that `leader` has begun; none so far.
    pub fn new(term: Arc<Term>, leader: Arc<Leader>, entrances: Vec<(Wire, Arc<dyn Admit>)>) -> Arc<Self> {
        let nodes = Guarded::new(Rank::Relays, HashMap::new());
        let is_draining = AtomicBool::new(false);
        Arc::new(Self { term, leader, entrances, nodes, cut: CancellationToken::new(), is_draining })
    }

    /// How long ago a relay asked last whether the term goes on; none if none has.
    pub fn last_asked(&self) -> Option<Duration> {
        let now = Moment::now();
        self.nodes.lock().values().filter_map(|node| Some(node.asked?.elapsed_at_most(now))).min()
    }

    /// All of them.
    pub fn rows(&self) -> Vec<RelayRow> {
        let now = Moment::now();
        let nodes = self.nodes.lock();
        let row = |node: &RelayNode| RelayRow {
            node: node.node.clone(),
            asked: node.asked.map(|asked| asked.elapsed_at_most(now)),
            relayed: node.guard.open(),
        };
        let mut rows: Vec<_> = nodes.values().map(row).collect();
        drop(nodes);
        rows.sort_by(|a, b| a.node.cmp(&b.node));
        rows
    }

    /// Tells all relays to cut their clients, and resolves when each has answered that it has, or when what it was
    /// promised is over. To be called when the term is shut, so that nothing more is promised.
    ///
    /// Cancel-safe: the relays are told all the same, and it can be called again.
    pub async fn cut_all(&self) {
        self.cut.cancel();
        while self.waits(Moment::now()) {
            sleep(LOOK).await;
        }
    }

    fn waits(&self, now: Moment) -> bool {
        self.nodes.lock().values().any(|node| !node.has_cut && !node.is_over(now))
    }

    /// Cancelled when relays are to be told to cut.
    pub(super) fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    pub(super) fn term(&self) -> u64 {
        self.term.number()
    }

    pub(super) fn keepalive(&self) -> Duration {
        self.leader.keepalive
    }

    /// From now on relays park their new clients, but for those of HTTP, who may have leases to renew and release.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    pub(super) fn entrance(&self, wire: Wire) -> Option<&Arc<dyn Admit>> {
        if self.is_draining.load(Ordering::SeqCst) && wire != Wire::Http {
            return None;
        }
        self.entrances.iter().find(|(of, _)| *of == wire).map(|(_, entrance)| entrance)
    }

    /// Whether a relay has seen this very term, and its secret.
    pub(super) fn lets_in(&self, pass: &Pass) -> bool {
        let knows_secret = bool::from(pass.secret.ct_eq(self.leader.secret.as_bytes()));
        knows_secret && pass.term == self.term.number() && !self.term.is_shut()
    }

    /// The guard of a relay's sockets.
    pub(super) fn guard(&self, pass: &Pass) -> Arc<SocketGuard> {
        self.with(pass, |node| node.guard.clone())
    }

    /// A relay has a control connection, for as long as the answer lives.
    pub(super) fn control(self: &Arc<Self>, pass: Pass) -> Promises {
        self.with(&pass, |node| node.controls += 1);
        Promises { relays: self.clone(), pass }
    }

    fn with<T>(&self, pass: &Pass, then: impl FnOnce(&mut RelayNode) -> T) -> T {
        let now = Moment::now();
        let mut nodes = self.nodes.lock();
        if !nodes.contains_key(&pass.process) {
            nodes.retain(|_, node| node.controls > 0 || node.guard.open() > 0 || !node.is_over(now));
        }
        then(nodes.entry(pass.process).or_insert_with(|| RelayNode {
            node: pass.node.clone(),
            guard: SocketGuard::new(self.term.clone()).0,
            controls: 0,
            asked: None,
            promised: Moment::default(),
            has_cut: false,
        }))
    }
}

impl RelayNode {
    /// Whether what was promised is over.
    fn is_over(&self, now: Moment) -> bool {
        now.boot >= self.promised.boot && now.raw >= self.promised.raw
    }
}

/// What one relay is promised on its control connection.
#[derive(Debug)]
pub(super) struct Promises {
    relays: Arc<Relays>,
    pass: Pass,
}

impl Promises {
    /// The answer to a question.
    pub(super) fn answer(&self, number: u64) -> TermLeft {
        let (term, keepalive) = (self.relays.term.number(), self.relays.leader.keepalive);
        self.relays.with(&self.pass, |node| {
            // Under the lock: a look after the term was shut sees this promise, or none is made.
            let now = Moment::now();
            let left = self.relays.term.left(now);
            node.asked = Some(now);
            if !left.is_zero() {
                // Its clock may be slower.
                node.promised = now.after(left + left / 50);
                node.has_cut = false;
            }
            TermLeft { number, term, left, keepalive }
        })
    }

    /// It has cut its clients.
    pub(super) fn has_cut(&self) {
        self.relays.with(&self.pass, |node| node.has_cut = true);
    }
}

impl Drop for Promises {
    fn drop(&mut self) {
        self.relays.with(&self.pass, |node| node.controls -= 1);
    }
}
