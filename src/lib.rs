//! `getlockd`, a lock server: MySQL's `GET_LOCK` family without MySQL.
//!
//! The rules it keeps stand in `protocol.md`. The code has four layers:
//!
//! - `core` decides: locks, sessions, leases, users, limits and counters. It knows no socket and no protocol.
//! - `wires` translates: the line protocol, MySQL's protocol, and over HTTP the JSON API, gRPC and the interfaces of
//!   other lock services. No wire knows another.
//! - `net` carries bytes: it listens, accepts, buffers and encrypts, and notices when the other end is gone.
//! - `ops` is for those who run the server: metrics, the log and systemd.
//!
//! [`server`] puts them together as [`config`] says. One request takes this way:
//!
//! ```text
//! net: bytes -> wires: decode -> core: Session -> lock::Table -> wires: encode -> net: bytes
//! ```

pub mod config;
mod core;
#[doc(hidden)]
#[cfg(fuzzing)]
pub mod fuzz;
#[doc(hidden)]
pub mod internal;
pub mod name;
mod net;
mod ops;
pub mod server;
mod wires;

/// Compiles the examples of docs/rust.md. They stand here since the crate `getlockd-client` is published without them.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct RustGuide;
