//! Aggregates over the rows of a table, or over the one row of a SELECT without a table.

use std::{cmp::Ordering, collections::HashSet};

use crate::wires::mysql::{
    sql::{
        ast::{Expr, Operator, SelectItem},
        builtin::Function,
        env::{Env, EvalResult},
        eval::arithmetic,
    },
    value::{Number, Value, folded},
    work::ROW,
};

/// The state of an aggregate after some of the rows.
pub(in crate::wires::mysql) struct Sum<'e> {
    /// The number of its call.
    pub at: usize,
    function: Function,
    args: &'e [Expr],
    count: i64,
    /// The minimum, the maximum or the sum.
    value: Value,
    seen: HashSet<String>,
}

/// An aggregate in a SELECT without a table, which has one row.
pub(in crate::wires::mysql::sql) fn aggregate(
    env: &Env<'_>,
    at: usize,
    function: Function,
    args: &[Expr],
) -> EvalResult {
    let mut sum = Sum::new(at, function, args);
    sum.add(env)?;
    sum.result(env)
}

impl<'e> Sum<'e> {
    fn new(at: usize, function: Function, args: &'e [Expr]) -> Self {
        Self { at, function, args, count: 0, value: Value::Null, seen: HashSet::new() }
    }

    /// The aggregates in the items of a SELECT.
    pub(in crate::wires::mysql) fn all_of(items: &'e [SelectItem]) -> Vec<Self> {
        let (mut sums, mut exprs) = (Vec::new(), items.iter().map(|item| &item.expr).collect::<Vec<_>>());
        while let Some(expr) = exprs.pop() {
            match expr {
                Expr::Call { at, function, args } if function.is_aggregate() => {
                    sums.push(Self::new(*at, *function, args));
                }
                expr => exprs.extend(expr.parts()),
            }
        }
        sums
    }

    /// Whether it is `COUNT(*)`, for which no row has to be read.
    pub(in crate::wires::mysql) fn is_of_rows(&self) -> bool {
        matches!(self.args, [Expr::Star])
    }

    /// Adds a row. NULL does not count.
    pub(in crate::wires::mysql) fn add(&mut self, env: &Env<'_>) -> EvalResult<()> {
        let mark = env.work.mark();
        let mut values = self.args.iter().map(|arg| env.eval(arg)).collect::<EvalResult<Vec<_>>>()?;
        env.work.forget_since(mark);
        if values.iter().any(Value::is_null) {
            return Ok(());
        }
        if self.function == Function::CountDistinct {
            return self.see(env, &values);
        }
        self.count += 1;
        let Some(value) = values.pop() else { return Ok(()) };
        match self.function {
            Function::Min | Function::Max => {
                let wanted = if self.function == Function::Min { Ordering::Less } else { Ordering::Greater };
                if self.value.is_null() || env.compare(&value, &self.value)? == Some(wanted) {
                    env.work.text(value.size())?;
                    self.value = value;
                }
            }
            Function::Sum | Function::Avg => {
                let so_far = if self.value.is_null() {
                    Value::Int(0)
                } else {
                    std::mem::replace(&mut self.value, Value::Null)
                };
                self.value = arithmetic::calculated(env, Operator::Plus, &decimal(so_far), &decimal(value))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts a value if it is new.
    fn see(&mut self, env: &Env<'_>, values: &[Value]) -> EvalResult<()> {
        let texts: Vec<_> = values.iter().filter_map(Value::to_text).map(|text| folded(&text)).collect();
        let key = texts.join("\0");
        env.work.text(ROW + key.len())?;
        self.count += i64::from(self.seen.insert(key));
        Ok(())
    }

    pub(in crate::wires::mysql) fn result(self, env: &Env<'_>) -> EvalResult {
        match self.function {
            Function::Count | Function::CountDistinct => Ok(Value::Int(self.count)),
            Function::Avg => {
                arithmetic::calculated(env, Operator::Divide, &self.value, &Value::Int(self.count))
            }
            _ => Ok(self.value),
        }
    }
}

/// Sums are not limited to 64 bits.
fn decimal(value: Value) -> Value {
    match value.to_number() {
        Some(Number::Exact(number)) => Value::Decimal(number),
        _ => value,
    }
}
