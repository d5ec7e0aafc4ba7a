//! Sessions of a service: time-outs, kills and the stop of the server beside everything else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use getlockd::{
    internal::{
        client_info::{Origin, Wire},
        command::{EndReason, Error, Kill},
        lock::{Mode, SessionId},
        session::{Limits, LockService, Session},
        stats::ReleaseCause,
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;
use shuttle::{sync::Barrier, thread};

use crate::{
    inside::Inside,
    schedules::{all, below, block_on, many, names, poll_and_drop, step, together},
    session::{Answer, Command, Progress, Reply, start},
};

/// When it ends is for the schedule to say.
const A_WHILE: Timeout = Timeout::Within(Duration::from_secs(1));

struct World {
    service: Arc<LockService>,
    names: [Name; 2],
    inside: Inside,
    /// Two are there, or none.
    meeting: Barrier,
}

impl World {
    fn new() -> Arc<Self> {
        Self::of(names())
    }

    fn of(names: [Name; 2]) -> Arc<Self> {
        let service = LockService::new(Limits { locks_per_session: 100, ..Limits::default() });
        Arc::new(Self { service, names, inside: Inside::default(), meeting: Barrier::new(2) })
    }

    fn open(&self) -> Session {
        self.service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() })
    }

    /// Lets others run while `session` is inside.
    fn work(&self, session: &Session, lock: usize, mode: Mode) {
        self.inside.enter(lock, mode, session.token(&self.names[lock]).unwrap());
        step();
        self.inside.leave(lock, mode);
    }

    fn get(&self, session: &mut Session, lock: usize, timeout: Timeout) -> Result<Answer, EndReason> {
        get(session, &self.names[lock], Mode::Exclusive, timeout)
    }

    fn release(&self, session: &mut Session, lock: usize) {
        let Progress::Done(answer) = start(session, Command::ReleaseLock(self.names[lock].clone())) else {
            unreachable!()
        };
        assert!(matches!(answer, Ok(Reply::Int(1))), "{answer:?}");
    }

    fn get_work_and_release(&self, session: &mut Session, timeout: Timeout) -> Result<Answer, EndReason> {
        let answer = self.get(session, 0, timeout)?;
        if matches!(answer, Ok(Reply::Int(1))) {
            self.work(session, 0, Mode::Exclusive);
            self.release(session, 0);
        }
        session.publish_holds();
        session.end_reason().map_or(Ok(answer), Err)
    }
}

fn get(session: &mut Session, name: &Name, mode: Mode, timeout: Timeout) -> Result<Answer, EndReason> {
    ask(session, Command::GetLock { name: name.clone(), mode, timeout })
}

/// An answer, as the task of a connection comes to it.
fn ask(session: &mut Session, command: Command) -> Result<Answer, EndReason> {
    let answer = match start(session, command) {
        Progress::Done(answer) => answer,
        Progress::Waiting(waiting) => block_on(waiting.finish())?,
        Progress::Working(killing) => block_on(killing.finish())?,
    };
    session.publish_holds();
    session.end_reason().map_or(Ok(answer), Err)
}

/// A session with nothing to do, until it is told to end.
fn idle(session: &Session) -> EndReason {
    session.end_reason().unwrap_or_else(|| block_on(session.handle().ended()))
}

type Life = fn(&World, Session);

/// Runs sessions 1, 2 and so on, each in its thread, to their ends.
fn sessions<const N: usize>(world: &Arc<World>, lives: [Life; N]) {
    let open = lives.map(|life| (life, world.open()));
    together(open.map(|(life, session)| {
        let world = world.clone();
        thread::spawn(move || life(&world, session))
    }));
    assert!(world.service.is_empty(), "something is left: {:?}", world.service);
}

fn gets_and_releases(world: &World, mut session: Session) {
    let answer = world.get_work_and_release(&mut session, Timeout::Forever);
    assert!(matches!(answer, Ok(Ok(Reply::Int(1)))), "{answer:?}");
}

fn gets_or_times_out(world: &World, mut session: Session) {
    let answer = world.get_work_and_release(&mut session, A_WHILE).unwrap().unwrap();
    assert!(matches!(answer, Reply::Int(0 | 1)), "{answer:?}");
    TIMED_OUT.fetch_add(usize::from(matches!(answer, Reply::Int(0))), Ordering::SeqCst);
}

fn gets_or_hangs_up(world: &World, mut session: Session) {
    let name = world.names[0].clone();
    let get = Command::GetLock { name, mode: Mode::Exclusive, timeout: Timeout::Forever };
    let granted = match start(&mut session, get) {
        Progress::Done(answer) => Some(Ok(answer)),
        Progress::Waiting(waiting) => poll_and_drop(waiting.finish(), 1 + below(3)),
        Progress::Working(_) => unreachable!(),
    };
    if granted.is_some() {
        world.work(&session, 0, Mode::Exclusive);
    }
}

static TIMED_OUT: AtomicUsize = AtomicUsize::new(0);

pub fn time_outs() {
    sessions(&World::new(), [gets_and_releases, gets_or_times_out, gets_or_times_out, gets_or_hangs_up]);
}

#[test]
fn timeout_beside_grant_loses_no_waiter() {
    many(time_outs);
    assert!(TIMED_OUT.load(Ordering::SeqCst) > 0, "it was too calm to prove anything");
}

fn killed_by(session: u32) -> EndReason {
    EndReason::Killed(Arc::new(Kill { by: SessionId(session), user: None, reason: None }))
}

/// Session 2 is told to end, whatever it does just then, by session 3, who waits until it is gone.
pub fn kill() {
    let victim = |world: &World, mut session: Session| {
        let answer = world.get_work_and_release(&mut session, Timeout::Forever);
        let ending = answer.err().unwrap_or_else(|| idle(&session));
        assert_eq!(ending, killed_by(3));
    };
    let killer = |world: &World, mut session: Session| {
        let answer = ask(&mut session, Command::Kill(SessionId(2)));
        assert!(matches!(answer, Ok(Ok(Reply::Int(1)))), "{answer:?}");
        let owner = ask(&mut session, Command::IsUsedLock(world.names[0].clone()));
        assert!(!matches!(owner, Ok(Ok(Reply::Int(2)))), "the dead hold nothing");
        assert!(matches!(ask(&mut session, Command::Kill(SessionId(2))), Ok(Err(Error::NoSession(_)))));
    };
    sessions(&World::new(), [gets_and_releases, victim, killer]);
}

#[test]
fn killed_session_is_gone_when_kill_answers() {
    many(kill);
}

/// Session 1 passes its lock on to another of its client, and is killed by session 3 meanwhile. Whoever is killed, the
/// lock comes to session 2.
fn hold_passed_on_and_kill() {
    let passes_on: Life = |world, mut session| {
        let name = &world.names[0];
        if world.get(&mut session, 0, Timeout::Forever).is_err() {
            return;
        }
        let mut next = session.open_another().unwrap();
        let token = session.token(name).unwrap();
        world.inside.enter(0, Mode::Exclusive, token);
        assert!(session.transfer(name, &mut next, 1).is_some());
        session.publish_holds();
        assert_eq!((session.holds(), next.token(name)), (0, Some(token)));
        idle(&session);
        drop(session);
        step();
        world.inside.leave(0, Mode::Exclusive);
        next.end(ReleaseCause::Expired);
    };
    let kills: Life = |world, mut session| {
        let answer = ask(&mut session, Command::Kill(SessionId(1)));
        assert!(matches!(answer, Ok(Ok(Reply::Int(1)))), "{answer:?}");
        let owner = ask(&mut session, Command::IsUsedLock(world.names[0].clone()));
        assert!(!matches!(owner, Ok(Ok(Reply::Int(1)))), "the dead hold nothing");
    };
    sessions(&World::new(), [passes_on, gets_and_releases, kills]);
}

#[test]
fn hold_passes_on_beside_a_kill() {
    many(hold_passed_on_and_kill);
}

#[test]
fn idle_session_is_killed_in_every_order() {
    let idles: Life = |_, session| assert_eq!(idle(&session), killed_by(2));
    let kills: Life = |_, mut session| {
        let answer = ask(&mut session, Command::Kill(SessionId(1)));
        assert!(matches!(answer, Ok(Ok(Reply::Int(1)))), "{answer:?}");
    };
    all(move || sessions(&World::of(["a", "b"].map(|name| Name::new(name).unwrap())), [idles, kills]));
}

pub fn duel() {
    let duellist = |world: &World, mut session: Session| {
        let other = SessionId(3 - session.id().0);
        drop(
            world
                .get(&mut session, 0, Timeout::Forever)
                .and_then(|_| ask(&mut session, Command::Kill(other))),
        );
    };
    sessions(&World::new(), [duellist, duellist]);
}

#[test]
fn mutual_kill_ends_both_sessions() {
    many(duel);
}

static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);

/// Session 2 is told that it was interrupted exactly if session 3 is told that it did so.
pub fn kill_query() {
    let waits = |world: &World, mut session: Session| {
        let answer = world.get_work_and_release(&mut session, A_WHILE).unwrap();
        if matches!(answer, Err(Error::Interrupted)) {
            TOLD.with(|told| told.set(told.get() + 1));
        }
        world.meeting.wait();
    };
    let interrupts = |world: &World, mut session: Session| {
        let answer = ask(&mut session, Command::KillQuery(SessionId(2)));
        if matches!(answer, Ok(Ok(Reply::Int(1)))) {
            TOLD.with(|told| told.set(told.get() - 1));
            INTERRUPTED.fetch_add(1, Ordering::SeqCst);
        }
        world.meeting.wait();
    };
    TOLD.with(|told| told.set(0));
    sessions(&World::new(), [gets_and_releases, waits, interrupts]);
    assert_eq!(TOLD.with(std::cell::Cell::get), 0, "an interruption that only one side knows of");
}

thread_local! {
    /// Shuttle's threads are all one to the machine.
    static TOLD: std::cell::Cell<i32> = const { std::cell::Cell::new(0) };
}

#[test]
fn kill_query_is_told_to_both_sides() {
    many(kill_query);
    assert!(INTERRUPTED.load(Ordering::SeqCst) > 0, "it was too calm to prove anything");
}

/// The server stops while one holds, one waits and one comes.
pub fn drain() {
    let world = World::new();
    let works: Life = |world, mut session| {
        let ending = world.get_work_and_release(&mut session, Timeout::Forever).err();
        assert_eq!(ending.unwrap_or_else(|| idle(&session)), EndReason::Shutdown);
    };
    let (guest, stop) = (world.clone(), world.clone());
    let guest = thread::spawn(move || assert_eq!(idle(&guest.open()), EndReason::Shutdown));
    let stop = thread::spawn(move || stop.service.registry().drain());
    let open = [world.open(), world.open()];
    together(open.map(|session| {
        let world = world.clone();
        thread::spawn(move || works(&world, session))
    }));
    together([guest, stop]);
    assert!(world.service.is_empty(), "something is left: {:?}", world.service);
}

#[test]
fn shutdown_ends_all_sessions() {
    many(drain);
}

/// Anything, in any order, with anybody.
fn does_anything(world: &World, mut session: Session) {
    for _ in 0..3 {
        let (lock, mode) = (below(2), [Mode::Shared, Mode::Exclusive][below(2)]);
        let name = world.names[lock].clone();
        let timeout = [Timeout::Forever, A_WHILE, Timeout::Within(Duration::ZERO)][below(3)];
        let other = SessionId(1 + u32::try_from(below(3)).unwrap());
        let outcome = match below(8) {
            0 => ask(&mut session, Command::KillQuery(other)),
            1 => ask(&mut session, Command::ReleaseAllLocks),
            2 if below(2) == 0 => ask(&mut session, Command::Kill(other)),
            3 => match start(&mut session, Command::GetLock { name, mode, timeout }) {
                Progress::Waiting(waiting) => {
                    poll_and_drop(waiting.finish(), 1 + below(3)).map_or(Ok(()), |_| Ok(()))
                }
                _ => Ok(()),
            }
            .map(|()| Ok(Reply::Null)),
            _ => get(&mut session, &name, mode, timeout),
        };
        match outcome {
            Ok(Ok(_) | Err(Error::Deadlock(_) | Error::Interrupted | Error::NoSession(_))) => {}
            Ok(Err(other)) => panic!("{other:?}"),
            Err(_) => return,
        }
    }
}

pub fn anything() {
    sessions(&World::new(), [does_anything, does_anything, does_anything]);
}

#[test]
fn random_actions_leave_nothing_behind() {
    many(anything);
}
