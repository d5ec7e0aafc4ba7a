//! SELECT from tables, and the lists of SHOW. The permit is kept while the table is copied. The copy is then processed
//! row by row while others are served. Between rows the list ends if the session has to end.

use std::{cmp::Ordering, collections::HashSet};

use super::{
    catalog::{Row, Table},
    executor::{ExecResult, Executor, in_clause},
    lookup::Lookup,
    result::{Column, Form, Lines, Outcome},
    sql::{Env, Expr, Order, Select, SelectItem, ShowList, Sum},
    value::{Number, Value, folded},
    virtual_tables::{Record, Scan},
    work::STEP,
};

/// The memory of a key besides its text, and of a row that was seen.
const ENTRY: usize = 64;

impl Executor<'_> {
    pub(super) async fn list(
        &mut self,
        table: &'static Table,
        select: &Select,
        items: &[SelectItem],
        columns: Vec<Column>,
        window: (u64, u64),
    ) -> ExecResult<Outcome> {
        self.warn_of(table);
        let scan = Scan { condition: select.condition.as_ref(), ..Scan::ALL };
        let mut records = self.copy(table, scan).await?;
        if let Some(condition) = &select.condition {
            records = self.matching(records, condition).await?;
        }
        if select.counts {
            return self.sum(table, select, items, columns, window, records).await;
        }
        for order in select.order.iter().rev() {
            records = self.sorted(records, order, items).await?;
        }
        let (mut lines, mut seen) = (Lines::default(), HashSet::new());
        let (mut skip, mut left) = window;
        let mut left_out = 0;
        for record in records {
            if left == 0 && !select.finds_all {
                break;
            }
            let row = self.of_row(&record, |env| values(&env, items))?;
            self.drop(record);
            if select.distinct && !self.is_new(&row, &mut seen)? {
                // It was shown already.
            } else if skip > 0 || left == 0 {
                skip = skip.saturating_sub(1);
                left_out += 1;
            } else if select.into.is_empty() {
                left -= 1;
                self.push(&mut lines, &columns, &row)?;
            } else {
                return self.store(select, row);
            }
            self.take_turns().await?;
        }
        if select.finds_all {
            lines.leave_out(left_out);
        }
        if select.into.is_empty() {
            Ok(Outcome::List { columns, lines: Box::new(lines) })
        } else {
            Ok(Outcome::Done)
        }
    }

    /// The rows that SHOW lists.
    pub(super) async fn rows(
        &mut self,
        table: &'static Table,
        scan: Scan<'_>,
        list: &ShowList,
        columns: Vec<Column>,
    ) -> ExecResult<Outcome> {
        let mut records = self.copy(table, scan).await?;
        if let Some(filter) = &list.filter {
            self.env(Some(&table.blank()))
                .type_of(filter)
                .map_err(|suspended| in_clause(suspended, "where clause"))?;
            records = self.matching(records, filter).await?;
        }
        let (skip, count) = list.limit.map_or(Ok((0, u64::MAX)), |limit| self.window(limit))?;
        let within = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let mut lines = Lines::default();
        for record in records.into_iter().skip(within(skip)).take(within(count)) {
            self.work.spend(record.effort())?;
            let row: Vec<_> = record.row().into_iter().map(|(_, value)| value).collect();
            self.drop(record);
            self.push(&mut lines, &columns, &row)?;
            self.take_turns().await?;
        }
        Ok(Outcome::List { columns, lines: Box::new(lines) })
    }

    /// The one row of an aggregation. Other columns are those of the first row.
    async fn sum(
        &mut self,
        table: &'static Table,
        select: &Select,
        items: &[SelectItem],
        columns: Vec<Column>,
        (skip, count): (u64, u64),
        records: Vec<Record>,
    ) -> ExecResult<Outcome> {
        let row = records.first().map_or_else(|| table.blank(), Record::row);
        self.summed(items, records).await?;
        let row = values(&self.looking(&row), items)?;
        let is_shown = skip == 0 && count > 0;
        if !select.into.is_empty() {
            return self.store(select, if is_shown { row } else { Vec::new() });
        }
        let mut lines = Lines::default();
        if is_shown {
            self.push(&mut lines, &columns, &row)?;
        } else if select.finds_all {
            lines.leave_out(1);
        }
        Ok(Outcome::List { columns, lines: Box::new(lines) })
    }

    /// Computes the aggregates that items contain.
    async fn summed(&mut self, items: &[SelectItem], records: Vec<Record>) -> ExecResult<()> {
        let count = Value::Int(i64::try_from(records.len()).unwrap_or(i64::MAX));
        let (of_rows, mut sums): (Vec<_>, Vec<_>) = Sum::all_of(items).into_iter().partition(Sum::is_of_rows);
        for sum in of_rows {
            self.set_outcome(sum.at, count.clone());
        }
        for record in records {
            if !sums.is_empty() {
                self.work.spend(record.effort())?;
                let row = record.row();
                for sum in &mut sums {
                    sum.add(&self.looking(&row))?;
                    self.take_turns().await?;
                }
            }
            self.drop(record);
        }
        for sum in sums {
            let (at, result) = (sum.at, sum.result(&self.env(None))?);
            self.set_outcome(at, result);
        }
        Ok(())
    }

    /// Appends a row, and counts it.
    fn push(&self, lines: &mut Lines, columns: &[Column], row: &[Value]) -> ExecResult<()> {
        let form = self.form();
        self.work.spend(form.effort(row))?;
        Ok(self.work.text(lines.push(columns, row, form))?)
    }

    /// The rows that satisfy a condition.
    async fn matching(&mut self, records: Vec<Record>, condition: &Expr) -> ExecResult<Vec<Record>> {
        let mut matching = Vec::new();
        for record in records {
            if self.of_row(&record, |env| Ok(env.eval(condition)?.to_bool()))? == Some(true) {
                matching.push(record);
            }
            self.take_turns().await?;
        }
        Ok(matching)
    }

    async fn sorted(
        &mut self,
        records: Vec<Record>,
        order: &Order,
        items: &[SelectItem],
    ) -> ExecResult<Vec<Record>> {
        let (by, descending) = (&*order.meant(items)?, order.descending);
        let mark = self.work.mark();
        let mut keyed = Vec::with_capacity(records.len());
        for record in records {
            let key = self.of_row(&record, |env| Ok(Env { aliases: items, ..env }.eval(by)?))?;
            self.work.text(ENTRY + key.size())?;
            keyed.push((key, record));
            self.take_turns().await?;
        }
        // Numbers among themselves, else as texts: one order for all keys.
        let as_texts = keyed.iter().any(|(key, _)| matches!(key, Value::Text(_) | Value::Bytes { .. }));
        let mut keyed: Vec<_> =
            keyed.into_iter().map(|(key, record)| (SortKey::of(&key, as_texts), record)).collect();
        self.work.spend(STEP * keyed.len())?;
        keyed.sort_by(|(a, _), (b, _)| if descending { b.compare(a) } else { a.compare(b) });
        self.work.forget_since(mark);
        self.take_turns().await?;
        Ok(keyed.into_iter().map(|(_, record)| record).collect())
    }

    /// Whether a row is new.
    fn is_new(&self, row: &[Value], seen: &mut HashSet<Vec<Option<String>>>) -> ExecResult<bool> {
        let row: Vec<_> = row.iter().map(Value::to_text).collect();
        let bytes = row.iter().map(|text| size_of::<Option<String>>() + text.as_ref().map_or(0, String::len));
        let bytes = ENTRY + bytes.sum::<usize>();
        let is_new = seen.insert(row);
        if is_new {
            self.work.text(bytes)?;
        }
        Ok(is_new)
    }

    /// The environment of an expression about a row.
    fn looking<'e>(&'e self, row: &'e Row) -> Env<'e> {
        let look = Lookup { session: self.session, cache: &self.lookups };
        Env { lookup: Some(look), ..self.env(Some(row)) }
    }

    /// Evaluates something for one row, and frees its memory afterwards.
    fn of_row<T>(&mut self, record: &Record, work: impl FnOnce(Env<'_>) -> ExecResult<T>) -> ExecResult<T> {
        self.work.spend(record.effort())?;
        let mark = self.work.mark();
        let row = record.row();
        let worked_out = work(self.looking(&row));
        self.work.forget_since(mark);
        worked_out
    }

    /// Drops a value that is no longer needed, and frees its memory.
    fn drop(&self, record: Record) {
        self.work.release(record.size());
        drop(record);
    }

    pub(super) fn form(&self) -> Form {
        Form { binary: self.binary, charset: self.state.variables.settings().result_charset }
    }
}

fn values(env: &Env<'_>, items: &[SelectItem]) -> ExecResult<Vec<Value>> {
    items.iter().map(|item| Ok(env.eval(&item.expr)?)).collect()
}

/// A sort key of a row.
enum SortKey {
    Text(Option<String>),
    Number(f64),
}

impl SortKey {
    fn of(value: &Value, as_text: bool) -> Self {
        if as_text {
            Self::Text(value.to_text().map(|text| folded(&text)))
        } else {
            Self::Number(value.to_number().map_or(f64::NEG_INFINITY, Number::to_f64))
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            // All keys are of one kind.
            _ => Ordering::Equal,
        }
    }
}
