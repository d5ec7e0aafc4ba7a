//! Lists for people, or as JSON for programs.

use std::io::Write;

use getlockd::client::{List, Row, written};
use serde_json::{Map, Value};

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    say,
    table::{self, Column, Kind},
};

const fn column(head: &'static str, key: &'static str, kind: Kind) -> Column {
    Column { head, key, kind }
}

pub(crate) const LOCKS: [Column; 10] = [
    column("NAME", "name", Kind::Text),
    column("MODE", "mode", Kind::Text),
    column("SESSION", "owner", Kind::Number),
    column("USER", "user", Kind::Rare),
    column("PEER", "peer", Kind::Text),
    column("HELD", "held", Kind::Age),
    column("WAITERS", "waiters", Kind::Number),
    column("TOKEN", "token", Kind::Number),
    column("EXPIRES", "expires", Kind::RareAge),
    column("NOTE", "note", Kind::Rare),
];

const WHY: [Column; 8] = [
    column("NAME", "name", Kind::Text),
    column("MODE", "mode", Kind::Text),
    column("SESSION", "owner", Kind::Number),
    column("USER", "user", Kind::Rare),
    column("PEER", "peer", Kind::Text),
    column("HELD", "held", Kind::Age),
    column("TOKEN", "token", Kind::Number),
    column("WAITS FOR", "waiting_for", Kind::Text),
];

const SESSIONS: [Column; 9] = [
    column("SESSION", "id", Kind::Number),
    column("WIRE", "wire", Kind::Text),
    column("USER", "user", Kind::Rare),
    column("PEER", "peer", Kind::Text),
    column("AGE", "age", Kind::Age),
    column("HOLDS", "holds", Kind::Number),
    column("WAITS FOR", "waiting_for", Kind::Text),
    column("EXPIRES", "expires", Kind::RareAge),
    column("NOTE", "note", Kind::Rare),
];

/// What is a number in JSON. A lock may be called 7.
const NUMBERS: [&str; 9] = ["age", "expires", "held", "holds", "id", "owner", "token", "waited", "waiters"];

pub(crate) async fn ls(server: &ServerArgs, prefix: &str, json: bool) -> Result<u8, Failure> {
    show(&LOCKS, &server.connect().await?.locks(prefix).await?, json)
}

pub(crate) async fn why(server: &ServerArgs, name: &str, json: bool) -> Result<u8, Failure> {
    let why = server.connect().await?.why(name).await?;
    if why.rows.is_empty() && !json {
        say(&format_args!("nobody holds {}", written(name)));
        return Ok(exit::OK);
    }
    show(&WHY, &why, json)
}

pub(crate) async fn sessions(server: &ServerArgs, json: bool) -> Result<u8, Failure> {
    show(&SESSIONS, &server.connect().await?.sessions().await?, json)
}

pub(crate) async fn kill(server: &ServerArgs, id: u32, wait: bool) -> Result<u8, Failure> {
    let connection = server.connect().await?;
    if wait && !connection.kill_query(id).await? {
        say(&format_args!("session {id} waits for nothing"));
        return Ok(exit::NOT_GRANTED);
    }
    if !wait {
        connection.kill(id).await.map_err(|error| match error.symbol() {
            Some("NO_SESSION") => {
                Failure::not_there(format_args!("there is no session {id}; getlock sessions lists them"))
            }
            _ => error.into(),
        })?;
    }
    Ok(exit::OK)
}

fn show(columns: &[Column], list: &List, json: bool) -> Result<u8, Failure> {
    let lines = if json { vec![as_json(&list.rows)] } else { table::lines(columns, &list.rows) };
    // Colours only on a terminal.
    let mut out = anstream::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    exit::when_written(written)?;
    if list.total > list.rows.len() {
        say(&format_args!("these are {} of {}", list.rows.len(), list.total));
    }
    Ok(exit::OK)
}

fn as_json(rows: &[Row]) -> String {
    let object = |row: &Row| {
        let fields = row.fields().map(|(key, text)| (key.to_owned(), value(key, text)));
        Value::Object(fields.collect::<Map<_, _>>())
    };
    format!("{:#}", Value::Array(rows.iter().map(object).collect()))
}

fn value(key: &str, text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    let number = if NUMBERS.contains(&key) { text.parse().ok() } else { None };
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}
