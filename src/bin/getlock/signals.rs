//! The signals that are passed on.

use std::{fs::File, io, task::Poll};

use rustix::{
    process::{Pid, Signal, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::signal::unix::{self, SignalKind};

const PASSED_ON: [Signal; 6] =
    [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Those signals, from now on without their usual effect on this process.
pub(crate) struct Signals([(Signal, unix::Signal); 6]);

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let mut all = Vec::new();
        for signal in PASSED_ON {
            all.push((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        }
        Ok(Self(all.try_into().unwrap_or_else(|_| unreachable!("there are six"))))
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

/// What is typed on the terminal goes to all of this process group, so to the command too.
fn has_the_keyboard() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}
