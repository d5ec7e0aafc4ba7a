//! `--once`: the lock is kept until the window is over.

use getlockd_client::{Guard, written};
use tokio::time::{Instant, sleep_until};

use crate::{
    args::RunArgs,
    exit, say,
    signals::{Signals, exit_code_of},
};

/// Waits for the end of the window. If it cannot be waited for: the exit code.
pub(crate) async fn keep(args: &RunArgs, lock: &Guard, end: Instant, signals: &mut Signals) -> Option<u8> {
    if args.verbose {
        let left = end.saturating_duration_since(Instant::now());
        say(&format_args!("done; {} is kept for {:.3} s", written(&args.name), left.as_secs_f64()));
    }
    tokio::select! {
        () = sleep_until(end) => None,
        lost = lock.lost() => {
            say(&format_args!("done, but {} may run again in this window: {lost}", written(&args.name)));
            Some(exit::OK)
        }
        signal = signals.next() => {
            Some(exit_code_of(signal))
        }
    }
}
