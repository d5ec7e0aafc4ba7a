//! Differences between MySQL's character tables and those of `encoding_rs`.

use std::{collections::HashMap, ops::RangeInclusive, sync::LazyLock};

/// The codes of a character set that MySQL reads differently.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    /// Codes without a character, in the order of the codes.
    none: Vec<RangeInclusive<u32>>,
    /// Codes with another character, in the order of the codes.
    others: Vec<(u32, char)>,
    /// The same, in the order of the characters.
    codes: Vec<(char, u32)>,
}

impl Exceptions {
    /// The meaning of a code in MySQL, if it differs: another character, or none.
    pub(super) fn of(&self, code: u32) -> Option<Option<char>> {
        if let Ok(at) = self.others.binary_search_by_key(&code, |(code, _)| *code) {
            return Some(Some(self.others[at].1));
        }
        let behind = self.none.partition_point(|codes| *codes.start() <= code);
        (behind > 0 && self.none[behind - 1].contains(&code)).then_some(None)
    }

    /// The code that has this character only in MySQL.
    pub(super) fn code(&self, character: char) -> Option<u32> {
        let at = self.codes.binary_search_by_key(&character, |(character, _)| *character).ok()?;
        Some(self.codes[at].1)
    }
}

/// The exceptions of a character set.
pub(super) fn exceptions(charset: &str) -> &'static Exceptions {
    static NONE: Exceptions = Exceptions { none: Vec::new(), others: Vec::new(), codes: Vec::new() };
    ALL.get(charset).unwrap_or(&NONE)
}

static ALL: LazyLock<HashMap<&'static str, Exceptions>> = LazyLock::new(|| {
    let lines = include_str!("exceptions.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t')).map(|(set, codes)| (set, read(codes))).collect()
});

fn read(codes: &str) -> Exceptions {
    let number = |digits| u32::from_str_radix(digits, 16).ok();
    let mut all = Exceptions::default();
    for code in codes.split(' ') {
        let (first, rest) = code.split_at(code.find(['-', '=']).unwrap_or(code.len()));
        let (Some(first), second) = (number(first), number(rest.get(1..).unwrap_or_default())) else {
            continue;
        };
        match (second, rest.starts_with('=')) {
            (Some(other), true) => all.others.extend(char::from_u32(other).map(|other| (first, other))),
            (last, _) => all.none.push(first..=last.unwrap_or(first)),
        }
    }
    all.others.sort_unstable();
    all.codes = all.others.iter().map(|(code, character)| (*character, *code)).collect();
    all.codes.sort_unstable();
    all
}
