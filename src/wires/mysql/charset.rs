//! MySQL's character sets and collations, by name and by number, and which of them clients may use.

mod bytes;
mod codes;
mod coding;
mod exceptions;
mod session;
mod sets;

use std::{collections::HashMap, sync::LazyLock};

use super::{
    error::{SqlError, Warning},
    variables::VariableError,
};
use coding::Coding;
pub(super) use session::Charsets;
use sets::{SETS, Set};

/// The character set that a client's strings are written in, with one of its collations. Inside the server all strings
/// are UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charset {
    /// The index in the table of character sets.
    set: u8,
    /// The number of the collation.
    number: u16,
}

/// A collation, as in SHOW COLLATION. Lock names have their own collation: here it only selects a character set.
#[derive(Debug)]
pub(super) struct Collation {
    pub name: &'static str,
    /// Its character set, with this collation.
    pub charset: Charset,
    /// How many times as long as a string its sort key may be.
    pub sort_length: u8,
}

const UTF8: &str = "'utf8' is currently an alias for the character set UTF8MB3, but will be an alias for UTF8MB4 in a \
                    future release. Please consider using UTF8MB4 in order to be unambiguous.";
const UTF8MB3: &str =
    "'utf8mb3' is deprecated and will be removed in a future release. Please use utf8mb4 instead";

impl Default for Charset {
    fn default() -> Self {
        Self::UTF8MB4
    }
}

impl Charset {
    pub(super) const UTF8MB4: Self = Self::primary("utf8mb4");
    pub(super) const UTF8MB3: Self = Self::primary("utf8mb3");
    pub(super) const BINARY: Self = Self::primary("binary");

    /// All 41, in the order of their names.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0u8..).zip(&SETS).map(|(set, known)| Self { set, number: known.number })
    }

    const fn primary(name: &str) -> Self {
        let mut at = 0;
        while !sets::is_same(SETS[at].name, name) {
            at += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "there are 41")]
        Self { set: at as u8, number: SETS[at].number }
    }

    /// The character set of this name, with its default collation, even if it is not supported.
    pub(super) fn known(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = if name == "utf8" { "utf8mb3" } else { &name };
        let at = SETS.binary_search_by_key(&name, |set| set.name).ok()?;
        Some(Self { set: u8::try_from(at).ok()?, number: SETS[at].number })
    }

    /// The character set of this name, if clients may use it.
    pub(super) fn named(name: &str) -> Result<Self, SqlError> {
        Self::known(name)
            .ok_or_else(|| SqlError::UnknownCharset(name.to_owned()))?
            .served("character_set_client")
    }

    /// MySQL's warning about the old names of UTF-8.
    pub(super) fn deprecation(name: &str) -> Option<Warning> {
        if name.eq_ignore_ascii_case("utf8") {
            return Some(Warning::new(3719, UTF8));
        }
        name.eq_ignore_ascii_case("utf8mb3").then(|| Warning::new(1287, UTF8MB3))
    }

    /// The character set for a collation number that a client sends at login. For a number that MySQL does not know
    /// either, it is the server's default.
    pub(super) fn numbered(collation: u16) -> Result<Self, SqlError> {
        Collation::numbered(collation)
            .map_or_else(Self::default, |known| known.charset)
            .served("character_set_client")
    }

    /// The character set of this number, if clients may use it. As in MySQL, they may not use those with wide
    /// characters.
    pub(super) fn served(self, variable: &'static str) -> Result<Self, SqlError> {
        match self.known_set().coding {
            Coding::Wide => Err(VariableError::WrongValue { variable, value: self.name().to_owned() }.into()),
            Coding::None => Err(SqlError::UnknownCharset(self.name().to_owned())),
            _ => Ok(self),
        }
    }

    /// Whether clients may use it.
    pub(super) fn is_served(self) -> bool {
        self.served("").is_ok()
    }

    pub(super) fn name(self) -> &'static str {
        self.known_set().name
    }

    pub(super) fn description(self) -> &'static str {
        self.known_set().description
    }

    /// The name of its collation.
    pub(super) fn collation(self) -> &'static str {
        Collation::numbered(self.number).map_or("", |collation| collation.name)
    }

    /// The same character set with another of its collations.
    pub(super) fn with(self, collation: &str) -> Result<Self, SqlError> {
        let collation = Collation::named(collation)?;
        if collation.charset.set == self.set {
            return Ok(collation.charset);
        }
        Err(SqlError::WrongCollation { collation: collation.name, charset: self.name() })
    }

    /// The same character set with its default collation.
    pub(super) fn with_default(self) -> Self {
        Self { number: self.known_set().number, ..self }
    }

    /// The number of its collation, for the definitions of columns.
    pub(super) fn number(self) -> u16 {
        self.number
    }

    /// The most bytes of a character.
    pub(super) fn width(self) -> u32 {
        self.known_set().width.into()
    }

    fn known_set(self) -> &'static Set {
        &SETS[usize::from(self.set)]
    }
}

impl Collation {
    /// All 286, in the order of their numbers.
    pub(super) fn all() -> &'static [Self] {
        &COLLATIONS.all
    }

    pub(super) fn named(name: &str) -> Result<&'static Self, SqlError> {
        let wanted = name.to_ascii_lowercase();
        let found = match wanted.strip_prefix("utf8_") {
            Some(rest) => COLLATIONS.by_name.get(&*format!("utf8mb3_{rest}")),
            None => COLLATIONS.by_name.get(&*wanted),
        };
        found.map(|at| &COLLATIONS.all[*at]).ok_or_else(|| SqlError::UnknownCollation(name.to_owned()))
    }

    pub(super) fn numbered(number: u16) -> Option<&'static Self> {
        let at = COLLATIONS.all.binary_search_by_key(&number, Self::number).ok()?;
        Some(&COLLATIONS.all[at])
    }

    pub(super) fn number(&self) -> u16 {
        self.charset.number
    }

    /// Whether it is the default of its character set.
    pub(super) fn is_default(&self) -> bool {
        self.charset == self.charset.with_default()
    }

    /// Whether trailing blanks count: `NO PAD`.
    pub(super) fn counts_blanks(&self) -> bool {
        self.name == "binary" || self.name.contains("_0900_")
    }
}

struct Collations {
    all: Vec<Collation>,
    by_name: HashMap<&'static str, usize>,
}

static COLLATIONS: LazyLock<Collations> = LazyLock::new(|| {
    let lines = include_str!("charset/collations.tsv").lines().filter(|line| !line.starts_with('#'));
    let all: Vec<_> = lines.filter_map(collation).collect();
    let by_name = all.iter().enumerate().map(|(at, collation)| (collation.name, at)).collect();
    Collations { all, by_name }
});

fn collation(line: &'static str) -> Option<Collation> {
    let mut fields = line.split('\t');
    let (number, name) = (fields.next()?.parse().ok()?, fields.next()?);
    let charset = Charset::known(name.split('_').next()?)?;
    let sort_length = fields.next()?.parse().ok()?;
    Some(Collation { name, charset: Charset { number, ..charset }, sort_length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charset_tables_are_complete_and_agree() {
        assert!(SETS.is_sorted_by_key(|set| set.name));
        assert_eq!((Charset::all().count(), Collation::all().len()), (41, 286));
        assert!(Collation::all().is_sorted_by_key(Collation::number));
        for charset in Charset::all() {
            let collation = Collation::named(charset.collation()).unwrap();
            assert!(collation.is_default() && collation.charset == charset, "{collation:?}");
            assert_eq!(Charset::known(charset.name()), Some(charset));
        }
    }

    #[test]
    fn unknown_collation_id_is_the_server_charset() {
        let name = |number| Charset::numbered(number).map(Charset::name);
        assert_eq!((name(28), name(87), name(255)), (Ok("gbk"), Ok("gbk"), Ok("utf8mb4")));
        assert_eq!((name(8), name(63), name(33)), (Ok("latin1"), Ok("binary"), Ok("utf8mb3")));
        assert_eq!((name(0), name(17), name(5_000)), (Ok("utf8mb4"), Ok("utf8mb4"), Ok("utf8mb4")));
        assert_eq!(name(3), Err(SqlError::UnknownCharset("dec8".to_owned())));
        assert_eq!(name(35).unwrap_err().code(), (1231, "42000"));
    }

    #[test]
    fn collation_belongs_to_its_charset() {
        let gbk = Charset::named("GBK").unwrap();
        assert_eq!(gbk.with("gbk_bin").map(Charset::number), Ok(87));
        assert_eq!(gbk.with("utf8mb4_bin").unwrap_err().code().0, 1253);
        assert_eq!(gbk.with("gbk_nonsense").unwrap_err().code().0, 1273);
        assert_eq!(Collation::named("utf8_general_ci").unwrap().name, "utf8mb3_general_ci");
        assert_eq!(Charset::named("utf8").map(Charset::name), Ok("utf8mb3"));
    }
}
