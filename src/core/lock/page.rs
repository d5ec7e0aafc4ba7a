//! Pages of lists. Rows have an order in which none changes its position, and each has a key for its position.
//!
//! A row that exists throughout is on exactly one page.

use std::{fmt, str::FromStr};

use super::{SessionId, Token, queue::QueuePosition};
use crate::name::Name;

/// The page of a list that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// Only rows after the one with this key.
    pub after: Option<K>,
    /// At most this many rows.
    pub limit: usize,
}

impl<K> Page<K> {
    /// The first page.
    pub fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }
}

impl<K: Ord> Page<K> {
    /// Whether a row with this key comes after the previous pages.
    pub(crate) fn is_behind(&self, key: &K) -> bool {
        self.after.as_ref().is_none_or(|after| after < key)
    }
}

/// The rows of a page.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    /// At most as many rows as were asked for.
    pub rows: Vec<T>,
    /// The number of rows on all pages.
    pub total: usize,
    /// Whether there are rows after these.
    pub has_more: bool,
}

impl<T> Paged<T> {
    /// Selects a page of all rows, which are in the order of their keys.
    pub(crate) fn of<K: Ord>(rows: Vec<T>, page: &Page<K>, key: impl Fn(&T) -> K) -> Self {
        let total = rows.len();
        let behind = rows.into_iter().skip_while(|row| !page.is_behind(&key(row))).collect();
        Self { total, ..Self::first(behind, page.limit) }
    }

    /// The first rows of `rows`.
    pub(crate) fn first(mut rows: Vec<T>, limit: usize) -> Self {
        let total = rows.len();
        rows.truncate(limit);
        Self { rows, total, has_more: total > limit }
    }

    /// Converts each row.
    pub(crate) fn map<U>(self, row: impl FnMut(T) -> U) -> Paged<U> {
        let Self { rows, total, has_more } = self;
        Paged { rows: rows.into_iter().map(row).collect(), total, has_more }
    }

    /// The key of the last row, after which the next page begins; `None` if this is the last page.
    pub(crate) fn next<K: fmt::Display>(&self, key: impl Fn(&T) -> K) -> Option<String> {
        self.rows.last().filter(|_| self.has_more).map(|row| key(row).to_string())
    }
}

/// The first rows of a list, and the number of all rows.
#[derive(Clone, Debug)]
pub struct Truncated<T> {
    /// At most as many rows as were asked for.
    pub rows: Vec<T>,
    /// The number of rows in all.
    pub total: usize,
}

impl<T> Truncated<T> {
    /// The first `limit` of `rows`.
    pub fn of(mut rows: Vec<T>, limit: usize) -> Self {
        let total = rows.len();
        rows.truncate(limit);
        Self { rows, total }
    }

    /// Converts each row.
    pub fn map<U>(self, row: impl FnMut(T) -> U) -> Truncated<U> {
        Truncated { rows: self.rows.into_iter().map(row).collect(), total: self.total }
    }
}

impl<T> From<Paged<T>> for Truncated<T> {
    fn from(Paged { rows, total, .. }: Paged<T>) -> Self {
        Self { rows, total }
    }
}

/// A string that is not the key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKey;

/// The position of a hold among the holds of all locks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldKey {
    /// The name of the lock,
    pub name: Name,
    /// and for one lock the token of the grant.
    pub token: Token,
}

impl fmt::Display for HoldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.token, self.name.as_str())
    }
}

impl FromStr for HoldKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let (token, name) = text.split_once(':').ok_or(NoKey)?;
        let (token, name) = (token.parse().map_err(|_| NoKey)?, Name::from_shown(name).map_err(|_| NoKey)?);
        Ok(Self { name, token })
    }
}

/// The position of a waiter in the queue of its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterKey(pub(super) QueuePosition);

impl fmt::Display for WaiterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, ticket) = self.0.numbers();
        write!(f, "{place}:{ticket}")
    }
}

impl FromStr for WaiterKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let (place, ticket) = text.split_once(':').ok_or(NoKey)?;
        let (place, ticket) = (place.parse().map_err(|_| NoKey)?, ticket.parse().map_err(|_| NoKey)?);
        Ok(Self(QueuePosition::from_numbers(place, ticket)))
    }
}

impl FromStr for SessionId {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        text.parse().map(Self).map_err(|_| NoKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_keys_round_trip() {
        let key = HoldKey { name: Name::new("a:b c").unwrap(), token: 7 };
        assert_eq!((key.to_string().as_str(), "7:A:B c".parse()), ("7:a:b c", Ok(key)));
        let (upgrade, other) =
            (WaiterKey(QueuePosition::new(true, 9)), WaiterKey(QueuePosition::new(false, 2)));
        assert!(upgrade < other);
        assert_eq!((upgrade.to_string().parse(), other.to_string().parse()), (Ok(upgrade), Ok(other)));
        for shown in ["7:SERVICE:NS:A:b", "7:SERVICE:a%3Ab%25:c"] {
            assert_eq!(shown.parse::<HoldKey>().unwrap().to_string(), shown);
        }
        for wrong in ["", "7", "x:a", "7:", ":a"] {
            assert_eq!(wrong.parse::<HoldKey>(), Err(NoKey), "{wrong}");
        }
        assert_eq!(("".parse::<WaiterKey>(), "u".parse::<WaiterKey>()), (Err(NoKey), Err(NoKey)));
    }
}
