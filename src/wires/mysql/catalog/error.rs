//! MySQL's errors for objects that do not exist or that the user may not see.

/// An error about a database, a table or another stored object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::wires::mysql) enum CatalogError {
    #[error("Table '{0}.{1}' doesn't exist")]
    NoTable(String, String),
    #[error("Unknown table '{0}' in information_schema")]
    NoInformation(String),
    #[error("Unknown database '{0}'")]
    NoDatabase(String),
    #[error("{kind} {name} does not exist")]
    NoRoutine { kind: &'static str, name: String },
    #[error("Trigger does not exist")]
    NoTrigger,
    #[error("Unknown event '{0}'")]
    NoEvent(String),
    #[error("Unknown storage engine '{0}'")]
    NoEngine(String),
    #[error("There is no such grant defined for user '{user}' on host '{host}'")]
    NoGrant { user: String, host: String },
    #[error("You are not using binary logging")]
    NoBinaryLog,
    #[error(
        "The 'SHOW PROCEDURE|FUNCTION CODE' feature is disabled; you need MySQL built with '--with-debug' to have it working"
    )]
    NoRoutineCode,
    #[error("Access denied; you need (at least one of) the {0} privilege(s) for this operation")]
    Privilege(&'static str),
    #[error("SELECT command denied to user '{user}'@'{host}' for table '{table}'")]
    Table { user: String, host: String, table: String },
    #[error("Access denied for user '{user}'@'{host}' to database '{database}'")]
    Database { user: String, host: String, database: String },
}

impl CatalogError {
    /// Number and SQLSTATE (MySQL 8.4 Error Message Reference).
    pub(in crate::wires::mysql) fn code(&self) -> (u16, &'static str) {
        match self {
            Self::NoTable(..) => (1146, "42S02"),
            Self::NoInformation(_) => (1109, "42S02"),
            Self::NoDatabase(_) => (1049, "42000"),
            Self::NoRoutine { .. } => (1305, "42000"),
            Self::NoTrigger => (1360, "HY000"),
            Self::NoEvent(_) => (1539, "HY000"),
            Self::NoEngine(_) => (1286, "42000"),
            Self::NoGrant { .. } => (1141, "42000"),
            Self::NoBinaryLog => (1381, "HY000"),
            Self::NoRoutineCode => (1289, "HY000"),
            Self::Privilege(_) => (1227, "42000"),
            Self::Table { .. } => (1142, "42000"),
            Self::Database { .. } => (1044, "42000"),
        }
    }
}
