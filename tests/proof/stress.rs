//! Many tasks on few locks: a task that is granted one checks that no other is inside.

use std::{sync::Arc, time::Duration};

use crate::common::session::{Answer, Command, Progress, Reply, start};
use crate::inside::Inside;
use crate::{MACHINE, common::dice::Dice};
use getlockd::{
    internal::{
        client_info::{Origin, Wire},
        command::Error,
        lock::{Mode, SessionId, Token},
        session::{Limits, LockService, Session},
        stats::ReleaseCause,
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;

const TASKS: u64 = 32;
const ROUNDS: u64 = 4_000;
const NAMES: usize = 3;

fn lock(dice: &mut Dice) -> (usize, Mode) {
    let mode = if dice.one_in(3) { Mode::Shared } else { Mode::Exclusive };
    (usize::try_from(dice.below(NAMES as u64)).unwrap(), mode)
}

fn name(index: usize) -> Name {
    Name::new(["a", "b", "c"][index]).unwrap()
}

fn open(service: &Arc<LockService>) -> Session {
    service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() })
}

/// None if the wait was dropped, or the session is to end.
async fn get(session: &mut Session, lock: (usize, Mode), dice: &mut Dice) -> Option<Answer> {
    let wait = [Timeout::Within(Duration::from_micros(dice.below(3_000))), Timeout::Forever];
    let timeout = wait[usize::from(dice.below(2) == 0)];
    let patience = Duration::from_micros(dice.below(5_000));
    match start(session, Command::GetLock { name: name(lock.0), mode: lock.1, timeout }) {
        Progress::Done(answer) => Some(answer),
        Progress::Waiting(waiting) => tokio::time::timeout(patience, waiting.finish()).await.ok()?.ok(),
        Progress::Working(_) => unreachable!(),
    }
}

fn token(session: &Session, lock: usize) -> Token {
    session.token(&name(lock)).unwrap()
}

fn release(session: &mut Session, lock: usize) {
    let Progress::Done(answer) = start(session, Command::ReleaseLock(name(lock))) else { unreachable!() };
    assert!(matches!(answer, Ok(Reply::Int(1))), "{answer:?}");
}

async fn work(service: Arc<LockService>, inside: Arc<Inside>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut session = open(&service);
    for _ in 0..ROUNDS {
        let outer = lock(&mut dice);
        if dice.below(10) == 0 {
            let id = SessionId(u32::try_from(dice.below(3 * TASKS)).unwrap());
            drop(start(&mut session, Command::KillQuery(id)));
        }
        match get(&mut session, outer, &mut dice).await {
            Some(Ok(Reply::Int(1))) => inside.enter(outer.0, outer.1, token(&session, outer.0)),
            Some(Ok(Reply::Int(0)) | Err(Error::Deadlock(_) | Error::Interrupted)) | None => continue,
            Some(other) => panic!("{other:?}"),
        }
        // A second lock, so that cycles arise.
        let inner = lock(&mut dice);
        let second = inner.0 != outer.0
            && matches!(get(&mut session, inner, &mut dice).await, Some(Ok(Reply::Int(1))));
        if second {
            inside.enter(inner.0, inner.1, token(&session, inner.0));
            tokio::task::yield_now().await;
            inside.leave(inner.0, inner.1);
        }
        inside.leave(outer.0, outer.1);
        match dice.below(4) {
            0 => session = open(&service),
            1 => drop(start(&mut session, Command::ReleaseAllLocks)),
            _ => {
                release(&mut session, outer.0);
                if second {
                    release(&mut session, inner.0);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exclusive_holder_is_alone() {
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
