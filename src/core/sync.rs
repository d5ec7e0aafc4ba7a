//! The types with which threads share data. The only module that names dashmap.
//!
//! With the feature `shuttle` these are stand-ins, so that `tests/shuttle` decides which thread continues at each step.
//! Such a build runs only in that test.

#[cfg(not(feature = "shuttle"))]
pub(crate) use {
    atomic_waker::AtomicWaker,
    dashmap::{DashMap, Entry},
    std::{
        collections::{HashMap, HashSet},
        hash::RandomState,
        sync::{
            Mutex,
            atomic::{AtomicU64, AtomicUsize, Ordering},
        },
    },
    tokio::{
        sync::{Notify, oneshot},
        time::sleep_until,
    },
};

mod guarded;
#[cfg(not(feature = "shuttle"))]
mod locked_keys;

pub(crate) use guarded::Rank;
#[cfg(not(feature = "shuttle"))]
pub(crate) use locked_keys::{LockedKeys, each};

/// A mutex with a [`Rank`], whose steps shuttle sees.
pub(crate) type Guarded<T> = guarded::Ranked<Mutex<T>>;

/// For data that is only counted and shown, and for data that only one session changes. No two sessions race there, so
/// shuttle has no steps there.
pub(crate) mod plain {
    /// A mutex with a rank that shuttle does not see.
    pub(crate) type Guarded<T> = super::guarded::Ranked<std::sync::Mutex<T>>;

    /// A lock for data that is often read and seldom written.
    pub(crate) type ReadMostly<T> = super::guarded::Ranked<std::sync::RwLock<T>>;

    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}

/// Whether a scenario has failed and is being dropped: shuttle's locks may be poisoned by then, and a second panic
/// would end the process before it reports the first.
#[cfg(feature = "shuttle")]
pub(crate) fn is_unwinding() -> bool {
    std::thread::panicking()
}

#[cfg(feature = "shuttle")]
mod shuttled;

#[cfg(feature = "shuttle")]
pub(crate) use {
    shuttle::sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    shuttled::{
        AtomicWaker, DashMap, Entry, HashMap, HashSet, LockedKeys, Notify, RandomState, each, oneshot,
        sleep_until,
    },
};

/// Runs the given code only if a test has planted that bug: `mutant!(LostGrant => return)`. Outside of
/// this crate's own tests and without the feature `shuttle` it expands to nothing.
macro_rules! mutant {
    ($bug:ident => $($what:tt)*) => {
        #[cfg(any(test, feature = "shuttle"))]
        if crate::core::mutants::Bug::$bug.is_planted() {
            $($what)*;
        }
    };
}

pub(crate) use mutant;
