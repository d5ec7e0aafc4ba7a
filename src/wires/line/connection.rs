//! One connection of the line wire, from its first byte to its end.

use std::{convert::Infallible, mem, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;
use tokio_util::codec::{Decoder, Encoder};
use tracing::Instrument;

use super::{
    codec::{Ahead, Codec},
    encode::{Hello, LineWriter, Response},
    error::{CloseError, CloseReason, FatalError, LineError},
    events,
    request::{ListQuery, Request},
    telnet::Telnet,
};
use crate::{
    core::{
        command::{Error, ReleaseAnswer},
        lease::{LeaseLockAnswer, Leases},
        lock::SessionId,
        session::{Acquiring, IsFree, Nodes, Releasing, Session, UsedBy},
        share::QuotaExceeded,
        stats::{Refused, ReleaseCause},
        users::{Credentials, Proof},
    },
    name::Name,
    net::{BufferedSocket, MAX_UNSENT, TLS_HELLO, Tls},
    wires::socket::{self, IdleTimer, Silence},
};

/// Serves a connection until its client leaves, or is made to.
///
/// Cancel-safe: dropped, it frees what the session holds and closes the socket.
pub fn serve(
    io: BufferedSocket,
    session: Session,
    leases: Arc<Leases>,
    max_line: usize,
) -> impl Future<Output = ()> + Send {
    let origin = session.handle().origin();
    let span = tracing::debug_span!("connection", session = session.id().0, wire = origin.wire.as_str(), peer = %origin.peer);
    let (codec, idle, telnet) = (Codec::new(max_line), IdleTimer::default(), Telnet::default());
    let mut connection = Connection { io, session, leases, codec, idle, telnet, spoke: true };
    // One block, in which the connection stays where it is: a future has a place for each move.
    let served = async move {
        tracing::debug!("connection starts");
        let Err(reason) = connection.run().await;
        Box::pin(connection.end(reason)).await;
    };
    served.instrument(span)
}

/// What a client is sent for which there is no place.
pub fn refusal(why: QuotaExceeded) -> Bytes {
    let mut output = BytesMut::new();
    let _ = Codec::default().encode(Response::Closing(CloseError::QuotaExceeded(why)), &mut output);
    output.freeze()
}

/// What a client is sent that has waited for a leader as long as it may take to log in.
pub fn no_leader() -> Bytes {
    let mut output = BytesMut::new();
    let _ = Codec::default().encode(Response::Closing(CloseError::NoLeader), &mut output);
    output.freeze()
}

/// How much time the client of a session that was ended has to take the reason.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// After a read that takes more than this, other connections have their turn before it is looked at.
const MUCH: usize = 4 * 1024;

struct Connection {
    io: BufferedSocket,
    session: Session,
    leases: Arc<Leases>,
    codec: Codec,
    idle: IdleTimer,
    telnet: Telnet,
    /// It has asked for something since it was last seen idle. A `KEEPALIVE` does not count.
    spoke: bool,
}

/// What the next request needs.
enum Responded<'a> {
    /// No request has arrived.
    Idle,
    /// Its response is written.
    Done,
    /// Its response is written, and took as long as dozens of others: an error searches for the nearest command, and help
    /// is long.
    Long,
    /// Its response has to be waited for, and is written then. Boxed: a wait is rare, and its state would take space in
    /// every idle connection.
    Waits(Pin<Box<dyn Future<Output = Result<(), CloseReason>> + Send + 'a>>),
}

/// What comes after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterRequest {
    /// The next one, while it is this client's turn.
    More,
    /// Others have their turn.
    Others,
    /// There is none.
    Nothing,
}

impl Connection {
    /// Serves requests one after another. Replies gather in `output` and are sent by one write, once no further request
    /// has arrived: a client that sends a thousand lines at once costs a few system calls.
    ///
    /// Cancel-safe: dropped, it loses what the connection has not answered.
    async fn run(&mut self) -> Result<Infallible, CloseReason> {
        if let Some(tls) = self.io.tls().cloned() {
            // Boxed: its state is not needed any more once the client is in.
            Box::pin(self.begin(tls)).await?;
        }
        loop {
            let next = match self.respond()? {
                Responded::Waits(waiting) => {
                    waiting.await?;
                    AfterRequest::Others
                }
                Responded::Long => AfterRequest::Others,
                Responded::Done => AfterRequest::More,
                Responded::Idle => AfterRequest::Nothing,
            };
            if next == AfterRequest::Others && !self.io.input.is_empty() {
                // What is there may have come meanwhile.
                self.session.handle().note_command();
            }
            // In this order: a drain ends sessions that have published that they hold nothing.
            self.session.publish_holds();
            if self.session.has_notice() {
                self.heed()?;
            }
            if next != AfterRequest::Nothing && self.time_to_log_in().is_some_and(|left| left.is_zero()) {
                return Err(CloseReason::NoLogin);
            }
            if next == AfterRequest::Nothing || self.io.output.len() >= MAX_UNSENT {
                let time_to_log_in = self.time_to_log_in();
                let flush = socket::flush(&mut self.io, self.session.handle());
                match time_to_log_in {
                    // Boxed: its state is not needed any more once the client is in.
                    Some(left) => {
                        Box::pin(timeout(left, flush)).await.map_err(|_| CloseReason::NoLogin)??;
                    }
                    None => flush.await?,
                }
            }
            match next {
                // A client that sends without end takes turns with the others.
                AfterRequest::More => tokio::task::coop::consume_budget().await,
                AfterRequest::Others => tokio::task::yield_now().await,
                AfterRequest::Nothing => {
                    if mem::take(&mut self.spoke) {
                        self.idle.begin(socket::max_idle(&self.io, &self.session));
                    }
                    let from = self.io.input.len();
                    let filled = socket::fill(&mut self.io, self.session.handle(), &mut self.idle).await;
                    filled.map_err(|silence| self.close_reason(silence))?;
                    self.telnet.filter(&mut self.io.input, from, &mut self.io.output);
                    if self.io.input.len() > MUCH {
                        // It may be empty lines alone, which are no commands that would take turns.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Ends, or writes events.
    #[cold]
    fn heed(&mut self) -> Result<(), CloseReason> {
        if let Some(reason) = self.session.end_reason() {
            return Err(reason.into());
        }
        events::tell(&mut self.io, self.session.handle(), self.codec.end);
        Ok(())
    }

    /// The first byte tells whether the client speaks TLS.
    ///
    /// Not cancel-safe: dropped during the handshake, it closes the socket.
    async fn begin(&mut self, tls: Arc<Tls>) -> Result<(), CloseReason> {
        let time = self.io.timeouts().login;
        self.idle.begin(socket::max_idle(&self.io, &self.session));
        self.spoke = false;
        let fill = socket::fill(&mut self.io, self.session.handle(), &mut self.idle);
        let filled = if tls.is_required() {
            timeout(time, fill).await.map_err(|_| CloseReason::TooSlow)?
        } else {
            fill.await
        };
        filled.map_err(|silence| self.close_reason(silence))?;
        match self.io.input.first() {
            Some(&TLS_HELLO) => Ok(socket::upgrade(&mut self.io, self.session.handle(), &tls, time).await?),
            _ if tls.is_required() => Err(FatalError::NoTls.into()),
            _ => {
                self.telnet.filter(&mut self.io.input, 0, &mut self.io.output);
                Ok(())
            }
        }
    }

    /// Answers the next request, if one has arrived. Not async: the request would take space in every idle connection.
    fn respond(&mut self) -> Result<Responded<'_>, CloseReason> {
        let Some(request) = self.codec.decode(&mut self.io.input)? else { return Ok(Responded::Idle) };
        // Not the words of a line with an error: one may be a password behind a mistyped AUTH.
        tracing::trace!(request = ?request.as_ref().map_err(LineError::symbol));
        if !self.spoke && !matches!(request, Ok(Request::Keepalive)) {
            // Once for all commands that have come together: looking at the clock costs something.
            self.spoke = true;
            self.session.handle().note_command();
        }
        let response = match request {
            Ok(Request::Acquire(wanted)) => return self.acquire(|session| session.acquire(wanted)),
            Ok(Request::AcquireSeveral(wanted)) => {
                return self.acquire(|session| session.acquire_several(wanted));
            }
            Ok(Request::Release(name)) => {
                Response::Number(self.session.release(&name).map(ReleaseAnswer::number))
            }
            Ok(Request::ReleaseSeveral(names)) => {
                Response::Number(self.session.release_several(&names).map(Some))
            }
            Ok(Request::ReleaseAll) => return self.release_all(),
            Ok(Request::LeaseLock { name, ttl }) => {
                return Ok(Responded::Waits(Box::pin(self.lease_lock(name, ttl))));
            }
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
            Ok(Request::List(list)) => return Ok(Responded::Waits(Box::pin(self.list(list)))),
            Ok(Request::History(history)) => Response::History(self.session.query(&history)),
            Ok(Request::Events(is_on)) => Response::Number(self.session.listen(is_on).map(|()| Some(1))),
            Ok(Request::Watch(prefix)) => Response::Number(self.session.watch(prefix).map(|()| Some(1))),
            Ok(Request::Unwatch(prefix)) => {
                let watched = self.session.unwatch(prefix.as_ref());
                Response::Number(watched.map(|watched| Some(watched.into())))
            }
            Ok(Request::Nodes) => Response::Nodes(self.session.query(&Nodes)),
            Ok(Request::Stats) => Response::Stats(self.session.stats().map(Box::new)),
            Ok(Request::Kill { id, reason }) => return self.kill(id, reason.as_deref()),
            Ok(Request::CancelWait(id)) => {
                Response::Number(self.session.cancel_wait(id).map(|waited| Some(waited.into())))
            }
            Ok(Request::Auth(credentials)) => {
                return Ok(Responded::Waits(Box::pin(self.log_in(credentials))));
            }
            Ok(Request::Introduce { client, note }) => {
                Response::Number(self.session.introduce(client, note).map(|()| Some(1)))
            }
            Ok(Request::Details(on)) => {
                self.codec.details = on;
                Response::Number(Ok(Some(1)))
            }
            Ok(Request::Ping) => Response::Pong,
            Ok(Request::One) => Response::Number(Ok(Some(1))),
            Ok(Request::Version) => Response::Version,
            Ok(Request::Keepalive) => Response::Keepalive(self.io.left()),
            Ok(Request::Hello) => {
                let (max_line, max_locks) = (self.codec.max_line(), self.session.max_locks());
                let cluster = self.session.cluster().map(Box::new);
                Response::Hello(Hello { session: self.session.id(), max_line, max_locks, cluster })
            }
            Ok(Request::Help(verb)) => Response::Help(verb),
            Ok(Request::Quit) => return Err(CloseReason::Quit),
            Err(error) => Response::Refused(error),
        };
        let is_long = matches!(response, Response::Refused(_) | Response::Help(_));
        self.write(response)?;
        Ok(if is_long { Responded::Long } else { Responded::Done })
    }

    fn write(&mut self, response: Response) -> Result<(), CloseReason> {
        Ok(self.codec.encode(response, &mut self.io.output)?)
    }

    fn acquire<'a>(
        &'a mut self,
        acquire: impl FnOnce(&'a mut Session) -> Acquiring<'a>,
    ) -> Result<Responded<'a>, CloseReason> {
        let Self { io, session, codec, telnet, .. } = self;
        match acquire(session) {
            Acquiring::Done(answer) => {
                codec.encode(answer.into(), &mut io.output)?;
                Ok(Responded::Done)
            }
            Acquiring::Waiting(waiting) => Ok(Responded::Waits(Box::pin(async move {
                let (mut ahead, mut seen, mut interrupted) = (Ahead::default(), io.input.len(), false);
                let (cancel, handle, end) = (waiting.canceller(), waiting.handle(), codec.end);
                let arrived = |io: &mut BufferedSocket| {
                    telnet.filter(&mut io.input, seen, &mut io.output);
                    if telnet.interrupts(io.input.len()) {
                        interrupted |= cancel();
                    }
                    answer_ahead(&mut ahead, io);
                    events::tell(io, handle, end);
                    seen = io.input.len();
                };
                let response = match socket::wait(io, waiting, arrived).await? {
                    Err(Error::Interrupted) if interrupted => Response::WaitInterrupted,
                    answer => answer.into(),
                };
                Ok(codec.encode(response, &mut io.output)?)
            }))),
        }
    }

    fn release_all(&mut self) -> Result<Responded<'_>, CloseReason> {
        let Self { io, session, codec, .. } = self;
        let counts = match session.release_all() {
            Ok(Releasing::Done(counts)) => Ok(Some(counts)),
            Ok(Releasing::Pieces(pieces)) => {
                return Ok(Responded::Waits(Box::pin(async move {
                    let counts = pieces.finish().await?;
                    Ok(codec.encode(Response::Number(Ok(Some(counts))), &mut io.output)?)
                })));
            }
            Err(error) => Err(error),
        };
        codec.encode(Response::Number(counts), &mut io.output)?;
        Ok(Responded::Done)
    }

    fn kill(&mut self, id: SessionId, reason: Option<&str>) -> Result<Responded<'_>, CloseReason> {
        let Self { io, session, codec, .. } = self;
        match session.kill(id, reason) {
            Ok(killing) => Ok(Responded::Waits(Box::pin(async move {
                let killed = killing.finish().await?;
                Ok(codec.encode(Response::Number(killed.map(|()| Some(1))), &mut io.output)?)
            }))),
            Err(error) => {
                codec.encode(error.into(), &mut io.output)?;
                Ok(Responded::Done)
            }
        }
    }

    /// Makes a list, and writes it in the thread that has made it, which serves nobody else by then. It has as many rows
    /// as there is memory for until they are sent.
    ///
    /// Cancel-safe: dropped before it is the client's turn, it has done nothing.
    async fn list(&mut self, list: ListQuery) -> Result<(), CloseReason> {
        let from = self.io.input.len();
        let permit = socket::list_permit(&mut self.io, &self.session).await?;
        self.telnet.filter(&mut self.io.input, from, &mut self.io.output);
        let start = self.io.output.len();
        let room = self.io.answer_room(&self.session.budget());
        let Self { io, session, codec, .. } = self;
        permit.make(|| list.write(session, &mut LineWriter { output: &mut io.output, end: codec.end }, room));
        if let Err(exceeded) = self.io.charge_answer(start, &self.session.budget()) {
            self.io.discard_answer(start);
            self.session.count_refusal(exceeded.into());
            self.write(Error::from(exceeded).into())?;
        }
        Ok(())
    }

    /// Passes a lock on to a lease. The lease ends if the socket does not take the answer with its token.
    ///
    /// Cancel-safe: dropped, the lease ends.
    async fn lease_lock(&mut self, name: Name, ttl: Duration) -> Result<(), CloseReason> {
        let from = self.io.input.len();
        let answer = socket::lease_lock(&mut self.io, &mut self.session, &self.leases, &name, ttl).await?;
        self.telnet.filter(&mut self.io.input, from, &mut self.io.output);
        let number = match answer {
            Ok(LeaseLockAnswer::Leased(token, delivery)) => {
                self.write(Response::LeaseToken(token))?;
                socket::flush(&mut self.io, self.session.handle()).await?;
                delivery.done();
                return Ok(());
            }
            Ok(LeaseLockAnswer::HeldByOthers) => Ok(Some(0)),
            Ok(LeaseLockAnswer::Free) => Ok(None),
            Err(error) => Err(error),
        };
        self.write(Response::Number(number))
    }

    /// Logs the client in, or refuses it with a delay that grows.
    ///
    /// Cancel-safe: dropped, it is not logged in.
    async fn log_in(&mut self, Credentials { name, password }: Credentials) -> Result<(), CloseReason> {
        let handle = self.session.handle_arc();
        let proof = Proof::Password(&password);
        let mut answer = tokio::select! {
            ending = handle.ended() => return Err(ending.into()),
            answer = self.session.log_in(&name, &proof) => answer,
        };
        if answer.is_ok() && self.session.user().is_none() {
            answer = self.session.describe(|client_info| client_info.login = name);
        }
        self.write(Response::Number(answer.map(|()| Some(1))))
    }

    #[cold]
    fn close_reason(&self, silence: Silence) -> CloseReason {
        match silence {
            Silence::Left => CloseReason::Left,
            Silence::Ended(ending) => ending.into(),
            Silence::Idle if self.session.needs_login() => CloseReason::NoLogin,
            Silence::Idle => CloseReason::Idle(socket::max_idle(&self.io, &self.session).unwrap_or_default()),
        }
    }

    /// How much time is left to log in; none for a client that has logged in, or need not.
    fn time_to_log_in(&self) -> Option<Duration> {
        if self.session.needs_login() { socket::max_idle(&self.io, &self.session) } else { None }
    }

    /// Frees what the session holds, then tells the client why, if it is still there: the reason is a promise that the
    /// locks are free.
    ///
    /// Not cancel-safe: dropped, it closes the connection without the last line.
    async fn end(self, reason: CloseReason) {
        let Self { mut io, mut session, mut codec, .. } = self;
        let (holds, max_login) = (session.holds(), io.timeouts().login);
        match reason {
            CloseReason::Fatal(_) => session.count_refusal(Refused::Protocol),
            CloseReason::SentTooMuch(_) => session.count_refusal(Refused::ConnectionMemory),
            _ => {}
        }
        let cause = if matches!(reason, CloseReason::Idle(_)) { ReleaseCause::Idle } else { session.cause() };
        session.free_all(cause).await;
        let client_info = session.handle().client_info();
        drop(session);
        let (client, user) = (client_info.client(), client_info.user());
        tracing::debug!(client, user, holds, why = %reason, "connection ends");
        let (error, patience) = match reason {
            CloseReason::Left | CloseReason::TooSlow => return,
            CloseReason::Quit => (None, None),
            CloseReason::Fatal(fatal) => (Some(fatal.into()), None),
            CloseReason::SentTooMuch(most) => (Some(CloseError::SentTooMuch(most)), Some(LAST_WORDS)),
            CloseReason::Idle(limit) if holds > 0 => (Some(CloseError::IdleHolder(limit)), Some(LAST_WORDS)),
            CloseReason::Idle(limit) => (Some(CloseError::Idle(limit)), Some(LAST_WORDS)),
            CloseReason::NoLogin => (Some(CloseError::NoLogin(max_login)), Some(LAST_WORDS)),
            CloseReason::Ended(reason) => (Some(reason.into()), Some(LAST_WORDS)),
        };
        let _ = codec.encode(error.map_or(Response::Bye, Response::Closing), &mut io.output);
        io.close(patience).await;
    }
}

/// Answers what is answered while a command waits. A client that does not read its answers gets no more until it does.
fn answer_ahead(ahead: &mut Ahead, io: &mut BufferedSocket) {
    while io.output.len() < MAX_UNSENT
        && let Some(end) = ahead.question(&mut io.input)
    {
        let left = io.left();
        LineWriter { output: &mut io.output, end }.keepalive(left);
    }
}
