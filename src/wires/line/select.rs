//! What is pasted from MySQL beside the call itself: an alias, `FROM DUAL`, and statements that only ask whether the server
//! is there. It is looked for only in lines that are errors otherwise.

use std::str;

/// A statement that only asks whether the server is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `SELECT 1`.
    One,
    /// `SELECT VERSION()`.
    Version,
}

/// Whether what follows the call of a `SELECT` means nothing here: an alias, and `FROM DUAL`.
pub fn is_tail(rest: &[u8]) -> bool {
    str::from_utf8(rest).is_ok_and(|rest| is_alias(without_dual(rest.trim())))
}

/// `SELECT 1` and `SELECT VERSION()`, by which programs look whether a server is there.
pub fn probe(line: &[u8]) -> Option<Probe> {
    let asked = without_first(str::from_utf8(line).ok()?, "SELECT")?;
    if let Some(rest) = without_first(asked, "1") {
        return is_tail(rest.as_bytes()).then_some(Probe::One);
    }
    let rest = without_first(asked, "VERSION")?.strip_prefix('(')?.trim_start().strip_prefix(')')?;
    is_tail(rest.as_bytes()).then_some(Probe::Version)
}

fn without_dual(rest: &str) -> &str {
    without_last(rest, "DUAL").and_then(|rest| without_last(rest, "FROM")).unwrap_or(rest)
}

/// `AS name`, `name`, or nothing.
fn is_alias(text: &str) -> bool {
    let (alias, must_be) = without_first(text, "AS").map_or((text, false), |alias| (alias, true));
    if alias.is_empty() {
        return !must_be;
    }
    let quoted = ['\'', '"', '`']
        .into_iter()
        .find_map(|mark| alias.strip_prefix(mark)?.strip_suffix(mark).map(|alias| !alias.contains(mark)));
    quoted.unwrap_or_else(|| alias.chars().all(is_of_word) && !alias.eq_ignore_ascii_case("FROM"))
}

/// What follows a word that `text` begins with.
fn without_first<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.trim_start().split_at_checked(word.len())?;
    (first.eq_ignore_ascii_case(word) && !rest.starts_with(is_of_word)).then(|| rest.trim_start())
}

/// What stands in front of a word that `text` ends with.
fn without_last<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (rest, last) = text.split_at_checked(text.len().checked_sub(word.len())?)?;
    (last.eq_ignore_ascii_case(word) && !rest.ends_with(is_of_word)).then(|| rest.trim_end())
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_and_dual_mean_nothing() {
        for tail in
            ["", "AS l", "as 'my lock'", "l", "`l`", "FROM DUAL", "as l  from dual", "AS l FROM dual "]
        {
            assert!(is_tail(tail.as_bytes()), "{tail}");
        }
        for other in
            ["AS", "AS 'a", "a b", "FROM", "FROM locks", "FROM DUAL WHERE 1", ", GET_LOCK('b', 1)", "+ 1"]
        {
            assert!(!is_tail(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn probes_are_known() {
        for (line, request) in [
            ("SELECT 1", Some(Probe::One)),
            (" select 1 AS ok FROM DUAL", Some(Probe::One)),
            ("SELECT VERSION()", Some(Probe::Version)),
            ("select version( ) AS v", Some(Probe::Version)),
            ("SELECT 12", None),
            ("SELECT 1 + 1", None),
            ("SELECT VERSION", None),
            ("VERSION()", None),
        ] {
            assert_eq!(probe(line.as_bytes()), request, "{line}");
        }
    }
}
