//! Lists for people, or as JSON for programs.

use std::io::Write;

use getlockd_client::{List, LockRow, SessionRow, Symbol, WhyRow, written};

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    json::{self, Object},
    say,
    table::{self, Column, Kind, age, text},
};

const fn column<T>(head: &'static str, kind: Kind, cell: fn(&T) -> Option<String>) -> Column<T> {
    Column { head, kind, cell }
}

pub(crate) const LOCKS: [Column<LockRow>; 11] = [
    column("NAME", Kind::Text, |row| text(Some(&row.name))),
    column("MODE", Kind::Text, |row| Some(row.mode.to_string())),
    column("SESSION", Kind::Number, |row| Some(row.session.to_string())),
    column("CLIENT", Kind::Rare, |row| text(row.client.as_ref())),
    column("USER", Kind::Rare, |row| text(row.user.as_ref())),
    column("PEER", Kind::Text, |row| text(row.peer.as_ref())),
    column("HELD", Kind::Age, |row| Some(age(row.held))),
    column("WAITERS", Kind::Number, |row| Some(row.waiters.to_string())),
    column("FENCING TOKEN", Kind::Number, |row| Some(row.fencing_token.to_string())),
    column("EXPIRES", Kind::RareAge, |row| row.expires.map(age)),
    column("NOTE", Kind::Rare, |row| text(row.note.as_ref())),
];

const WHY: [Column<WhyRow>; 7] = [
    column("NAME", Kind::Text, |row| text(Some(&row.lock.name))),
    column("MODE", Kind::Text, |row| Some(row.lock.mode.to_string())),
    column("SESSION", Kind::Number, |row| Some(row.lock.session.to_string())),
    column("PEER", Kind::Text, |row| text(row.lock.peer.as_ref())),
    column("HELD", Kind::Age, |row| Some(age(row.lock.held))),
    column("FENCING TOKEN", Kind::Number, |row| Some(row.lock.fencing_token.to_string())),
    column("WAITS FOR", Kind::Text, |row| text(row.waits_for.as_ref())),
];

const SESSIONS: [Column<SessionRow>; 11] = [
    column("SESSION", Kind::Number, |row| Some(row.session.to_string())),
    column("WIRE", Kind::Text, |row| text(row.wire.as_ref())),
    column("CLIENT", Kind::Rare, |row| text(row.client.as_ref())),
    column("USER", Kind::Rare, |row| text(row.user.as_ref())),
    column("PEER", Kind::Text, |row| text(row.peer.as_ref())),
    column("AGE", Kind::Age, |row| Some(age(row.age))),
    column("HOLDS", Kind::Number, |row| Some(row.holds.to_string())),
    column("WAITS FOR", Kind::Text, |row| text(row.waits_for.as_ref())),
    column("MEMORY", Kind::Rare, |row| row.memory.filter(|bytes| *bytes > 0).map(|bytes| bytes.to_string())),
    column("EXPIRES", Kind::RareAge, |row| row.expires.map(age)),
    column("NOTE", Kind::Rare, |row| text(row.note.as_ref())),
];

pub(crate) async fn ls(server: &ServerArgs, prefix: &str, json: bool) -> Result<u8, Failure> {
    show("locks", &LOCKS, &server.connect().await?.locks(prefix).await?, json)
}

pub(crate) async fn why(server: &ServerArgs, name: &str, json: bool) -> Result<u8, Failure> {
    let why = server.connect().await?.why(name).await?;
    if why.rows.is_empty() && !json {
        say(&format_args!("nobody holds {}", written(name)));
        return Ok(exit::OK);
    }
    show("steps", &WHY, &why, json)
}

pub(crate) async fn sessions(server: &ServerArgs, json: bool) -> Result<u8, Failure> {
    show("sessions", &SESSIONS, &server.connect().await?.sessions().await?, json)
}

pub(crate) async fn kill(server: &ServerArgs, session: u32, cancel_wait: bool) -> Result<u8, Failure> {
    let connection = server.connect().await?;
    if cancel_wait && !connection.cancel_wait(session).await? {
        say(&format_args!("session {session} waits for nothing"));
        return Ok(exit::NOT_GRANTED);
    }
    if !cancel_wait {
        connection.kill(session).await.map_err(|error| match error.symbol() {
            Some(Symbol::NoSession) => {
                Failure::not_there(format_args!("there is no session {session}; getlock sessions lists them"))
            }
            _ => error.into(),
        })?;
    }
    Ok(exit::OK)
}

fn show<T: Object>(what: &str, columns: &[Column<T>], list: &List<T>, json: bool) -> Result<u8, Failure> {
    let lines = if json { vec![json::document(what, list)] } else { table::lines(columns, &list.rows) };
    // Colours only on a terminal.
    let mut out = anstream::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    exit::when_written(written)?;
    if list.total > list.rows.len() {
        say(&format_args!("these are {} of {}", list.rows.len(), list.total));
    }
    Ok(exit::OK)
}
