//! Parsing SHOW and similar statements: DESCRIBE, HELP, CHECK TABLE (MySQL manual 15.7.7, 15.8, 15.7.3).

use super::{
    Cursor, ParseResult, expr,
    lex::Token,
    select::{limit, table_name},
    unsupported::{self, not_supported},
};
use crate::wires::mysql::{
    catalog::{self, CatalogError, SHOW},
    sql::ast::{ESCAPE, Expr, Show, ShowList, Statement, TableName},
    value::Value,
};

/// What may follow the words of a list.
#[derive(Clone, Copy)]
enum Tail {
    Nothing,
    /// `[LIKE pattern | WHERE condition]`
    Filter,
    /// `[FROM database] [LIKE pattern | WHERE condition]`
    OfDatabase,
    Limit,
    /// Clauses that change nothing in an empty list.
    Anything,
}

/// The words of a list, the table with its columns and rows, and what may follow.
#[rustfmt::skip]
const LISTS: [(&[&str], &str, Tail); 50] = [
    (&["BINARY", "LOG", "STATUS"], "BINARY LOG STATUS", Tail::Nothing),
    (&["BINLOG", "EVENTS"], "BINLOG EVENTS", Tail::Anything),
    (&["CHAR", "SET"], "CHARACTER SET", Tail::Filter),
    (&["CHARACTER", "SET"], "CHARACTER SET", Tail::Filter),
    (&["CHARSET"], "CHARACTER SET", Tail::Filter),
    (&["COLLATION"], "COLLATION", Tail::Filter),
    (&["DATABASES"], "DATABASES", Tail::Filter),
    (&["ENGINES"], "ENGINES", Tail::Nothing),
    (&["ERRORS"], "ERRORS", Tail::Limit),
    (&["EVENTS"], "EVENTS", Tail::OfDatabase),
    (&["EXTENDED", "FULL", "TABLES"], "FULL TABLES", Tail::OfDatabase),
    (&["EXTENDED", "TABLES"], "TABLES", Tail::OfDatabase),
    (&["FULL", "PROCESSLIST"], "FULL PROCESSLIST", Tail::Nothing),
    (&["FULL", "TABLES"], "FULL TABLES", Tail::OfDatabase),
    (&["FULL", "TRIGGERS"], "TRIGGERS", Tail::OfDatabase),
    (&["FUNCTION", "STATUS"], "ROUTINE STATUS", Tail::Filter),
    (&["GLOBAL", "STATUS"], "STATUS", Tail::Filter),
    (&["GLOBAL", "VARIABLES"], "GLOBAL VARIABLES", Tail::Filter),
    (&["LOCAL", "STATUS"], "STATUS", Tail::Filter),
    (&["LOCAL", "VARIABLES"], "VARIABLES", Tail::Filter),
    // MySQL 8.4 has this one no more, and monitors go on asking.
    (&["MASTER", "STATUS"], "MASTER STATUS", Tail::Nothing),
    (&["OPEN", "TABLES"], "OPEN TABLES", Tail::OfDatabase),
    (&["PLUGINS"], "PLUGINS", Tail::Nothing),
    (&["PRIVILEGES"], "PRIVILEGES", Tail::Nothing),
    (&["PROCEDURE", "STATUS"], "ROUTINE STATUS", Tail::Filter),
    (&["PROCESSLIST"], "PROCESSLIST", Tail::Nothing),
    (&["PROFILE"], "PROFILE", Tail::Anything),
    (&["PROFILES"], "PROFILES", Tail::Nothing),
    (&["RELAYLOG", "EVENTS"], "RELAYLOG EVENTS", Tail::Anything),
    (&["REPLICA", "STATUS"], "REPLICA STATUS", Tail::Anything),
    (&["REPLICAS"], "REPLICAS", Tail::Nothing),
    (&["SCHEMAS"], "DATABASES", Tail::Filter),
    (&["SESSION", "STATUS"], "STATUS", Tail::Filter),
    (&["SESSION", "VARIABLES"], "VARIABLES", Tail::Filter),
    // Nor this one.
    (&["SLAVE", "STATUS"], "SLAVE STATUS", Tail::Anything),
    (&["STATUS"], "STATUS", Tail::Filter),
    (&["STORAGE", "ENGINES"], "ENGINES", Tail::Nothing),
    (&["TABLE", "STATUS"], "TABLE STATUS", Tail::OfDatabase),
    (&["TABLES"], "TABLES", Tail::OfDatabase),
    (&["TRIGGERS"], "TRIGGERS", Tail::OfDatabase),
    (&["VARIABLES"], "VARIABLES", Tail::Filter),
    (&["WARNINGS"], "WARNINGS", Tail::Limit),
    // Of one table.
    (&["COLUMNS"], "COLUMNS", Tail::Nothing),
    (&["EXTENDED", "COLUMNS"], "COLUMNS", Tail::Nothing),
    (&["EXTENDED", "FIELDS"], "COLUMNS", Tail::Nothing),
    (&["EXTENDED", "FULL", "COLUMNS"], "FULL COLUMNS", Tail::Nothing),
    (&["EXTENDED", "FULL", "FIELDS"], "FULL COLUMNS", Tail::Nothing),
    (&["FIELDS"], "COLUMNS", Tail::Nothing),
    (&["FULL", "COLUMNS"], "FULL COLUMNS", Tail::Nothing),
    (&["FULL", "FIELDS"], "FULL COLUMNS", Tail::Nothing),
];

const INDEXES: [&str; 3] = ["INDEX", "INDEXES", "KEYS"];

pub(super) fn show(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let show = if cursor.word("CREATE") {
        create(cursor)?
    } else if cursor.word("GRANTS") {
        Show::Grants(if cursor.word("FOR") { account(cursor)? } else { None })
    } else if cursor.words(&["BINARY", "LOGS"]) {
        Show::BinaryLogs
    } else if cursor.word("ENGINE") {
        engine(cursor)?
    } else if cursor.word("COUNT") {
        count(cursor)?
    } else if cursor.words(&["FUNCTION", "CODE"]) || cursor.words(&["PROCEDURE", "CODE"]) {
        let database = table_name(cursor)?.database;
        Show::Stored { error: CatalogError::NoRoutineCode, database }
    } else if INDEXES.iter().any(|word| cursor.word(word) || cursor.words(&["EXTENDED", word])) {
        let name = of_table(cursor)?;
        filter(cursor, "Key_name")?;
        Show::Index(name)
    } else {
        list(cursor)?
    };
    if cursor.acts {
        return Err(not_supported(unsupported::EFFECTS));
    }
    Ok(Statement::Show(show))
}

fn list(cursor: &mut Cursor<'_>) -> ParseResult<Show> {
    let found = LISTS.iter().find(|(words, ..)| cursor.words(words));
    let (_, name, tail) = found.ok_or_else(|| cursor.unexpected())?;
    let mut list = named(cursor, name)?;
    if name.ends_with("COLUMNS") {
        let table = of_table(cursor)?;
        list.filter(cursor)?;
        return Ok(Show::Columns(table, list));
    }
    match tail {
        Tail::Nothing => {}
        Tail::Filter => list.filter(cursor)?,
        Tail::OfDatabase => {
            list.database = of_database(cursor)?;
            list.filter(cursor)?;
        }
        Tail::Limit => {
            list.limit = if cursor.word("LIMIT") { Some(limit(cursor)?) } else { None };
        }
        Tail::Anything => cursor.skip_rest(),
    }
    Ok(Show::List(list))
}

/// All rows of a list.
fn named(cursor: &Cursor<'_>, name: &str) -> ParseResult<ShowList> {
    let table = catalog::find(SHOW, name).ok_or_else(|| cursor.unexpected())?;
    Ok(ShowList { table, database: None, filter: None, pattern: None, limit: None })
}

impl ShowList {
    fn filter(&mut self, cursor: &mut Cursor<'_>) -> ParseResult<()> {
        let is_pattern = cursor.is_word("LIKE");
        self.filter = filter(cursor, self.table.columns[0].name)?;
        if is_pattern
            && let Some(Expr::Like { pattern, .. }) = &self.filter
            && let Expr::Literal(pattern) = &**pattern
        {
            self.pattern = pattern.to_text();
        }
        Ok(())
    }
}

/// `LIKE pattern` or `WHERE condition`, as a condition on a column.
fn filter(cursor: &mut Cursor<'_>, column: &str) -> ParseResult<Option<Expr>> {
    if cursor.word("LIKE") {
        let pattern = Box::new(expr::expr(cursor)?);
        return Ok(Some(like(column, pattern)));
    }
    if cursor.word("WHERE") { expr::expr(cursor).map(Some) } else { Ok(None) }
}

fn like(column: &str, pattern: Box<Expr>) -> Expr {
    Expr::Like { value: Box::new(Expr::Column(column.to_owned())), pattern, escape: ESCAPE, negated: false }
}

fn of_database(cursor: &mut Cursor<'_>) -> ParseResult<Option<String>> {
    if cursor.one_of(&["FROM", "IN"]).is_some() { cursor.name().map(Some) } else { Ok(None) }
}

/// `FROM table [FROM database]`
fn of_table(cursor: &mut Cursor<'_>) -> ParseResult<TableName> {
    cursor.one_of(&["FROM", "IN"]).ok_or_else(|| cursor.unexpected())?;
    let name = table_name(cursor)?;
    Ok(match of_database(cursor)? {
        Some(database) => TableName { database: Some(database), ..name },
        None => name,
    })
}

fn count(cursor: &mut Cursor<'_>) -> ParseResult<Show> {
    for symbol in ["(", "*", ")"] {
        cursor.expect(symbol)?;
    }
    let what = cursor.one_of(&["WARNINGS", "ERRORS"]).ok_or_else(|| cursor.unexpected())?;
    Ok(Show::Count { errors_only: what == "ERRORS" })
}

fn create(cursor: &mut Cursor<'_>) -> ParseResult<Show> {
    let kinds = ["TABLE", "VIEW", "DATABASE", "SCHEMA", "EVENT", "FUNCTION", "PROCEDURE", "TRIGGER", "USER"];
    let kind = cursor.one_of(&kinds).ok_or_else(|| cursor.unexpected())?;
    match kind {
        "TABLE" | "VIEW" => return table_name(cursor).map(Show::CreateTable),
        "DATABASE" | "SCHEMA" => {
            let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
            return Ok(Show::CreateDatabase { name: cursor.name()?, if_not_exists });
        }
        "USER" => return account(cursor).map(Show::CreateUser),
        _ => {}
    }
    let TableName { database, name } = table_name(cursor)?;
    let error = match kind {
        "EVENT" => CatalogError::NoEvent(name),
        "TRIGGER" => CatalogError::NoTrigger,
        kind => CatalogError::NoRoutine { kind, name },
    };
    Ok(Show::Stored { error, database })
}

fn engine(cursor: &mut Cursor<'_>) -> ParseResult<Show> {
    let name = cursor.name()?;
    cursor.one_of(&["STATUS", "MUTEX", "LOGS"]).ok_or_else(|| cursor.unexpected())?;
    Ok(Show::Engine(name))
}

/// `'user'@'host'`; `None` for CURRENT_USER.
fn account(cursor: &mut Cursor<'_>) -> ParseResult<Option<(String, String)>> {
    if cursor.word("CURRENT_USER") {
        if cursor.symbol("(") {
            cursor.expect(")")?;
        }
        return Ok(None);
    }
    let user = cursor.name_or_text()?;
    let host = match cursor.peek() {
        Some(Token::Variable(host)) => host.clone().into_owned(),
        _ => return Ok(Some((user, "%".to_owned()))),
    };
    cursor.next();
    Ok(Some((user, host)))
}

/// `DESCRIBE table [column | 'pattern']`
pub(super) fn describe(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let name = table_name(cursor)?;
    let mut list = named(cursor, "COLUMNS")?;
    if cursor.peek().is_some() {
        let pattern = Expr::Literal(Value::Text(cursor.name_or_text()?));
        list.filter = Some(like("Field", Box::new(pattern)));
    }
    Ok(Statement::Show(Show::Columns(name, list)))
}

/// `HELP 'topic'`: there are no topics.
pub(super) fn help(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    cursor.name_or_text()?;
    Ok(Statement::Show(Show::List(named(cursor, "HELP")?)))
}

/// `CHECK TABLE a, b ...` and similar statements.
pub(super) fn check(cursor: &mut Cursor<'_>, word: &str) -> ParseResult<Statement> {
    let kinds = ["check", "analyze", "optimize", "repair", "checksum"];
    let kind = kinds.into_iter().find(|kind| kind.eq_ignore_ascii_case(word)).unwrap_or_default();
    cursor.one_of(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
    cursor.one_of(&["TABLE", "TABLES"]).ok_or_else(|| cursor.unexpected())?;
    let tables = cursor.list(table_name)?;
    // How it is to be checked.
    cursor.skip_rest();
    Ok(Statement::Show(Show::Check(kind, tables)))
}
