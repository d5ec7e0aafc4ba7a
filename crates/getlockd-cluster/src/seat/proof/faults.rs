//! What goes wrong in a schedule.

use std::time::Duration;

use super::{
    clock::{True, nanos},
    dice::Dice,
    node::SimNode,
    store::Verb,
    world::{Happening, Place, World},
};

/// A fault, or its end.
#[derive(Clone, Debug)]
pub enum Fault {
    Pause(usize, Duration),
    Sleep(usize, Duration),
    Resume(usize, u64),
    Kill(usize),
    MachineGone(usize),
    Start(usize, Duration),
    CutEngine(usize, bool, bool),
    HangWatch(usize),
    EngineDown,
    /// The engine is well, and so are the ways to it.
    EngineUp,
    Wipe,
    Restore {
        back: usize,
        ahead: u64,
    },
    Cut(Place, Place),
    Heal(Place, Place),
    Drain {
        node: usize,
        exits: bool,
        successor: Option<usize>,
    },
    // By scripts only.
    /// What becomes of the next requests of a kind.
    Meets {
        node: usize,
        verb: Verb,
        fate: Fate,
        times: usize,
    },
    /// The thread that handles the next reply of a node is held up.
    HoldThread(usize, Duration),
    /// What happens from now on is reported to a node after so long.
    SlowWatch(usize, Duration),
    /// A backup is made.
    BackUp,
    /// It is put back.
    PutBack,
    /// All that goes wrong by the dice ends.
    Calm,
}

/// What goes wrong by the dice, so many times in a thousand.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub lost: usize,
    pub answer_lost: usize,
    pub late: usize,
    pub twice: usize,
    pub refuses: usize,
    pub poison: usize,
    pub stale: usize,
    pub slow_threads: usize,
    pub pauses_at_writes: usize,
    pub restore_fails: usize,
    /// So many requests of a node in a row, if that is bounded.
    pub most_unlucky: usize,
    pub slow_engine: bool,
    pub slow_watch: bool,
    /// The shortest that a lease may be cut to by clocks, in thousandths.
    pub shortest_lease: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    pub lost: bool,
    pub answered: bool,
    pub late: Duration,
    pub twice: bool,
    /// Its sender stands still right after it.
    pub pauses: Duration,
}

impl Fate {
    pub fn is_fault(&self) -> bool {
        self.lost
            || !self.answered
            || self.twice
            || self.late > Duration::ZERO
            || self.pauses > Duration::ZERO
    }
}

/// The forks of the tree, for T = 3 s.
const FORKS: usize = 7;

impl Weather {
    pub fn fate(&self, dice: &mut Dice, forks: bool) -> Fate {
        let fine = Fate { answered: true, ..Fate::default() };
        if dice.walks() {
            return match if forks { dice.fork(FORKS) } else { 0 } {
                1 => Fate { lost: true, ..fine },
                2 => Fate { answered: false, ..fine },
                3 => Fate { late: Duration::from_millis(300), ..fine },
                4 => Fate { late: Duration::from_millis(3_200), answered: false, ..fine },
                5 => Fate { pauses: Duration::from_millis(2_500), ..fine },
                6 => Fate { pauses: Duration::from_millis(3_500), ..fine },
                _ => fine,
            };
        }
        let late = if dice.chance(self.late) { dice.millis(100, 8_000) } else { Duration::ZERO };
        Fate {
            lost: dice.chance(self.lost),
            answered: !dice.chance(self.answer_lost),
            late,
            twice: dice.chance(self.twice),
            pauses: Duration::ZERO,
        }
    }

    /// One way between a node and the engine.
    pub fn way(&self, dice: &mut Dice) -> Duration {
        if self.slow_engine && dice.chance(300) {
            dice.millis(20, 900)
        } else {
            dice.between(Duration::from_micros(200), Duration::from_millis(6))
        }
    }

    pub fn watch_way(&self, dice: &mut Dice) -> Duration {
        if self.slow_watch && dice.chance(200) { dice.millis(20, 2_500) } else { self.way(dice) }
    }
}

impl World {
    pub fn fault(&mut self, fault: Fault) {
        self.note(|| format!("{fault:?}"));
        self.last_fault = self.last_fault.max(self.now);
        match fault {
            Fault::Pause(node, time) => self.pause(node, time, false),
            Fault::Sleep(node, time) => self.pause(node, time, true),
            Fault::Resume(node, process) => self.resume(node, process),
            Fault::Kill(node) => self.kill(node, false),
            Fault::MachineGone(node) => self.kill(node, true),
            Fault::Start(node, ttl) => {
                if !self.nodes[node].alive {
                    self.nodes[node].ttl = ttl;
                    self.start(node);
                }
            }
            Fault::CutEngine(node, requests, answers) => self.nodes[node].engine_cut = (requests, answers),
            Fault::HangWatch(node) => self.nodes[node].watch_hangs = true,
            Fault::EngineDown => self.engine_up = false,
            Fault::EngineUp => self.engine_is_well(),
            Fault::Wipe if self.is_deceived(0) => {}
            Fault::Wipe => {
                let was = self.store.now.look.clone();
                self.store.wipe();
                self.contents_lost(&was);
            }
            Fault::Restore { back, ahead } => self.restore_backup(back, ahead),
            Fault::Cut(one, other) => self.cut(one, other),
            Fault::Heal(one, other) => self.heal(one, other),
            Fault::Meets { node, verb, fate, times } => self.nodes[node].fates.push((verb, fate, times)),
            Fault::HoldThread(node, time) => self.nodes[node].held_up = Some(time),
            Fault::SlowWatch(node, time) => self.nodes[node].watched_until = self.now + nanos(time),
            Fault::BackUp => self.store.backup = Some(self.store.now.clone()),
            Fault::PutBack => self.put_back(),
            Fault::Drain { node, exits, successor } => self.drain(node, exits, successor),
            Fault::Calm => self.calm(),
        }
    }

    fn engine_is_well(&mut self) {
        self.engine_up = true;
        for node in 0..self.nodes.len() {
            let it = &mut self.nodes[node];
            (it.watch_hangs, it.engine_cut) = (false, (false, false));
            self.rewatch(node);
        }
    }

    /// What clocks do not catch up with may repeat, and leases are lost.
    fn contents_lost(&mut self, was: &crate::engine::Look) {
        // The leader stops within T: its beats are of a seat that is gone, or revisions fall. When they go on from a
        // higher one, it cannot know.
        let longest = self.nodes.iter().map(|node| node.ttl + node.delay).max().unwrap_or_default();
        let is_known = self.store.now.look.seat.is_none() || self.store.now.look.revision + 5 < was.revision;
        let until = if is_known { self.now + nanos(longest.mul_f64(1.1)) } else { True::MAX };
        self.ledger.lost_until = self.ledger.lost_until.max(until);
        for node in 0..self.nodes.len() {
            self.rewatch(node);
        }
        self.report(was);
    }

    /// Whether what was seen last by a node that runs is no later than this revision.
    fn is_deceived(&self, revision: u64) -> bool {
        let deceived =
            |node: &SimNode| node.alive && (node.paused || !node.watches() || node.seen <= revision);
        self.nodes.iter().any(deceived)
    }

    /// A backup is put back under running nodes. It hides nothing from a node that has seen a later revision: else the
    /// engine would not be linearizable, and operators have to stop all nodes before.
    fn restore_backup(&mut self, back: usize, ahead: u64) {
        let Some(revision) = self.store.backup_revision(back) else { return };
        let resigned = self.store.was_resigned(back) && self.nodes.iter().any(|node| !node.alive);
        if resigned || self.store.takes.is_empty() || self.is_deceived(revision) {
            return;
        }
        let was = self.store.now.look.clone();
        self.store.restore(back, ahead);
        self.contents_lost(&was);
    }

    fn put_back(&mut self) {
        let revision = self.store.backup.as_ref().map_or(0, |then| then.look.revision);
        if self.is_deceived(revision) {
            return self.ledger.broke("the script puts a backup back that nobody can know of");
        }
        let was = self.store.now.look.clone();
        self.store.put_back();
        self.contents_lost(&was);
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self) {
        let Weather { shortest_lease, .. } = self.weather;
        self.weather = Weather { shortest_lease, ..Weather::default() };
        let places = |world: &Self| {
            let nodes = (0..world.nodes.len()).map(Place::Node);
            nodes.chain((0..world.clients.len()).map(Place::Client)).collect::<Vec<_>>()
        };
        for one in places(self) {
            for other in places(self) {
                if one < other && self.is_cut(one, other) {
                    self.heal(one, other);
                }
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].paused {
                self.resume(node, self.nodes[node].process);
            }
            if !self.nodes[node].alive {
                self.start(node);
            }
        }
        self.engine_is_well();
        // A drain that is under way ends first; then a record of it may stand there for a while.
        let drains = self.nodes.iter().any(|node| node.closing.is_some() || node.drains());
        let after = self.bound().mul_f64(if drains { 2.5 } else { 1.0 });
        self.must_serve_at(after);
        self.ends = self.now + nanos(after) + 2_000_000_000;
    }
}

/// Which kinds of faults a schedule has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Any,
    /// Drains, and what comes in their way.
    HandOvers,
    /// The contents of the engine are lost or set back.
    Backups,
}

impl World {
    /// Faults until the calm.
    pub fn plan(&mut self, kind: Kind, until: Duration) {
        let faults = if kind == Kind::HandOvers { 8 } else { 2 } + self.dice.below(9);
        for _ in 0..faults {
            let at = self.dice.between(Duration::from_millis(500), until);
            self.plan_one(kind, at);
        }
        self.later(until, Happening::Fault(Fault::Calm));
    }

    fn time(&mut self) -> Duration {
        if self.dice.chance(300) { self.dice.millis(50, 1_000) } else { self.dice.millis(1_000, 11_000) }
    }

    fn plans(&mut self, after: Duration, fault: Fault) {
        self.later(after, Happening::Fault(fault));
    }

    fn plan_one(&mut self, kind: Kind, at: Duration) {
        let node = self.dice.below(self.nodes.len());
        let time = self.time();
        let ttl = Duration::from_secs(if kind == Kind::Backups { 3 } else { self.dice.one_of(&[3, 5]) });
        if kind == Kind::Backups && self.dice.chance(400) {
            let (back, ahead) = (self.dice.below(40), self.dice.below(60) as u64);
            let fault = if self.dice.chance(300) { Fault::Wipe } else { Fault::Restore { back, ahead } };
            return self.plans(at, fault);
        }
        let fault = match kind {
            Kind::HandOvers => self.dice.one_of(&[0, 3, 5, 9, 9, 9, 10, 10, 10]),
            _ => self.dice.below(12),
        };
        match fault {
            0 | 1 => self.plans(at, Fault::Pause(node, time)),
            2 => self.plans(at, Fault::Sleep(node, time)),
            3 => {
                self.plans(at, Fault::Kill(node));
                self.plans(at + time, Fault::Start(node, ttl));
            }
            4 => {
                self.plans(at, Fault::MachineGone(node));
                self.plans(at + time, Fault::Start(node, ttl));
            }
            5 | 6 => {
                let (requests, answers) = self.dice.one_of(&[(true, true), (true, false), (false, true)]);
                self.plans(at, Fault::CutEngine(node, requests, answers));
                self.plans(at + time, Fault::EngineUp);
            }
            7 => {
                self.plans(at, Fault::HangWatch(node));
                self.plans(at + time, Fault::EngineUp);
            }
            8 => {
                self.plans(at, Fault::EngineDown);
                self.plans(at + time, Fault::EngineUp);
            }
            9 => {
                let (exits, named) = (self.dice.chance(500), self.dice.chance(500));
                let other = self.dice.below(self.nodes.len());
                let fault = Fault::Drain { node, exits, successor: named.then_some(other) };
                self.plans(at, fault);
                self.plans(at + time + Duration::from_secs(2), Fault::Start(node, ttl));
            }
            _ => {
                let one = Place::Node(node);
                let other = if self.dice.chance(500) {
                    Place::Client(self.dice.below(self.clients.len()))
                } else {
                    Place::Node(self.dice.below(self.nodes.len()))
                };
                self.plans(at, Fault::Cut(one, other));
                self.plans(at + time, Fault::Heal(one, other));
            }
        }
    }
}
