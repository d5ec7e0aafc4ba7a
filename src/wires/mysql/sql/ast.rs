//! The syntax tree of a statement.

use std::iter;

use smol_str::SmolStr;

use super::builtin::Function;
use crate::wires::mysql::{
    catalog::{self, CatalogError, Table},
    charset::Charset,
    value::Value,
    variables::Scope,
};

/// A statement of the subset that is understood.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) enum Statement {
    Select(Select),
    /// `DO a, b`
    Do(Vec<Expr>),
    Set(Vec<Assignment>),
    Show(Show),
    Kill {
        query: bool,
        id: Expr,
        /// What the client of that session is told.
        reason: Option<Expr>,
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
    /// `PREPARE name FROM ...`
    Prepare {
        name: String,
        from: PrepareSource,
    },
    /// `EXECUTE name USING @a, @b`
    Execute {
        name: String,
        using: Vec<String>,
    },
    /// `DEALLOCATE PREPARE name`
    Deallocate {
        name: String,
    },
}

/// Where the text of a statement is that is prepared by name.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) enum PrepareSource {
    Text(String),
    /// `@name`
    Variable(String),
}

#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the statement, or one of its kinds of calls"
)]
pub(in crate::wires::mysql) struct Select {
    pub items: Vec<SelectItem>,
    pub distinct: bool,
    /// SQL_CALC_FOUND_ROWS: `FOUND_ROWS` then also counts the rows that LIMIT leaves out.
    pub finds_all: bool,
    /// Whether the items sum up all rows.
    pub counts: bool,
    /// The first item that also has a column of its own, which has no value then: its number and the column.
    pub mixed: Option<(usize, String)>,
    pub from: Option<TableName>,
    /// Whether anything in it has an effect, such as to take a lock.
    pub acts: bool,
    pub condition: Option<Expr>,
    pub order: Vec<Order>,
    pub limit: Option<Limit>,
    /// `INTO @a, @b`
    pub into: Vec<String>,
    /// `/*+ MAX_EXECUTION_TIME(n) */`, in milliseconds.
    pub max_execution_time: Option<u64>,
    /// EXPLAIN takes nothing.
    pub explain: bool,
}

/// What rows are sorted by.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) struct Order {
    pub by: By,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) enum By {
    /// The item in this place, counted from 1.
    Place(u64),
    /// A name alone: that of an item, else of a column.
    Name(String),
    Expr(Expr),
}

/// The name of a table; without a database it is of the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct TableName {
    pub database: Option<String>,
    pub name: String,
}

/// `LIMIT offset, count`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Limit {
    pub offset: Rows,
    pub count: Rows,
}

/// A number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Rows {
    Number(u64),
    /// `?`, counted from 0.
    Parameter(usize),
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) struct SelectItem {
    pub expr: Expr,
    pub name: SmolStr,
    /// Whether the statement gives it that name.
    pub is_named: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) enum Assignment {
    /// `@name = expr`
    User(String, Expr),
    /// `@@session.name = expr`; none is DEFAULT.
    System { global: bool, name: String, value: Option<Expr> },
    /// `NAMES charset [COLLATE collation]`; none is DEFAULT.
    Names { charset: Option<String>, collation: Option<String> },
    /// `CHARACTER SET charset`; none is DEFAULT.
    CharacterSet(Option<String>),
}

/// What SHOW and its kin ask for.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) enum Show {
    List(ShowList),
    /// `COUNT(*) WARNINGS`, or `ERRORS`
    Count {
        errors_only: bool,
    },
    /// `COLUMNS FROM table`, and DESCRIBE.
    Columns(TableName, ShowList),
    /// `INDEX FROM table`
    Index(TableName),
    /// `CREATE TABLE table`, or `VIEW`
    CreateTable(TableName),
    /// `CREATE DATABASE [IF NOT EXISTS] name`
    CreateDatabase {
        name: String,
        if_not_exists: bool,
    },
    /// What a server could have stored, and this one has not: it is found after a database is.
    Stored {
        error: CatalogError,
        database: Option<String>,
    },
    /// `GRANTS [FOR user@host]`; none for the current user.
    Grants(Option<(String, String)>),
    /// `CREATE USER user@host`
    CreateUser(Option<(String, String)>),
    BinaryLogs,
    /// `ENGINE name STATUS`
    Engine(String),
    /// `CHECK TABLE a, b` and its kin: the word for it.
    Check(&'static str, Vec<TableName>),
}

impl Show {
    /// Whether it asks for the warnings of the last statement, and leaves them.
    pub(in crate::wires::mysql) fn is_diagnostic(&self) -> bool {
        match self {
            Self::List(list) => {
                matches!(list.table.source, catalog::Source::Warnings | catalog::Source::Errors)
            }
            Self::Count { .. } => true,
            _ => false,
        }
    }
}

/// A SHOW that lists a virtual table, with its filter.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) struct ShowList {
    pub table: &'static Table,
    /// `FROM database`
    pub database: Option<String>,
    pub filter: Option<Expr>,
    /// The pattern behind LIKE, where it is named in the result.
    pub pattern: Option<String>,
    pub limit: Option<Limit>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::wires::mysql) enum Expr {
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
        /// Whose; none if that is not said.
        scope: Option<Scope>,
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
    /// `~expr`
    Invert(Box<Expr>),
    /// `expr COLLATE name`; `exact` if it compares by bytes.
    Collate {
        value: Box<Expr>,
        collation: SmolStr,
        exact: bool,
    },
    /// The name of an expression's character set, or of its collation.
    Charset {
        of: Box<Expr>,
        collation: bool,
    },
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
    Between {
        value: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        negated: bool,
    },
    Like {
        value: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<char>,
        negated: bool,
    },
    /// `expr [NOT] REGEXP pattern`
    Regexp {
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

/// What escapes a character of a pattern by default.
pub(super) const ESCAPE: Option<char> = Some('\\');

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Operator {
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
    BitXor,
    ShiftLeft,
    ShiftRight,
    Concat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Cast {
    Char(Option<usize>),
    Using(Charset),
    Binary(Option<usize>),
    Signed,
    Unsigned,
    Date,
    /// With so many digits of a fraction.
    Time(u8),
    DateTime(u8),
    Year,
    Decimal {
        precision: u32,
        scale: u32,
    },
    Double,
    Float,
}

impl Expr {
    pub(super) fn binary(operator: Operator, left: Self, right: Self) -> Self {
        Self::Binary(operator, Box::new(left), Box::new(right))
    }

    /// The expressions that it is made of.
    pub(super) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Literal(_)
            | Self::Parameter(_)
            | Self::User(_)
            | Self::System { .. }
            | Self::Column(_)
            | Self::Star => Vec::new(),
            Self::Call { args, .. } => args.iter().collect(),
            Self::Not(value)
            | Self::Minus(value)
            | Self::Invert(value)
            | Self::IsNull(value, _)
            | Self::Cast(value, _)
            | Self::Assign { value, .. }
            | Self::Collate { value, .. }
            | Self::Charset { of: value, .. }
            | Self::IsBool { value, .. } => vec![value],
            Self::Binary(_, left, right) => vec![left, right],
            Self::Like { value, pattern, .. } | Self::Regexp { value, pattern, .. } => vec![value, pattern],
            Self::Between { value, low, high, .. } => vec![value, low, high],
            Self::In { value, list, .. } => iter::once(&**value).chain(list).collect(),
            Self::Case { operand, branches, otherwise } => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                branches.chain(operand.as_deref()).chain(otherwise.as_deref()).collect()
            }
        }
    }
}
