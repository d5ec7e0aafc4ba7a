//! The words that all wires share: what a session can be asked, and what it answers.

mod symbol;

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::time::Instant;

use getlockd_proto::{escape::Written, timeout::Timeout};

use crate::{
    budget::Exceeded,
    lock::{Cycle, Excerpt, HoldKey, Mode, SessionId, Token, WaiterKey},
    name::Name,
    session::Profile,
    share::NoPlace,
    user::Denied,
};

/// What a session can be asked. The meaning of each is that of protocol.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `GET_LOCK` and `GET_SHARED_LOCK`.
    GetLock {
        /// The lock.
        name: Name,
        /// How it is wanted.
        mode: Mode,
        /// How long to wait for it.
        timeout: Timeout,
    },
    /// `RELEASE_LOCK`.
    ReleaseLock(Name),
    /// `RELEASE_ALL_LOCKS`.
    ReleaseAllLocks,
    /// `IS_FREE_LOCK`.
    IsFreeLock(Name),
    /// `IS_USED_LOCK`.
    IsUsedLock(Name),
    /// `FENCING_TOKEN`.
    FencingToken(Name),
    /// `CONNECTION_ID`.
    ConnectionId,
    /// The locks that are held, of those whose name starts with the prefix.
    Locks(Option<Name>),
    /// The queue of a lock.
    Waiters(Name),
    /// The sessions that live.
    Sessions,
    /// Counters of the server.
    Stats,
    /// Who holds a lock, and what the holder waits for itself.
    Why(Name),
    /// Ends a session.
    Kill(SessionId),
    /// Ends a session's wait.
    KillQuery(SessionId),
}

impl Command {
    /// Whether it takes the longer the more locks and sessions there are. It needs a
    /// [`Turn`](crate::session::Turn).
    pub fn looks_at_everything(&self) -> bool {
        matches!(self, Self::Locks(_) | Self::Waiters(_) | Self::Sessions | Self::Why(_))
    }
}

/// What a session answers.
pub type Answer = Result<Reply, Error>;

/// An answer that is not an error.
#[derive(Clone, Debug)]
pub enum Reply {
    /// `NULL`.
    Null,
    /// A number; 1 and 0 stand for yes and no.
    Int(u64),
    /// To [`Command::Locks`].
    Locks(Excerpt<LockRow>),
    /// To [`Command::Waiters`].
    Waiters(Excerpt<WaiterRow>),
    /// To [`Command::Sessions`].
    Sessions(Excerpt<SessionRow>),
    /// To [`Command::Stats`].
    Stats(Box<Stats>),
    /// To [`Command::Why`].
    Why(Excerpt<WhyRow>),
}

impl From<bool> for Reply {
    fn from(yes: bool) -> Self {
        Self::Int(yes.into())
    }
}

impl From<Option<u64>> for Reply {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::Int)
    }
}

/// Where a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The wire it speaks: `line`.
    pub wire: &'static str,
    /// The other end.
    pub peer: SocketAddr,
}

/// One hold of a lock.
#[derive(Clone, Debug)]
pub struct LockRow {
    /// The lock.
    pub name: Name,
    /// How it is held.
    pub mode: Mode,
    /// Who holds it.
    pub session: SessionId,
    /// From where; none if the session ended meanwhile.
    pub origin: Option<Origin>,
    /// What its client tells of itself, and who it is.
    pub profile: Option<Profile>,
    /// Its fencing token.
    pub fencing_token: Token,
    /// For how long.
    pub held: Duration,
    /// How many wait for the lock.
    pub waiters: usize,
}

impl LockRow {
    /// Whom its holder logged in as.
    pub fn user(&self) -> Option<&str> {
        self.profile.as_ref()?.user()
    }

    /// What its holder calls itself.
    pub fn client(&self) -> Option<&str> {
        self.profile.as_ref()?.client()
    }

    /// Why it was taken, if its holder said so.
    pub fn note(&self) -> Option<&str> {
        self.profile.as_ref()?.note.as_deref()
    }

    /// When it ends, if it is a lease.
    pub fn expires(&self) -> Option<Instant> {
        self.profile.as_ref()?.expires
    }

    /// Where it stands in the list.
    pub fn key(&self) -> HoldKey {
        HoldKey { name: self.name.clone(), token: self.fencing_token }
    }

    /// From where it was taken; empty if the session ended meanwhile.
    pub fn address(&self) -> String {
        self.origin.map_or_else(String::new, |origin| origin.peer.to_string())
    }
}

/// One place in a queue.
#[derive(Clone, Debug)]
pub struct WaiterRow {
    /// Who waits.
    pub session: SessionId,
    /// In which mode.
    pub mode: Mode,
    /// From where; none if the session ended meanwhile.
    pub peer: Option<SocketAddr>,
    /// For how long.
    pub waited: Duration,
    /// Where in the queue.
    pub key: WaiterKey,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its number.
    pub session: SessionId,
    /// Where it comes from.
    pub origin: Origin,
    /// How long it has lived.
    pub age: Duration,
    /// How many locks it holds.
    pub holds: usize,
    /// What it waits for.
    pub waits_for: Option<Name>,
    /// How many bytes its client makes the server remember.
    pub memory: usize,
    /// What its client tells of itself.
    pub profile: Profile,
}

/// One step from a lock to what its holder waits for.
#[derive(Clone, Debug)]
pub struct WhyRow {
    /// The hold.
    pub lock: LockRow,
    /// What its holder waits for itself.
    pub waits_for: Option<Name>,
}

/// Counters since the start, and of the moment.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Sessions that live.
    pub sessions: usize,
    /// Of the lock table.
    pub table: crate::lock::Counters,
    /// Requests answered 0.
    pub timeouts: u64,
    /// Locks freed since their session ended while it held them.
    pub abandoned: u64,
    /// Since the start.
    pub uptime: Duration,
    /// Bytes that connections make the server remember, beyond what each has for itself.
    pub memory: usize,
    /// How many they may be.
    pub max_memory: usize,
}

/// What a user may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// To take this lock.
    Lock(Name),
    /// To look at this lock.
    See(Name),
    /// To end this session.
    Kill(SessionId),
}

/// Why a command was refused. The session goes on, with all it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Waiting would have closed a cycle.
    Deadlock(Cycle),
    /// `KILL QUERY` ended the wait.
    Interrupted,
    /// The session holds as many locks as it may.
    TooManyLocks(usize),
    /// As many wait for the lock as may.
    TooManyWaiters(usize),
    /// All locks that may be held are, or the user or the address holds its share; or has its share of the connections.
    NoPlace(NoPlace),
    /// There is no memory for what it would make the server keep.
    TooMuchMemory(Exceeded),
    /// No session has this number.
    NoSession(SessionId),
    /// The server is stopping, and grants nothing new.
    Stopping,
    /// The server has users, and the session has not said which it is.
    NoLogin,
    /// It was not let in as the user that it said.
    BadLogin(Denied),
    /// It is logged in as another user.
    OtherUser,
    /// Its user may not. Boxed: answers are kept small.
    Forbidden(Box<Forbidden>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(cycle) => cycle.fmt(f),
            Self::Interrupted => f.write_str("KILL QUERY ended this wait; the session and all it holds stay"),
            Self::TooManyLocks(max) => {
                write!(f, "this session holds {max} locks and may hold no more (--max-locks-per-session)")
            }
            Self::TooManyWaiters(max) => {
                write!(
                    f,
                    "{max} wait for this lock and no more may (--max-waiters-per-lock); try again later"
                )
            }
            Self::NoPlace(no_place) => no_place.fmt(f),
            Self::TooMuchMemory(exceeded) => exceeded.fmt(f),
            Self::NoSession(id) => write!(f, "there is no session {id}; SESSIONS lists them"),
            Self::Stopping => {
                f.write_str("the server is stopping and grants nothing new; release what you hold")
            }
            Self::NoLogin => f.write_str("log in first: AUTH user password"),
            Self::BadLogin(denied) => denied.fmt(f),
            Self::OtherUser => {
                f.write_str("this session has logged in as another user; open another connection")
            }
            Self::Forbidden(what) => what.fmt(f),
        }
    }
}

impl From<NoPlace> for Error {
    fn from(no_place: NoPlace) -> Self {
        Self::NoPlace(no_place)
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::TooMuchMemory(exceeded)
    }
}

impl From<Forbidden> for Error {
    fn from(what: Forbidden) -> Self {
        Self::Forbidden(Box::new(what))
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(name) => write!(f, "your user may not lock {}", Written(name.as_str())),
            Self::See(name) => write!(f, "your user may not look at {}", Written(name.as_str())),
            Self::Kill(id) => write!(f, "your user may not end session {id}"),
        }
    }
}

/// Why a session ends though its client did not ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `KILL`, by this session.
    Killed(SessionId),
    /// The server stops.
    Shutdown,
    /// Its user is none any more, or may not lock what it holds or waits for.
    Revoked,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(by) => write!(f, "killed by session {by}"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Revoked => f.write_str("its user may not any more"),
        }
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waiting would never end")?;
        let more = self.length - self.links.len();
        if more > 0 {
            // First: a wire may cut the text off behind it.
            write!(f, " as {} sessions wait for each other", self.length)?;
        }
        f.write_str(":")?;
        for link in &self.links {
            write!(f, " {} waits for {} held by {};", link.waiter, Written(link.name.as_str()), link.holder)?;
        }
        if more > 0 {
            write!(f, " ... and {more} more;")?;
        }
        f.write_str(" release one, or try with timeout 0")
    }
}
