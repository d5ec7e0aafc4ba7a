//! The command, while its lock is held.

use std::{
    ffi::OsString, io, os::unix::process::ExitStatusExt, pin::pin, process::ExitStatus, time::Duration,
};

use getlockd_client::{Error, Guard, Lost};
use rustix::{io::Errno, process::Signal};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    args::RunArgs,
    exit::{self, Failure},
    orphans, say,
    signals::{Signals, Target},
    stopping::Deadline,
};

/// How often it is looked whether a group is empty.
const LOOK: Duration = Duration::from_millis(10);

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

/// Runs the command to its end. If the lock is lost it is told, and killed when `kill_after` is over.
pub(crate) async fn run(
    args: &RunArgs,
    lock: &Guard,
    kill_after: Duration,
    signals: &mut Signals,
) -> Result<Ended, Failure> {
    // A command that has not begun does not begin without its lock.
    if let Some(lost) = lock.why() {
        return Err(Error::from(lost).into());
    }
    let mut child = start(args, lock)?;
    let target = Target::new(child.id(), args.group);
    orphans::reap_all_but(child.id());
    let mut lost = pin!(lock.lost());
    let (mut why, mut deadline) = (None, None);
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status.map_err(Failure::system)?,
            signal = signals.next() => target.pass_on(signal),
            lost = &mut lost, if why.is_none() => {
                deadline = tell(args, target, &lost, kill_after);
                why = Some(lost);
            }
            () = wait(deadline.as_ref()), if deadline.is_some() => {
                say(&"the command did not end after SIGTERM: SIGKILL");
                target.send(Signal::KILL);
                deadline = None;
            }
        }
    };
    orphans::reap_all();
    if let Some(deadline) = deadline.filter(|_| args.group) {
        end_group(target, &deadline).await;
    }
    Ok(Ended { status, lost: why })
}

/// Cancel-safe.
async fn wait(deadline: Option<&Deadline>) {
    if let Some(deadline) = deadline {
        deadline.wait().await;
    }
}

/// The command has ended. What it has started has the same time.
async fn end_group(group: Target, deadline: &Deadline) {
    let is_empty = async {
        while group.exists() {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = is_empty => {}
        () = deadline.wait() => {
            say(&"what the command has started goes on without the lock: SIGKILL");
            group.send(Signal::KILL);
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
    let started = match spawn(args, lock, &words) {
        // A script that does not say what runs it is for the shell (POSIX, "execvp").
        Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            spawn(args, lock, &[&shell[..1].iter().collect::<Vec<_>>(), &words[..]].concat())
        }
        started => started,
    };
    started.map_err(|error| Failure::of_command(program, &error))
}

/// Starts the first of the words with the others as its arguments.
fn spawn(args: &RunArgs, lock: &Guard, words: &[&OsString]) -> io::Result<Child> {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env("GETLOCK_NAME", &args.name)
        .env("GETLOCK_FENCING_TOKEN", lock.fencing_token().to_string())
        .env("GETLOCK_SESSION", lock.session().to_string());
    if !args.pass_password {
        command.env_remove("GETLOCK_PASSWORD");
    }
    if args.group {
        command.process_group(0);
    }
    if !args.keep_running {
        end_with_us(&mut command);
    }
    command.spawn()
}

/// Has the system kill the command when this process is killed, which could not tell it anything. The system goes
/// by the thread that starts the command: here that is the main one, which lives as long as the process.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "only the child itself can ask for it, between fork and exec")]
fn end_with_us(command: &mut Command) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that was killed before that has told nobody.
        if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: `ask` makes two system calls. It allocates nothing and takes no lock.
    unsafe { command.pre_exec(ask) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}

pub(crate) fn nothing_to_run() -> Failure {
    Failure::usage("the command is missing; use: getlock NAME -- COMMAND")
}

/// Tells the command that its lock is lost; when it is to be killed, if it goes on.
fn tell(args: &RunArgs, target: Target, lost: &Lost, kill_after: Duration) -> Option<Deadline> {
    if args.keep_running {
        say(&format_args!("the lock is lost, and the command runs on without it (--keep-running): {lost}"));
        return None;
    }
    say(&format_args!("the lock is lost, and the command is told to end: {lost}"));
    target.send(Signal::TERM);
    // One that is stopped would not hear it.
    target.send(Signal::CONT);
    Some(Deadline::new(lost, kill_after))
}
