//! What a command may cost its connection: the memory to read it, and to keep its answer until that is sent; and
//! when others have their turn.

use std::borrow::Cow;

use bytes::BytesMut;
use tokio::task::{coop::consume_budget, yield_now};
use tokio_util::codec::Decoder;

use super::{
    command::Kind, connection::Connection, error::SqlError, packet::Fields, result::Writer, work::TURN,
};
use crate::{
    core::budget::Exceeded,
    net::Hangup,
    wires::socket::{self, Disconnect},
};

/// A packet of up to so many bytes is read without asking: a read takes as much.
const LONG: usize = 16 * 1024;

/// Between two packets so many bytes are taken in at most to see whether the client has left: the memory of the
/// connection is for what they ask.
const AHEAD: usize = 512 * 1024;

/// What it costs to read a byte of a statement, in units of work.
pub(super) const READ: usize = 16;

/// A command that there was no memory for.
#[derive(Debug)]
pub(super) struct Unread {
    kind: Kind,
    /// Of the prepared statement that it is about, if it is about one.
    id: u32,
    why: Exceeded,
}

impl Connection {
    /// The next packet of which all is there. The memory for a long one is asked for when its head has come; what there
    /// is none for is dropped as it comes.
    pub(super) fn next_command(&mut self) -> Result<Option<BytesMut>, SqlError> {
        let packet = self.packets.decode(&mut self.io.input)?;
        if packet.is_none()
            && self.state.incoming.bytes() == 0
            && let Some(length) = self.packets.announced(&self.io.input)
            && length > LONG
            && let Err(unread) = self.pay_for(length)
        {
            self.state.unread = Some(unread);
            self.packets.drop_announced(&mut self.io.input);
            return self.packets.decode(&mut self.io.input);
        }
        Ok(packet)
    }

    fn pay_for(&mut self, length: usize) -> Result<(), Unread> {
        let (kind, id) = about(&self.io.input[4..]);
        self.charge(kind, length).map_err(|why| Unread { kind, id, why })
    }

    /// A statement is there twice: as a text, and as what was read out of it.
    fn charge(&mut self, kind: Kind, length: usize) -> Result<(), Exceeded> {
        let bytes = if kind == Kind::SendLongData { length } else { 2 * length };
        self.state.budget.resize(&mut self.state.incoming, bytes)
    }

    /// Fails where there is no memory for a packet, if it is a long one.
    pub(super) fn take_in(&mut self, packet: &[u8]) -> Result<(), Unread> {
        self.state.effort += READ * packet.len();
        if let Some(unread) = self.state.unread.take() {
            return Err(unread);
        }
        if packet.len() > LONG && self.state.incoming.bytes() == 0 {
            // It came all at once, behind one that had to wait.
            let (kind, id) = about(packet);
            self.charge(kind, packet.len()).map_err(|why| Unread { kind, id, why })?;
        }
        Ok(())
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
    pub(super) fn refuse(&mut self, unread: &Unread) {
        let error = SqlError::from(unread.why);
        if unread.kind == Kind::SendLongData {
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
    pub(super) async fn take_turns(&mut self) -> Result<(), Disconnect> {
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

/// The kind of a command, and the number of the prepared statement that it is about.
fn about(payload: &[u8]) -> (Kind, u32) {
    let (first, rest) = payload.split_first().map_or((0, payload), |(first, rest)| (*first, rest));
    (Kind::of(first), Fields(rest).u32().unwrap_or(0))
}
