//! `getlock top`: locks and their queues, as they change.

use std::{
    io::{IsTerminal, stdin, stdout},
    time::Duration,
};

use getlockd_client::{Connection, Error, LockRow, Stats, WaiterRow, visible, written};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    rows::ListRow,
    screen::{KeyPress, Screen, keys, size},
    signals::Signals,
    table::{age, lines_within},
    waiting::nth,
};

const REFRESH: Duration = Duration::from_secs(1);
/// Of each queue so many are shown.
const OF_A_QUEUE: usize = 3;
/// So many lines are above the locks.
const HEAD: usize = 3;
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
    let mut top = Top { server, prefix, connection, rate: Rate::default(), window: Window::default() };
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = resized.recv() => {}
            _ = signals.next() => return Ok(exit::OK),
            key = keys.recv() => match key {
                Some(KeyPress::Byte(b'q' | b'Q' | CONTROL_C)) | None => return Ok(exit::OK),
                Some(key) if top.window.scroll(key) => {}
                Some(_) => continue,
            },
        }
        Screen::draw(&top.view().await?);
    }
}

struct Top<'a> {
    server: &'a ServerArgs,
    prefix: &'a str,
    connection: Connection,
    rate: Rate,
    window: Window,
}

impl Top<'_> {
    async fn view(&mut self) -> Result<Vec<String>, Error> {
        let (stats, mut locks) =
            tokio::try_join!(self.connection.stats(), self.connection.locks(self.prefix))?;
        // The longest queues first: they are what an operator looks for.
        locks.rows.sort_by_key(|row| std::cmp::Reverse(row.waiters));
        let (width, height) = size();
        let rate = self.rate.now(&stats);
        let (begin, place) = (self.window.begin(locks.rows.len()), height.saturating_sub(HEAD));
        let mut view = vec![head(&stats, &self.server.host, rate, width), self.window.before()];
        let rows = locks.rows.iter().skip(begin).take(place).cloned().collect::<Vec<_>>();
        let mut table = lines_within(width, LockRow::COLUMNS, &rows).into_iter();
        view.extend(table.next());
        if rows.is_empty() {
            view.push(self.nothing());
        }
        let blocks = self.blocks(&rows, table, place).await?;
        view.extend(self.window.fill(blocks, locks.total, place));
        Ok(view)
    }

    /// The lines of each row, its queue below it; no more than there is place for.
    async fn blocks(
        &self,
        rows: &[LockRow],
        lines: impl Iterator<Item = String>,
        place: usize,
    ) -> Result<Vec<Vec<String>>, Error> {
        let (mut blocks, mut used, mut last) = (Vec::new(), 0, None);
        for (row, line) in rows.iter().zip(lines) {
            if used >= place {
                break;
            }
            // A lock that is shared has a row for each holder, and one queue.
            let is_first = last != Some(&row.name);
            last = Some(&row.name);
            let mut block = vec![line];
            if is_first && row.waiters > 0 {
                block.extend(queue(&self.connection, row).await?);
            }
            used += block.len();
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// What is said where no lock is shown.
    fn nothing(&self) -> String {
        // The head counts all locks, also those that this user may not see.
        let seen = if self.server.user.is_some() { " that you may see" } else { "" };
        match self.prefix {
            "" => format!("nobody holds a lock{seen}"),
            prefix => format!("no lock{seen} starts with {}", written(prefix)),
        }
    }
}

/// Which part of the list is shown.
#[derive(Default)]
struct Window {
    first: usize,
    shown: usize,
    behind: usize,
}

impl Window {
    /// Whether the key moves it.
    fn scroll(&mut self, key: KeyPress) -> bool {
        let page = self.shown.max(1);
        let first = match key {
            KeyPress::Byte(b'j') | KeyPress::Down => self.first + self.behind.min(1),
            KeyPress::Byte(b' ') | KeyPress::PageDown => self.first + self.behind.min(page),
            KeyPress::Byte(b'k') | KeyPress::Up => self.first.saturating_sub(1),
            KeyPress::PageUp => self.first.saturating_sub(page),
            KeyPress::Byte(_) => return false,
        };
        first != std::mem::replace(&mut self.first, first)
    }

    /// The first row that is shown of so many.
    fn begin(&mut self, rows: usize) -> usize {
        if self.first >= rows {
            self.first = rows.saturating_sub(self.shown.max(1));
        }
        self.first
    }

    fn before(&self) -> String {
        if self.first == 0 { String::new() } else { format!("{} before these", self.first) }
    }

    /// As much as there is place for, and how many more there are of all.
    fn fill(&mut self, blocks: Vec<Vec<String>>, total: usize, place: usize) -> Vec<String> {
        let rest = total.saturating_sub(self.first);
        let is_all = blocks.len() == rest && blocks.iter().map(Vec::len).sum::<usize>() <= place;
        let free = if is_all { place } else { place.saturating_sub(1) };
        let mut lines = Vec::new();
        self.shown = 0;
        for block in blocks {
            if lines.len() < free {
                self.shown += 1;
                lines.extend(block);
            }
        }
        self.behind = rest.saturating_sub(self.shown);
        if self.behind > 0 {
            lines.truncate(free);
            lines.push(format!("and {} more", self.behind));
        }
        lines
    }
}

/// Grants in a second.
#[derive(Default)]
struct Rate {
    before: Option<(Instant, u64)>,
    rate: f64,
}

impl Rate {
    fn now(&mut self, stats: &Stats) -> f64 {
        let now = (Instant::now(), stats.grants);
        let passed = self.before.map(|before| (now.0 - before.0, now.1.saturating_sub(before.1)));
        match passed {
            // Between two keys there is too little time for a rate.
            Some((time, _)) if time < REFRESH / 2 => return self.rate,
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
fn head(stats: &Stats, host: &str, rate: f64, width: usize) -> String {
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
        ("   (j k scroll, q quits)".to_owned(), 4),
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

/// The first of a queue.
async fn queue(connection: &Connection, lock: &LockRow) -> Result<Vec<String>, Error> {
    let waiters = match connection.waiters(&lock.name).await {
        // This user may see the lock, but not its queue.
        Err(Error::Refused(_)) => return Ok(Vec::new()),
        waiters => waiters?,
    };
    let line = |(at, row): (usize, &WaiterRow)| {
        let WaiterRow { session, mode, waited, .. } = row;
        let peer = row.peer.as_deref().map_or_else(|| "-".to_owned(), written);
        format!("  {}: session {session} at {peer}, {mode}, waits for {}", nth(at + 1), age(*waited))
    };
    let mut lines: Vec<_> = waiters.rows.iter().take(OF_A_QUEUE).enumerate().map(line).collect();
    if waiters.total > OF_A_QUEUE {
        lines.push(format!("  and {} more", waiters.total - OF_A_QUEUE));
    }
    Ok(lines)
}
