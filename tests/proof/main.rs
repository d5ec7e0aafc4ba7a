//! The evidence for what is claimed: tests/README.md says what is tested, how, and what is not.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

#[allow(dead_code, reason = "each of the test binaries uses its part")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/inside.rs"]
mod inside;

mod abuse;
mod caller;
mod cluster;
mod crash;
mod crowd;
mod faults;
mod h2;
mod lease;
mod linear;
mod model;
mod soak;
mod stress;
mod tally;

use tokio::sync::RwLock;

/// Tests that load the machine have it alone, by `write`. By `read` those have it that assert times: beside each other,
/// and beside no load.
static MACHINE: RwLock<()> = RwLock::const_new(());
