//! What the server's lists consist of (protocol.md, part 4). Fields that this version does not know are ignored.

use std::{fmt, time::Duration};

use crate::reply::RowFields;

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct List<T> {
    /// Its rows. Of a very long list these are the first.
    pub rows: Vec<T>,
    /// How many rows there are on the server.
    pub total: usize,
}

/// How a lock is held or wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// By one session alone.
    Exclusive,
    /// Beside other shared holders.
    Shared,
    /// As one of at most so many holders.
    Permit(u16),
}

impl Mode {
    /// The number of permits that the lock has; none without permits.
    pub fn limit(self) -> Option<u16> {
        if let Self::Permit(limit) = self { Some(limit) } else { None }
    }

    pub(crate) fn read(row: &RowFields) -> Option<Self> {
        match row.get("mode")? {
            "exclusive" => Some(Self::Exclusive),
            "shared" => Some(Self::Shared),
            "permit" => row.number("limit").map(Self::Permit),
            _ => None,
        }
    }
}

/// As the server writes it.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
            Self::Permit(_) => "permit",
        })
    }
}

/// A lock and one of its holders.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockRow {
    /// The lock, in lower case.
    pub name: String,
    /// How it is held.
    pub mode: Mode,
    /// The holder's session id.
    pub session: u32,
    /// The protocol that the holder speaks: `line`, `mysql`, `http` or `grpc`.
    pub wire: Option<String>,
    /// The holder's address.
    pub peer: Option<String>,
    /// The node of a cluster that relays the holder to the leader.
    pub via: Option<String>,
    /// The number of the grant.
    pub fencing_token: u64,
    /// How long it has been held.
    pub held: Duration,
    /// How many sessions wait for the lock.
    pub waiters: u64,
    /// For how long the holder has sent no command; of a lease, since its last heartbeat.
    pub idle: Option<Duration>,
    /// What the holder calls itself.
    pub client: Option<String>,
    /// The user that the holder logged in as.
    pub user: Option<String>,
    /// The holder's note for people.
    pub note: Option<String>,
    /// How long the holder's lease still runs.
    pub expires: Option<Duration>,
    /// Whether the server's store brought the lease back after a restart, and its client has not been heard of since.
    pub restored: bool,
}

/// One link of the chain that keeps a lock from being free.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhyRow {
    /// The lock and its holder.
    pub lock: LockRow,
    /// The lock that the holder itself waits for.
    pub waits_for: Option<String>,
}

/// A session that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaiterRow {
    /// Its session id.
    pub session: u32,
    /// How it wants the lock.
    pub mode: Mode,
    /// The protocol that it speaks: `line`, `mysql`, `http` or `grpc`.
    pub wire: Option<String>,
    /// The address that it came from.
    pub peer: Option<String>,
    /// The node of a cluster that relays it to the leader.
    pub via: Option<String>,
    /// How long it has waited.
    pub waited: Duration,
    /// How long ago it sent the call that waits.
    pub idle: Option<Duration>,
    /// What it calls itself.
    pub client: Option<String>,
    /// Whom it logged in as.
    pub user: Option<String>,
    /// Its note for people.
    pub note: Option<String>,
}

/// A hold of a lock that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryRow {
    /// The lock, in lower case.
    pub name: String,
    /// How it was held at last.
    pub mode: Mode,
    /// The holder's session id. Session ids are reused after a long time.
    pub session: u32,
    /// The protocol that the holder spoke: `line`, `mysql`, `http` or `grpc`.
    pub wire: Option<String>,
    /// The holder's address.
    pub peer: Option<String>,
    /// The number of the grant.
    pub fencing_token: u64,
    /// How long ago it was granted.
    pub acquired: Duration,
    /// For how long it was held.
    pub held: Duration,
    /// Why it ended, as the server writes it: `release`, `disconnect`, `killed` and so on (protocol.md, part 4).
    pub cause: String,
    /// What the holder called itself.
    pub client: Option<String>,
    /// The user that the holder had logged in as.
    pub user: Option<String>,
    /// The holder's note for people.
    pub note: Option<String>,
    /// Why it was killed, if a reason was given.
    pub reason: Option<String>,
}

/// A connection, or a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRow {
    /// Its session id.
    pub session: u32,
    /// The protocol that it speaks: `line`, `mysql`, `http` or `grpc`.
    pub wire: Option<String>,
    /// Its address.
    pub peer: Option<String>,
    /// The node of a cluster that relays it to the leader.
    pub via: Option<String>,
    /// How long it has lived.
    pub age: Duration,
    /// How many locks it holds.
    pub holds: u64,
    /// The lock that it waits for.
    pub waits_for: Option<String>,
    /// How many bytes it makes the server keep, if the server says so.
    pub memory: Option<u64>,
    /// For how long its client has sent no command; of a lease, since its last heartbeat.
    pub idle: Option<Duration>,
    /// What it calls itself.
    pub client: Option<String>,
    /// The user that it logged in as.
    pub user: Option<String>,
    /// Its note for people.
    pub note: Option<String>,
    /// How long its lease still runs.
    pub expires: Option<Duration>,
    /// Whether the server's store brought the lease back after a restart, and its client has not been heard of since.
    pub restored: bool,
}

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// What it does, as the server writes it: `leader`, `follower`, or `lost` if it was not heard of for a while.
    pub role: String,
    /// Where the other nodes reach it.
    pub address: Option<String>,
    /// The version of its program.
    pub version: Option<String>,
    /// How long its process has run.
    pub started: Option<Duration>,
    /// How long ago it was heard of last.
    pub seen: Duration,
    /// How many connections it relays to the leader.
    pub relayed: u64,
}

/// The numbers of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many sessions live.
    pub sessions: u64,
    /// How many locks are held.
    pub locks: u64,
    /// How many sessions wait for a lock.
    pub waiters: u64,
    /// Grants since the server started.
    pub grants: u64,
    /// Requests that were not granted in time, since the server started.
    pub timeouts: u64,
    /// Requests that were refused as deadlocks, since the server started.
    pub deadlocks: u64,
    /// Holds whose session ended before they were released, since the server started.
    pub abandoned: u64,
    /// How long the server has run.
    pub uptime: Duration,
    /// The version of the server.
    pub version: Option<String>,
    /// How many bytes all connections make the server keep, beyond what each has for itself.
    pub memory: Option<u64>,
    /// How many they may be.
    pub max_memory: Option<u64>,
}

/// What a row is read as. None if a field is missing that every such row has.
pub(crate) trait FromRow: Sized {
    fn read(row: &RowFields) -> Option<Self>;
}

impl FromRow for LockRow {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            name: row.text("name")?,
            mode: Mode::read(row)?,
            session: row.number("session")?,
            wire: row.text("wire"),
            peer: row.text("peer"),
            via: row.text("via"),
            fencing_token: row.number("fencing_token")?,
            held: row.time("held")?,
            waiters: row.number("waiters")?,
            idle: row.time("idle"),
            client: row.text("client"),
            user: row.text("user"),
            note: row.text("note"),
            expires: row.time("expires"),
            restored: row.number("restored") == Some(1),
        })
    }
}

impl FromRow for WhyRow {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self { lock: LockRow::read(row)?, waits_for: row.text("waits_for") })
    }
}

impl FromRow for WaiterRow {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            session: row.number("session")?,
            mode: Mode::read(row)?,
            wire: row.text("wire"),
            peer: row.text("peer"),
            via: row.text("via"),
            waited: row.time("waited")?,
            idle: row.time("idle"),
            client: row.text("client"),
            user: row.text("user"),
            note: row.text("note"),
        })
    }
}

impl FromRow for HistoryRow {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            name: row.text("name")?,
            mode: Mode::read(row)?,
            session: row.number("session")?,
            wire: row.text("wire"),
            peer: row.text("peer"),
            fencing_token: row.number("fencing_token")?,
            acquired: row.time("acquired")?,
            held: row.time("held")?,
            cause: row.text("cause")?,
            client: row.text("client"),
            user: row.text("user"),
            note: row.text("note"),
            reason: row.text("reason"),
        })
    }
}

impl FromRow for SessionRow {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            session: row.number("session")?,
            wire: row.text("wire"),
            peer: row.text("peer"),
            via: row.text("via"),
            age: row.time("age")?,
            holds: row.number("holds")?,
            waits_for: row.text("waits_for"),
            memory: row.number("memory"),
            idle: row.time("idle"),
            client: row.text("client"),
            user: row.text("user"),
            note: row.text("note"),
            expires: row.time("expires"),
            restored: row.number("restored") == Some(1),
        })
    }
}

impl FromRow for NodeRow {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            node: row.text("node")?,
            role: row.text("role")?,
            address: row.text("address"),
            version: row.text("version"),
            started: row.time("started"),
            seen: row.time("seen")?,
            relayed: row.number("relayed")?,
        })
    }
}

impl FromRow for Stats {
    fn read(row: &RowFields) -> Option<Self> {
        Some(Self {
            sessions: row.number("sessions")?,
            locks: row.number("locks")?,
            waiters: row.number("waiters")?,
            grants: row.number("grants")?,
            timeouts: row.number("timeouts")?,
            deadlocks: row.number("deadlocks")?,
            abandoned: row.number("abandoned")?,
            uptime: row.time("uptime")?,
            version: row.text("version"),
            memory: row.number("memory"),
            max_memory: row.number("max_memory"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromRow>(line: &str) -> Option<T> {
        T::read(&RowFields::read(line)?)
    }

    #[test]
    fn row_with_unknown_fields_is_read() {
        let row = "WHY name=a mode=shared session=7 wire=line peer=NULL fencing_token=9 held=0.250 waiters=2 \
                   waits_for='b c' colour=blue";
        let WhyRow { lock, waits_for } = read(row).unwrap();
        assert_eq!((lock.mode, lock.held, lock.peer), (Mode::Shared, Duration::from_millis(250), None));
        assert_eq!(waits_for.as_deref(), Some("b c"));
    }

    #[test]
    fn ended_hold_is_read() {
        let row = "ENDED name=nightly mode=exclusive session=1 wire=line peer=127.0.0.1:40112 \
                   fencing_token=1795168800000000 acquired=0.019 held=0.014 cause=killed user='a b'";
        let row: HistoryRow = read(row).unwrap();
        assert_eq!((row.acquired, row.held), (Duration::from_millis(19), Duration::from_millis(14)));
        assert_eq!((row.cause.as_str(), row.client, row.user.as_deref()), ("killed", None, Some("a b")));
    }

    #[test]
    fn row_without_required_fields_is_none() {
        assert_eq!(read::<WaiterRow>("WAITER session=1 mode=exclusive peer=NULL"), None);
        assert_eq!(read::<WaiterRow>("WAITER session=1 mode=odd peer=NULL waited=1"), None);
        assert_eq!(read::<WaiterRow>("WAITER session=-1 mode=shared peer=NULL waited=1"), None);
    }
}
