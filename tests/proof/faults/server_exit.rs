//! The server ends, under load on all wires: told to, and killed.

use std::{process, time::Instant};

use getlockd::internal::grpc::proto::{ReleaseAllLocks, hold_request::Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::timeout,
};
use tonic::Code;

use super::{
    report,
    speaker::{Addrs, Speaker, Wire, wish},
};
use crate::common::{
    Client, PATIENCE,
    grpc::{Hold, get_lock, locks},
    http::{Request, get},
    mysql::MySql,
    program::{PROGRAM, Program},
};

fn start(flags: &[&str]) -> (Program, Addrs) {
    let (program, mysql, http) = Program::on_all_wires(flags);
    let addrs = Addrs { line: program.addr, mysql, http };
    (program, addrs)
}

/// Asks again and again until the connection is closed: how often it was answered, and when that was.
async fn hammer(mut stream: TcpStream, request: Vec<u8>) -> (usize, Instant) {
    let (mut answers, mut space) = (0, [0; 4096]);
    while stream.write_all(&request).await.is_ok() && matches!(stream.read(&mut space).await, Ok(1..)) {
        answers += 1;
    }
    (answers, Instant::now())
}

/// Some on each wire.
async fn load(addrs: Addrs) -> JoinSet<(usize, Instant)> {
    let mut load = JoinSet::new();
    for i in 0..5 {
        let line = Client::connect(addrs.line).await.stream.into_inner();
        load.spawn(hammer(line, format!("GET_LOCK line{i} 0\nRELEASE_LOCK line{i}\n").into_bytes()));
        let mysql = MySql::connect(addrs.mysql).await.stream;
        let sql = format!("\x33\0\0\0\x03SELECT GET_LOCK('mysql{i}',0)+RELEASE_LOCK('mysql{i}')");
        load.spawn(hammer(mysql, sql.into_bytes()));
        let http = TcpStream::connect(addrs.http).await.unwrap();
        let request = format!("GET /getLock/http{i}?ttl=10ms HTTP/1.1\r\nhost: localhost\r\n\r\n");
        load.spawn(hammer(http, request.into_bytes()));
        let mut hold = Hold::open(addrs.http).await;
        load.spawn(async move {
            let mut answers = 0;
            while hold.try_send(get_lock("hold", 0)).await
                && hold.try_send(Command::ReleaseAllLocks(ReleaseAllLocks {})).await
                && matches!(hold.last().await, Ok(Some(_)))
                && matches!(hold.last().await, Ok(Some(_)))
            {
                answers += 1;
            }
            (answers, Instant::now())
        });
    }
    load
}

/// When the last of them saw the end.
async fn over(load: JoinSet<(usize, Instant)>) -> Instant {
    let ended = timeout(PATIENCE, load.join_all()).await.expect("all see it");
    assert!(ended.iter().all(|(answers, _)| *answers > 0), "{ended:?}");
    ended.into_iter().map(|(_, when)| when).max().unwrap()
}

/// Resolves when a server with some load has done something for it.
async fn until_busy(client: &mut Client) -> u64 {
    let mut token = 0;
    for _ in 0..50 {
        assert_eq!(client.ask("GET_LOCK mine 0").await, "1");
        token = client.ask("FENCING_TOKEN mine").await.parse().unwrap();
        assert_eq!(client.ask("RELEASE_LOCK mine").await, "1");
    }
    token
}

#[tokio::test]
async fn restart_after_kill_9_has_higher_fencing_tokens() {
    for _ in 0..3 {
        let (program, addrs) = start(&[]);
        let load = load(addrs).await;
        let mut client = Client::connect(addrs.line).await;
        let token = until_busy(&mut client).await;
        let since = Instant::now();
        program.signal("-KILL");
        let seen = over(load).await;
        report("server killed by -9; until the last client sees it", "all", vec![seen - since]);
        assert_eq!(client.next().await, None);
        drop(program);

        let mut command = process::Command::new(PROGRAM);
        for (flag, addr) in [("--line", addrs.line), ("--mysql", addrs.mysql), ("--http", addrs.http)] {
            command.args([flag, &addr.to_string()]);
        }
        let since = Instant::now();
        let _next = Program::spawn(&mut command);
        let mut client = Client::connect(addrs.line).await;
        assert_eq!(client.ask("GET_LOCK mine 0").await, "1");
        report("until a restarted server grants", "line", vec![since.elapsed()]);
        assert!(client.ask("FENCING_TOKEN mine").await.parse::<u64>().unwrap() > token);
    }
}

/// Those who wait for the lock `nightly`.
struct Waiters {
    line: Client,
    mysql: MySql,
    hold: Hold,
    http: Request,
    acquire: JoinHandle<Code>,
}

impl Waiters {
    async fn of(addrs: Addrs) -> Self {
        let mut line = Client::connect(addrs.line).await;
        line.send("GET_LOCK nightly 60").await;
        let mut mysql = MySql::connect(addrs.mysql).await;
        mysql.start("SELECT GET_LOCK('nightly', 60)").await;
        let hold = Hold::open(addrs.http).await;
        hold.send(get_lock("nightly", 60_000)).await;
        let http = Request::send(addrs.http, "GET", "/getLock/nightly?wait=60", "").await;
        let (mut grpc, wish) = (locks(addrs.http).await, wish("nightly"));
        let acquire = tokio::spawn(async move { grpc.acquire(wish).await.unwrap_err().code() });
        Self { line, mysql, hold, http, acquire }
    }

    async fn are_told(mut self) {
        assert!(self.line.rest().await.starts_with("ERROR SHUTDOWN "));
        assert_eq!(self.mysql.reply().await.code(), 1053);
        assert_eq!(self.hold.last().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(self.http.reply().await.0, 503);
        assert_eq!(self.acquire.await.unwrap(), Code::Unavailable);
    }
}

#[tokio::test]
async fn sigterm_ends_waits_and_drains_holders() {
    let (program, addrs) = start(&["--drain", "60s"]);
    let mut first = Client::connect(addrs.line).await;
    assert_eq!(first.ask("GET_LOCK nightly 0").await, "1");
    let mut holders = Vec::new();
    for wire in Wire::SESSIONS {
        holders.push(Speaker::holding(wire, addrs.of(wire), &format!("of.{}", wire.name())).await);
    }
    let lease = get(addrs.http, "/getLock/lease?ttl=60").await.1;
    let waiters = Waiters::of(addrs).await;
    while first.list("WAITERS nightly").await.len() < 5 {}
    let load = load(addrs).await;
    until_busy(&mut Client::connect(addrs.line).await).await;

    let since = Instant::now();
    program.signal("-TERM");
    waiters.are_told().await;
    report("SIGTERM; until all who wait are told", "all", vec![since.elapsed()]);
    assert!(TcpStream::connect(addrs.line).await.is_err(), "it accepts no more");
    assert_eq!(first.ask("RELEASE_LOCK nightly").await, "1");
    for holder in holders {
        holder.release().await;
    }
    assert_eq!(get(addrs.http, &format!("/releaseLock/lease/{lease}")).await.1, "released");
    let last = Instant::now();
    let (status, log) = spawn_blocking(|| program.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    report("SIGTERM; from the last release to the exit", "all", vec![last.elapsed()]);
    over(load).await;
}
