//! The numbers of the server, as Prometheus reads them. Nothing is counted here: each scrape reads what
//! is counted where it happens. No label has a lock's name, a user's or an address.

mod encoder;
mod process;
mod text_format;

use std::{fmt, sync::Arc, time::SystemTime};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::{
    encoder::{Encoder, Labels},
    process::{ProcessStats, seconds_since_epoch},
};
use crate::{
    core::{
        client_info::Wire,
        lease::Leases,
        lock::Counters,
        session::{LockService, Shared},
        share::{Quota, QuotaCause, Resource},
        stats::{Distribution, Recorder, Refused, ReleaseCause, WaitOutcome},
    },
    net::Limiter,
};

/// What the numbers are read from.
#[derive(Debug)]
pub struct Sources {
    /// The sessions.
    pub service: Arc<LockService>,
    /// The leases.
    pub leases: Arc<Leases>,
    /// Where connections come in.
    pub limiters: Vec<Arc<Limiter>>,
    /// The places for connections.
    pub connections: Arc<Quota>,
    /// When the server started.
    pub started: SystemTime,
}

/// All metrics of a server.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// Those of these sources.
    pub fn new(sources: Sources) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(sources));
        Self(registry)
    }

    /// As OpenMetrics 1.0 has it. Not for a thread that serves others: it reads files.
    pub fn open_metrics(&self) -> String {
        let mut page = String::new();
        // To write into a string does not fail.
        let _ = text::encode(&mut page, &self.0);
        page
    }

    /// The same in the older format of Prometheus, for those who do not ask for OpenMetrics.
    pub fn text_format(&self) -> String {
        text_format::from_open_metrics(&self.open_metrics())
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut Encoder(encoder);
        self.server(encoder)?;
        self.locks(encoder)?;
        waits_and_holds(self.service.recorder(), encoder)?;
        self.connections(encoder)?;
        self.refused(encoder)?;
        ProcessStats::read().map_or(Ok(()), |process| process.encode(self.started, encoder))
    }
}

impl Sources {
    fn server(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let version = [(env!("CARGO_PKG_VERSION"), 1)];
        encoder.gauges("getlockd_build_info", "The version that runs", "version", version)?;
        let started = seconds_since_epoch(self.started);
        encoder.gauge(
            "getlockd_start_time_seconds",
            "When the server started, in seconds since 1970",
            started,
        )
    }

    fn locks(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let stats = self.service.stats();
        let Counters { locks, waiters, grants, shared_grants, deadlocks } = stats.table;
        encoder.gauge("getlockd_locks", "Locks that are held", locks)?;
        let places = &self.service.shared().locks;
        let help = "Locks that count towards getlockd_max_locks: without the first few of each session, and with \
                    those that a session has room for";
        encoder.gauge("getlockd_counted_locks", help, places.count())?;
        encoder.gauge("getlockd_max_locks", "The most locks that count, of all sessions", places.limit())?;
        encoder.gauge("getlockd_waiters", "Sessions in a queue", waiters)?;
        encoder.gauge("getlockd_leases", "Leases that run", self.leases.count())?;
        let max_leases = self.leases.quota().limit();
        encoder.gauge(
            "getlockd_max_leases",
            "The most leases, with those that wait, and Hold streams",
            max_leases,
        )?;
        let grants = [("exclusive", grants.saturating_sub(shared_grants)), ("shared", shared_grants)];
        let help = "First takes and upgrades, not those of a lock that the session held already";
        encoder.counters("getlockd_grants", help, "mode", grants)?;
        encoder.counter("getlockd_timeouts", "Requests for a lock that were answered 0", stats.timeouts)?;
        let help = "Bytes that all connections make the server keep, beyond what each has for itself";
        encoder.gauge("getlockd_memory_bytes", help, self.service.memory().used())?;
        encoder.gauge(
            "getlockd_max_memory_bytes",
            "The most that they may be",
            self.service.memory().limit(),
        )?;
        let help = "Requests refused since their wait would have closed a cycle";
        encoder.counter("getlockd_deadlocks", help, deadlocks)?;
        let help = "Sessions that KILL has told to end";
        encoder.counter("getlockd_kills", help, self.service.recorder().kills())
    }

    fn connections(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let limiters: Vec<_> =
            self.limiters.iter().map(|limiter| (limiter.wire().as_str(), limiter.counts())).collect();
        let open = limiters.iter().map(|(wire, counts)| (*wire, counts.open));
        encoder.gauges("getlockd_connections", "TCP connections that are open, by port", "wire", open)?;
        let help = "TCP connections that were accepted, by port";
        let accepted = limiters.iter().map(|(wire, counts)| (*wire, counts.accepted));
        encoder.counters("getlockd_connections_accepted", help, "wire", accepted)?;
        let help = "The most TCP connections at a time, of all ports";
        encoder.gauge("getlockd_max_connections", help, self.connections.limit())?;
        let mut sessions = self.service.registry().count_by_wire();
        for wire in limiters.iter().map(|(wire, _)| *wire).chain([Wire::Grpc.as_str()]) {
            sessions.entry(wire).or_default();
        }
        let sessions = sessions.into_iter().map(|(wire, count)| (wire, count as u64));
        encoder.gauges("getlockd_sessions", "Sessions that live, with those of leases", "wire", sessions)
    }

    fn refused(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let recorder = self.service.recorder();
        let limits = Refused::ALL.map(|why| (vec![("reason", why.as_str())], recorder.refusals(why)));
        let help =
            "What was refused, and why; of what is shared also whether all was taken or one had its share";
        encoder.labelled_counters("getlockd_refused", help, limits.into_iter().chain(self.quota_exceeded()))
    }

    /// How often there was no place, by what it was for and by the cause.
    fn quota_exceeded(&self) -> impl Iterator<Item = (Labels, u64)> {
        let Shared { locks, lists, viewers, .. } = self.service.shared();
        let places = [&self.connections, self.leases.quota(), locks, viewers];
        let places = places.into_iter().map(|places| (places.resource(), places.refusals()));
        places.chain([(lists.resource(), lists.refusals())]).flat_map(|(what, refusals)| {
            let labels = move |cause: QuotaCause| vec![("reason", what.as_str()), ("cause", cause.as_str())];
            let is_known = move |cause| cause != QuotaCause::Unauthenticated || what == Resource::Connections;
            let refusals = refusals.into_iter().filter(move |(cause, _)| is_known(*cause));
            refusals.map(move |(cause, count)| (labels(cause), count))
        })
    }
}

fn waits_and_holds(recorder: &Recorder, encoder: &mut Encoder<'_>) -> fmt::Result {
    let waits = WaitOutcome::ALL.map(|outcome| (outcome.as_str(), recorder.waits(outcome)));
    let help = "How long those waited who had to queue, and how their wait ended";
    encoder.histograms("getlockd_wait_seconds", help, "outcome", &waits)?;
    let holds = ReleaseCause::ALL.map(|cause| (cause.as_str(), recorder.holds(cause)));
    let ended = holds.iter().map(|(cause, holds)| (*cause, holds.count()));
    encoder.counters("getlockd_releases", "Holds that ended, and why", "cause", ended)?;
    let all = holds.iter().fold(Distribution::default(), |all, (_, holds)| all.with(holds));
    encoder.histogram("getlockd_hold_seconds", "How long locks were held, once they are free", &all)
}
