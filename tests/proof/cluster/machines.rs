//! A cluster on machines of its own, and what can be done to it.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    network::{Network, Place},
    node::{self, Kind, Node, Process, Setup},
};
use crate::common::{Addrs, Client, http};

pub(super) struct Machines {
    pub network: Arc<Network>,
    pub nodes: Vec<Node>,
    pub setup: Setup,
    _folder: TempDir,
}

/// How long the cluster may take for what must come: an election of etcd and one of its own.
const SOON: Duration = Duration::from_secs(40);

impl Machines {
    /// None, and why, where there can be none.
    pub(super) fn new(nodes: usize, kind: Kind) -> Result<Self, String> {
        let network = Arc::new(Network::new(nodes)?);
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup { kind, folder: folder.path().to_owned(), nodes };
        let all = (0..nodes).map(|number| Node::new(&setup, &network, number)).collect();
        let mut machines = Self { network, nodes: all, setup, _folder: folder };
        for node in &mut machines.nodes {
            node.start(&machines.setup, &machines.network);
        }
        machines.until_all_serve();
        Ok(machines)
    }

    pub(super) fn addrs(&self) -> Vec<Addrs> {
        (0..self.nodes.len()).map(|node| node::addrs(&self.network, node)).collect()
    }

    pub(super) fn start(&mut self, node: usize) {
        self.nodes[node].start(&self.setup, &self.network);
    }

    pub(super) fn start_etcd(&mut self, node: usize) {
        self.nodes[node].start_etcd(&self.setup, &self.network);
    }

    /// Resolves when a lock can be had through each node.
    pub(super) fn until_all_serve(&self) {
        for node in 0..self.nodes.len() {
            self.until_serves(node);
        }
    }

    pub(super) fn until_serves(&self, node: usize) {
        let line = node::addrs(&self.network, node).line;
        let name = format!("probe-{node}");
        let serves = self.network.run(Place::Clients, move || async move {
            let since = Instant::now();
            while since.elapsed() < SOON {
                if let Ok(stream) = tokio::net::TcpStream::connect(line).await {
                    let mut client = Client { stream: tokio::io::BufReader::new(stream) };
                    client.send(&format!("GET_LOCK {name} 0")).await;
                    let said = tokio::time::timeout(Duration::from_secs(5), client.next()).await;
                    if said.is_ok_and(|said| said.as_deref() == Some("1")) {
                        return true;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            false
        });
        assert!(serves.join().unwrap(), "node {} does not serve; {}", node::name(node), self.logs());
    }

    /// The node that says so itself.
    pub(super) fn leader(&self) -> usize {
        let status: Vec<_> =
            (0..self.nodes.len()).map(|node| node::status_addr(&self.network, node)).collect();
        let leader = self.network.run(Place::Clients, move || async move {
            let since = Instant::now();
            while since.elapsed() < SOON {
                for (node, addr) in status.iter().enumerate() {
                    if tokio::net::TcpStream::connect(addr).await.is_ok()
                        && http::get(*addr, "/leader").await.0 == 200
                    {
                        return Some(node);
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            None
        });
        leader.join().unwrap().unwrap_or_else(|| panic!("nobody leads; {}", self.logs()))
    }

    /// The node whose etcd leads the etcds.
    pub(super) fn etcd_leader(&self) -> usize {
        let since = Instant::now();
        while since.elapsed() < SOON {
            let endpoints = self.setup.endpoints(&self.network).join(",");
            let mut etcdctl = self.network.command(Place::Clients, &node::program("etcdctl"));
            etcdctl.env("ETCDCTL_API", "3").args([
                "--endpoints",
                &endpoints,
                "endpoint",
                "status",
                "-w",
                "json",
            ]);
            let told = etcdctl.stderr(Stdio::null()).output().unwrap().stdout;
            let Ok(Value::Array(members)) = serde_json::from_slice(&told) else { continue };
            let leads = |member: &&Value| {
                member["Status"]["header"]["member_id"] == member["Status"]["leader"]
                    && !member["Status"]["leader"].is_null()
            };
            let endpoint = members.iter().find(leads).and_then(|member| member["Endpoint"].as_str());
            let places = 0..self.nodes.len();
            let at = |node: &usize| {
                endpoint.is_some_and(|endpoint| endpoint.starts_with(&self.network.addr(Place::Node(*node))))
            };
            if let Some(node) = places.into_iter().find(at) {
                return node;
            }
        }
        panic!("no etcd leads; {}", self.logs())
    }

    /// Whether these members of etcd write something within a second.
    pub(super) fn etcd_writes(&self, members: &[usize]) -> bool {
        let endpoints: Vec<_> =
            members.iter().map(|node| format!("{}:2379", self.network.addr(Place::Node(*node)))).collect();
        let mut etcdctl = self.network.command(Place::Clients, &node::program("etcdctl"));
        etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &endpoints.join(",")]);
        etcdctl.args(["--command-timeout=1s", "put", "written", "again"]);
        etcdctl.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Delays each sync of this etcd's disk by two seconds, until the child is killed.
    pub(super) fn slow_disk(&self, node: usize) -> Child {
        let pid = self.nodes[node].etcd.id().unwrap().to_string();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-q", "-p", &pid, "-e", "trace=fdatasync,fsync", "-o", "/dev/null"]);
        strace.args(["-e", "inject=fdatasync,fsync:delay_enter=2000000"]);
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Asks the cluster to be led by this node; whether the command says that it is.
    pub(super) fn hand_over(&self, to: usize) -> bool {
        let mut command = self.network.command(Place::Clients, crate::common::program::PROGRAM);
        command.args(["hand-over", "--cluster", &self.setup.cluster_url(&self.network), &node::name(to)]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        if !output.status.success() {
            println!("hand-over: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    /// Sends SIGTERM, waits for the end, and how long it took.
    pub(super) fn terminate(&mut self, node: usize) -> Duration {
        let since = Instant::now();
        self.nodes[node].getlockd.terminate();
        self.await_end(node);
        since.elapsed()
    }

    /// Waits for the end of a server that was told to stop.
    pub(super) fn await_end(&mut self, node: usize) {
        let status = self.nodes[node].getlockd.wait(self.setup.kind.ttl + SOON);
        assert!(
            status.is_some_and(|status| status.success()),
            "node {} ended so: {status:?}; {}",
            node::name(node),
            self.logs()
        );
    }

    /// The last lines of each server and its etcd, for people.
    pub(super) fn logs(&self) -> String {
        let of_one = |node: &Node| {
            let last = |process: &Process| {
                let log = fs::read_to_string(process.log()).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                lines[lines.len().saturating_sub(12)..].join("\n")
            };
            format!("\nnode {}:\n{}\n{}", node::name(node.number), last(&node.etcd), last(&node.getlockd))
        };
        self.nodes.iter().map(of_one).collect()
    }

    pub(super) fn sleep(time: Duration) {
        thread::sleep(time);
    }
}
