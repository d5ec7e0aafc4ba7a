//! Parsing SET (MySQL manual 15.7.6), in all the forms that drivers send.

use super::{Cursor, ParseResult, expr, lex::Token, unsupported};
use crate::wires::mysql::{
    names::check_variable,
    sql::ast::{Assignment, Expr, Statement},
    value::Value,
};

pub(super) fn set(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let scoped = ["SESSION", "LOCAL", "GLOBAL"].iter().any(|scope| cursor.is_word(scope));
    if cursor.is_word_at(usize::from(scoped), "TRANSACTION") {
        cursor.next();
        if scoped {
            cursor.next();
        }
        return set_transaction(cursor);
    }
    let accounts = ["DEFAULT", "PASSWORD", "RESOURCE", "ROLE"].iter().any(|word| cursor.is_word(word));
    if accounts && cursor.peek_at(1).is_some() {
        return Err(unsupported::statement(cursor, "SET", cursor.start()));
    }
    Ok(Statement::Set(cursor.list(assignment)?))
}

/// SET TRANSACTION (MySQL manual 15.3.7). There are no transactions; variables remember the settings.
fn set_transaction(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let remember = |name: &str, value: Value| {
        let value = Some(Expr::Literal(value));
        Assignment::System { global: false, name: name.to_owned(), value }
    };
    let characteristics = cursor.list(|cursor| {
        if cursor.words(&["ISOLATION", "LEVEL"]) {
            let levels = [
                (&["READ", "COMMITTED"][..], "READ-COMMITTED"),
                (&["READ", "UNCOMMITTED"], "READ-UNCOMMITTED"),
                (&["REPEATABLE", "READ"], "REPEATABLE-READ"),
                (&["SERIALIZABLE"], "SERIALIZABLE"),
            ];
            let level =
                levels.iter().find(|(words, _)| cursor.words(words)).ok_or_else(|| cursor.unexpected())?;
            return Ok(remember("transaction_isolation", Value::text(level.1)));
        }
        match (cursor.word("READ"), cursor.one_of(&["ONLY", "WRITE"])) {
            (true, Some(mode)) => Ok(remember("transaction_read_only", (mode == "ONLY").into())),
            _ => Err(cursor.unexpected()),
        }
    })?;
    Ok(Statement::Set(characteristics))
}

fn assignment(cursor: &mut Cursor<'_>) -> ParseResult<Assignment> {
    if cursor.word("NAMES") {
        return names(cursor);
    }
    if cursor.words(&["CHARACTER", "SET"]) || cursor.word("CHARSET") {
        let charset = if cursor.word("DEFAULT") { None } else { Some(cursor.name_or_text()?) };
        return Ok(Assignment::CharacterSet(charset));
    }
    if let Some(Token::Variable(name)) = cursor.peek().cloned() {
        cursor.next();
        check_variable(&name)?;
        equals(cursor)?;
        return Ok(Assignment::User(name.into_owned(), expr::expr(cursor)?));
    }
    let global = scope(cursor)?;
    let name = cursor.name()?.to_ascii_lowercase();
    equals(cursor)?;
    let value = if cursor.word("DEFAULT") { None } else { Some(setting(cursor)?) };
    Ok(Assignment::System { global, name, value })
}

/// Whether the global variable is meant: `GLOBAL name` or `@@GLOBAL.name`.
fn scope(cursor: &mut Cursor<'_>) -> ParseResult<bool> {
    let is_path = cursor.symbol("@@");
    let is_scoped = if is_path {
        cursor.is_symbol_at(1, ".")
    } else {
        !cursor.is_symbol_at(1, "=") && !cursor.is_symbol_at(1, ":=")
    };
    if !is_scoped {
        return Ok(false);
    }
    let scope = cursor.one_of(&["GLOBAL", "PERSIST", "PERSIST_ONLY", "SESSION", "LOCAL"]);
    if is_path {
        scope.ok_or_else(|| cursor.unexpected())?;
        cursor.expect(".")?;
    }
    Ok(matches!(scope, Some("GLOBAL" | "PERSIST" | "PERSIST_ONLY")))
}

fn equals(cursor: &mut Cursor<'_>) -> ParseResult<()> {
    if cursor.symbol("=") || cursor.symbol(":=") { Ok(()) } else { Err(cursor.unexpected()) }
}

/// The value of a variable: a bare word stands for its text, as in `SET sql_mode = ANSI`.
fn setting(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    let is_last = cursor.peek_at(1).is_none() || cursor.is_symbol_at(1, ",");
    if is_last && let Some(word) = cursor.one_of(&["ON", "ALL", "BINARY", "ROW", "SYSTEM"]) {
        return Ok(Expr::Literal(Value::text(word)));
    }
    Ok(match expr::expr(cursor)? {
        Expr::Column(word) => Expr::Literal(Value::Text(word)),
        other => other,
    })
}

fn names(cursor: &mut Cursor<'_>) -> ParseResult<Assignment> {
    if cursor.word("DEFAULT") {
        return Ok(Assignment::Names { charset: None, collation: None });
    }
    let charset = Some(cursor.name_or_text()?);
    let collation = if cursor.word("COLLATE") { Some(cursor.name_or_text()?) } else { None };
    Ok(Assignment::Names { charset, collation })
}
