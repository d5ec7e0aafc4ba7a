//! What goes wrong with clients, links, clocks and the server itself, and what the others see of it.
//!
//! `cargo test --test faults -- --nocapture --test-threads=1 | grep '^|'` prints a table: for each fault
//! the time until the next in the queue had its reply, the median and the longest.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

mod clock;
#[path = "../common/mod.rs"]
mod common;
mod cut_off;
mod ended;
mod flooded;
#[allow(dead_code, reason = "shared with crates/getlock/tests")]
mod link;
mod relay;
mod server_cut_off;
mod server_ends;
mod speaker;
mod stalled;

use std::time::Duration;

/// A row of the table.
fn report(fault: &str, wire: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("\n| {fault} | {wire} | {median:.1?} | {longest:.1?} | {} |", times.len());
}

/// Says why a test shows nothing here.
fn skip(why: &str) {
    println!("\nskipped: {why}");
}
