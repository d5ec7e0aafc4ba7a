//! What is counted of holds, waits and refusals, and the last holds that ended. Nothing is decided by it.

mod histogram;
mod history;

use std::time::Duration;

pub use histogram::{BOUNDS, Distribution, Histogram};
pub use history::{HoldHistory, HolderTexts, PastHold};

use crate::core::{
    budget::Exceeded,
    sync::plain::{AtomicU64, Ordering},
};

/// How a kind of thing is called where it is counted.
macro_rules! kinds {
    ($(#[$doc:meta])* $kinds:ident { $($(#[$of_one:meta])* $kind:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kinds {
            $($(#[$of_one])* $kind,)*
        }

        impl $kinds {
            /// All there are, in the order of their numbers.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Its name, for lists and for metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Why a hold ended.
    ReleaseCause {
        /// Its owner released it, by name or with all others.
        Release = "release",
        /// Its owner's connection ended.
        Disconnect = "disconnect",
        /// `KILL` ended the session.
        Killed = "killed",
        /// The time of a lease ran out.
        Expired = "expired",
        /// The server stopped.
        Shutdown = "shutdown",
        /// The connection was idle for longer than it may.
        Idle = "idle",
        /// A client of the MySQL wire started over: COM_RESET_CONNECTION, COM_CHANGE_USER.
        Reset = "reset",
        /// The user may not hold it any more.
        Revoked = "revoked",
        /// The client that was granted it had gone by then.
        HandedBack = "handed_back",
    }
}

impl ReleaseCause {
    /// Whether it was not the client's doing: the session ended while it held the lock.
    pub fn is_abandoned(self) -> bool {
        !matches!(self, Self::Release | Self::Reset | Self::HandedBack)
    }
}

kinds! {
    /// How a wait in a queue ended.
    WaitOutcome {
        /// With the lock.
        Granted = "granted",
        /// Its time ran out.
        TimedOut = "timeout",
        /// `KILL QUERY` ended it.
        Interrupted = "interrupted",
        /// It closed a cycle, which a longer search found.
        Deadlock = "deadlock",
        /// The client left, or its session was ended.
        Left = "left",
    }
}

kinds! {
    /// Why something was refused that the server could have done. What there was no place for is counted where the places are.
    Refused {
        /// The session held as many locks as it may.
        LocksPerSession = "locks_per_session",
        /// As many waited for the lock as may.
        WaitersPerLock = "waiters_per_lock",
        /// A connection had as much remembered as one may.
        ConnectionMemory = "connection_memory",
        /// All connections together had.
        ServerMemory = "server_memory",
        /// The server was stopping.
        Stopping = "stopping",
        /// A connection spoke no protocol, or against its rules, and was closed.
        Protocol = "protocol",
        /// A login by a wrong password or token.
        Login = "login",
        /// A login while there were too many wrong ones, right or not.
        Throttled = "throttled",
        /// The user may not do that, or nobody had logged in.
        Denied = "denied",
    }
}

impl From<Exceeded> for Refused {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Connection(_) => Self::ConnectionMemory,
            Exceeded::Server(_) => Self::ServerMemory,
        }
    }
}

/// All that is counted beside the table.
#[derive(Debug, Default)]
pub struct Recorder {
    holds: [Histogram; ReleaseCause::ALL.len()],
    waits: [Histogram; WaitOutcome::ALL.len()],
    refused: [AtomicU64; Refused::ALL.len()],
    kills: AtomicU64,
    history: HoldHistory,
}

impl Recorder {
    /// A hold has ended.
    pub fn hold_ended(&self, cause: ReleaseCause, held: Duration) {
        self.holds[cause as usize].observe(held);
    }

    /// A wait in a queue has ended.
    pub fn wait_ended(&self, outcome: WaitOutcome, waited: Duration) {
        self.waits[outcome as usize].observe(waited);
    }

    /// Something was refused.
    pub fn refused(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A session was told to end.
    pub fn killed(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// The last holds that ended.
    pub fn history(&self) -> &HoldHistory {
        &self.history
    }

    /// How long the holds were that ended so.
    pub fn holds(&self, cause: ReleaseCause) -> Distribution {
        self.holds[cause as usize].read()
    }

    /// How long the waits were that ended so.
    pub fn waits(&self, outcome: WaitOutcome) -> Distribution {
        self.waits[outcome as usize].read()
    }

    /// How often this was the reason.
    pub fn refusals(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// How many sessions were told to end.
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    /// How many holds ended with their sessions.
    pub fn abandoned(&self) -> u64 {
        let abandoned = ReleaseCause::ALL.into_iter().filter(|cause| cause.is_abandoned());
        abandoned.map(|cause| self.holds(cause).count()).sum()
    }
}
