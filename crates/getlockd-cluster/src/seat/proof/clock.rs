//! The two clocks of a machine, as functions of the true time.

use std::time::Duration;

use crate::moment::Moment;

/// True time, in nanoseconds from the start of the schedule.
pub type True = u64;

pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The clocks of one machine. Rates are in millionths of the true one.
#[derive(Clone, Debug)]
pub struct Clocks {
    since: True,
    boot: u64,
    raw: u64,
    pub boot_rate: u64,
    pub raw_rate: u64,
    asleep: bool,
}

impl Clocks {
    pub fn new(first: Duration, boot_rate: u64, raw_rate: u64) -> Self {
        Self { since: 0, boot: nanos(first), raw: nanos(first) / 2, boot_rate, raw_rate, asleep: false }
    }

    pub fn read(&self, now: True) -> Moment {
        let gone = now - self.since;
        let raw = if self.asleep { 0 } else { gone * self.raw_rate / 1_000_000 };
        Moment {
            boot: Duration::from_nanos(self.boot + gone * self.boot_rate / 1_000_000),
            raw: Duration::from_nanos(self.raw + raw),
        }
    }

    /// The machine goes to sleep or wakes: the raw clock stands still meanwhile.
    pub fn sleep(&mut self, now: True, asleep: bool) {
        let read = self.read(now);
        (self.since, self.boot, self.raw) = (now, nanos(read.boot), nanos(read.raw));
        self.asleep = asleep;
    }
}
