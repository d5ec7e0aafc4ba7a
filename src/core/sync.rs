//! What threads share things with. The only module that names dashmap.
//!
//! With the feature `shuttle` these are stand-ins, so that `tests/shuttle` decides who goes on at
//! each step; such a build runs in that test and nowhere else.

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

pub(crate) use guarded::Rank;

/// A mutex with a [`Rank`], whose steps shuttle sees.
pub(crate) type Guarded<T> = guarded::Ranked<Mutex<T>>;

/// For what is only counted and shown, and for what one session alone changes. No two sessions race there, so shuttle
/// has no steps there.
pub(crate) mod plain {
    /// The same of what shuttle does not see.
    pub(crate) type Guarded<T> = super::guarded::Ranked<std::sync::Mutex<T>>;

    /// The same for what is read by many and seldom written.
    pub(crate) type ReadMostly<T> = super::guarded::Ranked<std::sync::RwLock<T>>;

    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}

/// Whether a scenario has failed and everything of it is dropped: shuttle's locks may be poisoned by then,
/// and a second panic would end the process before it says what was found.
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
    shuttle_dashmap::Entry,
    shuttled::{AtomicWaker, DashMap, HashMap, HashSet, Notify, RandomState, oneshot, sleep_until},
};

/// Does what follows only if a test has planted that bug: `mutant!(LostGrant => return)`. In a build
/// without the feature `shuttle` it is nothing at all.
macro_rules! mutant {
    ($bug:ident => $($what:tt)*) => {
        #[cfg(feature = "shuttle")]
        if crate::core::mutants::Bug::$bug.is_planted() {
            $($what)*;
        }
    };
}

pub(crate) use mutant;
