//! What the server decides: which session holds a lock, which waits for it, and what a user may do.
//!
//! The lowest layer. It uses nothing of the other three: no socket, no protocol and no metric is named here.

pub(crate) mod budget;
pub(crate) mod client_info;
pub(crate) mod command;
pub(crate) mod lease;
pub(crate) mod lock;
#[cfg(feature = "shuttle")]
pub(crate) mod mutants;
pub(crate) mod offload;
pub(crate) mod session;
pub(crate) mod share;
pub(crate) mod stats;
pub(crate) mod sync;
pub(crate) mod users;
