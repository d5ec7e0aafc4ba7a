//! Statements (MySQL manual, chapter 15), as far as a lock server has a use for them.

use std::borrow::Cow;

use smol_str::SmolStr;

use super::{
    ast::{Expr, Item, Select, Statement, TableName},
    cursor::{Cursor, near},
    expr,
    lex::{Dialect, Token, text_of},
};
use crate::mysql::{
    error::{SqlError, Warning},
    names::check_variable,
    value::Value,
};

pub(super) type Parsing<T> = Result<T, SqlError>;

/// A statement, and what is behind it.
#[derive(Debug)]
pub(in crate::mysql) struct Parsed {
    pub statement: Statement,
    /// How many calls it has.
    pub calls: usize,
    /// How many placeholders it has.
    pub parameters: usize,
    /// Where the first of them stands.
    pub first_parameter: Option<usize>,
    pub warnings: Vec<Warning>,
    /// How many bytes it needs beside the texts in it, or somewhat more.
    pub size: usize,
    /// Where the next statement starts, if there is one.
    pub rest: Option<usize>,
}

/// What becomes of a token, with its part of a result.
const TOKEN: usize = 128;

/// Reads the first statement of `sql`.
pub(in crate::mysql) fn parse(sql: &[u8], dialect: Dialect) -> Result<Parsed, SqlError> {
    let mut cursor = Cursor::new(sql, dialect)?;
    if cursor.peek().is_none() {
        return Err(SqlError::EmptyQuery);
    }
    let statement = statement(&mut cursor)?;
    if cursor.peek().is_some() {
        return Err(cursor.unexpected());
    }
    let size = cursor.count() * TOKEN;
    let Cursor { calls, parameters, first_parameter, rest, warnings, .. } = cursor;
    Ok(Parsed { statement, calls, parameters, first_parameter, warnings, size, rest })
}

fn statement(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    if cursor.is_symbol("(") || cursor.is_word("SELECT") {
        return select(cursor);
    }
    let start = cursor.start();
    let Some(Token::Word(word)) = cursor.next() else {
        return Err(near(cursor.sql, start));
    };
    match word.to_ascii_uppercase().as_str() {
        "DO" => Ok(Statement::Do(cursor.list(expr::expr)?)),
        "SET" => super::set::set(cursor),
        "SHOW" => super::show::show(cursor),
        "KILL" => kill(cursor),
        "USE" => Ok(Statement::Use(cursor.name()?)),
        "VALUES" => values(cursor),
        "CALL" => call(cursor),
        "EXPLAIN" | "DESCRIBE" | "DESC" => explain(cursor),
        "HELP" => super::show::help(cursor),
        "CHECK" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECKSUM" => super::show::check(cursor, &word),
        "BEGIN" => {
            cursor.word("WORK");
            Ok(Statement::Transaction { opens: true })
        }
        "START" if cursor.word("TRANSACTION") => start_transaction(cursor),
        "COMMIT" => end_transaction(cursor, false),
        "ROLLBACK" => end_transaction(cursor, true),
        "SAVEPOINT" => cursor.name().map(|_| Statement::Nothing),
        "RELEASE" if cursor.word("SAVEPOINT") => cursor.name().map(|_| Statement::Nothing),
        "UNLOCK" if cursor.one_of(&["TABLES", "TABLE"]).is_some() => Ok(Statement::Nothing),
        other if HAS_NO_PLACE.contains(&other) => {
            cursor.skip_rest();
            Ok(Statement::NoSuchThing(format!("it has locks, and no tables for {other}")))
        }
        _ => Err(near(cursor.sql, start)),
    }
}

/// What MySQL understands and a lock server does not do.
const HAS_NO_PLACE: [&str; 21] = [
    "INSERT",
    "UPDATE",
    "DELETE",
    "REPLACE",
    "CREATE",
    "DROP",
    "ALTER",
    "TRUNCATE",
    "RENAME",
    "LOAD",
    "GRANT",
    "REVOKE",
    "HANDLER",
    "XA",
    "FLUSH",
    "LOCK",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "TABLE",
    "WITH",
];

/// What may stand behind START TRANSACTION.
fn start_transaction(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let characteristic = |cursor: &mut Cursor<'_>| {
        let tails = [&["WITH", "CONSISTENT", "SNAPSHOT"][..], &["READ", "ONLY"], &["READ", "WRITE"]];
        let found = tails.iter().any(|words| cursor.words(words));
        if found { Ok(()) } else { Err(cursor.unexpected()) }
    };
    if cursor.peek().is_some() {
        cursor.list(characteristic)?;
    }
    Ok(Statement::Transaction { opens: true })
}

/// What may stand behind COMMIT and ROLLBACK.
fn end_transaction(cursor: &mut Cursor<'_>, may_go_back: bool) -> Parsing<Statement> {
    cursor.word("WORK");
    if may_go_back && cursor.word("TO") {
        cursor.word("SAVEPOINT");
        return cursor.name().map(|_| Statement::Nothing);
    }
    let chain = cursor.words(&["AND", "CHAIN"]);
    if !chain {
        cursor.words(&["AND", "NO", "CHAIN"]);
    }
    cursor.words(&["NO", "RELEASE"]);
    Ok(Statement::Transaction { opens: chain })
}

fn select(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    if cursor.symbol("(") {
        let inner = cursor.deeper(select)?;
        cursor.expect(")")?;
        return Ok(inner);
    }
    cursor.expect_word("SELECT")?;
    let mut select = Select { max_execution_time: hint(cursor), ..Select::default() };
    while let Some(word) =
        cursor.one_of(&["ALL", "DISTINCT", "SQL_NO_CACHE", "SQL_CALC_FOUND_ROWS", "HIGH_PRIORITY"])
    {
        select.distinct |= word == "DISTINCT";
    }
    select.items = cursor.list(item)?;
    select.counts = cursor.has_count;
    into(cursor, &mut select)?;
    if cursor.word("FROM") {
        match table(cursor)? {
            Ok(table) => select.from = table,
            Err(no_such) => {
                cursor.skip_rest();
                return Ok(no_such);
            }
        }
    }
    if cursor.word("WHERE") {
        select.condition = Some(expr::expr(cursor)?);
    }
    if cursor.words(&["ORDER", "BY"]) {
        select.order = cursor.list(order)?;
    }
    if cursor.word("LIMIT") {
        select.limit = Some(limit(cursor)?);
    }
    into(cursor, &mut select)?;
    if cursor.word("UNION") {
        cursor.skip_rest();
        return Ok(Statement::NoSuchThing("it does not join results".to_owned()));
    }
    if !select.into.is_empty() && select.into.len() != select.items.len() {
        return Err(SqlError::DifferentColumns);
    }
    select.acts = cursor.acts;
    if cursor.words(&["FOR", "UPDATE"]) || cursor.words(&["FOR", "SHARE"]) {
        // There is no row to lock.
    }
    Ok(Statement::Select(select))
}

fn order(cursor: &mut Cursor<'_>) -> Parsing<(Expr, bool)> {
    let by = expr::expr(cursor)?;
    let descending = cursor.one_of(&["ASC", "DESC"]) == Some("DESC");
    Ok((by, descending))
}

pub(super) fn limit(cursor: &mut Cursor<'_>) -> Parsing<(u64, u64)> {
    let first = number(cursor)?;
    if cursor.symbol(",") {
        return Ok((first, number(cursor)?));
    }
    let offset = if cursor.word("OFFSET") { number(cursor)? } else { 0 };
    Ok((offset, first))
}

fn number(cursor: &mut Cursor<'_>) -> Parsing<u64> {
    match cursor.peek() {
        Some(Token::Integer(digits)) => {
            let number = digits.parse().unwrap_or(u64::MAX);
            cursor.next();
            Ok(number)
        }
        _ => Err(cursor.unexpected()),
    }
}

fn into(cursor: &mut Cursor<'_>, select: &mut Select) -> Parsing<()> {
    if cursor.word("INTO") {
        select.into = cursor.list(|cursor| match cursor.next() {
            Some(Token::Variable(name)) => check_variable(&name).map(|()| name.into_owned()),
            _ => Err(cursor.unexpected()),
        })?;
    }
    Ok(())
}

/// MySQL manual 10.9.3.
fn hint(cursor: &mut Cursor<'_>) -> Option<u64> {
    let Some(Token::Hint(hint)) = cursor.peek() else { return None };
    let hint = hint.to_ascii_uppercase();
    cursor.next();
    let (_, inside) = hint.split_once("MAX_EXECUTION_TIME")?;
    inside.trim_start().strip_prefix('(')?.split(')').next()?.trim().parse().ok()
}

/// `*`, `table.*`, `database.table.*`
fn star(cursor: &mut Cursor<'_>) -> bool {
    let is_dotted = |at: usize| {
        matches!(cursor.peek_at(at), Some(Token::Word(_) | Token::Name(_)))
            && cursor.is_symbol_at(at + 1, ".")
    };
    let ahead = (0..3).map(|names| 2 * names).find(|at| !is_dotted(*at)).unwrap_or(0);
    if !cursor.is_symbol_at(ahead, "*") {
        return false;
    }
    for _ in 0..=ahead {
        cursor.next();
    }
    true
}

fn item(cursor: &mut Cursor<'_>) -> Parsing<Item> {
    let start = cursor.start();
    let first = cursor.peek().cloned();
    if star(cursor) {
        return Ok(Item { expr: Expr::Star, name: "*".into() });
    }
    let expr = expr::expr(cursor)?;
    let typed = &cursor.sql[start..cursor.end()];
    let name = match (alias(cursor)?, &expr, first) {
        (Some(alias), ..) => shortened(&alias),
        (None, Expr::Column(name), _) => shortened(name),
        (None, Expr::Literal(Value::Text(_)), Some(Token::Text(text))) => {
            shortened(text_of(text).trim_start())
        }
        _ => shortened(&String::from_utf8_lossy(typed)),
    };
    Ok(Item { expr, name })
}

/// As much of a name as a column has.
fn shortened(name: &str) -> SmolStr {
    name.char_indices().nth(255).map_or(name, |(end, _)| &name[..end]).into()
}

/// Words that end an expression, so that they are no alias.
const CLAUSES: [&str; 12] =
    ["FROM", "WHERE", "LIMIT", "ORDER", "INTO", "UNION", "GROUP", "HAVING", "FOR", "LOCK", "AND", "OR"];

fn alias<'a>(cursor: &mut Cursor<'a>) -> Parsing<Option<Cow<'a, str>>> {
    let wanted = cursor.word("AS");
    let is_alias = match cursor.peek() {
        Some(Token::Word(word)) => wanted || !CLAUSES.iter().any(|clause| clause.eq_ignore_ascii_case(word)),
        Some(Token::Name(_) | Token::Text(_)) => true,
        _ => false,
    };
    match if is_alias { cursor.next() } else { None } {
        Some(Token::Word(name) | Token::Name(name)) => Ok(Some(name)),
        Some(Token::Text(text)) => Ok(Some(text_of(text))),
        _ if wanted => Err(cursor.unexpected()),
        _ => Ok(None),
    }
}

/// What follows FROM: no table for DUAL, or the statement that it is more than one.
fn table(cursor: &mut Cursor<'_>) -> Parsing<Result<Option<TableName>, Statement>> {
    let name = table_name(cursor)?;
    let is_dual = name.database.is_none() && name.name.eq_ignore_ascii_case("dual");
    let table = if is_dual { None } else { Some(name) };
    if table.is_some() {
        alias(cursor)?;
    }
    if cursor.is_symbol(",")
        || cursor.one_of(&["JOIN", "INNER", "LEFT", "RIGHT", "CROSS", "STRAIGHT_JOIN"]).is_some()
    {
        return Ok(Err(Statement::NoSuchThing("it does not join tables".to_owned())));
    }
    Ok(Ok(table))
}

/// `name` or `database.name`
pub(super) fn table_name(cursor: &mut Cursor<'_>) -> Parsing<TableName> {
    let name = cursor.name()?;
    if cursor.symbol(".") {
        return Ok(TableName { database: Some(name), name: cursor.name()? });
    }
    Ok(TableName { database: None, name })
}

fn values(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    cursor.expect_word("ROW")?;
    cursor.expect("(")?;
    let values = cursor.list(expr::expr)?;
    cursor.expect(")")?;
    let items =
        values.into_iter().enumerate().map(|(at, expr)| Item { expr, name: format!("column_{at}").into() });
    Ok(Statement::Select(Select { items: items.collect(), ..Select::default() }))
}

fn call(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let mut name = cursor.name()?;
    if cursor.symbol(".") {
        name = format!("{name}.{}", cursor.name()?);
    }
    cursor.skip_rest();
    Ok(Statement::Call(name))
}

/// `EXPLAIN [FORMAT = TRADITIONAL] SELECT`, or `EXPLAIN table`, which is DESCRIBE.
fn explain(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    if cursor.word("FORMAT") {
        cursor.expect("=")?;
        if !cursor.word("TRADITIONAL") {
            cursor.skip_rest();
            return Ok(Statement::NoSuchThing("it explains in the form TRADITIONAL only".to_owned()));
        }
    }
    if !cursor.is_symbol("(") && !cursor.is_word("SELECT") {
        return super::show::describe(cursor);
    }
    match select(cursor)? {
        Statement::Select(select) => Ok(Statement::Select(Select { explain: true, ..select })),
        other => Ok(other),
    }
}

fn kill(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let query = cursor.one_of(&["CONNECTION", "QUERY"]) == Some("QUERY");
    Ok(Statement::Kill { query, id: expr::expr(cursor)? })
}

#[cfg(test)]
mod tests {
    /// Found by fuzzing: each of these overflowed somewhere.
    #[test]
    fn numbers_at_their_edges_are_no_surprise() {
        let long = format!("SELECT {}1", "40*".repeat(99));
        let nested = format!("SELECT {}1{}", "(1+(2*".repeat(15), "))".repeat(15));
        let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
        let nines = "9".repeat(38);
        for sql in [
            "SELECT - - -9223372036854775808, -9223372036854775808 DIV -1, -9223372036854775808 % -1",
            "SELECT SUBSTRING('abc', -9223372036854775808), ABS(-9223372036854775808)",
            &format!("SELECT -{nines} - {nines} * 2, {nines}.{nines} / 0.{nines}, 0.{}1", "0".repeat(70_000)),
            &long,
            &nested,
            &deep,
        ] {
            crate::mysql::fuzz::sql(&[b"\0", sql.as_bytes()].concat());
        }
    }
}
