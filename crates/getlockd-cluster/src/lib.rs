//! How several servers agree on which of them leads.
//!
//! One server at a time has the *seat*: a record in an engine that all of them reach, such as etcd. Its holder touches it
//! by compare-and-swap, several times within the time to live T; each touch is a *beat*. A server that has seen no change
//! for T may take the seat. The holder serves until 0.9 T after it sent its last acknowledged beat, and looks at the clock
//! before each write to a client. No lease of the engine and no clock that machines share is needed, only that their clocks
//! run at about the same rate.
//!
//! - [`seat`] is the state machine: no I/O, no clock of its own.
//! - [`engine`] is what it needs of a store; [`etcd`] is one.
//! - [`driver`] runs the machine against an engine, on a thread of its own.
//! - [`term`] is what a leader's sockets look at before each write.

pub mod driver;
pub mod engine;
pub mod etcd;
pub mod moment;
pub mod record;
pub mod seat;
pub mod term;
