//! A request: the commands of this wire, and what each becomes with its arguments.

mod grammar;

use std::{slice, str, time::Duration};

use getlockd_proto::{escape, timeout::Timeout};

use self::grammar::{Arg, Call, MAX_SHOWN};
use super::{
    error::LineError,
    hint::{Known, hint},
    select::{self, Probe},
};
use crate::{
    core::{
        command::{LockRequest, LocksRequest},
        lock::{Mode, SessionId},
        session::{History, Locks, Sessions, Waiters, Why, first_page},
        users::Credentials,
    },
    name::Name,
};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET_LOCK`, `GET_SHARED_LOCK` and `GET_PERMIT`.
    Acquire(LockRequest),
    /// `GET_LOCKS` and `GET_SHARED_LOCKS`.
    AcquireSeveral(LocksRequest),
    /// `RELEASE_LOCK`.
    Release(Name),
    /// `RELEASE_LOCKS`.
    ReleaseSeveral(Vec<Name>),
    /// `RELEASE_ALL_LOCKS`.
    ReleaseAll,
    /// `LEASE_LOCK`.
    LeaseLock {
        /// The lock.
        name: Name,
        /// How long the lease runs without a heartbeat.
        ttl: Duration,
    },
    /// `IS_FREE_LOCK`.
    IsFree(Name),
    /// `IS_USED_LOCK`.
    UsedBy(Name),
    /// `FENCING_TOKEN`.
    FencingToken(Name),
    /// `CONNECTION_ID`.
    ConnectionId,
    /// A list that takes the longer the more locks and sessions there are.
    List(ListQuery),
    /// `HISTORY`.
    History(History),
    /// `EVENTS`: whether it is told of waits for what it holds.
    Events(bool),
    /// `WATCH`.
    Watch(Option<Name>),
    /// `UNWATCH`.
    Unwatch(Option<Name>),
    /// The numbers of the server.
    Stats,
    /// `NODES`.
    Nodes,
    /// To end a session.
    Kill {
        /// The session.
        id: SessionId,
        /// Why.
        reason: Option<String>,
    },
    /// To end a session's wait.
    CancelWait(SessionId),
    /// `DETAILS`: whether a grant tells how long it was waited for.
    Details(bool),
    /// Whether the server is there.
    Ping,
    /// The same, by `SELECT 1`.
    One,
    /// The version of the server, by `SELECT VERSION()`.
    Version,
    /// For how long nobody else is granted what the session holds.
    Keepalive,
    /// What it is.
    Hello,
    /// How to use a command, or all of them.
    Help(Option<&'static Verb>),
    /// To log in.
    Auth(Credentials),
    /// To be known by these words in lists.
    Introduce {
        /// What the client calls itself.
        client: String,
        /// Its note.
        note: Option<String>,
    },
    /// To close the connection.
    Quit,
}

/// A list of this wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListQuery {
    /// `LOCKS`.
    Locks(Locks),
    /// `WAITERS`.
    Waiters(Waiters),
    /// `SESSIONS`.
    Sessions(Sessions),
    /// `WHY`.
    Why(Why),
}

/// A command of this wire.
#[derive(Debug)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, optional ones in brackets.
    pub args: &'static str,
    /// A line that works.
    pub example: &'static str,
    /// What it does and answers.
    pub does: &'static str,
    signature: Signature,
}

/// Which arguments a command takes, and what it becomes with them.
#[derive(Debug)]
enum Signature {
    /// None.
    Alone(fn() -> Request),
    /// The name of a lock.
    Name(fn(Name) -> Request),
    /// The name of a lock, and how long to wait for it in this mode.
    Acquire(Mode),
    /// The names of locks, and how long to wait for all of them in this mode.
    AcquireSeveral(Mode),
    /// For GET_PERMIT: the name of a lock, how many may hold it together, and how long to wait for it.
    Permit,
    /// The names of locks.
    Names(fn(Vec<Name>) -> Request),
    /// For LEASE_LOCK: the name of a lock, and how long its lease runs.
    Lease,
    /// What names start with, if it is given.
    Prefix(fn(Option<Name>) -> Request),
    /// ON or OFF.
    Switch(fn(bool) -> Request),
    /// For KILL: a session, and what of it to end.
    Session,
    /// For AUTH: a user and a password.
    Credentials,
    /// For INTRODUCE: what the client calls itself, and a note.
    Introduction,
    /// For HELP: a command, if it is given.
    Verb,
}

impl PartialEq for Verb {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Verb {}

impl Request {
    /// Reads a line. It is not empty, and its end of line is taken off.
    ///
    /// # Errors
    /// [`LineError`] tells what is wrong and what would be right.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let line = grammar::without_end(line);
        Self::of_call(line).or_else(|error| match select::probe(line) {
            Some(Probe::One) => Ok(Self::One),
            Some(Probe::Version) => Ok(Self::Version),
            None => Err(error),
        })
    }

    fn of_call(line: &[u8]) -> Result<Self, LineError> {
        let Call { word, args } = grammar::parse(line).map_err(|error| without_secrets(line, error))?;
        match Verb::find(word) {
            Some(verb) => verb.request(&args),
            None if grammar::is_sql(word) => Err(LineError::NoCall),
            None => Err(unknown(word, &args)),
        }
    }
}

/// Errors quote a part of the line, but never what may be a password.
fn without_secrets(line: &[u8], error: LineError) -> LineError {
    let names_auth =
        line.windows(AUTH.name.len()).any(|part| part.eq_ignore_ascii_case(AUTH.name.as_bytes()));
    if names_auth { AUTH.wrong_arguments(&[]) } else { error }
}

impl Verb {
    /// All of them.
    pub const ALL: &'static [Self] = &VERBS;

    /// Names and examples of all commands.
    pub(super) fn known() -> Vec<Known> {
        Self::ALL.iter().map(|verb| Known { name: verb.name, example: verb.example }).collect()
    }

    /// Its name and its arguments.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.args).trim_end().to_owned()
    }

    /// What to know of it beside that.
    pub fn notes(&self) -> &'static [&'static str] {
        const WAITING: &str = "while it waits, this connection answers nothing else but KEEPALIVE";
        const END: &str = "to end the wait, close the connection, or send KILL QUERY id on another one";
        match self.signature {
            Signature::Acquire(_) => &[WAITING, END],
            Signature::AcquireSeveral(_) => &[
                "while it waits it holds none of the locks, and nobody behind it is granted one of them",
                "a timeout may be two words, such as 5 min; put a lock named 5 in quotes",
                WAITING,
                END,
            ],
            Signature::Permit => &[
                "the limit is the same for all: while others hold or wait, another one is ERROR LIMIT_DIFFERS",
                WAITING,
                END,
            ],
            Signature::Lease => &[
                "the session does not hold the lock any more; the lease keeps its fencing token",
                "over HTTP the token renews the lease, and releases it before its time",
            ],
            _ => &[],
        }
    }

    /// The answer to other arguments than it takes.
    fn wrong_arguments(&self, args: &[Arg<'_>]) -> LineError {
        if let Some(error) = args.iter().find_map(|arg| arg.check().err()) {
            return error;
        }
        if self.args.is_empty() {
            return LineError::NoArguments(self.name);
        }
        LineError::Usage { usage: self.usage(), example: self.example }
    }

    fn request(&self, args: &[Arg<'_>]) -> Result<Request, LineError> {
        match (&self.signature, args) {
            (Signature::Alone(request), []) => Ok(request()),
            (Signature::Name(request), [name]) => Ok(request(lock_name(name)?)),
            (Signature::Acquire(mode), [name, timeout]) => {
                let (name, timeout) = (lock_name(name)?, timeout.to_timeout()?);
                Ok(Request::Acquire(LockRequest { name, mode: *mode, timeout }))
            }
            (Signature::Acquire(mode), [name, start, end]) => {
                let timeout = in_two_words(start, end).ok_or_else(|| self.wrong_arguments(args))?;
                Ok(Request::Acquire(LockRequest { name: lock_name(name)?, mode: *mode, timeout }))
            }
            (Signature::AcquireSeveral(mode), _) => self.acquire_several(*mode, args),
            (Signature::Permit, [name, limit, timeout @ ..]) if matches!(timeout.len(), 1 | 2) => {
                let (name, mode) = (lock_name(name)?, Mode::Permit(limit.to_limit()?));
                let timeout = match timeout {
                    [start, end] => in_two_words(start, end).ok_or_else(|| self.wrong_arguments(args))?,
                    _ => timeout[0].to_timeout()?,
                };
                Ok(Request::Acquire(LockRequest { name, mode, timeout }))
            }
            (Signature::Names(request), [_, ..]) => Ok(request(lock_names(args)?)),
            (Signature::Lease, [name, ttl]) => {
                let time = ttl.to_timeout().map_err(|_| LineError::BadTtl(grammar::shown(&ttl.text)))?;
                Self::lease_lock(name, time)
            }
            (Signature::Lease, [name, start, end]) => {
                let ttl = in_two_words(start, end).ok_or_else(|| self.wrong_arguments(args))?;
                Self::lease_lock(name, ttl)
            }
            (Signature::Prefix(request), [] | [_]) => {
                // Every name starts with an empty prefix, which is no name.
                let prefix = args.first().filter(|prefix| !prefix.text.is_empty());
                let prefix = prefix.map(lock_name).transpose()?;
                Ok(request(prefix))
            }
            (Signature::Switch(request), [word]) if word.is("ON") => Ok(request(true)),
            (Signature::Switch(request), [word]) if word.is("OFF") => Ok(request(false)),
            (Signature::Session, [kind, id]) if kind.is("QUERY") => {
                Ok(Request::CancelWait(self.session(id)?))
            }
            (Signature::Session, [kind, id, reason @ ..]) if kind.is("CONNECTION") => self.kill(id, reason),
            (Signature::Session, [id, reason @ ..]) => self.kill(id, reason),
            (Signature::Credentials, [name, password]) => {
                args.iter().try_for_each(Arg::check)?;
                let name = str::from_utf8(&name.text).map_err(|_| self.wrong_arguments(args))?.to_owned();
                Ok(Request::Auth(Credentials { name, password: password.text.to_vec() }))
            }
            (Signature::Introduction, [client]) => {
                Ok(Request::Introduce { client: self.text(client)?, note: None })
            }
            (Signature::Introduction, [client, note]) => {
                Ok(Request::Introduce { client: self.text(client)?, note: Some(self.text(note)?) })
            }
            (Signature::Switch(request), [state]) if state.is("ON") => Ok(request(true)),
            (Signature::Switch(request), [state]) if state.is("OFF") => Ok(request(false)),
            (Signature::Verb, []) => Ok(Request::Help(None)),
            (Signature::Verb, [word]) => {
                let verb = Self::find(&word.text).ok_or_else(|| unknown(&word.text, &[]))?;
                Ok(Request::Help(Some(verb)))
            }
            _ => Err(self.wrong_arguments(args)),
        }
    }

    /// The last two words are the timeout if they are one together, else the last word is.
    fn acquire_several(&self, mode: Mode, args: &[Arg<'_>]) -> Result<Request, LineError> {
        let [names @ .., start, end] = args else { return Err(self.wrong_arguments(args)) };
        let together = if start.quoted || end.quoted { None } else { in_two_words(start, end) };
        let (names, timeout) = match together {
            Some(timeout) => (names, timeout),
            None => (&args[..args.len() - 1], end.to_timeout()?),
        };
        if names.is_empty() {
            return Err(self.wrong_arguments(args));
        }
        Ok(Request::AcquireSeveral(LocksRequest { names: lock_names(names)?, mode, timeout }))
    }

    fn lease_lock(name: &Arg<'_>, ttl: Timeout) -> Result<Request, LineError> {
        let ttl = match ttl {
            Timeout::Within(ttl) => ttl,
            // Longer than any lease.
            Timeout::Forever => Duration::MAX,
        };
        Ok(Request::LeaseLock { name: lock_name(name)?, ttl })
    }

    fn kill(&self, id: &Arg<'_>, reason: &[Arg<'_>]) -> Result<Request, LineError> {
        let id = self.session(id)?;
        let reason = match reason {
            [] => None,
            // Meant in front of the id. The reason would end the session.
            [reason] if reason.is("QUERY") || reason.is("CONNECTION") => {
                return Err(self.wrong_arguments(&[]));
            }
            [reason] => Some(self.text(reason)?),
            _ => return Err(self.wrong_arguments(reason)),
        };
        Ok(Request::Kill { id, reason })
    }

    fn session(&self, id: &Arg<'_>) -> Result<SessionId, LineError> {
        let number = str::from_utf8(&id.text).ok().and_then(|id| id.parse().ok());
        number.map(SessionId).ok_or_else(|| self.wrong_arguments(slice::from_ref(id)))
    }

    /// A text for people. What cannot be seen is taken in quotes alone, as in a name.
    fn text(&self, arg: &Arg<'_>) -> Result<String, LineError> {
        let text = str::from_utf8(&arg.text).map_err(|_| self.wrong_arguments(&[]))?;
        arg.check()?;
        Ok(text.to_owned())
    }

    fn find(word: &[u8]) -> Option<&'static Self> {
        // Programs write them as they stand here.
        let exactly = Self::ALL.iter().find(|verb| verb.name.as_bytes() == word);
        let named = |verb: &&Self| verb.name.as_bytes().eq_ignore_ascii_case(word);
        exactly.or_else(|| Self::ALL.iter().find(named))
    }
}

/// A timeout with a blank in it: `5 min`, `1h 30m`.
fn in_two_words(start: &Arg<'_>, end: &Arg<'_>) -> Option<Timeout> {
    let [last, first] = [start.text.last()?, end.text.first()?].map(u8::is_ascii_digit);
    let text = [&*start.text, &*end.text].concat();
    if last == first { None } else { str::from_utf8(&text).ok()?.parse().ok() }
}

fn unknown(word: &[u8], args: &[Arg<'_>]) -> LineError {
    let bare: Vec<_> = args.iter().map_while(Arg::bare).collect();
    let start: String = String::from_utf8_lossy(word).chars().take(MAX_SHOWN).collect();
    LineError::UnknownCommand {
        word: grammar::shown(without_password(word)),
        hint: hint(&start, &bare, &Verb::known()),
    }
}

/// What is shown of an unknown command. A blank that is pasted, which is none of the grammar's, may have a password behind
/// it.
fn without_password(word: &[u8]) -> &[u8] {
    let text = str::from_utf8(word).unwrap_or_default();
    let start = text.len() - text.trim_start_matches(|c| !escape::is_bare(c)).len();
    let end = text[start..].char_indices().find(|&(_, c)| !escape::is_bare(c));
    end.map_or(word, |(at, _)| &word[..start + at])
}

fn lock_name(arg: &Arg<'_>) -> Result<Name, LineError> {
    if arg.is("NULL") {
        return Err(LineError::NullName);
    }
    let name = Name::from_bytes(&arg.text)?;
    arg.check()?;
    Ok(name)
}

fn lock_names(args: &[Arg<'_>]) -> Result<Vec<Name>, LineError> {
    args.iter().map(lock_name).collect()
}

const AUTH: Verb = Verb {
    name: "AUTH",
    args: "user password",
    example: "AUTH app1 'my password'",
    does: "log in, if the server has users: 1",
    signature: Signature::Credentials,
};

const VERBS: [Verb; 32] = [
    Verb {
        name: "GET_LOCK",
        args: "name timeout",
        example: "GET_LOCK nightly 10",
        does: "take a lock: 1 = taken, 0 = not within timeout seconds (0: try once, -1: wait forever)",
        signature: Signature::Acquire(Mode::Exclusive),
    },
    Verb {
        name: "GET_SHARED_LOCK",
        args: "name timeout",
        example: "GET_SHARED_LOCK report 10",
        does: "take a shared lock: 1 = taken, 0 = not within timeout seconds",
        signature: Signature::Acquire(Mode::Shared),
    },
    Verb {
        name: "RELEASE_LOCK",
        args: "name",
        example: "RELEASE_LOCK nightly",
        does: "release a lock once: 1 = released, 0 = held by others, NULL = not held",
        signature: Signature::Name(Request::Release),
    },
    Verb {
        name: "RELEASE_ALL_LOCKS",
        args: "",
        example: "RELEASE_ALL_LOCKS",
        does: "release all locks of this session: how many times they had been taken",
        signature: Signature::Alone(|| Request::ReleaseAll),
    },
    Verb {
        name: "GET_LOCKS",
        args: "name... timeout",
        example: "GET_LOCKS nightly weekly 10",
        does: "take several locks, all or none: 1 = taken, 0 and a name = that lock was not free in time",
        signature: Signature::AcquireSeveral(Mode::Exclusive),
    },
    Verb {
        name: "GET_SHARED_LOCKS",
        args: "name... timeout",
        example: "GET_SHARED_LOCKS report weekly 10",
        does: "take several shared locks, all or none: 1 = taken, 0 and a name = that lock was not free in time",
        signature: Signature::AcquireSeveral(Mode::Shared),
    },
    Verb {
        name: "RELEASE_LOCKS",
        args: "name...",
        example: "RELEASE_LOCKS nightly weekly",
        does: "release several locks once each: how many of them this session held",
        signature: Signature::Names(Request::ReleaseSeveral),
    },
    Verb {
        name: "GET_PERMIT",
        args: "name limit timeout",
        example: "GET_PERMIT uploads 3 10",
        does: "take a lock that limit sessions may hold together: 1 = taken, 0 = not within timeout seconds",
        signature: Signature::Permit,
    },
    Verb {
        name: "LEASE_LOCK",
        args: "name ttl",
        example: "LEASE_LOCK nightly 3300",
        does: "pass a lock on to a lease of ttl seconds: its token, 0 = held by others, NULL = not held",
        signature: Signature::Lease,
    },
    Verb {
        name: "IS_FREE_LOCK",
        args: "name",
        example: "IS_FREE_LOCK nightly",
        does: "check whether a lock is free: 1 = free, 0 = held",
        signature: Signature::Name(Request::IsFree),
    },
    Verb {
        name: "IS_USED_LOCK",
        args: "name",
        example: "IS_USED_LOCK nightly",
        does: "show the session that holds a lock (the oldest of several), NULL = not held",
        signature: Signature::Name(Request::UsedBy),
    },
    Verb {
        name: "FENCING_TOKEN",
        args: "name",
        example: "FENCING_TOKEN nightly",
        does: "show the fencing token of a lock, NULL = not held by this session",
        signature: Signature::Name(Request::FencingToken),
    },
    Verb {
        name: "CONNECTION_ID",
        args: "",
        example: "CONNECTION_ID",
        does: "show the id of this session",
        signature: Signature::Alone(|| Request::ConnectionId),
    },
    Verb {
        name: "LOCKS",
        args: "[prefix]",
        example: "LOCKS app1:",
        does: "list the locks that are held, by name",
        signature: Signature::Prefix(|prefix| {
            Request::List(ListQuery::Locks(Locks { prefix, page: first_page() }))
        }),
    },
    Verb {
        name: "WAITERS",
        args: "name",
        example: "WAITERS nightly",
        does: "list the sessions that wait for a lock, next first",
        signature: Signature::Name(|name| {
            Request::List(ListQuery::Waiters(Waiters { name, page: first_page() }))
        }),
    },
    Verb {
        name: "WHY",
        args: "name",
        example: "WHY nightly",
        does: "list who holds a lock, what that session waits for, who holds that, and so on",
        signature: Signature::Name(|name| Request::List(ListQuery::Why(Why { name }))),
    },
    Verb {
        name: "HISTORY",
        args: "name",
        example: "HISTORY nightly",
        does: "list past holds of a lock, most recent first, and why each ended",
        signature: Signature::Name(|name| Request::History(History { name: Some(name), page: first_page() })),
    },
    Verb {
        name: "EVENTS",
        args: "ON|OFF",
        example: "EVENTS ON",
        does: "send a line * WAITING when a session begins to wait for a lock that this one holds: 1",
        signature: Signature::Switch(Request::Events),
    },
    Verb {
        name: "WATCH",
        args: "[prefix]",
        example: "WATCH app1:",
        does: "send a line * TAKEN, * FREED or * LOST for each lock with this prefix: 1",
        signature: Signature::Prefix(Request::Watch),
    },
    Verb {
        name: "UNWATCH",
        args: "[prefix]",
        example: "UNWATCH app1:",
        does: "end WATCH for this prefix: 1 = ended, 0 = it was not watched",
        signature: Signature::Prefix(Request::Unwatch),
    },
    Verb {
        name: "SESSIONS",
        args: "",
        example: "SESSIONS",
        does: "list the sessions",
        signature: Signature::Alone(|| Request::List(ListQuery::Sessions(Sessions { page: first_page() }))),
    },
    Verb {
        name: "STATS",
        args: "",
        example: "STATS",
        does: "show the counters of the server",
        signature: Signature::Alone(|| Request::Stats),
    },
    Verb {
        name: "NODES",
        args: "",
        example: "NODES",
        does: "list the nodes of the cluster; none on a server alone",
        signature: Signature::Alone(|| Request::Nodes),
    },
    Verb {
        name: "KILL",
        args: "[QUERY] id [reason]",
        example: "KILL 7 'deploy stuck'",
        does: "end a session, which is told the reason: 1; with QUERY cancel only its wait: 1, 0 = it was not waiting",
        signature: Signature::Session,
    },
    AUTH,
    Verb {
        name: "INTRODUCE",
        args: "client [note]",
        example: "INTRODUCE backup@db1 'nightly backup, ask ops'",
        does: "say who you are, for people who read lists: 1",
        signature: Signature::Introduction,
    },
    Verb {
        name: "DETAILS",
        args: "ON|OFF",
        example: "DETAILS ON",
        does: "show with each grant how long it was waited for, as in 1 waited=0.300: 1",
        signature: Signature::Switch(Request::Details),
    },
    Verb {
        name: "PING",
        args: "",
        example: "PING",
        does: "check the connection: PONG",
        signature: Signature::Alone(|| Request::Ping),
    },
    Verb {
        name: "KEEPALIVE",
        args: "",
        example: "KEEPALIVE",
        does: "show for how many seconds from now on your locks are granted to nobody else",
        signature: Signature::Alone(|| Request::Keepalive),
    },
    Verb {
        name: "HELLO",
        args: "",
        example: "HELLO",
        does: "show the version, the protocol, the id of this session, and limits",
        signature: Signature::Alone(|| Request::Hello),
    },
    Verb {
        name: "HELP",
        args: "[command]",
        example: "HELP GET_LOCK",
        does: "explain all commands, or one",
        signature: Signature::Verb,
    },
    Verb {
        name: "QUIT",
        args: "",
        example: "QUIT",
        does: "release everything and close the connection: BYE",
        signature: Signature::Alone(|| Request::Quit),
    },
];

#[cfg(test)]
mod tests;
