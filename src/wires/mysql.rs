//! The MySQL wire: the client/server protocol of MySQL 8.4, as far as a lock server has a use for it.
//!
//! The specification is protocol.md, "The MySQL wire", and the MySQL internals documentation for
//! what that leaves out.
//!
//! # From bytes to a result
//!
//! - Bytes become packets: [`connection`] reads the socket, and [`packet`] cuts what came into packets. A long packet is
//!   charged to the memory of the connection when its head has come.
//! - The first byte of a packet is its opcode: [`commands`] does what it asks for. [`login`] (with [`attributes`]) and
//!   [`auth`] precede the first command; [`prepared`] keeps prepared statements and reads their parameters.
//! - A query is text in the character set of the client ([`charset`]); [`sql`] parses it into a statement.
//! - [`executor`] executes the statement: `SELECT` of expressions itself, a table by [`list`], [`mod@set`], [`show`], and
//!   `PREPARE` and `EXECUTE` by [`named`]. Expressions are evaluated by [`sql`], where [`temporal`] has the dates; a call
//!   with an effect suspends the evaluation until the executor has performed it on the session. [`work`] bounds what all
//!   of this may cost, and [`lookup`] asks what is the same for many rows once.
//! - Rows of tables come from [`virtual_tables`] and [`getlockd_tables`], whose columns the [`catalog`] declares.
//! - Resource the statement comes to, a [`result`] or an [`error`], is written behind the answers before it, and sent when no
//!   further packet has come.
//!
//! [`state`] is what a connection remembers from command to command, [`variables`] a part of it, [`mod@value`] what
//! expressions are made of, [`names`] what identifiers may be, [`clock`] the time.
//!
//! # Why a `Connection` and an `Executor`
//!
//! `Connection` owns the socket, the packets and the state, and lives as long as its client. `Executor` borrows these for one
//! statement, beside what only that has: its parameters, its time, the outcomes of its calls. So a statement that EXECUTE
//! names has an executor of its own within that of the EXECUTE, and nothing of a statement is left in the connection when
//! it is done or dropped.

mod attributes;
mod auth;
mod catalog;
mod charset;
mod clock;
mod commands;
mod connection;
mod error;
mod executor;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod getlockd_tables;
mod list;
mod login;
mod lookup;
mod named;
mod names;
mod packet;
mod prepared;
mod result;
mod set;
mod show;
mod sql;
mod state;
mod temporal;
mod value;
mod variables;
mod virtual_tables;
mod work;

pub use connection::{refusal, serve};

/// The largest packet that is taken: `@@max_allowed_packet`.
pub const MAX_PACKET: usize = 1024 * 1024;

/// What the server's flags say to this wire.
#[derive(Clone, Copy, Debug)]
pub struct ServerFlags {
    /// The most bytes of a packet.
    pub max_packet: usize,
    /// The most connections of all wires: `@@max_connections`.
    pub max_connections: usize,
}

impl Default for ServerFlags {
    fn default() -> Self {
        Self { max_packet: MAX_PACKET, max_connections: usize::MAX }
    }
}

/// The version that is told. Drivers look at its start to see what a server can do.
pub const VERSION: &str = concat!("8.4.0-getlockd-", env!("CARGO_PKG_VERSION"));

const VERSION_COMMENT: &str = "getlockd, a lock server";
