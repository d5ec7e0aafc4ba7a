//! What a statement says.

use smol_str::SmolStr;

use super::functions::Function;
use crate::mysql::value::Value;

/// A statement of the subset that is understood.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mysql) enum Statement {
    Select(Select),
    /// `DO a, b`
    Do(Vec<Expr>),
    Set(Vec<Assignment>),
    Show(Show),
    Kill {
        query: bool,
        id: Expr,
    },
    Use(String),
    /// BEGIN, COMMIT and the like: there is nothing to do. True if one is open afterwards.
    Transaction {
        opens: bool,
    },
    /// What has no effect on locks: FLUSH, LOCK TABLES, SET TRANSACTION.
    Nothing,
    /// `CALL name(...)`
    Call(String),
    /// What is understood, and has no place in a lock server.
    NoSuchThing(String),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::mysql) struct Select {
    pub items: Vec<Item>,
    pub distinct: bool,
    /// Whether the items sum up all rows.
    pub counts: bool,
    pub from: Option<Table>,
    pub condition: Option<Expr>,
    pub order: Vec<(Expr, bool)>,
    pub limit: Option<(u64, u64)>,
    /// `INTO @a, @b`
    pub into: Vec<String>,
    /// `/*+ MAX_EXECUTION_TIME(n) */`, in milliseconds.
    pub max_execution_time: Option<u64>,
    /// EXPLAIN takes nothing.
    pub explain: bool,
}

/// A table that can be selected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mysql) enum Table {
    Processlist,
    MetadataLocks,
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mysql) struct Item {
    pub expr: Expr,
    pub name: SmolStr,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::mysql) enum Assignment {
    /// `@name = expr`
    User(String, Expr),
    /// `@@session.name = expr`; none is DEFAULT.
    System { global: bool, name: String, value: Option<Expr> },
    /// `NAMES charset [COLLATE collation]`; none is DEFAULT.
    Names { charset: Option<String>, collation: Option<String> },
    /// `CHARACTER SET charset`; none is DEFAULT.
    CharacterSet(Option<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::mysql) enum Show {
    Variables(Option<Expr>),
    Status(Option<Expr>),
    Warnings {
        errors_only: bool,
    },
    CountWarnings,
    Processlist {
        full: bool,
    },
    Databases(Option<Expr>),
    Tables,
    /// A list of which there is nothing: `SHOW ENGINES` and the like, with their columns.
    Empty(&'static [&'static str]),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mysql) enum Expr {
    Literal(Value),
    /// `?`, counted from 0.
    Parameter(usize),
    /// `@name`
    User(String),
    /// `@name := expr`. Numbered like a call: it has an effect.
    Assign {
        at: usize,
        name: String,
        value: Box<Expr>,
    },
    /// `@@name`
    System {
        global: bool,
        name: String,
    },
    /// A column of a table.
    Column(String),
    /// `*`
    Star,
    /// A call. `at` numbers the calls of a statement, so that what has an effect happens once.
    Call {
        at: usize,
        function: Function,
        args: Vec<Expr>,
    },
    Not(Box<Expr>),
    Minus(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>, bool),
    /// `expr IS [NOT] TRUE/FALSE`
    IsBool {
        value: Box<Expr>,
        wanted: bool,
        negated: bool,
    },
    In {
        value: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    Like {
        value: Box<Expr>,
        pattern: Box<Expr>,
        negated: bool,
    },
    Case {
        operand: Option<Box<Expr>>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast(Box<Expr>, Cast),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mysql) enum Operator {
    Or,
    Xor,
    And,
    Equal,
    NullSafeEqual,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    IntegerDivide,
    Modulo,
    BitAnd,
    BitOr,
    Concat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mysql) enum Cast {
    Char(Option<usize>),
    Binary,
    Signed,
    Unsigned,
}

impl Expr {
    pub(super) fn binary(operator: Operator, left: Self, right: Self) -> Self {
        Self::Binary(operator, Box::new(left), Box::new(right))
    }
}
