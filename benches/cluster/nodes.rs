//! A cluster on this machine: servers on ports of their own.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    clients::etcd::Etcd,
    common::{GETLOCKD, Server, free_port},
};

/// More than any node takes until it serves: the first of all waits for the time to live of a leadership.
const SOON: Duration = Duration::from_secs(30);

/// A server of the line wire and of HTTP.
pub struct Node {
    pub server: Server,
    pub line: u16,
    pub http: u16,
    number: usize,
    flags: Vec<String>,
}

/// Servers of one cluster, the first of which leads.
pub fn cluster(etcd: &Etcd, prefix: &str, nodes: usize, flags: &[&str]) -> Vec<Node> {
    let mut all = Vec::new();
    for number in 0..nodes {
        let mut own = vec!["--cluster".to_owned(), etcd.url(prefix)];
        own.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let node = Node::start(number, (free_port(), free_port()), own);
        node.until_it_serves();
        all.push(node);
    }
    all
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

    /// The same again, once it has ended.
    pub fn again(&mut self) {
        assert!(self.server.ended(SOON).is_some(), "it does not end");
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
