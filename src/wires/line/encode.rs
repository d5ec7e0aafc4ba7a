//! Responses to bytes: each is a line, or the rows of a list.

use std::{
    fmt::{self, Write},
    io,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use bytes::BytesMut;
use getlockd_proto::{escape::Written, name::MAX_NAME_CHARS, symbol::Symbol};
use tokio::time::Instant;
use tokio_util::codec::Encoder;

use super::{
    codec::{Codec, LineEnd},
    error::{CloseError, LineError},
    request::{ListQuery, Verb},
};
use crate::{
    core::{
        client_info::{ClientInfo, Origin, Wire},
        cluster::{ClusterStatus, NodeRole, NodeRow},
        command::{AcquireAnswer, Answer, Error, LockRow, SessionRow, Stats, WaitDetails, WaiterRow, WhyRow},
        lease::Secret,
        lock::{Mode, Paged, SessionId, Truncated},
        session::Session,
        stats::{HolderTexts, PastHold},
    },
    net::Left,
};

/// The most bytes of the last line of a list.
const MAX_END: usize = 64;

/// The version of the protocol, as HELLO tells it.
const PROTOCOL: u32 = 1;

/// What is sent for a line, or before the connection is closed.
#[derive(Debug)]
pub enum Response {
    /// To a command whose answer is a number; none is NULL.
    Number(Answer<Option<u64>>),
    /// To a request for a lock, or for several.
    Acquired(Answer<AcquireAnswer>),
    /// To LEASE_LOCK.
    LeaseToken(Secret),
    /// To HISTORY.
    History(Answer<Paged<PastHold>>),
    /// To NODES.
    Nodes(Answer<Vec<NodeRow>>),
    /// To STATS.
    Stats(Answer<Box<Stats>>),
    /// To PING.
    Pong,
    /// To `SELECT VERSION()`.
    Version,
    /// To a command whose wait the client itself has interrupted.
    WaitInterrupted,
    /// To KEEPALIVE: for how much silence of the client the server frees nothing that it holds.
    Keepalive(Left),
    /// To HELLO.
    Hello(Hello),
    /// To HELP.
    Help(Option<&'static Verb>),
    /// To QUIT.
    Bye,
    /// To a line that was not understood.
    Refused(LineError),
    /// The connection is closed.
    Closing(CloseError),
}

/// What HELLO tells beside the constants.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The number of the session.
    pub session: SessionId,
    /// The most bytes of a line.
    pub max_line: usize,
    /// The most locks it may hold.
    pub max_locks: usize,
    /// The cluster that the server leads; none on a server alone.
    pub cluster: Option<Box<ClusterStatus>>,
}

impl From<Answer<AcquireAnswer>> for Response {
    fn from(answer: Answer<AcquireAnswer>) -> Self {
        Self::Acquired(answer)
    }
}

impl From<Error> for Response {
    fn from(error: Error) -> Self {
        Self::Number(Err(error))
    }
}

impl Encoder<Response> for Codec {
    type Error = io::Error;

    fn encode(&mut self, response: Response, output: &mut BytesMut) -> io::Result<()> {
        let mut lines = LineWriter { output, end: self.end };
        match response {
            // Nearly all: without the machinery of formats.
            Response::Acquired(Ok(AcquireAnswer::Granted(_))) if !self.details => lines.text("1"),
            Response::Number(Ok(Some(1))) => lines.text("1"),
            Response::Acquired(Ok(AcquireAnswer::Granted(WaitDetails { waited, .. }))) => {
                lines.line(format_args!("1 waited={}", Seconds(waited)));
            }
            Response::Acquired(Ok(AcquireAnswer::TimedOut(None))) => lines.text("0"),
            Response::Acquired(Ok(AcquireAnswer::TimedOut(Some(in_the_way)))) => {
                lines.line(format_args!("0 {}", Written(in_the_way.as_str())));
            }
            Response::Number(Ok(Some(number))) => lines.line(format_args!("{number}")),
            Response::Number(Ok(None)) => lines.text("NULL"),
            Response::History(Ok(holds)) => lines.list(holds.rows.iter().map(RowLine)),
            Response::Nodes(Ok(nodes)) => lines.list(nodes.iter().map(RowLine)),
            Response::Stats(Ok(stats)) => lines.list([RowLine(&*stats)]),
            Response::Number(Err(error))
            | Response::Acquired(Err(error))
            | Response::History(Err(error))
            | Response::Nodes(Err(error))
            | Response::Stats(Err(error)) => lines.error(error.symbol(), &error),
            Response::LeaseToken(token) => lines.text(token.reveal()),
            Response::Pong => lines.text("PONG"),
            Response::Version => lines.text(env!("CARGO_PKG_VERSION")),
            Response::WaitInterrupted => {
                lines.error(Symbol::Interrupted, &"wait cancelled by ^C; the session and its locks remain");
            }
            Response::Keepalive(left) => lines.keepalive(left),
            Response::Hello(hello) => lines.line(format_args!("{hello}")),
            Response::Help(verb) => lines.help(verb),
            Response::Bye => lines.text("BYE"),
            Response::Refused(error) => lines.error(error.symbol(), &error),
            Response::Closing(error) => {
                if let Some(symbol) = error.symbol() {
                    lines.error(symbol, &error);
                }
            }
        }
        Ok(())
    }
}

/// Where lines go, and how they end.
pub(super) struct LineWriter<'a> {
    pub output: &'a mut BytesMut,
    pub end: LineEnd,
}

impl LineWriter<'_> {
    fn text(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(match self.end {
            LineEnd::Lf => b"\n",
            LineEnd::CrLf => b"\r\n",
        });
    }

    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) {
        // A buffer that grows refuses nothing.
        let _ = self.output.write_fmt(line);
        self.text("");
    }

    /// The answer to KEEPALIVE.
    pub(super) fn keepalive(&mut self, Left { time, term }: Left) {
        match term {
            None => self.line(format_args!("KEEPALIVE left={}", Seconds(time))),
            Some(term) => self.line(format_args!("KEEPALIVE left={} term={term}", Seconds(time))),
        }
    }

    fn error(&mut self, symbol: Symbol, text: &dyn fmt::Display) {
        self.line(format_args!("ERROR {} {text}", symbol.as_str()));
    }

    fn list<T: fmt::Display>(&mut self, rows: impl IntoIterator<Item = T>) {
        let line = |row| self.line(format_args!("{row}"));
        let count = rows.into_iter().map(line).count();
        self.line(format_args!("END {count}"));
    }

    /// Writes the first rows: as many as there are, and as the output has room for.
    fn truncated<'r, T>(&mut self, list: &'r Truncated<T>, room: usize)
    where
        RowLine<'r, T>: fmt::Display,
    {
        let Truncated { rows, total } = list;
        let mut count = 0;
        for row in rows {
            let start = self.output.len();
            self.line(format_args!("{}", RowLine(row)));
            if self.output.len() + MAX_END > room {
                self.output.truncate(start);
                break;
            }
            count += 1;
        }
        if count == *total {
            self.line(format_args!("END {count}"));
        } else {
            self.line(format_args!("END {count} of {total}"));
        }
    }

    fn help(&mut self, verb: Option<&Verb>) {
        match verb {
            None => {
                let verbs = Verb::ALL.iter().map(|v| format!("HELP {:32} {}", v.usage(), v.does));
                self.list(verbs.chain(HINTS.map(|hint| format!("HELP {hint}"))));
            }
            Some(verb) => {
                let Verb { example, does, .. } = verb;
                let rows = [
                    format!("HELP usage: {}", verb.usage()),
                    format!("HELP does: {does}"),
                    format!("HELP try: {example}"),
                ];
                let notes = verb.notes().iter().map(|note| format!("HELP note: {note}"));
                self.list(rows.into_iter().chain(notes));
            }
        }
    }
}

impl ListQuery {
    /// Writes the list as it is now, or why there is none. The output becomes no longer than `room`.
    pub(super) fn write(&self, session: &mut Session, lines: &mut LineWriter<'_>, room: usize) {
        let written = match self {
            Self::Locks(query) => session.query(query).map(|locks| lines.truncated(&locks.into(), room)),
            Self::Waiters(query) => {
                session.query(query).map(|waiters| lines.truncated(&waiters.into(), room))
            }
            Self::Sessions(query) => {
                session.query(query).map(|sessions| lines.truncated(&sessions.into(), room))
            }
            Self::Why(query) => session.query(query).map(|steps| lines.truncated(&steps, room)),
        };
        if let Err(error) = written {
            lines.error(error.symbol(), &error);
        }
    }
}

const HINTS: [&str; 4] = [
    "put a name with blanks in quotes: GET_LOCK 'two words' 10",
    "a timeout may have a unit: 500ms, 10s, 2m, 1h",
    "calls may be written as in MySQL: SELECT GET_LOCK('nightly', 10);",
    "a lock ends with its connection; QUIT or closing it releases all that the session holds",
];

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, max_line, max_locks, cluster } = self;
        let version = env!("CARGO_PKG_VERSION");
        write!(
            f,
            "HELLO version={version} protocol={PROTOCOL} session={session} max_line={max_line} \
             max_name={MAX_NAME_CHARS} max_locks={max_locks}"
        )?;
        let Some(cluster) = cluster else { return Ok(()) };
        let (ttl, delay) = (Seconds(cluster.ttl), Seconds(cluster.takeover_delay));
        write!(f, " node={} term={} ttl={ttl} takeover_delay={delay}", Written(&cluster.node), cluster.term)
    }
}

/// A row of a list, as a line of this wire. A row says of itself nothing about how it is written: each wire does that.
struct RowLine<'a, T>(&'a T);

impl fmt::Display for RowLine<'_, LockRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LOCK ")?;
        write_hold(self.0, f)?;
        write_idle(self.0.client_info.as_ref(), f)?;
        write_limit(self.0.mode, f)?;
        write_client_info(self.0.client_info.as_ref(), f)
    }
}

impl fmt::Display for RowLine<'_, WhyRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WHY ")?;
        let WhyRow { lock, waits_for } = self.0;
        write_hold(lock, f)?;
        write!(f, " waits_for={}", OrNull(waits_for.as_ref().map(|name| Written(name.as_str()))))?;
        write_idle(lock.client_info.as_ref(), f)?;
        write_limit(lock.mode, f)?;
        write_client_info(lock.client_info.as_ref(), f)
    }
}

fn write_hold(row: &LockRow, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let LockRow { name, mode, session, origin, fencing_token, held, waiters, .. } = row;
    let (name, held) = (Written(name.as_str()), Seconds(*held));
    let (wire, peer) = places(*origin);
    write!(f, "name={name} mode={mode} session={session} wire={wire} peer={peer}")?;
    write!(f, " fencing_token={fencing_token} held={held} waiters={waiters}")
}

/// The wire and the address of a session; `NULL` if it ended meanwhile.
fn places(origin: Option<Origin>) -> (OrNull<Wire>, OrNull<SocketAddr>) {
    (OrNull(origin.map(|origin| origin.wire)), OrNull(origin.map(|origin| origin.peer)))
}

/// For how long a client has sent no command; `NULL` if the session ended meanwhile.
fn write_idle(client_info: Option<&ClientInfo>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " idle={}", OrNull(client_info.map(|client_info| Seconds(client_info.idle()))))
}

/// How many may hold the lock together, if that is a number of permits.
fn write_limit(mode: Mode, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    mode.limit().map_or(Ok(()), |limit| write!(f, " limit={limit}"))
}

/// Who relays a client, what it tells of itself, and how long its lease still runs. None if the session ended meanwhile.
fn write_client_info(client_info: Option<&ClientInfo>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(client_info) = client_info else { return Ok(()) };
    write_known("via", client_info.via(), f)?;
    write_known("client", client_info.client(), f)?;
    write_known("user", client_info.user(), f)?;
    write_known("note", client_info.note(), f)?;
    if let Some(expires) = client_info.expires {
        write!(f, " expires={}", Seconds(expires.saturating_duration_since(Instant::now())))?;
    }
    f.write_str(if client_info.restored { " restored=1" } else { "" })
}

/// A field that is left out where nothing is known.
fn write_known(key: &str, text: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.map_or(Ok(()), |text| write!(f, " {key}={}", Written(text)))
}

impl fmt::Display for RowLine<'_, PastHold> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PastHold { name, session, origin, texts, mode, token, started, held, cause } = self.0;
        let name = Written(name.as_str());
        let (wire, peer, cause) = (origin.wire, origin.peer, cause.as_str());
        // The clock on the wall may have been set back since.
        let acquired = SystemTime::now().duration_since(*started).unwrap_or_default();
        write!(
            f,
            "ENDED name={name} mode={mode} session={session} wire={wire} peer={peer} fencing_token={token}"
        )?;
        write!(f, " acquired={} held={} cause={cause}", Seconds(acquired), Seconds(*held))?;
        write_limit(*mode, f)?;
        let HolderTexts { client, user, note, reason } = texts;
        let fields = [("client", client), ("user", user), ("note", note), ("reason", reason)];
        fields.iter().try_for_each(|(key, text)| write_known(key, text.as_deref(), f))
    }
}

impl fmt::Display for RowLine<'_, WaiterRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WaiterRow { session, mode, origin, client_info, waited, .. } = self.0;
        let (wire, peer) = places(*origin);
        write!(
            f,
            "WAITER session={session} mode={mode} wire={wire} peer={peer} waited={}",
            Seconds(*waited)
        )?;
        write_idle(client_info.as_ref(), f)?;
        write_limit(*mode, f)?;
        write_client_info(client_info.as_ref(), f)
    }
}

impl fmt::Display for RowLine<'_, SessionRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SessionRow { session, origin, age, holds, waits_for, memory, client_info } = self.0;
        let (wire, peer, age) = (origin.wire, origin.peer, Seconds(*age));
        let waits_for = OrNull(waits_for.as_ref().map(|name| Written(name.as_str())));
        write!(f, "SESSION session={session} wire={wire} peer={peer} age={age} holds={holds}")?;
        write!(f, " waits_for={waits_for} memory={memory}")?;
        write_idle(Some(client_info), f)?;
        write_client_info(Some(client_info), f)
    }
}

impl fmt::Display for RowLine<'_, Stats> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory, cluster } = self.0;
        write!(f, "STATS sessions={sessions} locks={} waiters={}", table.locks, table.waiters)?;
        write!(f, " grants={} timeouts={timeouts} deadlocks={}", table.grants, table.deadlocks)?;
        write!(f, " abandoned={abandoned}")?;
        write!(f, " uptime={} version={}", Seconds(*uptime), env!("CARGO_PKG_VERSION"))?;
        write!(f, " memory={memory} max_memory={max_memory}")?;
        let Some(ClusterStatus { node, term, leader_since, .. }) = cluster else { return Ok(()) };
        let since = SystemTime::now().duration_since(*leader_since).unwrap_or_default();
        let role = NodeRole::Leader.as_str();
        write!(f, " role={role} node={} term={term} leader_since={}", Written(node), Seconds(since))
    }
}

impl fmt::Display for RowLine<'_, NodeRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeRow { node, role, address, version, started_ms, seen, relayed } = self.0;
        let (node, address, version, role) =
            (Written(node), Written(address), Written(version), role.as_str());
        // The clocks of two machines differ, and one may be set back.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started = now.saturating_sub(Duration::from_millis(*started_ms));
        write!(f, "NODE node={node} role={role} address={address} version={version}")?;
        write!(f, " started={} seen={} relayed={relayed}", Seconds(started), Seconds(*seen))
    }
}

/// Seconds with milliseconds.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// `NULL` for what is not there.
pub(super) struct OrNull<T>(pub(super) Option<T>);

impl<T: fmt::Display> fmt::Display for OrNull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("NULL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn written_names_round_trip() {
        let written = |text: &str| Written(Name::new(text).unwrap().as_str()).to_string();
        for plain in ["nightly", "app1:job/7", "schlüssel", "a;b", "x=1", "語"] {
            assert_eq!(written(plain), plain);
        }
        assert_eq!(written("two words"), "'two words'");
        assert_eq!(written("it's"), r"'it\'s'");
        assert_eq!(written(r"c:\temp"), r"c:\temp");
        assert_eq!(written(r"a b\"), r"'a b\\'");
        assert_eq!(written("NULL"), "'null'");
        assert_eq!(written("a;"), "'a;'");
        assert_eq!(written("a\nb\u{1b}[2J"), r"'a\u{a}b\u{1b}[2j'");
    }
}
