//! Reaping of orphaned processes. As PID 1, which it is in many a container, this program inherits them. Until it has
//! taken their exit codes they stay in the table of processes.

#[cfg(target_os = "linux")]
mod init {
    use std::{
        mem,
        sync::atomic::{AtomicU32, Ordering},
    };

    use rustix::process::{Pid, WaitOptions, waitpid};
    use tokio::signal::unix::{SignalKind, signal};

    /// The command, whose exit code tokio takes. Zero is none.
    static COMMAND: AtomicU32 = AtomicU32::new(0);

    pub(crate) fn reap_all_except(command: Option<u32>) {
        if !super::is_init() {
            return;
        }
        COMMAND.store(command.unwrap_or(0), Ordering::Relaxed);
        let Ok(mut ended) = signal(SignalKind::child()) else { return };
        tokio::spawn(async move {
            reap();
            while ended.recv().await.is_some() {
                reap();
            }
        });
    }

    pub(crate) fn reap_all() {
        if super::is_init() {
            COMMAND.store(0, Ordering::Relaxed);
            reap();
        }
    }

    /// Stops at the command: what is behind it in the system's list is reaped once tokio has taken its exit code.
    fn reap() {
        while let Some(ended) = first_ended()
            && u32::try_from(ended.as_raw_nonzero().get()) != Ok(COMMAND.load(Ordering::Relaxed))
        {
            if waitpid(Some(ended), WaitOptions::NOHANG).is_err() {
                return;
            }
        }
    }

    /// A child that has ended. Its exit code is not taken.
    #[expect(unsafe_code, reason = "rustix does not tell whose status it is")]
    fn first_ended() -> Option<Pid> {
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the structure has numbers and pointers, for which zero is a value; `waitid` fills it in, and
        // the pid in it is set whenever it returns 0.
        let pid = unsafe {
            let mut info: libc::siginfo_t = mem::zeroed();
            if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) != 0 {
                return None;
            }
            info.si_pid()
        };
        Pid::from_raw(pid)
    }
}

#[cfg(not(target_os = "linux"))]
mod init {
    pub(crate) fn reap_all_except(_: Option<u32>) {}

    pub(crate) fn reap_all() {}
}

pub(crate) use init::{reap_all, reap_all_except};

/// Whether this is the first process of a container. The system then ignores signals that it does not listen to.
pub(crate) fn is_init() -> bool {
    std::process::id() == 1
}
