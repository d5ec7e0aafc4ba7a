//! Virtual tables, and where their rows come from. Sessions and locks are read under the list permit and copied, so that
//! conditions are evaluated while others are served. Everything else is known at once.

use std::net::SocketAddr;

use getlockd_proto::{moment::rfc3339, name::NameError};

use super::{
    catalog::{self, Column, GETLOCKD, Row, SCHEMAS, Source, Table},
    charset::{Charset, Collation},
    error::{SqlError, Warning},
    executor::{ExecResult, Executor, without_end},
    getlockd_tables::{self, ServerRow},
    sql::{Expr, Operator},
    value::Value,
    variables::{Scope, Variable},
    work::{ROW, STEP},
};
use crate::{
    core::{
        client_info::Wire,
        cluster::{ClusterStatus, NodeRole},
        command::{Answer, LockRow, SessionRow, Stats, WaiterRow},
        lock::{Mode, SessionId},
        session::{Locks, Session, Sessions, ShownName, Waiters, first_page},
    },
    name::Name,
    net::Secured,
};

/// Which rows a statement may want, and how much of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a> {
    pub condition: Option<&'a Expr>,
    /// The schema, and the table in it, of a SHOW that names them.
    pub schema: Option<&'a str>,
    pub table: Option<&'a str>,
    /// So many characters of each statement.
    pub shown: usize,
}

impl Scan<'_> {
    /// Whatever there is.
    pub(super) const ALL: Self = Self { condition: None, schema: None, table: None, shown: usize::MAX };
}

impl Executor<'_> {
    /// The table as it is now.
    pub(super) async fn copy(&mut self, table: &'static Table, scan: Scan<'_>) -> ExecResult<Vec<Record>> {
        let rows = match table.source {
            Source::Processes | Source::Locks | Source::Attributes => {
                let name = self.name_in(scan.condition, "OBJECT_NAME", Name::new);
                let permit = self.list_permit().await?;
                let current =
                    CurrentSession { id: self.session.id(), statement: self.sql, shown: scan.shown };
                permit.make(|| read(table.source, name.as_ref(), &current, self.session))
            }
            Source::Holds | Source::Waiters | Source::Why | Source::History | Source::Sessions => {
                let name = self.name_in(scan.condition, "name", Name::from_shown);
                if name.is_none() && getlockd_tables::needs_name(table.source) {
                    let why = format!("getlockd.{} shows one lock; add WHERE name = '...'", table.name);
                    return Err(SqlError::NoSuchThing(why).into());
                }
                let zone = self.state.variables.settings().zone;
                let permit = self.list_permit().await?;
                let rows = permit.make(|| getlockd_tables::read(table.source, name, zone, self.session));
                rows.map(|rows| rows.into_iter().map(Data::Server).collect())
            }
            Source::Nodes => {
                let zone = self.state.variables.settings().zone;
                let rows = getlockd_tables::nodes(zone, self.session);
                rows.map(|rows| rows.into_iter().map(Data::Server).collect())
            }
            Source::Status => {
                let stats = self.session.stats();
                stats.map(|stats| status(&stats, self.io.secured()).into_iter().map(pair).collect())
            }
            _ => Ok(self.known(table, scan)),
        };
        let rows = rows.map_err(SqlError::from)?;
        let mut records: Vec<_> = rows.into_iter().map(|data| Record { table, data }).collect();
        self.leave_out(table, &mut records);
        self.work.text(records.iter().map(Record::size).sum())?;
        Ok(records)
    }

    /// Leaves out the last rows of sessions and locks, with a warning, if their texts need more than most of the memory of
    /// the connection: an operator who looks for the users of memory must not be refused because of them.
    fn leave_out(&mut self, table: &Table, records: &mut Vec<Record>) {
        let mut room = self.work.room() / 4 * 3;
        let fits = |record: &&Record| {
            let left = room.checked_sub(record.size());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let all = records.len();
        let fitting = records.iter().take_while(fits).count();
        if fitting < all && matches!(records[fitting].data, Data::Server(_)) {
            records.truncate(fitting);
            let text = format!(
                "getlockd.{}: the memory of this connection has room for {fitting} of {all} rows",
                table.name
            );
            self.state.warnings.get_mut().push(Warning::new(1226, text));
        }
    }

    /// What needs no look at others.
    fn known(&self, table: &'static Table, scan: Scan<'_>) -> Vec<Data> {
        match table.source {
            Source::Charsets => Charset::all().filter(|charset| charset.is_served()).map(charset).collect(),
            Source::Collations => collations().into_iter().map(collation).collect(),
            Source::ApplicableCollations => collations().into_iter().map(applicable).collect(),
            Source::Variables => self.variables(false).collect(),
            Source::GlobalVariables => self.variables(true).collect(),
            Source::Schemata => self.schemas().into_iter().map(schema).collect(),
            Source::Tables => self.tables(scan).map(Data::Table).collect(),
            Source::Columns => self.tables(scan).flat_map(columns).collect(),
            Source::Privileges => vec![row([
                Value::Text(format!("'{}'@'%'", self.state.user)),
                Value::text("def"),
                Value::text(if self.is_plain() { "USAGE" } else { "PROCESS" }),
                Value::text("NO"),
            ])],
            Source::Warnings | Source::Errors => {
                let warnings = self.state.warnings.borrow();
                let wanted =
                    warnings.iter().filter(|w| table.source == Source::Warnings || w.level == "Error");
                let of_warning = |w: &Warning| {
                    row([Value::text(w.level), Value::UInt(w.code.into()), Value::text(w.text.clone())])
                };
                wanted.map(of_warning).collect()
            }
            _ => fixed(table).collect(),
        }
    }

    /// The name that all rows must have in this column, if the condition says so: of a million locks only that one is
    /// looked at then.
    fn name_in(
        &self,
        condition: Option<&Expr>,
        column: &str,
        read: fn(&str) -> Result<Name, NameError>,
    ) -> Option<Name> {
        let Expr::Binary(operator, left, right) = condition? else { return None };
        let (name, value) = match (operator, &**left, &**right) {
            (Operator::And, left, right) => {
                let name_in = |side| self.name_in(Some(side), column, read);
                return name_in(left).or_else(|| name_in(right));
            }
            (Operator::Equal, Expr::Column(name), value) | (Operator::Equal, value, Expr::Column(name)) => {
                (name, value)
            }
            _ => return None,
        };
        let value = match value {
            Expr::Literal(value) => value,
            Expr::Parameter(at) => self.parameters.get(*at)?,
            _ => return None,
        };
        match value {
            Value::Text(text) if name.eq_ignore_ascii_case(column) => read(text).ok(),
            _ => None,
        }
    }

    fn variables(&self, global: bool) -> impl Iterator<Item = Data> {
        let shown =
            Variable::all().iter().filter(move |variable| !global || variable.scope != Scope::Session);
        shown.map(move |variable| {
            row([Value::text(variable.name), Value::Text(self.env(None).shown(variable, global))])
        })
    }

    /// The databases that there are, in name. A user who has rights of their own sees fewer, as with MySQL.
    pub(super) fn schemas(&self) -> Vec<&str> {
        let shown = |schema: &&str| !self.is_plain() || schema.ends_with("_schema");
        let own = self.state.database.as_deref().filter(|own| !SCHEMAS.contains(own));
        let mut schemas: Vec<_> = SCHEMAS.into_iter().filter(shown).chain(own).collect();
        schemas.sort_unstable();
        schemas
    }

    /// The tables that are shown, of those that are wanted.
    fn tables(&self, scan: Scan<'_>) -> impl Iterator<Item = &'static Table> {
        let is =
            |wanted: Option<&str>, name: &str| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name));
        let schemas = self.schemas();
        catalog::tables().filter(move |table| {
            let is_shown =
                schemas.contains(&table.schema) || table.schema == GETLOCKD && scan.schema.is_some();
            is_shown && is(scan.schema, table.schema) && is(scan.table, table.name)
        })
    }
}

fn row<const N: usize>(values: [Value; N]) -> Data {
    Data::Values(Box::new(values))
}

fn pair((name, value): (&str, String)) -> Data {
    row([Value::text(name), Value::Text(value)])
}

fn fixed(table: &'static Table) -> impl Iterator<Item = Data> {
    table.rows().iter().map(|row| Data::Fixed(row))
}

fn charset(charset: Charset) -> Data {
    row([
        Value::text(charset.name()),
        Value::text(charset.with_default().collation()),
        Value::text(charset.description()),
        Value::UInt(charset.width().into()),
    ])
}

/// Those of the character sets that are served, by name.
fn collations() -> Vec<&'static Collation> {
    let served = Collation::all().iter().filter(|collation| collation.charset.is_served());
    let mut served: Vec<_> = served.collect();
    served.sort_unstable_by_key(|collation| collation.name);
    served
}

fn collation(collation: &Collation) -> Data {
    row([
        Value::text(collation.name),
        Value::text(collation.charset.name()),
        Value::UInt(collation.number().into()),
        Value::text(if collation.is_default() { "Yes" } else { "" }),
        Value::text("Yes"),
        Value::UInt(collation.sort_length.into()),
        Value::text(if collation.counts_blanks() { "NO PAD" } else { "PAD SPACE" }),
    ])
}

fn applicable(collation: &Collation) -> Data {
    row([Value::text(collation.name), Value::text(collation.charset.name())])
}

fn schema(name: &str) -> Data {
    let (charset, collation) = if name == "information_schema" {
        ("utf8mb3", "utf8mb3_general_ci")
    } else {
        ("utf8mb4", "utf8mb4_0900_ai_ci")
    };
    row([
        Value::text("def"),
        Value::text(name),
        Value::text(charset),
        Value::text(collation),
        Value::Null,
        Value::text("NO"),
    ])
}

fn columns(table: &'static Table) -> impl Iterator<Item = Data> {
    (0..table.columns.len()).map(move |at| Data::Column(table, at))
}

/// What the list of processes tells of the session that asks.
struct CurrentSession<'a> {
    id: SessionId,
    statement: &'a [u8],
    /// So many characters of each statement.
    shown: usize,
}

fn read(
    source: Source,
    name: Option<&Name>,
    current: &CurrentSession<'_>,
    session: &mut Session,
) -> Answer<Vec<Data>> {
    if source == Source::Locks {
        return locks(name, session);
    }
    let rows = session.query(&Sessions { page: first_page() })?.rows.into_iter();
    Ok(if source == Source::Attributes {
        rows.flat_map(|row| attributes(&row)).collect()
    } else {
        rows.map(|row| Data::Process(Box::new(process(row, current)))).collect()
    })
}

/// What a client of this wire tells of its program.
fn attributes(session: &SessionRow) -> Vec<Data> {
    if session.origin.wire != Wire::MySql {
        return Vec::new();
    }
    let client = session.client_info.client().map(|client| ("program_name", client));
    let others = session.client_info.attributes.as_deref().unwrap_or_default();
    let others = others.split(", ").filter_map(|pair| pair.split_once('='));
    let attribute = |(at, (name, value)): (i64, (&str, &str))| {
        row([Value::UInt(session.session.0.into()), Value::text(name), Value::text(value), Value::Int(at)])
    };
    (0..).zip(client.into_iter().chain(others)).map(attribute).collect()
}

fn process(row: SessionRow, current: &CurrentSession<'_>) -> Process {
    let SessionRow { session: id, origin, waits_for, client_info, memory, .. } = row;
    let user = client_info.user().or(client_info.client()).unwrap_or(origin.wire.as_str()).to_owned();
    let cut = |statement: &str| Some(statement.chars().take(current.shown).collect());
    let waiting = || cut(client_info.statement.as_deref().unwrap_or("GET_LOCK"));
    let (command, state, info) = match (waits_for, id == current.id) {
        (_, true) => ("Query", "executing", cut(&String::from_utf8_lossy(without_end(current.statement)))),
        (Some(ShownName::Name(name)), false) if name.is_in_namespace() => {
            ("Query", "Waiting for locking service lock", waiting())
        }
        (Some(_), false) => ("Query", "User lock", waiting()),
        (None, false) if client_info.statement.is_some() => ("Query", "User sleep", waiting()),
        (None, false) => ("Sleep", "", None),
    };
    let seconds = if id == current.id { 0 } else { client_info.since.elapsed().as_secs() };
    let memory = memory as u64;
    Process {
        id,
        user,
        host: origin.peer,
        database: client_info.database,
        command,
        seconds,
        state,
        info,
        memory,
    }
}

/// All locks; or those of this name, and all in namespaces, where it may be a name too.
fn locks(name: Option<&Name>, session: &mut Session) -> Answer<Vec<Data>> {
    let mut held = session.query(&Locks { prefix: name.cloned(), page: first_page() })?.rows;
    if let Some(name) = name {
        held.retain(|row| row.name == *name);
        held.extend(session.query(&Locks { prefix: Some(Name::in_namespaces()), page: first_page() })?.rows);
    }
    let mut rows = Vec::new();
    let mut last: Option<Name> = None;
    for LockRow { name: lock, mode, session: owner, waiters, .. } in held {
        rows.push(Data::Lock { name: lock.clone(), mode, status: "GRANTED", owner });
        if waiters > 0 && last.as_ref() != Some(&lock) {
            rows.extend(pending(&lock, session)?);
            last = Some(lock);
        }
    }
    Ok(rows)
}

fn pending(lock: &Name, session: &mut Session) -> Answer<impl Iterator<Item = Data>> {
    let waiters = session.query(&Waiters { name: lock.clone(), page: first_page() })?;
    let row = |row: WaiterRow| Data::Lock {
        name: lock.clone(),
        mode: row.mode,
        status: "PENDING",
        owner: row.session,
    };
    Ok(waiters.rows.into_iter().map(row))
}

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
    /// Of the schema `getlockd`.
    Server(ServerRow),
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
                Data::Server(row) => row.size(),
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
            Data::Server(row) => row.value(column.key()),
            Data::Lock { name, mode, status, owner } => lock_value(column.key(), name, *mode, status, *owner),
            Data::Table(table) => table.described(column.key()),
            Data::Column(table, at) => table.column_described(*at, column.key()),
            Data::Fixed(values) => column.of(values),
            Data::Values(values) => column.of(values),
        }
    }
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

fn lock_value(column: &str, name: &Name, mode: Mode, status: &str, owner: SessionId) -> Value {
    let in_namespace = name.namespace_and_name();
    match column {
        "OBJECT_TYPE" => {
            Value::text(if in_namespace.is_some() { "LOCKING SERVICE" } else { "USER LEVEL LOCK" })
        }
        "OBJECT_SCHEMA" => in_namespace.map_or(Value::Null, |(namespace, _)| Value::text(namespace)),
        "OBJECT_NAME" => Value::text(in_namespace.map_or(name.as_str(), |(_, name)| name)),
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

/// The numbers of STATS, under the names that MySQL has for such, and how the connection is secured. What MySQL counts
/// and this server does not is left out: a 0 would be taken for an answer. Of what there is none here, 0 is one.
pub(super) fn status(stats: &Stats, secured: Option<Secured>) -> Vec<(&'static str, String)> {
    let (version, cipher) = secured.map_or_else(Default::default, |s| (s.version, s.cipher));
    let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory, cluster } = stats;
    let uptime = uptime.as_secs().to_string();
    let mut rows = vec![
        // Clients such as mycli fail without those that are 0.
        ("Flush_commands", "0".to_owned()),
        ("Getlockd_abandoned", abandoned.to_string()),
        ("Getlockd_deadlocks", table.deadlocks.to_string()),
        ("Getlockd_grants", table.grants.to_string()),
        ("Getlockd_locks", table.locks.to_string()),
        ("Getlockd_max_memory", max_memory.to_string()),
        ("Getlockd_memory", memory.to_string()),
        ("Getlockd_timeouts", timeouts.to_string()),
        ("Getlockd_waiters", table.waiters.to_string()),
        ("Open_tables", "0".to_owned()),
        ("Opened_tables", "0".to_owned()),
        ("Slow_queries", "0".to_owned()),
        ("Ssl_cipher", cipher),
        ("Ssl_version", version.to_owned()),
        ("Threads_connected", sessions.to_string()),
        ("Threads_running", (table.waiters + 1).to_string()),
        ("Uptime", uptime.clone()),
        // There is no FLUSH STATUS.
        ("Uptime_since_flush_status", uptime),
    ];
    if let Some(ClusterStatus { node, term, leader_since, .. }) = cluster {
        rows.extend([
            ("Getlockd_leader_since", rfc3339(*leader_since)),
            ("Getlockd_node", node.clone()),
            ("Getlockd_role", NodeRole::Leader.as_str().to_owned()),
            ("Getlockd_term", term.to_string()),
        ]);
        rows.sort_unstable_by_key(|(name, _)| *name);
    }
    rows
}
