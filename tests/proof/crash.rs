//! A server with a store that ends again and again, by SIGKILL or by SIGTERM, while clients take, renew and release leases
//! and connections hold the same locks. It starts again on other ports, with another grace, with a clock that is a day off,
//! or with an older copy of its file.
//!
//! The histories are those of `linear`, and its checker looks for an order: leases outlive the server, and are never
//! shorter than was told; sessions of connections end with it. A client that has no answer counts what it asked for as
//! done or not done. Beyond one round, fencing tokens grow.
//!
//! What is not shown: a power cut, as the page cache outlives the process (`src/store/file/tests.rs` cuts it, and
//! `src/server/durable/tests.rs` cuts the power of a simulated disk); deadlocks.
//!
//! `CRASHES=1000 cargo test --release --test proof crash` runs longer.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    MACHINE,
    caller::{Mode, NO, Said, Wish, YES},
    common::{
        Client,
        dice::Dice,
        program::{PROGRAM, Program},
        skip::skip_missing,
    },
    faults::clock::{libfaketime, set_clock},
    linear::{Diary, Lock, Op, Tape, When, Wrong, check},
    tally::Tally,
};

const NAMES: [&str; 2] = ["nightly", "reports"];
const LEASES: u64 = 4;
const CONNECTIONS: u64 = 2;

/// Of each round. More open ends are more orders to look at.
const CRASHES_IN_A_ROUND: u64 = 3;

/// Leases of up to this are not written, whatever the grace of a run.
const SHORT: Duration = Duration::from_millis(40);
const GRACES: [&str; 2] = ["50ms", "120ms"];
const TTLS: [Duration; 3] = [SHORT, Duration::from_millis(200), Duration::from_millis(800)];

/// The server, and what it is started with.
struct Server {
    program: Option<Program>,
    folder: PathBuf,
    clock: Option<Clock>,
    dice: Dice,
}

/// What sets the clock of the server alone.
struct Clock {
    lib: PathBuf,
    days: i64,
}

/// Where it listens.
#[derive(Clone, Copy)]
struct Ports {
    line: SocketAddr,
    http: SocketAddr,
}

impl Server {
    fn store(&self) -> PathBuf {
        self.folder.join("leases")
    }

    /// Starts it with a clock that is right, or is set back by a day.
    fn start(&mut self) -> Ports {
        let days_back = i64::from(self.dice.one_in(3));
        self.start_at(days_back)
    }

    fn start_at(&mut self, days_back: i64) -> Ports {
        let mut command = Command::new(PROGRAM);
        command.args(["--line", "127.0.0.1:0", "--mysql", "off", "--http", "127.0.0.1:0"]);
        command.args(["--store-anyway", "--drain", "0s", "--store-grace", self.dice.pick(&GRACES)]);
        command.arg("--store").arg(self.store());
        if let Some(Clock { lib, days }) = &self.clock {
            let file = self.folder.join("clock");
            fs::write(&file, format!("{:+}d", days - days_back)).unwrap();
            set_clock(&mut command, lib, &file);
        }
        let mut program = Program::spawn(&mut command);
        let ports = Ports { line: program.addr, http: program.next_addr() };
        self.program = Some(program);
        ports
    }

    /// Ends it: by a crash, or as an upgrade does.
    fn end(&mut self, tally: &Tally) {
        let program = self.program.take().unwrap();
        if self.dice.one_in(5) {
            program.signal("-TERM");
            assert!(program.wait().0.success());
            tally.count("stop");
        } else {
            drop(program);
            tally.count("crash");
        }
    }

    /// Puts back the copy, as from a backup that is a day old: the clock then is above all tokens that were given since.
    fn put_back(&mut self, copy: &Path, tally: &Tally) -> Option<Ports> {
        self.clock.as_mut()?.days += 1;
        self.end(tally);
        fs::copy(copy, self.store()).unwrap();
        tally.count("older copy put back");
        Some(self.start_at(0))
    }
}

/// Where the server is at present, and what all were told in this round.
#[derive(Clone)]
struct Scene {
    ports: watch::Receiver<Ports>,
    tape: Arc<Tape>,
    tally: Arc<Tally>,
    grants: Arc<AtomicU64>,
    granted: Arc<Notify>,
    /// When the server began to end last, and when it had started again.
    ended: Arc<AtomicU64>,
    started: Arc<AtomicU64>,
}

impl Scene {
    fn when(&self, from: u64) -> When {
        When { from, until: self.tape.now() }
    }

    fn grant(&self, what: &'static str) {
        self.tally.count(what);
        self.grants.fetch_add(1, Ordering::Relaxed);
        self.granted.notify_one();
    }

    /// One after the other, for as long as there is a server.
    async fn leases(self, mut dice: Dice) {
        while self.ports.has_changed().is_ok() {
            self.lease(&mut dice).await;
        }
    }

    async fn connections(self, mut dice: Dice) {
        while self.ports.has_changed().is_ok() {
            self.connection(&mut dice).await;
        }
    }

    /// The answer, if there is one; none at all if it was not asked.
    async fn post(&self, path: &str, body: &Value) -> Option<Option<Value>> {
        let body = body.to_string();
        let request = format!(
            "POST /api/lock/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let http = self.ports.borrow().http;
        let mut stream = TcpStream::connect(http).await.ok()?;
        let mut reply = String::new();
        let asked = async {
            stream.write_all(request.as_bytes()).await?;
            stream.read_to_string(&mut reply).await
        };
        let is_answered = timeout(Duration::from_secs(5), asked).await.is_ok_and(|asked| asked.is_ok());
        let body = reply.split_once("\r\n\r\n").filter(|_| is_answered);
        Some(body.and_then(|(_, body)| serde_json::from_str(body).ok()))
    }

    async fn lease(&self, dice: &mut Dice) {
        let mut diary = self.tape.diary(None);
        let name = usize::try_from(dice.below(NAMES.len() as u64)).unwrap();
        let (mode, wait_ms) = (any_mode(dice), dice.pick(&[0, 20]));
        let wish = Wish { name: NAMES[name], mode, wait_ms };
        let ttl = dice.pick(&TTLS);
        let shared = if mode == Mode::Shared { "shared" } else { "exclusive" };
        let body = json!({
            "resourceName": wish.name, "clientId": "x", "ttlMs": ttl.as_millis(), "waitMs": wait_ms, "mode": shared
        });
        let from = self.tape.now();
        let Some(told) = self.post("acquire", &body).await else { return sleep(ttl / 20).await };
        let told = told.unwrap_or_default();
        match told["status"].as_str() {
            Some("Acquired") => {
                self.grant("lease granted");
                diary.got(name, wish, self.when(from), (YES, told["fencingToken"].as_u64()));
                let lease = json!({"resourceName": wish.name, "lockToken": told["lockToken"]});
                self.hold((name, &lease), (ttl, from), &mut diary, dice).await;
            }
            Some("Busy") => diary.got(name, wish, self.when(from), (NO, None)),
            _ => {
                self.tally.count("lease not answered");
                diary.open_get(name, wish, from);
                diary.is_dropped(from);
                // A server that stops refuses at once.
                sleep(Duration::from_millis(20)).await;
            }
        }
        self.tape.keep(diary);
    }

    /// Heartbeats, and the release or none. It runs for its time to live from before the last heartbeat that was answered.
    async fn hold(
        &self,
        (name, lease): (usize, &Value),
        (ttl, mut heard): (Duration, u64),
        diary: &mut Diary,
        dice: &mut Dice,
    ) {
        let lasts = u64::try_from(ttl.as_nanos()).unwrap();
        for _ in 0..dice.below(6) {
            sleep(ttl / 4).await;
            let from = self.tape.now();
            let told = self.post("heartbeat", lease).await.flatten().unwrap_or_default();
            let when = self.when(from);
            match told["status"].as_str() {
                Some("HeartbeatReceived") => {
                    self.tally.count("heartbeat");
                    diary.seen(name, when, Op::Beat(YES));
                    heard = from;
                }
                Some(status @ ("InvalidToken" | "NotFound")) => {
                    diary.ends(When { from: self.end_of(ttl, heard, lasts), until: when.until });
                    return diary.seen(name, when, Op::Beat(ended(status)));
                }
                // It may have been heard or not: the lease is not shorter.
                _ => {}
            }
        }
        if dice.one_in(3) {
            return diary.ends(When { from: heard + lasts, until: u64::MAX });
        }
        let from = self.tape.now();
        let told = self.post("release", lease).await.flatten().unwrap_or_default();
        let when = self.when(from);
        match told["status"].as_str() {
            Some("Released") => {
                self.tally.count("released");
                diary.seen(name, when, Op::Release(YES));
            }
            Some(status @ ("InvalidToken" | "NotFound")) => {
                diary.ends(When { from: self.end_of(ttl, heard, lasts), until: when.until });
                diary.seen(name, when, Op::Release(ended(status)));
            }
            // It may have ended by its time before it was to be released.
            _ => diary.is_dropped(from.min(self.end_of(ttl, heard, lasts))),
        }
    }

    /// When a lease ends at the soonest. A stop ends those that are not written; their locks pass on no sooner.
    fn end_of(&self, ttl: Duration, heard: u64, lasts: u64) -> u64 {
        let [ended, started] = [&self.ended, &self.started].map(|at| at.load(Ordering::SeqCst));
        // A server that stops still answers heartbeats.
        let has_stopped_since = ended > heard || started > heard || started < ended;
        let soonest = if ttl == SHORT && has_stopped_since { ended.max(heard) } else { u64::MAX };
        soonest.min(heard + lasts)
    }

    /// A session that takes locks, and frees them, until the server is gone.
    async fn connection(&self, dice: &mut Dice) {
        let line = self.ports.borrow().line;
        let Ok(stream) = TcpStream::connect(line).await else {
            return sleep(Duration::from_millis(5)).await;
        };
        let (mut client, mut diary) = (Client { stream: BufReader::new(stream) }, self.tape.diary(None));
        let mut from = self.tape.now();
        for _ in 0..=dice.below(8) {
            from = self.tape.now();
            if self.take(&mut client, &mut diary, dice).await.is_none() {
                break;
            }
        }
        diary.is_dropped(from.min(self.ended.load(Ordering::SeqCst)));
        self.tape.keep(diary);
    }

    /// None if the session has ended, with what it holds.
    async fn take(&self, client: &mut Client, diary: &mut Diary, dice: &mut Dice) -> Option<()> {
        let name = usize::try_from(dice.below(NAMES.len() as u64)).unwrap();
        let wish = Wish { name: NAMES[name], mode: Mode::Exclusive, wait_ms: dice.pick(&[0, 20]) };
        let from = self.tape.now();
        client.send(&format!("GET_LOCK {} {}ms\nFENCING_TOKEN {}", wish.name, wish.wait_ms, wish.name)).await;
        let answers = [client.next().await, client.next().await].map(Option::unwrap_or_default);
        match [answers[0].as_str(), answers[1].as_str()] {
            ["1", token] if token.parse::<u64>().is_ok() => {
                self.grant("lock granted");
                diary.got(name, wish, self.when(from), (YES, token.parse().ok()));
            }
            ["0", _] => {
                diary.got(name, wish, self.when(from), (NO, None));
                return Some(());
            }
            _ => {
                diary.open_get(name, wish, from);
                return None;
            }
        }
        sleep(Duration::from_millis(dice.below(10))).await;
        let from = self.tape.now();
        client.send(&format!("RELEASE_LOCK {}", wish.name)).await;
        if client.next().await.as_deref() != Some("1") {
            diary.open_release(name, from);
            return None;
        }
        diary.released(name, self.when(from), YES);
        Some(())
    }
}

fn any_mode(dice: &mut Dice) -> Mode {
    if dice.one_in(4) { Mode::Shared } else { Mode::Exclusive }
}

/// What a client whose lease has ended is told of the lock.
fn ended(status: &str) -> Said {
    if status == "NotFound" { Said::Null } else { NO }
}

/// What all rounds came to.
#[derive(Default)]
struct Total {
    tally: Arc<Tally>,
    histories: usize,
    undecided: usize,
    /// The highest token of the rounds before.
    last_token: u64,
}

impl Total {
    fn add(&mut self, tape: Tape) {
        let before = self.last_token;
        for (name, tracks) in tape.histories(NAMES.len()).into_iter().enumerate() {
            self.histories += 1;
            for token in tracks.iter().flat_map(|track| &track.steps).filter_map(|step| step.op.token()) {
                assert!(token > before, "tokens grow: {token} after {before}");
                self.last_token = self.last_token.max(token);
            }
            match check(Lock::default(), &tracks) {
                Ok(_) => {}
                Err(Wrong::GaveUp) => self.undecided += 1,
                Err(Wrong::NoOrder(story)) => panic!("{}: no order; {story}", NAMES[name]),
            }
        }
    }
}

/// Resolves when nobody holds a lock. What an older copy brought back ends by its time.
async fn all_free(line: SocketAddr) {
    let mut client = Client::connect(line).await;
    for name in NAMES {
        assert_eq!(client.ask(&format!("GET_LOCK {name} 20")).await, "1");
    }
    assert_eq!(client.ask("RELEASE_ALL_LOCKS").await, NAMES.len().to_string());
    assert_eq!(client.ask("QUIT").await, "BYE");
}

/// Some crashes under load, to the end of all leases.
async fn round(server: &mut Server, mut ports: Ports, seed: u64, total: &mut Total) -> Ports {
    let (sender, receiver) = watch::channel(ports);
    let scene = Scene {
        ports: receiver,
        tape: Arc::new(Tape::new()),
        tally: total.tally.clone(),
        grants: Arc::default(),
        granted: Arc::default(),
        ended: Arc::new(AtomicU64::new(u64::MAX)),
        started: Arc::default(),
    };
    let mut clients = JoinSet::new();
    for client in 0..LEASES {
        clients.spawn(scene.clone().leases(Dice::new(seed * 100 + client)));
    }
    for client in 0..CONNECTIONS {
        clients.spawn(scene.clone().connections(Dice::new(seed * 100 + LEASES + client)));
    }
    for crash in 0..CRASHES_IN_A_ROUND {
        // It falls into the midst of the work, however slow the machine is.
        let enough = scene.grants.load(Ordering::Relaxed) + 1 + server.dice.below(8);
        while scene.grants.load(Ordering::Relaxed) < enough {
            scene.granted.notified().await;
        }
        sleep(Duration::from_micros(server.dice.below(20_000))).await;
        scene.ended.store(scene.tape.now(), Ordering::SeqCst);
        server.end(&total.tally);
        if crash == 0 {
            fs::copy(server.store(), server.folder.join("copy")).unwrap();
        }
        ports = server.start();
        scene.started.store(scene.tape.now(), Ordering::SeqCst);
        sender.send(ports).unwrap();
    }
    drop(sender);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    all_free(ports.line).await;
    total.add(Arc::into_inner(scene.tape).expect("all clients have ended"));
    ports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_lose_no_lease_and_make_no_two_owners() {
    let _alone = MACHINE.write().await;
    let crashes: u64 = std::env::var("CRASHES").map_or(24, |value| value.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let clock = libfaketime().map(|lib| Clock { lib, days: 0 });
    if clock.is_none() {
        skip_missing("libfaketime");
    }
    let mut server = Server { program: None, folder: folder.path().to_owned(), clock, dice: Dice::new(99) };
    let (mut ports, mut total) = (server.start(), Total::default());
    for seed in 0..crashes.div_ceil(CRASHES_IN_A_ROUND) {
        ports = round(&mut server, ports, seed, &mut total).await;
        if server.dice.one_in(3) {
            let copy = server.folder.join("copy");
            ports = server.put_back(&copy, &total.tally).unwrap_or(ports);
            all_free(ports.line).await;
        }
    }
    let Total { tally, histories, undecided, .. } = total;
    println!("{histories} histories, {undecided} undecided; {tally}");
    tally.assert_has(&["crash", "stop", "released", "heartbeat", "lease not answered"]);
    assert!(undecided <= 1 + histories / 20, "too many orders are possible to look at all of them");
}
