//! How long nobody serves: after a kill, after SIGTERM, and that failures of etcd are none of ours.
//!
//! `FAIL_OVERS=50 cargo test --test proof fail_over -- --nocapture` measures. A watcher beside it sees when the machine
//! itself stood still: a try of that moment says nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{io::BufReader, net::TcpStream, time::sleep};

use super::{
    from_env,
    machines::Machines,
    network::Place,
    node::{self, Kind},
};
use crate::{
    MACHINE,
    common::{Addrs, Client, dice::Dice},
};

const TTL: Duration = Duration::from_secs(5);
/// What is promised: of the median, and of each.
const MEDIAN: Duration = Duration::from_millis(4_700);
const MOST: Duration = Duration::from_millis(5_200);
/// After a stop with a drain of nothing.
const HAND_OVER: Duration = Duration::from_millis(200);

/// How one try came out.
#[derive(Clone, Copy, Debug)]
struct Try {
    took: Duration,
    stalled: Duration,
    /// How often a client that came in between was turned away.
    refused: u32,
}

impl Try {
    /// What is left if the machine had not stood still.
    fn own(self) -> Duration {
        self.took.saturating_sub(self.stalled)
    }
}

/// Sums up how long the machine stood still, each time for more than 20 ms.
struct Watcher {
    is_over: Arc<AtomicBool>,
    stalled: thread::JoinHandle<Duration>,
}

impl Watcher {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::default());
        let over = is_over.clone();
        let stalled = thread::spawn(move || {
            let (mut last, mut stalled) = (Instant::now(), Duration::ZERO);
            while !over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(2));
                let gap = last.elapsed();
                stalled += if gap > Duration::from_millis(20) { gap } else { Duration::ZERO };
                last = Instant::now();
            }
            stalled
        });
        Self { is_over, stalled }
    }

    fn end(self) -> Duration {
        self.is_over.store(true, Ordering::SeqCst);
        self.stalled.join().unwrap()
    }
}

/// Resolves with the first grant by one of these nodes, and how often a client was turned away before.
async fn first_grant(addrs: Vec<Addrs>) -> u32 {
    let mut refused = 0;
    loop {
        for addr in &addrs {
            let Ok(stream) = TcpStream::connect(addr.line).await else { continue };
            let mut client = Client { stream: BufReader::new(stream) };
            client.send("GET_LOCK fail-over 0").await;
            if client.next().await.as_deref() == Some("1") {
                return refused;
            }
            refused += 1;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Ends the leader so, and measures until another one grants.
fn fail_over(machines: &mut Machines, end: impl FnOnce(&mut Machines, usize)) -> (usize, Try) {
    let leader = machines.leader();
    let mut addrs = machines.addrs();
    addrs.remove(leader);
    let watcher = Watcher::start();
    let since = Instant::now();
    end(machines, leader);
    let granted = machines.network.run(Place::Clients, move || first_grant(addrs));
    let refused = granted.join().unwrap();
    let took = since.elapsed();
    (leader, Try { took, stalled: watcher.end(), refused })
}

fn tell(what: &str, tries: &mut [Try]) -> Duration {
    tries.sort_by_key(|a| a.took);
    let (median, longest) = (tries[tries.len() / 2], tries[tries.len() - 1]);
    let within = tries.iter().filter(|one| one.took <= MOST).count();
    let refused: u32 = tries.iter().map(|one| one.refused).sum();
    println!(
        "\n| {what} | {} | {:.3?} | {:.3?} (the machine stood still for {:.3?} of it) | {within} within {MOST:?} | {refused} turned away |",
        tries.len(),
        median.took,
        longest.took,
        longest.stalled,
    );
    median.took
}

#[test]
fn fail_over_takes_as_long_as_promised() {
    let _alone = MACHINE.blocking_write();
    let kind = Kind { ttl: TTL, drain: Duration::ZERO, is_cluster: true };
    let Some(mut machines) = super::machines(kind) else { return };
    let (count, mut dice) = (from_env("FAIL_OVERS").unwrap_or(3), Dice::new(5));
    let mut tries = Vec::new();
    for _ in 0..count {
        // At any moment between two beats.
        thread::sleep(Duration::from_millis(1_000 + dice.below(1_000)));
        let (leader, one) =
            fail_over(&mut machines, |machines, leader| machines.nodes[leader].getlockd.kill());
        tries.push(one);
        machines.start(leader);
        machines.until_serves(leader);
    }
    let median = tell("kill -9 of the leader", &mut tries);
    for one in &tries {
        assert!(one.own() <= MOST, "{one:?}; {}", machines.logs());
    }
    assert!(count < 10 || median <= MEDIAN, "the median is {median:?}");

    let mut tries = Vec::new();
    for _ in 0..count.div_ceil(3) {
        thread::sleep(Duration::from_millis(1_000 + dice.below(1_000)));
        let (leader, one) =
            fail_over(&mut machines, |machines, leader| machines.nodes[leader].getlockd.terminate());
        tries.push(one);
        machines.await_end(leader);
        machines.start(leader);
        machines.until_serves(leader);
    }
    tell("SIGTERM of the leader, nothing to drain", &mut tries);
    for one in &tries {
        assert!(one.own() <= HAND_OVER, "{one:?}; {}", machines.logs());
    }
}

/// Holds a lock, until told; whether it was held throughout.
async fn holds_throughout(addr: Addrs, is_over: Arc<AtomicBool>) -> bool {
    let mut client = Client::connect(addr.line).await;
    assert_eq!(client.ask("GET_LOCK throughout 0").await, "1");
    while !is_over.load(Ordering::SeqCst) {
        client.send("PING").await;
        if client.next().await.is_none() {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    client.ask("RELEASE_LOCK throughout").await == "1"
}

/// The longest time in which these members of etcd, asked from outside, wrote nothing.
fn longest_gap(machines: &Machines, members: &[usize], is_over: &AtomicBool) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !is_over.load(Ordering::SeqCst) {
        if machines.etcd_writes(members) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    }
    longest.max(last.elapsed())
}

/// A leader gives up after that long without a beat. etcd, too, may take several elections.
const GIVES_UP: Duration = Duration::from_secs(3);

#[test]
fn failures_of_etcd_leader_cost_no_fail_over() {
    let _alone = MACHINE.blocking_write();
    let kind = Kind { ttl: TTL, drain: Duration::ZERO, is_cluster: true };
    let Some(mut machines) = super::machines(kind) else { return };
    let tries = from_env("FAIL_OVERS").unwrap_or(3).div_ceil(10);
    for kill in [true, false].repeat(usize::try_from(tries).unwrap()) {
        let (leader, etcd) = (machines.leader(), machines.etcd_leader());
        let is_over = Arc::new(AtomicBool::default());
        let (over, follower) =
            (is_over.clone(), node::addrs(&machines.network, (leader + 1) % machines.nodes.len()));
        let holder = machines.network.run(Place::Clients, move || holds_throughout(follower, over));
        if kill {
            machines.nodes[etcd].etcd.kill();
        } else {
            machines.nodes[etcd].etcd.freeze();
        }
        let members: Vec<_> = (0..machines.nodes.len()).filter(|node| *node != etcd).collect();
        let gap = thread::scope(|scope| {
            let gap = scope.spawn(|| longest_gap(&machines, &members, &is_over));
            thread::sleep(Duration::from_secs(8));
            is_over.store(true, Ordering::SeqCst);
            gap.join().unwrap()
        });
        let how = if kill { "killed" } else { "frozen" };
        let is_held = holder.join().unwrap();
        println!("\n| etcd's leader {how} | it wrote nothing for {gap:.1?} | held: {is_held} |");
        if gap < GIVES_UP {
            assert!(is_held, "a lock was lost; {}", machines.logs());
            assert_eq!(machines.leader(), leader);
        }
        if kill {
            machines.start_etcd(etcd);
        } else {
            machines.nodes[etcd].etcd.thaw();
        }
        machines.until_all_serve();
    }
}
