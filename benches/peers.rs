//! `cargo bench --bench peers`: CPU time of the server for a pair of taking a lock and freeing it, beside
//! what else people use, on the same load, in turns in one run; and memory of an idle connection beside
//! MariaDB's.
//!
//! `cargo bench --bench peers -- etcd` takes only those that are named.
//!
//! Needs Linux. Starts each peer itself, on a free port and in a folder of its own; names those that are
//! not installed.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people"
)]

mod common;
#[path = "peers/etcd.rs"]
mod etcd;
#[path = "peers/mariadb.rs"]
mod mariadb;
#[path = "peers/postgres.rs"]
mod postgres;
#[path = "peers/redis.rs"]
mod redis;

use std::{ffi::OsStr, net::TcpStream, process::Command};

use common::{
    Server,
    line::LINE,
    load::{Clients, Cost, Load},
    median, mysql,
};

const ROUNDS: usize = 5;
const IDLE: usize = 2_000;

const fn load(depth: usize, one_name: bool) -> Load {
    Load { connections: 32, depth, one_name, threads: false }
}

const LOADS: &[Load] = &[load(1, false), load(32, false), load(1, true)];
const LINE_ONLY: &[Ours] = &[Ours::Line];

type Start = fn() -> Option<Peer>;

const PEERS: [(&str, Start); 4] = [
    ("Redis", redis::start),
    ("MariaDB", mariadb::start),
    ("PostgreSQL", postgres::start),
    ("etcd", etcd::start),
];

struct Peer {
    version: String,
    server: Server,
    port: u16,
    ways: &'static [Way],
    _folder: tempfile::TempDir,
}

/// How one locks with a peer.
struct Way {
    does: &'static str,
    /// Of what getlockd gives; and what this gives more.
    gives_up: &'static str,
    clients: &'static dyn Clients,
    loads: &'static [Load],
    beside: &'static [Ours],
}

/// The wires of getlockd.
#[derive(Clone, Copy, Debug)]
enum Ours {
    Line,
    Mysql,
}

struct Getlockd {
    server: Server,
    line: u16,
    mysql: u16,
}

impl Getlockd {
    fn start() -> Self {
        let (server, line, mysql) = common::getlockd(&[]);
        Self { server, line, mysql }
    }

    fn cost(&self, wire: Ours, load: Load) -> Cost {
        match wire {
            Ours::Line => load.put(&LINE, &self.server, self.line),
            Ours::Mysql => load.put(&mysql::MYSQL, &self.server, self.mysql),
        }
    }
}

/// What a program says of itself; None where it is not installed.
fn version(program: impl AsRef<OsStr>) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

fn compare(peer: &Peer, way: &Way, getlockd: &Getlockd) {
    println!("  {}\n  gives up: {}", way.does, way.gives_up);
    for &load in way.loads {
        let (mut theirs, mut ours) = (Vec::new(), vec![Vec::new(); way.beside.len()]);
        for _ in 0..ROUNDS {
            theirs.push(load.put(way.clients, &peer.server, peer.port));
            for (wire, ours) in way.beside.iter().zip(&mut ours) {
                ours.push(getlockd.cost(*wire, load));
            }
        }
        let names = if load.one_name { "one name" } else { "own names" };
        println!("    {} connections, depth {}, {names}", load.connections, load.depth);
        show("peer", &theirs);
        for (wire, ours) in way.beside.iter().zip(&ours) {
            show(&format!("{wire:?}"), ours);
            let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.micros / theirs.micros);
            let (ratio, least, most) = median(ratios.collect());
            println!("      {:<6} ratio {ratio:.3} ({least:.3} to {most:.3})", "");
        }
    }
}

fn show(who: &str, costs: &[Cost]) {
    let (micros, least, most) = median(costs.iter().map(|cost| cost.micros).collect());
    let (speed, ..) = median(costs.iter().map(|cost| cost.pairs_a_second).collect());
    let (busiest, ..) = median(costs.iter().map(|cost| 100.0 * cost.busiest).collect());
    println!(
        "      {who:<6} {micros:8.2} us ({least:.2} to {most:.2}), {speed:7.0} pairs a second, \
         {busiest:4.1} % by one connection"
    );
}

/// Of an idle connection that has logged in over the MySQL wire, in bytes.
fn memory(server: &Server, port: u16) -> usize {
    let before = server.memory();
    let idle = (0..IDLE).map(|_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        mysql::log_in(&mut stream);
        stream
    });
    let idle: Vec<_> = idle.collect();
    let bytes = server.memory().saturating_sub(before) / idle.len();
    drop(idle);
    bytes
}

fn main() {
    if common::is_only_asked() {
        return;
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    println!("CPU of the server, us a pair, medians of {ROUNDS} rounds in turns (least to most)");
    for (name, start) in PEERS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) {
            continue;
        }
        let Some(peer) = start() else {
            println!("{name}: not installed");
            continue;
        };
        println!("{name}: {}", peer.version);
        let getlockd = Getlockd::start();
        // Before a load, which leaves memory that they could use again.
        if name == "MariaDB" {
            let (theirs, ours) = (memory(&peer.server, peer.port), memory(&getlockd.server, getlockd.mysql));
            println!("  memory of each of {IDLE} idle connections: {theirs} bytes, getlockd {ours}");
        }
        for way in peer.ways {
            compare(&peer, way, &getlockd);
        }
    }
}
