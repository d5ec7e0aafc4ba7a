//! `getlockd`, a lock server: MySQL's `GET_LOCK` family without MySQL.
//!
//! The rules it keeps stand in `protocol.md`. One way through:
//!
//! ```text
//! bytes -> codec -> Command -> Session -> lock::Table -> Reply -> codec -> bytes
//! ```

mod aside;
pub mod command;
pub mod config;
mod escape;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod grpc;
pub mod http;
pub mod invite;
pub mod lease;
pub mod line;
pub mod lock;
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
mod sync;
pub mod systemd;
pub mod tally;
pub mod timeout;
pub mod user;
pub mod web;
mod wire;
