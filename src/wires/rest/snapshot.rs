//! A snapshot as JSON. It has moments and no ages, so that it is the same to the byte for as long as nothing changes.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::time::Instant;

use crate::{
    core::{
        budget::OWN_MEMORY,
        client_info::MAX_TEXT,
        cluster::{ChangeRow, ClusterStatus, NodeRow},
        command::Stats,
        lock::{HeadBlocker, Hold, LockSnapshot, Mode, QueuePlace},
        session::{SessionSnapshot, ShownLock, ShownName, Snapshot},
    },
    wires::web::millis,
};

/// The most characters of all clients and notes of a snapshot together. Each may be six bytes of JSON, and each search has
/// a snapshot of its own.
const MAX_TEXTS: usize = 400_000;

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
    /// Who looks; none where there are no users.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    totals: TotalsJson,
    /// None on a server alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<SnapshotClusterJson<'a>>,
    /// How many sessions hold up others and do not wait, and the first of them.
    blocking: usize,
    blockers: Vec<BlockerJson<'a>>,
    /// How many locks match, of which these are the first.
    matching: usize,
    locks: Vec<SnapshotLockJson<'a>>,
    /// Other locks, for which the holders of these wait.
    chain: Vec<SnapshotLockJson<'a>>,
    sessions: BTreeMap<u32, SnapshotSessionJson<'a>>,
}

impl<'a> SnapshotJson<'a> {
    pub(super) fn of(
        snapshot: &'a Snapshot,
        clock: WallClock,
        started_at: u64,
        user: Option<&'a str>,
    ) -> Self {
        let Snapshot { stats, is_stopping, locks, total, chain, blockers, sessions } = snapshot;
        let to_json =
            |shown: &'a Vec<ShownLock>| shown.iter().map(|lock| SnapshotLockJson::of(lock, clock)).collect();
        let of_text = (MAX_TEXTS / 2 / sessions.len().max(1)).min(MAX_TEXT);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            stopping: *is_stopping,
            user,
            totals: TotalsJson::of(stats),
            cluster: stats.cluster.as_ref().map(SnapshotClusterJson::of),
            blocking: blockers.total,
            blockers: blockers.rows.iter().map(BlockerJson::of).collect(),
            matching: *total,
            locks: to_json(locks),
            chain: to_json(chain),
            sessions: sessions
                .iter()
                .map(|session| (session.id.0, SnapshotSessionJson::of(session, clock, of_text)))
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct BlockerJson<'a> {
    session: u32,
    /// How many sessions hold the same.
    holders: usize,
    blocked: usize,
    /// The lock that most of them wait for.
    name: &'a str,
}

impl<'a> BlockerJson<'a> {
    fn of(blocker: &'a HeadBlocker) -> Self {
        let HeadBlocker { session, holders, blocked, name } = blocker;
        Self { session: session.0, holders: *holders, blocked: *blocked, name: name.as_str() }
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

/// A cluster, without what changes all the time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotClusterJson<'a> {
    /// The node that leads.
    node: &'a str,
    term: u64,
    leader_since: u64,
    nodes: Vec<SnapshotNodeJson<'a>>,
    last_changes: Vec<SnapshotChangeJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotNodeJson<'a> {
    node: &'a str,
    role: &'static str,
    address: &'a str,
    version: &'a str,
    started_at: u64,
    relayed: usize,
}

#[derive(Serialize)]
struct SnapshotChangeJson<'a> {
    at: u64,
    /// None if nobody led from then on.
    leader: Option<&'a str>,
    term: u64,
    cause: &'static str,
}

impl<'a> SnapshotClusterJson<'a> {
    fn of(ClusterStatus { node, term, leader_since, nodes, changes, .. }: &'a ClusterStatus) -> Self {
        let since_1970 = |at: SystemTime| millis(at.duration_since(UNIX_EPOCH).unwrap_or_default());
        let node_json = |NodeRow { node, role, address, version, started_ms, relayed, .. }: &'a NodeRow| {
            SnapshotNodeJson {
                node,
                role: role.as_str(),
                address,
                version,
                started_at: *started_ms,
                relayed: *relayed,
            }
        };
        let change_json = |ChangeRow { at, leader, term, cause }: &'a ChangeRow| SnapshotChangeJson {
            at: since_1970(*at),
            leader: leader.as_deref(),
            term: *term,
            cause,
        };
        Self {
            node,
            term: *term,
            leader_since: since_1970(*leader_since),
            nodes: nodes.iter().map(node_json).collect(),
            last_changes: changes.iter().map(change_json).collect(),
        }
    }
}

#[derive(Serialize)]
struct SnapshotLockJson<'a> {
    name: &'a str,
    /// How many permits it has; none for a lock without permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u16>,
    /// How many hold it, and the first of them.
    holders: usize,
    held: Vec<SnapshotHolderJson>,
    /// How many wait for it, and the first of them.
    waiters: usize,
    queue: Vec<SnapshotWaiterJson>,
    /// How many wait for it, directly or through others.
    blocked: usize,
}

impl<'a> SnapshotLockJson<'a> {
    fn of(shown: &'a ShownLock, clock: WallClock) -> Self {
        let ShownLock { lock: LockSnapshot { name, holders, queue }, blocked } = shown;
        let held = holders.rows.iter().map(|holder| holder.mode);
        let mut modes = held.chain(queue.rows.iter().map(|place| place.waiter.mode));
        Self {
            name: name.as_str(),
            limit: modes.find_map(Mode::limit),
            holders: holders.total,
            held: holders.rows.iter().map(|holder| SnapshotHolderJson::of(holder, clock)).collect(),
            waiters: queue.total,
            queue: queue.rows.iter().map(|waiter| SnapshotWaiterJson::of(waiter, clock)).collect(),
            blocked: *blocked,
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
    place: usize,
    session: u32,
    mode: &'static str,
    waits_since: u64,
}

impl SnapshotWaiterJson {
    fn of(place: &QueuePlace, clock: WallClock) -> Self {
        let QueuePlace { place, waiter } = *place;
        let (session, mode, waits_since) = (waiter.session.0, waiter.mode.as_str(), clock.at(waiter.since));
        Self { place, session, mode, waits_since }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotSessionJson<'a> {
    wire: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Cow<'a, str>>,
    started_at: u64,
    /// Since when its client has sent no command.
    idle_since: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
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
    /// At most `of_text` characters of each text are shown.
    fn of(session: &'a SessionSnapshot, clock: WallClock, of_text: usize) -> Self {
        let SessionSnapshot { origin, since, holds, memory, may_end, waits_for, client_info, .. } = session;
        Self {
            wire: origin.wire.as_str(),
            peer: origin.peer.to_string(),
            via: client_info.via(),
            client: client_info.client().map(|client| shortened(client, of_text)),
            user: client_info.user(),
            note: client_info.note().map(|note| shortened(note, of_text)),
            started_at: clock.at(*since),
            idle_since: clock.at(client_info.last_command),
            expires_at: client_info.expires.map(|expires| clock.at(expires)),
            restored: client_info.restored,
            holds: *holds,
            memory: memory.filter(|bytes| *bytes > OWN_MEMORY),
            may_end: *may_end,
            waits_for: waits_for.as_ref().map(ShownName::as_str),
        }
    }
}

/// The first characters of a text, and a sign if there are more.
fn shortened(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened_with_a_sign() {
        assert_eq!([3, 4].map(|chars| shortened("語語語語", chars)), ["語語語…", "語語語語"]);
    }

    #[test]
    fn snapshot_is_written_the_same_each_time() {
        let clock = WallClock::start();
        let moment = Instant::now() + Duration::from_millis(1500);
        let before = clock.at(moment - Duration::from_secs(1));
        assert_eq!(clock.at(moment) - before, 1000);
        assert_eq!(clock.at(moment), clock.at(moment));
    }
}
