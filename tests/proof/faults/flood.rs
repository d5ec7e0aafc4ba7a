//! More clients than there is room for, and very many slow ones.

use std::{process::Command, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    report,
    speaker::{Addrs, Speaker, Wire},
};
use crate::common::{
    Client, PATIENCE,
    program::{PROGRAM, Program, next_with},
    skip::skip,
};

const PER_WIRE: [Wire; 3] = [Wire::Line, Wire::MySql, Wire::Http];

fn addrs(program: &mut Program) -> Addrs {
    let [mysql, http] = [(); 2].map(|()| program.next_addr());
    Addrs { line: program.addr, mysql, http }
}

/// A server that may open 100 files.
fn cramped() -> (Program, Addrs) {
    let free = "127.0.0.1:0";
    let flags = format!("--line {free} --mysql {free} --http {free} --max-connections 1000");
    let mut command = Command::new("sh");
    let mut program = Program::spawn(command.args(["-c", &format!("ulimit -n 100; exec {PROGRAM} {flags}")]));
    let addrs = addrs(&mut program);
    let ready = next_with(program.log.as_mut().unwrap(), "ready");
    assert!(ready.contains("max_connections=36"), "{ready}");
    (program, addrs)
}

/// `tests/it/process.rs` shows the same of the line wire to the last place.
#[tokio::test]
async fn descriptor_exhaustion_spares_existing_sessions() {
    let (_program, addrs) = cramped();
    for wire in PER_WIRE {
        let mut neighbour = Client::connect(addrs.line).await;
        assert_eq!(neighbour.ask("GET_LOCK kept 0").await, "1");
        let mut waiting = Vec::new();
        for other in Wire::SESSIONS {
            waiting.push(Speaker::asking(other, addrs.of(other), "kept").await);
            while neighbour.list("WAITERS kept").await.len() < waiting.len() {}
        }
        let mut flood = Vec::new();
        for _ in 0..300 {
            flood.push(TcpStream::connect(addrs.of(wire)).await.unwrap());
        }
        let asked = Instant::now();
        assert_eq!(neighbour.ask("RELEASE_LOCK kept").await, "1");
        for waiter in waiting {
            let (is_granted, waiter) = waiter.granted().await;
            assert!(is_granted, "{wire:?}");
            drop(waiter);
        }
        report("descriptors exhausted; three who waited served", wire.name(), vec![asked.elapsed()]);

        let over = Instant::now();
        drop(flood);
        timeout(PATIENCE, until_served(addrs)).await.expect("there is room again");
        report("descriptors exhausted; until the next is accepted", wire.name(), vec![over.elapsed()]);
    }
}

async fn until_served(addrs: Addrs) {
    loop {
        let mut client = TcpStream::connect(addrs.line).await.unwrap();
        let mut answer = [0; 4];
        let asked = client.write_all(b"PING\n").await.is_ok();
        if asked && client.read_exact(&mut answer).await.is_ok() && &answer == b"PONG" {
            return;
        }
    }
}

const SLOW: u64 = 10_000;

#[tokio::test]
async fn ten_thousand_slow_clients_cost_little_memory() {
    if rlimit::increase_nofile_limit(SLOW + 200).unwrap_or(0) < SLOW + 200 {
        return skip("10,000 slow clients", "this process may not open as many files", "ulimit -n 10200");
    }
    for (wire, half, most) in [
        (Wire::Line, &b"GET_LOCK night"[..], 4),
        (Wire::MySql, b"\x50\0\0\x01\x85\xa6\x03", 4),
        (Wire::Http, b"GET /getLock/nightly HTTP/1.1\r\nhost: loc", 32),
    ] {
        let (program, mysql, http) = Program::on_all_wires(&[]);
        let at = Addrs { line: program.addr, mysql, http }.of(wire);
        let mut neighbour = Client::connect(program.addr).await;
        let before = program.resident();
        let mut slow = Vec::new();
        for _ in 0..SLOW {
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(half).await.unwrap();
            slow.push(client);
        }
        let asked = Instant::now();
        assert_eq!(neighbour.ask("GET_LOCK nightly 0").await, "1");
        report("beside 10,000 slow ones", wire.name(), vec![asked.elapsed()]);
        let each = program.resident().saturating_sub(before) * 1024 / SLOW;
        println!("\n| memory of each of 10,000 slow ones | {} | {each} bytes |", wire.name());
        assert!(each < most * 1024, "{wire:?}: {each} bytes each");
    }
}
