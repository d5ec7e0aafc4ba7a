//! `--lead`: a command that runs while its lock is held, and again each time the lock is taken again.

use std::{mem, time::Duration};

use getlockd_client::Connection;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    args::{RunArgs, ServerArgs},
    child,
    exit::Failure,
    run::{self, Acquisition},
    say,
    signals::{Signals, exit_code_of},
};

/// Between two tries to reach the server, and between two starts of the command at least: one that fails at once must not
/// keep the machines busy.
const PAUSE: Duration = Duration::from_secs(1);

/// What a round ends with.
enum Round {
    /// Another one follows.
    Over,
    /// A signal has ended the command, or the wait.
    Ended(u8),
}

/// Runs the command each time this process leads, until a signal ends it.
///
/// Not cancel-safe, as [`child::run`].
pub(crate) async fn lead(server: &ServerArgs, args: &RunArgs) -> Result<u8, Failure> {
    let mut signals = Signals::new().map_err(Failure::system)?;
    // What is wrong from the beginning is not tried again.
    let first = connect(server, args).await?;
    let mut over = round(server, args, &first, &mut signals).await;
    drop(first);
    let mut is_told = false;
    loop {
        match over {
            Ok(Round::Ended(code)) => return Ok(code),
            Ok(Round::Over) => is_told = false,
            Err(failure) if failure.may_pass() => {
                if !mem::replace(&mut is_told, true) {
                    say(&format_args!("{failure}; trying again"));
                }
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    signal = signals.next() => return Ok(exit_code_of(signal)),
                }
            }
            Err(failure) => return Err(failure),
        }
        let reached = tokio::select! {
            reached = connect(server, args) => reached,
            signal = signals.next() => return Ok(exit_code_of(signal)),
        };
        over = match reached {
            Ok(connection) => round(server, args, &connection, &mut signals).await,
            Err(failure) => Err(failure),
        };
    }
}

/// Cancel-safe.
async fn connect(server: &ServerArgs, args: &RunArgs) -> Result<Connection, Failure> {
    server.connect_to_run(&args.command_name(), args.stop_within()).await
}

/// Waits for the lock, and runs the command once.
///
/// Not cancel-safe, as [`child::run`].
async fn round(
    server: &ServerArgs,
    args: &RunArgs,
    connection: &Connection,
    signals: &mut Signals,
) -> Result<Round, Failure> {
    let lock = tokio::select! {
        taken = run::take(server, args, connection) => match taken? {
            Acquisition::Granted(lock) => lock,
            // An operator has cancelled the wait.
            Acquisition::NotGranted { .. } => return Ok(Round::Ended(args.not_granted())),
        },
        signal = signals.next() => return Ok(Round::Ended(exit_code_of(signal))),
    };
    if args.verbose {
        say(&format_args!("took {}, fencing token {}", args.shown_names(), lock.fencing_token()));
    }
    let began = Instant::now();
    let ended = match child::run(args, &lock, args.kill_after(connection.stop_within()), signals).await {
        // The command has not started: the lock was lost before.
        Err(_) if lock.is_lost() => return Ok(Round::Over),
        ended => ended?,
    };
    let code = ended.code();
    if args.verbose {
        say(&format_args!("the command ended with {code}"));
    }
    run::free(args, lock, &ended).await;
    if ended.signal.is_some_and(is_to_end) {
        return Ok(Round::Ended(code));
    }
    tokio::select! {
        () = sleep_until(began + PAUSE) => Ok(Round::Over),
        signal = signals.next() => Ok(Round::Ended(exit_code_of(signal))),
    }
}

/// Whether a signal asks to end, and is not one of those with a meaning of the command's own.
fn is_to_end(signal: Signal) -> bool {
    !matches!(signal, Signal::USR1 | Signal::USR2)
}
