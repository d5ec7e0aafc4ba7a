//! `Hold`: a session that lives as long as its stream.

use std::{collections::VecDeque, convert::Infallible, fmt, time::Duration};

use getlockd_proto::{symbol::Symbol, timeout::Timeout};
use prost::Message;
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep},
};
use tonic::{Status, Streaming};

use super::{
    mode,
    proto::{GetLock, HoldRequest, HoldResponse, Introduce, Refusal, ReleaseLock, hold_request::Command},
};
use crate::{
    core::{
        budget::{Budget, Charge, Exceeded},
        client_info::is_too_long,
        command::{AcquireAnswer, Answer, EndReason, Error, LockRequest, ReleaseAnswer},
        session::{Acquiring, Releasing, Session, Waiting},
    },
    name::Name,
    wires::web::{deadline_exceeded, is_unreadable, millis},
};

/// How many replies may be unread before the stream is served no more. With the last one it is 32: what tokio allocates
/// for a channel in any case.
pub(super) const UNSENT: usize = 31;

/// How many requests are read ahead of one that waits.
const READ_AHEAD: usize = 256;

type Replies = Sender<Result<HoldResponse, Status>>;

/// What bounds a stream.
pub(super) struct StreamTerms {
    /// For how much silence of the client nothing is freed that it holds.
    pub(super) left: Duration,
    /// How long the client waits for the whole stream, if it says so.
    pub(super) deadline: Option<Duration>,
}

/// Why a stream ends.
enum StreamEnd {
    /// The client has left.
    Left,
    /// It sent more requests than are kept behind one that waits.
    SentTooMuch,
    /// It sent more bytes.
    NoMemory(Exceeded),
    /// It sent what is no request.
    Unreadable(String),
    /// Its deadline is over.
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
/// Cancel-safe: dropped, nothing was done.
async fn passed(deadline: Option<Duration>) {
    match deadline {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Serves a stream to its end. Then the session ends, and its locks are free.
///
/// Cancel-safe: dropped, it frees what the session holds.
pub(super) async fn hold(
    session: Session,
    requests: Streaming<HoldRequest>,
    replies: Replies,
    StreamTerms { left, deadline }: StreamTerms,
) {
    // Reserved now: the channel may be full of replies that the client has not read when the stream ends.
    let Ok(last_reply) = replies.clone().reserve_owned().await else { return };
    let requests = RequestStream {
        stream: requests,
        ahead: VecDeque::new(),
        charge: Charge::default(),
        budget: session.budget(),
    };
    let mut stream = HoldCall { session, requests, replies, left };
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
            "more than {READ_AHEAD} requests were sent behind one that is not answered yet"
        )),
        StreamEnd::NoMemory(exceeded) => Status::resource_exhausted(exceeded.to_string()),
        StreamEnd::Ended(EndReason::Shutdown) => {
            Status::unavailable("the server is stopping; what was held is free")
        }
        StreamEnd::Ended(ending) => Status::aborted(format!("{ending}; your locks are released")),
    };
    last_reply.send(Err(status));
}

/// A call of `Hold`: its session lives for as long as the stream.
struct HoldCall {
    session: Session,
    requests: RequestStream,
    replies: Replies,
    /// For how much silence of the client nothing is freed that it holds.
    left: Duration,
}

/// The requests of a stream.
struct RequestStream {
    stream: Streaming<HoldRequest>,
    /// Requests read while an earlier one is not answered yet.
    ahead: VecDeque<StreamRequest>,
    /// What pays for them.
    charge: Charge,
    budget: Budget,
}

impl RequestStream {
    /// Reads requests while another is answered, for as long as the client is there: frames that nobody reads would
    /// count against all streams of the connection. What it keeps is bounded. Keepalives are answered at once.
    ///
    /// Cancel-safe: no request is lost.
    async fn read_ahead(&mut self, left: Duration, replies: &Replies) -> StreamEnd {
        loop {
            match self.stream.message().await {
                Ok(Some(HoldRequest { command: Some(Command::Keepalive(_)) })) => {
                    if replies.try_send(Ok(keepalive(left))).is_err() {
                        return StreamEnd::SentTooMuch;
                    }
                }
                Ok(Some(request)) if self.ahead.len() < READ_AHEAD => match self.buffer(request) {
                    Ok(()) => {}
                    Err(exceeded @ Exceeded::Connection(_)) => return StreamEnd::NoMemory(exceeded),
                    // What comes next stays in the network. That the client has left is seen when it takes no reply.
                    Err(Exceeded::Server(_)) => std::future::pending().await,
                },
                Ok(Some(_)) => return StreamEnd::SentTooMuch,
                Ok(None) => return StreamEnd::Left,
                Err(status) => return status.into(),
            }
        }
    }

    /// Keeps a request until it is its turn, and pays for it.
    fn buffer(&mut self, request: HoldRequest) -> Result<(), Exceeded> {
        let bytes = request.encoded_len() + size_of::<StreamRequest>();
        self.ahead.push_back(StreamRequest::of(request));
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
    /// Cancel-safe: dropped, the request under way is given up.
    async fn serve(&mut self) -> Result<Infallible, StreamEnd> {
        loop {
            let request = self.next().await?;
            if !matches!(request, StreamRequest::Keepalive) {
                self.session.handle().note_command();
            }
            let response = self.answer(request).await?;
            // Published before the reply goes out: a drain waits for the number of holds.
            self.session.publish_holds();
            let ending = self.session.end_reason();
            self.send(response).await?;
            ending.map_or(Ok(()), |ending| Err(StreamEnd::Ended(ending)))?;
        }
    }

    /// Cancel-safe: no request is lost.
    async fn next(&mut self) -> Result<StreamRequest, StreamEnd> {
        if let Some(request) = self.requests.next_buffered() {
            return Ok(request);
        }
        tokio::select! {
            ending = self.session.handle().ended() => Err(StreamEnd::Ended(ending)),
            () = self.replies.closed() => Err(StreamEnd::Left),
            request = self.requests.stream.message() => request?.map(StreamRequest::of).ok_or(StreamEnd::Left),
        }
    }

    /// Sends a reply, once the client has read earlier ones, for as long as it is there.
    ///
    /// Cancel-safe: dropped, the reply is not sent.
    async fn send(&mut self, response: HoldResponse) -> Result<(), StreamEnd> {
        tokio::select! {
            biased;
            sent = self.replies.send(Ok(response)) => sent.map_err(|_| StreamEnd::Left),
            ending = self.session.handle().ended() => Err(StreamEnd::Ended(ending)),
            end = self.requests.read_ahead(self.left, &self.replies) => Err(end),
        }
    }

    /// Cancel-safe: dropped, a wait leaves its queue.
    async fn answer(&mut self, request: StreamRequest) -> Result<HoldResponse, StreamEnd> {
        let since = Instant::now();
        let number = match request {
            StreamRequest::Acquire(request) => return self.acquire(request, since).await,
            StreamRequest::Release(name) => self.session.release(&name).map(ReleaseAnswer::number),
            StreamRequest::ReleaseAll => match self.session.release_all() {
                Ok(Releasing::Done(counts)) => Ok(Some(counts)),
                Ok(Releasing::Pieces(pieces)) => Ok(Some(pieces.finish().await.map_err(StreamEnd::Ended)?)),
                Err(error) => Err(error),
            },
            StreamRequest::Introduce(Introduce { client, note }) => {
                self.session.introduce(client, Some(note)).map(|()| Some(1))
            }
            StreamRequest::Keepalive => return Ok(keepalive(self.left)),
            StreamRequest::Refused(response) => return Ok(response),
        };
        Ok(number_response(number, None, since))
    }

    /// Cancel-safe: dropped, it leaves the queue.
    async fn acquire(&mut self, request: LockRequest, since: Instant) -> Result<HoldResponse, StreamEnd> {
        let name = request.name.clone();
        let answer = match self.session.acquire(request) {
            Acquiring::Done(answer) => answer,
            Acquiring::Waiting(waiting) => {
                wait_for_lock(waiting, &mut self.requests, &self.replies, self.left).await?
            }
        };
        let number = answer.map(|answer| Some(u64::from(answer == AcquireAnswer::Granted)));
        let fencing_token = if number == Ok(Some(1)) { self.session.token(&name) } else { None };
        Ok(number_response(number, fencing_token, since))
    }
}

fn number_response(number: Answer<Option<u64>>, fencing_token: Option<u64>, since: Instant) -> HoldResponse {
    match number {
        Ok(result) => {
            let waited_ms = millis(since.elapsed());
            HoldResponse { result, fencing_token, waited_ms, ..HoldResponse::default() }
        }
        Err(error) => refusal(error.symbol(), &error),
    }
}

/// Waits for a lock, for as long as the client is there. Further requests are read meanwhile.
///
/// Cancel-safe: dropped, it leaves the queue, and no request is lost.
async fn wait_for_lock(
    waiting: Waiting<'_>,
    requests: &mut RequestStream,
    replies: &Replies,
    left: Duration,
) -> Result<Answer<AcquireAnswer>, StreamEnd> {
    tokio::select! {
        biased;
        answer = waiting.finish() => answer.map_err(StreamEnd::Ended),
        () = replies.closed() => Err(StreamEnd::Left),
        end = requests.read_ahead(left, replies) => Err(end),
    }
}

fn keepalive(left: Duration) -> HoldResponse {
    HoldResponse { left_ms: Some(millis(left)), ..HoldResponse::default() }
}

/// A request, checked as it comes: a refusal is smaller than a message that waits to be refused.
enum StreamRequest {
    Acquire(LockRequest),
    Release(Name),
    ReleaseAll,
    Introduce(Introduce),
    Keepalive,
    Refused(HoldResponse),
}

impl StreamRequest {
    fn of(request: HoldRequest) -> Self {
        Self::read(request).unwrap_or_else(Self::Refused)
    }

    fn read(request: HoldRequest) -> Result<Self, HoldResponse> {
        let name = |text: &str| Name::new(text).map_err(|error| refusal(Symbol::BadName, &error));
        let command = request.command;
        let command =
            command.ok_or_else(|| refusal(Symbol::UnknownCommand, &"say which function is called"))?;
        Ok(match command {
            Command::GetLock(GetLock { name: lock, mode: number, wait_ms }) => Self::Acquire(LockRequest {
                name: name(&lock)?,
                mode: mode(number).map_err(|status| refusal(Symbol::Syntax, &status.message()))?,
                timeout: Timeout::from_millis(wait_ms.into()),
            }),
            Command::ReleaseLock(ReleaseLock { name: lock }) => Self::Release(name(&lock)?),
            Command::ReleaseAllLocks(_) => Self::ReleaseAll,
            // Here, and not when it is its turn: what is too long is not kept until then.
            Command::Introduce(Introduce { client, note }) if is_too_long(&client) || is_too_long(&note) => {
                return Err(refusal(Error::TextTooLong.symbol(), &Error::TextTooLong));
            }
            Command::Introduce(introduce) => Self::Introduce(introduce),
            Command::Keepalive(_) => Self::Keepalive,
        })
    }
}

fn refusal(symbol: Symbol, message: &dyn fmt::Display) -> HoldResponse {
    let refusal = Refusal { symbol: symbol.as_str().to_owned(), message: message.to_string() };
    HoldResponse { refusal: Some(refusal), ..HoldResponse::default() }
}
