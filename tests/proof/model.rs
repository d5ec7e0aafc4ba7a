//! Random sessions against a sequential model of the rules: no difference, whatever they do.
//!
//! The model (`rules.rs`) decides after each step who is granted what, who waits, and who is refused. It looks for deadlocks as
//! who can still leave, where the server searches from the session that asks.

mod examples;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::common::session::{Answer, Command, Progress, Reply, start};
use getlockd::{
    internal::{
        client_info::{Origin, Wire},
        command::{EndReason, Error},
        lock::{Mode, SessionId},
        session::{Limits, LockService, Session},
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;
use proptest::{prelude::*, sample};
use rules::{Lock, Model, Who, Wish};
use tokio::sync::mpsc;

const SESSIONS: usize = 5;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Op {
    Get { session: Who, lock: Lock, mode: Mode, seconds: Option<u64> },
    GetSeveral { session: Who, locks: Vec<Lock>, mode: Mode, seconds: Option<u64> },
    Release { session: Who, lock: Lock },
    ReleaseSeveral { session: Who, locks: Vec<Lock> },
    ReleaseAll { session: Who },
    Look { session: Who, lock: Lock },
    Kill { session: Who, other: Who },
    KillQuery { session: Who, other: Who },
    Leave { session: Who },
    Sleep { seconds: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let plain = || prop_oneof![2 => Just(Mode::Exclusive), 1 => Just(Mode::Shared)];
    let seconds = || prop_oneof![1 => Just(Some(0)), 3 => (1..4_u64).prop_map(Some), 3 => Just(None)];
    let (session, lock) = (0..SESSIONS, 0..NAMES.len());
    // Permits are mostly of two of the locks and with one limit, so that most of them are not refused for it.
    let wish = prop_oneof![
        5 => (lock.clone(), plain()),
        4 => (2..NAMES.len(), Just(Mode::Permit(2))),
        1 => (lock.clone(), (1..4_u16).prop_map(Mode::Permit)),
    ];
    let several = || sample::subsequence((0..NAMES.len()).collect::<Vec<_>>(), 1..=3).prop_shuffle();
    let twice = (several(), any::<bool>()).prop_map(|(mut locks, twice)| {
        locks.extend(twice.then_some(locks[0]));
        locks
    });
    let op = prop_oneof![
        10 => (session.clone(), wish, seconds())
            .prop_map(|(session, (lock, mode), seconds)| Op::Get { session, lock, mode, seconds }),
        8 => (session.clone(), twice, plain(), seconds())
            .prop_map(|(session, locks, mode, seconds)| Op::GetSeveral { session, locks, mode, seconds }),
        4 => (session.clone(), lock.clone()).prop_map(|(session, lock)| Op::Release { session, lock }),
        2 => (session.clone(), several()).prop_map(|(session, locks)| Op::ReleaseSeveral { session, locks }),
        1 => session.clone().prop_map(|session| Op::ReleaseAll { session }),
        2 => (session.clone(), lock).prop_map(|(session, lock)| Op::Look { session, lock }),
        1 => (session.clone(), session.clone()).prop_map(|(session, other)| Op::Kill { session, other }),
        1 => (session.clone(), session.clone()).prop_map(|(session, other)| Op::KillQuery { session, other }),
        1 => session.prop_map(|session| Op::Leave { session }),
        1 => (1..3_u64).prop_map(|seconds| Op::Sleep { seconds }),
    ];
    proptest::collection::vec(op, 1..80)
}

impl Op {
    /// The session that asks, which it can only do while it does not wait.
    fn asker(&self) -> Option<Who> {
        match self {
            Self::Get { session, .. }
            | Self::GetSeveral { session, .. }
            | Self::Release { session, .. }
            | Self::ReleaseSeveral { session, .. }
            | Self::ReleaseAll { session }
            | Self::Look { session, .. }
            | Self::Kill { session, .. }
            | Self::KillQuery { session, .. } => Some(*session),
            Self::Leave { .. } | Self::Sleep { .. } => None,
        }
    }
}

enum Ask {
    Run(Command),
    Leave,
}

/// A client: one task that runs a session until it ends.
struct Client {
    id: SessionId,
    ask: mpsc::UnboundedSender<Ask>,
}

struct World {
    service: Arc<LockService>,
    clients: Vec<Client>,
    heard: mpsc::UnboundedReceiver<(usize, Answer)>,
    speak: mpsc::UnboundedSender<(usize, Answer)>,
}

impl World {
    fn new() -> Self {
        let service = LockService::new(Limits { locks_per_session: 100, ..Limits::default() });
        let (speak, heard) = mpsc::unbounded_channel();
        let mut world = Self { service, clients: Vec::new(), heard, speak };
        for place in 0..SESSIONS {
            let client = world.client(place);
            world.clients.push(client);
        }
        world
    }

    fn client(&self, place: usize) -> Client {
        let session = self.service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() });
        let (ask, asked) = mpsc::unbounded_channel();
        let id = session.id();
        tokio::spawn(serve(place, session, asked, self.speak.clone()));
        Client { id, ask }
    }

    fn renew(&mut self, place: usize) {
        self.clients[place] = self.client(place);
    }

    fn place_of(&self, id: SessionId) -> Option<usize> {
        self.clients.iter().position(|client| client.id == id)
    }

    fn run(&self, place: usize, command: Command) {
        let _ = self.clients[place].ask.send(Ask::Run(command));
    }

    /// Lets every task go as far as it can, and tells what they were answered.
    async fn answers(&mut self) -> Vec<(usize, Answer)> {
        for _ in 0..8 * SESSIONS {
            tokio::task::yield_now().await;
        }
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

async fn serve(
    place: usize,
    mut session: Session,
    mut asked: mpsc::UnboundedReceiver<Ask>,
    speak: mpsc::UnboundedSender<(usize, Answer)>,
) {
    loop {
        let ask = tokio::select! {
            biased;
            _ = session.handle().ended() => return,
            ask = asked.recv() => ask,
        };
        let Some(Ask::Run(command)) = ask else { return };
        let answer: Result<Answer, EndReason> = match start(&mut session, command) {
            Progress::Done(answer) => Ok(answer),
            Progress::Working(working) => working.finish().await,
            Progress::Waiting(waiting) => tokio::select! {
                biased;
                answer = waiting.finish() => answer,
                _ = asked.recv() => return,
            },
        };
        match answer {
            Ok(answer) => drop(speak.send((place, answer))),
            Err(_) => return,
        }
        session.publish_holds();
    }
}

fn name(lock: Lock) -> Name {
    Name::new(NAMES[lock]).unwrap()
}

fn lock(name: &str) -> Lock {
    NAMES.iter().position(|known| *known == name).unwrap()
}

/// What is compared: numbers and NULL as they are, errors by kind.
fn plain(answer: &Answer) -> String {
    match answer {
        Ok(Reply::Int(number)) => number.to_string(),
        Ok(Reply::Null) => "NULL".to_owned(),
        Ok(Reply::TimedOutFor(name)) => rules::timed_out_for(lock(name.as_str())),
        Err(Error::Deadlock(_)) => "deadlock".to_owned(),
        Err(Error::Interrupted) => "killed".to_owned(),
        Err(Error::LimitDiffers(differs)) => rules::limit_differs(lock(differs.name.as_str()), differs.mode),
        other => format!("{other:?}"),
    }
}

/// Each link of a deadlock must be true, and whoever holds something in it waits for something in it.
fn check_deadlock(world: &World, model: &Model, asker: Who, wanted: &[Lock], answer: &Answer) {
    let Err(Error::Deadlock(cycle)) = answer else { return };
    let place = |id: SessionId| world.place_of(id).unwrap();
    let waiters: BTreeSet<_> = cycle.links.iter().map(|link| link.waiter).collect();
    assert_eq!(place(cycle.links[0].waiter), asker, "{cycle:?}");
    let held = |holder, name: &str| model.hold(place(holder), lock(name)).map(|hold| hold.mode);
    // Of a permit there may be several holders in the way.
    let is_permit = |hold| matches!(hold, Some(Mode::Permit(_)));
    let has_permits = cycle.links.iter().any(|link| is_permit(held(link.holder, link.name.as_str())));
    for (at, link) in cycle.links.iter().enumerate() {
        assert!(link.waiter != link.holder && held(link.holder, link.name.as_str()).is_some(), "{cycle:?}");
        let lock = lock(link.name.as_str());
        let waits = if place(link.waiter) == asker {
            wanted.contains(&lock)
        } else {
            model.waits_for(place(link.waiter), lock)
        };
        assert!(waits && waiters.contains(&link.holder), "{cycle:?}");
        if !has_permits {
            assert_eq!(link.holder, cycle.links[(at + 1) % cycle.links.len()].waiter, "{cycle:?}");
        }
    }
}

async fn drive(ops: Vec<Op>) {
    let mut world = World::new();
    let mut model = Model::default();
    let mut tokens = BTreeMap::new();
    for (number, op) in ops.into_iter().enumerate() {
        if op.asker().is_some_and(|session| model.is_waiting(session)) {
            continue;
        }
        step(&mut world, &mut model, &mut tokens, &op, number).await;
        let answers = world.answers().await;
        for (session, answer) in &answers {
            let (asker, wanted) = match &op {
                Op::Get { session, lock, .. } => (*session, vec![*lock]),
                Op::GetSeveral { session, locks, .. } => (*session, locks.clone()),
                _ => continue,
            };
            assert!(plain(answer) != "deadlock" || *session == asker);
            check_deadlock(&world, &model, asker, &wanted, answer);
        }
        let mut heard: Vec<_> = answers.iter().map(|(session, answer)| (*session, plain(answer))).collect();
        let mut expected = std::mem::take(&mut model.answers);
        heard.sort();
        expected.sort();
        assert_eq!(heard, expected, "after {op:?}");
        if let Op::Kill { other: ended, .. } | Op::Leave { session: ended } = op {
            world.renew(ended);
        }
    }
    for session in 0..SESSIONS {
        let _ = world.clients[session].ask.send(Ask::Leave);
    }
    world.answers().await;
    let counters = world.service.stats().table;
    assert_eq!((counters.locks, counters.waiters), (0, 0), "nothing is left behind");
}

/// One step of both.
async fn step(world: &mut World, model: &mut Model, tokens: &mut Tokens, op: &Op, number: usize) {
    // No two time-outs are at the same moment: whoever is first may let the other one go.
    let distinct = |seconds: u64| if seconds == 0 { 0 } else { 1_000 * seconds + 1 + number as u64 };
    let within = |seconds: Option<u64>| {
        let millis = seconds.map(distinct);
        (millis, millis.map_or(Timeout::Forever, |millis| Timeout::Within(Duration::from_millis(millis))))
    };
    let names = |locks: &[Lock]| locks.iter().copied().map(name).collect();
    match *op {
        Op::Get { session, lock, mode, seconds } => {
            let (millis, timeout) = within(seconds);
            world.run(session, Command::GetLock { name: name(lock), mode, timeout });
            model.acquire(session, Wish { locks: vec![lock], mode, timeout: millis, names_lock: false });
        }
        Op::GetSeveral { session, ref locks, mode, seconds } => {
            let (millis, timeout) = within(seconds);
            world.run(session, Command::GetLocks { names: names(locks), mode, timeout });
            model.acquire(session, Wish { locks: locks.clone(), mode, timeout: millis, names_lock: true });
        }
        Op::Release { session, lock } => {
            world.run(session, Command::ReleaseLock(name(lock)));
            let answer = model.release(session, lock);
            model.answer(session, answer);
        }
        Op::ReleaseSeveral { session, ref locks } => {
            world.run(session, Command::ReleaseLocks(names(locks)));
            let released = model.release_several(session, locks);
            model.answer(session, released);
        }
        Op::ReleaseAll { session } => {
            world.run(session, Command::ReleaseAllLocks);
            let counts = model.release_all(session);
            model.answer(session, counts);
        }
        Op::Look { session, lock } => look(world, session, lock, tokens, model).await,
        Op::Kill { session, other } => {
            world.run(session, Command::Kill(world.clients[other].id));
            model.end(other);
            if session != other {
                model.answer(session, 1);
            }
        }
        Op::KillQuery { session, other } => {
            world.run(session, Command::KillQuery(world.clients[other].id));
            let was = model.stop_waiting(other);
            if was {
                model.answer(other, "killed");
            }
            model.answer(session, u8::from(was));
        }
        Op::Leave { session } => {
            let _ = world.clients[session].ask.send(Ask::Leave);
            model.end(session);
        }
        Op::Sleep { seconds } => {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            model.wait(1_000 * seconds);
        }
    }
}

/// The fencing tokens that were seen: of which lock, by which grant of the model.
type Tokens = BTreeMap<(Lock, u64), u64>;

/// Compares the oldest holder and this session's token.
async fn look(world: &mut World, session: Who, lock: Lock, tokens: &mut Tokens, model: &Model) {
    world.run(session, Command::IsUsedLock(name(lock)));
    world.run(session, Command::FencingToken(name(lock)));
    let answers = world.answers().await;
    let number = |at: usize| match answers[at].1 {
        Ok(Reply::Int(number)) => Some(number),
        _ => None,
    };
    let holder = number(0).and_then(|id| world.place_of(SessionId(id.try_into().unwrap())));
    assert_eq!(holder, model.used_by(lock));
    let (token, grant) = (number(1), model.hold(session, lock).map(|hold| hold.grant));
    assert_eq!(token.is_some(), grant.is_some());
    let (Some(token), Some(grant)) = (token, grant) else { return };
    tokens.insert((lock, grant), *tokens.get(&(lock, grant)).unwrap_or(&token));
    for ((of, other), seen) in &*tokens {
        assert_eq!(
            *other == grant,
            *seen == token,
            "a grant has one token, for all its locks as long as it lasts"
        );
        // How they grow across locks is not compared: RELEASE_ALL_LOCKS frees in no order.
        assert!(*of != lock || other.cmp(&grant) == seen.cmp(&token), "the tokens of a lock grow");
    }
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sessions_agree_with_the_model(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(drive(ops));
    }
}
