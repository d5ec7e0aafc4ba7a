//! Named prepared statements: PREPARE, EXECUTE and DEALLOCATE PREPARE (MySQL manual 15.5).

use std::mem;

use super::{
    error::SqlError,
    executor::{ExecResult, Executor},
    prepared::Prepared,
    result::{Column, Outcome},
    sql::{self, PrepareSource, Statement},
    value::Value,
    work::READ,
};

impl Executor<'_> {
    /// The number of placeholders, and the columns, of a statement to be prepared.
    pub(super) fn prepare(&self, sql: &[u8]) -> ExecResult<(u16, Vec<Column>)> {
        let parsed = self.state.parse(sql)?;
        if let Some(rest) = parsed.rest {
            return Err(sql::syntax_error(sql, rest).into());
        }
        let parameters = u16::try_from(parsed.parameters).map_err(|_| SqlError::TooManyParameters)?;
        let is_of_prepared = matches!(
            parsed.statement,
            Statement::Prepare { .. } | Statement::Execute { .. } | Statement::Deallocate { .. }
        );
        // Warnings are those of the statement before, which would be the EXECUTE.
        if is_of_prepared || parsed.is_diagnostic() {
            return Err(SqlError::NotPreparable.into());
        }
        let columns = self.prepared(&parsed.statement)?;
        Ok((parameters, columns))
    }

    /// An older statement of this name is removed even if the new one is invalid.
    pub(super) fn prepare_named(&mut self, name: &str, from: &PrepareSource) -> ExecResult<()> {
        self.state.named.forget(name);
        let sql = match from {
            PrepareSource::Text(text) => {
                self.pay_for(text.len())?;
                text.clone()
            }
            PrepareSource::Variable(name) => {
                self.pay_for(self.state.user_variables.get(name).map_or(0, Value::size))?;
                let text = self.state.user_variables.get(name).and_then(Value::to_text);
                // MySQL, too, takes NULL for this word.
                text.unwrap_or_else(|| "NULL".to_owned())
            }
        };
        let sql = sql.into_bytes();
        let (parameters, _) = self.prepare(&sql)?;
        self.state.check_prepared()?;
        let prepared = Prepared::new(sql, parameters.into(), &self.state.budget)?;
        self.state.named.insert(name, prepared, &self.state.budget)?;
        Ok(())
    }

    /// Cancel-safe: dropped while it waits for a lock, it leaves the queue.
    pub(super) async fn execute_named(&mut self, name: &str, using: &[String]) -> ExecResult<Outcome> {
        let prepared = self.state.named.get(name)?;
        if prepared.parameters != using.len() {
            return Err(SqlError::WrongArguments("EXECUTE".to_owned()).into());
        }
        let sql = prepared.sql.clone();
        self.pay_for(sql.len())?;
        let values = self.values_of(using)?;
        let parsed = self.state.parse(&sql)?;
        let (now, work) = (self.now, mem::take(&mut self.work));
        let mut inner = Executor::new(self.io, self.session, self.leases, self.state, &sql, &values, false);
        (inner.now, inner.work) = (now, work);
        let outcome = inner.statement(&parsed).await;
        self.work = inner.work;
        self.deliveries = inner.deliveries;
        outcome
    }

    fn values_of(&self, variables: &[String]) -> Result<Vec<Value>, SqlError> {
        let value = |name: &String| {
            let value = self.state.user_variables.get(name).unwrap_or(&Value::Null);
            self.work.text(value.size())?;
            Ok(value.clone())
        };
        variables.iter().map(value).collect()
    }

    /// A statement is in memory twice: as text, and parsed.
    fn pay_for(&mut self, length: usize) -> Result<(), SqlError> {
        self.state.effort += READ * length;
        self.work.text(2 * length)
    }
}
