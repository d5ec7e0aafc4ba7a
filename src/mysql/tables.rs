//! The two tables that can be selected from: who is connected, and which locks there are. They are looked at in one's
//! turn, and copied for that.

use super::{
    record::{Process, Record},
    sql::{Expr, Operator, Table},
    value::Value,
};
use crate::{
    command::{Command, LockRow, Reply, SessionRow, WaiterRow},
    lock::SessionId,
    name::Name,
    session::Session,
};

/// What the list of processes tells of the session that asks.
pub(super) struct Own<'a> {
    pub id: SessionId,
    pub statement: &'a str,
    /// So many characters of each statement.
    pub shown: usize,
}

/// A table as it is now, as far as `condition` may want it.
pub(super) fn copy(
    table: Table,
    condition: Option<&Expr>,
    own: &Own<'_>,
    session: &mut Session,
) -> Vec<Record> {
    match table {
        Table::Processlist => processes(own, session),
        Table::MetadataLocks => locks(condition.and_then(wanted_name).as_ref(), session),
    }
}

fn processes(own: &Own<'_>, session: &mut Session) -> Vec<Record> {
    let Ok(Reply::Sessions(sessions)) = session.start(Command::Sessions).at_once() else { return Vec::new() };
    sessions.rows.into_iter().map(|row| Record::Process(Box::new(process(row, own)))).collect()
}

fn process(row: SessionRow, own: &Own<'_>) -> Process {
    let SessionRow { session: id, origin, waits_for, profile, .. } = row;
    let user = profile.user().or(profile.client()).unwrap_or(origin.wire).to_owned();
    let cut = |statement: &str| Some(statement.chars().take(own.shown).collect());
    let waiting = || cut(profile.statement.as_deref().unwrap_or("GET_LOCK"));
    let (command, state, info) = match (waits_for, id == own.id) {
        (_, true) => ("Query", "executing", cut(own.statement)),
        (Some(_), false) => ("Query", "User lock", waiting()),
        (None, false) if profile.statement.is_some() => ("Query", "User sleep", waiting()),
        (None, false) => ("Sleep", "", None),
    };
    let seconds = if id == own.id { 0 } else { profile.since.elapsed().as_secs() };
    Process { id, user, host: origin.peer, database: profile.database, command, seconds, state, info }
}

fn locks(name: Option<&Name>, session: &mut Session) -> Vec<Record> {
    let asked = session.start(Command::Locks(name.cloned()));
    let Ok(Reply::Locks(held)) = asked.at_once() else { return Vec::new() };
    let mut records = Vec::new();
    let mut last: Option<Name> = None;
    for LockRow { name: lock, mode, session: owner, waiters, .. } in held.rows {
        if name.is_some_and(|name| *name != lock) {
            continue;
        }
        records.push(Record::Lock { name: lock.clone(), mode, status: "GRANTED", owner });
        if waiters > 0 && last.as_ref() != Some(&lock) {
            records.extend(pending(&lock, session));
            last = Some(lock);
        }
    }
    records
}

fn pending(lock: &Name, session: &mut Session) -> Vec<Record> {
    let asked = session.start(Command::Waiters(lock.clone()));
    let Ok(Reply::Waiters(waiters)) = asked.at_once() else { return Vec::new() };
    let record = |row: &WaiterRow| Record::Lock {
        name: lock.clone(),
        mode: row.mode,
        status: "PENDING",
        owner: row.session,
    };
    waiters.rows.iter().map(record).collect()
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
