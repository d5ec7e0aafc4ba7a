//! MySQL 8.4's built-in functions: which are supported, and how all of them are called. Data.

use std::{cmp::Ordering, sync::LazyLock};

use crate::wires::mysql::temporal::Unit;

/// A native function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Function {
    // Of locks and sessions.
    GetLock,
    GetSharedLock,
    GetLocks,
    GetSharedLocks,
    GetPermit,
    ReleaseLock,
    ReleaseLocks,
    ReleaseAllLocks,
    LeaseLock,
    IsFreeLock,
    IsUsedLock,
    FencingToken,
    ConnectionId,
    Sleep,
    // Of MySQL's Locking Service.
    Service(ServiceFunction),
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
    Ltrim,
    Rtrim,
    Lpad,
    Rpad,
    Space,
    Reverse,
    Replace,
    Repeat,
    Insert,
    SubstringIndex,
    Locate,
    Instr,
    Strcmp,
    Ascii,
    Ord,
    Char,
    Quote,
    Soundex,
    Length,
    BitLength,
    CharLength,
    Charset,
    Collation,
    LoadFile,
    // Of lists of texts, and of bits.
    Elt,
    Field,
    FindInSet,
    MakeSet,
    ExportSet,
    Interval,
    // Of texts that are numbers or bytes.
    Hex,
    Unhex,
    ToBase64,
    FromBase64,
    Conv,
    Bin,
    Oct,
    Format,
    FormatBytes,
    // Of sums and chance.
    Md5,
    Sha1,
    Sha2,
    Crc32,
    RandomBytes,
    Rand,
    Uuid,
    UuidShort,
    UuidToBin,
    BinToUuid,
    IsUuid,
    // Of addresses.
    InetAton,
    InetNtoa,
    Inet6Aton,
    Inet6Ntoa,
    IsIpv4,
    IsIpv6,
    IsIpv4Compat,
    IsIpv4Mapped,
    // Of patterns.
    RegexpLike,
    RegexpInstr,
    RegexpSubstr,
    RegexpReplace,
    // Of numbers.
    Abs,
    Sign,
    Ceiling,
    Floor,
    Round,
    Truncate,
    BitCount,
    Pi,
    Pow,
    Sqrt,
    Exp,
    Ln,
    Log,
    Log2,
    Log10,
    Sin,
    Cos,
    Tan,
    Cot,
    Asin,
    Acos,
    Atan,
    Degrees,
    Radians,
    Modulo,
    Greatest,
    Least,
    /// A function of dates and times.
    Date(DateFunction),
    // Of the connection.
    Database,
    Version,
    User,
    CurrentUser,
    RowCount,
    FoundRows,
    LastInsertId,
    CurrentRole,
    // Of anything.
    AnyValue,
    NameConst,
    // Of a table.
    Count,
    CountDistinct,
    Min,
    Max,
    Sum,
    Avg,
}

/// The most frequent functions, with their numbers of arguments. They are looked up here first, which saves a search in
/// the large table: nearly all statements of a lock server call one of them.
pub(super) const FREQUENT: [(&str, Function, usize); 6] = [
    ("GET_LOCK", Function::GetLock, 2),
    ("RELEASE_LOCK", Function::ReleaseLock, 1),
    ("RELEASE_ALL_LOCKS", Function::ReleaseAllLocks, 0),
    ("IS_FREE_LOCK", Function::IsFreeLock, 1),
    ("IS_USED_LOCK", Function::IsUsedLock, 1),
    ("CONNECTION_ID", Function::ConnectionId, 0),
];

/// The supported native functions, by name. Their numbers of arguments are in `functions.tsv`.
pub(super) const SERVED: &[(&str, Function)] = &[
    ("ABS", Function::Abs),
    ("ACOS", Function::Acos),
    ("ANY_VALUE", Function::AnyValue),
    ("ASCII", Function::Ascii),
    ("ASIN", Function::Asin),
    ("ATAN", Function::Atan),
    ("ATAN2", Function::Atan),
    ("AVG", Function::Avg),
    ("BIN", Function::Bin),
    ("BIN_TO_UUID", Function::BinToUuid),
    ("BIT_COUNT", Function::BitCount),
    ("BIT_LENGTH", Function::BitLength),
    ("CEIL", Function::Ceiling),
    ("CEILING", Function::Ceiling),
    ("CHAR", Function::Char),
    ("CHARACTER_LENGTH", Function::CharLength),
    ("CHARSET", Function::Charset),
    ("CHAR_LENGTH", Function::CharLength),
    ("COALESCE", Function::Coalesce),
    ("COLLATION", Function::Collation),
    ("CONCAT", Function::Concat),
    ("CONCAT_WS", Function::ConcatWs),
    ("CONNECTION_ID", Function::ConnectionId),
    ("CONV", Function::Conv),
    ("COS", Function::Cos),
    ("COT", Function::Cot),
    ("COUNT", Function::Count),
    ("CRC32", Function::Crc32),
    ("CURRENT_ROLE", Function::CurrentRole),
    ("CURRENT_USER", Function::CurrentUser),
    ("DATABASE", Function::Database),
    ("DEGREES", Function::Degrees),
    ("ELT", Function::Elt),
    ("EXP", Function::Exp),
    ("EXPORT_SET", Function::ExportSet),
    ("FENCING_TOKEN", Function::FencingToken),
    ("FIELD", Function::Field),
    ("FIND_IN_SET", Function::FindInSet),
    ("FLOOR", Function::Floor),
    ("FORMAT", Function::Format),
    ("FORMAT_BYTES", Function::FormatBytes),
    ("FOUND_ROWS", Function::FoundRows),
    ("FROM_BASE64", Function::FromBase64),
    ("GET_LOCK", Function::GetLock),
    ("GET_LOCKS", Function::GetLocks),
    ("GET_PERMIT", Function::GetPermit),
    ("GET_SHARED_LOCK", Function::GetSharedLock),
    ("GET_SHARED_LOCKS", Function::GetSharedLocks),
    ("GREATEST", Function::Greatest),
    ("HEX", Function::Hex),
    ("IF", Function::If),
    ("IFNULL", Function::IfNull),
    ("INET6_ATON", Function::Inet6Aton),
    ("INET6_NTOA", Function::Inet6Ntoa),
    ("INET_ATON", Function::InetAton),
    ("INET_NTOA", Function::InetNtoa),
    ("INSERT", Function::Insert),
    ("INSTR", Function::Instr),
    ("INTERVAL", Function::Interval),
    ("ISNULL", Function::IsNull),
    ("IS_FREE_LOCK", Function::IsFreeLock),
    ("IS_IPV4", Function::IsIpv4),
    ("IS_IPV4_COMPAT", Function::IsIpv4Compat),
    ("IS_IPV4_MAPPED", Function::IsIpv4Mapped),
    ("IS_IPV6", Function::IsIpv6),
    ("IS_USED_LOCK", Function::IsUsedLock),
    ("IS_UUID", Function::IsUuid),
    ("LAST_INSERT_ID", Function::LastInsertId),
    ("LCASE", Function::Lower),
    ("LEASE_LOCK", Function::LeaseLock),
    ("LEAST", Function::Least),
    ("LEFT", Function::Left),
    ("LENGTH", Function::Length),
    ("LN", Function::Ln),
    ("LOAD_FILE", Function::LoadFile),
    ("LOCATE", Function::Locate),
    ("LOG", Function::Log),
    ("LOG10", Function::Log10),
    ("LOG2", Function::Log2),
    ("LOWER", Function::Lower),
    ("LPAD", Function::Lpad),
    ("LTRIM", Function::Ltrim),
    ("MAKE_SET", Function::MakeSet),
    ("MAX", Function::Max),
    ("MD5", Function::Md5),
    ("MID", Function::Substring),
    ("MIN", Function::Min),
    ("MOD", Function::Modulo),
    ("NAME_CONST", Function::NameConst),
    ("NULLIF", Function::NullIf),
    ("OCT", Function::Oct),
    ("OCTET_LENGTH", Function::Length),
    ("ORD", Function::Ord),
    ("PI", Function::Pi),
    ("POSITION", Function::Locate),
    ("POW", Function::Pow),
    ("POWER", Function::Pow),
    ("QUOTE", Function::Quote),
    ("RADIANS", Function::Radians),
    ("RAND", Function::Rand),
    ("RANDOM_BYTES", Function::RandomBytes),
    ("REGEXP_INSTR", Function::RegexpInstr),
    ("REGEXP_LIKE", Function::RegexpLike),
    ("REGEXP_REPLACE", Function::RegexpReplace),
    ("REGEXP_SUBSTR", Function::RegexpSubstr),
    ("RELEASE_ALL_LOCKS", Function::ReleaseAllLocks),
    ("RELEASE_LOCK", Function::ReleaseLock),
    ("RELEASE_LOCKS", Function::ReleaseLocks),
    ("REPEAT", Function::Repeat),
    ("REPLACE", Function::Replace),
    ("REVERSE", Function::Reverse),
    ("RIGHT", Function::Right),
    ("ROUND", Function::Round),
    ("ROW_COUNT", Function::RowCount),
    ("RPAD", Function::Rpad),
    ("RTRIM", Function::Rtrim),
    ("SCHEMA", Function::Database),
    ("SERVICE_GET_READ_LOCKS", Function::Service(ServiceFunction::GetRead)),
    ("SERVICE_GET_WRITE_LOCKS", Function::Service(ServiceFunction::GetWrite)),
    ("SERVICE_RELEASE_LOCKS", Function::Service(ServiceFunction::Release)),
    ("SESSION_USER", Function::User),
    ("SHA", Function::Sha1),
    ("SHA1", Function::Sha1),
    ("SHA2", Function::Sha2),
    ("SIGN", Function::Sign),
    ("SIN", Function::Sin),
    ("SLEEP", Function::Sleep),
    ("SOUNDEX", Function::Soundex),
    ("SPACE", Function::Space),
    ("SQRT", Function::Sqrt),
    ("STRCMP", Function::Strcmp),
    ("SUBSTR", Function::Substring),
    ("SUBSTRING", Function::Substring),
    ("SUBSTRING_INDEX", Function::SubstringIndex),
    ("SUM", Function::Sum),
    ("SYSTEM_USER", Function::User),
    ("TAN", Function::Tan),
    ("TO_BASE64", Function::ToBase64),
    ("TRIM", Function::Trim),
    ("TRUNCATE", Function::Truncate),
    ("UCASE", Function::Upper),
    ("UNHEX", Function::Unhex),
    ("UPPER", Function::Upper),
    ("USER", Function::User),
    ("UUID", Function::Uuid),
    ("UUID_SHORT", Function::UuidShort),
    ("UUID_TO_BIN", Function::UuidToBin),
    ("VERSION", Function::Version),
];

impl Function {
    /// Whether a call has an effect or takes time. Such calls are refused for the rows of a table.
    pub(super) fn acts(self) -> bool {
        matches!(
            self,
            Self::GetLock
                | Self::GetSharedLock
                | Self::GetLocks
                | Self::GetSharedLocks
                | Self::GetPermit
                | Self::ReleaseLock
                | Self::ReleaseLocks
                | Self::ReleaseAllLocks
                | Self::LeaseLock
                | Self::Service(_)
                | Self::Sleep
        )
    }

    /// Whether it aggregates rows.
    pub(super) fn is_aggregate(self) -> bool {
        matches!(self, Self::Count | Self::CountDistinct | Self::Min | Self::Max | Self::Sum | Self::Avg)
    }

    /// The function with this name and number of arguments, if it is one of the most frequent ones.
    pub(super) fn frequent(name: &str) -> Option<(Self, usize)> {
        let (_, function, count) = FREQUENT.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
        Some((*function, *count))
    }

    /// Whether its strings are in the system's character set.
    pub(super) fn is_of_system(self) -> bool {
        matches!(self, Self::Database | Self::Version | Self::User | Self::CurrentUser | Self::CurrentRole)
    }

    /// Its name in warnings and errors.
    pub(super) fn name(self) -> String {
        let named = SERVED.iter().find(|(_, function)| *function == self);
        named.map_or("", |(name, _)| name).to_ascii_lowercase()
    }

    /// The supported native function of this name, in upper case.
    pub(super) fn serving(name: &str) -> Option<Self> {
        let found = SERVED.binary_search_by(|(served, _)| (*served).cmp(name)).ok().map(|at| SERVED[at].1);
        found.or_else(|| DateFunction::serving(name).map(Self::Date))
    }
}

/// A function of MySQL's Locking Service. There they are loaded from a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum ServiceFunction {
    GetRead,
    GetWrite,
    Release,
}

impl ServiceFunction {
    /// Its name in errors, which is that of the library.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GetRead => "service_get_read_locks",
            Self::GetWrite => "service_get_write_locks",
            Self::Release => "service_release_locks",
        }
    }
}

/// A function of MySQL.
#[derive(Debug)]
pub(super) struct Builtin {
    /// The name, in upper case.
    pub name: &'static str,
    pub kind: BuiltinKind,
    /// `None` if the arguments are not a plain list.
    pub count: Option<Arity>,
    pub bare: Bare,
    /// Whether the parenthesis must follow without a blank.
    pub adjacent: bool,
    pub function: Option<Function>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BuiltinKind {
    /// A plain call: a wrong number of arguments is error 1582.
    Native,
    /// A function with its own grammar: wrong arguments are a syntax error.
    Grammar,
    Aggregate,
    Window,
    /// A function for the data dictionary only.
    Internal,
    /// Not native, but present on every server.
    Loadable,
    /// A function of this server.
    Own,
}

/// The meaning of the name without parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    Call,
    Column,
    Reserved,
}

/// The number of arguments of a function: `least`, and more in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arity {
    pub least: usize,
    pub most: usize,
    step: usize,
}

impl Arity {
    pub(super) const fn exactly(count: usize) -> Self {
        Self { least: count, most: count, step: 1 }
    }

    pub(super) fn contains(self, count: usize) -> bool {
        (self.least..=self.most).contains(&count) && (count - self.least).is_multiple_of(self.step)
    }

    /// `2`, `1-3`, `2+`, `3+2`, `1,4`
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['-', '+', ',']).unwrap_or(text.len());
        let (least, more) = (text[..at].parse().ok()?, text.get(at + 1..).unwrap_or_default());
        Some(match text.as_bytes().get(at) {
            None => Self::exactly(least),
            Some(b'-') => Self { least, most: more.parse().ok()?, step: 1 },
            Some(b'+') if more.is_empty() => Self { least, most: usize::MAX, step: 1 },
            Some(b'+') => Self { least, most: usize::MAX, step: more.parse().ok()? },
            Some(_) => {
                let most = more.parse::<usize>().ok()?;
                Self { least, most, step: most.checked_sub(least).filter(|step| *step > 0)? }
            }
        })
    }
}

static BUILTINS: LazyLock<Vec<Builtin>> = LazyLock::new(|| rows().filter_map(native).collect());

fn rows() -> impl Iterator<Item = &'static str> {
    include_str!("functions.tsv").lines().filter(|line| !line.starts_with('#'))
}

fn native(row: &'static str) -> Option<Builtin> {
    let mut fields = row.split('\t');
    let name = fields.next()?;
    let kind = match fields.next()? {
        "native" => BuiltinKind::Native,
        "grammar" => BuiltinKind::Grammar,
        "aggregate" => BuiltinKind::Aggregate,
        "window" => BuiltinKind::Window,
        "internal" => BuiltinKind::Internal,
        "loadable" => BuiltinKind::Loadable,
        "own" => BuiltinKind::Own,
        _ => return None,
    };
    let count = match fields.next()? {
        "-" => None,
        count => Some(Arity::parse(count)?),
    };
    let bare = match fields.next()? {
        "call" => Bare::Call,
        "column" => Bare::Column,
        "reserved" => Bare::Reserved,
        _ => return None,
    };
    let adjacent = fields.next()? == "adjacent";
    Some(Builtin { name, kind, count, bare, adjacent, function: Function::serving(name) })
}

/// The function of this name, in any case.
pub(super) fn named(name: &str) -> Option<&'static Builtin> {
    let order = |native: &Builtin| compare(native.name, name);
    BUILTINS.binary_search_by(order).ok().map(|at| &BUILTINS[at])
}

/// Compares a name in upper case with one in any case.
fn compare(known: &str, name: &str) -> Ordering {
    known.bytes().cmp(name.bytes().map(|c| c.to_ascii_uppercase()))
}

/// A function of dates and times, with the parts of its grammar: a number of digits, a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum DateFunction {
    Now(u8),
    Sysdate(u8),
    UtcTimestamp(u8),
    CurDate,
    UtcDate,
    CurTime(u8),
    UtcTime(u8),
    Date,
    Time,
    Timestamp,
    DateFormat,
    TimeFormat,
    StrToDate,
    GetFormat(Literal),
    Add(Unit),
    Subtract(Unit),
    /// With whole months, days or seconds in front: TIMESTAMPADD.
    TimestampAdd(Unit),
    TimestampDiff(Unit),
    AddTime,
    SubTime,
    DateDiff,
    TimeDiff,
    Extract(Unit),
    /// YEAR, MONTH, HOUR and the like.
    Part(Unit),
    MonthName,
    DayName,
    DayOfWeek,
    DayOfYear,
    Weekday,
    Week,
    WeekOfYear,
    YearWeek,
    LastDay,
    MakeDate,
    MakeTime,
    PeriodAdd,
    PeriodDiff,
    SecToTime,
    TimeToSec,
    ToDays,
    ToSeconds,
    FromDays,
    UnixTimestamp,
    FromUnixtime,
    ConvertTz,
    /// `DATE'2026-11-27'`; the second is ODBC's: `{d '2026-11-27'}`.
    Literal(Literal),
    Odbc(Literal),
}

/// The type of a literal, or of a format of GET_FORMAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Literal {
    Date,
    Time,
    DateTime,
}

const SERVED_DATES: [(&str, DateFunction); 60] = [
    ("ADDDATE", DateFunction::Add(Unit::Day)),
    ("ADDTIME", DateFunction::AddTime),
    ("CONVERT_TZ", DateFunction::ConvertTz),
    ("CURDATE", DateFunction::CurDate),
    ("CURRENT_DATE", DateFunction::CurDate),
    ("CURRENT_TIME", DateFunction::CurTime(0)),
    ("CURRENT_TIMESTAMP", DateFunction::Now(0)),
    ("CURTIME", DateFunction::CurTime(0)),
    ("DATE", DateFunction::Date),
    ("DATEDIFF", DateFunction::DateDiff),
    ("DATE_ADD", DateFunction::Add(Unit::Day)),
    ("DATE_FORMAT", DateFunction::DateFormat),
    ("DATE_SUB", DateFunction::Subtract(Unit::Day)),
    ("DAY", DateFunction::Part(Unit::Day)),
    ("DAYNAME", DateFunction::DayName),
    ("DAYOFMONTH", DateFunction::Part(Unit::Day)),
    ("DAYOFWEEK", DateFunction::DayOfWeek),
    ("DAYOFYEAR", DateFunction::DayOfYear),
    ("EXTRACT", DateFunction::Extract(Unit::Day)),
    ("FROM_DAYS", DateFunction::FromDays),
    ("FROM_UNIXTIME", DateFunction::FromUnixtime),
    ("GET_FORMAT", DateFunction::GetFormat(Literal::Date)),
    ("HOUR", DateFunction::Part(Unit::Hour)),
    ("LAST_DAY", DateFunction::LastDay),
    ("LOCALTIME", DateFunction::Now(0)),
    ("LOCALTIMESTAMP", DateFunction::Now(0)),
    ("MAKEDATE", DateFunction::MakeDate),
    ("MAKETIME", DateFunction::MakeTime),
    ("MICROSECOND", DateFunction::Part(Unit::Microsecond)),
    ("MINUTE", DateFunction::Part(Unit::Minute)),
    ("MONTH", DateFunction::Part(Unit::Month)),
    ("MONTHNAME", DateFunction::MonthName),
    ("NOW", DateFunction::Now(0)),
    ("PERIOD_ADD", DateFunction::PeriodAdd),
    ("PERIOD_DIFF", DateFunction::PeriodDiff),
    ("QUARTER", DateFunction::Part(Unit::Quarter)),
    ("SECOND", DateFunction::Part(Unit::Second)),
    ("SEC_TO_TIME", DateFunction::SecToTime),
    ("STR_TO_DATE", DateFunction::StrToDate),
    ("SUBDATE", DateFunction::Subtract(Unit::Day)),
    ("SUBTIME", DateFunction::SubTime),
    ("SYSDATE", DateFunction::Sysdate(0)),
    ("TIME", DateFunction::Time),
    ("TIMEDIFF", DateFunction::TimeDiff),
    ("TIMESTAMP", DateFunction::Timestamp),
    ("TIMESTAMPADD", DateFunction::TimestampAdd(Unit::Day)),
    ("TIMESTAMPDIFF", DateFunction::TimestampDiff(Unit::Day)),
    ("TIME_FORMAT", DateFunction::TimeFormat),
    ("TIME_TO_SEC", DateFunction::TimeToSec),
    ("TO_DAYS", DateFunction::ToDays),
    ("TO_SECONDS", DateFunction::ToSeconds),
    ("UNIX_TIMESTAMP", DateFunction::UnixTimestamp),
    ("UTC_DATE", DateFunction::UtcDate),
    ("UTC_TIME", DateFunction::UtcTime(0)),
    ("UTC_TIMESTAMP", DateFunction::UtcTimestamp(0)),
    ("WEEK", DateFunction::Week),
    ("WEEKDAY", DateFunction::Weekday),
    ("WEEKOFYEAR", DateFunction::WeekOfYear),
    ("YEAR", DateFunction::Part(Unit::Year)),
    ("YEARWEEK", DateFunction::YearWeek),
];

impl DateFunction {
    /// The supported native function of this name, in upper case.
    pub(in crate::wires::mysql::sql) fn serving(name: &str) -> Option<Self> {
        SERVED_DATES.iter().find(|(served, _)| *served == name).map(|(_, function)| *function)
    }

    /// Its name in an error about the number of digits.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sysdate(_) => "sysdate",
            Self::UtcTimestamp(_) => "utc_timestamp",
            Self::CurTime(_) => "curtime",
            Self::UtcTime(_) => "utc_time",
            _ => "now",
        }
    }

    /// The same function with this many digits of a fraction; `None` if it has no such parameter.
    pub(super) fn with_digits(self, digits: u8) -> Option<Self> {
        Some(match self {
            Self::Now(_) => Self::Now(digits),
            Self::Sysdate(_) => Self::Sysdate(digits),
            Self::UtcTimestamp(_) => Self::UtcTimestamp(digits),
            Self::CurTime(_) => Self::CurTime(digits),
            Self::UtcTime(_) => Self::UtcTime(digits),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_native_function_is_found() {
        assert_eq!(BUILTINS.len(), rows().count());
        for native in BUILTINS.iter() {
            let found = named(&native.name.to_ascii_lowercase()).unwrap();
            assert_eq!(found.name, native.name);
        }
        assert!(named("NOSUCH").is_none() && named("").is_none());
    }

    #[test]
    fn served_functions_are_native_functions() {
        for (name, _) in SERVED {
            assert!(named(name).is_some_and(|native| native.function.is_some()), "{name}");
        }
        for (name, function, count) in FREQUENT {
            let native = named(name).unwrap();
            assert_eq!(native.function, Some(function));
            assert_eq!(native.count, Some(Arity::exactly(count)));
        }
    }

    #[test]
    fn argument_counts_are_ranges_and_steps() {
        for (count, right, wrong) in [
            ("2", &[2][..], &[1, 3][..]),
            ("0-1", &[0, 1], &[2]),
            ("2+", &[2, 3, 99], &[0, 1]),
            ("3+2", &[3, 5, 7], &[1, 4, 6]),
            ("1,4", &[1, 4], &[0, 2, 3, 5, 7]),
        ] {
            let parsed = Arity::parse(count).unwrap();
            assert!(right.iter().all(|count| parsed.contains(*count)), "{count}");
            assert!(!wrong.iter().any(|count| parsed.contains(*count)), "{count}");
        }
    }
}
