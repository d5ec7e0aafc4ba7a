//! A line to a request: its grammar, the commands of this wire, and what each becomes.
//!
//! ```text
//! line  = [ "SELECT" | "DO" ] word "(" [ arg *( "," arg ) ] ")"
//!       / word *( ( blank | "," ) arg )
//! ```

use std::{borrow::Cow, slice, str, time::Duration};

use getlockd_proto::{
    escape::{self, Visible},
    timeout::Timeout,
};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{take_till1, take_while, take_while1},
    character::complete::char,
    combinator::{cut, opt, verify},
    error::{ErrorKind, ParseError},
    sequence::{delimited, preceded, terminated},
};
use smallvec::SmallVec;

use super::{
    error::LineError,
    hint::{Known, hint},
    select::{self, Probe},
};
use crate::{
    core::{
        command::LockRequest,
        lock::{Mode, SessionId},
        session::{History, Locks, Sessions, Waiters, Why, first_page},
        users::Credentials,
    },
    name::Name,
};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET_LOCK` and `GET_SHARED_LOCK`.
    Acquire(LockRequest),
    /// `RELEASE_LOCK`.
    Release(Name),
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
    /// To end a session.
    Kill {
        /// The session.
        id: SessionId,
        /// Why.
        reason: Option<String>,
    },
    /// To end a session's wait.
    CancelWait(SessionId),
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
        let line = without_end(line);
        Self::of_call(line).or_else(|error| match select::probe(line) {
            Some(Probe::One) => Ok(Self::One),
            Some(Probe::Version) => Ok(Self::Version),
            None => Err(error),
        })
    }

    fn of_call(line: &[u8]) -> Result<Self, LineError> {
        let Call { word, args } = parse(line).map_err(|error| without_secrets(line, error))?;
        match Verb::find(word) {
            Some(verb) => verb.request(&args),
            None if is_sql(word) => Err(LineError::NoCall),
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
        match self.signature {
            Signature::Acquire(_) => &[
                "while it waits, this connection answers nothing else but KEEPALIVE",
                "to end the wait, close the connection, or send KILL QUERY id on another one",
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
            (Signature::Lease, [name, ttl]) => {
                let time = ttl.to_timeout().map_err(|_| LineError::BadTtl(shown(&ttl.text)))?;
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
            (Signature::Verb, []) => Ok(Request::Help(None)),
            (Signature::Verb, [word]) => {
                let verb = Self::find(&word.text).ok_or_else(|| unknown(&word.text, &[]))?;
                Ok(Request::Help(Some(verb)))
            }
            _ => Err(self.wrong_arguments(args)),
        }
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
        word: shown(without_password(word)),
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

impl Arg<'_> {
    fn to_timeout(&self) -> Result<Timeout, LineError> {
        let text = str::from_utf8(&self.text).unwrap_or_default();
        text.parse().map_err(|bad| LineError::BadTimeout(shown(&self.text), bad))
    }

    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    /// Its text if that stands without quotes.
    fn bare(&self) -> Option<&str> {
        if self.quoted { None } else { str::from_utf8(&self.text).ok() }
    }

    /// Whether each character is meant: what is pasted may have some that cannot be seen, or quotation marks of print.
    fn check(&self) -> Result<(), LineError> {
        // The grammar has looked at ASCII.
        if self.text.is_ascii() {
            return Ok(());
        }
        let Some(bare) = self.bare() else { return Ok(()) };
        if let Some(unseen) = bare.chars().find(|&c| !escape::is_bare(c)) {
            return Err(LineError::Unseen(unseen));
        }
        let ends = bare.chars().next().into_iter().chain(bare.chars().next_back());
        ends.into_iter()
            .find(|&c| escape::is_quotation_mark(c))
            .map_or(Ok(()), |mark| Err(LineError::OtherQuotes(mark)))
    }
}

fn lock_name(arg: &Arg<'_>) -> Result<Name, LineError> {
    if arg.is("NULL") {
        return Err(LineError::NullName);
    }
    let name = Name::from_bytes(&arg.text)?;
    arg.check()?;
    Ok(name)
}

const AUTH: Verb = Verb {
    name: "AUTH",
    args: "user password",
    example: "AUTH app1 'my password'",
    does: "log in, if the server has users: 1",
    signature: Signature::Credentials,
};

const VERBS: [Verb; 26] = [
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

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Call<'a> {
    pub word: &'a [u8],
    pub args: ArgList<'a>,
}

/// Nearly all commands have at most two arguments, which need no allocation.
type ArgList<'a> = SmallVec<[Arg<'a>; 2]>;

/// One argument.
#[derive(Debug, PartialEq, Eq)]
struct Arg<'a> {
    pub text: Cow<'a, [u8]>,
    pub quoted: bool,
}

type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// What is wrong, where a parser knows it. nom makes many errors on the way to a result, so this one is cheap when empty.
#[derive(Debug)]
struct Fault(Option<LineError>);

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self(None)
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// A line without what means nothing at its end: blanks, semicolons, and `\G` behind a `SELECT`.
fn without_end(line: &[u8]) -> &[u8] {
    let trimmed =
        |line: &[u8]| line.iter().rposition(|&c| !is_blank(c) && c != b';').map_or(0, |last| last + 1);
    let line = &line[..trimmed(line)];
    match line.strip_suffix(b"\\G") {
        Some(statement) if starts_with_select(line) => &statement[..trimmed(statement)],
        _ => line,
    }
}

/// Takes a line apart. It is not empty.
fn parse(line: &[u8]) -> Result<Call<'_>, LineError> {
    match call(line) {
        Ok(([], called)) => Ok(called.call),
        Ok((rest, called)) if called.parentheses && starts_with_select(line) && select::is_tail(rest) => {
            Ok(called.call)
        }
        Ok((rest, Called { parentheses: true, .. })) => Err(LineError::Extra(shown(rest))),
        Ok((rest, _)) => Err(unexpected(rest)),
        Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
            Err(fault.0.unwrap_or_else(|| unexpected(line)))
        }
        Err(nom::Err::Incomplete(_)) => Err(unexpected(line)),
    }
}

/// A call, and in which shape it came.
struct Called<'a> {
    call: Call<'a>,
    parentheses: bool,
}

fn call(input: &[u8]) -> Parsed<'_, Called<'_>> {
    let (input, first) = preceded(blanks, word).parse(input)?;
    let (input, word, sql) = match blanks1(input) {
        Ok((input, ())) if is_sql(first) => word(input).map(|(input, word)| (input, word, true))?,
        _ => (input, first, false),
    };
    let (input, parentheses) =
        preceded(blanks, opt(char('('))).map(|opening| opening.is_some()).parse(input)?;
    let (input, args) = if parentheses {
        cut(terminated(in_parentheses, blanks)).parse(input)?
    } else if sql {
        return fail(LineError::NoCall);
    } else {
        args(alt((comma, blanks1)), input)?
    };
    Ok((input, Called { call: Call { word, args }, parentheses }))
}

fn word(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_till1(|c| is_blank(c) || matches!(c, b'(' | b',')).parse(input)
}

fn starts_with_select(line: &[u8]) -> bool {
    line.trim_ascii_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"SELECT"))
}

/// What may stand in front of a call.
fn is_sql(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"SELECT") || word.eq_ignore_ascii_case(b"DO")
}

/// Like nom's `separated_list0`, which would allocate a `Vec`.
fn args<'a>(
    separator: impl Parser<&'a [u8], Output = (), Error = Fault>,
    input: &'a [u8],
) -> Parsed<'a, ArgList<'a>> {
    let (mut rest, first) = opt(arg).parse(input)?;
    let mut args: ArgList<'_> = first.into_iter().collect();
    let mut next = opt(preceded(separator, arg));
    while !args.is_empty()
        && let (after, Some(arg)) = next.parse(rest)?
    {
        args.push(arg);
        rest = after;
    }
    Ok((rest, args))
}

fn in_parentheses(input: &[u8]) -> Parsed<'_, ArgList<'_>> {
    let (input, args) = preceded(blanks, |input| args(comma, input)).parse(input)?;
    match preceded(blanks, opt(char(')'))).parse(input)? {
        (input, Some(_)) => Ok((input, args)),
        ([], None) => fail(LineError::Unclosed),
        (rest, None) => fail(LineError::NoComma(shown(rest))),
    }
}

fn arg(input: &[u8]) -> Parsed<'_, Arg<'_>> {
    if let [quote @ (b'\'' | b'"'), text @ ..] = input {
        return match escape::read_quoted(text, *quote) {
            Some((text, rest)) => Ok((rest, Arg { text, quoted: true })),
            None => fail(LineError::Unterminated((*quote).into())),
        };
    }
    let (input, text) = take_while1(is_bare).parse(input)?;
    Ok((input, Arg { text: text.into(), quoted: false }))
}

fn comma(input: &[u8]) -> Parsed<'_, ()> {
    delimited(blanks, char(','), blanks).map(|_| ()).parse(input)
}

fn blanks(input: &[u8]) -> Parsed<'_, ()> {
    take_while(is_blank).map(|_| ()).parse(input)
}

fn blanks1(input: &[u8]) -> Parsed<'_, ()> {
    verify(take_while(is_blank), |blanks: &[u8]| !blanks.is_empty()).map(|_| ()).parse(input)
}

fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t')
}

/// As [`escape::is_bare`]. Bytes beyond ASCII are checked as characters when the name is made.
fn is_bare(c: u8) -> bool {
    matches!(c, b'!' | b'#'..=b'&' | b'*' | b'+' | b'-'..=b'_' | b'a'..=b'~' | 0x80..)
}

fn unexpected(rest: &[u8]) -> LineError {
    LineError::Unexpected(shown(rest))
}

/// How much of what was sent is shown.
const MAX_SHOWN: usize = 40;

/// The start of what was sent, with each character to be seen.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let start: String = text.trim_start_matches(' ').chars().take(MAX_SHOWN).collect();
    let (blanks, seen) = (|c: char| c.is_whitespace() && c != ' ', Visible(&start).to_string());
    seen.chars().map(|c| if blanks(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

fn fail<T>(refusal: LineError) -> Parsed<'static, T> {
    Err(nom::Err::Failure(Fault(Some(refusal))))
}

#[cfg(test)]
mod tests;
