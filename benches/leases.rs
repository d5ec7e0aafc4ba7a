//! `cargo bench --bench leases`: ten thousand leases with a second to live and a heartbeat each 300 ms,
//! for a minute, over HTTP; then no heartbeats. How many end too early, and how late the others end;
//! CPU and memory of the server.
//!
//! Needs Linux.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{
    Server, free_port,
    http::{self, Http},
};

const CONNECTIONS: usize = 50;
const LEASES: usize = 200;
const TTL_MS: u64 = 1_000;
const BEAT: Duration = Duration::from_millis(300);
const TIME: Duration = Duration::from_mins(1);

/// How many locks are held.
fn locks(line: u16) -> usize {
    let mut line = BufReader::new(TcpStream::connect(("127.0.0.1", line)).unwrap());
    line.get_mut().write_all(b"STATS\n").unwrap();
    let mut stats = String::new();
    line.read_line(&mut stats).unwrap();
    stats.split_once("locks=").unwrap().1.split(' ').next().unwrap().parse().unwrap()
}

/// Takes its leases and keeps them for the time: how many were found gone.
fn keep(at: usize, port: u16) -> usize {
    let mut client = Http::connect(port);
    let name = |lease: usize| format!("lease-{at}-{lease}");
    let take = |lease| ("acquire", format!(r#"{{"resourceName":"{}","ttlMs":{TTL_MS}}}"#, name(lease)));
    let taken = client.ask(&(0..LEASES).map(take).collect::<Vec<_>>());
    let beat = |(lease, reply): (usize, &String)| {
        (
            "heartbeat",
            format!(r#"{{"resourceName":"{}","lockToken":"{}"}}"#, name(lease), http::lock_token(reply)),
        )
    };
    let beats: Vec<_> = taken.iter().enumerate().map(beat).collect();
    let (start, mut gone) = (Instant::now(), 0);
    let mut next = start + BEAT * u32::try_from(at).unwrap() / u32::try_from(CONNECTIONS).unwrap();
    while start.elapsed() < TIME {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        gone += client.ask(&beats).iter().filter(|reply| !reply.contains("HeartbeatReceived")).count();
        next += BEAT;
    }
    gone
}

fn main() {
    if common::is_only_asked() {
        return;
    }
    let (line, port) = (free_port(), free_port());
    let mut command = Command::new(common::GETLOCKD);
    let at = |port: u16| format!("127.0.0.1:{port}");
    command.args(["--mysql", "off", "--line", &at(line), "--http", &at(port)]);
    let server = Server::start(command, port);
    let empty = server.memory();
    let clients: Vec<_> =
        (0..CONNECTIONS).map(|at| thread::spawn(move || (keep(at, port), Instant::now()))).collect();
    thread::sleep(TIME / 2);
    let (memory, cpu) = (server.memory() - empty, server.cpu());
    thread::sleep(TIME / 4);
    let used = server.cpu().saturating_sub(cpu).as_secs_f64() / (TIME / 4).as_secs_f64();
    let ended: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let gone: usize = ended.iter().map(|(gone, _)| gone).sum();
    let last = ended.iter().map(|(_, last)| *last).max().unwrap();
    while locks(line) > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let late = last.elapsed().saturating_sub(Duration::from_millis(TTL_MS));
    println!("{} leases of {TTL_MS} ms, a heartbeat each {BEAT:?}, {TIME:?}", CONNECTIONS * LEASES);
    println!("  ended too early: {gone}");
    println!("  the last was gone {late:?} after its end");
    println!("  server: {:.0} % of one core, {} kB more than without leases", 100.0 * used, memory / 1024);
}
