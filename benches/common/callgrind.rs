//! Instructions that a server executes in user mode, counted by valgrind's callgrind. How busy the machine
//! is does not change them.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{GETLOCKD, Server};

/// Pairs of both runs. Start, login, the first look at everything and the end are the same in both.
const FIRST: usize = 64;

/// The program is slow there, and so is its end.
const END: Duration = Duration::from_mins(1);

/// What is missing, if it cannot be counted here.
pub fn check_installed() -> Result<(), String> {
    let run = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    match run {
        Ok(status) if status.success() => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("valgrind: {error}")),
        _ => Err(
            "valgrind is not installed: `apt-get install valgrind`, or your system's package of that name"
                .to_owned(),
        ),
    }
}

/// A server of one wire.
#[derive(Clone, Copy)]
pub struct Counted {
    /// As a flag of the server calls it.
    pub wire: &'static str,
    /// Whether it keeps leases in a file.
    pub has_store: bool,
}

/// Instructions of getlockd for a pair: the difference of two runs, one of which does so many pairs more. Both last
/// equally long, so what the server does each second cancels out. `work` is given the port and how many pairs it shall
/// do.
pub fn instructions_a_pair(counted: Counted, pairs: usize, work: fn(&Server, u16, usize)) -> u64 {
    let mut took = Duration::ZERO;
    let many = instructions(counted, |server, port| {
        let since = Instant::now();
        work(server, port, FIRST + pairs);
        took = since.elapsed();
    });
    let few = instructions(counted, |server, port| {
        let since = Instant::now();
        work(server, port, FIRST);
        thread::sleep(took.saturating_sub(since.elapsed()));
    });
    (many - few) / pairs as u64
}

/// Copies and fills without `rep movsb` and `rep stosb`, of which callgrind counts each byte. Whether glibc
/// takes these otherwise depends on the processor.
const NO_REP: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

/// Of a whole run.
fn instructions(counted: Counted, work: impl FnOnce(&Server, u16)) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", &format!("--callgrind-out-file={}", file.display()), GETLOCKD]);
    valgrind.env("GLIBC_TUNABLES", NO_REP);
    let store = folder.path().join("leases").display().to_string();
    let mut flags = vec!["--workers", "1"];
    if counted.has_store {
        // A server without leases writes next to nothing: the folder may be in memory.
        flags.extend(["--store-anyway", "--store", &store]);
    }
    let (mut server, port) = Server::getlockd_by(valgrind, counted.wire, &flags);
    server.until_asleep();
    work(&server, port);
    server.until_asleep();
    let ended = server.stop(END);
    assert!(ended.is_some_and(|status| status.success()), "the server ended so under callgrind: {ended:?}");
    total(&file)
}

fn total(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    total.trim().parse().unwrap()
}
