//! The tables of the schema `getlockd`: locks, queues and history in the words of the other wires. Pure, but for the
//! query of a session.

use std::time::{Duration, UNIX_EPOCH};

use super::{
    catalog::Source,
    temporal::{Offset, Temporal},
    value::{Decimal, Value},
};
use crate::{
    core::{
        client_info::ClientInfo,
        command::{Answer, LockRow, WaiterRow, WhyRow},
        lock::Page,
        session::{History, HoldersOf, Locks, MAX_LIST_ROWS, Session, Waiters, Why, first_page},
        stats::PastHold,
    },
    name::Name,
};

/// What a row is made from.
#[derive(Clone, Debug)]
pub(super) enum ServerRow {
    Hold(Box<LockRow>),
    Waiter {
        name: Name,
        row: WaiterRow,
    },
    /// A step of the chain that begins with the lock of this name.
    Step {
        name: Name,
        row: Box<WhyRow>,
    },
    /// A hold that ended, and the time zone of the session that asks.
    Ended {
        past: Box<PastHold>,
        zone: Offset,
    },
}

/// Whether a table tells of one lock only, whose name the condition must say.
pub(super) fn needs_name(source: Source) -> bool {
    matches!(source, Source::Waiters | Source::Why)
}

/// The rows of a table: of one lock, or else of all that the user may see.
pub(super) fn read(
    source: Source,
    name: Option<Name>,
    zone: Offset,
    session: &mut Session,
) -> Answer<Vec<ServerRow>> {
    Ok(match (source, name) {
        (Source::Waiters, Some(name)) => {
            let rows = session.query(&Waiters { name: name.clone(), page: first_page() })?.rows;
            rows.into_iter().map(|row| ServerRow::Waiter { name: name.clone(), row }).collect()
        }
        (Source::Why, Some(name)) => {
            let steps = session.query(&Why { name: name.clone() })?.rows;
            let step = |row| ServerRow::Step { name: name.clone(), row: Box::new(row) };
            steps.into_iter().map(step).collect()
        }
        (Source::History, name) => {
            let pasts = session.query(&History { name, page: first_page() })?.rows;
            pasts.into_iter().map(|past| ServerRow::Ended { past: Box::new(past), zone }).collect()
        }
        (_, Some(name)) => holds(session.query(&HoldersOf { name, limit: MAX_LIST_ROWS })?.rows),
        (_, None) => holds(session.query(&Locks { prefix: None, page: Page::first(MAX_LIST_ROWS) })?.rows),
    })
}

fn holds(rows: Vec<LockRow>) -> Vec<ServerRow> {
    rows.into_iter().map(|row| ServerRow::Hold(Box::new(row))).collect()
}

impl ServerRow {
    /// How many bytes it needs beside its place in a record.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Hold(row) => size_of::<LockRow>() + texts(row),
            Self::Waiter { name, .. } => name.as_str().len(),
            Self::Step { name, row } => name.as_str().len() + size_of::<WhyRow>() + texts(&row.lock),
            Self::Ended { past, .. } => {
                size_of::<PastHold>() + past.name.as_str().len() + past.user.len() + past.client.len()
            }
        }
    }

    /// The value of a column.
    pub(super) fn value(&self, column: &str) -> Value {
        match self {
            Self::Hold(row) => of_hold(row, column),
            Self::Waiter { name, row } => of_waiter(name, row, column),
            // The name is that of the condition, which all rows must have: the lock of the step is another column.
            Self::Step { name, .. } if column == "name" => Value::text(name.as_str()),
            Self::Step { row, .. } => match column {
                "lock_name" => Value::text(row.lock.name.as_str()),
                "waits_for" => {
                    row.waits_for.as_ref().map_or(Value::Null, |name| Value::text(name.to_string()))
                }
                _ => of_hold(&row.lock, column),
            },
            Self::Ended { past, zone } => of_past(past, *zone, column),
        }
    }
}

fn texts(row: &LockRow) -> usize {
    let of_client = |info: &ClientInfo| {
        let others = [&info.database, &info.statement].map(|text| text.as_ref().map_or(0, String::len));
        info.login.len()
            + info.client.len()
            + info.note.as_ref().map_or(0, |note| note.len())
            + others.iter().sum::<usize>()
    };
    row.name.as_str().len() + row.client_info.as_ref().map_or(0, of_client)
}

fn of_hold(row: &LockRow, column: &str) -> Value {
    match column {
        "name" => Value::text(row.name.as_str()),
        "mode" => Value::text(row.mode.to_string()),
        "session" => Value::UInt(row.session.0.into()),
        "wire" => row.origin.map_or(Value::Null, |origin| Value::text(origin.wire.as_str())),
        "peer" => row.origin.map_or(Value::Null, |origin| Value::Text(origin.peer.to_string())),
        "client" => row.client().map_or(Value::Null, Value::text),
        "user" => row.user().map_or(Value::Null, Value::text),
        "note" => row.note().map_or(Value::Null, Value::text),
        "fencing_token" => Value::UInt(row.fencing_token),
        "held" => seconds(row.held),
        "waiters" => Value::UInt(row.waiters as u64),
        _ => Value::Null,
    }
}

fn of_waiter(name: &Name, row: &WaiterRow, column: &str) -> Value {
    match column {
        "name" => Value::text(name.as_str()),
        "session" => Value::UInt(row.session.0.into()),
        "mode" => Value::text(row.mode.to_string()),
        "peer" => row.peer.map_or(Value::Null, |peer| Value::Text(peer.to_string())),
        "waited" => seconds(row.waited),
        _ => Value::Null,
    }
}

fn of_past(past: &PastHold, zone: Offset, column: &str) -> Value {
    let said = |text: &str| if text.is_empty() { Value::Null } else { Value::text(text) };
    match column {
        "name" => Value::text(past.name.as_str()),
        "mode" => Value::text(past.mode.to_string()),
        "session" => Value::UInt(past.session.0.into()),
        "wire" => Value::text(past.origin.wire.as_str()),
        "peer" => Value::Text(past.origin.peer.to_string()),
        "client" => said(&past.client),
        "user" => said(&past.user),
        "fencing_token" => Value::UInt(past.token),
        "acquired_at" => {
            // To the millisecond, as it is shown.
            let unix = past.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let moment = zone.local(i64::try_from(unix).unwrap_or(0).saturating_mul(1_000));
            Value::Temporal(Temporal::DateTime { moment, digits: 3 })
        }
        "held" => seconds(past.held),
        "cause" => Value::text(past.cause.as_str()),
        _ => Value::Null,
    }
}

/// Seconds with three digits, as on the line wire.
fn seconds(time: Duration) -> Value {
    let millis = i128::try_from(time.as_millis()).unwrap_or(i128::MAX);
    Value::Decimal(Decimal { digits: millis, scale: 3 })
}
