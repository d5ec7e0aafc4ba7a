//! LIKE (MySQL manual 14.8.1).

use super::is_exact;
use crate::wires::mysql::{
    error::SqlError,
    sql::{
        ast::Expr,
        env::{Env, EvalResult, FOLD},
    },
    value::{Value, folded},
    work::Work,
};

/// The longest string, and the longest pattern, for LIKE.
const MAX_LIKE: (usize, usize) = (64 * 1024, 256);

/// `value LIKE pattern`; `None` if one of them is NULL.
pub(super) fn like(
    env: &Env<'_>,
    value: &Expr,
    pattern: &Expr,
    escape: Option<char>,
) -> EvalResult<Option<bool>> {
    let is_exact = is_exact(value) || is_exact(pattern);
    let (value, pattern) = (env.eval(value)?, env.eval(pattern)?);
    let is_exact = is_exact || [&value, &pattern].iter().any(|text| matches!(text, Value::Bytes { .. }));
    let (value, pattern) = (value.to_text(), pattern.to_text());
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    if length(&value) > MAX_LIKE.0 || length(&pattern) > MAX_LIKE.1 {
        return Err(SqlError::TooComplex.into());
    }
    let Some((value, pattern)) = value.zip(pattern) else { return Ok(None) };
    let matches = if is_exact { matches } else { is_like };
    Ok(Some(matches(&value, &pattern, escape, env.work)?))
}

/// LIKE without case.
pub(super) fn is_like(
    text: &str,
    pattern: &str,
    escape: Option<char>,
    work: &Work,
) -> Result<bool, SqlError> {
    matches(&folded(text), &folded(pattern), escape, work)
}

/// LIKE with case: `%` matches any string, `_` any character; `escape` makes the next character literal. Each character
/// may be examined as often as the pattern is long, and all of that counts as work.
fn matches(text: &str, pattern: &str, escape: Option<char>, work: &Work) -> Result<bool, SqlError> {
    work.spend(FOLD * (text.len() + pattern.len()))?;
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p) = (0, 0);
    // Where to go on when a `%` takes one character more. Only the last one has to be tried again.
    let mut retry = None;
    while t < text.len() {
        let (step, matches) = match pattern.get(p..) {
            Some([first, c, ..]) if Some(*first) == escape => (2, *c == text[t]),
            Some(['%']) => return Ok(true),
            Some(['%', ..]) => {
                retry = Some((t, p));
                p += 1;
                continue;
            }
            Some([c, ..]) => (1, *c == '_' || *c == text[t]),
            _ => (0, false),
        };
        if matches {
            (t, p) = (t + 1, p + step);
        } else if let Some((from, percent)) = retry {
            work.spend(FOLD * (t + 1 - from))?;
            retry = Some((from + 1, percent));
            (t, p) = (from + 1, percent + 1);
        } else {
            return Ok(false);
        }
    }
    Ok(pattern[p..].iter().all(|c| *c == '%'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wires::mysql::sql::ast::ESCAPE;

    #[test]
    fn like_knows_its_wildcards() {
        for (text, pattern, is) in [
            ("wait_timeout", "wait%", true),
            ("wait_timeout", "%TIMEOUT", true),
            ("wait_timeout", r"wait\_timeout", true),
            ("waitxtimeout", r"wait\_timeout", false),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("", "%", true),
            ("aab", "%ab", true),
        ] {
            assert_eq!(is_like(text, pattern, ESCAPE, &Work::default()), Ok(is), "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn like_is_bounded_by_the_work_of_a_statement() {
        let (text, pattern) = ("a".repeat(64 * 1024), format!("%{}b", "a".repeat(250)));
        let work = Work::default();
        assert_eq!(is_like(&text, &pattern, ESCAPE, &work), Err(SqlError::TooMuchWork));
        assert!(work.done() <= crate::wires::mysql::work::MAX_STRETCH);
        let work = Work::default();
        assert_eq!(is_like(&text, "%a%a%a%", ESCAPE, &work), Ok(true));
        assert!(work.done() < 5 * text.len());
    }
}
