//! Sums over the rows of a table, or over the one row of a SELECT without one.

use std::{cmp::Ordering, collections::HashSet};

use crate::mysql::{
    sql::{
        ast::{Expr, Operator},
        eval::{Env, Evaluated},
        functions::Function,
        numbers,
    },
    value::{Number, Value, folded},
    work::ROW,
};

/// What is known after some of the rows.
struct Sum<'a> {
    env: &'a Env<'a>,
    function: Function,
    count: i64,
    /// The least, the greatest or the sum.
    value: Value,
    seen: HashSet<String>,
}

pub(in crate::mysql::sql) fn aggregate(env: &Env<'_>, function: Function, args: &[Expr]) -> Evaluated {
    let mut sum = Sum { env, function, count: 0, value: Value::Null, seen: HashSet::new() };
    match env.rows {
        None => sum.add(env, args)?,
        Some(rows) if matches!(args, [Expr::Star]) => {
            sum.count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        }
        Some(rows) => {
            for record in rows {
                env.work.spend(ROW)?;
                let row = record.row();
                sum.add(&Env { row: Some(&row), rows: None, ..*env }, args)?;
            }
        }
    }
    sum.result()
}

impl Sum<'_> {
    /// One row more. A NULL does not count.
    fn add(&mut self, env: &Env<'_>, args: &[Expr]) -> Evaluated<()> {
        let mark = env.work.mark();
        let mut values = args.iter().map(|arg| env.eval(arg)).collect::<Evaluated<Vec<_>>>()?;
        env.work.forget_since(mark);
        if values.iter().any(Value::is_null) {
            return Ok(());
        }
        if self.function == Function::CountDistinct {
            return self.see(&values);
        }
        self.count += 1;
        let Some(value) = values.pop() else { return Ok(()) };
        match self.function {
            Function::Min | Function::Max => {
                let wanted = if self.function == Function::Min { Ordering::Less } else { Ordering::Greater };
                if self.value.is_null() || self.env.compare(&value, &self.value)? == Some(wanted) {
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
                self.value =
                    numbers::calculated(self.env, Operator::Plus, &decimal(so_far), &decimal(value))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts what was not there before.
    fn see(&mut self, values: &[Value]) -> Evaluated<()> {
        let texts: Vec<_> = values.iter().filter_map(Value::to_text).map(|text| folded(&text)).collect();
        let key = texts.join("\0");
        self.env.work.text(ROW + key.len())?;
        self.count += i64::from(self.seen.insert(key));
        Ok(())
    }

    fn result(self) -> Evaluated {
        match self.function {
            Function::Count | Function::CountDistinct => Ok(Value::Int(self.count)),
            Function::Avg => {
                numbers::calculated(self.env, Operator::Divide, &self.value, &Value::Int(self.count))
            }
            _ => Ok(self.value),
        }
    }
}

/// What is summed up does not end with 64 bits.
fn decimal(value: Value) -> Value {
    match value.to_number() {
        Some(Number::Exact(number)) => Value::Decimal(number),
        _ => value,
    }
}
