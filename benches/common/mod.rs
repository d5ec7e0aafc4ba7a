//! A server as a process, and what it costs.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a part of programs for people"
)]

pub mod callgrind;
pub mod grpc;
pub mod http;
pub mod kept;
pub mod line;
pub mod load;
pub mod mysql;
pub mod ratios;
pub mod traffic;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

pub const GETLOCKD: &str = env!("CARGO_BIN_EXE_getlockd");

/// What /proc counts in.
const TICK: Duration = Duration::from_millis(10);

pub struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: PostgreSQL, when killed, leaves shared memory behind.
        let _ = self.stop(Duration::from_secs(10));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// getlockd with one wire: `line`, `mysql` or `http`; and its port.
    pub fn getlockd(wire: &str, flags: &[&str]) -> (Self, u16) {
        Self::getlockd_by(Command::new(GETLOCKD), wire, flags)
    }

    /// The same by a command that has the program as its last argument, or is it.
    pub fn getlockd_by(mut command: Command, wire: &str, flags: &[&str]) -> (Self, u16) {
        let port = free_port();
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
            thread::sleep(Duration::from_millis(2));
        }
        Self { child }
    }

    /// Asks it to end.
    pub fn ask_to_end(&mut self) {
        // Once it has ended its number may be that of another.
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("sh").args(["-c", &format!("kill {}", self.child.id())]).status();
        }
    }

    /// Asks it to end: how it did, unless that takes longer than this.
    pub fn stop(&mut self, time: Duration) -> Option<ExitStatus> {
        self.ask_to_end();
        self.ended(time)
    }

    /// How it ended, unless that takes longer than this.
    pub fn ended(&mut self, time: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < time {
            thread::sleep(Duration::from_millis(10));
        }
        self.child.try_wait().ok().flatten()
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until none of its threads has anything to do. A request that comes then always finds it asleep;
    /// one that comes earlier may spare it a part of the work, by chance.
    pub fn until_asleep(&self) {
        while !self.is_asleep() {
            thread::sleep(Duration::from_micros(50));
        }
    }

    fn is_asleep(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut states = threads.filter_map(|thread| state(&thread.unwrap().path()));
        states.all(|state| state == 'S')
    }

    /// Used so far by it and by the processes that it started, those that ended too, and by the kernel
    /// for them.
    pub fn cpu(&self) -> Duration {
        let all = processes();
        let (mut tree, mut at) = (vec![self.child.id()], 0);
        while let Some(&parent) = tree.get(at) {
            tree.extend(all.iter().filter(|one| one.parent == parent).map(|one| one.id));
            at += 1;
        }
        all.iter().filter(|one| tree.contains(&one.id)).map(Process::cpu).sum()
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

struct Process {
    id: u32,
    parent: u32,
    /// By itself and the kernel for it.
    used: Duration,
    /// By its children that have ended.
    ended: Duration,
}

impl Process {
    fn cpu(&self) -> Duration {
        // Ticks are coarse: a process that has little to do may show none. The threads' nanoseconds are
        // exact, but those of threads that ended are not among them.
        self.used.max(threads(self.id)) + self.ended
    }
}

fn processes() -> Vec<Process> {
    let folders = fs::read_dir("/proc").unwrap();
    folders.filter_map(|folder| process(&folder.unwrap().path())).collect()
}

/// What the kernel tells of a process or a thread behind its name. None if it has ended meanwhile.
fn stat(folder: &Path) -> Option<String> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name stands in parentheses and may contain anything.
    Some(stat.rsplit(") ").next()?.to_owned())
}

/// `S` is asleep.
fn state(thread: &Path) -> Option<char> {
    stat(thread)?.chars().next()
}

/// None if it is none, or has ended meanwhile.
fn process(folder: &Path) -> Option<Process> {
    let id = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = stat(folder)?;
    let fields: Vec<&str> = stat.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
    let ticks = |at: usize| Some(TICK * (number(at)? + number(at + 1)?));
    Some(Process { id, parent: number(1)?, used: ticks(11)?, ended: ticks(13)? })
}

/// What the threads of a process have used that are alive.
fn threads(id: u32) -> Duration {
    let all = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let used = all.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}

/// getlockd with these flags, and its ports: line and MySQL.
pub fn getlockd(flags: &[&str]) -> (Server, u16, u16) {
    let (line, mysql) = (free_port(), free_port());
    let mut command = Command::new(GETLOCKD);
    command.args(["--http", "off", "--line", &format!("127.0.0.1:{line}")]);
    command.args(["--mysql", &format!("127.0.0.1:{mysql}")]).args(flags);
    (Server::start(command, line), line, mysql)
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether it is only asked if it runs, by `cargo test --benches`, or cannot: `cargo bench` says `--bench`.
pub fn is_only_asked() -> bool {
    std::env::args().all(|arg| arg != "--bench") || !Path::new("/proc/self/stat").exists()
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
