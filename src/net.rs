//! Sockets: accepting them, reading and writing in bursts, noticing that the other end has gone.

mod accept;
mod burst;
mod listen;
mod stall;
mod watched;

pub use crate::keepalive::Keepalive;
pub use accept::{Connection, Gate, accept};
pub use burst::{Burst, HungUp, MAX_READ_AHEAD, MAX_UNSENT};
pub use listen::listen;
pub use watched::{Watch, Watched};
