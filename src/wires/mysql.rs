//! The MySQL wire: the client/server protocol of MySQL 8.4, as far as a lock server has a use for it.
//!
//! The specification is protocol.md, "The MySQL wire", and the MySQL internals documentation for
//! what that leaves out.

mod attributes;
mod auth;
mod catalog;
mod charset;
mod clock;
mod command;
mod commands;
mod connection;
mod error;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod intake;
mod list;
mod login;
mod look;
mod named;
mod names;
mod over;
mod packet;
mod prepared;
mod record;
mod result;
mod run;
mod select;
mod set;
mod settings;
mod show;
mod sql;
mod state;
mod status;
mod tables;
mod temporal;
mod user_variables;
mod value;
mod variables;
mod work;

pub use connection::{refusal, serve};

/// The largest packet that is taken: `@@max_allowed_packet`.
pub const MAX_PACKET: usize = 1024 * 1024;

/// The version that is told. Drivers look at its start to see what a server can do.
pub const VERSION: &str = concat!("8.4.0-getlockd-", env!("CARGO_PKG_VERSION"));

const VERSION_COMMENT: &str = "getlockd, a lock server";
