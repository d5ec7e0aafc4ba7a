//! Versions of etcd whose compare-and-swap can be relied on.

/// What is wrong with a version, and what to do; `None` if it is sound.
///
/// Members of 3.4.21 and of 3.5.0 to 3.5.5 can diverge: a key is then one thing at one of them and another at the next.
pub(super) fn unsound(version: &str) -> Option<String> {
    let sound = match numbers(version) {
        Some((3, 4, patch)) => patch >= 22,
        Some((3, 5, patch)) => patch >= 6,
        Some(numbers) => numbers >= (3, 6, 0),
        None => false,
    };
    let advice = "use 3.4.22, 3.5.6 or later, or risk it with --cluster-etcd-anyway";
    (!sound).then(|| format!("etcd {version}: members of this version can diverge; {advice}"))
}

fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.splitn(3, '.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    let patch = parts.next()?.split(['-', '+']).next()?.parse().ok()?;
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diverging_versions_are_unsound() {
        for sound in ["3.4.22", "3.4.23", "3.4.100", "3.5.6", "3.5.16", "3.6.0", "3.6.0-rc.1", "4.0.0"] {
            assert_eq!(unsound(sound), None, "{sound}");
        }
        for wrong in
            ["3.3.27", "3.4.0", "3.4.21", "3.5.0", "3.5.2", "3.5.5", "3.5.0-alpha", "2.3.8", "", "3.5"]
        {
            assert!(unsound(wrong).is_some(), "{wrong}");
        }
    }
}
