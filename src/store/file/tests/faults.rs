//! Each step of a disk fails once, or from then on.

use super::*;

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The file is written again, as the writer does it.
    Repair,
    /// The server crashes at the fault, and the power is cut.
    Crash,
}

fn whole(leases: &Leases) -> Vec<DurableLease> {
    leases.iter().map(|(name, ttl)| lease(name, *ttl)).collect()
}

/// Some commits on a disk with a trap. False if they were done before it.
fn survives(trap: Trap, then: Then) -> bool {
    let (scene, mut told, mut dice) = (Scene::new(), Leases::new(), Dice(3));
    *scene.disk.trap.lock().unwrap() = Some(trap);
    let lift = || *scene.disk.trap.lock().unwrap() = None;
    let is_hit = || scene.disk.steps.load(Ordering::Relaxed) > trap.step;
    let Ok((store, _)) = scene.try_open() else {
        lift();
        assert_eq!(found(&scene.open().1), told, "{trap:?}, at the start");
        return true;
    };
    for _ in 0..4 {
        let mut after = told.clone();
        if store.file.commit(&some_batch(&mut after, &mut dice)).is_ok() {
            told = after;
            continue;
        }
        if then == Then::Crash {
            scene.disk.cut_power(&scene.path(), &mut dice);
            drop(store);
            lift();
            let kept = found(&scene.open().1);
            assert!(kept == told || kept == after, "{trap:?}: {kept:?} is neither {told:?} nor {after:?}");
            return true;
        }
        // Leases that were not written are refused, and those that have ended stay so.
        told.retain(|name, _| after.contains_key(name));
        if store.file.replace(&whole(&told), Floors::default()).is_err() {
            lift();
            store.file.replace(&whole(&told), Floors::default()).unwrap();
        }
    }
    let is_hit = is_hit();
    scene.disk.cut_power(&scene.path(), &mut dice);
    drop(store);
    lift();
    assert_eq!(found(&scene.open().1), told, "{trap:?}");
    is_hit
}

#[test]
fn fault_at_any_step_loses_and_brings_back_no_lease() {
    for (fault, is_lasting, then) in [
        (Fault::Error, false, Then::Repair),
        (Fault::Error, true, Then::Crash),
        (Fault::Full, true, Then::Repair),
        (Fault::ShortWrite, false, Then::Crash),
        (Fault::ShortWrite, true, Then::Repair),
    ] {
        let mut hits = 0;
        while survives(Trap { fault, step: hits, is_lasting }, then) {
            hits += 1;
        }
        println!("{fault:?}, {then:?}: {hits} steps");
        assert!(hits > 40, "{hits} steps");
    }
}
