//! The variables of a session that name a character set or a collation (MySQL manual 12.4).

use super::{Charset, Collation};
use crate::wires::mysql::{error::SqlError, value::Value, variables::VariableError};

/// The character sets of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::wires::mysql) struct Charsets {
    /// The character set of what the client sends.
    client: Charset,
    /// The character set of literals and, with them, of column names.
    connection: Charset,
    /// The character set of results; `None` means that of the connection.
    results: Option<Charset>,
    /// These are only remembered.
    database: Charset,
    server: Charset,
}

impl Charsets {
    pub(in crate::wires::mysql) fn client(&self) -> Charset {
        self.client
    }

    pub(in crate::wires::mysql) fn connection(&self) -> Charset {
        self.connection
    }

    /// The character set in which results are written.
    pub(in crate::wires::mysql) fn results(&self) -> Charset {
        self.results.unwrap_or(self.connection)
    }

    /// `SET NAMES`, and the login.
    pub(in crate::wires::mysql) fn set_names(&mut self, charset: Charset) {
        (self.client, self.connection, self.results) = (charset, charset, Some(charset));
    }

    /// `SET CHARACTER SET`: the connection gets the character set of the database.
    pub(in crate::wires::mysql) fn set_character_set(&mut self, charset: Charset) {
        (self.client, self.connection, self.results) = (charset, self.database, Some(charset));
    }

    /// The value of a variable, if it is one of these.
    pub(in crate::wires::mysql) fn get(&self, variable: &str) -> Option<Value> {
        let charset = match variable {
            "character_set_client" => self.client,
            "character_set_results" => match self.results {
                Some(results) => results,
                None => return Some(Value::Null),
            },
            "character_set_connection" | "collation_connection" => self.connection,
            "character_set_database" | "collation_database" => self.database,
            "character_set_server" | "collation_server" => self.server,
            _ => return None,
        };
        let is_collation = variable.starts_with("collation_");
        Some(Value::text(if is_collation { charset.collation() } else { charset.name() }))
    }

    /// The new value of a variable; `None` if it is not one of these.
    pub(in crate::wires::mysql) fn checked(
        &self,
        variable: &'static str,
        value: &Value,
    ) -> Result<Option<Value>, SqlError> {
        let mut charsets = *self;
        Ok(if charsets.set(variable, Some(value))? { charsets.get(variable) } else { None })
    }

    /// Sets a variable; `None` stands for its initial value. Returns false if it is not one of these.
    pub(in crate::wires::mysql) fn set(
        &mut self,
        variable: &'static str,
        value: Option<&Value>,
    ) -> Result<bool, SqlError> {
        let place = match variable {
            "character_set_client" => &mut self.client,
            "character_set_results" => {
                let is_null = value.is_some_and(Value::is_null);
                self.results = if is_null { None } else { Some(wanted(variable, value)?.served(variable)?) };
                return Ok(true);
            }
            "character_set_connection" | "collation_connection" => &mut self.connection,
            "character_set_database" | "collation_database" => &mut self.database,
            "character_set_server" | "collation_server" => &mut self.server,
            _ => return Ok(false),
        };
        let wanted = wanted(variable, value)?;
        let is_remembered = variable.ends_with("_database") || variable.ends_with("_server");
        *place = if is_remembered { wanted } else { wanted.served(variable)? };
        Ok(true)
    }
}

/// The character set or collation that a value names, possibly by number.
fn wanted(variable: &'static str, value: Option<&Value>) -> Result<Charset, SqlError> {
    let Some(value) = value else { return Ok(Charset::default()) };
    let is_collation = variable.starts_with("collation_");
    let numbered = |number: i64| {
        let known = u16::try_from(number).ok().and_then(Collation::numbered);
        known.map(|collation| collation.charset).ok_or_else(|| unknown(is_collation, number.to_string()))
    };
    match value {
        Value::Int(number) => numbered(*number),
        Value::UInt(number) => numbered(i64::try_from(*number).unwrap_or(i64::MAX)),
        Value::Text(name) if is_collation => Collation::named(name).map(|collation| collation.charset),
        Value::Text(name) => Charset::known(name).ok_or_else(|| unknown(false, name.clone())),
        Value::Null => Err(VariableError::WrongValue { variable, value: "NULL".to_owned() }.into()),
        _ => Err(VariableError::WrongType(variable).into()),
    }
}

fn unknown(is_collation: bool, name: String) -> SqlError {
    if is_collation { SqlError::UnknownCollation(name) } else { SqlError::UnknownCharset(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charset_variables_are_read_back_and_take_effect() {
        let long = "x".repeat(100_000);
        let mut charsets = Charsets::default();
        let mut set = |variable, value: Option<Value>| {
            let done = charsets.set(variable, value.as_ref()).map_err(|error| error.code().0);
            done.map(|_| {
                (charsets.client().name(), charsets.results().number(), charsets.get(variable).unwrap())
            })
        };
        let text = |name| Some(Value::text(name));
        assert_eq!(set("character_set_client", text("GBK")), Ok(("gbk", 255, Value::text("gbk"))));
        assert_eq!(
            set("character_set_client", Some(Value::Int(8))),
            Ok(("latin1", 255, Value::text("latin1")))
        );
        assert_eq!(set("character_set_client", None), Ok(("utf8mb4", 255, Value::text("utf8mb4"))));
        assert_eq!(set("character_set_results", text("sjis")), Ok(("utf8mb4", 13, Value::text("sjis"))));
        assert_eq!(
            set("collation_connection", text("big5_bin")),
            Ok(("utf8mb4", 13, Value::text("big5_bin")))
        );
        // Without a character set of their own, results have that of the connection.
        assert_eq!(set("character_set_results", Some(Value::Null)), Ok(("utf8mb4", 84, Value::Null)));
        for (variable, value, error) in [
            ("character_set_client", Some(Value::Null), 1231),
            ("character_set_client", text("utf16"), 1231),
            ("character_set_client", text("dec8"), 1115),
            ("character_set_client", text("nonsense"), 1115),
            ("character_set_client", text(&long), 1115),
            ("character_set_client", Some(Value::Double(1.5)), 1232),
            ("collation_connection", text("nonsense_ci"), 1273),
            ("collation_connection", Some(Value::Int(-1)), 1273),
        ] {
            assert_eq!(set(variable, value), Err(error), "{variable}");
        }
        assert!(set("collation_server", text("dec8_bin")).is_ok());
        assert_eq!(Charsets::default().get("sql_mode"), None);
    }
}
