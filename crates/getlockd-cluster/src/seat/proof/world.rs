//! The world of a schedule: true time, what is to happen in it, machines and the network between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    client::{Act, SimClient},
    clock::{True, nanos},
    dice::Dice,
    faults::{Fate, Fault, Weather},
    node::{NodeEvent, SimNode},
    rules::Ledger,
    slips::Slip,
    store::{Answer, Ask, Store},
    wire::{Conn, Guard, Item, Reply},
};
use crate::{
    engine::{Change, Look, Written},
    moment::Moment,
    record::SeatRecord,
};

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Node(usize),
    Client(usize),
}

#[derive(Clone, Debug)]
pub enum Happening {
    /// Something reaches a process of a node, unless that has ended meanwhile.
    Node(usize, u64, NodeEvent),
    /// A request reaches the engine.
    Engine {
        node: usize,
        process: u64,
        number: u64,
        ask: Ask,
    },
    /// A write takes effect in the kernel, after the look at the guard.
    Effect {
        conn: usize,
        hop: usize,
        reply: Reply,
    },
    /// Something reaches the other end of a connection.
    Arrives {
        conn: usize,
        hop: usize,
        item: Item,
        late: bool,
    },
    Client(usize, Act),
    Fault(Fault),
    /// All is well for long enough: somebody must serve.
    MustServe,
}

pub struct World {
    pub dice: Dice,
    pub now: True,
    queue: BTreeMap<(True, u64), Happening>,
    number: u64,
    pub ends: True,
    pub nodes: Vec<SimNode>,
    pub clients: Vec<SimClient>,
    pub store: Store,
    pub ledger: Ledger,
    pub conns: Vec<Conn>,
    pub guards: Vec<Guard>,
    pub weather: Weather,
    pub engine_up: bool,
    cuts: BTreeSet<(Place, Place)>,
    /// What lies in kernels of nodes on links that are cut.
    mail: Vec<(Place, usize, u64, NodeEvent)>,
    /// When a machine last stood still, or was gone.
    pub disturbed: BTreeMap<Place, True>,
    /// When a link was last cut, or whole again.
    cut_at: BTreeMap<(Place, Place), True>,
    /// The last moment at which anything was not well.
    pub last_fault: True,
    /// A node that must serve may wait for the end of late faults.
    pub patient: bool,
    /// How long a pause between the look at a guard and its write is at most.
    pub longest_pause: Duration,
    /// Forks of the tree are at each try to reach the engine from here on.
    pub forks_from: True,
    /// What happened, if it is asked for.
    pub transcript: Option<Vec<String>>,
}

impl World {
    pub fn new(dice: Dice, ends: True) -> Self {
        Self {
            dice,
            now: 0,
            queue: BTreeMap::new(),
            number: 0,
            ends,
            nodes: Vec::new(),
            clients: Vec::new(),
            store: Store::default(),
            ledger: Ledger::default(),
            conns: Vec::new(),
            guards: Vec::new(),
            weather: Weather::default(),
            engine_up: true,
            cuts: BTreeSet::new(),
            mail: Vec::new(),
            disturbed: BTreeMap::new(),
            cut_at: BTreeMap::new(),
            last_fault: 0,
            patient: false,
            longest_pause: Duration::ZERO,
            forks_from: True::MAX,
            transcript: None,
        }
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(transcript) = &mut self.transcript {
            transcript.push(format!("{:8.3} {}", now as f64 / 1e9, what()));
        }
    }

    pub fn later(&mut self, after: Duration, what: Happening) {
        self.number += 1;
        self.queue.insert((self.now.saturating_add(nanos(after)), self.number), what);
    }

    pub fn to_node(&mut self, after: Duration, node: usize, event: NodeEvent) {
        let process = self.nodes[node].process;
        self.later(after, Happening::Node(node, process, event));
    }

    /// Runs until the end, or until a rule is broken.
    pub fn run(&mut self) {
        while let Some(((at, _), what)) = self.queue.pop_first() {
            if at > self.ends || self.ledger.broken.is_some() {
                return;
            }
            (self.now, self.ledger.now) = (at, at);
            match what {
                Happening::Node(node, process, event) => self.node_event(node, process, event),
                Happening::Engine { node, process, number, ask } => self.engine(node, process, number, ask),
                Happening::Effect { conn, hop, reply } => self.effect(conn, hop, reply),
                Happening::Arrives { conn, hop, item, late } => self.arrives(conn, hop, item, late),
                Happening::Client(client, act) => self.client(client, act),
                Happening::Fault(fault) => self.fault(fault),
                Happening::MustServe => self.must_serve(),
            }
        }
    }

    pub fn moment(&self, node: usize) -> Moment {
        let moment = self.nodes[node].clocks.read(self.now);
        if Slip::OneClock.is_planted() { Moment { raw: moment.boot, ..moment } } else { moment }
    }

    fn must_serve(&mut self) {
        let (well_since, bound) = (self.last_fault, self.bound());
        if self.patient && self.now < well_since + nanos(bound) {
            let after = Duration::from_nanos(well_since + nanos(bound) - self.now);
            self.ends = self.ends.max(self.now + nanos(after) + 1_000_000);
            return self.later(after, Happening::MustServe);
        }
        if !self.nodes.iter().any(SimNode::serves) {
            self.ledger.broke("nobody leads, though all has been well for long enough");
        }
    }

    /// How long it takes at most until somebody leads, once all is well.
    pub fn bound(&self) -> Duration {
        let own = self.nodes.iter().map(|node| node.ttl + node.delay).max().unwrap_or_default();
        // A node that starts again with another T waits that of the record.
        let seat = self.store.now.look.seat.as_ref().map(|seat| SeatRecord::decode(&seat.value));
        let stands = if let Some(SeatRecord::Leads(leader)) = seat { leader.wait() } else { Duration::ZERO };
        own.max(stands).mul_f64(1.2) + Duration::from_millis(800)
    }

    // The network.

    fn link(one: Place, other: Place) -> (Place, Place) {
        (one.min(other), one.max(other))
    }

    pub fn is_cut(&self, one: Place, other: Place) -> bool {
        self.cuts.contains(&Self::link(one, other))
    }

    pub fn cut(&mut self, one: Place, other: Place) {
        self.cuts.insert(Self::link(one, other));
        self.cut_at.insert(Self::link(one, other), self.now);
    }

    pub fn disturb(&mut self, place: Place) {
        self.disturbed.insert(place, self.now);
    }

    /// Whether a machine stood still or was gone within the last so many seconds.
    pub fn was_disturbed(&self, place: Place, within: Duration) -> bool {
        self.disturbed.get(&place).is_some_and(|at| at + nanos(within) > self.now)
    }

    /// Whether a link was cut within the last so many seconds.
    pub fn was_cut(&self, one: Place, other: Place, within: Duration) -> bool {
        let at = self.cut_at.get(&Self::link(one, other));
        self.is_cut(one, other) || at.is_some_and(|at| at + nanos(within) > self.now)
    }

    /// The link is whole again: what lay in the kernels is sent again.
    pub fn heal(&mut self, one: Place, other: Place) {
        self.cuts.remove(&Self::link(one, other));
        self.cut_at.insert(Self::link(one, other), self.now);
        for conn in 0..self.conns.len() {
            self.resend(conn);
        }
        let mail = std::mem::take(&mut self.mail);
        for (from, to, process, event) in mail {
            if self.is_cut(from, Place::Node(to)) {
                self.mail.push((from, to, process, event));
            } else {
                let after = self.hop_time();
                self.later(after, Happening::Node(to, process, event));
            }
        }
    }

    pub fn hop_time(&mut self) -> Duration {
        self.dice.between(Duration::from_micros(50), Duration::from_millis(4))
    }

    /// From node to node, on a connection that keeps it while the link is cut.
    pub fn post(&mut self, from: usize, to: usize, event: NodeEvent) {
        let process = self.nodes[to].process;
        if self.is_cut(Place::Node(from), Place::Node(to)) {
            self.mail.push((Place::Node(from), to, process, event));
        } else {
            let after = self.hop_time();
            self.later(after, Happening::Node(to, process, event));
        }
    }

    // The engine.

    /// A request of a node, whose answer comes to it under that number, if any does.
    pub fn ask_engine(&mut self, node: usize, number: u64, ask: Ask) {
        let process = self.nodes[node].process;
        let fate = self.fate(node, &ask);
        self.note(|| format!("n{node} asks #{number} {} ({fate:?})", brief(&ask)));
        if fate.pauses > Duration::ZERO {
            self.pause(node, fate.pauses, false);
        }
        let cut =
            self.nodes[node].engine_cut.0 || fate.lost || !(self.engine_up || fate.late > Duration::ZERO);
        if cut {
            return;
        }
        let way = self.weather.way(&mut self.dice);
        self.last_fault =
            self.last_fault.max(if fate.is_fault() { self.now + nanos(way + fate.late) } else { 0 });
        let request =
            Happening::Engine { node, process, number: if fate.answered { number } else { 0 }, ask };
        if fate.twice {
            let again = self.weather.way(&mut self.dice);
            self.later(way + fate.late + again, request.clone());
        }
        let first = match &request {
            // The first answer is lost, and what made the request again reports the second.
            Happening::Engine { ask, .. } if fate.twice => {
                Happening::Engine { node, process, number: 0, ask: ask.clone() }
            }
            _ => request,
        };
        self.later(way + fate.late, first);
    }

    /// By a script, or by the dice.
    fn fate(&mut self, node: usize, ask: &Ask) -> Fate {
        if let Some(fate) = self.nodes[node].scripted_fate(ask) {
            return fate;
        }
        let fate = self.weather.fate(&mut self.dice, self.now >= self.forks_from);
        self.nodes[node].bounded_fate(fate, self.weather.most_unlucky)
    }

    fn engine(&mut self, node: usize, process: u64, number: u64, ask: Ask) {
        if !self.engine_up {
            return;
        }
        let was = self.store.now.look.clone();
        let refuse = matches!(ask, Ask::Beat(_)) && self.dice.chance(self.weather.refuses);
        let answer = if refuse {
            Answer::Written(Written::Refused("etcdserver: invalid auth token".to_owned()))
        } else {
            self.store.answer(ask, &mut self.ledger)
        };
        self.note(|| format!("engine for n{node} #{number}: {}", brief_answer(&answer)));
        self.report(&was);
        if number > 0 && !self.nodes[node].engine_cut.1 {
            let way = self.weather.way(&mut self.dice);
            self.later(way, Happening::Node(node, process, NodeEvent::Answered(number, answer)));
        }
    }

    /// Tells all watches what has changed.
    pub fn report(&mut self, was: &Look) {
        let is = self.store.now.look.clone();
        let mut changes = Vec::new();
        if was.seat != is.seat {
            changes.push(Change::Seat(is.seat));
        }
        if was.beat != is.beat {
            changes.push(Change::Beat(is.beat));
        }
        for node in 0..self.nodes.len() {
            for change in &changes {
                if self.nodes[node].watches() && self.engine_up {
                    self.watched(node, Duration::ZERO, change.clone());
                }
            }
        }
    }

    /// A watch reports something, in order.
    fn watched(&mut self, node: usize, after: Duration, change: Change) {
        let way = self.weather.watch_way(&mut self.dice);
        let at = (self.now + nanos(way + after)).max(self.nodes[node].watched_until + 1);
        self.nodes[node].watched_until = at;
        let after = Duration::from_nanos(at - self.now);
        self.to_node(after, node, NodeEvent::Seen(change));
    }

    /// A watch connects again: it reports what stands there, at times first by a member that is behind.
    pub fn rewatch(&mut self, node: usize) {
        if !self.nodes[node].watches() || !self.engine_up {
            return;
        }
        let behind = 1 + self.dice.below(6);
        let stale = self.dice.chance(self.weather.stale);
        let at = self.store.history.len().checked_sub(behind).filter(|_| stale);
        if let Some(old) = at.map(|at| self.store.history[at].look.clone()) {
            self.last_fault = self.last_fault.max(self.now + 100_000_000);
            self.watched(node, Duration::ZERO, Change::Seat(old.seat));
            self.watched(node, Duration::ZERO, Change::Beat(old.beat));
        }
        let after = if stale { Duration::from_millis(100) } else { Duration::ZERO };
        let look = self.store.now.look.clone();
        self.watched(node, after, Change::Seat(look.seat));
        self.watched(node, after, Change::Beat(look.beat));
    }
}

fn brief(ask: &Ask) -> String {
    match ask {
        Ask::Look => "look".to_owned(),
        Ask::Take(take, leader) => format!(
            "take {} over {:?} {:?}",
            leader.nonce,
            take.expected.seat.as_ref().map(|seat| seat.revision),
            take.expected.beat.as_ref().map(|beat| beat.revision)
        ),
        Ask::Beat(beat) => {
            format!("beat of {}: {} +{}", beat.term, String::from_utf8_lossy(&beat.beat), beat.leases.len())
        }
        Ask::Resign(resign) => format!("resign {}", resign.term),
        Ask::Leases => "leases".to_owned(),
    }
}

fn brief_answer(answer: &Answer) -> String {
    match answer {
        Answer::Written(Written::Not(look)) | Answer::Looked(Some(look)) => format!(
            "stands: {:?} {:?}",
            look.seat.as_ref().map(|seat| seat.revision),
            look.beat
                .as_ref()
                .map(|beat| (beat.revision, String::from_utf8_lossy(&beat.value[..20]).into_owned()))
        ),
        other => format!("{other:?}"),
    }
}
