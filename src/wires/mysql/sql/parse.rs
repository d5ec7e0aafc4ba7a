//! Statements (MySQL manual, chapter 15), as far as a lock server has a use for them.

use super::{
    ast::Statement,
    cursor::{Cursor, near},
    expr,
    lex::{Dialect, Token},
    prepare, select, unserved,
};
use crate::wires::mysql::error::{SqlError, Warning};

pub(super) type Parsing<T> = Result<T, SqlError>;

/// A statement, and what is behind it.
#[derive(Debug)]
pub(in crate::wires::mysql) struct Parsed {
    pub statement: Statement,
    /// How many calls it has.
    pub calls: usize,
    /// How many placeholders it has.
    pub parameters: usize,
    /// Where the first of them stands.
    pub first_parameter: Option<usize>,
    pub warnings: Vec<Warning>,
    /// Whether it asks how many warnings there were before it.
    pub counts_warnings: bool,
    /// How many bytes it needs beside the texts in it, or somewhat more.
    pub size: usize,
    /// Where the next statement starts, if there is one.
    pub rest: Option<usize>,
}

impl Parsed {
    /// Whether it asks for the warnings of the statement before it, and leaves them.
    pub(in crate::wires::mysql) fn is_diagnostic(&self) -> bool {
        self.counts_warnings || matches!(&self.statement, Statement::Show(show) if show.is_diagnostic())
    }
}

/// What becomes of a token, with its part of a result.
const TOKEN: usize = 128;

/// Reads the first statement of `sql`.
pub(in crate::wires::mysql) fn parse(sql: &[u8], dialect: Dialect) -> Result<Parsed, SqlError> {
    let mut cursor = Cursor::new(sql, dialect)?;
    if cursor.peek().is_none() {
        return Err(SqlError::EmptyQuery);
    }
    let statement = statement(&mut cursor)?;
    if cursor.peek().is_some() {
        return Err(cursor.unexpected());
    }
    if let Some(wrong) = cursor.wrong {
        return Err(wrong);
    }
    let size = cursor.count() * TOKEN;
    let Cursor { calls, parameters, first_parameter, rest, warnings, counts_warnings, .. } = cursor;
    Ok(Parsed { statement, calls, parameters, first_parameter, warnings, counts_warnings, size, rest })
}

fn statement(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    if cursor.is_word("SELECT") || cursor.is_word("VALUES") || cursor.is_symbol("(") {
        return select::query(cursor).map(Statement::Select);
    }
    let start = cursor.start();
    let Some(Token::Word(word)) = cursor.next() else {
        return Err(near(cursor.sql, start));
    };
    let word = word.to_ascii_uppercase();
    match word.as_str() {
        "DO" => Ok(Statement::Do(cursor.list(expr::expr)?)),
        "SET" => super::set::set(cursor),
        "SHOW" => super::show::show(cursor),
        "KILL" => kill(cursor),
        "USE" => Ok(Statement::Use(cursor.name()?)),
        "CALL" => call(cursor),
        "EXPLAIN" | "DESCRIBE" | "DESC" => select::explain(cursor),
        "HELP" => super::show::help(cursor),
        "CHECK" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECKSUM" => super::show::check(cursor, &word),
        "PREPARE" => prepare::prepare(cursor),
        "EXECUTE" => prepare::execute(cursor),
        "DEALLOCATE" => prepare::deallocate(cursor),
        "DROP" if cursor.is_word("PREPARE") => prepare::deallocate(cursor),
        "BEGIN" => {
            cursor.word("WORK");
            Ok(Statement::Transaction { opens: true })
        }
        "START" if cursor.word("TRANSACTION") => start_transaction(cursor),
        "COMMIT" => end_transaction(cursor, false),
        "ROLLBACK" => end_transaction(cursor, true),
        "SAVEPOINT" => cursor.ident().map(|_| Statement::Nothing),
        "RELEASE" if cursor.word("SAVEPOINT") => cursor.ident().map(|_| Statement::Nothing),
        "UNLOCK" if cursor.one_of(&["TABLES", "TABLE"]).is_some() => Ok(Statement::Nothing),
        _ => Err(unserved::statement(cursor, &word, start)),
    }
}

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
    if cursor.words(&["NO", "RELEASE"]) || !cursor.word("RELEASE") {
        return Ok(Statement::Transaction { opens: chain });
    }
    Err(if chain { cursor.unexpected() } else { unserved::lack(unserved::RELEASE) })
}

fn call(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let mut name = cursor.name()?;
    if cursor.symbol(".") {
        name = format!("{name}.{}", cursor.name()?);
    }
    cursor.skip_rest();
    Ok(Statement::Call(name))
}

fn kill(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let query = cursor.one_of(&["CONNECTION", "QUERY"]) == Some("QUERY");
    Ok(Statement::Kill { query, id: expr::expr(cursor)? })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_kind_of_statement_is_parsed() {
        let files = [
            include_str!("../../../../tests/data/driver_statements.sql"),
            include_str!("../../../../tests/data/unserved_statements.sql"),
            include_str!("../../../../tests/data/wrong_statements.sql"),
        ];
        for sql in files.into_iter().flat_map(str::lines) {
            // Cut off anywhere, it is read or refused.
            for end in (0..=sql.len()).filter(|end| sql.is_char_boundary(*end)) {
                crate::wires::mysql::fuzz::sql(&[b"\0", &sql.as_bytes()[..end]].concat());
            }
        }
    }

    /// Found by fuzzing: each of these overflowed somewhere.
    #[test]
    fn numbers_at_their_limits_are_parsed() {
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
            crate::wires::mysql::fuzz::sql(&[b"\0", sql.as_bytes()].concat());
        }
    }
}
