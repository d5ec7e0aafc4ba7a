//! `Hold`: a session that lives as long as its stream.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use getlockd_proto::{symbol::Symbol, timeout::Timeout};
use prost::Message;
use tokio::{
    sync::mpsc::{Receiver, Sender},
    time::{Instant, sleep},
};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::{
    NamesError, mode,
    proto::{
        Events, GetLock, HoldRequest, HoldResponse, Introduce, LeaseLock, Refusal, ReleaseLock, ReleaseLocks,
        hold_request::Command,
    },
    watch::hold_event,
};
use crate::{
    core::{
        budget::{Budget, Charge, Exceeded},
        client_info::is_too_long,
        command::{
            AcquireAnswer, Answer, EndReason, Error, LockRequest, LocksRequest, ReleaseAnswer, WaitDetails,
        },
        events::Notified,
        lease::{Delivery, LeaseLockAnswer, LeaseNames, Leases},
        session::{Acquiring, Handle, Releasing, Session, Waiting, Woken},
    },
    name::Name,
    net::{Left, TransportConfig},
    wires::web::{deadline_exceeded, is_unreadable, millis},
};

/// How many unread replies a stream may have before its next request is run. With the last reply that makes 32, which
/// is what tokio allocates for a channel in any case.
pub(super) const UNSENT: usize = 31;

/// How many requests are read ahead of one that waits.
const READ_AHEAD: usize = 256;

type Replies = Sender<Box<Reply>>;

/// What is sent on a stream. Boxed in the channel, which has room for many.
pub(super) struct Reply {
    message: Result<HoldResponse, Status>,
    /// The message has the token of this lease.
    delivery: Option<Arc<Delivery>>,
}

impl Reply {
    fn of(message: Result<HoldResponse, Status>) -> Box<Self> {
        Box::new(Self { message, delivery: None })
    }
}

/// The replies on their way into the connection.
///
/// A lease ends if its token does not get there. The encoder of messages takes them until there is none, and only then
/// hands over what it has; so what it took is in the connection when it asks once more after that.
pub(super) struct ReplyStream {
    replies: Receiver<Box<Reply>>,
    taken: Vec<Arc<Delivery>>,
    is_handed_over: bool,
}

impl ReplyStream {
    pub(super) fn new(replies: Receiver<Box<Reply>>) -> Self {
        Self { replies, taken: Vec::new(), is_handed_over: false }
    }
}

impl Stream for ReplyStream {
    type Item = Result<HoldResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_handed_over {
            self.taken.drain(..).for_each(|delivery| delivery.done());
        }
        let polled = self.replies.poll_recv(cx);
        self.is_handed_over = polled.is_pending();
        polled.map(|reply| {
            let Reply { message, delivery } = *reply?;
            self.taken.extend(delivery);
            Some(message)
        })
    }
}

/// The limits of a stream.
pub(super) struct StreamTerms {
    /// It tells, at each question, how long a silent client keeps what it holds.
    pub(super) transport: Arc<TransportConfig>,
    /// The deadline of the whole stream, if the client has set one.
    pub(super) deadline: Option<Duration>,
}

/// Why a stream ends.
enum StreamEnd {
    /// The client has left.
    Left,
    /// The client has sent more requests than may queue behind one that waits.
    SentTooMuch,
    /// The client has sent more bytes than its budget allows.
    NoMemory(Exceeded),
    /// The client has sent something that is not a request.
    Unreadable(String),
    /// The deadline has passed.
    Late,
    Ended(EndReason),
}

impl From<Status> for StreamEnd {
    fn from(status: Status) -> Self {
        if is_unreadable(status.code()) { Self::Unreadable(status.message().to_owned()) } else { Self::Left }
    }
}

/// Resolves at a deadline, or never.
///
/// Cancel-safe: dropped, it has changed nothing.
async fn passed(deadline: Option<Duration>) {
    match deadline {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Serves a stream to its end. Then its session ends, and its locks are released.
///
/// Cancel-safe: dropped, it releases what the session holds.
pub(super) async fn hold(
    session: Session,
    leases: Arc<Leases>,
    requests: Streaming<HoldRequest>,
    replies: Replies,
    StreamTerms { transport, deadline }: StreamTerms,
) {
    // Reserved now, since the channel may be full of unread replies when the stream ends.
    let Ok(last_reply) = replies.clone().reserve_owned().await else { return };
    let requests = RequestStream {
        stream: requests,
        ahead: VecDeque::new(),
        charge: Charge::default(),
        budget: session.budget(),
    };
    let mut stream = HoldCall { session, leases, requests, replies, transport };
    let end = tokio::select! {
        Err(end) = stream.serve() => end,
        () = passed(deadline) => StreamEnd::Late,
    };
    if let StreamEnd::NoMemory(exceeded) = &end {
        stream.session.count_refusal((*exceeded).into());
    }
    let cause = stream.session.cause();
    stream.session.free_all(cause).await;
    drop(stream);
    let status = match end {
        StreamEnd::Left => return,
        StreamEnd::Unreadable(why) => Status::invalid_argument(why),
        StreamEnd::Late => deadline_exceeded(),
        StreamEnd::SentTooMuch => Status::resource_exhausted(format!(
            "more than {READ_AHEAD} requests were sent while an earlier one waits"
        )),
        StreamEnd::NoMemory(exceeded) => Status::resource_exhausted(exceeded.to_string()),
        StreamEnd::Ended(EndReason::Shutdown) => {
            Status::unavailable("the server is shutting down; the locks of this stream were released")
        }
        StreamEnd::Ended(ending) => {
            Status::aborted(format!("{ending}; the locks of this stream were released"))
        }
    };
    last_reply.send(Reply::of(Err(status)));
}

/// A call of `Hold`: its session lives as long as the stream.
struct HoldCall {
    session: Session,
    leases: Arc<Leases>,
    requests: RequestStream,
    replies: Replies,
    transport: Arc<TransportConfig>,
}

/// The requests of a stream.
struct RequestStream {
    stream: Streaming<HoldRequest>,
    /// Requests that were read while an earlier one is being served.
    ahead: VecDeque<StreamRequest>,
    /// Their charge.
    charge: Charge,
    budget: Budget,
}

impl RequestStream {
    /// Reads requests while another one is being served, as long as the client is connected: frames that nobody reads
    /// would count against all streams of the connection. What it keeps is bounded. Keepalives are answered at once.
    ///
    /// Cancel-safe: no request is lost.
    async fn read_ahead(&mut self, transport: &TransportConfig, replies: &Replies) -> StreamEnd {
        loop {
            match self.stream.message().await {
                Ok(Some(HoldRequest { command: Some(Command::Keepalive(_)) })) => {
                    if replies.try_send(Reply::of(Ok(keepalive(transport.left())))).is_err() {
                        return StreamEnd::SentTooMuch;
                    }
                }
                Ok(Some(request)) if self.ahead.len() < READ_AHEAD => match self.buffer(request) {
                    Ok(()) => {}
                    Err(exceeded @ Exceeded::Connection(_)) => return StreamEnd::NoMemory(exceeded),
                    // Further requests stay in the network. The server notices that the client has left when it takes
                    // no reply.
                    Err(Exceeded::Server(_)) => std::future::pending().await,
                },
                Ok(Some(_)) => return StreamEnd::SentTooMuch,
                Ok(None) => return StreamEnd::Left,
                Err(status) => return status.into(),
            }
        }
    }

    /// Queues a request and charges it.
    fn buffer(&mut self, request: HoldRequest) -> Result<(), Exceeded> {
        let mut bytes = request.encoded_len() + size_of::<StreamRequest>();
        let request = StreamRequest::of(request);
        bytes += request.names() * size_of::<Name>();
        self.ahead.push_back(request);
        let all = self.charge.bytes() + bytes;
        self.budget.resize(&mut self.charge, all)
    }

    fn next_buffered(&mut self) -> Option<StreamRequest> {
        let next = self.ahead.pop_front();
        if self.ahead.is_empty() {
            self.charge.give_back();
        }
        next
    }
}

impl HoldCall {
    /// Cancel-safe: dropped, the current request is abandoned.
    async fn serve(&mut self) -> Result<Infallible, StreamEnd> {
        loop {
            let request = self.next().await?;
            if !matches!(request, StreamRequest::Keepalive) {
                self.session.handle().note_command();
            }
            let reply = self.answer(request).await?;
            // Published before the reply is sent, since a drain waits for the number of holds.
            self.session.publish_holds();
            let ending = self.session.end_reason();
            self.send(reply).await?;
            ending.map_or(Ok(()), |ending| Err(StreamEnd::Ended(ending)))?;
        }
    }

    /// Cancel-safe: no request is lost.
    async fn next(&mut self) -> Result<StreamRequest, StreamEnd> {
        if let Some(request) = self.requests.next_buffered() {
            return Ok(request);
        }
        let handle = self.session.handle();
        tokio::select! {
            ending = ended_or_told(handle, &self.replies) => Err(StreamEnd::Ended(ending)),
            () = self.replies.closed() => Err(StreamEnd::Left),
            request = self.requests.stream.message() => request?.map(StreamRequest::of).ok_or(StreamEnd::Left),
        }
    }

    /// Sends a reply once the client has read earlier ones, as long as the client is connected.
    ///
    /// Cancel-safe: dropped, the reply is not sent.
    async fn send(&mut self, reply: Box<Reply>) -> Result<(), StreamEnd> {
        tokio::select! {
            biased;
            sent = self.replies.send(reply) => sent.map_err(|_| StreamEnd::Left),
            ending = self.session.handle().ended() => Err(StreamEnd::Ended(ending)),
            end = self.requests.read_ahead(&self.transport, &self.replies) => Err(end),
        }
    }

    /// Cancel-safe: dropped, a wait leaves its queue.
    async fn answer(&mut self, request: StreamRequest) -> Result<Box<Reply>, StreamEnd> {
        let since = Instant::now();
        let number = match request {
            StreamRequest::Acquire(request) => {
                return self.acquire(request, since).await.map(|response| Reply::of(Ok(response)));
            }
            StreamRequest::AcquireSeveral(request) => {
                // Boxed, as it is rare.
                let acquired = Box::pin(self.acquire_several(request, since));
                return acquired.await.map(|response| Reply::of(Ok(response)));
            }
            // Boxed, as it is rare.
            StreamRequest::LeaseLock(name, ttl) => return Box::pin(self.lease_lock(&name, ttl, since)).await,
            StreamRequest::Release(name) => self.session.release(&name).map(ReleaseAnswer::number),
            StreamRequest::ReleaseSeveral(names) => self.session.release_several(&names).map(Some),
            StreamRequest::ReleaseAll => match self.session.release_all() {
                Ok(Releasing::Done(counts)) => Ok(Some(counts)),
                Ok(Releasing::Pieces(pieces)) => Ok(Some(pieces.finish().await.map_err(StreamEnd::Ended)?)),
                Err(error) => Err(error),
            },
            StreamRequest::Introduce(Introduce { client, note }) => {
                self.session.introduce(client, Some(note)).map(|()| Some(1))
            }
            StreamRequest::Events(is_on) => self.session.listen(is_on).map(|()| Some(1)),
            StreamRequest::Keepalive => return Ok(Reply::of(Ok(keepalive(self.transport.left())))),
            StreamRequest::Refused(refusal) => return Ok(Reply::of(Ok(refusal.into()))),
        };
        Ok(Reply::of(Ok(number_response(number, None, since))))
    }

    /// Cancel-safe: dropped, the lease ends.
    async fn lease_lock(
        &mut self,
        name: &Name,
        ttl: Duration,
        since: Instant,
    ) -> Result<Box<Reply>, StreamEnd> {
        let handle = self.session.handle_arc();
        let gone = async {
            tokio::select! {
                biased;
                ending = handle.ended() => StreamEnd::Ended(ending),
                () = self.replies.closed() => StreamEnd::Left,
                end = self.requests.read_ahead(&self.transport, &self.replies) => end,
            }
        };
        let answer = self.leases.lease_lock(&mut self.session, name, ttl, gone).await?;
        let number = match answer {
            Ok(LeaseLockAnswer::Leased(token, delivery)) => {
                let response = number_response(Ok(Some(1)), None, since);
                let message = HoldResponse { lease_token: Some(token.reveal().to_owned()), ..response };
                return Ok(Box::new(Reply { message: Ok(message), delivery: Some(delivery) }));
            }
            Ok(LeaseLockAnswer::HeldByOthers) => Ok(Some(0)),
            Ok(LeaseLockAnswer::Free) => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Reply::of(Ok(number_response(number, None, since))))
    }

    /// Cancel-safe: dropped, it leaves the queue.
    async fn acquire(&mut self, request: LockRequest, since: Instant) -> Result<HoldResponse, StreamEnd> {
        let name = request.name.clone();
        let answer = match self.session.acquire(request) {
            Acquiring::Done(answer) => answer,
            Acquiring::Waiting(waiting) => {
                wait_for_lock(waiting, &mut self.requests, &self.replies, &self.transport).await?
            }
        };
        Ok(self.acquired(answer, &name, since))
    }

    /// Cancel-safe: dropped, it leaves the queues.
    async fn acquire_several(
        &mut self,
        request: LocksRequest,
        since: Instant,
    ) -> Result<HoldResponse, StreamEnd> {
        let Some(first) = request.names.first().cloned() else {
            return Ok(HoldResponse::default());
        };
        let answer = match self.session.acquire_several(request) {
            Acquiring::Done(answer) => answer,
            Acquiring::Waiting(waiting) => {
                wait_for_lock(waiting, &mut self.requests, &self.replies, &self.transport).await?
            }
        };
        Ok(self.acquired(answer, &first, since))
    }

    /// The response to a request for this lock, or for it and others.
    fn acquired(&self, answer: Answer<AcquireAnswer>, name: &Name, since: Instant) -> HoldResponse {
        let number = answer.as_ref().map(|answer| Some(answer.number())).map_err(Clone::clone);
        let response = number_response(number, None, since);
        match answer {
            Ok(AcquireAnswer::Granted(WaitDetails { place, .. })) => {
                HoldResponse { fencing_token: self.session.token(name), place: place as u64, ..response }
            }
            Ok(AcquireAnswer::TimedOut(in_the_way)) => {
                HoldResponse { in_the_way: in_the_way.map(|name| name.as_str().to_owned()), ..response }
            }
            Err(_) => response,
        }
    }
}

fn number_response(number: Answer<Option<u64>>, fencing_token: Option<u64>, since: Instant) -> HoldResponse {
    match number {
        Ok(result) => {
            let waited_ms = millis(since.elapsed());
            HoldResponse { result, fencing_token, waited_ms, ..HoldResponse::default() }
        }
        Err(error) => refusal(error.symbol(), &error).into(),
    }
}

/// Waits for a lock as long as the client is connected. Meanwhile further requests are read.
///
/// Cancel-safe: dropped, it leaves the queue, and no request is lost.
async fn wait_for_lock(
    waiting: Waiting<'_>,
    requests: &mut RequestStream,
    replies: &Replies,
    transport: &TransportConfig,
) -> Result<Answer<AcquireAnswer>, StreamEnd> {
    let handle = waiting.handle();
    tokio::select! {
        biased;
        answer = waiting.finish() => answer.map_err(StreamEnd::Ended),
        ending = ended_or_told(handle, replies) => Err(StreamEnd::Ended(ending)),
        () = replies.closed() => Err(StreamEnd::Left),
        end = requests.read_ahead(transport, replies) => Err(end),
    }
}

/// Resolves when the session is to end. Meanwhile its client is sent what it is to be told, as far as it reads.
///
/// Cancel-safe: dropped, what is not sent is sent later.
async fn ended_or_told(handle: &Handle, replies: &Replies) -> EndReason {
    loop {
        match poll_fn(|cx| handle.poll_wakeup(cx)).await {
            Woken::End(ending) => return ending,
            Woken::News => {}
        }
        // What is taken out of the inbox has its place.
        let place = tokio::select! {
            biased;
            ending = handle.ended() => return ending,
            Ok(place) = replies.reserve() => place,
            else => return std::future::pending().await,
        };
        handle.take_news();
        let Some(told) = handle.next_told() else { continue };
        // There may be more.
        handle.notify();
        if let Some(message) = hold_event(&told) {
            place.send(Reply::of(Ok(message)));
        }
    }
}

fn keepalive(Left { time, term }: Left) -> HoldResponse {
    HoldResponse { left_ms: Some(millis(time)), term, ..HoldResponse::default() }
}

/// A request, checked when it arrives: a refusal is smaller than a message that waits to be refused.
enum StreamRequest {
    Acquire(LockRequest),
    AcquireSeveral(LocksRequest),
    Release(Name),
    ReleaseSeveral(Vec<Name>),
    ReleaseAll,
    LeaseLock(Name, Duration),
    Introduce(Introduce),
    Events(bool),
    Keepalive,
    Refused(Refusal),
}

impl StreamRequest {
    fn of(request: HoldRequest) -> Self {
        Self::read(request).unwrap_or_else(Self::Refused)
    }

    fn of_get_lock(request: &GetLock) -> Result<Self, Refusal> {
        let names = several(&request.name, &request.names)?;
        let mode =
            mode(request.mode, request.limit, &names).map_err(|wrong| refusal(Symbol::Syntax, &wrong))?;
        let timeout = Timeout::from_millis(request.wait_ms.into());
        Ok(if request.names.is_empty() {
            Self::Acquire(LockRequest { name: names.first().clone(), mode, timeout })
        } else {
            Self::AcquireSeveral(LocksRequest { names: names.iter().cloned().collect(), mode, timeout })
        })
    }

    /// How many locks it names in a list of its own.
    fn names(&self) -> usize {
        match self {
            Self::AcquireSeveral(request) => request.names.len(),
            Self::ReleaseSeveral(names) => names.len(),
            _ => 0,
        }
    }

    fn read(request: HoldRequest) -> Result<Self, Refusal> {
        let name = |text: &str| Name::new(text).map_err(|error| refusal(Symbol::BadName, &error));
        let command = request.command;
        let command =
            command.ok_or_else(|| refusal(Symbol::UnknownCommand, &"the request has no command"))?;
        Ok(match command {
            Command::GetLock(request) => Self::of_get_lock(&request)?,
            Command::ReleaseLock(ReleaseLock { name: lock }) => Self::Release(name(&lock)?),
            Command::ReleaseLocks(ReleaseLocks { names }) if names.is_empty() => {
                return Err(refusal(Symbol::Syntax, &"names: name at least one lock"));
            }
            Command::ReleaseLocks(ReleaseLocks { names }) => {
                Self::ReleaseSeveral(several("", &names)?.iter().cloned().collect())
            }
            Command::ReleaseAllLocks(_) => Self::ReleaseAll,
            Command::LeaseLock(LeaseLock { name: lock, ttl_ms }) => {
                Self::LeaseLock(name(&lock)?, Duration::from_millis(ttl_ms))
            }
            // Here, and not when it is its turn: what is too long is not kept until then.
            Command::Introduce(Introduce { client, note }) if is_too_long(&client) || is_too_long(&note) => {
                return Err(refusal(Error::TextTooLong.symbol(), &Error::TextTooLong));
            }
            Command::Introduce(introduce) => Self::Introduce(introduce),
            Command::Events(Events { on }) => Self::Events(on),
            Command::Keepalive(_) => Self::Keepalive,
        })
    }
}

fn several(one: &str, names: &[String]) -> Result<LeaseNames, Refusal> {
    super::names(one, names).map_err(|error| {
        let symbol = match error {
            NamesError::Name(_) => Symbol::BadName,
            NamesError::Both => Symbol::Syntax,
            NamesError::TooMany => Error::TooManyNames.symbol(),
        };
        refusal(symbol, &error)
    })
}

fn refusal(symbol: Symbol, message: &dyn fmt::Display) -> Refusal {
    Refusal { symbol: symbol.as_str().to_owned(), message: message.to_string() }
}

impl From<Refusal> for HoldResponse {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }
}
