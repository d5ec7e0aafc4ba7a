//! The parts of the layers that the program, `tests/`, `benches/` and `fuzz/` use. They may change at any time.

pub mod budget {
    pub use crate::core::budget::{Exceeded, MAX_CONNECTION_MEMORY, OWN_MEMORY};
}

pub mod client_info {
    pub use crate::core::client_info::{MAX_TEXT, Origin, Wire};
}

pub mod cluster {
    pub use getlockd_cluster::{driver, moment, record, term};

    pub use crate::{
        core::cluster::{ChangeRow, ClusterStatus, ClusterView, NodeRole, NodeRow},
        ops::{
            metrics::Sources,
            node::{LeaderPlace, NodeState, NodeStatus, NodeView, NotReady},
            status::serve as serve_status,
        },
    };
}

pub mod command {
    pub use crate::core::command::{
        AcquireAnswer, EndReason, Error, Kill, LockRequest, LocksRequest, MAX_NAMES, ReleaseAnswer, Stats,
        WaitDetails,
    };
}

pub mod compat {
    pub use crate::wires::compat::{netlocker, sharelock};
}

pub mod grpc {
    pub use crate::wires::grpc::proto;
}

pub mod lease {
    pub use crate::core::lease::{
        Bounds, Client, Grant, LeaseError, LeaseRequest, Leases, RequestId, Secret,
    };
}

pub mod line {
    pub use crate::wires::line::{Codec, MAX_LINE, Response, Verb, no_leader};
}

pub mod lock {
    pub use crate::core::lock::{
        Acquire, Cycle, Link, MAX_CYCLE_LINKS, Mode, OnBusy, Owner, PIECE, Released, SessionId, Table, Token,
        Verdict, Wait,
    };
}

pub mod log {
    pub use crate::ops::log::{RateLimit, VisibleLines, log_panics};
}

#[cfg(feature = "shuttle")]
pub mod mutants {
    pub use crate::core::mutants::Bug;
}

pub mod mysql {
    pub use crate::wires::mysql::{MAX_PACKET, no_leader};
}

pub mod net {
    pub use crate::net::MAX_UNSENT;
}

pub mod session {
    pub use crate::core::session::{
        Acquiring, History, Killing, Limits, LockService, MAX_LIST_ROWS, OWN_LOCKS, Pieces, Principal,
        Releasing, Session, Told, UsedBy, Waiting, first_page,
    };
}

pub mod share {
    pub use crate::core::share::{MIN_SHARED, QuotaCause, QuotaExceeded, QuotaKey, Resource};
}

pub mod stats {
    pub use crate::core::stats::{BOUNDS, PastHold, Refused, ReleaseCause};
}

pub mod systemd {
    pub use crate::ops::systemd::{ready, reloading, stopping, watchdog};
}

pub mod users {
    pub use crate::core::users::{
        Denied, EntryError, FileError, NewEntry, Proof, Users, WRONG_BY_ADDRESS, WRONG_BY_NAME,
        WRONG_BY_NAME_AND_ADDRESS, entry,
    };
}

pub mod web {
    pub use crate::wires::web::{LONG_LIST, MAX_BODY, no_leader};
}
