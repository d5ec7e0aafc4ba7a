//! SQL that is valid in MySQL 8.4 and that a lock server does not support: the words by which it is recognised, and the
//! message of its error. What follows these words is not parsed.

use super::{Cursor, ParseResult, syntax_error};
use crate::wires::mysql::{
    error::SqlError,
    sql::builtin::{self, Builtin, BuiltinKind::Loadable},
};

pub(super) const TABLES: &str = "it has no tables";
const TABLE: &str = "it has no TABLE statement; write SELECT * FROM";
pub(super) const ONE_TABLE: &str = "it selects from one table, without joins, derived tables and index hints";
pub(super) const SUBQUERIES: &str = "the only subqueries it has are (SELECT expression)";
pub(super) const SETS: &str = "it has no UNION, INTERSECT or EXCEPT";
pub(super) const GROUPS: &str = "it has no GROUP BY and no HAVING";
pub(super) const WINDOWS: &str = "it has no window functions";
pub(super) const ROWS: &str = "it compares values, not rows";
pub(super) const ONE_ROW: &str = "without a table there is only one row";
pub(super) const FILES: &str = "it writes no files";
pub(super) const DOCUMENTS: &str = "it does not read JSON documents";
pub(super) const PLANS: &str = "EXPLAIN has one plan for all statements, in one format";
pub(super) const DISTINCT: &str = "of aggregate functions only COUNT, MIN and MAX take DISTINCT";
pub(super) const EFFECTS: &str = "it takes and releases no locks row by row";
pub(super) const RELEASE: &str = "a session does not end with a transaction";
const WITH: &str = "it has no common table expressions";
const OBJECTS: &str = "it has nothing to create, alter or drop";
const ACCOUNTS: &str = "its users are not managed with SQL";
const REPLICATION: &str = "it has no replicas and no binary log";
const PLUGINS: &str = "it has no plugins and no components";
const PROGRAMS: &str = "it has no stored programs";
const TRANSACTIONS: &str = "its locks are not part of transactions";
const SERVER: &str = "it is not administered with SQL";

/// Statements: the first word, the possible second words, and the message. `*` stands for any second word; an empty list
/// means that a second word is not needed.
const STATEMENTS: &[(&str, &str, &str)] = &[
    ("ALTER", "INSTANCE RESOURCE", SERVER),
    ("ALTER", "USER", ACCOUNTS),
    (
        "ALTER",
        "ALGORITHM DATABASE DEFINER EVENT FUNCTION LOGFILE PROCEDURE SCHEMA SERVER SQL TABLE TABLESPACE UNDO VIEW",
        OBJECTS,
    ),
    ("BINLOG", "*", REPLICATION),
    ("CACHE", "INDEX", TABLES),
    ("CHANGE", "REPLICATION", REPLICATION),
    ("CLONE", "INSTANCE LOCAL", SERVER),
    ("CREATE", "RESOURCE", SERVER),
    ("CREATE", "ROLE USER", ACCOUNTS),
    (
        "CREATE",
        "AGGREGATE ALGORITHM DATABASE DEFINER EVENT FULLTEXT FUNCTION INDEX LOGFILE OR PROCEDURE SCHEMA SERVER SPATIAL \
         SQL TABLE TABLESPACE TEMPORARY TRIGGER UNDO UNIQUE VIEW",
        OBJECTS,
    ),
    ("DELETE", "*", TABLES),
    ("DROP", "RESOURCE", SERVER),
    ("DROP", "ROLE USER", ACCOUNTS),
    (
        "DROP",
        "DATABASE EVENT FUNCTION INDEX LOGFILE PROCEDURE SCHEMA SERVER SPATIAL TABLE TABLES TABLESPACE TEMPORARY \
         TRIGGER UNDO VIEW",
        OBJECTS,
    ),
    ("FLUSH", "*", SERVER),
    ("GET", "CURRENT DIAGNOSTICS STACKED", PROGRAMS),
    ("GRANT", "*", ACCOUNTS),
    ("HANDLER", "*", TABLES),
    ("IMPORT", "TABLE", TABLES),
    ("INSERT", "*", TABLES),
    ("INSTALL", "COMPONENT PLUGIN", PLUGINS),
    ("LOAD", "DATA INDEX XML", TABLES),
    ("LOCK", "INSTANCE", SERVER),
    ("LOCK", "TABLE TABLES", TABLES),
    ("PURGE", "BINARY", REPLICATION),
    ("RENAME", "TABLE TABLES", OBJECTS),
    ("RENAME", "USER", ACCOUNTS),
    ("REPLACE", "*", TABLES),
    ("RESET", "BINARY REPLICA", REPLICATION),
    ("RESET", "PERSIST", SERVER),
    ("RESIGNAL", "", PROGRAMS),
    ("RESTART", "", SERVER),
    ("REVOKE", "*", ACCOUNTS),
    ("SET", "DEFAULT PASSWORD ROLE", ACCOUNTS),
    ("SET", "RESOURCE", SERVER),
    ("SHUTDOWN", "", SERVER),
    ("SIGNAL", "*", PROGRAMS),
    ("START", "GROUP_REPLICATION REPLICA", REPLICATION),
    ("STOP", "GROUP_REPLICATION REPLICA", REPLICATION),
    ("TABLE", "*", TABLE),
    ("TRUNCATE", "*", TABLES),
    ("UNINSTALL", "COMPONENT PLUGIN", PLUGINS),
    ("UNLOCK", "INSTANCE", SERVER),
    ("UPDATE", "*", TABLES),
    ("XA", "BEGIN COMMIT END PREPARE RECOVER ROLLBACK START", TRANSACTIONS),
];

pub(super) fn not_supported(sentence: &str) -> SqlError {
    SqlError::NoSuchThing(sentence.to_owned())
}

/// The error of a statement that is not supported. The cursor is behind its first word, which is at `start`.
pub(super) fn statement(cursor: &mut Cursor<'_>, word: &str, start: usize) -> SqlError {
    if word == "WITH" {
        return with(cursor).map_or_else(|wrong| wrong, |()| not_supported(WITH));
    }
    let not_supported = |sentence: &str| not_supported(&format!("{word} is not supported; {sentence}"));
    if word == "CREATE" && cursor.word("FUNCTION") {
        return loaded_function(cursor).unwrap_or_else(|| not_supported(OBJECTS));
    }
    let mut same_start = STATEMENTS.iter().filter(|(first, ..)| *first == word).peekable();
    if same_start.peek().is_none() {
        return syntax_error(cursor.sql, start);
    }
    let found = same_start.find(|(_, seconds, _)| match *seconds {
        "" => true,
        "*" => cursor.peek().is_some(),
        seconds => seconds.split(' ').any(|second| cursor.is_word(second)),
    });
    found.map_or_else(|| cursor.unexpected(), |(_, _, sentence)| not_supported(sentence))
}

/// `name RETURNS`: the error of CREATE FUNCTION for a function that MySQL loads from a library and that is supported.
/// Programs create these before they use them, and go on if they are there.
fn loaded_function(cursor: &mut Cursor<'_>) -> Option<SqlError> {
    let name = cursor.ident().ok()?;
    let is_loaded = matches!(builtin::named(&name)?, Builtin { kind: Loadable, function: Some(_), .. });
    (is_loaded && cursor.is_word("RETURNS")).then_some(SqlError::FunctionExists(name))
}

/// `[RECURSIVE] name [(columns)] AS (`
fn with(cursor: &mut Cursor<'_>) -> ParseResult<()> {
    cursor.word("RECURSIVE");
    cursor.ident()?;
    if cursor.symbol("(") {
        cursor.list(Cursor::ident)?;
        cursor.expect(")")?;
    }
    cursor.expect_word("AS")?;
    cursor.expect("(")?;
    if is_query(cursor) { Ok(()) } else { Err(cursor.unexpected()) }
}

/// Whether the next words begin a query.
pub(super) fn is_query(cursor: &Cursor<'_>) -> bool {
    ["SELECT", "TABLE", "WITH"].iter().any(|word| cursor.is_word(word))
        || cursor.is_word("VALUES") && cursor.is_word_at(1, "ROW")
        || cursor.is_symbol("(")
}

/// The error for syntax that looks like a function call and is none: `EXISTS (SELECT ...)`, `ROW(1, 2)`.
pub(super) fn call(cursor: &mut Cursor<'_>, name: &str) -> Option<SqlError> {
    if name.eq_ignore_ascii_case("ROW") {
        return Some(not_supported(ROWS));
    }
    if !name.eq_ignore_ascii_case("EXISTS") || !cursor.symbol("(") {
        return None;
    }
    Some(if is_query(cursor) { not_supported(SUBQUERIES) } else { cursor.unexpected() })
}

/// Fails if an operator follows that is not supported.
pub(super) fn operator(cursor: &mut Cursor<'_>) -> ParseResult<()> {
    if cursor.word("MEMBER") {
        cursor.word("OF");
        return Err(if cursor.is_symbol("(") {
            SqlError::NoFunction("MEMBER OF")
        } else {
            cursor.unexpected()
        });
    }
    if cursor.words(&["SOUNDS", "LIKE"]) {
        return Err(SqlError::NoFunction("SOUNDEX"));
    }
    Ok(())
}

/// Fails if the operand of a comparison is a quantified subquery: `= ANY (SELECT ...)`.
pub(super) fn quantifier(cursor: &mut Cursor<'_>) -> ParseResult<()> {
    if cursor.is_symbol_at(1, "(") && cursor.one_of(&["ALL", "ANY", "SOME"]).is_some() {
        cursor.expect("(")?;
        return Err(if is_query(cursor) { not_supported(SUBQUERIES) } else { cursor.unexpected() });
    }
    Ok(())
}

/// The error of a clause that is not supported. The cursor is behind the words by which it is recognised; if nothing
/// follows, it is a syntax error.
pub(super) fn clause(cursor: &Cursor<'_>, sentence: &str) -> SqlError {
    if cursor.peek().is_some() { not_supported(sentence) } else { cursor.unexpected() }
}

/// Fails if a join, TABLESAMPLE or an index hint follows.
pub(super) fn joins(cursor: &mut Cursor<'_>) -> ParseResult<()> {
    let natural = cursor.word("NATURAL");
    let of_a_kind = cursor.one_of(&["CROSS", "INNER", "LEFT", "RIGHT"]).is_some();
    cursor.word("OUTER");
    let hint = cursor.one_of(&["FORCE", "IGNORE", "USE"]).is_some();
    let other = !natural
        && !of_a_kind
        && (cursor.symbol(",") || cursor.one_of(&["STRAIGHT_JOIN", "TABLESAMPLE"]).is_some());
    if other || cursor.word("JOIN") || hint && cursor.one_of(&["INDEX", "KEY"]).is_some() {
        return Err(clause(cursor, ONE_TABLE));
    }
    if natural || of_a_kind || hint { Err(cursor.unexpected()) } else { Ok(()) }
}
