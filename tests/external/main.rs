//! Programs of others against the server: drivers, mappers, pools, command lines, generated clients, a browser; and
//! the clients of `clients/`, each in its language.
//!
//! What is not installed is skipped; with `DRIVERS=all` in the environment that is a failure. `.ci/run` installs it.
#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

#[allow(dead_code, reason = "each of the test binaries uses its part")]
#[path = "../common/mod.rs"]
mod common;

mod clients;
mod driver;
mod drivers;
mod languages;
mod page;
mod programs;
mod telnet;

use tokio::sync::RwLock;

/// The clients of `clients/` run their steps alone, by `write`: some steps say within which second a client must have
/// done something. Scripts that load the machine run by `read`, beside each other.
static MACHINE: RwLock<()> = RwLock::const_new(());
