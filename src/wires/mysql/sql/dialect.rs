//! The settings of a session that affect parsing. Data that variables set, and that the lexer and the parser read.

use crate::wires::mysql::charset::Charset;

/// The meaning of quotes, pipes and blanks: parts of `@@sql_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each mode is set by itself")]
pub(in crate::wires::mysql) struct Dialect {
    pub ansi_quotes: bool,
    pub no_backslash_escapes: bool,
    pub pipes_as_concat: bool,
    /// Whether NOT binds like `!`.
    pub high_not: bool,
    /// Whether blanks may precede the parenthesis of a call.
    pub ignore_space: bool,
    /// The character set in which the statement was written. It is parsed in UTF-8.
    pub charset: Charset,
}
