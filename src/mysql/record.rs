//! What is copied of the two tables, for conditions and lists that are made once others may look at them again. Pure.

use std::net::SocketAddr;

use super::{sql::Table, value::Value};
use crate::{
    lock::{Mode, SessionId},
    name::Name,
};

/// A row: pairs of column and value.
pub(super) type Row = Vec<(&'static str, Value)>;

/// What a row is made from. A list of 10,000 has room for as many of these, not for as many rows.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Process(Box<Process>),
    Lock { name: Name, mode: Mode, status: &'static str, owner: SessionId },
}

/// A row of `information_schema.processlist`.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub id: SessionId,
    pub user: String,
    pub host: SocketAddr,
    pub database: Option<String>,
    pub command: &'static str,
    pub seconds: u64,
    pub state: &'static str,
    pub info: Option<String>,
}

/// Most names of locks are kept in their place.
const IN_PLACE: usize = 23;

impl Record {
    /// How many bytes it needs.
    pub(super) fn size(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + match self {
                Self::Lock { name, .. } if name.as_str().len() > IN_PLACE => name.as_str().len(),
                Self::Lock { .. } => 0,
                Self::Process(process) => {
                    let Process { user, database, info, .. } = &**process;
                    size_of::<Process>() + user.len() + length(database) + length(info)
                }
            }
    }

    /// The row that it stands for.
    pub(super) fn row(&self) -> Row {
        match self {
            Self::Process(process) => process.row(),
            Self::Lock { name, mode, status, owner } => lock_row(name.as_str(), *mode, status, *owner),
        }
    }
}

/// A row of the table without values, for the types of its columns.
pub(super) fn blank(table: Table) -> Row {
    match table {
        Table::Processlist => process_row(0, "", "", None, "", 0, "", None),
        Table::MetadataLocks => lock_row("", Mode::Shared, "", SessionId(0)),
    }
}

impl Process {
    fn row(&self) -> Row {
        let Self { id, user, host, database, command, seconds, state, info } = self;
        let host = host.to_string();
        process_row(id.0, user, &host, database.as_deref(), command, *seconds, state, info.as_deref())
    }
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
