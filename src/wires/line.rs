//! The line wire: one line in, one line out, for a person in netcat and for five-line clients.
//!
//! The specification is protocol.md, "The line protocol".

mod codec;
mod connection;
mod encode;
mod error;
mod verbs;

pub use codec::{Codec, MAX_LINE};
pub use connection::{refusal, serve};
pub use encode::Response;
#[cfg(fuzzing)]
pub use error::CloseError;
pub use verbs::Verb;

/// The name of this wire where wires are listed.
pub const WIRE: &str = "line";

/// The version of the protocol, as HELLO tells it.
pub const PROTOCOL: u32 = 1;
