//! The functions that are known, and how many arguments each takes.

use std::ops::RangeInclusive;

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
    // Of time.
    Now,
    Sysdate,
    UnixTimestamp,
    TimeDiff,
    ConvertTz,
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

const ANY: usize = 1_000;

/// Name, function, least and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 61] = [
    ("GET_LOCK", Function::GetLock, 2, 2),
    ("RELEASE_LOCK", Function::ReleaseLock, 1, 1),
    ("RELEASE_ALL_LOCKS", Function::ReleaseAllLocks, 0, 0),
    ("IS_FREE_LOCK", Function::IsFreeLock, 1, 1),
    ("IS_USED_LOCK", Function::IsUsedLock, 1, 1),
    ("CONNECTION_ID", Function::ConnectionId, 0, 0),
    ("GET_SHARED_LOCK", Function::GetSharedLock, 2, 2),
    ("FENCING_TOKEN", Function::FencingToken, 1, 1),
    ("SLEEP", Function::Sleep, 1, 1),
    ("COALESCE", Function::Coalesce, 1, ANY),
    ("IFNULL", Function::IfNull, 2, 2),
    ("IF", Function::If, 3, 3),
    ("NULLIF", Function::NullIf, 2, 2),
    ("ISNULL", Function::IsNull, 1, 1),
    ("CONCAT", Function::Concat, 1, ANY),
    ("CONCAT_WS", Function::ConcatWs, 2, ANY),
    ("SUBSTRING", Function::Substring, 2, 3),
    ("SUBSTR", Function::Substring, 2, 3),
    ("MID", Function::Substring, 3, 3),
    ("LEFT", Function::Left, 2, 2),
    ("RIGHT", Function::Right, 2, 2),
    ("LOWER", Function::Lower, 1, 1),
    ("LCASE", Function::Lower, 1, 1),
    ("UPPER", Function::Upper, 1, 1),
    ("UCASE", Function::Upper, 1, 1),
    ("TRIM", Function::Trim, 1, 1),
    ("REPLACE", Function::Replace, 3, 3),
    ("REPEAT", Function::Repeat, 2, 2),
    ("CHAR", Function::Char, 1, ANY),
    ("HEX", Function::Hex, 1, 1),
    ("LENGTH", Function::Length, 1, 1),
    ("OCTET_LENGTH", Function::Length, 1, 1),
    ("CHAR_LENGTH", Function::CharLength, 1, 1),
    ("CHARACTER_LENGTH", Function::CharLength, 1, 1),
    ("MD5", Function::Md5, 1, 1),
    ("SHA1", Function::Sha1, 1, 1),
    ("SHA", Function::Sha1, 1, 1),
    ("SHA2", Function::Sha2, 2, 2),
    ("ABS", Function::Abs, 1, 1),
    ("GREATEST", Function::Greatest, 2, ANY),
    ("LEAST", Function::Least, 2, ANY),
    ("NOW", Function::Now, 0, 1),
    ("CURRENT_TIMESTAMP", Function::Now, 0, 1),
    ("LOCALTIME", Function::Now, 0, 1),
    ("LOCALTIMESTAMP", Function::Now, 0, 1),
    ("UTC_TIMESTAMP", Function::Now, 0, 1),
    ("SYSDATE", Function::Sysdate, 0, 1),
    ("UNIX_TIMESTAMP", Function::UnixTimestamp, 0, 1),
    ("TIMEDIFF", Function::TimeDiff, 2, 2),
    ("CONVERT_TZ", Function::ConvertTz, 3, 3),
    ("DATABASE", Function::Database, 0, 0),
    ("SCHEMA", Function::Database, 0, 0),
    ("VERSION", Function::Version, 0, 0),
    ("USER", Function::User, 0, 0),
    ("SESSION_USER", Function::User, 0, 0),
    ("SYSTEM_USER", Function::User, 0, 0),
    ("CURRENT_USER", Function::CurrentUser, 0, 0),
    ("ROW_COUNT", Function::RowCount, 0, 0),
    ("FOUND_ROWS", Function::FoundRows, 0, 0),
    ("LAST_INSERT_ID", Function::LastInsertId, 0, 0),
    ("COUNT", Function::Count, 1, 1),
];

impl Function {
    /// Whether it has an effect, or takes its time: not to be done for each row of a table.
    pub(super) fn acts(self) -> bool {
        matches!(
            self,
            Self::GetLock | Self::GetSharedLock | Self::ReleaseLock | Self::ReleaseAllLocks | Self::Sleep
        )
    }

    /// The function of this name, and the numbers of arguments that it takes.
    pub(super) fn named(name: &str) -> Option<(Self, RangeInclusive<usize>)> {
        let (_, function, least, most) =
            FUNCTIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
        Some((*function, *least..=*most))
    }
}
