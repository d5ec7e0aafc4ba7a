//! What is shown while a lock is waited for.

use std::{
    convert::Infallible,
    io::{IsTerminal, Write, stderr},
    pin::pin,
    time::Duration,
};

use getlockd_client::{Connection, Error, List, LockRow, visible, written};
use getlockd_proto::name;
use tokio::time::{Instant, sleep};
use unicode_width::UnicodeWidthStr;

use crate::{
    args::ServerArgs,
    say,
    screen::{cut, shortened, width},
    signals::is_in_background,
    table::age,
};

/// A shorter wait is not worth a word on a terminal.
const PATIENCE: Duration = Duration::from_millis(300);
/// Elsewhere one line in the log of a job shows why it is stalled.
const PATIENCE_OF_A_LOG: Duration = Duration::from_secs(5);
const REFRESH: Duration = Duration::from_secs(1);
/// A name is shortened to no less than this, before anything else is left out.
const SHORTEST_NAME: usize = 12;
/// So is what the holder calls itself.
const SHORTEST_CLIENT: usize = 12;

/// A wait of a session that is to be shown.
pub(crate) struct ShownWait<'a> {
    pub server: &'a ServerArgs,
    pub session: u32,
    /// The lock; none if the server is to be asked for it.
    pub lock: Option<&'a str>,
    /// Also where stderr is no terminal: from the beginning, and whatever changes.
    pub verbose: bool,
}

impl ShownWait<'_> {
    /// Waits, and meanwhile shows who holds the lock.
    ///
    /// Cancel-safe if `wait` is.
    pub(crate) async fn until<T>(&self, wait: impl Future<Output = T>) -> T {
        let on_terminal = stderr().is_terminal();
        let patience = if on_terminal || self.verbose { PATIENCE } else { PATIENCE_OF_A_LOG };
        let mut wait = pin!(wait);
        tokio::select! {
            taken = &mut wait => return taken,
            () = sleep(patience) => {}
        }
        let mut display = Display { on_terminal, verbose: self.verbose, last: None };
        let taken = tokio::select! {
            taken = &mut wait => taken,
            never = self.refresh(patience, &mut display) => match never {},
        };
        display.clear();
        taken
    }

    /// It asks on a connection of its own: on the other one the request for the lock holds up all that comes behind it.
    ///
    /// Cancel-safe.
    async fn refresh(&self, waited: Duration, display: &mut Display) -> Infallible {
        let began = Instant::now();
        loop {
            // Without this connection nothing is shown, and the wait goes on.
            if let Ok(watcher) = self.server.connect().await {
                while let Ok(seen) = self.look(&watcher).await {
                    if let Some(seen) = seen {
                        display.show(&seen, began.elapsed() + waited);
                    }
                    sleep(REFRESH).await;
                }
            }
            sleep(REFRESH).await;
        }
    }

    async fn look(&self, connection: &Connection) -> Result<Option<Seen>, Error> {
        let lock = if let Some(lock) = self.lock {
            Some(name::folded(lock)?)
        } else {
            let sessions = connection.sessions().await?.rows.into_iter();
            sessions.filter(|row| row.session == self.session).find_map(|row| row.waits_for)
        };
        let Some(lock) = lock else { return Ok(None) };
        let (holders, waiters) =
            tokio::try_join!(SeenHolders::look(connection, &lock), connection.waiters(&lock))?;
        let List { rows, total: queue, .. } = waiters;
        let place = rows.iter().position(|row| row.session == self.session).map(|before| before + 1);
        Ok(Some(Seen { lock, holders, place, queue }))
    }
}

/// Who holds a lock: the first holder, and how many others there are.
pub(crate) struct SeenHolders {
    first: Option<SeenHolder>,
    others: usize,
}

struct SeenHolder {
    session: u32,
    peer: String,
    /// What it calls itself, or whom it logged in as.
    who: Option<String>,
    note: Option<String>,
    held: Duration,
}

impl From<LockRow> for SeenHolder {
    fn from(row: LockRow) -> Self {
        let LockRow { session, peer, client, user, note, held, .. } = row;
        Self { session, peer: peer.unwrap_or_else(|| "?".to_owned()), who: client.or(user), note, held }
    }
}

impl SeenHolders {
    /// Cancel-safe.
    pub(crate) async fn look(connection: &Connection, name: &str) -> Result<Self, Error> {
        let folded: String = name::folded(name)?;
        let mut rows = connection.locks(name).await?.rows.into_iter().filter(|row| row.name == folded);
        Ok(Self { first: rows.next().map(SeenHolder::from), others: rows.count() })
    }

    /// `held 0.8s by ana at 127.0.0.1:54156 (session 7)`, in as much detail as asked for, and with how long.
    pub(crate) fn text(&self, detail: Detail, with_time: bool) -> String {
        self.text_within(detail, with_time, usize::MAX)
    }

    /// The same with at most so many columns of who it is.
    fn text_within(&self, detail: Detail, with_time: bool, columns: usize) -> String {
        let Some(SeenHolder { session, peer, who, note, held }) = &self.first else {
            return "nobody holds it".to_owned();
        };
        let peer = visible(peer);
        let who = match who.as_deref().map(visible) {
            None => peer,
            Some(who) if detail < Detail::Peer => who,
            Some(who) => format!("{who} at {peer}"),
        };
        let who = shortened(&who, columns);
        let note = note.as_ref().filter(|_| detail == Detail::Note);
        let note = note.map_or_else(String::new, |note| format!(", {}", visible(note)));
        let held = if with_time { format!("{} ", age(*held)) } else { String::new() };
        let others = if self.others == 0 { String::new() } else { format!(" and {} more", self.others) };
        format!("held {held}by {who} (session {session}{note}){others}")
    }
}

/// How much is told of a holder; the least first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Detail {
    Who,
    Peer,
    Note,
}

/// What is between the waiter and the lock.
struct Seen {
    lock: String,
    holders: SeenHolders,
    place: Option<usize>,
    queue: usize,
}

impl Seen {
    /// What is news when it changes.
    fn news(&self) -> String {
        let Self { lock, holders, .. } = self;
        format!("waiting for {}{}; {}", written(lock), self.place(), holders.text(Detail::Note, false))
    }

    fn place(&self) -> String {
        self.place.map_or_else(String::new, |place| format!(", {} of {}", nth(place), self.queue))
    }

    /// A line that fits. The name is shortened first; then the note is left out, and the address. Then the client is
    /// shortened, and last how long the wait has lasted and the place are left out. The session ID stays, which `kill` needs.
    fn line(&self, waited: Duration, width: usize) -> String {
        let name = written(&self.lock);
        let room = width.saturating_sub("waiting for ".len() + SHORTEST_NAME.min(name.width()));
        let (place, waited) = (self.place(), format!("; waited {}", age(waited)));
        let rest = |detail, client, place: &str, waited: &str| {
            format!("{place}; {}{waited}", self.holders.text_within(detail, true, client))
        };
        let whole = [Detail::Note, Detail::Peer, Detail::Who];
        let whole = whole.map(|detail| rest(detail, usize::MAX, &place, &waited));
        let short = [(&*place, &*waited), (&place, ""), ("", "")].map(|(place, waited)| {
            let others = rest(Detail::Who, 1, place, waited).width() - 1;
            rest(Detail::Who, room.saturating_sub(others).max(SHORTEST_CLIENT), place, waited)
        });
        let fits = |rest: &&String| rest.width() <= room;
        let rest = whole.iter().chain(&short).find(fits).unwrap_or(&short[2]);
        let left = width.saturating_sub("waiting for ".len() + rest.width());
        cut(&format!("waiting for {}{rest}", shortened(&name, left.max(SHORTEST_NAME))), width)
    }
}

struct Display {
    on_terminal: bool,
    verbose: bool,
    /// What was shown last, without the times, which alone are no news.
    last: Option<String>,
}

impl Display {
    fn show(&mut self, seen: &Seen, waited: Duration) {
        if self.on_terminal && is_in_background() {
            return;
        }
        let news = seen.news();
        if self.on_terminal {
            // One line, redrawn.
            let _ = write!(stderr(), "\r\x1b[K{}", seen.line(waited, width().saturating_sub(1)));
        } else if self.last.is_none() || (self.verbose && self.last.as_ref() != Some(&news)) {
            say(&news);
        }
        self.last = Some(news);
    }

    fn clear(&self) {
        if self.on_terminal && self.last.is_some() && !is_in_background() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// 1st, 2nd, 3rd, 4th, 11th, 21st.
pub(crate) fn nth(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::tests::strange_texts;

    #[test]
    fn waiting_line_with_strange_texts_fits() {
        for text in strange_texts() {
            let first = SeenHolder {
                session: 7,
                peer: "10.0.0.1:54156".to_owned(),
                who: Some(text.clone()),
                note: Some(text.clone()),
                held: Duration::ZERO,
            };
            let holders = SeenHolders { first: Some(first), others: 0 };
            let seen = Seen { lock: text, holders, place: Some(4), queue: 4 };
            for width in [10, 40, 79, 200] {
                let line = seen.line(Duration::from_secs(2), width);
                assert!(line.width() <= width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn waiting_line_fits_and_the_name_is_shortened_first() {
        let first = SeenHolder {
            session: 7,
            peer: "10.0.0.1:54156".to_owned(),
            who: Some("ana".to_owned()),
            note: Some("weekly".to_owned()),
            held: Duration::from_millis(800),
        };
        let seen = Seen {
            lock: "a-very-long-name-of-a-job:for-one-customer".to_owned(),
            holders: SeenHolders { first: Some(first), others: 0 },
            place: Some(4),
            queue: 4,
        };
        let line = |width| seen.line(Duration::from_secs(2), width);
        let holder = "4th of 4; held 0.8s by ana at 10.0.0.1:54156 (session 7, weekly)";
        assert!(line(200).contains(&format!("for-one-customer, {holder}; waited 2.0s")), "{}", line(200));
        assert!(line(110).contains(&format!("a-very-long-name-o…, {holder}")), "{}", line(110));
        for width in 40..200 {
            assert!(line(width).width() <= width, "{width}: {}", line(width));
        }
        assert!(line(79).ends_with("held 0.8s by ana (session 7); waited 2.0s"), "{}", line(79));
    }

    #[test]
    fn waiting_line_keeps_the_session_on_80_columns() {
        let first = SeenHolder {
            session: 1_234_567,
            peer: "10.0.0.1:54156".to_owned(),
            who: Some("deploy@web-3.eu.example.org[4711] migrate-customers.sh".to_owned()),
            note: None,
            held: Duration::from_mins(65),
        };
        let seen = Seen {
            lock: "migrate:billing-of-one-customer".to_owned(),
            holders: SeenHolders { first: Some(first), others: 0 },
            place: Some(12),
            queue: 23,
        };
        let line = |width| seen.line(Duration::from_mins(3), width);
        let shown = "waiting for migrate:bil…, 12th of 23; held 1h05m by deploy@web-… (session 1234567)";
        assert_eq!(line(82), shown);
        assert_eq!(
            line(80),
            "waiting for migrate:bil…; held 1h05m by deploy@web-3.eu.examp… (session 1234567)"
        );
        for width in 72..200 {
            assert!(line(width).contains("(session 1234567)"), "{width}: {}", line(width));
            assert!(line(width).width() <= width, "{width}: {}", line(width));
        }
    }

    #[test]
    fn places_have_ordinal_suffixes() {
        let places = [1, 2, 3, 4, 11, 12, 13, 21, 112, 122].map(nth);
        assert_eq!(places, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "122nd"]);
    }
}
