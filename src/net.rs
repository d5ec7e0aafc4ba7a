//! Sockets: accepting them, reading and writing in bursts, noticing that the other end has gone.

mod accept;
mod burst;
mod socket;

pub use accept::{Gate, accept};
pub use burst::{Burst, MAX_READ_AHEAD, MAX_UNSENT};
pub use socket::{Keepalive, listen};
