//! A line to a request: its grammar, the commands of this wire, and what each becomes.
//!
//! ```text
//! line  = [ "SELECT" | "DO" ] word "(" [ arg *( "," arg ) ] ")"
//!       / word *( ( blank | "," ) arg )
//! ```

use std::{borrow::Cow, str};

use getlockd_proto::escape;
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

use super::error::LineError;
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
    /// For how long nobody else is granted what the session holds.
    Keepalive,
    /// What it is.
    Hello,
    /// How to use a command, or all of them.
    Help(Option<&'static Verb>),
    /// To be let in.
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
    /// For LOCKS: what names start with, if it is given.
    Prefix,
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
        let Call { word, args } = parse(line).map_err(|error| without_secrets(line, error))?;
        Verb::find(word)?.request(&args)
    }
}

/// What is wrong with a line is told with a part of it, but not with what may be a password.
fn without_secrets(line: &[u8], error: LineError) -> LineError {
    let names_auth =
        line.windows(AUTH.name.len()).any(|part| part.eq_ignore_ascii_case(AUTH.name.as_bytes()));
    if names_auth { AUTH.wrong_arguments() } else { error }
}

impl Verb {
    /// All of them.
    pub const ALL: &'static [Self] = &VERBS;

    /// Its name and its arguments.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.args).trim_end().to_owned()
    }

    /// The answer to other arguments than it takes.
    fn wrong_arguments(&self) -> LineError {
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
                let name = lock_name(name)?;
                let text = str::from_utf8(&timeout.text).unwrap_or_default();
                let timeout = text.parse().map_err(|bad| LineError::BadTimeout(shown(&timeout.text), bad))?;
                Ok(Request::Acquire(LockRequest { name, mode: *mode, timeout }))
            }
            (Signature::Prefix, [] | [_]) => {
                // Every name starts with an empty prefix, which is no name.
                let prefix = args.first().filter(|prefix| !prefix.text.is_empty());
                let prefix = prefix.map(lock_name).transpose()?;
                Ok(Request::List(ListQuery::Locks(Locks { prefix, page: first_page() })))
            }
            (Signature::Session, [kind, id]) if kind.is("QUERY") => {
                Ok(Request::CancelWait(self.session(id)?))
            }
            (Signature::Session, [kind, id, reason @ ..]) if kind.is("CONNECTION") => self.kill(id, reason),
            (Signature::Session, [id, reason @ ..]) => self.kill(id, reason),
            (Signature::Credentials, [name, password]) => {
                let name = str::from_utf8(&name.text).map_err(|_| self.wrong_arguments())?.to_owned();
                Ok(Request::Auth(Credentials { name, password: password.text.to_vec() }))
            }
            (Signature::Introduction, [client]) => {
                Ok(Request::Introduce { client: self.text(client)?, note: None })
            }
            (Signature::Introduction, [client, note]) => {
                Ok(Request::Introduce { client: self.text(client)?, note: Some(self.text(note)?) })
            }
            (Signature::Verb, []) => Ok(Request::Help(None)),
            (Signature::Verb, [word]) => Ok(Request::Help(Some(Self::find(&word.text)?))),
            _ => Err(self.wrong_arguments()),
        }
    }

    fn kill(&self, id: &Arg<'_>, reason: &[Arg<'_>]) -> Result<Request, LineError> {
        let id = self.session(id)?;
        let reason = match reason {
            [] => None,
            [reason] => Some(self.text(reason)?),
            _ => return Err(self.wrong_arguments()),
        };
        Ok(Request::Kill { id, reason })
    }

    fn session(&self, id: &Arg<'_>) -> Result<SessionId, LineError> {
        let id = str::from_utf8(&id.text).ok().and_then(|id| id.parse().ok());
        id.map(SessionId).ok_or_else(|| self.wrong_arguments())
    }

    /// A text for people. What cannot be seen is taken in quotes alone, as in a name.
    fn text(&self, arg: &Arg<'_>) -> Result<String, LineError> {
        let text = str::from_utf8(&arg.text).map_err(|_| self.wrong_arguments())?;
        check_visible(arg, text)?;
        Ok(text.to_owned())
    }

    fn find(word: &[u8]) -> Result<&'static Self, LineError> {
        // Programs write them as they stand here.
        let exactly = Self::ALL.iter().find(|verb| verb.name.as_bytes() == word);
        let named = |verb: &&Self| verb.name.as_bytes().eq_ignore_ascii_case(word);
        exactly.or_else(|| Self::ALL.iter().find(named)).ok_or_else(|| {
            if is_sql(word) {
                return LineError::NoCall;
            }
            let word = shown(word);
            let nearest = nearest(&word.to_ascii_uppercase());
            LineError::UnknownCommand { word, nearest }
        })
    }
}

/// The command that a word was meant to be: it takes fewer changes than half the word.
fn nearest(word: &str) -> Option<&'static str> {
    let distance = |verb: &&Verb| strsim::damerau_levenshtein(word, verb.name);
    let verb = Verb::ALL.iter().min_by_key(distance)?;
    (distance(&verb) * 2 < verb.name.len().max(word.len())).then_some(verb.name)
}

impl Arg<'_> {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word.as_bytes())
    }
}

fn lock_name(arg: &Arg<'_>) -> Result<Name, LineError> {
    if arg.is("NULL") {
        return Err(LineError::NullName);
    }
    let name = Name::from_bytes(&arg.text)?;
    check_visible(arg, name.as_str())?;
    Ok(name)
}

/// What cannot be seen has to be quoted.
fn check_visible(arg: &Arg<'_>, text: &str) -> Result<(), LineError> {
    // The grammar has looked at the ASCII of what is not quoted.
    if arg.quoted || arg.text.is_ascii() {
        return Ok(());
    }
    text.chars().find(|&c| !escape::is_bare(c)).map_or(Ok(()), |c| Err(LineError::Unprintable(c)))
}

const AUTH: Verb = Verb {
    name: "AUTH",
    args: "user password",
    example: "AUTH app1 'my password'",
    does: "logs in, where the server has users: 1",
    signature: Signature::Credentials,
};

const VERBS: [Verb; 22] = [
    Verb {
        name: "GET_LOCK",
        args: "name timeout",
        example: "GET_LOCK nightly 10",
        does: "takes a lock: 1 taken, 0 not within timeout seconds (0 only tries, -1 waits forever)",
        signature: Signature::Acquire(Mode::Exclusive),
    },
    Verb {
        name: "GET_SHARED_LOCK",
        args: "name timeout",
        example: "GET_SHARED_LOCK report 10",
        does: "takes a lock beside other shared holders: 1 taken, 0 not within timeout seconds",
        signature: Signature::Acquire(Mode::Shared),
    },
    Verb {
        name: "RELEASE_LOCK",
        args: "name",
        example: "RELEASE_LOCK nightly",
        does: "frees one count of a lock: 1 freed, 0 held only by others, NULL held by nobody",
        signature: Signature::Name(Request::Release),
    },
    Verb {
        name: "RELEASE_ALL_LOCKS",
        args: "",
        example: "RELEASE_ALL_LOCKS",
        does: "frees all that this session holds: the number of counts freed",
        signature: Signature::Alone(|| Request::ReleaseAll),
    },
    Verb {
        name: "IS_FREE_LOCK",
        args: "name",
        example: "IS_FREE_LOCK nightly",
        does: "whether nobody holds a lock: 1 or 0",
        signature: Signature::Name(Request::IsFree),
    },
    Verb {
        name: "IS_USED_LOCK",
        args: "name",
        example: "IS_USED_LOCK nightly",
        does: "the session that holds a lock (of several the oldest holder), or NULL",
        signature: Signature::Name(Request::UsedBy),
    },
    Verb {
        name: "FENCING_TOKEN",
        args: "name",
        example: "FENCING_TOKEN nightly",
        does: "the fencing token of this session's hold, or NULL",
        signature: Signature::Name(Request::FencingToken),
    },
    Verb {
        name: "CONNECTION_ID",
        args: "",
        example: "CONNECTION_ID",
        does: "the number of this session",
        signature: Signature::Alone(|| Request::ConnectionId),
    },
    Verb {
        name: "LOCKS",
        args: "[prefix]",
        example: "LOCKS app1:",
        does: "lists the locks that are held, by name",
        signature: Signature::Prefix,
    },
    Verb {
        name: "WAITERS",
        args: "name",
        example: "WAITERS nightly",
        does: "lists who waits for a lock, in the order in which they will get it",
        signature: Signature::Name(|name| {
            Request::List(ListQuery::Waiters(Waiters { name, page: first_page() }))
        }),
    },
    Verb {
        name: "WHY",
        args: "name",
        example: "WHY nightly",
        does: "lists who holds a lock, what that holder waits for, who holds that, and so on",
        signature: Signature::Name(|name| Request::List(ListQuery::Why(Why { name }))),
    },
    Verb {
        name: "HISTORY",
        args: "name",
        example: "HISTORY nightly",
        does: "lists the holds of a lock that ended, the last first, and why they ended",
        signature: Signature::Name(|name| Request::History(History { name: Some(name), page: first_page() })),
    },
    Verb {
        name: "SESSIONS",
        args: "",
        example: "SESSIONS",
        does: "lists the sessions",
        signature: Signature::Alone(|| Request::List(ListQuery::Sessions(Sessions { page: first_page() }))),
    },
    Verb {
        name: "STATS",
        args: "",
        example: "STATS",
        does: "shows the server's counters",
        signature: Signature::Alone(|| Request::Stats),
    },
    Verb {
        name: "KILL",
        args: "[QUERY] id [reason]",
        example: "KILL 7 'deploy stuck'",
        does: "ends a session, which is told the reason: 1; with QUERY only its wait: 1, or 0 if it was not waiting",
        signature: Signature::Session,
    },
    AUTH,
    Verb {
        name: "INTRODUCE",
        args: "client [note]",
        example: "INTRODUCE backup@db1 'nightly backup, ask ops'",
        does: "says who you are: lists show it from now on: 1",
        signature: Signature::Introduction,
    },
    Verb {
        name: "PING",
        args: "",
        example: "PING",
        does: "answers PONG",
        signature: Signature::Alone(|| Request::Ping),
    },
    Verb {
        name: "KEEPALIVE",
        args: "",
        example: "KEEPALIVE",
        does: "for how many seconds, counted from when you sent this, nobody else is granted what you hold",
        signature: Signature::Alone(|| Request::Keepalive),
    },
    Verb {
        name: "HELLO",
        args: "",
        example: "HELLO",
        does: "tells version, protocol, the number of this session, and limits",
        signature: Signature::Alone(|| Request::Hello),
    },
    Verb {
        name: "HELP",
        args: "[command]",
        example: "HELP GET_LOCK",
        does: "explains the commands, or one of them",
        signature: Signature::Verb,
    },
    Verb {
        name: "QUIT",
        args: "",
        example: "QUIT",
        does: "frees everything, answers BYE and closes",
        signature: Signature::Alone(|| Request::Quit),
    },
];

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Call<'a> {
    pub word: &'a [u8],
    pub args: ArgList<'a>,
}

/// Few commands have more than two: they need no allocation.
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

/// Takes a line apart. It is not empty.
fn parse(line: &[u8]) -> Result<Call<'_>, LineError> {
    // Blanks and semicolons at the end mean nothing.
    let end = line.iter().rposition(|&c| !is_blank(c) && c != b';').map_or(0, |last| last + 1);
    match call(&line[..end]) {
        Ok(([], called)) => Ok(called.call),
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

/// The start of what was sent, fit to be shown.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let start = text.trim_start().chars().take(40);
    start.map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn fail<T>(refusal: LineError) -> Parsed<'static, T> {
    Err(nom::Err::Failure(Fault(Some(refusal))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word and the arguments, quoted ones in single quotes.
    fn shape(line: &str) -> String {
        match parse(line.as_bytes()) {
            Err(error) => format!("{}: {error}", error.symbol().as_str()),
            Ok(Call { word, args }) => {
                let mut parts = vec![String::from_utf8_lossy(word).into_owned()];
                parts.extend(args.iter().map(|arg| {
                    let text = String::from_utf8_lossy(&arg.text);
                    if arg.quoted { format!("'{text}'") } else { text.into_owned() }
                }));
                parts.join("|")
            }
        }
    }

    #[test]
    fn words_calls_and_sql_are_equivalent() {
        assert_eq!(shape("GET_LOCK nightly 10"), "GET_LOCK|nightly|10");
        assert_eq!(shape("  GET_LOCK\tnightly ,  10 ; "), "GET_LOCK|nightly|10");
        assert_eq!(shape("GET_LOCK 'two words' 0.5"), "GET_LOCK|'two words'|0.5");
        assert_eq!(shape("GET_LOCK(\"x\", -1)"), "GET_LOCK|'x'|-1");
        assert_eq!(shape("get_lock ( x , 1 )"), "get_lock|x|1");
        assert_eq!(shape("SELECT GET_LOCK('nightly', 10);"), "GET_LOCK|'nightly'|10");
        assert_eq!(shape("do release_lock('x')"), "release_lock|'x'");
        assert_eq!(shape("CONNECTION_ID()"), "CONNECTION_ID");
        assert_eq!(shape("select"), "select");
        assert_eq!(shape("IS_FREE_LOCK a;b"), "IS_FREE_LOCK|a;b");
        assert_eq!(shape("IS_FREE_LOCK schlüssel"), "IS_FREE_LOCK|schlüssel");
    }

    #[test]
    fn quotes_take_escapes_and_doubling() {
        assert_eq!(shape(r"X 'a\'b' "), "X|'a'b'");
        assert_eq!(shape(r#"X "a\"b""#), "X|'a\"b'");
        assert_eq!(shape(r"X 'a\\'"), r"X|'a\'");
        assert_eq!(shape("X 'it''s'"), "X|'it's'");
        assert_eq!(shape(r#"X "say ""hi""""#), "X|'say \"hi\"'");
        assert_eq!(shape(r"X '\ta\u{e9}\x\u{zz}'"), "X|'\taéxu{zz}'");
        assert_eq!(shape("X ''"), "X|''");
        assert_eq!(shape("X ''''"), "X|'''");
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert_eq!(shape("X 'a"), "SYNTAX: a ' opens a text and nothing closes it");
        assert_eq!(shape(r"X 'a\"), "SYNTAX: a ' opens a text and nothing closes it");
        assert_eq!(shape("X('a'"), "SYNTAX: a ( is not closed by a )");
        assert_eq!(shape("X('a' 1)"), "SYNTAX: a comma or a ) is missing in front of 1)");
        assert_eq!(shape("X('a') AS y"), "SYNTAX: nothing may follow the call, and there is AS y");
        assert!(shape("X 'a'b").starts_with("SYNTAX: b is not understood here"));
        assert!(shape("X a )").starts_with("SYNTAX: ) is not understood here"));
        assert!(shape("X `a` 1").starts_with("SYNTAX: `a` 1 is not understood here"));
        assert!(shape("SELECT X").starts_with("SYNTAX: one call with parentheses"));
    }

    #[test]
    fn ascii_needs_quotes_where_it_is_written_in_quotes() {
        for c in 0..128 {
            assert_eq!(is_bare(c), escape::is_bare(c.into()), "{c}");
        }
    }
}
