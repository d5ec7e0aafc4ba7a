//! The MySQL wire: the client/server protocol of MySQL 8.4, as far as a lock server has a use for it.
//!
//! The specification is protocol.md, "The MySQL wire", and the MySQL internals documentation for
//! what that leaves out.

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

/// The name of this wire where wires are listed.
pub const WIRE: &str = "mysql";

/// The largest packet that is taken: `@@max_allowed_packet`.
pub const MAX_PACKET: usize = 1024 * 1024;

/// The version that is told. Drivers look at its start to see what a server can do.
pub const VERSION: &str = concat!("8.4.0-getlockd-", env!("CARGO_PKG_VERSION"));

const VERSION_COMMENT: &str = "getlockd, a lock server";
