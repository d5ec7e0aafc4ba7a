//! `cargo bench --bench mariadb`: CPU time of the server for a pair of GET_LOCK and RELEASE_LOCK,
//! beside MariaDB's on the same load, in turns in one run, for two kinds of clients; and memory of an
//! idle connection.
//!
//! Needs Linux. MariaDB is left out where `mariadbd` is not installed.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Server, free_port, median};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(3);
const IDLE: usize = 2_000;
struct Peer {
    name: &'static str,
    server: Server,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Peer {
    fn getlockd() -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_getlockd"));
        command.args(["--line", "off", "--http", "off", "--mysql", &format!("127.0.0.1:{port}")]);
        Self::start("getlockd", command, port, tempfile::tempdir().unwrap())
    }

    fn mariadb() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let data = format!("--datadir={}/data", folder.path().display());
        let install = ["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db"];
        let installed = Command::new("mariadb-install-db").args(install).stdout(Stdio::null()).status();
        if !installed.is_ok_and(|status| status.success()) {
            return None;
        }
        let port = free_port();
        let mut command = Command::new("mariadbd");
        command.args([
            "--no-defaults",
            "--user=root",
            &data,
            "--bind-address=127.0.0.1",
            "--max-connections=4000",
        ]);
        command.arg(format!("--port={port}")).arg(format!("--socket={}/socket", folder.path().display()));
        Some(Self::start("MariaDB", command, port, folder))
    }

    fn start(name: &'static str, command: Command, port: u16, folder: tempfile::TempDir) -> Self {
        Self { name, server: Server::start(command, port), port, _folder: folder }
    }

    /// CPU time in microseconds for a pair.
    fn load(&self, clients: Clients) -> f64 {
        let (stop, pairs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| log_in(self.port)).collect();
        let work = |(at, stream)| take_and_free(at, stream, stop.clone(), pairs.clone());
        let work = connections.into_iter().enumerate().map(work);
        let before = self.server.cpu();
        let threads: Vec<_> = match clients {
            Clients::EventLoop => {
                let work: Vec<_> = work.collect();
                let all = async { drop(work.into_iter().collect::<JoinSet<()>>().join_all().await) };
                vec![thread::spawn(|| run(all))]
            }
            Clients::Threads => work.map(|work| thread::spawn(|| run(work))).collect(),
        };
        thread::sleep(TIME);
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        #[expect(clippy::cast_precision_loss)]
        let pairs = pairs.load(Ordering::Relaxed) as f64;
        self.server.cpu().saturating_sub(before).as_secs_f64() * 1e6 / pairs
    }
}

/// Who loads a server.
#[derive(Clone, Copy, Debug)]
enum Clients {
    /// One process with an event loop, as an application with a pool is.
    EventLoop,
    /// A thread for each connection. The server's replies wake one each, which the kernel counts as
    /// the server's time.
    Threads,
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(work);
}

async fn take_and_free(at: usize, stream: TcpStream, stop: Arc<AtomicBool>, pairs: Arc<AtomicU64>) {
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let take = query(&format!("SELECT GET_LOCK('own{at}', 10)"));
    let free = query(&format!("SELECT RELEASE_LOCK('own{at}')"));
    while !stop.load(Ordering::Relaxed) {
        ask(&mut stream, &take).await;
        ask(&mut stream, &free).await;
        pairs.fetch_add(1, Ordering::Relaxed);
    }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = payload.len().to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

fn query(sql: &str) -> Vec<u8> {
    packet(0, &[b"\x03", sql.as_bytes()].concat())
}

fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).unwrap();
    payload
}

/// Logs in as root without a password.
fn log_in(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    read_packet(&mut stream);
    let capabilities: u32 = 1 << 9 | 1 << 15 | 1 << 19;
    let mut login = capabilities.to_le_bytes().to_vec();
    login.extend([0, 0, 0, 1, 45]);
    login.extend([0; 23]);
    login.extend(b"root\0\0mysql_native_password\0");
    stream.write_all(&packet(1, &login)).unwrap();
    let mut next = read_packet(&mut stream);
    if next[0] == 0xFE {
        stream.write_all(&packet(3, b"")).unwrap();
        next = read_packet(&mut stream);
    }
    assert_eq!(next[0], 0, "{}", String::from_utf8_lossy(&next));
    stream
}

/// Sends a query and reads its one row; the reply must be 1.
async fn ask(stream: &mut tokio::net::TcpStream, query: &[u8]) {
    stream.write_all(query).await.unwrap();
    let mut reply = Vec::new();
    let mut space = [0; 512];
    // Five packets: count, column, end, row, end.
    while packets(&reply) < 5 {
        let read = stream.read(&mut space).await.unwrap();
        assert!(read > 0, "the server has gone");
        reply.extend_from_slice(&space[..read]);
    }
    assert!(reply.windows(2).any(|bytes| bytes == b"\x011"), "it was not granted");
}

fn packets(mut reply: &[u8]) -> usize {
    let mut count = 0;
    while let [a, b, c, _, rest @ ..] = reply {
        let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        if rest.len() < length {
            break;
        }
        reply = &rest[length..];
        count += 1;
    }
    count
}

fn compare(peers: &[Peer], clients: Clients) {
    let mut micros = vec![Vec::new(); peers.len()];
    for _ in 0..ROUNDS {
        for (peer, micros) in peers.iter().zip(&mut micros) {
            micros.push(peer.load(clients));
        }
    }
    println!("CPU of the server, us a pair; {CONNECTIONS} connections, clients: {clients:?}");
    let mut medians = Vec::new();
    for (peer, micros) in peers.iter().zip(micros) {
        let (median, least, most) = median(micros);
        println!("  {:<9} median {median:6.2}   from {least:6.2} to {most:6.2}", peer.name);
        medians.push(median);
    }
    if let [ours, theirs] = medians[..] {
        println!("  ratio {:.2}", ours / theirs);
    }
}

fn main() {
    if common::is_only_asked() {
        return;
    }
    let peers: Vec<Peer> = [Some(Peer::getlockd()), Peer::mariadb()].into_iter().flatten().collect();
    for clients in [Clients::EventLoop, Clients::Threads] {
        compare(&peers, clients);
    }
    for peer in &peers {
        let before = peer.server.memory();
        let idle: Vec<_> = (0..IDLE).map(|_| log_in(peer.port)).collect();
        let bytes = peer.server.memory().saturating_sub(before) / IDLE;
        println!("memory of an idle connection, {:<9} {bytes} bytes ({IDLE} logged in)", peer.name);
        drop(idle);
    }
}
