//! Errors in the use of system variables (MySQL 8.4 Error Message Reference).

use super::table::Variable;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(in crate::wires::mysql) enum VariableError {
    #[error("Unknown system variable '{0}'")]
    Unknown(String),
    #[error("Variable '{0}' is a read only variable")]
    ReadOnly(&'static str),
    #[error("Variable '{0}' is a {1} variable")]
    OtherScope(&'static str, &'static str),
    #[error("Variable '{0}' is a SESSION variable and can't be used with SET GLOBAL")]
    OfSessions(&'static str),
    #[error("Variable '{0}' is a GLOBAL variable and should be set with SET GLOBAL")]
    OfServer(&'static str),
    #[error("SESSION variable '{0}' is read-only. Use SET GLOBAL to assign the value")]
    GlobalOnly(&'static str),
    #[error("Variable '{0}' doesn't have a default value")]
    NoDefault(&'static str),
    #[error("Variable '{variable}' can't be set to the value of '{value}'")]
    WrongValue { variable: &'static str, value: String },
    #[error("Incorrect argument type to variable '{0}'")]
    WrongType(&'static str),
    #[error("sql_mode=0x{0:08x} is not supported.")]
    UnsupportedMode(u64),
    #[error("Unknown storage engine '{0}'")]
    UnknownEngine(String),
    #[error("Access denied; you need (at least one of) the {0} privilege(s) for this operation")]
    Privilege(&'static str),
}

impl VariableError {
    pub(in crate::wires::mysql) fn wrong_value(variable: &Variable, value: impl Into<String>) -> Self {
        Self::WrongValue { variable: variable.name, value: value.into() }
    }

    /// Number and SQLSTATE.
    pub(in crate::wires::mysql) fn code(&self) -> (u16, &'static str) {
        match self {
            Self::Unknown(_) => (1193, "HY000"),
            Self::ReadOnly(_) | Self::OtherScope(..) => (1238, "HY000"),
            Self::OfSessions(_) => (1228, "HY000"),
            Self::OfServer(_) => (1229, "HY000"),
            Self::GlobalOnly(_) => (1621, "HY000"),
            Self::NoDefault(_) => (1230, "42000"),
            Self::WrongValue { .. } => (1231, "42000"),
            Self::WrongType(_) => (1232, "42000"),
            Self::UnsupportedMode(_) => (3899, "HY000"),
            Self::UnknownEngine(_) => (1286, "42000"),
            Self::Privilege(_) => (1227, "42000"),
        }
    }
}
