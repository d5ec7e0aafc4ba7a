//! Words that are no names unless they stand in backquotes.

use std::sync::LazyLock;

static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lines = include_str!("reserved.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).collect()
});

pub(super) fn is_reserved(word: &str) -> bool {
    let upper = || word.bytes().map(|byte| byte.to_ascii_uppercase());
    WORDS.binary_search_by(|reserved| reserved.bytes().cmp(upper())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted_and_case_insensitive() {
        assert!(WORDS.is_sorted());
        assert!(WORDS.iter().all(|word| is_reserved(word) && is_reserved(&word.to_lowercase())));
        assert!(!["", "GET_LOCK", "names", "offset", "zerofilled", "é"].into_iter().any(is_reserved));
    }
}
