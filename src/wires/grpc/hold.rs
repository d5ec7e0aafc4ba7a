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
    proto::{
        GetLock, HoldRequest, HoldResponse, Introduce, Refusal, ReleaseLock, hold_request::Command as Asked,
    },
};
use crate::{
    core::{
        budget::{Budget, Charge, Exceeded},
        command::{AcquireAnswer, Answer, EndReason, LockRequest, ReleaseAnswer},
        lease::{self, MAX_TEXT},
        session::{Acquiring, Releasing, Session, Waiting},
    },
    name::Name,
    wires::web::{is_unreadable, late, millis},
};

/// How many replies may wait for a client to read them before it is served again: no more than an empty channel has
/// room for.
pub(super) const UNSENT: usize = 31;

/// How many requests are taken in behind one that waits.
const READ_AHEAD: usize = 256;

type Replies = Sender<Result<HoldResponse, Status>>;

/// What else a stream goes by.
pub(super) struct Terms {
    /// For how much silence of the client nothing is freed that it holds.
    pub(super) left: Duration,
    /// After what time the client has no use for it, if it says so.
    pub(super) deadline: Option<Duration>,
}

/// Why a stream is over.
enum Over {
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

impl From<Status> for Over {
    fn from(status: Status) -> Self {
        if is_unreadable(status.code()) { Self::Unreadable(status.message().to_owned()) } else { Self::Left }
    }
}

/// Resolves at a deadline, if there is one. Cancel-safe.
async fn passed(deadline: Option<Duration>) {
    match deadline {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Serves a stream to its end; then the session ends, and what it holds is free.
///
/// Cancel-safe: dropped, it frees what the session holds.
pub(super) async fn hold(
    session: Session,
    requests: Streaming<HoldRequest>,
    replies: Replies,
    Terms { left, deadline }: Terms,
) {
    // A place for the last word, whatever the client has not read by then.
    let Ok(last) = replies.clone().reserve_owned().await else { return };
    let requests = Incoming {
        stream: requests,
        ahead: VecDeque::new(),
        paid: Charge::default(),
        budget: session.budget(),
    };
    let mut stream = Stream { session, requests, replies, left };
    let over = tokio::select! {
        Err(over) = stream.serve() => over,
        () = passed(deadline) => Over::Late,
    };
    if let Over::NoMemory(exceeded) = &over {
        stream.session.count_refusal((*exceeded).into());
    }
    let cause = stream.session.cause();
    stream.session.free_all(cause).await;
    drop(stream);
    let status = match over {
        Over::Left => return,
        Over::Unreadable(why) => Status::invalid_argument(why),
        Over::Late => late(),
        Over::SentTooMuch => Status::resource_exhausted(format!(
            "more than {READ_AHEAD} requests were sent behind one that is not answered yet"
        )),
        Over::NoMemory(exceeded) => Status::resource_exhausted(exceeded.to_string()),
        Over::Ended(EndReason::Shutdown) => {
            Status::unavailable("the server is stopping; what was held is free")
        }
        Over::Ended(ending) => Status::aborted(format!("{ending}; what was held is free")),
    };
    last.send(Err(status));
}

struct Stream {
    session: Session,
    requests: Incoming,
    replies: Replies,
    /// For how much silence of the client nothing is freed that it holds.
    left: Duration,
}

/// What a client asks for.
struct Incoming {
    stream: Streaming<HoldRequest>,
    /// What came behind a request that is not answered yet.
    ahead: VecDeque<Wanted>,
    /// For that.
    paid: Charge,
    budget: Budget,
}

impl Incoming {
    /// Takes requests in, for as long as the client is there. What it keeps is bounded: frames that
    /// nobody reads would count against all streams of the connection.
    ///
    /// Meanwhile it answers those that ask for how long nothing is freed.
    ///
    /// Cancel-safe: no request is lost.
    async fn gather(&mut self, left: Duration, replies: &Replies) -> Over {
        loop {
            match self.stream.message().await {
                Ok(Some(HoldRequest { command: Some(Asked::Keepalive(_)) })) => {
                    if replies.try_send(Ok(keepalive(left))).is_err() {
                        return Over::SentTooMuch;
                    }
                }
                Ok(Some(request)) if self.ahead.len() < READ_AHEAD => match self.keep(request) {
                    Ok(()) => {}
                    Err(exceeded @ Exceeded::Connection(_)) => return Over::NoMemory(exceeded),
                    // More stays with the network. That the client has left is seen by what it does not take any more.
                    Err(Exceeded::Server(_)) => std::future::pending().await,
                },
                Ok(Some(_)) => return Over::SentTooMuch,
                Ok(None) => return Over::Left,
                Err(status) => return status.into(),
            }
        }
    }
}

impl Incoming {
    /// Keeps a request until it is its turn, and pays for it.
    fn keep(&mut self, request: HoldRequest) -> Result<(), Exceeded> {
        let bytes = request.encoded_len() + size_of::<Wanted>();
        self.ahead.push_back(Wanted::of(request));
        let all = self.paid.bytes() + bytes;
        self.budget.resize(&mut self.paid, all)
    }

    fn kept(&mut self) -> Option<Wanted> {
        let next = self.ahead.pop_front();
        if self.ahead.is_empty() {
            self.paid.give_back();
        }
        next
    }
}

impl Stream {
    async fn serve(&mut self) -> Result<Infallible, Over> {
        loop {
            let wanted = self.next().await?;
            let response = self.answer(wanted).await?;
            // Before the reply goes out others see what is held now: a drain goes by that.
            self.session.publish_holds();
            let ending = self.session.end_reason();
            self.send(response).await?;
            ending.map_or(Ok(()), |ending| Err(Over::Ended(ending)))?;
        }
    }

    async fn next(&mut self) -> Result<Wanted, Over> {
        if let Some(request) = self.requests.kept() {
            return Ok(request);
        }
        tokio::select! {
            ending = self.session.handle().ended() => Err(Over::Ended(ending)),
            () = self.replies.closed() => Err(Over::Left),
            request = self.requests.stream.message() => request?.map(Wanted::of).ok_or(Over::Left),
        }
    }

    /// Sends a reply, once the client has read earlier ones, for as long as it is there.
    async fn send(&mut self, response: HoldResponse) -> Result<(), Over> {
        tokio::select! {
            biased;
            sent = self.replies.send(Ok(response)) => sent.map_err(|_| Over::Left),
            ending = self.session.handle().ended() => Err(Over::Ended(ending)),
            over = self.requests.gather(self.left, &self.replies) => Err(over),
        }
    }

    async fn answer(&mut self, wanted: Wanted) -> Result<HoldResponse, Over> {
        let since = Instant::now();
        let number = match wanted {
            Wanted::Acquire(request) => return self.acquire(request, since).await,
            Wanted::Release(name) => self.session.release(&name).map(ReleaseAnswer::number),
            Wanted::ReleaseAll => match self.session.release_all() {
                Ok(Releasing::Done(counts)) => Ok(Some(counts)),
                Ok(Releasing::Pieces(pieces)) => Ok(Some(pieces.finish().await.map_err(Over::Ended)?)),
                Err(error) => Err(error),
            },
            Wanted::Introduce(who) => return Ok(self.introduce(who)),
            Wanted::Keepalive => return Ok(keepalive(self.left)),
            Wanted::Refused(response) => return Ok(response),
        };
        Ok(told(number, None, since))
    }

    /// Cancel-safe: dropped, it leaves the queue.
    async fn acquire(&mut self, request: LockRequest, since: Instant) -> Result<HoldResponse, Over> {
        let name = request.name.clone();
        let answer = match self.session.acquire(request) {
            Acquiring::Done(answer) => answer,
            Acquiring::Waiting(waiting) => {
                waited(waiting, &mut self.requests, &self.replies, self.left).await?
            }
        };
        let number = answer.map(|answer| Some(u64::from(answer == AcquireAnswer::Granted)));
        let fencing_token = if number == Ok(Some(1)) { self.session.token(&name) } else { None };
        Ok(told(number, fencing_token, since))
    }

    fn introduce(&self, Introduce { client, note }: Introduce) -> HoldResponse {
        match self.session.introduce(client, Some(note).filter(|note| !note.is_empty())) {
            Ok(()) => HoldResponse { result: Some(1), ..HoldResponse::default() },
            Err(exceeded) => {
                self.session.count_refusal(exceeded.into());
                refused(Symbol::Limit, &exceeded)
            }
        }
    }
}

fn told(number: Answer<Option<u64>>, fencing_token: Option<u64>, since: Instant) -> HoldResponse {
    match number {
        Ok(result) => {
            let waited_ms = millis(since.elapsed());
            HoldResponse { result, fencing_token, waited_ms, ..HoldResponse::default() }
        }
        Err(error) => refused(error.symbol(), &error),
    }
}

/// Waits for a lock, for as long as the client is there. Further requests are taken in meanwhile.
///
/// Cancel-safe: dropped, it leaves the queue, and no request is lost.
async fn waited(
    waiting: Waiting<'_>,
    requests: &mut Incoming,
    replies: &Replies,
    left: Duration,
) -> Result<Answer<AcquireAnswer>, Over> {
    tokio::select! {
        biased;
        answer = waiting.finish() => answer.map_err(Over::Ended),
        () = replies.closed() => Err(Over::Left),
        over = requests.gather(left, replies) => Err(over),
    }
}

fn keepalive(left: Duration) -> HoldResponse {
    HoldResponse { left_ms: Some(millis(left)), ..HoldResponse::default() }
}

/// What a request asks for: checked as it comes, so that what waits is small.
enum Wanted {
    Acquire(LockRequest),
    Release(Name),
    ReleaseAll,
    Introduce(Introduce),
    Keepalive,
    Refused(HoldResponse),
}

impl Wanted {
    fn of(request: HoldRequest) -> Self {
        Self::read(request).unwrap_or_else(Self::Refused)
    }

    fn read(request: HoldRequest) -> Result<Self, HoldResponse> {
        let name = |text: &str| Name::new(text).map_err(|error| refused(Symbol::BadName, &error));
        let command = request.command;
        let command =
            command.ok_or_else(|| refused(Symbol::UnknownCommand, &"say which function is called"))?;
        Ok(match command {
            Asked::GetLock(GetLock { name: lock, mode: wanted, wait_ms }) => Self::Acquire(LockRequest {
                name: name(&lock)?,
                mode: mode(wanted).map_err(|status| refused(Symbol::Syntax, &status.message()))?,
                timeout: Timeout::from_millis(wait_ms.into()),
            }),
            Asked::ReleaseLock(ReleaseLock { name: lock }) => Self::Release(name(&lock)?),
            Asked::ReleaseAllLocks(_) => Self::ReleaseAll,
            Asked::Introduce(who) if is_long(&who) => {
                let told = format_args!("a client and a note have at most {MAX_TEXT} characters");
                return Err(refused(Symbol::Limit, &told));
            }
            Asked::Introduce(who) => Self::Introduce(who),
            Asked::Keepalive(_) => Self::Keepalive,
        })
    }
}

fn is_long(who: &Introduce) -> bool {
    lease::is_too_long(&who.client) || lease::is_too_long(&who.note)
}

fn refused(symbol: Symbol, message: &dyn fmt::Display) -> HoldResponse {
    let refusal = Refusal { symbol: symbol.as_str().to_owned(), message: message.to_string() };
    HoldResponse { refusal: Some(refusal), ..HoldResponse::default() }
}
