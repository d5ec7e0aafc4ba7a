//! Random sessions against a sequential model of the rules: no difference, whatever they do.
//!
//! The model is written for clarity, not for speed, and in another way than the server: counts and
//! queues stand in one list, and deadlocks are found on the whole graph of who is in whose way,
//! those ahead in a queue included.

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
use proptest::prelude::*;
use tokio::sync::mpsc;

const SESSIONS: usize = 5;
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Op {
    Get { session: usize, name: usize, mode: Mode, seconds: Option<u64> },
    Release { session: usize, name: usize },
    ReleaseAll { session: usize },
    Look { session: usize, name: usize },
    Kill { session: usize, other: usize },
    KillQuery { session: usize, other: usize },
    Leave { session: usize },
    Sleep { seconds: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let mode = prop_oneof![2 => Just(Mode::Exclusive), 1 => Just(Mode::Shared)];
    let seconds = prop_oneof![1 => Just(Some(0)), 3 => (1..4_u64).prop_map(Some), 3 => Just(None)];
    let (session, name) = (0..SESSIONS, 0..NAMES.len());
    let op = prop_oneof![
        10 => (session.clone(), name.clone(), mode, seconds)
            .prop_map(|(session, name, mode, seconds)| Op::Get { session, name, mode, seconds }),
        4 => (session.clone(), name.clone()).prop_map(|(session, name)| Op::Release { session, name }),
        1 => session.clone().prop_map(|session| Op::ReleaseAll { session }),
        2 => (session.clone(), name).prop_map(|(session, name)| Op::Look { session, name }),
        1 => (session.clone(), session.clone()).prop_map(|(session, other)| Op::Kill { session, other }),
        1 => (session.clone(), session.clone()).prop_map(|(session, other)| Op::KillQuery { session, other }),
        1 => session.prop_map(|session| Op::Leave { session }),
        1 => (1..3_u64).prop_map(|seconds| Op::Sleep { seconds }),
    ];
    proptest::collection::vec(op, 1..80)
}

// ---- the model ----

#[derive(Default)]
struct Lock {
    /// Session, mode, token; the oldest first.
    holders: Vec<(usize, Mode, u64)>,
    queue: Vec<Waiter>,
}

#[derive(Clone)]
struct Waiter {
    session: usize,
    mode: Mode,
    upgrade: bool,
    deadline: Option<u64>,
}

#[derive(Default)]
struct Model {
    now: u64,
    token: u64,
    locks: BTreeMap<usize, Lock>,
    counts: BTreeMap<(usize, usize), u64>,
    events: Vec<(usize, String)>,
}

impl Model {
    fn say(&mut self, session: usize, answer: impl std::fmt::Display) {
        self.events.push((session, format!("{answer}")));
    }

    fn is_waiting(&self, session: usize) -> bool {
        self.locks.values().any(|lock| lock.queue.iter().any(|waiter| waiter.session == session))
    }

    fn get(&mut self, session: usize, name: usize, mode: Mode, seconds: Option<u64>) {
        let deadline = seconds.map(|seconds| self.now + seconds);
        let lock = self.locks.entry(name).or_default();
        let held = lock.holders.iter().find(|holder| holder.0 == session).map(|holder| holder.1);
        if held.is_some_and(|held| held.covers(mode)) {
            *self.counts.get_mut(&(session, name)).unwrap() += 1;
            return self.say(session, 1);
        }
        let waiter = Waiter { session, mode, upgrade: held.is_some(), deadline };
        let place = if waiter.upgrade { 0 } else { lock.queue.len() };
        lock.queue.insert(place, waiter);
        self.settle();
        if !self.is_waiting(session) {
            return;
        }
        let refused =
            if seconds == Some(0) { Some("0") } else { self.reaches(session, session).then_some("deadlock") };
        if let Some(refused) = refused {
            self.locks.get_mut(&name).unwrap().queue.remove(place);
            self.say(session, refused);
            self.settle();
        }
    }

    /// Grants whatever the heads of the queues can be granted.
    fn settle(&mut self) {
        for name in 0..NAMES.len() {
            while let Some(waiter) = self.grantable(name) {
                self.token += 1;
                let lock = self.locks.get_mut(&name).unwrap();
                lock.queue.remove(0);
                let grant = (waiter.session, waiter.mode, self.token);
                match lock.holders.iter_mut().find(|holder| holder.0 == waiter.session) {
                    Some(holder) => *holder = grant,
                    None => lock.holders.push(grant),
                }
                *self.counts.entry((waiter.session, name)).or_default() += 1;
                self.say(waiter.session, 1);
            }
        }
    }

    fn grantable(&self, name: usize) -> Option<Waiter> {
        let lock = self.locks.get(&name)?;
        let head = lock.queue.first()?;
        let free =
            lock.holders.iter().all(|holder| holder.0 == head.session || compatible(holder.1, head.mode));
        free.then(|| head.clone())
    }

    /// Whether somebody that `from` waits for, directly or not, is `to`.
    fn reaches(&self, from: usize, to: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = self.in_the_way_of(from);
        while let Some(session) = open.pop() {
            if session == to {
                return true;
            }
            if seen.insert(session) {
                open.extend(self.in_the_way_of(session));
            }
        }
        false
    }

    /// The holders and those ahead in the queue that a waiter cannot be granted beside.
    fn in_the_way_of(&self, session: usize) -> Vec<usize> {
        let Some((lock, place)) = self.locks.values().find_map(|lock| {
            lock.queue.iter().position(|waiter| waiter.session == session).map(|place| (lock, place))
        }) else {
            return Vec::new();
        };
        let mode = lock.queue[place].mode;
        let holders = lock.holders.iter().map(|holder| (holder.0, holder.1));
        let ahead = lock.queue[..place].iter().map(|waiter| (waiter.session, waiter.mode));
        let others = holders.chain(ahead).filter(|other| other.0 != session && !compatible(other.1, mode));
        others.map(|other| other.0).collect()
    }

    fn release(&mut self, session: usize, name: usize) -> &'static str {
        match self.counts.get_mut(&(session, name)) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => self.free(session, name),
            None if self.locks.get(&name).is_some_and(|lock| !lock.holders.is_empty()) => return "0",
            None => return "NULL",
        }
        "1"
    }

    fn free(&mut self, session: usize, name: usize) {
        self.counts.remove(&(session, name));
        self.locks.get_mut(&name).unwrap().holders.retain(|holder| holder.0 != session);
        self.settle();
    }

    fn free_all(&mut self, session: usize) -> u64 {
        let held: Vec<_> =
            self.counts.iter().filter(|((who, _), _)| *who == session).map(|(k, n)| (k.1, *n)).collect();
        for (name, _) in &held {
            self.free(session, *name);
        }
        held.iter().map(|(_, count)| count).sum()
    }

    fn stop_waiting(&mut self, session: usize) -> bool {
        let was = self.is_waiting(session);
        self.locks.values_mut().for_each(|lock| lock.queue.retain(|waiter| waiter.session != session));
        self.settle();
        was
    }

    fn end(&mut self, session: usize) {
        self.stop_waiting(session);
        self.free_all(session);
    }

    fn sleep(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            let due = |waiter: &&Waiter| waiter.deadline.is_some_and(|deadline| deadline <= self.now);
            let due: Vec<_> = self
                .locks
                .values()
                .flat_map(|lock| lock.queue.iter().filter(due))
                .map(|w| w.session)
                .collect();
            for session in due {
                // A grant that the end of another wait brings at the same moment counts.
                if self.stop_waiting(session) {
                    self.say(session, 0);
                }
            }
        }
    }

    fn look(&self, session: usize, name: usize) -> String {
        let holders = self.locks.get(&name).map(|lock| lock.holders.clone()).unwrap_or_default();
        let mine = holders.iter().find(|holder| holder.0 == session);
        format!("{:?} {:?}", holders.first().map(|holder| holder.0), mine.map(|holder| holder.2))
    }
}

fn compatible(a: Mode, b: Mode) -> bool {
    a == Mode::Shared && b == Mode::Shared
}

// ---- the real thing ----

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

/// What is compared: numbers and NULL as they are, errors by kind.
fn plain(answer: &Answer) -> String {
    match answer {
        Ok(Reply::Int(number)) => number.to_string(),
        Ok(Reply::Null) => "NULL".to_owned(),
        Err(Error::Deadlock(_)) => "deadlock".to_owned(),
        Err(Error::Interrupted) => "killed".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Each link of a cycle must be true, and lead to the next.
fn check_cycle(world: &World, model: &Model, asker: usize, wanted: usize, answer: &Answer) {
    let Err(Error::Deadlock(cycle)) = answer else { return };
    for (at, link) in cycle.links.iter().enumerate() {
        let (waiter, holder) = (world.place_of(link.waiter).unwrap(), world.place_of(link.holder).unwrap());
        let name = NAMES.iter().position(|name| *name == link.name.as_str()).unwrap();
        let lock = &model.locks[&name];
        assert!(lock.holders.iter().any(|h| h.0 == holder), "{cycle:?}");
        let waits = lock.queue.iter().any(|w| w.session == waiter);
        assert!(if at == 0 { waiter == asker && name == wanted } else { waits }, "{cycle:?}");
        assert_eq!(link.holder, cycle.links[(at + 1) % cycle.links.len()].waiter, "{cycle:?}");
    }
}

async fn drive(ops: Vec<Op>) {
    let mut world = World::new();
    let mut model = Model::default();
    let mut tokens = BTreeMap::new();
    for op in ops {
        let lock = |name: usize| Name::new(NAMES[name]).unwrap();
        let mut asked = None;
        match op {
            Op::Get { session, .. }
            | Op::Release { session, .. }
            | Op::ReleaseAll { session }
            | Op::Look { session, .. }
            | Op::Kill { session, .. }
            | Op::KillQuery { session, .. }
                if model.is_waiting(session) =>
            {
                continue;
            }
            Op::Get { session, name, mode, seconds } => {
                let timeout = seconds.map_or(Timeout::Forever, |s| Timeout::Within(Duration::from_secs(s)));
                world.run(session, Command::GetLock { name: lock(name), mode, timeout });
                model.get(session, name, mode, seconds);
                asked = Some((session, name));
            }
            Op::Release { session, name } => {
                world.run(session, Command::ReleaseLock(lock(name)));
                let answer = model.release(session, name);
                model.say(session, answer);
            }
            Op::ReleaseAll { session } => {
                world.run(session, Command::ReleaseAllLocks);
                let counts = model.free_all(session);
                model.say(session, counts);
            }
            Op::Look { session, name } => {
                let seen = look(&mut world, session, lock(name), &mut tokens, &model).await;
                assert_eq!(seen, model.look(session, name));
            }
            Op::Kill { session, other } => {
                world.run(session, Command::Kill(world.clients[other].id));
                model.end(other);
                if session != other {
                    model.say(session, 1);
                }
            }
            Op::KillQuery { session, other } => {
                world.run(session, Command::KillQuery(world.clients[other].id));
                let was = model.stop_waiting(other);
                if was {
                    model.say(other, "killed");
                }
                model.say(session, u8::from(was));
            }
            Op::Leave { session } => {
                let _ = world.clients[session].ask.send(Ask::Leave);
                model.end(session);
            }
            Op::Sleep { seconds } => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                model.sleep(seconds);
            }
        }
        let answers = world.answers().await;
        for (session, answer) in &answers {
            if let Some((asker, name)) = asked {
                assert!(plain(answer) != "deadlock" || *session == asker);
                check_cycle(&world, &model, asker, name, answer);
            }
        }
        let mut heard: Vec<_> = answers.iter().map(|(session, answer)| (*session, plain(answer))).collect();
        let mut expected = std::mem::take(&mut model.events);
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

/// The oldest holder and this session's token, as the model writes them.
async fn look(
    world: &mut World,
    session: usize,
    name: Name,
    tokens: &mut BTreeMap<(usize, u64), u64>,
    model: &Model,
) -> String {
    world.run(session, Command::IsUsedLock(name.clone()));
    world.run(session, Command::FencingToken(name.clone()));
    let answers = world.answers().await;
    let number = |at: usize| match answers[at].1 {
        Ok(Reply::Int(number)) => Some(number),
        _ => None,
    };
    let holder = number(0).and_then(|id| world.place_of(SessionId(id.try_into().unwrap())));
    let place = NAMES.iter().position(|n| *n == name.as_str()).unwrap();
    let mine = model.locks.get(&place).and_then(|lock| lock.holders.iter().find(|h| h.0 == session));
    if let (Some(token), Some(mine)) = (number(1), mine) {
        // Both grow for each name. How they grow across names is not compared: RELEASE_ALL_LOCKS
        // frees in no order.
        let known = *tokens.entry((place, mine.2)).or_insert(token);
        assert_eq!(known, token, "a hold keeps its token");
        let of_name: Vec<_> =
            tokens.iter().filter(|((of, _), _)| *of == place).map(|(_, token)| *token).collect();
        assert!(of_name.is_sorted_by(|a, b| a < b), "{of_name:?}");
    }
    let token = number(1).and(mine.map(|mine| mine.2));
    format!("{holder:?} {token:?}")
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
