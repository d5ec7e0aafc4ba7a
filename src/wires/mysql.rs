//! The MySQL wire: MySQL 8.4's client/server protocol, as far as a lock server needs it.
//!
//! It is specified in protocol.md, "The MySQL wire". For the rest see the documentation of MySQL's internals.
//!
//! # From bytes to a result
//!
//! - Bytes become packets: [`connection`] reads the socket, and [`packet`] splits the input into packets. A long packet
//!   is charged to the memory of the connection when its head has arrived.
//! - The first byte of a packet is its opcode: [`commands`] runs it. [`login`] (with [`attributes`]) and [`auth`] come
//!   before the first command; [`prepared`] keeps prepared statements and reads their parameters.
//! - A query is text in the character set of the client ([`charset`]); [`sql`] parses it into a statement.
//! - [`executor`] executes the statement: `SELECT` of expressions itself, of a table with [`list`], and others with
//!   [`mod@set`], [`show`] and [`named`] (`PREPARE` and `EXECUTE`). Expressions are evaluated by [`sql`], where
//!   [`temporal`] has the dates; a call with an effect suspends the evaluation until the executor has performed it on
//!   the session. [`work`] bounds what all of this may cost, and [`lookup`] asks only once for what is the same in many
//!   rows.
//! - Rows of tables come from [`virtual_tables`] and [`getlockd_tables`], whose columns the [`catalog`] declares.
//! - The [`result`] or [`error`] of the statement is written after the replies before it, and sent when no further
//!   packet has arrived.
//!
//! [`state`] is what a connection remembers between commands, and [`variables`] a part of it. [`mod@value`] has the
//! values of expressions, [`names`] the rules for identifiers, [`clock`] the time.
//!
//! # Why a `Connection` and an `Executor`
//!
//! `Connection` owns the socket, the packets and the state, and lives as long as its client. `Executor` borrows these
//! for one statement, and adds what only that statement has: its parameters, its time, the outcomes of its calls. So a
//! statement that EXECUTE names has its own executor within that of the EXECUTE, and nothing of a statement remains in
//! the connection when it is done or dropped.

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

pub use connection::{no_leader, refusal, serve};

/// The largest packet that is accepted: `@@max_allowed_packet`.
pub const MAX_PACKET: usize = 1024 * 1024;

/// The server's flags for this wire.
#[derive(Clone, Copy, Debug)]
pub struct ServerFlags {
    /// The largest packet, in bytes.
    pub max_packet: usize,
    /// The limit of connections of all wires: `@@max_connections`.
    pub max_connections: usize,
}

impl Default for ServerFlags {
    fn default() -> Self {
        Self { max_packet: MAX_PACKET, max_connections: usize::MAX }
    }
}

/// The version that clients see. Drivers look at its start to find out what a server supports.
pub const VERSION: &str = concat!("8.4.0-getlockd-", env!("CARGO_PKG_VERSION"));

const VERSION_COMMENT: &str = "getlockd, a lock server";
