//! The proof of the seat: schedules of whole clusters, in which the real machine runs in a simulated world.
//!
//! Two or three nodes run [`Seat`](super::Seat) in a driver, a server, and a relay that are written for the proof (`node`,
//! `server`, `relay`, `wire`), with an engine (`store`) and clients (`client`). Time is simulated, each machine has its own
//! two clocks, and every choice comes from a seed, or from a tree of which every path is walked (`dice`).
//!
//! # What goes wrong
//! - The engine is linearizable, and nothing else: requests and answers are lost, late by seconds (also after their caller
//!   gave up), and made twice; batches are refused; it is down, or out of reach of one node, in one direction or both.
//! - Watches are late, hang, and miss changes; when they connect again, they report what stands there, at times first what
//!   stood there before.
//! - Nodes stand still, sleep, are killed, vanish with their machine, start again with another T, drain and hand over.
//!   A thread is held up for seconds between its work and the look at the guard.
//! - Links between nodes, and between nodes and clients, are cut and heal: what the kernels keep arrives then.
//! - The prefix is wiped, and backups are put back under the running nodes, with revisions that repeat or go back.
//! - Clocks run at 0.99 to 1.01 of the true time. In some schedules the boot clocks are slewed by 8 %, and the raw ones are
//!   exact to 0.1 %.
//!
//! # What must hold
//! In true time (`rules`):
//! - No term tells a client anything once a later one has told of a grant; and no client reads it later, out of the kernel
//!   of a server that ran.
//! - Each token of a term is above all of the terms before.
//! - No client that asks how much time is left believes in a lock when it is granted to another one. Nor does one that waits
//!   for the end of its connection, if the machine that serves it, leader or relay, runs and reaches it.
//! - A lease does not end before its promised time, is not granted to another within it, and does not come back after its
//!   lock has passed on. None is deleted that nobody has ended. After a backup that a leader can know of, all of this holds
//!   again once T is over.
//! - A node does not begin, extend or serve a term that it does not have, and does not relay to itself.
//! - 1.2 T after all is well, somebody serves. Without a fault, one node leads from the first term on.
//!
//! # What is assumed
//! As the proof does: between the look at a guard and the write passes at most p, what 0.1 T leaves with these clocks. A
//! backup is only put back while each node that runs has seen a later revision. A process that was stopped or killed cannot
//! reset its sockets; what its kernel sends late is not counted. A frozen virtual machine, whose clocks both stand still, is
//! not simulated. Nor does a leader hear of the end of a relay: it would free the locks of its clients at once, also of one
//! that is cut off from the relay and trusts an answer that it got through it.
//!
//! # Bugs
//! Each [`slips::Slip`] is planted in turn and must be found: those in `FOUND` by schedules from seeds, the others by a
//! schedule that is written for it (`scripts`), which breaks no rule without it. Those in the machine are lines with `slip!`;
//! the others are switches of the simulation.
//!
//! `SCHEDULES=100000 cargo test --release -p getlockd-cluster proof` looks at more; `SEED=17` runs one schedule of each kind
//! and prints what happens in it.

#![allow(
    clippy::cast_precision_loss,
    clippy::large_enum_variant,
    clippy::needless_pass_by_value,
    clippy::struct_excessive_bools,
    clippy::wrong_self_convention,
    reason = "a simulation reads better so, and nothing is measured by it"
)]

mod client;
mod clock;
mod dice;
mod faults;
mod node;
mod relay;
mod rules;
mod schedule;
mod scripts;
mod server;
pub(super) mod slips;
mod store;
mod wire;
mod world;

use dice::Tree;
use schedule::{Plan, every_path, is_found, random, run, walk};
use scripts::SCRIPTS;
use slips::Slip;

fn schedules(few: u64) -> u64 {
    std::env::var("SCHEDULES").ok().and_then(|number| number.parse().ok()).unwrap_or(few)
}

fn holds(plan: Plan, few: u64) {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(plan, seed, true).1.unwrap_or_else(|broken| panic!("{plan:?}, seed {seed}: {broken}"));
    }
    let tally = random(plan, schedules(few)).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{plan:?}: {tally:?}");
    assert!(tally.grants > 0, "clients were granted nothing");
}

#[test]
fn rules_hold_under_faults() {
    holds(Plan::Faults, 300);
}

#[test]
fn rules_hold_in_hand_overs_over_cut_links() {
    holds(Plan::HandOvers, 150);
}

#[test]
fn rules_hold_with_slewed_clocks() {
    holds(Plan::Slewed, 100);
}

#[test]
fn rules_hold_with_backups_and_wiped_prefixes() {
    holds(Plan::Backups, 100);
}

#[test]
fn single_node_keeps_the_seat_without_faults() {
    holds(Plan::Quiet, 30);
}

#[test]
fn bad_weather_does_not_cost_the_seat() {
    holds(Plan::Weather, 40);
}

#[test]
fn rules_hold_on_every_path_to_a_depth() {
    if let Ok(path) = std::env::var("TREE") {
        return walk(Tree::of(&path), true).1.unwrap_or_else(|broken| panic!("{broken}"));
    }
    let depth = if std::env::var_os("SCHEDULES").is_some() { 5 } else { 3 };
    let tally = every_path(depth).unwrap_or_else(|broken| panic!("{broken}"));
    println!("every path to depth {depth}: {tally:?}");
}

/// Each bug, the plan that finds it, and the seed from which on it is looked for.
const FOUND: &[(Slip, Plan, u64)] = &[
    (Slip::TakeWithoutBeat, Plan::Faults, 55),
    (Slip::WaitFromStart, Plan::Faults, 0),
    (Slip::OwnTtl, Plan::Faults, 490),
    (Slip::MissingIsResigned, Plan::Backups, 269),
    (Slip::SupersededIsLost, Plan::Weather, 2),
    (Slip::ResignAtOnce, Plan::HandOvers, 216),
    (Slip::FloorNotRead, Plan::Faults, 0),
    (Slip::BeatWithoutN, Plan::Faults, 1),
    (Slip::StaleRestore, Plan::Faults, 0),
    (Slip::OneNonce, Plan::Faults, 809),
    (Slip::LookBeforeWork, Plan::Faults, 692),
    (Slip::StopByTheLoop, Plan::Faults, 112),
    (Slip::GuardWithoutTerm, Plan::HandOvers, 51),
    (Slip::ResignBeforeClose, Plan::HandOvers, 8),
    (Slip::UnwrittenForgotten, Plan::HandOvers, 347),
    (Slip::RelaysForgotten, Plan::HandOvers, 861),
    (Slip::StepDownPassesOn, Plan::HandOvers, 587),
    (Slip::PassedOnBeforeDelete, Plan::Faults, 17),
    (Slip::LongLeaseUnwritten, Plan::HandOvers, 3),
    (Slip::RelayAnswersEarly, Plan::HandOvers, 861),
    (Slip::RefusedForEver, Plan::Weather, 1),
    (Slip::ShutdownDeletes, Plan::HandOvers, 2),
    (Slip::RelayNeverCuts, Plan::Faults, 546),
];

#[test]
fn planted_bugs_are_found() {
    let only = std::env::var("SLIP").ok();
    let mut missed = Vec::new();
    for (slip, plan, first) in FOUND {
        if only.as_ref().is_some_and(|only| !format!("{slip:?}").contains(only.as_str())) {
            continue;
        }
        match is_found(*slip, *plan, *first, schedules(600)) {
            Some((seed, broken)) => println!("{slip:?}: seed {seed} of {plan:?}: {broken}"),
            None => missed.push(format!("{slip:?}")),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn scripts_hold_without_their_bug_and_break_with_it() {
    let only = std::env::var("SCRIPT").ok();
    let is_meant = |slip: Slip| only.as_ref().is_none_or(|only| format!("{slip:?}") == *only);
    let missed = SCRIPTS.iter().filter(|script| is_meant(script.slip));
    let missed: Vec<_> = missed.filter_map(|script| script.play(only.is_some()).err()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
