//! A clock that is cheap to read, for values that only people look at.

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
