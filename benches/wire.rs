//! `cargo bench --bench wire`: CPU time of the server for a pair of GET_LOCK and RELEASE_LOCK on the
//! line wire and the MySQL wire, as ratios to the floor: an epoll loop that answers lines without
//! looking at them. In turns, in one run.
//!
//! Needs Linux. What the goals are and what was measured stands in benches/README.md.
#![allow(missing_docs, reason = "a program for people")]

mod common;

use common::ratios;

fn main() {
    ratios::become_floor_if_told();
    if !common::is_only_asked() {
        ratios::print();
    }
}
