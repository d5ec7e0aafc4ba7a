//! Results that are the same for many rows: those of lock functions that change nothing (whether a lock is free, who
//! holds it, with which token), and compiled regular expressions.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use super::{
    error::SqlError,
    sql::{LockQuery, Pattern},
    value::Value,
};
use crate::core::session::{IsFree, Session, UsedBy};

/// How many compiled patterns a statement keeps: they may be large.
const MAX_PATTERNS: usize = 4;

/// The results that a statement keeps from row to row. Most statements keep none.
#[derive(Debug, Default)]
pub(super) struct LookupCache(RefCell<Option<Box<Cached>>>);

#[derive(Debug, Default)]
struct Cached {
    /// The last arguments and the last result of each call.
    answers: BTreeMap<usize, (LockQuery, Value)>,
    /// The last patterns, the newest at the end.
    patterns: Vec<Arc<Pattern>>,
}

/// The session to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup<'a> {
    pub session: &'a Session,
    pub cache: &'a LookupCache,
}

impl Lookup<'_> {
    /// The result of a lock function that changes nothing. It is asked once if it is the same for all rows.
    pub(super) fn ask(self, at: usize, query: &LockQuery) -> Result<Value, SqlError> {
        if let Some((last, value)) = self.cache.0.borrow().as_ref().and_then(|kept| kept.answers.get(&at))
            && last == query
        {
            return Ok(value.clone());
        }
        let session = self.session;
        let value = match query {
            LockQuery::IsFree(name) => session.query_again(&IsFree(name))?.into(),
            LockQuery::UsedBy(name) => {
                Value::or_null(session.query_again(&UsedBy(name))?.map(|id| id.0.into()))
            }
            LockQuery::FencingToken(name) => Value::or_null(session.token(name)),
        };
        let answer = (query.clone(), value.clone());
        self.cache.0.borrow_mut().get_or_insert_default().answers.insert(at, answer);
        Ok(value)
    }

    /// The pattern as compiled for an earlier row, or compiled now.
    pub(super) fn pattern<E>(
        self,
        is_it: impl Fn(&Pattern) -> bool,
        compile: impl FnOnce() -> Result<Pattern, E>,
    ) -> Result<Arc<Pattern>, E> {
        let mut kept = self.cache.0.borrow_mut();
        let patterns = &mut kept.get_or_insert_default().patterns;
        if let Some(known) = patterns.iter().find(|pattern| is_it(pattern)) {
            return Ok(known.clone());
        }
        if patterns.len() == MAX_PATTERNS {
            patterns.remove(0);
        }
        let compiled = Arc::new(compile()?);
        patterns.push(compiled.clone());
        Ok(compiled)
    }
}
