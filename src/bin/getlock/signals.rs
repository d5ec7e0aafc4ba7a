//! The signals that are passed on.

use std::{
    fs::{self, File},
    io,
    task::Poll,
};

use rustix::{
    process::{Pid, Signal, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::signal::unix::{self, SignalKind};

const PASSED_ON: [Signal; 6] =
    [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Those signals, from now on without their usual effect on this process.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// But for those that are ignored, as by nohup: the command is to ignore them as well.
    pub(crate) fn new() -> io::Result<Self> {
        // Where it was ignored, the system would forget how the command ended.
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

/// Passes a signal on, unless the command has got it as well.
pub(crate) fn pass_on(signal: Signal, child: Option<u32>) {
    let from_keyboard = matches!(signal, Signal::INT | Signal::QUIT) && has_the_keyboard();
    if !from_keyboard {
        send(signal, child);
    }
}

/// A command that has ended needs none.
pub(crate) fn send(signal: Signal, child: Option<u32>) {
    let child = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(child) = child {
        // It may be of another user by now, and then may not be sent any.
        let _ = kill_process(child, signal);
    }
}

/// Whether somebody else has the terminal that this one would write to.
pub(crate) fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group != getpgrp())
}

/// What is typed on the terminal goes to all of this process group, so to the command too.
fn has_the_keyboard() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}
