//! One connection of the MySQL wire, from the greeting to its end.

use std::{convert::Infallible, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;
use tokio_util::codec::Decoder;
use tracing::Instrument;

use super::{
    attributes::Attributes,
    error::SqlError,
    login::{self, Login},
    over::Over,
    packet::Packets,
    result::Writer,
    state::State,
};
use crate::{
    core::{
        command::EndReason,
        session::Session,
        share::NoPlace,
        stats::{Refused, ReleaseCause},
    },
    net::{BufferedSocket, MAX_UNSENT},
    wires::socket::{self, Silence},
};

/// The largest packet before the login: names, a proof and some attributes. One that is larger is refused by the
/// length in its head, before it is read.
pub(super) const MAX_LOGIN: usize = 8 * 1024;

/// How much time a client has to take the reason for its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection until its client leaves, or is made to.
///
/// Cancel-safe: dropped, it frees what the session holds and closes the socket.
pub fn serve(io: BufferedSocket, session: Session) -> impl Future<Output = ()> + Send {
    let origin = session.handle().origin();
    let span = tracing::debug_span!("connection", session = session.id().0, wire = origin.wire.as_str(), peer = %origin.peer);
    let mut state = Box::new(State::default());
    state.host = origin.peer.ip().to_string();
    state.budget = session.budget();
    let packets = Packets::new(MAX_LOGIN);
    let mut connection =
        Connection { io, session, packets, state, idle: socket::IdleTimer::default(), multi: false };
    // One block, in which the connection stays where it is: a future has a place for each move.
    let served = async move {
        tracing::debug!("connection starts");
        let Err(over) = connection.run().await;
        Box::pin(connection.end(over)).await;
    };
    served.instrument(span)
}

/// What a client is told for which there is no place.
pub fn refusal(why: NoPlace) -> Bytes {
    let (mut packets, mut output) = (Packets::new(0), BytesMut::new());
    let status = State::default().status(false);
    Writer { packets: &mut packets, output: &mut output, status }.error(&SqlError::from(why));
    output.freeze()
}

/// A connection and all that belongs to it.
pub(super) struct Connection {
    pub io: BufferedSocket,
    pub session: Session,
    pub packets: Packets,
    pub state: Box<State>,
    /// Looks now and then whether the client has been idle for too long.
    idle: socket::IdleTimer,
    /// Whether a query may have several statements.
    pub multi: bool,
}

impl Connection {
    async fn run(&mut self) -> Result<Infallible, Over> {
        // Boxed: its state is not needed any more once the client is in.
        let time = self.session.limits().login;
        Box::pin(timeout(time, self.log_in())).await.unwrap_or(Err(Over::TooSlow))?;
        self.packets.set_limit(self.session.limits().packet);
        loop {
            self.packets.restart();
            while let Some(packet) = self.next_command()? {
                match self.take_in(&packet) {
                    Ok(()) => self.command(&packet).await?,
                    Err(unread) => self.refuse(&unread),
                }
                drop(packet);
                self.state.incoming.give_back();
                self.packets.restart();
                self.session.publish_holds();
                if let Some(ending) = self.session.ending() {
                    return Err(ending.into());
                }
                if self.io.output.len() >= MAX_UNSENT {
                    self.flush().await?;
                }
                self.take_turns().await?;
            }
            self.flush().await?;
            self.session.handle().note_idle();
            // Others have their turn while nothing comes.
            self.state.effort = 0;
            self.fill().await?;
        }
    }

    async fn log_in(&mut self) -> Result<(), Over> {
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
        self.flush().await
    }

    /// What the client says of itself, by TLS if it asks for that before.
    async fn login(&mut self) -> Result<Login, Over> {
        let packet = self.packet().await?;
        let Some(tls) = self.io.tls().cloned() else { return Ok(Login::parse(&packet, false)?) };
        if login::asks_for_tls(&packet) {
            let time = self.session.limits().login;
            socket::upgrade(&mut self.io, self.session.handle(), &tls, time).await?;
            return Ok(Login::parse(&self.packet().await?, true)?);
        }
        let login = Login::parse(&packet, false)?;
        if tls.is_required() { Err(SqlError::InsecureTransport.into()) } else { Ok(login) }
    }

    /// What the server's flags make of the variables.
    pub(super) fn set_flags(&mut self) {
        self.state.variables.set_max_packet(self.session.limits().packet);
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

    /// Shows in lists what the client tells of itself, in place of what it told before.
    pub(super) fn introduce(&mut self, attributes: Attributes) -> Result<(), SqlError> {
        let Attributes { client, note } = attributes;
        Ok(self.session.introduce(client, note)?)
    }

    /// The next packet, whatever it is, after what is to be sent.
    pub(super) async fn packet(&mut self) -> Result<BytesMut, Over> {
        self.flush().await?;
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

    /// A lock is not freed for idleness unless somebody has asked for that.
    fn may_idle(&self) -> Option<Duration> {
        // Who logs in, now or as another user, has a time of his own for that.
        if self.session.needs_login() {
            return None;
        }
        let settings = self.state.variables.settings();
        let counts = settings.wait_timeout_is_set || self.session.holds() == 0;
        let of_client = counts.then_some(settings.wait_timeout);
        of_client.into_iter().chain(self.session.may_idle()).min()
    }

    /// Waits for more input, for the end of the session, or for too long.
    async fn fill(&mut self) -> Result<(), Over> {
        self.idle.begin(self.may_idle());
        let filled = socket::fill(&mut self.io, self.session.handle(), &mut self.idle).await;
        filled.map_err(|silence| match silence {
            Silence::Left => Over::Left,
            Silence::Ended(ending) => ending.into(),
            Silence::Idle => Over::Inactive,
        })
    }

    pub(super) async fn flush(&mut self) -> Result<(), Over> {
        Ok(socket::flush(&mut self.io, self.session.handle()).await?)
    }

    /// Frees what the session holds, then says why, to a client that waits for an answer.
    async fn end(mut self, over: Over) {
        let holds = self.session.holds();
        // Before the login there is no telling which packet the client expects.
        let asked = self.packets.is_answering() && self.state.capabilities != 0;
        tracing::debug!(holds, why = %over, "connection ends");
        let cause = if matches!(over, Over::Inactive) { ReleaseCause::Idle } else { self.session.cause() };
        match &over {
            Over::Left | Over::TooSlow => return,
            // A client that asked nothing finds the connection closed, as with MySQL.
            Over::Ended(_) if !asked => {}
            Over::Ended(EndReason::Killed(_) | EndReason::Revoked) => {
                self.writer(false).error(&SqlError::Interrupted);
            }
            Over::Ended(EndReason::Shutdown) => self.writer(false).error(&SqlError::Shutdown),
            Over::Inactive => {
                self.packets.restart();
                self.writer(false).error(&SqlError::Inactive);
            }
            Over::Fatal(error) => {
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
