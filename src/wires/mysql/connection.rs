//! One connection of the MySQL wire, from the greeting to its end: its packets, the memory that a command and its answer
//! may take, and when others have their turn.

use std::{borrow::Cow, convert::Infallible, fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    task::{coop::consume_budget, yield_now},
    time::timeout,
};
use tokio_util::codec::Decoder;
use tracing::Instrument;

use super::{
    ServerFlags,
    attributes::Attributes,
    error::SqlError,
    login::{self, Login},
    packet::{Fields, Opcode, Packets},
    result::Writer,
    state::{State, Unread},
    work::{READ, TURN},
};
use crate::{
    core::{
        budget::Exceeded,
        command::EndReason,
        lease::Leases,
        session::Session,
        share::QuotaExceeded,
        stats::{Refused, ReleaseCause},
    },
    net::{BufferedSocket, Hangup, MAX_UNSENT},
    wires::socket::{self, Disconnect, Silence},
};

/// A packet of up to so many bytes is read without asking: a read takes as much.
const LONG: usize = 16 * 1024;

/// Between two packets so many bytes are taken in at most to see whether the client has left: the memory of the
/// connection is for what they ask.
const AHEAD: usize = 512 * 1024;

/// The largest packet before the login: names, a proof and some attributes. One that is larger is refused by the
/// length in its head, before it is read.
pub(super) const MAX_LOGIN: usize = 8 * 1024;

/// How much time a client has to take the reason for its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection until its client leaves, or is made to.
///
/// Cancel-safe: dropped, it frees what the session holds and closes the socket.
pub fn serve(
    io: BufferedSocket,
    session: Session,
    leases: Arc<Leases>,
    config: ServerFlags,
) -> impl Future<Output = ()> + Send {
    let origin = session.handle().origin();
    let span = tracing::debug_span!("connection", session = session.id().0, wire = origin.wire.as_str(), peer = %origin.peer);
    let mut state = Box::new(State::default());
    state.config = config;
    state.host = origin.peer.ip().to_string();
    state.budget = session.budget();
    let packets = Packets::new(MAX_LOGIN);
    let mut connection =
        Connection { io, session, leases, packets, state, idle: socket::IdleTimer::default(), multi: false };
    // One block, in which the connection stays where it is: a future has a place for each move.
    let served = async move {
        tracing::debug!("connection starts");
        let Err(reason) = connection.run().await;
        Box::pin(connection.end(reason)).await;
    };
    served.instrument(span)
}

/// The answer to a client whose connection is refused for want of a place.
pub fn refusal(why: QuotaExceeded) -> Bytes {
    in_place_of_a_greeting(&why.into())
}

/// The answer to a client that has waited for a leader as long as it may take to log in. It is the code by which drivers
/// know that they may try again elsewhere.
pub fn no_leader() -> Bytes {
    in_place_of_a_greeting(&SqlError::NoLeader)
}

fn in_place_of_a_greeting(error: &SqlError) -> Bytes {
    let (mut packets, mut output) = (Packets::new(0), BytesMut::new());
    let status = State::default().status(false);
    Writer { packets: &mut packets, output: &mut output, status }.error(error);
    output.freeze()
}

/// A connection and all that belongs to it.
pub(super) struct Connection {
    pub io: BufferedSocket,
    pub session: Session,
    pub leases: Arc<Leases>,
    pub packets: Packets,
    pub state: Box<State>,
    /// Looks now and then whether the client has been idle for too long.
    idle: socket::IdleTimer,
    /// Whether a query may have several statements.
    pub multi: bool,
}

impl Connection {
    async fn run(&mut self) -> Result<Infallible, CloseReason> {
        // Boxed: its state is not needed any more once the client is in.
        let time = self.io.timeouts().login;
        Box::pin(timeout(time, self.log_in())).await.unwrap_or(Err(CloseReason::TooSlow))?;
        self.packets.set_limit(self.state.config.max_packet);
        loop {
            self.packets.restart();
            // All commands that have come are answered before anything is sent: one write for as many as a client sends
            // ahead, unless there is much to send or much was done.
            loop {
                // No `while let`: what that looks at would have a place in the task of every idle connection.
                let Some(packet) = self.next_command()? else { break };
                match self.state.unread.take() {
                    None => self.command(&packet).await?,
                    Some(unread) => self.refuse(&unread),
                }
                drop(packet);
                if self.state.incoming.bytes() > 0 {
                    self.state.incoming.give_back();
                }
                self.packets.restart();
                self.session.publish_holds();
                if let Some(ending) = self.session.end_reason() {
                    return Err(ending.into());
                }
                if self.io.output.len() >= MAX_UNSENT {
                    socket::flush(&mut self.io, self.session.handle()).await?;
                }
                self.take_turns().await?;
            }
            socket::flush(&mut self.io, self.session.handle()).await?;
            self.session.handle().note_idle();
            // Others have their turn while nothing comes.
            self.state.effort = 0;
            self.fill().await?;
            self.session.handle().note_command();
        }
    }

    async fn log_in(&mut self) -> Result<(), CloseReason> {
        let nonce = login::nonce()?;
        let (id, tls) = (self.session.id(), self.io.tls().is_some());
        self.packets.put(&mut self.io.output, |output| login::put_greeting(output, id, &nonce, tls));
        let login = self.login().await?;
        self.state.capabilities = login.capabilities;
        self.state.nonce = nonce;
        self.check_names(&login.user, login.database.as_deref())?;
        self.authenticate(&login, &nonce).await?;
        self.multi = login.capabilities & login::capability::MULTI_STATEMENTS != 0;
        self.set_flags();
        self.state.variables.set_names(login.charset);
        self.set_user_and_database(login.user, login.database)?;
        self.introduce(login.attributes)?;
        self.writer(false).ok();
        Ok(socket::flush(&mut self.io, self.session.handle()).await?)
    }

    /// The login of the client, over TLS if the client asks for that first.
    async fn login(&mut self) -> Result<Login, CloseReason> {
        let packet = self.packet().await?;
        let Some(tls) = self.io.tls().cloned() else { return Ok(Login::parse(&packet, false)?) };
        if login::asks_for_tls(&packet) {
            let time = self.io.timeouts().login;
            socket::upgrade(&mut self.io, self.session.handle(), &tls, time).await?;
            return Ok(Login::parse(&self.packet().await?, true)?);
        }
        let login = Login::parse(&packet, false)?;
        if tls.is_required() { Err(SqlError::InsecureTransport.into()) } else { Ok(login) }
    }

    /// What the server's flags make of the variables.
    pub(super) fn set_flags(&mut self) {
        self.state.variables.set_max_packet(self.state.config.max_packet);
    }

    pub(super) fn set_user_and_database(
        &mut self,
        user: String,
        database: Option<String>,
    ) -> Result<(), SqlError> {
        self.state.charge_names(&user, database.as_deref())?;
        self.state.user.clone_from(&user);
        self.state.database.clone_from(&database);
        self.session
            .handle()
            .note(|client_info| (client_info.login, client_info.database) = (user, database));
        Ok(())
    }

    /// Shows in lists what the client says of itself, in place of what it said before.
    pub(super) fn introduce(&mut self, attributes: Attributes) -> Result<(), SqlError> {
        let Attributes { client, note, others } = attributes;
        self.session.introduce(client, note)?;
        Ok(self
            .session
            .describe(|client_info| client_info.attributes = others.map(String::into_boxed_str))?)
    }

    /// The next packet, whatever it is, after what is to be sent.
    pub(super) async fn packet(&mut self) -> Result<BytesMut, CloseReason> {
        socket::flush(&mut self.io, self.session.handle()).await?;
        loop {
            if let Some(packet) = self.packets.decode(&mut self.io.input)? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    pub(super) fn writer(&mut self, more_results: bool) -> Writer<'_> {
        let status = self.state.status(more_results);
        Writer { packets: &mut self.packets, output: &mut self.io.output, status }
    }

    /// Waits for more input, for the end of the session, or for too long.
    async fn fill(&mut self) -> Result<(), CloseReason> {
        // A client that logs in, now or as another user, has a time of its own for that.
        let limit = if self.session.needs_login() {
            None
        } else {
            // A lock is not freed for idleness unless its client or the server's flags have asked for that.
            let settings = self.state.variables.settings();
            let counts = settings.wait_timeout_is_set || self.session.holds() == 0;
            let of_client = counts.then_some(settings.wait_timeout);
            of_client.into_iter().chain(socket::max_idle(&self.io, &self.session)).min()
        };
        self.idle.begin(limit);
        let filled = socket::fill(&mut self.io, self.session.handle(), &mut self.idle).await;
        filled.map_err(|silence| match silence {
            Silence::Left => CloseReason::Left,
            Silence::Ended(ending) => ending.into(),
            Silence::Idle => CloseReason::Inactive,
        })?;
        // Nothing else wakes it: on this wire nobody is told of events.
        Ok(())
    }

    /// Frees what the session holds, then says why, to a client that waits for an answer.
    async fn end(mut self, reason: CloseReason) {
        let holds = self.session.holds();
        // Before the login there is no telling which packet the client expects.
        let asked = self.packets.is_answering() && self.state.capabilities != 0;
        let client_info = self.session.handle().client_info();
        let (client, user) = (client_info.client(), client_info.user());
        tracing::debug!(client, user, holds, why = %reason, "connection ends");
        let cause =
            if matches!(reason, CloseReason::Inactive) { ReleaseCause::Idle } else { self.session.cause() };
        match &reason {
            CloseReason::Left | CloseReason::TooSlow => return,
            // A client that asked nothing finds the connection closed, as with MySQL.
            CloseReason::Ended(_) if !asked => {}
            CloseReason::Ended(EndReason::Killed(_) | EndReason::Revoked) => {
                self.writer(false).error(&SqlError::Interrupted);
            }
            CloseReason::Ended(EndReason::Shutdown) => self.writer(false).error(&SqlError::Shutdown),
            CloseReason::Inactive => {
                self.packets.restart();
                self.writer(false).error(&SqlError::Inactive);
            }
            CloseReason::Fatal(error) => {
                self.session.count_refusal(Refused::Protocol);
                self.writer(false).error(error);
            }
        }
        let Self { io, mut session, .. } = self;
        session.free_all(cause).await;
        drop(session);
        io.close(Some(LAST_WORDS)).await;
    }
}

/// Memory and turns.
impl Connection {
    /// The next command of which all is there. The memory for a long one is asked for when its head has come; what there
    /// is none for is dropped as it comes, and is [`State::unread`].
    fn next_command(&mut self) -> Result<Option<BytesMut>, SqlError> {
        let mut packet = self.packets.decode(&mut self.io.input)?;
        if packet.is_none()
            && self.state.incoming.bytes() == 0
            && let Some(length) = self.packets.announced(&self.io.input)
            && length > LONG
            && let Err(unread) = charge(&mut self.state, &self.io.input[4..], length)
        {
            self.state.unread = Some(unread);
            self.packets.drop_announced(&mut self.io.input);
            packet = self.packets.decode(&mut self.io.input)?;
        }
        let Some(packet) = packet else { return Ok(None) };
        self.state.effort += READ * packet.len();
        if packet.len() > LONG
            && self.state.incoming.bytes() == 0
            && self.state.unread.is_none()
            && let Err(unread) = charge(&mut self.state, &packet, packet.len())
        {
            // It came all at once, behind one that had to wait.
            self.state.unread = Some(unread);
        }
        Ok(Some(packet))
    }

    /// Fails where there is no memory for what is read out of a prepared statement, if that is a long one.
    pub(super) fn pay_for_parsed(&mut self, sql: &[u8]) -> Result<(), SqlError> {
        self.state.effort += READ * sql.len();
        if sql.len() > LONG {
            let bytes = self.state.incoming.bytes() + sql.len();
            self.state.budget.resize(&mut self.state.incoming, bytes)?;
        }
        Ok(())
    }

    /// A statement in UTF-8. Fails where it is no text in the character set of the client, or there is no memory for it
    /// in the other form.
    pub(super) fn read_statement<'p>(&mut self, sql: &'p [u8]) -> Result<Cow<'p, [u8]>, SqlError> {
        let charset = self.state.variables.settings().client_charset;
        if charset.is_read_as_is(sql) {
            return Ok(sql.into());
        }
        self.state.effort += READ * sql.len();
        let room = charset.room(sql);
        if room > LONG {
            // It is there three times then: what is read out of it is as long as its new form.
            self.state.budget.resize(&mut self.state.incoming, sql.len() + 2 * room)?;
        }
        charset.read(sql)
    }

    /// Answers what was not read. Data that is sent in pieces is not answered: the execution is.
    fn refuse(&mut self, unread: &Unread) {
        let error = SqlError::from(unread.why);
        if unread.opcode == Opcode::SendLongData {
            self.session.count_refusal(unread.why.into());
            self.state.refuse_long(unread.id, error);
        } else {
            self.fail(&error);
        }
    }

    /// Writes an answer. Fails where there is no memory to keep it until it is sent: nothing of it is left then.
    pub(super) fn answer(&mut self, more: bool, write: impl FnOnce(&mut Writer<'_>)) -> Result<(), SqlError> {
        let (start, sequence) = (self.io.output.len(), self.packets.sequence());
        write(&mut self.writer(more));
        self.io.charge_answer(start, &self.state.budget).map_err(|why| {
            self.io.discard_answer(start);
            self.packets.go_back(sequence);
            why.into()
        })
    }

    /// Whether so much was done for this one that others are to have their turn.
    pub(super) fn is_due(&self) -> bool {
        self.state.effort > TURN
    }

    /// Others have their turn, if the client is still there. Cancel-safe.
    pub(super) async fn rest(&mut self) -> Result<(), Disconnect> {
        self.state.effort = 0;
        // Boxed: an idle connection keeps no room for it.
        Box::pin(socket::rest(&mut self.io, &self.session)).await
    }

    /// Others have their turn between two packets. Nothing waits here that a client could send too much behind: what
    /// it sends ahead of its answers stays with the network once there is much of it. Cancel-safe.
    async fn take_turns(&mut self) -> Result<(), Disconnect> {
        if !self.is_due() {
            consume_budget().await;
            return Ok(());
        }
        if self.io.input.len() < AHEAD {
            match self.rest().await {
                Err(Disconnect::HungUp(Hangup::SentTooMuch(_))) => {}
                rested => return rested,
            }
        }
        self.state.effort = 0;
        yield_now().await;
        Ok(())
    }
}

/// Charges for a long command, of which the first bytes are known. A statement is there twice: as a text, and as what was
/// read out of it.
fn charge(state: &mut State, head: &[u8], length: usize) -> Result<(), Unread> {
    let (first, rest) = head.split_first().map_or((0, head), |(first, rest)| (*first, rest));
    let opcode = Opcode::of(first);
    let bytes = if opcode == Opcode::SendLongData { length } else { 2 * length };
    let charged = state.budget.resize(&mut state.incoming, bytes);
    charged.map_err(|why| Unread { opcode, id: Fields(rest).u32().unwrap_or(0), why })
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum CloseReason {
    /// The client left, with or without COM_QUIT.
    Left,
    /// It did not log in in time.
    TooSlow,
    /// It was idle for longer than it may.
    Inactive,
    /// What it sent cannot be trusted.
    Fatal(SqlError),
    /// The server ends it.
    Ended(EndReason),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the client left"),
            Self::TooSlow => f.write_str("the client did not log in in time"),
            Self::Inactive => f.write_str("the client was idle for longer than wait_timeout"),
            // A name that nobody has may be a password in the wrong place.
            Self::Fatal(SqlError::AccessDenied { .. }) => f.write_str("the login was refused"),
            Self::Fatal(error) => error.fmt(f),
            Self::Ended(ending) => ending.fmt(f),
        }
    }
}

impl From<SqlError> for CloseReason {
    fn from(error: SqlError) -> Self {
        Self::Fatal(error)
    }
}

impl From<EndReason> for CloseReason {
    fn from(ending: EndReason) -> Self {
        Self::Ended(ending)
    }
}

impl From<Disconnect> for CloseReason {
    fn from(cut: Disconnect) -> Self {
        match cut {
            Disconnect::HungUp(Hangup::Left) => Self::Left,
            Disconnect::HungUp(Hangup::SentTooMuch(most)) => {
                Self::Fatal(SqlError::TooMuchMemory(Exceeded::Connection(most)))
            }
            Disconnect::Ended(ending) => Self::Ended(ending),
        }
    }
}
