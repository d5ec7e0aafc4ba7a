//! The line wire: one line in, one line out, for people at netcat and for five-line clients.
//!
//! It is specified in protocol.md, "The line protocol". A request takes this path:
//!
//! ```text
//! connection: bytes -> codec: a line -> request: what it asks for -> core: Session -> encode: bytes
//! ```

mod codec;
mod connection;
mod encode;
mod error;
mod events;
mod hint;
mod request;
mod select;
mod telnet;

pub use codec::{Codec, MAX_LINE};
pub use connection::{no_leader, refusal, serve};
pub use encode::Response;
#[cfg(fuzzing)]
pub use error::CloseError;
pub use request::Verb;
#[cfg(fuzzing)]
pub use telnet::Telnet;
