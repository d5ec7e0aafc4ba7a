//! One schedule from a seed, many of them, and every one to a depth.

use std::time::Duration;

use super::{
    client::{Act, Relies, SimClient},
    clock::{Clocks, nanos},
    dice::{Dice, Tree},
    faults::{Fault, Kind, Weather},
    node::SimNode,
    slips::Slip,
    world::{Happening, World},
};

/// What a schedule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All that can go wrong, but for the contents of the engine.
    Faults,
    /// The same with boot clocks that are slewed.
    Slewed,
    /// Drains, links that are cut, and threads that are held up.
    HandOvers,
    /// Backups and wiped prefixes too.
    Backups,
    /// Nothing goes wrong.
    Quiet,
    /// Only what a leader must live with: tries that are made twice, late or refused.
    Weather,
}

/// What came of schedules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub schedules: u64,
    pub terms: u64,
    pub grants: u64,
    pub leases: u64,
    pub late_writes_refused: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.terms += other.terms;
        self.grants += other.grants;
        self.leases += other.leases;
        self.late_writes_refused += other.late_writes_refused;
    }
}

fn clocks(dice: &mut Dice, slewed: bool) -> Clocks {
    let first = dice.millis(1_000, 9_000_000);
    let mut rate =
        |by: usize| (1_000_000 - by as u64) + dice.one_of(&[0, 0, by as u64, 2 * by as u64, 2 * by as u64]);
    let boot = rate(if slewed { 83_000 } else { 10_000 });
    Clocks::new(first, boot, rate(if slewed { 1_000 } else { 10_000 }))
}

fn add_machines(world: &mut World, plan: Plan) {
    let slewed = plan == Plan::Slewed;
    let nodes = if plan == Plan::Backups { 2 } else { 2 + world.dice.below(2) };
    // A node that has seen no record waits its own T: while contents are lost, all have the same.
    let same = (plan == Plan::Backups).then_some((3, 0));
    for _ in 0..nodes {
        let clocks = clocks(&mut world.dice, slewed);
        let any = (world.dice.one_of(&[3, 3, 5]), world.dice.one_of(&[0, 0, 0, 1_500]));
        let (ttl, delay) = same.unwrap_or(any);
        let ttl = Duration::from_secs(ttl);
        // A clock that is a day off, where no backup makes clocks count.
        let wall = 1_800_000_000_000_000;
        let off = if plan == Plan::Backups { 0 } else { world.dice.one_of(&[0, 0, 86_400_000_000]) };
        world.nodes.push(SimNode::new(clocks, ttl, Duration::from_millis(delay), wall - off));
    }
    for relies in [Relies::Time, Relies::Time, Relies::Connection, Relies::Lease, Relies::Lease] {
        let clocks = clocks(&mut world.dice, slewed);
        let client = world.clients.len();
        world.clients.push(SimClient::new(relies, clocks));
        let first = world.dice.millis(0, 400);
        world.later(first, Happening::Client(client, Act::Goes));
        world.later(first, Happening::Client(client, Act::Asks));
    }
    world.longest_pause = longest_pause(world);
}

/// What the proof leaves for a pause between look and write: T by the fastest candidate, less 0.9 T by the slowest owner.
fn longest_pause(world: &World) -> Duration {
    let slowest = world.nodes.iter().map(|node| node.clocks.boot_rate).min().unwrap_or(1_000_000);
    let fastest = world.nodes.iter().map(|node| node.clocks.boot_rate.min(node.clocks.raw_rate)).max();
    let ttl = Duration::from_secs(3).as_secs_f64();
    let waits = ttl * 1e6 / fastest.unwrap_or(1_000_000) as f64;
    // A slewed boot clock runs slow until the raw one is looked at.
    let serves = ttl * 0.9e6 / slowest as f64;
    Duration::from_secs_f64((waits - serves - 0.002).max(0.0))
}

fn weather(dice: &mut Dice, plan: Plan) -> Weather {
    let shortest_lease = if plan == Plan::Slewed { 840 } else { 975 };
    let fine = Weather { shortest_lease, ..Weather::default() };
    match plan {
        Plan::Quiet => fine,
        Plan::Weather => Weather {
            twice: dice.one_of(&[0, 200]),
            refuses: dice.one_of(&[0, 20]),
            poison: dice.one_of(&[0, 200]),
            stale: 200,
            slow_watch: dice.chance(500),
            answer_lost: dice.one_of(&[0, 50]),
            // With more in a row, no beat may be acknowledged for 0.8 T.
            most_unlucky: 3,
            ..fine
        },
        Plan::HandOvers => Weather { slow_threads: dice.one_of(&[0, 30, 200]), poison: 20, ..fine },
        Plan::Faults | Plan::Slewed | Plan::Backups => Weather {
            lost: dice.one_of(&[0, 0, 30, 200]),
            answer_lost: dice.one_of(&[0, 0, 30, 200]),
            late: dice.one_of(&[0, 0, 30, 150]),
            twice: dice.one_of(&[0, 0, 100]),
            refuses: dice.one_of(&[0, 0, 50]),
            poison: dice.one_of(&[0, 0, 100]),
            stale: dice.one_of(&[0, 300]),
            slow_threads: dice.one_of(&[0, 5, 60]),
            pauses_at_writes: dice.one_of(&[0, 100, 500]),
            restore_fails: dice.one_of(&[0, 0, 100]),
            slow_engine: dice.chance(300),
            slow_watch: dice.chance(300),
            shortest_lease,
            most_unlucky: 0,
        },
    }
}

/// One schedule. With `tells`, what happens in it is printed.
pub fn run(plan: Plan, seed: u64, tells: bool) -> (Tally, Result<(), String>) {
    let mut world = World::new(Dice::seeded(seed ^ (plan as u64) << 56), nanos(Duration::from_mins(10)));
    world.transcript = tells.then(Vec::new);
    add_machines(&mut world, plan);
    world.weather = weather(&mut world.dice, plan);
    let quiet = matches!(plan, Plan::Quiet | Plan::Weather);
    for node in 0..world.nodes.len() {
        let after = if quiet { Duration::ZERO } else { world.dice.millis(0, 4_000) };
        let ttl = world.nodes[node].ttl;
        world.later(after, Happening::Fault(Fault::Start(node, ttl)));
    }
    if quiet {
        world.must_serve_at(Duration::from_secs(15));
        world.ends = nanos(Duration::from_secs(30));
        world.must_serve_at(Duration::from_secs(29));
    } else {
        world.patient = true;
        let until = world.dice.millis(8_000, 32_000);
        let kind = match plan {
            Plan::Backups => Kind::Backups,
            Plan::HandOvers => Kind::HandOvers,
            _ => Kind::Any,
        };
        world.plan(kind, until);
    }
    world.run();
    if quiet && world.store.takes.len() != 1 {
        let terms = world.store.takes.len();
        world.ledger.broke(format!("there were {terms} terms, and no fault"));
    }
    ended(&mut world)
}

pub fn ended(world: &mut World) -> (Tally, Result<(), String>) {
    for line in world.transcript.take().into_iter().flatten() {
        println!("{line}");
    }
    let tally = Tally {
        schedules: 1,
        terms: world.store.takes.len() as u64,
        grants: world.ledger.grants,
        leases: world.ledger.leases,
        late_writes_refused: world.ledger.late_writes_refused,
    };
    (tally, world.ledger.broken.take().map_or(Ok(()), Err))
}

/// So many schedules.
pub fn random(plan: Plan, schedules: u64) -> Result<Tally, String> {
    let mut sum = Tally::default();
    for seed in 0..schedules {
        let (tally, result) = run(plan, seed, false);
        sum.add(tally);
        result.map_err(|broken| format!("{plan:?}, seed {seed}: {broken}"))?;
    }
    Ok(sum)
}

/// The first of so many seeds that finds a bug, and what is broken by it.
pub fn is_found(slip: Slip, plan: Plan, first: u64, most: u64) -> Option<(u64, String)> {
    Slip::plant(Some(slip));
    let found = (first..first + most).find_map(|seed| Some((seed, run(plan, seed, false).1.err()?)));
    Slip::plant(None);
    found
}

/// Two nodes with T = 3 s and clients: every path through what becomes of the first tries that reach for the engine, once
/// a node leads.
pub fn every_path(depth: usize) -> Result<Tally, String> {
    let mut sum = Tally::default();
    let mut tree = Some(Tree::new(depth));
    while let Some(path) = tree {
        let (tally, result, walked) = walk(path, false);
        sum.add(tally);
        if let (Err(broken), Some(walked)) = (result, &walked) {
            return Err(format!("path {walked}: {broken}"));
        }
        tree = walked.and_then(Tree::next);
    }
    Ok(sum)
}

/// One path, and what was walked of it.
pub fn walk(path: Tree, tells: bool) -> (Tally, Result<(), String>, Option<Tree>) {
    let mut world = World::new(Dice::walking(path), nanos(Duration::from_secs(14)));
    world.transcript = tells.then(Vec::new);
    world.patient = true;
    for (boot, raw) in [(990_000, 990_000), (1_010_000, 1_010_000)] {
        let clocks = Clocks::new(Duration::from_secs(1_000), boot, raw);
        world.nodes.push(SimNode::new(clocks, Duration::from_secs(3), Duration::ZERO, 1_800_000_000_000_000));
    }
    for relies in [Relies::Time, Relies::Connection, Relies::Lease] {
        let clocks = Clocks::new(Duration::from_secs(500), 1_000_000, 1_000_000);
        let client = world.clients.len();
        world.clients.push(SimClient::new(relies, clocks));
        world.later(Duration::ZERO, Happening::Client(client, Act::Goes));
        world.later(Duration::ZERO, Happening::Client(client, Act::Asks));
    }
    world.weather.shortest_lease = 975;
    world.longest_pause = longest_pause(&world);
    world.forks_from = 3_500_000_000;
    for node in 0..2 {
        world.later(Duration::ZERO, Happening::Fault(Fault::Start(node, Duration::from_secs(3))));
    }
    world.must_serve_at(Duration::from_millis(13_900));
    world.run();
    let (tally, result) = ended(&mut world);
    (tally, result, world.dice.into_tree())
}
