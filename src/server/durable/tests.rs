//! Crashes, simulated: the real locks, leases, writer and start, over a disk whose power is cut, in a time that passes at
//! once. One seed is a machine with some runs of the server, each of which ends by a crash or in good order. It fixes
//! what clients do and when the power is cut; what is kept in a map may come in another order.
//!
//! A ledger keeps what clients were told. What is shown: no two owners; no lease is lost before its end, or shorter after
//! a start; none that was told to have ended is back; fencing tokens and session ids grow, whatever the clock says.

mod clients;
mod disk;
mod ledger;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::{
    clients::{Scene, now},
    disk::{Disk, Image},
    ledger::Ledger,
};
use super::{OpenStore, first_numbers};
use crate::{
    core::{
        clock::simulated::{self, Clocks},
        lease::{Bounds, Durability, Leases, Unwritten},
        mutants::Bug,
        session::{Limits, LockService},
    },
    dice::Dice,
};

/// Of each seed.
const RUNS: u64 = 12;
const CLIENTS: u64 = 5;
const DAY: Duration = Duration::from_hours(24);

/// Leases of up to so long are not written.
const GRACES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(50), Duration::from_millis(500)];

/// What is left when the power is off.
struct Machine {
    file: Image,
    clocks: Clocks,
    ledger: Arc<Mutex<Ledger>>,
    dice: Dice,
}

/// How a run ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    PowerCut,
    Stop { drain: Duration },
}

impl Machine {
    fn new(seed: u64) -> Self {
        let clocks = Clocks { uptime: DAY, since_epoch: 20_000 * DAY };
        Self { file: Image::new(), clocks, ledger: Arc::default(), dice: Dice::new(seed) }
    }

    /// One run of the server, up to its end.
    fn run(&mut self) {
        let mut runtime = runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let (disk, copy) = runtime.block_on(self.serve());
        self.file = disk.cut_power();
        // Nobody writes from here on.
        drop(runtime);
        let mut ledger = self.ledger.lock().unwrap();
        ledger.crashed();
        if self.dice.one_in(10) {
            self.file = copy;
            ledger.forget();
        }
    }

    /// Resolves with the disk when the power is cut, or the server has stopped; and a copy of the file from the start of
    /// the run.
    ///
    /// Not cancel-safe: it is the whole run.
    async fn serve(&mut self) -> (Arc<Disk>, Image) {
        simulated::set(self.clocks);
        let grace = self.dice.pick(&GRACES);
        let scene = self.start(grace).await;
        scene.check_restored().await;
        self.spawn_clients(&scene);
        let copy = scene.disk.file();
        let ending = if self.dice.one_in(4) {
            Ending::Stop { drain: Duration::from_millis(self.dice.pick(&[0, 200])) }
        } else {
            Ending::PowerCut
        };
        let time = Duration::from_millis(50 + self.dice.below(3_000));
        tokio::select! {
            () = scene.disk.cut.cancelled() => {}
            () = sleep(time) => if let Ending::Stop { drain } = ending {
                tokio::select! {
                    () = scene.disk.cut.cancelled() => {}
                    () = scene.stop(drain) => {}
                }
            }
        }
        self.clocks = simulated::clocks().unwrap();
        let down = Duration::from_millis(self.dice.pick(&[0, 1, 30, 500]));
        self.clocks.uptime += down;
        self.clocks.since_epoch = match self.dice.below(8) {
            0 => self.clocks.since_epoch + DAY,
            1 => self.clocks.since_epoch.saturating_sub(DAY),
            _ => self.clocks.since_epoch + down,
        };
        (scene.disk.clone(), copy)
    }

    async fn start(&mut self, grace: Duration) -> Arc<Scene> {
        let opened = Instant::now();
        let (file, moments) = (self.file.clone(), 1 + self.dice.below(300));
        let (disk, state) =
            Disk::open(file, grace, moments, Dice::new(self.dice.below(1 << 40)), first_numbers);
        let disk = Arc::new(disk);
        let mut store = OpenStore::of(disk.clone(), state, opened);
        let writer = store.writer.clone();
        let service = LockService::with_store(Limits::DEFAULT, None, store.floors, Some(writer.clone()));
        let bounds = Bounds { min: Duration::from_millis(1), max: Duration::from_hours(1), count: 1_000_000 };
        let durability =
            Durability { writer, unwritten: Unwritten::UpTo(grace), request_key: store.request_key.clone() };
        let leases = Leases::with_store(service.clone(), bounds, TaskTracker::new(), Some(durability));
        store.recover(&service, &leases).await;
        Arc::new(Scene { leases, disk, ledger: self.ledger.clone(), store })
    }

    /// Those who have leases tend them, and others come.
    fn spawn_clients(&mut self, scene: &Arc<Scene>) {
        let running = scene.ledger().running(now());
        for told in running {
            // One of a few has vanished meanwhile.
            if !self.dice.one_in(4) {
                let (scene, mut dice) = (scene.clone(), self.some_dice());
                tokio::spawn(async move { scene.tend(told, &mut dice).await });
            }
        }
        for _ in 0..CLIENTS {
            tokio::spawn(scene.clone().client(self.some_dice()));
        }
    }

    fn some_dice(&mut self) -> Dice {
        Dice::new(self.dice.below(1 << 40))
    }
}

impl Scene {
    /// As the server stops.
    async fn stop(&self, drain: Duration) {
        let (registry, tasks) = (self.leases.service().registry(), self.leases.tasks());
        registry.drain();
        tasks.close();
        let is_drained = timeout(drain, tasks.wait()).await.is_ok();
        self.store.close(&self.leases).await;
        if !is_drained {
            registry.end_all();
            let _ = timeout(Duration::from_secs(2), tasks.wait()).await;
        }
    }
}

/// What some seeds came to.
#[derive(Debug, Default)]
struct Figures {
    runs: u64,
    grants: usize,
    restored: usize,
}

/// All runs of one seed.
fn simulate(seed: u64, figures: &mut Figures) -> Result<(), String> {
    let mut machine = Machine::new(seed);
    for run in 0..RUNS {
        machine.run();
        figures.runs += 1;
        let ledger = machine.ledger.lock().unwrap();
        if let Some(fault) = ledger.first_fault() {
            return Err(format!("seed {seed}, run {run}: {fault}"));
        }
    }
    let ledger = machine.ledger.lock().unwrap();
    figures.grants += ledger.grants;
    figures.restored += ledger.restored;
    Ok(())
}

#[test]
fn simulated_crashes_break_no_promise() {
    let crashes: u64 = std::env::var("CRASHES").map_or(1_200, |value| value.parse().expect("a number"));
    let mut figures = Figures::default();
    for seed in 0..crashes.div_ceil(RUNS) {
        if let Err(fault) = simulate(seed, &mut figures) {
            panic!("{fault}");
        }
    }
    println!("{figures:?}");
}

/// The grace of a start may be longer than leases that the store has; and a start after a good end does not wait.
#[tokio::test(start_paused = true)]
async fn lease_renewed_under_a_longer_grace_outlives_a_stop() {
    let mut machine = Machine::new(0);
    simulated::set(machine.clocks);
    let [first, longer] = [50, 500].map(Duration::from_millis);
    let scene = machine.start(first).await;
    let told = scene.take_for(Duration::from_millis(300)).await;
    scene.stop(Duration::ZERO).await;
    machine.file = scene.disk.file();
    let scene = machine.start(longer).await;
    sleep(Duration::from_millis(200)).await;
    scene.renew(&told).await;
    sleep(Duration::from_millis(200)).await;
    scene.stop(Duration::ZERO).await;
    machine.file = scene.disk.file();
    let scene = machine.start(longer).await;
    scene.check_restored().await;
    assert_eq!(machine.ledger.lock().unwrap().first_fault(), None);
}

/// Finds that bug within some seeds.
fn finds(bug: Bug, seeds: u64) {
    bug.plant();
    let found = (0..seeds).find_map(|seed| simulate(seed, &mut Figures::default()).err());
    let fault = found.unwrap_or_else(|| panic!("{bug:?} is not found by {seeds} seeds"));
    println!("{bug:?}: {fault}");
}

#[test]
fn finds_lease_told_before_it_is_written() {
    finds(Bug::ToldBeforeWritten, 50);
}

#[test]
fn finds_lease_deleted_after_its_lock_passed_on() {
    finds(Bug::DeletedAfterPassedOn, 50);
}

#[test]
fn finds_heartbeat_that_brings_back_a_lease() {
    finds(Bug::HeartbeatResurrects, 50);
}

#[test]
fn finds_tokens_by_the_clock_alone() {
    finds(Bug::FloorNotRead, 50);
}

#[test]
fn finds_shutdown_that_deletes_leases() {
    finds(Bug::ShutdownDeletes, 50);
}
