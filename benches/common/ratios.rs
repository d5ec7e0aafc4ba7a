//! CPU time of the server for a pair on the line wire and the MySQL wire, as ratios to the floor: an epoll
//! loop that answers lines without looking at them. In turns, in one run.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    process::Command,
};

use mio::{Events, Interest, Poll, Token, net::TcpListener};

use super::{Server, free_port, line::LINE, load::Load, median, mysql::MYSQL};

const ROUNDS: usize = 5;

const fn load(connections: usize, depth: usize, one_name: bool) -> Load {
    Load { connections, depth, one_name, threads: false }
}

/// On one name only at depth 1: deeper, a connection's second pair would wait for the others' first.
const LOADS: [Load; 15] = [
    load(1, 1, false),
    load(32, 1, false),
    load(256, 1, false),
    load(1, 16, false),
    load(32, 16, false),
    load(256, 16, false),
    load(1, 32, false),
    load(32, 32, false),
    load(256, 32, false),
    load(1, 128, false),
    load(32, 128, false),
    load(256, 128, false),
    load(1, 1, true),
    load(32, 1, true),
    load(256, 1, true),
];

/// The floor: as many `1` as lines came.
fn floor(port: u16) -> ! {
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

/// The servers and their ports.
struct Bench {
    floor: (Server, u16),
    getlockd: (Server, u16, u16),
}

/// Microseconds of one turn.
struct Turn {
    floor: f64,
    line: f64,
    mysql: f64,
    /// The floor at one connection: on one name each pair wakes the next of the queue, and a single
    /// connection is woken for each reply too.
    one: f64,
}

impl Bench {
    fn start() -> Self {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("FLOOR", port.to_string());
        Self { floor: (Server::start(command, port), port), getlockd: super::getlockd(&[]) }
    }

    fn turn(&self, load: Load) -> Turn {
        let floor = |load: Load| load.put(&LINE, &self.floor.0, self.floor.1).micros;
        let (getlockd, line, mysql) = &self.getlockd;
        Turn {
            floor: floor(load),
            line: load.put(&LINE, getlockd, *line).micros,
            mysql: load.put(&MYSQL, getlockd, *mysql).micros,
            one: if load.one_name { floor(Load { connections: 1, ..load }) } else { f64::NAN },
        }
    }
}

fn show(load: Load, turns: &[Turn]) {
    let micros = |of: fn(&Turn) -> f64| median(turns.iter().map(of).collect()).0;
    let ratio = |of: fn(&Turn) -> f64| {
        let (ratio, least, most) = median(turns.iter().map(of).collect());
        format!("{ratio:6.2} ({least:.2} to {most:.2})")
    };
    let names = if load.one_name { "one" } else { "own" };
    print!("{:>11}  {:>5}  {names:<5} {:>6.2}", load.connections, load.depth, micros(|turn| turn.floor));
    print!("  {:>6.2} {:<24}", micros(|turn| turn.line), ratio(|turn| turn.line / turn.floor));
    println!("  {:>6.2} {}", micros(|turn| turn.mysql), ratio(|turn| turn.mysql / turn.floor));
    if load.one_name {
        print!("{:>26} of the floor at 1 connection: line", "");
        println!("{}, MySQL{}", ratio(|turn| turn.line / turn.one), ratio(|turn| turn.mysql / turn.one));
    }
}

/// The floor is the bench's own program: becomes it where it was started as that.
pub fn become_floor_if_told() {
    if let Some(port) = std::env::var("FLOOR").ok().and_then(|port| port.parse().ok()) {
        floor(port);
    }
}

/// Measures and prints all of it.
pub fn print() {
    let bench = Bench::start();
    println!("CPU of the server, us a pair, medians of {ROUNDS} rounds in turns; ratios to the floor");
    println!("connections  depth  names  floor    line  ratio                    MySQL  ratio");
    for load in LOADS {
        let turns: Vec<_> = (0..ROUNDS).map(|_| bench.turn(load)).collect();
        show(load, &turns);
    }
}
