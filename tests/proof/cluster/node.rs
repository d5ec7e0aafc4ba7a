//! A node: an etcd and a getlockd in a namespace, to be killed, frozen and started again.

use std::{
    fs::{self, File, OpenOptions},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::network::{Network, Place};
use crate::{
    common::{Addrs, etcd::etcd_program, program::PROGRAM},
    faults::clock::{libfaketime, set_clock},
};

const LINE: u16 = 3306;
const MYSQL: u16 = 3307;
const HTTP: u16 = 3308;
const CLUSTER: u16 = 3309;
const STATUS: u16 = 3310;

/// What the clock of a server is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    Right,
    /// The time of day, in days.
    Off(i8),
    /// All clocks run at this rate, in percent.
    Rate(u8),
}

/// What the servers are like, all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// T.
    pub ttl: Duration,
    pub drain: Duration,
    /// Without it each is a server alone: what the cluster must not be.
    pub is_cluster: bool,
}

/// How they are started.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub kind: Kind,
    pub folder: PathBuf,
    pub nodes: usize,
}

pub(super) struct Node {
    pub number: usize,
    pub etcd: Process,
    pub getlockd: Process,
    pub clock: Clock,
}

/// A program that is started again and again.
pub(super) struct Process {
    child: Option<Child>,
    log: PathBuf,
}

/// Of etcd, which is there: the machines were not made without it.
pub(super) fn program(name: &str) -> String {
    etcd_program(name).expect("it is installed").display().to_string()
}

pub(super) fn name(node: usize) -> String {
    ["a", "b", "c", "d", "e"][node].to_owned()
}

pub(super) fn addrs(network: &Network, node: usize) -> Addrs {
    let ip: IpAddr = network.addr(Place::Node(node)).parse().unwrap();
    let at = |port| SocketAddr::new(ip, port);
    Addrs { line: at(LINE), mysql: at(MYSQL), http: at(HTTP) }
}

pub(super) fn status_addr(network: &Network, node: usize) -> SocketAddr {
    SocketAddr::new(network.addr(Place::Node(node)).parse().unwrap(), STATUS)
}

impl Setup {
    /// The clients of all etcds.
    pub(super) fn endpoints(&self, network: &Network) -> Vec<String> {
        (0..self.nodes).map(|node| format!("{}:2379", network.addr(Place::Node(node)))).collect()
    }

    pub(super) fn cluster_url(&self, network: &Network) -> String {
        format!("etcd://{}/getlockd", self.endpoints(network).join(","))
    }

    fn etcd(&self, network: &Network, node: usize) -> Command {
        let addr = network.addr(Place::Node(node));
        let members = (0..self.nodes)
            .map(|node| format!("{}=http://{}:2380", name(node), network.addr(Place::Node(node))))
            .collect::<Vec<_>>();
        let mut command = network.command(Place::Node(node), &program("etcd"));
        command
            .args(["--name", &name(node), "--data-dir"])
            .arg(self.folder.join(format!("etcd-{}", name(node))));
        command.args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new"]);
        for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            command.args([flag, &format!("http://{addr}:2380")]);
        }
        for flag in ["--listen-client-urls", "--advertise-client-urls"] {
            command.args([flag, &format!("http://{addr}:2379")]);
        }
        command
    }

    fn getlockd(&self, network: &Network, node: usize, clock: Clock) -> Command {
        let addr = network.addr(Place::Node(node));
        let mut command = network.command(Place::Node(node), PROGRAM);
        for (flag, port) in [("--line", LINE), ("--mysql", MYSQL), ("--http", HTTP)] {
            command.args([flag, &format!("{addr}:{port}")]);
        }
        command.args(["--open", "--drain", &format!("{}ms", self.kind.drain.as_millis())]);
        if self.kind.is_cluster {
            command.args(["--cluster", &self.cluster_url(network), "--node-name", &name(node)]);
            for flag in ["--cluster-listen", "--advertise"] {
                command.args([flag, &format!("{addr}:{CLUSTER}")]);
            }
            command.args(["--status", &format!("{addr}:{STATUS}")]);
            command.args(["--cluster-ttl", &format!("{}ms", self.kind.ttl.as_millis())]);
        }
        command.env("RUST_BACKTRACE", "0");
        self.set_clock(&mut command, node, clock);
        command
    }

    fn set_clock(&self, command: &mut Command, node: usize, clock: Clock) {
        let Some(lib) = libfaketime().filter(|_| clock != Clock::Right) else { return };
        match clock {
            Clock::Right => {}
            Clock::Off(days) => {
                let file = self.folder.join(format!("clock-{}", name(node)));
                fs::write(&file, format!("{days:+}d")).unwrap();
                set_clock(command, &lib, &file);
            }
            Clock::Rate(percent) => {
                let rate = format!("+0 x{}.{:02}", percent / 100, percent % 100);
                command.env("LD_PRELOAD", lib).env("FAKETIME", rate);
            }
        }
    }
}

impl Node {
    /// With its etcd running, and its server not started.
    pub(super) fn new(setup: &Setup, network: &Network, number: usize) -> Self {
        let log = |of: &str| setup.folder.join(format!("{of}-{}.log", name(number)));
        let (etcd, getlockd) = (Process::new(log("etcd")), Process::new(log("getlockd")));
        let mut node = Self { number, etcd, getlockd, clock: Clock::Right };
        if setup.kind.is_cluster {
            node.start_etcd(setup, network);
        }
        node
    }

    pub(super) fn start_etcd(&mut self, setup: &Setup, network: &Network) {
        self.etcd.start(setup.etcd(network, self.number));
    }

    pub(super) fn start(&mut self, setup: &Setup, network: &Network) {
        self.getlockd.start(setup.getlockd(network, self.number, self.clock));
    }
}

impl Process {
    fn new(log: PathBuf) -> Self {
        Self { child: None, log }
    }

    fn start(&mut self, mut command: Command) {
        self.kill();
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(super) fn thaw(&self) {
        self.signal("-CONT");
    }

    pub(super) fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, name: &str) {
        if let Some(id) = self.id() {
            // Whether it still runs is seen by what comes of it.
            let _ = Command::new("kill").args([name, &id.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// How it ended, if it did within this time.
    pub(super) fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        let since = Instant::now();
        while self.runs() {
            if since.elapsed() > time {
                return None;
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.child.take().and_then(|mut child| child.wait().ok())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
