//! How long a command may take to stop, so that it is dead before anybody else is granted its lock.

use std::time::Duration;

use getlockd_client::Lost;
use tokio::time::{Instant, sleep};

use crate::{args::RunArgs, exit::Failure};

/// Where the server promises nothing.
const DEFAULT: Duration = Duration::from_secs(10);

/// What SIGKILL may take on a busy machine, and all that is late.
const KILL_TAKES: Duration = Duration::from_millis(500);

/// The clock of a timer stands still while the machine sleeps: the other one is looked at so often.
const LOOK: Duration = Duration::from_millis(250);

impl RunArgs {
    /// How long before others may have the lock its loss must be told. None is the client's default.
    pub(crate) fn stop_within(&self) -> Option<Duration> {
        self.kill_after.filter(|_| !self.keep_running).map(|time| time.saturating_add(KILL_TAKES))
    }

    /// The time from SIGTERM to SIGKILL. `stop_within` is what the connection has; none promises nothing.
    pub(crate) fn kill_after(&self, stop_within: Option<Duration>) -> Duration {
        let fitting = |all: Duration| all.saturating_sub(KILL_TAKES.min(all / 5));
        self.kill_after.unwrap_or_else(|| stop_within.map_or(DEFAULT, fitting))
    }
}

/// `--kill-after` does not fit into what the server promises.
pub(crate) fn too_long(left: Duration) -> Failure {
    Failure::usage(format_args!(
        "--kill-after is too long: the server frees the locks of a silent client after {left:?}; use {:?} or less",
        most(left)
    ))
}

/// The longest `--kill-after` that fits, in tenths of a second.
fn most(left: Duration) -> Duration {
    let millis = (left * 4 / 5).saturating_sub(KILL_TAKES).as_millis().saturating_sub(1);
    Duration::from_millis(u64::try_from(millis / 100 * 100).unwrap_or(u64::MAX))
}

/// When a command that goes on without its lock is killed.
pub(crate) struct Deadline {
    at: Option<Instant>,
    /// What the server has promised, less what SIGKILL takes. None if it is broken already.
    lost: Option<Lost>,
}

impl Deadline {
    pub(crate) fn new(lost: &Lost, kill_after: Duration) -> Self {
        let was_promised = !lost.time_left().is_zero();
        Self { at: Instant::now().checked_add(kill_after), lost: was_promised.then(|| lost.clone()) }
    }

    /// Cancel-safe.
    pub(crate) async fn wait(&self) {
        while let Some(rest) = Some(self.rest()).filter(|rest| !rest.is_zero()) {
            sleep(rest.min(LOOK)).await;
        }
    }

    fn rest(&self) -> Duration {
        let by_flag = self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        let by_promise = self.lost.as_ref().map(|lost| lost.time_left().saturating_sub(KILL_TAKES / 10));
        by_promise.map_or(by_flag, |time| time.min(by_flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_stop_time_fits_every_keepalive() {
        for millis in [8_333, 25_000, 25_001, 250_000] {
            let left = Duration::from_millis(millis);
            let fits = |time: Duration| time + KILL_TAKES < left * 4 / 5;
            assert!(fits(most(left)) && !fits(most(left) + Duration::from_millis(101)), "{left:?}");
        }
        assert_eq!(most(Duration::from_secs(25)), Duration::from_millis(19_400));
    }
}
