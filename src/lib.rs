//! `getlockd`, a lock server: MySQL's `GET_LOCK` family without MySQL.
//!
//! The rules of the server are in `protocol.md`. The code has four layers:
//!
//! - `core` decides: locks, sessions, leases, users, limits and counters. It knows no sockets and no protocols.
//! - `wires` translates: the line protocol, MySQL's protocol, and over HTTP the JSON API, gRPC and the interfaces of
//!   other lock services. No wire knows another.
//! - `net` carries bytes: it listens, accepts, buffers and encrypts, and detects when a client is gone.
//! - `ops` is for operators: metrics, the log and systemd.
//!
//! [`server`] assembles them according to [`config`]. A request takes this path:
//!
//! ```text
//! net: bytes -> wires: decode -> core: Session -> lock::Table -> wires: encode -> net: bytes
//! ```

pub mod config;
mod core;
#[cfg(test)]
#[path = "../tests/common/dice.rs"]
mod dice;
#[doc(hidden)]
#[cfg(fuzzing)]
pub mod fuzz;
#[doc(hidden)]
pub mod internal;
pub mod name;
mod net;
mod ops;
pub mod server;
mod store;
mod wires;

/// Compiles the examples of docs/rust.md. They stand here since the crate `getlockd-client` is published without them.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct RustGuide;
