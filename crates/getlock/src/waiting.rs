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

use crate::{
    args::{RunArgs, ServerArgs},
    say,
    screen::{cut, width},
    signals::is_in_background,
    table::age,
};

/// A shorter wait is not worth a word.
const PATIENCE: Duration = Duration::from_millis(300);
const REFRESH: Duration = Duration::from_secs(1);

/// Waits, and meanwhile shows who holds the lock: on a terminal, or with `--verbose`.
///
/// Cancel-safe if `wait` is.
pub(crate) async fn shown<T>(
    server: &ServerArgs,
    args: &RunArgs,
    session: u32,
    wait: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let on_terminal = stderr().is_terminal();
    if !on_terminal && !args.verbose {
        return wait.await;
    }
    let mut wait = pin!(wait);
    tokio::select! {
        taken = &mut wait => return taken,
        () = sleep(PATIENCE) => {}
    }
    let mut display = Display { on_terminal, last: None };
    let taken = tokio::select! {
        taken = &mut wait => taken,
        never = refresh(server, args, session, &mut display) => match never {},
    };
    display.clear();
    taken
}

/// It asks on a connection of its own: on the other one the request for the lock holds up all that comes behind it.
async fn refresh(server: &ServerArgs, args: &RunArgs, session: u32, display: &mut Display) -> Infallible {
    let began = Instant::now();
    loop {
        // Without this connection nothing is shown, and the wait goes on.
        if let Ok(watcher) = server.connect().await {
            while let Ok(seen) = look(&watcher, &args.name, session).await {
                display.show(&args.name, &seen, began.elapsed() + PATIENCE);
                sleep(REFRESH).await;
            }
        }
        sleep(REFRESH).await;
    }
}

/// What is between the waiter and the lock.
struct Seen {
    holder: Option<LockRow>,
    others: usize,
    place: Option<usize>,
    queue: usize,
}

async fn look(connection: &Connection, name: &str, session: u32) -> Result<Seen, Error> {
    let folded: String = name::folded(name)?;
    let (locks, waiters) = tokio::try_join!(connection.locks(name), connection.waiters(name))?;
    let mut holders = locks.rows.into_iter().filter(|row| row.name == folded.as_str());
    let holder = holders.next();
    let List { rows, total: queue, .. } = waiters;
    let place = rows.iter().position(|row| row.session == session).map(|before| before + 1);
    Ok(Seen { holder, others: holders.count(), place, queue })
}

struct Display {
    on_terminal: bool,
    /// What was shown last, without the times, which alone are no news.
    last: Option<String>,
}

impl Display {
    fn show(&mut self, name: &str, seen: &Seen, waited: Duration) {
        if self.on_terminal && is_in_background() {
            return;
        }
        let place =
            seen.place.map_or_else(String::new, |place| format!(", {} of {}", nth(place), seen.queue));
        let said = format!("waiting for {}{place}; {}", written(name), holder(seen));
        if self.on_terminal {
            let since = seen.holder.as_ref().map(|row| age(row.held));
            let since = since.map_or_else(String::new, |since| format!(" for {since}"));
            let line = format!("{said}{since}; waited {}", age(waited));
            // One line, redrawn.
            let _ = write!(stderr(), "\r\x1b[K{}", cut(&line, width().saturating_sub(1)));
        } else if self.last.as_deref() != Some(&said) {
            say(&said);
        }
        self.last = Some(said);
    }

    fn clear(&self) {
        if self.on_terminal && self.last.is_some() && !is_in_background() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn holder(seen: &Seen) -> String {
    let Some(row) = &seen.holder else { return "nobody holds it".to_owned() };
    let (session, peer) = (row.session, row.peer.as_deref().map_or_else(|| "?".to_owned(), visible));
    let who = row
        .client
        .as_ref()
        .or(row.user.as_ref())
        .map_or_else(|| peer.clone(), |who| format!("{} at {peer}", written(who)));
    let note = row.note.as_ref().map_or_else(String::new, |note| format!(", {}", written(note)));
    let others = if seen.others == 0 { String::new() } else { format!(" and {} more", seen.others) };
    format!("held by {who} (session {session}{note}){others}")
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

    #[test]
    fn places_have_their_endings() {
        let places = [1, 2, 3, 4, 11, 12, 13, 21, 112, 122].map(nth);
        assert_eq!(places, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "122nd"]);
    }
}
