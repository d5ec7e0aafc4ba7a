//! `getlockd`, a lock server: MySQL's `GET_LOCK` family without MySQL.
//!
//! The rules it keeps stand in `protocol.md`. One way through the server:
//!
//! ```text
//! bytes -> codec -> Command -> Session -> lock::Table -> Reply -> codec -> bytes
//! ```
//!
//! Programs that want a lock use the crate `getlockd-client`.

mod aside;
pub mod budget;
pub mod command;
pub mod config;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod grpc;
pub mod http;
pub mod invite;
pub mod lease;
pub mod line;
pub mod lock;
pub mod log;
pub mod metrics;
pub mod mysql;
pub mod name;
pub mod net;
pub mod others;
pub mod ping;
#[cfg(feature = "shuttle")]
pub mod planted;
pub mod server;
pub mod session;
pub mod share;
mod sync;
pub mod systemd;
pub mod tally;
pub mod user;
pub mod web;
mod wire;
