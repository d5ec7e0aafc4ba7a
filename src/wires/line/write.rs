//! Responses as lines.

use std::{
    fmt::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use bytes::BytesMut;
use getlockd_proto::{escape::Written, name::MAX_NAME_CHARS, symbol::Symbol};
use tokio::time::Instant;

use super::{
    PROTOCOL,
    error::{Refusal, Untrusted},
    verbs::{List, Verb},
};
use crate::core::{
    client_info::ClientInfo,
    command::{AcquireAnswer, Answer, EndReason, Error, LockRow, SessionRow, Stats, WaiterRow, WhyRow},
    lock::{SessionId, Truncated},
    session::Session,
    share::QuotaExceeded,
};

/// What is sent for a line, or unasked before the connection is closed.
#[derive(Debug)]
pub enum Response {
    /// To a command whose answer is a number; none is NULL.
    Number(Answer<Option<u64>>),
    /// To STATS.
    Stats(Answer<Box<Stats>>),
    /// To PING.
    Pong,
    /// To KEEPALIVE: for how much silence of the client nothing is freed that it holds.
    Keepalive(Duration),
    /// To HELLO.
    Hello(Hello),
    /// To HELP.
    Help(Option<&'static Verb>),
    /// To QUIT.
    Bye,
    /// To a line that was not understood.
    Refused(Refusal),
    /// To bytes that are no lines; the connection ends.
    Untrusted(Untrusted),
    /// The session ends.
    Ended(EndReason),
    /// The client sent more behind a command that waits than is kept, which is so many bytes; the connection ends.
    SentTooMuch(usize),
    /// Nothing came for so long; the connection ends.
    Idle {
        /// The most that is allowed.
        limit: Duration,
        /// Whether the session held locks.
        held: bool,
    },
    /// The client did not log in in this time; the connection ends.
    TooSlow(Duration),
    /// There is no place for this connection; it ends.
    QuotaExceeded(QuotaExceeded),
}

/// What HELLO tells beside the constants.
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    /// The number of the session.
    pub session: SessionId,
    /// The most bytes of a line.
    pub max_line: usize,
    /// The most locks it may hold.
    pub max_locks: usize,
}

impl From<Answer<AcquireAnswer>> for Response {
    fn from(answer: Answer<AcquireAnswer>) -> Self {
        Self::Number(answer.map(|answer| Some(u64::from(answer == AcquireAnswer::Granted))))
    }
}

impl From<Error> for Response {
    fn from(error: Error) -> Self {
        Self::Number(Err(error))
    }
}

impl Response {
    pub(super) fn write(self, lines: &mut Lines<'_>) {
        match self {
            Self::Number(Ok(Some(1))) => lines.text("1"),
            Self::Number(Ok(Some(number))) => lines.line(format_args!("{number}")),
            Self::Number(Ok(None)) => lines.text("NULL"),
            Self::Stats(Ok(stats)) => lines.list([stats]),
            Self::Number(Err(error)) | Self::Stats(Err(error)) => lines.error(error.symbol(), &error),
            Self::Pong => lines.text("PONG"),
            Self::Keepalive(left) => lines.line(format_args!("KEEPALIVE left={}", Seconds(left))),
            Self::Hello(hello) => lines.line(format_args!("{hello}")),
            Self::Help(verb) => write_help(verb, lines),
            Self::Bye => lines.text("BYE"),
            Self::Refused(refusal) => lines.error(refusal.symbol(), &refusal),
            Self::Untrusted(untrusted) => {
                untrusted.symbol().into_iter().for_each(|symbol| lines.error(symbol, &untrusted));
            }
            Self::Ended(ending) => write_ending(ending, lines),
            Self::SentTooMuch(most) => lines.error(
                Symbol::Limit,
                &format_args!(
                    "the {most} bytes that a connection may have kept are used up by what was sent behind a \
                     command that waits; closing"
                ),
            ),
            Self::Idle { limit, held } => {
                let flag = if held {
                    "--idle-time-holders); its locks are free; closing"
                } else {
                    "--idle-time); closing"
                };
                lines.error(Symbol::Limit, &format_args!("nothing came for {limit:?} ({flag}"));
            }
            Self::TooSlow(limit) => lines.error(
                Symbol::Auth,
                &format_args!("nobody has logged in for {limit:?} (--login-time); closing"),
            ),
            Self::QuotaExceeded(why) => lines.error(Symbol::Limit, &format_args!("{why}; closing")),
        }
    }
}

/// Where lines go, and how they end.
pub(super) struct Lines<'a> {
    output: &'a mut BytesMut,
    end: &'static [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn new(output: &'a mut BytesMut, crlf: bool) -> Self {
        Self { output, end: if crlf { b"\r\n" } else { b"\n" } }
    }

    fn text(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(self.end);
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A buffer that grows refuses nothing.
        let _ = self.output.write_fmt(line);
        self.output.extend_from_slice(self.end);
    }

    fn error(&mut self, symbol: Symbol, text: &dyn fmt::Display) {
        self.line(format_args!("ERROR {} {text}", symbol.as_str()));
    }

    fn list<T: fmt::Display>(&mut self, rows: impl IntoIterator<Item = T>) {
        let line = |row| self.line(format_args!("{row}"));
        let count = rows.into_iter().map(line).count();
        self.line(format_args!("END {count}"));
    }

    fn excerpt<T: fmt::Display>(&mut self, excerpt: &Truncated<T>) {
        let Truncated { rows, total } = excerpt;
        if rows.len() == *total {
            return self.list(rows);
        }
        for row in rows {
            self.line(format_args!("{row}"));
        }
        self.line(format_args!("END {} of {total}", rows.len()));
    }
}

impl List {
    /// Writes the list as it is now, or why there is none.
    pub(super) fn write(&self, session: &mut Session, lines: &mut Lines<'_>) {
        let written = match self {
            Self::Locks(query) => session.query(query).map(|locks| lines.excerpt(&locks.into())),
            Self::Waiters(query) => session.query(query).map(|waiters| lines.excerpt(&waiters.into())),
            Self::Sessions(query) => session.query(query).map(|sessions| lines.excerpt(&sessions.into())),
            Self::Why(query) => session.query(query).map(|steps| lines.excerpt(&steps)),
        };
        if let Err(error) = written {
            lines.error(error.symbol(), &error);
        }
    }
}

fn write_ending(ending: EndReason, lines: &mut Lines<'_>) {
    match ending {
        EndReason::Killed(by) => lines.error(
            Symbol::Killed,
            &format_args!("session {by} ended this one by KILL; its locks are free; closing"),
        ),
        EndReason::Revoked => lines.error(
            Symbol::Denied,
            &"your user may not be here, or lock this, any more; the locks of this session are free; closing",
        ),
        EndReason::Shutdown => {
            lines.error(
                Symbol::Shutdown,
                &"the server is stopping; the locks of this session are free; closing",
            );
        }
    }
}

const HINTS: [&str; 3] = [
    "a name with blanks goes in quotes: GET_LOCK 'two words' 10",
    "a timeout may have a unit: 500ms, 2m, 1h",
    "what works in MySQL works here: SELECT GET_LOCK('nightly', 10);",
];

fn write_help(verb: Option<&Verb>, lines: &mut Lines<'_>) {
    match verb {
        None => {
            let verbs = Verb::ALL.iter().map(|v| format!("HELP {:28} {}", v.usage(), v.does));
            lines.list(verbs.chain(HINTS.map(|hint| format!("HELP {hint}"))));
        }
        Some(verb) => {
            let Verb { example, does, .. } = verb;
            let usage = verb.usage();
            lines.list([
                format!("HELP usage: {usage}"),
                format!("HELP does: {does}"),
                format!("HELP try: {example}"),
            ]);
        }
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, max_line, max_locks } = self;
        let version = env!("CARGO_PKG_VERSION");
        write!(
            f,
            "HELLO version={version} protocol={PROTOCOL} session={session} max_line={max_line} \
             max_name={MAX_NAME_CHARS} max_locks={max_locks}"
        )
    }
}

impl fmt::Display for LockRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LOCK ")?;
        write_hold(self, f)?;
        self.client_info.as_ref().map_or(Ok(()), |client_info| write_profile(client_info, f))
    }
}

impl fmt::Display for WhyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WHY ")?;
        write_hold(&self.lock, f)?;
        write!(f, " waits_for={}", OrNull(self.waits_for.as_ref().map(|name| Written(name.as_str()))))?;
        self.lock.client_info.as_ref().map_or(Ok(()), |client_info| write_profile(client_info, f))
    }
}

fn write_hold(row: &LockRow, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let LockRow { name, mode, session, origin, fencing_token, held, waiters, .. } = row;
    let (name, held) = (Written(name.as_str()), Seconds(*held));
    let (wire, peer) = (OrNull(origin.map(|origin| origin.wire)), OrNull(origin.map(|origin| origin.peer)));
    write!(f, "name={name} mode={mode} session={session} wire={wire} peer={peer}")?;
    write!(f, " fencing_token={fencing_token} held={held} waiters={waiters}")
}

/// What a client tells of itself, and how long its lease still runs.
fn write_profile(client_info: &ClientInfo, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let ClientInfo { note, expires, .. } = client_info;
    for (key, text) in
        [("client", client_info.client()), ("user", client_info.user()), ("note", note.as_deref())]
    {
        if let Some(text) = text {
            write!(f, " {key}={}", Written(text))?;
        }
    }
    match expires {
        Some(expires) => write!(f, " expires={}", Seconds(expires.saturating_duration_since(Instant::now()))),
        None => Ok(()),
    }
}

impl fmt::Display for WaiterRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, mode, peer, waited, .. } = self;
        let (peer, waited) = (OrNull::<SocketAddr>(*peer), Seconds(*waited));
        write!(f, "WAITER session={session} mode={mode} peer={peer} waited={waited}")
    }
}

impl fmt::Display for SessionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, origin, age, holds, waits_for, memory, .. } = self;
        let (wire, peer, age) = (origin.wire, origin.peer, Seconds(*age));
        let waits_for = OrNull(waits_for.as_ref().map(|name| Written(name.as_str())));
        write!(f, "SESSION session={session} wire={wire} peer={peer} age={age} holds={holds}")?;
        write!(f, " waits_for={waits_for} memory={memory}")?;
        write_profile(&self.client_info, f)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, table, timeouts, abandoned, uptime, memory, max_memory } = self;
        write!(f, "STATS sessions={sessions} locks={} waiters={}", table.locks, table.waiters)?;
        write!(f, " grants={} timeouts={timeouts} deadlocks={}", table.grants, table.deadlocks)?;
        write!(f, " abandoned={abandoned}")?;
        write!(f, " uptime={} version={}", Seconds(*uptime), env!("CARGO_PKG_VERSION"))?;
        write!(f, " memory={memory} max_memory={max_memory}")
    }
}

/// Seconds with milliseconds.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// `NULL` for what is not there.
struct OrNull<T>(Option<T>);

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
    fn names_come_back_as_they_were_written() {
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
