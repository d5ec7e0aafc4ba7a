//! A link that is cut without a word: the holder is told, and its command is dead, before the next is granted
//! the lock.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use getlockd::client::{Connection, Timeout};

use crate::{
    common::Client,
    cut_off::serve,
    link::{Link, Side},
    report, skip,
};

const GETLOCK: &str = env!("CARGO_BIN_EXE_getlock");
/// The least with a promise.
const KEEPALIVE: &str = "10s";

/// When it is told, of a lock that it says to have.
async fn hold(server: String, held: mpsc::Sender<()>) -> Instant {
    let connection = Connection::connect(server).await.unwrap();
    let guard = connection.acquire("guard", Timeout::NONE).await.unwrap();
    held.send(()).unwrap();
    drop(guard.lost().await);
    Instant::now()
}

/// A command that heeds no SIGTERM, and its pid.
fn command(link: &Link, server: &str) -> (Child, String) {
    let mut getlock = link.command(Side::Client, GETLOCK);
    let script = "trap '' TERM; echo $$; while :; do sleep 0.1; done";
    getlock.args(["--host", server, "command", "-c", script]).stdout(Stdio::piped());
    let mut getlock = getlock.spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(getlock.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    (getlock, pid.trim().to_owned())
}

fn until_dead(pid: &str) -> Instant {
    let lives = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    };
    while lives() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Instant::now()
}

/// When it has each of the locks, for which it says to wait.
async fn wait(addr: std::net::SocketAddr, waiting: mpsc::Sender<()>) -> [Instant; 2] {
    let (mut guard, mut command) = (Client::connect(addr).await, Client::connect(addr).await);
    guard.send("GET_LOCK guard 60").await;
    command.send("GET_LOCK command 60").await;
    let mut eye = Client::connect(addr).await;
    while !eye.ask("STATS").await.contains(" waiters=2 ") {
        assert_eq!(eye.line().await, "END 1");
    }
    waiting.send(()).unwrap();
    let next = async |client: &mut Client| {
        assert_eq!(client.line().await, "1");
        Instant::now()
    };
    tokio::join!(next(&mut guard), next(&mut command)).into()
}

#[test]
fn a_holder_is_told_before_the_next_is_granted() {
    let link = match Link::new() {
        Ok(link) => Arc::new(link),
        Err(why) => return skip(&why),
    };
    let (program, addrs) = serve(&link, KEEPALIVE);
    let server = addrs.line.to_string();
    let (held, is_held) = mpsc::channel();
    let told = link.run(Side::Client, {
        let server = server.clone();
        move || hold(server, held)
    });
    let (mut getlock, pid) = command(&link, &server);
    is_held.recv().unwrap();
    let (waiting, is_waiting) = mpsc::channel();
    let granted = link.run(Side::Server, move || wait(addrs.line, waiting));
    is_waiting.recv().unwrap();
    // Asked again and answered, at least once.
    std::thread::sleep(Duration::from_secs(2));
    let cut = Instant::now();
    link.cut();
    let dead = until_dead(&pid);
    let told = told.join().unwrap();
    let [next_guard, next_command] = granted.join().unwrap();
    assert_eq!(getlock.wait().unwrap().code(), Some(75));
    for (what, before, after) in [("guard", told, next_guard), ("command", dead, next_command)] {
        report(&format!("cut off, {what} ended"), "client", vec![before - cut]);
        report(&format!("cut off, next after {what}"), "server", vec![after - cut]);
        assert!(before < after, "{what}: {:?}, then {:?}", before - cut, after - cut);
    }
    drop(program);
}
