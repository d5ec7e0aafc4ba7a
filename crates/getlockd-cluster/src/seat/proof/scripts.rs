//! Schedules by a script: the few events in which one bug shows, and nothing goes wrong without it.
//!
//! T is 3 s unless a script says another. Node 0 starts first, takes the seat at 3.05, and beats each 0.6 s from then on: at
//! 6.65 for the last time, where its way to the engine is cut at 6.7. So its term ends at 9.35, its sockets close from 9.05
//! on, and a node that starts at 1.0 takes the seat at 9.7. `SCRIPT=NoLinger` prints what happens in one, with its bug.

use std::time::Duration;

use super::{
    client::{Act, Deed, Relies, SimClient},
    clock::{Clocks, nanos},
    dice::Dice,
    faults::{Fate, Fault},
    node::SimNode,
    schedule::{Tally, ended},
    slips::Slip,
    store::Verb,
    world::{Happening, Place, World},
};

/// A bug, the schedule in which it shows, and the rule that it breaks.
pub struct Script {
    pub slip: Slip,
    plays: fn() -> Stage,
    breaks: &'static str,
    /// How many grants there are without the bug.
    grants: u64,
}

/// Two own a name.
const TWO_OWNERS: &str = "is granted in term";

pub const SCRIPTS: &[Script] = &[
    Script { slip: Slip::DeadlineFromReceipt, plays: acknowledgement_is_late, breaks: TWO_OWNERS, grants: 2 },
    Script { slip: Slip::DeadlineByRead, plays: own_beat_is_seen_late, breaks: TWO_OWNERS, grants: 2 },
    Script { slip: Slip::TakeFromLook, plays: own_take_is_found_late, breaks: TWO_OWNERS, grants: 2 },
    Script { slip: Slip::OneClock, plays: boot_clocks_are_slewed, breaks: TWO_OWNERS, grants: 2 },
    Script {
        slip: Slip::RevisionMayFall,
        plays: backup_comes_under_the_leader,
        breaks: "promised time",
        grants: 2,
    },
    Script { slip: Slip::ClockNotRead, plays: backup_has_an_old_floor, breaks: "is not above", grants: 21 },
    Script { slip: Slip::RevisionOnly, plays: revisions_repeat, breaks: TWO_OWNERS, grants: 1 },
    Script {
        slip: Slip::NoLinger,
        plays: link_heals_after_the_end,
        breaks: "reads a reply of term",
        grants: 2,
    },
    Script {
        slip: Slip::QuestionsWithoutNumber,
        plays: answer_to_a_relay_is_late,
        breaks: TWO_OWNERS,
        grants: 2,
    },
    Script {
        slip: Slip::RelayTakesLowerTerm,
        plays: relay_is_held_up,
        breaks: "tells a client something",
        grants: 1,
    },
    Script {
        slip: Slip::RelayClosesPlainly,
        plays: leader_closes_and_a_link_heals,
        breaks: "reads a reply of term",
        grants: 2,
    },
    Script {
        slip: Slip::ClientFromReceipt,
        plays: answer_to_a_client_is_late,
        breaks: TWO_OWNERS,
        grants: 2,
    },
    Script {
        slip: Slip::ClientIgnoresLeft,
        plays: client_asks_shortly_before_the_end,
        breaks: TWO_OWNERS,
        grants: 2,
    },
];

impl Script {
    /// Nothing is broken without the bug, and with it the very rule that it must break.
    pub fn play(&self, tells: bool) -> Result<(), String> {
        let Self { slip, breaks, grants, .. } = *self;
        match self.run(None, false) {
            (tally, Ok(())) if tally.grants == grants => {}
            other => return Err(format!("{slip:?}: without it there are {grants} grants, not {other:?}")),
        }
        match self.run(Some(slip), tells) {
            (_, Err(broken)) if broken.contains(breaks) => Ok(()),
            (_, other) => Err(format!("{slip:?} is to break `{breaks}`: {other:?}")),
        }
    }

    fn run(&self, slip: Option<Slip>, tells: bool) -> (Tally, Result<(), String>) {
        Slip::plant(slip);
        let mut world = (self.plays)().world;
        world.transcript = tells.then(Vec::new);
        world.run();
        Slip::plant(None);
        ended(&mut world)
    }
}

/// The machines of a script, and what is to happen to them.
struct Stage {
    world: World,
}

fn seconds(time: f64) -> Duration {
    Duration::from_secs_f64(time)
}

const LOST: Fate =
    Fate { lost: true, answered: false, late: Duration::ZERO, twice: false, pauses: Duration::ZERO };
const UNANSWERED: Fate = Fate { lost: false, ..LOST };
const FINE: Fate = Fate { answered: true, ..UNANSWERED };

impl Stage {
    /// Nodes with their T in seconds, and two clients. The clocks of all are exact.
    fn of(nodes: &[u64], relies: [Relies; 2]) -> Self {
        let mut world = World::new(Dice::seeded(1), nanos(Duration::from_mins(10)));
        world.weather.shortest_lease = 1_000;
        let clocks = || Clocks::new(Duration::from_secs(1_000), 1_000_000, 1_000_000);
        for ttl in nodes {
            let ttl = Duration::from_secs(*ttl);
            world.nodes.push(SimNode::new(clocks(), ttl, Duration::ZERO, 1_800_000_000_000_000));
        }
        for relies in relies {
            world.clients.push(SimClient::new(relies, clocks()));
        }
        Self { world }
    }

    fn at(mut self, time: f64, fault: Fault) -> Self {
        self.world.later(seconds(time), Happening::Fault(fault));
        self
    }

    fn starts(self, time: f64, node: usize) -> Self {
        let ttl = self.world.nodes[node].ttl;
        self.at(time, Fault::Start(node, ttl))
    }

    fn client(mut self, time: f64, client: usize, deed: Deed) -> Self {
        self.world.later(seconds(time), Happening::Client(client, Act::Does(deed)));
        self
    }

    /// Node 0 leads, node 1 follows, and client 0 has name 0 by a connection to the leader.
    fn with_a_holder(ttl: u64, relies: Relies) -> Self {
        let stage = Self::of(&[ttl, ttl], [relies, Relies::Connection]).starts(0.0, 0).starts(1.0, 1);
        let first = ttl as f64 + 0.2;
        stage.client(first, 0, Deed::Connects(0)).client(first + 0.1, 0, Deed::Asks).client(
            first + 0.2,
            0,
            Deed::Acquires(0),
        )
    }

    /// Client 1 takes name 0 at node 1.
    fn is_succeeded(self, time: f64) -> Self {
        self.client(time, 1, Deed::Connects(1)).client(time + 0.1, 1, Deed::Acquires(0))
    }

    fn cut_from_engine(self, time: f64, node: usize) -> Self {
        self.at(time, Fault::CutEngine(node, true, true))
    }
}

const CLIENT: Place = Place::Client(0);
const LEADER: Place = Place::Node(0);

/// The leader stands still after it has sent a beat, and reads its acknowledgement 0.9 s later: that is within T/5.
fn acknowledgement_is_late() -> Stage {
    let pauses = Fate { pauses: seconds(0.9), ..FINE };
    Stage::with_a_holder(5, Relies::Time)
        .at(6.9, Fault::Meets { node: 0, verb: Verb::Beat, fate: pauses, times: 1 })
        .cut_from_engine(7.99, 0)
        .client(11.0, 0, Deed::Asks)
        .at(11.03, Fault::Cut(LEADER, CLIENT))
        .is_succeeded(12.15)
}

/// The leader's watch reports its last beat 1.85 s after it was made.
fn own_beat_is_seen_late() -> Stage {
    Stage::with_a_holder(3, Relies::Time)
        .at(6.6, Fault::SlowWatch(0, seconds(1.9)))
        .cut_from_engine(6.7, 0)
        .client(9.0, 0, Deed::Asks)
        .at(9.03, Fault::Cut(LEADER, CLIENT))
        .is_succeeded(9.8)
}

/// The leader's boot clock is slow and the other's is fast, each by 8.3 %.
fn boot_clocks_are_slewed() -> Stage {
    let mut stage = Stage::of(&[3, 3], [Relies::Time, Relies::Connection]);
    for (node, rate) in [917_000, 1_083_000].into_iter().enumerate() {
        stage.world.nodes[node].clocks.boot_rate = rate;
    }
    stage
        .starts(0.0, 0)
        .starts(1.0, 1)
        .client(3.5, 0, Deed::Connects(0))
        .client(3.6, 0, Deed::Asks)
        .client(3.7, 0, Deed::Acquires(0))
        .cut_from_engine(6.2, 0)
        .client(8.7, 0, Deed::Asks)
        .at(8.71, Fault::Cut(LEADER, CLIENT))
        .client(8.93, 1, Deed::Connects(1))
        .client(8.96, 1, Deed::Acquires(0))
}

/// A take is not answered, and is found two seconds later. Then no beat reaches the engine.
fn own_take_is_found_late() -> Stage {
    Stage::of(&[3, 3], [Relies::Time, Relies::Connection])
        .at(0.0, Fault::Meets { node: 0, verb: Verb::Take, fate: UNANSWERED, times: 1 })
        .at(0.0, Fault::Meets { node: 0, verb: Verb::Beat, fate: LOST, times: usize::MAX })
        .starts(0.0, 0)
        .starts(1.0, 1)
        .cut_from_engine(3.2, 0)
        .at(4.8, Fault::EngineUp)
        .client(5.0, 0, Deed::Connects(0))
        .client(5.05, 0, Deed::Asks)
        .client(5.1, 0, Deed::Acquires(0))
        .client(5.2, 0, Deed::Asks)
        .at(5.3, Fault::Cut(LEADER, CLIENT))
        .is_succeeded(6.2)
}

/// A lease is written, and a backup of the time before is put back. A leader that beats on renews what nobody restores.
fn backup_comes_under_the_leader() -> Stage {
    Stage::of(&[3, 3], [Relies::Lease, Relies::Connection])
        .starts(0.0, 0)
        .starts(1.0, 1)
        .at(4.0, Fault::BackUp)
        .client(4.5, 0, Deed::Connects(0))
        .client(4.7, 0, Deed::Leases(0, 9))
        .at(9.0, Fault::PutBack)
        .client(11.0, 0, Deed::Renews)
        .client(16.0, 0, Deed::Renews)
        .at(17.0, Fault::Kill(0))
        .is_succeeded(20.5)
}

/// Many tokens are given. Later a backup of the time before is put back, while no node runs.
fn backup_has_an_old_floor() -> Stage {
    let stage = Stage::of(&[3], [Relies::Connection; 2]).starts(0.0, 0).client(4.0, 0, Deed::Connects(0));
    let stage = (0..20).map(f64::from).fold(stage.at(3.9, Fault::BackUp), |stage, pair| {
        let at = 4.1 + pair * 0.2;
        stage.client(at, 0, Deed::Acquires(0)).client(at + 0.1, 0, Deed::Releases(0))
    });
    stage
        .at(9.0, Fault::Kill(0))
        .at(95.0, Fault::PutBack)
        .starts(96.0, 0)
        .client(99.5, 1, Deed::Connects(0))
        .client(99.7, 1, Deed::Acquires(0))
}

/// Node 0, whose T is 30 s, takes the seat from node 2, and its machine is gone at once. Node 1 waits for it, and its watch
/// lags. A backup of the time before is put back, and node 2 takes the seat again: at the revision that node 1 saw last.
fn revisions_repeat() -> Stage {
    Stage::of(&[30, 3, 3], [Relies::Time, Relies::Connection])
        .starts(0.0, 2)
        .at(5.0, Fault::Kill(2))
        .starts(5.5, 0)
        .starts(7.0, 1)
        .at(7.5, Fault::BackUp)
        .at(9.0, Fault::MachineGone(0))
        .at(9.1, Fault::SlowWatch(1, seconds(50.0)))
        .at(9.2, Fault::PutBack)
        .starts(35.25, 2)
        .at(38.35, Fault::SlowWatch(2, seconds(50.0)))
        .client(38.36, 0, Deed::Connects(2))
        .client(38.4, 0, Deed::Asks)
        .client(38.44, 0, Deed::Acquires(0))
        .at(38.48, Fault::Cut(Place::Node(2), CLIENT))
        .is_succeeded(38.7)
}

/// A link is cut as a grant is written, and heals long after the term has ended.
fn link_heals_after_the_end() -> Stage {
    Stage::of(&[3, 3], [Relies::Connection; 2])
        .starts(0.0, 0)
        .starts(1.0, 1)
        .client(4.0, 0, Deed::Connects(0))
        .client(6.69, 0, Deed::Acquires(0))
        .at(6.690_01, Fault::Cut(LEADER, CLIENT))
        .cut_from_engine(6.7, 0)
        .is_succeeded(9.8)
        .at(15.0, Fault::Heal(LEADER, CLIENT))
}

/// Client 0 has name 0 through node 1, which asks the leader at 6.7 for the last time; node 2 comes next.
fn relayed(relies: Relies) -> Stage {
    Stage::of(&[3, 3, 3], [relies, Relies::Connection]).starts(0.0, 0).starts(0.5, 1).starts(0.6, 2).client(
        5.0,
        0,
        Deed::Connects(1),
    )
}

/// The answer to a relay's question is kept by a link that is cut until the relay has asked again; then it is cut again.
fn answer_to_a_relay_is_late() -> Stage {
    let (relay, cut) = (Place::Node(1), Fault::Cut);
    relayed(Relies::Connection)
        .client(5.3, 0, Deed::Acquires(0))
        .cut_from_engine(6.69, 1)
        .cut_from_engine(6.69, 0)
        .at(6.700_01, cut(LEADER, relay))
        .at(8.7, Fault::Heal(LEADER, relay))
        .at(8.75, cut(LEADER, relay))
        .client(9.8, 1, Deed::Connects(2))
        .client(9.9, 1, Deed::Acquires(0))
}

/// A relay has read a grant, and is held up until it follows the next term.
fn relay_is_held_up() -> Stage {
    relayed(Relies::Connection)
        .at(6.5, Fault::HoldThread(1, seconds(4.5)))
        .client(6.6, 0, Deed::Acquires(0))
        .at(6.7, Fault::MachineGone(0))
        .client(9.9, 1, Deed::Connects(2))
        .client(10.0, 1, Deed::Acquires(0))
}

/// A relay's link to its client is cut as a grant is written. The leader closes at 0.8 T, long before the relay's own time
/// is over: T is 30 s.
fn leader_closes_and_a_link_heals() -> Stage {
    Stage::of(&[30, 30, 30], [Relies::Connection; 2])
        .starts(0.0, 0)
        .starts(0.5, 1)
        .starts(0.6, 2)
        .client(32.0, 0, Deed::Connects(1))
        .client(36.1, 0, Deed::Acquires(0))
        .at(36.100_1, Fault::Cut(Place::Node(1), CLIENT))
        .cut_from_engine(36.2, 0)
        .client(66.5, 1, Deed::Connects(2))
        .client(66.6, 1, Deed::Acquires(0))
        .at(75.0, Fault::Heal(Place::Node(1), CLIENT))
}

/// The leader says how much time is left, and is held up before it writes that.
fn answer_to_a_client_is_late() -> Stage {
    Stage::with_a_holder(3, Relies::Time)
        .cut_from_engine(6.7, 0)
        .at(6.75, Fault::HoldThread(0, seconds(2.1)))
        .client(6.8, 0, Deed::Asks)
        .at(9.0, Fault::Cut(LEADER, CLIENT))
        .is_succeeded(9.8)
}

/// The leader answers shortly before its sockets close, of which the client hears nothing.
fn client_asks_shortly_before_the_end() -> Stage {
    Stage::with_a_holder(3, Relies::Time)
        .cut_from_engine(6.7, 0)
        .client(9.0, 0, Deed::Asks)
        .at(9.03, Fault::Cut(LEADER, CLIENT))
        .is_succeeded(9.8)
}
