//! SELECT: of expressions. `list` has that of the two tables.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use super::{
    error::SqlError,
    record,
    result::{Column, Outcome},
    run::{Ran, Runner, Stop},
    show,
    sql::{Expr, Halt, Item, Rows, Select, Type},
    value::Value,
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
        let (skip, count) = self.limit(select)?;
        if let Some(table) = select.from {
            // Boxed, as all that is rare: what most statements need is small.
            return Box::pin(self.list(table, select, items, columns)).await;
        }
        let rows: Vec<_> = if skip > 0 || count == 0 {
            Vec::new()
        } else {
            self.row(select, items).await?.into_iter().collect()
        };
        if select.into.is_empty() {
            return Ok(Outcome::Rows { columns, rows });
        }
        self.store(select, rows.into_iter().next().unwrap_or_default())
    }

    /// `INTO @a, @b`
    pub(super) fn store(&mut self, select: &Select, row: Vec<Value>) -> Ran<Outcome> {
        for (name, value) in select.into.iter().zip(row) {
            self.state.set_user(name.to_lowercase(), value)?;
        }
        Ok(Outcome::Done)
    }

    /// How many rows are left out, and how many follow at most.
    pub(super) fn limit(&self, select: &Select) -> Result<(u64, u64), SqlError> {
        let Some(limit) = select.limit else { return Ok((0, u64::MAX)) };
        Ok((self.rows(limit.offset)?, self.rows(limit.count)?))
    }

    /// A placeholder stands for an integer. Clients may send its digits; a user variable has to be one.
    fn rows(&self, rows: Rows) -> Result<u64, SqlError> {
        let at = match rows {
            Rows::Number(number) => return Ok(number),
            Rows::Parameter(at) => at,
        };
        let command = if self.binary { "mysqld_stmt_execute" } else { "EXECUTE" };
        let value = self.parameters.get(at).unwrap_or(&Value::Null);
        let is_number = matches!(value, Value::Int(_))
            || self.binary && matches!(value, Value::Text(_) | Value::Bytes { .. });
        match value {
            Value::Null => Ok(0),
            Value::UInt(number) => Ok(*number),
            _ if !is_number => Err(SqlError::WrongArguments(command)),
            _ => u64::try_from(value.to_i64().unwrap_or(0)).map_err(|_| SqlError::NegativeRows(command)),
        }
    }

    /// The columns of a result. Names that do not exist are found here, before anything is taken.
    pub(super) fn columns(&self, select: &Select, items: &[Item]) -> Ran<Vec<Column>> {
        let blank = select.from.map(record::blank);
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
        record::blank(table).into_iter().map(column)
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
