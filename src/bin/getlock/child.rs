//! The command, while its lock is held.

use std::{ffi::OsString, io, os::unix::process::ExitStatusExt, pin::pin, process::ExitStatus};

use getlockd::client::{Guard, Lost};
use rustix::{io::Errno, process::Signal};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep_until},
};

use crate::{
    args::RunArgs,
    exit::{self, Failure},
    say,
    signals::{self, Signals},
};

/// How a command has ended.
pub(crate) struct Ended {
    status: ExitStatus,
    /// The lock was lost before.
    pub lost: Option<Lost>,
}

impl Ended {
    pub(crate) fn code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|n| i32::from(exit::SIGNAL) + n));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }
}

/// Runs the command to its end.
pub(crate) async fn run(args: &RunArgs, lock: &Guard, signals: &mut Signals) -> Result<Ended, Failure> {
    let mut child = start(args, lock)?;
    let mut lost = pin!(lock.lost());
    let (mut why, mut kill_at) = (None, None);
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return Ok(Ended { status: status.map_err(Failure::system)?, lost: why }),
            signal = signals.next() => signals::pass_on(signal, child.id()),
            lost = &mut lost, if why.is_none() => {
                kill_at = tell(args, &child, &lost);
                why = Some(lost);
            }
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                say(&"the command goes on without its lock: SIGKILL");
                signals::send(Signal::KILL, child.id());
                kill_at = None;
            }
        }
    }
}

fn start(args: &RunArgs, lock: &Guard) -> Result<Child, Failure> {
    let shell = ["/bin/sh", "-c"].map(OsString::from);
    let words: Vec<_> = match &args.command {
        Some(line) => shell.iter().chain([line]).collect(),
        None => args.words.iter().collect(),
    };
    let [program, ..] = &words[..] else { return Err(nothing_to_run()) };
    let started = match spawn(&args.name, lock, &words) {
        // A script that does not say what runs it is for the shell (POSIX, "execvp").
        Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            spawn(&args.name, lock, &[&shell[..1].iter().collect::<Vec<_>>(), &words[..]].concat())
        }
        started => started,
    };
    started.map_err(|error| Failure::of_command(program, &error))
}

/// Starts the first of the words with the others as its arguments.
fn spawn(name: &str, lock: &Guard, words: &[&OsString]) -> io::Result<Child> {
    Command::new(words[0])
        .args(&words[1..])
        .env("GETLOCK_NAME", name)
        .env("GETLOCK_FENCING_TOKEN", lock.fencing_token().to_string())
        .env("GETLOCK_SESSION", lock.session().to_string())
        .spawn()
}

pub(crate) fn nothing_to_run() -> Failure {
    Failure::usage("say what to run: getlock NAME -- COMMAND")
}

/// Tells the command that its lock is gone; when it is to be killed, if it goes on.
fn tell(args: &RunArgs, child: &Child, lost: &Lost) -> Option<Instant> {
    if args.keep_running {
        say(&format_args!("the lock is lost, and the command runs on without it (--keep-running): {lost}"));
        return None;
    }
    say(&format_args!("the lock is lost, and the command is told to end: {lost}"));
    signals::send(Signal::TERM, child.id());
    // One that is stopped would not hear it.
    signals::send(Signal::CONT, child.id());
    Instant::now().checked_add(args.kill_after)
}
