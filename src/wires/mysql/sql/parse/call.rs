//! The grammar of function calls: plain lists of arguments, and functions with their own grammar.

use super::{
    Cursor, ParseResult, dates,
    expr::{Precedence, charset, expr, operation},
    lex::Token,
    syntax_error,
    unsupported::{self, not_supported},
};
use crate::wires::mysql::{
    charset::Charset,
    error::SqlError,
    sql::{
        ast::{Cast, Expr},
        builtin::{self, Arity, Bare, Builtin, BuiltinKind, Function},
    },
};

/// A call, starting at its parenthesis. A name in backquotes is not a native function.
pub(super) fn call(cursor: &mut Cursor<'_>, name: &str, quoted: bool) -> ParseResult<Expr> {
    if !quoted && let Some((function, count)) = Function::frequent(name) {
        let args = arguments(cursor, None)?;
        return checked(cursor, name, Arity::exactly(count), function, args);
    }
    let Some(native) = builtin::named(name).filter(|_| !quoted) else {
        if !quoted && let Some(error) = unsupported::call(cursor, name) {
            return Err(error);
        }
        skip_parenthesis(cursor, usize::MAX)?;
        return Err(SqlError::UnknownFunction(name.to_owned()));
    };
    if native.adjacent && !cursor.dialect.ignore_space && !cursor.is_adjacent() {
        arguments(cursor, None)?;
        return Err(SqlError::NameCollision(name.to_owned()));
    }
    match native.function {
        Some(Function::Date(function)) => match dates::arguments(cursor, name, function)? {
            Some(call) => Ok(call),
            None => served(cursor, name, native, Function::Date(function)),
        },
        Some(function) => served(cursor, name, native, function),
        None => Err(not_served(cursor, name, native)?),
    }
}

/// A name without parentheses: a call, a reserved word, or `None` if it is neither.
pub(super) fn bare(cursor: &mut Cursor<'_>, name: &str) -> ParseResult<Option<Expr>> {
    match builtin::named(name) {
        Some(Builtin { bare: Bare::Call, function: Some(function), .. }) => {
            Ok(Some(Expr::Call { at: cursor.count_call()?, function: *function, args: Vec::new() }))
        }
        Some(Builtin { bare: Bare::Call, name, .. }) => Err(SqlError::NoFunction(name)),
        Some(Builtin { bare: Bare::Reserved, .. }) => Err(cursor.unexpected()),
        _ => Ok(None),
    }
}

fn served(cursor: &mut Cursor<'_>, name: &str, native: &Builtin, function: Function) -> ParseResult<Expr> {
    let count = native.count.unwrap_or(Arity::exactly(1));
    if let Some(call) = with_grammar(cursor, function, count)? {
        if native.kind == BuiltinKind::Aggregate && cursor.is_word("OVER") {
            return Err(not_supported(unsupported::WINDOWS));
        }
        return Ok(call);
    }
    let is_grammar = native.kind == BuiltinKind::Grammar;
    let args = arguments(cursor, is_grammar.then_some(count))?;
    if function == Function::LastInsertId && !args.is_empty() {
        return Err(SqlError::NoFunction("LAST_INSERT_ID(expr)"));
    }
    checked(cursor, name, count, function, args)
}

/// A call with its own grammar, starting at the parenthesis; `None` if the function takes a plain list.
fn with_grammar(cursor: &mut Cursor<'_>, function: Function, count: Arity) -> ParseResult<Option<Expr>> {
    let (function, args) = match function {
        Function::Count | Function::Min | Function::Max | Function::Sum | Function::Avg => {
            cursor.has_aggregate = true;
            aggregate(cursor, function)?
        }
        Function::Trim => trim(cursor)?,
        Function::Substring => (function, substring(cursor, count)?),
        Function::Locate if count == Arity::exactly(1) => (function, position(cursor)?),
        Function::Char => return char(cursor).map(Some),
        Function::Charset | Function::Collation => {
            let of = arguments(cursor, Some(count))?.swap_remove(0);
            return Ok(Some(Expr::Charset { of: Box::new(of), collation: function == Function::Collation }));
        }
        _ => return Ok(None),
    };
    Ok(Some(Expr::Call { at: cursor.count_call()?, function, args }))
}

/// `COUNT(*)`, `MAX(a)`, `COUNT(DISTINCT a, b)`: DISTINCT does not change a minimum or a maximum.
fn aggregate(cursor: &mut Cursor<'_>, function: Function) -> ParseResult<(Function, Vec<Expr>)> {
    cursor.expect("(")?;
    if function == Function::Count && cursor.symbol("*") {
        cursor.expect(")")?;
        return Ok((function, vec![Expr::Star]));
    }
    let function = match cursor.one_of(&["DISTINCT", "ALL"]) {
        Some("DISTINCT") => match function {
            Function::Count => Function::CountDistinct,
            Function::Min | Function::Max => function,
            _ => return Err(not_supported(unsupported::DISTINCT)),
        },
        _ => function,
    };
    let before = cursor.plain_column.take();
    let args = if function == Function::CountDistinct { cursor.list(expr)? } else { vec![expr(cursor)?] };
    cursor.plain_column = before;
    cursor.expect(")")?;
    Ok((function, args))
}

/// `TRIM(a)`, `TRIM(x FROM a)`, `TRIM(LEADING x FROM a)`, with x after a.
fn trim(cursor: &mut Cursor<'_>) -> ParseResult<(Function, Vec<Expr>)> {
    cursor.expect("(")?;
    let side = cursor.one_of(&["BOTH", "LEADING", "TRAILING"]);
    let function = match side {
        Some("LEADING") => Function::Ltrim,
        Some("TRAILING") => Function::Rtrim,
        _ => Function::Trim,
    };
    let mut args = Vec::new();
    if side.is_some() && cursor.word("FROM") {
        args.push(expr(cursor)?);
    } else {
        let what = expr(cursor)?;
        if side.is_some() {
            cursor.expect_word("FROM")?;
            args = vec![expr(cursor)?, what];
        } else if cursor.word("FROM") {
            args = vec![expr(cursor)?, what];
        } else {
            args.push(what);
        }
    }
    cursor.expect(")")?;
    Ok((function, args))
}

/// `SUBSTRING(a, 2, 3)`, `SUBSTRING(a FROM 2 FOR 3)`
fn substring(cursor: &mut Cursor<'_>, count: Arity) -> ParseResult<Vec<Expr>> {
    cursor.expect("(")?;
    let mut args = vec![expr(cursor)?];
    if cursor.word("FROM") {
        args.push(expr(cursor)?);
        if cursor.word("FOR") {
            args.push(expr(cursor)?);
        }
    } else {
        while args.len() < count.most && cursor.symbol(",") {
            args.push(expr(cursor)?);
        }
    }
    if args.len() < count.least {
        return Err(cursor.unexpected());
    }
    cursor.expect(")")?;
    Ok(args)
}

/// `POSITION(a IN b)`
fn position(cursor: &mut Cursor<'_>) -> ParseResult<Vec<Expr>> {
    cursor.expect("(")?;
    let what = operation(cursor, Precedence::Comparison)?;
    cursor.expect_word("IN")?;
    let args = vec![what, expr(cursor)?];
    cursor.expect(")")?;
    Ok(args)
}

/// `CHAR(65, 66 USING utf8mb4)`
fn char(cursor: &mut Cursor<'_>) -> ParseResult<Expr> {
    cursor.expect("(")?;
    let args = cursor.list(expr)?;
    let charset = if cursor.word("USING") { Some(charset(cursor)?) } else { None };
    cursor.expect(")")?;
    let call = Expr::Call { at: cursor.count_call()?, function: Function::Char, args };
    Ok(match charset {
        None | Some(Charset::BINARY) => call,
        Some(charset) => Expr::Cast(Box::new(call), Cast::Using(charset)),
    })
}

/// The arguments in parentheses. Where their number is part of the grammar, a wrong one is a syntax error.
fn arguments(cursor: &mut Cursor<'_>, grammar: Option<Arity>) -> ParseResult<Vec<Expr>> {
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

fn checked(
    cursor: &mut Cursor<'_>,
    name: &str,
    count: Arity,
    function: Function,
    args: Vec<Expr>,
) -> ParseResult<Expr> {
    if !count.contains(args.len()) {
        return Err(SqlError::ParameterCount(name.to_owned()));
    }
    cursor.acts |= function.acts();
    Ok(Expr::Call { at: cursor.count_call()?, function, args })
}

/// A function of MySQL that is not supported: its parentheses are skipped, and its number of arguments is checked
/// first, as in MySQL.
fn not_served(cursor: &mut Cursor<'_>, name: &str, native: &Builtin) -> ParseResult<SqlError> {
    let most = native.count.map_or(usize::MAX, |count| count.most);
    let Skipped { args, excess, end } = skip_parenthesis(cursor, most)?;
    let is_wrong = native.count.is_some_and(|count| !count.contains(args));
    Ok(match native.kind {
        BuiltinKind::Internal => SqlError::RejectedFunction(name.to_owned()),
        BuiltinKind::Native if is_wrong => SqlError::ParameterCount(name.to_owned()),
        BuiltinKind::Grammar | BuiltinKind::Aggregate if is_wrong || args == 0 => {
            syntax_error(cursor.sql, excess.unwrap_or(end))
        }
        BuiltinKind::Window if !WINDOW.iter().any(|word| cursor.is_word(word)) => cursor.unexpected(),
        _ => SqlError::NoFunction(native.name),
    })
}

/// What must follow the call of a window function.
const WINDOW: [&str; 4] = ["OVER", "RESPECT", "IGNORE", "FROM"];

/// A parenthesis that was skipped.
struct Skipped {
    args: usize,
    /// The position of the comma after the last permitted argument.
    excess: Option<usize>,
    /// The position of its end.
    end: usize,
}

/// Skips a parenthesis with all that it contains.
fn skip_parenthesis(cursor: &mut Cursor<'_>, most: usize) -> ParseResult<Skipped> {
    cursor.expect("(")?;
    let (mut depth, mut args, mut excess) = (1, usize::from(!cursor.is_symbol(")")), None);
    loop {
        let at = cursor.start();
        match cursor.next() {
            None => return Err(syntax_error(cursor.sql, at)),
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
