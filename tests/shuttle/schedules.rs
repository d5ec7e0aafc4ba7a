//! Running a scenario in many orders, and what scenarios share.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};

use getlockd::{internal::mutants::Bug, name::Name};
use shuttle::{
    Config, FailurePersistence, Runner,
    rand::Rng,
    scheduler::{
        DfsScheduler, PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
    },
    thread::{self, JoinHandle},
};

/// How many orders of the steps of a scenario are run, half of them at random, half by PCT.
const SCHEDULES: usize = 20_000;

/// More than every order of a small scenario.
const TOO_MANY: usize = 3_000_000;

/// A planted bug is found in fewer, or not at all.
const SCHEDULES_TO_FIND: usize = 50_000;

/// PCT finds, with a known probability, bugs that need one less than so many switches at the right step.
const DEPTH: usize = 4;

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true;
    config
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    Runner::new(scheduler, config()).run(scenario)
}

/// Runs a scenario in many orders.
pub fn many(scenario: fn()) {
    let wanted = std::env::var("SCHEDULES").map_or(SCHEDULES, |wanted| wanted.parse().unwrap());
    let each = wanted.div_ceil(2);
    let ran = run(RandomScheduler::new(each), scenario) + run(PctScheduler::new(DEPTH, each), scenario);
    println!("{ran} schedules");
}

/// Runs a scenario in every order there is.
pub fn all(scenario: impl Fn() + Send + Sync + 'static) {
    let ran = run(DfsScheduler::new(Some(TOO_MANY), false), scenario);
    assert!(ran < TOO_MANY, "there are more orders than these");
    println!("{ran} schedules, all there are");
}

/// Checks that a schedule leads to the same steps when it is run again; else no failure could be.
pub fn twice(scenario: fn()) {
    run(UncontrolledNondeterminismCheckScheduler::new(RandomScheduler::new(1_000)), scenario);
}

/// Runs a scenario with a bug planted until it panics, the same way each time.
pub fn with(bug: Bug, scenario: fn()) {
    bug.plant();
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = {
        let runs = runs.clone();
        move || {
            runs.fetch_add(1, Ordering::Relaxed);
            scenario();
        }
    };
    let found = std::panic::catch_unwind(|| {
        let mut config = config();
        config.failure_persistence = FailurePersistence::None;
        Runner::new(RandomScheduler::new_from_seed(1, SCHEDULES_TO_FIND), config).run(counted);
    });
    println!("{bug:?}: {} schedules", runs.load(Ordering::Relaxed));
    if let Err(alarm) = found {
        std::panic::resume_unwind(alarm);
    }
}

/// Somebody else may run here.
pub fn step() {
    thread::sleep(Duration::ZERO);
}

pub fn below(sides: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(0..sides)
}

/// Different names, in alphabetic order; some share a shard of the table.
pub fn names<const N: usize>() -> [Name; N] {
    let mut letters: Vec<_> = ('a'..='h').collect();
    while letters.len() > N {
        letters.remove(below(letters.len()));
    }
    std::array::from_fn(|at| Name::new(&letters[at].to_string()).unwrap())
}

/// Runs threads to their ends. If one never ends, shuttle says "deadlock".
pub fn together(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    // All of them run before one is waited for.
    let threads: Vec<_> = threads.into_iter().collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    shuttle::future::block_on(future)
}

/// Polls a future so many times, and drops it if it does not resolve.
pub fn poll_and_drop<F: Future>(future: F, mut polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    block_on(std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        if polls == 0 { Poll::Ready(None) } else { Poll::Pending }
    }))
}
