//! The program itself, as a process.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_getlockd");

pub struct Program {
    child: Child,
    pub log: Option<BufReader<ChildStderr>>,
    /// Where it listens first.
    pub addr: SocketAddr,
}

impl Program {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let addr = listening(&mut log);
        Self { child, log: Some(log), addr }
    }

    /// Where it listens next, by its log.
    pub fn listening(&mut self) -> SocketAddr {
        listening(self.log.as_mut().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill {name} {}", self.id())]).status().unwrap();
        assert!(sent.success());
    }

    pub fn wait(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        if let Some(unread) = &mut self.log {
            unread.read_to_string(&mut log).unwrap();
        }
        (self.child.wait().unwrap(), log)
    }

    /// A number of /proc/PID/status.
    pub fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    }

    /// How many descriptors are open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(log: &mut impl BufRead) -> SocketAddr {
    let line = next_with(log, "listening");
    let addr = line.split(['=', ' ', '"', '}', ',']).find_map(|word| word.trim().parse().ok());
    addr.unwrap_or_else(|| panic!("no address in {line}"))
}

pub fn next_with(log: &mut impl BufRead, word: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ended without {word:?}");
        if line.contains(word) {
            return line;
        }
    }
}
