//! The rules of protocol.md, part 1, as steps on a plain state, one after the other.
//!
//! Written for clarity, not for speed, and in another way than the server: each question is answered from the whole state
//! anew. Nothing is remembered but holds, queues and waits: not who is in whose way, nor who could be granted something.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use getlockd::internal::lock::Mode;

/// A session, by its place among those of a run.
pub type Who = usize;

/// A lock, likewise.
pub type Lock = usize;

#[derive(Clone, Debug)]
pub struct Hold {
    pub session: Who,
    pub lock: Lock,
    pub mode: Mode,
    /// In place of a fencing token: the number of the grant.
    pub grant: u64,
    count: u64,
}

#[derive(Clone, Debug)]
struct Request {
    /// In the order of the request, each once.
    locks: Vec<Lock>,
    /// Those of them that the session does not hold so that it can take them once more. It has a place in the queue of each.
    needed: Vec<Lock>,
    mode: Mode,
    deadline: Option<u64>,
    /// The number of the request: the smallest is the oldest.
    number: u64,
    /// Whether a time-out names the lock that was in the way: `GET_LOCKS` does.
    names_lock: bool,
}

/// What a session asks for. In milliseconds; without a time it waits forever.
#[derive(Clone, Debug)]
pub struct Wish {
    pub locks: Vec<Lock>,
    pub mode: Mode,
    pub timeout: Option<u64>,
    pub names_lock: bool,
}

/// Which places in the queues somebody behind them has to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Places {
    All,
    /// Not those of requests of several locks. Whoever waits in such a place holds nothing by it.
    OfOne,
}

#[derive(Debug, Default)]
pub struct Model {
    now: u64,
    grants: u64,
    requests: u64,
    /// Of all locks, the oldest first.
    holds: Vec<Hold>,
    /// The sessions that wait for a lock; the first is next.
    queues: BTreeMap<Lock, Vec<Who>>,
    waiting: BTreeMap<Who, Request>,
    /// What sessions were answered.
    pub answers: Vec<(Who, String)>,
}

/// What sessions do.
impl Model {
    pub fn acquire(&mut self, session: Who, wish: Wish) {
        let Wish { mut locks, mode, timeout, names_lock } = wish;
        let mut seen = BTreeSet::new();
        locks.retain(|lock| seen.insert(*lock));
        let covers = |lock: &Lock| self.hold(session, *lock).is_some_and(|hold| hold.mode.covers(mode));
        let needed: Vec<_> = locks.iter().copied().filter(|lock| !covers(lock)).collect();
        if let Some((lock, other)) = needed.iter().find_map(|lock| self.other_limit(*lock, mode)) {
            return self.answer(session, limit_differs(lock, other));
        }
        for lock in &needed {
            // An upgrade goes ahead of the queue.
            let is_upgrade = self.hold(session, *lock).is_some();
            let queue = self.queues.entry(*lock).or_default();
            queue.insert(if is_upgrade { 0 } else { queue.len() }, session);
        }
        self.requests += 1;
        let (deadline, number) = (timeout.map(|timeout| self.now + timeout), self.requests);
        self.waiting.insert(session, Request { locks, needed, mode, deadline, number, names_lock });
        if self.is_grantable(session) {
            self.grant(session);
        } else if !self.can_leave(Places::OfOne).contains(&session) {
            match timeout {
                Some(0) => self.time_out(session),
                _ => self.refuse(session),
            }
        } else if timeout == Some(0) {
            self.pass_or_time_out(session);
        } else {
            self.let_pass(session);
        }
    }

    fn refuse(&mut self, session: Who) {
        self.leave_queues(session);
        self.answer(session, "deadlock");
    }

    pub fn release(&mut self, session: Who, lock: Lock) -> &'static str {
        let is_held = self.holds.iter().any(|hold| hold.lock == lock);
        let Some(hold) = self.holds.iter_mut().find(|hold| (hold.session, hold.lock) == (session, lock))
        else {
            return if is_held { "0" } else { "NULL" };
        };
        hold.count -= 1;
        self.holds.retain(|hold| hold.count > 0);
        self.settle();
        "1"
    }

    pub fn release_several(&mut self, session: Who, locks: &[Lock]) -> usize {
        locks.iter().filter(|lock| self.release(session, **lock) == "1").count()
    }

    pub fn release_all(&mut self, session: Who) -> u64 {
        let counts = self.holds.iter().filter(|hold| hold.session == session).map(|hold| hold.count).sum();
        self.holds.retain(|hold| hold.session != session);
        self.settle();
        counts
    }

    pub fn stop_waiting(&mut self, session: Who) -> bool {
        let did_wait = self.waiting.contains_key(&session);
        self.leave_queues(session);
        self.settle();
        did_wait
    }

    pub fn end(&mut self, session: Who) {
        self.stop_waiting(session);
        self.release_all(session);
    }

    /// Time passes. No two waits are over at the same moment.
    pub fn wait(&mut self, time: u64) {
        let end = self.now + time;
        while let Some((deadline, session)) = self.next_deadline().filter(|(deadline, _)| *deadline <= end) {
            self.now = deadline;
            self.time_out(session);
            self.settle();
        }
        self.now = end;
    }

    pub fn answer(&mut self, session: Who, answer: impl Display) {
        self.answers.push((session, answer.to_string()));
    }
}

/// What can be seen.
impl Model {
    pub fn is_waiting(&self, session: Who) -> bool {
        self.waiting.contains_key(&session)
    }

    /// Whether a session has a place in the queue of a lock.
    pub fn waits_for(&self, session: Who, lock: Lock) -> bool {
        self.waiting.get(&session).is_some_and(|request| request.needed.contains(&lock))
    }

    pub fn hold(&self, session: Who, lock: Lock) -> Option<&Hold> {
        self.holds.iter().find(|hold| (hold.session, hold.lock) == (session, lock))
    }

    /// The one who has held it longest.
    pub fn used_by(&self, lock: Lock) -> Option<Who> {
        self.holds.iter().find(|hold| hold.lock == lock).map(|hold| hold.session)
    }
}

/// Who is granted what.
impl Model {
    /// A mode other than this one, not exclusive, in which a lock is held or waited for.
    fn other_limit(&self, lock: Lock, mode: Mode) -> Option<(Lock, Mode)> {
        let held = self.holds.iter().filter(|hold| hold.lock == lock).map(|hold| hold.mode);
        let wanted = self.waiting.values().filter(|request| request.needed.contains(&lock)).map(|r| r.mode);
        let other = held.chain(wanted).find(|other| *other != Mode::Exclusive && *other != mode)?;
        (mode != Mode::Exclusive).then_some((lock, other))
    }

    /// Grants all that can be granted now; of two that could be, the oldest request.
    fn settle(&mut self) {
        let oldest = |model: &Self| {
            let grantable = model.waiting.iter().filter(|(session, _)| model.is_grantable(**session));
            grantable.min_by_key(|(_, request)| request.number).map(|(session, _)| *session)
        };
        while let Some(session) = oldest(self) {
            self.grant(session);
        }
    }

    fn is_grantable(&self, session: Who) -> bool {
        self.waiting[&session].needed.iter().all(|lock| self.is_to_be_had(session, *lock))
    }

    /// Whether neither holders nor the queue keep a waiting session from this one of its locks.
    fn is_to_be_had(&self, session: Who, lock: Lock) -> bool {
        self.ahead(session, lock).is_empty() && self.holders_in_the_way(session, lock).is_empty()
    }

    /// A request that does not wait passes, too. Nobody else does for it.
    fn pass_or_time_out(&mut self, session: Who) {
        let leaving = self.can_leave(Places::All);
        let is_free = |lock: &Lock| self.holders_in_the_way(session, *lock).is_empty();
        if self.needs_its_turn(session, &leaving) && self.waiting[&session].needed.iter().all(is_free) {
            self.pass(session, &leaving);
        }
        if self.is_grantable(session) { self.grant(session) } else { self.time_out(session) }
    }

    /// As long as this session cannot leave, and could but for the turns, somebody passes: this session if it needs nothing
    /// but its turn, or else the oldest that it waits for and that does.
    fn let_pass(&mut self, session: Who) {
        loop {
            let leaving = self.can_leave(Places::All);
            if !self.is_waiting(session) || leaving.contains(&session) {
                return;
            }
            let next = self.waited_for(session, &leaving).into_iter();
            let next = next
                .filter(|who| self.needs_its_turn(*who, &leaving))
                .min_by_key(|who| (*who != session, self.waiting[who].number));
            self.pass(next.expect("a turn that nothing else is needed for"), &leaving);
            self.settle();
        }
    }

    /// Whether a waiting session cannot leave, and could if it were its turn.
    fn needs_its_turn(&self, session: Who, leaving: &BTreeSet<Who>) -> bool {
        let mut needed = self.waiting[&session].needed.iter();
        !leaving.contains(&session) && needed.all(|lock| self.holders_leave(session, *lock, leaving))
    }

    /// A session goes in front of all that cannot leave.
    fn pass(&mut self, session: Who, leaving: &BTreeSet<Who>) {
        for lock in self.waiting[&session].needed.clone() {
            let queue = self.queues.get_mut(&lock).unwrap();
            queue.retain(|other| *other != session);
            let place = queue.iter().position(|other| !leaving.contains(other)).unwrap_or(queue.len());
            queue.insert(place, session);
        }
    }

    fn grant(&mut self, session: Who) {
        let Some(request) = self.leave_queues(session) else { return };
        self.grants += 1;
        for lock in request.locks {
            let mut holds = self.holds.iter_mut();
            let hold = holds.find(|hold| (hold.session, hold.lock) == (session, lock));
            let (mode, grant) = (request.mode, self.grants);
            match hold {
                None => self.holds.push(Hold { session, lock, mode, grant, count: 1 }),
                Some(hold) if request.needed.contains(&lock) => {
                    *hold = Hold { mode, grant, count: hold.count + 1, ..hold.clone() }
                }
                Some(hold) => hold.count += 1,
            }
        }
        self.answer(session, 1);
    }

    fn time_out(&mut self, session: Who) {
        let is_missing =
            |lock: &&Lock| self.waits_for(session, **lock) && !self.is_to_be_had(session, **lock);
        let missing = self.waiting[&session].locks.iter().find(is_missing).copied();
        if let (Some(request), Some(missing)) = (self.leave_queues(session), missing) {
            self.answer(session, if request.names_lock { timed_out_for(missing) } else { "0".to_owned() });
        }
    }

    fn leave_queues(&mut self, session: Who) -> Option<Request> {
        self.queues.values_mut().for_each(|queue| queue.retain(|other| *other != session));
        self.waiting.remove(&session)
    }

    fn next_deadline(&self) -> Option<(u64, Who)> {
        self.waiting.iter().filter_map(|(session, request)| Some((request.deadline?, *session))).min()
    }
}

/// Who is in whose way.
impl Model {
    /// Those in front of a session in the queue of a lock.
    fn ahead(&self, session: Who, lock: Lock) -> &[Who] {
        let queue = &self.queues[&lock];
        let place = queue.iter().position(|other| *other == session).expect("it waits there");
        &queue[..place]
    }

    /// The holders beside which a waiting session cannot hold a lock. For a permit it is enough that one of them leaves.
    fn holders_in_the_way(&self, session: Who, lock: Lock) -> Vec<Who> {
        let others = || self.holds.iter().filter(|hold| hold.lock == lock && hold.session != session);
        let in_the_way: Vec<_> = match self.waiting[&session].mode {
            Mode::Exclusive => others().collect(),
            Mode::Permit(limit) if others().count() >= usize::from(limit) => others().collect(),
            Mode::Permit(_) | Mode::Shared => others().filter(|hold| hold.mode == Mode::Exclusive).collect(),
        };
        in_the_way.iter().map(|hold| hold.session).collect()
    }

    /// A session, and those that it waits for, directly or not, and that cannot leave.
    fn waited_for(&self, session: Who, leaving: &BTreeSet<Who>) -> BTreeSet<Who> {
        let (mut found, mut open) = (BTreeSet::new(), vec![session]);
        while let Some(session) = open.pop() {
            if leaving.contains(&session) || !found.insert(session) {
                continue;
            }
            for lock in &self.waiting[&session].needed {
                let (several, single): (Vec<_>, Vec<_>) =
                    self.ahead(session, *lock).iter().partition(|other| self.is_of_several(**other));
                open.extend(several);
                open.extend(single.iter().flat_map(|waiter| self.holders_in_the_way(*waiter, *lock)));
                open.extend(self.holders_in_the_way(session, *lock));
            }
        }
        found
    }

    fn is_of_several(&self, session: Who) -> bool {
        self.waiting[&session].needed.len() > 1
    }

    /// The sessions that can come to an end by themselves: those that do not wait, and then those that get all that they wait
    /// for once those have gone.
    fn can_leave(&self, places: Places) -> BTreeSet<Who> {
        let holders = self.holds.iter().map(|hold| hold.session);
        let mut leaving: BTreeSet<_> = holders.filter(|session| !self.is_waiting(*session)).collect();
        let comes = |session: Who, request: &Request, leaving: &BTreeSet<Who>| {
            !leaving.contains(&session)
                && request.needed.iter().all(|lock| self.comes_free(session, *lock, leaving, places))
        };
        while let Some((next, _)) = self.waiting.iter().find(|(who, request)| comes(**who, request, &leaving))
        {
            leaving.insert(*next);
        }
        leaving
    }

    /// Whether a waiting session gets this one of its locks once certain others have gone.
    fn comes_free(&self, session: Who, lock: Lock, gone: &BTreeSet<Who>, places: Places) -> bool {
        let mut several = self.ahead(session, lock).iter().filter(|other| self.is_of_several(**other));
        (places == Places::OfOne || several.all(|other| gone.contains(other)))
            && self.holders_leave(session, lock, gone)
    }

    /// Whether no holders keep it from this lock then, nor those in front of it that wait for nothing else.
    fn holders_leave(&self, session: Who, lock: Lock, gone: &BTreeSet<Who>) -> bool {
        let ahead = self.ahead(session, lock).iter().copied().filter(|other| !self.is_of_several(*other));
        ahead.chain([session]).all(|waiter| {
            let holders = self.holders_in_the_way(waiter, lock);
            let mut left = holders.iter().map(|holder| gone.contains(holder));
            match self.waiting[&waiter].mode {
                Mode::Permit(_) => holders.is_empty() || left.any(|left| left),
                Mode::Exclusive | Mode::Shared => left.all(|left| left),
            }
        })
    }
}

pub fn limit_differs(lock: Lock, mode: Mode) -> String {
    format!("the limit of {lock} is {mode:?}")
}

pub fn timed_out_for(lock: Lock) -> String {
    format!("0 for {lock}")
}
