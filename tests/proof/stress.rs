//! Many tasks on few locks: a task that is granted one checks that no other is inside.

use std::{sync::Arc, time::Duration};

use crate::common::session::{Answer, Command, Progress, Reply, start};
use crate::inside::Inside;
use crate::{MACHINE, common::dice::Dice};
use getlockd::{
    internal::{
        client_info::{Origin, Wire},
        command::Error,
        lock::{Mode, SessionId},
        session::{Limits, LockService, Session},
        stats::ReleaseCause,
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;

const TASKS: u64 = 32;
const ROUNDS: u64 = 4_000;
/// Locks that are wanted at once: mostly one.
#[derive(Clone)]
struct Wish {
    locks: Vec<usize>,
    mode: Mode,
}

impl Wish {
    /// Three locks are shared or not, and of the fourth there are permits.
    fn any(dice: &mut Dice) -> Self {
        let (plain, count) = (usize::try_from(dice.below(3)).unwrap(), 2 + usize::from(dice.one_in(2)));
        let (locks, mode) = match dice.below(9) {
            0 | 1 => (vec![3], Mode::Permit(2)),
            2 => (vec![3], Mode::Exclusive),
            3 => ((plain..plain + count).map(|lock| lock % 4).collect(), Mode::Exclusive),
            4 => (vec![plain, (plain + 1) % 3], Mode::Shared),
            5 | 6 => (vec![plain], Mode::Shared),
            _ => (vec![plain], Mode::Exclusive),
        };
        Self { locks, mode }
    }

    fn shares_a_lock_with(&self, other: &Self) -> bool {
        self.locks.iter().any(|lock| other.locks.contains(lock))
    }

    fn names(&self) -> Vec<Name> {
        self.locks.iter().map(|lock| name(*lock)).collect()
    }

    fn enter(&self, session: &Session, inside: &Inside) {
        for lock in &self.locks {
            inside.enter(*lock, self.mode, session.token(&name(*lock)).unwrap());
        }
    }

    fn leave(&self, inside: &Inside) {
        self.locks.iter().for_each(|lock| inside.leave(*lock, self.mode));
    }
}

fn name(index: usize) -> Name {
    Name::new(["a", "b", "c", "d"][index]).unwrap()
}

fn open(service: &Arc<LockService>) -> Session {
    service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() })
}

/// None if the wait was dropped, or the session is to end.
async fn get(session: &mut Session, wish: &Wish, dice: &mut Dice) -> Option<Answer> {
    let wait = [Timeout::Within(Duration::from_micros(dice.below(3_000))), Timeout::Forever];
    let (mode, timeout) = (wish.mode, wait[usize::from(dice.below(2) == 0)]);
    let patience = Duration::from_micros(dice.below(5_000));
    let mut names = wish.names();
    let command = if names.len() == 1 {
        Command::GetLock { name: names.remove(0), mode, timeout }
    } else {
        Command::GetLocks { names, mode, timeout }
    };
    match start(session, command) {
        Progress::Done(answer) => Some(answer),
        Progress::Waiting(waiting) => tokio::time::timeout(patience, waiting.finish()).await.ok()?.ok(),
        Progress::Working(_) => unreachable!(),
    }
}

fn release(session: &mut Session, wish: &Wish) {
    let Progress::Done(answer) = start(session, Command::ReleaseLocks(wish.names())) else { unreachable!() };
    assert_eq!(answer, Ok(Reply::Int(wish.locks.len() as u64)));
}

async fn work(service: Arc<LockService>, inside: Arc<Inside>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut session = open(&service);
    for _ in 0..ROUNDS {
        let outer = Wish::any(&mut dice);
        if dice.below(10) == 0 {
            let id = SessionId(u32::try_from(dice.below(3 * TASKS)).unwrap());
            drop(start(&mut session, Command::KillQuery(id)));
        }
        match get(&mut session, &outer, &mut dice).await {
            Some(Ok(Reply::Int(1))) => outer.enter(&session, &inside),
            Some(
                Ok(Reply::Int(0) | Reply::TimedOutFor(_)) | Err(Error::Deadlock(_) | Error::Interrupted),
            )
            | None => continue,
            Some(other) => panic!("{other:?}"),
        }
        // More of them, so that cycles arise.
        let inner = Wish::any(&mut dice);
        let second = !inner.shares_a_lock_with(&outer)
            && matches!(get(&mut session, &inner, &mut dice).await, Some(Ok(Reply::Int(1))));
        if second {
            inner.enter(&session, &inside);
            tokio::task::yield_now().await;
            inner.leave(&inside);
        }
        outer.leave(&inside);
        match dice.below(4) {
            0 => session = open(&service),
            1 => drop(start(&mut session, Command::ReleaseAllLocks)),
            _ => {
                release(&mut session, &outer);
                if second {
                    release(&mut session, &inner);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_are_inside_than_a_lock_admits() {
    let _alone = MACHINE.write().await;
    let service = LockService::new(Limits { locks_per_session: 100, ..Limits::default() });
    let inside = Arc::new(Inside::default());
    let tasks: Vec<_> =
        (1..=TASKS).map(|seed| tokio::spawn(work(service.clone(), inside.clone(), seed))).collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_mins(2), task).await.expect("no task waits forever").unwrap();
    }
    let stats = service.stats();
    assert!(inside.entered() > TASKS * ROUNDS / 4, "it was too calm to prove anything");
    assert!(stats.table.deadlocks > 0 && stats.timeouts > 0 && stats.abandoned > 0, "{stats:?}");
    assert_eq!((stats.sessions, stats.table.locks, stats.table.waiters), (0, 0, 0), "nothing is left behind");
}

/// So many locks are freed in pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn very_many_locks_are_freed_by_release_and_disconnect() {
    const MANY: u64 = 3_000;
    let service = LockService::new(Limits::default());
    let take_all = |session: &mut Session| {
        for number in 0..MANY {
            let name = Name::new(&format!("lock{number}")).unwrap();
            let taken =
                start(session, Command::GetLock { name, mode: Mode::Exclusive, timeout: Timeout::Forever });
            assert!(matches!(taken, Progress::Done(Ok(Reply::Int(1)))), "{number} is not free");
        }
    };
    let ends = tokio::spawn({
        let mut session = open(&service);
        async move {
            take_all(&mut session);
            assert_eq!(session.free_all(ReleaseCause::Disconnect).await, MANY);
        }
    });
    ends.await.unwrap();
    let mut session = open(&service);
    take_all(&mut session);
    let Progress::Working(freeing) = start(&mut session, Command::ReleaseAllLocks) else {
        panic!("they are many")
    };
    assert!(matches!(freeing.finish().await, Ok(Ok(Reply::Int(MANY)))), "all of them");
    assert_eq!(service.stats().table.locks, 0);
}
