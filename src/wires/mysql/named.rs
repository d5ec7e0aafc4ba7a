//! Prepared statements that have a name: PREPARE, EXECUTE and DEALLOCATE PREPARE (MySQL manual 15.5).

use std::{collections::BTreeMap, mem};

use super::{
    error::SqlError,
    intake::READ,
    look::Kept,
    prepared::Prepared,
    result::{Column, Outcome},
    run::{Ran, Runner, without_end},
    sql::{self, Source, Statement},
    value::Value,
};
use crate::core::budget::{Budget, Charge};

/// What a name needs beside its text.
const ENTRY: usize = 192;

/// Those of a connection. Most have none.
#[derive(Debug, Default)]
pub(super) struct Named(Option<Box<ByName>>);

/// By their names in lower case.
#[derive(Debug, Default)]
struct ByName(BTreeMap<String, (Prepared, Charge)>);

impl Named {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |named| named.0.len())
    }

    fn get(&self, name: &str) -> Result<&Prepared, SqlError> {
        let found = self.0.as_ref().and_then(|named| named.0.get(&name.to_lowercase()));
        found.map(|(prepared, _)| prepared).ok_or_else(|| unknown(name, "EXECUTE"))
    }

    fn insert(&mut self, name: &str, prepared: Prepared, budget: &Budget) -> Result<(), SqlError> {
        let name = name.to_lowercase();
        let charge = budget.charge(ENTRY + name.len())?;
        self.0.get_or_insert_default().0.insert(name, (prepared, charge));
        Ok(())
    }

    /// DEALLOCATE PREPARE
    pub(super) fn deallocate(&mut self, name: &str) -> Result<(), SqlError> {
        if self.forget(name) { Ok(()) } else { Err(unknown(name, "DEALLOCATE PREPARE")) }
    }

    /// Whether there was one.
    fn forget(&mut self, name: &str) -> bool {
        self.0.as_mut().is_some_and(|named| named.0.remove(&name.to_lowercase()).is_some())
    }
}

fn unknown(name: &str, command: &'static str) -> SqlError {
    SqlError::UnknownStatement { name: name.to_owned(), command }
}

impl Runner<'_> {
    /// How many placeholders a statement has that is to be prepared, and which columns.
    pub(super) fn prepare(&self, sql: &[u8]) -> Ran<(u16, Vec<Column>)> {
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

    /// A statement that had the name is gone, even if the new one is wrong.
    pub(super) fn prepare_named(&mut self, name: &str, from: &Source) -> Ran<()> {
        self.state.named.forget(name);
        let sql = match from {
            Source::Text(text) => {
                self.pay_for(text.len())?;
                text.clone()
            }
            Source::Variable(name) => {
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
    pub(super) async fn execute_named(&mut self, name: &str, using: &[String]) -> Ran<Outcome> {
        let prepared = self.state.named.get(name)?;
        if prepared.parameters != using.len() {
            return Err(SqlError::WrongArguments("EXECUTE".to_owned()).into());
        }
        let sql = prepared.sql.clone();
        self.pay_for(sql.len())?;
        let values = self.values_of(using)?;
        let parsed = self.state.parse(&sql)?;
        let text = String::from_utf8_lossy(&sql);
        let mut runner = Runner {
            io: self.io,
            session: self.session,
            state: self.state,
            sql: without_end(&text),
            parameters: &values,
            now: self.now,
            outcomes: Vec::new(),
            kept: Kept::default(),
            deadline: None,
            work: mem::take(&mut self.work),
            binary: false,
        };
        let outcome = match runner.begin(&parsed) {
            Ok(()) => runner.statement(&parsed.statement).await,
            Err(error) => Err(error.into()),
        };
        self.work = runner.work;
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

    /// A statement is there twice: as a text, and as what was read out of it.
    fn pay_for(&mut self, length: usize) -> Result<(), SqlError> {
        self.state.effort += READ * length;
        self.work.text(2 * length)
    }
}
