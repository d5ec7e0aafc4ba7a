//! The message for a field or a parameter that does not exist: which one the client may have meant.

/// The longest name for which a similar one is searched, in bytes.
const MAX_SEARCHED: usize = 64;

/// The message for an unknown name, if that is what serde's `error` is about. `kind` is `field` or `parameter`.
pub(super) fn unknown_name(kind: &str, error: &str) -> Option<String> {
    let (_, rest) = error.split_once("unknown field `")?;
    let (unknown, expected) = rest.split_once("`, ")?;
    Some(match similar(unknown, known(expected)) {
        Some(similar) => format!("unknown {kind} {unknown:?}; did you mean {similar:?}?"),
        None => format!("unknown {kind} {unknown:?}; GET /openapi.json lists the {kind}s"),
    })
}

/// The names in serde's list of what it expected: "one of `a`, `b`". Names with a capital are the spellings of another
/// service.
fn known(expected: &str) -> impl Iterator<Item = &str> {
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| !name.starts_with(|first: char| first.is_uppercase()))
}

/// The known name that is most like an unknown one, if any is: it is written in another way, or is longer or shorter, or
/// differs in a third of its letters at most.
fn similar<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = letters(unknown);
    if !(3..=MAX_SEARCHED).contains(&unknown.len()) {
        return None;
    }
    let distance = |name: &str| {
        let name = letters(name);
        if name.contains(&unknown) || unknown.contains(&name) {
            return Some(name.len().abs_diff(unknown.len()));
        }
        let distance = strsim::damerau_levenshtein(&name, &unknown);
        (distance * 3 <= name.len()).then_some(distance)
    };
    known.filter_map(|name| Some((distance(name)?, name))).min().map(|(_, name)| name)
}

/// Without case and punctuation, in which `ttl_ms`, `ttl-ms` and `ttlMs` differ.
fn letters(name: &str) -> String {
    name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str =
        "one of `ResourceName`, `resourceName`, `ClientId`, `clientId`, `mode`, `waitMs`, `ttlMs`, `note`";

    #[test]
    fn similar_name_is_suggested() {
        for (unknown, similar) in [
            ("name", "resourceName"),
            ("resource_name", "resourceName"),
            ("RESOURCENAME", "resourceName"),
            ("ttl", "ttlMs"),
            ("ttl_ms", "ttlMs"),
            ("waitMS", "waitMs"),
            ("waitms", "waitMs"),
            ("client", "clientId"),
            ("nots", "note"),
        ] {
            let error = format!("unknown field `{unknown}`, expected {FIELDS} at line 1 column 7");
            let expected = format!("unknown field {unknown:?}; did you mean {similar:?}?");
            assert_eq!(unknown_name("field", &error), Some(expected));
        }
    }

    #[test]
    fn other_name_is_sent_to_the_document() {
        for (error, message) in [
            (
                "unknown field `x`, expected `prefix`",
                "unknown parameter \"x\"; GET /openapi.json lists the parameters",
            ),
            (
                "a: unknown field `all`, there are no fields",
                "unknown parameter \"all\"; GET /openapi.json lists the parameters",
            ),
        ] {
            assert_eq!(unknown_name("parameter", error).as_deref(), Some(message));
        }
        assert_eq!(unknown_name("field", "missing field `resourceName`"), None);
    }
}
