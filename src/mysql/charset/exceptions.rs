//! Where MySQL's tables of characters are not those of `encoding_rs`.

use std::{collections::HashMap, ops::RangeInclusive, sync::LazyLock};

/// The codes of a character set that MySQL reads otherwise.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    /// In their order: what is no character, or another one.
    codes: Vec<RangeInclusive<u32>>,
    /// Single bytes that are other characters.
    others: Vec<(u32, char)>,
}

impl Exceptions {
    pub(super) fn has(&self, code: u32) -> bool {
        let behind = self.codes.partition_point(|codes| *codes.start() <= code);
        behind > 0 && self.codes[behind - 1].contains(&code)
    }

    /// What a byte is in MySQL, if that is something else: another character, or none.
    pub(super) fn of_byte(&self, byte: u8) -> Option<Option<char>> {
        let code = byte.into();
        let other = self.others.iter().find(|(of, _)| *of == code).map(|(_, other)| Some(*other));
        other.or_else(|| self.has(code).then_some(None))
    }
}

/// Those of a character set.
pub(super) fn exceptions(charset: &str) -> &'static Exceptions {
    static NONE: Exceptions = Exceptions { codes: Vec::new(), others: Vec::new() };
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
            (last, _) => all.codes.push(first..=last.unwrap_or(first)),
        }
    }
    all
}
