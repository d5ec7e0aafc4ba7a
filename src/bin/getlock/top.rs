//! `getlock top`: locks and their queues, as they change.

use std::{
    io::{IsTerminal, stdin, stdout},
    time::Duration,
};

use getlockd::client::{Connection, Error, Row, written};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    lists::LOCKS,
    screen::{Screen, keys, size},
    signals::Signals,
    table::{age, lines},
    waiting::nth,
};

const REFRESH: Duration = Duration::from_secs(1);
/// Of each queue so many are shown.
const OF_A_QUEUE: usize = 3;
const CONTROL_C: u8 = 3;

pub(crate) async fn top(server: &ServerArgs, prefix: &str) -> Result<u8, Failure> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Failure::usage("top needs a terminal; without one: getlock ls"));
    }
    let connection = server.connect().await?;
    let mut signals = Signals::new().map_err(Failure::system)?;
    let mut resized = signal(SignalKind::window_change()).map_err(Failure::system)?;
    let mut tick = interval(REFRESH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let _screen = Screen::new()?;
    let mut keys = keys();
    let mut before = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = resized.recv() => {}
            _ = signals.next() => return Ok(exit::OK),
            key = keys.recv() => match key {
                Some(b'q' | b'Q' | CONTROL_C) | None => return Ok(exit::OK),
                Some(_) => continue,
            },
        }
        let view = view(&connection, &server.host, prefix, &mut before).await?;
        Screen::draw(&view);
    }
}

async fn view(
    connection: &Connection,
    host: &str,
    prefix: &str,
    before: &mut Option<(Instant, u64)>,
) -> Result<Vec<String>, Error> {
    let (stats, mut locks) = tokio::try_join!(connection.stats(), connection.locks(prefix))?;
    // Where the longest queues are one wants to look.
    locks.rows.sort_by_key(|row| std::cmp::Reverse(row.number::<usize>("waiters")));
    let place = size().1;
    let shown = &locks.rows[..locks.rows.len().min(place)];
    let mut view =
        stats.rows.first().map_or_else(Vec::new, |stats| vec![head(stats, host, before), String::new()]);
    let mut table = lines(&LOCKS, shown).into_iter();
    view.extend(table.next());
    let mut last = None;
    for (row, line) in shown.iter().zip(table) {
        // A lock that is shared has a row for each holder, and one queue.
        let is_first = last != row.get("name");
        last = row.get("name");
        view.push(line);
        if is_first && row.number("waiters") > Some(0) && view.len() < place {
            view.extend(queue(connection, row).await?);
        }
    }
    if locks.rows.is_empty() {
        view.push("nobody holds a lock".to_owned());
    }
    Ok(view)
}

/// The numbers of the server.
fn head(stats: &Row, host: &str, before: &mut Option<(Instant, u64)>) -> String {
    let number = |key| stats.get(key).unwrap_or("?").to_owned();
    let grants = stats.number("grants").map(|grants: u64| (Instant::now(), grants));
    let rate = grants.zip(*before).map_or(0.0, |(now, before)| {
        let granted = u32::try_from(now.1.saturating_sub(before.1)).unwrap_or(u32::MAX);
        f64::from(granted) / (now.0 - before.0).as_secs_f64()
    });
    *before = grants;
    let uptime = stats.number("uptime").map_or_else(|| "?".to_owned(), age);
    format!(
        "getlockd {} at {host}, up {uptime}: {} connections, {} locks, {} waiting, {rate:.0} grants/s   (q quits)",
        number("version"),
        number("connections"),
        number("locks"),
        number("waiters"),
    )
}

/// The first of a queue.
async fn queue(connection: &Connection, lock: &Row) -> Result<Vec<String>, Error> {
    let waiters = match connection.waiters(lock.get("name").unwrap_or_default()).await {
        // Who may not see it sees none of it.
        Err(Error::Refused(_)) => return Ok(Vec::new()),
        waiters => waiters?,
    };
    let line = |(at, row): (usize, &Row)| {
        let field = |key| row.get(key).map_or_else(|| "-".to_owned(), written);
        let waited = row.number("waited").map_or_else(|| "-".to_owned(), age);
        format!(
            "  {}: session {} at {}, {}, waits for {waited}",
            nth(at + 1),
            field("id"),
            field("peer"),
            field("mode")
        )
    };
    let mut lines: Vec<_> = waiters.rows.iter().take(OF_A_QUEUE).enumerate().map(line).collect();
    if waiters.total > OF_A_QUEUE {
        lines.push(format!("  and {} more", waiters.total - OF_A_QUEUE));
    }
    Ok(lines)
}
