//! SHOW: what interactive clients and monitors ask for.

use super::{
    error::{SqlError, Warning},
    record::Row,
    result::{Column, Outcome},
    run::{Ran, Runner},
    sql::{Expr, Show, Type, of_value},
    value::Value,
};
use crate::{command::Stats, net::Secured};

impl Runner<'_> {
    pub(super) fn show(&mut self, show: &Show) -> Ran<Outcome> {
        let named = ["Variable_name", "Value"];
        Ok(match show {
            Show::Status(filter) => {
                let stats = self.session.stats();
                self.pairs(named, status(&stats, self.io.secured()), filter.as_ref())?
            }
            Show::Warnings { errors_only } => warnings(&self.state.warnings.borrow(), *errors_only),
            Show::CountWarnings => {
                let count = Value::UInt(self.state.warnings.borrow().len() as u64);
                let like = vec![("", Value::UInt(0))];
                result(&["@@session.warning_count"], &like, vec![vec![count]])
            }
            // `list` and `variables` have them.
            Show::Processlist { .. } | Show::Variables { .. } => Outcome::Done,
            Show::Databases(filter) => {
                // In name only: the one that this connection uses, and those of the two tables.
                let mut names = vec!["information_schema".to_owned(), "performance_schema".to_owned()];
                names.extend(self.state.database.clone().filter(|name| !names.contains(name)));
                let rows = names.into_iter().map(|name| vec![("Database", Value::Text(name))]).collect();
                let rows = self.filtered(rows, filter.as_ref())?;
                texts(&["Database"], rows)
            }
            Show::Tables => {
                let database = self.state.database.as_deref().ok_or(SqlError::NoDatabase)?;
                texts(&[&format!("Tables_in_{database}")], Vec::new())
            }
            Show::Empty(columns) => texts(columns, Vec::new()),
        })
    }

    fn pairs(
        &self,
        names: [&'static str; 2],
        all: Vec<(&'static str, String)>,
        filter: Option<&Expr>,
    ) -> Ran<Outcome> {
        let row = |(name, value): (&str, String)| {
            vec![(names[0], Value::text(name)), (names[1], Value::Text(value))]
        };
        Ok(texts(&names, self.filtered(all.into_iter().map(row).collect(), filter)?))
    }

    fn filtered(&self, rows: Vec<Row>, filter: Option<&Expr>) -> Ran<Vec<Vec<Value>>> {
        let mut shown = Vec::new();
        for row in rows {
            let is_shown = match filter {
                Some(filter) => self.env(Some(&row)).eval(filter)?.to_bool() == Some(true),
                None => true,
            };
            if is_shown {
                shown.push(row);
            }
        }
        Ok(shown.into_iter().map(|row| row.into_iter().map(|(_, value)| value).collect()).collect())
    }
}

/// Rows under columns of these names, of the types that the values of `like` have.
pub(super) fn result(names: &[&str], like: &Row, rows: Vec<Vec<Value>>) -> Outcome {
    Outcome::Rows { columns: columns(names, like), rows }
}

/// Columns of these names, of the types that the values of `like` have.
pub(super) fn columns(names: &[&str], like: &Row) -> Vec<Column> {
    let column =
        |(name, (_, value)): (&&str, &(&str, Value))| Column { name: (*name).into(), kind: nullable(value) };
    names.iter().zip(like).map(column).collect()
}

fn nullable(value: &Value) -> Type {
    match value {
        Value::Text(_) | Value::Null => Type::text(64),
        other => Type { length: 21, not_null: false, ..of_value(other) },
    }
}

/// Rows of texts.
pub(super) fn texts(names: &[&str], rows: Vec<Vec<Value>>) -> Outcome {
    let column = |name: &&str| Column { name: (*name).into(), kind: Type::text(256) };
    Outcome::Rows { columns: names.iter().map(column).collect(), rows }
}

pub(super) fn warnings(warnings: &[Warning], errors_only: bool) -> Outcome {
    let like = vec![("", Value::text("")), ("", Value::UInt(0)), ("", Value::text(""))];
    let shown = warnings.iter().filter(|warning| !errors_only || warning.level == "Error");
    let row =
        |w: &Warning| vec![Value::text(w.level), Value::UInt(w.code.into()), Value::text(w.text.clone())];
    result(&["Level", "Code", "Message"], &like, shown.map(row).collect())
}

/// `SHOW STATUS`: the numbers of STATS, under the names that MySQL has for such, and how the connection
/// is secured.
fn status(stats: &Stats, secured: Option<Secured>) -> Vec<(&'static str, String)> {
    let (version, cipher) = secured.map_or_else(Default::default, |s| (s.version, s.cipher));
    let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory } = stats;
    vec![
        ("Getlockd_abandoned", abandoned.to_string()),
        ("Getlockd_deadlocks", table.deadlocks.to_string()),
        ("Getlockd_grants", table.grants.to_string()),
        ("Getlockd_locks", table.locks.to_string()),
        ("Getlockd_max_memory", max_memory.to_string()),
        ("Getlockd_memory", memory.to_string()),
        ("Getlockd_timeouts", timeouts.to_string()),
        ("Getlockd_waiters", table.waiters.to_string()),
        ("Ssl_cipher", cipher),
        ("Ssl_version", version.to_owned()),
        ("Threads_connected", sessions.to_string()),
        ("Threads_running", (table.waiters + 1).to_string()),
        ("Uptime", uptime.as_secs().to_string()),
    ]
}
