//! The two tables that can be selected from: who is connected, and which locks there are.

use super::{
    result::Outcome,
    sql::{Expr, Operator, Table},
    value::Value,
};
use crate::{
    command::{Command, LockRow, Reply, SessionRow, WaiterRow},
    lock::{Mode, SessionId},
    name::Name,
    session::Session,
};

/// A row: pairs of column and value.
pub(super) type Row = Vec<(&'static str, Value)>;

/// The rows of a table, as far as `condition` may want them.
pub(super) fn rows(table: Table, condition: Option<&Expr>, own: &Own<'_>, session: &mut Session) -> Vec<Row> {
    match table {
        Table::Processlist => processes(own, session),
        Table::MetadataLocks => locks(condition.and_then(wanted_name).as_ref(), session),
    }
}

/// A row of the table without values, for the types of its columns.
pub(super) fn blank(table: Table) -> Row {
    match table {
        Table::Processlist => process_row(0, "", "", None, "", 0, "", None),
        Table::MetadataLocks => lock_row("", Mode::Shared, "", SessionId(0)),
    }
}

/// What the list of processes tells of the session that asks.
pub(super) struct Own<'a> {
    pub id: SessionId,
    pub statement: &'a str,
}

fn processes(own: &Own<'_>, session: &mut Session) -> Vec<Row> {
    let Ok(Reply::Sessions(sessions)) = session.start(Command::Sessions).at_once() else { return Vec::new() };
    sessions.rows.iter().map(|row| process(row, own)).collect()
}

fn process(row: &SessionRow, own: &Own<'_>) -> Row {
    let profile = &row.profile;
    let user = profile.user().or(profile.client()).unwrap_or(row.origin.wire);
    let (command, state, info) = match (&row.waits_for, row.session == own.id) {
        (_, true) => ("Query", "executing", Some(own.statement)),
        (Some(_), false) => ("Query", "User lock", Some(profile.statement.as_deref().unwrap_or("GET_LOCK"))),
        (None, false) if profile.statement.is_some() => ("Query", "User sleep", profile.statement.as_deref()),
        (None, false) => ("Sleep", "", None),
    };
    let seconds = if row.session == own.id { 0 } else { profile.since.elapsed().as_secs() };
    let host = row.origin.peer.to_string();
    process_row(row.session.0, user, &host, profile.database.as_deref(), command, seconds, state, info)
}

#[expect(clippy::too_many_arguments, reason = "they are the columns")]
fn process_row(
    id: u32,
    user: &str,
    host: &str,
    database: Option<&str>,
    command: &str,
    seconds: u64,
    state: &str,
    info: Option<&str>,
) -> Row {
    let maybe = |text: Option<&str>| text.map_or(Value::Null, Value::text);
    vec![
        ("ID", Value::UInt(id.into())),
        ("USER", Value::text(user)),
        ("HOST", Value::text(host)),
        ("DB", maybe(database)),
        ("COMMAND", Value::text(command)),
        ("TIME", Value::Int(i64::try_from(seconds).unwrap_or(i64::MAX))),
        ("STATE", Value::text(state)),
        ("INFO", maybe(info)),
    ]
}

/// `SHOW [FULL] PROCESSLIST`
pub(super) fn processlist(full: bool, own: &Own<'_>, session: &mut Session) -> Outcome {
    let names = ["Id", "User", "Host", "db", "Command", "Time", "State", "Info"];
    let shorten = |value: Value| match value {
        Value::Text(text) if !full => Value::Text(text.chars().take(100).collect()),
        other => other,
    };
    let values = |row: Row| row.into_iter().map(|(_, value)| shorten(value)).collect();
    let rows = processes(own, session).into_iter().map(values).collect();
    super::show::result(&names, &blank(Table::Processlist), rows)
}

fn locks(name: Option<&Name>, session: &mut Session) -> Vec<Row> {
    let asked = session.start(Command::Locks(name.cloned()));
    let Ok(Reply::Locks(held)) = asked.at_once() else { return Vec::new() };
    let mut rows = Vec::new();
    let mut last: Option<Name> = None;
    for LockRow { name: lock, mode, session: holder, waiters, .. } in held.rows {
        if name.is_some_and(|name| *name != lock) {
            continue;
        }
        rows.push(lock_row(lock.as_str(), mode, "GRANTED", holder));
        if waiters > 0 && last.as_ref() != Some(&lock) {
            rows.extend(pending(&lock, session));
            last = Some(lock);
        }
    }
    rows
}

fn pending(lock: &Name, session: &mut Session) -> Vec<Row> {
    let asked = session.start(Command::Waiters(lock.clone()));
    let Ok(Reply::Waiters(waiters)) = asked.at_once() else { return Vec::new() };
    let row = |row: &WaiterRow| lock_row(lock.as_str(), row.mode, "PENDING", row.session);
    waiters.rows.iter().map(row).collect()
}

fn lock_row(name: &str, mode: Mode, status: &str, owner: SessionId) -> Row {
    let kind = if mode == Mode::Exclusive { "EXCLUSIVE" } else { "SHARED" };
    vec![
        ("OBJECT_TYPE", Value::text("USER LEVEL LOCK")),
        ("OBJECT_SCHEMA", Value::Null),
        ("OBJECT_NAME", Value::text(name)),
        ("COLUMN_NAME", Value::Null),
        ("OBJECT_INSTANCE_BEGIN", Value::UInt(0)),
        ("LOCK_TYPE", Value::text(kind)),
        ("LOCK_DURATION", Value::text("EXPLICIT")),
        ("LOCK_STATUS", Value::text(status)),
        ("SOURCE", Value::text("")),
        ("OWNER_THREAD_ID", Value::UInt(owner.0.into())),
        ("OWNER_EVENT_ID", Value::Int(0)),
    ]
}

/// The name that all rows must have, if the condition says so: of a million locks only it is
/// looked at.
fn wanted_name(condition: &Expr) -> Option<Name> {
    let Expr::Binary(operator, left, right) = condition else { return None };
    match (operator, &**left, &**right) {
        (Operator::And, left, right) => wanted_name(left).or_else(|| wanted_name(right)),
        (Operator::Equal, Expr::Column(column), Expr::Literal(Value::Text(name)))
        | (Operator::Equal, Expr::Literal(Value::Text(name)), Expr::Column(column))
            if column.eq_ignore_ascii_case("OBJECT_NAME") =>
        {
            Name::new(name).ok()
        }
        _ => None,
    }
}
