//! The decoders of this wire, for fuzzing and for the cases that it found.

use std::cell::RefCell;

use bytes::BytesMut;
use tokio_util::codec::Decoder;

use super::{
    catalog::{self, Row},
    charset::Charset,
    login::{self, Login},
    packet::{Fields, Packets},
    prepared::Prepared,
    sql::{Assignment, Dialect, Env, Expr, Select, SessionInfo, Statement, Suspend, TableName, parse},
    value::Value,
    variables::{MAX_LIST, UserVariables, Variable, Variables},
    work::{MAX_WORK, Work},
};
use crate::core::budget::{Budget, MAX_CONNECTION_MEMORY};

/// Packets, and in each of them a login, a change of user and the parameters of a statement.
#[cfg_attr(test, expect(dead_code))]
pub(crate) fn packets(data: &[u8]) {
    let (mut packets, mut input) = (Packets::new(1 << 16), BytesMut::from(data));
    while let Ok(Some(payload)) = packets.decode(&mut input) {
        if let Ok(login) = Login::parse(&payload, true) {
            let _ = login.next();
        }
        let _ = login::Change::parse(&payload, if payload.len() % 2 == 0 { u32::MAX } else { 0 });
        let budget = Budget::default();
        let Ok(mut prepared) = Prepared::new(Vec::new(), payload.len() % 17, &budget) else { return };
        prepared.append(0, &payload, &budget);
        for charset in Charset::all().filter(|charset| charset.is_served()) {
            let _ = prepared.bind(&mut Fields(&payload), charset);
        }
        packets.restart();
    }
}

/// A statement: read, and evaluated with every call granted.
pub(crate) fn sql(data: &[u8]) {
    let Some((modes, sql)) = data.split_first() else { return };
    let mut served = Charset::all().filter(|charset| charset.is_served());
    let charset = if modes & 8 == 0 { None } else { served.nth(usize::from(modes >> 3)) }.unwrap_or_default();
    let dialect = Dialect {
        ansi_quotes: modes & 1 != 0,
        no_backslash_escapes: modes & 2 != 0,
        pipes_as_concat: modes & 4 != 0,
        high_not: modes & 16 != 0,
        ignore_space: modes & 32 != 0,
        charset,
    };
    let Ok(sql) = charset.read(sql) else { return };
    let Ok(parsed) = parse(&sql, dialect) else { return };
    let exprs: Vec<Expr> = match parsed.statement {
        Statement::Select(Select { items, condition, from, .. }) => {
            let exprs = items.into_iter().map(|item| item.expr).chain(condition).collect();
            evaluate(&exprs, parsed.calls, from.as_ref().and_then(blank).as_ref());
            exprs
        }
        Statement::Do(exprs) => exprs,
        Statement::Kill { id, .. } => vec![id],
        Statement::Set(assignments) => {
            set(&assignments);
            let value = |assignment| match assignment {
                Assignment::User(_, value) => Some(value),
                Assignment::System { value, .. } => value,
                Assignment::Names { .. } | Assignment::CharacterSet(_) => None,
            };
            assignments.into_iter().filter_map(value).collect()
        }
        _ => return,
    };
    evaluate(&exprs, parsed.calls, None);
}

/// Session variables, where their values stand in the statement.
fn set(assignments: &[Assignment]) {
    let mut variables = Variables::default();
    for assignment in assignments {
        let Assignment::System { name, value: Some(Expr::Literal(value)), .. } = assignment else { continue };
        let Some(variable) = Variable::named(name) else { continue };
        if let Ok(value) = variables.checked(variable, Some(value), false, &mut Vec::new()) {
            assert!(value.as_ref().map_or(0, Value::size) <= MAX_LIST, "{name} takes much memory");
            variables.set(variable, value);
        }
    }
}

/// A row of the table, without values.
fn blank(table: &TableName) -> Option<Row> {
    let schema = table.database.as_deref().unwrap_or("information_schema");
    catalog::find(schema, &table.name).map(catalog::Table::blank)
}

fn evaluate(exprs: &Vec<Expr>, calls: usize, row: Option<&Row>) {
    let (system, user) = (Variables::default(), UserVariables::default());
    let budget = Budget::default();
    let work = Work::new(&budget);
    let (warnings, mut outcomes) = (RefCell::new(Vec::new()), vec![None; calls]);
    for expr in exprs {
        // Each call halts it at most once.
        for _ in 0..=calls {
            let parameters = [Value::text("name"), Value::Int(3), Value::Null];
            let env = Env {
                session_info: SessionInfo::default(),
                parameters: &parameters,
                user: &user,
                work: &work,
                system: &system,
                outcomes: &outcomes,
                row: row.map(Vec::as_slice),
                aliases: &[],
                lookup: None,
                warnings: &warnings,
                server: None,
            };
            let _ = env.type_of(expr);
            match env.eval(expr) {
                Err(Suspend::Effect(at, _)) => outcomes[at] = Some(Value::Int(1)),
                Ok(value) => drop(value.to_text()),
                Err(Suspend::Error(error)) => drop(error.message()),
            }
            assert!(work.done() <= MAX_WORK, "it did more than one statement may");
            assert!(budget.used() <= MAX_CONNECTION_MEMORY, "it has more than one connection may");
        }
    }
}
