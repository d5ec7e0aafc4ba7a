//! What people ask a server for: lists, as tables or as JSON, and the end of a session.

use std::io::Write;

use getlockd_client::{List, Symbol, written};

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    rows::{self, ListRow},
    say, table,
};

pub(crate) async fn ls(server: &ServerArgs, prefix: &str, json: bool) -> Result<u8, Failure> {
    show(&server.connect().await?.locks(prefix).await?, json)
}

pub(crate) async fn why(server: &ServerArgs, name: &str, json: bool) -> Result<u8, Failure> {
    let why = server.connect().await?.why(name).await?;
    if why.rows.is_empty() && !json {
        say(&format_args!("nobody holds {}", written(name)));
        return Ok(exit::OK);
    }
    show(&why, json)
}

pub(crate) async fn history(server: &ServerArgs, name: &str, json: bool) -> Result<u8, Failure> {
    let history = server.connect().await?.history(name).await?;
    if history.rows.is_empty() && !json {
        say(&format_args!("no ended hold of {} is remembered", written(name)));
        return Ok(exit::OK);
    }
    show(&history, json)
}

pub(crate) async fn sessions(server: &ServerArgs, json: bool) -> Result<u8, Failure> {
    show(&server.connect().await?.sessions().await?, json)
}

pub(crate) async fn kill(server: &ServerArgs, session: u32, cancel_wait: bool) -> Result<u8, Failure> {
    let connection = server.connect().await?;
    if cancel_wait && !connection.cancel_wait(session).await? {
        say(&format_args!("session {session} waits for nothing"));
        return Ok(exit::NOT_GRANTED);
    }
    if !cancel_wait {
        connection.kill(session, None).await.map_err(|error| match error.symbol() {
            Some(Symbol::NoSession) => {
                Failure::not_there(format_args!("there is no session {session}; getlock sessions lists them"))
            }
            _ => error.into(),
        })?;
    }
    Ok(exit::OK)
}

fn show<T: ListRow>(list: &List<T>, json: bool) -> Result<u8, Failure> {
    let lines = if json { vec![rows::document(list)] } else { table::lines(T::COLUMNS, &list.rows) };
    // It strips the colours where stdout is no terminal.
    let mut out = anstream::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    exit::when_written(written)?;
    if list.total > list.rows.len() {
        say(&format_args!("these are {} of {}", list.rows.len(), list.total));
    }
    Ok(exit::OK)
}
