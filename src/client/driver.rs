//! The task of a connection: the only one that reads and writes it.

use std::{collections::VecDeque, io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot, watch},
};

use super::{
    Error, List, Lost, Refused, Row,
    guard::Held,
    reply::{Line, MAX_REPLY, next_line},
};

/// What a connection goes over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Lines to be sent, and who waits for what they are answered.
#[derive(Debug)]
pub(super) struct Ask {
    pub lines: String,
    pub answer: Awaited,
}

/// Who waits for an answer, and what has come of it.
#[derive(Debug)]
pub(super) enum Awaited {
    /// Nobody waits for this line.
    Nothing,
    /// One line.
    Word(oneshot::Sender<Result<String, Error>>),
    /// A list.
    List(Vec<Row>, oneshot::Sender<Result<List, Error>>),
    /// The answers to `GET_LOCK` and to `FENCING_TOKEN` behind it.
    Lock { name: String, granted: Option<Result<bool, Refused>>, reply: oneshot::Sender<LockReply> },
}

pub(super) type LockReply = Result<Option<Held>, Error>;

/// How a connection is reached. It ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Link {
    asks: mpsc::UnboundedSender<Ask>,
    fate: watch::Receiver<Option<Lost>>,
}

impl Link {
    /// Sends lines at once; the answer is read even if nobody waits for it.
    pub(super) fn send(&self, lines: String, answer: Awaited) {
        // If there is no connection any more, dropping the answer tells.
        let _ = self.asks.send(Ask { lines, answer });
    }

    /// How the connection ended, if it has.
    pub(super) fn lost_already(&self) -> Option<Lost> {
        let lost = self.fate.borrow().clone();
        lost.or_else(|| self.asks.is_closed().then(ended_with_runtime))
    }

    /// Resolves when the connection has ended.
    ///
    /// Cancel-safe.
    pub(super) fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let mut fate = self.fate.clone();
        async move {
            let lost = fate.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
            lost.unwrap_or_else(ended_with_runtime)
        }
    }

    /// What was answered, or why nothing was.
    pub(super) async fn answer<T>(&self, reply: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
        match reply.await {
            Ok(answer) => answer,
            Err(_) => Err(self.lost().await.into()),
        }
    }
}

fn ended_with_runtime() -> Lost {
    Lost::new("the program's runtime ended", None)
}

/// Starts the task of a connection.
pub(super) fn drive(stream: Box<dyn Stream>) -> Link {
    let (asks, asked) = mpsc::unbounded_channel();
    let (fate, told) = watch::channel(None);
    let (reader, writer) = tokio::io::split(stream);
    let writer = Writer { half: writer, output: BytesMut::new(), dirty: false };
    let myself = asks.downgrade();
    let driver = Driver { asked, myself, fate, awaited: VecDeque::new(), last: None };
    tokio::spawn(driver.run(reader, writer));
    Link { asks, fate: told }
}

struct Writer {
    half: WriteHalf<Box<dyn Stream>>,
    output: BytesMut,
    /// There is something to be written or to be flushed.
    dirty: bool,
}

impl Writer {
    /// Cancel-safe: no byte is sent twice.
    async fn write(&mut self) -> io::Result<()> {
        self.half.write_all_buf(&mut self.output).await?;
        self.half.flush().await?;
        self.dirty = false;
        Ok(())
    }
}

struct Driver {
    asked: mpsc::UnboundedReceiver<Ask>,
    myself: mpsc::WeakUnboundedSender<Ask>,
    fate: watch::Sender<Option<Lost>>,
    /// In the order of the answers.
    awaited: VecDeque<Awaited>,
    /// What the server said last, if that was why it ends the connection.
    last: Option<Refused>,
}

impl Driver {
    async fn run(mut self, mut reader: ReadHalf<Box<dyn Stream>>, mut writer: Writer) {
        let mut input = BytesMut::new();
        // A getlockd answers. What something else says first is no answer to what is asked first, and is found
        // to be none there.
        if let Some(first) = self.asked.recv().await {
            self.ask(first, &mut writer);
        }
        let how = loop {
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => self.ask(ask, &mut writer),
                    // Nobody is there any more, so nobody has a lock on it.
                    None => break "it was closed".to_owned(),
                },
                written = writer.write(), if writer.dirty => if let Err(error) = written {
                    break self.rest(&mut reader, &mut input, &error).await;
                },
                read = reader.read_buf(&mut input) => match read {
                    Ok(0) => break "the server closed it".to_owned(),
                    Ok(_) => if let Err(what) = self.take(&mut input) { break what },
                    Err(error) => break error.to_string(),
                },
            }
        };
        // Told first, then those who wait for answers find that there are none.
        self.fate.send_replace(Some(Lost::new(&how, self.last.take())));
        drop(self);
        let _ = tokio::time::timeout(GOODBYE, writer.half.shutdown()).await;
    }

    fn ask(&mut self, ask: Ask, writer: &mut Writer) {
        writer.output.extend_from_slice(ask.lines.as_bytes());
        writer.dirty = true;
        self.awaited.push_back(ask.answer);
    }

    /// What cannot be written to may have said why before.
    async fn rest(
        &mut self,
        reader: &mut ReadHalf<Box<dyn Stream>>,
        input: &mut BytesMut,
        error: &io::Error,
    ) -> String {
        let rest =
            async { while matches!(reader.read_buf(input).await, Ok(1..)) && self.take(input).is_ok() {} };
        let _ = tokio::time::timeout(GOODBYE, rest).await;
        error.to_string()
    }

    /// Hands out what was answered. Fails if it is no answer.
    fn take(&mut self, input: &mut BytesMut) -> Result<(), String> {
        while let Some(line) = next_line(input) {
            self.last = match &line {
                Line::Refused(refused) if refused.text.ends_with("closing") => Some(refused.clone()),
                _ => None,
            };
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
        if input.len() > MAX_REPLY { Err("the server sends a line without end".to_owned()) } else { Ok(()) }
    }

    /// Who has not all of an answer yet comes back.
    fn hand_out(&self, awaited: Awaited, line: Line) -> Result<Option<Awaited>, String> {
        match awaited {
            Awaited::Nothing => {}
            Awaited::Word(reply) => drop(reply.send(match line {
                Line::Text(text) => Ok(text),
                line => Err(line.into_error()),
            })),
            Awaited::List(mut rows, reply) => match line {
                Line::End(total) => drop(reply.send(Ok(List { rows, total }))),
                Line::Text(text) => {
                    rows.push(Row::read(&text).ok_or_else(|| format!("the server said {text:?}"))?);
                    return Ok(Some(Awaited::List(rows, reply)));
                }
                line @ Line::Refused(_) => drop(reply.send(Err(line.into_error()))),
            },
            Awaited::Lock { name, granted: None, reply } => {
                let granted = Some(granted(line)?);
                return Ok(Some(Awaited::Lock { name, granted, reply }));
            }
            Awaited::Lock { granted: Some(Err(refused)), reply, .. } => drop(reply.send(Err(refused.into()))),
            Awaited::Lock { granted: Some(Ok(false)), reply, .. } => drop(reply.send(Ok(None))),
            Awaited::Lock { name, granted: Some(Ok(true)), reply } => {
                // If nobody waits for it any more, it is dropped here, and that frees the lock.
                drop(reply.send(Ok(self.held(name, &line)?)));
            }
        }
        Ok(None)
    }

    /// A lock that was granted; none when nobody is there who could hold it.
    fn held(&self, name: String, token: &Line) -> Result<Option<Held>, String> {
        let number = match token {
            Line::Text(token) => token.parse().ok(),
            _ => None,
        };
        let token = number.ok_or_else(|| format!("the server said {token:?} for a fencing token"))?;
        let link = self.myself.upgrade().map(|asks| Link { asks, fate: self.fate.subscribe() });
        Ok(link.map(|link| Held::new(link, name, token)))
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

impl Line {
    /// What it is to one who waits for something else.
    fn into_error(self) -> Error {
        match self {
            Self::Refused(refused) => refused.into(),
            Self::End(total) => Error::Unexpected(format!("END {total}")),
            Self::Text(text) => Error::Unexpected(text),
        }
    }
}
