//! Small scenarios in every order of their steps that there is: here nothing is left to chance.

use getlockd::internal::lock::{Acquire, Mode, OnBusy, Owner, SessionId, Verdict, Wait};
use shuttle::thread;

use crate::{
    owners::{
        World, drop_or_take, give_up, one_after_the_other, owners, shares_and_releases, take,
        takes_and_passes_on, takes_and_releases, takes_or_gives_up,
    },
    schedules::{all, block_on},
};

fn takes_and_ends(world: &World, mut owner: Owner) {
    take(&mut owner, &world.names[0], Mode::Exclusive);
    world.work(&owner, 0, Mode::Exclusive);
}

#[test]
fn release_beside_acquire() {
    all(one_after_the_other);
}

#[test]
fn disconnect_beside_acquire() {
    all(|| owners(&World::plain(), [takes_and_ends, takes_and_releases]));
}

#[test]
fn timeout_beside_release() {
    all(|| owners(&World::plain(), [takes_and_releases, takes_or_gives_up]));
}

#[test]
fn dropped_wait_beside_release() {
    all(drop_or_take);
}

#[test]
fn shared_beside_exclusive() {
    all(|| owners(&World::plain(), [takes_and_releases, shares_and_releases]));
}

#[test]
fn hold_passed_on_beside_acquire() {
    all(|| owners(&World::plain(), [takes_and_passes_on, takes_and_releases]));
}

/// Owner 2 waits for what owner 1 releases, is interrupted, and ends the wait in its way.
fn interrupted(end: fn(Wait<'_>) -> Verdict) {
    let world = World::plain();
    let [mut holder, mut owner] = [1, 2].map(|id| world.owner(id));
    take(&mut holder, &world.names[0], Mode::Exclusive);
    let Acquire::Queued(wait) = owner.take(world.names[0].clone(), Mode::Exclusive, OnBusy::Queue) else {
        unreachable!()
    };
    let releases = thread::spawn(move || drop(holder));
    let interrupts = {
        let world = world.clone();
        thread::spawn(move || world.table.interrupt(SessionId(2)))
    };
    let verdict = end(wait);
    assert_eq!(owner.holds(), usize::from(matches!(verdict, Verdict::Granted(_))));
    drop(owner);
    let told = interrupts.join().unwrap();
    assert_eq!(told, verdict == Verdict::Interrupted, "an interruption that only one side knows of");
    releases.join().unwrap();
    world.assert_nothing_is_left();
}

#[test]
fn kill_query_beside_release() {
    all(|| interrupted(|mut wait| block_on(wait.verdict())));
}

#[test]
fn timeout_beside_release_and_kill_query() {
    all(|| interrupted(give_up));
}
