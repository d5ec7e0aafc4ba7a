//! All native functions of MySQL 8.4, as data: what is served maps to a [`Function`], what is not is known by its name.

use std::{cmp::Ordering, sync::LazyLock};

use super::functions::Function;

/// A function that MySQL has.
#[derive(Debug)]
pub(super) struct Native {
    /// In upper case.
    pub name: &'static str,
    pub kind: NativeKind,
    /// None if the arguments are no plain list.
    pub count: Option<Count>,
    pub bare: Bare,
    /// Whether the parenthesis must follow without a blank.
    pub adjacent: bool,
    pub function: Option<Function>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NativeKind {
    /// A plain call: a wrong number of arguments is error 1582.
    Native,
    /// With a rule of its own in the grammar: wrong arguments are no SQL.
    Grammar,
    Aggregate,
    Window,
    /// For the data dictionary alone.
    Internal,
    /// Not native, but there on every server.
    Loadable,
    /// Of this server.
    Own,
}

/// What a name is without parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    Call,
    Column,
    Reserved,
}

/// How many arguments: `least`, and more by steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub least: usize,
    pub most: usize,
    step: usize,
}

impl Count {
    pub(super) const fn exactly(count: usize) -> Self {
        Self { least: count, most: count, step: 1 }
    }

    pub(super) fn contains(self, count: usize) -> bool {
        (self.least..=self.most).contains(&count) && (count - self.least).is_multiple_of(self.step)
    }

    /// `2`, `1-3`, `2+`, `3+2`, `1,4`
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['-', '+', ',']).unwrap_or(text.len());
        let (least, more) = (text[..at].parse().ok()?, text.get(at + 1..).unwrap_or_default());
        Some(match text.as_bytes().get(at) {
            None => Self::exactly(least),
            Some(b'-') => Self { least, most: more.parse().ok()?, step: 1 },
            Some(b'+') if more.is_empty() => Self { least, most: usize::MAX, step: 1 },
            Some(b'+') => Self { least, most: usize::MAX, step: more.parse().ok()? },
            Some(_) => {
                let most = more.parse::<usize>().ok()?;
                Self { least, most, step: most.checked_sub(least).filter(|step| *step > 0)? }
            }
        })
    }
}

static NATIVES: LazyLock<Vec<Native>> = LazyLock::new(|| rows().filter_map(native).collect());

fn rows() -> impl Iterator<Item = &'static str> {
    include_str!("functions.tsv").lines().filter(|line| !line.starts_with('#'))
}

fn native(row: &'static str) -> Option<Native> {
    let mut fields = row.split('\t');
    let name = fields.next()?;
    let kind = match fields.next()? {
        "native" => NativeKind::Native,
        "grammar" => NativeKind::Grammar,
        "aggregate" => NativeKind::Aggregate,
        "window" => NativeKind::Window,
        "internal" => NativeKind::Internal,
        "loadable" => NativeKind::Loadable,
        "own" => NativeKind::Own,
        _ => return None,
    };
    let count = match fields.next()? {
        "-" => None,
        count => Some(Count::parse(count)?),
    };
    let bare = match fields.next()? {
        "call" => Bare::Call,
        "column" => Bare::Column,
        "reserved" => Bare::Reserved,
        _ => return None,
    };
    let adjacent = fields.next()? == "adjacent";
    Some(Native { name, kind, count, bare, adjacent, function: Function::serving(name) })
}

/// The function of this name, in whatever case.
pub(super) fn named(name: &str) -> Option<&'static Native> {
    let order = |native: &Native| compare(native.name, name);
    NATIVES.binary_search_by(order).ok().map(|at| &NATIVES[at])
}

/// A name in upper case with one in any.
fn compare(known: &str, name: &str) -> Ordering {
    known.bytes().cmp(name.bytes().map(|c| c.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_native_function_is_found() {
        assert_eq!(NATIVES.len(), rows().count());
        for native in NATIVES.iter() {
            let found = named(&native.name.to_ascii_lowercase()).unwrap();
            assert_eq!(found.name, native.name);
        }
        assert!(named("NOSUCH").is_none() && named("").is_none());
    }

    #[test]
    fn served_functions_are_native_functions() {
        for (name, _) in super::super::functions::SERVED {
            assert!(named(name).is_some_and(|native| native.function.is_some()), "{name}");
        }
        for (name, function, count) in super::super::functions::FREQUENT {
            let native = named(name).unwrap();
            assert_eq!(native.function, Some(function));
            assert_eq!(native.count, Some(Count::exactly(count)));
        }
    }

    #[test]
    fn argument_counts_are_ranges_and_steps() {
        for (count, right, wrong) in [
            ("2", &[2][..], &[1, 3][..]),
            ("0-1", &[0, 1], &[2]),
            ("2+", &[2, 3, 99], &[0, 1]),
            ("3+2", &[3, 5, 7], &[1, 4, 6]),
            ("1,4", &[1, 4], &[0, 2, 3, 5, 7]),
        ] {
            let parsed = Count::parse(count).unwrap();
            assert!(right.iter().all(|count| parsed.contains(*count)), "{count}");
            assert!(!wrong.iter().any(|count| parsed.contains(*count)), "{count}");
        }
    }
}
