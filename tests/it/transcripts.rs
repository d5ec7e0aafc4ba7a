//! Replays the transcripts of protocol.md, README.md and the pages of `docs` against a real server.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    common::{Client, TestServer, http::Request, stub_cluster::term},
    durable::Restartable,
    markdown::{blocks, guides, read},
};
use getlockd::internal::line::Verb;
use getlockd_proto::{name::MAX_NAME_CHARS, symbol::Symbol};

pub const PROTOCOL: &str = include_str!("../../protocol.md");
const USERS: &str = "users.toml";

#[derive(Debug, PartialEq)]
enum Step<'a> {
    Start(Vec<&'a str>),
    Stop,
    /// By SIGKILL.
    Kill,
    /// Whether the disk has room.
    Room(bool),
    /// By HTTP: method, path, body.
    Request(&'a str, &'a str, &'a str),
    /// Of HTTP: status, body.
    Reply(u16, &'a str),
    Send(char, &'a str),
    Receive(char, &'a str),
    Close(char),
    Closed(char),
}

fn step(line: &str) -> Step<'_> {
    if let Some(flags) = line.strip_prefix("$ getlockd ") {
        return Step::Start(flags.split(' ').collect());
    }
    match line {
        "$ kill -TERM getlockd" => return Step::Stop,
        "$ kill -KILL getlockd" => return Step::Kill,
        "$ # the disk is full" => return Step::Room(false),
        "$ # the disk has room again" => return Step::Room(true),
        _ => {}
    }
    if let Some((method @ ("GET" | "POST"), rest)) = line.split_once(' ') {
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        return Step::Request(method, path, body);
    }
    if let Some((status, body)) = line.split_once(' ')
        && let Ok(status) = status.parse()
    {
        return Step::Reply(status, body);
    }
    let who = line.chars().next().filter(char::is_ascii_uppercase).unwrap_or_else(|| panic!("{line:?}"));
    match &line[1..] {
        " closes" => Step::Close(who),
        " is closed" => Step::Closed(who),
        rest if rest.starts_with("> ") => Step::Send(who, &rest[2..]),
        rest if rest.starts_with("< ") => Step::Receive(who, &rest[2..]),
        _ => panic!("not a line of a transcript: {line:?}"),
    }
}

/// `{n*65}` becomes 65 times the letter.
pub fn expand(line: &str) -> String {
    let expanded = || {
        let (before, rest) = line.split_once('{')?;
        let (inside, after) = rest.split_once('}')?;
        let (letter, count) = inside.rsplit_once('*')?;
        Some(format!("{before}{}{}", letter.repeat(count.parse().ok()?), expand(after)))
    };
    expanded().unwrap_or_else(|| line.to_owned())
}

/// A server with these flags; one of a cluster leads it, under a term that outlasts the test. The file of users that a flag names is the one of docs/security.md.
pub fn server_with(flags: &[&str]) -> (tempfile::TempDir, TestServer) {
    let dir = tempfile::tempdir().unwrap();
    if flags.first() == Some(&"--cluster") {
        return (dir, TestServer::leading(term(Duration::from_hours(1)), &[]));
    }
    let users = dir.path().join(USERS).display().to_string();
    std::fs::write(&users, blocks(&read("docs/security.md"), "toml").remove(0).1.join("\n")).unwrap();
    let flags: Vec<_> = flags.iter().map(|&flag| if flag == USERS { users.as_str() } else { flag }).collect();
    (dir, TestServer::with(&flags))
}

/// Whether a line is the one shown, but for what differs from run to run.
fn same(shown: &str, got: &str) -> bool {
    let words = shown.split(' ').zip(got.split(' '));
    shown.split(' ').count() == got.split(' ').count()
        && words.into_iter().all(|(shown, got)| same_word(shown, got))
}

fn same_word(shown: &str, got: &str) -> bool {
    let is_token = |word: &str| word.len() == 16 && word.bytes().all(|b| b.is_ascii_digit());
    let is_time = |word: &str| word.split_once('.').is_some_and(|(_, millis)| millis.len() == 3);
    match shown.split_once('=').zip(got.split_once('=')) {
        Some((("fencing_token", _), ("fencing_token", value))) => is_token(value),
        Some((("peer", _), ("peer", value))) => value.starts_with("127.0.0.1:"),
        // A whole number of seconds is promised as it stands; the rest of a term is what it is.
        Some((("left", shown), ("left", value))) => {
            shown == value || !shown.ends_with(".000") && is_time(value)
        }
        Some((
            (
                shown @ ("held" | "acquired" | "waited" | "idle" | "age" | "uptime" | "expires"
                | "leader_since" | "started"),
                _,
            ),
            (got, value),
        )) => shown == got && is_time(value),
        _ => shown == got || is_token(shown) && is_token(got),
    }
}

/// Where the server of a transcript runs.
enum Host {
    Here(TestServer),
    /// In a process of its own, since it has a store: it may be killed. Its transcripts show no wait.
    Apart(Restartable),
}

impl Host {
    fn http(&self) -> SocketAddr {
        match self {
            Self::Here(server) => server.http,
            Self::Apart(server) => server.http,
        }
    }

    /// A new client, which has its session.
    async fn client(&self) -> Client {
        let server = match self {
            Self::Here(server) => server,
            Self::Apart(server) => return Client::connect(server.line).await,
        };
        let here = server.service.registry().count();
        let client = server.client().await;
        tokio::select! {
            () = server.until(|stats| stats.sessions == here + 1) => {}
            _ = client.stream.get_ref().readable() => {}
        }
        client
    }

    fn waiting(&self) -> usize {
        match self {
            Self::Here(server) => server.service.stats().table.waiters,
            Self::Apart(_) => 0,
        }
    }

    async fn until_waiting(&self, waiters: usize) {
        match self {
            Self::Here(server) => server.until_waiting(waiters).await,
            Self::Apart(_) => panic!("a wait cannot be seen in another process"),
        }
    }

    /// What an operator does.
    fn operate(&mut self, step: &Step<'_>) -> Result<(), String> {
        match (self, step) {
            (Self::Here(server), Step::Stop) => server.stop(),
            (Self::Apart(server), Step::Stop) => server.end("-TERM"),
            (Self::Apart(server), Step::Kill) => server.end("-KILL"),
            (Self::Apart(server), Step::Start(flags)) => server.start_again(flags),
            (Self::Apart(server), Step::Room(has_room)) => server.set_room(*has_room),
            (Self::Here(_), _) => return Err("the server has no --store".to_owned()),
            (Self::Apart(_), _) => return Err("not what an operator does".to_owned()),
        }
        Ok(())
    }
}

struct Replay {
    server: Host,
    /// None for one that has closed.
    clients: BTreeMap<char, Option<Client>>,
    /// Requests without a reply so far.
    requests: VecDeque<Request>,
    /// What the tokens that are shown are in truth.
    tokens: Vec<(String, String)>,
}

/// The tokens of leases in a text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a reply is the one shown: JSON but for numbers and moments, which differ.
fn same_reply(shown: &str, got: &str) -> bool {
    let parse = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).ok().filter(serde_json::Value::is_object)
    };
    match (parse(shown), parse(got)) {
        (Some(shown), Some(got)) => same_json(&shown, &got),
        _ => shown == got,
    }
}

fn same_json(shown: &serde_json::Value, got: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object, String};
    let is_moment = |text: &str| text.len() == 24 && text.ends_with('Z');
    match (shown, got) {
        (Object(shown), Object(got)) => {
            shown.len() == got.len()
                && shown.iter().zip(got).all(|(s, g)| s.0 == g.0 && (s.0 == "message" || same_json(s.1, g.1)))
        }
        (Array(shown), Array(got)) => {
            shown.len() == got.len() && shown.iter().zip(got).all(|(shown, got)| same_json(shown, got))
        }
        (Number(_), Number(_)) => true,
        (String(shown), String(got)) => {
            shown == got || is_moment(shown) && is_moment(got) || got.starts_with("127.0.0.1:")
        }
        _ => shown == got,
    }
}

impl Replay {
    /// The client of this name. They come in the order of the alphabet: A is session 1.
    async fn client(&mut self, who: char) -> &mut Client {
        for name in 'A'..=who {
            if !self.clients.contains_key(&name) {
                let client = self.server.client().await;
                self.clients.insert(name, Some(client));
            }
        }
        self.clients.get_mut(&who).unwrap().as_mut().expect("a client that has not closed")
    }

    async fn take(&mut self, step: &Step<'_>, next: Option<&Step<'_>>) -> Result<(), String> {
        match *step {
            Step::Start(_) | Step::Stop | Step::Kill | Step::Room(_) => return self.server.operate(step),
            Step::Request(method, path, body) => {
                let real = |text: &str| {
                    self.tokens.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, real))
                };
                let (waiting, path, body) = (self.server.waiting(), real(path), real(body));
                self.requests.push_back(Request::send(self.server.http(), method, &path, &body).await);
                if !matches!(next, Some(Step::Reply(..))) {
                    self.server.until_waiting(waiting + 1).await;
                }
            }
            Step::Reply(status, shown) => {
                let (code, got) = self.requests.pop_front().expect("a request").reply().await;
                let pairs = tokens(shown).zip(tokens(&got));
                let pairs: Vec<_> = pairs.map(|(shown, real)| (shown.to_owned(), real.to_owned())).collect();
                let as_shown = pairs.iter().fold(got.clone(), |got, (shown, real)| got.replace(real, shown));
                self.tokens.extend(pairs);
                if code != status || !same_reply(shown, &as_shown) {
                    return Err(format!("got {code} {got}"));
                }
            }
            Step::Send(who, line) => {
                let waiting = self.server.waiting();
                self.client(who).await.send(&expand(line)).await;
                let goes_on = matches!(next, Some(Step::Send(w, _) | Step::Receive(w, _)) if *w == who);
                if !goes_on {
                    self.server.until_waiting(waiting + 1).await;
                }
            }
            Step::Receive(who, shown) => {
                let got = self.client(who).await.next().await;
                // The token of a lease is all of a line.
                if let Some((shown, got)) =
                    tokens(shown).zip(tokens(got.as_deref().unwrap_or_default())).next()
                {
                    self.tokens.push((shown.to_owned(), got.to_owned()));
                } else if !got.as_deref().is_some_and(|got| same(shown, got)) {
                    return Err(format!("got {got:?}"));
                }
            }
            Step::Close(who) => drop(self.clients.insert(who, None)),
            Step::Closed(who) => {
                let rest = self.client(who).await.next().await;
                return rest.map_or(Ok(()), |line| Err(format!("still open: {line}")));
            }
        }
        Ok(())
    }
}

async fn replay(file: &str, (number, lines): (usize, Vec<&str>)) {
    let mut steps: Vec<_> = lines.iter().map(|line| step(line)).collect();
    let mut first = number + 1;
    let (_dir, server) = match &steps[0] {
        Step::Start(flags) if flags[0] == "--store" => (None, Host::Apart(Restartable::start(flags))),
        first => {
            let flags = if let Step::Start(flags) = first { &flags[..] } else { &[] };
            let (dir, server) = server_with(flags);
            (Some(dir), Host::Here(server))
        }
    };
    if matches!(steps[0], Step::Start(_)) {
        steps.remove(0);
        first += 1;
    }
    let (requests, tokens) = (VecDeque::new(), Vec::new());
    let mut replay = Replay { server, clients: BTreeMap::new(), requests, tokens };
    for (at, step) in steps.iter().enumerate() {
        let outcome = replay.take(step, steps.get(at + 1)).await;
        outcome.unwrap_or_else(|got| panic!("{file}:{}: {step:?}: {got}", first + at));
    }
}

#[tokio::test]
async fn transcripts_of_protocol_md_replay() {
    let transcripts = blocks(PROTOCOL, "transcript");
    assert!(transcripts.len() > 20);
    for transcript in transcripts {
        replay("protocol.md", transcript).await;
    }
}

#[tokio::test]
async fn transcripts_of_the_guides_replay() {
    let mut replayed = 0;
    for (path, text) in guides() {
        for transcript in blocks(&text, "transcript") {
            replay(&path, transcript).await;
            replayed += 1;
        }
    }
    assert!(replayed > 2, "{replayed}");
}

#[tokio::test]
async fn client_in_ten_lines_takes_the_lock() {
    use crate::common::{console::output, python};
    let server = TestServer::start();
    let lines = blocks(PROTOCOL, "python").remove(0).1;
    assert_eq!(lines.iter().filter(|line| !line.is_empty()).count(), 8, "lines of code");
    let program = lines.join("\n").replace("3305", &server.addr.port().to_string());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("client.py"), &program).unwrap();
    let python = python().display().to_string();
    assert_eq!(output(&python, &["client.py"], folder.path()).await, "working\n");

    server.until(|stats| stats.table.locks == 0).await;
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    std::fs::write(folder.path().join("client.py"), program.replace("nightly 10", "nightly 0")).unwrap();
    assert_eq!(output(&python, &["client.py"], folder.path()).await, "");
}

#[test]
fn every_error_is_listed_once_and_shown() {
    let symbols: BTreeSet<_> = Symbol::ALL.iter().map(|symbol| symbol.as_str()).collect();
    let part = PROTOCOL.split_once("\n## 3. Errors\n").unwrap().1.split_once("\n## ").unwrap().0;
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let listed: BTreeSet<_> = rows.map(|(symbol, _)| symbol).collect();
    assert_eq!(listed, symbols);
    let transcripts = blocks(PROTOCOL, "transcript");
    let shown = transcripts.iter().flat_map(|(_, lines)| lines);
    let shown: BTreeSet<_> =
        shown.filter_map(|line| line.get(3..)?.strip_prefix("ERROR ")?.split(' ').next()).collect();
    assert_eq!(shown, symbols);
}

#[test]
fn every_command_has_a_section() {
    let chapters: BTreeSet<_> = PROTOCOL.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut commands: BTreeSet<_> = Verb::ALL.iter().map(Verb::usage).collect();
    // KILL has one for each of its forms.
    assert!(commands.remove("KILL [QUERY] id [reason]"));
    commands.extend(["KILL id [reason]".to_owned(), "KILL QUERY id".to_owned()]);
    assert_eq!(chapters, commands.iter().map(String::as_str).collect());
}

#[test]
fn every_limit_equals_its_constant() {
    use getlockd::internal::{line::MAX_LINE, net::MAX_UNSENT, session::MAX_LIST_ROWS};
    for (name, value) in [
        ("`--max-line`", MAX_LINE),
        ("`MAX_NAME_CHARS`", MAX_NAME_CHARS),
        ("`MAX_NAMES`", getlockd::internal::command::MAX_NAMES),
        ("`MAX_LIST_ROWS`", MAX_LIST_ROWS),
        ("`MAX_CYCLE_LINKS`", getlockd::internal::lock::MAX_CYCLE_LINKS),
        ("`PIECE`", getlockd::internal::lock::PIECE),
        ("`MAX_UNSENT`", MAX_UNSENT),
        ("`--max-locks-per-session`", 100_000),
        ("`--max-locks`", 1_000_000),
        ("`OWN_LOCKS`", getlockd::internal::session::OWN_LOCKS),
        ("`MIN_SHARED`", getlockd::internal::share::MIN_SHARED),
        ("`LONG_LIST`", getlockd::internal::web::LONG_LIST),
        ("`--max-packet`", getlockd::internal::mysql::MAX_PACKET),
        ("`MAX_BODY`", getlockd::internal::web::MAX_BODY),
        ("`MAX_TEXT`", getlockd::internal::client_info::MAX_TEXT),
        ("`--max-waiters-per-lock`", 100_000),
        ("`--max-leases`", 100_000),
        ("`MAX_CONNECTION_MEMORY`", getlockd::internal::budget::MAX_CONNECTION_MEMORY),
        ("`OWN_MEMORY`", getlockd::internal::budget::OWN_MEMORY),
        ("`--max-memory`", 1024 * 1024 * 1024),
    ] {
        assert!(PROTOCOL.contains(&format!("| {value} | {name} |")), "{name} = {value}");
    }
    for (name, (at_once, a_second)) in [
        ("`WRONG_BY_NAME_AND_ADDRESS`", getlockd::internal::users::WRONG_BY_NAME_AND_ADDRESS),
        ("`WRONG_BY_NAME`", getlockd::internal::users::WRONG_BY_NAME),
        ("`WRONG_BY_ADDRESS`", getlockd::internal::users::WRONG_BY_ADDRESS),
    ] {
        let row = format!("| {at_once}, {a_second} | {name} |");
        assert!(PROTOCOL.contains(&row), "{row}");
    }
}
