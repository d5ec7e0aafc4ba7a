//! What can go wrong with a cluster, by dice.

use std::{
    sync::{Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    disturbance::Disturbances,
    load::Scene,
    machines::Machines,
    network::{Place, Traffic},
    node::Clock,
};
use crate::common::dice::Dice;

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Leader,
    Follower,
}

/// Which way nothing arrives any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Both,
    /// It hears nothing.
    In,
    /// Nobody hears it.
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Kill(Whom),
    Freeze(Whom),
    Terminate(Whom),
    Roll,
    HandOver,
    KillEtcdLeader,
    FreezeEtcdLeader,
    NoQuorum,
    SlowDisk,
    /// The machine is cut off from all others.
    Isolate(Whom, Way),
    /// The leader is cut off from etcd, and from nobody else.
    CutFromEtcd(Way),
    /// The leader is cut off from clients and nodes, but not from etcd.
    CutFromAllButEtcd(Way),
    /// A follower is cut off from the leader's server.
    CutRelay(Way),
    CutClients(Whom, Way),
    /// A node with this clock leads.
    Clock(Clock),
}

use Way::{Both, In, Out};
use Whom::{Follower, Leader};

impl Fault {
    pub(super) const ALL: [Self; 30] = [
        Self::Kill(Leader),
        Self::CutFromEtcd(Both),
        Self::Freeze(Leader),
        Self::CutClients(Leader, Both),
        Self::Terminate(Leader),
        Self::FreezeEtcdLeader,
        Self::Isolate(Leader, Both),
        Self::HandOver,
        Self::Clock(Clock::Rate(101)),
        Self::NoQuorum,
        Self::CutRelay(Both),
        Self::KillEtcdLeader,
        Self::CutFromAllButEtcd(Both),
        Self::CutClients(Follower, Both),
        Self::SlowDisk,
        Self::Kill(Follower),
        Self::Freeze(Follower),
        Self::Isolate(Follower, Both),
        Self::Roll,
        Self::Clock(Clock::Off(1)),
        Self::CutClients(Leader, In),
        Self::CutClients(Leader, Out),
        Self::Isolate(Leader, In),
        Self::Isolate(Leader, Out),
        Self::CutFromEtcd(In),
        Self::CutFromEtcd(Out),
        Self::CutRelay(In),
        Self::CutRelay(Out),
        Self::Clock(Clock::Off(-1)),
        Self::Clock(Clock::Rate(99)),
    ];

    /// As the table of figures has it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Kill(Leader) => "kill -9 of the leader",
            Self::Kill(Follower) => "kill -9 of a follower",
            Self::Freeze(Leader) => "SIGSTOP of the leader",
            Self::Freeze(Follower) => "SIGSTOP of a follower",
            Self::Terminate(Leader) => "SIGTERM of the leader",
            Self::Terminate(Follower) => "SIGTERM of a follower",
            Self::Roll => "roll of all three",
            Self::HandOver => "hand-over",
            Self::KillEtcdLeader => "kill -9 of the leader of etcd",
            Self::FreezeEtcdLeader => "SIGSTOP of the leader of etcd",
            Self::NoQuorum => "etcd without a quorum",
            Self::SlowDisk => "disk of the leader of etcd slow",
            Self::Isolate(Leader, Both) => "machine of the leader cut off",
            Self::Isolate(Leader, _) => "machine of the leader cut off, one way",
            Self::Isolate(Follower, _) => "machine of a follower cut off",
            Self::CutFromEtcd(Both) => "leader cut off from etcd",
            Self::CutFromEtcd(_) => "leader cut off from etcd, one way",
            Self::CutFromAllButEtcd(_) => "leader cut off from all but etcd",
            Self::CutRelay(Both) => "follower cut off from the leader",
            Self::CutRelay(_) => "follower cut off from the leader, one way",
            Self::CutClients(_, Both) => "clients cut off from a node",
            Self::CutClients(..) => "clients cut off from a node, one way",
            Self::Clock(Clock::Off(_)) => "leader's clock off by a day",
            Self::Clock(Clock::Rate(_)) => "leader's clock 1 % fast or slow",
            Self::Clock(Clock::Right) => "leader's clock right",
        }
    }
}

/// The place of one round: who leads, and for how long a fault lasts.
pub(super) struct Hand<'a> {
    pub machines: &'a mut Machines,
    pub scene: &'a Scene,
    pub disturbances: &'a Mutex<Disturbances>,
    pub dice: &'a mut Dice,
    /// Whether the longest are wanted.
    pub is_long: bool,
}

impl Hand<'_> {
    /// Does it, waits, and undoes it: then all nodes run and nothing is cut.
    pub(super) fn inflict(&mut self, fault: Fault) {
        let leader = self.machines.leader();
        let from = self.scene.tape.now();
        match fault {
            Fault::Kill(whom) => {
                let node = self.whom(whom, leader);
                self.at_a_send();
                self.machines.nodes[node].getlockd.kill();
                self.wait();
                self.disturb(|disturbances, now| disturbances.kill(from, now));
                self.machines.start(node);
            }
            Fault::Freeze(whom) => {
                let node = self.whom(whom, leader);
                self.at_a_send();
                self.machines.nodes[node].getlockd.freeze();
                self.wait();
                self.machines.nodes[node].getlockd.thaw();
                self.disturb(|disturbances, now| disturbances.freeze(node, from, now));
            }
            Fault::Terminate(whom) => {
                let node = self.whom(whom, leader);
                self.machines.terminate(node);
                self.machines.start(node);
            }
            Fault::Roll => {
                let followers = (0..self.machines.nodes.len()).filter(|node| *node != leader);
                for node in followers.chain([leader]).collect::<Vec<_>>() {
                    self.machines.terminate(node);
                    self.machines.start(node);
                    self.machines.until_serves(node);
                }
            }
            Fault::HandOver => {
                let to = self.whom(Whom::Follower, leader);
                assert!(self.machines.hand_over(to), "the hand-over is refused");
            }
            Fault::KillEtcdLeader => {
                let node = self.machines.etcd_leader();
                self.machines.nodes[node].etcd.kill();
                self.wait();
                self.machines.start_etcd(node);
            }
            Fault::FreezeEtcdLeader => {
                let node = self.machines.etcd_leader();
                self.machines.nodes[node].etcd.freeze();
                self.wait();
                self.machines.nodes[node].etcd.thaw();
            }
            Fault::NoQuorum => {
                let quorum = self.machines.nodes.len() / 2 + 1;
                self.machines.nodes[..quorum].iter().for_each(|node| node.etcd.freeze());
                self.wait();
                self.machines.nodes[..quorum].iter().for_each(|node| node.etcd.thaw());
            }
            Fault::SlowDisk => {
                let mut strace = self.machines.slow_disk(self.machines.etcd_leader());
                self.wait();
                strace.kill().unwrap();
                strace.wait().unwrap();
            }
            Fault::Clock(clock) => {
                let node = self.whom(Whom::Follower, leader);
                self.machines.nodes[node].getlockd.kill();
                self.machines.nodes[node].clock = clock;
                if matches!(clock, Clock::Rate(_)) {
                    self.disturb(|disturbances, _| disturbances.clock_is_fast());
                }
                self.machines.start(node);
                self.machines.until_serves(node);
                self.machines.hand_over(node);
                self.wait();
                self.machines.nodes[node].clock = Clock::Right;
                self.machines.nodes[node].getlockd.kill();
                self.disturb(|disturbances, now| disturbances.kill(from, now));
                self.machines.start(node);
            }
            Fault::Isolate(..)
            | Fault::CutFromEtcd(_)
            | Fault::CutFromAllButEtcd(_)
            | Fault::CutRelay(_)
            | Fault::CutClients(..) => self.cut(fault, leader, from),
        }
    }

    fn cut(&mut self, fault: Fault, leader: usize, from: u64) {
        let follower = self.whom(Whom::Follower, leader);
        let of = |whom| if whom == Whom::Leader { leader } else { follower };
        let others = |node| {
            self.machines.network.places().into_iter().filter(move |place| *place != Place::Node(node))
        };
        let (node, others, traffic, way): (_, Vec<_>, _, _) = match fault {
            Fault::Isolate(whom, way) => (of(whom), others(of(whom)).collect(), Traffic::All, way),
            Fault::CutFromEtcd(way) => (leader, others(leader).collect(), Traffic::Etcd, way),
            Fault::CutFromAllButEtcd(way) => (leader, others(leader).collect(), Traffic::Locks, way),
            Fault::CutRelay(way) => (leader, vec![Place::Node(follower)], Traffic::Locks, way),
            Fault::CutClients(whom, way) => (of(whom), vec![Place::Clients], Traffic::All, way),
            _ => unreachable!("it is no cut"),
        };
        self.at_a_send();
        for other in &others {
            if way != Way::Out {
                self.machines.network.cut(*other, Place::Node(node), traffic);
            }
            if way != Way::In {
                self.machines.network.cut(Place::Node(node), *other, traffic);
            }
        }
        self.wait();
        self.machines.network.heal();
        if others.contains(&Place::Clients) && traffic != Traffic::Etcd {
            self.disturb(|disturbances, now| disturbances.cut_client(node, from, now));
        }
    }

    fn whom(&mut self, whom: Whom, leader: usize) -> usize {
        if whom == Whom::Leader {
            return leader;
        }
        let followers: Vec<_> = (0..self.machines.nodes.len()).filter(|node| *node != leader).collect();
        self.dice.pick(&followers)
    }

    /// Returns when a client is about to send something: it will be under way.
    fn at_a_send(&self) {
        let (since, before) = (Instant::now(), self.scene.sends.load(Ordering::SeqCst));
        while self.scene.sends.load(Ordering::SeqCst) == before && since.elapsed() < Duration::from_secs(1) {
            std::thread::yield_now();
        }
    }

    /// For as long as the fault lasts.
    fn wait(&mut self) {
        let ttl = self.machines.setup.kind.ttl;
        let half = Duration::from_millis(500);
        let mut times = vec![half, ttl / 2, ttl + half, ttl + half * 4];
        if self.is_long {
            times.extend([Duration::from_secs(10), Duration::from_secs(20)]);
        }
        Machines::sleep(self.dice.pick(&times));
    }

    fn disturb(&self, note: impl FnOnce(&mut Disturbances, u64)) {
        note(&mut self.disturbances.lock().unwrap(), self.scene.tape.now());
    }
}
