//! What is copied of a table, for conditions and lists that are made once others may look at it again. Pure.

use std::net::SocketAddr;

use super::{
    catalog::{Column, Table},
    value::Value,
    work::{ROW, STEP},
};
use crate::{
    core::lock::{Mode, SessionId},
    name::Name,
};

/// A row: pairs of column and value.
pub(super) type Row = Vec<(&'static Column, Value)>;

/// What a row is made from. A list of 10,000 has room for as many of these, not for as many rows.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub table: &'static Table,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Process(Box<Process>),
    Lock {
        name: Name,
        mode: Mode,
        status: &'static str,
        owner: SessionId,
    },
    /// A row that is there for good.
    Fixed(&'static [Value]),
    /// A row of `information_schema.tables`.
    Table(&'static Table),
    /// A row of `information_schema.columns`: a table, and the place of a column in it.
    Column(&'static Table, usize),
    /// The values of a row, in the order of the base's columns.
    Values(Box<[Value]>),
}

/// A client and what it does.
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
    pub memory: u64,
}

/// What a value of a row costs, beside its text.
const CELL: usize = 16;

/// Most names of locks are kept in their place.
const IN_PLACE: usize = 23;

impl Record {
    /// How many bytes it needs.
    pub(super) fn size(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + match &self.data {
                Data::Lock { name, .. } if name.as_str().len() > IN_PLACE => name.as_str().len(),
                Data::Lock { .. } | Data::Fixed(_) | Data::Table(_) | Data::Column(..) => 0,
                Data::Values(values) => {
                    size_of_val(&**values) + values.iter().map(Value::size).sum::<usize>()
                }
                Data::Process(process) => {
                    let Process { user, database, info, .. } = &**process;
                    size_of::<Process>() + user.len() + length(database) + length(info)
                }
            }
    }

    /// What it costs to make the row, in units of work. Values that are there are only copied, so that a plain SHOW
    /// VARIABLES is no long statement.
    pub(super) fn effort(&self) -> usize {
        let row = if matches!(self.data, Data::Fixed(_) | Data::Values(_)) { STEP } else { ROW };
        row + CELL * self.table.columns.len() + self.size()
    }

    /// The row that it stands for.
    pub(super) fn row(&self) -> Row {
        self.table.columns.iter().map(|column| (column, self.value(column))).collect()
    }

    fn value(&self, column: &Column) -> Value {
        match &self.data {
            Data::Process(process) => process.value(column.key()),
            Data::Lock { name, mode, status, owner } => {
                lock_value(column.key(), name.as_str(), *mode, status, *owner)
            }
            Data::Table(table) => table.told(column.key()),
            Data::Column(table, at) => table.told_of(*at, column.key()),
            Data::Fixed(values) => column.of(values),
            Data::Values(values) => column.of(values),
        }
    }
}

/// A row of the table without values, for the types of its columns.
pub(super) fn blank(table: &'static Table) -> Row {
    table.columns.iter().map(|column| (column, Value::Null)).collect()
}

impl Process {
    /// What it has under the names of `processlist` and `threads`; nothing is known of the rest.
    fn value(&self, column: &str) -> Value {
        let maybe = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::text);
        match column {
            "ID" | "PROCESSLIST_ID" | "THREAD_ID" => Value::UInt(self.id.0.into()),
            "USER" | "PROCESSLIST_USER" => Value::text(&self.user),
            "HOST" => Value::Text(self.host.to_string()),
            "PROCESSLIST_HOST" => Value::Text(self.host.ip().to_string()),
            "DB" | "PROCESSLIST_DB" => maybe(&self.database),
            "COMMAND" | "PROCESSLIST_COMMAND" => Value::text(self.command),
            "TIME" | "PROCESSLIST_TIME" => Value::Int(i64::try_from(self.seconds).unwrap_or(i64::MAX)),
            "STATE" | "PROCESSLIST_STATE" => Value::text(self.state),
            "INFO" | "PROCESSLIST_INFO" => maybe(&self.info),
            "EXECUTION_ENGINE" => Value::text("PRIMARY"),
            "NAME" => Value::text("thread/sql/one_connection"),
            "TYPE" => Value::text("FOREGROUND"),
            "INSTRUMENTED" => Value::text("YES"),
            "HISTORY" | "TELEMETRY_ACTIVE" => Value::text("NO"),
            "CONTROLLED_MEMORY" | "TOTAL_MEMORY" => Value::UInt(self.memory),
            _ => Value::Null,
        }
    }
}

fn lock_value(column: &str, name: &str, mode: Mode, status: &str, owner: SessionId) -> Value {
    match column {
        "OBJECT_TYPE" => Value::text("USER LEVEL LOCK"),
        "OBJECT_NAME" => Value::text(name),
        "OBJECT_INSTANCE_BEGIN" => Value::UInt(0),
        "LOCK_TYPE" => Value::text(if mode == Mode::Exclusive { "EXCLUSIVE" } else { "SHARED" }),
        "LOCK_DURATION" => Value::text("EXPLICIT"),
        "LOCK_STATUS" => Value::text(status),
        "SOURCE" => Value::text(""),
        "OWNER_THREAD_ID" => Value::UInt(owner.0.into()),
        "OWNER_EVENT_ID" => Value::Int(0),
        _ => Value::Null,
    }
}
