//! Moments on two clocks, neither of which anyone sets.

use std::time::Duration;

/// A moment on this machine.
///
/// The *boot* clock counts while the machine sleeps, but time services speed it up and slow it down (chrony by up to 8 %).
/// The *raw* clock is never slewed, but it stops while the machine sleeps. A promise has ended when either clock says so,
/// and a wait is over when both do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// `CLOCK_BOOTTIME`.
    pub boot: Duration,
    /// `CLOCK_MONOTONIC_RAW`.
    pub raw: Duration,
}

impl Moment {
    /// Now.
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let read = |clock| {
            let time = clock_gettime(clock);
            Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
        };
        Self { boot: read(ClockId::Boottime), raw: read(ClockId::MonotonicRaw) }
    }

    /// Now. Other systems have one such clock.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Self {
        use std::{sync::LazyLock, time::Instant};
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        let time = FIRST.elapsed();
        Self { boot: time, raw: time }
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self { boot: self.boot.saturating_add(time), raw: self.raw.saturating_add(time) }
    }

    /// How long ago it was, by the clock that says more: for what was promised.
    pub fn elapsed_at_most(self, now: Self) -> Duration {
        now.boot.saturating_sub(self.boot).max(now.raw.saturating_sub(self.raw))
    }

    /// How long ago it was, by the clock that says less: for what is waited for.
    pub fn elapsed_at_least(self, now: Self) -> Duration {
        now.boot.saturating_sub(self.boot).min(now.raw.saturating_sub(self.raw))
    }

    /// How long until then, by the clock that says less; zero if either has reached it.
    pub fn left(self, now: Self) -> Duration {
        self.boot.saturating_sub(now.boot).min(self.raw.saturating_sub(now.raw))
    }
}
