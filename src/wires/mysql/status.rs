//! What SHOW STATUS tells. Pure.

use crate::{core::command::Stats, net::Secured};

/// The numbers of STATS, under the names that MySQL has for such, and how the connection is secured. What MySQL counts
/// and this server does not is left out: a 0 would be taken for an answer. Of what there is none here, 0 is one.
pub(super) fn status(stats: &Stats, secured: Option<Secured>) -> Vec<(&'static str, String)> {
    let (version, cipher) = secured.map_or_else(Default::default, |s| (s.version, s.cipher));
    let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory } = stats;
    let uptime = uptime.as_secs().to_string();
    vec![
        // Clients such as mycli fail without those that are 0.
        ("Flush_commands", "0".to_owned()),
        ("Getlockd_abandoned", abandoned.to_string()),
        ("Getlockd_deadlocks", table.deadlocks.to_string()),
        ("Getlockd_grants", table.grants.to_string()),
        ("Getlockd_locks", table.locks.to_string()),
        ("Getlockd_max_memory", max_memory.to_string()),
        ("Getlockd_memory", memory.to_string()),
        ("Getlockd_timeouts", timeouts.to_string()),
        ("Getlockd_waiters", table.waiters.to_string()),
        ("Open_tables", "0".to_owned()),
        ("Opened_tables", "0".to_owned()),
        ("Slow_queries", "0".to_owned()),
        ("Ssl_cipher", cipher),
        ("Ssl_version", version.to_owned()),
        ("Threads_connected", sessions.to_string()),
        ("Threads_running", (table.waiters + 1).to_string()),
        ("Uptime", uptime.clone()),
        // There is no FLUSH STATUS.
        ("Uptime_since_flush_status", uptime),
    ]
}
