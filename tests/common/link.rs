//! Two machines and a cable between them: namespaces of the network, and a pair of virtual devices.

use std::{
    fs::File,
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, JoinHandle},
};

pub const SERVER_ADDR: &str = "10.213.7.1";
const CLIENT_ADDR: &str = "10.213.7.2";

/// Where the packets of each side go: the address of the other, or one that nobody has.
const SERVER_MAC: &str = "02:00:00:00:07:01";
const CLIENT_MAC: &str = "02:00:00:00:07:02";
const NO_MAC: &str = "02:00:00:00:07:ff";

pub struct Link {
    server: String,
    client: String,
}

#[derive(Clone, Copy)]
pub enum Side {
    Server,
    Client,
}

impl Link {
    /// None, and why, where there can be none.
    pub fn new() -> Result<Self, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let link = Self { server: format!("getlockd-s{id}"), client: format!("getlockd-c{id}") };
        let Self { server, client } = &link;
        for line in [
            format!("netns add {server}"),
            format!("netns add {client}"),
            format!("-n {server} link add cable type veth peer name cable netns {client}"),
            format!("-n {server} addr add {SERVER_ADDR}/24 dev cable"),
            format!("-n {client} addr add {CLIENT_ADDR}/24 dev cable"),
            format!("-n {server} link set cable address {SERVER_MAC}"),
            format!("-n {client} link set cable address {CLIENT_MAC}"),
            format!("-n {server} link set lo up"),
            format!("-n {server} link set cable up"),
            format!("-n {client} link set cable up"),
        ] {
            ip(&line)?;
        }
        for side in [Side::Server, Side::Client] {
            link.connect(side, true)?;
        }
        Ok(link)
    }

    /// From now on nothing arrives, and nobody is told.
    pub fn cut(&self) {
        self.cut_from(Side::Server);
        self.cut_from(Side::Client);
    }

    /// From now on nothing arrives that this side sends. It is told nothing, and hears the other.
    pub fn cut_from(&self, side: Side) {
        self.connect(side, false).unwrap();
    }

    /// All arrives again.
    pub fn heal(&self) {
        for side in [Side::Server, Side::Client] {
            self.connect(side, true).unwrap();
        }
    }

    fn connect(&self, side: Side, is_connected: bool) -> Result<(), String> {
        let (other, mac) = match side {
            Side::Server => (CLIENT_ADDR, CLIENT_MAC),
            Side::Client => (SERVER_ADDR, SERVER_MAC),
        };
        let mac = if is_connected { mac } else { NO_MAC };
        ip(&format!("-n {} neigh replace {other} lladdr {mac} dev cable nud permanent", self.name(side)))
    }

    fn name(&self, side: Side) -> &str {
        match side {
            Side::Server => &self.server,
            Side::Client => &self.client,
        }
    }

    /// A program that will run there.
    pub fn command(&self, side: Side, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(side), program]);
        command
    }

    /// Runs a future on a thread there.
    pub fn run<F: Future>(
        &self,
        side: Side,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> JoinHandle<F::Output>
    where
        F::Output: Send + 'static,
    {
        let namespace = File::open(format!("/var/run/netns/{}", self.name(side))).unwrap();
        thread::spawn(move || {
            enter(&namespace);
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for namespace in [&self.server, &self.client] {
            let _ = ip(&format!("netns del {namespace}"));
        }
    }
}

/// Whatever this thread opens from now on is in that namespace.
#[expect(unsafe_code, reason = "the standard library has no namespaces")]
pub fn enter(namespace: &File) {
    // SAFETY: the descriptor is open; only what this thread opens from now on is affected.
    let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Runs `ip` with these arguments; the error says what was wrong.
pub fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    let told = || format!("ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    if output.status.success() { Ok(()) } else { Err(told()) }
}
