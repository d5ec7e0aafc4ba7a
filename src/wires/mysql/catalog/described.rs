//! The rows of `information_schema.tables` and `columns` about the tables themselves. Pure.

use super::{Column, NOT_NULL, Table, UNSIGNED, code};
use crate::wires::mysql::value::Value;

/// The tables of `information_schema` that are base tables in MySQL 8.4, besides those of InnoDB.
const BASE_TABLES: [&str; 9] = [
    "column_privileges",
    "engines",
    "optimizer_trace",
    "plugins",
    "processlist",
    "profiling",
    "schema_privileges",
    "table_privileges",
    "user_privileges",
];

/// The tables of InnoDB that are views.
const INNODB_VIEWS: [&str; 5] = [
    "innodb_datafiles",
    "innodb_fields",
    "innodb_foreign",
    "innodb_foreign_cols",
    "innodb_tablespaces_brief",
];

impl Table {
    /// Whether its columns are shown under their own names, in whatever case a statement names them: so it is for
    /// MySQL's views.
    pub(in crate::wires::mysql) fn has_own_labels(&self) -> bool {
        match self.schema {
            "information_schema" if self.name.starts_with("innodb_") => INNODB_VIEWS.contains(&self.name),
            "information_schema" => !BASE_TABLES.contains(&self.name),
            "sys" => self.name != "sys_config",
            _ => false,
        }
    }

    /// The row of `information_schema.tables` for this table.
    pub(in crate::wires::mysql) fn described(&self, key: &str) -> Value {
        let is_view = self.schema == "information_schema";
        let engine = if self.schema == "performance_schema" { "PERFORMANCE_SCHEMA" } else { "InnoDB" };
        match key {
            "TABLE_CATALOG" => Value::text("def"),
            "TABLE_SCHEMA" => Value::text(self.schema),
            "TABLE_NAME" if is_view => Value::Text(self.name.to_ascii_uppercase()),
            "TABLE_NAME" => Value::text(self.name),
            "TABLE_TYPE" => Value::text(if is_view { "SYSTEM VIEW" } else { "BASE TABLE" }),
            "ENGINE" if !is_view => Value::text(engine),
            "VERSION" => Value::Int(10),
            "ROW_FORMAT" if !is_view => Value::text("Dynamic"),
            "TABLE_ROWS" | "AVG_ROW_LENGTH" | "DATA_LENGTH" | "MAX_DATA_LENGTH" | "INDEX_LENGTH"
            | "DATA_FREE" => Value::UInt(0),
            "TABLE_COLLATION" if !is_view => Value::text("utf8mb4_0900_ai_ci"),
            "CREATE_OPTIONS" | "TABLE_COMMENT" => Value::text(""),
            _ => Value::Null,
        }
    }

    /// The row of `information_schema.columns` for the column at this position, counted from 0.
    pub(in crate::wires::mysql) fn column_described(&self, at: usize, key: &str) -> Value {
        let Some(column) = self.columns.get(at) else { return Value::Null };
        match key {
            "TABLE_CATALOG" | "TABLE_SCHEMA" | "TABLE_NAME" => self.described(key),
            "ORDINAL_POSITION" => Value::UInt(at as u64 + 1),
            _ => column.described(key),
        }
    }
}

impl Column {
    fn described(&self, key: &str) -> Value {
        let declared = &self.declared;
        let length = u64::from(self.kind().length);
        let of_text = |value: Value| if declared.is_text { value } else { Value::Null };
        match key {
            "COLUMN_NAME" => Value::text(self.name),
            "IS_NULLABLE" => Value::text(if declared.flags & NOT_NULL == 0 { "YES" } else { "NO" }),
            "DATA_TYPE" => Value::text(self.type_name()),
            "COLUMN_TYPE" => Value::Text(self.column_type()),
            "CHARACTER_MAXIMUM_LENGTH" => of_text(Value::UInt(length)),
            "CHARACTER_OCTET_LENGTH" => of_text(Value::UInt(declared.length.into())),
            "NUMERIC_PRECISION" if code::is_integer(declared.code) => Value::UInt(length),
            "NUMERIC_SCALE" if code::is_integer(declared.code) => Value::UInt(0),
            "CHARACTER_SET_NAME" => of_text(Value::text("utf8mb4")),
            "COLLATION_NAME" => of_text(Value::text("utf8mb4_0900_ai_ci")),
            "COLUMN_KEY" | "EXTRA" | "COLUMN_COMMENT" | "GENERATION_EXPRESSION" => Value::text(""),
            "PRIVILEGES" => Value::text("select"),
            _ => Value::Null,
        }
    }

    fn type_name(&self) -> &'static str {
        let is_text = self.declared.is_text;
        match self.declared.code {
            code::TINY => "tinyint",
            code::SHORT => "smallint",
            code::INT24 => "mediumint",
            code::LONG => "int",
            code::LONGLONG => "bigint",
            code::YEAR => "year",
            code::FLOAT => "float",
            code::DOUBLE => "double",
            code::DECIMAL => "decimal",
            code::TIMESTAMP => "timestamp",
            code::DATETIME => "datetime",
            code::VARCHAR if is_text => "varchar",
            code::VARCHAR => "varbinary",
            code::CHAR if is_text => "char",
            code::CHAR | code::NULL => "binary",
            code::JSON => "json",
            _ => match self.kind().length {
                65_536..=16_777_215 if is_text => "mediumtext",
                0..=65_535 if is_text => "text",
                _ if is_text => "longtext",
                _ => "blob",
            },
        }
    }

    fn column_type(&self) -> String {
        let (name, declared) = (self.type_name(), &self.declared);
        match declared.code {
            code::VARCHAR | code::CHAR | code::NULL => format!("{name}({})", self.kind().length),
            code::TIMESTAMP | code::DATETIME if declared.decimals > 0 => {
                format!("{name}({})", declared.decimals)
            }
            code if code::is_integer(code) && declared.flags & UNSIGNED != 0 => format!("{name} unsigned"),
            _ => name.to_owned(),
        }
    }
}
