//! SHOW VARIABLES: row by row, while others have their turn.

use super::{Scope, Variable};
use crate::mysql::{
    result::{Column, Lines, Outcome},
    run::{Ran, Runner},
    sql::{Expr, Type},
    value::Value,
    work::STEP,
};

impl Runner<'_> {
    /// Cancel-safe: it changes nothing.
    pub(in crate::mysql) async fn variables(&mut self, global: bool, filter: Option<&Expr>) -> Ran<Outcome> {
        let columns = ["Variable_name", "Value"];
        let columns = columns.map(|name| Column { name: name.into(), kind: Type::text(256) }).to_vec();
        let (mut lines, form) = (Lines::default(), self.form());
        for variable in Variable::all() {
            if global && variable.scope == Scope::Session {
                continue;
            }
            self.work.spend(STEP)?;
            let mark = self.work.mark();
            let shown = self.env(None).shown(variable, global);
            let row = [("Variable_name", Value::text(variable.name)), ("Value", Value::Text(shown))];
            let is_shown = match filter {
                Some(filter) => self.env(Some(&row)).eval(filter)?.to_bool() == Some(true),
                None => true,
            };
            self.work.forget_since(mark);
            if is_shown {
                let row = row.map(|(_, value)| value);
                self.work.text(lines.push(&columns, &row, form))?;
            }
            self.take_turns().await?;
        }
        Ok(Outcome::List { columns, lines: Box::new(lines) })
    }
}
