//! A clock that keeps running while the machine sleeps: the server's clock does too, and may grant the locks to others.

use std::time::Duration;

/// A moment of that clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Before all others.
    pub(crate) const PAST: Self = Self(0);
    /// After all others.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn now() -> Self {
        Self(nanos(since_start()))
    }

    pub(crate) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    pub(crate) fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(time)))
    }

    /// How long ago `earlier` was.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Tokio's timers and `Instant` stand still while a Linux machine sleeps. The boot clock does not, but it is slowed down or
/// hurried, by up to a tenth, while the machine is being synchronized; the raw clock is not. So that no promise is believed
/// for too long, the faster of both counts.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_start() -> Duration {
    use std::sync::{Mutex, PoisonError};

    use rustix::time::ClockId;

    /// What the boot clock and the raw one said at a moment.
    static SEEN: Mutex<Option<([Duration; 2], Duration)>> = Mutex::new(None);
    /// A new moment is taken so seldom that what passes between the two readings does not add up.
    const SELDOM: Duration = Duration::from_millis(100);

    let clocks = [ClockId::Boottime, ClockId::MonotonicRaw].map(read);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (before, moment) = *seen.get_or_insert((clocks, clocks[0]));
    let [boot, raw] = [0, 1].map(|clock| clocks[clock].saturating_sub(before[clock]));
    let passed = boot.max(raw);
    if passed > SELDOM {
        *seen = Some((clocks, moment + passed));
    }
    moment + passed
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn since_start() -> Duration {
    read(rustix::time::ClockId::Monotonic)
}

#[cfg(unix)]
fn read(clock: rustix::time::ClockId) -> Duration {
    // Neither part is ever negative: the clock starts with the machine.
    let time = rustix::time::clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(not(unix))]
fn since_start() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_advances() {
        let first = Moment::now();
        std::thread::sleep(Duration::from_millis(2));
        let second = Moment::now();
        assert!(second.since(first) >= Duration::from_millis(2) && first.since(second).is_zero());
        // It goes on from reading to reading, and not by much more than another clock.
        let (start, mut last) = (std::time::Instant::now(), Moment::now());
        let begin = last;
        while start.elapsed() < Duration::from_millis(350) {
            let next = Moment::now();
            assert!(next >= last);
            last = next;
        }
        let (passed, more) = (start.elapsed(), last.since(begin));
        assert!(more < passed * 11 / 10 && more > Duration::from_millis(300), "{more:?} of {passed:?}");
        assert!(Moment::PAST < first && first.plus(Duration::MAX) == Moment::NEVER);
    }
}
