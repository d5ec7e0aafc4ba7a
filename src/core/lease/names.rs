//! What a lease is of: one lock, or several.

use crate::name::{Name, distinct};

/// The locks of a lease, in the order in which they were asked for: at least one, and each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseNames {
    first: Name,
    others: Box<[Name]>,
}

impl LeaseNames {
    /// Of several locks, not many. A name that is given twice counts once. None if there is no name.
    pub fn new(names: Vec<Name>) -> Option<Self> {
        let mut names = distinct(names).into_iter();
        names.next().map(|first| Self { first, others: names.collect() })
    }

    /// The first, by which lists have it.
    pub fn first(&self) -> &Name {
        &self.first
    }

    /// Those behind the first.
    pub fn others(&self) -> &[Name] {
        &self.others
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Name> + Clone {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether this lock is one of them.
    pub fn contains(&self, name: &Name) -> bool {
        self.iter().any(|one| one == name)
    }

    /// Whether these are the same locks, in whatever order.
    pub fn is_same_set(&self, other: &Self) -> bool {
        self.others.len() == other.others.len() && self.iter().all(|name| other.contains(name))
    }
}

impl From<Name> for LeaseNames {
    fn from(first: Name) -> Self {
        Self { first, others: Box::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|text| Name::new(text).unwrap()).collect()
    }

    #[test]
    fn name_that_is_given_twice_counts_once() {
        let twice = LeaseNames::new(names(&["b", "a", "B", "a"])).unwrap();
        assert!(twice.iter().eq(&names(&["b", "a"])), "in the order of the request");
        assert!(twice.is_same_set(&LeaseNames::new(names(&["a", "b"])).unwrap()));
        for other in [&["a"][..], &["a", "c"], &["a", "b", "c"]] {
            assert!(!twice.is_same_set(&LeaseNames::new(names(other)).unwrap()));
        }
    }

    #[test]
    fn no_name_makes_no_lease() {
        assert_eq!(LeaseNames::new(Vec::new()), None);
    }
}
