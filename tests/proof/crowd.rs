//! A thousand sessions that want some of few locks, again and again: no deadlock is told, nobody starves, nobody is overtaken,
//! and every grant is exclusive, or as it was asked for.
//!
//! A session asks while it holds nothing, so there is no deadlock, whatever the order of the names: requests of several
//! locks hold nothing while they wait. A session that is in a queue is overtaken if one that asked later is granted a lock of
//! that queue before it.
//!
//! `CROWD_SECONDS=60 cargo test --release --test proof crowd -- --nocapture` runs longer.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use getlockd::{
    internal::{
        client_info::{Origin, Wire},
        lock::Mode,
        session::{Limits, LockService, Session},
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;

use crate::{
    MACHINE,
    common::{
        dice::Dice,
        session::{Command, Progress, Reply, start},
    },
    inside::Inside,
};

const SESSIONS: u64 = 1_000;
const NAMES: usize = 10;

/// How often others have a turn, at most, while a session holds its locks.
const MOST_YIELDS: u64 = 2;

/// What a session wants at once. Its locks are distinct, in any order.
struct Wish {
    locks: Vec<usize>,
    mode: Mode,
}

/// One request of any kind: of three of the names.
fn three(dice: &mut Dice) -> Wish {
    Wish { locks: some(dice, 3, 0..NAMES), mode: Mode::Exclusive }
}

/// Single or several ones, shared or not, and permits of the last three names, which nobody shares.
fn any(dice: &mut Dice) -> Wish {
    let count = dice.pick(&[1, 2, 3, 4]);
    match dice.below(6) {
        0 => {
            let locks = some(dice, 1, 7..NAMES);
            let mode = Mode::Permit(u16::try_from(locks[0] - 5).unwrap());
            Wish { locks, mode }
        }
        1 | 2 => Wish { locks: some(dice, count, 0..7), mode: Mode::Shared },
        3 => Wish { locks: some(dice, 1, 0..NAMES), mode: Mode::Exclusive },
        _ => Wish { locks: some(dice, count, 0..NAMES), mode: Mode::Exclusive },
    }
}

fn some(dice: &mut Dice, count: usize, from: Range<usize>) -> Vec<usize> {
    let mut locks = Vec::new();
    while locks.len() < count {
        let lock = from.start + usize::try_from(dice.below(from.len() as u64)).unwrap();
        if !locks.contains(&lock) {
            locks.push(lock);
        }
    }
    locks
}

/// The clock of the order: it ticks with each request, and with each one that has come into the queues.
#[derive(Default)]
struct Crowd {
    inside: Inside,
    ticks: AtomicU64,
    grants: AtomicU64,
    /// Of each lock those who wait, by the tick at which they were in its queue for sure.
    queues: [Mutex<BTreeMap<u64, Mode>>; NAMES],
    longest: Mutex<Longest>,
}

/// The longest wait, and the most grants to others during one.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    time: Duration,
    grants: u64,
}

impl Crowd {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// A request is in the queues: from now on whoever asks comes behind. Its number there.
    fn queued(&self, wish: &Wish) -> u64 {
        let number = self.tick();
        for lock in &wish.locks {
            self.queues[*lock].lock().unwrap().insert(number, wish.mode);
        }
        number
    }

    /// A request that was `asked` then is granted, after a wait as the number `queued`.
    fn granted(&self, wish: &Wish, asked: u64, queued: Option<u64>) {
        self.grants.fetch_add(1, Ordering::SeqCst);
        for lock in &wish.locks {
            let mut queue = self.queues[*lock].lock().unwrap();
            queued.map(|queued| queue.remove(&queued));
            // Those that may hold the lock beside this one may have been granted it, and do not know yet.
            let waits = |mode: &Mode| wish.mode == Mode::Exclusive || *mode == Mode::Exclusive;
            let overtaken = queue.range(..asked).any(|(_, mode)| waits(mode));
            assert!(!overtaken, "somebody who came before still waits for lock {lock}");
        }
    }

    fn waited(&self, since: Instant, grants: u64) {
        let mut longest = self.longest.lock().unwrap();
        longest.time = longest.time.max(since.elapsed());
        longest.grants = longest.grants.max(self.grants.load(Ordering::SeqCst) - grants);
    }
}

fn name(lock: usize) -> Name {
    Name::new(&format!("crowd-{lock}")).unwrap()
}

/// One request, its locks, and their release.
async fn visit(session: &mut Session, crowd: &Crowd, wish: &Wish, dice: &mut Dice) {
    let names: Vec<_> = wish.locks.iter().map(|lock| name(*lock)).collect();
    let (mode, timeout) = (wish.mode, Timeout::Forever);
    let (asked, since, grants) = (crowd.tick(), Instant::now(), crowd.grants.load(Ordering::SeqCst));
    let is_single = names.len() == 1 && (matches!(mode, Mode::Permit(_)) || dice.one_in(2));
    let command = if is_single {
        Command::GetLock { name: names[0].clone(), mode, timeout }
    } else {
        Command::GetLocks { names: names.clone(), mode, timeout }
    };
    let (answer, queued) = match start(session, command) {
        Progress::Done(answer) => (answer, None),
        Progress::Waiting(waiting) => {
            let queued = crowd.queued(wish);
            (waiting.finish().await.unwrap(), Some(queued))
        }
        Progress::Working(_) => unreachable!(),
    };
    assert_eq!(answer, Ok(Reply::Int(1)), "neither refused nor timed out");
    crowd.granted(wish, asked, queued);
    crowd.waited(since, grants);
    for (lock, name) in wish.locks.iter().zip(&names) {
        crowd.inside.enter(*lock, mode, session.token(name).unwrap());
    }
    for _ in 0..dice.below(MOST_YIELDS + 1) {
        tokio::task::yield_now().await;
    }
    wish.locks.iter().for_each(|lock| crowd.inside.leave(*lock, mode));
    let count = names.len() as u64;
    let Progress::Done(answer) = start(session, Command::ReleaseLocks(names)) else { unreachable!() };
    assert_eq!(answer, Ok(Reply::Int(count)));
}

async fn visits(
    service: Arc<LockService>,
    crowd: Arc<Crowd>,
    until: Instant,
    seed: u64,
    wish: fn(&mut Dice) -> Wish,
) {
    let mut dice = Dice::new(seed);
    let mut session = service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() });
    while Instant::now() < until {
        let wish = wish(&mut dice);
        visit(&mut session, &crowd, &wish, &mut dice).await;
    }
}

async fn crowd(wish: fn(&mut Dice) -> Wish) {
    let _alone = MACHINE.write().await;
    let seconds = std::env::var("CROWD_SECONDS").map_or(2, |seconds| seconds.parse().expect("a number"));
    let (service, crowd) = (LockService::new(Limits::default()), Arc::new(Crowd::default()));
    let until = Instant::now() + Duration::from_secs(seconds);
    let visits = |seed| tokio::spawn(visits(service.clone(), crowd.clone(), until, seed, wish));
    let tasks: Vec<_> = (1..=SESSIONS).map(visits).collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_mins(2), task).await.expect("no task waits forever").unwrap();
    }
    let (stats, grants) = (service.stats(), crowd.grants.load(Ordering::SeqCst));
    let longest = *crowd.longest.lock().unwrap();
    println!("{grants} grants in {seconds} s; the longest wait: {longest:?}");
    assert_eq!(stats.table.deadlocks, 0);
    assert_eq!((stats.sessions, stats.table.locks, stats.table.waiters), (0, 0, 0), "nothing is left behind");
    assert!(grants > 2 * SESSIONS, "it was too calm to prove anything");
    assert!(longest.grants < MOST_GRANTS, "somebody waited while {} others were granted", longest.grants);
}

/// Of a thousand others each may be granted something before; and once more if that stands in nobody's way.
const MOST_GRANTS: u64 = 5 * SESSIONS;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_of_ten_locks_in_any_order_never_deadlock() {
    crowd(three).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_shared_several_and_permits_wait_in_order() {
    crowd(any).await;
}
