//! SELECT: of expressions. `list` has that of tables.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use super::{
    catalog::{self, Table},
    error::SqlError,
    record,
    result::{Column, Outcome},
    run::{Ran, Runner, Stop},
    show,
    sql::{By, Env, Expr, Halt, Item, Limit, Order, Rows, Select, Statement},
    value::Value,
};

impl Runner<'_> {
    pub(super) async fn select(&mut self, select: &Select) -> Ran<Outcome> {
        let limit = select.max_execution_time.map(Duration::from_millis);
        let limit = limit.or_else(|| self.state.variables.settings().max_execution_time);
        self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let table = self.source(select)?;
        let items = &expand(select, table);
        let columns = self.columns(select, items, table)?;
        if select.explain {
            return Ok(show::explanation(table));
        }
        let (skip, count) = self.limit(select)?;
        if let Some(table) = table {
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

    /// The columns of what is only prepared.
    pub(super) fn prepared(&self, statement: &Statement) -> Ran<Vec<Column>> {
        match statement {
            Statement::Select(select) if select.into.is_empty() => {
                let table = self.source(select)?;
                let columns = self.columns(select, &expand(select, table), table)?;
                Ok(if select.explain { show::explanation(table).columns() } else { columns })
            }
            Statement::Show(show) => self.shown(show),
            _ => Ok(Vec::new()),
        }
    }

    /// The table that it selects from; none if it does from none.
    pub(super) fn source(&self, select: &Select) -> Ran<Option<&'static Table>> {
        let Some(name) = &select.from else { return Ok(None) };
        let table = self.table(name)?;
        if select.acts {
            return Err(SqlError::NoSuchThing(
                "it takes and frees no lock for each row of a table".to_owned(),
            )
            .into());
        }
        Ok(Some(table))
    }

    /// How many rows of a SELECT are left out, and how many follow at most.
    pub(super) fn limit(&self, select: &Select) -> Result<(u64, u64), SqlError> {
        let all = (0, self.state.variables.settings().select_limit);
        select.limit.map_or(Ok(all), |limit| self.window(limit))
    }

    pub(super) fn window(&self, limit: Limit) -> Result<(u64, u64), SqlError> {
        Ok((self.rows_of(limit.offset)?, self.rows_of(limit.count)?))
    }

    /// A placeholder stands for an integer. Clients may send its digits; a user variable has to be one.
    fn rows_of(&self, rows: Rows) -> Result<u64, SqlError> {
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
            _ if !is_number => Err(SqlError::WrongArguments(command.to_owned())),
            _ => u64::try_from(value.to_i64().unwrap_or(0)).map_err(|_| SqlError::NegativeRows(command)),
        }
    }

    /// The columns of a result. Names that do not exist are found here, before anything is taken.
    pub(super) fn columns(
        &self,
        select: &Select,
        items: &[Item],
        table: Option<&'static Table>,
    ) -> Ran<Vec<Column>> {
        let blank = table.map(record::blank);
        let env = self.env(blank.as_deref());
        let column = |item: &Item| {
            if table.is_none() && matches!(item.expr, Expr::Star) {
                return Err(SqlError::NoTables.into());
            }
            let shown = match (&item.expr, table) {
                (Expr::Column(name), Some(table)) => table.column(name),
                _ => None,
            };
            let name = match shown {
                Some(shown) if !item.is_named && table.is_some_and(Table::has_own_labels) => {
                    shown.name.into()
                }
                _ => item.name.clone(),
            };
            let declared = shown.map(|column| column.declared);
            Ok(Column { name, kind: env.type_of(&item.expr)?, declared })
        };
        let columns = items.iter().map(column).collect::<Ran<Vec<_>>>()?;
        if let (true, Some((number, column)), Some(table)) = (select.counts, &select.mixed, table)
            && self.state.variables.has_mode("ONLY_FULL_GROUP_BY")
        {
            let column = format!("{}.{}.{column}", table.schema, table.name);
            return Err(SqlError::Mixed { number: *number, column }.into());
        }
        if let Some(condition) = &select.condition {
            env.type_of(condition).map_err(|halt| in_clause(halt, "where clause"))?;
        }
        for order in &select.order {
            let by = order.meant(items)?;
            let env = Env { aliases: items, ..env };
            env.type_of(&by).map_err(|halt| in_clause(halt, ORDER))?;
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

/// What MySQL calls ORDER BY in errors.
const ORDER: &str = "order clause";

impl Order {
    /// The expression that is meant: a number is the place of an item, and a name that of an item before that of a
    /// column. Within an expression, columns come first.
    pub(super) fn meant<'a>(&'a self, items: &'a [Item]) -> Result<Cow<'a, Expr>, SqlError> {
        let name = match &self.by {
            By::Expr(by) => return Ok(Cow::Borrowed(by)),
            By::Place(place) => {
                let at = place.checked_sub(1).and_then(|at| usize::try_from(at).ok());
                let unknown = || SqlError::UnknownColumn { column: place.to_string(), clause: ORDER };
                return Ok(Cow::Borrowed(&at.and_then(|at| items.get(at)).ok_or_else(unknown)?.expr));
            }
            By::Name(name) => name,
        };
        let mut meant = items.iter().filter(|item| item.name.eq_ignore_ascii_case(name));
        let Some(first) = meant.next() else { return Ok(Cow::Owned(Expr::Column(name.clone()))) };
        let is_column = |item: &Item| matches!(item.expr, Expr::Column(_));
        if is_column(first) && meant.any(|other| is_column(other) && other.expr != first.expr) {
            return Err(SqlError::AmbiguousColumn { column: name.clone(), clause: ORDER });
        }
        Ok(Cow::Borrowed(&first.expr))
    }
}

/// The items of a SELECT, with `*` spelled out.
pub(super) fn expand<'a>(select: &'a Select, table: Option<&'static Table>) -> Cow<'a, [Item]> {
    if !select.items.iter().any(|item| matches!(item.expr, Expr::Star)) {
        return Cow::Borrowed(&select.items);
    }
    let all = |table: &'static Table| {
        let column = |column: &catalog::Column| Item {
            expr: Expr::Column(column.name.to_owned()),
            name: column.name.into(),
            is_named: false,
        };
        table.columns.iter().map(column)
    };
    let items = select.items.iter().flat_map(|item| match (&item.expr, table) {
        (Expr::Star, Some(table)) => all(table).collect(),
        _ => vec![item.clone()],
    });
    items.collect()
}

pub(super) fn in_clause(halt: Halt, clause: &'static str) -> Stop {
    match halt {
        Halt::Error(SqlError::UnknownColumn { column, .. }) => {
            SqlError::UnknownColumn { column, clause }.into()
        }
        other => other.into(),
    }
}
