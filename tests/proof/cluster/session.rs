//! Sessions on each wire that expect a server to be gone at any time: no answer is an answer.

use std::{collections::VecDeque, time::Duration};

use bytes::BytesMut;
use getlockd::internal::grpc::proto::{GetLock, LockMode, ReleaseLock, hold_request::Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    caller::{NO, Said, Wire, YES},
    common::{
        Addrs,
        grpc::Hold,
        mysql::{MySql, Reply},
    },
    linear::Tape,
};

/// How long a client waits for an answer before it goes elsewhere.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// A grant with its token, or 0.
pub(super) type Got = (Said, Option<u64>);

/// Why there is no answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// None came in time.
    Late,
    /// The connection has ended.
    Closed,
    /// It was refused: nobody leads, or the server stops.
    Refused,
}

impl NoAnswer {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Late => "not answered in time",
            Self::Closed => "closed while it asked",
            Self::Refused => "refused",
        }
    }
}

pub(super) enum Session {
    Line(Lines),
    MySql(MySql),
    Hold(Hold),
}

impl Session {
    pub(super) async fn open(wire: Wire, addrs: Addrs) -> Option<Self> {
        let open = async {
            Some(match wire {
                Wire::Line => Self::Line(Lines::connect(addrs).await?),
                Wire::MySql => Self::MySql(MySql::reach(addrs.mysql).await?),
                Wire::Hold => Self::Hold(Hold::reach(addrs.http).await?),
            })
        };
        timeout(PATIENCE, open).await.ok().flatten()
    }

    pub(super) async fn get(&mut self, name: &str, wait_ms: u64) -> Result<Got, NoAnswer> {
        let closed = NoAnswer::Closed;
        let get = async {
            let got = match self {
                Self::Line(lines) => {
                    lines.send(&format!("GET_LOCK {name} {wait_ms}ms\nFENCING_TOKEN {name}\n")).await;
                    let said = lines.next().await.ok_or(closed)?;
                    got(&said, &lines.next().await.ok_or(closed)?)
                }
                Self::MySql(mysql) => {
                    let seconds = format!("{}.{:03}", wait_ms / 1000, wait_ms % 1000);
                    mysql
                        .start(&format!("SELECT GET_LOCK('{name}', {seconds}), FENCING_TOKEN('{name}')"))
                        .await;
                    row(mysql.heard().await.ok_or(closed)?).and_then(|row| got(&row[0], &row[1]))
                }
                Self::Hold(hold) => {
                    let (name, mode) = (name.to_owned(), LockMode::Exclusive.into());
                    let wait_ms = i64::try_from(wait_ms).unwrap();
                    hold.try_send(Command::GetLock(GetLock { name, mode, wait_ms, ..GetLock::default() }))
                        .await;
                    let heard = hold.last().await.ok().flatten().ok_or(closed)?;
                    heard.result.map(|said| (Said::Number(said), heard.fencing_token))
                }
            };
            got.ok_or(NoAnswer::Refused)
        };
        timeout(PATIENCE, get).await.unwrap_or(Err(NoAnswer::Late))
    }

    /// Whether it was answered that the lock is released.
    pub(super) async fn release(&mut self, name: &str) -> bool {
        let release = async {
            match self {
                Self::Line(lines) => {
                    lines.send(&format!("RELEASE_LOCK {name}\n")).await;
                    lines.next().await.is_some_and(|said| said == "1")
                }
                Self::MySql(mysql) => {
                    mysql.start(&format!("SELECT RELEASE_LOCK('{name}')")).await;
                    mysql.heard().await.and_then(row).is_some_and(|row| row[0] == "1")
                }
                Self::Hold(hold) => {
                    hold.try_send(Command::ReleaseLock(ReleaseLock { name: name.to_owned() })).await;
                    let heard = hold.last().await.ok().flatten();
                    heard.is_some_and(|heard| heard.result == Some(1))
                }
            }
        };
        timeout(PATIENCE, release).await.unwrap_or(false)
    }

    /// Resolves when the connection is seen to have ended. Nothing else comes while nothing is asked.
    pub(super) async fn closed(&mut self) {
        match self {
            Self::Line(lines) => drop(lines.next().await),
            Self::MySql(mysql) => drop(mysql.stream.read_u8().await),
            Self::Hold(hold) => drop(hold.last().await),
        }
    }
}

fn got(said: &str, token: &str) -> Option<Got> {
    match said {
        "1" => Some((YES, Some(token.parse().ok()?))),
        "0" => Some((NO, None)),
        _ => None,
    }
}

fn row(reply: Reply) -> Option<Vec<String>> {
    let Reply::Rows { mut rows, .. } = reply else { return None };
    Some(rows.pop()?.into_iter().map(Option::unwrap_or_default).collect())
}

/// A connection of the line wire.
pub(super) struct Lines {
    stream: TcpStream,
    read: BytesMut,
}

impl Lines {
    async fn connect(addrs: Addrs) -> Option<Self> {
        let stream = TcpStream::connect(addrs.line).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { stream, read: BytesMut::new() })
    }

    /// That the connection has ended shows in what is read.
    async fn send(&mut self, lines: &str) {
        drop(self.stream.write_all(lines.as_bytes()).await);
    }

    /// None at the end of the connection. Cancel-safe.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.stream.read_buf(&mut self.read).await.is_ok_and(|count| count > 0) {
                continue;
            }
            return None;
        }
    }
}

/// A client that asks `KEEPALIVE` on the connection of its locks, also while it waits, and believes in them until the
/// send of a question and what its answer says is left.
pub(super) struct Asking<'a> {
    lines: Lines,
    tape: &'a Tape,
    /// The sends of questions that were not answered yet.
    questions: VecDeque<u64>,
    every: Duration,
    next_question: Instant,
    term: Option<u64>,
    believes_until: u64,
}

/// Why an asking client is no longer told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Closed,
    /// What was left is over: it believes in nothing that comes.
    Late,
}

impl<'a> Asking<'a> {
    /// Connects, and has its first answer; `every` is the time between questions.
    pub(super) async fn open(addrs: Addrs, tape: &'a Tape, every: Duration) -> Option<Self> {
        let open = async {
            let lines = Lines::connect(addrs).await?;
            let mut asking = Self {
                lines,
                tape,
                questions: VecDeque::new(),
                every,
                next_question: Instant::now(),
                term: None,
                believes_until: u64::MAX,
            };
            asking.question().await;
            let answer = asking.lines.next().await?;
            asking.heard(&answer).then_some(asking)
        };
        timeout(PATIENCE, open).await.ok().flatten()
    }

    pub(super) fn term(&self) -> Option<u64> {
        self.term
    }

    pub(super) fn believes_until(&self) -> u64 {
        self.believes_until
    }

    pub(super) async fn get(&mut self, name: &str, wait_ms: u64) -> Result<Got, NoAnswer> {
        let over = |over| if over == Over::Late { NoAnswer::Late } else { NoAnswer::Closed };
        self.lines.send(&format!("GET_LOCK {name} {wait_ms}ms\nFENCING_TOKEN {name}\n")).await;
        let said = self.answer().await.map_err(over)?;
        got(&said, &self.answer().await.map_err(over)?).ok_or(NoAnswer::Refused)
    }

    pub(super) async fn release(&mut self, name: &str) -> Result<bool, Over> {
        self.lines.send(&format!("RELEASE_LOCK {name}\n")).await;
        Ok(self.answer().await? == "1")
    }

    /// Goes on asking for a while.
    pub(super) async fn hold(&mut self, time: Duration) -> Result<(), Over> {
        timeout(time, self.answer()).await.map_or(Ok(()), |ended| ended.map(drop))
    }

    /// The next line that answers no question. Cancel-safe.
    async fn answer(&mut self) -> Result<String, Over> {
        loop {
            let left = Duration::from_nanos(self.believes_until.saturating_sub(self.tape.now()));
            tokio::select! {
                biased;
                () = sleep(left) => return Err(Over::Late),
                () = sleep_until(self.next_question) => self.question().await,
                line = self.lines.next() => match line {
                    None => return Err(Over::Closed),
                    Some(line) if line.starts_with("KEEPALIVE ") => {
                        if !self.heard(&line) {
                            return Err(Over::Late);
                        }
                    }
                    Some(_) if self.tape.now() >= self.believes_until => return Err(Over::Late),
                    Some(line) => return Ok(line),
                },
            }
        }
    }

    async fn question(&mut self) {
        self.next_question = Instant::now() + self.every;
        self.questions.push_back(self.tape.now());
        self.lines.send("KEEPALIVE\n").await;
    }

    /// False if it came too late, or is of another term.
    fn heard(&mut self, answer: &str) -> bool {
        let Some(asked) = self.questions.pop_front() else { return false };
        let field = |key: &str| answer.split(' ').find_map(|field| field.strip_prefix(key));
        let Some(left) = field("left=").and_then(|left| left.parse().ok()) else { return false };
        let term = field("term=").and_then(|term| term.parse().ok());
        let is_in_time = self.believes_until == u64::MAX || self.tape.now() < self.believes_until;
        let is_of_term = self.believes_until == u64::MAX || self.term == term;
        if is_in_time && is_of_term {
            self.term = term;
            let until = asked + u64::try_from(Duration::from_secs_f64(left).as_nanos()).unwrap();
            self.believes_until =
                if self.believes_until == u64::MAX { until } else { self.believes_until.max(until) };
        }
        is_in_time && is_of_term
    }
}
