//! Connections: what their kernels keep, the guard that each write looks at, and how they are closed.

use std::time::Duration;

use super::{
    clock::True,
    node::NodeEvent,
    rules::{LeaseId, Name},
    slips::Slip,
    world::{Happening, Place, World},
};
use crate::moment::Moment;

/// What a client is told.
#[derive(Clone, Debug)]
pub enum Reply {
    Hello,
    Granted { name: Name, token: u64 },
    Busy,
    Left { question: u64, left: Duration, term: u64 },
    Lease { lease: LeaseId, name: Name, token: u64, told: True, until: True, renewed: bool },
    LeaseGone { lease: LeaseId, at: True },
}

/// What travels on a connection to its client.
#[derive(Clone, Debug)]
pub enum Item {
    Reply(Reply),
    /// The end: in order, and sent again until it is heard.
    Fin,
    /// A reset: lost if the link is cut.
    Reset,
}

/// What sockets look at. Like [`crate::term::Term`], for simulated clocks.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The term, in the order of takes.
    pub order: usize,
    pub term: u64,
    pub deadline: Moment,
    pub shut: bool,
    pub held: bool,
    pub waiting: Vec<(usize, Reply)>,
}

impl Guard {
    pub fn new(order: usize, term: u64, deadline: Moment) -> Self {
        Self { order, term, deadline, shut: false, held: true, waiting: Vec::new() }
    }

    pub fn left(&self, now: Moment) -> Duration {
        if self.shut { Duration::ZERO } else { self.deadline.left(now) }
    }

    /// The look before a write is at one clock.
    fn opens(&self, now: Moment) -> bool {
        !self.shut && (now.boot < self.deadline.boot || Slip::StopByTheLoop.is_planted())
    }

    pub fn extend(&mut self, deadline: Moment) {
        self.deadline.boot = self.deadline.boot.max(deadline.boot);
        self.deadline.raw = self.deadline.raw.max(deadline.raw);
    }
}

/// One way of a connection.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// What is not acknowledged, as the link is cut, and since when.
    stuck: Vec<(True, Item)>,
    last: True,
    closed: bool,
    /// The other end's kernel knows of the close.
    pub heard: bool,
}

/// A connection of a client, direct or through a relay.
#[derive(Clone, Debug)]
pub struct Conn {
    pub client: usize,
    pub leader: usize,
    pub guard: usize,
    /// The relay, and its guard of that term.
    pub via: Option<(usize, usize)>,
    pub hops: [Hop; 2],
    /// The client has closed it.
    pub left: bool,
    /// The machine that serves the client is gone, and its kernel says nothing.
    pub gone: bool,
}

impl Conn {
    /// The hop that ends at the client.
    fn last_hop(&self) -> usize {
        usize::from(self.via.is_some())
    }

    pub fn client_knows(&self) -> bool {
        self.left || self.hops[self.last_hop()].heard
    }

    /// The kernel at the other end of the leader's socket has acknowledged the close.
    pub fn peer_knows(&self) -> bool {
        self.left || self.hops[0].heard
    }

    pub fn is_closed(&self, hop: usize) -> bool {
        self.left || self.hops[hop].closed
    }

    fn ends(&self, hop: usize) -> (Place, Place) {
        match (self.via, hop) {
            (None, _) => (Place::Node(self.leader), Place::Client(self.client)),
            (Some((relay, _)), 0) => (Place::Node(self.leader), Place::Node(relay)),
            (Some((relay, _)), _) => (Place::Node(relay), Place::Client(self.client)),
        }
    }
}

impl World {
    /// A server has an answer: it is written after some work, and the look at the guard comes right before the write.
    pub fn reply(&mut self, node: usize, conn: usize, reply: Reply) {
        let slow = self.dice.chance(self.weather.slow_threads);
        let work = if let Some(work) = self.nodes[node].held_up.take() {
            work
        } else if slow {
            self.dice.millis(100, 7_000)
        } else {
            self.dice.between(Duration::ZERO, Duration::from_micros(100))
        };
        let looked = Slip::LookBeforeWork.is_planted();
        if looked && !self.guard_opens(node, self.conns[conn].guard) {
            return;
        }
        self.to_node(work, node, NodeEvent::Write { conn, hop: 0, reply, looked });
    }

    fn guard_opens(&mut self, node: usize, guard: usize) -> bool {
        self.guards[guard].opens(self.moment(node))
    }

    /// Right before a write: the look, and then the write.
    pub fn write(&mut self, node: usize, conn: usize, hop: usize, reply: Reply, looked: bool) {
        // Whether it was closed does not help: the socket is in the hands of the task that writes.
        if self.conns[conn].left {
            return;
        }
        let guard = self.guard_of(node, conn, hop);
        if self.guards[guard].held && !self.guards[guard].shut {
            self.guards[guard].waiting.push((conn, reply));
            return;
        }
        if !looked && !self.guard_opens(node, guard) {
            self.ledger.late_writes_refused += 1;
            return;
        }
        let longest = self.longest_pause;
        let paused = self.dice.chance(self.weather.pauses_at_writes);
        let pause = if paused { self.dice.between(Duration::ZERO, longest) } else { Duration::ZERO };
        self.later(pause, Happening::Effect { conn, hop, reply });
    }

    fn guard_of(&self, node: usize, conn: usize, hop: usize) -> usize {
        let own = match (hop, self.conns[conn].via) {
            (1, Some((_, guard))) => guard,
            _ => self.conns[conn].guard,
        };
        let newest = if hop == 0 { self.nodes[node].newest_guard() } else { self.nodes[node].relay_guard() };
        let mixes = if hop == 0 { Slip::GuardWithoutTerm } else { Slip::RelayTakesLowerTerm };
        newest.filter(|_| mixes.is_planted()).unwrap_or(own)
    }

    /// The kernel has it: from here on it goes to the client, whatever becomes of the process.
    pub fn effect(&mut self, conn: usize, hop: usize, reply: Reply) {
        let guard_is_newest = Slip::GuardWithoutTerm.is_planted() || Slip::RelayTakesLowerTerm.is_planted();
        if self.conns[conn].left || (self.conns[conn].is_closed(hop) && !guard_is_newest) {
            return;
        }
        let order = self.guards[self.conns[conn].guard].order;
        let last = hop == self.conns[conn].last_hop();
        self.note(|| format!("conn {conn} term {order} hop {hop}: {reply:?}"));
        self.ledger.told(order);
        if last {
            self.check_grant(conn, order, &reply);
        }
        self.send(conn, hop, Item::Reply(reply));
    }

    fn check_grant(&mut self, conn: usize, order: usize, reply: &Reply) {
        let (name, token, lease) = match *reply {
            Reply::Granted { name, token } => (name, token, None),
            Reply::Lease { lease, name, token, until, renewed: false, .. } if until > self.now => {
                (name, token, Some(lease))
            }
            _ => return,
        };
        self.ledger.granted(order, name, token, lease);
        let client = self.conns[conn].client;
        self.check_beliefs(name, client, order);
    }

    fn send(&mut self, conn: usize, hop: usize, item: Item) {
        let (from, to) = self.conns[conn].ends(hop);
        if self.is_cut(from, to) {
            if !matches!(item, Item::Reset) {
                let now = self.now;
                self.conns[conn].hops[hop].stuck.push((now, item));
            }
            return;
        }
        self.travel(conn, hop, item, false);
    }

    fn travel(&mut self, conn: usize, hop: usize, item: Item, late: bool) {
        let at = (self.now + u64::try_from(self.hop_time().as_nanos()).unwrap_or(0))
            .max(self.conns[conn].hops[hop].last + 1);
        self.conns[conn].hops[hop].last = at;
        let after = Duration::from_nanos(at - self.now);
        self.later(after, Happening::Arrives { conn, hop, item, late });
    }

    /// A link is whole again.
    pub fn resend(&mut self, conn: usize) {
        for hop in 0..2 {
            let (from, to) = self.conns[conn].ends(hop);
            if self.is_cut(from, to) {
                continue;
            }
            for (since, item) in std::mem::take(&mut self.conns[conn].hops[hop].stuck) {
                // A process that stood still, or has ended, could not reset its sockets.
                let excused = self.could_not_reset(from, since);
                self.travel(conn, hop, item, !excused);
            }
        }
    }

    fn could_not_reset(&self, place: Place, since: True) -> bool {
        let Place::Node(node) = place else { return false };
        self.nodes[node].stood_still.is_some_and(|at| at >= since)
    }

    /// The time of its term is over, or it ends: nothing may come out of the kernel later.
    pub fn close(&mut self, conn: usize, hop: usize) {
        if self.conns[conn].is_closed(hop) {
            return;
        }
        self.conns[conn].hops[hop].closed = true;
        let unacknowledged = !self.conns[conn].hops[hop].stuck.is_empty();
        if unacknowledged && !Slip::NoLinger.is_planted() {
            self.conns[conn].hops[hop].stuck.clear();
            self.send(conn, hop, Item::Reset);
        } else {
            self.send(conn, hop, Item::Fin);
        }
    }

    /// The process is gone: its kernel closes, and still sends what it has.
    pub fn closed_by_kernel(&mut self, conn: usize, hop: usize) {
        if !self.conns[conn].is_closed(hop) {
            self.conns[conn].hops[hop].closed = true;
            self.send(conn, hop, Item::Fin);
        }
    }

    pub fn arrives(&mut self, conn: usize, hop: usize, item: Item, late: bool) {
        let to = self.conns[conn].ends(hop).1;
        if !matches!(item, Item::Reply(_)) {
            self.conns[conn].hops[hop].heard = true;
        }
        match to {
            Place::Node(relay) => self.to_node(Duration::ZERO, relay, NodeEvent::Relayed { conn, item }),
            Place::Client(client) => {
                if late && matches!(item, Item::Reply(_)) && !self.conns[conn].left {
                    let order = self.guards[self.conns[conn].guard].order;
                    self.ledger.read_late(order);
                }
                self.client_hears(client, conn, item);
            }
        }
    }
}
