//! How a session wants its statements to be read. Data, which variables set and the lexer and the parser ask.

use crate::wires::mysql::charset::Charset;

/// How quotes, pipes and blanks are read: parts of `@@sql_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each mode is set by itself")]
pub(in crate::wires::mysql) struct Dialect {
    pub ansi_quotes: bool,
    pub no_backslash_escapes: bool,
    pub pipes_as_concat: bool,
    /// NOT binds as `!` does.
    pub high_not: bool,
    /// Whether blanks may stand in front of a call's parenthesis.
    pub ignore_space: bool,
    /// What the statement was written in: it is read in UTF-8.
    pub charset: Charset,
}
