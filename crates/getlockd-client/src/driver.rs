//! The task of a connection: the only one that reads and writes it.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    Error, List, Lost, Names, Refused,
    clock::Moment,
    events::{Event, Subscriptions},
    handle::{Deadlines, DriverHandle, DriverRequest, HeldLock, LockReply, Pending, PendingLock},
    heartbeat::{ClusterTimes, HeartbeatTimer},
    reply::{KeepaliveAnswer, ReplyLine, ReplyReader, RowFields, read_value},
    servers::Servers,
};

/// What a connection goes over: TCP, or TLS over TCP.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// How long the last read or the shutdown of a connection may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A timer stands still while the machine sleeps, so no sleep is longer than this while a promise runs out.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Starts the task of a connection.
pub(crate) fn drive(
    stream: Box<dyn ByteStream>,
    stop_within: Option<Duration>,
    servers: Arc<Servers>,
) -> DriverHandle {
    let (sender, requests) = mpsc::unbounded_channel();
    let (lost, lost_receiver) = watch::channel(None);
    let deadlines = Arc::new(Deadlines::default());
    let subscriptions = Subscriptions::default();
    let (reader, writer) = tokio::io::split(stream);
    let driver = Driver {
        requests,
        // A strong sender of its own would keep the task alive forever.
        sender: sender.downgrade(),
        lost,
        deadlines: deadlines.clone(),
        subscriptions: subscriptions.clone(),
        heartbeat: HeartbeatTimer::new(stop_within),
        servers,
        term: None,
        late_grants: Vec::new(),
        pending: VecDeque::new(),
        last_error: None,
    };
    tokio::spawn(
        driver.run(reader, RequestWriter { half: writer, output: BytesMut::new(), needs_flush: false }),
    );
    DriverHandle::new(sender, lost_receiver, deadlines, subscriptions)
}

struct RequestWriter {
    half: WriteHalf<Box<dyn ByteStream>>,
    output: BytesMut,
    /// TLS may still keep bytes when all of `output` is written.
    needs_flush: bool,
}

impl RequestWriter {
    fn add(&mut self, lines: &[u8]) {
        self.output.extend_from_slice(lines);
        self.needs_flush = true;
    }

    /// Cancel-safe: no byte is sent twice.
    async fn write(&mut self) -> io::Result<()> {
        self.half.write_all_buf(&mut self.output).await?;
        self.half.flush().await?;
        self.needs_flush = false;
        Ok(())
    }
}

/// What a driver waits for.
enum Wakeup {
    Request(Option<DriverRequest>),
    Written(io::Result<()>),
    Read(io::Result<usize>),
    Time,
}

/// A lock that was granted and is not handed over yet.
struct GrantedLock {
    names: Names,
    fencing_token: u64,
    reply: oneshot::Sender<LockReply>,
}

struct Driver {
    requests: mpsc::UnboundedReceiver<DriverRequest>,
    sender: mpsc::WeakUnboundedSender<DriverRequest>,
    lost: watch::Sender<Option<Lost>>,
    deadlines: Arc<Deadlines>,
    subscriptions: Subscriptions,
    heartbeat: HeartbeatTimer,
    servers: Arc<Servers>,
    /// In a cluster, the term in which the connection was accepted, and in which it ends.
    term: Option<u64>,
    /// Granted after the last promise had run out: kept back until the next one.
    late_grants: Vec<GrantedLock>,
    /// In the order of the replies.
    pending: VecDeque<Pending>,
    /// The server's last line, if it says why the server closes the connection.
    last_error: Option<Refused>,
}

impl Driver {
    async fn run(mut self, mut reader: ReadHalf<Box<dyn ByteStream>>, mut writer: RequestWriter) {
        let mut lines = ReplyReader::default();
        // Nothing is read before something is asked. A server of another protocol may speak first: its greeting is then
        // the reply to the first request, whose caller can name that protocol.
        if let Some(first) = self.requests.recv().await {
            self.send(first, &mut writer);
        }
        let how = loop {
            let sleep_time = self.beat(&mut writer);
            let wakeup = tokio::select! {
                request = self.requests.recv() => Wakeup::Request(request),
                written = writer.write(), if writer.needs_flush => Wakeup::Written(written),
                read = reader.read_buf(&mut lines.input) => Wakeup::Read(read),
                () = sleep(sleep_time.unwrap_or_default()), if sleep_time.is_some() => Wakeup::Time,
            };
            // Before what has come is read: an answer that comes too late counts for nothing.
            if self.heartbeat.is_expired(Moment::now()) {
                // Without a shutdown, for which the server would have to be there.
                return self.expire().await;
            }
            match wakeup {
                Wakeup::Request(Some(request)) => self.send(request, &mut writer),
                // The last handle is dropped, so no guard is left either.
                Wakeup::Request(None) => break "it was closed".to_owned(),
                Wakeup::Written(Err(error)) => {
                    self.read_rest(&mut reader, &mut lines).await;
                    break error.to_string();
                }
                Wakeup::Read(Ok(0)) => break "the server closed it".to_owned(),
                Wakeup::Read(Ok(_)) => {
                    if let Err(why) = self.receive(&mut lines) {
                        break why;
                    }
                }
                Wakeup::Read(Err(error)) => break error.to_string(),
                Wakeup::Written(Ok(())) | Wakeup::Time => {}
            }
        };
        // In this order: a caller whose reply is dropped looks here for the reason.
        self.lost.send_replace(Some(Lost::new(&how, self.last_error.take())));
        drop(self);
        let _ = timeout(CLOSE_WITHIN, writer.half.shutdown()).await;
    }

    /// Reports that the server is silent, and closes the connection only when the promise has run out or all guards are
    /// gone. A server that was only slow releases the locks as soon as the connection is closed: until then their work
    /// has the time to stop.
    async fn expire(mut self) {
        let end = if self.heartbeat.has_guards() { self.heartbeat.promised_until() } else { Moment::PAST };
        self.lost.send_replace(Some(Lost::silent(end)));
        // Dropped, they tell their callers that there will be no reply.
        (self.pending, self.late_grants) = (VecDeque::new(), Vec::new());
        while let Some(rest) = Some(end.since(Moment::now())).filter(|rest| !rest.is_zero()) {
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => drop(request),
                    None => return,
                },
                () = sleep(rest.min(CHECK_INTERVAL)) => {}
            }
        }
    }

    /// Sends a `KEEPALIVE` if one is due. Returns how long there is nothing to do.
    fn beat(&mut self, writer: &mut RequestWriter) -> Option<Duration> {
        let now = Moment::now();
        let waits = self.pending.iter().any(|pending| matches!(pending, Pending::Lock(_)));
        self.heartbeat.set_waits(waits, now);
        if self.heartbeat.is_due(now) {
            self.send_keepalive(now, writer);
        }
        self.deadlines.publish(&self.heartbeat);
        self.heartbeat.sleep_time(now)
    }

    fn send_keepalive(&mut self, now: Moment, writer: &mut RequestWriter) {
        self.heartbeat.sent(now);
        writer.add(b"KEEPALIVE\n");
    }

    fn send(&mut self, request: DriverRequest, writer: &mut RequestWriter) {
        if request.with_keepalive {
            self.send_keepalive(Moment::now(), writer);
        }
        if matches!(request.reply, Pending::Release(_)) {
            self.heartbeat.remove_guard();
        }
        writer.add(request.lines.as_bytes());
        self.pending.push_back(request.reply);
    }

    /// Reads what the server sent before it closed the connection, which may say why.
    async fn read_rest(&mut self, reader: &mut ReadHalf<Box<dyn ByteStream>>, lines: &mut ReplyReader) {
        let rest = async {
            while matches!(reader.read_buf(&mut lines.input).await, Ok(1..)) && self.receive(lines).is_ok() {}
        };
        let _ = timeout(CLOSE_WITHIN, rest).await;
    }

    /// Dispatches the lines that have come. Fails if one is no possible reply.
    fn receive(&mut self, lines: &mut ReplyReader) -> Result<(), String> {
        while let Some(line) = lines.next() {
            self.last_error = match &line {
                ReplyLine::Refused(refused) if refused.text.ends_with("closing") => Some(refused.clone()),
                _ => None,
            };
            // It may overtake the replies to earlier requests, so it is not in `pending`.
            if let ReplyLine::Keepalive(answer) = line {
                self.promised(answer)?;
                continue;
            }
            // Nor is this a reply. What nobody reads, or this version does not know, is skipped.
            if let ReplyLine::Event(line) = line {
                if let Some(event) = Event::read(&line) {
                    self.subscriptions.offer(&event);
                }
                continue;
            }
            match (self.pending.pop_front(), line) {
                (Some(pending), line) => {
                    if let Some(unfinished) = self.dispatch(pending, line)? {
                        self.pending.push_front(unfinished);
                    }
                }
                // Without a request: it says why the server closes the connection.
                (None, ReplyLine::Refused(refused)) => self.last_error = Some(refused),
                (None, line) => return Err(format!("unexpected line from the server: {line:?}")),
            }
        }
        if lines.is_endless() { Err("the server sent a line that is too long".to_owned()) } else { Ok(()) }
    }

    /// A `KEEPALIVE` is answered: grants that were kept back can be handed over.
    fn promised(&mut self, KeepaliveAnswer { left, term }: KeepaliveAnswer) -> Result<(), String> {
        if let Some(term) = term {
            self.look_at_term(term, left)?;
        }
        if !self.heartbeat.answered(left) {
            return Err("the server answered a KEEPALIVE that was not sent".to_owned());
        }
        self.deadlines.set_left(left);
        if self.heartbeat.is_certain(Moment::now()) {
            self.heartbeat.end_late();
            for grant in std::mem::take(&mut self.late_grants) {
                self.hand_over(grant);
            }
        }
        Ok(())
    }

    /// Fails if the leader that has answered does not lead any more, or does not know the locks of this connection. A machine
    /// that stood still for a while may answer with time that it does not have.
    fn look_at_term(&mut self, term: u64, left: Duration) -> Result<(), String> {
        if !self.servers.takes_term(term) {
            return Err(format!("the server leads no more: its term {term} is followed by another"));
        }
        if *self.term.get_or_insert(term) != term {
            return Err(format!("the server leads again, in term {term}, without the locks of before"));
        }
        if left.is_zero() {
            return Err(format!("the server leads no more: its term {term} is over"));
        }
        Ok(())
    }

    /// Gives a line to the reply that it belongs to. Returns that one if more of it is to come.
    fn dispatch(&mut self, pending: Pending, line: ReplyLine) -> Result<Option<Pending>, String> {
        match pending {
            Pending::Release(None) => {}
            Pending::Word(reply) | Pending::Release(Some(reply)) => drop(reply.send(match line {
                ReplyLine::Text(text) => Ok(text),
                line => Err(line.into_error()),
            })),
            Pending::Hello(reply) => {
                // The KEEPALIVE in front of the HELLO was answered before it.
                if let ReplyLine::Text(hello) = &line
                    && let Some(hello) = RowFields::read(hello)
                    && let Some(cluster) = ClusterTimes::read(&hello, self.heartbeat.left())
                {
                    self.heartbeat.join(cluster);
                }
                // Before the caller reads them.
                self.deadlines.publish(&self.heartbeat);
                return self.dispatch(Pending::Word(reply), line);
            }
            Pending::List(rows, reply) => match (rows, line) {
                (Ok(mut rows), ReplyLine::Text(row)) => {
                    rows.push(row);
                    return Ok(Some(Pending::List(Ok(rows), reply)));
                }
                (Ok(rows), ReplyLine::End(total)) => drop(reply.send(Ok(List { rows, total }))),
                (_, line @ ReplyLine::Refused(_)) => drop(reply.send(Err(line.into_error()))),
                (Err(error), ReplyLine::End(_)) => drop(reply.send(Err(error))),
                // A row that cannot be read costs this list. The connection stays: the rest of the list is skipped.
                (Err(error), _) => return Ok(Some(Pending::List(Err(error), reply))),
                (Ok(_), line) => return Ok(Some(Pending::List(Err(line.into_error()), reply))),
            },
            Pending::Lock(lock) => return self.dispatch_lock(lock, line),
        }
        Ok(None)
    }

    /// The same for the replies to a request for locks.
    fn dispatch_lock(&mut self, mut lock: PendingLock, line: ReplyLine) -> Result<Option<Pending>, String> {
        let Some(granted) = &lock.granted else {
            lock.granted =
                Some(match line {
                    ReplyLine::Refused(refused) => Err(refused.into()),
                    ReplyLine::Text(text) if text == "1" => Ok(()),
                    line => Err(not_granted(&line)
                        .ok_or_else(|| format!("unexpected reply to GET_LOCK: {line:?}"))?),
                });
            return Ok(Some(Pending::Lock(lock)));
        };
        if granted.is_ok() {
            let token = if let ReplyLine::Text(token) = &line { token.parse().ok() } else { None };
            let token = token.ok_or_else(|| format!("unexpected reply to FENCING_TOKEN: {line:?}"))?;
            // A lock that the session held before has the token of that time. The grant's own is the highest.
            lock.fencing_token = lock.fencing_token.max(token);
        }
        lock.tokens_left -= 1;
        if lock.tokens_left > 0 {
            return Ok(Some(Pending::Lock(lock)));
        }
        let PendingLock { names, granted, fencing_token, reply, .. } = lock;
        match granted {
            Some(Err(error)) => drop(reply.send(Err(error))),
            _ => self.granted(GrantedLock { names, fencing_token, reply }),
        }
        Ok(None)
    }

    /// A grant that waited in a slow network may have been given to another session since. It is handed over only while
    /// the server's promise rules that out.
    fn granted(&mut self, grant: GrantedLock) {
        let now = Moment::now();
        if self.heartbeat.is_certain(now) {
            self.hand_over(grant);
        } else {
            self.heartbeat.begin_late(now);
            self.late_grants.push(grant);
        }
    }

    fn hand_over(&mut self, GrantedLock { names, fencing_token, reply }: GrantedLock) {
        // Without another handle there is no caller: the connection is about to end, and the lock with it.
        let Some(sender) = self.sender.upgrade() else { return };
        self.heartbeat.add_guard();
        // Before the guard exists, which reads them at once.
        self.deadlines.publish(&self.heartbeat);
        let (lost, deadlines) = (self.lost.subscribe(), self.deadlines.clone());
        let handle = DriverHandle::new(sender, lost, deadlines, self.subscriptions.clone());
        // If its caller has gone, the hold is dropped here, and that releases the lock.
        drop(reply.send(Ok(HeldLock::new(handle, names, fencing_token))));
    }
}

/// From `0`, or for several locks from `0 name`.
fn not_granted(line: &ReplyLine) -> Option<Error> {
    let ReplyLine::Text(text) = line else { return None };
    let in_the_way = match text.strip_prefix('0')? {
        "" => None,
        name => Some(read_value(name.strip_prefix(' ')?)?),
    };
    Some(Error::NotGranted { in_the_way })
}

impl ReplyLine {
    /// The error of a request that expects another reply.
    fn into_error(self) -> Error {
        match self {
            Self::Refused(refused) => refused.into(),
            Self::End(total) => Error::Unexpected(format!("END {total}")),
            Self::Keepalive(answer) => {
                Error::Unexpected(format!("KEEPALIVE left={}", answer.left.as_secs_f64()))
            }
            Self::Text(text) | Self::Event(text) => Error::Unexpected(text),
            Self::TooLong => Error::TooLong,
        }
    }
}
