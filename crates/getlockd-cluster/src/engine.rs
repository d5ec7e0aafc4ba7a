//! What the seat needs of a store: to read, to compare and swap, and to watch.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

/// A key as it was read: its value, and the revision of its last write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The revision at which it was written. No two writes of an engine have one revision.
    pub revision: u64,
    /// What was written.
    pub value: Vec<u8>,
}

/// The two keys that an election is about, as they stood at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The revision of the engine.
    pub revision: u64,
    /// The seat; none if there is no such key.
    pub seat: Option<Versioned>,
    /// The beat; none if there is no such key.
    pub beat: Option<Versioned>,
}

/// One change that a watch reports, or that a first look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The seat is this now.
    Seat(Option<Versioned>),
    /// The beat is this now.
    Beat(Option<Versioned>),
    /// A node announced itself, or its key is gone.
    Node(String, Option<Versioned>),
    /// An operator asks for a hand-over.
    HandOver(Option<Versioned>),
}

/// A compare-and-swap of the seat: it is made if seat and beat are, by revision and by value, as `expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// What was seen.
    pub expected: Look,
    /// The seat from now on.
    pub seat: Vec<u8>,
    /// The beat from now on.
    pub beat: Vec<u8>,
}

/// A beat: it is made if the seat is, by revision and by value, that of this term, and the beat that stands is lower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The term: the revision of the seat.
    pub term: u64,
    /// The seat as it was taken.
    pub seat: Vec<u8>,
    /// The beat from now on. Values are compared as bytes, so its digits have a fixed width.
    pub beat: Vec<u8>,
    /// Leases that are written with it, each by its key without the prefix: none deletes. No key comes twice.
    pub leases: Vec<(String, Option<Vec<u8>>)>,
}

/// The end of a term: made like a beat, if the beat that stands is lower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resign {
    /// The term: the revision of the seat.
    pub term: u64,
    /// The seat as it was taken.
    pub seat: Vec<u8>,
    /// The seat from now on: a record that says that it was resigned.
    pub resigned: Vec<u8>,
    /// The beat from now on.
    pub beat: Vec<u8>,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was made, at this revision.
    Done(u64),
    /// It was not made: this stands there.
    Not(Look),
    /// It was not made, and will not be: the engine refuses what it asks for, such as a transaction that is too large.
    Refused(String),
    /// It was made, will be made, or never will: no answer came in time.
    Unknown(String),
}

/// What an engine has for a new leader, all at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Each by its key without the prefix.
    pub records: Vec<(String, Vec<u8>)>,
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No answer, or not in time.
    #[error("{0}")]
    Unavailable(String),
    /// The engine does not let this user in, or its certificate is not trusted.
    #[error("{0}")]
    Denied(String),
    /// What was to be read at that revision is compacted away: the term starts again from its take.
    #[error("the leases at revision {0} are compacted; set a longer --auto-compaction-retention")]
    Compacted(u64),
    /// The engine must not be used for a seat.
    #[error("{0}")]
    Unsound(String),
}

/// A store with compare-and-swap and watch, whose writes are linearizable.
///
/// Each call limits its own time and does not try again: the machine does.
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Reads seat and beat; linearizable. Cancel-safe.
    fn look(&self) -> BoxFuture<'_, Result<Look, EngineError>>;

    /// Tries to take the seat.
    ///
    /// Not cancel-safe: dropped, nothing is known of it.
    fn take(&self, take: Take) -> BoxFuture<'_, Written>;

    /// Touches the seat, and writes leases with it.
    ///
    /// Not cancel-safe: dropped, nothing is known of it.
    fn beat(&self, beat: Beat) -> BoxFuture<'_, Written>;

    /// Gives the seat up.
    ///
    /// Not cancel-safe: dropped, nothing is known of it.
    fn resign(&self, resign: Resign) -> BoxFuture<'_, Written>;

    /// Reads all leases at a revision, in pages; linearizable. Cancel-safe.
    fn leases(&self, revision: u64) -> BoxFuture<'_, Result<Leases, EngineError>>;

    /// Announces this node, for people and for the choice of a successor.
    ///
    /// Not cancel-safe: dropped, it may be announced or not.
    fn announce(&self, node: &str, value: Vec<u8>) -> BoxFuture<'_, Result<(), EngineError>>;

    /// Removes what a node announced, or the request for a hand-over (`None`).
    ///
    /// Not cancel-safe: dropped, it may be removed or not.
    fn forget(&self, node: Option<&str>) -> BoxFuture<'_, Result<(), EngineError>>;

    /// Asks the leader to hand over, to this node if one is named.
    ///
    /// Not cancel-safe: dropped, it may be asked or not.
    fn ask_hand_over(&self, value: Vec<u8>) -> BoxFuture<'_, Result<(), EngineError>>;

    /// Reports what stands there, and then each change, until the receiver is dropped. It connects again by itself, at the
    /// next endpoint, and reports after each connection what stands there then.
    ///
    /// Cancel-safe: dropped, it reports nothing more.
    fn watch(&self, changes: mpsc::UnboundedSender<Change>) -> BoxFuture<'_, ()>;
}
