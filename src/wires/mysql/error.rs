//! MySQL's errors: number, SQLSTATE and text.

use std::fmt;

use getlockd_proto::escape::Written;

use super::{catalog::CatalogError, variables::VariableError};
use crate::{
    core::{
        budget::Exceeded,
        command::{self, Forbidden, LimitDiffers, MAX_NAMES},
        lock::Cycle,
        session::ShownName,
        share::{QuotaCause, QuotaExceeded, Resource},
    },
    name::Name,
};

/// The error that a client receives instead of a result. The session and its locks remain, unless the packets themselves
/// are malformed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum SqlError {
    #[error(
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near '{near}' at line {line}"
    )]
    Syntax { near: String, line: usize },
    #[error("Query was empty")]
    EmptyQuery,
    #[error("Incorrect parameter count in the call to native function '{0}'")]
    ParameterCount(String),
    #[error(
        "In aggregated query without GROUP BY, expression #{number} of SELECT list contains nonaggregated column '{column}'; this is incompatible with sql_mode=only_full_group_by"
    )]
    Mixed { number: usize, column: String },
    #[error("Unknown column '{column}' in '{clause}'")]
    UnknownColumn { column: String, clause: &'static str },
    #[error("Column '{column}' in {clause} is ambiguous")]
    AmbiguousColumn { column: String, clause: &'static str },
    #[error("No tables used")]
    NoTables,
    #[error("Illegal double '{0}' value found during parsing")]
    IllegalDouble(String),
    #[error("FUNCTION {0} does not exist")]
    UnknownFunction(String),
    #[error(
        "FUNCTION {0} does not exist. Check the 'Function Name Parsing and Resolution' section in the Reference Manual"
    )]
    NameCollision(String),
    #[error("Access to native function '{0}' is rejected.")]
    RejectedFunction(String),
    /// A native function of MySQL that is not supported, by its name there.
    #[error("getlockd is a lock server and has no function {0}")]
    NoFunction(&'static str),
    #[error("Incorrect {kind} value: '{value}'")]
    IncorrectValue { kind: &'static str, value: String },
    #[error("PROCEDURE {0} does not exist")]
    UnknownProcedure(String),
    #[error(transparent)]
    Catalog(Box<CatalogError>),
    #[error("No database selected")]
    NoDatabase,
    #[error(transparent)]
    Variable(#[from] VariableError),
    #[error("Unknown character set: '{0}'")]
    UnknownCharset(String),
    #[error("COLLATION '{collation}' is not valid for CHARACTER SET '{charset}'")]
    WrongCollation { collation: &'static str, charset: &'static str },
    #[error("Invalid {charset} character string: '{bytes}'")]
    InvalidText { charset: &'static str, bytes: String },
    #[error("Unknown or incorrect time zone: '{0}'")]
    UnknownTimeZone(String),
    #[error("Unknown locale: '{0}'")]
    UnknownLocale(String),
    #[error("Identifier name '{0}' is too long")]
    NameTooLong(String),
    #[error("User variable name '{0}' is illegal")]
    VariableName(String),
    #[error("Unknown thread id: {0}")]
    UnknownThread(u64),
    #[error(
        "Incorrect user-level lock name '{0}'. The name is empty, NULL, or can not be expressed in the current character-set."
    )]
    LockName(String),
    #[error("User-level lock name '{0}' should not exceed 64 characters.")]
    LockNameTooLong(String),
    #[error(
        "Deadlock found when trying to get user-level lock; try rolling back transaction/releasing locks and restarting lock acquisition."
    )]
    Deadlock(Cycle<ShownName>),
    /// The lock has permits, or is shared, and is not to be had as it is wanted.
    #[error("{0}")]
    LimitDiffers(Box<LimitDiffers>),
    #[error("User has exceeded the 'max_names' resource (current value: {MAX_NAMES})")]
    TooManyNames,
    #[error("Function '{0}' already exists")]
    FunctionExists(String),
    #[error("Can't initialize function '{function}'; {why}")]
    CannotInitialize { function: &'static str, why: &'static str },
    #[error("Incorrect locking service lock name '{0}'.")]
    ServiceName(String),
    #[error(
        "Deadlock found when trying to get locking service lock; try releasing locks and restarting lock acquisition."
    )]
    ServiceDeadlock(Cycle<ShownName>),
    /// With the lock that was in the way.
    #[error("Service lock wait timeout exceeded.")]
    ServiceTimeout(Option<Box<Name>>),
    #[error("You are not owner of thread {0}")]
    NotOwner(u32),
    #[error("Access denied; you need (at least one of) the {0} privilege(s) for this operation")]
    Forbidden(MissingPrivilege),
    #[error(
        "Access denied for user '{user}'@'{host}' (using password: {}){}",
        if *with_password { "YES" } else { "NO" },
        if *too_many { "; too many wrong passwords for this user or from there, try again in a few seconds" } else { "" }
    )]
    AccessDenied { user: String, host: String, with_password: bool, too_many: bool },
    #[error("Query execution was interrupted")]
    Interrupted,
    #[error("Query execution was interrupted, maximum statement execution time exceeded")]
    ExecutionTime,
    #[error("{0}")]
    Unavailable(String),
    #[error("Server shutdown in progress")]
    Shutdown,
    #[error("Server shutdown in progress: no leader; try again")]
    NoLeader,
    #[error("Too many connections")]
    TooManyConnections,
    #[error("{0}")]
    ShareOfConnections(QuotaExceeded),
    #[error("User has exceeded the 'max_locks' resource (current value: {}): {}", .0.limit, .0)]
    QuotaExceeded(QuotaExceeded),
    #[error("User has exceeded the 'max_locks_per_session' resource (current value: {0})")]
    TooManyLocks(usize),
    #[error("User has exceeded the 'max_waiters_per_lock' resource (current value: {0})")]
    TooManyWaiters(usize),
    #[error(
        "User has exceeded the '{}' resource (current value: {})",
        memory_of(*.0).0,
        memory_of(*.0).1
    )]
    TooMuchMemory(Exceeded),
    #[error("getlockd is a lock server: this statement takes more work than is allowed")]
    TooMuchWork,
    #[error("getlockd is a lock server: {0}")]
    NoSuchThing(String),
    #[error("Unknown command")]
    UnknownCommand,
    #[error("Bad handshake")]
    BadHandshake,
    #[error("Connections using insecure transport are prohibited while --require_secure_transport=ON.")]
    InsecureTransport,
    #[error("Malformed communication packet.")]
    Malformed,
    #[error("Got packets out of order")]
    OutOfOrder,
    #[error("Got a packet bigger than 'max_allowed_packet' bytes")]
    TooLarge,
    #[error("Unknown prepared statement handler ({name}) given to {command}")]
    UnknownStatement { name: String, command: &'static str },
    /// The value of a placeholder after LIMIT is not a number of rows, or there are too few or too many values.
    #[error("signed integer value is out of range in '{0}'")]
    NegativeRows(&'static str),
    #[error("This command is not supported in the prepared statement protocol yet")]
    NotPreparable,
    #[error("Undeclared variable: {0}")]
    UndeclaredVariable(String),
    #[error("Prepared statement contains too many placeholders")]
    TooManyParameters,
    #[error("Can't create more than max_prepared_stmt_count statements (current value: {0})")]
    TooManyStatements(usize),
    #[error("{kind} value is out of range in '{place}'")]
    OutOfRange { kind: &'static str, place: String },
    #[error("Incorrect {kind} value: '{value}' for function {function}")]
    WrongValueFor { kind: Box<str>, value: Box<str>, function: Box<str> },
    #[error("Incorrect arguments to {0}")]
    WrongArguments(String),
    #[error("Too-big precision {precision} specified for '{of}'. Maximum is {most}.")]
    TooBigPrecision { precision: u32, of: &'static str, most: u32 },
    #[error("Too big scale {scale} specified for column '{of}'. Maximum is {most}.")]
    TooBigScale { scale: u32, of: &'static str, most: u32 },
    #[error("For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '').")]
    PrecisionBelowScale,
    #[error(transparent)]
    Regexp(#[from] RegexpError),
    #[error("Result of {0}() was larger than max_allowed_packet ({1}) - truncated")]
    ResultTooLarge(String, usize),
    #[error("getlockd is a lock server: this statement is too long or nested too deeply")]
    TooComplex,
    #[error("Unknown collation: '{0}'")]
    UnknownCollation(String),
    #[error("The used SELECT statements have a different number of columns")]
    DifferentColumns,
    #[error(
        "The client was disconnected by the server because of inactivity. See wait_timeout and interactive_timeout for configuring this behavior."
    )]
    Inactive,
}

/// The most bytes in the text of an error or a warning: MySQL's `MYSQL_ERRMSG_SIZE`. The rest is cut off, for example of a
/// cycle of a thousand sessions.
const MAX_MESSAGE: usize = 512;

/// Cuts a text to the length of an error or a warning.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_MESSAGE));
    text.shrink_to_fit();
    text
}

impl SqlError {
    /// The text that the client receives.
    pub(super) fn message(&self) -> String {
        cut(self.to_string())
    }

    /// What SHOW WARNINGS tells of it besides.
    pub(super) fn explanation(&self) -> Option<Warning> {
        match self {
            Self::Deadlock(cycle) | Self::ServiceDeadlock(cycle) => {
                Some(Warning::note(self.code().0, cycle.to_string()))
            }
            Self::ServiceTimeout(Some(name)) => Some(Warning::in_the_way(self.code().0, name)),
            _ => None,
        }
    }

    /// Adds the current database to the name of an unknown function. Without a current database the name stands alone, so
    /// that nobody looks for a database here.
    pub(super) fn in_database(self, database: Option<&str>) -> Self {
        let in_database = |name: String| match database {
            Some(database) if !name.contains('.') => format!("{database}.{name}"),
            _ => name,
        };
        match self {
            Self::UnknownFunction(name) => Self::UnknownFunction(in_database(name)),
            Self::NameCollision(name) => Self::NameCollision(in_database(name)),
            other => other,
        }
    }

    /// Number and SQLSTATE (MySQL 8.4 Error Message Reference).
    pub(super) fn code(&self) -> (u16, &'static str) {
        match self {
            Self::Syntax { .. } => (1064, "42000"),
            Self::EmptyQuery => (1065, "42000"),
            Self::ParameterCount(_) => (1582, "42000"),
            Self::Mixed { .. } => (1140, "42000"),
            Self::UnknownColumn { .. } => (1054, "42S22"),
            Self::NoTables => (1096, "HY000"),
            Self::IllegalDouble(_) => (1367, "22007"),
            Self::AmbiguousColumn { .. } => (1052, "23000"),
            Self::Variable(error) => error.code(),
            Self::UnknownFunction(_) | Self::UnknownProcedure(_) => (1305, "42000"),
            Self::Catalog(error) => error.code(),
            Self::NameCollision(_) => (1630, "42000"),
            Self::RejectedFunction(_) => (3566, "HY000"),
            Self::NoFunction(_) => (1235, "42000"),
            Self::IncorrectValue { .. } => (1525, "HY000"),
            Self::NoDatabase => (1046, "3D000"),
            Self::UnknownCharset(_) => (1115, "42000"),
            Self::WrongCollation { .. } => (1253, "42000"),
            Self::InvalidText { .. } => (1300, "HY000"),
            Self::UnknownTimeZone(_) => (1298, "HY000"),
            Self::UnknownLocale(_) => (1649, "HY000"),
            Self::NameTooLong(_) => (1059, "42000"),
            Self::VariableName(_) => (3061, "42000"),
            Self::UnknownThread(_) => (1094, "HY000"),
            Self::LockName(_) => (3057, "42000"),
            Self::LockNameTooLong(_) => (4163, "42000"),
            Self::Deadlock(_) => (3058, "HY000"),
            Self::LimitDiffers(_) => (1210, "HY000"),
            Self::FunctionExists(_) => (1125, "HY000"),
            Self::CannotInitialize { .. } => (1123, "HY000"),
            Self::ServiceName(_) => (3131, "42000"),
            Self::ServiceDeadlock(_) => (3132, "HY000"),
            Self::ServiceTimeout(_) => (3133, "HY000"),
            Self::NotOwner(_) => (1095, "HY000"),
            Self::Forbidden(_) => (1227, "42000"),
            Self::AccessDenied { .. } => (1045, "28000"),
            Self::Interrupted => (1317, "70100"),
            Self::Unavailable(_) => (1105, "HY000"),
            Self::ExecutionTime => (3024, "HY000"),
            Self::Shutdown | Self::NoLeader => (1053, "08S01"),
            Self::TooManyConnections => (1040, "08004"),
            Self::ShareOfConnections(_) => (1203, "42000"),
            Self::TooManyLocks(_)
            | Self::TooManyWaiters(_)
            | Self::TooManyNames
            | Self::QuotaExceeded(_)
            | Self::TooMuchMemory(_) => (1226, "42000"),
            Self::NoSuchThing(_) | Self::TooMuchWork => (1235, "42000"),
            Self::UnknownCommand => (1047, "08S01"),
            Self::BadHandshake => (1043, "08S01"),
            Self::InsecureTransport => (3159, "HY000"),
            Self::Malformed => (1835, "HY000"),
            Self::OutOfOrder => (1156, "08S01"),
            Self::TooLarge => (1153, "08S01"),
            Self::UnknownStatement { .. } => (1243, "HY000"),
            Self::NegativeRows(_) => (1690, "22003"),
            Self::NotPreparable => (1295, "HY000"),
            Self::UndeclaredVariable(_) => (1327, "42000"),
            Self::TooManyParameters => (1390, "HY000"),
            Self::TooManyStatements(_) => (1461, "42000"),
            Self::OutOfRange { .. } => (1690, "22003"),
            Self::WrongValueFor { .. } => (1411, "HY000"),
            Self::WrongArguments(_) => (1210, "HY000"),
            Self::TooBigPrecision { .. } => (1426, "42000"),
            Self::TooBigScale { .. } => (1425, "42000"),
            Self::PrecisionBelowScale => (1427, "42000"),
            Self::Regexp(error) => (error.code(), "HY000"),
            Self::ResultTooLarge(..) => (1301, "HY000"),
            Self::TooComplex => (1235, "42000"),
            Self::UnknownCollation(_) => (1273, "HY000"),
            Self::DifferentColumns => (1222, "21000"),
            Self::Inactive => (4031, "HY000"),
        }
    }
}

/// The name and the value of the limit that was reached.
fn memory_of(exceeded: Exceeded) -> (&'static str, usize) {
    match exceeded {
        Exceeded::Connection(bytes) => ("max_connection_memory", bytes),
        Exceeded::Server(bytes) => ("max_memory", bytes),
    }
}

impl From<CatalogError> for SqlError {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(Box::new(error))
    }
}

impl From<Exceeded> for SqlError {
    fn from(exceeded: Exceeded) -> Self {
        Self::TooMuchMemory(exceeded)
    }
}

impl From<QuotaExceeded> for SqlError {
    fn from(quota_exceeded: QuotaExceeded) -> Self {
        match (quota_exceeded.resource, quota_exceeded.cause) {
            (Resource::Connections, QuotaCause::Full) => Self::TooManyConnections,
            (Resource::Connections, _) => Self::ShareOfConnections(quota_exceeded),
            _ => Self::QuotaExceeded(quota_exceeded),
        }
    }
}

impl From<command::Error> for SqlError {
    fn from(error: command::Error) -> Self {
        match error {
            command::Error::Deadlock(cycle) => Self::Deadlock(cycle),
            command::Error::Interrupted => Self::Interrupted,
            command::Error::TooManyLocks(max) => Self::TooManyLocks(max),
            command::Error::TooManyWaiters(max) => Self::TooManyWaiters(max),
            command::Error::QuotaExceeded(quota_exceeded) => quota_exceeded.into(),
            command::Error::TooMuchMemory(exceeded) => Self::TooMuchMemory(exceeded),
            command::Error::TextTooLong => Self::WrongArguments("KILL".to_owned()),
            command::Error::NoSession(id) => Self::UnknownThread(id.0.into()),
            command::Error::LimitDiffers(differs) => Self::LimitDiffers(differs),
            command::Error::TooManyNames => Self::TooManyNames,
            error @ (command::Error::NotWritten
            | command::Error::TooManyWatches
            | command::Error::NoTokens
            | command::Error::LeaseNotWritten
            | command::Error::NoRandom
            | command::Error::TtlOutOfBounds { .. }) => Self::Unavailable(error.to_string()),
            command::Error::Stopping => Self::Shutdown,
            command::Error::Forbidden(what) => Self::from(*what),
            command::Error::NoLogin | command::Error::BadLogin(_) | command::Error::OtherUser => {
                Self::BadHandshake
            }
        }
    }
}

/// The privilege that a user lacks, as an error names it: `LOCK on app2:nightly`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MissingPrivilege(&'static str, Name);

impl fmt::Display for MissingPrivilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what, name) = self;
        write!(f, "{what} on {}", Written(name.as_str()))
    }
}

impl From<Forbidden> for SqlError {
    fn from(what: Forbidden) -> Self {
        match what {
            Forbidden::Kill(id) => Self::NotOwner(id.0),
            Forbidden::Lock(name) => Self::Forbidden(MissingPrivilege("LOCK", name)),
            Forbidden::See(name) => Self::Forbidden(MissingPrivilege("SEE", name)),
        }
    }
}

/// A warning, as SHOW WARNINGS lists it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Warning {
    pub level: &'static str,
    pub code: u16,
    pub text: String,
}

impl Warning {
    pub(super) fn truncated(kind: &str, value: &str) -> Self {
        Self::new(1292, format!("Truncated incorrect {kind} value: '{value}'"))
    }

    pub(super) fn new(code: u16, text: impl Into<String>) -> Self {
        Self { level: "Warning", code, text: cut(text.into()) }
    }

    /// The warning for a session without re-entry that asks for a lock that it holds. The number is MySQL's for a lock that
    /// cannot be granted at once.
    pub(super) fn held_already(name: &Name) -> Self {
        let text = format!(
            "This session already holds the lock {} and may not take it again (database no_reentry, or getlockd_reentry = OFF); \
             an earlier borrower of this pooled connection may hold it: take the lock on another connection",
            Written(name.as_str())
        );
        Self::new(3572, text)
    }

    /// The warning for an error that makes a value NULL.
    pub(super) fn of_value(error: &SqlError) -> Self {
        Self::new(error.code().0, error.to_string())
    }

    /// The note that names the lock of several that was in the way.
    pub(super) fn in_the_way(code: u16, name: &Name) -> Self {
        Self::note(code, format!("The lock {} was in the way", Written(name.as_str())))
    }

    /// A note that explains an error.
    fn note(code: u16, text: String) -> Self {
        Self { level: "Note", code, text: cut(text) }
    }

    /// The row of SHOW WARNINGS for an error.
    pub(super) fn of(error: &SqlError) -> Self {
        Self { level: "Error", code: error.code().0, text: error.message() }
    }
}

/// Why a regular expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegexpError {
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
    pub(super) fn code(&self) -> u16 {
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
