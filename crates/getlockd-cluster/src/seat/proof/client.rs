//! Clients: sessions that ask how much time is left, sessions that wait for the end of their connection, and leases.

use std::{collections::BTreeMap, time::Duration};

use super::{
    clock::{Clocks, True, nanos},
    node::NodeEvent,
    rules::{LeaseId, Name},
    server::{Question, What},
    slips::Slip,
    wire::{Conn, Item, Reply},
    world::{Happening, Place, World},
};
use crate::moment::Moment;

pub const NAMES: usize = 3;

/// What a client relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relies {
    /// On the time that is left, which it asks for.
    Time,
    /// On the end of its connection.
    Connection,
    /// On the time of a lease.
    Lease,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// By the dice, again and again.
    Goes,
    Asks,
    /// Once, by a script.
    Does(Deed),
}

/// One act of a client that follows a script.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// To a node, or through it.
    Connects(usize),
    Acquires(Name),
    Releases(Name),
    /// How much time is left.
    Asks,
    /// A lease, of so many seconds.
    Leases(Name, u64),
    Renews,
}

#[derive(Debug)]
pub struct SimClient {
    relies: Relies,
    clocks: Clocks,
    conn: Option<usize>,
    busy_since: Option<True>,
    holds: Option<(Name, usize)>,
    lease: Option<(LeaseId, Name, Duration)>,
    asked: BTreeMap<u64, Moment>,
    questions: u64,
    /// Until when a term is to be trusted.
    bound: Option<(u64, Moment)>,
    highest: u64,
}

/// What a client believes in.
pub struct Belief {
    pub conn: usize,
    /// It has asked for its end.
    pub bounded: bool,
}

impl SimClient {
    pub fn new(relies: Relies, clocks: Clocks) -> Self {
        Self {
            relies,
            clocks,
            conn: None,
            busy_since: None,
            holds: None,
            lease: None,
            asked: BTreeMap::new(),
            questions: 0,
            bound: None,
            highest: 0,
        }
    }
}

impl World {
    fn client_moment(&self, client: usize) -> Moment {
        let moment = self.clients[client].clocks.read(self.now);
        if Slip::OneClock.is_planted() { Moment { raw: moment.boot, ..moment } } else { moment }
    }

    /// Whether a client trusts the term of a connection.
    fn trusts(&self, client: usize, conn: usize) -> bool {
        let term = self.guards[self.conns[conn].guard].term;
        let now = self.client_moment(client);
        self.clients[client].bound.is_some_and(|(of, until)| of == term && !until.left(now).is_zero())
    }

    pub fn belief(&self, client: usize, name: Name) -> Option<Belief> {
        let it = &self.clients[client];
        let (_, conn) = it.holds.filter(|(held, _)| *held == name)?;
        let bounded = it.relies == Relies::Time;
        (!bounded || self.trusts(client, conn)).then_some(Belief { conn, bounded })
    }

    pub fn client(&mut self, client: usize, act: Act) {
        match act {
            Act::Goes => {
                let pause = self.dice.millis(60, 500);
                self.later(pause, Happening::Client(client, Act::Goes));
                self.goes(client);
            }
            Act::Asks => {
                let pause = self.dice.millis(200, 500);
                self.later(pause, Happening::Client(client, Act::Asks));
                self.asks(client);
            }
            Act::Does(deed) => self.does(client, deed),
        }
    }

    fn does(&mut self, client: usize, deed: Deed) {
        if let Deed::Connects(node) = deed {
            return self.connects(client, node);
        }
        let Some(conn) = self.clients[client].conn else { return };
        let what = match deed {
            Deed::Connects(_) => return,
            Deed::Asks => return self.asks(client),
            Deed::Acquires(name) => What::Acquire { conn, name },
            Deed::Releases(name) => {
                self.clients[client].holds = None;
                What::Release { conn, name }
            }
            Deed::Leases(name, ttl) => {
                What::Lease { conn, lease: client as u64 + 1, name, ttl: Duration::from_secs(ttl) }
            }
            Deed::Renews => {
                let Some((lease, ..)) = self.clients[client].lease else { return };
                What::Renew { conn, lease }
            }
        };
        self.say(client, conn, what);
    }

    fn asks(&mut self, client: usize) {
        let now = self.client_moment(client);
        let Some(conn) = self.clients[client].conn.filter(|_| self.clients[client].relies == Relies::Time)
        else {
            return;
        };
        let it = &mut self.clients[client];
        it.questions += 1;
        let question = it.questions;
        it.asked.insert(question, now);
        self.say(client, conn, What::HowLong { conn, question });
    }

    fn goes(&mut self, client: usize) {
        let now = self.now;
        let Some(conn) = self.clients[client].conn else { return self.connects_anywhere(client) };
        let it = &self.clients[client];
        if it.holds.is_some() && it.relies == Relies::Time && !self.trusts(client, conn) {
            return self.leaves(client, conn);
        }
        if let Some(since) = it.busy_since {
            if since + 2_500_000_000 < now {
                self.leaves(client, conn);
            }
            return;
        }
        match it.relies {
            Relies::Lease => self.goes_with_lease(client, conn),
            _ => self.goes_with_session(client, conn),
        }
    }

    fn connects_anywhere(&mut self, client: usize) {
        let node = self.dice.below(self.nodes.len());
        self.connects(client, node);
    }

    fn connects(&mut self, client: usize, node: usize) {
        if self.reaches(client, node) {
            let after = self.hop_time();
            let question = Question { client, what: What::Connect { via: None } };
            self.to_node(after, node, NodeEvent::Asks(question));
        }
    }

    fn goes_with_session(&mut self, client: usize, conn: usize) {
        match self.clients[client].holds {
            Some((name, _)) => {
                if self.dice.chance(100) {
                    self.clients[client].holds = None;
                    self.say(client, conn, What::Release { conn, name });
                }
            }
            None if self.clients[client].relies == Relies::Time && !self.trusts(client, conn) => {}
            None => {
                let name = self.dice.below(NAMES);
                self.clients[client].busy_since = Some(self.now);
                self.say(client, conn, What::Acquire { conn, name });
            }
        }
    }

    fn goes_with_lease(&mut self, client: usize, conn: usize) {
        match self.clients[client].lease {
            None => {
                let (name, ttl) = (self.dice.below(NAMES), self.dice.millis(600, 9_000));
                let lease = (self.ledger.promises.len() as u64 + 1) << 20
                    | ((self.now / 1_000_000) << 4)
                    | client as u64;
                self.clients[client].busy_since = Some(self.now);
                self.say(client, conn, What::Lease { conn, lease, name, ttl });
            }
            Some((lease, ..)) if self.dice.chance(80) => {
                if let Some(promise) = self.ledger.promises.get_mut(&lease) {
                    promise.released = true;
                }
                self.clients[client].lease = None;
                self.say(client, conn, What::ReleaseLease { lease });
            }
            // It lets it run out.
            Some(_) if self.dice.chance(30) => self.clients[client].lease = None,
            Some((lease, ..)) if self.dice.chance(500) => self.say(client, conn, What::Renew { conn, lease }),
            Some(_) => {}
        }
    }

    fn leaves(&mut self, client: usize, conn: usize) {
        self.note(|| format!("client {client} leaves conn {conn}"));
        self.lost(client);
        self.say(client, conn, What::Leave { conn });
        self.conns[conn].left = true;
    }

    fn lost(&mut self, client: usize) {
        let it = &mut self.clients[client];
        (it.conn, it.holds, it.busy_since) = (None, None, None);
    }

    /// To the leader, by the relay if there is one. What meets a cut link is lost.
    fn say(&mut self, client: usize, conn: usize, what: What) {
        let Conn { leader, via, .. } = self.conns[conn];
        let mut after = self.hop_time();
        let mut whole = true;
        if let Some((relay, _)) = via {
            whole = self.reaches(client, relay)
                && !self.nodes[relay].paused
                && !self.is_cut(Place::Node(relay), Place::Node(leader));
            after += self.hop_time();
        } else if self.is_cut(Place::Client(client), Place::Node(leader)) {
            whole = false;
        }
        if whole && !self.conns[conn].is_closed(0) {
            self.to_node(after, leader, NodeEvent::Asks(Question { client, what }));
        }
    }

    pub fn client_hears(&mut self, client: usize, conn: usize, item: Item) {
        let open = self.clients[client].conn;
        match item {
            Item::Reply(Reply::Hello) if open.is_none() && !self.conns[conn].left => {
                self.clients[client].conn = Some(conn);
            }
            // A second connection that it has not waited for.
            Item::Reply(Reply::Hello) => self.conns[conn].left = true,
            Item::Reply(reply) if open == Some(conn) => self.client_is_told(client, conn, reply),
            Item::Fin | Item::Reset if open == Some(conn) => self.lost(client),
            _ => {}
        }
    }

    fn client_is_told(&mut self, client: usize, conn: usize, reply: Reply) {
        self.clients[client].busy_since = None;
        match reply {
            Reply::Granted { .. }
                if self.clients[client].relies == Relies::Time && !self.trusts(client, conn) =>
            {
                self.leaves(client, conn);
            }
            Reply::Granted { name, .. } => self.clients[client].holds = Some((name, conn)),
            Reply::Left { question, left, term } => self.client_learns(client, question, left, term),
            Reply::Lease { lease, name, told, until, renewed, .. } => {
                if !renewed {
                    self.clients[client].lease =
                        Some((lease, name, Duration::from_nanos(until - self.now.min(until))));
                }
                self.ledger.promised(lease, name, told, until);
            }
            Reply::LeaseGone { lease, at } => {
                self.ledger.refused(lease, at);
                if self.clients[client].lease.is_some_and(|(own, ..)| own == lease) {
                    self.clients[client].lease = None;
                }
            }
            Reply::Hello | Reply::Busy => {}
        }
    }

    /// Its time ends so long after the send of this very question.
    fn client_learns(&mut self, client: usize, question: u64, left: Duration, term: u64) {
        let now = self.client_moment(client);
        let Some(mut asked) = self.clients[client].asked.remove(&question) else { return };
        if Slip::ClientFromReceipt.is_planted() {
            asked = now;
        }
        let left = if Slip::ClientIgnoresLeft.is_planted() { Duration::from_millis(2_700) } else { left };
        let it = &mut self.clients[client];
        if term < it.highest {
            return;
        }
        it.highest = term;
        let until = asked.after(left);
        let later = |(of, old): &(u64, Moment)| *of == term && nanos(old.boot) >= nanos(until.boot);
        if !it.bound.as_ref().is_some_and(later) {
            it.bound = Some((term, until));
        }
    }
}
