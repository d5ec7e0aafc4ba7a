//! `cargo bench --bench users`: what it costs that the server has users: CPU time of the server for a
//! pair of GET_LOCK and RELEASE_LOCK, and memory of an idle connection, with a file of users and
//! without. In turns, in one run.
//!
//! Needs Linux. What was measured stands in benches/README.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod common;

use std::io::{Read, Write};

use common::{
    Server,
    line::{LINE, Line},
    load::{Load, Wire},
    median,
    mysql::{self, MYSQL},
};

const ROUNDS: usize = 9;

/// Idle connections, after the first ones.
const IDLE: (usize, usize) = (100, 10_000);

const USERS: [&str; 2] = ["--users", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/users.toml")];

const LINE_AS_ROOT: Wire = Wire {
    log_in: |stream| {
        stream.write_all(b"AUTH root sesame\n").unwrap();
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"1\n");
    },
    ..LINE
};

const MYSQL_AS_ROOT: Wire = Wire { log_in: mysql::log_in_as_root, ..MYSQL };

fn main() {
    if common::is_only_asked() {
        return;
    }
    common::open_many_files();
    let (open, open_line, open_mysql) = common::getlockd(&[]);
    let (users, line, mysql) = common::getlockd(&USERS);
    println!("CPU of the server with users to that without, medians of {ROUNDS} rounds in turns\n");
    println!("connections  depth  line                     MySQL");
    for (connections, depth) in [(1, 1), (32, 1), (256, 1), (32, 16), (32, 128)] {
        let load = Load { connections, depth, one_name: false, threads: false };
        let ratio = |open_wire: &Wire, open_port, wire: &Wire, port| {
            let turn = |_| load.put(wire, &users, port).micros / load.put(open_wire, &open, open_port).micros;
            let (ratio, least, most) = median((0..ROUNDS).map(turn).collect());
            format!("{ratio:.2} ({least:.2} to {most:.2})")
        };
        let by_line = ratio(&LINE, open_line, &LINE_AS_ROOT, line);
        let by_mysql = ratio(&MYSQL, open_mysql, &MYSQL_AS_ROOT, mysql);
        println!("{connections:>11}  {depth:>5}  {by_line:<23}  {by_mysql}");
    }
    println!(
        "\nbytes of an idle line connection: without {}, with {}",
        idle(&[], "PING"),
        idle(&USERS, AUTH)
    );
}

const AUTH: &str = "AUTH root sesame";

/// Of a connection that has said this and is silent.
fn idle(flags: &[&str], first: &str) -> usize {
    let (server, port) = Server::getlockd("line", flags);
    let mut all: Vec<Line> = Vec::new();
    let mut open = |count| {
        all.extend((0..count).map(|_| {
            let mut line = Line::connect(port);
            line.ask(first);
            line
        }));
        server.memory()
    };
    let (before, after) = (open(IDLE.0), open(IDLE.1));
    after.saturating_sub(before) / IDLE.1
}
