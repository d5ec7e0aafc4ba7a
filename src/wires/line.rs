//! The line wire: one line in, one line out, for a person in netcat and for five-line clients.
//!
//! The specification is protocol.md, "The line protocol".

mod codec;
mod connection;
mod error;
mod grammar;
mod verbs;
mod write;

pub use codec::{Ahead, Codec, MAX_LINE};
pub use connection::{refusal, serve};
pub use verbs::{List, Request, Verb};
pub use write::{Hello, Response};

/// The name of this wire where wires are listed.
pub const WIRE: &str = "line";

/// The version of the protocol, as HELLO tells it.
pub const PROTOCOL: u32 = 1;
