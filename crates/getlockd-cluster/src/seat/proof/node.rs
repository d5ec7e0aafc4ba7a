//! A node: the real machine of the seat, and around it what a driver does: one try at a time, its time limit, the leases
//! that wait to be written, and the floors.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    clock::{Clocks, True},
    faults::Fate,
    relay::RelayTerm,
    rules::{LeaseId, Name},
    server::{Question, Record, Waiter},
    slips::Slip,
    store::{Answer, Ask, Verb},
    wire::{Guard, Item, Reply},
    world::{Place, World},
};
use crate::{
    engine::{Beat, Change, Resign, Take, Written},
    moment::Moment,
    record::{AHEAD, BeatRecord, Floors, Leader, Resigned, SeatRecord},
    seat::{Action, Event, Now, Seat, SeatConfig},
};

/// What reaches a process.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    Tick,
    Answered(u64, Answer),
    TimeLimit(u64),
    Seen(Change),
    /// To the machine itself.
    Machine(Event),
    Asks(Question),
    Write {
        conn: usize,
        hop: usize,
        reply: Reply,
        looked: bool,
    },
    Relayed {
        conn: usize,
        item: Item,
    },
    /// A relay asks how much time its term has left.
    HowLong {
        relay: usize,
        term: u64,
        number: u64,
    },
    Left {
        term: u64,
        number: u64,
        left: Duration,
    },
    /// The leader's drain is over: its relay cuts its clients, and says so.
    CutAll {
        term: u64,
        leader: usize,
    },
    HasCut {
        relay: usize,
        term: u64,
    },
    DrainOver {
        term: u64,
    },
    /// Sockets of a term that has ended are closed too late: a bug.
    CloseLate {
        guard: usize,
    },
    /// The leader has closed a connection that is relayed.
    Cut {
        conn: usize,
    },
}

/// A try that is under way.
#[derive(Clone, Debug)]
pub struct Try {
    number: u64,
    kind: Kind,
    floors: Floors,
    /// How many of the waiting changes go with it.
    changes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Look,
    Take,
    Beat,
    Resign,
}

/// What stands in the way of `resign`.
#[derive(Clone, Debug)]
pub struct Closing {
    pub term: u64,
    pub last: Floors,
    pub conns: Vec<usize>,
    pub relays: BTreeSet<usize>,
    /// Leases that are not written run until then at most.
    pub unwritten: Option<Duration>,
    pub told: bool,
}

/// A leadership.
#[derive(Debug)]
pub struct Tenure {
    pub term: u64,
    pub seat: Leader,
    pub guard: usize,
    pub ceiling: Floors,
    pub last: Floors,
    /// The first read of its leases.
    pub first_read: u64,
    pub restored: bool,
    pub serving: bool,
    pub drains: bool,
    pub owners: BTreeMap<Name, super::server::Owner>,
    pub leases: BTreeMap<LeaseId, Record>,
    pub waiting: Vec<(LeaseId, Option<Vec<u8>>, Waiter)>,
    pub batch: usize,
    pub relays: BTreeSet<usize>,
}

pub struct SimNode {
    pub process: u64,
    pub alive: bool,
    pub clocks: Clocks,
    pub ttl: Duration,
    pub delay: Duration,
    pub wall: u64,
    seat: Option<Seat>,
    tries: u64,
    under_way: Option<Try>,
    pub tenure: Option<Tenure>,
    pub closing: Option<Closing>,
    pub relay: Option<RelayTerm>,
    pub relayed_terms: Vec<(u64, usize)>,
    /// Requests and answers of the engine are lost.
    pub engine_cut: (bool, bool),
    pub watch_hangs: bool,
    pub watched_until: True,
    /// The newest revision that its watch has reported.
    pub seen: u64,
    pub paused: bool,
    backlog: Vec<NodeEvent>,
    /// What becomes of its next requests of a kind, by a script: so many of them.
    pub fates: Vec<(Verb, Fate, usize)>,
    /// How many requests in a row were unlucky.
    unlucky: usize,
    /// The thread that handles its next reply is held up for so long, by a script.
    pub held_up: Option<Duration>,
    /// When it last stood still, or ended.
    pub stood_still: Option<True>,
    pub exits: bool,
}

impl SimNode {
    pub fn new(clocks: Clocks, ttl: Duration, delay: Duration, wall: u64) -> Self {
        Self {
            process: 0,
            alive: false,
            clocks,
            ttl,
            delay,
            wall,
            seat: None,
            tries: 0,
            under_way: None,
            tenure: None,
            closing: None,
            relay: None,
            relayed_terms: Vec::new(),
            engine_cut: (false, false),
            watch_hangs: false,
            watched_until: 0,
            seen: 0,
            paused: false,
            backlog: Vec::new(),
            fates: Vec::new(),
            unlucky: 0,
            held_up: None,
            stood_still: None,
            exits: false,
        }
    }

    /// What a script has for this request.
    pub fn scripted_fate(&mut self, ask: &Ask) -> Option<Fate> {
        let (_, fate, times) =
            self.fates.iter_mut().find(|(verb, _, times)| *verb == ask.verb() && *times > 0)?;
        *times -= 1;
        Some(*fate)
    }

    /// At most so many requests in a row are unlucky; no bound at 0.
    pub fn bounded_fate(&mut self, fate: Fate, most: usize) -> Fate {
        let is_too_much = most > 0 && self.unlucky == most;
        let fate = if is_too_much { Fate { answered: true, ..Fate::default() } } else { fate };
        self.unlucky = if fate.is_fault() { self.unlucky + 1 } else { 0 };
        fate
    }

    pub fn watches(&self) -> bool {
        self.alive && !self.watch_hangs && self.engine_cut == (false, false)
    }

    pub fn serves(&self) -> bool {
        self.alive && !self.paused && self.tenure.as_ref().is_some_and(|tenure| tenure.serving)
    }

    pub fn drains(&self) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| tenure.drains)
    }

    pub fn newest_guard(&self) -> Option<usize> {
        self.tenure.as_ref().map(|tenure| tenure.guard)
    }

    pub fn relay_guard(&self) -> Option<usize> {
        self.relay.as_ref().map(|relay| relay.guard)
    }
}

pub fn node_name(node: usize) -> String {
    format!("n{node}")
}

fn node_of(name: &str) -> usize {
    name.trim_start_matches('n').parse().unwrap_or_default()
}

pub const TICK: Duration = Duration::from_millis(50);

impl World {
    /// A process of this node starts.
    pub fn start(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.process += 1;
        let (process, fixed) = (it.process, Slip::OneNonce.is_planted());
        let mut made = 0;
        let nonces = Box::new(move || {
            made += u64::from(!fixed);
            format!("n{node}-{process}-{made}")
        });
        let leader = Leader {
            node: node_name(node),
            address: format!("n{node}:3309"),
            nonce: String::new(),
            version: "1".to_owned(),
            secret: String::new(),
            pin: None,
            ttl: it.ttl,
            takeover_delay: it.delay,
            keepalive: Duration::from_secs(30),
            request_key: String::new(),
        };
        it.seat = Some(Seat::new(SeatConfig { leader }, nonces));
        (it.alive, it.paused, it.exits) = (true, false, false);
        it.backlog.clear();
        self.note(|| format!("n{node} starts"));
        self.to_node(Duration::ZERO, node, NodeEvent::Tick);
        self.rewatch(node);
    }

    /// Its process ends at once; the kernel closes its sockets, unless the machine is gone.
    pub fn kill(&mut self, node: usize, machine: bool) {
        self.note(|| format!("n{node} is killed"));
        let now = self.now;
        let it = &mut self.nodes[node];
        it.process += 1;
        (it.alive, it.paused, it.stood_still) = (false, false, Some(now));
        it.backlog.clear();
        (it.seat, it.tenure, it.closing, it.relay, it.under_way) = (None, None, None, None, None);
        it.relayed_terms.clear();
        self.disturb(Place::Node(node));
        for conn in 0..self.conns.len() {
            let serves = self.conns[conn].via.map_or(self.conns[conn].leader, |(relay, _)| relay);
            self.conns[conn].gone |= machine && serves == node;
            if !machine && self.conns[conn].leader == node {
                self.closed_by_kernel(conn, 0);
            }
            if !machine && self.conns[conn].via.is_some_and(|(relay, _)| relay == node) {
                self.closed_by_kernel(conn, 1);
            }
        }
    }

    /// It stands still; asleep, its raw clock does too.
    pub fn pause(&mut self, node: usize, time: Duration, asleep: bool) {
        if !self.nodes[node].alive || self.nodes[node].paused {
            return;
        }
        self.note(|| format!("n{node} stands still for {time:?}"));
        let now = self.now;
        let it = &mut self.nodes[node];
        (it.paused, it.stood_still) = (true, Some(now));
        if asleep {
            it.clocks.sleep(now, true);
        }
        self.disturb(Place::Node(node));
        self.later(
            time,
            super::world::Happening::Fault(super::faults::Fault::Resume(node, self.nodes[node].process)),
        );
        self.last_fault = self.last_fault.max(now + super::clock::nanos(time));
    }

    /// It goes on: what came meanwhile is found in an order that keeps that of each kind, with the tick anywhere among it.
    pub fn resume(&mut self, node: usize, process: u64) {
        let now = self.now;
        // Asleep or not, the raw clock runs again, also for the next process.
        self.nodes[node].clocks.sleep(now, false);
        if self.nodes[node].process != process || !self.nodes[node].paused {
            return;
        }
        self.note(|| format!("n{node} goes on"));
        let it = &mut self.nodes[node];
        (it.paused, it.stood_still) = (false, Some(now));
        self.disturb(Place::Node(node));
        let backlog = std::mem::take(&mut self.nodes[node].backlog);
        let is_data = |event: &NodeEvent| {
            matches!(event, NodeEvent::Asks(_) | NodeEvent::Write { .. } | NodeEvent::Relayed { .. })
        };
        let (data, mut control): (Vec<_>, Vec<_>) = backlog.into_iter().partition(is_data);
        if let Some(at) = control.iter().position(|event| matches!(event, NodeEvent::Tick)) {
            let tick = control.remove(at);
            let at = self.dice.below(control.len() + 1);
            control.insert(at, tick);
        }
        let (mut data, mut control) = (data.into_iter().peekable(), control.into_iter().peekable());
        let mut mixed = Vec::new();
        while data.peek().is_some() || control.peek().is_some() {
            let of_data = control.peek().is_none() || self.dice.chance(500);
            mixed.extend(if of_data { data.next() } else { control.next() });
        }
        for (place, event) in mixed.into_iter().enumerate() {
            self.to_node(Duration::from_micros(20 * place as u64), node, event);
        }
    }

    pub fn node_event(&mut self, node: usize, process: u64, event: NodeEvent) {
        let it = &mut self.nodes[node];
        if it.process != process || !it.alive {
            return;
        }
        if it.paused {
            if !matches!(event, NodeEvent::Tick)
                || !it.backlog.iter().any(|other| matches!(other, NodeEvent::Tick))
            {
                it.backlog.push(event);
            }
            return;
        }
        match event {
            NodeEvent::Tick => self.tick(node),
            NodeEvent::Answered(number, answer) => self.answered(node, number, answer),
            NodeEvent::TimeLimit(number) => self.time_limit(node, number),
            NodeEvent::Seen(change) => self.seen(node, change),
            NodeEvent::Machine(event) => self.step(node, event),
            NodeEvent::Asks(question) => self.serve(node, question),
            NodeEvent::Write { conn, hop, reply, looked } => self.write(node, conn, hop, reply, looked),
            NodeEvent::Relayed { conn, item } => self.relayed(node, conn, item),
            NodeEvent::HowLong { relay, term, number } => self.how_long(node, relay, term, number),
            NodeEvent::Left { term, number, left } => self.relay_hears(node, term, number, left),
            NodeEvent::CutAll { term, leader } => self.relay_cuts_all(node, term, leader),
            NodeEvent::HasCut { relay, term } => {
                if let Some(closing) =
                    self.nodes[node].closing.as_mut().filter(|closing| closing.term == term)
                {
                    closing.relays.remove(&relay);
                }
            }
            NodeEvent::CloseLate { guard } => self.close_late(guard),
            NodeEvent::Cut { conn } if Slip::RelayClosesPlainly.is_planted() => {
                self.closed_by_kernel(conn, 1);
            }
            NodeEvent::Cut { conn } => self.close(conn, 1),
            NodeEvent::DrainOver { term } => {
                if self.nodes[node].tenure.as_ref().is_some_and(|tenure| tenure.term == term) {
                    self.drain_over(node);
                }
            }
        }
    }

    /// One step of the machine, and what it asks for.
    pub fn step(&mut self, node: usize, event: Event) {
        let moment = self.moment(node);
        let it = &mut self.nodes[node];
        let Some(seat) = &mut it.seat else { return };
        if let Some(tenure) = &it.tenure {
            seat.set_holders(tenure.owners.len());
        }
        let now = Now { moment, wall_micros: it.wall + self.now / 1_000 };
        let quiet = matches!(event, Event::Tick | Event::BeatSeen(_) | Event::BeatEnded(Written::Done(_)));
        let heard = (self.transcript.is_some() && !quiet).then(|| format!("{event:?}"));
        let actions = seat.step(now, event);
        if let Some(heard) = heard {
            self.note(|| format!("n{node} hears {heard}"));
        }
        for action in actions {
            self.act(node, action);
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        self.note(|| format!("n{node}: {action:?}"));
        match action {
            Action::Look => self.attempt(node, Kind::Look, Floors::default(), 0, Ask::Look),
            Action::Take { expected, seat, beat } => {
                let take =
                    Take { expected, seat: SeatRecord::Leads(seat.clone()).encode(), beat: beat.encode() };
                self.attempt(node, Kind::Take, beat.floors, 0, Ask::Take(take, seat));
            }
            Action::Beat { term, seat, n, with_leases } => self.try_beat(node, term, seat, n, with_leases),
            Action::Resign { term, seat, n, successor } => self.try_resign(node, term, &seat, n, successor),
            Action::Begin { term, seat, first, ceiling, deadline } => {
                self.begin(node, term, seat, [first, ceiling], deadline);
            }
            Action::Serve => self.serves_now(node),
            Action::Extend(deadline) => self.extend(node, deadline),
            Action::Hold => self.hold(node, true),
            Action::Release => self.hold(node, false),
            Action::StepDown(_) => self.close_sockets(node),
            Action::End(_) => self.end_of_term(node),
            Action::Follow(term, leader) => self.follow(node, term, node_of(&leader.node)),
            // Nobody leads: connections of a term that may still serve live until its time is over.
            Action::Nobody | Action::Drain | Action::ClockIgnored { .. } => {}
            Action::Resigned => self.resigned(node),
        }
    }

    // Tries.

    fn attempt(&mut self, node: usize, kind: Kind, floors: Floors, changes: usize, ask: Ask) {
        let it = &mut self.nodes[node];
        it.tries += 1;
        let number = it.tries;
        let limit = it.tenure.as_ref().map_or(it.ttl, |tenure| tenure.seat.ttl) / 8;
        let busy = it.under_way.replace(Try { number, kind, floors, changes }).is_some();
        if busy {
            self.ledger.broke(format!("n{node} has two tries under way"));
        }
        self.to_node(limit, node, NodeEvent::TimeLimit(number));
        self.ask_engine(node, number, ask);
    }

    fn floors(&self, node: usize) -> Floors {
        let it = &self.nodes[node];
        let last =
            it.tenure.as_ref().map(|tenure| tenure.last).or(it.closing.as_ref().map(|closing| closing.last));
        last.unwrap_or_default().ahead()
    }

    fn try_beat(&mut self, node: usize, term: u64, seat: Leader, n: u64, with_leases: bool) {
        let floors = self.floors(node);
        let (changes, leases) = if with_leases { self.batch(node) } else { (0, Vec::new()) };
        let beat = BeatRecord { n, floors }.encode();
        let beat = Beat { term, seat: SeatRecord::Leads(seat).encode(), beat, leases };
        self.attempt(node, Kind::Beat, floors, changes, Ask::Beat(beat));
    }

    fn try_resign(&mut self, node: usize, term: u64, seat: &Leader, n: u64, successor: Option<String>) {
        let floors = self.floors(node);
        let resigned = SeatRecord::Resigned(Resigned {
            node: seat.node.clone(),
            term,
            successor,
            request_key: seat.request_key.clone(),
        });
        let resign = Resign {
            term,
            seat: SeatRecord::Leads(seat.clone()).encode(),
            resigned: resigned.encode(),
            beat: BeatRecord { n, floors }.encode(),
        };
        self.attempt(node, Kind::Resign, floors, 0, Ask::Resign(resign));
    }

    fn time_limit(&mut self, node: usize, number: u64) {
        if self.nodes[node].under_way.as_ref().is_some_and(|attempt| attempt.number == number) {
            self.answered(node, number, Answer::Written(Written::Unknown("no answer in time".to_owned())));
        }
    }

    fn answered(&mut self, node: usize, number: u64, answer: Answer) {
        if let Answer::Leases(leases) = answer {
            return self.restore(node, number, &leases);
        }
        let it = &mut self.nodes[node];
        let Some(attempt) = it.under_way.take_if(|attempt| attempt.number == number) else { return };
        let written = match (answer, attempt.kind) {
            (Answer::Looked(look), _) => return self.step(node, Event::Looked(look)),
            (_, Kind::Look) => return self.step(node, Event::Looked(None)),
            (Answer::Written(written), _) => written,
            (Answer::Leases(_), _) => return,
        };
        match attempt.kind {
            Kind::Take => self.step(node, Event::TakeEnded(written)),
            Kind::Beat => {
                // The ceiling moves with the floors, before anything is told.
                let done = matches!(written, Written::Done(_));
                self.batch_ended(node, attempt.changes, &written);
                if let Some(tenure) = self.nodes[node].tenure.as_mut().filter(|_| done) {
                    tenure.ceiling = attempt.floors;
                }
                self.step(node, Event::BeatEnded(written));
            }
            Kind::Resign => self.step(node, Event::ResignEnded(written)),
            Kind::Look => {}
        }
    }

    fn seen(&mut self, node: usize, change: Change) {
        let (seat, versioned) = match change {
            Change::Seat(seen) => (true, seen),
            Change::Beat(seen) => (false, seen),
            Change::Node(..) | Change::HandOver(_) => return,
        };
        self.nodes[node].seen = versioned.as_ref().map_or(0, |seen| seen.revision);
        self.step(node, if seat { Event::SeatSeen(versioned) } else { Event::BeatSeen(versioned) });
    }

    // Terms.

    fn begin(&mut self, node: usize, term: u64, seat: Leader, floors: [Floors; 2], deadline: Moment) {
        let Some(order) = self.store.order(term, &seat.nonce) else {
            return self.ledger.broke(format!("n{node} begins a term that it has not"));
        };
        if self.nodes[node].tenure.is_some() {
            self.ledger.broke(format!("n{node} begins a term within a term"));
        }
        self.cut_relayed(node);
        let guard = self.guards.len();
        self.guards.push(Guard::new(order, term, deadline));
        let [first, ceiling] = floors;
        // With the floor lost, the clock catches only what numbers have not overtaken.
        let highest = self.ledger.highest_token();
        if self.ledger.lost_until > 0 && highest + 5_000_000 >= self.nodes[node].wall + self.now / 1_000 {
            self.ledger.tokens_lost = highest;
        }
        self.nodes[node].tenure = Some(Tenure {
            term,
            seat,
            guard,
            ceiling,
            last: first,
            first_read: self.nodes[node].tries + 1,
            restored: false,
            serving: false,
            drains: false,
            owners: BTreeMap::new(),
            leases: BTreeMap::new(),
            waiting: Vec::new(),
            batch: 16,
            relays: BTreeSet::new(),
        });
        self.ask_for_leases(node);
    }

    /// Reads go until one is answered.
    pub fn ask_for_leases(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.tries += 1;
        let number = it.tries;
        self.ask_engine(node, number, Ask::Leases);
    }

    fn extend(&mut self, node: usize, deadline: Moment) {
        match &self.nodes[node].tenure {
            Some(tenure) => self.guards[tenure.guard].extend(deadline),
            None => self.ledger.broke(format!("n{node} extends a term that it has not")),
        }
    }

    fn serves_now(&mut self, node: usize) {
        match &mut self.nodes[node].tenure {
            Some(tenure) if tenure.restored => tenure.serving = true,
            _ => return self.ledger.broke(format!("n{node} serves before its leases are restored")),
        }
        self.hold(node, false);
    }

    fn hold(&mut self, node: usize, held: bool) {
        let Some(guard) = self.nodes[node].newest_guard() else { return };
        self.guards[guard].held = held;
        if !held {
            let waiting = std::mem::take(&mut self.guards[guard].waiting);
            for (conn, reply) in waiting {
                self.to_node(Duration::ZERO, node, NodeEvent::Write { conn, hop: 0, reply, looked: false });
            }
        }
    }

    /// Whether numbers run out: a beat is asked for.
    pub fn next_token(&mut self, node: usize) -> Option<u64> {
        let step = 1 + self.dice.below(1 << 22) as u64;
        let tenure = self.nodes[node].tenure.as_mut()?;
        let token = tenure.last.token + step;
        let runs_out = token + AHEAD.token / 2 >= tenure.ceiling.token;
        let given = (token < tenure.ceiling.token).then(|| {
            tenure.last.token = token;
            token
        });
        if runs_out {
            self.to_node(Duration::ZERO, node, NodeEvent::Machine(Event::NumbersRunOut));
        }
        given
    }
}
