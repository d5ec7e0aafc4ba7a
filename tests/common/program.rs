//! The server as a process of its own, to be signalled, killed and measured.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
};

/// Cargo builds it for the tests of the package getlockd. Those of another package start nothing by this name.
pub const PROGRAM: &str = match option_env!("CARGO_BIN_EXE_getlockd") {
    Some(program) => program,
    None => "getlockd, in a test of another package",
};

const FREE: &str = "127.0.0.1:0";

pub struct Program {
    pub child: Child,
    pub log: Option<BufReader<ChildStderr>>,
    /// Where the first wire that is on listens.
    pub addr: SocketAddr,
}

impl Program {
    /// With the line wire alone.
    pub fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        Self::spawn(command.args(["--line", FREE, "--mysql", "off", "--http", "off"]).args(flags))
    }

    /// With all wires, and the addresses of the other two: MySQL and HTTP.
    pub fn on_all_wires(flags: &[&str]) -> (Self, SocketAddr, SocketAddr) {
        let mut command = Command::new(PROGRAM);
        let mut program =
            Self::spawn(command.args(["--line", FREE, "--mysql", FREE, "--http", FREE]).args(flags));
        let [mysql, http] = [(); 2].map(|()| program.next_addr());
        (program, mysql, http)
    }

    pub fn spawn(command: &mut Command) -> Self {
        // A backtrace reads the symbols, which are more memory than all that is measured here.
        command.env("RUST_BACKTRACE", "0");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let addr = listening(&mut log);
        Self { child, log: Some(log), addr }
    }

    /// Where the next wire listens that its log names.
    pub fn next_addr(&mut self) -> SocketAddr {
        listening(self.log.as_mut().unwrap())
    }

    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("sh").args(["-c", &format!("kill {name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }

    /// How it ended, and the rest of its log.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        if let Some(unread) = &mut self.log {
            unread.read_to_string(&mut log).unwrap();
        }
        (self.child.wait().unwrap(), log)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it has, in kB.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS")
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
