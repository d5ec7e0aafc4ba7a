//! What MySQL says of a regular expression that is none.

/// Why a pattern cannot be searched for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::wires::mysql) enum RegexpError {
    #[error("Illegal argument to a regular expression.")]
    Empty,
    #[error("Index out of bounds in regular expression search.")]
    Index,
    #[error("Syntax error in regular expression on line {line}, character {column}.")]
    Syntax { line: usize, column: usize },
    #[error("Unrecognized escape sequence in regular expression.")]
    Escape,
    #[error("Mismatched parenthesis in regular expression.")]
    Parenthesis,
    #[error("Incorrect description of a {{min,max}} interval.")]
    Interval,
    #[error("The maximum is less than the minimum in a {{min,max}} interval.")]
    MaxBelowMin,
    #[error("The regular expression contains an unclosed bracket expression.")]
    Bracket,
    #[error("The regular expression contains an [x-y] character range where x comes after y.")]
    Range,
    #[error("The regular expression pattern exceeds limits on size or complexity.")]
    TooBig,
    #[error("A capture group has an invalid name.")]
    Group,
    #[error("Invalid match mode flag in regular expression.")]
    Flag,
    #[error("Character set 'utf8mb4_0900_ai_ci' cannot be used in conjunction with 'binary' in call to {0}.")]
    Charset(String),
}

impl RegexpError {
    pub(in crate::wires::mysql) fn code(&self) -> u16 {
        match self {
            Self::Empty => 3685,
            Self::Index => 3686,
            Self::Syntax { .. } => 3688,
            Self::Escape => 3689,
            Self::Parenthesis => 3691,
            Self::Interval => 3692,
            Self::MaxBelowMin => 3693,
            Self::Bracket => 3696,
            Self::Range => 3697,
            Self::TooBig => 3700,
            Self::Group => 3887,
            Self::Flag => 3900,
            Self::Charset(_) => 3995,
        }
    }
}
