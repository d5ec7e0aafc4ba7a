//! Several locks at once, and permits: all or none, no more than the limit, and a deadlock only where nobody can leave.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use getlockd::internal::{
    lock::{Acquire, Mode, OnBusy, Owner, SessionId, Verdict, Wait},
    stats::ReleaseCause,
};
use shuttle::thread;

use crate::{
    owners::{World, drop_it, ends, from, give_up, owners, take, takes_and_releases, takes_or_gives_up},
    schedules::{below, block_on, many, names, poll_and_drop, step, together},
};

const PERMIT: Mode = Mode::Permit(2);

/// Takes all of these locks, and waits for them as `wait` does.
fn take_all(
    world: &World,
    owner: &mut Owner,
    locks: &[usize],
    mode: Mode,
    wait: impl FnOnce(Wait<'_>) -> Option<Verdict>,
) -> bool {
    let names = locks.iter().map(|lock| world.names[*lock].clone()).collect();
    let before = owner.holds();
    let granted = ends(owner.take_several(names, mode, OnBusy::Queue), wait);
    assert_eq!(owner.holds(), before + if granted { locks.len() } else { 0 }, "a part of them");
    granted
}

fn to_its_end(mut wait: Wait<'_>) -> Verdict {
    block_on(wait.verdict())
}

fn work_in_all(world: &World, owner: &mut Owner, locks: &[usize], mode: Mode) {
    for lock in locks {
        world.work(owner, *lock, mode);
    }
    owner.release_all(ReleaseCause::Release, |_, _| {});
}

fn takes_two(world: &World, mut owner: Owner) {
    assert!(take_all(world, &mut owner, &[0, 1], Mode::Exclusive, |wait| Some(to_its_end(wait))));
    work_in_all(world, &mut owner, &[0, 1], Mode::Exclusive);
}

fn takes_two_in_another_order(world: &World, mut owner: Owner) {
    assert!(take_all(world, &mut owner, &[1, 0], Mode::Exclusive, |wait| Some(to_its_end(wait))));
    work_in_all(world, &mut owner, &[1, 0], Mode::Exclusive);
}

fn takes_two_or_gives_up(world: &World, mut owner: Owner) {
    if take_all(world, &mut owner, &[0, 1], Mode::Exclusive, |wait| Some(give_up(wait))) {
        work_in_all(world, &mut owner, &[0, 1], Mode::Exclusive);
    }
}

fn takes_two_or_drops(world: &World, mut owner: Owner) {
    if take_all(world, &mut owner, &[0, 1], Mode::Exclusive, drop_it) {
        work_in_all(world, &mut owner, &[0, 1], Mode::Exclusive);
    }
}

#[test]
fn several_in_any_order_never_deadlock() {
    many(|| owners(&World::plain(), [takes_two, takes_two_in_another_order]));
}

#[test]
fn several_beside_a_single_lock() {
    many(|| owners(&World::plain(), [takes_two, takes_and_releases]));
}

pub fn timeout_of_several() {
    owners(&World::plain(), [takes_and_releases, takes_two_or_gives_up]);
}

#[test]
fn timeout_of_several_beside_release() {
    many(timeout_of_several);
}

#[test]
fn dropped_wait_for_several_beside_release() {
    many(|| owners(&World::plain(), [takes_and_releases, takes_two_or_drops]));
}

#[test]
fn kill_query_ends_a_wait_for_several() {
    many(|| {
        let world = World::plain();
        let [mut holder, mut owner] = [1, 2].map(|id| world.owner(id));
        take(&mut holder, &world.names[1], Mode::Exclusive);
        let names = world.names[..2].to_vec();
        let Acquire::Queued(wait) = owner.take_several(names, Mode::Exclusive, OnBusy::Queue) else {
            unreachable!()
        };
        let releases = thread::spawn(move || drop(holder));
        let interrupts = {
            let world = world.clone();
            thread::spawn(move || world.table.interrupt(SessionId(2)))
        };
        let verdict = to_its_end(wait);
        assert_eq!(owner.holds(), if matches!(verdict, Verdict::Granted(_)) { 2 } else { 0 });
        drop(owner);
        assert_eq!(interrupts.join().unwrap(), verdict == Verdict::Interrupted);
        releases.join().unwrap();
        world.assert_nothing_is_left();
    });
}

/// It holds the first lock, for which another waits, and takes the second, for which that one waits too.
fn passes(world: &World, mut owner: Owner) {
    assert!(ends(owner.take(world.names[1].clone(), Mode::Exclusive, OnBusy::Queue), |wait| Some(
        to_its_end(wait)
    )));
    world.work(&owner, 1, Mode::Exclusive);
    owner.release_all(ReleaseCause::Release, |_, _| {});
}

/// Waits for two locks, of which others hold the first and take the second.
pub fn passing() {
    from(&World::plain(), [&[(0, Mode::Exclusive)], &[], &[]], [passes, takes_two, takes_or_gives_up]);
}

#[test]
fn holder_passes_a_request_that_waits_for_it() {
    many(passing);
}

fn takes_any(world: &World, mut owner: Owner) {
    for _ in 0..2 {
        let mut locks = vec![0, 1, 2];
        locks.remove(below(3));
        if below(2) == 0 {
            locks.reverse();
        }
        let mode = [Mode::Shared, Mode::Exclusive][below(2)];
        let took = match below(6) {
            0 => take_all(world, &mut owner, &locks, mode, |wait| Some(give_up(wait))),
            1 => take_all(world, &mut owner, &locks, mode, |mut wait| {
                poll_and_drop(async { wait.verdict().await }, 1 + below(3))
            }),
            _ => take_all(world, &mut owner, &locks, mode, |wait| Some(to_its_end(wait))),
        };
        if took {
            work_in_all(world, &mut owner, &locks, mode);
        }
    }
}

#[test]
fn any_several_are_granted_in_the_end() {
    many(|| owners(&World::new(names()), [takes_any, takes_any, takes_any]));
}

fn takes_a_permit(world: &World, mut owner: Owner) {
    take(&mut owner, &world.names[0], PERMIT);
    world.work_and_release(&mut owner, 0, PERMIT);
}

fn takes_a_permit_or_gives_up(world: &World, mut owner: Owner) {
    if ends(owner.take(world.names[0].clone(), PERMIT, OnBusy::Queue), |wait| Some(give_up(wait))) {
        world.work_and_release(&mut owner, 0, PERMIT);
    }
}

pub fn three_for_two_permits() {
    owners(&World::plain(), [takes_a_permit, takes_a_permit, takes_a_permit]);
}

#[test]
fn permits_are_no_more_than_the_limit() {
    many(three_for_two_permits);
    many(|| {
        owners(
            &World::plain(),
            [takes_a_permit, takes_a_permit_or_gives_up, takes_a_permit, takes_and_releases],
        );
    });
}

/// How an attempt ended that may be told of a deadlock.
fn told(taken: Acquire<Wait<'_>>) -> bool {
    let verdict = match taken {
        Acquire::Granted(_) => return false,
        Acquire::Queued(mut wait) => block_on(wait.verdict()),
        Acquire::Deadlock(_) => return true,
        other => panic!("{other:?}"),
    };
    match verdict {
        Verdict::Granted(_) => false,
        Verdict::Deadlock(_) => true,
        other => panic!("nobody ends this wait: {other:?}"),
    }
}

fn spawn(
    world: &Arc<World>,
    told_of: &Arc<AtomicUsize>,
    mut owner: Owner,
    life: impl FnOnce(&World, &mut Owner, &AtomicUsize) + Send + 'static,
) -> thread::JoinHandle<()> {
    let (world, told_of) = (world.clone(), told_of.clone());
    thread::spawn(move || {
        life(&world, &mut owner, &told_of);
        step();
        owner.release_all(ReleaseCause::Release, |_, _| {});
    })
}

/// Both hold a permit of the first lock. One wants a lock of the other, and that one a permit beside them: nobody leaves.
pub fn knot_of_permits() {
    let world = World::plain();
    let told_of = Arc::new(AtomicUsize::new(0));
    let mut holders = [1, 2].map(|id| world.owner(id));
    let mut asker = world.owner(3);
    for owner in &mut holders {
        take(owner, &world.names[0], PERMIT);
    }
    take(&mut asker, &world.names[1], Mode::Exclusive);
    let wants_the_lock = |world: &World, owner: &mut Owner, told_of: &AtomicUsize| {
        if told(owner.take(world.names[1].clone(), Mode::Shared, OnBusy::Queue)) {
            told_of.fetch_add(1, Ordering::SeqCst);
        }
    };
    let [first, second] = holders;
    together([
        spawn(&world, &told_of, first, wants_the_lock),
        spawn(&world, &told_of, second, wants_the_lock),
        spawn(&world, &told_of, asker, |world, owner, told_of| {
            if told(owner.take(world.names[0].clone(), PERMIT, OnBusy::Queue)) {
                told_of.fetch_add(1, Ordering::SeqCst);
            }
        }),
    ]);
    world.assert_nothing_is_left();
    TOLD.fetch_add(told_of.load(Ordering::SeqCst), Ordering::SeqCst);
}

static TOLD: AtomicUsize = AtomicUsize::new(0);

#[test]
fn knot_of_permits_is_told() {
    many(knot_of_permits);
    assert!(TOLD.load(Ordering::SeqCst) > 0, "it was too calm to prove anything");
}

/// One holder of a permit waits for the asker, the other does not wait.
pub fn permit_that_comes_back() {
    let world = World::plain();
    let [mut first, mut second, mut asker] = [1, 2, 3].map(|id| world.owner(id));
    take(&mut first, &world.names[0], PERMIT);
    take(&mut second, &world.names[0], PERMIT);
    take(&mut asker, &world.names[1], Mode::Exclusive);
    let Acquire::Queued(waits) = first.take(world.names[1].clone(), Mode::Exclusive, OnBusy::Queue) else {
        panic!("the asker holds it")
    };
    let releases = thread::spawn(move || drop(second));
    let taken = asker.take(world.names[0].clone(), PERMIT, OnBusy::Queue);
    assert!(!told(taken), "told of a deadlock where there is none");
    releases.join().unwrap();
    drop(waits);
    drop((first, asker));
    world.assert_nothing_is_left();
}

#[test]
fn permit_that_comes_back_is_no_deadlock() {
    many(permit_that_comes_back);
}
