//! Locks for programs in Rust: a client of the server `getlockd`, over its line protocol.
//!
//! A lock is a [`Guard`]. It is released when the guard is dropped. It is lost when its connection is, which
//! [`Guard::lost`] reports at once: stop your work then. [`Client::lock`] does both for you.
//!
//! ```no_run
//! use std::time::Duration;
//! use getlockd_client::Client;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), getlockd_client::Error> {
//! # async fn work(_token: u64) {}
//! let client = Client::connect("127.0.0.1:3305").await?;
//! // The work is dropped if the lock is lost.
//! client.lock("nightly", Duration::from_secs(10), async |guard| work(guard.fencing_token()).await).await?;
//!
//! // The same by hand.
//! let guard = client.acquire("nightly", Duration::from_secs(10)).await?;
//! guard.run(work(guard.fencing_token())).await?;
//! guard.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Programs without an async runtime use the feature `blocking` and its module of that name. The feature `tls` adds
//! TLS.
//!
//! # One connection, or one for each lock
//!
//! A connection is a session of the server, and the server answers it in order.
//!
//! - [`Client`] takes each lock on a connection of its own, from a small pool. No wait is behind another,
//!   and a lock that is lost takes no other with it. This is what most programs want.
//! - [`Connection`] is one session, with as many locks as you like. All its guards share its fate.
//!   The server runs its requests in their order, also a release: one that waits for a lock holds up those
//!   behind it. Take several locks at a time on one connection: only then does the server
//!   see that two such programs wait for each other, and refuses the second with [`Symbol::Deadlock`].
//!
//! # When the connection is lost
//!
//! Then the server releases the locks, and they are never taken again behind your back: a guard that is
//! lost stays lost. Only a call that has no answer yet is tried again on a new connection, by [`Client`],
//! for [`Builder::retry`].
//!
//! A network that is cut without a word is noticed before the locks are granted to other sessions. The server lets
//! a silent client keep its locks for 25 s (with its default `--keepalive`), and promises so to each `KEEPALIVE`.
//! While a guard lives, its connection asks in intervals of a fifth of that time. The guard is lost
//! [`Builder::stop_within`] before the last promise ends: 10 s by default. Work that stops within that time never
//! runs beside the next holder. The clock that counts goes on while the machine sleeps.
//!
//! A task that blocks its thread can keep the connection from asking, and then the lock is lost. Give such work to
//! `spawn_blocking`, or to a runtime with several threads.
//!
//! Two cases are left. A server that restarts has forgotten its promises. Work that cannot be stopped goes
//! on. For both, send [`Guard::fencing_token`] along with what you write, and let the store refuse a token lower
//! than the highest it has seen.
//!
//! # In a cluster
//!
//! Give the addresses of several nodes, as in `a:3305,b:3305` (see [`Builder::new`]). What a leader promises is shorter: a
//! question goes out each tenth of the cluster's `--cluster-ttl`, and a guard is lost three tenths of it before its lock may be
//! granted to others, which is 1.5 s of 5 s. Answers of a leader that another one has followed count for nothing,
//! whichever connection of the program knows of that. Locks of connections end with the leader, and leases go on.
//!
//! # Several locks at once
//!
//! `client.acquire(["a", "b"], timeout)` takes both locks or none, in one wait, and returns one guard. See [`Names`].
//! `client.acquire_permit("render", 3, timeout)` takes one of three permits.
//!
//! # Without a connection
//!
//! Programs that cannot keep a connection open use the feature `http` and its module of that name: a lock is then a
//! lease, which is kept by heartbeats.
//!
//! # After a fork
//!
//! A process that forks without `exec` must leave the client to the parent. The child has a copy of each
//! guard and of each socket, but not the tasks behind them. The lock then ends only when both processes have
//! closed the socket, so a child that outlives its parent keeps the lock. Use `std::process::Command` in place
//! of a bare fork: the sockets are closed when it starts a program.

#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod clock;
mod connection;
mod driver;
mod error;
mod events;
#[cfg(fuzzing)]
mod fuzz;
mod guard;
mod handle;
mod heartbeat;
#[cfg(feature = "http")]
pub mod http;
mod introduction;
mod leader;
mod lock_methods;
mod names;
mod pool;
mod reply;
mod rows;
mod servers;
#[cfg(feature = "tls")]
mod tls;
mod waiters;
mod watch;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use builder::Builder;
pub use connection::Connection;
pub use error::{Error, Lost, Refused};
pub use events::{EndedHold, WaiterEvent, WatchEvent, WatchedHold};
#[cfg(fuzzing)]
pub use fuzz::read_all;
pub use getlockd_proto::{DEFAULT_PORT, name::NameError, symbol::Symbol, timeout::Timeout};
pub use guard::Guard;
pub use introduction::introduction;
pub use names::Names;
pub use pool::Client;
pub use reply::{visible, written};
pub use rows::{HistoryRow, List, LockRow, Mode, NodeRow, SessionRow, Stats, WaiterRow, WhyRow};
#[cfg(feature = "tls")]
pub use tls::{Identity, Tls};
pub use waiters::WaiterEvents;
pub use watch::WatchEvents;
