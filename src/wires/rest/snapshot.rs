//! A snapshot as JSON. It has moments and no ages, so that it is the same to the byte for as long as nothing changes.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::time::Instant;

use crate::{
    core::{
        budget::OWN_MEMORY,
        command::Stats,
        lock::{Hold, LockSnapshot, WaiterInfo},
        session::{SessionSnapshot, ShownName, Snapshot},
    },
    wires::web::millis,
};

/// Converts moments to milliseconds since 1970, always the same for the same moment, however the system's clock is set
/// meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    wall: Duration,
    instant: Instant,
}

impl WallClock {
    pub(super) fn start() -> Self {
        Self {
            wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            instant: Instant::now(),
        }
    }

    pub(super) fn at(&self, moment: Instant) -> u64 {
        let before = self.instant.saturating_duration_since(moment);
        millis(self.wall.saturating_sub(before) + moment.saturating_duration_since(self.instant))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SnapshotJson<'a> {
    version: &'static str,
    started_at: u64,
    stopping: bool,
    totals: TotalsJson,
    /// How many locks match, of which these are the first.
    matching: usize,
    locks: Vec<SnapshotLockJson<'a>>,
    sessions: BTreeMap<u32, SnapshotSessionJson<'a>>,
}

impl<'a> SnapshotJson<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, clock: WallClock, started_at: u64) -> Self {
        let Snapshot { stats, is_stopping, locks, total, sessions } = snapshot;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            stopping: *is_stopping,
            totals: TotalsJson::of(stats),
            matching: *total,
            locks: locks.iter().map(|lock| SnapshotLockJson::of(lock, clock)).collect(),
            sessions: sessions
                .iter()
                .map(|session| (session.id.0, SnapshotSessionJson::of(session, clock)))
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct TotalsJson {
    sessions: usize,
    locks: usize,
    waiters: usize,
    grants: u64,
    timeouts: u64,
    deadlocks: u64,
}

impl TotalsJson {
    fn of(stats: &Stats) -> Self {
        let Stats { sessions, table, timeouts, .. } = stats;
        Self {
            sessions: *sessions,
            locks: table.locks,
            waiters: table.waiters,
            grants: table.grants,
            timeouts: *timeouts,
            deadlocks: table.deadlocks,
        }
    }
}

#[derive(Serialize)]
struct SnapshotLockJson<'a> {
    name: &'a str,
    /// How many hold it, and the first of them.
    holders: usize,
    held: Vec<SnapshotHolderJson>,
    /// How many wait for it, and the first of them.
    waiters: usize,
    queue: Vec<SnapshotWaiterJson>,
}

impl<'a> SnapshotLockJson<'a> {
    fn of(lock: &'a LockSnapshot, clock: WallClock) -> Self {
        let LockSnapshot { name, holders, queue } = lock;
        Self {
            name: name.as_str(),
            holders: holders.total,
            held: holders.rows.iter().map(|holder| SnapshotHolderJson::of(holder, clock)).collect(),
            waiters: queue.total,
            queue: queue.rows.iter().map(|waiter| SnapshotWaiterJson::of(waiter, clock)).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotHolderJson {
    session: u32,
    mode: &'static str,
    fencing_token: u64,
    acquired_at: u64,
}

impl SnapshotHolderJson {
    fn of(holder: &Hold, clock: WallClock) -> Self {
        let Hold { session, mode, token, since } = *holder;
        Self { session: session.0, mode: mode.as_str(), fencing_token: token, acquired_at: clock.at(since) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotWaiterJson {
    session: u32,
    mode: &'static str,
    waits_since: u64,
}

impl SnapshotWaiterJson {
    fn of(waiter: &WaiterInfo, clock: WallClock) -> Self {
        let WaiterInfo { session, mode, since, .. } = *waiter;
        Self { session: session.0, mode: mode.as_str(), waits_since: clock.at(since) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotSessionJson<'a> {
    wire: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    started_at: u64,
    /// Since when its client has sent no command.
    idle_since: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<usize>,
    /// None for a session that needs no more than its own struct.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<usize>,
    may_end: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'a str>,
}

impl<'a> SnapshotSessionJson<'a> {
    fn of(session: &'a SessionSnapshot, clock: WallClock) -> Self {
        let SessionSnapshot { origin, since, holds, memory, may_end, waits_for, client_info, .. } = session;
        Self {
            wire: origin.wire.as_str(),
            peer: origin.peer.to_string(),
            client: client_info.client(),
            user: client_info.user(),
            note: client_info.note(),
            started_at: clock.at(*since),
            idle_since: clock.at(client_info.last_command),
            expires_at: client_info.expires.map(|expires| clock.at(expires)),
            holds: *holds,
            memory: memory.filter(|bytes| *bytes > OWN_MEMORY),
            may_end: *may_end,
            waits_for: waits_for.as_ref().map(ShownName::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_is_written_the_same_each_time() {
        let clock = WallClock::start();
        let moment = Instant::now() + Duration::from_millis(1500);
        let before = clock.at(moment - Duration::from_secs(1));
        assert_eq!(clock.at(moment) - before, 1000);
        assert_eq!(clock.at(moment), clock.at(moment));
    }
}
