//! An etcd cluster on this machine, whose members are killed, stopped and started again.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{installed, skip};

/// How long its members may take to agree on something. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a member is asked for what is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// An etcd cluster with its data, which end with it.
pub struct Etcd {
    pub members: Vec<EtcdMember>,
    folder: TempDir,
}

/// One of its members.
pub struct EtcdMember {
    /// Where it serves clients.
    pub addr: SocketAddr,
    /// Where it tells of its health, and nothing else, without TLS.
    metrics: SocketAddr,
    command: Vec<String>,
    log: PathBuf,
    /// None while it is killed.
    child: Option<Child>,
    frozen: bool,
}

impl Etcd {
    /// With so many members; `None` if etcd is not installed, which is told.
    pub fn start(members: usize) -> Option<Self> {
        Self::with(members, &[])
    }

    /// With more flags for each of them. With `--cert-file` they serve clients by TLS alone.
    pub fn with(count: usize, flags: &[&str]) -> Option<Self> {
        let Some(program) = etcd_program("etcd") else {
            skip::skip_missing("etcd");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let scheme = if flags.contains(&"--cert-file") { "https" } else { "http" };
        // All are in use at once, so that they differ.
        let listeners: Vec<_> = (0..3 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addrs: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        drop(listeners);
        let peers: Vec<_> = (0..count).map(|n| format!("m{n}=http://{}", addrs[3 * n + 1])).collect();
        let members = (0..count).map(|n| {
            let [addr, peer, metrics] = [addrs[3 * n], addrs[3 * n + 1], addrs[3 * n + 2]];
            let client = format!("{scheme}://{addr}");
            let mut command = vec![program.display().to_string()];
            command.extend(
                [
                    ["--name", &format!("m{n}")],
                    ["--data-dir", &folder.path().join(format!("m{n}")).display().to_string()],
                    ["--listen-client-urls", &client],
                    ["--advertise-client-urls", &client],
                    ["--listen-peer-urls", &format!("http://{peer}")],
                    ["--initial-advertise-peer-urls", &format!("http://{peer}")],
                    ["--listen-metrics-urls", &format!("http://{metrics}")],
                    ["--initial-cluster", &peers.join(",")],
                ]
                .concat()
                .into_iter()
                .chain(flags.iter().copied())
                .map(str::to_owned),
            );
            EtcdMember {
                addr,
                metrics,
                command,
                log: folder.path().join(format!("m{n}.log")),
                child: None,
                frozen: false,
            }
        });
        let mut etcd = Self { members: members.collect(), folder };
        etcd.members.iter_mut().for_each(EtcdMember::spawn);
        etcd.members.iter().for_each(EtcdMember::await_health);
        Some(etcd)
    }

    /// What `--cluster` is given.
    pub fn url(&self, prefix: &str) -> String {
        let members: Vec<_> = self.members.iter().map(|member| member.addr.to_string()).collect();
        format!("etcd://{}/{prefix}", members.join(","))
    }

    /// The member that leads; none while they do not agree on one.
    pub fn leader(&self) -> Option<usize> {
        self.members.iter().position(|member| member.get("/metrics").is_some_and(|text| leads(&text)))
    }

    /// The member that leads, once one does.
    pub fn await_leader(&self) -> usize {
        wait_for("a leader of etcd", || self.leader())
    }

    /// What etcdctl prints, once a member leads: it does not wait for an election by itself.
    pub fn ctl(&self, args: &[&str]) -> String {
        self.await_leader();
        let (printed, errors) = self.try_ctl(args);
        assert_eq!(errors, "", "etcdctl {args:?}");
        printed
    }

    /// What etcdctl prints, and its errors. It asks the members that live.
    pub fn try_ctl(&self, args: &[&str]) -> (String, String) {
        let alive = self.members.iter().filter(|member| member.lives());
        let endpoints: Vec<_> = alive.map(|member| member.addr.to_string()).collect();
        let program = etcd_program("etcdctl").expect("etcdctl is in the package etcd-client");
        let mut command = Command::new(program);
        let command = command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoints.join(",")]).args(args);
        let output = command.output().unwrap();
        let errors = if output.status.success() { Vec::new() } else { output.stderr };
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&errors).into_owned())
    }

    /// Where its data are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl EtcdMember {
    /// Ends it at once.
    pub fn kill(&mut self) {
        self.frozen = false;
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again with the data that it had.
    pub fn start(&mut self) {
        self.kill();
        self.spawn();
        self.await_health();
    }

    /// It stands still, with its connections open.
    pub fn freeze(&mut self) {
        self.signal("-STOP");
        self.frozen = true;
    }

    pub fn thaw(&mut self) {
        self.signal("-CONT");
        self.frozen = false;
    }

    pub fn lives(&self) -> bool {
        self.child.is_some() && !self.frozen
    }

    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Waits until it knows a leader, and answers.
    pub fn await_health(&self) {
        let healthy = || self.get("/health").filter(|text| text.contains(r#""health":"true""#)).map(|_| ());
        wait_for(&format!("etcd, whose log is {}", self.log.display()), healthy);
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.command[0]);
        let command = command.args(&self.command[1..]).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The answer to a GET; `None` if there is none.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.metrics, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }
}

impl Drop for EtcdMember {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if thread::panicking() {
            for member in &self.members {
                let log = fs::read_to_string(&member.log).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(5).collect();
                println!("{}, newest first:\n{}", member.log.display(), last.join("\n"));
            }
        }
    }
}

/// `etcd` or `etcdctl`, as `.ci/run` has unpacked it, or as it is installed.
pub fn etcd_program(name: &str) -> Option<PathBuf> {
    let package = if name == "etcd" { "etcd-server" } else { "etcd-client" };
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let unpacked = installed(package).join("usr/bin");
    let folders = [unpacked].into_iter().chain(std::env::split_paths(&paths));
    folders.map(|folder| folder.join(name)).find(|program| program.exists())
}

fn leads(metrics: &str) -> bool {
    metrics.lines().any(|line| line == "etcd_server_is_leader 1")
}

fn wait_for<A>(what: &str, found: impl Fn() -> Option<A>) -> A {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "no {what}");
        thread::sleep(PAUSE);
    }
}
