//! `cargo bench --bench store`: what it costs that leases outlive the server. 32 clients that take and free durable
//! leases, beside a bare loop of grouped commits on the same disk, in turns in one run; how long a start with 100,000
//! leases takes; memory of each.
//!
//! `-- rate`, `-- restore` and `-- memory` take only that part. The files are made below the folder that `STORE_FOLDER`
//! names, or else in the build's own, which must be on a disk.
//!
//! Needs Linux. What the goals are and what was measured stands in benches/README.md.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people"
)]

#[path = "store/bare.rs"]
mod bare;
mod common;
#[path = "store/pairs.rs"]
mod pairs;

use std::{
    fs::File,
    io::{Seek, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use common::{Server, median};
use pairs::{Client, Grpc, HEADS, Http, Round, goal, take_many};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const ROUNDS: usize = 5;
const CLIENTS: usize = 32;
const SYNCS: usize = 201;

const LEASES: usize = 100_000;

/// What the goals allow a start to take, in milliseconds.
const MOST_START: f64 = 1_000.0;

/// How long a server may take to end.
const END: Duration = Duration::from_mins(1);

fn main() {
    if common::is_only_asked() {
        return;
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in [("rate", rate as fn()), ("restore", restore), ("memory", memory)] {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}

/// A folder for a store, which goes with it.
fn folder() -> TempDir {
    let base = std::env::var_os("STORE_FOLDER").map_or(env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    tempfile::tempdir_in(base).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server of HTTP and gRPC, and where it keeps its store, if it has one.
struct Getlockd {
    server: Server,
    port: u16,
    folder: TempDir,
}

impl Getlockd {
    fn start(is_durable: bool) -> Self {
        Self::start_in(folder(), is_durable)
    }

    fn start_in(folder: TempDir, is_durable: bool) -> Self {
        let file = folder.path().join("leases").display().to_string();
        let mut flags = vec!["--max-leases", "200000", "--drain", "0"];
        if is_durable {
            // What is not written is waited for after a crash.
            flags.extend(["--store-grace", "0", "--store", &file]);
        }
        let (server, port) = Server::getlockd("http", &flags);
        Self { server, port, folder }
    }
}

/// Who takes and frees leases, round by round.
struct Row<'a> {
    name: &'static str,
    /// None for the bare loop, which runs in this process.
    server: Option<&'a Server>,
    work: Box<dyn Fn(&Runtime) -> Round + 'a>,
    rounds: Vec<Round>,
    /// Of the server, in microseconds for a pair.
    cpu: Vec<f64>,
}

impl<'a> Row<'a> {
    fn of(name: &'static str, server: Option<&'a Server>, work: impl Fn(&Runtime) -> Round + 'a) -> Self {
        Self { name, server, work: Box::new(work), rounds: Vec::new(), cpu: Vec::new() }
    }

    fn http(name: &'static str, Getlockd { server, port, .. }: &'a Getlockd) -> Self {
        Self::of(name, Some(server), |runtime| {
            runtime.block_on(Round::of(CLIENTS, async |at| Http::connect(*port, own(at)).await))
        })
    }

    fn grpc(name: &'static str, Getlockd { server, port, .. }: &'a Getlockd) -> Self {
        Self::of(name, Some(server), |runtime| {
            runtime.block_on(Round::of(CLIENTS, async |at| Grpc::connect(*port, own(at)).await))
        })
    }

    fn turn(&mut self, runtime: &Runtime) {
        let before = self.server.map(Server::cpu);
        let round = (self.work)(runtime);
        if let (Some(server), Some(before)) = (self.server, before) {
            #[expect(clippy::cast_precision_loss)]
            let pairs = round.all_pairs as f64;
            self.cpu.push(server.cpu().saturating_sub(before).as_secs_f64() * 1e6 / pairs);
        }
        self.rounds.push(round);
    }

    fn show(&self) {
        print!("{}", pairs::row(self.name, &self.rounds));
        if !self.cpu.is_empty() {
            print!("{:>6.0}", median(self.cpu.clone()).0);
        }
        println!();
    }
}

fn own(client: usize) -> String {
    format!("own{client}")
}

/// Pairs of the server beside those of the bare loop.
fn rate() {
    let runtime = runtime();
    let (durable, other) = (Getlockd::start(true), Getlockd::start(false));
    let bare_folder = folder();
    let bare = bare::Loop::start(&bare_folder.path().join("leases"));
    let work = |runtime: &Runtime| runtime.block_on(Round::of(CLIENTS, async |_| bare.client()));
    let mut rows = [
        Row::of("bare grouped commits", None, work),
        Row::http("HTTP, --store", &durable),
        Row::grpc("gRPC, --store", &durable),
        Row::http("HTTP, no store", &other),
        Row::grpc("gRPC, no store", &other),
    ];
    for _ in 0..ROUNDS {
        for row in &mut rows {
            row.turn(&runtime);
        }
    }
    println!(
        "{CLIENTS} clients, each takes and frees a lease of its own; medians of {ROUNDS} rounds in turns (least to most)"
    );
    println!("an fdatasync of 4 kB on this disk: {:.2} ms\n", sync_ms());
    println!("{HEADS}   CPU, us a pair");
    rows.iter().for_each(Row::show);
    println!();
    let [bare, others @ ..] = &rows;
    for row in others {
        println!("{}", pairs::beside(row.name, &row.rounds, &bare.rounds));
    }
}

/// What every commit waits for, at least.
fn sync_ms() -> f64 {
    let folder = folder();
    let mut file = File::create(folder.path().join("file")).unwrap();
    let sync = |_| {
        file.rewind().unwrap();
        file.write_all(&[b'x'; 4096]).unwrap();
        let since = Instant::now();
        file.sync_data().unwrap();
        since.elapsed().as_secs_f64() * 1e3
    };
    median((0..SYNCS).map(sync).collect()).0
}

/// A server that has started.
struct Started {
    getlockd: Getlockd,
    /// From the start of the program to the first grant, and CPU time until then, in milliseconds.
    took: [f64; 2],
}

/// Starts over a store.
fn start(folder: TempDir) -> Started {
    let since = Instant::now();
    let getlockd = Getlockd::start_in(folder, true);
    let took = runtime().block_on(async {
        let mut client = Http::connect(getlockd.port, "first".to_owned()).await;
        client.take().await;
        let took = [since.elapsed(), getlockd.server.cpu()].map(|time| time.as_secs_f64() * 1e3);
        client.free().await;
        took
    });
    Started { getlockd, took }
}

fn restore() {
    let (mut none, mut stopped, mut killed) = (Vec::new(), Vec::new(), Vec::new());
    let mut durable = Getlockd::start(true);
    runtime().block_on(take_many(durable.port, LEASES));
    for _ in 0..ROUNDS {
        none.push(start(folder()).took);
        assert!(durable.server.stop(END).is_some(), "it does not end");
        let mut started = start(durable.folder);
        stopped.push(started.took);
        started.getlockd.server.kill();
        started = start(started.getlockd.folder);
        killed.push(started.took);
        durable = started.getlockd;
    }
    println!(
        "\nfrom the start of the program to its first grant; medians of {ROUNDS} rounds in turns (least to most)\n"
    );
    println!("                                           ms                    CPU ms");
    for (what, times) in [
        ("an empty store", none),
        ("100,000 leases, stopped in good order", stopped),
        ("100,000 leases, killed", killed),
    ] {
        let [took, cpu] = [0, 1].map(|which| median(times.iter().map(|times| times[which]).collect()));
        let tell = |(time, least, most): (f64, f64, f64)| format!("{time:.0} ({least:.0} to {most:.0})");
        println!("{what:<38} {:>20}  {:>20}  {}", tell(took), tell(cpu), goal(took.0 <= MOST_START));
    }
}

/// Of each lease: of a server without a store, of one with a store, and of that when it has started again.
fn memory() {
    let [without, with] = [false, true].map(|is_durable| {
        let getlockd = Getlockd::start(is_durable);
        let empty = getlockd.server.memory();
        runtime().block_on(take_many(getlockd.port, LEASES));
        (getlockd, empty)
    });
    let of = |(getlockd, empty): &(Getlockd, usize)| getlockd.server.memory().saturating_sub(*empty) / LEASES;
    println!("\nresident memory, bytes of each of {LEASES} leases, name of 11 bytes\n");
    println!("without a store        {:>6}", of(&without));
    println!("with a store           {:>6}", of(&with));
    let (Getlockd { mut server, folder, .. }, empty) = with;
    assert!(server.stop(END).is_some(), "it does not end");
    println!("the same, started again{:>6}", of(&(start(folder).getlockd, empty)));
}
