//! `cargo bench --bench cluster`: what it costs that servers form a cluster. The leader's CPU for a pair beside that of
//! a server alone; a relay's CPU for a round trip beside that of a bare epoll relay; the memory of a relayed connection;
//! 32 clients that take and free durable leases beside a bare loop of grouped transactions on the same etcd; how long a
//! hand-over takes with 100,000 leases. Ratios are of turns in one run.
//!
//! `-- leader`, `-- relay`, `-- idle`, `-- leases` and `-- restore` take only that part. etcd keeps its files in
//! the folder of temporary files, `TMPDIR`, which must be on a disk.
//!
//! Needs Linux and etcd. What the goals are and what was measured stands in benches/README.md.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people"
)]

#[path = "cluster/bare.rs"]
mod bare;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/common/mod.rs"]
mod clients;
mod common;
#[path = "cluster/nodes.rs"]
mod nodes;
#[allow(dead_code, reason = "the bench of the store uses the rest")]
#[path = "store/pairs.rs"]
mod pairs;
#[path = "cluster/relay.rs"]
mod relay;

use std::time::{Duration, Instant};

use clients::etcd::Etcd;
use common::{
    Server,
    line::{LINE, Line},
    load::Load,
    median,
};
use nodes::cluster;
use pairs::{Grpc, HEADS, Http, Round, goal, take_many};
use tokio::runtime::Runtime;

const ETCDS: usize = 3;
const ROUNDS: usize = 9;
/// Of leases: what a round shows depends on the disk.
const LEASE_ROUNDS: usize = 5;
const CLIENTS: usize = 32;
const IDLE: (usize, usize) = (100, 5_000);
const LEASES: usize = 100_000;

/// What the goals allow.
const MOST_LEADER: f64 = 1.03;
const MOST_RELAY: f64 = 1.15;
const MOST_IDLE: usize = 1_500;
const MOST_RESTORE: Duration = Duration::from_secs(2);

fn main() {
    relay::become_relay_if_told();
    if common::is_only_asked() {
        return;
    }
    common::open_many_files();
    let Some(etcd) = Etcd::start(ETCDS) else { return };
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts = [
        ("leader", leader as fn(&Etcd)),
        ("relay", relayed),
        ("idle", idle),
        ("leases", leases),
        ("restore", restore),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part(&etcd);
        }
    }
}

const fn load(connections: usize, depth: usize) -> Load {
    Load { connections, depth, one_name: false, threads: false }
}

const LOADS: [Load; 4] = [load(1, 1), load(32, 1), load(256, 1), load(32, 32)];

/// CPU for a pair of one server to that of another, in turns.
fn beside((ours, our_port): (&Server, u16), (theirs, their_port): (&Server, u16), most: f64) {
    println!("connections  depth  us a pair   of                 ratio");
    for load in LOADS {
        let turn = |_| {
            let (ours, theirs) = (load.put(&LINE, ours, our_port), load.put(&LINE, theirs, their_port));
            (ours.micros, theirs.micros)
        };
        let turns: Vec<(f64, f64)> = (0..ROUNDS).map(turn).collect();
        let ours = median(turns.iter().map(|turn| turn.0).collect()).0;
        let theirs = median(turns.iter().map(|turn| turn.1).collect()).0;
        let (ratio, least, highest) = median(turns.iter().map(|(ours, theirs)| ours / theirs).collect());
        println!(
            "{:>11}  {:>5}  {ours:>9.2}  {theirs:>9.2}  {ratio:>10.2} ({least:.2} to {highest:.2})  {}",
            load.connections,
            load.depth,
            goal(ratio <= most)
        );
    }
}

fn leader(etcd: &Etcd) {
    println!(
        "\nCPU of a leader for a pair, of a server alone; medians of {ROUNDS} rounds in turns (least to most)\n"
    );
    let nodes = cluster(etcd, "leader", 1, &[]);
    let (alone, port) = Server::getlockd("line", &[]);
    beside((&nodes[0].server, nodes[0].line), (&alone, port), MOST_LEADER);
}

fn relayed(etcd: &Etcd) {
    println!(
        "\nCPU of a relay for a pair, of a bare relay; medians of {ROUNDS} rounds in turns (least to most)\n"
    );
    let nodes = cluster(etcd, "relay", 2, &[]);
    let (bare, port) = relay::start(nodes[0].line);
    beside((&nodes[1].server, nodes[1].line), (&bare, port), MOST_RELAY);
}

/// Of a connection that has said PING: in the relay, in its leader, and in a server alone.
fn idle(etcd: &Etcd) {
    let nodes = cluster(etcd, "idle", 2, &[]);
    let (alone, port) = Server::getlockd("line", &[]);
    let grown = |servers: &[&Server], port| {
        let first = Line::many(port, IDLE.0);
        let before: Vec<_> = servers.iter().map(|server| server.memory()).collect();
        let all = Line::many(port, IDLE.1);
        let bytes = |(server, before): (&&Server, usize)| server.memory().saturating_sub(before) / all.len();
        let grown: Vec<_> = servers.iter().zip(before).map(bytes).collect();
        drop(first);
        grown
    };
    let by_relay = grown(&[&nodes[1].server, &nodes[0].server], nodes[1].line);
    let own = grown(&[&alone], port);
    println!("\nresident memory, bytes of an idle connection, of {}\n", IDLE.1);
    println!("in a relay              {:>6}  {}", by_relay[0], goal(by_relay[0] <= MOST_IDLE));
    println!("in its leader           {:>6}", by_relay[1]);
    println!("in a server alone       {:>6}", own[0]);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What one way of taking leases has shown.
struct Row<'a> {
    name: &'static str,
    work: Box<dyn Fn(&Runtime) -> Round + 'a>,
    rounds: Vec<Round>,
}

impl<'a> Row<'a> {
    fn of(name: &'static str, work: impl Fn(&Runtime) -> Round + 'a) -> Self {
        Self { name, work: Box::new(work), rounds: Vec::new() }
    }
}

fn leases(etcd: &Etcd) {
    let runtime = runtime();
    let nodes = cluster(etcd, "leases", 1, &["--max-leases", "200000"]);
    let port = nodes[0].http;
    let bare = runtime.block_on(bare::Loop::start(etcd.members[0].addr.port()));
    let own = |at: usize| format!("own{at}");
    let mut rows = [
        Row::of("bare grouped transactions", |runtime| {
            runtime.block_on(Round::of(CLIENTS, async |_| bare.client()))
        }),
        Row::of("HTTP", |runtime| {
            runtime.block_on(Round::of(CLIENTS, async |at| Http::connect(port, own(at)).await))
        }),
        Row::of("gRPC", |runtime| {
            runtime.block_on(Round::of(CLIENTS, async |at| Grpc::connect(port, own(at)).await))
        }),
    ];
    for _ in 0..LEASE_ROUNDS {
        for row in &mut rows {
            let round = (row.work)(&runtime);
            row.rounds.push(round);
        }
    }
    println!(
        "\n{CLIENTS} clients, each takes and frees a durable lease; medians of {LEASE_ROUNDS} rounds in turns (least to most)\n"
    );
    println!("{HEADS}");
    for row in &rows {
        println!("{}", pairs::row(row.name, &row.rounds));
    }
    println!();
    let [bare, others @ ..] = &rows;
    for row in others {
        println!("{}", pairs::beside(row.name, &row.rounds, &bare.rounds));
    }
}

/// From SIGTERM of the leader to the first grant by the other node, with nothing to drain.
fn restore(etcd: &Etcd) {
    let flags = ["--max-leases", "200000", "--drain", "0"];
    println!(
        "\nfrom SIGTERM of the leader to the first grant of the next, ms; medians of {LEASE_ROUNDS} (least to most)\n"
    );
    for (what, prefix, count) in [("no lease", "restore-none", 0), ("100,000 leases", "restore", LEASES)] {
        let mut nodes = cluster(etcd, prefix, 2, &flags);
        runtime().block_on(take_many(nodes[0].http, count));
        let mut took = Vec::new();
        for _ in 0..LEASE_ROUNDS {
            nodes[0].server.ask_to_end();
            let since = Instant::now();
            nodes[1].until_it_serves();
            took.push(since.elapsed().as_secs_f64() * 1e3);
            nodes[0].again();
            nodes.swap(0, 1);
        }
        let (middle, least, most) = median(took);
        let is_met = middle <= MOST_RESTORE.as_secs_f64() * 1e3;
        println!("{what:<16} {middle:>8.0} ({least:.0} to {most:.0})  {}", goal(is_met));
    }
}
