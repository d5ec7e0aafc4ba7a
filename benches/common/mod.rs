//! A server as a process, and what it costs.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a part of programs for people"
)]

pub mod line;
pub mod load;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What /proc counts in.
const TICK: Duration = Duration::from_millis(10);

pub struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// getlockd with one wire: `line`, `mysql` or `http`; and its port.
    pub fn getlockd(wire: &str, flags: &[&str]) -> (Self, u16) {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_getlockd"));
        for one in ["line", "mysql", "http"] {
            let addr = if one == wire { format!("127.0.0.1:{port}") } else { "off".to_owned() };
            command.args([format!("--{one}"), addr]);
        }
        command.args(flags);
        (Self::start(command, port), port)
    }

    /// Starts it; it is there once `port` can be connected to.
    pub fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_mins(1), "{command:?} does not start");
            thread::sleep(Duration::from_millis(50));
        }
        Self { child }
    }

    /// Used so far, by itself and by the kernel for it.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name stands in parentheses and may contain anything.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
        TICK * ticks
    }

    /// In bytes.
    pub fn memory(&self) -> usize {
        field(&format!("/proc/{}/status", self.child.id()), "VmRSS:") * 1024
    }

    /// How often its threads have gone to sleep, which is how often they were woken.
    pub fn wake_ups(&self) -> usize {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let status = |thread: fs::DirEntry| format!("{}/status", thread.path().display());
        threads.map(|thread| field(&status(thread.unwrap()), "voluntary_ctxt_switches:")).sum()
    }
}

fn field(file: &str, name: &str) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether it is only asked if it runs, by `cargo test --benches`, or cannot: `cargo bench` says `--bench`.
pub fn is_only_asked() -> bool {
    !std::env::args().any(|arg| arg == "--bench") || !Path::new("/proc/self/stat").exists()
}

/// The middle one, the least and the most.
pub fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// Lets this process open as many files as it may; the server does so by itself.
pub fn open_many_files() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
}
