//! The tables of the schema `getlockd`: locks, queues, history and sessions in the words of the other wires. Pure, but for
//! the query of a session.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{
    catalog::Source,
    temporal::{Offset, Temporal},
    value::{Decimal, Value},
};
use crate::{
    core::{
        client_info::{ClientInfo, Origin, Wire},
        cluster::NodeRow,
        command::{Answer, LockRow, SessionRow, WaiterRow, WhyRow},
        lock::{Mode, Page, SessionId, Token},
        session::{
            History, HoldersOf, Locks, MAX_LIST_ROWS, Nodes, Session, Sessions, ShownName, Waiters, Why,
            first_page,
        },
        stats::{HolderTexts, PastHold, ReleaseCause},
    },
    name::Name,
};

/// What a row is made from. A connection has memory for 10,000 of them and for the keys that they are sorted by.
#[derive(Clone, Debug)]
pub(super) enum ServerRow {
    Hold(HoldRow),
    Waiter(PlaceRow),
    /// A step of the chain that begins with the lock of this name.
    Step {
        name: Name,
        row: Box<(HoldRow, Option<ShownName>)>,
    },
    Ended(EndedRow),
    Session(Box<SessionCells>),
    Node(Box<NodeCells>),
}

#[derive(Clone, Debug)]
pub(super) struct HoldRow {
    name: Name,
    holder: HolderCells,
    mode: Mode,
    token: Token,
    held: Millis,
    waiters: u32,
}

/// A place in the queue of a lock.
#[derive(Clone, Debug)]
pub(super) struct PlaceRow {
    name: Name,
    waiter: HolderCells,
    mode: Mode,
    waited: Millis,
}

/// A session that lives.
#[derive(Clone, Debug)]
pub(super) struct SessionCells {
    client: HolderCells,
    age: Millis,
    holds: usize,
    waits_for: Option<ShownName>,
    memory: usize,
    expires: Option<Millis>,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub(super) struct NodeCells {
    node: NodeRow,
    /// Of the session that asks.
    zone: Offset,
}

/// A hold that ended.
#[derive(Clone, Debug)]
pub(super) struct EndedRow {
    name: Name,
    holder: HolderCells,
    mode: Mode,
    token: Token,
    /// Since 1970.
    acquired: Millis,
    held: Millis,
    cause: ReleaseCause,
    /// Of the session that asks.
    zone: Offset,
}

#[derive(Clone, Copy, Debug)]
struct Millis(u64);

impl From<Duration> for Millis {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A session, as it is shown.
#[derive(Clone, Debug)]
struct HolderCells {
    session: SessionId,
    wire: Option<Wire>,
    peer: Option<SocketAddr>,
    /// Nothing is known of one that has ended.
    idle: Option<Millis>,
    texts: Arc<ClientTexts>,
    restored: bool,
    /// The first row of a session pays for its texts.
    paid: u16,
}

/// What is said of a session: all of its rows share it.
#[derive(Debug)]
struct ClientTexts {
    client: Option<Box<str>>,
    user: Option<Box<str>>,
    note: Option<Box<str>>,
    /// Why it was killed.
    reason: Option<Box<str>>,
    /// Who relays it.
    via: Option<Box<str>>,
}

/// The same, borrowed from a row: client, user, note, reason and via.
type Texts<'a> = [Option<&'a str>; 5];

/// The texts of the sessions that have come.
#[derive(Default)]
struct KnownTexts(HashMap<SessionId, Arc<ClientTexts>>);

/// Whether a table tells of one lock only, whose name the condition must say.
pub(super) fn needs_name(source: Source) -> bool {
    matches!(source, Source::Waiters | Source::Why)
}

/// The rows of a table: of one lock, or else of all that the user may see.
pub(super) fn read(
    source: Source,
    name: Option<Name>,
    zone: Offset,
    session: &mut Session,
) -> Answer<Vec<ServerRow>> {
    Ok(match (source, name) {
        (Source::Waiters, Some(name)) => {
            let rows = session.query(&Waiters { name: name.clone(), page: first_page() })?.rows;
            let mut known = KnownTexts::default();
            rows.into_iter().map(|row| ServerRow::Waiter(known.place(name.clone(), row))).collect()
        }
        (Source::Why, Some(name)) => {
            let (steps, mut known) =
                (session.query(&Why { name: name.clone() })?.rows, KnownTexts::default());
            let step = |WhyRow { lock, waits_for }| ServerRow::Step {
                name: name.clone(),
                row: Box::new((known.hold(lock), waits_for)),
            };
            steps.into_iter().map(step).collect()
        }
        (Source::History, name) => {
            let pasts = session.query(&History { name, page: first_page() })?.rows;
            let mut known = KnownTexts::default();
            pasts.into_iter().map(|past| ServerRow::Ended(known.ended(past, zone))).collect()
        }
        (Source::Sessions, _) => {
            let rows = session.query(&Sessions { page: first_page() })?.rows;
            let mut known = KnownTexts::default();
            rows.into_iter().map(|row| ServerRow::Session(Box::new(known.session(row)))).collect()
        }
        (_, Some(name)) => holds(session.query(&HoldersOf { name, limit: MAX_LIST_ROWS })?.rows),
        (_, None) => holds(session.query(&Locks { prefix: None, page: Page::first(MAX_LIST_ROWS) })?.rows),
    })
}

/// The rows of `nodes`, of which there are a few: no other session waits for them.
pub(super) fn nodes(zone: Offset, session: &mut Session) -> Answer<Vec<ServerRow>> {
    let row = |node| ServerRow::Node(Box::new(NodeCells { node, zone }));
    Ok(session.query(&Nodes)?.into_iter().map(row).collect())
}

fn holds(rows: Vec<LockRow>) -> Vec<ServerRow> {
    let mut known = KnownTexts::default();
    rows.into_iter().map(|row| ServerRow::Hold(known.hold(row))).collect()
}

impl KnownTexts {
    fn hold(&mut self, row: LockRow) -> HoldRow {
        let LockRow { name, mode, session, origin, client_info, fencing_token: token, held, waiters } = row;
        let holder = self.cells(session, origin, client_info.as_ref());
        let waiters = u32::try_from(waiters).unwrap_or(u32::MAX);
        HoldRow { name, holder, mode, token, held: held.into(), waiters }
    }

    fn place(&mut self, name: Name, row: WaiterRow) -> PlaceRow {
        let WaiterRow { session, mode, origin, client_info, waited, .. } = row;
        let waiter = self.cells(session, origin, client_info.as_ref());
        PlaceRow { name, waiter, mode, waited: waited.into() }
    }

    fn session(&mut self, row: SessionRow) -> SessionCells {
        let SessionRow { session, origin, age, holds, waits_for, memory, client_info } = row;
        let left = |ends: Instant| ends.saturating_duration_since(Instant::now()).into();
        let client = self.cells(session, Some(origin), Some(&client_info));
        let expires = client_info.expires.map(left);
        SessionCells { client, age: age.into(), holds, waits_for, memory, expires }
    }

    /// None of both if the session ended meanwhile.
    fn cells(
        &mut self,
        session: SessionId,
        origin: Option<Origin>,
        client_info: Option<&ClientInfo>,
    ) -> HolderCells {
        let texts =
            client_info.map_or([None; 5], |info| [info.client(), info.user(), info.note(), None, info.via()]);
        let (texts, paid) = self.texts(session, texts);
        let (wire, peer) = origin.map(|origin| (origin.wire, origin.peer)).unzip();
        let idle = client_info.map(|client_info| client_info.idle().into());
        let restored = client_info.is_some_and(|client_info| client_info.restored);
        HolderCells { session, wire, peer, idle, texts, restored, paid }
    }

    fn ended(&mut self, past: PastHold, zone: Offset) -> EndedRow {
        let PastHold { name, session, origin, texts, mode, token, started, held, cause } = past;
        let HolderTexts { client, user, note, reason } = &texts;
        let [client, user, note, reason] = [client, user, note, reason].map(|text| text.as_deref());
        let texts = [client, user, note, reason, None];
        // A number may come again: then it is another session.
        let (texts, paid) = self.texts(session, texts);
        let (wire, peer) = (Some(origin.wire), Some(origin.peer));
        let holder = HolderCells { session, wire, peer, idle: None, texts, restored: false, paid };
        let acquired = started.duration_since(UNIX_EPOCH).unwrap_or_default().into();
        EndedRow { name, holder, mode, token, acquired, held: held.into(), cause, zone }
    }

    /// The texts of a session, and how many bytes are to be paid for them.
    fn texts(&mut self, session: SessionId, texts: Texts<'_>) -> (Arc<ClientTexts>, u16) {
        let is_same = |known: &&Arc<ClientTexts>| known.borrowed() == texts;
        if let Some(known) = self.0.get(&session).filter(is_same) {
            return (known.clone(), 0);
        }
        let bytes = texts.into_iter().flatten().map(str::len).sum::<usize>() + size_of::<ClientTexts>();
        let [client, user, note, reason, via] = texts.map(|text| text.map(Box::from));
        let texts = Arc::new(ClientTexts { client, user, note, reason, via });
        self.0.insert(session, texts.clone());
        (texts, u16::try_from(bytes).unwrap_or(u16::MAX))
    }
}

impl ClientTexts {
    fn borrowed(&self) -> Texts<'_> {
        [&self.client, &self.user, &self.note, &self.reason, &self.via].map(|text| text.as_deref())
    }
}

impl HolderCells {
    fn value(&self, column: &str) -> Value {
        let said = |text: &Option<Box<str>>| text.as_deref().map_or(Value::Null, Value::text);
        match column {
            "session" => Value::UInt(self.session.0.into()),
            "wire" => self.wire.map_or(Value::Null, |wire| Value::text(wire.as_str())),
            "peer" => self.peer.map_or(Value::Null, |peer| Value::Text(peer.to_string())),
            "client" => said(&self.texts.client),
            "user" => said(&self.texts.user),
            "note" => said(&self.texts.note),
            "reason" => said(&self.texts.reason),
            "via" => said(&self.texts.via),
            "idle" => self.idle.map_or(Value::Null, seconds),
            "restored" => Value::UInt(self.restored.into()),
            _ => Value::Null,
        }
    }
}

impl ServerRow {
    /// How many bytes it needs beside its place in a record.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Hold(HoldRow { name, holder, .. }) | Self::Ended(EndedRow { name, holder, .. }) => {
                name.as_str().len() + usize::from(holder.paid)
            }
            Self::Waiter(PlaceRow { name, waiter, .. }) => name.as_str().len() + usize::from(waiter.paid),
            Self::Session(row) => {
                let name = row.waits_for.as_ref().map_or(0, |name| name.as_str().len());
                size_of::<SessionCells>() + name + usize::from(row.client.paid)
            }
            Self::Node(row) => {
                let NodeRow { node, address, version, .. } = &row.node;
                size_of::<NodeCells>() + node.len() + address.len() + version.len()
            }
            Self::Step { row, .. } => {
                let (HoldRow { name, holder, .. }, _) = &**row;
                size_of::<(HoldRow, Option<ShownName>)>() + name.as_str().len() + usize::from(holder.paid)
            }
        }
    }

    /// The value of a column.
    pub(super) fn value(&self, column: &str) -> Value {
        match self {
            Self::Hold(row) => of_hold(row, column),
            Self::Waiter(row) => of_waiter(row, column),
            // The name is that of the condition, which all rows must have: the lock of the step is another column.
            Self::Step { name, .. } if column == "name" => Value::text(name.as_str()),
            Self::Step { row, .. } => match column {
                "lock_name" => Value::text(row.0.name.as_str()),
                "waits_for" => row.1.as_ref().map_or(Value::Null, |name| Value::text(name.to_string())),
                _ => of_hold(&row.0, column),
            },
            Self::Ended(row) => of_ended(row, column),
            Self::Session(row) => of_session(row, column),
            Self::Node(row) => of_node(row, column),
        }
    }
}

fn of_hold(row: &HoldRow, column: &str) -> Value {
    match column {
        "name" => Value::text(row.name.as_str()),
        "mode" => Value::text(row.mode.to_string()),
        "limit" => limit(row.mode),
        "fencing_token" => Value::UInt(row.token),
        "held" => seconds(row.held),
        "waiters" => Value::UInt(row.waiters.into()),
        _ => row.holder.value(column),
    }
}

fn of_waiter(row: &PlaceRow, column: &str) -> Value {
    match column {
        "name" => Value::text(row.name.as_str()),
        "mode" => Value::text(row.mode.to_string()),
        "limit" => limit(row.mode),
        "waited" => seconds(row.waited),
        _ => row.waiter.value(column),
    }
}

fn of_session(row: &SessionCells, column: &str) -> Value {
    match column {
        "age" => seconds(row.age),
        "holds" => Value::UInt(row.holds as u64),
        "waits_for" => row.waits_for.as_ref().map_or(Value::Null, |name| Value::text(name.to_string())),
        "memory" => Value::UInt(row.memory as u64),
        "expires" => row.expires.map_or(Value::Null, seconds),
        _ => row.client.value(column),
    }
}

fn of_node(NodeCells { node, zone }: &NodeCells, column: &str) -> Value {
    match column {
        "node" => Value::text(&node.node),
        "role" => Value::text(node.role.as_str()),
        "address" => Value::text(&node.address),
        "version" => Value::text(&node.version),
        "started_at" => moment(Millis(node.started_ms), *zone),
        "seen" => seconds(node.seen.into()),
        "relayed" => Value::UInt(node.relayed as u64),
        _ => Value::Null,
    }
}

fn of_ended(row: &EndedRow, column: &str) -> Value {
    match column {
        "name" => Value::text(row.name.as_str()),
        "mode" => Value::text(row.mode.to_string()),
        "limit" => limit(row.mode),
        "fencing_token" => Value::UInt(row.token),
        "acquired_at" => moment(row.acquired, row.zone),
        "held" => seconds(row.held),
        "cause" => Value::text(row.cause.as_str()),
        _ => row.holder.value(column),
    }
}

/// How many permits there are; NULL if the lock is held or wanted otherwise.
fn limit(mode: Mode) -> Value {
    Value::or_null(mode.limit().map(u64::from))
}

/// A moment that is kept as milliseconds since 1970.
fn moment(Millis(unix): Millis, zone: Offset) -> Value {
    // To the millisecond, as it is shown.
    let moment = zone.local(i64::try_from(unix).unwrap_or(0).saturating_mul(1_000));
    Value::Temporal(Temporal::DateTime { moment, digits: 3 })
}

/// Seconds with three digits, as on the line wire.
fn seconds(Millis(time): Millis) -> Value {
    Value::Decimal(Decimal { digits: time.into(), scale: 3 })
}
