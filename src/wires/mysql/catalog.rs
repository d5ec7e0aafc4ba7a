//! The tables that SELECT and SHOW read, as data. Pure.
//!
//! Each is read from a file when a statement first asks for one. The columns are MySQL's, so that clients find them by
//! name and type. Rows exist where there is something true to report.

mod described;
mod error;

use std::{collections::BTreeMap, sync::LazyLock};

pub(super) use error::CatalogError;

use super::{
    sql::{ColumnType, TypeKind},
    value::{Decimal, Value},
};

/// The schemas that every MySQL server has. The schema that a connection uses exists besides them, as a name only.
pub(super) const SCHEMAS: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

/// The schema of this server's own tables. It is not listed where MySQL lists its schemas: tools that walk through all
/// of them expect MySQL's.
pub(super) const GETLOCKD: &str = "getlockd";

/// The pseudo-schema of the lists of SHOW.
pub(super) const SHOW: &str = "SHOW";

/// The declared type of a column, as the protocol encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// The number of the type.
    pub code: u8,
    /// The length in bytes of utf8mb4.
    pub length: u32,
    pub flags: u16,
    pub decimals: u8,
    /// Whether it contains characters.
    pub is_text: bool,
}

#[derive(Debug)]
pub(super) struct Column {
    pub name: &'static str,
    pub declared: Declared,
    /// The column of the base table that it shows, or its own name.
    key: &'static str,
    /// The position of its value in a row of the base table.
    place: usize,
}

/// A row: pairs of column and value.
pub(super) type Row = Vec<(&'static Column, Value)>;

/// The source of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The file.
    Fixed,
    Charsets,
    Collations,
    ApplicableCollations,
    Processes,
    /// `performance_schema.metadata_locks`
    Locks,
    /// `getlockd.locks`
    Holds,
    Waiters,
    Why,
    History,
    /// `getlockd.sessions`
    Sessions,
    /// `getlockd.nodes`
    Nodes,
    Attributes,
    Variables,
    GlobalVariables,
    Status,
    Schemata,
    Tables,
    Columns,
    Privileges,
    Warnings,
    Errors,
}

#[derive(Debug)]
pub(super) struct Table {
    pub schema: &'static str,
    pub name: &'static str,
    pub columns: Vec<Column>,
    pub source: Source,
    /// The privilege that a user needs.
    pub needs: Option<&'static str>,
    /// The warning of a statement that reads it.
    pub warning: Option<&'static str>,
    /// The table whose rows it shows, if they are not its own.
    base: Option<&'static str>,
    rows: Vec<Vec<Value>>,
}

/// Tables are compared by identity.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// Tables that show others come after them.
const FILES: [&str; 4] = [
    include_str!("catalog/getlockd.tsv"),
    include_str!("catalog/tables.tsv"),
    include_str!("catalog/empty.tsv"),
    include_str!("catalog/shows.tsv"),
];

type Tables = BTreeMap<String, Table>;

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables::new();
    for section in FILES.iter().flat_map(|file| file.split("\n[").skip(1)) {
        let table = Table::read(section, &tables);
        tables.insert(path(table.schema, table.name), table);
    }
    tables
});

fn path(schema: &str, name: &str) -> String {
    format!("{schema}.{name}").to_ascii_lowercase()
}

/// The table of this name, in any case.
pub(super) fn find(schema: &str, name: &str) -> Option<&'static Table> {
    TABLES.get(&path(schema, name))
}

/// All tables that SELECT can read.
pub(super) fn tables() -> impl Iterator<Item = &'static Table> {
    TABLES.values().filter(|table| table.schema != SHOW)
}

impl Table {
    /// Reads a section of a file, after its first bracket.
    fn read(section: &'static str, known: &Tables) -> Self {
        let mut lines = section.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut head = lines.next().unwrap_or_default().split('\t');
        let full = head.next().unwrap_or_default().trim_end_matches(']');
        let (schema, name) = full.split_once('.').unwrap_or((SHOW, full));
        let mut given = || head.next().filter(|field| *field != "-");
        let (origin, needs, warning) = (given(), given(), given());
        let base = origin.and_then(|origin| known.get(origin));
        let (rows, columns): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with('='));
        let columns: Vec<_> =
            columns.iter().enumerate().map(|(at, line)| Column::read(line, at, base)).collect();
        let rows = rows.iter().map(|row| values(&row[1..], &columns)).collect();
        let live = origin.and_then(Source::named).unwrap_or(Source::Fixed);
        let source = base.map_or(live, |base| base.source);
        Self { schema, name, columns, source, needs, warning, base: base.and(origin), rows }
    }

    /// The rows in the file.
    pub(super) fn rows(&'static self) -> &'static [Vec<Value>] {
        match self.base.and_then(|base| TABLES.get(base)) {
            Some(base) => &base.rows,
            None => &self.rows,
        }
    }

    /// A row of NULLs, for the types of its columns.
    pub(super) fn blank(&'static self) -> Row {
        self.columns.iter().map(|column| (column, Value::Null)).collect()
    }

    /// The column of this name, in any case.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.is_named(name))
    }
}

impl Column {
    /// `name  type  length  flags  decimals  [key]`
    fn read(line: &'static str, at: usize, base: Option<&Table>) -> Self {
        let fields: Vec<_> = line.split('\t').collect();
        let field = |at: usize| fields.get(at).copied();
        let number = |at: usize| field(at).and_then(|text| text.trim_end_matches('b').parse::<u32>().ok());
        let code = number(1).and_then(|code| u8::try_from(code).ok()).unwrap_or(code::VARCHAR);
        let is_bytes = field(2).is_some_and(|length| length.ends_with('b'));
        let declared = Declared {
            code,
            length: number(2).unwrap_or(1024),
            flags: number(3).and_then(|flags| u16::try_from(flags).ok()).unwrap_or(0),
            decimals: number(4).and_then(|decimals| u8::try_from(decimals).ok()).unwrap_or(0),
            is_text: code::is_text(code) && !is_bytes,
        };
        let name = field(0).unwrap_or_default();
        let key = field(5).unwrap_or(name);
        let of_base = |base: &Table| base.columns.iter().position(|column| column.name == key);
        Self { name, declared, key, place: base.and_then(of_base).unwrap_or(at) }
    }

    /// Whether this name refers to the column. Some column names end in a database or a user that is known only when
    /// they are asked for.
    pub(super) fn is_named(&self, name: &str) -> bool {
        match self.prefix() {
            Some(prefix) => name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
            None => self.name.eq_ignore_ascii_case(name),
        }
    }

    /// The prefix of a name that continues with that of a database or a user.
    pub(super) fn prefix(&self) -> Option<&'static str> {
        Some(self.name).filter(|name| name.ends_with("_in_") || name.ends_with(" for "))
    }

    /// The name that stands for it where rows are made by name.
    pub(super) fn key(&self) -> &'static str {
        self.key
    }

    /// Its value in a row of the base table.
    pub(super) fn of(&self, row: &[Value]) -> Value {
        row.get(self.place).cloned().unwrap_or(Value::Null)
    }

    pub(super) fn kind(&self) -> ColumnType {
        let Declared { code, length, flags, decimals, is_text } = self.declared;
        let kind = match code {
            _ if is_text => TypeKind::Text,
            code::NULL => TypeKind::Null,
            code::FLOAT | code::DOUBLE => TypeKind::Double,
            code::DECIMAL => TypeKind::Decimal { digits: decimals },
            code::TIMESTAMP | code::DATETIME => TypeKind::DateTime { digits: decimals },
            code if code::is_integer(code) => TypeKind::Int { unsigned: flags & UNSIGNED != 0 },
            _ => TypeKind::Bytes,
        };
        let length = if is_text && length != u32::MAX { length / 4 } else { length };
        ColumnType::new(kind, length, flags & NOT_NULL != 0)
    }
}

const NOT_NULL: u16 = 1;
const UNSIGNED: u16 = 32;

/// The numbers of types (MySQL internals, "Column Definition").
pub(super) mod code {
    pub(in crate::wires::mysql) const TINY: u8 = 1;
    pub(in crate::wires::mysql) const SHORT: u8 = 2;
    pub(in crate::wires::mysql) const LONG: u8 = 3;
    pub(in crate::wires::mysql) const FLOAT: u8 = 4;
    pub(in crate::wires::mysql) const DOUBLE: u8 = 5;
    pub(in crate::wires::mysql) const NULL: u8 = 6;
    pub(in crate::wires::mysql) const TIMESTAMP: u8 = 7;
    pub(in crate::wires::mysql) const LONGLONG: u8 = 8;
    pub(in crate::wires::mysql) const INT24: u8 = 9;
    pub(in crate::wires::mysql) const DATETIME: u8 = 12;
    pub(in crate::wires::mysql) const YEAR: u8 = 13;
    pub(in crate::wires::mysql) const JSON: u8 = 245;
    pub(in crate::wires::mysql) const DECIMAL: u8 = 246;
    pub(in crate::wires::mysql) const VARCHAR: u8 = 253;
    pub(in crate::wires::mysql) const CHAR: u8 = 254;

    /// ENUM, SET, the BLOBs and TEXTs, VARCHAR and CHAR.
    pub(super) const fn is_text(code: u8) -> bool {
        matches!(code, 247..=254)
    }

    /// The number of bytes of an integer in a binary row.
    pub(in crate::wires::mysql) const fn integer_bytes(code: u8) -> usize {
        match code {
            TINY => 1,
            SHORT | YEAR => 2,
            LONG | INT24 => 4,
            _ => 8,
        }
    }

    pub(in crate::wires::mysql) const fn is_integer(code: u8) -> bool {
        matches!(code, TINY | SHORT | LONG | LONGLONG | INT24 | YEAR)
    }
}

impl Source {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "charsets" => Self::Charsets,
            "collations" => Self::Collations,
            "applicable collations" => Self::ApplicableCollations,
            "processes" => Self::Processes,
            "locks" => Self::Locks,
            "holds" => Self::Holds,
            "waiters" => Self::Waiters,
            "why" => Self::Why,
            "history" => Self::History,
            "sessions" => Self::Sessions,
            "nodes" => Self::Nodes,
            "attributes" => Self::Attributes,
            "variables" => Self::Variables,
            "global variables" => Self::GlobalVariables,
            "status" => Self::Status,
            "schemata" => Self::Schemata,
            "tables" => Self::Tables,
            "columns" => Self::Columns,
            "privileges" => Self::Privileges,
            "warnings" => Self::Warnings,
            "errors" => Self::Errors,
            _ => return None,
        })
    }
}

fn values(row: &'static str, columns: &[Column]) -> Vec<Value> {
    let value = |(field, column): (&'static str, &Column)| match column.kind().kind {
        _ if field == r"\N" => Value::Null,
        TypeKind::Int { unsigned: true } => field.parse().map_or(Value::Null, Value::UInt),
        TypeKind::Int { unsigned: false } => field.parse().map_or(Value::Null, Value::Int),
        TypeKind::Decimal { .. } => Decimal::parse(field).map_or(Value::Null, Value::Decimal),
        TypeKind::Double => field.parse().map_or(Value::Null, Value::Double),
        _ => Value::text(field),
    };
    row.split('\t').zip(columns).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalog_files_are_complete() {
        assert!(tables().count() > 200);
        for line in FILES.iter().flat_map(|file| file.lines()).filter(|line| line.starts_with('[')) {
            let origin = line.split('\t').nth(1).unwrap();
            let is_known = origin == "-" || Source::named(origin).is_some() || TABLES.contains_key(origin);
            assert!(is_known, "{line}");
        }
        for table in TABLES.values() {
            let name = format!("{}.{}", table.schema, table.name);
            assert!(!table.columns.is_empty(), "{name} has no columns");
            assert!([SHOW, GETLOCKD].contains(&table.schema) || SCHEMAS.contains(&table.schema), "{name}");
            for row in &table.rows {
                assert_eq!(row.len(), table.columns.len(), "{name}: {row:?}");
                for (value, column) in row.iter().zip(&table.columns) {
                    let may_be_null = column.declared.flags & NOT_NULL == 0;
                    assert!(may_be_null || !value.is_null(), "{name}.{} is NULL: {row:?}", column.name);
                }
            }
        }
    }
}
