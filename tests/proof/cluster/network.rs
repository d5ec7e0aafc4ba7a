//! Machines and the network between them: namespaces, each with a cable to one hub. A cut is silence: packets are
//! dropped, and nobody is told.

use std::{
    fs::File,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, JoinHandle},
};

use crate::common::link::{enter, ip};

/// A machine: one of the nodes, or that of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node(usize),
    Clients,
}

/// Which packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    All,
    /// To and from the ports of etcd.
    Etcd,
    /// All but that.
    Locks,
}

pub(super) struct Network {
    hub: String,
    nodes: Vec<String>,
    clients: String,
}

/// The subnet; the last number is that of the machine.
const NET: &str = "10.213.8";
/// Of clients and peers.
const ETCD_PORTS: [&str; 2] = ["2379", "2380"];

impl Network {
    /// None, and why, where there can be none.
    pub(super) fn new(nodes: usize) -> Result<Self, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Self {
            hub: format!("getlockd-hub-{id}"),
            nodes: (0..nodes).map(|node| format!("getlockd-n{node}-{id}")).collect(),
            clients: format!("getlockd-clients-{id}"),
        };
        let hub = &network.hub;
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add hub type bridge"))?;
        ip(&format!("-n {hub} link set hub up"))?;
        for (number, place) in network.places().into_iter().enumerate() {
            let (name, addr) = (network.name(place), network.addr(place));
            for line in [
                format!("netns add {name}"),
                format!("-n {hub} link add port{number} type veth peer name cable netns {name}"),
                format!("-n {hub} link set port{number} master hub"),
                format!("-n {hub} link set port{number} up"),
                format!("-n {name} addr add {addr}/24 dev cable"),
                format!("-n {name} link set lo up"),
                format!("-n {name} link set cable up"),
            ] {
                ip(&line)?;
            }
        }
        network.iptables(Place::Clients, "-F")?;
        Ok(network)
    }

    pub(super) fn places(&self) -> Vec<Place> {
        (0..self.nodes.len()).map(Place::Node).chain([Place::Clients]).collect()
    }

    #[expect(clippy::unused_self, reason = "an address is that of a network")]
    pub(super) fn addr(&self, place: Place) -> String {
        match place {
            Place::Node(node) => format!("{NET}.{}", node + 1),
            Place::Clients => format!("{NET}.100"),
        }
    }

    /// From now on nothing arrives at `to` that `from` sends. The other way all arrives.
    pub(super) fn cut(&self, from: Place, to: Place, traffic: Traffic) {
        let source = format!("-A INPUT -s {} -p tcp", self.addr(from));
        let of_etcd =
            ETCD_PORTS.iter().flat_map(|port| ["dport", "sport"].map(|side| format!("--{side} {port}")));
        match traffic {
            Traffic::All => self.rule(to, &format!("{source} -j DROP")),
            Traffic::Etcd => of_etcd.for_each(|port| self.rule(to, &format!("{source} {port} -j DROP"))),
            Traffic::Locks => {
                of_etcd.for_each(|port| self.rule(to, &format!("{source} {port} -j ACCEPT")));
                self.rule(to, &format!("{source} -j DROP"));
            }
        }
    }

    /// All arrives again.
    pub(super) fn heal(&self) {
        for place in self.places() {
            self.rule(place, "-F INPUT");
        }
    }

    fn rule(&self, at: Place, rule: &str) {
        self.iptables(at, rule).unwrap();
    }

    fn iptables(&self, at: Place, rule: &str) -> Result<(), String> {
        let output =
            self.command(at, "iptables").args(["-w"]).args(rule.split(' ')).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("iptables: {error}"))?;
        let told = || format!("iptables {rule}: {}", String::from_utf8_lossy(&output.stderr).trim());
        if output.status.success() { Ok(()) } else { Err(told()) }
    }

    fn name(&self, place: Place) -> &str {
        match place {
            Place::Node(node) => &self.nodes[node],
            Place::Clients => &self.clients,
        }
    }

    /// A program that will run there.
    pub(super) fn command(&self, place: Place, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(place), program]);
        command
    }

    /// Runs a future on a thread there.
    pub(super) fn run<F: Future>(
        &self,
        place: Place,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> JoinHandle<F::Output>
    where
        F::Output: Send + 'static,
    {
        let namespace = File::open(format!("/var/run/netns/{}", self.name(place))).unwrap();
        thread::spawn(move || {
            enter(&namespace);
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.nodes.iter().chain([&self.clients, &self.hub]) {
            let _ = ip(&format!("netns del {namespace}"));
        }
    }
}
