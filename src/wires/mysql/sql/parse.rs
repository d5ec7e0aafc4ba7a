//! The parser of statements (MySQL manual, chapter 15), as far as a lock server has a use for them: recursive descent over the
//! tokens of one statement, with the cursor that all files of this directory share.

mod call;
mod dates;
mod expr;
mod lex;
mod select;
mod set;
mod show;
mod unsupported;

use std::sync::LazyLock;

use self::lex::{LexError, Spanned, Token, text_of};
use super::{
    ast::{PrepareSource, Statement},
    dialect::Dialect,
};
use crate::wires::mysql::error::{SqlError, Warning};

type ParseResult<T> = Result<T, SqlError>;

/// A statement, and what the executor needs to know of its text.
#[derive(Debug)]
pub(in crate::wires::mysql) struct ParsedStatement {
    pub statement: Statement,
    /// Calls are numbered from 0 to here.
    pub calls: usize,
    /// How many placeholders it has.
    pub parameters: usize,
    /// Where the first of them stands.
    pub first_parameter: Option<usize>,
    pub warnings: Vec<Warning>,
    /// Whether it asks how many warnings there were before it.
    pub counts_warnings: bool,
    /// An upper bound of the memory that the tree and a result need, without strings.
    pub size: usize,
    /// Where the next statement starts, if there is one.
    pub rest: Option<usize>,
}

impl ParsedStatement {
    /// Whether it reads the warnings of the statement before it, and so must not clear them.
    pub(in crate::wires::mysql) fn is_diagnostic(&self) -> bool {
        self.counts_warnings || matches!(&self.statement, Statement::Show(show) if show.is_diagnostic())
    }
}

/// The most memory that one token may take in the tree and in a result.
const TOKEN: usize = 128;

/// Reads the first statement of `sql`.
pub(in crate::wires::mysql) fn parse(sql: &[u8], dialect: Dialect) -> Result<ParsedStatement, SqlError> {
    let mut cursor = Cursor::new(sql, dialect)?;
    if cursor.peek().is_none() {
        return Err(SqlError::EmptyQuery);
    }
    let statement = statement(&mut cursor)?;
    if cursor.peek().is_some() {
        return Err(cursor.unexpected());
    }
    if let Some(wrong) = cursor.deferred_error {
        return Err(wrong);
    }
    let size = cursor.count() * TOKEN;
    let Cursor { calls, parameters, first_parameter, rest, warnings, counts_warnings, .. } = cursor;
    Ok(ParsedStatement {
        statement,
        calls,
        parameters,
        first_parameter,
        warnings,
        counts_warnings,
        size,
        rest,
    })
}

fn statement(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    if cursor.is_word("SELECT") || cursor.is_word("VALUES") || cursor.is_symbol("(") {
        return select::query(cursor).map(Statement::Select);
    }
    let start = cursor.start();
    let Some(Token::Word(word)) = cursor.next() else {
        return Err(syntax_error(cursor.sql, start));
    };
    let word = word.to_ascii_uppercase();
    match word.as_str() {
        "DO" => Ok(Statement::Do(cursor.list(expr::expr)?)),
        "SET" => set::set(cursor),
        "SHOW" => show::show(cursor),
        "KILL" => kill(cursor),
        "USE" => Ok(Statement::Use(cursor.name()?)),
        "CALL" => call(cursor),
        "EXPLAIN" | "DESCRIBE" | "DESC" => select::explain(cursor),
        "HELP" => show::help(cursor),
        "CHECK" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECKSUM" => show::check(cursor, &word),
        "PREPARE" => prepare(cursor),
        "EXECUTE" => execute(cursor),
        "DEALLOCATE" => deallocate(cursor),
        "DROP" if cursor.is_word("PREPARE") => deallocate(cursor),
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
        _ => Err(unsupported::statement(cursor, &word, start)),
    }
}

/// What may stand behind START TRANSACTION.
fn start_transaction(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
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
fn end_transaction(cursor: &mut Cursor<'_>, may_go_back: bool) -> ParseResult<Statement> {
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
    Err(if chain { cursor.unexpected() } else { unsupported::not_supported(unsupported::RELEASE) })
}

fn call(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let mut name = cursor.name()?;
    if cursor.symbol(".") {
        name = format!("{name}.{}", cursor.name()?);
    }
    cursor.skip_rest();
    Ok(Statement::Call(name))
}

fn kill(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let query = cursor.one_of(&["CONNECTION", "QUERY"]) == Some("QUERY");
    let id = expr::expr(cursor)?;
    // MySQL has no such thing: nothing that it takes is read differently.
    let is_text = matches!(cursor.peek(), Some(Token::Text(_) | Token::Variable(_)));
    let has_reason = !query && (is_text || cursor.is_symbol("?"));
    Ok(Statement::Kill { query, id, reason: has_reason.then(|| expr::expr(cursor)).transpose()? })
}

/// The deepest that parentheses and calls may nest.
const MAX_DEPTH: usize = 40;

/// The most members of all lists of a statement, and the most calls in it. An expression is evaluated again after each call
/// that has an effect, so the work grows with the square of the calls.
const MAX_MEMBERS: usize = 1_000;
const MAX_CALLS: usize = 250;

/// The most operators of a statement. Each may make the tree one level deeper, and evaluation recurses over the tree.
const MAX_OPERATORS: usize = 100;

/// A place among the tokens of a statement, and what was found on the way there.
#[derive(Default)]
struct Cursor<'a> {
    pub sql: &'a [u8],
    pub dialect: Dialect,
    tokens: Vec<Spanned<'a>>,
    at: usize,
    depth: usize,
    operators: usize,
    /// How many calls and placeholders there were so far.
    pub calls: usize,
    pub parameters: usize,
    /// Whether one of them is an aggregate.
    pub has_aggregate: bool,
    /// The first column outside of all aggregates.
    pub plain_column: Option<String>,
    /// Whether it asks how many warnings there were before it.
    pub counts_warnings: bool,
    /// Whether a call or an assignment has an effect.
    pub acts: bool,
    /// Where the first placeholder stands.
    pub first_parameter: Option<usize>,
    /// Where the next statement starts, if there is one.
    pub rest: Option<usize>,
    members: usize,
    pub warnings: Vec<Warning>,
    /// An unknown name. It is reported only if the rest of the statement is valid: MySQL reports syntax errors first.
    pub deferred_error: Option<SqlError>,
}

impl<'a> Cursor<'a> {
    fn new(sql: &'a [u8], dialect: Dialect) -> ParseResult<Self> {
        let (mut tokens, rest) = lex::tokens(sql, dialect).map_err(|why| match why {
            LexError::Unexpected(at) => syntax_error(sql, at),
            LexError::TooLong => SqlError::TooComplex,
        })?;
        // A hint counts behind SELECT only.
        let mut after_select = false;
        tokens.retain(|Spanned { token, .. }| {
            let counts = after_select || !matches!(token, Token::Hint(_));
            after_select = matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("SELECT"));
            counts
        });
        Ok(Self { sql, dialect, tokens, rest, ..Self::default() })
    }

    /// How many tokens there are.
    fn count(&self) -> usize {
        self.tokens.len()
    }

    fn peek(&self) -> Option<&Token<'a>> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<&Token<'a>> {
        self.tokens.get(self.at + ahead).map(|spanned| &spanned.token)
    }

    /// Takes the next token. It is moved out, not cloned: strings may be long, and no token is read twice.
    fn next(&mut self) -> Option<Token<'a>> {
        let token = &mut self.tokens.get_mut(self.at)?.token;
        self.at += 1;
        Some(std::mem::replace(token, Token::Symbol("")))
    }

    /// Passes over a number of tokens that were already peeked at.
    fn advance(&mut self, tokens: usize) {
        self.at += tokens;
    }

    /// Where the next token starts.
    fn start(&self) -> usize {
        self.tokens.get(self.at).map_or(self.sql.len(), |token| token.start)
    }

    /// Where the last token ended.
    fn end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |last| self.tokens[last].end)
    }

    /// Where the last token started.
    fn last_start(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |last| self.tokens[last].start)
    }

    /// Whether the next token follows the last one without a blank.
    fn is_adjacent(&self) -> bool {
        self.start() == self.end()
    }

    fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.is_symbol_at(0, symbol)
    }

    fn is_symbol_at(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Symbol(found)) if *found == symbol)
    }

    /// Takes a word if it is the next.
    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    /// Takes one of several words.
    fn one_of<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().find(|word| self.word(word)).copied()
    }

    /// Takes words if all of them follow.
    fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(ahead, word)| self.is_word_at(ahead, word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    /// Whether no operator can follow. Asked first, since most expressions end here and need no comparison with operators.
    fn is_after_expression(&self) -> bool {
        matches!(self.peek(), None | Some(Token::Symbol(")" | ",")))
    }

    fn expect(&mut self, symbol: &str) -> ParseResult<()> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expect_word(&mut self, word: &str) -> ParseResult<()> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// A name, with or without backquotes.
    fn name(&mut self) -> ParseResult<String> {
        match self.peek() {
            Some(Token::Word(name) | Token::Name(name)) => {
                let name = name.clone().into_owned();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The same, or what stands in quotation marks.
    fn name_or_text(&mut self) -> ParseResult<String> {
        if let Some(Token::Text(text)) = self.peek() {
            let text = lex::text_of(text.clone()).into_owned();
            self.at += 1;
            return Ok(text);
        }
        self.name()
    }

    /// The same as `name`, but no reserved word without backquotes.
    fn ident(&mut self) -> ParseResult<String> {
        match self.peek() {
            Some(Token::Word(word)) if is_reserved(word) => Err(self.unexpected()),
            _ => self.name(),
        }
    }

    /// Takes the number of a placeholder, which is the next token.
    fn placeholder(&mut self) -> usize {
        self.first_parameter.get_or_insert(self.start());
        self.at += 1;
        self.parameters += 1;
        self.parameters - 1
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> ParseResult<T>) -> ParseResult<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.symbol(",") {
            all.push(one(self)?);
            self.members += 1;
            if self.members > MAX_MEMBERS {
                return Err(SqlError::TooComplex);
            }
        }
        Ok(all)
    }

    /// Whether a parenthesis with several members stands a number of tokens ahead.
    fn has_several(&self, ahead: usize) -> bool {
        let mut depth = 0_usize;
        for spanned in self.tokens.iter().skip(self.at + ahead) {
            match spanned.token {
                Token::Symbol("(") => depth += 1,
                Token::Symbol(")") if depth <= 1 => return false,
                Token::Symbol(")") => depth -= 1,
                Token::Symbol(",") if depth == 1 => return true,
                _ if depth == 0 => return false,
                _ => {}
            }
        }
        false
    }

    /// Skips to the end of the statement, without a check.
    fn skip_rest(&mut self) {
        self.at = self.tokens.len();
    }

    /// Parses a part that may contain itself, within the limit of depth that keeps the stack small.
    fn deeper<T>(&mut self, part: impl FnOnce(&mut Self) -> ParseResult<T>) -> ParseResult<T> {
        if self.depth == MAX_DEPTH {
            return Err(SqlError::TooComplex);
        }
        self.depth += 1;
        let parsed = part(self);
        self.depth -= 1;
        parsed
    }

    fn count_operator(&mut self) -> ParseResult<()> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS { Err(SqlError::TooComplex) } else { Ok(()) }
    }

    /// The number of a call.
    fn count_call(&mut self) -> ParseResult<usize> {
        self.calls += 1;
        if self.calls > MAX_CALLS { Err(SqlError::TooComplex) } else { Ok(self.calls - 1) }
    }

    /// The error that points at the next token.
    fn unexpected(&self) -> SqlError {
        syntax_error(self.sql, self.start())
    }
}

/// MySQL's syntax error, which quotes the statement from a place on.
pub(in crate::wires::mysql) fn syntax_error(sql: &[u8], at: usize) -> SqlError {
    let line = 1 + sql[..at].iter().filter(|c| **c == b'\n').count();
    let near = String::from_utf8_lossy(&sql[at..]).chars().take(80).collect();
    SqlError::Syntax { near, line }
}

/// `name FROM 'text'` or `FROM @variable`
fn prepare(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let name = cursor.ident()?;
    cursor.expect_word("FROM")?;
    let from = match cursor.peek() {
        Some(Token::Text(text)) => PrepareSource::Text(text_of(text.clone()).into_owned()),
        Some(Token::Variable(name)) => PrepareSource::Variable(name.to_lowercase()),
        _ => return Err(cursor.unexpected()),
    };
    cursor.next();
    Ok(Statement::Prepare { name, from })
}

/// `name [USING @a, @b]`
fn execute(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    let name = cursor.ident()?;
    let using = if cursor.word("USING") { cursor.list(variable)? } else { Vec::new() };
    Ok(Statement::Execute { name, using })
}

fn variable(cursor: &mut Cursor<'_>) -> ParseResult<String> {
    let Some(Token::Variable(name)) = cursor.peek() else { return Err(cursor.unexpected()) };
    let name = name.to_lowercase();
    cursor.next();
    Ok(name)
}

/// `PREPARE name`
fn deallocate(cursor: &mut Cursor<'_>) -> ParseResult<Statement> {
    cursor.expect_word("PREPARE")?;
    cursor.ident().map(|name| Statement::Deallocate { name })
}

static RESERVED: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lines = include_str!("reserved.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).collect()
});

fn is_reserved(word: &str) -> bool {
    let upper = || word.bytes().map(|byte| byte.to_ascii_uppercase());
    RESERVED.binary_search_by(|reserved| reserved.bytes().cmp(upper())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn reserved_words_are_sorted_and_case_insensitive() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED.iter().all(|word| is_reserved(word) && is_reserved(&word.to_lowercase())));
        assert!(!["", "GET_LOCK", "names", "offset", "zerofilled", "é"].into_iter().any(is_reserved));
    }
}
