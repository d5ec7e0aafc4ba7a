//! Owners on the table: who is granted, and that nobody and nothing is forgotten.

use std::sync::Arc;

use getlockd::{
    internal::lock::{Acquire, Mode, OnBusy, Owner, Released, SessionId, Table, Verdict, Wait},
    name::Name,
};
use shuttle::{
    sync::{Barrier, atomic::AtomicBool, atomic::Ordering},
    thread,
};

use crate::{
    inside::Inside,
    schedules::{below, block_on, many, names, poll_and_drop, step, together},
};

const NAMES: usize = 3;

/// A table, and who is inside of each of its locks.
pub struct World {
    pub table: Arc<Table>,
    pub names: [Name; NAMES],
    inside: Inside,
}

impl World {
    pub fn new(names: [Name; NAMES]) -> Arc<Self> {
        Arc::new(Self { table: Arc::default(), names, inside: Inside::default() })
    }

    /// For a scenario without dice.
    pub fn plain() -> Arc<Self> {
        Self::new(["a", "b", "c"].map(|name| Name::new(name).unwrap()))
    }

    pub fn owner(&self, id: u32) -> Owner {
        Owner::new(SessionId(id), self.table.clone())
    }

    /// Lets others run while `owner` is inside.
    pub fn work(&self, owner: &Owner, lock: usize, mode: Mode) {
        self.inside.enter(lock, mode, owner.token(&self.names[lock]).unwrap());
        step();
        self.inside.leave(lock, mode);
    }

    pub fn work_and_release(&self, owner: &mut Owner, lock: usize, mode: Mode) {
        self.work(owner, lock, mode);
        let released = owner.release(&self.names[lock]);
        assert!(matches!(released, Released::One | Released::Last(_)), "{released:?}");
    }

    pub fn assert_nothing_is_left(&self) {
        assert!(self.table.is_empty(), "something is left: {:?}", self.table);
    }
}

/// Owners 1, 2 and so on hold locks, and then each lives its life in its thread, to its end.
pub fn from<const N: usize>(world: &Arc<World>, holds: [&[(usize, Mode)]; N], lives: [fn(&World, Owner); N]) {
    let hold = |(id, locks): (u32, &[(usize, Mode)])| {
        let mut owner = world.owner(id);
        for (lock, mode) in locks {
            take(&mut owner, &world.names[*lock], *mode);
        }
        owner
    };
    let ready: Vec<_> = (1..).zip(holds).map(hold).collect();
    together(ready.into_iter().zip(lives).map(|(owner, life)| {
        let world = world.clone();
        thread::spawn(move || life(&world, owner))
    }));
    world.assert_nothing_is_left();
}

/// As [`from`], from nothing.
pub fn owners<const N: usize>(world: &Arc<World>, lives: [fn(&World, Owner); N]) {
    from(world, [&[]; N], lives);
}

/// Takes a lock, and waits for it as `wait` does. Whether it is held then.
fn take_and(
    owner: &mut Owner,
    name: &Name,
    mode: Mode,
    wait: impl FnOnce(Wait<'_>) -> Option<Verdict>,
) -> bool {
    ends(owner.take(name.clone(), mode, OnBusy::Queue), wait)
}

/// Whether what was asked for is held after a wait that ends as `wait` ends it.
pub fn ends(taken: Acquire<Wait<'_>>, wait: impl FnOnce(Wait<'_>) -> Option<Verdict>) -> bool {
    match taken {
        Acquire::Granted(_) => true,
        Acquire::Queued(queued) => matches!(wait(queued), Some(Verdict::Granted(_))),
        other => panic!("{other:?}"),
    }
}

/// Waits until it is granted.
pub fn take(owner: &mut Owner, name: &Name, mode: Mode) {
    let granted = take_and(owner, name, mode, |mut wait| Some(block_on(wait.verdict())));
    assert!(granted, "nobody ends this wait");
}

pub fn give_up(mut wait: Wait<'_>) -> Verdict {
    wait.give_up()
}

pub fn drop_it(wait: Wait<'_>) -> Option<Verdict> {
    drop(wait);
    None
}

pub fn takes_and_releases(world: &World, mut owner: Owner) {
    take(&mut owner, &world.names[0], Mode::Exclusive);
    world.work_and_release(&mut owner, 0, Mode::Exclusive);
}

pub fn shares_and_releases(world: &World, mut owner: Owner) {
    take(&mut owner, &world.names[0], Mode::Shared);
    world.work_and_release(&mut owner, 0, Mode::Shared);
}

pub fn takes_or_gives_up(world: &World, mut owner: Owner) {
    if take_and(&mut owner, &world.names[0], Mode::Exclusive, |wait| Some(give_up(wait))) {
        world.work_and_release(&mut owner, 0, Mode::Exclusive);
    }
}

pub fn takes_or_drops(world: &World, mut owner: Owner) {
    if take_and(&mut owner, &world.names[0], Mode::Exclusive, drop_it) {
        world.work_and_release(&mut owner, 0, Mode::Exclusive);
    }
    assert_eq!(owner.holds(), 0);
}

pub fn one_after_the_other() {
    owners(&World::plain(), [takes_and_releases, takes_and_releases]);
}

pub fn drop_or_take() {
    owners(&World::plain(), [takes_and_releases, takes_or_drops]);
}

pub fn one_waits_one_leaves() {
    owners(&World::plain(), [takes_and_releases, takes_or_drops, takes_and_releases, takes_or_gives_up]);
}

#[test]
fn lock_passes_on_when_waiters_leave() {
    many(one_waits_one_leaves);
}

pub fn readers_and_a_writer() {
    owners(&World::plain(), [shares_and_releases, takes_and_releases, shares_and_releases, takes_or_drops]);
}

#[test]
fn shared_holders_coexist_and_exclusive_is_alone() {
    many(readers_and_a_writer);
}

/// Two that share wait for each other inside, so each hangs unless both are let in.
fn meet(world: &Arc<World>, first: fn(&World, &Barrier), second: fn(&World, &Barrier)) {
    let meeting = Arc::new(Barrier::new(2));
    together([first, second].map(|life| {
        let (world, meeting) = (world.clone(), meeting.clone());
        thread::spawn(move || life(&world, &meeting))
    }));
}

fn meets(world: &World, id: u32, meeting: &Barrier) {
    let mut owner = world.owner(id);
    take(&mut owner, &world.names[0], Mode::Shared);
    meeting.wait();
    world.work_and_release(&mut owner, 0, Mode::Shared);
}

pub fn neighbours() {
    let world = World::plain();
    let mut owner = world.owner(1);
    take(&mut owner, &world.names[0], Mode::Exclusive);
    let releasing = {
        let world = world.clone();
        thread::spawn(move || world.work_and_release(&mut owner, 0, Mode::Exclusive))
    };
    meet(&world, |world, meeting| meets(world, 2, meeting), |world, meeting| meets(world, 3, meeting));
    releasing.join().unwrap();
    world.assert_nothing_is_left();
}

#[test]
fn adjacent_shared_waiters_are_granted_together() {
    many(neighbours);
}

pub fn one_between() {
    let world = World::plain();
    let between = {
        let world = world.clone();
        thread::spawn(move || takes_or_gives_up(&world, world.owner(1)))
    };
    meet(&world, |world, meeting| meets(world, 2, meeting), |world, meeting| meets(world, 3, meeting));
    between.join().unwrap();
    world.assert_nothing_is_left();
}

#[test]
fn leaving_waiter_unblocks_waiters_behind_it() {
    many(one_between);
}

pub fn upgrade_dropped() {
    let world = World::plain();
    let other = {
        let world = world.clone();
        thread::spawn(move || shares_and_releases(&world, world.owner(1)))
    };
    let upgrades = |world: &World, meeting: &Barrier| {
        let mut owner = world.owner(2);
        take(&mut owner, &world.names[0], Mode::Shared);
        if take_and(&mut owner, &world.names[0], Mode::Exclusive, drop_it) {
            world.work_and_release(&mut owner, 0, Mode::Exclusive);
            assert!(matches!(owner.release(&world.names[0]), Released::Last(_)));
            take(&mut owner, &world.names[0], Mode::Shared);
        }
        meeting.wait();
        world.work_and_release(&mut owner, 0, Mode::Shared);
    };
    meet(&world, upgrades, |world, meeting| meets(world, 3, meeting));
    other.join().unwrap();
    world.assert_nothing_is_left();
}

#[test]
fn dropped_upgrade_leaves_the_lock_shared() {
    many(upgrade_dropped);
}

/// Passes a lock on in the midst of its work, to an owner that goes on with it and releases it.
fn passes_on(world: &World, mut owner: Owner, mode: Mode) {
    let (name, mut next) = (&world.names[0], world.owner(10 + owner.id().0));
    take(&mut owner, name, mode);
    let token = owner.token(name).unwrap();
    world.inside.enter(0, mode, token);
    step();
    let passed = owner.transfer(name, &mut next, 1).map(|(hold, count)| (hold.session, hold.token, count));
    assert_eq!(passed, Some((next.id(), token, 1)), "lost on its way to somebody else");
    assert!(!owner.has(name) && next.token(name) == Some(token));
    drop(owner);
    step();
    world.inside.leave(0, mode);
    assert!(matches!(next.release(name), Released::Last(_)));
}

pub fn takes_and_passes_on(world: &World, owner: Owner) {
    passes_on(world, owner, Mode::Exclusive);
}

fn shares_and_passes_on(world: &World, owner: Owner) {
    passes_on(world, owner, Mode::Shared);
}

pub fn hold_passed_on() {
    owners(&World::plain(), [takes_and_passes_on, takes_and_releases, shares_and_passes_on, takes_or_drops]);
}

#[test]
fn hold_passes_on_beside_waiters() {
    many(hold_passed_on);
}

fn shared_hold_passed_on() {
    let upgrades = |world: &World, mut owner: Owner| {
        take(&mut owner, &world.names[0], Mode::Exclusive);
        world.work_and_release(&mut owner, 0, Mode::Exclusive);
    };
    let shared: &[_] = &[(0, Mode::Shared)];
    from(&World::plain(), [&[], shared], [shares_and_passes_on, upgrades]);
}

#[test]
fn shared_hold_passes_on_beside_an_upgrade() {
    many(shared_hold_passed_on);
}

/// What was passed on closes no cycle: who holds it now waits for nothing.
fn waiters_cross_a_hold_passed_on() {
    let waits = |world: &World, mut owner: Owner| {
        let mut next = world.owner(10);
        assert!(owner.transfer(&world.names[0], &mut next, 1).is_some());
        let ends = thread::spawn(move || drop(next));
        take(&mut owner, &world.names[1], Mode::Exclusive);
        ends.join().unwrap();
    };
    let other = |world: &World, mut owner: Owner| take(&mut owner, &world.names[0], Mode::Exclusive);
    let [first, second]: [&[_]; 2] = [&[(0, Mode::Exclusive), (2, Mode::Exclusive)], &[(1, Mode::Exclusive)]];
    from(&World::plain(), [first, second], [waits, other]);
}

#[test]
fn waiter_for_a_hold_passed_on_is_no_deadlock() {
    many(waiters_cross_a_hold_passed_on);
}

/// One that shares comes to a shared lock for which an exclusive one waits.
pub fn in_turn() {
    let world = World::plain();
    let is_queued = Arc::new(AtomicBool::new(false));
    let mut owner = world.owner(1);
    take(&mut owner, &world.names[0], Mode::Shared);
    let first = {
        let (world, is_queued) = (world.clone(), is_queued.clone());
        thread::spawn(move || {
            let mut owner = world.owner(2);
            take_and(&mut owner, &world.names[0], Mode::Exclusive, |mut wait| {
                is_queued.store(true, Ordering::SeqCst);
                Some(block_on(wait.verdict()))
            });
            owner.token(&world.names[0]).unwrap()
        })
    };
    let second = {
        let world = world.clone();
        thread::spawn(move || {
            let mut owner = world.owner(3);
            let was_queued = is_queued.load(Ordering::SeqCst);
            take(&mut owner, &world.names[0], Mode::Shared);
            was_queued.then(|| owner.token(&world.names[0]).unwrap())
        })
    };
    world.work_and_release(&mut owner, 0, Mode::Shared);
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert!(second.is_none_or(|second| first < second), "overtaken");
    world.assert_nothing_is_left();
}

#[test]
fn newcomer_does_not_overtake() {
    many(in_turn);
}

/// Takes a lock in any way, ends the wait in any way, and says whether it is held.
fn take_somehow(owner: &mut Owner, name: &Name, mode: Mode) -> bool {
    let patience = [OnBusy::Queue, OnBusy::Try][usize::from(below(5) == 0)];
    match owner.take(name.clone(), mode, patience) {
        Acquire::Granted(_) => true,
        Acquire::Busy(_) | Acquire::Full | Acquire::LimitDiffers(..) => false,
        Acquire::Queued(mut wait) => {
            let verdict = match below(4) {
                0 => Some(give_up(wait)),
                1 => poll_and_drop(async { wait.verdict().await }, 1 + below(3)),
                _ => Some(block_on(wait.verdict())),
            };
            matches!(verdict, Some(Verdict::Granted(_)))
        }
        Acquire::Deadlock(cycle) => panic!("told of a deadlock where there is none: {cycle:?}"),
    }
}

/// Only ever waits for a lock behind all that it holds, so no cycle can close.
fn climbs(world: &World, mut owner: Owner) {
    let mut held: Vec<(usize, Mode)> = Vec::new();
    for _ in 0..5 {
        let lowest = held.iter().map(|(lock, _)| lock + 1).max().unwrap_or(0);
        if lowest == NAMES || !held.is_empty() && below(3) == 0 {
            let (lock, mode) = held.remove(below(held.len()));
            world.work_and_release(&mut owner, lock, mode);
        } else {
            let (lock, mode) = (lowest + below(NAMES - lowest), [Mode::Shared, Mode::Exclusive][below(2)]);
            if take_somehow(&mut owner, &world.names[lock], mode) {
                held.push((lock, mode));
            }
        }
        if below(8) == 0 {
            world.table.interrupt(SessionId(1 + u32::try_from(below(3)).unwrap()));
        }
    }
    for (lock, mode) in held {
        world.work(&owner, lock, mode);
    }
}

pub fn no_cycle() {
    owners(&World::new(names()), [climbs, climbs, climbs]);
}

#[test]
fn no_false_deadlock_is_told() {
    many(no_cycle);
}
