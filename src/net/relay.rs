//! Relays: a node that does not lead passes whole TCP connections to the one that does.
//!
//! A relay connects to the *cluster port* of the leader and sends a PROXY header, which says whose connection it is, of
//! which wire, and under which term. One more connection of each relay, the *control connection*, carries questions: how
//! long the term runs for certain. A relay cuts its clients by then at the latest, so that they know before a successor
//! grants anything.
//!
//! - [`Relay`] and [`Upstream`] are the relay's side, [`RelayPort`] and [`Relays`] the leader's.
//! - [`park()`] holds a client while nobody leads.

mod frame;
mod hop;
mod introduction;
mod park;
mod port;
mod pump;
mod relays;
mod stats;
mod upstream;

pub use hop::PortTls;
#[cfg(fuzzing)]
pub use introduction::fuzz;
pub use park::{Parked, park};
pub use port::{RelayPort, is_own_port};
pub use relays::{RelayRow, Relays};
pub use stats::{CutCause, RelayStats};
pub use upstream::{Relay, Upstream, UpstreamError};

#[cfg(test)]
mod tests;
