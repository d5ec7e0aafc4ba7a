//! Programs that a test starts: their signals are those that it relies on, however the tests were started, and
//! nothing of them is left behind, however the test ends.

use std::process::Output;

use tokio::process::{Child, Command};

/// A program and all that it has started. Dropped, they are killed.
#[derive(Debug)]
pub struct Group {
    pub child: Child,
    id: u32,
}

impl Group {
    /// Starts a program in a process group of its own. Its signals do what they do by default: a shell cannot
    /// trap one that was ignored when it was started, as `nohup` and a shell without job control have it.
    pub fn spawn(command: &mut Command) -> Self {
        with_default_signals(command);
        let child = command.process_group(0).kill_on_drop(true).spawn().unwrap();
        let id = child.id().unwrap();
        Self { child, id }
    }

    /// Its exit code and what it wrote, once it has ended.
    ///
    /// Not cancel-safe: dropped, it kills the group.
    pub async fn output(mut self) -> std::io::Result<Output> {
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let (out, err, status) = tokio::join!(read(out), read(err), self.child.wait());
        Ok(Output { status: status?, stdout: out?, stderr: err? })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that has ended is none any more, and its number is not given again so soon.
        let kill = format!("kill -KILL -- -{} 2> /dev/null", self.id);
        let _ = std::process::Command::new("sh").args(["-c", &kill]).status();
    }
}

async fn read(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await?;
    }
    Ok(bytes)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library hands ignored signals on")]
fn with_default_signals(command: &mut Command) {
    const ALL: [i32; 7] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCHLD,
    ];
    let reset = || {
        for signal in ALL {
            // SAFETY: `signal` may be called between fork and exec (POSIX, "async-signal-safe functions").
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: it allocates nothing and takes no lock.
    unsafe { command.pre_exec(reset) };
}

#[cfg(not(target_os = "linux"))]
fn with_default_signals(_: &mut Command) {}
