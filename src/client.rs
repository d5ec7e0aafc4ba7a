//! A client: locks for programs in Rust, over the line protocol.
//!
//! A lock is a [`Guard`]. It is freed when the guard is dropped, and it is gone when its connection is,
//! which [`Guard::lost`] tells at once: stop what you do then.
//!
//! ```
//! # use std::time::Duration;
//! use getlockd::client::Client;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let flags = ["getlockd", "--line", "127.0.0.1:0", "--mysql", "off", "--http", "off"];
//! # let server = getlockd::server::Server::bind(&getlockd::config::Cli::read(flags).unwrap().config)?;
//! # let addr = server.line_addr().unwrap().to_string();
//! # tokio::spawn(server.run(std::future::pending()));
//! # async fn work(_token: u64) {}
//! let client = Client::connect("127.0.0.1:3305").await
//! #   .or(Client::connect(addr).await)?;
//! if let Some(lock) = client.lock("nightly", Duration::from_secs(10)).await? {
//!     tokio::select! {
//!         () = work(lock.fencing_token()) => lock.release().await?,
//!         lost = lock.lost() => eprintln!("somebody else may have it now: {lost}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # One connection, or one for each lock
//!
//! A connection is a session of the server, and the server answers it in order.
//!
//! - [`Client`] takes each lock on a connection of its own, from a small pool. No wait is behind another,
//!   and a lock that is lost takes no other with it. This is what most programs want.
//! - [`Connection`] is one session, with as many locks as you like. All its guards share its fate, and
//!   whatever is asked on it, a release too, is done after what was asked before: a lock that is waited
//!   for holds up the others. Take several locks at a time on one connection: only then does the server
//!   see that two such programs wait for each other, and refuses the second with `DEADLOCK`.
//!
//! # When the connection is lost
//!
//! Then the server has freed the locks, and they are never taken again behind your back: a guard that is
//! lost stays lost. Only a call that has no answer yet is tried again on a new connection, by [`Client`],
//! for [`Builder::retry`].
//!
//! A server whose machine has vanished is found within [`Builder::keepalive`]. Until then you do not know
//! that you have lost the lock, and somebody else may hold it: send [`Guard::fencing_token`] along with what you
//! write, and let the store refuse one lower than it has seen.

mod builder;
mod connection;
mod driver;
mod error;
mod guard;
mod pool;
mod reply;
#[cfg(feature = "client-tls")]
mod tls;

pub use builder::{Builder, DEFAULT_PORT};
pub use connection::Connection;
pub use error::{Error, Lost, Refused};
pub use guard::Guard;
pub use pool::Client;
#[cfg(fuzzing)]
pub(crate) use reply::read_all;
pub use reply::{List, Row, written};
#[cfg(feature = "client-tls")]
pub use tls::{Identity, Tls};

pub use crate::timeout::Timeout;
