//! `cargo bench --bench growth`: whether the server's CPU for a pair of GET_LOCK and RELEASE_LOCK grows
//! with the locks that others hold, or with the connections that are open; and what connections cost
//! that do nothing.
//!
//! Needs Linux, and 20,000 open files. What was measured stands in benches/README.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod common;

use std::{net::TcpStream, thread, time::Duration};

use common::{Server, line::Line, median, traffic::Traffic};

/// Connections that work at a time, and pairs that each sends at once.
const HANDS: usize = 32;
const DEPTH: usize = 16;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(1);

const HELD: [usize; 3] = [1_000, 100_000, 1_000_000];
/// Of each session that holds.
const HOLDS: usize = 100_000;

const OPEN: [usize; 2] = [1_000, 15_000];
const IDLE: Duration = Duration::from_secs(5);

fn main() {
    if common::is_only_asked() {
        return;
    }
    common::open_many_files();
    println!("CPU of the server, us a pair; {HANDS} connections at work, depth {DEPTH}");
    println!("medians of {ROUNDS} rounds in turns; ratio to the first line of each part (least to most)\n");
    by_locks();
    by_connections();
}

/// A server, and connections that work.
struct Loaded {
    server: Server,
    streams: Vec<TcpStream>,
    /// Connections that only hold locks.
    _holders: Vec<Line>,
}

impl Loaded {
    fn new(held: usize, open: usize) -> Self {
        let (server, port) = Server::getlockd("line", &[]);
        let mut holders = Line::many(port, held.div_ceil(HOLDS));
        for (at, holder) in holders.iter_mut().enumerate() {
            holder.hold("held", at * HOLDS..held.min((at + 1) * HOLDS));
        }
        let streams = Line::many(port, open).into_iter().map(Line::into_stream).collect();
        Self { server, streams, _holders: holders }
    }

    /// The cost of a pair while so many of its connections take turns.
    fn cost(&mut self, of: usize) -> f64 {
        let traffic = Traffic::start(self.streams.drain(..of).collect(), HANDS, DEPTH);
        let cost = traffic.cost(&self.server, TIME);
        self.streams.extend(traffic.stop());
        cost
    }
}

fn by_locks() {
    let mut servers = HELD.map(|held| Loaded::new(held, HANDS));
    let lines = HELD.map(|held| format!("{held} locks held by others"));
    let rounds = (0..ROUNDS).map(|_| servers.iter_mut().map(|server| server.cost(HANDS)).collect());
    compare(&lines, &rounds.collect::<Vec<_>>());
}

fn by_connections() {
    let mut servers = OPEN.map(|open| Loaded::new(0, open));
    let few = OPEN.map(|open| format!("{open} connections open, {HANDS} work"));
    let all = OPEN.map(|open| format!("{open} connections open, all work in turn"));
    let rounds: Vec<Vec<_>> = (0..ROUNDS)
        .map(|_| {
            let few: Vec<_> = servers.iter_mut().map(|server| server.cost(HANDS)).collect();
            let all = servers.iter_mut().zip(OPEN).map(|(server, open)| server.cost(open));
            few.into_iter().chain(all).collect()
        })
        .collect();
    compare(&[few, all].concat(), &rounds);
    idle(&servers[1].server);
}

/// `rounds` have a cost for each of `lines`.
fn compare(lines: &[String], rounds: &[Vec<f64>]) {
    for (at, line) in lines.iter().enumerate() {
        let (cost, _, _) = median(rounds.iter().map(|round| round[at]).collect());
        let (ratio, least, most) = median(rounds.iter().map(|round| round[at] / round[0]).collect());
        println!("{line:<44} {cost:>6.2}   {ratio:>4.2}  ({least:.2} to {most:.2})");
    }
    println!();
}

fn idle(server: &Server) {
    let (cpu, wake_ups) = (server.cpu(), server.wake_ups());
    thread::sleep(IDLE);
    let (cpu, wake_ups) = (server.cpu().saturating_sub(cpu), server.wake_ups() - wake_ups);
    println!("{} connections idle for {IDLE:?}: {cpu:?} of CPU, {wake_ups} wake-ups", OPEN[1]);
}
