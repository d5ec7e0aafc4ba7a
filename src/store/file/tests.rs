//! A store on a disk that fails, and on one whose power is cut.

mod damage;
mod faults;

use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;

use redb::StorageBackend;

use super::*;
use crate::core::{lease::Key, lock::Mode, store};

/// As a disk writes them.
const SECTOR: usize = 512;

/// A disk with a cache. What was written since the last sync may be lost, or torn, when its power is cut.
#[derive(Debug, Default)]
struct Disk {
    cached: Mutex<Vec<(u64, Vec<u8>)>>,
    /// Its sync does nothing: a planted bug.
    forgets: AtomicBool,
    /// It refuses everything that writes.
    is_full: AtomicBool,
    /// It fails at this step, and its steps so far.
    trap: Mutex<Option<Trap>>,
    steps: AtomicUsize,
}

/// What goes wrong at a step of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// EIO
    Error,
    /// ENOSPC
    Full,
    /// A write writes the first half. Other steps: ENOSPC.
    ShortWrite,
}

#[derive(Clone, Copy, Debug)]
struct Trap {
    fault: Fault,
    step: usize,
    /// All later steps fail as well.
    is_lasting: bool,
}

#[derive(Debug)]
struct Backend {
    file: File,
    disk: Arc<Disk>,
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.disk.step()?;
        self.file.read_exact_at(out, offset)?;
        for (at, bytes) in self.disk.cached.lock().unwrap().iter() {
            let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(offset + out.len() as u64));
            if from < to {
                let [into, of] = [offset, *at].map(|base| at_byte(from, base)..at_byte(to, base));
                out[into].copy_from_slice(&bytes[of]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.check()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.check()?;
        if !self.disk.forgets.load(Ordering::Relaxed) {
            let written = std::mem::take(&mut *self.disk.cached.lock().unwrap());
            written.iter().try_for_each(|(at, bytes)| self.file.write_all_at(bytes, *at))?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let checked = self.check();
        let is_short = checked.is_err() && self.disk.fault() == Some(Fault::ShortWrite);
        let written = match checked {
            Ok(()) => data.len(),
            Err(_) if is_short => data.len() / 2,
            Err(_) => 0,
        };
        self.disk.cached.lock().unwrap().push((offset, data[..written].to_vec()));
        checked
    }
}

fn at_byte(position: u64, base: u64) -> usize {
    usize::try_from(position - base).unwrap()
}

impl Backend {
    fn check(&self) -> io::Result<()> {
        if self.disk.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.step()
    }
}

impl Disk {
    fn fault(&self) -> Option<Fault> {
        self.trap.lock().unwrap().map(|trap| trap.fault)
    }

    fn step(&self) -> io::Result<()> {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let trap = self.trap.lock().unwrap();
        match trap.filter(|trap| step == trap.step || (trap.is_lasting && step > trap.step)) {
            None => Ok(()),
            Some(Trap { fault: Fault::Error, .. }) => {
                Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
            }
            Some(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Any sectors of what was written since the last sync reach the file, in any order.
    fn cut_power(&self, path: &Path, dice: &mut Dice) {
        let file = File::options().write(true).open(path).unwrap();
        let mut sectors: Vec<(u64, Vec<u8>)> = Vec::new();
        for (at, bytes) in std::mem::take(&mut *self.cached.lock().unwrap()) {
            let split = bytes.chunks(SECTOR).enumerate();
            sectors.extend(split.map(|(index, part)| (at + (index * SECTOR) as u64, part.to_vec())));
        }
        while !sectors.is_empty() {
            let (at, bytes) = sectors.swap_remove(dice.below(sectors.len()));
            if dice.below(2) == 0 {
                file.write_all_at(&bytes, at).unwrap();
            }
        }
    }
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// A folder with a store, and what it should have: names and times to live.
struct Scene {
    folder: TempDir,
    disk: Arc<Disk>,
}

type Leases = BTreeMap<String, u64>;

impl Scene {
    fn new() -> Self {
        // What a sync does is up to the disk below: where the kernel has nothing to sync there is none to wait for.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        Self { folder: folder.unwrap(), disk: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("leases")
    }

    fn try_open(&self) -> Result<(FileStore, StoredState), OpenError> {
        let disk = self.disk.clone();
        let options = OpenOptions { path: self.path(), grace: Duration::from_secs(1), anyway: true };
        let make = move |file| {
            // Of another file.
            disk.cached.lock().unwrap().clear();
            builder().create_with_backend(Backend { file, disk: disk.clone() })
        };
        FileStore::open_with(
            options,
            |floors| Floors { token: floors.token.max(1), ..floors },
            Arc::new(make),
        )
    }

    fn open(&self) -> (FileStore, StoredState) {
        self.try_open().unwrap()
    }
}

fn found(state: &StoredState) -> Leases {
    state.leases.iter().map(|lease| (lease.names.first().to_string(), lease.ttl.as_secs())).collect()
}

/// With a note, so that a few of them fill a page.
fn lease(name: &str, ttl: u64) -> DurableLease {
    DurableLease { note: Some("x".repeat(200)), ..store::tests::lease(name, ttl) }
}

/// Some puts and deletes, made to `leases` as well.
fn some_batch(leases: &mut Leases, dice: &mut Dice) -> Batch {
    let changes = (0..=dice.below(6)).map(|_| {
        let (name, ttl) = (format!("n{}", dice.below(40)), dice.below(100) as u64);
        let key = Key::of("token", &[&name]);
        if dice.below(3) == 0 {
            leases.remove(&name);
            return (key, LeaseChange::Delete);
        }
        leases.insert(name.clone(), ttl);
        (key, LeaseChange::Put(Arc::new(lease(&name, ttl))))
    });
    Batch { changes: changes.collect(), floors: None }
}

/// Commits some batches, and cuts the power in or behind the last one. False if the store has not what it was told.
fn survives_a_power_cut(scene: &Scene, leases: &mut Leases, dice: &mut Dice) -> bool {
    let Ok((store, state)) = scene.try_open() else { return false };
    if found(&state) != *leases {
        return false;
    }
    for _ in 0..dice.below(5) {
        assert!(store.file.commit(&some_batch(leases, dice)).is_ok());
    }
    let mut after = leases.clone();
    let last = some_batch(&mut after, dice);
    if dice.below(2) == 0 {
        assert!(store.file.commit(&last).is_ok());
        *leases = after.clone();
    } else {
        // In the middle of it: it writes, and its sync fails.
        let database = store.file.database.lock();
        let transaction = database.as_ref().unwrap().database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(LEASES).unwrap();
            for (key, change) in &last.changes {
                match change {
                    LeaseChange::Put(lease) => {
                        drop(table.insert(key.bytes(), &*record::encode(lease)).unwrap());
                    }
                    LeaseChange::Delete => drop(table.remove(key.bytes()).unwrap()),
                }
            }
        }
        scene.disk.is_full.store(true, Ordering::Relaxed);
        assert!(transaction.commit().is_err());
    }
    scene.disk.cut_power(&scene.path(), dice);
    drop(store);
    scene.disk.cached.lock().unwrap().clear();
    scene.disk.is_full.store(false, Ordering::Relaxed);
    true
}

#[test]
fn power_cuts_lose_nothing_that_was_committed() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20 {
        let (scene, mut leases) = (Scene::new(), Leases::new());
        for _ in 0..10 {
            assert!(survives_a_power_cut(&scene, &mut leases, &mut dice), "seed {}", dice.0);
        }
    }
}

/// The test above finds a store that does not sync.
#[test]
fn power_cuts_find_a_sync_that_does_nothing() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let is_found = (0..20).any(|_| {
        let (scene, mut leases) = (Scene::new(), Leases::new());
        drop(scene.open());
        scene.disk.forgets.store(true, Ordering::Relaxed);
        (0..10).any(|_| !survives_a_power_cut(&scene, &mut leases, &mut dice))
    });
    assert!(is_found);
}

#[test]
fn full_disk_fails_until_the_store_is_written_again() {
    let (scene, mut dice) = (Scene::new(), Dice(7));
    let (store, _) = scene.open();
    let mut leases = Leases::new();
    store.file.commit(&some_batch(&mut leases, &mut dice)).unwrap();
    let whole: Vec<_> = leases.iter().map(|(name, ttl)| lease(name, *ttl)).collect();
    scene.disk.is_full.store(true, Ordering::Relaxed);
    assert!(store.file.commit(&some_batch(&mut leases.clone(), &mut dice)).is_err());
    assert!(store.file.replace(&whole, Floors::default()).is_err());
    scene.disk.is_full.store(false, Ordering::Relaxed);
    assert!(
        store.file.commit(&some_batch(&mut leases.clone(), &mut dice)).is_err(),
        "the file is not trusted"
    );
    store.file.replace(&whole, Floors { token: 7, session: 9 }).unwrap();
    store.file.commit(&some_batch(&mut leases, &mut dice)).unwrap();
    drop(store);
    let (_, state) = scene.open();
    assert_eq!((found(&state), state.floors), (leases, Floors { token: 7, session: 9 }));
}

#[test]
fn store_is_opened_once() {
    let scene = Scene::new();
    let (_store, _) = scene.open();
    let error = scene.try_open().unwrap_err().to_string();
    assert!(
        error.ends_with("leases is in use by another getlockd; stop that one, or give this one another file"),
        "{error}"
    );
}

#[test]
fn foreign_and_newer_files_are_refused_and_kept() {
    let scene = Scene::new();
    fs::write(scene.path(), "#!/bin/sh\necho hello\n".repeat(1000)).unwrap();
    let error = scene.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(fs::read(scene.path()).unwrap().starts_with(b"#!/bin/sh"), "it is left as it was");
    fs::remove_file(scene.path()).unwrap();
    let meta = Meta { format: FORMAT + 1, ..Meta::default() };
    let (store, _) = scene.open();
    write_meta(&store.file.database.lock().as_ref().unwrap().database, &meta).unwrap();
    drop(store);
    let error = scene.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Newer { format: 3, .. }), "{error}");
}

#[test]
fn format_rises_with_a_lease_that_older_versions_misread() {
    let scene = Scene::new();
    let (store, _) = scene.open();
    let format =
        |store: &FileStore| read_meta(&store.file.database.lock().as_ref().unwrap().database).unwrap().format;
    let put = |lease: DurableLease| Batch {
        changes: vec![(lease.key, LeaseChange::Put(Arc::new(lease)))],
        ..Batch::default()
    };
    store.file.commit(&put(lease("plain", 10))).unwrap();
    assert_eq!(format(&store), 1, "an older version may still open it");
    let permit = DurableLease { mode: Mode::Permit(3), ..lease("pool", 10) };
    let key = permit.key;
    store.file.commit(&put(permit)).unwrap();
    assert_eq!(format(&store), 2);
    drop(store);
    let (store, state) = scene.open();
    assert!(state.leases.iter().any(|lease| lease.mode == Mode::Permit(3)));
    let delete = Batch { changes: vec![(key, LeaseChange::Delete)], ..Batch::default() };
    store.file.commit(&delete).unwrap();
    assert_eq!(format(&store), 2, "it falls at a start");
    drop(store);
    assert_eq!(format(&scene.open().0), 1);
}

#[test]
fn grace_is_that_of_the_run_that_ended() {
    let scene = Scene::new();
    let (store, state) = scene.open();
    assert_eq!(state.grace, Duration::ZERO, "nothing was granted before");
    drop(store);
    let (store, state) = scene.open();
    assert_eq!(state.grace, Duration::from_secs(1), "a crash");
    store.file.close(Floors { token: 40, session: 8 }, true).unwrap();
    drop(store);
    let (store, state) = scene.open();
    assert_eq!((state.grace, state.floors), (Duration::ZERO, Floors { token: 41, session: 8 }));
    store.file.close(state.floors, false).unwrap();
    drop(store);
    assert_eq!(scene.open().1.grace, Duration::from_secs(1), "leases ran that were not written");
}
