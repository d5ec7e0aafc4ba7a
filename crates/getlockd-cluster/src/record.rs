//! What stands in the engine, as values: the seat, the beat, and the nodes.

use std::time::Duration;

/// The seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatRecord {
    /// A node leads.
    Leads(Leader),
    /// A node led, and has ended all that it had promised.
    Resigned(Resigned),
    /// A later version wrote it: it is waited for, and never taken.
    Unreadable,
}

/// A leader, as its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub node: String,
    /// Where relays reach it: `host:port`.
    pub address: String,
    /// Fresh for each try to take the seat.
    pub nonce: String,
    /// The version of its program.
    pub version: String,
    /// What relays show to be let in.
    pub secret: String,
    /// The SHA-256 of its certificate in hexadecimal digits; none if its cluster port speaks no TLS.
    pub pin: Option<String>,
    /// T: how long a beat counts.
    pub ttl: Duration,
    /// How much longer a successor waits.
    pub takeover_delay: Duration,
    /// How long a client that is silent keeps what it holds; its relays use the same.
    pub keepalive: Duration,
    /// What tokens of repeated requests are made with, carried from term to term.
    pub request_key: String,
}

/// The end of a term, as its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resigned {
    /// The node that led.
    pub node: String,
    /// The term that it ended.
    pub term: u64,
    /// The node that is to lead next; the others hold back for a while.
    pub successor: Option<String>,
    /// As in [`Leader::request_key`].
    pub request_key: String,
}

/// The beat: digits of a fixed width, as engines compare them as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeatRecord {
    /// It rises with each try of a term.
    pub n: u64,
    /// Numbers that were given are below these.
    pub floors: Floors,
}

/// Numbers above all that were ever given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Of fencing tokens.
    pub token: u64,
    /// Of session ids, which wrap: compared modulo 2^32.
    pub session: u32,
}

/// A node, as it announces itself each T.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its name.
    pub node: String,
    /// Where its cluster port is reached.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// When its process began, in milliseconds since 1970.
    pub started_ms: u64,
    /// It rises with each announcement.
    pub n: u64,
}
