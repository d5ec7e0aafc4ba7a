//! What the server decides: which session holds a lock, which sessions wait for it, and what a user may do.
//!
//! The lowest layer. It uses none of the other three: it knows no sockets, protocols or metrics.

pub(crate) mod budget;
pub(crate) mod client_info;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod events;
pub(crate) mod lease;
pub(crate) mod lock;
#[cfg(any(test, feature = "shuttle"))]
pub(crate) mod mutants;
pub(crate) mod offload;
pub(crate) mod session;
pub(crate) mod share;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod sync;
pub(crate) mod users;
