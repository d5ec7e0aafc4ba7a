//! Backslashes in quoted texts.

/// The byte that a backslash and this one stand for (MySQL manual 11.1.1, table 11.1).
pub(crate) fn unescape(c: u8) -> u8 {
    match c {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    }
}
