//! One term of this node, from the leases that it finds to the last client that is told.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use getlockd_cluster::{
    driver::{Numbers, Tenure},
    moment::Moment,
    record,
};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{NodeShared, view::TermView};
use crate::{
    core::{
        client_info::Wire,
        lease::{Durability, Secret, Unwritten},
        store::{BootMoment, DurableLease, Floors, Store, StoreWriter},
    },
    net::{Accepted, Farewells, LeaderTerm, Relays, SocketGuard},
    server::instance::{Instance, Start},
    store::{self, ClusterStore},
};

/// How long connections may take to close once a term is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long clients may take to close after a drain. Those that do not are closed: the next leader waits.
const PARTING: Duration = Duration::from_millis(50);

/// How long a node that was cut off from all others leads on before it may hand over again.
const ISOLATION_PAUSE: Duration = Duration::from_mins(5);

/// A term that serves.
#[derive(Debug)]
pub(super) struct ServedTerm {
    pub instance: Instance,
    pub tenure: Arc<Tenure>,
    pub relays: Arc<Relays>,
    pub guard: Arc<SocketGuard>,
    writer: Arc<StoreWriter>,
    /// Nothing new is granted, and all leases are written.
    is_draining: Arc<AtomicBool>,
    /// The term is over: connections that are still open are dropped.
    over: CancellationToken,
}

impl ServedTerm {
    /// Whether new connections of a wire are served. Holders of leases connect again up to the end of a drain, to renew and
    /// release them. All others wait for the next leader.
    pub fn takes(&self, wire: Wire) -> bool {
        let is_over = self.over.is_cancelled() || self.tenure.term.closing().is_cancelled();
        !is_over && (wire == Wire::Http || !self.is_draining())
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Serves a connection until its end or that of the term. Dropped, the future closes the connection.
    pub fn serve(&self, wire: Wire, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let accepted = accepted.guarded_by(&self.guard);
        let (tasks, http_tasks, over) =
            (self.instance.tasks(), self.instance.http_tasks(), self.over.clone().cancelled_owned());
        match wire {
            Wire::Line => {
                Box::pin(UntilOver { serving: tasks.track_future(self.instance.serve_line(accepted)), over })
            }
            Wire::MySql => {
                Box::pin(UntilOver { serving: tasks.track_future(self.instance.serve_mysql(accepted)), over })
            }
            Wire::Http | Wire::Grpc => {
                let serving = http_tasks.track_future(self.instance.serve_http(accepted));
                Box::pin(UntilOver { serving, over })
            }
        }
    }
}

pin_project! {
    /// What is served until the term is over. It is written by hand, since the future of an async function would be twice as
    /// large.
    struct UntilOver<F> {
        #[pin]
        serving: F,
        #[pin]
        over: WaitForCancellationFutureOwned,
    }
}

impl<F: Future<Output = ()>> Future for UntilOver<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.serving.poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => this.over.poll(cx),
        }
    }
}

/// Leads for one term.
///
/// Not cancel-safe: dropped, clients of the term are not told of its end before the guard shuts.
pub(super) async fn lead(node: Arc<NodeShared>, tenure: Arc<Tenure>) {
    let (guard, farewells) = SocketGuard::new(tenure.term.clone());
    let Some(leading) = begin(&node, &tenure, guard).await else {
        tenure.restore_failed();
        return;
    };
    let closing = tenure.term.closing();
    tokio::select! {
        () = tenure.serving() => {}
        () = closing.cancelled() => {}
    }
    leading.instance.serve().await;
    node.serves(&leading);
    tokio::select! {
        biased;
        () = closing.cancelled() => return step_down(&node, &leading).await,
        () = tenure.draining() => {}
        () = hand_over_if_isolated(&node, &leading) => {}
    }
    tokio::select! {
        biased;
        () = hand_over(&node, &leading, farewells) => {}
        () = lost_while_draining(&leading) => step_down(&node, &leading).await,
    }
}

/// Hands over if the others, which the engine hears of, do not hear this node: its clients may be cut off from it as well.
/// Resolves when the drain begins.
///
/// Cancel-safe.
async fn hand_over_if_isolated(node: &NodeShared, leading: &ServedTerm) {
    let (ttl, since) = (leading.tenure.leader.ttl, Instant::now());
    loop {
        sleep(ttl).await;
        let heard = leading.relays.last_asked().unwrap_or_else(|| since.elapsed());
        let (now, last) = (Moment::now().boot, Duration::from_secs(node.isolated.load(Ordering::Relaxed)));
        let may_again = last.is_zero() || now.saturating_sub(last) > ISOLATION_PAUSE;
        if heard > ttl * 2 && node.hears_of_others(ttl) && may_again {
            tracing::warn!(
                "no other node has asked this leader for {heard:?}, although they run: handing over"
            );
            node.isolated.store(now.as_secs().max(1), Ordering::Relaxed);
            node.cluster.drain(false, None);
            return leading.tenure.draining().await;
        }
    }
}

/// Resolves when the term ends before the drain is over.
///
/// Cancel-safe.
async fn lost_while_draining(leading: &ServedTerm) {
    leading.tenure.term.closing().cancelled().await;
    if leading.over.is_cancelled() {
        // It was this node that ended it.
        std::future::pending::<()>().await;
    }
}

/// Takes up the leases that the engine has; none if they cannot all be read.
///
/// Cancel-safe: dropped, nothing serves.
async fn begin(
    node: &Arc<NodeShared>,
    tenure: &Arc<Tenure>,
    guard: Arc<SocketGuard>,
) -> Option<Arc<ServedTerm>> {
    let stored = store::read(tenure.take_leases());
    let stored = stored.inspect_err(|error| {
        tracing::error!(%error, "a lease of the cluster cannot be read; this node must not lead");
    });
    let (stored, node, tenure) = (stored.ok()?, node.clone(), tenure.clone());
    // With many leases it takes a second, in which this thread serves others.
    let begun = tokio::task::spawn_blocking(move || restore(&node, tenure, guard, stored));
    let leading = begun.await.ok().flatten()?;
    let ServedTerm { instance, tenure, writer, .. } = &*leading;
    let numbers = instance.service().clone();
    let store: Arc<dyn Store> = Arc::new(ClusterStore(tenure.clone()));
    tokio::spawn(writer.clone().run(store, Arc::new(move || numbers.last_numbers())));
    tokio::spawn(move_ceiling(tenure.clone(), writer.clone()));
    let (last, sessions) = (instance.service().clone(), instance.service().clone());
    tenure.restored(Numbers {
        last: Box::new(move || {
            let Floors { token, session } = last.last_numbers();
            record::Floors { token, session }
        }),
        // All of them: it is asked each tick, and closing that begins too early for some is safe.
        holders: Box::new(move || sessions.registry().count()),
    });
    Some(leading)
}

/// The lock table of a term, with the leases that go on.
fn restore(
    node: &Arc<NodeShared>,
    tenure: Arc<Tenure>,
    guard: Arc<SocketGuard>,
    stored: Vec<DurableLease>,
) -> Option<Arc<ServedTerm>> {
    let (writer, start, is_draining) = start(node, &tenure, &stored)?;
    let instance = Instance::new(node.config.clone(), start);
    let instance = instance.inspect_err(|error| tracing::error!(%error, "cannot serve")).ok()?;
    let found = stored.len();
    let restored = instance.leases().restore(stored, BootMoment::now());
    tracing::info!(restored, dropped = found - restored, term = tenure.term.number(), "leases restored");
    let entrances = node.entrances.get().map(|entrances| entrances.0.clone()).unwrap_or_default();
    let relays = Relays::new(tenure.term.clone(), tenure.leader.clone(), entrances);
    let over = CancellationToken::new();
    Some(Arc::new(ServedTerm { instance, tenure, relays, guard, writer, is_draining, over }))
}

/// Where the lock table of a term begins, what writes its leases, and whether it drains.
fn start(
    node: &Arc<NodeShared>,
    tenure: &Arc<Tenure>,
    stored: &[DurableLease],
) -> Option<(Arc<StoreWriter>, Start, Arc<AtomicBool>)> {
    let writer = StoreWriter::new(stored.iter().cloned(), floors(*tenure.ceiling.borrow()));
    let is_draining = Arc::new(AtomicBool::new(false));
    // Nobody else can grant the lock of a lease that ends before the term. From the drain on, a successor may come earlier.
    let (drains, term) = (is_draining.clone(), tenure.term.clone());
    let unwritten = Unwritten::Within(Arc::new(move || {
        if drains.load(Ordering::SeqCst) { Duration::ZERO } else { term.left(Moment::now()) }
    }));
    let request_key: Secret = tenure.leader.request_key.parse().ok()?;
    let start = Start {
        floors: floors(tenure.first),
        durability: Some(Durability { writer: writer.clone(), unwritten, request_key }),
        term: Some(LeaderTerm { term: tenure.term.clone(), takeover_delay: tenure.leader.takeover_delay }),
        cluster: Some(Arc::new(TermView::new(node, tenure))),
    };
    Some((writer, start, is_draining))
}

fn floors(record::Floors { token, session }: record::Floors) -> Floors {
    Floors { token, session }
}

/// Numbers go on as beats are acknowledged.
///
/// Cancel-safe.
async fn move_ceiling(tenure: Arc<Tenure>, writer: Arc<StoreWriter>) {
    let mut ceiling = tenure.ceiling.clone();
    while ceiling.changed().await.is_ok() {
        writer.set_ceiling(floors(*ceiling.borrow_and_update()));
    }
}

/// The term ends before its time: clients are told as long as the guard lets through, holders first, and all connections
/// close. What the engine has goes on there: the writer ends first.
///
/// Not cancel-safe: dropped, some connections go on, and the guard lets nothing through.
async fn step_down(node: &NodeShared, leading: &ServedTerm) {
    let ServedTerm { instance, tenure, writer, over, .. } = leading;
    node.no_longer(leading);
    writer.close(false);
    // First: what a holder gives back is granted to nobody. A client that was cut off may trust its lock up to the end of
    // the term.
    instance.service().registry().drain();
    instance.service().registry().end_holders_first();
    instance.http_stop().cancel();
    instance.tasks().close();
    instance.http_tasks().close();
    let all_closed = async {
        instance.tasks().wait().await;
        instance.http_tasks().wait().await;
    };
    let _ = timeout(tenure.term.left(Moment::now()).max(LAST_WORDS), all_closed).await;
    over.cancel();
}

/// The term ends in good order: holders get the time of the drain, and the seat is resigned once all that was promised has
/// ended.
///
/// Not cancel-safe: dropped, the seat is not resigned, and a successor waits for T.
async fn hand_over(node: &NodeShared, leading: &ServedTerm, mut farewells: Farewells) {
    let ServedTerm { instance, tenure, relays, guard, writer, is_draining, over } = leading;
    let (drain, leases) = (instance.config().drain, instance.leases());
    tracing::info!(?drain, sessions = instance.service().registry().count(), "draining");
    // First: a lease that is promised from here on is written.
    is_draining.store(true, Ordering::SeqCst);
    relays.drain();
    let (is_drained, ()) = tokio::join!(instance.drain(node.at_once.cancelled()), leases.store_all());
    guard.say_farewell();
    writer.close(leases.all_stored());
    let unwritten = leases.unwritten_until();
    node.no_longer(leading);
    instance.end(is_drained, PARTING).await;
    over.cancel();
    tenure.drained();
    // From there on nothing more is promised.
    tenure.term.closing().cancelled().await;
    tokio::join!(relays.cut_all(), farewells.all_heard());
    if let Some(ends) = unwritten {
        sleep_until(ends).await;
    }
    tenure.all_told();
}
