//! What goes wrong with clients, links, clocks and the server itself, and what the others see of it.
//!
//! `cargo test --test proof faults -- --nocapture --test-threads=1 | grep '^|'` prints a table: for each fault
//! the time until the next in the queue had its reply, the median and the longest.

pub mod clock;
mod disconnect;
mod disk;
mod flood;
mod partition;
mod relay;
mod server_exit;
mod server_partition;
mod slow_client;
mod speaker;

use std::time::Duration;

/// A row of the table.
fn report(fault: &str, wire: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("\n| {fault} | {wire} | {median:.1?} | {longest:.1?} | {} |", times.len());
}
