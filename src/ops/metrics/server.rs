//! The metrics of a server: its locks, its clients, and what it refuses.

use std::{fmt, sync::Arc, time::SystemTime};

use super::encoder::{Encoder, Labels};
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

/// The sources of the metrics.
#[derive(Debug)]
pub struct Sources {
    /// The sessions.
    pub service: Arc<LockService>,
    /// The leases.
    pub leases: Arc<Leases>,
    /// The limiter of each listener, which counts its connections.
    pub limiters: Vec<Arc<Limiter>>,
    /// The quota of connections.
    pub connections: Arc<Quota>,
    /// When the server started.
    pub started: SystemTime,
}

impl Sources {
    pub(super) fn encode(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        self.locks(encoder)?;
        waits_and_holds(self.service.recorder(), encoder)?;
        self.connections(encoder)?;
        self.refused(encoder)?;
        self.store(encoder)
    }

    fn locks(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let stats = self.service.stats();
        let Counters { locks, waiters, grants, shared_grants, permit_grants, deadlocks } = stats.table;
        encoder.gauge("getlockd_locks", "Locks that are currently held", locks)?;
        let places = &self.service.shared().locks;
        let help = "Locks that count towards getlockd_max_locks: all but the first few of each session, and the room \
                    that sessions have reserved for more";
        encoder.gauge("getlockd_counted_locks", help, places.count())?;
        encoder.gauge(
            "getlockd_max_locks",
            "Limit of counted locks, of all sessions together (--max-locks)",
            places.limit(),
        )?;
        encoder.gauge("getlockd_waiters", "Sessions that wait for a lock", waiters)?;
        encoder.gauge("getlockd_leases", "Active leases", self.leases.count())?;
        let max_leases = self.leases.quota().limit();
        encoder.gauge(
            "getlockd_max_leases",
            "Limit of leases, including requests that wait, and of Hold streams (--max-leases)",
            max_leases,
        )?;
        let exclusive_grants = grants.saturating_sub(shared_grants + permit_grants);
        let grants = [("exclusive", exclusive_grants), ("shared", shared_grants), ("permit", permit_grants)];
        let help = "Grants by mode: first grants and upgrades, without repeated grants to the same session; several locks \
                    that are granted together are one";
        encoder.counters("getlockd_grants", help, "mode", grants)?;
        encoder.counter(
            "getlockd_timeouts",
            "Requests for a lock that were not granted in time",
            stats.timeouts,
        )?;
        let help = "Memory kept for all connections, in bytes, beyond the fixed share of each";
        encoder.gauge("getlockd_memory_bytes", help, self.service.memory().used())?;
        encoder.gauge(
            "getlockd_max_memory_bytes",
            "Limit of getlockd_memory_bytes (--max-memory)",
            self.service.memory().limit(),
        )?;
        let help = "Requests refused because waiting would deadlock";
        encoder.counter("getlockd_deadlocks", help, deadlocks)?;
        let events = self.service.events();
        let help = "Prefixes that clients watch, each counted once for each client";
        encoder.gauge("getlockd_watchers", help, events.watchers())?;
        let help = "Events that watching clients have missed, because they did not read in time";
        encoder.counter("getlockd_events_missed", help, events.missed())?;
        let help = "Sessions ended by KILL";
        encoder.counter("getlockd_kills", help, self.service.recorder().kills())
    }

    fn store(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let Some(writer) = self.leases.writer() else { return Ok(()) };
        encoder.gauge("getlockd_durable_leases", "Leases in the store (--store)", writer.count())?;
        let help = "1 while the lease store can be written, 0 while it cannot";
        encoder.gauge("getlockd_store_writable", help, u64::from(writer.is_good()))?;
        let stats = writer.stats();
        let help = "Time of a commit of the lease store, in seconds";
        encoder.histogram("getlockd_store_commit_seconds", help, &stats.commits())?;
        let help = "Changes committed to the lease store; per commit this is the size of a batch";
        encoder.counter("getlockd_store_changes", help, stats.changes())?;
        encoder.counter("getlockd_store_errors", "Commits of the lease store that failed", stats.errors())
    }

    fn connections(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let limiters: Vec<_> =
            self.limiters.iter().map(|limiter| (limiter.wire().as_str(), limiter.counts())).collect();
        let open = limiters.iter().map(|(wire, counts)| (*wire, counts.open));
        encoder.gauges("getlockd_connections", "Open TCP connections, by port", "wire", open)?;
        let help = "TCP connections accepted, by port";
        let accepted = limiters.iter().map(|(wire, counts)| (*wire, counts.accepted));
        encoder.counters("getlockd_connections_accepted", help, "wire", accepted)?;
        let help = "Limit of open TCP connections, of all ports together (--max-connections)";
        encoder.gauge("getlockd_max_connections", help, self.connections.limit())?;
        let mut sessions = self.service.registry().count_by_wire();
        for wire in limiters.iter().map(|(wire, _)| *wire).chain([Wire::Grpc.as_str()]) {
            sessions.entry(wire).or_default();
        }
        let sessions = sessions.into_iter().map(|(wire, count)| (wire, count as u64));
        encoder.gauges(
            "getlockd_sessions",
            "Open sessions, by wire; each lease is a session",
            "wire",
            sessions,
        )
    }

    fn refused(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let recorder = self.service.recorder();
        let limits = Refused::ALL.map(|why| (vec![("reason", why.as_str())], recorder.refusals(why)));
        let help = "Refusals, by reason; for shared limits also by cause: the limit is reached, or one client has its share";
        encoder.labelled_counters("getlockd_refused", help, limits.into_iter().chain(self.quota_exceeded()))
    }

    /// The refusals of each quota, by resource and by cause.
    fn quota_exceeded(&self) -> impl Iterator<Item = (Labels, u64)> {
        let Shared { locks, lists, viewers, watchers, .. } = self.service.shared();
        let places = [&self.connections, self.leases.quota(), locks, viewers, watchers];
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
    let help = "Wait time of requests that had to queue, in seconds, by outcome";
    encoder.histograms("getlockd_wait_seconds", help, "outcome", &waits)?;
    let holds = ReleaseCause::ALL.map(|cause| (cause.as_str(), recorder.holds(cause)));
    let ended = holds.iter().map(|(cause, holds)| (*cause, holds.count()));
    encoder.counters("getlockd_releases", "Holds that ended, by cause", "cause", ended)?;
    let all = holds.iter().fold(Distribution::default(), |all, (_, holds)| all.with(holds));
    encoder.histogram(
        "getlockd_hold_seconds",
        "How long locks were held, in seconds, counted when they are released",
        &all,
    )
}
