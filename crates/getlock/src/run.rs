//! A command under a lock.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use getlockd_client::{Connection, Error, Guard, Symbol, written};
use tokio::time::{Instant, timeout};

use crate::{
    args::{RunArgs, ServerArgs},
    child::{self, CommandEnd},
    exit::{self, Failure},
    orphans, say,
    signals::{Signals, exit_code_of},
    waiting::{Detail, SeenHolders, ShownWait},
};

/// How long the release may take. After that the end of the connection releases the lock.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// No lease is shorter, unless the server's `--lease-min` says otherwise. A window of which less is left is over.
const MIN_LEASE: Duration = Duration::from_millis(10);

/// Takes the lock, runs the command, and releases the lock, or leaves it to a lease for `--once`.
pub(crate) async fn run(server: &ServerArgs, args: &RunArgs) -> Result<u8, Failure> {
    if args.words.is_empty() && args.command.is_none() {
        return Err(child::nothing_to_run());
    }
    let connection = server.connect_to_run(&args.command_name(), args.stop_within()).await?;
    let asked = Instant::now();
    let taken = tokio::select! {
        taken = take(server, args, &connection) => taken?,
        signal = signal_to_init(), if orphans::is_init() => return signal,
    };
    let lock = match taken {
        Acquisition::Granted(lock) => lock,
        Acquisition::NotGranted { in_the_way } => {
            not_granted(args, in_the_way.as_deref().unwrap_or(&args.name), &connection).await;
            return Ok(args.not_granted());
        }
    };
    let granted = Instant::now();
    if args.verbose {
        let (names, token, waited) = (args.shown_names(), lock.fencing_token(), granted - asked);
        say(&format_args!("took {names} after {:.3} s, fencing token {token}", waited.as_secs_f64()));
    }
    // From here on signals are for the command. Before, they end this process, and so its wait.
    let mut signals = Signals::new().map_err(Failure::system)?;
    let kill_after = args.kill_after(connection.stop_within());
    let ended = child::run(args, &lock, kill_after, &mut signals).await?;
    if ended.lost.is_some() && !args.keep_running {
        return Ok(exit::LOST);
    }
    let left = args.once.map(|window| (granted + window).saturating_duration_since(Instant::now()));
    if let Some(left) = left.filter(|&left| left >= MIN_LEASE)
        && ended.code() == exit::OK
        && keep(args, &connection, left).await
    {
        return Ok(ended.code());
    }
    free(args, lock, &ended).await;
    Ok(ended.code())
}

/// The system ignores signals to PID 1 that it does not listen to: they are to end its wait all the same.
///
/// Cancel-safe.
async fn signal_to_init() -> Result<u8, Failure> {
    Ok(exit_code_of(Signals::new().map_err(Failure::system)?.next().await))
}

/// What a wait comes to.
pub(crate) enum Acquisition {
    Granted(Guard),
    /// Of several locks, with the one that was in the way.
    NotGranted {
        in_the_way: Option<String>,
    },
}

/// Waits for the lock, or for all of them, and shows that.
///
/// Cancel-safe: the wait ends with the connection.
pub(crate) async fn take(
    server: &ServerArgs,
    args: &RunArgs,
    connection: &Connection,
) -> Result<Acquisition, Failure> {
    let take = async {
        let timeout = args.timeout();
        match args.permits {
            Some(limit) => connection.acquire_permit(&args.name, limit, timeout).await,
            None if args.shared => connection.acquire_shared(args.names(), timeout).await,
            None => connection.acquire(args.names(), timeout).await,
        }
    };
    // Of several locks the server tells which one is waited for.
    let lock = args.also.is_empty().then_some(args.name.as_str());
    let wait = ShownWait { server, session: connection.session(), lock, verbose: args.verbose };
    match wait.until(take).await {
        Err(Error::NotGranted { in_the_way, .. }) => Ok(Acquisition::NotGranted { in_the_way }),
        // An operator has cancelled the wait or killed the session: to the caller that is a lock that was not granted.
        Err(Error::Refused(refused))
            if matches!(refused.symbol(), Some(Symbol::Interrupted | Symbol::Killed)) =>
        {
            say(&refused);
            Ok(Acquisition::NotGranted { in_the_way: None })
        }
        taken => Ok(Acquisition::Granted(taken?)),
    }
}

/// Says who holds the lock, to people.
async fn not_granted(args: &RunArgs, lock: &str, connection: &Connection) {
    let name = written(lock);
    match args.once {
        Some(_) if args.verbose => {
            say(&format_args!("{name}: already running or done elsewhere in this window; skipped"));
        }
        None if stderr().is_terminal() => {
            let holders = SeenHolders::look(connection, lock).await;
            let holders = holders
                .map_or_else(|_| String::new(), |holders| format!("; {}", holders.text(Detail::Note, true)));
            say(&format_args!("{name} was not granted{holders}"));
        }
        None if args.verbose => say(&format_args!("{name} was not granted")),
        _ => {}
    }
}

/// Passes the lock on to a lease for what is left of the window of `--once`: the lease outlives this process. False if the
/// server refuses that, and the lock is still to be released.
///
/// Cancel-safe.
async fn keep(args: &RunArgs, connection: &Connection, left: Duration) -> bool {
    let name = written(&args.name);
    let leased = timeout(RELEASE_WITHIN, connection.lease_lock(&args.name, left)).await;
    let why = match leased {
        Ok(Ok(_)) => {
            if args.verbose {
                say(&format_args!("done; {name} is kept for {:.3} s", left.as_secs_f64()));
            }
            return true;
        }
        Ok(Err(error)) if error.symbol() == Some(Symbol::UnknownCommand) => {
            "the server is older than this getlock, and keeps no lock for it; update getlockd".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the server does not answer".to_owned(),
    };
    say(&format_args!("done, but {name} may run again in this window: {why}"));
    false
}

pub(crate) async fn free(args: &RunArgs, lock: Guard, ended: &CommandEnd) {
    let freed = timeout(RELEASE_WITHIN, lock.release()).await;
    match freed {
        Ok(Ok(())) if args.verbose => say(&format_args!("freed {}", args.shown_names())),
        // The loss was noticed only now, so it may have been after the end of the command.
        Ok(Err(error)) if ended.lost.is_none() => say(&format_args!("at the end of the command: {error}")),
        _ => {}
    }
}
