//! One connection of the line wire, from its first byte to its end.

use std::{convert::Infallible, fmt, mem, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;
use tokio_util::codec::{Decoder, Encoder};
use tracing::Instrument;

use super::{
    Ahead, Codec, Hello, List, Request, Response,
    error::{Refusal, Untrusted},
};
use crate::{
    core::{
        command::{EndReason, Error, LockRequest, ReleaseAnswer},
        lock::SessionId,
        session::{Acquiring, IsFree, Releasing, Session, UsedBy},
        share::QuotaExceeded,
        stats::{Refused, ReleaseCause},
        users::{Credentials, Proof},
    },
    net::{BufferedSocket, Hangup, MAX_UNSENT, TLS_HELLO, Tls},
    wires::socket::{self, Disconnect, Idle, Silence},
};

/// Why a connection ends.
#[derive(Debug)]
enum Over {
    /// The client has gone.
    Left,
    /// QUIT.
    Quit,
    /// It has to speak first, and did not in time.
    TooSlow,
    /// What it sent is no line protocol.
    Untrusted(Untrusted),
    /// It sent more behind a command that waits than is kept: than so many bytes, with what else is kept for it.
    SentTooMuch(usize),
    /// Nothing came for longer than may be, be it that it holds locks or not.
    Idle(Duration),
    /// It did not log in in time.
    NoLogin,
    /// The server ends it.
    Ended(EndReason),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the client left"),
            Self::Quit => f.write_str("the client quit"),
            Self::TooSlow => f.write_str("the client said nothing in time"),
            Self::SentTooMuch(_) => f.write_str("the client sent too much behind a command that waits"),
            Self::NoLogin => f.write_str("the client did not log in in time"),
            Self::Idle(limit) => write!(f, "the client was idle for {limit:?}"),
            Self::Untrusted(untrusted) => untrusted.fmt(f),
            Self::Ended(ending) => ending.fmt(f),
        }
    }
}

impl From<Untrusted> for Over {
    fn from(untrusted: Untrusted) -> Self {
        Self::Untrusted(untrusted)
    }
}

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self::Left
    }
}

impl From<Disconnect> for Over {
    fn from(cut: Disconnect) -> Self {
        match cut {
            Disconnect::HungUp(Hangup::Left) => Self::Left,
            Disconnect::HungUp(Hangup::SentTooMuch(most)) => Self::SentTooMuch(most),
            Disconnect::Ended(ending) => Self::Ended(ending),
        }
    }
}

impl From<EndReason> for Over {
    fn from(ending: EndReason) -> Self {
        Self::Ended(ending)
    }
}

/// Serves a connection until its client leaves, or is made to.
///
/// Cancel-safe: dropped, it frees what the session holds and closes the socket.
pub fn serve(io: BufferedSocket, session: Session, max_line: usize) -> impl Future<Output = ()> + Send {
    let origin = session.handle().origin();
    let span =
        tracing::debug_span!("connection", session = session.id().0, wire = origin.wire, peer = %origin.peer);
    let mut connection =
        Connection { io, session, codec: Codec::new(max_line), idle: Idle::default(), spoke: true };
    // One block, in which the connection stays where it is: a future has a place for each move.
    let served = async move {
        tracing::debug!("connection starts");
        let Err(over) = connection.run().await;
        Box::pin(connection.end(over)).await;
    };
    served.instrument(span)
}

/// What a client is told for which there is no place.
pub fn refusal(why: QuotaExceeded) -> Bytes {
    let mut output = BytesMut::new();
    let _ = Codec::default().encode(Response::QuotaExceeded(why), &mut output);
    output.freeze()
}

/// How much time the client of a session that was ended has to take the reason.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Whoever sends more at once takes turns with the others before it is looked at.
const MUCH: usize = 4 * 1024;

struct Connection {
    io: BufferedSocket,
    session: Session,
    codec: Codec,
    idle: Idle,
    /// It has asked for something since it was last seen idle. A `KEEPALIVE` does not count.
    spoke: bool,
}

/// What came of looking for a request.
enum Step<'a> {
    /// There is none.
    Idle,
    /// Its response is written.
    Done,
    /// It is, too, and took as long as dozens of others: a refusal names what is nearest, help is long.
    Long,
    /// Its response has to be waited for, and is written then. Boxed: a wait is rare and long, and its state would stand
    /// in every idle connection.
    Waits(Pin<Box<dyn Future<Output = Result<(), Over>> + Send + 'a>>),
}

/// What comes after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next one, while it is this client's turn.
    More,
    /// Others have their turn.
    Others,
    /// There is none.
    Nothing,
}

impl Connection {
    async fn run(&mut self) -> Result<Infallible, Over> {
        if let Some(tls) = self.io.tls().cloned() {
            // Boxed: its state is not needed any more once the client is in.
            Box::pin(self.begin(tls)).await?;
        }
        loop {
            let next = match self.step()? {
                Step::Waits(waiting) => {
                    waiting.await?;
                    Next::Others
                }
                Step::Long => Next::Others,
                Step::Done => Next::More,
                Step::Idle => Next::Nothing,
            };
            self.session.publish_holds();
            if let Some(ending) = self.session.end_reason() {
                return Err(ending.into());
            }
            if next != Next::Nothing && self.time_to_log_in().is_some_and(|left| left.is_zero()) {
                return Err(Over::NoLogin);
            }
            if next == Next::Nothing || self.io.output.len() >= MAX_UNSENT {
                self.flush().await?;
            }
            match next {
                // One who sends without end takes turns with the others.
                Next::More => tokio::task::coop::consume_budget().await,
                Next::Others => tokio::task::yield_now().await,
                Next::Nothing => {
                    self.fill().await.map_err(|silence| self.over(silence))?;
                    if self.io.input.len() > MUCH {
                        // It may be empty lines alone, which are no commands that would take turns.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// The first byte tells whether the client speaks TLS.
    async fn begin(&mut self, tls: Arc<Tls>) -> Result<(), Over> {
        let time = self.io.timeouts().login;
        let filled = if tls.is_required() {
            timeout(time, self.fill()).await.map_err(|_| Over::TooSlow)?
        } else {
            self.fill().await
        };
        filled.map_err(|silence| self.over(silence))?;
        match self.io.input.first() {
            Some(&TLS_HELLO) => Ok(socket::upgrade(&mut self.io, self.session.handle(), &tls, time).await?),
            _ if tls.is_required() => Err(Untrusted::NoTls.into()),
            _ => Ok(()),
        }
    }

    /// Answers the next request, if one has come. Not async: a request would have a place in every
    /// idle connection.
    fn step(&mut self) -> Result<Step<'_>, Over> {
        match self.codec.decode(&mut self.io.input)? {
            Some(request) => self.respond(request),
            None => Ok(Step::Idle),
        }
    }

    fn respond(&mut self, request: Result<Request, Refusal>) -> Result<Step<'_>, Over> {
        // Of what is refused not the words: one may be a password behind a mistyped AUTH.
        tracing::trace!(request = ?request.as_ref().map_err(Refusal::symbol));
        self.spoke |= !matches!(request, Ok(Request::Keepalive));
        let response = match request {
            Ok(Request::Acquire(wanted)) => return self.acquire(wanted),
            Ok(Request::Release(name)) => {
                Response::Number(self.session.release(&name).map(ReleaseAnswer::number))
            }
            Ok(Request::ReleaseAll) => return self.release_all(),
            Ok(Request::IsFree(name)) => {
                Response::Number(self.session.query(&IsFree(&name)).map(|free| Some(free.into())))
            }
            Ok(Request::UsedBy(name)) => {
                let holder = self.session.query(&UsedBy(&name));
                Response::Number(holder.map(|holder| holder.map(|id| id.0.into())))
            }
            Ok(Request::FencingToken(name)) => Response::Number(self.session.fencing_token(&name)),
            Ok(Request::ConnectionId) => {
                Response::Number(self.session.connection_id().map(|id| Some(id.0.into())))
            }
            Ok(Request::List(list)) => return Ok(Step::Waits(Box::pin(self.list(list)))),
            Ok(Request::Stats) => Response::Stats(self.session.stats().map(Box::new)),
            Ok(Request::Kill(id)) => return self.kill(id),
            Ok(Request::CancelWait(id)) => {
                Response::Number(self.session.cancel_wait(id).map(|waited| Some(waited.into())))
            }
            Ok(Request::Auth(credentials)) => return Ok(Step::Waits(Box::pin(self.log_in(credentials)))),
            Ok(Request::Ping) => Response::Pong,
            Ok(Request::Keepalive) => Response::Keepalive(self.io.left()),
            Ok(Request::Hello) => {
                let (max_line, max_locks) = (self.codec.max_line(), self.session.max_locks());
                Response::Hello(Hello { session: self.session.id(), max_line, max_locks })
            }
            Ok(Request::Help(verb)) => Response::Help(verb),
            Ok(Request::Quit) => return Err(Over::Quit),
            Err(refusal) => Response::Refused(refusal),
        };
        let is_long = matches!(response, Response::Refused(_) | Response::Help(_));
        self.write(response)?;
        Ok(if is_long { Step::Long } else { Step::Done })
    }

    fn write(&mut self, response: Response) -> Result<(), Over> {
        Ok(self.codec.encode(response, &mut self.io.output)?)
    }

    fn acquire(&mut self, wanted: LockRequest) -> Result<Step<'_>, Over> {
        let Self { io, session, codec, .. } = self;
        match session.acquire(wanted) {
            Acquiring::Done(answer) => {
                codec.encode(answer.into(), &mut io.output)?;
                Ok(Step::Done)
            }
            Acquiring::Waiting(waiting) => Ok(Step::Waits(Box::pin(async move {
                let mut ahead = Ahead::default();
                let answer = socket::wait(io, waiting, move |io| answer_ahead(&mut ahead, io)).await?;
                Ok(codec.encode(answer.into(), &mut io.output)?)
            }))),
        }
    }

    fn release_all(&mut self) -> Result<Step<'_>, Over> {
        let Self { io, session, codec, .. } = self;
        let counts = match session.release_all() {
            Ok(Releasing::Done(counts)) => Ok(Some(counts)),
            Ok(Releasing::Pieces(pieces)) => {
                return Ok(Step::Waits(Box::pin(async move {
                    let counts = pieces.finish().await?;
                    Ok(codec.encode(Response::Number(Ok(Some(counts))), &mut io.output)?)
                })));
            }
            Err(error) => Err(error),
        };
        codec.encode(Response::Number(counts), &mut io.output)?;
        Ok(Step::Done)
    }

    fn kill(&mut self, id: SessionId) -> Result<Step<'_>, Over> {
        let Self { io, session, codec, .. } = self;
        match session.kill(id) {
            Ok(killing) => Ok(Step::Waits(Box::pin(async move {
                killing.finish().await?;
                Ok(codec.encode(Response::Number(Ok(Some(1))), &mut io.output)?)
            }))),
            Err(error) => {
                codec.encode(error.into(), &mut io.output)?;
                Ok(Step::Done)
            }
        }
    }

    /// Makes a list. It is written by the thread that has made it, which by then serves nobody else, if there is
    /// memory to keep it until it is sent.
    ///
    /// Cancel-safe: dropped before it is the client's turn, it has done nothing.
    async fn list(&mut self, list: List) -> Result<(), Over> {
        let turn = socket::list_permit(&mut self.io, &self.session).await?;
        let start = self.io.output.len();
        let Self { io, session, codec, .. } = self;
        turn.make(|| list.write(session, &mut codec.lines(&mut io.output)));
        if let Err(exceeded) = self.io.keep_answer(start, &self.session.budget()) {
            self.io.unwrite(start);
            self.session.count_refusal(exceeded.into());
            self.write(Error::from(exceeded).into())?;
        }
        Ok(())
    }

    /// Lets a client in, or says later and later that it is not.
    ///
    /// Cancel-safe: dropped, it is not logged in.
    async fn log_in(&mut self, Credentials { name, password }: Credentials) -> Result<(), Over> {
        let handle = self.session.handle_arc();
        let proof = Proof::Password(&password);
        let mut answer = tokio::select! {
            ending = handle.ended() => return Err(ending.into()),
            answer = self.session.log_in(&name, &proof) => answer,
        };
        if answer.is_ok() && self.session.user().is_none() {
            answer = self.session.note_login(name).map_err(Error::from);
        }
        self.write(Response::Number(answer.map(|()| Some(1))))
    }

    /// Waits for more input, for the end of the session, or for too long. Cancel-safe.
    fn fill(&mut self) -> impl Future<Output = Result<(), Silence>> + Send {
        if mem::take(&mut self.spoke) {
            self.idle.begin(socket::max_idle(&self.io, &self.session));
        }
        socket::fill(&mut self.io, self.session.handle(), &mut self.idle)
    }

    #[cold]
    fn over(&self, silence: Silence) -> Over {
        match silence {
            Silence::Left => Over::Left,
            Silence::Ended(ending) => ending.into(),
            Silence::Idle if self.session.needs_login() => Over::NoLogin,
            Silence::Idle => Over::Idle(socket::max_idle(&self.io, &self.session).unwrap_or_default()),
        }
    }

    async fn flush(&mut self) -> Result<(), Over> {
        if let Some(left) = self.time_to_log_in() {
            let flush = socket::flush(&mut self.io, self.session.handle());
            // Boxed: its state is not needed any more once the client is in.
            return Ok(Box::pin(timeout(left, flush)).await.map_err(|_| Over::NoLogin)??);
        }
        Ok(socket::flush(&mut self.io, self.session.handle()).await?)
    }

    /// What is left of it; none for one who has logged in, or need not.
    fn time_to_log_in(&self) -> Option<Duration> {
        if self.session.needs_login() { socket::max_idle(&self.io, &self.session) } else { None }
    }

    /// Frees what the session holds, then says why, to a client that is still there.
    async fn end(self, over: Over) {
        let Self { mut io, mut session, mut codec, .. } = self;
        let (holds, max_login) = (session.holds(), io.timeouts().login);
        match over {
            Over::Untrusted(_) => session.count_refusal(Refused::Protocol),
            Over::SentTooMuch(_) => session.count_refusal(Refused::ConnectionMemory),
            _ => {}
        }
        let cause = if matches!(over, Over::Idle(_)) { ReleaseCause::Idle } else { session.cause() };
        session.free_all(cause).await;
        drop(session);
        tracing::debug!(holds, why = %over, "connection ends");
        let (last, patience) = match over {
            Over::Left | Over::TooSlow => return,
            Over::Quit => (Response::Bye, None),
            Over::Untrusted(untrusted) => (Response::Untrusted(untrusted), None),
            Over::SentTooMuch(most) => (Response::SentTooMuch(most), Some(LAST_WORDS)),
            Over::Idle(limit) => (Response::Idle { limit, held: holds > 0 }, Some(LAST_WORDS)),
            Over::NoLogin => (Response::TooSlow(max_login), Some(LAST_WORDS)),
            Over::Ended(ending) => (Response::Ended(ending), Some(LAST_WORDS)),
        };
        let _ = codec.encode(last, &mut io.output);
        io.close(patience).await;
    }
}

/// Answers what is answered while a command waits. A client that does not read waits for its turn with it.
fn answer_ahead(ahead: &mut Ahead, io: &mut BufferedSocket) {
    while io.output.len() < MAX_UNSENT
        && let Some(line_end) = ahead.question(&mut io.input)
    {
        let left = io.left();
        line_end.write(left, &mut io.output);
    }
}
