//! What people ask a server for: lists, as tables or as JSON, and the end of a session.

use std::{
    cmp::Reverse,
    io::{IsTerminal, Write, stdout},
};

use getlockd_client::{Connection, Error, List, LockRow, SessionRow, Symbol, visible, written};

use crate::{
    args::{OutputArgs, ServerArgs, SortBy},
    exit::{self, Failure},
    rows::{self, ListRow},
    say,
    screen::width,
    table,
};

pub(crate) async fn ls(
    server: &ServerArgs,
    prefix: &str,
    sort: SortBy,
    output: OutputArgs,
) -> Result<u8, Failure> {
    let mut locks = server.connect().await?.locks(prefix).await?;
    sort.sort(&mut locks.rows);
    if locks.rows.is_empty() && !output.json {
        say(&no_lock(server, prefix));
        return Ok(exit::OK);
    }
    show(&locks, output)
}

/// What is said where no lock is shown.
pub(crate) fn no_lock(server: &ServerArgs, prefix: &str) -> String {
    match prefix {
        "" => format!("no lock{} is held", server.seen()),
        prefix => format!("no lock{} starts with {}", server.seen(), written(prefix)),
    }
}

impl SortBy {
    /// The server sorts by name.
    pub(crate) fn sort(self, locks: &mut [LockRow]) {
        match self {
            Self::Name => locks.sort_by(|a, b| a.name.cmp(&b.name)),
            // Of those that were granted within a millisecond, the first has the smallest token.
            Self::Held => locks.sort_by_key(|row| (Reverse(row.held), row.fencing_token)),
            Self::Waiters => locks.sort_by_key(|row| Reverse(row.waiters)),
        }
    }
}

pub(crate) async fn why(server: &ServerArgs, name: &str, output: OutputArgs) -> Result<u8, Failure> {
    let why = server.connect().await?.why(name).await?;
    if why.rows.is_empty() && !output.json {
        say(&format_args!("{} is not held", written(name)));
        return Ok(exit::OK);
    }
    show(&why, output)
}

/// Only the exit code tells.
pub(crate) async fn is_held(server: &ServerArgs, name: &str) -> Result<u8, Failure> {
    let why = server.connect().await?.why(name).await?;
    Ok(if why.rows.is_empty() { exit::NOT_GRANTED } else { exit::OK })
}

pub(crate) async fn waiters(server: &ServerArgs, name: &str, output: OutputArgs) -> Result<u8, Failure> {
    let waiters = server.connect().await?.waiters(name).await?;
    if waiters.rows.is_empty() && !output.json {
        say(&format_args!("no session waits for {}", written(name)));
        return Ok(exit::OK);
    }
    show(&waiters, output)
}

pub(crate) async fn history(server: &ServerArgs, name: &str, output: OutputArgs) -> Result<u8, Failure> {
    let history = server.connect().await?.history(name).await?;
    if history.rows.is_empty() && !output.json {
        say(&format_args!("no ended hold of {} is remembered", written(name)));
        return Ok(exit::OK);
    }
    show(&history, output)
}

pub(crate) async fn sessions(server: &ServerArgs, output: OutputArgs) -> Result<u8, Failure> {
    let sessions = server.connect().await?.sessions().await?;
    if sessions.rows.is_empty() && !output.json {
        say(&format_args!("there is no session{}", server.seen()));
        return Ok(exit::OK);
    }
    show(&sessions, output)
}

pub(crate) async fn nodes(server: &ServerArgs, output: OutputArgs) -> Result<u8, Failure> {
    let nodes = server.connect().await?.nodes().await?;
    if nodes.rows.is_empty() && !output.json {
        say(&"not a cluster");
        return Ok(exit::OK);
    }
    show(&nodes, output)
}

/// Ends a session, and tells what became of its locks.
pub(crate) async fn kill(server: &ServerArgs, session: u32, reason: Option<&str>) -> Result<u8, Failure> {
    let connection = server.connect().await?;
    let ended = EndedSession::look(&connection, session).await;
    connection.kill(session, reason).await.map_err(|error| no_session(session, error))?;
    say(&ended.told(&connection).await);
    Ok(exit::OK)
}

/// Cancels a wait, and tells which one it was.
pub(crate) async fn cancel_wait(server: &ServerArgs, session: u32) -> Result<u8, Failure> {
    let connection = server.connect().await?;
    let row = row_of(&connection, session).await;
    if !connection.cancel_wait(session).await.map_err(|error| no_session(session, error))? {
        say(&format_args!("session {session} does not wait"));
        return Ok(exit::NOT_GRANTED);
    }
    let who = row.as_ref().map_or_else(String::new, who);
    let lock =
        row.and_then(|row| row.waits_for).map_or_else(String::new, |lock| format!(" for {}", written(&lock)));
    say(&format_args!("cancelled the wait of session {session}{who}{lock}"));
    Ok(exit::OK)
}

fn no_session(session: u32, error: Error) -> Failure {
    match error.symbol() {
        Some(Symbol::NoSession) => {
            Failure::not_there(format_args!("there is no session {session}; getlock sessions lists them"))
        }
        _ => error.into(),
    }
}

/// None also where the user may not see it.
async fn row_of(connection: &Connection, session: u32) -> Option<SessionRow> {
    let sessions = connection.sessions().await.ok()?;
    sessions.rows.into_iter().find(|row| row.session == session)
}

fn who(row: &SessionRow) -> String {
    let who = row.client.as_deref().or(row.user.as_deref()).or(row.peer.as_deref());
    who.map_or_else(String::new, |who| format!(" ({})", visible(who)))
}

/// A session that is about to be killed, as it was before.
pub(crate) struct EndedSession {
    session: u32,
    who: String,
    locks: Vec<String>,
}

impl EndedSession {
    pub(crate) async fn look(connection: &Connection, session: u32) -> Self {
        let row = row_of(connection, session).await;
        let locks = match &row {
            Some(row) if row.holds > 0 => connection.locks("").await.ok(),
            _ => None,
        };
        let locks = locks.into_iter().flat_map(|locks| locks.rows).filter(|lock| lock.session == session);
        Self {
            session,
            who: row.as_ref().map_or_else(String::new, who),
            locks: locks.map(|lock| lock.name).collect(),
        }
    }

    pub(crate) fn session(&self) -> u32 {
        self.session
    }

    /// What is lost with it, for people who are asked whether they mean it.
    pub(crate) fn holds(&self) -> String {
        let Self { session, who, locks } = self;
        let locks = locks.iter().map(|lock| written(lock)).collect::<Vec<_>>();
        match locks.as_slice() {
            [] => format!("session {session}{who}"),
            [first, rest @ ..] if rest.len() > 2 => {
                format!("session {session}{who}, which holds {first} and {} more locks", rest.len())
            }
            locks => format!("session {session}{who}, which holds {}", locks.join(", ")),
        }
    }

    /// After the kill: who it was, and who got its locks.
    pub(crate) async fn told(&self, connection: &Connection) -> String {
        let Self { session, who, locks } = self;
        let mut parts = vec![format!("ended session {session}{who}")];
        for lock in locks.iter().take(3) {
            let now = connection.locks(lock).await.ok();
            let now = now.and_then(|now| now.rows.into_iter().find(|row| row.name == *lock));
            let lock = written(lock);
            parts.push(match now {
                Some(row) => format!("{lock} went to session {}", row.session),
                None => format!("{lock} is free"),
            });
        }
        if locks.len() > 3 {
            parts.push(format!("{} more locks were released", locks.len() - 3));
        }
        parts.join("; ")
    }
}

fn show<T: ListRow>(list: &List<T>, output: OutputArgs) -> Result<u8, Failure> {
    let width = if output.long || !stdout().is_terminal() { usize::MAX } else { width() };
    let lines = if output.json {
        vec![rows::document(list)]
    } else {
        table::lines_within(width, T::COLUMNS, &list.rows)
    };
    // It strips the colours where stdout is no terminal.
    let mut out = anstream::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    exit::when_written(written)?;
    if list.total > list.rows.len() {
        say(&format_args!("these are {} of {}", list.rows.len(), list.total));
    }
    Ok(exit::OK)
}
