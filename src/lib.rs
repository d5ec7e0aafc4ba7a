//! `getlockd`, a lock server: MySQL's `GET_LOCK` family without MySQL.
//!
//! The rules it keeps stand in `protocol.md`. One way through the server:
//!
//! ```text
//! bytes -> codec -> Command -> Session -> lock::Table -> Reply -> codec -> bytes
//! ```
//!
//! [`client`] is for programs that want a lock; with the feature `client` alone there is nothing else.

#[cfg(feature = "server")]
mod aside;
#[cfg(feature = "server")]
pub mod budget;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod command;
#[cfg(feature = "server")]
pub mod config;
mod escape;
#[cfg(all(fuzzing, feature = "client", feature = "server"))]
pub mod fuzz;
#[cfg(feature = "server")]
pub mod grpc;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod invite;
pub mod keepalive;
#[cfg(feature = "server")]
pub mod lease;
#[cfg(feature = "server")]
pub mod line;
#[cfg(feature = "server")]
pub mod lock;
#[cfg(feature = "server")]
pub mod log;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(any(feature = "cli", feature = "server"))]
pub mod moment;
#[cfg(feature = "server")]
pub mod mysql;
pub mod name;
#[cfg(feature = "server")]
pub mod net;
#[cfg(feature = "server")]
pub mod others;
#[cfg(any(feature = "client-tls", feature = "server"))]
mod pem;
#[cfg(feature = "server")]
pub mod ping;
#[cfg(feature = "shuttle")]
pub mod planted;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod share;
mod sync;
#[cfg(feature = "server")]
pub mod systemd;
#[cfg(feature = "server")]
pub mod tally;
pub mod timeout;
#[cfg(feature = "server")]
pub mod user;
#[cfg(any(feature = "cli", feature = "server"))]
pub mod variable;
#[cfg(feature = "server")]
pub mod web;
#[cfg(feature = "server")]
mod wire;
