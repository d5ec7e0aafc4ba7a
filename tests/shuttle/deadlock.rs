//! Deadlocks: each one is told, to one who waits in it, and nothing else is told as one.
//!
//! Here nobody gives up. So a cycle that were not told would hang, which shuttle reports; and one
//! that is told must still stand when it is looked at, since only its last waiter can undo it.

use std::sync::atomic::{AtomicUsize, Ordering};

use getlockd::{
    internal::{
        lock::{Acquire, Cycle, Link, Mode, OnBusy, Owner, SessionId, Table, Verdict},
        stats::ReleaseCause,
    },
    name::Name,
};

use crate::{
    owners::{World, from, owners},
    schedules::{below, block_on, many, names},
};

/// Whether it is held now; not if waiting for it would have closed a cycle, which is checked.
pub fn take(world: &World, owner: &mut Owner, lock: usize, mode: Mode) -> bool {
    let (me, name) = (owner.id(), &world.names[lock]);
    match owner.take(name.clone(), mode, OnBusy::Queue) {
        Acquire::Granted(_) => true,
        Acquire::Queued(mut wait) => match block_on(wait.verdict()) {
            Verdict::Granted(_) => true,
            Verdict::Deadlock(cycle) => is_told(world, me, name, &cycle),
            verdict => panic!("nobody ended this wait: {verdict:?}"),
        },
        Acquire::Deadlock(cycle) => is_told(world, me, name, &cycle),
        Acquire::Busy(_) | Acquire::Full | Acquire::LimitDiffers(..) => unreachable!(),
    }
}

/// Of a cycle that stands, and begins with the asker. It is refused.
fn is_told(world: &World, me: SessionId, name: &Name, cycle: &Cycle) -> bool {
    assert_eq!((cycle.links[0].waiter, &cycle.links[0].name), (me, name));
    assert_it_stands(&world.table, me, cycle);
    false
}

fn assert_it_stands(table: &Table, asker: SessionId, Cycle { links, length }: &Cycle) {
    assert_eq!(links.len(), *length, "all of a short one is told");
    let next = links.iter().cycle().skip(1);
    for (Link { waiter, name, holder }, next) in links.iter().zip(next) {
        let holders = table.holds_of(name, 10).rows;
        let holds = holders.iter().any(|lock| lock.holder.session == *holder);
        let waits = *waiter == asker || table.waits_for(*waiter).as_ref() == Some(name);
        assert!(
            holds && waits && next.waiter == *holder,
            "told of a deadlock where there is none: {links:?}"
        );
    }
}

fn takes_the_next_too(world: &World, owner: &mut Owner, locks: usize, told: &AtomicUsize) {
    let mine = usize::try_from(owner.id().0).unwrap() - 1;
    assert!(take(world, owner, mine, Mode::Exclusive));
    let next = (mine + 1) % locks;
    if take(world, owner, next, Mode::Exclusive) {
        world.work_and_release(owner, next, Mode::Exclusive);
    } else {
        told.fetch_add(1, Ordering::SeqCst);
    }
    world.work_and_release(owner, mine, Mode::Exclusive);
}

static TOLD: AtomicUsize = AtomicUsize::new(0);

pub fn two_cross() {
    let life = |world: &World, mut owner: Owner| takes_the_next_too(world, &mut owner, 2, &TOLD);
    owners(&World::new(names()), [life, life]);
}

#[test]
fn deadlock_of_two_is_told() {
    many(two_cross);
    assert!(TOLD.load(Ordering::SeqCst) > 0, "it was too calm to prove anything");
}

pub fn three_in_a_ring() {
    let life = |world: &World, mut owner: Owner| takes_the_next_too(world, &mut owner, 3, &TOLD);
    owners(&World::new(names()), [life, life, life]);
}

#[test]
fn deadlock_of_three_is_told() {
    many(three_in_a_ring);
    assert!(TOLD.load(Ordering::SeqCst) > 0, "it was too calm to prove anything");
}

/// Takes any two locks, or one shared and then alone.
fn takes_two(world: &World, mut owner: Owner) {
    let mode = || [Mode::Shared, Mode::Exclusive][below(2)];
    for _ in 0..2 {
        let first = (below(2), mode());
        let second = (below(3), mode());
        if take(world, &mut owner, first.0, first.1) && take(world, &mut owner, second.0, second.1) {
            let was_alone = first == (second.0, Mode::Exclusive);
            world.work(&owner, second.0, if was_alone { Mode::Exclusive } else { second.1 });
        }
        owner.release_all(ReleaseCause::Release, |_, _| {});
    }
}

pub fn any_two() {
    owners(&World::new(names()), [takes_two, takes_two, takes_two]);
}

#[test]
fn every_deadlock_is_told_and_every_report_is_real() {
    many(any_two);
}

fn shares_and_upgrades(world: &World, mut owner: Owner) {
    assert!(take(world, &mut owner, 0, Mode::Shared));
    if take(world, &mut owner, 0, Mode::Exclusive) {
        world.work(&owner, 0, Mode::Exclusive);
    } else {
        world.work(&owner, 0, Mode::Shared);
    }
}

pub fn upgrades() {
    owners(&World::new(names()), [shares_and_upgrades, shares_and_upgrades, shares_and_upgrades]);
}

#[test]
fn deadlock_of_two_upgrades_is_told() {
    many(upgrades);
}

/// Owner 1 frees what the others wait for before it waits for them.
pub fn one_releases_first() {
    const FREE: (usize, Mode) = (0, Mode::Exclusive);
    let releases_first = |world: &World, mut owner: Owner| {
        owner.release(&world.names[0]);
        assert!(take(world, &mut owner, 1, Mode::Exclusive), "told of a deadlock where there is none");
    };
    let waits = |world: &World, mut owner: Owner| assert!(take(world, &mut owner, 0, Mode::Exclusive));
    let holds: [&[_]; 3] = [&[FREE, (2, Mode::Exclusive)], &[(1, Mode::Exclusive)], &[]];
    from(&World::new(names()), holds, [releases_first, waits, waits]);
}

#[test]
fn former_cycle_is_no_deadlock() {
    many(one_releases_first);
}

/// Owner 2 may close a cycle with owner 3. If so it is refused, and its wait closes no cycle with owner 1.
pub fn two_cycles_share_a_wait() {
    const ALONE: Mode = Mode::Exclusive;
    let asks_for_a = |world: &World, mut owner: Owner| {
        take(world, &mut owner, 0, ALONE);
    };
    let asks_for_b = |world: &World, mut owner: Owner| {
        take(world, &mut owner, 1, ALONE);
    };
    let asks_for_c = |world: &World, mut owner: Owner| {
        take(world, &mut owner, 2, ALONE);
    };
    let shares_c: &[_] = &[(2, Mode::Shared)];
    from(
        &World::new(names()),
        [shares_c, &[(0, ALONE), (1, ALONE)], shares_c],
        [asks_for_b, asks_for_c, asks_for_a],
    );
}

#[test]
fn refused_wait_is_in_no_other_deadlock() {
    many(two_cycles_share_a_wait);
}
