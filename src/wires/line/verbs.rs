//! The commands of this wire: how each is called, and what it becomes.

use std::str;

use getlockd_proto::escape;

use super::{
    error::Refusal,
    grammar::{self, Arg, Call},
};
use crate::{
    core::{
        command::LockRequest,
        lock::{Mode, SessionId},
        session::{Locks, Sessions, Waiters, Why, first_page},
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
    /// `IS_FREE_LOCK`.
    IsFree(Name),
    /// `IS_USED_LOCK`.
    UsedBy(Name),
    /// `FENCING_TOKEN`.
    FencingToken(Name),
    /// `CONNECTION_ID`.
    ConnectionId,
    /// A list that takes the longer the more locks and sessions there are.
    List(List),
    /// The numbers of the server.
    Stats,
    /// To end a session.
    Kill(SessionId),
    /// To end a session's wait.
    CancelWait(SessionId),
    /// Whether the server is there.
    Ping,
    /// For how long nobody else is granted what the session holds.
    Keepalive,
    /// What it is.
    Hello,
    /// How to use a command, or all of them.
    Help(Option<&'static Verb>),
    /// To be let in.
    Auth(Credentials),
    /// To close the connection.
    Quit,
}

/// A list of this wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
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
    request: fn(&Args<'_>) -> Result<Request, Refusal>,
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
    /// [`Refusal`] tells what is wrong and what would be right.
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let Call { word, args } = grammar::parse(line).map_err(|refusal| without_secrets(line, refusal))?;
        let verb = Verb::find(word)?;
        (verb.request)(&Args { verb, args })
    }
}

/// What is wrong with a line is told with a part of it, but not with what may be a password.
fn without_secrets(line: &[u8], refusal: Refusal) -> Refusal {
    let names_auth =
        line.windows(AUTH.name.len()).any(|part| part.eq_ignore_ascii_case(AUTH.name.as_bytes()));
    if names_auth { AUTH.refusal() } else { refusal }
}

impl Verb {
    /// All of them.
    pub const ALL: &'static [Self] = &VERBS;

    /// Its name and its arguments.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.args).trim_end().to_owned()
    }

    /// What is said to one who calls it with other arguments.
    fn refusal(&self) -> Refusal {
        if self.args.is_empty() {
            return Refusal::NoArguments(self.name);
        }
        Refusal::Usage { usage: self.usage(), example: self.example }
    }

    fn find(word: &[u8]) -> Result<&'static Self, Refusal> {
        // Programs write them as they stand here.
        let exactly = Self::ALL.iter().find(|verb| verb.name.as_bytes() == word);
        let named = |verb: &&Self| verb.name.as_bytes().eq_ignore_ascii_case(word);
        exactly.or_else(|| Self::ALL.iter().find(named)).ok_or_else(|| {
            if grammar::is_sql(word) {
                return Refusal::NoCall;
            }
            let word = grammar::shown(word);
            let nearest = nearest(&word.to_ascii_uppercase());
            Refusal::UnknownCommand { word, nearest }
        })
    }
}

/// The command that a word was meant to be: it takes fewer changes than half the word.
fn nearest(word: &str) -> Option<&'static str> {
    let distance = |verb: &&Verb| strsim::damerau_levenshtein(word, verb.name);
    let verb = Verb::ALL.iter().min_by_key(distance)?;
    (distance(&verb) * 2 < verb.name.len().max(word.len())).then_some(verb.name)
}

struct Args<'a> {
    verb: &'static Verb,
    args: grammar::Args<'a>,
}

impl Args<'_> {
    fn exactly<const N: usize>(&self) -> Result<&[Arg<'_>; N], Refusal> {
        self.args.as_slice().try_into().map_err(|_| self.usage())
    }

    fn at_most_one(&self) -> Result<Option<&Arg<'_>>, Refusal> {
        match self.args.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self.usage()),
        }
    }

    fn on_name(&self, request: fn(Name) -> Request) -> Result<Request, Refusal> {
        let [name] = self.exactly()?;
        Ok(request(lock_name(name)?))
    }

    fn locks(&self) -> Result<Request, Refusal> {
        // Every name starts with nothing.
        let prefix = self.at_most_one()?.filter(|prefix| !prefix.text.is_empty());
        let prefix = prefix.map(lock_name).transpose()?;
        Ok(Request::List(List::Locks(Locks { prefix, page: first_page() })))
    }

    fn get_lock(&self, mode: Mode) -> Result<Request, Refusal> {
        let [name, timeout] = self.exactly()?;
        let name = lock_name(name)?;
        let text = str::from_utf8(&timeout.text).unwrap_or_default();
        let timeout = text.parse().map_err(|bad| Refusal::BadTimeout(grammar::shown(&timeout.text), bad))?;
        Ok(Request::Acquire(LockRequest { name, mode, timeout }))
    }

    fn kill(&self) -> Result<Request, Refusal> {
        let request = match self.args.as_slice() {
            [id] => id.number().map(Request::Kill),
            [kind, id] if kind.is("QUERY") => id.number().map(Request::CancelWait),
            [kind, id] if kind.is("CONNECTION") => id.number().map(Request::Kill),
            _ => None,
        };
        request.ok_or_else(|| self.usage())
    }

    fn help(&self) -> Result<Request, Refusal> {
        let verb = self.at_most_one()?.map(|word| Verb::find(&word.text)).transpose()?;
        Ok(Request::Help(verb))
    }

    fn alone(&self, request: Request) -> Result<Request, Refusal> {
        let [] = self.exactly()?;
        Ok(request)
    }

    fn auth(&self) -> Result<Request, Refusal> {
        let [name, password] = self.exactly()?;
        let name = str::from_utf8(&name.text).map_err(|_| self.usage())?.to_owned();
        Ok(Request::Auth(Credentials { name, password: password.text.to_vec() }))
    }

    fn usage(&self) -> Refusal {
        self.verb.refusal()
    }
}

impl Arg<'_> {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    fn number(&self) -> Option<SessionId> {
        str::from_utf8(&self.text).ok()?.parse().ok().map(SessionId)
    }
}

fn lock_name(arg: &Arg<'_>) -> Result<Name, Refusal> {
    if arg.is("NULL") {
        return Err(Refusal::NullName);
    }
    let name = Name::from_bytes(&arg.text)?;
    if arg.text.is_ascii() {
        // The grammar has looked at what is not quoted.
        return Ok(name);
    }
    match name.as_str().chars().find(|&c| !escape::is_bare(c)) {
        Some(c) if !arg.quoted => Err(Refusal::Unprintable(c)),
        _ => Ok(name),
    }
}

const AUTH: Verb = Verb {
    name: "AUTH",
    args: "user password",
    example: "AUTH app1 'my password'",
    does: "logs in, where the server has users: 1",
    request: |args| args.auth(),
};

const VERBS: [Verb; 20] = [
    Verb {
        name: "GET_LOCK",
        args: "name timeout",
        example: "GET_LOCK nightly 10",
        does: "takes a lock: 1 taken, 0 not within timeout seconds (0 only tries, -1 waits for ever)",
        request: |args| args.get_lock(Mode::Exclusive),
    },
    Verb {
        name: "GET_SHARED_LOCK",
        args: "name timeout",
        example: "GET_SHARED_LOCK report 10",
        does: "takes a lock beside other shared holders: 1 taken, 0 not within timeout seconds",
        request: |args| args.get_lock(Mode::Shared),
    },
    Verb {
        name: "RELEASE_LOCK",
        args: "name",
        example: "RELEASE_LOCK nightly",
        does: "frees one count of a lock: 1 freed, 0 held only by others, NULL held by nobody",
        request: |args| args.on_name(Request::Release),
    },
    Verb {
        name: "RELEASE_ALL_LOCKS",
        args: "",
        example: "RELEASE_ALL_LOCKS",
        does: "frees all that this session holds: the number of counts freed",
        request: |args| args.alone(Request::ReleaseAll),
    },
    Verb {
        name: "IS_FREE_LOCK",
        args: "name",
        example: "IS_FREE_LOCK nightly",
        does: "whether nobody holds a lock: 1 or 0",
        request: |args| args.on_name(Request::IsFree),
    },
    Verb {
        name: "IS_USED_LOCK",
        args: "name",
        example: "IS_USED_LOCK nightly",
        does: "the session that holds a lock (of several the oldest holder), or NULL",
        request: |args| args.on_name(Request::UsedBy),
    },
    Verb {
        name: "FENCING_TOKEN",
        args: "name",
        example: "FENCING_TOKEN nightly",
        does: "the fencing token of this session's hold, or NULL",
        request: |args| args.on_name(Request::FencingToken),
    },
    Verb {
        name: "CONNECTION_ID",
        args: "",
        example: "CONNECTION_ID",
        does: "the number of this session",
        request: |args| args.alone(Request::ConnectionId),
    },
    Verb {
        name: "LOCKS",
        args: "[prefix]",
        example: "LOCKS app1:",
        does: "lists the locks that are held, by name",
        request: |args| args.locks(),
    },
    Verb {
        name: "WAITERS",
        args: "name",
        example: "WAITERS nightly",
        does: "lists who waits for a lock, in the order in which they will get it",
        request: |args| {
            args.on_name(|name| Request::List(List::Waiters(Waiters { name, page: first_page() })))
        },
    },
    Verb {
        name: "WHY",
        args: "name",
        example: "WHY nightly",
        does: "lists who holds a lock, what that holder waits for, who holds that, and so on",
        request: |args| args.on_name(|name| Request::List(List::Why(Why { name }))),
    },
    Verb {
        name: "SESSIONS",
        args: "",
        example: "SESSIONS",
        does: "lists the sessions",
        request: |args| args.alone(Request::List(List::Sessions(Sessions { page: first_page() }))),
    },
    Verb {
        name: "STATS",
        args: "",
        example: "STATS",
        does: "shows the server's counters",
        request: |args| args.alone(Request::Stats),
    },
    Verb {
        name: "KILL",
        args: "[QUERY] id",
        example: "KILL 7",
        does: "ends a session: 1; with QUERY only its wait: 1, or 0 if it was not waiting",
        request: |args| args.kill(),
    },
    AUTH,
    Verb {
        name: "PING",
        args: "",
        example: "PING",
        does: "answers PONG",
        request: |args| args.alone(Request::Ping),
    },
    Verb {
        name: "KEEPALIVE",
        args: "",
        example: "KEEPALIVE",
        does: "for how many seconds, counted from when you sent this, nobody else is granted what you hold",
        request: |args| args.alone(Request::Keepalive),
    },
    Verb {
        name: "HELLO",
        args: "",
        example: "HELLO",
        does: "tells version, protocol, the number of this session, and limits",
        request: |args| args.alone(Request::Hello),
    },
    Verb {
        name: "HELP",
        args: "[command]",
        example: "HELP GET_LOCK",
        does: "explains the commands, or one of them",
        request: |args| args.help(),
    },
    Verb {
        name: "QUIT",
        args: "",
        example: "QUIT",
        does: "frees everything, answers BYE and closes",
        request: |args| args.alone(Request::Quit),
    },
];
