//! Clients whose machine is gone without a word: no packet of theirs arrives any more.
//!
//! The least time in which they must be found is 4 s. From 10 s up what they hold is not freed too early either,
//! whatever is under way. `CUT_OFF=30s cargo test --test proof faults::partition` is the long form, with what is usual.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use getlockd_proto::{keepalive::Keepalive, timeout::Timeout};
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    report,
    speaker::{Addrs, Speaker, Wire},
};
use crate::{
    MACHINE,
    common::{
        Client,
        link::{Link, SERVER_ADDR, Side},
        program::{PROGRAM, Program},
        skip::skip,
    },
};

/// What one of the dead was doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Holding,
    /// It holds, and is sent a reply that it never acknowledges.
    BeingSent,
    /// The same, when it has been silent for a while.
    BeingSentLate,
    Waiting,
}

fn all() -> impl Iterator<Item = (Doing, Wire)> {
    let sessions = Wire::SESSIONS.into_iter();
    let all_of = |wire| [Doing::Holding, Doing::BeingSent, Doing::BeingSentLate].map(|doing| (doing, wire));
    let holding = sessions.flat_map(all_of);
    holding.chain(Wire::ALL.into_iter().map(|wire| (Doing::Waiting, wire)))
}

/// The lock that the next will have from it.
fn lock(doing: Doing, wire: Wire) -> String {
    format!("{doing:?}.{wire:?}")
}

/// What it waits for while it holds another.
fn wanted(doing: Doing, wire: Wire) -> String {
    format!("wanted.{doing:?}.{wire:?}")
}

fn is_sent_something(doing: Doing) -> bool {
    matches!(doing, Doing::BeingSent | Doing::BeingSentLate)
}

/// They take their places, and say so.
async fn die_later(
    addrs: Addrs,
    (begin, placed): (oneshot::Receiver<()>, oneshot::Sender<()>),
    over: oneshot::Receiver<()>,
) {
    begin.await.unwrap();
    let mut dead = Vec::new();
    for (doing, wire) in all() {
        let (at, lock) = (addrs.of(wire), lock(doing, wire));
        if doing == Doing::Waiting {
            dead.push(Speaker::asking(wire, at, &lock).await);
            continue;
        }
        let mut holder = Speaker::holding(wire, at, &lock).await;
        if is_sent_something(doing) {
            holder.ask(&wanted(doing, wire)).await;
        }
        dead.push(holder);
    }
    placed.send(()).unwrap();
    let _ = over.await;
}

/// Waits for a lock beside the server.
async fn next(at: SocketAddr, doing: Doing, wire: Wire) -> (Client, Doing, Wire) {
    let mut next = Client::connect(at).await;
    let verb = if doing == Doing::Waiting { "GET_SHARED_LOCK" } else { "GET_LOCK" };
    next.send(&format!("{verb} {} 600", lock(doing, wire))).await;
    (next, doing, wire)
}

async fn until_waiting(client: &mut Client, lock: &str, waiters: usize) {
    while client.list(&format!("WAITERS {lock}")).await.len() < waiters {}
}

/// Beside the server: how long after the cut each of the locks was free.
async fn watch(
    link: Arc<Link>,
    addrs: Addrs,
    late: Duration,
    (begin, placed): (oneshot::Sender<()>, oneshot::Receiver<()>),
) -> (Duration, Vec<(Doing, Wire, Duration)>) {
    let mut keeper = Client::connect(addrs.line).await;
    for (doing, wire) in all() {
        let (verb, lock) = match doing {
            Doing::Holding => continue,
            Doing::BeingSent | Doing::BeingSentLate => ("GET_LOCK", wanted(doing, wire)),
            Doing::Waiting => ("GET_SHARED_LOCK", lock(doing, wire)),
        };
        assert_eq!(keeper.ask(&format!("{verb} {lock} 0")).await, "1");
    }
    let began = Instant::now();
    begin.send(()).unwrap();
    placed.await.unwrap();
    let mut nexts = Vec::new();
    for (doing, wire) in all() {
        let before = usize::from(doing == Doing::Waiting);
        until_waiting(&mut keeper, &lock(doing, wire), before).await;
        nexts.push(next(addrs.line, doing, wire).await);
        until_waiting(&mut keeper, &lock(doing, wire), before + 1).await;
    }
    for (doing, wire) in all().filter(|(doing, _)| is_sent_something(*doing)) {
        until_waiting(&mut keeper, &wanted(doing, wire), 1).await;
    }
    let (since, before) = (Instant::now(), began.elapsed());
    link.cut();
    let mut release = async |wanted_by: Doing| {
        for (doing, wire) in all().filter(|(doing, _)| *doing == wanted_by) {
            assert_eq!(keeper.ask(&format!("RELEASE_LOCK {}", wanted(doing, wire))).await, "1");
        }
    };
    release(Doing::BeingSent).await;
    let mut freed = JoinSet::new();
    for (mut next, doing, wire) in nexts {
        freed.spawn(async move {
            let mut line = String::new();
            tokio::io::AsyncBufReadExt::read_line(&mut next.stream, &mut line).await.unwrap();
            assert_eq!(line, "1\n");
            (doing, wire, since.elapsed())
        });
    }
    tokio::time::sleep(late).await;
    release(Doing::BeingSentLate).await;
    (before, freed.join_all().await)
}

pub fn serve(link: &Link, keepalive: &str, flags: &[&str]) -> (Program, Addrs) {
    let mut command = link.command(Side::Server, PROGRAM);
    let free = format!("{SERVER_ADDR}:0");
    command.args(["--line", &free, "--mysql", &free, "--http", &free, "--keepalive", keepalive, "--open"]);
    command.args(flags);
    let mut program = Program::spawn(&mut command);
    let [mysql, http] = [(); 2].map(|()| program.next_addr());
    let addrs = Addrs { line: program.addr, mysql, http };
    (program, addrs)
}

/// All are freed within the time, and none before it is safe.
fn assert_freed_in_time(keepalive: &str) {
    let _no_load = MACHINE.blocking_read();
    let link = match Link::new() {
        Ok(link) => Arc::new(link),
        Err(why) => return skip("a link that is cut", &why, "it needs iproute2 and root"),
    };
    let Ok(Timeout::Within(limit)) = keepalive.parse() else { panic!("{keepalive} is no time") };
    let (_program, addrs) = serve(&link, keepalive, &[]);
    let (begin, begun) = oneshot::channel();
    let (placed, are_placed) = oneshot::channel();
    let (_over, is_over) = oneshot::channel();
    let _dead = link.run(Side::Client, move || die_later(addrs, (begun, placed), is_over));
    let (watching, left) = (link.clone(), Keepalive(limit).left());
    // Where nothing is promised a late write may start the kernel's time again: it comes at once there.
    let late = left * 2 / 3;
    let freed = link.run(Side::Server, move || watch(watching, addrs, late, (begin, are_placed)));
    let (before, freed) = freed.join().unwrap();
    for (doing, wire, time) in freed {
        report(&format!("cut off, {doing:?}, --keepalive {keepalive}"), wire.name(), vec![time]);
        assert!(time < limit, "{doing:?} {wire:?}: {time:?}");
        // A waiter holds nothing: it may leave its queue before. The others were heard at the earliest when they came.
        let is_safe = doing == Doing::Waiting || time + before >= left;
        assert!(is_safe, "{doing:?} {wire:?}: {time:?}, {before:?} after they came");
    }
}

#[test]
fn keepalive_frees_locks_within_the_minimum() {
    assert_freed_in_time("4s");
}

#[test]
fn keepalive_frees_locks_in_time_and_not_before() {
    assert_freed_in_time(&std::env::var("CUT_OFF").unwrap_or_else(|_| "10s".to_owned()));
}
