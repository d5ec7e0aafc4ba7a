//! The command, while its lock is held; and how it is stopped when the lock is lost, so that it is dead before the lock
//! is granted to another session.

use std::{
    ffi::OsString, io, os::unix::process::ExitStatusExt, pin::pin, process::ExitStatus, time::Duration,
};

use getlockd_client::{Error, Guard, Lost};
use rustix::{io::Errno, process::Signal};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    args::RunArgs,
    exit::{self, Failure},
    orphans, say,
    signals::{SignalTarget, Signals},
};

/// From SIGTERM to SIGKILL where the server promises nothing.
const DEFAULT_KILL_AFTER: Duration = Duration::from_secs(10);

/// What SIGKILL may take on a busy machine, and all that is late. Of a short time, as in a cluster, it is a fifth, and no
/// less than the other.
const KILL_TAKES: Duration = Duration::from_millis(500);
const KILL_TAKES_AT_LEAST: Duration = Duration::from_millis(200);

/// The clock of a timer stands still while the machine sleeps and the server's does not: this often the promise is
/// compared with the right one.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// How often it is checked whether a process group is empty. The system does not report that.
const GROUP_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// How a command has ended.
pub(crate) struct CommandEnd {
    status: ExitStatus,
    /// Why its lock was lost while it ran, if it was.
    pub lost: Option<Lost>,
    /// The last signal that was passed on to it.
    pub signal: Option<Signal>,
}

impl CommandEnd {
    pub(crate) fn code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|n| i32::from(exit::SIGNAL) + n));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }
}

/// Runs the command to its end. When the lock is lost the command gets SIGTERM, and SIGKILL when `kill_after` is over.
///
/// Not cancel-safe: dropped, it would leave the command running. Its caller never drops it.
pub(crate) async fn run(
    args: &RunArgs,
    lock: &Guard,
    kill_after: Duration,
    signals: &mut Signals,
) -> Result<CommandEnd, Failure> {
    // The lock may have been lost since the grant: a command never starts without it.
    if let Some(lost) = lock.why() {
        return Err(Error::from(lost).into());
    }
    let mut child = start(args, lock)?;
    let target = SignalTarget::new(child.id(), args.group);
    orphans::reap_all_except(child.id());
    let mut lost = pin!(lock.lost());
    let (mut why, mut deadline, mut passed_on) = (None, None, None);
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status.map_err(Failure::system)?,
            signal = signals.next() => {
                target.pass_on(signal);
                passed_on = Some(signal);
            }
            lost = &mut lost, if why.is_none() => {
                deadline = ask_to_stop(args, target, &lost, kill_after);
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
    Ok(CommandEnd { status, lost: why, signal: passed_on })
}

/// Cancel-safe.
async fn wait(deadline: Option<&Deadline>) {
    if let Some(deadline) = deadline {
        deadline.wait().await;
    }
}

/// Tells the command that its lock is lost. Returns when it is to be killed; none with `--keep-running`.
fn ask_to_stop(args: &RunArgs, target: SignalTarget, lost: &Lost, kill_after: Duration) -> Option<Deadline> {
    if args.keep_running {
        say(&format_args!("the lock is lost, and the command runs on without it (--keep-running): {lost}"));
        return None;
    }
    say(&format_args!("the lock is lost, and the command is told to end: {lost}"));
    target.send(Signal::TERM);
    // A stopped process gets SIGTERM only when it goes on.
    target.send(Signal::CONT);
    Some(Deadline::new(lost, kill_after))
}

/// After the end of the command its children have the same time to stop.
///
/// Cancel-safe.
async fn end_group(group: SignalTarget, deadline: &Deadline) {
    let is_empty = async {
        while group.exists() {
            sleep(GROUP_CHECK_INTERVAL).await;
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

/// When a command that goes on without its lock is killed.
struct Deadline {
    /// When `--kill-after` is over; none for a time that no clock can hold.
    at: Option<Instant>,
    /// The loss, if the server's promise still holds: SIGKILL comes before its end. Otherwise another session may
    /// hold the lock already, and the command gets all of `--kill-after`.
    lost: Option<Lost>,
}

impl Deadline {
    fn new(lost: &Lost, kill_after: Duration) -> Self {
        let was_promised = !lost.time_left().is_zero();
        Self { at: Instant::now().checked_add(kill_after), lost: was_promised.then(|| lost.clone()) }
    }

    /// Cancel-safe.
    async fn wait(&self) {
        while let Some(rest) = Some(self.rest()).filter(|rest| !rest.is_zero()) {
            sleep(rest.min(CHECK_INTERVAL)).await;
        }
    }

    fn rest(&self) -> Duration {
        let by_flag = self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        let by_promise = self.lost.as_ref().map(|lost| lost.time_left().saturating_sub(KILL_TAKES / 10));
        by_promise.map_or(by_flag, |time| time.min(by_flag))
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
        // A script without `#!` is run by the shell, as POSIX has it for execvp.
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
        kill_with_parent(&mut command);
    }
    command.spawn()
}

/// Has the system kill the command when this process dies: a process that gets SIGKILL can pass nothing on. The system
/// goes by the thread that starts the command: that is the main one, which lives as long as the process.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "only the child itself can ask for it, between fork and exec")]
fn kill_with_parent(command: &mut Command) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before this call does not count any more.
        if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: `ask` makes two system calls. It allocates nothing and takes no lock.
    unsafe { command.pre_exec(ask) };
}

#[cfg(not(target_os = "linux"))]
fn kill_with_parent(_: &mut Command) {}

pub(crate) fn nothing_to_run() -> Failure {
    Failure::usage("no command given. Usage: getlock NAME -- COMMAND")
}

impl RunArgs {
    /// How long before another session may get the lock its loss must be known. None is the client's default.
    pub(crate) fn stop_within(&self) -> Option<Duration> {
        self.kill_after.filter(|_| !self.keep_running).map(with_kill)
    }

    /// The time from SIGTERM to SIGKILL. `stop_within` is that of the connection, none if the server promises nothing.
    pub(crate) fn kill_after(&self, stop_within: Option<Duration>) -> Duration {
        self.kill_after.unwrap_or_else(|| stop_within.map_or(DEFAULT_KILL_AFTER, without_kill))
    }
}

/// How long before the end a command must be asked to stop that has this time from SIGTERM to SIGKILL.
fn with_kill(kill_after: Duration) -> Duration {
    kill_after.saturating_add((kill_after / 4).clamp(KILL_TAKES_AT_LEAST, KILL_TAKES))
}

/// Of the time to stop, what the command has from SIGTERM to SIGKILL.
fn without_kill(all: Duration) -> Duration {
    all.saturating_sub((all / 5).clamp(KILL_TAKES_AT_LEAST, KILL_TAKES))
}

/// `--kill-after` does not fit into what the server promises.
pub(crate) fn kill_after_too_long(left: Duration) -> Failure {
    Failure::usage(format_args!(
        "--kill-after is too long: the server frees the locks of a silent client after {left:?}; use {:?} or less",
        max_kill_after(left)
    ))
}

/// The same in a cluster, whose leader promises less.
pub(crate) fn kill_after_too_long_for_cluster(longest: Duration, ttl: Duration) -> Failure {
    Failure::usage(format_args!(
        "--kill-after is too long for a cluster with --cluster-ttl {ttl:?}; use {:?} or less, or raise --takeover-delay or \
         --cluster-ttl on the servers",
        tenths(without_kill(longest).as_millis())
    ))
}

/// The longest `--kill-after` that fits, in tenths of a second.
fn max_kill_after(left: Duration) -> Duration {
    tenths(without_kill(left * 4 / 5).as_millis().saturating_sub(1))
}

fn tenths(millis: u128) -> Duration {
    Duration::from_millis(u64::try_from(millis / 100 * 100).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_stop_time_fits_every_keepalive() {
        for millis in [8_333, 25_000, 25_001, 250_000] {
            let left = Duration::from_millis(millis);
            let fits = |time: Duration| time + KILL_TAKES < left * 4 / 5;
            assert!(
                fits(max_kill_after(left)) && !fits(max_kill_after(left) + Duration::from_millis(101)),
                "{left:?}"
            );
        }
        assert_eq!(max_kill_after(Duration::from_secs(25)), Duration::from_millis(19_400));
    }

    #[test]
    fn time_to_kill_is_the_same_in_both_directions() {
        for (kill_after, all) in
            [(0, 200), (400, 600), (800, 1000), (1200, 1500), (2000, 2500), (9500, 10_000)]
        {
            let [kill_after, all] = [kill_after, all].map(Duration::from_millis);
            assert_eq!(without_kill(all), kill_after);
            assert_eq!(with_kill(kill_after), all);
        }
    }
}
