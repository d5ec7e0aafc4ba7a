//! Clients of all wires, each by whatever node comes up, that write down what they are told: as histories for the
//! checker of `linear`, and as claims.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    claims::{Basis, Claim},
    session::{Asking, Got, NoAnswer, Over, PATIENCE, Session},
};
use crate::{
    caller::{Mode, NO, Said, Wire, Wish, YES},
    common::{Addrs, Client, dice::Dice},
    linear::{Diary, Op, Tape, When},
    tally::Tally,
};

const NAMES: usize = 5;

/// What all clients of a round share.
pub(super) struct Scene {
    pub addrs: Vec<Addrs>,
    pub names: Vec<String>,
    /// T: the longest holds and leases are some of it.
    pub ttl: Duration,
    pub tape: Tape,
    pub tally: Tally,
    pub claims: Mutex<Vec<Claim>>,
    pub terms: Mutex<BTreeSet<u64>>,
    /// Leases that were told to be over before their time.
    pub ended_early: Mutex<Vec<String>>,
    pub grants: AtomicU64,
    /// Requests that were begun.
    pub sends: AtomicU64,
    is_over: AtomicBool,
}

impl Scene {
    pub(super) fn new(addrs: Vec<Addrs>, seed: u64, ttl: Duration) -> Self {
        let names = (0..NAMES).map(|name| format!("round-{seed}-{name}")).collect();
        Self {
            addrs,
            names,
            ttl,
            tape: Tape::new(),
            tally: Tally::default(),
            claims: Mutex::default(),
            terms: Mutex::default(),
            ended_early: Mutex::default(),
            grants: AtomicU64::default(),
            sends: AtomicU64::default(),
            is_over: AtomicBool::default(),
        }
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    fn when(&self, from: u64) -> When {
        When { from, until: self.tape.now() }
    }

    fn any_node(&self, dice: &mut Dice) -> usize {
        usize::try_from(dice.below(self.addrs.len() as u64)).unwrap()
    }

    /// Short mostly; some holds are under way whenever a fault comes.
    fn any_hold(&self, dice: &mut Dice) -> Duration {
        if dice.one_in(10) {
            self.ttl * u32::try_from(1 + dice.below(4)).unwrap() / 3
        } else {
            Duration::from_millis(dice.below(60))
        }
    }

    /// The moment of a request, just before its send.
    fn asks(&self) -> u64 {
        self.sends.fetch_add(1, Ordering::SeqCst);
        self.tape.now()
    }

    fn granted(&self, by: &'static str) {
        self.tally.count(by);
        self.grants.fetch_add(1, Ordering::SeqCst);
    }

    fn claim(&self, mut claim: Claim) {
        // A lease may be told when its time, counted from the send of a request that waited, is over.
        claim.until = claim.until.max(claim.told);
        self.claims.lock().unwrap().push(claim);
    }
}

/// What is asked for next: the place of the name and how long it waits.
fn any_wish(dice: &mut Dice) -> (usize, u64) {
    let name = usize::try_from(dice.below(NAMES as u64)).unwrap();
    (name, dice.pick(&[0, 50, 300, 2_000]))
}

/// For the histories: timers of a server whose clock is fast end sooner.
fn at_least_ms(millis: u64) -> i64 {
    i64::try_from(millis * 97 / 100).unwrap()
}

/// All clients, until the scene ends.
pub(super) async fn run(scene: &Scene, seed: u64) {
    let dice = |client| Dice::new(seed * 100 + client);
    let clients: Vec<LocalBoxFuture<'_, ()>> = vec![
        Box::pin(open(scene, Wire::Line, dice(0))),
        Box::pin(open(scene, Wire::Line, dice(1))),
        Box::pin(open(scene, Wire::MySql, dice(2))),
        Box::pin(open(scene, Wire::MySql, dice(3))),
        Box::pin(open(scene, Wire::Hold, dice(4))),
        Box::pin(asking(scene, dice(5))),
        Box::pin(asking(scene, dice(6))),
        Box::pin(asking(scene, dice(7))),
        Box::pin(leases(scene, dice(8))),
        Box::pin(leases(scene, dice(9))),
        Box::pin(leases(scene, dice(10))),
    ];
    join_all(clients).await;
}

/// A lock that was asked for and answered, both by the tape, and its fencing token if it was granted.
struct Answered {
    name: usize,
    asked: u64,
    told: u64,
    token: Option<u64>,
}

/// Asks for any lock, and writes down what came of it. None if the session is over.
async fn any_lock(
    scene: &Scene,
    diary: &mut Diary,
    dice: &mut Dice,
    get: impl AsyncFnOnce(&str, u64) -> Result<Got, NoAnswer>,
) -> Option<Answered> {
    let (name, wait_ms) = any_wish(dice);
    let text = &scene.names[name];
    let wish = Wish { name: text, mode: Mode::Exclusive, wait_ms: at_least_ms(wait_ms) };
    let asked = scene.asks();
    match get(text, wait_ms).await {
        Ok(got) => {
            let when = scene.when(asked);
            diary.got(name, wish, when, got);
            Some(Answered { name, asked, told: when.until, token: got.1.filter(|_| got.0 == YES) })
        }
        Err(why) => {
            scene.tally.count(why.kind());
            diary.open_get(name, wish, asked);
            None
        }
    }
}

/// Sessions of plain clients, one after the other: they believe in what they hold until the connection ends.
async fn open(scene: &Scene, wire: Wire, mut dice: Dice) {
    while scene.goes_on() {
        let node = scene.any_node(&mut dice);
        let Some(session) = Session::open(wire, scene.addrs[node]).await else {
            scene.tally.count("not connected");
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut diary = scene.tape.diary(None);
        let alive = open_session(scene, node, session, &mut diary, &mut dice).await;
        diary.is_dropped(alive);
        scene.tape.keep(diary);
    }
}

/// The last moment at which the session is known to have lived.
async fn open_session(
    scene: &Scene,
    node: usize,
    mut session: Session,
    diary: &mut Diary,
    dice: &mut Dice,
) -> u64 {
    let mut alive = scene.tape.now();
    for _ in 0..=dice.below(8) {
        let get = async |name: &str, wait_ms| session.get(name, wait_ms).await;
        let answered = any_lock(scene, diary, dice, get).await;
        let Some(Answered { name, asked, told, token }) = answered else { return alive };
        alive = asked;
        let Some(token) = token else { continue };
        scene.granted("granted");
        let is_closed = timeout(scene.any_hold(dice), session.closed()).await.is_ok();
        let until = scene.tape.now();
        let basis = Basis::Open;
        scene.claim(Claim { name, basis, is_shared: false, node, asked, told, until, is_closed, token });
        if is_closed {
            scene.tally.count("told of the end");
            return alive;
        }
        if !session.release(&scene.names[name]).await {
            diary.open_release(name, until);
            return alive;
        }
        diary.released(name, scene.when(until), YES);
        alive = until;
    }
    alive
}

/// Clients that ask what is left.
async fn asking(scene: &Scene, mut dice: Dice) {
    while scene.goes_on() {
        let node = scene.any_node(&mut dice);
        let Some(session) = Asking::open(scene.addrs[node], &scene.tape, scene.ttl / 10).await else {
            scene.tally.count("not connected");
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        scene.terms.lock().unwrap().extend(session.term());
        let mut diary = scene.tape.diary(None);
        let alive = asking_session(scene, node, session, &mut diary, &mut dice).await;
        diary.is_dropped(alive);
        scene.tape.keep(diary);
    }
}

/// The last moment at which the session is known to have lived.
async fn asking_session(
    scene: &Scene,
    node: usize,
    mut session: Asking<'_>,
    diary: &mut Diary,
    dice: &mut Dice,
) -> u64 {
    let mut alive = scene.tape.now();
    for _ in 0..=dice.below(8) {
        let get = async |name: &str, wait_ms| session.get(name, wait_ms).await;
        let answered = any_lock(scene, diary, dice, get).await;
        let Some(Answered { name, asked, told, token }) = answered else { return alive };
        alive = asked;
        let Some(token) = token else { continue };
        scene.granted("granted to one that asks");
        let held = session.hold(scene.any_hold(dice)).await;
        let now = scene.tape.now();
        let until = now.min(session.believes_until());
        let basis = Basis::Told;
        let is_closed = held == Err(Over::Closed);
        scene.claim(Claim { name, basis, is_shared: false, node, asked, told, until, is_closed, token });
        if let Err(over) = held {
            scene.tally.count(if over == Over::Late { "nothing left" } else { "told of the end" });
            return if over == Over::Late { until } else { alive };
        }
        if session.release(&scene.names[name]).await != Ok(true) {
            diary.open_release(name, until);
            return alive;
        }
        diary.released(name, scene.when(until), YES);
        alive = until;
    }
    alive
}

/// A lease as its client knows it.
struct Held<'a> {
    name: usize,
    body: &'a Value,
    ttl: Duration,
    /// The send of the last request that was answered.
    heard: u64,
}

impl Held<'_> {
    fn promised_until(&self) -> u64 {
        self.heard + u64::try_from(self.ttl.as_nanos()).unwrap()
    }

    /// The same by the fastest clock of a server.
    fn ends_not_before(&self) -> u64 {
        self.heard + u64::try_from((self.ttl * 97 / 100).as_nanos()).unwrap()
    }
}

async fn leases(scene: &Scene, mut dice: Dice) {
    while scene.goes_on() {
        let mut diary = scene.tape.diary(None);
        lease(scene, &mut diary, &mut dice).await;
        scene.tape.keep(diary);
    }
}

async fn lease(scene: &Scene, diary: &mut Diary, dice: &mut Dice) {
    let (name, wait_ms) = any_wish(dice);
    let (node, is_shared) = (scene.any_node(dice), dice.one_in(4));
    let text = &scene.names[name];
    let mode = if is_shared { Mode::Shared } else { Mode::Exclusive };
    let wish = Wish { name: text, mode, wait_ms: at_least_ms(wait_ms) };
    // Some end within the time that a leader has left, others do not.
    let ttl = scene.ttl * dice.pick(&[1, 1, 2, 5]) / 4;
    let mode = if is_shared { "shared" } else { "exclusive" };
    let body = json!({"resourceName": text, "clientId": "x", "ttlMs": ttl.as_millis(), "waitMs": wait_ms, "mode": mode});
    let asked = scene.asks();
    let answer = post(scene.addrs[node], "acquire", &body).await;
    let when = scene.when(asked);
    let Answer::Said(told) = answer else {
        if answer == Answer::None {
            scene.tally.count("lease not answered");
            diary.open_get(name, wish, asked);
            diary.is_dropped(asked);
        }
        return sleep(Duration::from_millis(50)).await;
    };
    match told["status"].as_str() {
        Some("Acquired") => {
            scene.granted("lease granted");
            let token = told["fencingToken"].as_u64().unwrap();
            diary.got(name, wish, when, (YES, Some(token)));
            let lease = json!({"resourceName": text, "lockToken": told["lockToken"]});
            let held = Held { name, body: &lease, ttl, heard: asked };
            let until = hold(scene, held, diary, dice).await;
            let basis = Basis::Lease;
            let (told, is_closed) = (when.until, false);
            scene.claim(Claim { name, basis, is_shared, node, asked, told, until, is_closed, token });
        }
        Some("Busy") => diary.got(name, wish, when, (NO, None)),
        _ => {
            scene.tally.count("lease refused");
            diary.open_get(name, wish, asked);
            diary.is_dropped(asked);
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Heartbeats by any node, then the release or none; until when its client believed in it.
async fn hold(scene: &Scene, mut held: Held<'_>, diary: &mut Diary, dice: &mut Dice) -> u64 {
    let name = held.name;
    for _ in 0..dice.below(5) {
        sleep(held.ttl / 4).await;
        let from = scene.asks();
        let node = scene.any_node(dice);
        let told = post(scene.addrs[node], "heartbeat", held.body).await;
        let when = scene.when(from);
        match told.status() {
            Some("HeartbeatReceived") => {
                scene.tally.count("heartbeat");
                diary.seen(name, when, Op::Beat(YES));
                held.heard = from;
            }
            Some(status @ ("InvalidToken" | "NotFound")) => {
                gone(scene, &held, status, when);
                diary.ends(When { from: held.ends_not_before(), until: when.until });
                diary.seen(name, when, Op::Beat(ended(status)));
                return held.promised_until();
            }
            // It may have been heard or not: the lease is not shorter.
            _ => scene.tally.count("heartbeat not answered"),
        }
        if !scene.goes_on() {
            break;
        }
    }
    if dice.one_in(5) {
        scene.tally.count("lease left to expire");
        diary.ends(When { from: held.ends_not_before(), until: u64::MAX });
        return held.promised_until();
    }
    let from = scene.asks();
    let told = post(scene.addrs[scene.any_node(dice)], "release", held.body).await;
    let when = scene.when(from);
    match told.status() {
        Some("Released") => {
            scene.tally.count("lease released");
            diary.seen(name, when, Op::Release(YES));
        }
        Some(status @ ("InvalidToken" | "NotFound")) => {
            gone(scene, &held, status, when);
            diary.ends(When { from: held.ends_not_before(), until: when.until });
            diary.seen(name, when, Op::Release(ended(status)));
        }
        _ => diary.is_dropped(from.min(held.ends_not_before())),
    }
    from.min(held.promised_until())
}

/// The server says that the lease has ended: not before its time.
fn gone(scene: &Scene, held: &Held<'_>, status: &str, when: When) {
    scene.tally.count("lease found ended");
    if when.until < held.ends_not_before() {
        let early = Duration::from_nanos(held.ends_not_before() - when.until);
        let told = format!("{}: {status}, {early:?} before its time", scene.names[held.name]);
        scene.ended_early.lock().unwrap().push(told);
    }
}

fn ended(status: &str) -> Said {
    if status == "NotFound" { Said::Null } else { NO }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Said(Value),
    /// It was asked, and may have been heard.
    None,
    /// There was no connection.
    NotAsked,
}

impl Answer {
    fn status(&self) -> Option<&str> {
        if let Self::Said(told) = self { told["status"].as_str() } else { None }
    }
}

async fn post(addrs: Addrs, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST /api/lock/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(addrs.http)).await else {
        return Answer::NotAsked;
    };
    let mut reply = String::new();
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut reply).await
    };
    let is_answered = timeout(PATIENCE, asked).await.is_ok_and(|asked| asked.is_ok());
    let body = reply.split_once("\r\n\r\n").filter(|_| is_answered);
    body.and_then(|(_, body)| serde_json::from_str(body).ok()).map_or(Answer::None, Answer::Said)
}

/// Resolves when nobody holds a lock any more, with how long that took.
pub(super) async fn all_free(scene: &Scene) -> Duration {
    let since = scene.tape.now();
    let mut client = Client::connect(scene.addrs[0].line).await;
    for name in &scene.names {
        assert_eq!(client.ask(&format!("GET_LOCK {name} 19")).await, "1", "{name} is left behind");
    }
    assert_eq!(client.ask("RELEASE_ALL_LOCKS").await, NAMES.to_string());
    assert_eq!(client.ask("QUIT").await, "BYE");
    Duration::from_nanos(scene.tape.now() - since)
}
