//! Statistics of holds, waits and refusals, and the last holds that ended. No decision depends on them.

mod histogram;
mod history;

use std::time::Duration;

pub use histogram::{BOUNDS, Distribution, Histogram};
pub use history::{HoldHistory, HolderTexts, PastHold};

use crate::core::{
    budget::Exceeded,
    sync::plain::{AtomicU64, Ordering},
};

/// The name of a kind of event in lists and metrics.
macro_rules! kinds {
    ($(#[$doc:meta])* $kinds:ident { $($(#[$of_one:meta])* $kind:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kinds {
            $($(#[$of_one])* $kind,)*
        }

        impl $kinds {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// The name, for lists and for metrics.
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
        /// The connection of its owner ended.
        Disconnect = "disconnect",
        /// `KILL` ended the session.
        Killed = "killed",
        /// The lease expired.
        Expired = "expired",
        /// The server stopped.
        Shutdown = "shutdown",
        /// The connection was idle for too long.
        Idle = "idle",
        /// A client of the MySQL wire reset its session: COM_RESET_CONNECTION, COM_CHANGE_USER.
        Reset = "reset",
        /// The user lost the right to hold it.
        Revoked = "revoked",
        /// The client was gone before it received the grant.
        HandedBack = "handed_back",
    }
}

impl ReleaseCause {
    /// Whether the session ended while it held the lock, and did not release it.
    pub fn is_abandoned(self) -> bool {
        !matches!(self, Self::Release | Self::Reset | Self::HandedBack)
    }
}

kinds! {
    /// How a wait in a queue ended.
    WaitOutcome {
        /// The lock was granted.
        Granted = "granted",
        /// The timeout was reached.
        TimedOut = "timeout",
        /// `KILL QUERY` cancelled the wait.
        Interrupted = "interrupted",
        /// The wait closed a cycle, which a longer search found.
        Deadlock = "deadlock",
        /// The client left, or its session was ended.
        Left = "left",
    }
}

kinds! {
    /// Why the server refused something that it could have done. Exceeded quotas are counted by the quotas.
    Refused {
        /// The session held as many locks as it may.
        LocksPerSession = "locks_per_session",
        /// The queue of the lock was full.
        WaitersPerLock = "waiters_per_lock",
        /// The budget of a connection was used up.
        ConnectionMemory = "connection_memory",
        /// The budget of all connections was used up.
        ServerMemory = "server_memory",
        /// The server was stopping.
        Stopping = "stopping",
        /// The lease store could not be written, and no fencing tokens were left.
        Store = "store",
        /// A connection violated the protocol and was closed.
        Protocol = "protocol",
        /// A login with a wrong password or token.
        Login = "login",
        /// A login that was not checked because there were too many wrong ones.
        Throttled = "throttled",
        /// The user lacked the right, or nobody had logged in.
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

/// All statistics besides those of the table.
#[derive(Debug, Default)]
pub struct Recorder {
    holds: [Histogram; ReleaseCause::ALL.len()],
    waits: [Histogram; WaitOutcome::ALL.len()],
    refused: [AtomicU64; Refused::ALL.len()],
    kills: AtomicU64,
    history: HoldHistory,
}

impl Recorder {
    /// Records that a hold has ended.
    pub fn hold_ended(&self, cause: ReleaseCause, held: Duration) {
        self.holds[cause as usize].observe(held);
    }

    /// Records that a wait in a queue has ended.
    pub fn wait_ended(&self, outcome: WaitOutcome, waited: Duration) {
        self.waits[outcome as usize].observe(waited);
    }

    /// Records a refusal.
    pub fn refused(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a session was told to end.
    pub fn killed(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// The last holds that ended.
    pub fn history(&self) -> &HoldHistory {
        &self.history
    }

    /// The durations of the holds that ended for this cause.
    pub fn holds(&self, cause: ReleaseCause) -> Distribution {
        self.holds[cause as usize].read()
    }

    /// The durations of the waits with this outcome.
    pub fn waits(&self, outcome: WaitOutcome) -> Distribution {
        self.waits[outcome as usize].read()
    }

    /// The number of refusals for this reason.
    pub fn refusals(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// The number of sessions that were told to end.
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    /// The number of holds that ended with their sessions.
    pub fn abandoned(&self) -> u64 {
        let abandoned = ReleaseCause::ALL.into_iter().filter(|cause| cause.is_abandoned());
        abandoned.map(|cause| self.holds(cause).count()).sum()
    }
}
