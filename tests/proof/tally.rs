//! How much came of what.

use std::{collections::BTreeMap, fmt, sync::Mutex};

#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&self, what: &'static str, count: u64) {
        *self.0.lock().unwrap().entry(what).or_default() += count;
    }

    pub fn add_all(&self, other: &Self) {
        for (what, count) in other.0.lock().unwrap().iter() {
            self.add(what, *count);
        }
    }

    /// Fails if one of these has not come at all.
    pub fn assert_has(&self, kinds: &[&str]) {
        let counts = self.0.lock().unwrap();
        for kind in kinds {
            assert!(counts.contains_key(kind), "it was too calm to prove anything, no {kind}: {counts:?}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap();
        let counts: Vec<_> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        f.write_str(&counts.join(", "))
    }
}
