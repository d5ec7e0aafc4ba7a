//! `Hold`: a session that lives as long as its stream.

use std::{collections::VecDeque, fmt};

use tokio::{sync::mpsc::Sender, time::Instant};
use tonic::{Status, Streaming};

use super::{
    millis, mode,
    proto::{
        GetLock, HoldRequest, HoldResponse, Introduce, Refusal, ReleaseLock, hold_request::Command as Asked,
    },
    wait,
};
use crate::{
    command::{Answer, Command, Ending, Error, Reply},
    lease::MAX_TEXT,
    name::{Name, NameError},
    session::{Progress, Session, Waiting},
};

/// How many replies may wait for a client to read them before it is served again.
pub(super) const UNSENT: usize = 64;

/// How many requests are taken in behind one that waits.
const READ_AHEAD: usize = 1_000;

type Replies = Sender<Result<HoldResponse, Status>>;

/// Why a stream is over.
enum Over {
    /// The client has left.
    Left,
    /// It sent more than is kept behind a request that waits.
    SentTooMuch,
    Ended(Ending),
}

/// Serves a stream to its end; then the session ends, and what it holds is free.
///
/// Cancel-safe: dropped, it frees what the session holds.
pub(super) async fn hold(session: Session, requests: Streaming<HoldRequest>, replies: Replies) {
    let mut stream = Stream { session, requests, replies, ahead: VecDeque::new() };
    let over = stream.serve().await;
    let Stream { session, replies, .. } = stream;
    drop(session);
    let status = match over {
        Over::Left => return,
        Over::SentTooMuch => Status::resource_exhausted(format!(
            "more than {READ_AHEAD} requests were sent behind one that waits"
        )),
        Over::Ended(Ending::Shutdown) => Status::unavailable("the server is stopping; what was held is free"),
        Over::Ended(ending) => Status::aborted(format!("{ending}; what was held is free")),
    };
    // A client that does not read has no use for it.
    let _ = replies.try_send(Err(status));
}

struct Stream {
    session: Session,
    requests: Streaming<HoldRequest>,
    replies: Replies,
    /// What came behind a request that waits.
    ahead: VecDeque<HoldRequest>,
}

impl Stream {
    async fn serve(&mut self) -> Over {
        loop {
            let request = match self.next().await {
                Ok(request) => request,
                Err(over) => return over,
            };
            let response = match self.answer(request).await {
                Ok(response) => response,
                Err(over) => return over,
            };
            if self.replies.send(Ok(response)).await.is_err() {
                return Over::Left;
            }
            if let Some(ending) = self.session.ending() {
                return Over::Ended(ending);
            }
        }
    }

    async fn next(&mut self) -> Result<HoldRequest, Over> {
        if let Some(request) = self.ahead.pop_front() {
            return Ok(request);
        }
        tokio::select! {
            ending = self.session.handle().ended() => Err(Over::Ended(ending)),
            () = self.replies.closed() => Err(Over::Left),
            request = self.requests.message() => request.ok().flatten().ok_or(Over::Left),
        }
    }

    async fn answer(&mut self, request: HoldRequest) -> Result<HoldResponse, Over> {
        let command = match command(request) {
            Ok(Some(command)) => command,
            Ok(None) => return Ok(refused("UNKNOWN", &"say which function is called")),
            Err(Said::Introduced(who)) => return Ok(self.introduce(who)),
            Err(Said::Name(error)) => return Ok(refused("NAME", &error)),
        };
        let taken = match &command {
            Command::GetLock { name, .. } => Some(name.clone()),
            _ => None,
        };
        let since = Instant::now();
        let answer = match self.session.start(command) {
            Progress::Done(answer) => answer,
            Progress::Waiting(waiting) => {
                waited(waiting, &mut self.requests, &mut self.ahead, &self.replies).await?
            }
            Progress::Killing(killing) => killing.finish().await.map_err(Over::Ended)?,
        };
        let waited_ms = millis(since.elapsed());
        Ok(match answer {
            Ok(Reply::Int(result)) => {
                let fencing_token = taken.filter(|_| result == 1).and_then(|name| self.token(name));
                HoldResponse { result: Some(result), refusal: None, fencing_token, waited_ms }
            }
            Ok(_) => HoldResponse { waited_ms, ..HoldResponse::default() },
            Err(error) => refused(symbol(&error), &error),
        })
    }

    fn introduce(&self, Introduce { owner, note }: Introduce) -> HoldResponse {
        if owner.chars().count() > MAX_TEXT || note.chars().count() > MAX_TEXT {
            return refused("LIMIT", &format_args!("an owner and a note have at most {MAX_TEXT} characters"));
        }
        self.session.handle().note(|profile| {
            profile.user = owner;
            profile.note = Some(note.into_boxed_str()).filter(|note| !note.is_empty());
        });
        HoldResponse { result: Some(1), ..HoldResponse::default() }
    }

    fn token(&mut self, name: Name) -> Option<u64> {
        match self.session.start(Command::FencingToken(name)) {
            Progress::Done(Ok(Reply::Int(token))) => Some(token),
            _ => None,
        }
    }
}

/// Waits for a lock, for as long as the client is there. Further requests are taken in meanwhile.
///
/// Cancel-safe: dropped, it leaves the queue, and no request is lost.
async fn waited(
    waiting: Waiting<'_>,
    requests: &mut Streaming<HoldRequest>,
    ahead: &mut VecDeque<HoldRequest>,
    replies: &Replies,
) -> Result<Answer, Over> {
    let mut finish = std::pin::pin!(waiting.finish());
    loop {
        tokio::select! {
            biased;
            answer = &mut finish => return answer.map_err(Over::Ended),
            () = replies.closed() => return Err(Over::Left),
            request = requests.message() => match request {
                Ok(Some(request)) if ahead.len() < READ_AHEAD => ahead.push_back(request),
                Ok(Some(_)) => return Err(Over::SentTooMuch),
                Ok(None) | Err(_) => return Err(Over::Left),
            }
        }
    }
}

/// What is no command of a session.
enum Said {
    Introduced(Introduce),
    Name(NameError),
}

fn command(request: HoldRequest) -> Result<Option<Command>, Said> {
    let name = |text: &str| Name::new(text).map_err(Said::Name);
    Ok(Some(match request.command {
        None => return Ok(None),
        Some(Asked::GetLock(GetLock { name: lock, mode: wanted, wait_ms })) => Command::GetLock {
            name: name(&lock)?,
            mode: mode(wanted.try_into().unwrap_or_default()),
            timeout: wait(wait_ms),
        },
        Some(Asked::ReleaseLock(ReleaseLock { name: lock })) => Command::ReleaseLock(name(&lock)?),
        Some(Asked::ReleaseAllLocks(_)) => Command::ReleaseAllLocks,
        Some(Asked::Introduce(who)) => return Err(Said::Introduced(who)),
    }))
}

fn refused(symbol: &str, message: &dyn fmt::Display) -> HoldResponse {
    let refusal = Refusal { symbol: symbol.to_owned(), message: message.to_string() };
    HoldResponse { refusal: Some(refusal), ..HoldResponse::default() }
}

/// As the line protocol has it.
fn symbol(error: &Error) -> &'static str {
    match error {
        Error::Deadlock(_) => "DEADLOCK",
        Error::Interrupted => "KILLED",
        Error::TooManyLocks(_) => "LIMIT",
        Error::NoSession(_) => "NO_SESSION",
        Error::Stopping => "SHUTDOWN",
    }
}
