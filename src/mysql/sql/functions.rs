//! The native functions that are served.

use super::dates::DateFunction;

/// A native function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mysql) enum Function {
    // Of locks and sessions.
    GetLock,
    GetSharedLock,
    ReleaseLock,
    ReleaseAllLocks,
    IsFreeLock,
    IsUsedLock,
    FencingToken,
    ConnectionId,
    Sleep,
    // Of conditions.
    Coalesce,
    IfNull,
    If,
    NullIf,
    IsNull,
    // Of texts.
    Concat,
    ConcatWs,
    Substring,
    Left,
    Right,
    Lower,
    Upper,
    Trim,
    Replace,
    Repeat,
    Char,
    Hex,
    Length,
    CharLength,
    Md5,
    Sha1,
    Sha2,
    // Of numbers.
    Abs,
    Greatest,
    Least,
    /// Of dates and times.
    Date(DateFunction),
    // Of the connection.
    Database,
    Version,
    User,
    CurrentUser,
    RowCount,
    FoundRows,
    LastInsertId,
    // Of a table.
    Count,
}

/// Those that are called most, with how many arguments they take: they are found before any table is looked at.
pub(super) const FREQUENT: [(&str, Function, usize); 6] = [
    ("GET_LOCK", Function::GetLock, 2),
    ("RELEASE_LOCK", Function::ReleaseLock, 1),
    ("RELEASE_ALL_LOCKS", Function::ReleaseAllLocks, 0),
    ("IS_FREE_LOCK", Function::IsFreeLock, 1),
    ("IS_USED_LOCK", Function::IsUsedLock, 1),
    ("CONNECTION_ID", Function::ConnectionId, 0),
];

/// The native functions that are served. How many arguments they take is in `functions.tsv`.
pub(super) const SERVED: &[(&str, Function)] = &[
    ("ABS", Function::Abs),
    ("CHAR", Function::Char),
    ("CHARACTER_LENGTH", Function::CharLength),
    ("CHAR_LENGTH", Function::CharLength),
    ("COALESCE", Function::Coalesce),
    ("CONCAT", Function::Concat),
    ("CONCAT_WS", Function::ConcatWs),
    ("CONNECTION_ID", Function::ConnectionId),
    ("COUNT", Function::Count),
    ("CURRENT_USER", Function::CurrentUser),
    ("DATABASE", Function::Database),
    ("FENCING_TOKEN", Function::FencingToken),
    ("FOUND_ROWS", Function::FoundRows),
    ("GET_LOCK", Function::GetLock),
    ("GET_SHARED_LOCK", Function::GetSharedLock),
    ("GREATEST", Function::Greatest),
    ("HEX", Function::Hex),
    ("IF", Function::If),
    ("IFNULL", Function::IfNull),
    ("ISNULL", Function::IsNull),
    ("IS_FREE_LOCK", Function::IsFreeLock),
    ("IS_USED_LOCK", Function::IsUsedLock),
    ("LAST_INSERT_ID", Function::LastInsertId),
    ("LCASE", Function::Lower),
    ("LEAST", Function::Least),
    ("LEFT", Function::Left),
    ("LENGTH", Function::Length),
    ("LOWER", Function::Lower),
    ("MD5", Function::Md5),
    ("MID", Function::Substring),
    ("NULLIF", Function::NullIf),
    ("OCTET_LENGTH", Function::Length),
    ("RELEASE_ALL_LOCKS", Function::ReleaseAllLocks),
    ("RELEASE_LOCK", Function::ReleaseLock),
    ("REPEAT", Function::Repeat),
    ("REPLACE", Function::Replace),
    ("RIGHT", Function::Right),
    ("ROW_COUNT", Function::RowCount),
    ("SCHEMA", Function::Database),
    ("SESSION_USER", Function::User),
    ("SHA", Function::Sha1),
    ("SHA1", Function::Sha1),
    ("SHA2", Function::Sha2),
    ("SLEEP", Function::Sleep),
    ("SUBSTR", Function::Substring),
    ("SUBSTRING", Function::Substring),
    ("SYSTEM_USER", Function::User),
    ("TRIM", Function::Trim),
    ("UCASE", Function::Upper),
    ("UPPER", Function::Upper),
    ("USER", Function::User),
    ("VERSION", Function::Version),
];

impl Function {
    /// The function of this name and its number of arguments, if it is one of the few that are called most.
    pub(super) fn frequent(name: &str) -> Option<(Self, usize)> {
        let (_, function, count) = FREQUENT.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
        Some((*function, *count))
    }

    /// The function that serves the native one of this name, in upper case.
    pub(super) fn serving(name: &str) -> Option<Self> {
        let found = SERVED.iter().find(|(served, _)| *served == name).map(|(_, function)| *function);
        found.or_else(|| DateFunction::serving(name).map(Self::Date))
    }
}
