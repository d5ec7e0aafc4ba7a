//! A place that is taken: whose it is, and how it passes on.

use std::sync::Arc;

use super::{NoPlace, Places, QuotaKey, strangers::Age};

/// Places that are taken. Dropped, they are given back.
#[derive(Debug)]
pub struct Place {
    pub(super) places: Arc<Places>,
    pub(super) holder: Holder,
    pub(super) count: usize,
}

#[derive(Debug)]
pub(super) enum Holder {
    Principal(QuotaKey),
    Stranger(Age),
}

impl Place {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Passes to another principal: to the user that one has logged in as.
    ///
    /// # Errors
    /// [`NoPlace`]: it stays whose it was.
    pub fn pass_to(&mut self, to: QuotaKey) -> Result<(), NoPlace> {
        if matches!(&self.holder, Holder::Principal(now) if *now == to) {
            return Ok(());
        }
        let mut taken = self.places.taken.lock();
        let passed = match &self.holder {
            Holder::Principal(from) => {
                taken.give_back(from, self.count);
                let passed = taken.take(&self.places, &to, self.count);
                passed.inspect_err(|_| taken.put(from, self.count))
            }
            Holder::Stranger(age) => {
                let stranger = taken.strangers.remove(*age);
                let passed = taken.take(&self.places, &to, self.count);
                match (stranger, &passed) {
                    (Some((_, exit)), Ok(())) => exit.stay(),
                    (Some((from, exit)), Err(_)) => taken.strangers.put(*age, from, exit),
                    // It was told to leave, and does so.
                    (None, _) => {}
                }
                passed
            }
        };
        drop(taken);
        passed.map_err(|cause| self.places.refuse(cause))?;
        self.holder = Holder::Principal(to);
        Ok(())
    }

    /// Takes so many more for the same principal, or one if there are not so many: how many.
    ///
    /// # Errors
    /// [`NoPlace`]: nothing more is taken.
    pub fn grow_up_to(&mut self, wanted: usize) -> Result<usize, NoPlace> {
        let Holder::Principal(principal) = &self.holder else { return Ok(0) };
        let more = self.places.try_up_to(principal, wanted)?;
        self.count += more;
        Ok(more)
    }

    /// Gives some back.
    pub fn shrink(&mut self, fewer: usize) {
        let fewer = fewer.min(self.count);
        if let Holder::Principal(principal) = &self.holder {
            self.places.taken.lock().give_back(principal, fewer);
            self.count -= fewer;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        match &self.holder {
            Holder::Principal(principal) => taken.give_back(principal, self.count),
            // One that was told to leave has none any more.
            Holder::Stranger(age) => drop(taken.strangers.remove(*age)),
        }
    }
}
