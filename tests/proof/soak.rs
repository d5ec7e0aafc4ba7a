//! Much of everything for long, against the program itself; then nothing of it is left.
//!
//! Clients on all wires connect, lock, wait, share, upgrade, time out, run into deadlocks, leave in the
//! middle of a call, are killed, take leases and let them expire; on the line wire they take several locks at
//! once, and permits. Nobody holds a lock beside another, and tokens grow (`claims.rs`). At the end no lock, no
//! waiter, no session, no descriptor and no thread is left, each connection and each lease that may be had can be
//! had, and the process is as large as it was.
//!
//! As large as it was after the same load had run for a fifth of the time: an allocator keeps what it once
//! needed. What grows slower than 5 % in the time of the run is not seen.
//!
//! It reads /proc, so there is none of it elsewhere than on Linux.
//!
//! `SOAK_MINUTES=10 cargo test --release --test proof soak -- --nocapture`; without it, some seconds.

mod claims;
mod load;
mod noise;

use std::{
    io,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    MACHINE,
    caller::{Mode, Wire, Wish},
    common::{
        Addrs, Client, PATIENCE,
        dice::Dice,
        program::{PROGRAM, Program},
    },
    lease::Lender,
    tally::Tally,
};
use claims::Claims;
use load::{World, killer, leases, sessions};
use noise::noise;
use tokio::task::JoinSet;

/// How many connections and leases there are, and how many of them one address has.
const CONNECTIONS: [usize; 2] = [342, 300];
const LEASES: [usize; 2] = [228, 200];

/// A server, and one who looks at it.
struct Soaked {
    program: Program,
    addrs: Addrs,
    monitor: Client,
}

/// What a server needs while it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Needs {
    kilobytes: u64,
    descriptors: usize,
    threads: u64,
}

impl Soaked {
    async fn start() -> Self {
        let free = "127.0.0.1:0";
        let mut command = Command::new(PROGRAM);
        command.args(["--line", free, "--mysql", free, "--http", free]);
        command.args([
            "--max-connections",
            &CONNECTIONS[0].to_string(),
            "--max-leases",
            &LEASES[0].to_string(),
        ]);
        let mut program = Program::spawn(&mut command);
        let addrs = Addrs { line: program.addr, mysql: program.next_addr(), http: program.next_addr() };
        let mut log = program.log.take().unwrap();
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        let mut monitor = Client::connect(addrs.line).await;
        assert_eq!(monitor.ask("PING").await, "PONG");
        Self { program, addrs, monitor }
    }

    fn needs(&self) -> Needs {
        Needs {
            kilobytes: self.program.status("VmRSS"),
            descriptors: self.program.descriptors(),
            threads: self.program.status("Threads"),
        }
    }

    /// Everything for so long.
    async fn load(&self, time: Duration, seed: u64) -> Arc<World> {
        let until = Instant::now() + time;
        let world = World { addrs: self.addrs, claims: Claims::new(), tally: Tally::default(), until };
        let world = Arc::new(world);
        let mut seeds = seed..;
        let mut dice = || Dice::new(seeds.next().unwrap());
        let mut clients = JoinSet::new();
        for (wire, count) in [(Wire::Line, 8), (Wire::MySql, 6), (Wire::Hold, 4)] {
            for _ in 0..count {
                clients.spawn(sessions(world.clone(), wire, dice()));
            }
        }
        for _ in 0..3 {
            clients.spawn(leases(world.clone(), Lender::Http(self.addrs.http), dice()));
            clients.spawn(leases(world.clone(), Lender::grpc(self.addrs.http).await, dice()));
        }
        clients.spawn(killer(world.clone(), dice()));
        clients.spawn(noise(world.clone(), dice()));
        clients.spawn(noise(world.clone(), dice()));
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        world
    }

    /// Waits until nobody is left but the monitor, and nothing of the others; then what the server needs.
    async fn calm(&mut self, fresh: Needs) -> Needs {
        self.until(|stats, needs| {
            stats.starts_with("STATS sessions=1 locks=0 waiters=0 ") && needs.descriptors == fresh.descriptors
        })
        .await
    }

    async fn until(&mut self, wanted: impl Fn(&str, Needs) -> bool) -> Needs {
        let start = Instant::now();
        loop {
            let (stats, needs) = (self.monitor.list("STATS").await.remove(0), self.needs());
            if wanted(&stats, needs) {
                return needs;
            }
            assert!(start.elapsed() < PATIENCE, "left behind: {stats}, {needs:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// No place of a connection or of a lease has been lost.
    async fn all_places_are_free(&mut self, fresh: Needs) {
        let mut clients = Vec::new();
        for _ in 1..CONNECTIONS[1] {
            let mut client = Client::connect(self.addrs.line).await;
            assert_eq!(client.ask("PING").await, "PONG");
            clients.push(client);
        }
        drop(clients);
        self.calm(fresh).await;
        let mut leases = Vec::new();
        for place in 0..LEASES[1] {
            let wish = Wish { name: &format!("place-{place}"), mode: Mode::Exclusive, wait_ms: 0 };
            leases.push(Lender::Http(self.addrs.http).lend(wish, 60_000, "soak").await.ok().unwrap());
        }
        for mut lease in leases {
            lease.release().await;
        }
    }
}

fn tell(what: &str, needs: Needs, tally: &Tally) {
    let Needs { kilobytes, descriptors, threads } = needs;
    println!("{what}: {kilobytes} kB, {descriptors} descriptors, {threads} threads; {tally}");
}

/// What has to come, for the run to prove something.
const KINDS: [&str; 14] = [
    "deadlock",
    "dropped in a call",
    "granted",
    "KILL",
    "lease left to expire",
    "lease timed out",
    "permit granted",
    "quit",
    "session killed",
    "several granted",
    "several timed out",
    "timed out",
    "upgraded",
    "wait killed",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind() {
    let _alone = MACHINE.write().await;
    let minutes = std::env::var("SOAK_MINUTES").ok().map(|minutes| minutes.parse().expect("a number"));
    let time = minutes.map_or(Duration::from_secs(4), Duration::from_mins);
    let mut soaked = Soaked::start().await;
    let fresh = soaked.needs();
    tell("at the start", fresh, &Tally::default());
    let warming = soaked.load(time / 5, 1).await;
    let warm = soaked.calm(fresh).await;
    tell("warm", warm, &warming.tally);
    let world = soaked.load(time, 1_000).await;
    let end = soaked.calm(fresh).await;
    tell("at the end", end, &world.tally);
    world.tally.assert_has(&KINDS);
    assert_eq!(soaked.monitor.list("LOCKS").await, [""; 0]);
    assert_eq!(soaked.monitor.list("SESSIONS").await.len(), 1);
    if minutes.is_some() {
        assert!(end.kilobytes * 100 <= warm.kilobytes * 105, "it has grown");
    }
    soaked.all_places_are_free(fresh).await;
    soaked.calm(fresh).await;
    // Those that make long lists end when they have had nothing to do for 10 s. What reads files at the start may have
    // been there still when the server was fresh.
    soaked.until(|_, needs| needs.threads <= fresh.threads).await;
}
