//! The task of a connection: the only one that reads and writes it.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    Error, List, Lost, Refused,
    clock::Moment,
    guard::Held,
    handle::{Ask, Awaited, Link, LockReply, Pulse},
    heartbeat::HeartbeatTimer,
    reply::{Line, Lines},
};

/// What a connection goes over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A timer stands still while the machine sleeps: the clock is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

const QUESTION: &[u8] = b"KEEPALIVE\n";

/// Starts the task of a connection.
pub(crate) fn drive(stream: Box<dyn Stream>, stop_within: Option<Duration>) -> Link {
    let (asks, asked) = mpsc::unbounded_channel();
    let (fate, told) = watch::channel(None);
    let pulse = Arc::new(Pulse::default());
    let (reader, writer) = tokio::io::split(stream);
    let driver = Driver {
        asked,
        myself: asks.downgrade(),
        fate,
        pulse: pulse.clone(),
        heartbeat: HeartbeatTimer::new(stop_within),
        late: Vec::new(),
        awaited: VecDeque::new(),
        last: None,
    };
    tokio::spawn(driver.run(reader, Writer { half: writer, output: BytesMut::new(), dirty: false }));
    Link::new(asks, told, pulse)
}

struct Writer {
    half: WriteHalf<Box<dyn Stream>>,
    output: BytesMut,
    /// There is something to be written or to be flushed.
    dirty: bool,
}

impl Writer {
    fn add(&mut self, lines: &[u8]) {
        self.output.extend_from_slice(lines);
        self.dirty = true;
    }

    /// Cancel-safe: no byte is sent twice.
    async fn write(&mut self) -> io::Result<()> {
        self.half.write_all_buf(&mut self.output).await?;
        self.half.flush().await?;
        self.dirty = false;
        Ok(())
    }
}

/// What a driver waits for.
enum Event {
    Asked(Option<Ask>),
    Written(io::Result<()>),
    Read(io::Result<usize>),
    Time,
}

/// A lock that was granted, before anybody is told.
struct Grant {
    name: String,
    fencing_token: u64,
    reply: oneshot::Sender<LockReply>,
}

struct Driver {
    asked: mpsc::UnboundedReceiver<Ask>,
    myself: mpsc::WeakUnboundedSender<Ask>,
    fate: watch::Sender<Option<Lost>>,
    pulse: Arc<Pulse>,
    heartbeat: HeartbeatTimer,
    /// Granted when nothing was promised any more: kept back until it is again.
    late: Vec<Grant>,
    /// In the order of the answers.
    awaited: VecDeque<Awaited>,
    /// What the server said last, if that was why it ends the connection.
    last: Option<Refused>,
}

impl Driver {
    async fn run(mut self, mut reader: ReadHalf<Box<dyn Stream>>, mut writer: Writer) {
        let mut lines = Lines::default();
        // A getlockd answers. What something else says first is no answer to what is asked first, and is found
        // to be none there.
        if let Some(first) = self.asked.recv().await {
            self.ask(first, &mut writer);
        }
        let how = loop {
            let rest = self.watch(&mut writer);
            let event = tokio::select! {
                ask = self.asked.recv() => Event::Asked(ask),
                written = writer.write(), if writer.dirty => Event::Written(written),
                read = reader.read_buf(&mut lines.input) => Event::Read(read),
                () = sleep(rest.unwrap_or_default()), if rest.is_some() => Event::Time,
            };
            // Before anything else: what was answered too late was not answered.
            if self.heartbeat.is_over(Moment::now()) {
                // Closed without a goodbye, which could not be sent either.
                return self.give_up().await;
            }
            match event {
                Event::Asked(Some(ask)) => self.ask(ask, &mut writer),
                // Nobody is there any more, so nobody has a lock on it.
                Event::Asked(None) => break "it was closed".to_owned(),
                Event::Written(Err(error)) => break self.rest(&mut reader, &mut lines, &error).await,
                Event::Read(Ok(0)) => break "the server closed it".to_owned(),
                Event::Read(Ok(_)) => {
                    if let Err(what) = self.take(&mut lines) {
                        break what;
                    }
                }
                Event::Read(Err(error)) => break error.to_string(),
                Event::Written(Ok(())) | Event::Time => {}
            }
        };
        // Told first, then those who wait for answers find that there are none.
        self.fate.send_replace(Some(Lost::new(&how, self.last.take())));
        drop(self);
        let _ = timeout(GOODBYE, writer.half.shutdown()).await;
    }

    /// Tells that the server is silent. If it is there after all, it frees the locks as soon as this connection
    /// is closed: that waits until the promise is over, or all guards are gone, whose work stops meanwhile.
    async fn give_up(mut self) {
        let end = if self.heartbeat.has_guards() { self.heartbeat.promised() } else { Moment::PAST };
        self.fate.send_replace(Some(Lost::silent(end)));
        // Those who wait for answers find that there are none.
        (self.awaited, self.late) = (VecDeque::new(), Vec::new());
        while let Some(rest) = Some(end.since(Moment::now())).filter(|rest| !rest.is_zero()) {
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => drop(ask),
                    None => return,
                },
                () = sleep(rest.min(LOOK)) => {}
            }
        }
    }

    /// Asks if a question is due. Returns how long there is nothing to do.
    fn watch(&mut self, writer: &mut Writer) -> Option<Duration> {
        let now = Moment::now();
        if self.heartbeat.must_ask(now) {
            self.question(now, writer);
        }
        self.pulse.set(&self.heartbeat);
        self.heartbeat.rest(now)
    }

    fn question(&mut self, now: Moment, writer: &mut Writer) {
        self.heartbeat.ask(now);
        writer.add(QUESTION);
    }

    fn ask(&mut self, ask: Ask, writer: &mut Writer) {
        if ask.with_question {
            self.question(Moment::now(), writer);
        }
        if matches!(ask.answer, Awaited::Released(_)) {
            self.heartbeat.remove_guard();
        }
        writer.add(ask.lines.as_bytes());
        self.awaited.push_back(ask.answer);
    }

    /// What cannot be written to may have said why before.
    async fn rest(
        &mut self,
        reader: &mut ReadHalf<Box<dyn Stream>>,
        lines: &mut Lines,
        error: &io::Error,
    ) -> String {
        let rest = async {
            while matches!(reader.read_buf(&mut lines.input).await, Ok(1..)) && self.take(lines).is_ok() {}
        };
        let _ = timeout(GOODBYE, rest).await;
        error.to_string()
    }

    /// Hands out what was answered. Fails if it is no answer.
    fn take(&mut self, lines: &mut Lines) -> Result<(), String> {
        while let Some(line) = lines.next() {
            self.last = match &line {
                Line::Refused(refused) if refused.text.ends_with("closing") => Some(refused.clone()),
                _ => None,
            };
            if let Line::Keepalive(left) = line {
                self.promised(left)?;
                continue;
            }
            match (self.awaited.pop_front(), line) {
                (Some(awaited), line) => {
                    if let Some(unfinished) = self.hand_out(awaited, line)? {
                        self.awaited.push_front(unfinished);
                    }
                }
                // Unasked: it tells why it closes the connection.
                (None, Line::Refused(refused)) => self.last = Some(refused),
                (None, line) => return Err(format!("the server said {line:?} unasked")),
            }
        }
        if lines.are_endless() { Err("the server sends a line without end".to_owned()) } else { Ok(()) }
    }

    /// A question is answered, maybe before what was asked earlier.
    fn promised(&mut self, left: Duration) -> Result<(), String> {
        if !self.heartbeat.answer(left) {
            return Err("the server answered a KEEPALIVE that was not sent".to_owned());
        }
        self.pulse.set_left(left);
        if self.heartbeat.is_certain(Moment::now()) {
            self.heartbeat.end_late();
            for grant in std::mem::take(&mut self.late) {
                self.give(grant);
            }
        }
        Ok(())
    }

    /// Who has not all of an answer yet comes back.
    fn hand_out(&mut self, awaited: Awaited, line: Line) -> Result<Option<Awaited>, String> {
        match awaited {
            Awaited::Released(None) => {}
            Awaited::Word(reply) | Awaited::Released(Some(reply)) => drop(reply.send(match line {
                Line::Text(text) => Ok(text),
                line => Err(line.into_error()),
            })),
            Awaited::List(rows, reply) => match (rows, line) {
                (Ok(mut rows), Line::Text(row)) => {
                    rows.push(row);
                    return Ok(Some(Awaited::List(Ok(rows), reply)));
                }
                (Ok(rows), Line::End(total)) => drop(reply.send(Ok(List { rows, total }))),
                (_, line @ Line::Refused(_)) => drop(reply.send(Err(line.into_error()))),
                (Err(error), Line::End(_)) => drop(reply.send(Err(error))),
                // What is wrong costs this list. The connection stays, and the rest of the list is skipped.
                (Err(error), _) => return Ok(Some(Awaited::List(Err(error), reply))),
                (Ok(_), line) => return Ok(Some(Awaited::List(Err(line.into_error()), reply))),
            },
            Awaited::Lock { name, granted: None, reply } => {
                let granted = Some(granted(line)?);
                return Ok(Some(Awaited::Lock { name, granted, reply }));
            }
            Awaited::Lock { granted: Some(Err(refused)), reply, .. } => drop(reply.send(Err(refused.into()))),
            Awaited::Lock { granted: Some(Ok(false)), reply, .. } => drop(reply.send(Ok(None))),
            Awaited::Lock { name, granted: Some(Ok(true)), reply } => {
                self.granted(Grant { name, fencing_token: token(&line)?, reply });
            }
        }
        Ok(None)
    }

    /// A lock is given out only while it is certain that nobody else has it.
    fn granted(&mut self, grant: Grant) {
        let now = Moment::now();
        if self.heartbeat.is_certain(now) {
            self.give(grant);
        } else {
            self.heartbeat.begin_late(now);
            self.late.push(grant);
        }
    }

    fn give(&mut self, Grant { name, fencing_token, reply }: Grant) {
        // Nobody is there who could hold it: the connection is about to end.
        let Some(asks) = self.myself.upgrade() else { return };
        self.heartbeat.add_guard();
        self.pulse.set(&self.heartbeat);
        let link = Link::new(asks, self.fate.subscribe(), self.pulse.clone());
        // If nobody waits for it any more, it is dropped here, and that frees the lock.
        drop(reply.send(Ok(Some(Held::new(link, name, fencing_token)))));
    }
}

fn granted(line: Line) -> Result<Result<bool, Refused>, String> {
    match line {
        Line::Refused(refused) => Ok(Err(refused)),
        Line::Text(text) if text == "1" => Ok(Ok(true)),
        Line::Text(text) if text == "0" => Ok(Ok(false)),
        line => Err(format!("the server said {line:?} to GET_LOCK")),
    }
}

fn token(line: &Line) -> Result<u64, String> {
    let number = match line {
        Line::Text(token) => token.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("the server said {line:?} for a fencing token"))
}

impl Line {
    /// What it is to one who waits for something else.
    fn into_error(self) -> Error {
        match self {
            Self::Refused(refused) => refused.into(),
            Self::End(total) => Error::Unexpected(format!("END {total}")),
            Self::Keepalive(left) => Error::Unexpected(format!("KEEPALIVE left={}", left.as_secs_f64())),
            Self::Text(text) => Error::Unexpected(text),
            Self::TooLong => Error::TooLong,
        }
    }
}
