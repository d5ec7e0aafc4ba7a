//! The relay of a node that follows: its questions about the time that is left, and the cut of its clients.

use std::{collections::BTreeMap, time::Duration};

use super::{
    node::NodeEvent,
    server::{Question, What},
    slips::Slip,
    wire::{Guard, Item},
    world::{Place, World},
};
use crate::moment::Moment;

/// What a relay knows of the term that it follows.
#[derive(Debug)]
pub struct RelayTerm {
    pub term: u64,
    leader: usize,
    /// The guard of the connections that are accepted now. Once its time is over, there is another.
    pub guard: usize,
    asked: BTreeMap<u64, Moment>,
    /// The leader's drain is over: it is told once all clients know.
    tells: bool,
}

impl World {
    fn relay_guard_of(&mut self, term: u64) -> usize {
        let guard = Guard::new(0, term, Moment::default());
        self.guards.push(Guard { held: false, ..guard });
        self.guards.len() - 1
    }

    pub fn follow(&mut self, node: usize, term: u64, leader: usize) {
        if self.nodes[node].tenure.is_some() {
            self.ledger.broke(format!("n{node} follows another node within its own term"));
        }
        if self.nodes[node].relay.as_ref().is_some_and(|relay| relay.term == term) {
            return;
        }
        if leader == node {
            self.ledger.broke(format!("n{node} relays to itself"));
        }
        if !Slip::RelayTakesLowerTerm.is_planted() {
            self.cut_relayed(node);
        }
        let guard = self.relay_guard_of(term);
        self.nodes[node].relay =
            Some(RelayTerm { term, leader, guard, asked: BTreeMap::new(), tells: false });
    }

    fn relayed_by(&self, node: usize) -> Vec<usize> {
        let by = |conn: &usize| self.conns[*conn].via.is_some_and(|(relay, _)| relay == node);
        (0..self.conns.len()).filter(by).collect()
    }

    /// Ends all that it relays.
    pub fn cut_relayed(&mut self, node: usize) {
        if let Some(relay) = self.nodes[node].relay.take() {
            self.guards[relay.guard].shut = true;
        }
        for conn in self.relayed_by(node) {
            self.close(conn, 1);
        }
    }

    pub fn relay_tick(&mut self, node: usize) {
        let now = self.moment(node);
        let Some(relay) = &mut self.nodes[node].relay else { return };
        let (term, leader, guard) = (relay.term, relay.leader, relay.guard);
        let every = self.nodes[node].ttl / 5;
        let Some(relay) = &mut self.nodes[node].relay else { return };
        let due = relay.asked.last_key_value().is_none_or(|(_, asked)| asked.elapsed_at_most(now) >= every);
        if due {
            let number = relay.asked.last_key_value().map_or(1, |(number, _)| number + 1);
            relay.asked.insert(number, now);
            self.post(node, leader, NodeEvent::HowLong { relay: node, term, number });
        }
        let deadline = self.guards[guard].deadline;
        let over = deadline != Moment::default() && deadline.left(now).is_zero();
        if over && !Slip::RelayNeverCuts.is_planted() {
            self.cut_in_term(node);
        }
        self.tell_that_all_know(node);
    }

    /// The time of its clients is over; with the next answer it relays again.
    fn cut_in_term(&mut self, node: usize) {
        let Some(relay) = &self.nodes[node].relay else { return };
        let (old, term) = (relay.guard, relay.term);
        self.guards[old].shut = true;
        for conn in self.relayed_by(node) {
            self.close(conn, 1);
        }
        let guard = self.relay_guard_of(term);
        if let Some(relay) = &mut self.nodes[node].relay {
            relay.guard = guard;
        }
    }

    /// A relay asks the leader.
    pub fn how_long(&mut self, node: usize, relay: usize, term: u64, number: u64) {
        let now = self.moment(node);
        let is_closing = self.nodes[node].closing.as_ref().is_some_and(|closing| closing.term == term);
        let left = match &mut self.nodes[node].tenure {
            Some(tenure) if tenure.term == term => {
                tenure.relays.insert(relay);
                self.guards[tenure.guard].left(now)
            }
            _ if is_closing => Duration::ZERO,
            _ => return,
        };
        self.post(node, relay, NodeEvent::Left { term, number, left });
    }

    pub fn relay_hears(&mut self, node: usize, term: u64, number: u64, left: Duration) {
        let Some(relay) = &self.nodes[node].relay else { return };
        if relay.tells || (relay.term != term && !Slip::RelayTakesLowerTerm.is_planted()) {
            return;
        }
        let newest = Slip::QuestionsWithoutNumber.is_planted();
        let asked =
            if newest { relay.asked.last_key_value().map(|(_, at)| at) } else { relay.asked.get(&number) };
        if let Some(asked) = asked.filter(|_| !left.is_zero()) {
            let (guard, deadline) = (relay.guard, asked.after(left));
            self.guards[guard].extend(deadline);
        }
    }

    /// The leader has ended the term.
    pub fn relay_cuts_all(&mut self, node: usize, term: u64, leader: usize) {
        let of_term = self.nodes[node].relay.as_ref().is_some_and(|relay| relay.term == term);
        if of_term {
            self.cut_in_term(node);
            if let Some(relay) = &mut self.nodes[node].relay {
                relay.tells = true;
            }
            if Slip::RelayAnswersEarly.is_planted() {
                self.post(node, leader, NodeEvent::HasCut { relay: node, term });
            }
        } else {
            // It follows another term, and has cut the clients of this one.
            self.nodes[node].relayed_terms.push((term, leader));
        }
        self.tell_that_all_know(node);
    }

    /// Answers the leader when the kernels of all clients have heard it.
    fn tell_that_all_know(&mut self, node: usize) {
        let ended = |conn: &usize| !self.conns[*conn].is_closed(1) || self.conns[*conn].client_knows();
        if !self.relayed_by(node).iter().all(ended) {
            return;
        }
        for (term, leader) in std::mem::take(&mut self.nodes[node].relayed_terms) {
            self.post(node, leader, NodeEvent::HasCut { relay: node, term });
        }
        let Some(relay) = self.nodes[node].relay.as_ref().filter(|relay| relay.tells) else { return };
        let (term, leader) = (relay.term, relay.leader);
        self.nodes[node].relay = None;
        self.post(node, leader, NodeEvent::HasCut { relay: node, term });
    }

    /// A client connects to a node that does not lead.
    pub fn relay_connect(&mut self, node: usize, client: usize, relayed: bool) {
        let now = self.moment(node);
        let Some(relay) = self.nodes[node].relay.as_ref().filter(|relay| !relayed && !relay.tells) else {
            return;
        };
        let (guard, term, leader) = (relay.guard, relay.term, relay.leader);
        if self.guards[guard].left(now).is_zero() {
            return;
        }
        let what = What::Connect { via: Some((node, guard, term)) };
        self.post(node, leader, NodeEvent::Asks(Question { client, what }));
    }

    /// Something of the leader for a client.
    pub fn relayed(&mut self, node: usize, conn: usize, item: Item) {
        match item {
            Item::Reply(reply) => {
                let slow = self.dice.chance(self.weather.slow_threads);
                let work = match self.nodes[node].held_up.take() {
                    Some(work) => work,
                    None if slow => self.dice.millis(10, 7_000),
                    None => Duration::from_micros(20),
                };
                self.to_node(
                    work,
                    node,
                    NodeEvent::Write { conn, hop: 1, reply, looked: Slip::RelayNeverCuts.is_planted() },
                );
            }
            // What it has read before is still written; then the client is cut off.
            Item::Fin | Item::Reset => self.to_node(Duration::from_micros(30), node, NodeEvent::Cut { conn }),
        }
    }

    /// Whether a client can reach a node at all.
    pub fn reaches(&self, client: usize, node: usize) -> bool {
        self.nodes[node].alive && !self.is_cut(Place::Client(client), Place::Node(node))
    }
}
