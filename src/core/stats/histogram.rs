//! Durations as a Prometheus histogram: how many are within each bound.

use std::time::Duration;

use crate::core::sync::plain::{AtomicU64, Ordering};

/// The upper bounds of the buckets, in seconds. Locks are held for anything from no time to days.
pub const BOUNDS: [f64; 13] =
    [0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0, 600.0, 3_600.0, 14_400.0, 86_400.0];

/// The same bounds in microseconds.
const MICROS: [u64; BOUNDS.len()] = {
    let mut micros = [0; BOUNDS.len()];
    let mut at = 0;
    while at < BOUNDS.len() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are as above")]
        {
            micros[at] = (BOUNDS[at] * 1e6) as u64;
        }
        at += 1;
    }
    micros
};

/// Durations in buckets, and their sum. Adding one takes two atomic additions and no lock.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many durations are within each bound but not within the one before; the last counts those beyond all bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// In microseconds: in nanoseconds the sum of a million locks would overflow within hours.
    sum: AtomicU64,
}

/// The values of a histogram at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distribution {
    /// The number of durations in each bucket, and last of those beyond all bounds.
    pub counts: [u64; BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Histogram {
    /// Adds a duration.
    pub fn observe(&self, time: Duration) {
        let micros = time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into());
        let bucket = MICROS.iter().position(|&bound| micros < bound).unwrap_or(BOUNDS.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// The values so far.
    pub fn read(&self) -> Distribution {
        let counts = std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed));
        Distribution { counts, sum: Duration::from_micros(self.sum.load(Ordering::Relaxed)) }
    }
}

impl Distribution {
    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of two distributions.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_its_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 999, 1_001, 86_399_999_999, 86_400_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        histogram.observe(Duration::MAX);
        let read = histogram.read();
        assert_eq!((read.counts[0], read.counts[1], read.counts[12], read.counts[13]), (2, 1, 1, 2));
        assert_eq!((read.count(), read.with(&read).count()), (6, 12));
    }
}
