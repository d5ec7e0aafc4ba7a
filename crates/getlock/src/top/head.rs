//! The first line of `getlock top`: the numbers of the server.

use std::time::Duration;

use getlockd_client::{Stats, visible};
use tokio::time::Instant;
use unicode_width::UnicodeWidthStr;

use crate::table::age;

/// A shorter time is too little for a rate.
const SHORTEST: Duration = Duration::from_millis(500);

/// Grants in a second.
#[derive(Default)]
pub(super) struct Rate {
    before: Option<(Instant, u64)>,
    rate: f64,
}

impl Rate {
    pub(super) fn now(&mut self, stats: &Stats) -> f64 {
        let now = (Instant::now(), stats.grants);
        let passed = self.before.map(|before| (now.0 - before.0, now.1.saturating_sub(before.1)));
        match passed {
            Some((time, _)) if time < SHORTEST => return self.rate,
            Some((time, granted)) => {
                self.rate = f64::from(u32::try_from(granted).unwrap_or(u32::MAX)) / time.as_secs_f64();
            }
            None => {}
        }
        self.before = Some(now);
        self.rate
    }
}

/// The numbers of the server. Where not all fits, what matters least is left out.
pub(super) fn head(stats: &Stats, host: &str, rate: f64, width: usize) -> String {
    let many = |number, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let version = stats.version.as_deref().map_or_else(|| "?".to_owned(), visible);
    // Each with the order in which it is left out.
    let mut parts = [
        ("getlockd".to_owned(), 8),
        (format!(" {version}"), 0),
        (format!(" at {host}"), 5),
        (format!(", up {}", age(stats.uptime)), 1),
        (":".to_owned(), 8),
        (format!(" {},", many(stats.sessions, "session")), 2),
        (format!(" {}", many(stats.locks, "lock")), 8),
        (format!(", {} waiting", stats.waiters), 7),
        (format!(", {rate:.0} grants/s"), 3),
        (of_memory(stats), 6),
        ("   (? shows the keys)".to_owned(), 4),
    ];
    let text = |parts: &[(String, u8)]| parts.iter().map(|(part, _)| part.as_str()).collect::<String>();
    for turn in 0..8 {
        if text(&parts).width() > width {
            parts.iter_mut().filter(|(_, left)| *left == turn).for_each(|(part, _)| part.clear());
        }
    }
    text(&parts)
}

/// How much is used of what all clients may make the server keep, once it is anything.
fn of_memory(stats: &Stats) -> String {
    let used = stats.memory.zip(stats.max_memory).map_or(0, |(used, max)| used * 100 / max.max(1));
    if used == 0 { String::new() } else { format!(", {used} % of its memory used") }
}
