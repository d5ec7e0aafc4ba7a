//! Whence the rows of tables come. Who is connected and which locks there are is looked at in one's turn, and copied
//! for that; all else is told at once.

use super::{
    catalog::{self, SCHEMAS, Source, Table},
    charset::{Charset, Collation},
    error::SqlError,
    record::{Data, Process, Record},
    run::{Ran, Runner},
    sql::{Expr, Operator},
    status::status,
    value::Value,
    variables::{Scope, Variable},
};
use crate::{
    core::{
        client_info::Wire,
        command::{Answer, LockRow, SessionRow, WaiterRow},
        lock::SessionId,
        session::{Locks, Session, Sessions, Waiters, first_page},
    },
    name::Name,
};

/// Which rows a statement may want, and how much of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub condition: Option<&'a Expr>,
    /// The schema, and the table in it, of a SHOW that names them.
    pub schema: Option<&'a str>,
    pub table: Option<&'a str>,
    /// So many characters of each statement.
    pub shown: usize,
}

impl Wanted<'_> {
    /// Whatever there is.
    pub(super) const ALL: Self = Self { condition: None, schema: None, table: None, shown: usize::MAX };
}

impl Runner<'_> {
    /// The table as it is now.
    pub(super) async fn copy(&mut self, table: &'static Table, wanted: Wanted<'_>) -> Ran<Vec<Record>> {
        let rows = match table.source {
            Source::Processes | Source::Locks | Source::Attributes => {
                let turn = self.list_permit().await?;
                let own = Own { id: self.session.id(), statement: self.sql, shown: wanted.shown };
                turn.make(|| looked_at(table.source, wanted.condition, &own, self.session))
            }
            Source::Status => {
                let stats = self.session.stats();
                stats.map(|stats| status(&stats, self.io.secured()).into_iter().map(pair).collect())
            }
            _ => Ok(self.told(table, wanted)),
        };
        let rows = rows.map_err(SqlError::from)?;
        let records: Vec<_> = rows.into_iter().map(|data| Record { table, data }).collect();
        self.work.text(records.iter().map(Record::size).sum())?;
        Ok(records)
    }

    /// What needs no look at others.
    fn told(&self, table: &'static Table, wanted: Wanted<'_>) -> Vec<Data> {
        match table.source {
            Source::Charsets => Charset::all().filter(|charset| charset.is_served()).map(charset).collect(),
            Source::Collations => collations().into_iter().map(collation).collect(),
            Source::ApplicableCollations => collations().into_iter().map(applicable).collect(),
            Source::Variables => self.variables(false).collect(),
            Source::GlobalVariables => self.variables(true).collect(),
            Source::Schemata => self.schemas().into_iter().map(schema).collect(),
            Source::Tables => self.tables(wanted).map(Data::Table).collect(),
            Source::Columns => self.tables(wanted).flat_map(columns).collect(),
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
                let told = |w: &super::error::Warning| {
                    row([Value::text(w.level), Value::UInt(w.code.into()), Value::text(w.text.clone())])
                };
                wanted.map(told).collect()
            }
            _ => fixed(table).collect(),
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
    fn tables(&self, wanted: Wanted<'_>) -> impl Iterator<Item = &'static Table> {
        let is =
            |wanted: Option<&str>, name: &str| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name));
        let schemas = self.schemas();
        catalog::tables().filter(move |table| {
            schemas.contains(&table.schema) && is(wanted.schema, table.schema) && is(wanted.table, table.name)
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
struct Own<'a> {
    id: SessionId,
    statement: &'a str,
    /// So many characters of each statement.
    shown: usize,
}

fn looked_at(
    source: Source,
    condition: Option<&Expr>,
    own: &Own<'_>,
    session: &mut Session,
) -> Answer<Vec<Data>> {
    if source == Source::Locks {
        return locks(condition.and_then(wanted_name).as_ref(), session);
    }
    let rows = session.query(&Sessions { page: first_page() })?.rows.into_iter();
    Ok(if source == Source::Attributes {
        rows.flat_map(|row| attributes(&row)).collect()
    } else {
        rows.map(|row| Data::Process(Box::new(process(row, own)))).collect()
    })
}

/// What a client of this wire tells of its program.
fn attributes(session: &SessionRow) -> Vec<Data> {
    if session.origin.wire != Wire::MySql {
        return Vec::new();
    }
    let client = session.client_info.client().map(|client| ("program_name", client));
    let note = session.client_info.note.as_deref().unwrap_or_default();
    let others = note.split(", ").filter_map(|pair| pair.split_once('='));
    let attribute = |(at, (name, value)): (i64, (&str, &str))| {
        row([Value::UInt(session.session.0.into()), Value::text(name), Value::text(value), Value::Int(at)])
    };
    (0..).zip(client.into_iter().chain(others)).map(attribute).collect()
}

fn process(row: SessionRow, own: &Own<'_>) -> Process {
    let SessionRow { session: id, origin, waits_for, client_info, memory, .. } = row;
    let user = client_info.user().or(client_info.client()).unwrap_or(origin.wire.as_str()).to_owned();
    let cut = |statement: &str| Some(statement.chars().take(own.shown).collect());
    let waiting = || cut(client_info.statement.as_deref().unwrap_or("GET_LOCK"));
    let (command, state, info) = match (waits_for, id == own.id) {
        (_, true) => ("Query", "executing", cut(own.statement)),
        (Some(_), false) => ("Query", "User lock", waiting()),
        (None, false) if client_info.statement.is_some() => ("Query", "User sleep", waiting()),
        (None, false) => ("Sleep", "", None),
    };
    let seconds = if id == own.id { 0 } else { client_info.since.elapsed().as_secs() };
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

fn locks(name: Option<&Name>, session: &mut Session) -> Answer<Vec<Data>> {
    let held = session.query(&Locks { prefix: name.cloned(), page: first_page() })?;
    let mut rows = Vec::new();
    let mut last: Option<Name> = None;
    for LockRow { name: lock, mode, session: owner, waiters, .. } in held.rows {
        if name.is_some_and(|name| *name != lock) {
            continue;
        }
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
