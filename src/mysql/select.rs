//! SELECT: of expressions, and of the two tables.

use std::{borrow::Cow, collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::{
    error::SqlError,
    result::{Column, Outcome},
    run::{Ran, Runner, Stop},
    show,
    sql::{Env, Expr, Halt, Item, Select, Type},
    tables::{self, Own, Row},
    value::{Number, Value, folded},
};

impl Runner<'_> {
    pub(super) async fn select(&mut self, select: &Select) -> Ran<Outcome> {
        let limit = select.max_execution_time.map(Duration::from_millis);
        let limit = limit.or_else(|| self.state.variables.settings().max_execution_time);
        self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let items = &expand(select);
        let columns = self.columns(select, items)?;
        if select.explain {
            return Ok(explanation());
        }
        let (skip, count) = select.limit.unwrap_or((0, u64::MAX));
        let rows = match select.from {
            Some(_) => self.turn().await?.make(|| self.table_rows(select, items, skip, count))?,
            None if skip > 0 || count == 0 => Vec::new(),
            None => self.row(select, items).await?.into_iter().collect(),
        };
        if select.into.is_empty() {
            return Ok(Outcome::Rows { columns, rows });
        }
        for (name, value) in select.into.iter().zip(rows.into_iter().next().unwrap_or_default()) {
            self.state.set_user(name.to_lowercase(), value)?;
        }
        Ok(Outcome::Done)
    }

    /// The columns of a result. Names that do not exist are found here, before anything is taken.
    pub(super) fn columns(&self, select: &Select, items: &[Item]) -> Ran<Vec<Column>> {
        let blank = select.from.map(tables::blank);
        let env = self.env(blank.as_deref());
        let column = |item: &Item| {
            let kind = env.type_of(&item.expr)?;
            // A column of a table is as wide as it may be.
            let of_table = matches!(item.expr, Expr::Column(_));
            let length = if of_table { kind.length.max(64) } else { kind.length };
            Ok(Column { name: item.name.clone(), kind: Type { length, ..kind } })
        };
        let columns = items.iter().map(column).collect::<Ran<Vec<_>>>()?;
        let others = select.condition.iter().map(|condition| (condition, "where clause"));
        for (expr, clause) in others.chain(select.order.iter().map(|(by, _)| (by, "order clause"))) {
            env.type_of(expr).map_err(|halt| in_clause(halt, clause))?;
        }
        Ok(columns)
    }

    /// The one row of a SELECT without a table, if the condition lets it be.
    async fn row(&mut self, select: &Select, items: &[Item]) -> Ran<Option<Vec<Value>>> {
        if let Some(condition) = &select.condition
            && self.value(condition).await?.to_bool() != Some(true)
        {
            return Ok(None);
        }
        let mut row = Vec::with_capacity(items.len());
        for item in items {
            row.push(self.value(&item.expr).await?);
        }
        Ok(Some(row))
    }

    fn table_rows(&mut self, select: &Select, items: &[Item], skip: u64, count: u64) -> Ran<Vec<Vec<Value>>> {
        let Some(table) = select.from else { return Ok(Vec::new()) };
        let own = Own { id: self.session.id(), statement: self.sql };
        let mut rows = tables::rows(table, select.condition.as_ref(), &own, self.session);
        if let Some(condition) = &select.condition {
            rows = self.matching(rows, condition)?;
        }
        self.sort(&mut rows, &select.order)?;
        let values =
            |env: Env<'_>| items.iter().map(|item| Ok(env.eval(&item.expr)?)).collect::<Ran<Vec<_>>>();
        let mut rows = if select.counts {
            // One row that sums up all of them.
            let blank = tables::blank(table);
            let row = rows.first().unwrap_or(&blank);
            vec![values(Env { rows: Some(&rows), ..self.env(Some(row)) })?]
        } else {
            rows.iter().map(|row| values(self.env(Some(row)))).collect::<Ran<Vec<_>>>()?
        };
        if select.distinct {
            let mut seen = HashSet::new();
            rows.retain(|row| seen.insert(row.iter().map(Value::to_text).collect::<Vec<_>>()));
        }
        let (skip, count) =
            (usize::try_from(skip).unwrap_or(usize::MAX), usize::try_from(count).unwrap_or(usize::MAX));
        Ok(rows.into_iter().skip(skip).take(count).collect())
    }

    /// Those of which a condition holds.
    pub(super) fn matching(&self, rows: Vec<Row>, condition: &Expr) -> Ran<Vec<Row>> {
        let mut matching = Vec::new();
        for row in rows {
            if self.env(Some(&row)).eval(condition)?.to_bool() == Some(true) {
                matching.push(row);
            }
        }
        Ok(matching)
    }

    fn sort(&self, rows: &mut Vec<Row>, order: &[(Expr, bool)]) -> Ran<()> {
        for (by, descending) in order.iter().rev() {
            let key = |row: Row| Ok::<_, Stop>((self.env(Some(&row)).eval(by)?, row));
            let mut keyed = std::mem::take(rows).into_iter().map(key).collect::<Ran<Vec<_>>>()?;
            // Numbers among themselves, else as texts: one order for all keys.
            let as_texts = keyed.iter().any(|(key, _)| matches!(key, Value::Text(_) | Value::Bytes { .. }));
            keyed.sort_by(|(a, _), (b, _)| {
                let ascending = if as_texts {
                    a.to_text().map(|text| folded(&text)).cmp(&b.to_text().map(|text| folded(&text)))
                } else {
                    let number = |value: &Value| value.to_number().map_or(f64::NEG_INFINITY, Number::to_f64);
                    number(a).total_cmp(&number(b))
                };
                if *descending { ascending.reverse() } else { ascending }
            });
            rows.extend(keyed.into_iter().map(|(_, row)| row));
        }
        Ok(())
    }
}

/// The items of a SELECT, with `*` spelled out.
pub(super) fn expand(select: &Select) -> Cow<'_, [Item]> {
    if !select.items.iter().any(|item| matches!(item.expr, Expr::Star)) {
        return Cow::Borrowed(&select.items);
    }
    let all = |table| {
        let column = |(name, _): (&'static str, Value)| Item {
            expr: Expr::Column(name.to_owned()),
            name: name.into(),
        };
        tables::blank(table).into_iter().map(column)
    };
    let items = select.items.iter().flat_map(|item| match (&item.expr, select.from) {
        (Expr::Star, Some(table)) => all(table).collect(),
        // As MySQL says it of a `*` without a table.
        (Expr::Star, None) => vec![Item { expr: Expr::Column("*".to_owned()), name: item.name.clone() }],
        _ => vec![item.clone()],
    });
    items.collect()
}

fn in_clause(halt: Halt, clause: &'static str) -> Stop {
    match halt {
        Halt::Error(SqlError::UnknownColumn { column, .. }) => {
            SqlError::UnknownColumn { column, clause }.into()
        }
        other => other.into(),
    }
}

/// What EXPLAIN says of any statement here.
fn explanation() -> Outcome {
    let names = [
        "id",
        "select_type",
        "table",
        "partitions",
        "type",
        "possible_keys",
        "key",
        "key_len",
        "ref",
        "rows",
        "filtered",
        "Extra",
    ];
    let mut row = vec![Value::Null; names.len()];
    row[0] = Value::Int(1);
    row[1] = Value::text("SIMPLE");
    row[11] = Value::text("No tables used");
    show::texts(&names, vec![row])
}
