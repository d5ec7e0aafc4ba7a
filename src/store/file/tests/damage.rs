//! Files that were damaged, replaced, or are not what they should be.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn batch_of(names: &[&str]) -> Batch {
    let put = |name: &&str| {
        let lease = lease(name, 9);
        (lease.key, LeaseChange::Put(Arc::new(lease)))
    };
    Batch { changes: names.iter().map(put).collect(), floors: None }
}

fn names(state: &StoredState) -> Vec<String> {
    found(state).into_keys().collect()
}

/// The folder's files.
fn files(scene: &Scene) -> Vec<String> {
    let files = fs::read_dir(scene.folder.path()).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    files
}

/// That the file of a scene, however it is damaged, is refused, or has one of these states.
fn check_damage(scene: &Scene, states: &[Leases]) {
    let good = fs::read(scene.path()).unwrap();
    let mut dice = Dice(11);
    let mut refused = 0;
    for round in 0..300 {
        let mut bad = good.clone();
        let at = dice.below(bad.len());
        match round % 3 {
            0 => bad[at] ^= 1 << dice.below(8),
            1 => bad.truncate(at),
            _ => {
                let end = (at + SECTOR).min(bad.len());
                bad[at..end].fill(0);
            }
        }
        fs::write(scene.path(), &bad).unwrap();
        match scene.try_open() {
            Ok((_, state)) => {
                assert!(states.contains(&found(&state)), "round {round} at {at}: {:?}", found(&state));
            }
            Err(OpenError::Foreign { .. }) => refused += 1,
            Err(error) => panic!("round {round} at {at}: {error}"),
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn damaged_file_of_a_clean_stop_is_refused_or_whole() {
    let (scene, mut leases) = (Scene::new(), Leases::new());
    let (store, state) = scene.open();
    for _ in 0..20 {
        store.file.commit(&some_batch(&mut leases, &mut Dice(5))).unwrap();
    }
    store.file.close(state.floors, true).unwrap();
    drop(store);
    check_damage(&scene, &[leases]);
}

/// Damage to what the last commit wrote is not told from a commit that was cut off.
#[test]
fn damaged_file_of_a_crash_is_refused_or_a_commit_old() {
    let (scene, mut leases, mut dice) = (Scene::new(), Leases::new(), Dice(5));
    let (store, _) = scene.open();
    let mut before = Leases::new();
    for _ in 0..20 {
        before.clone_from(&leases);
        store.file.commit(&some_batch(&mut leases, &mut dice)).unwrap();
    }
    let crashed = fs::read(scene.path()).unwrap();
    drop(store);
    fs::write(scene.path(), crashed).unwrap();
    check_damage(&scene, &[leases, before]);
}

#[test]
fn empty_file_and_folder_are_refused_and_kept() {
    let scene = Scene::new();
    fs::write(scene.path(), "").unwrap();
    assert!(matches!(scene.try_open().unwrap_err(), OpenError::Foreign { .. }));
    assert_eq!(fs::read(scene.path()).unwrap(), b"");
    fs::remove_file(scene.path()).unwrap();
    fs::create_dir(scene.path()).unwrap();
    let error = scene.try_open().unwrap_err();
    assert!(matches!(error, OpenError::NotAFile(_)), "{error}");
}

#[test]
fn file_deleted_or_replaced_under_a_store_is_written_again() {
    let scene = Scene::new();
    let (store, _) = scene.open();
    store.file.commit(&batch_of(&["a"])).unwrap();
    for another in [None, Some("another")] {
        fs::remove_file(scene.path()).unwrap();
        if let Some(text) = another {
            fs::write(scene.path(), text).unwrap();
        }
        assert!(store.file.commit(&batch_of(&["b"])).is_err(), "nobody would find it");
        store.file.replace(&[lease("a", 9)], Floors::default()).unwrap();
        store.file.commit(&batch_of(&["c"])).unwrap();
    }
    drop(store);
    assert_eq!(names(&scene.open().1), ["a", "c"]);
}

#[test]
fn link_stays_a_link_when_its_file_is_replaced() {
    let [scene, at_truth] = [(); 2].map(|()| Scene::new());
    symlink(at_truth.path(), scene.path()).unwrap();
    assert!(matches!(scene.try_open().unwrap_err(), OpenError::Io { .. }), "it leads nowhere");
    drop(at_truth.open());
    let (store, _) = scene.open();
    assert!(matches!(at_truth.try_open().unwrap_err(), OpenError::InUse(_)));
    store.file.replace(&[lease("a", 9)], Floors::default()).unwrap();
    drop(store);
    assert!(fs::symlink_metadata(scene.path()).unwrap().is_symlink());
    assert_eq!(names(&at_truth.open().1), ["a"]);
}

#[test]
fn failed_replacement_leaves_nothing_behind() {
    let scene = Scene::new();
    let (store, _) = scene.open();
    fs::write(scene.path().with_extension("new"), "half").unwrap();
    store.file.replace(&[lease("a", 9)], Floors::default()).unwrap();
    assert_eq!(files(&scene), ["leases", "leases.lock"]);
    scene.disk.is_full.store(true, Ordering::Relaxed);
    assert!(store.file.replace(&[], Floors::default()).is_err());
    assert_eq!(files(&scene), ["leases", "leases.lock"]);
    for file in files(&scene) {
        let mode = fs::metadata(scene.folder.path().join(&file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    scene.disk.is_full.store(false, Ordering::Relaxed);
    drop(store);
    assert_eq!(names(&scene.open().1), ["a"]);
}

#[test]
fn check_finds_what_a_start_would_and_changes_nothing() {
    let scene = Scene::new();
    let check = || FileStore::check(&scene.path(), true);
    assert_eq!(check().unwrap(), FoundStore::Nothing);
    assert_eq!(files(&scene), [""; 0]);
    let (store, _) = scene.open();
    store.file.commit(&batch_of(&["a", "b"])).unwrap();
    assert_eq!(check().unwrap(), FoundStore::InUse);
    let crashed = fs::read(scene.path()).unwrap();
    drop(store);
    fs::write(scene.path(), &crashed).unwrap();
    assert_eq!(check().unwrap(), FoundStore::Leases(2));
    assert!(fs::read(scene.path()).unwrap() == crashed, "it is not repaired");
    fs::write(scene.path(), &crashed[..crashed.len() / 4]).unwrap();
    assert!(matches!(check().unwrap_err(), OpenError::Foreign { .. }));
}
