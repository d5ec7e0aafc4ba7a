//! Sockets: accepting them, reading and writing in bursts, noticing that the other end has gone.

mod accept;
mod burst;
mod socket;
mod stall;
mod watched;

pub use accept::{Connection, Gate, accept};
pub use burst::{Burst, HungUp, MAX_READ_AHEAD, MAX_UNSENT};
pub use socket::{Keepalive, listen};
pub use watched::{Watch, Watched};
