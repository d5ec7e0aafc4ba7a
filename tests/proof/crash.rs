//! A server with a store that is killed again and again, as by a crash, while clients take, renew and release leases.
//!
//! What is shown, by what clients were told and when: no two owners, over all restarts; no lease is lost before its
//! time; none that was told released comes back; fencing tokens grow. A client that has no answer counts what it asked
//! for as done or not done, whichever allows more.
//!
//! What is not: a power cut, as the page cache outlives the process (`src/store/file/tests.rs` cuts it); deadlocks;
//! locks of connections, which end with the process.
//!
//! `CRASHES=1000 cargo test --release --test proof crash` runs longer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    MACHINE,
    common::{
        dice::Dice,
        program::{PROGRAM, Program},
    },
};

const NAMES: u64 = 3;
const CLIENTS: u64 = 6;

/// Leases of up to this are not written.
const GRACE: &str = "50ms";
const SHORT: Duration = Duration::from_millis(40);

/// A lease that a client was told of.
struct Told {
    fencing_token: u64,
    /// It runs at least to then, by its client's own clock.
    until: Instant,
    /// Its client asks for its release.
    is_given_up: bool,
}

/// What clients were told.
#[derive(Default)]
struct Ledger {
    /// Of each name the leases that were told, by their fencing tokens.
    leases: BTreeMap<u64, Vec<Told>>,
    /// The highest fencing token of each name that anyone was told.
    highest: BTreeMap<u64, u64>,
    /// Of those leases that were told released.
    released: BTreeSet<u64>,
    grants: usize,
}

impl Ledger {
    /// A grant was told just now, by a request before which `before` was the highest token.
    fn granted(&mut self, name: u64, fencing_token: u64, before: u64, until: Instant) {
        let now = Instant::now();
        assert!(fencing_token > before, "tokens grow: {fencing_token} after {before}");
        let highest = self.highest.entry(name).or_default();
        *highest = fencing_token.max(*highest);
        self.grants += 1;
        if until <= now {
            // It was told too late: others may have the lock by now.
            return;
        }
        let others = self.leases.entry(name).or_default();
        others.retain(|other| !other.is_given_up && other.until > now);
        let owners: Vec<_> = others.iter().map(|other| other.fencing_token).collect();
        assert!(owners.is_empty(), "two owners of {name}: {fencing_token} beside {owners:?}");
        others.push(Told { fencing_token, until, is_given_up: false });
    }

    fn change(&mut self, name: u64, fencing_token: u64, change: impl FnOnce(&mut Told)) {
        let leases = self.leases.entry(name).or_default();
        if let Some(told) = leases.iter_mut().find(|told| told.fencing_token == fencing_token) {
            change(told);
        }
    }
}

/// Where the server is at present, and what all were told.
#[derive(Clone)]
struct Scene {
    addr: watch::Receiver<SocketAddr>,
    ledger: Arc<Mutex<Ledger>>,
    /// A grant was told.
    granted: Arc<Notify>,
}

impl Scene {
    /// The answer, unless the server went away.
    async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let addr = *self.addr.borrow();
        let body = body.to_string();
        let request = format!(
            "POST /api/lock/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut reply = String::new();
        let asked = async {
            let mut stream = TcpStream::connect(addr).await?;
            stream.write_all(request.as_bytes()).await?;
            stream.read_to_string(&mut reply).await
        };
        timeout(Duration::from_secs(5), asked).await.ok()?.ok()?;
        serde_json::from_str(reply.split_once("\r\n\r\n")?.1).ok()
    }

    /// Takes leases, renews some, and releases some, for as long as there is a server.
    async fn client(self, mut dice: Dice) {
        while self.addr.has_changed().is_ok() {
            let name = dice.below(NAMES);
            let ttl = dice.pick(&[SHORT, Duration::from_millis(200), Duration::from_millis(800)]);
            let until = Instant::now() + ttl;
            if let Some((lock_token, fencing_token)) = self.acquire(name, ttl, until).await {
                self.hold((name, fencing_token), (ttl, until), &lock_token, &mut dice).await;
            } else {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    async fn acquire(&self, name: u64, ttl: Duration, until: Instant) -> Option<(String, u64)> {
        let before = self.ledger.lock().unwrap().highest.get(&name).copied().unwrap_or_default();
        let wish =
            json!({"resourceName": format!("n{name}"), "clientId": "x", "ttlMs": millis(ttl), "waitMs": 20});
        let told = self.post("acquire", &wish).await?;
        let fencing_token = told["fencingToken"].as_u64()?;
        self.ledger.lock().unwrap().granted(name, fencing_token, before, until);
        self.granted.notify_one();
        Some((told["lockToken"].as_str()?.to_owned(), fencing_token))
    }

    async fn hold(
        &self,
        (name, fencing_token): (u64, u64),
        (ttl, mut until): (Duration, Instant),
        lock_token: &str,
        dice: &mut Dice,
    ) {
        let lease = json!({"resourceName": format!("n{name}"), "lockToken": lock_token});
        for _ in 0..dice.below(6) {
            sleep(ttl / 4).await;
            let sent = Instant::now();
            let told = self.post("heartbeat", &lease).await;
            match told.as_ref().and_then(|told| told["status"].as_str()) {
                Some("HeartbeatReceived") => {
                    until = sent + ttl;
                    self.ledger.lock().unwrap().change(name, fencing_token, |told| told.until = until);
                }
                // The answer, or the server, was too late; or it stops, and ends what is not written.
                Some("NotFound" | "InvalidToken") if Instant::now() >= until || ttl == SHORT => return,
                Some("NotFound" | "InvalidToken") => panic!("lease {fencing_token} was lost before its time"),
                // It may go on or not; up to `until` it does.
                _ => {}
            }
        }
        if dice.below(3) == 0 {
            return sleep(until.saturating_duration_since(Instant::now())).await;
        }
        self.ledger.lock().unwrap().change(name, fencing_token, |told| told.is_given_up = true);
        let told = self.post("release", &lease).await;
        if told.is_some_and(|told| told["status"] == "Released") {
            self.ledger.lock().unwrap().released.insert(fencing_token);
        }
    }

    /// What was told released is not held.
    async fn look(&self) {
        let released = self.ledger.lock().unwrap().released.clone();
        let (_, body) = crate::common::http::get(*self.addr.borrow(), "/api/locks").await;
        let locks: Value = serde_json::from_str(&body).unwrap();
        for lock in locks["locks"].as_array().unwrap() {
            let token = lock["fencingToken"].as_u64().unwrap();
            assert!(!released.contains(&token), "{lock} was told released");
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

fn start(store: &Path) -> Program {
    let mut command = Command::new(PROGRAM);
    command.args([
        "--line",
        "off",
        "--mysql",
        "off",
        "--http",
        "127.0.0.1:0",
        "--store-anyway",
        "--drain",
        "0s",
    ]);
    command.args(["--store-grace", GRACE]).arg("--store").arg(store);
    Program::spawn(&mut command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_lose_no_lease_and_make_no_two_owners() {
    let _alone = MACHINE.write().await;
    let crashes: u64 = std::env::var("CRASHES").map_or(25, |value| value.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("leases");
    let mut program = start(&store);
    let (addr, receiver) = watch::channel(program.addr);
    let scene = Scene { addr: receiver, ledger: Arc::default(), granted: Arc::default() };
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(scene.clone().client(Dice::new(client)));
    }
    let mut dice = Dice::new(99);
    for crash in 0..crashes {
        // A crash falls into the midst of the work, however slow the machine is.
        let enough = scene.ledger.lock().unwrap().grants + 1 + usize::try_from(dice.below(8)).unwrap();
        while scene.ledger.lock().unwrap().grants < enough {
            scene.granted.notified().await;
        }
        sleep(Duration::from_micros(dice.below(20_000))).await;
        // One of a few is an upgrade.
        if crash % 5 == 4 {
            program.signal("-TERM");
            assert!(program.wait().0.success());
        } else {
            drop(program);
        }
        program = start(&store);
        addr.send(program.addr).unwrap();
        scene.look().await;
    }
    drop(addr);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let ledger = scene.ledger.lock().unwrap();
    let (grants, released) = (ledger.grants, ledger.released.len());
    println!("{crashes} ends of the server, {grants} grants, {released} releases");
    assert!(released > 5, "{released} releases");
}
