//! The server on a node: who owns which name, leases that are written with beats, the end of a term and its drain.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    clock::nanos,
    node::{Closing, NodeEvent, TICK},
    rules::{LeaseId, Name, lease_key, lease_of},
    slips::Slip,
    store::POISON,
    wire::{Conn, Hop, Reply},
    world::{Happening, Place, World},
};
use crate::{engine::Written, seat::Event};

/// What a client asks.
#[derive(Clone, Debug)]
pub struct Question {
    pub client: usize,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// To be connected, by a relay that follows this term.
    Connect {
        via: Option<(usize, usize, u64)>,
    },
    Acquire {
        conn: usize,
        name: Name,
    },
    Release {
        conn: usize,
        name: Name,
    },
    /// The client's end of a connection is closed.
    Leave {
        conn: usize,
    },
    HowLong {
        conn: usize,
        question: u64,
    },
    Lease {
        conn: usize,
        lease: LeaseId,
        name: Name,
        ttl: Duration,
    },
    Renew {
        conn: usize,
        lease: LeaseId,
    },
    ReleaseLease {
        lease: LeaseId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Session(usize),
    Lease(LeaseId),
}

/// A lease, in the memory of its leader.
#[derive(Clone, Debug)]
pub struct Record {
    name: Name,
    token: u64,
    ttl: Duration,
    /// By the boot clock.
    ends: Duration,
    /// It stands in the engine.
    written: bool,
    /// A try to write it may be made.
    sent: bool,
    /// Its client was told, or another leader's.
    told: bool,
    ending: bool,
}

/// Leases to be written, each by its key: none deletes.
pub type Changes = Vec<(String, Option<Vec<u8>>)>;

/// Who waits for a change to be written.
#[derive(Clone, Debug)]
pub enum Waiter {
    Tells(usize, bool),
    PassesOn,
    Nobody,
}

impl Record {
    fn encode(&self, poison: bool) -> Vec<u8> {
        let mut value = format!("{} {} {} ", self.name, self.token, self.ttl.as_nanos()).into_bytes();
        value.extend(if poison { POISON } else { b"" });
        value
    }

    fn decode(value: &[u8]) -> Option<(Name, u64, Duration)> {
        let mut words = std::str::from_utf8(value).ok()?.split(' ');
        let (name, token) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((name, token, Duration::from_nanos(words.next()?.parse().ok()?)))
    }
}

impl World {
    pub fn tick(&mut self, node: usize) {
        self.to_node(TICK, node, NodeEvent::Tick);
        let now = self.moment(node);
        let guard = self.nodes[node].newest_guard();
        if let Some(guard) = guard.filter(|guard| self.guards[*guard].left(now).is_zero()) {
            self.guards[guard].shut = true;
        }
        self.step(node, Event::Tick);
        self.expire(node);
        self.look_whether_all_is_told(node);
        self.relay_tick(node);
        if self.nodes[node].tenure.as_ref().is_some_and(|tenure| !tenure.restored) && self.dice.chance(100) {
            self.ask_for_leases(node);
        }
    }

    // Questions of clients.

    pub fn serve(&mut self, node: usize, question: Question) {
        let client = question.client;
        match question.what {
            What::Connect { via } => self.connect(node, client, via),
            What::Leave { conn } => self.free(node, Owner::Session(conn), None),
            what => {
                if self.nodes[node].serves() {
                    self.command(node, what);
                }
            }
        }
    }

    fn connect(&mut self, node: usize, client: usize, via: Option<(usize, usize, u64)>) {
        let Some(tenure) = self.nodes[node].tenure.as_ref().filter(|tenure| tenure.serving) else {
            return self.relay_connect(node, client, via.is_some());
        };
        // A relay of another term is refused.
        if tenure.drains || via.is_some_and(|(_, _, term)| term != tenure.term) {
            return;
        }
        let guard = tenure.guard;
        let via = via.map(|(relay, guard, _)| (relay, guard));
        self.conns.push(Conn {
            client,
            leader: node,
            guard,
            via,
            hops: [Hop::default(), Hop::default()],
            left: false,
            gone: false,
        });
        self.reply(node, self.conns.len() - 1, Reply::Hello);
    }

    fn command(&mut self, node: usize, what: What) {
        let Some(tenure) = self.nodes[node].tenure.as_ref() else { return };
        let (guard, drains) = (tenure.guard, tenure.drains);
        let known =
            |conn: usize, world: &Self| world.conns[conn].guard == guard && !world.conns[conn].is_closed(0);
        match what {
            What::Acquire { conn, name } if known(conn, self) && !drains => self.acquire(node, conn, name),
            What::Release { conn, name } => self.free(node, Owner::Session(conn), Some(name)),
            What::HowLong { conn, question } if known(conn, self) => {
                let left = self.guards[guard].left(self.moment(node)) + self.nodes[node].delay;
                let term = self.guards[guard].term;
                self.reply(node, conn, Reply::Left { question, left, term });
            }
            What::Lease { conn, lease, name, ttl } if known(conn, self) && !drains => {
                self.lease(node, conn, lease, name, ttl);
            }
            What::Renew { conn, lease } if known(conn, self) => self.renew(node, conn, lease),
            What::ReleaseLease { lease } => self.end_lease(node, lease),
            _ => {}
        }
    }

    fn acquire(&mut self, node: usize, conn: usize, name: Name) {
        let taken = self.nodes[node].tenure.as_ref().is_none_or(|tenure| tenure.owners.contains_key(&name));
        let Some(token) = (!taken).then(|| self.next_token(node)).flatten() else {
            return self.reply(node, conn, Reply::Busy);
        };
        if let Some(tenure) = &mut self.nodes[node].tenure {
            tenure.owners.insert(name, Owner::Session(conn));
        }
        self.reply(node, conn, Reply::Granted { name, token });
    }

    /// A session lets go of one name, or of all as it ends.
    fn free(&mut self, node: usize, owner: Owner, name: Option<Name>) {
        if let Some(tenure) = &mut self.nodes[node].tenure {
            tenure.owners.retain(|held, by| *by != owner || name.is_some_and(|name| name != *held));
        }
    }

    // Leases.

    /// Whether it ends before this term can: then no successor can grant its name too early, and it need not be written.
    fn fits(&self, node: usize, ttl: Duration) -> bool {
        let Some(tenure) = &self.nodes[node].tenure else { return false };
        let slack =
            if Slip::LongLeaseUnwritten.is_planted() { Duration::from_secs(9) } else { Duration::ZERO };
        !tenure.drains && self.guards[tenure.guard].left(self.moment(node)) + slack >= ttl
    }

    fn lease(&mut self, node: usize, conn: usize, lease: LeaseId, name: Name, ttl: Duration) {
        let taken = self.nodes[node].tenure.as_ref().is_none_or(|tenure| tenure.owners.contains_key(&name));
        let Some(token) = (!taken).then(|| self.next_token(node)).flatten() else {
            return self.reply(node, conn, Reply::Busy);
        };
        let ends = self.moment(node).boot + ttl;
        let record =
            Record { name, token, ttl, ends, written: false, sent: false, told: false, ending: false };
        if let Some(tenure) = &mut self.nodes[node].tenure {
            tenure.owners.insert(name, Owner::Lease(lease));
            tenure.leases.insert(lease, record);
        }
        self.told_or_written(node, conn, lease, false);
    }

    fn renew(&mut self, node: usize, conn: usize, lease: LeaseId) {
        let boot = self.moment(node).boot;
        let record = self.nodes[node].tenure.as_mut().and_then(|tenure| tenure.leases.get_mut(&lease));
        // A heartbeat that has to be written counts once it is.
        if record.is_some_and(|record| !record.ending && record.ends > boot) {
            self.told_or_written(node, conn, lease, true);
        } else {
            let at = self.now;
            self.reply(node, conn, Reply::LeaseGone { lease, at });
        }
    }

    fn told_or_written(&mut self, node: usize, conn: usize, lease: LeaseId, renewed: bool) {
        let poison = self.dice.chance(self.weather.poison);
        let Some(record) = self.nodes[node].tenure.as_ref().and_then(|tenure| tenure.leases.get(&lease))
        else {
            return;
        };
        if record.written || self.fits(node, record.ttl) {
            return self.tell_lease(node, conn, lease, renewed);
        }
        let value = record.encode(poison);
        self.write_lease(node, lease, Some(value), Waiter::Tells(conn, renewed));
    }

    /// Its time runs from now.
    fn tell_lease(&mut self, node: usize, conn: usize, lease: LeaseId, renewed: bool) {
        let (boot, now) = (self.moment(node).boot, self.now);
        let shortest = self.weather.shortest_lease;
        let record = self.nodes[node].tenure.as_mut().and_then(|tenure| tenure.leases.get_mut(&lease));
        let Some(record) = record.filter(|record| !record.ending) else { return };
        record.ends = boot + record.ttl;
        record.told = true;
        let until = now + nanos(record.ttl) / 1_000 * shortest;
        let (name, token) = (record.name, record.token);
        let told = Reply::Lease { lease, name, token, told: now, until, renewed };
        self.reply(node, conn, told);
    }

    fn write_lease(&mut self, node: usize, lease: LeaseId, value: Option<Vec<u8>>, waiter: Waiter) {
        let Some(tenure) = &mut self.nodes[node].tenure else { return };
        if let Some(record) = tenure.leases.get_mut(&lease) {
            record.sent = true;
        }
        tenure.waiting.push((lease, value, waiter));
        self.to_node(Duration::ZERO, node, NodeEvent::Machine(Event::WritesWaiting));
    }

    /// Renewals are refused from now on; its lock passes on when the engine does not have it any more.
    fn end_lease(&mut self, node: usize, lease: LeaseId) {
        self.ledger.ends(lease);
        let record = self.nodes[node].tenure.as_mut().and_then(|tenure| tenure.leases.get_mut(&lease));
        let Some(record) = record.filter(|record| !record.ending) else { return };
        record.ending = true;
        let sent = record.sent || record.written;
        if sent {
            self.write_lease(node, lease, None, Waiter::PassesOn);
        }
        if !sent || Slip::PassedOnBeforeDelete.is_planted() {
            self.pass_on(node, lease);
        }
    }

    fn pass_on(&mut self, node: usize, lease: LeaseId) {
        if let Some(tenure) = &mut self.nodes[node].tenure {
            tenure.leases.remove(&lease);
            self.free(node, Owner::Lease(lease), None);
            self.ledger.passed_on(lease);
        }
    }

    fn expire(&mut self, node: usize) {
        let boot = self.moment(node).boot;
        let Some(tenure) = self.nodes[node].tenure.as_ref().filter(|tenure| tenure.serving) else { return };
        let over: Vec<_> =
            tenure.leases.iter().filter(|(_, lease)| lease.ends <= boot).map(|(id, _)| *id).collect();
        for lease in over {
            self.end_lease(node, lease);
        }
    }

    /// The first changes that wait, of each key the last.
    pub fn batch(&self, node: usize) -> (usize, Changes) {
        let Some(tenure) = &self.nodes[node].tenure else { return (0, Vec::new()) };
        let changes = tenure.batch.min(tenure.waiting.len());
        let last: BTreeMap<_, _> =
            tenure.waiting[..changes].iter().map(|(id, value, _)| (*id, value.clone())).collect();
        (changes, last.into_iter().map(|(id, value)| (lease_key(id), value)).collect())
    }

    pub fn batch_ended(&mut self, node: usize, changes: usize, written: &Written) {
        let Some(tenure) = self.nodes[node].tenure.as_mut().filter(|_| changes > 0) else { return };
        match written {
            Written::Done(_) => {
                tenure.batch = (tenure.batch * 2).min(16);
                let done: Vec<_> = tenure.waiting.drain(..changes).collect();
                for (lease, value, waiter) in done {
                    self.is_written(node, lease, value.is_some(), waiter);
                }
            }
            Written::Refused(_) if Slip::RefusedForEver.is_planted() => {}
            Written::Refused(_) if changes == 1 => {
                let (lease, value, _) = tenure.waiting.remove(0);
                let told = tenure.leases.get(&lease).is_some_and(|lease| lease.told);
                // An earlier try may have been made: what is not told is deleted. A heartbeat fails, and the lease runs on.
                match value {
                    Some(_) if told => {}
                    Some(_) => self.end_lease(node, lease),
                    None => self.write_lease(node, lease, None, Waiter::PassesOn),
                }
            }
            Written::Refused(_) => tenure.batch = changes / 2,
            Written::Not(_) | Written::Unknown(_) => {}
        }
        if self.nodes[node].tenure.as_ref().is_some_and(|tenure| !tenure.waiting.is_empty()) {
            self.to_node(Duration::ZERO, node, NodeEvent::Machine(Event::WritesWaiting));
        }
    }

    fn is_written(&mut self, node: usize, lease: LeaseId, put: bool, waiter: Waiter) {
        let record = self.nodes[node].tenure.as_mut().and_then(|tenure| tenure.leases.get_mut(&lease));
        if let Some(record) = record.filter(|record| put && !record.ending) {
            record.written = true;
        }
        match waiter {
            Waiter::Tells(conn, renewed) => self.tell_lease(node, conn, lease, renewed),
            Waiter::PassesOn => self.pass_on(node, lease),
            Waiter::Nobody => {}
        }
    }

    /// The leases that stand in the engine run for their whole time from now on.
    pub fn restore(&mut self, node: usize, number: u64, leases: &[(String, Vec<u8>)]) {
        let boot = self.moment(node).boot;
        let asked = |tenure: &&mut super::node::Tenure| !tenure.restored && number >= tenure.first_read;
        let Some(tenure) = self.nodes[node].tenure.as_mut().filter(asked) else { return };
        for (key, value) in leases {
            let Some((name, token, ttl)) = Record::decode(value) else { continue };
            let lease = lease_of(key);
            if self.guards[tenure.guard].order == self.store.takes.len() {
                self.ledger.restored(lease);
            }
            let higher = |owner: &Owner| matches!(owner, Owner::Lease(other) if tenure.leases.get(other).is_some_and(|other| other.token > token));
            if tenure.owners.get(&name).is_some_and(higher) {
                continue;
            }
            tenure.owners.insert(name, Owner::Lease(lease));
            let record = Record {
                name,
                token,
                ttl,
                ends: boot + ttl,
                written: true,
                sent: true,
                told: true,
                ending: false,
            };
            tenure.leases.insert(lease, record);
        }
        tenure.restored = true;
        let fails = self.dice.chance(self.weather.restore_fails);
        self.step(node, if fails { Event::RestoreFailed } else { Event::Restored });
    }

    // The end of a term.

    fn conns_of(&self, guard: usize) -> Vec<usize> {
        (0..self.conns.len()).filter(|conn| self.conns[*conn].guard == guard).collect()
    }

    /// The term is about to end. Locks do not pass on: their clients may not hear of it in time.
    pub fn close_sockets(&mut self, node: usize) {
        let Some(tenure) = self.nodes[node].tenure.as_mut() else { return };
        let guard = tenure.guard;
        tenure.drains = !Slip::StepDownPassesOn.is_planted();
        if Slip::ShutdownDeletes.is_planted() {
            self.delete_all(node);
        }
        let slip = Slip::StepDownPassesOn.is_planted();
        for conn in self.conns_of(guard) {
            let owns = |tenure: &super::node::Tenure| {
                tenure.owners.values().any(|owner| *owner == Owner::Session(conn))
            };
            if slip && !self.nodes[node].tenure.as_ref().is_some_and(owns) {
                continue;
            }
            self.close(conn, 0);
            if slip {
                self.free(node, Owner::Session(conn), None);
            }
        }
    }

    fn delete_all(&mut self, node: usize) {
        let leases = self.nodes[node]
            .tenure
            .as_ref()
            .map_or(Vec::new(), |tenure| tenure.leases.keys().copied().collect());
        for lease in leases {
            self.write_lease(node, lease, None, Waiter::Nobody);
        }
    }

    pub fn end_of_term(&mut self, node: usize) {
        let boot = self.moment(node).boot;
        let Some(tenure) = self.nodes[node].tenure.take() else { return };
        self.guards[tenure.guard].shut = true;
        self.guards[tenure.guard].waiting.clear();
        let conns = self.conns_of(tenure.guard);
        if Slip::ResignBeforeClose.is_planted() {
            self.to_node(Duration::from_millis(400), node, NodeEvent::CloseLate { guard: tenure.guard });
        } else {
            for conn in &conns {
                self.close(*conn, 0);
            }
        }
        for relay in &tenure.relays {
            self.post(node, *relay, NodeEvent::CutAll { term: tenure.term, leader: node });
        }
        let unwritten = tenure
            .leases
            .values()
            .filter(|lease| !lease.written && lease.ends > boot)
            .map(|lease| lease.ends);
        let unwritten = unwritten.max().filter(|_| !Slip::UnwrittenForgotten.is_planted());
        let relays = if Slip::RelaysForgotten.is_planted() { BTreeSet::default() } else { tenure.relays };
        self.nodes[node].closing =
            Some(Closing { term: tenure.term, last: tenure.last, conns, relays, unwritten, told: false });
    }

    pub fn close_late(&mut self, guard: usize) {
        for conn in self.conns_of(guard) {
            self.close(conn, 0);
        }
    }

    fn look_whether_all_is_told(&mut self, node: usize) {
        let boot = self.moment(node).boot;
        let Some(closing) = self.nodes[node].closing.as_ref().filter(|closing| !closing.told) else { return };
        let knows = |conn: &usize| self.conns[*conn].peer_knows() || Slip::ResignBeforeClose.is_planted();
        let ends = closing.unwritten.is_none_or(|ends| ends <= boot);
        if ends && closing.relays.is_empty() && closing.conns.iter().all(knows) {
            if let Some(closing) = &mut self.nodes[node].closing {
                closing.told = true;
            }
            self.step(node, Event::AllTold);
        }
    }

    /// The node is to leave the seat.
    pub fn drain(&mut self, node: usize, exits: bool, successor: Option<usize>) {
        if !self.nodes[node].alive || self.nodes[node].paused {
            return;
        }
        self.nodes[node].exits = exits;
        let Some(tenure) = &mut self.nodes[node].tenure else {
            if exits {
                self.kill(node, false);
            }
            return;
        };
        tenure.drains = true;
        let term = tenure.term;
        let runs = tenure.leases.iter().filter(|(_, lease)| !lease.written && !lease.ending);
        let unwritten: Vec<_> = runs.map(|(id, lease)| (*id, lease.encode(false))).collect();
        for (lease, value) in unwritten {
            self.write_lease(node, lease, Some(value), Waiter::Nobody);
        }
        let successor = successor.map(super::node::node_name);
        self.step(node, Event::Drain { exits, successor });
        let time = if self.dice.chance(300) { Duration::ZERO } else { self.dice.millis(0, 1_500) };
        self.to_node(time, node, NodeEvent::DrainOver { term });
    }

    pub fn drain_over(&mut self, node: usize) {
        let wait =
            if Slip::ShutdownDeletes.is_planted() { Duration::from_millis(300) } else { Duration::ZERO };
        if !wait.is_zero() {
            self.delete_all(node);
        }
        self.to_node(wait, node, NodeEvent::Machine(Event::Drained));
    }

    pub fn resigned(&mut self, node: usize) {
        self.nodes[node].closing = None;
        if self.nodes[node].exits {
            self.kill(node, false);
        }
    }

    /// Whether a client believes that it owns a name which another one is granted.
    pub fn check_beliefs(&mut self, name: Name, granted: usize, order: usize) {
        for client in (0..self.clients.len()).filter(|client| *client != granted) {
            let Some(belief) = self.belief(client, name) else { continue };
            let other = self.conns[belief.conn].clone();
            let theirs = self.guards[other.guard].order;
            let excused = !belief.bounded && self.excused(client, &other);
            if !excused {
                let kind = if belief.bounded { "asks" } else { "waits for the end of its connection" };
                self.ledger.broke(format!(
                    "name {name} is granted in term {order} while client {client}, which {kind}, has it in term {theirs}"
                ));
            }
        }
    }

    /// A client that relies on the end of its connection is told in time only if the machines on the way run.
    fn excused(&self, client: usize, conn: &Conn) -> bool {
        let within = Duration::from_secs(12);
        let serving = match conn.via {
            Some((relay, _)) => relay,
            None => conn.leader,
        };
        let (client, serving) = (Place::Client(client), Place::Node(serving));
        conn.gone
            || self.was_cut(client, serving, within)
            || self.was_disturbed(client, within)
            || self.was_disturbed(serving, within)
    }

    pub fn must_serve_at(&mut self, after: Duration) {
        self.later(after, Happening::MustServe);
    }
}
