//! Three real etcds and three servers, each pair on a machine of its own (a namespace of the network), and clients on a
//! fourth. Clients of all wires take locks and leases through followers and directly, while nodes are killed and frozen,
//! links are cut, and etcd fails. Each round has one fault, a history of each name, and the beliefs of its clients.
//!
//! What is shown: the history of each name has an order in which one lock gives the same answers (`linear`), over the
//! ends of leaders; no two clients believe in one lock at the same time, by one clock, except where a client could not
//! hear and did not ask `KEEPALIVE` (those are counted); no grant is told behind a newer one; tokens grow over all
//! terms; a lease is given to nobody else before its time; what clients left behind is free soon.
//!
//! `cargo test --test proof cluster` takes some faults, `CLUSTER_MINUTES=60 cargo test --test proof cluster -- --nocapture`
//! takes all, again and again. `CLUSTER_SEED` begins elsewhere: the seed fixes faults, their lengths and what clients
//! want; the machine decides the order in which they come. It needs root, iproute2, iptables, etcd, strace and libfaketime.

mod claims;
mod disturbance;
mod fail_over;
mod fault;
mod load;
mod machines;
mod network;
mod node;
mod session;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Stdio},
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{
    MACHINE,
    common::{
        dice::Dice,
        etcd::etcd_program,
        skip::{all_drivers_are_wanted, skip},
    },
    linear::{Lock, Wrong, check},
    tally::Tally,
};
use claims::{Claim, Violation, compare};
use disturbance::Disturbances;
use fault::{Fault, Hand};
use load::Scene;
use machines::Machines;
use network::Place;
use node::Kind;

const NODES: usize = 3;
const DRAIN: Duration = Duration::from_millis(500);

/// Grants before a fault, so that it falls into the midst of the work.
const WARM: u64 = 40;

/// The machines, or none and a line that says why.
fn machines(kind: Kind) -> Option<Machines> {
    let is_missing = |program: &&&str| {
        let run = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_err()
    };
    let programs = ["ip", "iptables", "strace"].iter().find(is_missing);
    let of_etcd = ["etcd", "etcdctl"].iter().find(|program| etcd_program(program).is_none());
    let why = match programs.or(of_etcd) {
        Some(program) => Err(format!("{program} is not installed")),
        None => Machines::new(NODES, kind),
    };
    why.inspect_err(|why| {
        assert!(!all_drivers_are_wanted(), "a cluster in namespaces: {why}");
        skip("a cluster in namespaces", why, "it needs root, and what .ci/run installs");
    })
    .ok()
}

/// What all rounds came to.
#[derive(Default)]
struct Total {
    tally: Tally,
    faults: BTreeMap<&'static str, u64>,
    terms: BTreeSet<u64>,
    rounds: u64,
    pairs: u64,
    excused: u64,
    undecided: u64,
    histories: u64,
    longest_left_behind: Duration,
    longest_stall: Duration,
    last_token: u64,
    violations: Vec<String>,
}

/// Notes when the whole machine stands still, until it is dropped.
fn watch_stalls(
    scene: Arc<Scene>,
    disturbances: Arc<Mutex<Disturbances>>,
) -> std::thread::JoinHandle<Duration> {
    std::thread::spawn(move || {
        let (mut last, mut longest) = (scene.tape.now(), 0);
        while scene.goes_on() {
            std::thread::sleep(Duration::from_millis(5));
            let now = scene.tape.now();
            if now - last > 30_000_000 {
                disturbances.lock().unwrap().stall(last, now);
                longest = longest.max(now - last);
            }
            last = now;
        }
        Duration::from_nanos(longest)
    })
}

impl Total {
    /// One fault under load, to the end of all leases.
    fn round(&mut self, machines: &mut Machines, fault: Fault, seed: u64, is_long: bool) {
        let scene = Arc::new(Scene::new(machines.addrs(), seed, machines.setup.kind.ttl));
        let disturbances = Arc::new(Mutex::new(Disturbances::default()));
        let (loading, watching) = (scene.clone(), scene.clone());
        let load =
            machines.network.run(Place::Clients, move || async move { load::run(&loading, seed).await });
        let watcher = watch_stalls(watching, disturbances.clone());
        until_granted(&scene, WARM);
        let mut dice = Dice::new(seed);
        let mut hand =
            Hand { machines, scene: &scene, disturbances: &disturbances, dice: &mut dice, is_long };
        hand.inflict(fault);
        *self.faults.entry(fault.kind()).or_default() += 1;
        machines.until_all_serve();
        until_granted(&scene, WARM / 2);
        scene.end();
        load.join().unwrap();
        self.longest_stall = self.longest_stall.max(watcher.join().unwrap());
        let freeing = scene.clone();
        let freed =
            machines.network.run(Place::Clients, move || async move { load::all_free(&freeing).await });
        self.longest_left_behind = self.longest_left_behind.max(freed.join().unwrap());
        let scene = Arc::into_inner(scene).expect("all clients have ended");
        self.add(scene, &disturbances.lock().unwrap(), (fault, seed));
    }

    fn add(&mut self, scene: Scene, disturbances: &Disturbances, (fault, seed): (Fault, u64)) {
        let at = format!("CLUSTER_SEED={seed}, {fault:?}");
        let claims = scene.claims.into_inner().unwrap();
        let found = compare(&claims, disturbances);
        for (violation, first, second) in found.violations {
            self.violations.push(format!("{at}: {violation:?}\n  {first:?}\n  {second:?}"));
        }
        for early in scene.ended_early.into_inner().unwrap() {
            self.violations.push(format!("{at}: {early}"));
        }
        self.tokens(&claims, &at);
        for (name, tracks) in scene.tape.histories(scene.names.len()).into_iter().enumerate() {
            self.histories += 1;
            match check(Lock::default(), &tracks) {
                Ok(_) => {}
                Err(Wrong::GaveUp) => self.undecided += 1,
                Err(Wrong::NoOrder(story)) => {
                    self.violations.push(format!("{at}, name {name}: no order; {story}"));
                }
            }
        }
        self.rounds += 1;
        self.pairs += found.pairs;
        self.excused += found.excused;
        self.terms.extend(scene.terms.into_inner().unwrap());
        self.tally.add_all(&scene.tally);
    }

    /// Of all rounds, whatever their names.
    fn tokens(&mut self, claims: &[Claim], at: &str) {
        let before = self.last_token;
        for claim in claims {
            if claim.token <= before {
                self.violations.push(format!("{at}: {:?} after {before}: {claim:?}", Violation::Token));
            }
            self.last_token = self.last_token.max(claim.token);
        }
    }

    fn tell(&self) {
        let Self { tally, faults, terms, rounds, pairs, excused, undecided, histories, .. } = self;
        println!(
            "\n{rounds} rounds, {} terms, {pairs} pairs of claims, {excused} overlaps of clients that could not hear, \
             {histories} histories, {undecided} undecided, {} violations; free again within {:.1?}; \
             the machine stood still for {:.1?} at most",
            terms.len(),
            self.violations.len(),
            self.longest_left_behind,
            self.longest_stall,
        );
        println!("{tally}");
        for (kind, count) in faults {
            println!("| {kind} | {count} |");
        }
        for violation in &self.violations {
            println!("{violation}");
        }
    }
}

/// Returns when there were so many grants more.
fn until_granted(scene: &Scene, more: u64) {
    let (since, enough) = (Instant::now(), scene.grants.load(Ordering::SeqCst) + more);
    while scene.grants.load(Ordering::SeqCst) < enough {
        assert!(since.elapsed() < Duration::from_mins(1), "nobody is granted anything");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn from_env(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|value| value.parse().expect("a number"))
}

/// Those that a short run takes, in this order: each of another kind, and each of them moves the leader.
const SHORT: usize = 12;

#[test]
fn locks_of_a_cluster_stay_exclusive_under_faults() {
    let _alone = MACHINE.blocking_write();
    let minutes = from_env("CLUSTER_MINUTES");
    let ttl = Duration::from_secs(if minutes.is_some() { 5 } else { 3 });
    let kind = Kind { ttl, drain: DRAIN, is_cluster: true };
    let Some(mut machines) = machines(kind) else { return };
    let first = from_env("CLUSTER_SEED").unwrap_or(1);
    println!("CLUSTER_SEED={first}");
    let (since, mut total) = (Instant::now(), Total::default());
    for seed in first.. {
        let place = usize::try_from(seed - first).unwrap();
        let is_enough = match minutes {
            Some(minutes) => since.elapsed() > Duration::from_mins(minutes),
            None => place >= SHORT || since.elapsed() > Duration::from_mins(3),
        };
        if is_enough {
            break;
        }
        let fault =
            if place < Fault::ALL.len() { Fault::ALL[place] } else { Dice::new(seed).pick(&Fault::ALL) };
        let began = Instant::now();
        total.round(&mut machines, fault, seed, minutes.is_some());
        let (took, violations) = (began.elapsed(), total.violations.len());
        println!("{seed}: {fault:?}, {took:.1?}, {violations} violations");
        if minutes.is_none() {
            assert_eq!(total.violations, [] as [String; 0], "{}", machines.logs());
        }
    }
    total.tell();
    assert!(total.violations.is_empty(), "{} violations", total.violations.len());
    let kinds = [
        "granted",
        "granted to one that asks",
        "lease granted",
        "heartbeat",
        "closed while it asked",
        "lease released",
    ];
    total.tally.assert_has(&kinds);
}

/// That the checks would find two leaders: three servers that know nothing of each other.
#[test]
fn servers_that_know_nothing_of_each_other_are_found_out() {
    let _alone = MACHINE.blocking_write();
    let kind = Kind { ttl: Duration::from_secs(3), drain: DRAIN, is_cluster: false };
    let Some(machines) = machines(kind) else { return };
    let scene = Arc::new(Scene::new(machines.addrs(), 7, machines.setup.kind.ttl));
    let loading = scene.clone();
    let load = machines.network.run(Place::Clients, move || async move { load::run(&loading, 7).await });
    until_granted(&scene, WARM * 5);
    scene.end();
    load.join().unwrap();
    let scene = Arc::into_inner(scene).unwrap();
    let found = compare(&scene.claims.into_inner().unwrap(), &Disturbances::default()).violations;
    for violation in [Violation::Overlap, Violation::Token] {
        assert!(found.iter().any(|(found, ..)| *found == violation), "{violation:?} is not found: {found:?}");
    }
}
