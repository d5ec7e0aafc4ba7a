//! Lists for people, or as JSON for programs.

use std::io::Write;

use getlockd::client::{List, written};

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    json, say,
    table::{self, Column, Kind},
};

const fn column(head: &'static str, key: &'static str, kind: Kind) -> Column {
    Column { head, key, kind }
}

pub(crate) const LOCKS: [Column; 11] = [
    column("NAME", "name", Kind::Text),
    column("MODE", "mode", Kind::Text),
    column("SESSION", "session", Kind::Number),
    column("CLIENT", "client", Kind::Rare),
    column("USER", "user", Kind::Rare),
    column("PEER", "peer", Kind::Text),
    column("HELD", "held", Kind::Age),
    column("WAITERS", "waiters", Kind::Number),
    column("FENCING TOKEN", "fencing_token", Kind::Number),
    column("EXPIRES", "expires", Kind::RareAge),
    column("NOTE", "note", Kind::Rare),
];

const WHY: [Column; 7] = [
    column("NAME", "name", Kind::Text),
    column("MODE", "mode", Kind::Text),
    column("SESSION", "session", Kind::Number),
    column("PEER", "peer", Kind::Text),
    column("HELD", "held", Kind::Age),
    column("FENCING TOKEN", "fencing_token", Kind::Number),
    column("WAITS FOR", "waits_for", Kind::Text),
];

const SESSIONS: [Column; 10] = [
    column("SESSION", "session", Kind::Number),
    column("WIRE", "wire", Kind::Text),
    column("CLIENT", "client", Kind::Rare),
    column("USER", "user", Kind::Rare),
    column("PEER", "peer", Kind::Text),
    column("AGE", "age", Kind::Age),
    column("HOLDS", "holds", Kind::Number),
    column("WAITS FOR", "waits_for", Kind::Text),
    column("EXPIRES", "expires", Kind::RareAge),
    column("NOTE", "note", Kind::Rare),
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
            Some("NO_SESSION") => {
                Failure::not_there(format_args!("there is no session {session}; getlock sessions lists them"))
            }
            _ => error.into(),
        })?;
    }
    Ok(exit::OK)
}

fn show(what: &str, columns: &[Column], list: &List, json: bool) -> Result<u8, Failure> {
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
