//! The limits on the work of one statement. Pure.
//!
//! Work is counted in units of about two nanoseconds: a byte that is examined, or a part of a larger step. The strings
//! that a statement makes are charged to the budget of its connection until the statement is over.

use std::cell::{Cell, RefCell};

use super::error::SqlError;
use crate::core::budget::{Budget, Charge, MAX_CONNECTION_MEMORY};

/// The most work of one statement.
pub(super) const MAX_WORK: usize = 64 * 1024 * 1024;

/// The most work in one stretch, in which nobody else is served: an expression cannot be interrupted.
pub(super) const MAX_STRETCH: usize = 8 * 1024 * 1024;

/// After this much work others get their turn: about 250 µs. A connection waits for as much of each busy one.
pub(super) const TURN: usize = 128 * 1024;

/// The fixed cost of an expression.
pub(super) const STEP: usize = 64;

/// The cost of reading a byte of a statement.
pub(super) const READ: usize = 16;

/// The cost of making a row of a table.
pub(super) const ROW: usize = 256;

/// This many bytes of strings are not charged: hardly any statement makes more.
const FREE: usize = 4 * 1024;

/// The work that one statement has done so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: Cell<usize>,
    /// The work at the time when others last had their turn.
    rested: Cell<usize>,
    /// The bytes of the strings that are alive.
    texts: Cell<usize>,
    charge: RefCell<Charge>,
    budget: Budget,
}

impl Work {
    pub(super) fn new(budget: &Budget) -> Self {
        Self {
            done: Cell::default(),
            rested: Cell::default(),
            texts: Cell::default(),
            charge: RefCell::default(),
            budget: budget.clone(),
        }
    }

    /// Counts work before it is done.
    #[inline]
    pub(super) fn spend(&self, units: usize) -> Result<(), SqlError> {
        let done = self.done.get().saturating_add(units);
        if done > MAX_WORK || done - self.rested.get() > MAX_STRETCH {
            return Err(SqlError::TooMuchWork);
        }
        self.done.set(done);
        Ok(())
    }

    /// Counts a string of this many bytes that is made and examined.
    pub(super) fn text(&self, bytes: usize) -> Result<(), SqlError> {
        self.spend(bytes)?;
        self.keep(self.texts.get().saturating_add(bytes))
    }

    /// How many bytes the connection has left.
    pub(super) fn room(&self) -> usize {
        MAX_CONNECTION_MEMORY.saturating_sub(self.budget.used())
    }

    /// The size of the living strings, to return to.
    pub(super) fn mark(&self) -> usize {
        self.texts.get()
    }

    /// Frees all strings that were made since then.
    pub(super) fn forget_since(&self, mark: usize) {
        // To have less is never refused.
        let _ = self.keep(mark);
    }

    /// Frees strings of this many bytes, whenever they were made.
    pub(super) fn release(&self, bytes: usize) {
        self.forget_since(self.texts.get().saturating_sub(bytes));
    }

    /// Charges memory that lives as long as its charge, independent of the strings.
    pub(super) fn resize(&self, charge: &mut Charge, bytes: usize) -> Result<(), SqlError> {
        Ok(self.budget.resize(charge, bytes)?)
    }

    fn keep(&self, bytes: usize) -> Result<(), SqlError> {
        if bytes <= FREE && self.texts.get() <= FREE {
            self.texts.set(bytes);
            return Ok(());
        }
        let charged = self.charge.borrow().bytes();
        if bytes > FREE.max(charged) || bytes < charged / 2 {
            self.budget.resize(&mut self.charge.borrow_mut(), bytes)?;
        }
        self.texts.set(bytes);
        Ok(())
    }

    /// Whether others should get their turn. If so, they are assumed to get it.
    pub(super) fn is_due(&self) -> bool {
        let is_due = self.done.get() - self.rested.get() > TURN;
        if is_due {
            self.rested.set(self.done.get());
        }
        is_due
    }

    pub(super) fn done(&self) -> usize {
        self.done.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fuzzer's own assertion: no statement takes more than its sum.
    #[test]
    fn expression_work_is_bounded() {
        for sql in [
            &include_bytes!("../../../fuzz/seeds/mysql_sql/much_like")[..],
            include_bytes!("../../../fuzz/seeds/mysql_sql/much_text"),
        ] {
            crate::wires::mysql::fuzz::sql(sql);
        }
    }

    #[test]
    fn text_is_charged_and_long_work_yields() {
        let budget = Budget::default();
        let work = Work::new(&budget);
        work.text(100).unwrap();
        assert_eq!(budget.used(), 0, "hardly worth a charge");
        let mark = work.mark();
        work.text(1_000_000).unwrap();
        assert_eq!(budget.used(), 1_000_100);
        assert!(work.text(MAX_CONNECTION_MEMORY).is_err());
        work.forget_since(mark);
        assert_eq!(budget.used(), 100);
        assert!(work.spend(MAX_STRETCH).is_err());
        assert!(work.is_due() && !work.is_due());
        for _ in 0..MAX_WORK / MAX_STRETCH {
            if work.spend(MAX_STRETCH).is_err() {
                break;
            }
            assert!(work.is_due());
        }
        assert!(work.spend(MAX_STRETCH).is_err() && work.done() <= MAX_WORK);
        drop(work);
        assert_eq!(budget.used(), 0);
    }
}
