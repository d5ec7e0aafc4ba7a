//! When a link is cut without a word the client knows, and its command is dead, before the next is granted.
//!
//! It is so from `--keepalive 10s` up, which is the short form. `CUT_OFF=30s cargo test -p getlock partition`
//! is the long form, with the default.

use std::{
    fs,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use getlockd_client::{Builder, Connection, Timeout, Tls};
use getlockd_proto::keepalive::Keepalive;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
    sync::{oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    GETLOCK,
    common::{
        Client, PATIENCE, TestServer,
        authority::Authority,
        group::Group,
        link::{Link, SERVER_ADDR, Side},
        packages::Kind,
        skip::skip,
    },
};

/// By so much the end of a process may be seen later than it was: a client that has been heard of again closes its
/// connection in the moment in which its work has ended.
const LAG: Duration = Duration::from_millis(200);

/// What is done to the link.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Both,
    FromServer,
    FromClient,
    /// In both directions, and it heals after this time.
    Healed(Duration),
}

impl Cut {
    fn begin(self, link: &Link) {
        match self {
            Self::Both | Self::Healed(_) => link.cut(),
            Self::FromServer => link.cut_from(Side::Server),
            Self::FromClient => link.cut_from(Side::Client),
        }
    }
}

/// A client that holds the lock of its name.
#[derive(Clone, Debug)]
struct Holder {
    name: String,
    program: Program,
}

#[derive(Clone, Debug)]
enum Program {
    /// A client of `clients/`: its program that tells what becomes of its lock.
    Story(std::path::PathBuf),
    /// `getlock`, with a command that ignores SIGTERM.
    Getlock,
    /// The Rust client, with TLS or without, which also waits for the lock `late`: the grant is a late write of the
    /// server.
    Connection(Option<Tls>),
}

fn keepalive() -> String {
    std::env::var("CUT_OFF").unwrap_or_else(|_| "10s".to_owned())
}

fn time(text: &str) -> Duration {
    let Ok(Timeout::Within(time)) = text.parse() else { panic!("{text} is no time") };
    time
}

/// One of each client.
fn holders(phase: usize, tls: &Tls) -> Vec<Holder> {
    let stories = Kind::ALL.into_iter().filter_map(|kind| {
        let name = format!("{}{}", kind.language, kind.ending);
        kind.program("story").map(|program| (name, Program::Story(program)))
    });
    let ours = [
        ("getlock".to_owned(), Program::Getlock),
        ("rust".to_owned(), Program::Connection(None)),
        ("rust-tls".to_owned(), Program::Connection(Some(tls.clone()))),
    ];
    let holder = |(name, program)| Holder { name: format!("{name}.{phase}"), program };
    stories.chain(ours).map(holder).collect()
}

/// Holds a lock and says so; resolves when the client knows that it is lost, and its command is dead. None if it
/// has kept the lock to the end.
async fn hold(
    holder: Holder,
    link: Arc<Link>,
    port: u16,
    placed: oneshot::Sender<()>,
    mut over: watch::Receiver<bool>,
) -> Option<Instant> {
    let lost = async {
        match holder.program {
            Program::Connection(tls) => connection(&holder.name, tls, port, placed).await,
            Program::Getlock => getlock(&holder.name, &link, port, placed).await,
            Program::Story(program) => story(&program, &holder.name, &link, port, placed).await,
        }
    };
    tokio::select! {
        lost = lost => Some(lost),
        _ = over.wait_for(|over| *over) => None,
    }
}

async fn connection(name: &str, tls: Option<Tls>, port: u16, placed: oneshot::Sender<()>) -> Instant {
    let server = Builder::new(format!("{SERVER_ADDR}:{port}"));
    let server = if let Some(tls) = tls { server.tls(tls) } else { server };
    let connection: Connection = server.connection().await.unwrap();
    let guard = connection.try_lock(name).await.unwrap().unwrap();
    let late = format!("late.{name}");
    let waits = tokio::spawn({
        let connection = connection.clone();
        async move { connection.acquire(&late, Timeout::Forever).await }
    });
    placed.send(()).unwrap();
    guard.lost().await;
    let lost = Instant::now();
    assert!(waits.await.unwrap().is_err(), "a grant of a connection that is lost");
    lost
}

async fn getlock(name: &str, link: &Link, port: u16, placed: oneshot::Sender<()>) -> Instant {
    let mut command = Command::from(link.command(Side::Client, GETLOCK));
    let script = "trap '' TERM; echo started; exec sleep 1000";
    command.args(["--host", &format!("{SERVER_ADDR}:{port}"), name, "--", "sh", "-c", script]);
    let mut group = Group::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut out = BufReader::new(group.child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).await.unwrap();
    assert_eq!(line, "started\n", "{name}");
    placed.send(()).unwrap();
    // The command is the last that has it open.
    out.read_to_end(&mut Vec::new()).await.unwrap();
    Instant::now()
}

async fn story(
    program: &std::path::Path,
    name: &str,
    link: &Link,
    port: u16,
    placed: oneshot::Sender<()>,
) -> Instant {
    let mut command = Command::from(link.command(Side::Client, &program.display().to_string()));
    command.arg(port.to_string()).env("GETLOCK_HOST", SERVER_ADDR);
    let mut group = Group::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut told = group.child.stdin.take().unwrap();
    let mut said = BufReader::new(group.child.stdout.take().unwrap()).lines();
    told.write_all(format!("lock 0 {name}\n").as_bytes()).await.unwrap();
    let granted = said.next_line().await.unwrap().unwrap_or_default();
    assert!(granted.starts_with("granted "), "{name}: {granted}");
    told.write_all(b"watch\n").await.unwrap();
    placed.send(()).unwrap();
    let lost = said.next_line().await.unwrap().unwrap_or_default();
    assert!(lost.starts_with("lost"), "{name}: {lost}");
    Instant::now()
}

/// A server on its machine, until the first of these is dropped, and where its line protocol is.
fn serve(link: &Link, tls: Vec<String>) -> (oneshot::Sender<()>, SocketAddr) {
    let (told, addr) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    link.run(Side::Server, move || async move {
        let keepalive = keepalive();
        let tls = tls.iter().map(String::as_str);
        let flags: Vec<_> = ["--keepalive", &keepalive, "--open"].into_iter().chain(tls).collect();
        let server = TestServer::at(&format!("{SERVER_ADDR}:0"), &flags);
        told.send(server.addr).unwrap();
        drop(stopped.await);
    });
    (stop, addr.recv().unwrap())
}

/// Beside the server: waits for the lock of a holder.
async fn next(name: String, port: u16) -> Instant {
    let mut next = Client::connect((std::net::Ipv4Addr::new(10, 213, 7, 1), port).into()).await;
    next.send(&format!("GET_LOCK {name} 600")).await;
    let mut line = String::new();
    next.stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "1\n", "{name}");
    Instant::now()
}

/// In the network of the clients: all take their locks, and it is told when they have. When each knew that it had
/// lost its lock.
async fn take_places(
    phases: Vec<Vec<Holder>>,
    link: Arc<Link>,
    port: u16,
    all_placed: oneshot::Sender<()>,
    over: watch::Receiver<bool>,
) -> Vec<(String, Option<Instant>)> {
    let mut running = JoinSet::new();
    for phase in phases {
        for holder in phase {
            let (placed, is_placed) = oneshot::channel();
            let (name, link, over) = (holder.name.clone(), link.clone(), over.clone());
            running.spawn(async move { (name, hold(holder, link, port, placed, over).await) });
            timeout(6 * PATIENCE, is_placed).await.expect("a place in time").unwrap();
        }
        // Questions come each sixth of the time: the cut finds each phase at another part of it.
        sleep(time(&keepalive()) / 18).await;
    }
    all_placed.send(()).unwrap();
    running.join_all().await
}

/// The locks that the Rust client waits for: each is a late write of the server.
async fn late_locks(names: &[String], addr: SocketAddr) -> Client {
    let mut keeper = Client::connect(addr).await;
    for name in names.iter().filter(|name| name.starts_with("rust")) {
        assert_eq!(keeper.ask(&format!("GET_LOCK late.{name} 0")).await, "1");
    }
    keeper
}

/// Beside the server: cuts the link, and waits for the locks of all. When the cut was, and when each was granted.
async fn cut_and_wait(
    cut: Cut,
    names: Vec<String>,
    link: Arc<Link>,
    addr: SocketAddr,
    mut keeper: Client,
) -> (Instant, Vec<(String, Instant)>) {
    let (limit, port) = (time(&keepalive()), addr.port());
    let mut nexts = JoinSet::new();
    for name in names {
        nexts.spawn(async move { (name.clone(), next(name, port).await) });
    }
    let waits = |row: &&String| row.contains(" waits_for=") && !row.contains("waits_for=NULL");
    while keeper.list("SESSIONS").await.iter().filter(waits).count() < nexts.len() {}
    let began = Instant::now();
    cut.begin(&link);
    let late = async {
        sleep(Keepalive(limit).left() * 2 / 3).await;
        keeper.ask("RELEASE_ALL_LOCKS").await;
    };
    let healed = async {
        if let Cut::Healed(after) = cut {
            sleep(after).await;
            link.heal();
        }
    };
    let until = began + limit + if let Cut::Healed(after) = cut { after } else { limit };
    let mut granted = Vec::new();
    let grants = async {
        while let Ok(Some(done)) =
            timeout(until.saturating_duration_since(Instant::now()), nexts.join_next()).await
        {
            granted.push(done.unwrap());
        }
    };
    tokio::join!(late, healed, grants);
    // What ended together with the last grant is seen, too.
    sleep(LAG).await;
    (began, granted)
}

/// What became of one holder: when it knew, and when the next was granted its lock, since the cut.
type Fate = (String, Option<Duration>, Option<Duration>);

fn run(cut: Cut, phases: usize) -> Option<Vec<Fate>> {
    let link = match Link::new() {
        Ok(link) => Arc::new(link),
        Err(why) => {
            skip("a link that is cut", &why, "it needs iproute2 and root");
            return None;
        }
    };
    let authority = Authority::new();
    let certificate = authority.sign("server");
    let (_server, addr) =
        serve(&link, certificate.flags(&["--tls", "optional"]).into_iter().map(str::to_owned).collect());
    let tls = Tls::of_authority(&fs::read(authority.ca()).unwrap(), None).unwrap();
    let phases: Vec<_> = (0..phases).map(|phase| holders(phase, &tls)).collect();
    let names: Vec<_> = phases.iter().flatten().map(|holder| holder.name.clone()).collect();
    let (ready, is_ready) = oneshot::channel();
    let (are_placed, all_placed) = oneshot::channel();
    let (over, is_over) = watch::channel(false);
    let (of_server, of_client) = (link.clone(), link.clone());
    let server = link.run(Side::Server, move || async move {
        let keeper = late_locks(&names, addr).await;
        ready.send(()).unwrap();
        all_placed.await.unwrap();
        let seen = cut_and_wait(cut, names, of_server, addr, keeper).await;
        let _ = over.send(true);
        seen
    });
    let clients = link.run(Side::Client, move || async move {
        is_ready.await.unwrap();
        take_places(phases, of_client, addr.port(), are_placed, is_over).await
    });
    let told = clients.join().unwrap();
    let (cut_at, granted) = server.join().unwrap();
    let fate = |(name, lost): (String, Option<Instant>)| {
        let granted = granted.iter().find(|(other, _)| *other == name).map(|(_, at)| *at - cut_at);
        (name, lost.map(|at| at - cut_at), granted)
    };
    Some(told.into_iter().map(fate).collect())
}

/// Whatever happens, the next has the lock only once the one before knows that it has lost it; and where a link stays
/// cut the next has it within the time.
fn assert_told_first(cut: Cut, phases: usize) {
    let Some(fates) = run(cut, phases) else { return };
    let limit = time(&keepalive());
    for (name, told, granted) in fates {
        let seconds = |time: Option<Duration>| {
            time.map_or("kept".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
        };
        println!("\n| {cut:?} | {name} | {} | {} |", seconds(told), seconds(granted));
        // A client that hears nothing is heard, and the server's time counts from the last that it heard.
        let stays_silent = matches!(cut, Cut::Both | Cut::FromClient);
        match granted {
            Some(granted) => {
                let first = told.is_some_and(|told| told < granted + LAG);
                assert!(first, "{cut:?}, {name}: told {told:?}, granted {granted:?}");
                assert!(granted < limit || !stays_silent, "{cut:?}, {name}: granted {granted:?}");
            }
            None => assert!(!stays_silent, "{cut:?}, {name}: never granted"),
        }
    }
}

#[test]
fn holder_is_told_first_when_cut_in_both_directions() {
    assert_told_first(Cut::Both, 3);
}

#[test]
fn holder_is_told_first_when_not_heard() {
    assert_told_first(Cut::FromClient, 1);
}

#[test]
fn holder_is_told_first_when_it_hears_nothing() {
    assert_told_first(Cut::FromServer, 1);
}

/// It is lost or kept, and never both.
#[test]
fn holder_is_told_or_keeps_lock_when_link_heals() {
    let limit = time(&keepalive());
    assert_told_first(Cut::Healed(limit / 3), 1);
    assert_told_first(Cut::Healed(limit * 2), 1);
}
