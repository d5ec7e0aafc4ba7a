//! The locks and the sessions in very many orders of their steps: `shuttle` runs each scenario again and
//! again, and decides at every step which thread goes on.
//!
//! `cargo test --profile shuttle --features shuttle --test shuttle`; `SCHEDULES=1000000` for more of each.
//! A failure prints its schedule, for `shuttle::replay`.
#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

mod deadlock;
mod every_order;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/inside.rs"]
mod inside;
mod kinds;
mod mutants;
mod owners;
mod schedules;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/session.rs"]
mod session;
mod sessions;

#[test]
fn schedule_can_be_replayed() {
    for scenario in [owners::no_cycle, deadlock::any_two, sessions::drain, sessions::anything] {
        schedules::twice(scenario);
    }
}
