//! Linearizability, over real sockets: clients on all wires take, share, upgrade, free and lose locks at
//! random, on the line wire also several at once and permits, and write down what they were answered and when. Then, for
//! each name, an order is searched in which a lock that is no more than a list of holders and a queue gives the same
//! answers, each between its request and its reply. If there is none the server has done what no lock may do.
//!
//! What is shown: one owner at a time; shared holders never beside an exclusive one; no more permits than the limit, and
//! another limit refused; counts; fencing tokens that grow from grant to grant; first come, first served, also for each lock of a
//! request of several; that a wait or a try is answered 0 only where others stood in its way, and a wait not before its time; that
//! the name behind the 0 of a request of several is the first that was missing; that a lease does not end before its time; that
//! the locks of a session that was killed are free by the answer to `KILL`. A client that goes without
//! waiting for its answer may or may not have had the lock, and is gone at some time.
//!
//! What is not: deadlocks, which are more than one lock (`model.rs` compares them), nor that several locks are granted at one
//! moment, nor whether one that holds something else was right to pass a request of several; that locks of a client
//! that is gone, or a lease, are free soon, only that they are at the end of a round; that `RELEASE_ALL_LOCKS`
//! frees several names at one moment, which is not promised. `crash.rs` records histories over the ends of the server, which
//! leases outlive.
//!
//! `LINEAR_SECONDS=600 cargo test --release --test proof linear` runs longer; `LINEAR_SEED` begins elsewhere. The
//! seed fixes what the clients want; who comes first is up to the machine.

mod checker;
mod histories;
mod load;
mod lock;
mod record;

use std::time::{Duration, Instant};

use crate::{
    MACHINE,
    caller::Wire,
    common::{TestServer, dice::Dice},
    lease::Lender,
    tally::Tally,
};
pub(crate) use checker::{Wrong, check};
use load::{Round, leases, reaper, sessions};
pub(crate) use lock::{Lock, Op};
pub(crate) use record::{Diary, Tape, When};

const NAMES: usize = 3;

/// Of each session-holding client; there are seven of them.
const ACTS: u64 = 60;

/// Of each of the four clients that take leases.
const LEASES: u64 = 20;

fn from_env(key: &str, unless: u64) -> u64 {
    std::env::var(key).map_or(unless, |value| value.parse().expect("a number"))
}

/// Everything that one seed wants, to its end; then nobody holds anything.
async fn play(server: &TestServer, seed: u64) -> Round {
    let addrs = server.addrs();
    let names = (0..NAMES).map(|name| format!("linear-{seed}-{name}")).collect();
    let round = Round { addrs, names, tape: Tape::new(), tally: Tally::default() };
    let dice = |client| Dice::new(seed * 100 + client);
    let lender = Lender::grpc(server.http).await;
    let all = async {
        tokio::join!(
            sessions(&round, Wire::Line, ACTS, dice(0)),
            sessions(&round, Wire::Line, ACTS, dice(1)),
            sessions(&round, Wire::Line, ACTS, dice(2)),
            sessions(&round, Wire::MySql, ACTS, dice(3)),
            sessions(&round, Wire::MySql, ACTS, dice(4)),
            sessions(&round, Wire::Hold, ACTS, dice(5)),
            sessions(&round, Wire::Hold, ACTS, dice(6)),
            leases(&round, Lender::Http(server.http), LEASES, dice(7)),
            leases(&round, Lender::Http(server.http), LEASES, dice(8)),
            leases(&round, lender.clone(), LEASES, dice(9)),
            leases(&round, lender, LEASES, dice(10)),
        )
    };
    tokio::select! { _ = all => {}, () = reaper(&round, dice(11)) => {} }
    server.until(|stats| stats.sessions == 0 && stats.table.locks == 0 && stats.table.waiters == 0).await;
    round
}

/// What all rounds came to.
#[derive(Default)]
struct Total {
    tally: Tally,
    histories: usize,
    steps: usize,
    most_positions: usize,
    undecided: usize,
}

impl Total {
    fn add(&mut self, seed: u64, round: Round) {
        self.tally.add_all(&round.tally);
        for (name, tracks) in round.tape.histories(NAMES).into_iter().enumerate() {
            self.histories += 1;
            self.steps += tracks.iter().map(|track| track.steps.len()).sum::<usize>();
            match check(Lock::default(), &tracks) {
                Ok(positions) => self.most_positions = self.most_positions.max(positions),
                Err(Wrong::GaveUp) => self.undecided += 1,
                Err(Wrong::NoOrder(story)) => panic!("LINEAR_SEED={seed}, name {name}: no order; {story}"),
            }
        }
    }

    fn tell(&self) {
        let Self { tally, histories, steps, most_positions, undecided } = self;
        println!(
            "{histories} histories, {steps} steps, {undecided} undecided, else at most {most_positions} positions"
        );
        println!("{tally}");
        assert!(*undecided <= 1 + histories / 100, "too many orders are possible to look at all of them");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_has_an_order() {
    let _alone = MACHINE.write().await;
    let server = TestServer::start();
    let time = Duration::from_secs(from_env("LINEAR_SECONDS", 4));
    let (first, start, mut total) = (from_env("LINEAR_SEED", 1), Instant::now(), Total::default());
    for seed in first.. {
        if start.elapsed() >= time && seed > first + 1 {
            break;
        }
        total.add(seed, Box::pin(play(&server, seed)).await);
    }
    total.tell();
    let kinds = [
        "granted",
        "several granted",
        "several not granted",
        "limit differs",
        "timed out",
        "deadlock",
        "wait killed",
        "killed",
        "left open",
        "lease found ended",
    ];
    total.tally.assert_has(&kinds);
}
