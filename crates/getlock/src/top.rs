//! `getlock top`: locks and their queues, as they change.

mod blocker;
mod head;
mod window;

use std::{
    collections::HashMap,
    io::{IsTerminal, stdin, stdout},
    time::Duration,
};

use getlockd_client::{Connection, Error, LockRow, SessionRow, WaiterRow, visible, written};
use getlockd_proto::name::lower;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    args::{ServerArgs, SortBy},
    commands::{EndedSession, no_lock},
    exit::{self, Failure},
    rows::ListRow,
    screen::{KeyPress, Screen, cut, keys, size},
    signals::Signals,
    table::{age, lines_within},
    waiting::nth,
};
use blocker::head_blocker;
use head::{Rate, head};
use window::Window;

const REFRESH: Duration = Duration::from_secs(1);
/// Of each queue so many are shown.
const OF_A_QUEUE: usize = 3;
/// So many lines are directly above the locks: the status, and the head of the table.
const HEAD: usize = 2;
const CONTROL_C: u8 = 3;
const BACKSPACE: [u8; 2] = [8, 127];
/// In front of a row; the selected one has another.
const MARGIN: &str = "  ";
const SELECTED: &str = "> ";

const KEYS: [&str; 12] = [
    "j, k, arrows   select the next lock, the previous one",
    "space, pages   the next page, the previous one",
    "w              sort by waiters, most first",
    "h              sort by how long the lock has been held, longest first",
    "n              sort by name",
    "/              find: a part of a name, client, user, note or address; an empty one shows all",
    "K              end the session that holds the selected lock, after a question",
    "?              these keys",
    "q              quit",
    "",
    "Below a lock: the lock that its holder is itself waiting for, and the first of its queue.",
    "Any key goes back.",
];

pub(crate) async fn top(server: &ServerArgs, prefix: &str) -> Result<u8, Failure> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Failure::usage("top needs a terminal; without one, use: getlock ls"));
    }
    let connection = server.connect().await?;
    let mut signals = Signals::new().map_err(Failure::system)?;
    let mut resized = signal(SignalKind::window_change()).map_err(Failure::system)?;
    let mut tick = interval(REFRESH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let _screen = Screen::new()?;
    let mut keys = keys();
    let mut top = Top {
        server,
        prefix,
        connection,
        rate: Rate::default(),
        window: Window::default(),
        sort: SortBy::Waiters,
        find: String::new(),
        dialog: Dialog::None,
        selected: None,
    };
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = resized.recv() => {}
            _ = signals.next() => return Ok(exit::OK),
            key = keys.recv() => match key {
                None | Some(KeyPress::Byte(CONTROL_C)) => return Ok(exit::OK),
                Some(key) => match top.key(key).await? {
                    KeyEffect::Quit => return Ok(exit::OK),
                    KeyEffect::Redraw => {}
                    KeyEffect::Nothing => continue,
                },
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
    sort: SortBy,
    /// What is looked for, in lower case.
    find: String,
    dialog: Dialog,
    /// The selected row as it was drawn last, its name and holder: it stays selected while others come and go.
    selected: Option<(String, u32)>,
}

/// What the keys are for.
enum Dialog {
    None,
    Help,
    /// What has been typed of what to look for.
    Find(Vec<u8>),
    Kill(EndedSession),
    /// What came of it.
    Told(String),
}

enum KeyEffect {
    Quit,
    Redraw,
    Nothing,
}

impl Top<'_> {
    async fn key(&mut self, key: KeyPress) -> Result<KeyEffect, Error> {
        match std::mem::replace(&mut self.dialog, Dialog::None) {
            Dialog::None | Dialog::Told(_) => return self.command(key).await,
            Dialog::Help => {}
            Dialog::Find(typed) => self.typed(typed, key),
            Dialog::Kill(ended) if key == KeyPress::Byte(b'y') => {
                self.dialog = Dialog::Told(match self.connection.kill(ended.session(), None).await {
                    Ok(()) => ended.told(&self.connection).await,
                    Err(Error::Refused(refused)) => refused.to_string(),
                    Err(error) => return Err(error),
                });
            }
            Dialog::Kill(_) => {}
        }
        Ok(KeyEffect::Redraw)
    }

    fn typed(&mut self, mut typed: Vec<u8>, key: KeyPress) {
        match key {
            KeyPress::Byte(b'\n' | b'\r') => {
                self.find = lower(&String::from_utf8_lossy(&typed));
                self.go_to_the_top();
                return;
            }
            KeyPress::Byte(byte) if BACKSPACE.contains(&byte) => drop(typed.pop()),
            KeyPress::Byte(byte) => typed.push(byte),
            _ => {}
        }
        self.dialog = Dialog::Find(typed);
    }

    async fn command(&mut self, key: KeyPress) -> Result<KeyEffect, Error> {
        match key {
            KeyPress::Byte(b'q' | b'Q') => return Ok(KeyEffect::Quit),
            KeyPress::Byte(b'w') => self.sort_by(SortBy::Waiters),
            KeyPress::Byte(b'h') => self.sort_by(SortBy::Held),
            KeyPress::Byte(b'n') => self.sort_by(SortBy::Name),
            KeyPress::Byte(b'/') => self.dialog = Dialog::Find(Vec::new()),
            KeyPress::Byte(b'?') => self.dialog = Dialog::Help,
            KeyPress::Byte(b'K') => {
                if let Some((_, session)) = self.selected {
                    self.dialog = Dialog::Kill(EndedSession::look(&self.connection, session).await);
                }
            }
            key if self.window.select(key) => self.selected = None,
            _ => return Ok(KeyEffect::Nothing),
        }
        Ok(KeyEffect::Redraw)
    }

    fn sort_by(&mut self, sort: SortBy) {
        self.sort = sort;
        self.go_to_the_top();
    }

    fn go_to_the_top(&mut self) {
        (self.window, self.selected) = (Window::default(), None);
    }

    async fn view(&mut self) -> Result<Vec<String>, Error> {
        let (stats, locks, sessions) = tokio::try_join!(
            self.connection.stats(),
            self.connection.locks(self.prefix),
            self.connection.sessions()
        )?;
        let (width, height) = size();
        let rate = self.rate.now(&stats);
        let mut view = vec![head(&stats, &self.server.address(), rate, width)];
        if matches!(self.dialog, Dialog::Help) {
            view.push(String::new());
            view.extend(KEYS.map(str::to_owned));
            return Ok(view);
        }
        let sessions = sessions.rows.into_iter().map(|row| (row.session, row)).collect();
        view.extend(head_blocker(&locks.rows, &sessions).map(|line| cut(&line, width)));
        let mut rows: Vec<_> = locks.rows.into_iter().filter(|row| self.is_found(row)).collect();
        // By waiters at first: long queues are what an operator looks for.
        self.sort.sort(&mut rows);
        let place_of = |(name, session): &(String, u32)| {
            rows.iter().position(|row| row.session == *session && row.name == *name)
        };
        if let Some(at) = self.selected.as_ref().and_then(place_of) {
            self.window.select_at(at);
        }
        let total = if self.find.is_empty() { locks.total } else { rows.len() };
        let place = height.saturating_sub(view.len() + HEAD);
        let lines = loop {
            let lines = self.rows(&rows, &sessions, total, (width, place)).await?;
            if self.window.follow() {
                break lines;
            }
        };
        self.selected = rows.get(self.window.selected()).map(|row| (row.name.clone(), row.session));
        view.push(self.status());
        view.extend(lines);
        Ok(view)
    }

    fn is_found(&self, row: &LockRow) -> bool {
        let texts =
            [Some(&row.name), row.client.as_ref(), row.user.as_ref(), row.note.as_ref(), row.peer.as_ref()];
        self.find.is_empty()
            || texts.into_iter().flatten().any(|text| lower::<String>(text).contains(&self.find))
    }

    fn status(&self) -> String {
        match &self.dialog {
            Dialog::Find(typed) => format!("find: {}_", visible(&String::from_utf8_lossy(typed))),
            Dialog::Kill(ended) => format!("end {}? y ends it, any other key does not", ended.holds()),
            Dialog::Told(told) => visible(told),
            _ if self.find.is_empty() => self.window.before(),
            _ => {
                let before = self.window.before();
                let gap = if before.is_empty() { "" } else { "; " };
                format!("{before}{gap}only with {} (/ and Enter: all)", written(&self.find))
            }
        }
    }

    /// The table from the first row of the window on, the queues below their locks.
    async fn rows(
        &mut self,
        rows: &[LockRow],
        sessions: &HashMap<u32, SessionRow>,
        total: usize,
        (width, place): (usize, usize),
    ) -> Result<Vec<String>, Error> {
        let begin = self.window.begin(rows.len());
        let rows = rows.iter().skip(begin).take(place).cloned().collect::<Vec<_>>();
        let mut table = lines_within(width.saturating_sub(MARGIN.len()), LockRow::COLUMNS, &rows).into_iter();
        let mut view: Vec<_> = table.next().map(|head| format!("{MARGIN}{head}")).into_iter().collect();
        if rows.is_empty() {
            view.push(self.nothing());
        }
        let (mut blocks, mut used, mut last) = (Vec::new(), 0, None);
        for ((at, row), line) in rows.iter().enumerate().zip(table) {
            if used >= place {
                break;
            }
            // A lock that is shared has a row for each holder, and one queue.
            let is_first = last != Some(&row.name);
            last = Some(&row.name);
            let margin = if begin + at == self.window.selected() { SELECTED } else { MARGIN };
            let mut block = vec![format!("{margin}{line}")];
            let waits_for = sessions.get(&row.session).and_then(|session| session.waits_for.as_ref());
            block.extend(waits_for.map(|lock| {
                format!("{MARGIN}  session {} is itself waiting for {}", row.session, written(lock))
            }));
            if is_first && row.waiters > 0 {
                block.extend(queue(&self.connection, row).await?);
            }
            used += block.len();
            blocks.push(block);
        }
        view.extend(self.window.fill(blocks, total, place));
        Ok(view)
    }

    /// What is said where no lock is shown.
    fn nothing(&self) -> String {
        if self.find.is_empty() {
            return no_lock(self.server, self.prefix);
        }
        format!("no lock{} has {} in it", self.server.seen(), written(&self.find))
    }
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
        let who = row.client.as_ref().or(row.user.as_ref());
        let who = who.map_or_else(String::new, |who| format!(" ({})", visible(who)));
        format!(
            "{MARGIN}  {}: session {session}{who} at {peer}, {mode}, waits for {}",
            nth(at + 1),
            age(*waited)
        )
    };
    let mut lines: Vec<_> = waiters.rows.iter().take(OF_A_QUEUE).enumerate().map(line).collect();
    if waiters.total > OF_A_QUEUE {
        lines.push(format!("{MARGIN}  and {} more", waiters.total - OF_A_QUEUE));
    }
    Ok(lines)
}
