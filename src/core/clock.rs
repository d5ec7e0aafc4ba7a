//! The clocks: one that is cheap to read, for values that only people look at, and the one that people set.

use std::time::{Duration, SystemTime};

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds since a fixed time in the past. The value may be 4 ms late, as the kernel updates it with each tick.
#[cfg(target_os = "linux")]
pub(crate) fn coarse_millis() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::MonotonicCoarse);
    // It counts from the start of the machine: neither part is negative.
    tv_sec.unsigned_abs() * 1_000 + tv_nsec.unsigned_abs() / 1_000_000
}

/// Milliseconds since the first call.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse_millis() -> u64 {
    use std::{sync::LazyLock, time::Instant};

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The time since 1970, by the clock that people set.
pub(crate) fn since_epoch() -> Duration {
    #[cfg(test)]
    if let Some(clocks) = simulated::clocks() {
        return clocks.since_epoch;
    }
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The clocks of a simulated machine. They go by the paused time of tokio.
#[cfg(test)]
pub(crate) mod simulated {
    use std::{cell::Cell, time::Duration};

    use tokio::time::Instant;

    /// What the clocks of a machine show at a moment.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Clocks {
        /// Since the start of the machine.
        pub uptime: Duration,
        /// By the clock that people set.
        pub since_epoch: Duration,
    }

    thread_local! {
        static SET: Cell<Option<(Instant, Clocks)>> = const { Cell::new(None) };
    }

    /// Sets the clocks of the current thread, which go on from there.
    pub(crate) fn set(clocks: Clocks) {
        SET.set(Some((Instant::now(), clocks)));
    }

    /// What they show now; none if they were never set.
    pub(crate) fn clocks() -> Option<Clocks> {
        let (since, Clocks { uptime, since_epoch }) = SET.get()?;
        let passed = since.elapsed();
        Some(Clocks { uptime: uptime + passed, since_epoch: since_epoch + passed })
    }
}
