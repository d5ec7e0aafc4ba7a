//! PREPARE, EXECUTE and DEALLOCATE PREPARE (MySQL manual 15.5).

use super::{
    ast::{Source, Statement},
    lex::{Token, text_of},
    parse::{Cursor, Parsing},
};

/// `name FROM 'text'` or `FROM @variable`
pub(super) fn prepare(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let name = cursor.ident()?;
    cursor.expect_word("FROM")?;
    let from = match cursor.peek() {
        Some(Token::Text(text)) => Source::Text(text_of(text.clone()).into_owned()),
        Some(Token::Variable(name)) => Source::Variable(name.to_lowercase()),
        _ => return Err(cursor.unexpected()),
    };
    cursor.next();
    Ok(Statement::Prepare { name, from })
}

/// `name [USING @a, @b]`
pub(super) fn execute(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let name = cursor.ident()?;
    let using = if cursor.word("USING") { cursor.list(variable)? } else { Vec::new() };
    Ok(Statement::Execute { name, using })
}

fn variable(cursor: &mut Cursor<'_>) -> Parsing<String> {
    let Some(Token::Variable(name)) = cursor.peek() else { return Err(cursor.unexpected()) };
    let name = name.to_lowercase();
    cursor.next();
    Ok(name)
}

/// `PREPARE name`
pub(super) fn deallocate(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    cursor.expect_word("PREPARE")?;
    cursor.ident().map(|name| Statement::Deallocate { name })
}
