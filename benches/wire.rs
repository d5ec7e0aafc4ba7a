//! `cargo bench --bench wire`: CPU time of the server for a pair of GET_LOCK and RELEASE_LOCK on the
//! line wire, as a ratio to the floor: an epoll loop that answers lines without looking at them. In
//! turns, in one run.
//!
//! Needs Linux. What the goals are and what was measured stands in benches/README.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod common;

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Server, free_port, median};
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_millis(800);

/// Connections, pairs that each sends at once, and whether all want one name.
const LOADS: [(usize, usize, bool); 12] = [
    (1, 1, false),
    (32, 1, false),
    (256, 1, false),
    (1, 16, false),
    (32, 16, false),
    (32, 32, false),
    (256, 16, false),
    (1, 128, false),
    (32, 128, false),
    (1, 1, true),
    (32, 1, true),
    (256, 1, true),
];

/// The floor: as many `1` as lines came.
fn floor(port: u16) {
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into()).unwrap();
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
    let (mut events, mut streams, mut last) = (Events::with_capacity(1024), HashMap::new(), 0);
    let mut space = vec![0; 16 * 1024];
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    last += 1;
                    stream.set_nodelay(true).unwrap();
                    poll.registry().register(&mut stream, Token(last), Interest::READABLE).unwrap();
                    streams.insert(Token(last), stream);
                }
            } else if streams.get_mut(&event.token()).is_some_and(|stream| !answer(stream, &mut space)) {
                streams.remove(&event.token());
            }
        }
    }
}

/// False at the end of the stream.
fn answer(stream: &mut mio::net::TcpStream, space: &mut [u8]) -> bool {
    loop {
        match stream.read(space) {
            Ok(0) => return false,
            Ok(read) => {
                let lines = space[..read].iter().filter(|c| **c == b'\n').count();
                stream.write_all("1\n".repeat(lines).as_bytes()).unwrap();
                if read < space.len() {
                    return true;
                }
            }
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// CPU time in microseconds for a pair.
fn load(server: &Server, port: u16, (connections, depth, one_name): (usize, usize, bool)) -> f64 {
    let (stop, pairs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = {
        let (stop, pairs) = (stop.clone(), pairs.clone());
        thread::spawn(move || {
            let work = async {
                let mut all = JoinSet::new();
                for at in 0..connections {
                    let name = if one_name { "one".to_owned() } else { format!("own{at}") };
                    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    all.spawn(take_and_free(stream, name, depth, stop.clone(), pairs.clone()));
                }
                all.join_all().await;
            };
            tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(work);
        })
    };
    while pairs.load(Ordering::Relaxed) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let (cpu, before) = (server.cpu(), pairs.load(Ordering::Relaxed));
    thread::sleep(TIME);
    let (cpu, after) = (server.cpu().saturating_sub(cpu), pairs.load(Ordering::Relaxed));
    stop.store(true, Ordering::Relaxed);
    client.join().unwrap();
    #[expect(clippy::cast_precision_loss)]
    let done = (after - before) as f64;
    cpu.as_secs_f64() * 1e6 / done
}

async fn take_and_free(
    mut stream: TcpStream,
    name: String,
    depth: usize,
    stop: Arc<AtomicBool>,
    pairs: Arc<AtomicU64>,
) {
    stream.set_nodelay(true).unwrap();
    let (take, free) = (format!("GET_LOCK {name} 60\n"), format!("RELEASE_LOCK {name}\n"));
    // At depth 1 it works while it has the lock: each command waits for its reply.
    let bursts = if depth == 1 { vec![take, free] } else { vec![[take, free].concat().repeat(depth)] };
    while !stop.load(Ordering::Relaxed) {
        for burst in &bursts {
            let wanted = "1\n".repeat(burst.lines().count());
            let mut reply = vec![0; wanted.len()];
            stream.write_all(burst.as_bytes()).await.unwrap();
            stream.read_exact(&mut reply).await.unwrap();
            assert_eq!(reply, wanted.as_bytes());
        }
        pairs.fetch_add(depth as u64, Ordering::Relaxed);
    }
}

fn main() {
    if let Some(port) = std::env::var("FLOOR").ok().and_then(|port| port.parse().ok()) {
        return floor(port);
    }
    if common::is_only_asked() {
        return;
    }
    let (ours, theirs) = (free_port(), free_port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_getlockd"));
    command.args(["--mysql", "off", "--http", "off", "--line", &format!("127.0.0.1:{ours}")]);
    let server = Server::start(command, ours);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("FLOOR", theirs.to_string());
    let floor = Server::start(command, theirs);
    println!("CPU of the server, us a pair, medians of {ROUNDS} rounds in turns");
    println!("connections  depth  names    floor  getlockd  ratio");
    for one in LOADS {
        let rounds: Vec<_> =
            (0..ROUNDS).map(|_| (load(&floor, theirs, one), load(&server, ours, one))).collect();
        let (floor, _, _) = median(rounds.iter().map(|round| round.0).collect());
        let (server, _, _) = median(rounds.iter().map(|round| round.1).collect());
        let ratio = median(rounds.iter().map(|round| round.1 / round.0).collect());
        let (connections, depth, one_name) = one;
        let names = if one_name { "one" } else { "own" };
        println!(
            "{connections:>11}  {depth:>5}  {names:<5}  {floor:>6.2}  {server:>8.2}  {:>5.2}  ({:.2} to {:.2})",
            ratio.0, ratio.1, ratio.2
        );
    }
}
