//! A cluster on this machine: three etcds, and servers on ports of their own.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::common::{GETLOCKD, Server, free_port};

const ETCDS: usize = 3;

/// More than any node takes until it serves: the first of all waits for the time to live of a leadership.
const SOON: Duration = Duration::from_secs(30);

pub struct Etcds {
    _servers: Vec<Server>,
    ports: Vec<u16>,
    _folder: TempDir,
}

/// A server of the line wire and of HTTP.
pub struct Node {
    pub server: Server,
    pub line: u16,
    pub http: u16,
    number: usize,
    flags: Vec<String>,
}

impl Etcds {
    /// None if etcd is not installed.
    pub fn start(folder: TempDir) -> Option<Self> {
        Command::new("etcd").arg("--version").stdout(Stdio::null()).status().ok()?;
        let (ports, peers): (Vec<_>, Vec<_>) = (0..ETCDS).map(|_| (free_port(), free_port())).unzip();
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let members: Vec<_> =
            peers.iter().enumerate().map(|(member, peer)| format!("m{member}={}", url(peer))).collect();
        // None serves before there are two, so that no start waits for the one before.
        let commands = ports.iter().zip(&peers).enumerate().map(|(member, (port, peer))| {
            let mut command = Command::new("etcd");
            command.args(["--name", &format!("m{member}")]);
            command.arg("--data-dir").arg(folder.path().join(format!("m{member}")));
            command.args(["--listen-client-urls", &url(port), "--advertise-client-urls", &url(port)]);
            command.args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)]);
            command.args(["--initial-cluster", &members.join(",")]);
            command
        });
        let servers = Server::start_all(commands.zip(ports.clone()));
        Some(Self { _servers: servers, ports, _folder: folder })
    }

    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    fn url(&self, prefix: &str) -> String {
        let members: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("etcd://{}/{prefix}", members.join(","))
    }

    /// Servers of one cluster, the first of which leads.
    pub fn cluster(&self, prefix: &str, nodes: usize, flags: &[&str]) -> Vec<Node> {
        let mut all = Vec::new();
        for number in 0..nodes {
            let [line, http] = [free_port(), free_port()];
            let mut own = vec!["--cluster".to_owned(), self.url(prefix)];
            own.extend(flags.iter().map(|flag| (*flag).to_owned()));
            let node = Node::start(number, (line, http), own);
            node.until_it_serves();
            all.push(node);
        }
        all
    }
}

impl Node {
    fn start(number: usize, (line, http): (u16, u16), flags: Vec<String>) -> Self {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let mut command = Command::new(GETLOCKD);
        command.args(["--line", &at(line), "--http", &at(http), "--mysql", "off"]);
        command.args(["--node-name", &format!("n{number}")]);
        let cluster = at(free_port());
        command.args(["--cluster-listen", &cluster, "--advertise", &cluster, "--status", &at(free_port())]);
        command.args(&flags);
        Self { server: Server::start(command, line), line, http, number, flags }
    }

    /// The same again.
    pub fn again(&mut self) {
        *self = Self::start(self.number, (self.line, self.http), self.flags.clone());
        self.until_it_serves();
    }

    /// Returns at the first grant, by whichever node leads.
    pub fn until_it_serves(&self) {
        let since = Instant::now();
        while !self.grants().unwrap_or(false) {
            assert!(since.elapsed() < SOON, "no node serves");
        }
    }

    fn grants(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.line))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(format!("GET_LOCK probe{} 0\n", self.number).as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer == "1\n")
    }
}

/// A folder on a disk, which goes with it: what is in memory syncs nothing.
pub fn folder() -> TempDir {
    let base = std::env::var_os("STORE_FOLDER").map_or(env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    tempfile::tempdir_in(base).unwrap()
}
