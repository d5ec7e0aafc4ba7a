//! Parsing SELECT, VALUES and EXPLAIN (MySQL manual 15.2.13, 15.2.19, 15.8.2).

use std::borrow::Cow;

use smol_str::SmolStr;

use super::{
    Cursor, ParseResult, expr, is_reserved,
    lex::{Token, text_of},
    show,
    unsupported::{self, not_supported},
};
use crate::wires::mysql::{
    error::SqlError,
    names::check_variable,
    sql::{
        ast::{By, Expr, Limit, Order, Rows, Select, SelectItem, Statement, TableName},
        builtin::Function,
    },
    value::Value,
};

/// A SELECT or a VALUES, with the clauses that may follow either.
pub(super) fn query(cursor: &mut Cursor<'_>) -> ParseResult<Select> {
    let mut select = if cursor.word("SELECT") {
        block(cursor)?
    } else if cursor.symbol("(") {
        parenthesized(cursor)?
    } else {
        cursor.expect_word("VALUES")?;
        values(cursor)?
    };
    select.acts = cursor.acts;
    if cursor.peek().is_none() && select.into.is_empty() {
        return Ok(select);
    }
    if cursor.one_of(&["UNION", "INTERSECT", "EXCEPT"]).is_some() {
        cursor.one_of(&["ALL", "DISTINCT"]);
        return Err(if unsupported::is_query(cursor) {
            not_supported(unsupported::SETS)
        } else {
            cursor.unexpected()
        });
    }
    if cursor.words(&["ORDER", "BY"]) {
        select.order = cursor.list(order)?;
    }
    if cursor.word("LIMIT") {
        select.limit = Some(limit(cursor)?);
    }
    into(cursor, &mut select)?;
    row_locks(cursor)?;
    into(cursor, &mut select)?;
    if !select.into.is_empty() && select.into.len() != select.items.len() {
        return Err(SqlError::DifferentColumns);
    }
    select.acts = cursor.acts;
    Ok(select)
}

/// A query in parentheses, which has its own order and limit.
fn parenthesized(cursor: &mut Cursor<'_>) -> ParseResult<Select> {
    let inner = cursor.deeper(query)?;
    cursor.expect(")")?;
    let follows = |words: &[&str]| words.iter().any(|word| cursor.is_word(word));
    if follows(&["ORDER", "LIMIT"]) && (inner.limit.is_some() || !inner.order.is_empty()) {
        return Err(not_supported(unsupported::ONE_TABLE));
    }
    Ok(inner)
}

/// A SELECT from the word after SELECT up to its conditions.
fn block(cursor: &mut Cursor<'_>) -> ParseResult<Select> {
    let mut select = Select::default();
    if let Some(Token::Hint(_)) = cursor.peek() {
        select.max_execution_time = hint(cursor);
    }
    while let Some(modifier) = cursor.one_of(&MODIFIERS) {
        select.distinct |= modifier.starts_with("DISTINCT");
        select.finds_all |= modifier == "SQL_CALC_FOUND_ROWS";
    }
    let mut number = 0;
    select.items = cursor.list(|cursor| {
        number += 1;
        let item = item(cursor, number == 1)?;
        if let Some(column) = cursor.plain_column.take() {
            select.mixed.get_or_insert((number, column));
        }
        Ok(item)
    })?;
    select.counts = cursor.has_aggregate;
    if cursor.peek().is_none() {
        return Ok(select);
    }
    into(cursor, &mut select)?;
    if cursor.word("FROM") {
        select.from = table(cursor)?;
    }
    if cursor.word("WHERE") {
        select.condition = Some(expr::expr(cursor)?);
    }
    if cursor.words(&["GROUP", "BY"]) || cursor.word("HAVING") {
        return Err(unsupported::clause(cursor, unsupported::GROUPS));
    }
    if cursor.word("WINDOW") {
        return Err(unsupported::clause(cursor, unsupported::WINDOWS));
    }
    Ok(select)
}

/// Modifiers after SELECT. Most of them are about how tables are read.
const MODIFIERS: [&str; 10] = [
    "ALL",
    "DISTINCT",
    "DISTINCTROW",
    "HIGH_PRIORITY",
    "SQL_BIG_RESULT",
    "SQL_BUFFER_RESULT",
    "SQL_CALC_FOUND_ROWS",
    "SQL_NO_CACHE",
    "SQL_SMALL_RESULT",
    "STRAIGHT_JOIN",
];

/// `(SELECT expression [FROM DUAL])`, starting after the word SELECT.
pub(super) fn scalar(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    hint(cursor);
    while cursor.one_of(&MODIFIERS).is_some() {
        // There is one row.
    }
    if stars(cursor) > 0 {
        return Err(not_supported(unsupported::SUBQUERIES));
    }
    let value = expr::expr(cursor)?;
    cursor.words(&["FROM", "DUAL"]);
    match cursor.peek() {
        Some(Token::Symbol(",") | Token::Word(_) | Token::Name(_)) => {
            Err(not_supported(unsupported::SUBQUERIES))
        }
        _ => Ok(value),
    }
}

fn order(cursor: &mut Cursor<'_>) -> ParseResult<Order> {
    // Parentheses around a name or a number do not matter.
    let mut inside = 0;
    while cursor.is_symbol_at(inside, "(") {
        inside += 1;
    }
    let first = cursor.peek_at(inside).cloned();
    let is_path = cursor.is_symbol_at(inside + 1, ".");
    let by = match (expr::expr(cursor)?, first) {
        (Expr::Column(name), Some(Token::Word(_) | Token::Name(_))) if !is_path => By::Name(name),
        (Expr::Literal(value), Some(Token::Integer(_))) => match value {
            Value::Int(place) => By::Place(place.unsigned_abs()),
            Value::UInt(place) => By::Place(place),
            other => By::Expr(Expr::Literal(other)),
        },
        (by, _) => By::Expr(by),
    };
    let descending = cursor.one_of(&["ASC", "DESC"]) == Some("DESC");
    Ok(Order { by, descending })
}

pub(super) fn limit(cursor: &mut Cursor<'_>) -> ParseResult<Limit> {
    let first = rows(cursor)?;
    if cursor.symbol(",") {
        return Ok(Limit { offset: first, count: rows(cursor)? });
    }
    let offset = if cursor.word("OFFSET") { rows(cursor)? } else { Rows::Number(0) };
    Ok(Limit { offset, count: first })
}

fn rows(cursor: &mut Cursor<'_>) -> ParseResult<Rows> {
    match cursor.peek() {
        Some(Token::Integer(digits)) => {
            let number = digits.parse().unwrap_or(u64::MAX);
            cursor.next();
            Ok(Rows::Number(number))
        }
        Some(Token::Symbol("?")) => Ok(Rows::Parameter(cursor.placeholder())),
        Some(Token::Word(_) | Token::Name(_)) => Err(SqlError::UndeclaredVariable(cursor.ident()?)),
        _ => Err(cursor.unexpected()),
    }
}

/// `INTO @a, @b`, once.
fn into(cursor: &mut Cursor<'_>, select: &mut Select) -> ParseResult<()> {
    if !select.into.is_empty() || !cursor.word("INTO") {
        return Ok(());
    }
    if cursor.one_of(&["OUTFILE", "DUMPFILE"]).is_some() {
        return Err(unsupported::clause(cursor, unsupported::FILES));
    }
    select.into = cursor.list(|cursor| match cursor.peek() {
        Some(Token::Variable(name)) => {
            check_variable(name)?;
            let name = name.clone().into_owned();
            cursor.next();
            Ok(name)
        }
        Some(Token::Word(_) | Token::Name(_)) => Err(SqlError::UndeclaredVariable(cursor.ident()?)),
        _ => Err(cursor.unexpected()),
    })?;
    Ok(())
}

/// `FOR UPDATE` and the like: there are no rows to lock.
fn row_locks(cursor: &mut Cursor<'_>) -> ParseResult<()> {
    while cursor.words(&["FOR", "UPDATE"]) || cursor.words(&["FOR", "SHARE"]) {
        if cursor.word("OF") {
            cursor.list(table_name)?;
        }
        if !cursor.word("NOWAIT") {
            cursor.words(&["SKIP", "LOCKED"]);
        }
    }
    cursor.words(&["LOCK", "IN", "SHARE", "MODE"]);
    Ok(())
}

/// The time limit in a MAX_EXECUTION_TIME hint (MySQL manual 10.9.3).
fn hint(cursor: &mut Cursor<'_>) -> Option<u64> {
    let Some(Token::Hint(hint)) = cursor.peek() else { return None };
    let hint = hint.to_ascii_uppercase();
    cursor.next();
    let (_, inside) = hint.split_once("MAX_EXECUTION_TIME")?;
    inside.trim_start().strip_prefix('(')?.split(')').next()?.trim().parse().ok()
}

fn item(cursor: &mut Cursor<'_>, is_first: bool) -> ParseResult<SelectItem> {
    let start = cursor.start();
    // `*` without a table is the first.
    let may_be_star = is_first && cursor.is_symbol("*") || cursor.is_symbol_at(1, ".");
    let stars = if may_be_star { stars(cursor) } else { 0 };
    if stars > 0 {
        cursor.advance(stars);
        return Ok(SelectItem { expr: Expr::Star, name: "*".into(), is_named: false });
    }
    let first = cursor.peek().cloned();
    let expr = expr::expr(cursor)?;
    let typed = &cursor.sql[start..cursor.end()];
    let alias = alias(cursor)?;
    let is_named = alias.is_some();
    let name = match (alias, &expr, first) {
        (Some(alias), ..) => shortened(&alias),
        (None, Expr::Column(name), _) => shortened(name),
        (None, Expr::Call { function: Function::NameConst, args, .. }, _) => match args.first() {
            Some(Expr::Literal(name)) => shortened(&name.to_text().unwrap_or_default()),
            _ => return Err(SqlError::WrongArguments("NAME_CONST".to_owned())),
        },
        (None, Expr::Literal(Value::Text(_)), Some(Token::Text(text))) => {
            shortened(text_of(text).trim_start())
        }
        _ => shortened(&String::from_utf8_lossy(typed)),
    };
    Ok(SelectItem { expr, name, is_named })
}

/// The number of tokens of `*`, `t.*` or `d.t.*`, if one of them comes next. There is only one table, so the qualifier
/// does not matter.
fn stars(cursor: &Cursor<'_>) -> usize {
    let is_dotted = |at: usize| {
        cursor.is_symbol_at(at + 1, ".")
            && matches!(cursor.peek_at(at), Some(Token::Word(_) | Token::Name(_)))
    };
    let names = (0..2).take_while(|name| is_dotted(2 * name)).count();
    if cursor.is_symbol_at(2 * names, "*") { 2 * names + 1 } else { 0 }
}

/// The name of a column: the first 255 characters.
fn shortened(name: &str) -> SmolStr {
    name.char_indices().nth(255).map_or(name, |(end, _)| &name[..end]).into()
}

fn alias<'a>(cursor: &mut Cursor<'a>) -> ParseResult<Option<Cow<'a, str>>> {
    let wanted = cursor.word("AS");
    let is_alias = match cursor.peek() {
        Some(Token::Word(word)) => !is_reserved(word),
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

/// The FROM clause: one table, or none for DUAL.
fn table(cursor: &mut Cursor<'_>) -> ParseResult<Option<TableName>> {
    if cursor.word("DUAL") {
        return Ok(None);
    }
    if cursor.is_word("JSON_TABLE") && cursor.is_symbol_at(1, "(") {
        return Err(SqlError::NoFunction("JSON_TABLE"));
    }
    if cursor.is_symbol("(") || cursor.is_word("LATERAL") {
        cursor.next();
        return Err(unsupported::clause(cursor, unsupported::ONE_TABLE));
    }
    let name = table_name(cursor)?;
    if cursor.word("PARTITION") {
        return Err(unsupported::clause(cursor, unsupported::ONE_TABLE));
    }
    alias(cursor)?;
    unsupported::joins(cursor)?;
    Ok(Some(name))
}

/// `name` or `database.name`
pub(super) fn table_name(cursor: &mut Cursor<'_>) -> ParseResult<TableName> {
    let name = cursor.ident()?;
    if cursor.symbol(".") {
        return Ok(TableName { database: Some(name), name: cursor.name()? });
    }
    Ok(TableName { database: None, name })
}

fn values(cursor: &mut Cursor<'_>) -> ParseResult<Select> {
    cursor.expect_word("ROW")?;
    cursor.expect("(")?;
    let values = cursor.list(expr::expr)?;
    cursor.expect(")")?;
    if cursor.symbol(",") {
        return Err(if cursor.is_word("ROW") {
            not_supported(unsupported::ONE_ROW)
        } else {
            cursor.unexpected()
        });
    }
    let item = |(at, expr)| SelectItem { expr, name: format!("column_{at}").into(), is_named: false };
    let items = values.into_iter().enumerate().map(item);
    Ok(Select { items: items.collect(), ..Select::default() })
}

/// `EXPLAIN [FORMAT = TRADITIONAL] query`, or `EXPLAIN table`, starting after the word EXPLAIN.
pub(super) fn explain(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    if cursor.word("FORMAT") {
        cursor.expect("=")?;
        if !cursor.word("TRADITIONAL") {
            cursor.next();
            return Err(unsupported::clause(cursor, unsupported::PLANS));
        }
    }
    if cursor.one_of(&["ANALYZE", "FOR", "INTO"]).is_some() {
        return Err(unsupported::clause(cursor, unsupported::PLANS));
    }
    if cursor.is_word("SELECT") || cursor.is_word("VALUES") || cursor.is_symbol("(") {
        return Ok(Statement::Select(Select { explain: true, ..query(cursor)? }));
    }
    let start = cursor.start();
    if let Some(word) = cursor.one_of(&["DELETE", "INSERT", "REPLACE", "TABLE", "UPDATE", "WITH"]) {
        return Err(unsupported::statement(cursor, word, start));
    }
    show::describe(cursor)
}
