//! How calls of functions are read: plain lists of arguments, and what has a grammar of its own.

use super::{
    ast::Expr,
    cursor::{Cursor, near},
    expr::expr,
    functions::Function,
    lex::Token,
    natives::{self, Bare, Count, Native, NativeKind},
    parse::Parsing,
    unserved::{self, lack},
};
use crate::mysql::error::SqlError;

/// A call, from its parenthesis on. In backquotes it is no native function.
pub(super) fn call(cursor: &mut Cursor<'_>, name: &str, quoted: bool) -> Parsing<Expr> {
    if !quoted && let Some((function, count)) = Function::frequent(name) {
        let args = list(cursor, None)?;
        return counted(cursor, name, Count::exactly(count), function, args);
    }
    let Some(native) = natives::named(name).filter(|_| !quoted) else {
        if !quoted && let Some(error) = unserved::call(cursor, name) {
            return Err(error);
        }
        skip(cursor, usize::MAX)?;
        return Err(SqlError::UnknownFunction(name.to_owned()));
    };
    if native.adjacent && !cursor.dialect.ignore_space && !cursor.is_adjacent() {
        list(cursor, None)?;
        return Err(SqlError::NameCollision(name.to_owned()));
    }
    match native.function {
        Some(function) => served(cursor, name, native, function),
        None => Err(not_served(cursor, name, native)?),
    }
}

/// A name without parentheses: a call, a reserved word, or none if it is neither.
pub(super) fn bare(cursor: &mut Cursor<'_>, name: &str) -> Parsing<Option<Expr>> {
    match natives::named(name) {
        Some(Native { bare: Bare::Call, function: Some(function), .. }) => {
            Ok(Some(Expr::Call { at: cursor.count_call()?, function: *function, args: Vec::new() }))
        }
        Some(Native { bare: Bare::Call, name, .. }) => Err(SqlError::NoFunction(name)),
        Some(Native { bare: Bare::Reserved, .. }) => Err(cursor.unexpected()),
        _ => Ok(None),
    }
}

fn served(cursor: &mut Cursor<'_>, name: &str, native: &Native, function: Function) -> Parsing<Expr> {
    let is_grammar = matches!(native.kind, NativeKind::Grammar | NativeKind::Aggregate);
    let count = native.count.unwrap_or(Count::exactly(1));
    if native.kind == NativeKind::Aggregate && cursor.is_word_at(1, "DISTINCT") {
        return Err(lack(unserved::DISTINCT));
    }
    let args = if function == Function::Count && cursor.is_symbol_at(1, "*") {
        cursor.next();
        cursor.next();
        cursor.expect(")")?;
        vec![Expr::Star]
    } else {
        list(cursor, is_grammar.then_some(count))?
    };
    if native.kind == NativeKind::Aggregate && cursor.is_word("OVER") {
        return Err(lack(unserved::WINDOWS));
    }
    cursor.has_count |= function == Function::Count;
    counted(cursor, name, count, function, args)
}

/// The arguments in parentheses. Where their number is part of the grammar, a wrong one is no SQL.
fn list(cursor: &mut Cursor<'_>, grammar: Option<Count>) -> Parsing<Vec<Expr>> {
    cursor.expect("(")?;
    let mut args = Vec::new();
    if grammar.is_some() || !cursor.is_symbol(")") {
        args = cursor.list(expr)?;
        if let Some(count) = grammar
            && !count.contains(args.len())
        {
            return Err(cursor.unexpected());
        }
    }
    cursor.expect(")")?;
    Ok(args)
}

fn counted(
    cursor: &mut Cursor<'_>,
    name: &str,
    count: Count,
    function: Function,
    args: Vec<Expr>,
) -> Parsing<Expr> {
    if !count.contains(args.len()) {
        return Err(SqlError::ParameterCount(name.to_owned()));
    }
    Ok(Expr::Call { at: cursor.count_call()?, function, args })
}

/// What MySQL has and this server has not: whatever stands in the parentheses is passed over, and the number of
/// arguments is looked at first, as MySQL does.
fn not_served(cursor: &mut Cursor<'_>, name: &str, native: &Native) -> Parsing<SqlError> {
    let most = native.count.map_or(usize::MAX, |count| count.most);
    let Skipped { args, excess, end } = skip(cursor, most)?;
    let is_wrong = native.count.is_some_and(|count| !count.contains(args));
    Ok(match native.kind {
        NativeKind::Internal => SqlError::RejectedFunction(name.to_owned()),
        NativeKind::Native if is_wrong => SqlError::ParameterCount(name.to_owned()),
        NativeKind::Grammar | NativeKind::Aggregate if is_wrong || args == 0 => {
            near(cursor.sql, excess.unwrap_or(end))
        }
        NativeKind::Window if !WINDOW.iter().any(|word| cursor.is_word(word)) => cursor.unexpected(),
        _ => SqlError::NoFunction(native.name),
    })
}

/// What may follow the call of a window function, which is no SQL without it.
const WINDOW: [&str; 4] = ["OVER", "RESPECT", "IGNORE", "FROM"];

/// A parenthesis that was passed over.
struct Skipped {
    args: usize,
    /// Where the comma behind the last argument that may be there stands.
    excess: Option<usize>,
    /// Where its end stands.
    end: usize,
}

/// Passes over a parenthesis with all that it holds.
fn skip(cursor: &mut Cursor<'_>, most: usize) -> Parsing<Skipped> {
    cursor.expect("(")?;
    let (mut depth, mut args, mut excess) = (1, usize::from(!cursor.is_symbol(")")), None);
    loop {
        let at = cursor.start();
        match cursor.next() {
            None => return Err(near(cursor.sql, at)),
            Some(Token::Symbol("(")) => depth += 1,
            Some(Token::Symbol(")")) if depth == 1 => return Ok(Skipped { args, excess, end: at }),
            Some(Token::Symbol(")")) => depth -= 1,
            Some(Token::Symbol(",")) if depth == 1 => {
                if args == most {
                    excess = Some(at);
                }
                args += 1;
            }
            Some(_) => {}
        }
    }
}
