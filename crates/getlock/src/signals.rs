//! The signals that are passed on.

use std::{
    fs::{self, File},
    io,
    task::Poll,
};

use rustix::{
    process::{Pid, Signal, getpgrp, kill_process, kill_process_group, test_kill_process_group},
    termios::tcgetpgrp,
};
use tokio::signal::unix::{self, SignalKind};

use crate::exit;

const PASSED_ON: [Signal; 6] =
    [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Those signals. While this exists they do not end this process.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Listens to all but those that are ignored, as by nohup: the command inherits that.
    pub(crate) fn new() -> io::Result<Self> {
        // If SIGCHLD was ignored, the system would forget the exit code of the command. A handler ends that.
        drop(unix::signal(SignalKind::child())?);
        let ignored = ignored();
        let heard = PASSED_ON.into_iter().filter(|signal| ignored >> (signal.as_raw() - 1) & 1 == 0);
        let listen = |signal: Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        heard.map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            let mut came = self.0.iter_mut().filter_map(|(number, signal)| {
                let came = signal.poll_recv(cx).is_ready();
                came.then_some(*number)
            });
            came.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// A bit for each signal that this process was started to ignore; none where the system does not tell.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// What signals are passed on to: the command, or all of its process group.
#[derive(Clone, Copy)]
pub(crate) struct SignalTarget {
    id: Option<Pid>,
    is_group: bool,
}

impl SignalTarget {
    pub(crate) fn new(child: Option<u32>, is_group: bool) -> Self {
        let id = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { id, is_group }
    }

    /// Passes a signal on, unless the terminal has sent it to the command as well.
    pub(crate) fn pass_on(self, signal: Signal) {
        let from_keyboard = matches!(signal, Signal::INT | Signal::QUIT) && has_the_keyboard();
        if self.is_group || !from_keyboard {
            self.send(signal);
        }
    }

    /// A failure means that the command has ended, or has become that of another user (setuid): neither can be helped.
    pub(crate) fn send(self, signal: Signal) {
        let send = if self.is_group { kill_process_group } else { kill_process };
        if let Some(id) = self.id {
            let _ = send(id, signal);
        }
    }

    /// Whether anything is left of a group.
    pub(crate) fn exists(self) -> bool {
        self.id.is_some_and(|id| test_kill_process_group(id).is_ok())
    }
}

/// The exit code of a process that a signal has ended.
pub(crate) fn exit_code_of(signal: Signal) -> u8 {
    exit::SIGNAL.saturating_add(u8::try_from(signal.as_raw()).unwrap_or_default())
}

/// Whether the terminal on stderr belongs to another process group.
pub(crate) fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group != getpgrp())
}

/// Whether the terminal sends its signals to this process group, and so to the command too.
fn has_the_keyboard() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}
