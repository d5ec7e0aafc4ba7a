//! SHOW (MySQL manual 15.7.7).

use super::{
    ast::{Show, Statement},
    cursor::Cursor,
    parse::{Parsing, empty, filter},
};
use crate::mysql::error::SqlError;

pub(super) fn show(cursor: &mut Cursor<'_>) -> Parsing<Statement> {
    let scoped = cursor.one_of(&["GLOBAL", "SESSION", "LOCAL"]).is_some();
    let full = !scoped && cursor.one_of(&["FULL", "EXTENDED"]).is_some();
    let show = match cursor.name()?.to_ascii_uppercase().as_str() {
        "VARIABLES" if !full => Show::Variables(filter(cursor, "Variable_name")?),
        "STATUS" if !full => Show::Status(filter(cursor, "Variable_name")?),
        "WARNINGS" if !scoped && !full => messages(cursor, false),
        "ERRORS" if !scoped && !full => messages(cursor, true),
        "COUNT" if !scoped && !full => {
            for symbol in ["(", "*", ")"] {
                cursor.expect(symbol)?;
            }
            cursor.expect_word("WARNINGS")?;
            Show::CountWarnings
        }
        "PROCESSLIST" if !scoped => Show::Processlist { full },
        "DATABASES" | "SCHEMAS" if !scoped => Show::Databases(filter(cursor, "Database")?),
        "TABLES" if !scoped => {
            cursor.skip_rest();
            Show::Tables
        }
        "COLLATION" if !scoped => {
            return Ok(empty(
                cursor,
                &["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen", "Pad_attribute"],
            ));
        }
        "ENGINES" if !scoped => {
            return Ok(empty(cursor, &["Engine", "Support", "Comment", "Transactions", "XA", "Savepoints"]));
        }
        "PLUGINS" if !scoped => return Ok(empty(cursor, &["Name", "Status", "Type", "Library", "License"])),
        other if HAS_NO_PLACE.contains(&other) => {
            return Err(SqlError::NoSuchThing(format!("it has nothing to show for {other}")));
        }
        _ => return Err(cursor.unexpected()),
    };
    Ok(Statement::Show(show))
}

/// What MySQL shows and a lock server does not have.
const HAS_NO_PLACE: [&str; 22] = [
    "BINARY",
    "BINLOG",
    "CHARACTER",
    "CHARSET",
    "COLUMNS",
    "CREATE",
    "ENGINE",
    "EVENTS",
    "FIELDS",
    "FUNCTION",
    "GRANTS",
    "INDEX",
    "INDEXES",
    "KEYS",
    "MASTER",
    "OPEN",
    "PRIVILEGES",
    "PROCEDURE",
    "REPLICA",
    "SLAVE",
    "TABLE",
    "TRIGGERS",
];

fn messages(cursor: &mut Cursor<'_>, errors_only: bool) -> Show {
    // LIMIT: there are never more than a few.
    cursor.skip_rest();
    Show::Warnings { errors_only }
}
