//! How much one statement may make the server do. Pure.
//!
//! Work is counted in units of about two nanoseconds: a byte that is looked at, or a part of a larger step. The texts
//! that a statement makes are charged to the memory of its connection until the statement is over.

use std::cell::{Cell, RefCell};

use super::error::SqlError;
use crate::core::budget::{Budget, Charge};

/// The most work of one statement.
pub(super) const MAX_WORK: usize = 64 * 1024 * 1024;

/// The most of it in one stretch, while nobody else is served: an expression cannot be interrupted.
pub(super) const MAX_STRETCH: usize = 8 * 1024 * 1024;

/// After so much others have their turn: about 250 µs. A connection waits for as much of each that is busy.
pub(super) const TURN: usize = 128 * 1024;

/// What an expression costs, whatever it is.
pub(super) const STEP: usize = 64;

/// What it costs to read a byte of a statement.
pub(super) const READ: usize = 16;

/// What it costs to make a row of a table.
pub(super) const ROW: usize = 256;

/// So many bytes of texts are not worth a charge: hardly any statement makes more.
const FREE: usize = 4 * 1024;

/// What one statement has done so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: Cell<usize>,
    /// What was done when others had their turn last.
    rested: Cell<usize>,
    /// Bytes of the texts that live.
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

    /// Counts work, before it is done.
    #[inline]
    pub(super) fn spend(&self, units: usize) -> Result<(), SqlError> {
        let done = self.done.get().saturating_add(units);
        if done > MAX_WORK || done - self.rested.get() > MAX_STRETCH {
            return Err(SqlError::TooMuchWork);
        }
        self.done.set(done);
        Ok(())
    }

    /// A text of so many bytes is made, and looked at for that.
    pub(super) fn text(&self, bytes: usize) -> Result<(), SqlError> {
        self.spend(bytes)?;
        self.keep(self.texts.get().saturating_add(bytes))
    }

    /// How much lives, to go back to.
    pub(super) fn mark(&self) -> usize {
        self.texts.get()
    }

    /// All texts are gone that were made since then.
    pub(super) fn forget_since(&self, mark: usize) {
        // To have less is never refused.
        let _ = self.keep(mark);
    }

    /// Texts of so many bytes are gone, whenever they were made.
    pub(super) fn release(&self, bytes: usize) {
        self.forget_since(self.texts.get().saturating_sub(bytes));
    }

    /// Charges what lives as long as its charge does, whatever becomes of the texts.
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

    /// Whether others should have their turn. If so they are taken to have it.
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
    use crate::core::budget::MAX_CONNECTION_MEMORY;

    /// The fuzzer's own assertion: no statement takes more than its sum.
    #[test]
    fn no_expression_takes_more_than_its_sum() {
        for sql in [
            &include_bytes!("../../../fuzz/seeds/mysql_sql/much_like")[..],
            include_bytes!("../../../fuzz/seeds/mysql_sql/much_text"),
        ] {
            crate::wires::mysql::fuzz::sql(sql);
        }
    }

    #[test]
    fn texts_are_charged_while_they_live_and_a_stretch_ends_with_the_turn_of_others() {
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
